"""Studios: the same pictures from a capture in any world, clear words for what is missing, and perfect scores for a perfect model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.captures import Views
from chronosplat.evaluate.benchmark import EvalConfig, Networks, Results, Row, evaluate_setup
from chronosplat.evaluate.setups import PAPER, SETUPS, random_inputs
from chronosplat.evaluate.studio import CaptureStudio, Split, ViewSpec, split_of
from chronosplat.scenes import quats_to_matrices
from chronosplat.shapes import InputError
from tests.evaluate.kit import RING, Knowing, mesh_studio, moved, ring, ring_studio, scene_studio
from tests.scene_kit import tilted_world

WORLDS = {
    "the same": Similarity(),
    "turned, larger, elsewhere": tilted_world(),
    "turned, smaller, elsewhere": Similarity(
        0.3, quats_to_matrices(torch.tensor([0.1, -0.9, 0.3, 0.2], dtype=torch.float64)), torch.tensor([5.0, 2.0, -7.0])
    ),
}
PLACED = ("alternating", "interpolation", "rotating", "video")  # set-ups that ask for cameras in certain places


def dnerf(held_out: bool = True) -> CaptureStudio:
    """One camera per moment, as in D-NeRF: even moments may go in, odd ones are held back."""
    mesh = mesh_studio()
    some = [mesh.get_views([mesh.random_view(t, "capture") for t in range(first, 24, 2)]) for first in (0, 1)]
    return CaptureStudio("dnerf", moved(some[0]), moved(some[1]) if held_out else None)


def seen(views: Views) -> set[bytes]:
    """Which pictures these are, by camera and moment."""
    return {torch.cat([v.double().flatten(), t[None]]).numpy().tobytes() for v, t in zip(views.cameras.viewmats, views.times, strict=True)}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", PLACED)
def test_a_capture_in_any_world_has_the_pictures_that_a_mesh_has(world: str, name: str) -> None:
    studio = CaptureStudio("ring", moved(ring(), WORLDS[world]))
    assert studio.input_frames == studio.target_frames == list(range(8))
    ours = studio.get_views(SETUPS[name].inputs(studio, 8))
    theirs = mesh_studio(8).get_views(SETUPS[name].inputs(mesh_studio(8), 8))
    assert torch.equal(ours.images, theirs.images)
    assert torch.equal(ours.alphas, theirs.alphas)
    assert ours.times.tolist() == theirs.times.tolist()


@pytest.mark.parametrize("name", PAPER)
def test_a_whole_capture_is_split_as_a_mesh_is(name: str) -> None:
    """The random target of a moment may be one of the cameras that went in: then it is left out, as is a picture that was asked for."""
    found = split_of(ring_studio(), SETUPS[name].inputs(ring_studio(), 8))
    assert len(seen(found.inputs)) == len(found.inputs)
    assert len(seen(found.targets)) == len(found.targets) == len(found.canonical)
    assert not seen(found.inputs) & seen(found.targets)
    if name in PLACED:
        theirs = split_of(mesh_studio(8), SETUPS[name].inputs(mesh_studio(8), 8))
        assert torch.equal(found.targets[found.canonical].images, theirs.targets[theirs.canonical].images)


@pytest.mark.parametrize("name", ["alternating", "interpolation", "video"])
def test_cameras_a_little_off_go_in_or_are_asked_for_but_once(name: str) -> None:
    """A set-up asks for a place, a random target for the camera that stands near it: both are the same picture."""
    mesh = mesh_studio(8)
    views = mesh.get_views(
        [ViewSpec(azimuth, elevation, t) for t in range(8) for azimuth, elevation in ((0, 0), (92, 1), (179, -2), (271, 0))]
    )
    studio = CaptureStudio("off", moved(views))
    found = split_of(studio, SETUPS[name].inputs(studio, 8))
    assert not seen(found.inputs) & seen(found.targets)
    assert len(seen(found.targets)) == len(found.targets) == len(views) - len(found.inputs)
    assert bool(found.canonical.all())


def test_random_shots_of_a_capture_are_its_own_and_always_the_same() -> None:
    first = [ring_studio().random_view(t, "inputs") for t in range(8)]
    assert [CaptureStudio("ring", moved(ring())).random_view(t, "inputs") for t in range(8)] == first
    assert all(ring_studio().has(shot) for shot in first)
    assert len({round(shot.azimuth) for shot in first}) > 3
    assert [CaptureStudio("other", moved(ring())).random_view(t, "inputs") for t in range(8)] != first
    assert [CaptureStudio("ring", moved(ring()), seed=1).random_view(t, "inputs") for t in range(8)] != first


@pytest.mark.parametrize("count", [1, 5, 8, 30])
def test_random_inputs_of_a_capture(count: int) -> None:
    shots = random_inputs(ring_studio(), count)
    assert 0.5 * count < len(shots) == len(set(shots)) <= count
    assert len(seen(ring_studio().get_views(shots))) == len(shots)


@pytest.mark.parametrize(("off", "there"), [(0.0, True), (4.0, True), (-4.0, True), (6.0, False), (7.5, False)])
def test_cameras_may_stand_five_degrees_off(off: float, there: bool) -> None:
    for azimuth in (0.0, 90.0, 345.0):
        assert ring_studio().has(ViewSpec(azimuth + off, 0.0, 3)) is there
        assert ring_studio().has(ViewSpec(azimuth, off, 3)) is there


def test_the_missing_camera_is_named() -> None:
    kept = [i for i in range(len(ring())) if RING[i % 24] != 180.0 or i >= 24 * 4]
    studio = CaptureStudio("cut", moved(ring()[kept]))
    at = ring().times[2 * 24]
    place = rf"azimuth 180, elevation 0 degrees at {float(at):g} s"
    missing = r"within 5 degrees \(1 of 8 views missing\); use setup=random$"
    with pytest.raises(InputError, match=rf"^cut: the set-up needs a camera at {place}, .* {missing}"):
        split_of(studio, SETUPS["alternating"].inputs(studio, 8))
    assert len(split_of(studio, SETUPS["random"].inputs(studio, 8)).inputs) == 8


def test_a_capture_with_one_camera_per_moment() -> None:
    studio = dnerf()
    assert studio.input_frames == list(range(0, 24, 2))
    assert studio.target_frames == list(range(24))
    found = split_of(studio, SETUPS["random"].inputs(studio, 24))
    assert torch.equal(found.inputs.times, studio.views.times[: studio.num_inputs])
    assert torch.equal(found.targets.images, studio.views.images[studio.num_inputs :])  # all that were held back, and nothing else
    with pytest.raises(InputError, match=r"^dnerf: the set-up needs a camera at azimuth .* use setup=random$"):
        split_of(studio, SETUPS["alternating"].inputs(studio, 24))


def test_pictures_held_back_never_go_in() -> None:
    """Though they stand where a set-up would like to have one."""
    views = moved(ring())
    canonical = [i for i in range(len(views)) if RING[i % 24] in (90.0, 180.0, 270.0)]
    others = [i for i in range(len(views)) if i not in canonical]
    studio = CaptureStudio("held", views[others], views[canonical])
    held = seen(views[canonical])
    for again in range(4):
        assert not seen(studio.get_views([studio.random_view(t, "inputs", again) for t in range(8)])) & held
    assert held <= seen(split_of(studio, SETUPS["random"].inputs(studio, 8)).targets)
    with pytest.raises(InputError, match="needs a camera at azimuth 90"):
        split_of(studio, SETUPS["alternating"].inputs(studio, 8))


def test_nothing_left_to_ask_for_is_refused() -> None:
    studio = dnerf(held_out=False)
    with pytest.raises(InputError, match=r"^dnerf: every view is an input, no target is left; give a capture with more views"):
        split_of(studio, SETUPS["random"].inputs(studio, 24))


@pytest.mark.parametrize("which", [[0, 5], [3]])
def test_a_split_refuses_targets_that_are_inputs(which: list[int]) -> None:
    views = ring()
    inputs, targets = views[list(range(6))], views[[*range(6, 10), *which]]
    with pytest.raises(InputError, match=f"^targets: {len(which)} of {4 + len(which)} are also inputs; choose other targets$"):
        Split(inputs, targets, torch.ones(len(targets), dtype=torch.bool))


def test_the_same_camera_at_another_moment_is_another_picture() -> None:
    inputs, targets = ring()[list(range(24))], ring()[list(range(24, 48))]
    assert torch.equal(inputs.cameras.viewmats, targets.cameras.viewmats)
    assert len(Split(inputs, targets, torch.ones(24, dtype=torch.bool)).targets) == 24


def test_a_view_of_a_mesh_is_rendered_once() -> None:
    studio = mesh_studio(8)
    shots = SETUPS["video"].inputs(studio, 8)
    first = studio.get_views(shots)
    kept = dict(studio.rendered)
    assert torch.equal(studio.get_views(shots[::-1]).images.flip(0), first.images)
    assert all(studio.rendered[shot] is kept[shot] for shot in shots)


def rows_of(model: Knowing, setup: str) -> tuple[Row, Results, Tensor]:
    """The row of the feed-forward method, all results, and the targets' flags."""
    studio = scene_studio()
    config = EvalConfig(("gaussians",))
    results = Results(config)
    split = SETUPS[setup].split(studio)
    rows = list(evaluate_setup(studio.name, setup, split, model, ("feed-forward",), config, Networks(), results))
    assert len(rows) == 1
    return rows[0], results, split.canonical


@pytest.mark.parametrize("setup", PAPER)
def test_a_perfect_prediction_scores_as_such(setup: str) -> None:
    row, results, canonical = rows_of(Knowing(scene_studio().scene), setup)
    assert min(row.psnr, row.psnr_canonical, row.psnr_random, row.psnr_foreground) > 90
    assert row.ssim > 1 - 1e-6
    assert row.flicker < 1e-6
    assert row.silhouette_iou == pytest.approx(1, abs=1e-4)
    assert math.isnan(row.lite0)
    assert math.isnan(row.track_error)  # the scene follows no points
    assert row.targets == len(canonical)
    assert row.gaussians == scene_studio().scene.num_gaussians
    assert len(results.images[0].rendered["feed-forward"]) == len(results.images[0].targets) == 4


def test_a_wrong_prediction_does_not() -> None:
    scene = scene_studio().scene
    row, _, canonical = rows_of(Knowing(scene.map(lambda t: t.flip(-1) if t is scene.colors else t)), "alternating")
    assert row.psnr < 40
    assert row.psnr_foreground < row.psnr
    share = float(canonical.double().mean())
    assert row.psnr == pytest.approx(share * row.psnr_canonical + (1 - share) * row.psnr_random)
