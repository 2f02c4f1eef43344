"""``.spz``: versions, precision, bounded inflation, and damage below the compression."""

from __future__ import annotations

import gzip
import resource
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronosplat.events import Events, Notice
from chronosplat.export import export, load_scene
from chronosplat.export.formats.spz import SpzOptions
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError, UnavailableError
from tests.export.kit import assert_read_or_refused, matched, mutations, own, relative, written
from tests.scene_kit import covariances, law, static_scene

fuzz = settings(law, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
V4 = SpzOptions(version=4)


def packed(path: Path, raw: bytes) -> Path:
    """A gzip file."""
    path.write_bytes(gzip.compress(raw, 1))
    return path


def header(version: int = 3, count: int = 1, degree: int = 0, bits: int = 12, flags: int = 0) -> bytes:
    """A header of versions 1 to 3."""
    return struct.pack("<4sIIBBBB", b"NGSP", version, count, degree, bits, flags, 0)


def test_one_gaussian_is_packed_as_specified(tmp_path: Path) -> None:
    scene = Gaussians3D(
        means=torch.tensor([[0.5, -0.25, 1.0]]),
        quats=torch.tensor([[0.5, -0.5, 0.5, 0.5]]),
        scales=torch.exp(torch.tensor([[-2.0, -4.0, -9.5]])),
        opacities=torch.tensor([0.2]),
        colors=torch.tensor([[0.5, 1.0, 0.0]]),
    )
    raw = gzip.decompress(written(scene, tmp_path / "a.spz"))
    assert raw[:16] == header(bits=13)
    assert [int.from_bytes(raw[16 + 3 * i : 19 + 3 * i], "little", signed=True) for i in range(3)] == [4096, -2048, 8192]
    assert list(raw[25:32]) == [51, 128, 195, 60, 128, 96, 8]  # opacity; 255 (0.5 + 0.15 f_dc); 16 (log + 10)
    (word,) = struct.unpack("<I", raw[32:])
    half = round(511 * 0.5 * 2**0.5)  # of xyzw = (-1, 1, 1, 1) / 2, x counts as the largest and turns positive
    assert word == 0 << 30 | (512 + half) << 20 | (512 + half) << 10 | (512 + half)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3, 1e6])
def test_positions_keep_their_precision_at_any_scale(tmp_path: Path, size: float) -> None:
    scene = replace(static_scene(20), means=static_scene(20).means * size)
    found = matched(own(load_scene(export(scene, tmp_path / "a.spz"))), scene)
    torch.testing.assert_close(found.means, scene.means, rtol=0, atol=1e-4 * float(scene.means.abs().max()))


def test_positions_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"up to 4 million units from the origin, got 1e\+07; scale the scene down"):
        export(replace(static_scene(1), means=torch.tensor([[1e7, 0, 0]])), tmp_path / "a.spz")


def test_version_4_holds_the_same(tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    scene = static_scene(300)
    three, four = (load_scene(export(scene, tmp_path / f"{o.version}.spz", options=o)) for o in (SpzOptions(), V4))
    for name, tensor in three.tensors().items():
        assert torch.equal(four.tensors()[name], tensor), name


def test_version_4_without_zstandard_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UnavailableError, match=r"needs zstandard; pip install 'chronosplat\[spz4\]', or use version 3"):
        export(static_scene(), tmp_path / "a.spz", options=V4)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b.spz").write_bytes(struct.pack("<4sIIBBBBI12x", b"NGSP", 4, 1, 0, 12, 0, 5, 32) + bytes(100))
    with pytest.raises(UnavailableError, match=r"pip install 'chronosplat\[spz4\]'"):
        load_scene(tmp_path / "b.spz")


def test_version_2_is_read(tmp_path: Path) -> None:
    body = np.array([4096, 0, -4096], "<i4").view(np.uint8).reshape(3, 4)[:, :3].tobytes() + bytes([255, 128, 128, 128, 160, 160, 160])
    found = load_scene(packed(tmp_path / "a.spz", header(2) + body + bytes([255, 127, 127]))).at(0.0)
    assert found.means.tolist() == [[1, 0, -1]]
    expected = torch.eye(3, dtype=torch.float64)[None]
    assert relative(covariances(found), expected) < 0.02
    torch.testing.assert_close(found.quats.abs(), torch.tensor([[0.0, 1, 0, 0]]), rtol=0, atol=0.1)


def test_harmonics_and_extensions_are_left_out(tmp_path: Path) -> None:
    raw = gzip.decompress(written(static_scene(1), tmp_path / "a.spz"))
    notices: list[Notice] = []
    extended = header(degree=3, bits=raw[13], flags=2) + raw[16:] + bytes([128] * 45) + b"vendors"
    found = load_scene(packed(tmp_path / "b.spz", extended), Events(notice=notices.append))
    assert torch.equal(found.at(0.0).means, load_scene(tmp_path / "a.spz").at(0.0).means)
    assert [n.code for n in notices] == ["harmonics"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"ABCD" + header()[4:] + bytes(20), "not an .spz file"),
        (header(1) + bytes(17), "version 1, expected 2, 3 or 4"),
        (header(9) + bytes(20), "version 9, expected 2, 3 or 4"),
        (header(degree=5) + bytes(20), "damaged header"),
        (header(bits=25) + bytes(20), "damaged header"),
        (header() + bytes(19), r"cut short \(19 of 20 bytes\)"),
        (header() + bytes(21), "more than its header announces"),
        (header()[:9], r"cut short \(9 of 16 bytes\)"),
        (header(count=2**32 - 1) + bytes(20), "cannot hold"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.spz: .*{message}"):
        load_scene(packed(tmp_path / "a.spz", raw))


def test_a_gzip_bomb_is_not_inflated(tmp_path: Path) -> None:
    bomb = packed(tmp_path / "a.spz", header() + bytes(100_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="more than its header announces"):
        load_scene(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


def test_a_zstd_bomb_is_not_inflated(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    whole = written(static_scene(1), tmp_path / "a.spz", options=V4)
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(100_000_000))
    first = struct.unpack_from("<Q", whole, 32)[0]
    changed = whole[:32] + struct.pack("<Q", len(bomb)) + whole[40:112] + bomb + whole[112 + first :]
    (tmp_path / "a.spz").write_bytes(changed)
    with pytest.raises(InputError, match="damaged, an attribute of 9 bytes has more"):
        load_scene(tmp_path / "a.spz")


@fuzz
@given(st.data(), st.sampled_from([3, 4]))
def test_damage_below_the_compression_is_refused_or_read(tmp_path: Path, data: st.DataObject, version: Any) -> None:
    if version == 4:
        pytest.importorskip("zstandard")
    path = tmp_path / "a.spz"
    whole = written(static_scene(30), path, options=SpzOptions(version=version))
    if version == 3:
        packed(path, data.draw(mutations(gzip.decompress(whole))))
    else:
        path.write_bytes(data.draw(mutations(whole)))
    assert_read_or_refused(path)
