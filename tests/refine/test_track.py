"""Tracking an object through a video: sides that were seen once stay intact."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from chronosplat.cameras import orbit
from chronosplat.captures import Views
from chronosplat.events import Events
from chronosplat.metrics import mean_psnr
from chronosplat.refine import Problem, RefineConfig, Refined, fit, refine_scene
from chronosplat.refine.config import TrackConfig
from chronosplat.refine.coverage import best_seen_time
from chronosplat.refine.refine import choose_strategy
from chronosplat.refine.strategies.track import sample_views
from chronosplat.refine.training_views import training_views
from chronosplat.scenes import Gaussians4D
from tests.refine.kit import SIZE, Recorder, alternating, cancelled_in, front_facing, moving, psnr_of, said, same, video, views_of
from tests.scene_kit import tilted_world


def unmasked() -> Views:
    return replace(front_facing(), images=front_facing().on_white(), alphas=torch.ones_like(front_facing().alphas))


def growing() -> Views:
    return replace(front_facing(), alphas=front_facing().alphas * torch.linspace(0.3, 1, 15)[:, None, None, None])


@cache
def elsewhere() -> Views:
    """Other sides, at timestamps that only the video's camera saw."""
    return views_of(moving(), orbit([70.0, 160.0, 250.0], 10.0, size=SIZE), torch.tensor([0.7, 1.2, 1.9], dtype=torch.float64))


@cache
def forgetful() -> Gaussians4D:
    """The whole object at the first timestamp, and nothing of it later."""
    scene, one = moving(), torch.ones(moving().num_gaussians)
    return replace(scene, means=scene.means - scene.velocities, velocities=0 * scene.means, time_centers=-one, time_sigmas=0.1 * one)


def tracking(steps: int = 120, **more: Any) -> RefineConfig:
    return replace(RefineConfig(steps=steps, track=TrackConfig(steps)), **more)


@cache
def tracked() -> Refined:
    return refine_scene(forgetful(), front_facing(), tracking())


def strategy(scene: Gaussians4D, views: Views, config: RefineConfig) -> str:
    """The strategy that auto takes."""
    problem = Problem(scene, views, training_views(scene, views), config, Events())
    return choose_strategy(problem)[0].name


def test_other_sides_move_with_the_object() -> None:
    done = tracked()
    assert done.facts["strategy"] == "track"
    assert psnr_of(done.scene, front_facing()) > psnr_of(forgetful(), front_facing()) + 14  # 19.5 and 37.0 dB
    assert psnr_of(done.scene, elsewhere()) > psnr_of(forgetful(), elsewhere()) + 15  # 10.5 and 30.4 dB


def test_the_facts_say_what_was_done() -> None:
    facts = tracked().facts
    assert (facts["steps"], facts["kept"], facts["stopped"], facts["rest"], facts["held_out"]) == (120, False, "", 0.0, 0)
    assert isinstance(tracked().scene, Gaussians4D)
    assert facts["gaussians"] == tracked().scene.num_gaussians


def test_the_result_depends_on_nothing_but_the_seed() -> None:
    torch.manual_seed(5)
    assert same(refine_scene(forgetful(), front_facing(), tracking()).scene, tracked().scene)


def test_in_another_world_it_stays_there() -> None:
    world = tilted_world()
    there = replace(front_facing(), cameras=front_facing().cameras.transformed(world))
    done = refine_scene(replace(forgetful(), world=world), there, tracking()).scene
    assert isinstance(done, Gaussians4D)
    assert done.world == world
    assert (done.clock, done.seconds) == (forgetful().clock, forgetful().seconds)
    away = replace(elsewhere(), cameras=elsewhere().cameras.transformed(world))
    assert psnr_of(done, away) == pytest.approx(psnr_of(tracked().scene, elsewhere()), abs=0.2)


@pytest.mark.parametrize(
    ("what", "views", "config"),
    [
        ("not requested", front_facing, RefineConfig(steps=120)),
        ("too few steps", front_facing, tracking(TrackConfig().min_steps - 1)),
        ("no other sides", lambda: views_of(moving(), *video(12, sides=False)), tracking()),
        ("many sides", lambda: views_of(moving(), *alternating(12)), tracking()),
        ("no masks", unmasked, tracking()),
        ("it grows", growing, tracking()),
    ],
)
def test_what_cannot_be_tracked_is_not(what: str, views: Any, config: RefineConfig) -> None:
    assert strategy(forgetful(), front_facing(), tracking()) == "track"
    assert strategy(forgetful(), views(), config) != "track", what


def test_a_scene_that_shows_nothing_at_the_rest_timestamp_is_not_tracked() -> None:
    """Its Gaussians are faint there."""
    late = replace(forgetful(), time_centers=-forgetful().time_centers)
    assert strategy(late, front_facing(), tracking()) != "track"
    seen = replace(late, time_sigmas=0.3 * torch.ones(late.num_gaussians))
    assert refine_scene(seen, front_facing(), tracking()).facts["strategy"] == "gentle"


def test_a_video_that_is_too_long_for_the_steps_is_not_tracked() -> None:
    long = views_of(moving(), *video(60))
    assert strategy(forgetful(), long, tracking(100)) != "track"
    assert strategy(forgetful(), long, tracking(200)) == "track"


@pytest.mark.parametrize(("reach", "most"), [(0, 4), (1, 5), (3, 7), (11, TrackConfig().batch)])
def test_views_of_a_step(reach: int, most: int) -> None:
    away = torch.tensor([*range(12), 0, 0, 0])  # a video and three other sides at its first timestamp
    generator, settings = torch.Generator().manual_seed(0), TrackConfig()
    found = [sample_views(away, reach, generator, settings) for _ in range(200)]
    for chosen in found:
        assert len(chosen) == most == len(set(chosen))
        assert int(away[chosen].max()) <= reach
        assert int((away[chosen] == 0).sum()) >= settings.at_rest
    assert {i for chosen in found for i in chosen} == set((away <= reach).nonzero()[:, 0].tolist())


def test_the_timestamp_seen_from_the_most_sides() -> None:
    cameras, times = video(6)
    assert best_seen_time(cameras, times) == (0.0, 4)
    shifted = torch.cat([times[:6], torch.full((3,), float(times[3]), dtype=torch.float64)])
    assert best_seen_time(cameras, shifted) == (float(times[3]), 4)


def test_a_timestamp_in_the_middle_is_tracked_both_ways() -> None:
    cameras, _ = video(12)
    times = torch.cat([front_facing().times[:12], torch.full((3,), float(front_facing().times[6]), dtype=torch.float64)])
    given = views_of(moving(), cameras, times)
    scene = replace(forgetful(), means=moving().means, time_centers=torch.zeros(moving().num_gaussians))
    done = refine_scene(scene, given, tracking())
    assert done.facts["rest"] == float(front_facing().times[6])
    early = views_of(moving(), orbit([90.0, 200.0], 0.0, size=SIZE), torch.tensor([0.1, 1.8], dtype=torch.float64))
    assert psnr_of(done.scene, early) > psnr_of(scene, early) + 24  # 10.6 and 42.1 dB


def test_a_cancellation_before_all_timestamps_take_part_keeps_the_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    done = refine_scene(forgetful(), front_facing(), tracking(), cancelled_in(20, monkeypatch))
    assert done.scene is forgetful()
    assert done.facts["kept"] is True
    assert done.facts["gaussians"] == forgetful().num_gaussians
    assert "stopped early (interrupted): the start is kept" in said(done, "prediction-kept")


def test_a_later_cancellation_keeps_what_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    done = refine_scene(forgetful(), front_facing(), tracking(), cancelled_in(99, monkeypatch))
    assert (done.facts["kept"], done.facts["stopped"], done.facts["steps"]) == (False, "interrupted", 99)
    assert psnr_of(done.scene, elsewhere()) > psnr_of(forgetful(), elsewhere()) + 14
    assert "the state so far is kept" in said(done, "stopped-early")


def test_a_nan_stops_at_the_last_good_state(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, calls = torch.Tensor.backward, [0]

    def backward(loss: torch.Tensor, *arguments: Any, **options: Any) -> None:
        calls[0] += 1
        usual(loss * (float("nan") if calls[0] == 90 else 1.0), *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    done = refine_scene(forgetful(), front_facing(), tracking())
    assert (done.facts["stopped"], done.facts["steps"]) == ("the loss became NaN", 89)
    assert all(bool(t.isfinite().all()) for t in done.scene.tensors().values())


def test_next_to_no_time_keeps_the_prediction() -> None:
    done = refine_scene(forgetful(), front_facing(), replace(tracking(), steps=None, seconds=1e-6))
    assert done.scene is forgetful()
    assert "too short to track the object" in said(done, "prediction-kept")


@pytest.mark.parametrize("enabled", [{"cameras": True}, {"exposure": True}])
def test_corrections_go_with_it(enabled: dict[str, bool]) -> None:
    done = refine_scene(forgetful(), front_facing(), tracking(**enabled))
    assert ("cameras_moved" in done.facts) == ("cameras" in enabled) == (done.cameras is not None)
    assert ("exposure_gain" in done.facts) == ("exposure" in enabled) == (done.exposure is not None)
    assert psnr_of(done.scene, elsewhere()) > psnr_of(forgetful(), elsewhere()) + 11


def test_progress_rises_to_the_end() -> None:
    record = Recorder()
    refine_scene(forgetful(), front_facing(), tracking(TrackConfig().min_steps), record.events())
    assert record.shares == sorted(record.shares)
    assert record.shares[-1] == 1


def test_random_points_are_tracked_like_a_prediction() -> None:
    done = fit(front_facing(), tracking())
    assert (done.facts["strategy"], done.facts["start"], done.facts["kept"]) == ("track", "random points", False)
    assert isinstance(done.scene, Gaussians4D)
    assert done.scene.seconds == front_facing().seconds
    white = mean_psnr(torch.ones_like(elsewhere().images), elsewhere().on_white())
    assert psnr_of(done.scene, elsewhere()) > white + 12
    assert psnr_of(done.scene, elsewhere()) > psnr_of(fit(front_facing(), RefineConfig(steps=120)).scene, elsewhere()) + 3
