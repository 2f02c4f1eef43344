"""The whole: a video, a single image, two objects, frames without an object."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import chronosplat as cs
from chronosplat.cameras import orbit
from chronosplat.captures import Views
from chronosplat.events import Events
from chronosplat.metrics import psnr
from chronosplat.refine.solid.config import SolidConfig
from chronosplat.refine.solid.plan import PROBED
from chronosplat.refine.solid.solid import solid_body
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError
from tests.refine.solid.kit import bar, sliding_bar, spoil_losses, video

SHORT = SolidConfig(rounds=8, steps=8, joint=12, residuals=40)


def fit(scene: Scene, views: Views) -> float:
    out = cs.render(scene, views.cameras, views.times if scene.seconds else None)
    return psnr(out.rgb, views.on_white())


def test_a_video_becomes_one_body() -> None:
    views = sliding_bar(5)
    refined = solid_body(views, SHORT)
    assert fit(refined.scene, views) > 28
    assert refined.scene.seconds == (0.0, 4.0)
    assert abs(fit(refined.scene, views) - refined.facts["psnr"]) < 0.5
    between = cs.render(refined.scene, views.cameras[[0]], [1.5]).alpha
    seen = [float((views.alphas[i] * between[0]).sum()) for i in (1, 2)]
    assert min(seen) > 0.7 * float(between.sum())


def test_it_is_solid_from_the_side_and_the_back() -> None:
    views = sliding_bar(3)
    scene = solid_body(views, SHORT).scene
    cameras = orbit([0.0, 90.0, 180.0], 0.0, 48)
    alpha = cs.render(scene, cameras, [1.0, 1.0, 1.0]).alpha[..., 0]
    front, side, back = alpha
    torch.testing.assert_close(back.flip(1).sum() / front.sum(), torch.tensor(1.0), atol=0.1, rtol=0)
    rows = side.amax(1) > 0.5
    assert float((side > 0.5).sum(1)[rows].float().median()) > 4  # about as deep as it is wide
    for image in (front, side, back):
        covered = image > 0.5
        inner = torch.nn.functional.avg_pool2d(covered.float()[None], 5, 1, 2)[0] > 0.99
        assert float(image[inner].min()) > 0.95


def test_a_single_image_becomes_a_static_scene() -> None:
    views = video([bar(24, 24, 0.4, 26, 11)])
    refined = solid_body(views, SHORT)
    assert refined.scene.seconds is None
    assert refined.scene.num_frames == 1
    assert fit(refined.scene, views) > 28


def test_large_frames_are_tracked_small_and_fitted_whole() -> None:
    views = sliding_bar(3)
    refined = solid_body(views, replace(SHORT, track_size=24))
    assert fit(refined.scene, views) > 27
    assert refined.facts["gaussians"] == solid_body(views, SHORT).facts["gaussians"]


def test_two_objects_move_on_their_own() -> None:
    frames = []
    for i in range(4):
        (left, red), (right, blue) = bar(12 + i, 14, 0.2, 14, 7), bar(36 - i, 34 - 2 * i, 1.2, 14, 7)
        frames.append((torch.maximum(left, right), torch.where((left > right)[..., None], red, blue)))
    views = video(frames)
    assert fit(solid_body(views, SHORT).scene, views) > 26


def test_frames_without_an_object_are_left_out_and_said() -> None:
    views = sliding_bar(5)
    alphas = views.alphas.clone()
    alphas[2] = 0
    refined = solid_body(replace(views, alphas=alphas), SHORT)
    assert refined.scene.num_frames is None
    assert len(refined.scene.tensors()["knots"]) == 4
    assert [notice.code for notice in refined.notices] == ["empty-frames"]
    assert "1 of 5 frames" in str(refined.notices[0])


def test_an_object_that_leaves_the_image_is_said() -> None:
    views = video([bar(44, 24, 0.0, 26, 9), bar(42, 24, 0.0, 26, 9)])
    assert "leaves-image" in [notice.code for notice in solid_body(views, SHORT).notices]


def test_it_is_in_the_captures_world() -> None:
    """A camera elsewhere, on a scene of another size."""
    views = sliding_bar(3)
    moved = replace(views, cameras=orbit([70.0] * 3, 20.0, 48))
    scene = solid_body(moved, SHORT).scene
    assert fit(scene, moved) > 26
    assert float(scene.at(1.0).means.mean(0).norm()) < 0.4


def test_progress_is_reported_and_short_budgets_work() -> None:
    seen: list[str] = []
    events = Events(progress=lambda stage, done, total, note="": seen.append(stage))
    refined = solid_body(sliding_bar(3), SolidConfig(rounds=2, steps=0, joint=0, residuals=0), events)
    assert refined.facts["steps"] == 0
    assert "track" in seen


@pytest.mark.parametrize(("module", "call", "steps"), [("follow", 3, 0), ("polish", 2 * PROBED + 5, 4), ("polish", 2 * PROBED + 60, 59)])
def test_a_gradient_that_is_not_finite_is_said_and_the_rest_kept(
    module: str, call: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While tracking, and in both parts of the fit, of 50 steps each, after some that measure their speed."""
    spoil_losses(monkeypatch, module, call, 1.0, math.nan)
    refined = solid_body(sliding_bar(3), SHORT)
    assert (refined.facts["stopped"], refined.facts["steps"]) == ("a gradient became NaN", steps)
    (said,) = [str(notice) for notice in refined.notices if notice.code == "stopped-early"]
    assert said == "refinement stopped early (a gradient became NaN); the best state so far is kept"
    assert all(bool(t.isfinite().all()) for t in refined.scene.tensors().values())


def test_steps_follow_the_number_of_frames() -> None:
    config = SolidConfig(joint=10, residuals=20)
    assert config.step_counts(48) == (120, 240)
    assert config.step_counts(1) == (50, 50)
    assert SolidConfig(joint=0, residuals=0).step_counts(48) == (0, 0)


@pytest.mark.parametrize("name", ["rounds", "steps", "joint", "residuals"])
def test_negative_budgets_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: expected 0 or more, got -1"):
        SolidConfig(**{name: -1})
