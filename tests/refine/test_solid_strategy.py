"""A single static camera is reconstructed as a solid body, without a prediction."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from chronosplat.captures import Views
from chronosplat.events import Cancel, Deadline, Events, Notice
from chronosplat.refine import fit, needs_prediction
from chronosplat.refine.solid.config import SolidConfig
from chronosplat.refine.strategies.solid import why_not
from chronosplat.scenes import DeformableGaussians
from tests.refine.kit import few, moving, psnr_of, video, video_views, views, views_of

SHORT = few(10, solid=SolidConfig(rounds=2, steps=2, joint=2, residuals=2))


def front() -> Views:
    """Six frames of a static camera."""
    return views_of(moving(), *video(6, sides=False))


def test_which_views_are_those_of_one_static_camera() -> None:
    given = front()
    assert why_not(given) == ""
    assert why_not(video_views()) == "the views are not those of one static camera"
    assert why_not(replace(given, alphas=torch.ones_like(given.alphas), images=given.on_white())) == "the views have no masks"
    assert why_not(replace(given, times=torch.zeros(6, dtype=torch.float64))) == "two views have the same timestamp"
    assert not needs_prediction(given, SHORT)
    assert needs_prediction(given, replace(SHORT, strategy="gentle"))
    assert needs_prediction(video_views(), SHORT)
    assert not needs_prediction(views(), SHORT)  # 24 views of several sides


def test_a_fit_of_one_camera_is_a_solid_body_that_moves() -> None:
    given, notices = front(), list[Notice]()
    done = fit(given, replace(SHORT, solid=SolidConfig(rounds=4, steps=6, joint=16, residuals=16)), Events(notice=notices.append))
    assert isinstance(done.scene, DeformableGaussians)
    assert (done.facts["strategy"], done.facts["kept"]) == ("solid", False)
    assert psnr_of(done.scene, given) > 20
    assert any("refinement strategy solid" in str(notice) for notice in notices)


def test_larger_images_are_reduced_and_it_is_said() -> None:
    given, notices = front(), list[Notice]()
    fit(given, replace(SHORT, solid=replace(SHORT.solid, fit_size=16)), Events(notice=notices.append))
    (said,) = [str(notice) for notice in notices if notice.code == "solid-size"]
    assert said.startswith("the body is fitted to images of 16x16, reduced from 32x32")


def test_a_deadline_ends_by_time_and_by_request() -> None:
    inner = Cancel()
    late = Deadline(inner, 0.05)
    assert not late.requested
    time.sleep(0.06)
    assert late.requested
    assert not inner.requested
    asked = Deadline(inner, 60.0)
    asked.request()
    assert inner.requested
    assert asked.requested
