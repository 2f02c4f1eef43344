"""Refinement from end to end: it gains where there is something to gain, and keeps what is good."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache

import pytest
import torch

import chronosplat
from chronosplat.cameras import orbit
from chronosplat.events import Events
from chronosplat.metrics import mean_psnr
from chronosplat.refine import Problem, Refined, fit, refine_scene
from chronosplat.refine.config import GentleConfig
from chronosplat.refine.refine import choose_strategies
from chronosplat.refine.training_views import training_views
from chronosplat.scenes import DeformableGaussians, Gaussians3D, Gaussians4D
from tests.refine.kit import (
    WIDTHS,
    Recorder,
    blobs,
    codes,
    few,
    psnr_of,
    ring,
    said,
    same,
    still,
    unseen,
    video_views,
    views,
    views_of,
    wrong,
)
from tests.scene_kit import tilted_world


@cache
def refined() -> Refined:
    """100 steps from many sides."""
    return refine_scene(wrong(blobs()), views(), few(100, strategy="free"))


def test_views_that_it_never_saw_are_better_afterwards() -> None:
    before, after = wrong(blobs()), refined().scene
    assert psnr_of(after, views()) > psnr_of(before, views()) + 4.5
    assert psnr_of(after, unseen()) > psnr_of(before, unseen()) + 2.5


def test_the_facts_say_what_was_done() -> None:
    facts = refined().facts
    assert facts["strategy"] == "free"
    assert (facts["steps"], facts["held_out"], facts["kept"], facts["stopped"], facts["seed"]) == (100, 0, False, "", 0)
    assert facts["psnr_held_out"] is facts["psnr_held_out_before"] is None  # of a single start nothing is searched
    assert facts["gaussians"] == blobs().num_gaussians
    assert 0 < facts["until"] <= 1
    assert codes(refined()) == []


def test_a_scene_in_another_world_and_other_seconds_stays_there() -> None:
    world = tilted_world()
    scene = replace(wrong(blobs()), world=world)
    there = replace(views(), cameras=views().cameras.transformed(world))
    done = refine_scene(scene, there, few(100, strategy="free")).scene
    assert isinstance(done, Gaussians4D)
    assert (done.world, done.clock, done.seconds) == (scene.world, scene.clock, scene.seconds)
    away = replace(unseen(), cameras=unseen().cameras.transformed(world))
    assert psnr_of(done, away) == pytest.approx(psnr_of(refined().scene, unseen()), abs=0.1)
    assert psnr_of(done, away) > psnr_of(scene, away) + 2.5


def test_the_result_depends_on_nothing_but_the_seed() -> None:
    torch.manual_seed(123)
    assert same(refine_scene(wrong(blobs()), views(), few(100, strategy="free")).scene, refined().scene)


@pytest.mark.parametrize("steps", [1, 10])
def test_too_few_steps_from_a_new_start_do_not_spoil_the_prediction(steps: int) -> None:
    scene = wrong(blobs())
    done = refine_scene(scene, views(), few(steps))
    assert psnr_of(done.scene, views()) >= psnr_of(scene, views())
    assert done.facts["kept"] == (done.scene is scene)


def test_next_to_no_time_does_not_spoil_the_prediction() -> None:
    scene = wrong(blobs())
    done = refine_scene(scene, views(), replace(few(), steps=None, seconds=1e-7))
    assert psnr_of(done.scene, views()) >= psnr_of(scene, views())


def test_a_perfect_scene_seen_from_one_side_is_kept() -> None:
    done = refine_scene(blobs(), video_views(), few(40))
    assert done.scene is blobs()
    assert done.facts["strategy"] == "gentle"
    assert done.facts["kept"] is True
    assert done.facts["psnr_held_out"] is None
    assert "the prediction is kept" in said(done, "prediction-kept")


def test_gentle_steps_mend_a_scene_that_is_nearly_right() -> None:
    scene = wrong(blobs(), 0.01, 0.0)
    done = refine_scene(scene, video_views(), few(60))
    assert done.facts["strategy"] == "gentle"
    assert psnr_of(done.scene, video_views()) > psnr_of(scene, video_views()) + 6
    assert psnr_of(done.scene, unseen()) > psnr_of(scene, unseen()) + 2


@pytest.mark.parametrize(("count", "strategies"), [(5, ["gentle"]), (6, ["deform", "free"])])
def test_bodies_and_free_gaussians_only_where_views_are_many(count: int, strategies: list[str]) -> None:
    cameras = orbit([360 / count * i for i in range(count)], [0.0, 20.0, -20.0, 0.0, 20.0, -20.0][:count], size=32)
    seen = views_of(blobs(), cameras, torch.zeros(count, dtype=torch.float64))
    found = Problem(blobs(), seen, training_views(blobs(), seen), few(10), Events())
    assert [strategy.name for strategy in choose_strategies(found)[0]] == strategies


def test_one_view_takes_few_steps() -> None:
    one = views()[[0]]
    assert refine_scene(wrong(blobs()), one, replace(few(500), search=0.3)).facts["steps"] == GentleConfig().max_steps_blind


def test_gentle_steps_are_few_whatever_the_budget() -> None:
    assert refine_scene(wrong(blobs(), 0.01, 0.0), video_views(), few(100_000, batch=1)).facts["steps"] <= GentleConfig().max_steps


def test_a_static_scene_from_several_sides() -> None:
    scene = wrong(still(), 0.02, 0.0)
    done = refine_scene(scene, ring(), few(60, strategy="gentle"))
    assert isinstance(done.scene, Gaussians3D)
    assert done.scene.world == scene.world
    assert done.facts["held_out"] == 2
    assert psnr_of(done.scene, ring()) > psnr_of(scene, ring()) + 3.5


def test_progress_rises_to_the_end() -> None:
    record = Recorder()
    done = refine_scene(wrong(blobs()), views(), few(40, free=WIDTHS), record.events())
    assert record.shares == sorted(record.shares)
    assert record.shares[-1] == 1
    assert all(0 < share <= 1 for share in record.shares)
    assert max(record.psnrs) == pytest.approx(done.facts["psnr_held_out"], abs=0.006)


def test_without_a_search_all_steps_go_into_the_one_run() -> None:
    done = refine_scene(wrong(blobs()), views(), few(80, strategy="free", search=0.0))
    assert (done.facts["held_out"], done.facts["steps"], done.facts["psnr_held_out"]) == (0, 80, None)
    assert psnr_of(done.scene, unseen()) > psnr_of(wrong(blobs()), unseen()) + 3


def test_from_random_points_it_gets_better_than_white() -> None:
    done = fit(views(), few(30, strategy="free"))
    white = mean_psnr(torch.ones_like(unseen().images), unseen().on_white())
    assert isinstance(done.scene, Gaussians4D)
    assert done.scene.seconds == views().seconds
    assert (done.facts["strategy"], done.facts["start"]) == ("free", "random points")
    assert psnr_of(done.scene, views()) > white + 17
    assert psnr_of(done.scene, unseen()) > white + 14


def test_random_points_lead_to_the_same_scene_every_time() -> None:
    """They are thousands, so that sums over neighbours are shared among threads."""
    done = fit(views(), few(60, strategy="free")).scene
    assert done.num_gaussians >= 4000
    assert same(fit(views(), few(60, strategy="free")).scene, done)


@pytest.mark.parametrize("scene", [wrong(blobs()), wrong(still())])
def test_the_public_door_returns_a_scene_of_the_same_kind(scene: Gaussians4D | Gaussians3D) -> None:
    given = views() if isinstance(scene, Gaussians4D) else ring()
    assert type(chronosplat.refine(scene, given, steps=40, strategy="gentle")) is type(scene)
    assert chronosplat.refine(scene, given, how="off") is scene


def test_the_public_door_logs_its_notices(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chronosplat")
    assert chronosplat.refine(blobs(), video_views(), steps=20) is blobs()
    assert "the prediction is kept" in caplog.text
    assert "refinement strategy gentle" in caplog.text


def test_the_public_door_works_under_no_grad() -> None:
    with torch.no_grad():
        done = chronosplat.refine(wrong(blobs()), views(), steps=100)
    assert psnr_of(done, views()) > psnr_of(wrong(blobs()), views()) + 5
    assert not any(t.requires_grad for t in done.tensors().values())


def test_a_body_can_be_refined_again() -> None:
    once = refine_scene(wrong(blobs()), views(), few(60, strategy="deform")).scene
    assert isinstance(once, DeformableGaussians)
    again = refine_scene(once, views(), few(60))
    assert again.facts["strategy"] == "deform"
    assert psnr_of(again.scene, views()) >= psnr_of(once, views())
