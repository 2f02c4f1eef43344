"""Our files, read by libraries of other people: the same renderings, the right way up. benchmarks/foreign.py asks more judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from chronosplat.cameras import orbit
from chronosplat.export import export, formats, load_scene, read_ply
from chronosplat.export.coordinates import upright
from chronosplat.export.formats.spz import SpzOptions
from chronosplat.export.packing import SH_C0
from chronosplat.metrics import psnr
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D, Gaussians4D, Scene, normalize
from tests.export.foreign_kit import needs_node, node
from tests.export.kit import own, written
from tests.scene_kit import moving_scene

CAMERAS = orbit([20.0, 140.0, 260.0], [15.0, -10.0, 40.0], size=64)
TIMES = (2.5, 3.0, 3.5)
Convert = Callable[[bytes, str, str], bytes]


@pytest.fixture(scope="module")
def convert() -> Convert:
    """gaussforge: bytes, format in, format out -> bytes."""
    gaussforge: Any = pytest.importorskip("gaussforge", reason="gaussforge is not installed")

    def run(data: bytes, source: str, target: str) -> bytes:
        return gaussforge.GaussForge().convert(data, source, target)["data"]

    return run


def scene() -> Gaussians4D:
    """Many small moving Gaussians."""
    made = moving_scene(400, 5)
    return replace(made, scales=made.scales * 0.3, time_sigmas=made.time_sigmas + 0.5)


def worst(found: Scene, expected: Scene) -> float:
    """The least PSNR of three views, each scene in its own world."""
    before, after = (render(own(s), CAMERAS, [0.0] * 3, backend="reference").rgb for s in (expected, found))
    return min(psnr(a, b) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize(("suffix", "limit"), [(".ply", 80.0), (".splat", 45.0), (".spz", 38.0), (".compressed.ply", 40.0), (".sog", 38.0)])
def test_files_that_we_write_render_the_same(tmp_path: Path, convert: Convert, suffix: str, limit: float) -> None:
    for seconds in TIMES:
        still = scene().at(seconds)
        data = written(still, tmp_path / f"a{suffix}")
        (tmp_path / "b.ply").write_bytes(convert(data, suffix[1:], "ply"))
        # it converts numbers and leaves the axes as they are in the file
        assert worst(upright(read_ply(tmp_path / "b.ply"), formats()[suffix].up), still) > limit


@needs_node
@pytest.mark.parametrize("version", [3, 4])
def test_the_library_of_spz_s_authors_reads_and_writes_the_same(tmp_path: Path, version: int) -> None:
    pytest.importorskip("zstandard", reason="zstandard is not installed (extra spz4)")
    still = scene().at(3.0)
    path = export(still, tmp_path / "a.spz", options=SpzOptions(version=version))
    again = tmp_path / "b.spz"
    raw = {name: torch.tensor(values) for name, values in node("spz.mjs", path, again, version).items()}
    found = Gaussians3D(
        means=raw["positions"].reshape(-1, 3),
        quats=normalize(raw["rotations"].reshape(-1, 4)[:, [3, 0, 1, 2]]),
        scales=raw["scales"].reshape(-1, 3).exp(),
        opacities=raw["alphas"].sigmoid(),
        colors=0.5 + SH_C0 * raw["colors"].reshape(-1, 3),
    )
    assert worst(upright(found, "y"), still) > 45
    assert worst(load_scene(path), upright(found, "y")) > 80  # the same numbers
    assert worst(load_scene(again), still) > 45


@pytest.mark.parametrize(("suffix", "limit"), [(".ply", 80.0), (".splat", 40.0), (".spz", 35.0), (".compressed.ply", 38.0), (".sog", 35.0)])
def test_files_that_others_write_are_read(tmp_path: Path, convert: Convert, suffix: str, limit: float) -> None:
    still = scene().at(3.0)
    plain = written(still, tmp_path / "a.ply", up=formats()[suffix].up)
    (tmp_path / f"b{suffix}").write_bytes(convert(plain, "ply", suffix[1:]))
    assert worst(load_scene(tmp_path / f"b{suffix}"), still) > limit


def test_a_4d_ply_is_a_3dgs_ply_at_the_time_centres(tmp_path: Path, convert: Convert) -> None:
    moving = scene()
    data = convert(written(moving, tmp_path / "a.ply", up="capture"), "ply", "splat")
    found = torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(-1, 8)[:, :3]
    distance = (found[:, None] - moving.means[None]).norm(dim=-1)
    assert float(distance.min(1).values.max()) < 1e-6
    assert isinstance(read_ply(tmp_path / "a.ply"), Gaussians4D)
    assert type(moving.at(3.0)) is Gaussians3D
