"""One body from a sequence: it keeps world and seconds, has no flicker, and takes given views along."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor

import chronosplat as cs
from chronosplat.cameras import orbit
from chronosplat.captures import Views
from chronosplat.events import Events, Notice
from chronosplat.metrics.video import flicker
from chronosplat.refine import Refined, body_from_sequence, refine_scene
from chronosplat.refine.from_sequence import cameras_around, repeats_of, sequence_views
from chronosplat.refine.strategies.frames import is_sequence
from chronosplat.render import render
from chronosplat.scenes import DeformableGaussians, GaussianSequence, StoredSequence, save_scene, to_sequence
from chronosplat.shapes import InputError
from tests.refine.kit import blobs, few, psnr_of, ring, said, still, unseen, video, views_of
from tests.scene_kit import tilted_world

VIEWS = 16  # of a frame


def flickering(frames: int = 8) -> GaussianSequence:
    """The blobs, with other errors of place and colour in every frame."""
    scene = to_sequence(blobs(), torch.linspace(0, 2, frames, dtype=torch.float64))
    random = torch.Generator().manual_seed(5)
    noise = lambda t, by: by * torch.randn(t.shape, generator=random)
    colors = (scene.colors + 0.15 * torch.randn(frames, 1, 3, generator=random)).clamp(0, 1)
    return replace(scene, means=scene.means + noise(scene.means, 0.02), colors=colors)


@cache
def converted() -> Refined:
    return body_from_sequence(flickering(), few(150), size=48)


def film() -> tuple[Tensor, ...]:
    """A static camera's view of the blobs, at the sequence's timestamps."""
    times = torch.linspace(0, 2, 8, dtype=torch.float64)
    cameras = orbit([30.0] * 8, 10.0, size=48)
    wanted, before, after = (render(s, cameras, times, cull=False).rgb for s in (blobs(), flickering(), converted().scene))
    return tuple(torch.tensor(flicker(x, wanted, cameras, times)) for x in (before, after))


def test_it_is_one_body_in_the_same_world_and_seconds() -> None:
    done = converted()
    assert isinstance(done.scene, DeformableGaussians)
    assert done.scene.seconds == (0.0, 2.0)
    assert (done.facts["frames"], done.facts["views"]) == (8, 8 * VIEWS)
    assert done.facts["strategy"] == "deform"
    assert psnr_of(done.scene, unseen()) > psnr_of(flickering(), unseen()) + 1
    assert str(done.notices[-1]).startswith("8 frames of 300 Gaussians became one body of ")


def test_flicker_is_gone() -> None:
    before, after = film()
    assert float(after) < 0.5 * float(before)


def test_a_tilted_world_gives_the_same_body_there() -> None:
    world = tilted_world()
    here, there = (body_from_sequence(s, few(60), size=32).scene for s in (flickering(3), flickering(3).with_world(world)))
    cameras, times = unseen().cameras, unseen().times
    seen = render(here, cameras, times).rgb, render(there, cameras.transformed(world), times).rgb
    assert float((seen[0] - seen[1]).abs().mean()) < 0.02


def test_a_stored_sequence_is_the_same(tmp_path: Path) -> None:
    save_scene(flickering(3), tmp_path / "s.safetensors")
    stored = sequence_views(StoredSequence(tmp_path / "s.safetensors"), 24, 24, Events(), "cpu")
    kept = sequence_views(flickering(3), 24, 24, Events(), "cpu")
    assert torch.equal(stored.pixels, kept.pixels)
    assert stored.pixels.dtype == torch.uint8


def test_views_frame_the_object_wherever_it_is() -> None:
    """Object and cameras together: a scene far from its origin and ten times as large looks the same."""
    scene = flickering(2)
    moved = replace(scene, means=10 * scene.means + torch.tensor([40.0, -7.0, 3.0]), scales=10 * scene.scales)
    for width, height in ((24, 24), (40, 24), (24, 40)):
        near, far = (sequence_views(s, width, height, Events(), "cpu") for s in (scene, moved))
        assert float((near.images - far.images).abs().mean()) < 0.01
        border = torch.cat([near.alphas[:, 0], near.alphas[:, -1], near.alphas[:, :, 0], near.alphas[:, :, -1]], 1)
        assert float(border.max()) < 0.5
        assert float(near.alphas.mean((1, 2, 3)).min()) > 0.05
    assert near.up is not None


def test_its_cameras_are_apart_and_above_and_below() -> None:
    cameras = cameras_around(still().world, 24, 24)
    assert len(cameras) == VIEWS
    heights = cameras.centers[:, 1]
    assert int((heights > 0.3).sum()) == int((heights < -0.1).sum()) == VIEWS // 2
    directions = cameras.forwards @ cameras.forwards.T - 2 * torch.eye(VIEWS, dtype=cameras.forwards.dtype)
    assert float(directions.max()) < 0.85


def test_long_sequences_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("chronosplat.refine.from_sequence"), "MAX_FRAMES", 3)
    views = sequence_views(flickering(8), 16, 16, Events(), "cpu")
    assert views.times.unique().tolist() == pytest.approx([0.0, 8 / 7, 2.0])


@pytest.mark.parametrize("scene", [still(), to_sequence(still(), [0.5])], ids=["static", "one frame"])
def test_what_does_not_move_has_one_knot(scene: cs.Scene) -> None:
    done = body_from_sequence(scene, few(60), size=32)
    assert isinstance(done.scene, DeformableGaussians)
    assert len(done.scene.knots) == 1
    assert done.scene.seconds is None
    assert psnr_of(done.scene, ring()) > 25


def test_frames_that_show_nothing_are_left_out() -> None:
    scene = flickering(4)
    opacities = scene.opacities.clone()
    opacities[2] = 1e-4
    views = sequence_views(replace(scene, opacities=opacities), 16, 16, Events(), "cpu")
    assert len(views) == 3 * VIEWS
    assert float(scene.times[2]) not in views.times.tolist()
    assert [str(n) for n in views.notices] == ["1 of 4 frames show nothing and are left out"]


def nothing(opacity: float, frames: int = 2) -> GaussianSequence:
    """Frames without anything opaque, of three Gaussians."""
    few = GaussianSequence(**{name: t[:, :3] if t.ndim > 1 else t for name, t in flickering(frames).tensors().items()})  # pyright: ignore[reportArgumentType]
    return replace(few, opacities=torch.full_like(few.opacities, opacity))


def empty(frames: int, count: int) -> GaussianSequence:
    """Frames without Gaussians, or no frames."""
    shapes = {"means": 3, "quats": 4, "scales": 3, "opacities": 0, "colors": 3}
    fields = {name: torch.zeros(frames, count, *([width] if width else [])) for name, width in shapes.items()}
    return GaussianSequence(**fields, times=torch.arange(frames, dtype=torch.float64))  # pyright: ignore[reportArgumentType]


def broken() -> GaussianSequence:
    """A sequence with a NaN in its second frame."""
    scene = flickering(2)
    means = scene.means.clone()
    means[1, 7, 0] = float("nan")
    return replace(scene, means=means)


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (nothing(0.01), "no Gaussian of its 2 frames has an opacity above 0.1"),
        (nothing(0.2), "none of its 2 frames shows anything opaque"),
        (empty(2, 0), "2 frames of 0"),
        (empty(0, 5), "0 frames of 5"),
        (broken(), "means at 2 s: 1 of 900"),
    ],
)
def test_nothing_to_fit(scene: GaussianSequence, message: str) -> None:
    with pytest.raises(InputError, match=message):
        body_from_sequence(scene, few(10), size=16)


def test_a_cancelled_conversion_keeps_the_sequence() -> None:
    events, scene = Events(), flickering(2)
    events.cancel.request()
    done = body_from_sequence(scene, few(10), events, size=16)
    assert done.scene is scene
    assert done.facts["gaussians"] == 300


def test_given_views_take_half_of_the_turns() -> None:
    repeats = repeats_of(96, 12)
    assert sum(repeats[96:]) == sum(repeats[:96]) == 96
    assert repeats_of(4, 40) == (1,) * 44
    assert repeats_of(3, 0) == (1, 1, 1)


def test_refining_a_sequence_by_deform_makes_a_body_of_it_and_the_views() -> None:
    """The views' colours win over the sequence's, which are too dark, where they see."""
    wrong = replace(flickering(4), colors=0.5 * flickering(4).colors)
    views = views_of(blobs(), *video(8, sides=False))
    done = cs.refine(wrong, views, steps=200, strategy="deform")
    assert isinstance(done, DeformableGaussians)
    assert psnr_of(done, views) > psnr_of(wrong, views) + 3


@cache
def facing() -> Views:
    """A static camera's views at the timestamps of eight frames."""
    return views_of(blobs(), *video(8, sides=False))


@pytest.mark.parametrize("strategy", ["auto", "deform"])
def test_a_sequence_and_its_views_become_a_body(strategy: str) -> None:
    """Auto keeps it only if it follows the sequence."""
    done = refine_scene(flickering(), facing(), replace(few(120), strategy=strategy))
    assert isinstance(done.scene, DeformableGaussians)
    assert done.facts["psnr_views"] > done.facts["psnr_views_before"] + 3
    assert done.facts["psnr_views"] == pytest.approx(psnr_of(done.scene, facing()), abs=0.01)
    assert done.facts["psnr_views_before"] == pytest.approx(psnr_of(flickering(), facing()), abs=0.01)
    assert psnr_of(done.scene, unseen()) > psnr_of(flickering(), unseen()) + 1


def left(scene: GaussianSequence, views: Views, steps: int = 30) -> str:
    """Why auto leaves a sequence to the strategy frames."""
    notices: list[Notice] = []
    done = refine_scene(scene, views, few(steps), Events(notices.append))
    assert isinstance(done.scene, GaussianSequence)
    assert done.facts["strategy"] == "frames"
    return " ".join(str(notice) for notice in notices)


def test_auto_refines_frame_by_frame_where_a_body_has_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "fewer than 6 frames" in left(flickering(5), facing())
    opaque = replace(facing(), images=facing().on_white(), alphas=torch.ones_like(facing().alphas))
    assert "the views have no masks" in left(flickering(), opaque)
    assert "no body can be made of the sequence (scene: none of its 8 frames" in left(nothing(0.2, 8), facing())
    assert "too short for a body; the sequence is refined frame by frame" in left(flickering(), facing(), 4)
    place = import_module("chronosplat.refine.from_sequence")
    monkeypatch.setattr(place, "psnr_on_views", lambda scene, views, device: 30.0 if scene.kind == "GaussianSequence" else 29.0)
    assert "input views: sequence 30.00 dB, body 29.00 dB; " in left(flickering(), facing(), 120)
    monkeypatch.undo()
    monkeypatch.setattr(place, "worst_overlap", lambda body, rendered, device: (0.5, 0.25))
    assert "silhouettes overlap by 0.50 at 0.25 s, where the body follows worst; the seq" in left(flickering(), facing(), 120)


def test_the_overlap_is_that_of_the_worst_frame() -> None:
    scene = flickering(4)
    rendered = sequence_views(scene, 24, 24, Events(), "cpu")
    overlap = import_module("chronosplat.refine.from_sequence").worst_overlap
    assert overlap(scene, rendered) == (1.0, 0.0)
    opacities = scene.opacities.clone()
    opacities[2] = 1e-4
    assert overlap(replace(scene, opacities=opacities), rendered) == (0.0, float(scene.times[2]))


def test_a_body_that_is_requested_is_made_where_it_is_worse_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    place = import_module("chronosplat.refine.from_sequence")
    monkeypatch.setattr(place, "psnr_on_views", lambda scene, views, device: 30.0 if scene.kind == "GaussianSequence" else 29.0)
    done = refine_scene(flickering(3), facing()[[0, 4, 7]], replace(few(120), strategy="deform"))
    assert isinstance(done.scene, DeformableGaussians)
    assert said(done, "body-views").startswith("input views: sequence 30.00 dB, body 29.00 dB; ")
    assert next(n for n in done.notices if n.code == "body-views").level == "warning"


def test_views_without_masks_do_not_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the white around the object would be part of it."""
    notices: list[Notice] = []
    opaque = replace(facing(), images=facing().on_white(), alphas=torch.ones_like(facing().alphas))
    done = refine_scene(flickering(), opaque, replace(few(20), strategy="deform"), Events(notices.append))
    assert done.facts["views"] == 8 * VIEWS
    assert "the body is fitted to the sequence alone" in " ".join(str(n) for n in notices)


def test_views_of_other_seconds_are_refused() -> None:
    views = views_of(blobs(), *video(8, sides=False))
    with pytest.raises(InputError, match="not of one capture"):
        cs.refine(flickering(4), replace(views, times=views.times + 50), steps=10, strategy="deform")


def test_a_static_body_is_no_sequence() -> None:
    """It has one frame, but no timestamps; refinement cannot take it frame by frame."""
    assert not is_sequence(body_from_sequence(still(), few(40), size=16).scene)
    assert is_sequence(flickering(2))
    assert is_sequence(to_sequence(still(), [0.5]))
