"""Continuation of runs: what is finished stays, what is missing is rendered, and other data sets are refused."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from chronosplat.data.engines import ENGINES
from chronosplat.data.run import data_set_status
from chronosplat.data.sources.files import UnreachedError
from chronosplat.data.store import Store
from chronosplat.data.verify import verify
from chronosplat.events import Events
from chronosplat.shapes import InputError
from tests.assets.gltf_maker import two_joint_strip
from tests.data.run_kit import HereEngine, make, shards, uids


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine ``here`` is known."""
    monkeypatch.setitem(ENGINES, "here", HereEngine)


def test_finished_shards_are_never_done_twice(tmp_path: Path) -> None:
    whole = make(tmp_path / "d")
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "d").glob("shard-*")}
    missing = tmp_path / "d" / "shard-000001.json"
    text = missing.read_bytes()
    missing.unlink()  # as after a kill between the shard and its record
    again = make(tmp_path / "d")
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "d").glob("shard-*")}
    assert (again.clips, again.bytes) == (whole.clips, whole.bytes)
    assert missing.read_bytes() == text
    assert {name for name in before if before[name] != after[name]} == {"shard-000001.json", "shard-000001.tar"}
    assert not list((tmp_path / "d").glob("*.attempt"))


def test_a_cancelled_run_keeps_what_it_finished_and_continues(tmp_path: Path) -> None:
    events = Events()
    seen: list[int] = []

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        seen.append(done)
        if done == 1:
            events.cancel.request()

    part = make(tmp_path / "d", events=replace(events, progress=progress))
    assert part.shards == 1
    status = data_set_status(str(tmp_path / "d"))
    assert status.run is not None
    assert (status.run.state, status.totals.shards, status.plan.shards) == ("interrupted", 1, 3)
    make(tmp_path / "d")
    make(tmp_path / "whole")
    assert shards(tmp_path / "d") == shards(tmp_path / "whole")
    status = data_set_status(str(tmp_path / "d"))
    assert status.run is not None
    assert status.run.state == "finished"


def test_another_recipe_or_something_else_in_the_place_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "d", 2)
    for changes, words in (({"size": 9}, "size 8, not 9"), ({"rig": "l4gm"}, "rig studio, not l4gm")):
        with pytest.raises(InputError, match=f"holds a data set with {words}; choose another output"):
            make(tmp_path / "d", 2, **changes)
    with pytest.raises(InputError, match="source procedural:blob, not procedural:"):
        make(tmp_path / "d", 2, source="procedural:")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("me")
    with pytest.raises(InputError, match="photos: holds files of something else; choose a new folder as output"):
        make(tmp_path / "photos", 2)
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["me.jpg"]
    (tmp_path / "d" / "plan.json").write_text("{")
    with pytest.raises(InputError, match=r"plan\.json: not the plan of a data set"):
        make(tmp_path / "d", 2)


def test_what_killed_workers_left_is_removed(tmp_path: Path) -> None:
    make(tmp_path / "d", 2)
    left = [tmp_path / "d" / f".shard-00000{i}.0123456789abcdef.tmp.{suffix}" for i, suffix in ((0, "tar"), (7, "json"))]
    for path in left:
        path.write_bytes(b"half")
    make(tmp_path / "d", 2)
    assert all(path.exists() for path in left)  # they are young: someone may be about to lock them
    for path in left:
        os.utime(path, (0, 0))
    make(tmp_path / "d", 2)
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("place", ["{}/d", "memory://{}/d"])
def test_a_shard_of_another_data_set_is_refused(tmp_path: Path, place: str) -> None:
    addresses = [place.format(tmp_path) + name for name in ("", "-other")]
    for address, seed in zip(addresses, (0, 1), strict=True):
        make(address, seed=seed)
    one, other = (Store.at(address) for address in addresses)
    for name in ("shard-000001.tar", "shard-000001.json"):
        with one.writing(name) as file:
            file.write(other.read(name))
    with pytest.raises(InputError, match=r"shard-000001\.tar: is a shard of another data set; move it and its record away"):
        make(addresses[0])
    assert [(loss.shard, loss.problem) for loss in verify(addresses[0]).lost] == [
        ("shard-000001.tar", "is a shard of another data set than that of plan.json")
    ]
    one.fs.rm_file(one.path("plan.json"))
    with pytest.raises(InputError, match="holds files of something else"):
        make(addresses[0])


def test_a_damaged_plan_does_not_hide_what_is_lost(tmp_path: Path) -> None:
    make(tmp_path / "d")
    (tmp_path / "d" / "plan.json").write_text("{")
    found = verify(str(tmp_path / "d"))
    assert (found.clips, [loss.shard for loss in found.lost]) == (5, ["plan.json"])


def test_objects_that_could_not_be_downloaded_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHRONOSPLAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("chronosplat.data.sources.files.WAITS", ())
    there, gone = set[str](), set[str]("abc")
    glb = two_joint_strip().glb()

    def download(address: str, path: Path) -> None:
        if path.stem in gone:
            raise UnreachedError(f"{address}: cannot be downloaded (ConnectionError: )")
        there.add(path.stem)
        path.parent.mkdir(parents=True)
        path.write_bytes(glb)

    monkeypatch.setattr("chronosplat.data.sources.files.download", download)
    (tmp_path / "list.json").write_text(json.dumps([{"file": f"web://x/{name}.glb", "licence": "CC0"} for name in "abcdef"]))
    run = lambda: make(tmp_path / "d", 0, source=str(tmp_path / "list.json"))
    first = run()
    assert (first.shards, first.count("unreached"), first.count("failed")) == (3, 3, 0)
    assert set(uids(tmp_path / "d")) == set("def")
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "d").glob("shard-*")}
    assert run() == first
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "d").glob("shard-*")} == before
    gone -= {"a"}
    second = run()
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "d").glob("shard-*")}
    assert {name for name in after if after[name] != before[name]} == {"shard-000000.json", "shard-000000.tar"}
    assert (second.count("unreached"), set(uids(tmp_path / "d"))) == (2, set("adef"))
    gone.clear()
    assert run().count("unreached") == 0
    make(tmp_path / "whole", 0, source=str(tmp_path / "list.json"))
    assert shards(tmp_path / "d") == shards(tmp_path / "whole")


def test_a_shard_with_fewer_objects_never_takes_the_place_of_one_with_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHRONOSPLAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("chronosplat.data.sources.files.WAITS", ())
    gone, glb = {"a"}, two_joint_strip().glb()

    def download(address: str, path: Path) -> None:
        if path.stem in gone:
            raise UnreachedError(f"{address}: cannot be downloaded (ConnectionError: )")
        path.parent.mkdir(parents=True)
        path.write_bytes(glb)

    monkeypatch.setattr("chronosplat.data.sources.files.download", download)
    (tmp_path / "list.json").write_text(json.dumps([{"file": f"web://x/{name}.glb", "licence": "CC0"} for name in "ab"]))
    run = lambda: make(tmp_path / "d", 0, source=str(tmp_path / "list.json"))
    run()
    before = shards(tmp_path / "d")
    gone = {"b"}
    shutil.rmtree(tmp_path / "cache")  # as on another machine
    assert run().count("unreached") == 1
    assert shards(tmp_path / "d") == before
