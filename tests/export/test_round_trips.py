"""Every format gives back what was written, within its quantisation and the right way up; damaged files give one clear error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronosplat.cameras import orbit
from chronosplat.events import Events
from chronosplat.export import export, formats, load_scene
from chronosplat.metrics import psnr
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError
from tests.export.kit import STATIC_SUFFIXES, assert_read_or_refused, matched, mutations, own, refusal, relative, written
from tests.scene_kit import covariances, law, moving_scene, seeds, static_scene, tilted_world

BYTE = 0.5 / 255 + 1e-6
# suffix: positions relative to the extent, covariances relative to their norm, opacities, colours
TOLERANCES = {
    ".ply": (1e-6, 1e-5, 1e-6, 1e-6),
    ".splat": (1e-6, 0.03, BYTE, BYTE),
    ".splatv": (1e-6, 0.005, BYTE, BYTE),
    ".spz": (1e-4, 0.08, BYTE, 0.28209479 / 0.15 * BYTE),
    ".compressed.ply": (1.1e-3, 0.03, BYTE, BYTE),
    ".sog": (3e-5, 0.06, BYTE, 0.01),
}
fuzz = settings(law, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
@law
@given(seeds(), st.integers(1, 40), st.sampled_from([0.01, 1.0, 300.0]))
def test_gaussians_come_back(tmp_path_factory: pytest.TempPathFactory, suffix: str, seed: int, count: int, size: float) -> None:
    scene = static_scene(count, seed, replace(tilted_world(), scale=size))
    found = load_scene(export(scene, tmp_path_factory.mktemp("trip") / f"a{suffix}"))
    assert type(found) is Gaussians3D
    expected = own(replace(scene, means=scene.means * size, scales=scene.scales * size))
    upright = replace(found, means=found.means * found.world.scale, scales=found.scales * found.world.scale)
    found = matched(own(upright), expected)
    position, shape, opacity, color = TOLERANCES[suffix]
    extent = float(expected.means.abs().max()) + float((expected.means.amax(0) - expected.means.amin(0)).max())
    torch.testing.assert_close(found.means, expected.means, rtol=0, atol=position * extent)
    assert relative(covariances(found), covariances(expected)) <= shape
    torch.testing.assert_close(found.opacities, expected.opacities, rtol=0, atol=opacity)
    torch.testing.assert_close(found.colors, expected.colors, rtol=0, atol=color)


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
def test_up_is_the_formats_own(tmp_path: Path, suffix: str) -> None:
    above = replace(static_scene(1), means=torch.tensor([[0.0, 0.5, 0.0]]))
    entry = formats()[suffix]
    read = entry.read
    assert read is not None
    path = export(above, tmp_path / f"a{suffix}")
    raw = read(path, Events()).at(0.0).means
    sign = 1 if entry.up == "y" else -1
    torch.testing.assert_close(raw, torch.tensor([[0.0, sign * 0.5, 0.0]]), rtol=0, atol=1e-3)
    torch.testing.assert_close(own(load_scene(path)).means, above.means, rtol=0, atol=1e-3)


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
def test_renderings_stay_the_same(tmp_path: Path, suffix: str) -> None:
    scene = replace(static_scene(400, 3), scales=static_scene(400, 3).scales * 0.3)
    found = load_scene(export(scene, tmp_path / f"a{suffix}"))
    cameras = orbit([10.0, 130.0, 250.0], [20.0, -15.0, 5.0], size=64)
    before, after = (render(own(s), cameras, [0.0] * 3, backend="reference").rgb for s in (scene, found))
    assert min(psnr(a, b) for a, b in zip(after, before, strict=True)) > (80 if suffix == ".ply" else 38)


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
@pytest.mark.parametrize("count", [1, 255, 256, 257, 1025])
def test_any_number_of_gaussians(tmp_path: Path, suffix: str, count: int) -> None:
    assert load_scene(export(static_scene(count), tmp_path / f"a{suffix}")).num_gaussians == count


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
def test_extreme_gaussians_are_written(tmp_path: Path, suffix: str) -> None:
    scene = replace(
        static_scene(4),
        means=torch.zeros(4, 3),
        quats=torch.tensor([[1.0, 0, 0, 0], [0, -3, 0, 0], [1, 1, 1, 1], [0, 0, 0, -1e-3]]),
        scales=torch.tensor([[0.0, 0, 0], [1e-9, 1, 100], [1, 1, 1], [1, 1, 1]]),
        opacities=torch.tensor([0.5, 1.0, 0.004, 0.9]),
        colors=torch.tensor([[0.0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 1]]),
    )
    path = export(scene, tmp_path / f"a{suffix}")
    assert load_scene(path).num_gaussians == 4
    assert refusal(path) == ""


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
def test_the_same_scene_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    assert written(static_scene(50), tmp_path / f"a{suffix}") == written(static_scene(50), tmp_path / f"b{suffix}")


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
def test_numbered_files_of_every_format(tmp_path: Path, suffix: str) -> None:
    scene = moving_scene(20)
    path = export(scene, tmp_path / f"take_####{suffix}", times=3)
    found = load_scene(path)
    assert found.timestamps(9) == scene.timestamps(3)
    last, expected = found.at(3.5), scene.at(3.5)
    assert last.num_gaussians == int((expected.opacities >= 1 / 255).sum())
    assert float(last.opacities.max()) == pytest.approx(float(expected.opacities.max()), abs=BYTE)


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
def test_a_time_at_which_nothing_is_visible_does_not_break_a_sequence(tmp_path: Path, suffix: str) -> None:
    scene = replace(moving_scene(3), time_centers=torch.tensor([-1.0, -1, 1]), time_sigmas=torch.full((3,), 0.1))
    found = load_scene(export(scene, tmp_path / f"take_####{suffix}", times=3))
    seen = [int((found.at(t).opacities > 0).sum()) for t in found.timestamps(3)]
    assert seen == [2, 0, 1]


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
@fuzz
@given(st.data())
def test_damaged_files_are_refused_or_read(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    scene = moving_scene(30) if suffix in (".ply", ".splatv") else static_scene(30)
    path = tmp_path / f"a{suffix}"
    whole = written(scene, path)
    path.write_bytes(data.draw(mutations(whole)))
    before = sorted(tmp_path.iterdir())
    assert_read_or_refused(path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"ply\n", b"NGSP", b"\x1f\x8b", b"PK\x03\x04", b"\x4b\x67\x00\x00\xff\xff\xff\xff", b"x" * 31]
)
def test_files_of_nothing_are_refused(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"a{suffix}: "):
        load_scene(path)


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
def test_every_quantised_format_says_what_it_loses(suffix: str) -> None:
    assert bool(formats()[suffix].loses) == (suffix != ".ply")


@pytest.mark.parametrize("suffix", STATIC_SUFFIXES)
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    whole = written(static_scene(40), path)
    for length in (len(whole) - 1, len(whole) // 2 - 5, 41, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=rf"a{suffix}: "):
            load_scene(path)


@pytest.mark.parametrize("suffix", [".ply", ".splat", ".splatv"])
def test_positions_that_are_no_numbers_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    whole = written(replace(static_scene(3), means=torch.tensor([[1.5, 2.5, 3.5]] * 3)), path, up="capture")
    number = torch.tensor([2.5]).numpy().tobytes()
    assert number in whole
    path.write_bytes(whole.replace(number, torch.tensor([torch.nan]).numpy().tobytes(), 1))
    with pytest.raises(InputError, match=r"damaged, 1 of 9 values of the means are NaN or infinite$"):
        load_scene(path)
