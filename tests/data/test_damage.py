"""Damaged and hostile shards: every byte may be wrong; the reader raises InputError, reads no other file and stays small."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronosplat.data.sample import encode_sample, parse_sample, tar_members
from chronosplat.data.shards import read_clip, read_records, write_shard
from chronosplat.data.store import Store
from chronosplat.shapes import InputError
from tests.data.shard_kit import small_clip

WHOLE = encode_sample(small_clip(times=2, views=2, geometry=True))


def read_everything(data: bytes) -> None:
    clip = parse_sample(data, "x").clip()
    assert clip.frames.nbytes < 1e6


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_wrong_bytes_never_crash(changes: list[tuple[int, int]], repair: bool) -> None:
    data = bytearray(WHOLE)
    for position, value in changes:
        data[position] = value
    if repair:  # right checksums again, so that what the headers say is believed
        for start in range(0, len(data) - 511, 512):
            if data[start + 257 : start + 262] == b"ustar":
                total = sum(data[start : start + 148]) + 256 + sum(data[start + 156 : start + 512])
                data[start + 148 : start + 154] = b"%06o" % total
    with suppress(InputError):
        read_everything(bytes(data))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(WHOLE)))
def test_any_cut_is_an_error(length: int) -> None:
    if length == len(WHOLE):
        read_everything(WHOLE[:length])
    else:
        with pytest.raises(InputError):
            read_everything(WHOLE[:length])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_noise_is_an_error(data: bytes) -> None:
    with pytest.raises(InputError):
        read_everything(data)


def json_with(change: dict[str, object]) -> bytes:
    """A sample whose description is changed."""
    spans = {name: (start, end) for name, start, end in tar_members(WHOLE, "x")}
    start, end = spans["clip.json"]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (a, b) in spans.items():
            content = json.dumps(json.loads(WHOLE[start:end]) | change).encode() if name == "clip.json" else WHOLE[a:b]
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = file.getvalue()
    return data[: max(b for _, _, b in members_of(data)) + 511 & ~511]


def members_of(data: bytes) -> list[tuple[str, int, int]]:
    found, position = [], 0
    while data[position]:
        size = int(data[position + 124 : position + 135], 8)
        found.append(("", position, position + 512 + size))
        position += 512 + (size + 511) // 512 * 512
    return found


LIES: dict[str, dict[str, object]] = {
    "huge": {"size": [8192, 8193]},
    "many": {"seconds": [0.0] * 60000, "views": [{"poses": [[0.0] * 12], "intrinsics": [[1, 1, 1, 1]]}] * 100},
    "no-times": {"seconds": []},
    "no-views": {"views": []},
    "nan": {"views": [{"poses": [[float("nan")] * 12], "intrinsics": [[1, 1, 1, 1]]}] * 2},
    "focal": {"views": [{"poses": [[0.0] * 12], "intrinsics": [[-1, 1, 1, 1]]}] * 2},
    "rows": {"views": [{"poses": [[0.0] * 12] * 3, "intrinsics": [[1, 1, 1, 1]]}] * 2},
    "version": {"version": 2},
    "types": {"groups": [], "size": "ab"},
    "group": {"groups": {"fixed": [True]}},
    "seconds": {"seconds": [0.0]},
    "size": {"size": [17, 16]},
}


def test_an_unchanged_description_is_accepted() -> None:
    read_everything(json_with({}))


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused(lie: str) -> None:
    with pytest.raises(InputError):
        read_everything(json_with(LIES[lie]))


def hostile(name: str, content: bytes = b"x", **fields: object) -> bytes:
    """A sample with one more member."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return WHOLE + info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "clip.json/../x", "clip..webp", "clip.exe", "a" * 99])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"expected a name such as KEY\.json or KEY\.000\.webp"):
        parse_sample(hostile(name), "x")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE])
def test_links_and_devices_are_refused(kind: bytes) -> None:
    with pytest.raises(InputError, match="not the header of a tar member"):
        parse_sample(hostile("clip.009.webp", type=kind, linkname="/etc/passwd"), "x")


def test_another_clip_s_member_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected the members of one clip.*other\.000\.webp"):
        parse_sample(hostile("other.000.webp"), "x")


def test_a_size_beyond_the_file_is_refused() -> None:
    info = tarfile.TarInfo("clip.009.webp")
    info.size = 2**40
    with pytest.raises(InputError, match=r"is cut off: 1099511627776 bytes, 0 are left|not the header"):
        parse_sample(WHOLE + info.tobuf(tarfile.GNU_FORMAT), "x")


def with_npz(content: bytes) -> bytes:
    """The sample with other geometry of its first view."""
    out = b""
    for name, start, end in tar_members(WHOLE, "x"):
        part = content if name == "clip.000.npz" else WHOLE[start:end]
        info = tarfile.TarInfo(name)
        info.size = len(part)
        out += info.tobuf(tarfile.USTAR_FORMAT) + part + bytes(-len(part) % 512)
    return out


def test_a_zip_bomb_is_not_unpacked() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("000.npy", bytes(50_000_000))
    assert len(file.getvalue()) < 100_000
    with pytest.raises(InputError, match="50000000 bytes for"):
        parse_sample(with_npz(file.getvalue()), "x").read_geometry([0], [0])


def test_pickled_arrays_are_refused() -> None:
    file = io.BytesIO()
    np.savez(file, **{"000": np.array([{}], object)})  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="frame 0 does not decode"):
        parse_sample(with_npz(file.getvalue()), "x").read_geometry([0], [0])


def test_the_read_of_a_damaged_or_cut_shard_names_it(tmp_path: Path) -> None:
    write_shard(tmp_path / "shard-000000.tar", [small_clip("a"), small_clip("b", 1)])
    record = read_records(Store.at(tmp_path))[0]
    file = tmp_path / "shard-000000.tar"
    whole = file.read_bytes()
    file.write_bytes(whole[: record.entries[1].offset + 100])
    read_clip(Store.at(tmp_path), record.file, record.entries[0], check=True)
    with pytest.raises(InputError, match=r"shard-000000\.tar: clip b is damaged \(100 of"):
        read_clip(Store.at(tmp_path), record.file, record.entries[1])
    damaged = bytearray(whole)
    damaged[record.entries[0].size - 600] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(InputError, match="clip a is damaged"):
        read_clip(Store.at(tmp_path), record.file, record.entries[0], check=True)
