"""Conversions: a sequence is the scene at its times, pieces stay near their Gaussians and look like them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import Cameras, orbit
from chronosplat.metrics import mean_psnr
from chronosplat.render import render
from chronosplat.scenes import DeformableGaussians, Gaussians4D, Scene, StoredSequence, save_scene, to_linear_motion, to_sequence
from chronosplat.shapes import InputError
from tests.scene_kit import moving_scene, sequence_scene, static_scene, tilted_world
from tests.scenes.test_deformable import body

SECONDS = [2.0, 3.1, 5.0]


def calm(residuals: bool = True, count: int = 300) -> DeformableGaussians:
    """A body of many small Gaussians whose motion is not too wild for its knots."""
    scene = body(count, residuals=residuals)
    offsets, tints = scene.offsets, scene.tints
    more = {} if offsets is None or tints is None else {"offsets": 0.3 * offsets, "tints": tints}
    if scene.fades is not None:
        more["fades"] = 1 - 0.2 * (1 - scene.fades)
    return replace(scene, shifts=0.5 * scene.shifts, turns=0.5 * scene.turns, **more)


def seen(scene: Scene) -> tuple[Cameras, Tensor]:
    """Three views at each of three times."""
    cameras = orbit([0.0, 120.0, 240.0] * 3, [10.0, -20.0, 40.0] * 3, size=64).transformed(scene.world)
    return cameras, torch.tensor(SECONDS, dtype=torch.float64).repeat_interleave(3)


def static_body() -> DeformableGaussians:
    return replace(body(), knots=torch.tensor([2.0], dtype=torch.float64), shifts=torch.zeros(1, 6, 3), turns=torch.zeros(1, 6, 3))


@pytest.mark.parametrize("residuals", [False, True])
def test_pieces_look_like_the_body(residuals: bool) -> None:
    scene = calm(residuals)
    done = to_linear_motion(scene)
    assert 300 < done.scene.num_gaussians < 300 * 20
    cameras, times = seen(scene)
    wanted, found = (render(s, cameras, times, cull=False).rgb for s in (scene, done.scene))
    assert mean_psnr(found, wanted) > 34
    still = render(scene, cameras[3:], torch.full_like(times[3:], 2.0)).rgb
    assert mean_psnr(still, wanted[3:]) < mean_psnr(found, wanted) - 8  # else nothing moves


def test_a_smaller_tolerance_is_nearer_and_takes_more_pieces() -> None:
    scene = calm()
    rough, fine = to_linear_motion(scene, 2.0), to_linear_motion(scene, 0.25)
    assert fine.scene.num_gaussians > rough.scene.num_gaussians
    assert fine.mean < rough.mean
    assert fine.largest < rough.largest


def test_the_error_is_of_the_captures_world() -> None:
    scene = calm()
    done, larger = to_linear_motion(scene), to_linear_motion(scene.with_world(replace(scene.world, scale=2 * scene.world.scale)))
    longest = float(scene.scales.max()) * scene.world.scale
    assert 0 < done.mean < done.largest < 2 * longest
    assert larger.largest == pytest.approx(2 * done.largest)
    text = str(done.notice())
    assert text.startswith(f"300 Gaussians became {done.scene.num_gaussians} pieces")
    assert f"{done.largest:.2g} at most" in text


def test_the_error_is_the_distance_over_all_times() -> None:
    """Of one Gaussian all pieces are its own: their mean by opacity, at sampled times and midway."""
    scene = calm(residuals=False, count=1)
    done = to_linear_motion(scene, tolerance=4.0)
    off = []
    for seconds in torch.linspace(2, 5, 65).tolist():
        pieces, wanted = done.scene.at(seconds), scene.at(seconds)
        weights = pieces.opacities[:, None]
        off.append(float(((weights * pieces.means).sum(0) / weights.sum() - wanted.means[0]).norm()))
    assert done.largest == pytest.approx(max(off), rel=1e-3)
    assert done.mean == pytest.approx(sum(off) / len(off), rel=1e-3)


def test_pieces_are_within_the_tolerance_at_the_sampled_times() -> None:
    scene = calm(residuals=False)
    done = to_linear_motion(scene, tolerance=0.5)
    assert done.largest < 0.6 * float(scene.scales.amax(-1).max()) * scene.world.scale


def test_straight_motion_stays_one_gaussian() -> None:
    scene = body(residuals=False)
    ramp = ((scene.knots - 2) / 3).float()[:, None, None]
    straight = replace(scene, shifts=ramp * torch.tensor([0.4, -0.2, 0.1]).expand(6, 3), turns=torch.zeros_like(scene.turns))
    done = to_linear_motion(straight)
    assert done.scene.num_gaussians == scene.num_gaussians
    assert done.largest < 1e-4
    assert done.scene.seconds == scene.seconds


def test_a_tint_takes_pieces_with_colours_of_their_own() -> None:
    scene = body(4, residuals=True)
    assert scene.tints is not None
    assert scene.offsets is not None
    tints = torch.zeros_like(scene.tints)
    tints[-2:, int(scene.groups[0]), 1] = -0.5  # pyright: ignore[reportOptionalSubscript]
    still = replace(
        scene,
        shifts=0 * scene.shifts,
        turns=0 * scene.turns,
        offsets=0 * scene.offsets,
        tints=tints,
        colors=torch.full((4, 3), 0.8),
        shares=None,
    )
    done = to_linear_motion(still)
    assert done.scene.num_gaussians > 4
    assert done.largest < 1e-4
    early, late = (done.scene.colors[(done.scene.time_centers - t).abs() < 0.2][:, 1] for t in (-1.0, 1.0))
    assert float(early.min()) == pytest.approx(0.8, abs=0.05)
    assert float(late.min()) == pytest.approx(0.3, abs=0.05)


def test_a_static_body_stays_at_all_times() -> None:
    scene = static_body()
    done = to_linear_motion(scene)
    assert done.scene.num_gaussians == scene.num_gaussians
    for seconds in (-100.0, 2.0, 1000.0):
        for name, wanted in scene.at(seconds).tensors().items():
            torch.testing.assert_close(getattr(done.scene.at(seconds), name), wanted, atol=1e-4, rtol=1e-4)


def test_what_is_linear_stays_as_it_is() -> None:
    assert to_linear_motion(moving_scene()).scene.tensors().keys() == moving_scene().tensors().keys()
    still = static_scene(world=tilted_world())
    torch.testing.assert_close(to_linear_motion(still).scene.at(7.0).means, still.at(0.0).means)
    assert isinstance(to_linear_motion(still).scene, Gaussians4D)


@pytest.mark.parametrize("make", [lambda: body(residuals=True), static_body, static_scene, moving_scene])
def test_a_sequence_is_the_scene_at_its_times(make: Callable[[], Scene]) -> None:
    scene = make()
    found = to_sequence(scene, SECONDS)
    assert found.num_frames == 3
    for seconds in SECONDS:
        wanted = scene.at(seconds)
        for name, value in found.at(seconds).tensors().items():
            torch.testing.assert_close(value, wanted.tensors()[name])


def test_evaluated_in_parts_or_at_once_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = to_sequence(body(), SECONDS)
    monkeypatch.setattr("chronosplat.scenes.convert.SPLATS_PER_CALL", 1)
    for name, value in to_sequence(body(), SECONDS).tensors().items():
        torch.testing.assert_close(value, whole.tensors()[name])


def test_a_stored_sequence_is_read(tmp_path: Path) -> None:
    scene = sequence_scene()
    save_scene(scene, tmp_path / "scene.safetensors")
    found = to_sequence(StoredSequence(tmp_path / "scene.safetensors"), scene.times[1:])
    torch.testing.assert_close(found.means, scene.means[1:])


@pytest.mark.parametrize(("times", "message"), [([], "at least one"), ([[1.0]], "shape"), ([2.0, 1.0], "increase")])
def test_wrong_times(times: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_sequence(moving_scene(), times)


def test_a_sequence_has_no_trajectories() -> None:
    with pytest.raises(InputError, match=r"GaussianSequence with other scales.*body_from_sequence"):
        to_linear_motion(sequence_scene())


@pytest.mark.parametrize(("tolerance", "samples"), [(0.0, 9), (float("nan"), 9), (1.0, 1)])
def test_wrong_arguments(tolerance: float, samples: int) -> None:
    with pytest.raises(InputError, match="to_linear_motion"):
        to_linear_motion(body(), tolerance, samples)
