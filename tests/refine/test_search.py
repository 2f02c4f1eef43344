"""Competition on held-out views: starts, rest times, leads, and what the report says of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch

from chronosplat.captures import Views
from chronosplat.events import Cancel, Events, info
from chronosplat.refine import Problem, RefineConfig, Refined, Strategy, fit, refine_scene, search
from chronosplat.refine import start as start_module
from chronosplat.refine.config import FRONT_FACING, DeformConfig
from chronosplat.refine.corrections import Corrections
from chronosplat.refine.motion import MotionConfig
from chronosplat.refine.optimise import Stepper
from chronosplat.refine.search import compete
from chronosplat.refine.strategies.deform import deform_starts, rest_times
from chronosplat.refine.strategy import Start
from chronosplat.refine.training_views import TrainingViews, training_views
from chronosplat.scenes import DeformableGaussians, Gaussians4D, Scene
from chronosplat.shapes import InputError
from tests.refine.kit import (
    WIDTHS,
    Recorder,
    alternating,
    bending,
    blobs,
    cancelled_in,
    codes,
    few,
    front_facing,
    moving,
    psnr_of,
    rigid,
    ring,
    said,
    unseen,
    video_views,
    views,
    views_of,
    wrong,
)

SMALL = DeformConfig(rests=2, motion=MotionConfig(nodes=16))


@pytest.fixture(autouse=True)
def no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the steps of the search and of the final run count."""
    monkeypatch.setattr(search, "estimate", lambda *_: info("estimate", ""))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images need few Gaussians."""
    monkeypatch.setattr(start_module, "MIN_GAUSSIANS", 600)


def problem(scene: Scene, given: Views, config: RefineConfig, events: Events | None = None) -> Problem:
    return Problem(scene, given, training_views(scene, given), config, events or Events())


@cache
def bar() -> Views:
    """A bar whose ends turn against each other, from alternating cameras."""
    return views_of(bending(), *alternating())


class Known(Stepper):
    """Takes steps that do nothing, and has a known PSNR on held-out views.

    Attributes:
        seen: the views that were chosen. breaks: the step that fails.
    """

    def __init__(self, start: KnownStart, views: TrainingViews, config: RefineConfig) -> None:
        self.start, self.views, self.config, self.generator = start, views, config, torch.Generator().manual_seed(0)
        self.correct(Corrections(len(views), config, views.device))
        self.seen: set[int] = set()
        self.steps = 0
        start.begun.append(self)

    def step(self, chosen: list[int], share: float) -> str:
        self.seen |= set(chosen)
        self.steps += 1
        return "it broke" if self.steps == self.start.breaks else ""

    def grow(self) -> None:
        """See Stepper."""

    def psnr(self, chosen: Sequence[int]) -> float:
        assert not self.seen & set(chosen) or len(chosen) == len(self.views)
        return self.start.psnr

    def scene(self, like: Scene) -> Scene:
        return blobs()  # which is perfect


@dataclass
class KnownStart:
    """See Known."""

    strategy: str
    psnr: float
    lead: float = 0.0
    max_steps: int | None = None
    marks: tuple[float, ...] = (0.5, 1.0)
    breaks: int = 0
    preparation: int = 0

    def __post_init__(self) -> None:
        self.begun: list[Known] = []

    def begin(self, views: TrainingViews, config: RefineConfig) -> Known:
        return Known(self, views, config)

    def prepared(self, problem: Problem, events: Events) -> KnownStart:
        return self

    def facts(self) -> dict[str, object]:
        return {"start": f"{self.psnr:g}"}


def held(*starts: KnownStart, scene: Scene | None = None, predicted: bool = True, steps: int = 40, **more: Any) -> Refined:
    """Let starts compete, each of a strategy of its own unless they share the name."""
    found: list[Strategy] = []
    for start in starts:
        alone: list[Start] = [start]
        found.append(Strategy(start.strategy, "", lambda _: "", lambda _: "", starts=lambda _, alone=alone: alone))
    return compete(problem(scene or wrong(blobs()), views(), few(steps, **more)), found, predicted)


def test_the_best_on_held_out_views_wins_and_then_sees_all_views() -> None:
    one, two = KnownStart("one", 20.0), KnownStart("two", 21.0)
    done = held(one, two)
    assert (done.facts["strategy"], done.facts["start"], done.facts["psnr_held_out"]) == ("two", "21", 21.0)
    assert done.facts["tried"] == {"one": 20.0, "two": 21.0}
    assert said(done, "strategy") == "refinement strategy two: held-out views say one 20.00 dB, two 21.00 dB"
    assert (len(one.begun), len(two.begun)) == (1, 2)
    assert [len(stepper.seen) for stepper in (*one.begun, *two.begun)] == [20, 20, 24]
    assert one.begun[0].steps == two.begun[0].steps == 7  # 0.35 of 40 in all
    assert done.facts["steps"] == 40
    assert done.scene is blobs()


@pytest.mark.parametrize(("lead", "winner"), [(0.5, "two"), (1.5, "one")])
def test_a_lead_counts_in_the_competition_and_not_in_the_report(lead: float, winner: str) -> None:
    done = held(KnownStart("one", 20.0, lead), KnownStart("two", 21.0))
    assert done.facts["strategy"] == winner
    assert done.facts["psnr_held_out"] == (20.0 if winner == "one" else 21.0)
    assert said(done, "strategy").endswith(f"held-out views say one 20.00 + {lead:g} dB, two 21.00 dB")


def test_of_two_with_a_lead_the_better_wins() -> None:
    assert held(KnownStart("one", 20.0, 1.0), KnownStart("two", 20.1, 1.0)).facts["strategy"] == "two"
    assert held(KnownStart("two", 20.1, 1.0), KnownStart("one", 20.0, 1.0)).facts["strategy"] == "two"


def test_starts_of_one_strategy_are_told_as_one() -> None:
    done = held(KnownStart("one", 20.0), KnownStart("one", 22.0), KnownStart("one", 21.0))
    assert done.facts["start"] == "22"
    assert "tried" not in done.facts
    assert "strategy" not in codes(done)


@pytest.mark.parametrize("steps", [10, 33, 100, 101])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_budget_is_kept(steps: int, count: int) -> None:
    starts = [KnownStart(str(i), float(i)) for i in range(count)]
    done = held(*starts, steps=steps)
    assert done.facts["steps"] == steps
    assert sum(stepper.steps for start in starts for stepper in start.begun) == steps


@pytest.mark.parametrize("more", [{"search": 0.0}, {"held_out": 0.0}])
def test_without_held_out_views_the_first_one_runs(more: dict[str, float]) -> None:
    one, two = KnownStart("one", 20.0), KnownStart("two", 21.0)
    done = held(one, two, **more)
    assert (done.facts["strategy"], done.facts["steps"], done.facts["held_out"]) == ("one", 40, 0)
    assert done.facts["psnr_held_out"] is done.facts["psnr_held_out_before"] is None
    assert not two.begun
    assert "strategy" not in codes(done)


def test_a_single_start_needs_no_search() -> None:
    one = KnownStart("one", 20.0)
    assert held(one).facts["held_out"] == 0
    assert [len(stepper.seen) for stepper in one.begun] == [24]


def test_no_starts_are_refused() -> None:
    empty = Strategy("none", "", lambda _: "", lambda _: "", starts=lambda _: [])
    with pytest.raises(InputError, match="views: the silhouettes do not intersect; check alphas and cameras"):
        compete(problem(blobs(), views(), few(10)), [empty])


def test_a_prediction_that_fits_better_is_kept_and_anything_else_is_not() -> None:
    perfect = replace(blobs(), opacities=blobs().opacities.clone())
    done = held(KnownStart("one", 20.0), scene=perfect)
    assert done.scene is blobs()  # as good
    worse = wrong(blobs())

    class Worse(Known):
        def scene(self, like: Scene) -> Scene:
            return worse

    start = KnownStart("one", 20.0)
    start.begin = lambda views, config: Worse(start, views, config)  # pyright: ignore[reportAttributeAccessIssue]
    done = held(start, scene=perfect)
    assert done.scene is perfect
    assert done.facts["kept"] is True
    assert said(done, "prediction-kept") == "refinement was too short to gain anything: the prediction is kept"
    done = held(start, scene=perfect, predicted=False)
    assert done.scene is worse
    assert "prediction-kept" not in codes(done)


@pytest.mark.parametrize("breaks", [1, 6])
def test_a_start_that_breaks_ends_the_search(breaks: int) -> None:
    one, two, three = KnownStart("one", 20.0), KnownStart("two", 25.0, breaks=breaks), KnownStart("three", 30.0)
    done = held(one, two, three, steps=60)
    assert done.facts["stopped"] == "it broke"
    assert not three.begun
    assert done.facts["strategy"] == ("one" if breaks == 1 else "two")
    assert done.scene is blobs()  # the best so far
    assert "stopped early (it broke); the best state so far is kept" in said(done, "stopped-early")


class Slow(Known):
    """Takes long steps, so that a search gets as many as the final run."""

    def step(self, chosen: list[int], share: float) -> str:
        time.sleep(0.05)
        return super().step(chosen, share)


def in_seconds(seconds: float, *starts: KnownStart) -> Refined:
    """Let slow starts compete for some seconds, from no prediction."""
    found: list[Strategy] = []
    for start in starts:
        start.begin = lambda views, config, start=start: Slow(start, views, config)  # pyright: ignore[reportAttributeAccessIssue]
        found.append(Strategy(start.strategy, "", lambda _: "", lambda _: "", starts=lambda _, start=start: [start]))
    config = RefineConfig(seconds=seconds)
    return compete(problem(wrong(blobs()), views(), config), found, predicted=False)


def test_few_steps_within_the_seconds_are_warned_of() -> None:
    done = in_seconds(0.3, KnownStart("one", 20.0))
    assert 0 < done.facts["final_steps"] < 8
    text = f"0.3 s were enough for {done.facts['final_steps']} steps of the final run: the result is coarse; refine=SECONDS takes longer"
    assert said(done, "short-refinement") == text


def test_a_final_run_that_is_shorter_than_the_search_must_be_better() -> None:
    """The search's state is kept, which is perfect; the final run had no time."""
    worse = wrong(blobs())

    class Late(Slow):
        def scene(self, like: Scene) -> Scene:
            return worse if len(self.start.begun) > 2 else blobs()

    starts = KnownStart("one", 20.0), KnownStart("two", 21.0)
    found: list[Strategy] = []
    for start in starts:
        start.begin = lambda views, config, start=start: Late(start, views, config)  # pyright: ignore[reportAttributeAccessIssue]
        found.append(Strategy(start.strategy, "", lambda _: "", lambda _: "", starts=lambda _, start=start: [start]))
    done = compete(problem(wrong(blobs()), views(), RefineConfig(seconds=0.2, search=0.95)), found, predicted=False)
    assert done.scene is blobs()
    assert done.facts["strategy"] == "two"


def test_preparation_sees_the_deadline_of_the_seconds_and_none_of_steps() -> None:
    seen: list[Cancel] = []

    class Prepared(KnownStart):
        def prepared(self, problem: Problem, events: Events) -> KnownStart:
            seen.append(events.cancel)
            return self

    in_seconds(0.2, Prepared("one", 20.0))
    held(Prepared("one", 20.0))
    time.sleep(0.1)
    assert [cancel.requested for cancel in seen] == [True, False]


def test_a_coarse_scene_is_there_at_once() -> None:
    record: list[Scene] = []
    fit(bar(), few(20, strategy="free"), Events(improved=record.append))
    assert isinstance(record[0], Gaussians4D)
    assert len(record) > 1


def test_rest_times_lie_in_the_middle_half_of_the_best_seen_timestamps() -> None:
    stamps = views().times
    for count in (1, 2, 4, 9):
        found = rest_times(views(), count)
        assert len(found) == count
        assert found == sorted(set(found))
        assert all(float((stamps - rest).abs().min()) < 1e-9 for rest in found)
        assert found[0] >= 0.5
        assert found[-1] <= 1.5
    assert abs(rest_times(views(), 1)[0] - 1.0) < 0.05


def test_the_only_timestamp_that_several_cameras_see_is_the_rest_time() -> None:
    assert rest_times(front_facing(), 4) == [0.0]
    assert rest_times(ring(), 4) == [0.0]
    later = replace(front_facing(), times=torch.where(front_facing().times == 0, 2.0, 2 - front_facing().times))
    assert rest_times(later, 4) == [2.0]


def test_one_start_for_each_rest_time_and_slow_motion_in_a_video() -> None:
    starts = deform_starts(problem(blobs(), views(), few(10)))
    assert [start.facts()["rest"] for start in starts] == rest_times(views(), 4)
    assert {start.lead for start in starts} == {DeformConfig().lead}
    assert {start.max_steps for start in starts} == {DeformConfig().steps_per_view * len(views())}
    (start,) = deform_starts(problem(moving(), front_facing(), few(10)))
    assert start.max_steps == FRONT_FACING.steps_per_view * len(front_facing())


def test_several_rest_times_are_tried_and_one_is_reported() -> None:
    record = Recorder()
    done = fit(bar(), few(60, strategy="deform", deform=SMALL), record.events())
    assert done.facts["rest"] in rest_times(bar(), 2)
    assert (done.facts["held_out"], done.facts["steps"]) == (4, 60)
    assert record.psnrs[0] != record.psnrs[1]
    assert done.facts["psnr_held_out"] == pytest.approx(max(record.psnrs[:2]), abs=0.006)
    assert record.shares == sorted(record.shares)
    assert record.shares[-1] == 1


def test_a_body_and_free_gaussians_compete_for_a_prediction() -> None:
    record = Recorder()
    done = refine_scene(wrong(blobs()), views(), few(100, deform=SMALL), record.events())
    assert set(done.facts["tried"]) == {"deform", "free"}
    assert done.facts["psnr_held_out"] in done.facts["tried"].values()
    assert done.facts["psnr_held_out_before"] > 15
    assert "refinement strategy deform or free: " in str(record.notices[0])
    assert said(done, "strategy").startswith(f"refinement strategy {done.facts['strategy']}: held-out views say deform ")
    assert type(done.scene) is (DeformableGaussians if done.facts["strategy"] == "deform" else Gaussians4D)
    assert psnr_of(done.scene, views()) > psnr_of(wrong(blobs()), views()) + 4


def test_a_body_wins_where_one_moves() -> None:
    done = fit(bar(), few(200, deform=SMALL))
    assert done.facts["strategy"] == "deform"
    assert done.facts["tried"]["deform"] + SMALL.lead > done.facts["tried"]["free"]


def test_free_gaussians_win_without_a_lead_where_nothing_is_one_body() -> None:
    done = refine_scene(wrong(blobs()), views(), few(160, deform=replace(SMALL, lead=-5.0), free=WIDTHS))
    assert done.facts["strategy"] == "free"
    assert isinstance(done.scene, Gaussians4D)
    assert psnr_of(done.scene, unseen()) > psnr_of(wrong(blobs()), unseen()) + 1


@pytest.mark.parametrize("step", [1, 20, 50])
def test_a_fit_that_is_cancelled_returns_a_scene_and_speaks_of_no_prediction(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = fit(bar(), few(60, deform=SMALL), cancelled_in(step, monkeypatch))
    assert (done.facts["stopped"], done.facts["steps"], done.facts["kept"]) == ("interrupted", step, False)
    assert done.facts["strategy"] in ("deform", "free")
    assert not any("prediction" in str(notice) for notice in done.notices)
    assert all(bool(t.isfinite().all()) for t in done.scene.tensors().values())


def test_a_front_facing_video_with_other_sides_of_one_timestamp_is_a_body() -> None:
    """The prediction has lost the other sides after the first timestamp; a body brings them along."""
    given = views_of(rigid(), front_facing().cameras, front_facing().times)
    behind = views_of(rigid(), front_facing().cameras[[13, 13]], torch.tensor([0.5, 1.0], dtype=torch.float64))
    done = fit(given, few(200, strategy="deform", deform=SMALL))
    assert (done.facts["strategy"], done.facts["rest"], done.facts["held_out"]) == ("deform", 0.0, 0)
    still = done.scene.at(0.0)
    shown = psnr_of(done.scene, behind)
    assert shown > psnr_of(still, replace(behind, times=torch.zeros(2, dtype=torch.float64))) + 1  # it moves as the front does
    assert "prediction-kept" not in codes(done)


def test_video_views_whose_object_changes_size_are_left_to_gentle_steps() -> None:
    assert refine_scene(wrong(blobs()), video_views(), few(10)).facts["strategy"] == "gentle"
