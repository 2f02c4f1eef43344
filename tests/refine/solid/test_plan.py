"""Seconds are kept, and said before; large images are given up before steps are."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from chronosplat.events import Events, Notice
from chronosplat.refine.optimise import Budget
from chronosplat.refine.solid.config import SolidConfig
from chronosplat.refine.solid.plan import SHORT, Clock, Speeds, make_plan
from chronosplat.refine.solid.solid import solid_body
from chronosplat.scenes import Scene
from tests.refine.solid.kit import sliding_bar

SPEEDS = Speeds(track=4.0, joint=0.03, residual=0.04)
CONFIG = SolidConfig(joint=16, residuals=16)


@pytest.mark.parametrize("enlarged", [1.0, 1.5, 2.0, 3.9, 4.0])
def test_levels_rise_to_the_images_by_at_most_two(enlarged: float) -> None:
    plan = make_plan(SPEEDS, CONFIG, 24, enlarged, None)
    levels = torch.tensor(plan.levels)
    assert (plan.levels[0], plan.share) == (1.0, 1.0)
    torch.testing.assert_close(levels[-1], torch.tensor(enlarged))
    assert bool((levels[1:] <= 2.0001 * levels[:-1]).all())
    assert len(plan.counts) == len(plan.parts) == len(levels) + 1
    assert plan.counts[:2] == CONFIG.step_counts(24)
    assert all(a >= b for a, b in zip(plan.counts[1:], plan.counts[2:], strict=False))


def test_without_a_budget_nothing_is_cut() -> None:
    plan, clock = make_plan(SPEEDS, CONFIG, 24, 4.0, None), Clock(None)
    assert [plan.budget(part, clock) for part in range(4)] == [Budget(count) for count in plan.counts]
    assert plan.seconds > 4.0 + 96 * 0.03 + 96 * 0.04 + 48 * 0.16 + 24 * 0.64


def test_large_images_are_given_up_before_steps_are() -> None:
    whole = make_plan(SPEEDS, CONFIG, 24, 4.0, None)
    enough = make_plan(SPEEDS, CONFIG, 24, 4.0, 2 * whole.seconds)
    assert (enough.levels, enough.share) == (whole.levels, 1.0)
    less = make_plan(SPEEDS, CONFIG, 24, 4.0, 0.4 * whole.seconds)
    assert less.levels == whole.levels[:-1]
    assert less.share >= SHORT
    least = make_plan(SPEEDS, CONFIG, 24, 4.0, 1.0)
    assert (least.levels, least.share < SHORT) == ((1.0,), True)


def test_parts_share_what_is_left() -> None:
    plan, clock = make_plan(SPEEDS, CONFIG, 24, 2.0, 12.0), Clock(12.0)
    found = [plan.budget(part, clock).seconds or 0.0 for part in range(3)]
    assert found[0] < found[1] < found[2] < 12.0
    assert found[2] == pytest.approx(12.0 - plan.rest, abs=0.1)


def notices_of(seconds: float | None, config: SolidConfig = CONFIG) -> tuple[list[Notice], float]:
    """What is said of a fit, and the seconds that it took."""
    said: list[Notice] = []
    began = time.perf_counter()
    solid_body(sliding_bar(4), config, Events(notice=said.append), seconds)
    return said, time.perf_counter() - began


def test_seconds_are_kept_and_a_short_budget_is_said() -> None:
    said, took = notices_of(1.0, SolidConfig(rounds=8, steps=8, joint=4000, residuals=4000, track_size=24))
    assert took < 4.0  # of an hour; a busy machine is slow
    assert [notice.code for notice in said] == ["solid-size", "estimate", "time-short"]
    assert str(said[2]).startswith("1 s are too short for 4 images: about ")
    assert "percent of the usual steps fit in; give refine=" in str(said[2])


def test_a_long_budget_ends_when_all_is_done() -> None:
    said, took = notices_of(1e4, replace(CONFIG, rounds=2, steps=2))
    assert took < 60
    assert [notice.code for notice in said] == ["estimate"]


def test_a_scene_is_shown_at_once_and_after_every_part() -> None:
    shown: list[tuple[Scene, bool]] = []
    told: list[Notice] = []
    events = Events(notice=told.append, improved=lambda scene: shown.append((scene, bool(told))))
    refined = solid_body(sliding_bar(3), replace(CONFIG, rounds=2, steps=2, joint=4, residuals=4, track_size=24), events)
    scenes = [scene for scene, _ in shown]
    assert [late for _, late in shown] == [False, True, True, True, True]  # the first one before anything is measured
    first, tracked, moved, *_, last = (scene.tensors() for scene in scenes)
    assert not first["shifts"].any()
    assert not torch.equal(tracked["shifts"], moved["shifts"])
    assert not moved["tints"].any()
    assert len(last["means"]) > 3 * len(first["means"])
    for name, tensor in refined.scene.tensors().items():
        torch.testing.assert_close(tensor, last[name])
    assert scenes[0].world == refined.scene.world
