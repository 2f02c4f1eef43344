"""Following an object through a film: what other sides showed once goes along."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from chronosplat.cameras import orbit
from chronosplat.captures import Views
from chronosplat.metrics import mean_psnr
from chronosplat.refine import RefineConfig, Refined, fit, refine_scene
from chronosplat.refine.coverage import best_seen_time
from chronosplat.refine.strategies.track import AT_REST, FEWEST, VIEWS, can_follow, drawn
from chronosplat.refine.training_views import training_views
from chronosplat.scenes import Gaussians4D
from tests.refine.kit import SIZE, alternating, blobs, interrupted_at, photographed, same, seen_as, video
from tests.scene_kit import tilted_world


@cache
def moving() -> Gaussians4D:
    """Both blobs move to the side and up."""
    right, down = video()[0].viewmats[0, :2, :3].float()
    return replace(blobs(), velocities=(0.12 * right - 0.08 * down).expand(len(blobs()), 3).clone())


@cache
def film() -> Views:
    return photographed(moving(), *video(12))


@cache
def elsewhere() -> Views:
    """Other sides, at moments when only the film's camera looked."""
    return photographed(moving(), orbit([70.0, 160.0, 250.0], 10.0, size=SIZE), torch.tensor([0.7, 1.2, 1.9], dtype=torch.float64))


@cache
def forgetful() -> Gaussians4D:
    """The whole object at the first moment, and nothing of it later."""
    scene, one = moving(), torch.ones(len(moving()))
    return replace(scene, means=scene.means - scene.velocities, velocities=0 * scene.means, time_centers=-one, time_sigmas=0.1 * one)


def following(steps: int = 120, **more: Any) -> RefineConfig:
    return replace(RefineConfig(steps=steps, track=steps), **more)


@cache
def followed() -> Refined:
    return refine_scene(forgetful(), film(), following())


def test_other_sides_are_where_the_object_has_gone() -> None:
    done = followed()
    assert done.facts["mode"] == "followed"
    assert seen_as(done.scene, film()) > seen_as(forgetful(), film()) + 14  # 19.5 and 37.0 dB
    assert seen_as(done.scene, elsewhere()) > seen_as(forgetful(), elsewhere()) + 15  # 10.5 and 30.4 dB


def test_the_facts_say_what_was_done() -> None:
    facts = followed().facts
    assert (facts["steps"], facts["kept"], facts["stopped"], facts["rest"], facts["held_out"]) == (120, False, "", 0.0, 0)
    assert isinstance(followed().scene, Gaussians4D)
    assert facts["gaussians"] == len(followed().scene)


def test_the_result_depends_on_nothing_but_the_seed() -> None:
    torch.manual_seed(5)
    assert same(refine_scene(forgetful(), film(), following()).scene, followed().scene)


def test_in_another_world_it_stays_there() -> None:
    world = tilted_world()
    there = replace(film(), cameras=film().cameras.transformed(world))
    done = refine_scene(replace(forgetful(), world=world), there, following()).scene
    assert isinstance(done, Gaussians4D)
    assert done.world == world
    assert (done.clock, done.seconds) == (forgetful().clock, forgetful().seconds)
    away = replace(elsewhere(), cameras=elsewhere().cameras.transformed(world))
    assert seen_as(done, away) == pytest.approx(seen_as(followed().scene, elsewhere()), abs=0.2)


@pytest.mark.parametrize(
    ("what", "views", "config"),
    [
        ("not asked for", film, RefineConfig(steps=120)),
        ("too few steps", film, following(FEWEST - 1)),
        ("no other sides", lambda: photographed(moving(), *video(12, sides=False)), following()),
        ("many sides", lambda: photographed(moving(), *alternating(12)), following()),
        ("no masks", lambda: replace(film(), images=film().on_white(), alphas=torch.ones_like(film().alphas)), following()),
        ("it grows", lambda: replace(film(), alphas=film().alphas * torch.linspace(0.3, 1, 15)[:, None, None, None]), following()),
    ],
)
def test_what_cannot_be_followed_is_not(what: str, views: Any, config: RefineConfig) -> None:
    given = views()
    assert can_follow(forgetful(), film(), training_views(moving(), film()), following())
    assert not can_follow(forgetful(), given, training_views(moving(), given), config), what


def test_a_scene_that_shows_nothing_at_the_moment_is_not_followed() -> None:
    """Faint there, though there are Gaussians; and a film that is too long for the steps."""
    late = replace(forgetful(), time_centers=-forgetful().time_centers)
    assert not can_follow(late, film(), training_views(late, film()), following())
    assert refine_scene(replace(late, time_sigmas=0.3 * torch.ones(len(late))), film(), following()).facts["mode"] == "gentle"
    long = photographed(moving(), *video(60))
    assert not can_follow(forgetful(), long, training_views(moving(), long), following(100))
    assert can_follow(forgetful(), long, training_views(moving(), long), following(200))


@pytest.mark.parametrize(("reach", "most"), [(0, 4), (1, 5), (3, 7), (11, VIEWS)])
def test_pictures_of_a_step(reach: int, most: int) -> None:
    away = torch.tensor([*range(12), 0, 0, 0])  # a film and three other sides at its first moment
    draws = torch.Generator().manual_seed(0)
    found = [drawn(away, reach, draws) for _ in range(200)]
    for chosen in found:
        assert len(chosen) == most == len(set(chosen))
        assert int(away[chosen].max()) <= reach
        assert int((away[chosen] == 0).sum()) >= AT_REST
    assert {i for chosen in found for i in chosen} == set((away <= reach).nonzero()[:, 0].tolist())


def test_the_moment_seen_from_the_most_sides() -> None:
    cameras, times = video(6)
    assert best_seen_time(cameras, times) == (0.0, 4)
    shifted = torch.cat([times[:6], torch.full((3,), float(times[3]), dtype=torch.float64)])
    assert best_seen_time(cameras, shifted) == (float(times[3]), 4)


def test_a_moment_in_the_middle_is_followed_both_ways() -> None:
    cameras, _ = video(12)
    times = torch.cat([film().times[:12], torch.full((3,), float(film().times[6]), dtype=torch.float64)])
    given = photographed(moving(), cameras, times)
    scene = replace(forgetful(), means=moving().means, time_centers=torch.zeros(len(moving())))
    done = refine_scene(scene, given, following())
    assert done.facts["rest"] == float(film().times[6])
    early = photographed(moving(), orbit([90.0, 200.0], 0.0, size=SIZE), torch.tensor([0.1, 1.8], dtype=torch.float64))
    assert seen_as(done.scene, early) > seen_as(scene, early) + 24  # 10.6 and 42.1 dB


def interrupted(call: int, monkeypatch: pytest.MonkeyPatch) -> Refined:
    interrupted_at(call, monkeypatch)
    return refine_scene(forgetful(), film(), following())


def test_ctrl_c_before_all_is_followed_keeps_the_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    done = interrupted(20, monkeypatch)
    assert done.scene is forgetful()
    assert done.facts["kept"] is True
    assert done.facts["gaussians"] == len(forgetful())
    assert any("stopped early (interrupted): the start is kept" in note for note in done.notes)


def test_ctrl_c_later_keeps_what_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    done = interrupted(100, monkeypatch)
    assert (done.facts["kept"], done.facts["stopped"], done.facts["steps"]) == (False, "interrupted", 99)
    assert seen_as(done.scene, elsewhere()) > seen_as(forgetful(), elsewhere()) + 14
    assert any("the state at that moment is kept" in note for note in done.notes)


def test_a_gradient_that_is_not_a_number_stops_at_the_last_good_state(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, calls = torch.Tensor.backward, [0]

    def backward(loss: torch.Tensor, *arguments: Any, **options: Any) -> None:
        calls[0] += 1
        usual(loss * (float("nan") if calls[0] == 90 else 1.0), *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    done = refine_scene(forgetful(), film(), following())
    assert (done.facts["stopped"], done.facts["steps"]) == ("the loss is not a number any more", 89)
    assert all(bool(t.isfinite().all()) for t in done.scene.tensors().values())


def test_next_to_no_time_keeps_the_prediction() -> None:
    done = refine_scene(forgetful(), film(), replace(following(), steps=None, seconds=1e-6))
    assert done.scene is forgetful()
    assert any("too short to follow the object" in note for note in done.notes)


@pytest.mark.parametrize("asked", [{"cameras": True}, {"exposure": True}])
def test_corrections_go_with_it(asked: dict[str, bool]) -> None:
    done = refine_scene(forgetful(), film(), following(**asked))
    assert ("cameras_moved" in done.facts) == ("cameras" in asked)
    assert ("exposure_gain" in done.facts) == ("exposure" in asked)
    assert seen_as(done.scene, elsewhere()) > seen_as(forgetful(), elsewhere()) + 11


def test_progress_rises_to_the_end() -> None:
    told: list[float] = []
    refine_scene(forgetful(), film(), following(FEWEST), lambda share, _: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1


def test_random_points_are_followed_like_a_prediction() -> None:
    done = fit(film(), following())
    assert (done.facts["mode"], done.facts["start"], done.facts["kept"]) == ("followed", "random points", False)
    assert isinstance(done.scene, Gaussians4D)
    assert done.scene.seconds == film().seconds
    white = mean_psnr(torch.ones_like(elsewhere().images), elsewhere().on_white())
    assert seen_as(done.scene, elsewhere()) > white + 12
    assert seen_as(done.scene, elsewhere()) > seen_as(fit(film(), RefineConfig(steps=120)).scene, elsewhere()) + 3
