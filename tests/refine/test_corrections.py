"""Corrections of poses and exposures: they are found, reported and returned."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest
import torch

from chronosplat.cameras import Cameras
from chronosplat.captures import Views
from chronosplat.metrics import mean_psnr
from chronosplat.refine import Refined, fit, refine_scene
from chronosplat.refine.config import GentleConfig
from chronosplat.refine.optimise import Budget, Outcome, optimise
from chronosplat.refine.parameters import fields_of
from chronosplat.refine.training_views import render_views, training_views
from tests.refine.kit import blobs, codes, few, psnr_of, unseen, video_views, views, wrong
from tests.scene_kit import tilted_world


def turned(cameras: Cameras, degrees: float = 1.0) -> Cameras:
    """All cameras but the first, turned about random axes."""
    random = torch.Generator().manual_seed(0)
    axes = torch.nn.functional.normalize(torch.randn(len(cameras), 3, generator=random), dim=-1) * degrees * torch.pi / 180
    axes[0] = 0
    x, y, z = axes.unbind(-1)
    o = torch.zeros_like(x)
    turn = torch.eye(4).repeat(len(cameras), 1, 1)
    turn[:, :3, :3] = torch.linalg.matrix_exp(torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).view(-1, 3, 3))
    return replace(cameras, viewmats=turn @ cameras.viewmats)


def otherwise_exposed(given: Views) -> Views:
    """The views with a gain of their own for each channel."""
    gains = 1 + 0.06 * torch.randn(len(given), 1, 1, 3, generator=torch.Generator().manual_seed(2))
    return replace(given, images=(given.images * gains).clamp(0, 1))


def rotation_error(found: Cameras, right: Cameras) -> float:
    """Norm of the difference between rotations; the first camera is left out."""
    return float((found.viewmats - right.viewmats).double()[1:, :3, :3].norm())


def corrected(given: Views, steps: int = 40, **enabled: bool) -> tuple[float, Outcome]:
    """PSNR of the right scene on the views with their corrections, all Gaussians fixed but for their colours."""
    scene, config = blobs(), few(steps, **enabled)
    lrs = {**dict.fromkeys(config.free.lrs, 0.0), "colors": 1e-4}
    training = training_views(scene, given)
    every = range(len(training))
    outcome = optimise(fields_of(scene), training, every, config, Budget(steps), lrs, False)
    with torch.no_grad():
        shown = render_views(outcome.fields, training, every, "cpu", viewmats=outcome.corrections.poses(training.viewmats))[0]
        return mean_psnr(outcome.corrections.exposed(shown, every), training.on_white(range(len(training)))), outcome


def test_poses_that_are_a_little_off_are_corrected() -> None:
    given = replace(views(), cameras=turned(views().cameras))
    without, _ = corrected(given)
    found, outcome = corrected(given, cameras=True)
    assert found > without + 8  # 31.6 and 44.4 dB
    after = outcome.corrections.cameras(given.cameras, blobs().world)
    assert after is not None
    assert torch.equal(after.viewmats[0], given.cameras.viewmats[0])  # the first camera holds the world
    assert rotation_error(after, views().cameras) < 0.65 * rotation_error(given.cameras, views().cameras)


def test_images_of_other_exposure_are_corrected() -> None:
    given = otherwise_exposed(views())
    without, _ = corrected(given, 120)
    found, _ = corrected(given, 120, exposure=True)
    assert found > without + 0.5


@pytest.mark.parametrize("enabled", [{"cameras": True}, {"exposure": True}, {"cameras": True, "exposure": True}])
def test_corrections_go_with_a_refinement(enabled: dict[str, bool]) -> None:
    done = refine_scene(wrong(blobs()), replace(views(), cameras=turned(views().cameras, 0.3)), few(80, strategy="free", **enabled))
    assert not done.facts["stopped"]
    assert psnr_of(done.scene, unseen()) > psnr_of(wrong(blobs()), unseen()) + 1.5
    reported = {"cameras": ("cameras_turned_degrees", "cameras_moved"), "exposure": ("exposure_gain", "exposure_offset")}
    for what, names in reported.items():
        for name in names:
            assert (name in done.facts) == enabled.get(what, False)
            assert done.facts.get(name, 1.0) > 0
    assert (done.cameras is not None) == enabled.get("cameras", False)
    assert (done.exposure is not None) == enabled.get("exposure", False)


@cache
def refined() -> Refined:
    return refine_scene(wrong(blobs()), replace(views(), cameras=turned(views().cameras)), few(160, strategy="free", cameras=True))


def test_renderings_from_the_corrected_cameras_beat_those_from_the_given_ones() -> None:
    given = replace(views(), cameras=turned(views().cameras))
    done = refined()
    assert done.cameras is not None
    assert len(done.cameras) == len(given)
    assert (done.cameras.width, done.cameras.height) == (given.cameras.width, given.cameras.height)
    assert torch.equal(done.cameras.Ks, given.cameras.Ks)
    torch.testing.assert_close(done.cameras.viewmats[0], given.cameras.viewmats[0])
    assert psnr_of(done.scene, replace(given, cameras=done.cameras)) > psnr_of(done.scene, given) + 2
    assert rotation_error(done.cameras, views().cameras) < 0.8 * rotation_error(given.cameras, views().cameras)


def test_corrected_cameras_are_in_the_capture_s_world() -> None:
    """In small steps: where all fields move freely, Adam makes steps of differences in rounding, too, and they grow."""
    world, config = tilted_world(), few(40, strategy="gentle", search=0.0, cameras=True)
    given = replace(views(), cameras=turned(views().cameras))
    there = replace(given, cameras=given.cameras.transformed(world))
    done, wanted = refine_scene(replace(wrong(blobs()), world=world), there, config), refine_scene(wrong(blobs()), given, config)
    assert done.cameras is not None
    assert wanted.cameras is not None
    assert psnr_of(done.scene, replace(there, cameras=done.cameras)) > psnr_of(done.scene, there) + 1.5
    here = done.cameras.transformed(world.inverse())
    torch.testing.assert_close(here.viewmats, wanted.cameras.viewmats.to(here.viewmats), atol=2e-5, rtol=0)
    assert float((here.viewmats - given.cameras.viewmats).abs().max()) > 0.01


def test_the_returned_exposure_explains_the_images() -> None:
    given = otherwise_exposed(views())
    blind = GentleConfig(max_steps_blind=120)
    done = refine_scene(blobs(), given, few(120, exposure=True, search=0.0, strategy="gentle", gentle=blind))
    assert done.exposure is not None
    gains, offsets = done.exposure
    assert gains.shape == offsets.shape == (len(given), 3)
    training = training_views(done.scene, given)
    with torch.no_grad():
        shown = render_views(fields_of(done.scene), training, range(len(given)), "cpu")[0]
        exposed = shown * gains[:, None, None] + offsets[:, None, None]
    assert (
        mean_psnr(exposed, training.on_white(range(len(training)))) > mean_psnr(shown, training.on_white(range(len(training)))) + 0.3
    )  # 40.6 and 41.1 dB


def test_facts_about_the_only_camera_are_numbers() -> None:
    """It is fixed, so nothing is averaged; a report must be JSON."""
    done = refine_scene(wrong(blobs()), views()[[0]], few(10, cameras=True))
    json.dumps(done.facts, allow_nan=False)


def test_a_fit_returns_its_corrections() -> None:
    given = replace(views(), cameras=turned(views().cameras))
    done = fit(given, few(80, cameras=True, exposure=True))
    assert done.facts["cameras_moved"] > 0
    assert done.cameras is not None
    assert done.exposure is not None
    assert psnr_of(done.scene, replace(given, cameras=done.cameras)) > psnr_of(done.scene, given) + 0.5


def test_a_scene_that_is_kept_keeps_its_cameras() -> None:
    done = refine_scene(blobs(), video_views(), few(40, cameras=True, exposure=True))
    assert done.facts["kept"] is True
    assert "prediction-kept" in codes(done)
    assert done.cameras is None
    assert done.exposure is None
