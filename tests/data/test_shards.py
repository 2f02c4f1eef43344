"""Shards: round trips, equal bytes, whole or not at all, and what plain readers see."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest

from chronosplat.data.clip import Clip
from chronosplat.data.sample import ShardOptions
from chronosplat.data.shards import finished_shard, read_clip, read_records, record_name, shard_name, split_address, write_shard
from chronosplat.data.store import Store
from chronosplat.shapes import InputError
from tests.data.shard_kit import data_set, small_clip


def stored(address: str, number: int = 0) -> Clip:
    store, name = split_address(address)
    record = finished_shard(address)
    assert record is not None
    return read_clip(store, name, record.entries[number], check=True).clip()


@pytest.mark.parametrize("geometry", [False, True])
@pytest.mark.parametrize("moving", [False, True])
def test_a_clip_comes_back_exactly(tmp_path: Path, geometry: bool, moving: bool) -> None:
    clip = small_clip("a-1_b", 3, geometry=geometry, moving=moving)
    write_shard(tmp_path / "shard-000000.tar", [small_clip("first", moving=moving), clip])
    back = stored(f"{tmp_path}/shard-000000.tar", 1)
    for f in dataclasses.fields(Clip):
        one, other = getattr(clip, f.name), getattr(back, f.name)
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, f.name
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype


def test_single_frames_equal_those_of_the_clip(tmp_path: Path) -> None:
    clip = small_clip(geometry=True, moving=True)
    record = write_shard(tmp_path / "shard-000000.tar", [clip])
    lazy = read_clip(Store.at(tmp_path), record.file, record.entries[0])
    times, views = [3, 0, 2, 2], [5, 1, 0, 5]
    assert lazy.has_geometry
    assert np.array_equal(lazy.read(times, views), clip.read(times, views))
    assert np.array_equal(lazy.read_geometry(times, views), clip.read_geometry(times, views))
    for one, other in zip((lazy, lazy), (clip, clip), strict=True):
        assert np.array_equal(one.cameras(times, views).viewmats, other.cameras(times, views).viewmats)


def test_the_same_clips_give_the_same_bytes_anywhere(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for address in (f"{tmp_path}/one", f"{tmp_path}/two", "memory://equal"):
        data_set(address, geometry=True)
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert names == sorted(f(shard_name(i)) for i in range(3) for f in (str, record_name))
    for name in names:
        data = (tmp_path / "one" / name).read_bytes()
        assert data == (tmp_path / "two" / name).read_bytes() == memory.cat_file(f"/equal/{name}")


def test_plain_tar_and_webdataset_read_it(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    clip = small_clip("abc", geometry=True)
    write_shard(tmp_path / "shard-000000.tar", [clip, small_clip("def")])
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        members = tar.getmembers()
        assert [m.name for m in members[:2]] == ["abc.json", "abc.000.webp"]
        assert len(members) == 1 + 2 * 6 + 1 + 6
        assert {(m.mtime, m.uid, m.gid, m.mode, m.type) for m in members} == {(0, 0, 0, 0o644, tarfile.REGTYPE)}
    samples = list(wds.WebDataset(str(tmp_path / "shard-000000.tar"), shardshuffle=False).decode())
    assert [s["__key__"] for s in samples] == ["abc", "def"]
    assert samples[0]["json"]["facts"]["uid"] == "uid-abc"
    arrays = samples[0]["003.npz"]
    solid = clip.geometry[2, 3][clip.frames[2, 3, ..., 3] > 0]  # pyright: ignore[reportOptionalSubscript]
    assert np.array_equal(np.sort(arrays["002"].ravel()[arrays["002"].ravel() != 0]), np.sort(solid.ravel()))


def test_entries_hash_their_bytes(tmp_path: Path) -> None:
    record = write_shard(tmp_path / "x.tar", [small_clip("a"), small_clip("b", 1)])
    data = (tmp_path / "x.tar").read_bytes()
    assert record.size == len(data)
    for entry in record.entries:
        assert hashlib.sha256(data[entry.offset : entry.offset + entry.size]).hexdigest() == entry.sha256
    assert [(e.key, e.uid, e.licence, e.times, e.views) for e in record.entries] == [
        ("a", "uid-a", "CC0-1.0", 4, 6),
        ("b", "uid-b", "CC0-1.0", 4, 6),
    ]


def test_notes_are_read_after_the_last_clip(tmp_path: Path) -> None:
    notes: dict[str, str] = {}

    def clips() -> object:
        yield small_clip()
        notes["failed"] = "one asset"

    write_shard(tmp_path / "shard-000000.tar", clips(), notes=notes)  # pyright: ignore[reportArgumentType]
    assert read_records(Store.at(tmp_path))[0].notes == {"failed": "one asset"}


@pytest.mark.parametrize("address", ["local", "memory://broken"])
def test_a_clip_that_fails_leaves_nothing(tmp_path: Path, address: str) -> None:
    def clips() -> object:
        yield small_clip()
        raise RuntimeError("cannot be rendered")

    folder = str(tmp_path) if address == "local" else address
    with pytest.raises(RuntimeError, match="cannot be rendered"):
        write_shard(f"{folder}/shard-000000.tar", clips())  # pyright: ignore[reportArgumentType]
    assert Store.at(folder).names("") == []
    assert finished_shard(f"{folder}/shard-000000.tar") is None
    write_shard(f"{folder}/shard-000000.tar", [small_clip()])  # the address is as good as before
    assert finished_shard(f"{folder}/shard-000000.tar") is not None


def test_a_full_disk_leaves_no_half_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, inner: object) -> None:
            self.inner = inner

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: object) -> None:
            self.inner.close()  # pyright: ignore[reportAttributeAccessIssue]

        def write(self, data: bytes) -> int:
            self.inner.write(data[:1000])  # pyright: ignore[reportAttributeAccessIssue]
            raise OSError(errno.ENOSPC, "No space left on device")

    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", *a, **k: Full(real(self, mode, *a, **k)) if mode == "wb" else real(self, mode, *a, **k)
    )
    with pytest.raises(OSError, match="No space left"):
        write_shard(tmp_path / "shard-000000.tar", [small_clip()])
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_shard_without_its_record_is_not_finished(tmp_path: Path) -> None:
    address = f"{tmp_path}/shard-000000.tar"
    write_shard(address, [small_clip()])
    (tmp_path / "shard-000000.json").unlink()
    assert finished_shard(address) is None
    with pytest.raises(InputError, match="no shards in it"):
        read_records(Store.at(tmp_path))


def test_an_empty_shard_is_finished(tmp_path: Path) -> None:
    record = write_shard(tmp_path / "shard-000000.tar", [], notes={"failed": ["all"]})
    assert record.entries == ()
    assert finished_shard(f"{tmp_path}/shard-000000.tar") == record
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        assert tar.getmembers() == []


def test_lossy_is_smaller(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clip = dataclasses.replace(small_clip(size=64), frames=rng.integers(128, 256, (4, 6, 64, 64, 4), np.uint8))
    lossless = write_shard(tmp_path / "a.tar", [clip])
    assert write_shard(tmp_path / "b.tar", [clip], ShardOptions(quality=50)).size < lossless.size / 2


REFUSED = {
    "two-keys": (lambda f: write_shard(f"{f}/x.tar", [small_clip("a"), small_clip("a")]), "two clips with the key a"),
    "no-tar": (lambda f: write_shard(f"{f}/x.zip", []), "expected the address of a shard, such as DATA/shard-000000.tar"),
    "protocol": (lambda f: write_shard("nowhere://x/y.tar", []), "nowhere://x: cannot be read .*nowhere"),
    "unreachable": (lambda f: read_records(Store.at("ftp://127.0.0.1:9/data")), "ftp://127.0.0.1:9/data: cannot be read .*refused"),
    "absent": (lambda f: read_records(Store.at(f / "nothing")), "no shards in it; expected shard-000000.tar"),
    "quality": (lambda f: ShardOptions(quality=101), "quality: expected 0 to 100, or None"),
    "key": (lambda f: small_clip("../a"), "expected a key of 1 to 80 lower-case letters"),
    "time": (lambda f: dataclasses.replace(small_clip(), seconds=np.array([0, 1, 0.5, 2])), "seconds: expected finite numbers"),
    "frames": (lambda f: dataclasses.replace(small_clip(), width=17), r"frames: expected uint8 \[4, 6, 16, 17, 4\]"),
    "group": (lambda f: dataclasses.replace(small_clip(), groups={"fixed": [6]}), "group 'fixed': expected indices of its 6 views"),
    "no-group": (lambda f: small_clip().group("moving"), "no views 'moving'; it has fixed, random"),
    "no-geometry": (lambda f: small_clip().read_geometry([0], [0]), "has no geometry"),
    "skew": (lambda f: write_shard(f"{f}/x.tar", [dataclasses.replace(small_clip(), Ks=np.ones((6, 3, 3)))]), "without skew"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*REFUSED])
def test_bad_input_is_named(tmp_path: Path, case: str) -> None:
    act, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as found:
        act(tmp_path)
    assert "\n" not in str(found.value)


def test_a_record_that_lies_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "shard-000000.tar", [small_clip("a"), small_clip("b", 1)])
    file = tmp_path / "shard-000000.json"
    for change in ({"file": "../x.tar"}, {"file": "/etc/passwd"}, {"size": 10}, {"entries": [{}]}, {"version": 2}, {"entries": None}):
        text = file.read_text()
        file.write_text(json.dumps(json.loads(text) | change))
        with pytest.raises(InputError, match=r"shard-000000\.json"):
            read_records(Store.at(tmp_path))
        file.write_text(text)
