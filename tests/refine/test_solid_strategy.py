"""A single static camera is reconstructed as a solid body, without a prediction."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib import import_module

import pytest
import torch

from chronosplat.captures import Views
from chronosplat.events import Cancel, Deadline, Events, Notice
from chronosplat.refine import fit, needs_prediction
from chronosplat.refine.solid.config import SOLID_BEST, SolidConfig
from chronosplat.refine.strategies.solid import why_not
from chronosplat.scenes import DeformableGaussians
from chronosplat.shapes import InputError
from tests.refine.kit import codes, few, moving, psnr_of, said, video, video_views, views, views_of

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


@pytest.mark.parametrize(("strategy", "why"), [("auto", "all views are those of one static camera"), ("solid", "requested")])
def test_no_points_of_a_hull_are_made_and_the_reason_is_said(strategy: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1024 pixels a hull takes 21 s and 5 GB."""

    def no_hull(*_: object) -> None:
        raise AssertionError("random_in_hull was called")

    monkeypatch.setattr(import_module("chronosplat.refine.refine"), "random_in_hull", no_hull)
    notices: list[Notice] = []
    done = fit(front(), replace(SHORT, strategy=strategy), Events(notice=notices.append))
    assert done.facts["why"] == why
    assert f"refinement strategy solid: {why}" in map(str, notices)


def test_views_of_several_sides_are_refused() -> None:
    refusal = "strategy solid: cannot run, because the views are not those of one static camera; use strategy=auto"
    with pytest.raises(InputError, match=refusal):
        fit(video_views(), replace(SHORT, strategy="solid"))


def test_corrections_are_said_to_be_unused() -> None:
    notices: list[Notice] = []
    fit(front(), replace(SHORT, cameras=True, exposure=True), Events(notice=notices.append))
    warned = [str(notice) for notice in notices if notice.level == "warning"]
    assert "camera poses are not corrected: strategy solid takes one static camera as it is; leave out refine_cameras" in warned
    assert "exposures are not corrected: strategy solid takes one static camera as it is; leave out refine_exposure" in warned


def test_a_cancellation_is_told_with_the_steps_until_then() -> None:
    events = Events(progress=lambda stage, done, total, note="": events.cancel.request() if stage == "refine" and done else None)
    done = fit(front(), SHORT, events)
    assert (done.facts["stopped"], done.facts["kept"]) == ("interrupted", False)
    assert done.facts["steps"] == 21  # progress is reported every 20 steps
    assert said(done, "stopped-early") == "refinement stopped early (interrupted); the best state so far is kept"
    assert all(bool(t.isfinite().all()) for t in done.scene.tensors().values())


def test_seconds_bound_the_work() -> None:
    notices: list[Notice] = []
    long = SolidConfig(rounds=4, steps=4, joint=4000, residuals=4000)
    began = time.perf_counter()
    done = fit(front(), replace(SHORT, steps=None, seconds=2.0, solid=long), Events(notice=notices.append))
    assert time.perf_counter() - began < 6  # of minutes; a busy machine is slow
    assert done.facts["stopped"] == ""
    assert 1 < done.facts["steps"] < sum(long.step_counts(6))
    assert "time-short" in [notice.code for notice in notices]


def test_larger_images_are_reduced_and_it_is_said() -> None:
    given, notices = front(), list[Notice]()
    fit(given, replace(SHORT, solid=replace(SHORT.solid, fit_size=16)), Events(notice=notices.append))
    (size,) = [str(notice) for notice in notices if notice.code == "solid-size"]
    assert size == "the body is fitted to images of 16x16, reduced from 32x32; refine=best takes larger ones"
    largest = few(10, solid=replace(SHORT.solid, fit_size=SOLID_BEST.fit_size))
    assert "solid-size" not in codes(fit(front(), largest))


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
