"""Runs: equal bytes, continuation, omissions, one run at a time, lost workers, broken stores."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from chronosplat.data import shards as shard_files
from chronosplat.data.engines import ENGINES, Workers
from chronosplat.data.lease import RUN, Lease, RunState, read_run
from chronosplat.data.recipe import Recipe
from chronosplat.data.run import data_set_status, in_words, make_data_set
from chronosplat.data.shards import read_clip, read_records
from chronosplat.data.sources import Query
from chronosplat.data.store import Store
from chronosplat.events import Events, Notice
from chronosplat.shapes import InputError
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, two_joint_strip
from tests.data.run_kit import TINY, HereEngine, killed_by_object_3, killed_once_by_object_3, make, shards, uids


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine ``here`` is known."""
    monkeypatch.setitem(ENGINES, "here", HereEngine)


# what a data set holds


def test_clips_carry_their_facts(tmp_path: Path) -> None:
    totals = make(tmp_path / "d", 3, lens="random", lights="random", geometry=True)
    assert (totals.shards, totals.clips, totals.frames) == (2, 3, 18)
    store = Store.at(tmp_path / "d")
    record = read_records(store)[1]
    clip = read_clip(store, record.file, record.entries[0]).clip()
    assert re.fullmatch(r"procedural_blob_0000002_[0-9a-f]{8}-000-0000", clip.key)
    assert clip.frames.shape == (3, 2, 8, 8, 4)
    assert clip.geometry is not None
    facts = clip.facts
    assert (facts["uid"], facts["licence"], facts["author"], facts["fps"]) == ("procedural-blob-0000002", "CC0", "chronosplat", 3)
    assert facts["motion"] > 0.01
    assert facts["made_by"].startswith("chronosplat ")
    assert len(facts["lights"]["energies"]) == len(facts["lights"]["directions"])
    assert float(clip.cameras([0], [0]).centers.norm()) == pytest.approx(facts["radius"], rel=1e-4)
    json.dumps(facts, allow_nan=False)


def test_the_same_plan_gives_the_same_bytes_on_any_engine(tmp_path: Path) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two", workers=Workers("local", 2))
    assert len(shards(tmp_path / "one")) == 6
    assert shards(tmp_path / "one") == shards(tmp_path / "two")
    make(tmp_path / "three", seed=1)
    assert shards(tmp_path / "one") != shards(tmp_path / "three")


def test_static_still_and_refused_objects_are_recorded_and_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    two_joint_strip().save(folder).rename(folder / "fox.glb")
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES))
    maker.save(folder).rename(folder / "wall.glb")
    (folder / "cut.glb").write_bytes((folder / "fox.glb").read_bytes()[:-40])
    licensed = two_joint_strip()
    licensed.json["asset"]["extras"] = {"license": "CC-BY-NC-4.0"}
    licensed.save(folder).rename(folder / "paid.glb")
    totals = make(tmp_path / "d", 0, source=str(folder))
    assert sorted((kind, what) for kind, what, _ in totals.omitted) == [("failed", "cut"), ("failed", "paid"), ("skipped", "wall")]
    reasons = {what: text for _, what, text in totals.omitted}
    assert "truncated" in reasons["cut"]
    assert reasons["paid"] == "licence 'CC-BY-NC-4.0' is not allowed; allowed: CC0, CC-BY"
    assert set(uids(tmp_path / "d")) == {"fox"}
    drifting = make(tmp_path / "drift", 0, source=str(folder), static="drift")
    assert set(uids(tmp_path / "drift")) == {"fox", "wall"}
    assert drifting.clips == totals.clips + 1
    strict = make(tmp_path / "strict", 0, source=str(folder), motion=9.0)
    assert strict.clips == 0
    assert strict.count("skipped") == totals.clips + 1


def test_repairs_are_facts_of_the_clips(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").mkdir()
    nan = float("nan")
    two_joint_strip([(1, 0, 0, 0), (nan, 0, 0, 0)] * 3).save(tmp_path / "models")
    make(tmp_path / "d", 0, source=str(tmp_path / "models"), workers=Workers("local", 1))
    store = Store.at(tmp_path / "d")
    (record,) = read_records(store)
    assert read_clip(store, record.file, record.entries[0]).facts["repairs"] == ["3 vertices with NaN skin weights repaired"]
    assert "NaN" not in capfd.readouterr().err  # workers do not talk into the progress of the run


def test_variants_are_changed_copies(tmp_path: Path) -> None:
    make(tmp_path / "one", 1)
    make(tmp_path / "d", 1, variants=2)
    store = Store.at(tmp_path / "d")
    record = read_records(store)[0]
    clips = [read_clip(store, record.file, entry).clip() for entry in record.entries]
    assert {clip.facts["variant"] for clip in clips} == {0, 1, 2}
    assert {clip.facts["uid"] for clip in clips} == {"procedural-blob-0000000"}
    plain = read_clip(Store.at(tmp_path / "one"), record.file, read_records(Store.at(tmp_path / "one"))[0].entries[0]).clip()
    assert (clips[0].frames == plain.frames).all()
    assert all((clip.frames != plain.frames).any() for clip in clips[1:])


def test_held_out_objects_never_enter_the_plan(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("fox", "ba7b382c918b40e6b07011da4ff3ebc0", "mine"):  # the second one is Consistent4D's
        two_joint_strip().save(folder).rename(folder / f"{name}.glb")
    (tmp_path / "skip.txt").write_text("# mine\nmine  because\n")
    notices: list[Notice] = []
    arguments = (str(folder), str(tmp_path / "d"), TINY, Query(""))
    options = {"workers": Workers("here"), "skip": (str(tmp_path / "skip.txt"),), "events": Events(notice=notices.append)}
    make_data_set(*arguments, **options)
    assert set(uids(tmp_path / "d")) == {"fox"}
    assert [n.text.split(" objects")[0] for n in notices if n.code == "held-out"] == ["2"]
    with pytest.raises(InputError, match=r"none\.txt: the skip list cannot be read"):
        make_data_set(str(folder), str(tmp_path / "e"), TINY, Query(""), skip=(str(tmp_path / "none.txt"),))


# one run at a time


def test_the_second_run_refuses(tmp_path: Path) -> None:
    store = Store.at(tmp_path / "d")
    first = Lease(store)
    with pytest.raises(InputError, match=rf"another run writes there \(process {os.getpid()} on .*\); wait for it"):
        make(tmp_path / "d")
    first.release("interrupted")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(("change", "alive"), [({}, True), ({"pid": 2**22 + 1}, False), ({"host": "elsewhere", "pid": 1}, True)])
def test_a_dead_run_does_not_hold_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], alive: bool
) -> None:
    store = Store.at(tmp_path)
    monkeypatch.setattr("chronosplat.data.lease.BEAT", 0.2)
    lease = Lease(store)
    state = replace(lease.state, **change)  # pyright: ignore[reportArgumentType]
    assert state.is_alive is alive
    silent = replace(state, updated=time.time() - 61)
    assert not silent.is_alive
    (tmp_path / RUN).write_text(json.dumps(asdict(silent)))
    if not alive:
        return
    second = Lease(store)  # takes over
    assert eventually(lambda: lease.taken_by is not None)
    with pytest.raises(InputError, match="another run writes there"):
        lease.tell(done=1)
    lease.release("interrupted")  # leaves the file to the other one
    second.release("finished")


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition becomes true in ten seconds."""
    until = time.time() + 10
    while not condition() and time.time() < until:
        time.sleep(0.05)
    return condition()


def test_a_damaged_run_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text("{")
    assert read_run(Store.at(tmp_path)) is None
    Lease(Store.at(tmp_path)).release("finished")
    assert not tmp_path.exists()  # nothing was begun


# lost workers


def test_a_lost_worker_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notices: list[Notice] = []
    make(tmp_path / "whole")
    monkeypatch.setattr("chronosplat.data.run.make_shard", killed_once_by_object_3)
    make(tmp_path / "d", workers=Workers("local", 1), events=Events(notice=notices.append))
    assert [n.text.split(":")[0] for n in notices if n.code == "worker-lost"] == ["shard 1, procedural-blob-0000003"]
    assert shards(tmp_path / "d") == shards(tmp_path / "whole")


def test_an_object_that_loses_its_workers_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronosplat.data.run.make_shard", killed_by_object_3)
    totals = make(tmp_path / "d", workers=Workers("local", 1))
    assert totals.omitted == [
        [
            "failed",
            "procedural-blob-0000003",
            "3 workers were lost on it: its process was killed by signal 9; it may have run out of memory",
        ]
    ]
    assert [uid[-1] for uid in uids(tmp_path / "d")] == ["0", "1", "2", "4"]


# broken stores


def test_a_full_disk_leaves_no_half_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, calls = shard_files.encode_sample, [0]

    def encode(*arguments: object, **options: object) -> bytes:
        calls[0] += 1
        if calls[0] == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return usual(*arguments, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(shard_files, "encode_sample", encode)
    with pytest.raises(InputError, match=r"shard-000001\.tar: the disk is full; free some space and run the same command"):
        make(tmp_path / "d")
    assert sorted(p.name for p in (tmp_path / "d").glob("*shard*")) == ["shard-000000.json", "shard-000000.tar", "shard-000001.tar.attempt"]
    status = data_set_status(str(tmp_path / "d"))
    assert status.run is not None
    assert status.run.state == "interrupted"
    make(tmp_path / "d")
    make(tmp_path / "whole")
    assert shards(tmp_path / "d") == shards(tmp_path / "whole")


def test_a_full_disk_while_an_object_is_unpacked_ends_the_run_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise InputError("cannot be unpacked") from error

    monkeypatch.setattr("chronosplat.data.make.open_asset", full)
    with pytest.raises(InputError, match="the disk is full"):
        make(tmp_path / "d")


def test_stores_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises((InputError, OSError), match="file"):
        make(tmp_path / "file" / "d")
    with pytest.raises(InputError, match=r"nosuch://bucket/d: .*[Pp]rotocol"):
        make("nosuch://bucket/d")
    with pytest.raises(InputError, match=r"no plan\.json; it was deleted, or the workers cannot see this folder"):
        make("memory://unseen", workers=Workers("local", 1))  # other processes have a memory of their own


def test_any_store_will_do(tmp_path: Path) -> None:
    totals = make("memory://clips")
    make(tmp_path / "d")
    store = Store.at("memory://clips")
    assert totals.clips == 5
    assert {
        name: store.read(name) for name in [*store.names(".tar"), *(n for n in store.names(".json") if n.startswith("shard"))]
    } == shards(tmp_path / "d")


# status and recipes


def test_status_of_a_run_elsewhere(tmp_path: Path) -> None:
    make(tmp_path / "d")
    status = data_set_status(str(tmp_path / "d"))
    assert status.seconds_left is None
    now = time.time()
    run = RunState("x", "elsewhere", 1, now - 100, now, "running", "8 CPUs", done=3, total=3, clips=4, shards_made=2)
    (tmp_path / "d" / RUN).write_text(json.dumps(asdict(run)))
    (tmp_path / "d" / "shard-000002.json").unlink()
    status = data_set_status(str(tmp_path / "d"))
    assert status.totals.shards == 2
    assert status.seconds_left == pytest.approx(50, rel=0.01)
    with pytest.raises(InputError, match=r"no plan\.json; give the output of chronosplat data render"):
        data_set_status(str(tmp_path))


@pytest.mark.parametrize(("seconds", "words"), [(5, "5 s"), (119, "119 s"), (600, "10 min"), (7300, "2 h"), (400000, "5 d")])
def test_durations(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 4}, "size: expected 8 to 4096, got 4"),
        ({"samples": 0}, "samples"),
        ({"frames": 0}, "frames"),
        ({"fps": 0.0}, "fps"),
        ({"views": 0, "rig": "studio"}, "views: expected 1 to"),
        ({"objects": 0}, "objects"),
        ({"motion": -1.0}, "motion"),
        ({"rig": "dome"}, "rig 'dome': unknown"),
        ({"variants": -1}, "variants"),
        ({"variants": 1, "renderer": "blender"}, "the renderer blender renders files as they are; leave out variants"),
        ({"geometry": True, "renderer": "blender"}, "the renderer blender gives no depth and motion; leave out geometry"),
        ({"renderer": "povray"}, "renderer 'povray': unknown"),
    ],
)
def test_recipes_are_checked(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe(**change)  # pyright: ignore[reportArgumentType]
