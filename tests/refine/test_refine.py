"""Refinement from end to end: it gains where there is something to gain, and keeps what is good."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

import chronosplat
from chronosplat.cameras import Cameras, orbit
from chronosplat.captures import Views
from chronosplat.metrics import mean_psnr
from chronosplat.refine import Refined, fit, refine_scene
from chronosplat.refine.optimise import Budget, Outcome
from chronosplat.refine.parameters import fields_of
from chronosplat.refine.refine import GENTLE_BLIND, GENTLE_MOST
from chronosplat.refine.training_views import show, training_views
from chronosplat.scenes import Gaussians3D, Gaussians4D
from tests.refine.kit import OPTIMISE, blobs, few, interrupted_at, photographed, same, seen_as, still, unseen, video, views, wrong
from tests.scene_kit import tilted_world


@cache
def video_views() -> Views:
    return photographed(blobs(), *video())


@cache
def refined() -> Refined:
    """100 steps from many sides."""
    return refine_scene(wrong(blobs()), views(), few(100))


@cache
def ring() -> Views:
    """A static scene from six sides."""
    cameras = orbit([60.0 * i for i in range(6)], [0, 20, -20] * 2, size=32)
    return photographed(still(), cameras, torch.zeros(6, dtype=torch.float64))


def test_views_that_it_never_saw_are_better_afterwards() -> None:
    before, after = wrong(blobs()), refined().scene
    assert seen_as(after, views()) > seen_as(before, views()) + 4.5
    assert seen_as(after, unseen()) > seen_as(before, unseen()) + 2.5


def test_the_facts_say_what_was_done() -> None:
    facts = refined().facts
    assert facts["mode"] == "free"
    assert (facts["steps"], facts["held_out"], facts["kept"], facts["stopped"], facts["seed"]) == (100, 4, False, "", 0)
    assert facts["psnr_held_out"] > facts["psnr_held_out_before"] > 20
    assert facts["gaussians"] == len(blobs())
    assert 0 < facts["until"] <= 1
    assert refined().notes == []


def test_a_scene_in_another_world_and_other_seconds_stays_there() -> None:
    world = tilted_world()
    scene = replace(wrong(blobs()), world=world)
    there = replace(views(), cameras=views().cameras.transformed(world))
    done = refine_scene(scene, there, few(100)).scene
    assert isinstance(done, Gaussians4D)
    assert (done.world, done.clock, done.seconds) == (scene.world, scene.clock, scene.seconds)
    away = replace(unseen(), cameras=unseen().cameras.transformed(world))
    assert seen_as(done, away) == pytest.approx(seen_as(refined().scene, unseen()), abs=0.1)
    assert seen_as(done, away) > seen_as(scene, away) + 2.5


def test_the_result_depends_on_nothing_but_the_seed() -> None:
    torch.manual_seed(123)
    assert same(refine_scene(wrong(blobs()), views(), few(100)).scene, refined().scene)


@pytest.mark.parametrize("steps", [1, 10])
def test_too_few_steps_from_a_new_start_do_not_spoil_the_prediction(steps: int) -> None:
    scene = wrong(blobs())
    done = refine_scene(scene, views(), few(steps))
    assert seen_as(done.scene, views()) >= seen_as(scene, views())
    assert done.facts["kept"] == (done.scene is scene)


def test_next_to_no_time_does_not_spoil_the_prediction() -> None:
    scene = wrong(blobs())
    done = refine_scene(scene, views(), replace(few(), steps=None, seconds=1e-7))
    assert seen_as(done.scene, views()) >= seen_as(scene, views())


def test_a_perfect_scene_seen_from_one_side_is_kept() -> None:
    done = refine_scene(blobs(), video_views(), few(40))
    assert done.scene is blobs()
    assert done.facts["mode"] == "gentle"
    assert done.facts["kept"] is True
    assert done.facts["psnr_held_out"] is None
    assert any("the prediction is kept" in note for note in done.notes)


def test_gentle_steps_mend_a_scene_that_is_nearly_right() -> None:
    scene = wrong(blobs(), 0.01, 0.0)
    done = refine_scene(scene, video_views(), few(60))
    assert done.facts["mode"] == "gentle"
    assert seen_as(done.scene, video_views()) > seen_as(scene, video_views()) + 6
    assert seen_as(done.scene, unseen()) > seen_as(scene, unseen()) + 2


@pytest.mark.parametrize(("count", "mode"), [(5, "gentle"), (6, "free")])
def test_steps_are_free_only_where_pictures_are_many(count: int, mode: str) -> None:
    cameras = orbit([360 / count * i for i in range(count)], [0.0, 20.0, -20.0, 0.0, 20.0, -20.0][:count], size=32)
    seen = photographed(blobs(), cameras, torch.zeros(count, dtype=torch.float64))
    assert refine_scene(wrong(blobs()), seen, few(10)).facts["mode"] == mode


def test_one_picture_is_met_by_few_steps() -> None:
    one = views()[[0]]
    assert refine_scene(wrong(blobs()), one, replace(few(500), search=0.3)).facts["steps"] == GENTLE_BLIND


def test_gentle_steps_are_not_many_whatever_is_asked_for() -> None:
    assert refine_scene(wrong(blobs(), 0.01, 0.0), video_views(), few(100_000, batch=1)).facts["steps"] <= GENTLE_MOST


def test_a_static_scene_from_several_sides() -> None:
    scene = wrong(still(), 0.02, 0.0)
    done = refine_scene(scene, ring(), few(60))
    assert isinstance(done.scene, Gaussians3D)
    assert done.scene.world == scene.world
    assert done.facts["held_out"] == 2
    assert seen_as(done.scene, ring()) > seen_as(scene, ring()) + 3.5


def test_progress_rises_to_the_end() -> None:
    told: list[tuple[float, float]] = []
    refine_scene(wrong(blobs()), views(), few(40, widths=(2.0, 3.5)), lambda share, psnr: told.append((share, psnr)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert all(0 < share <= 1 for share in shares)


def test_without_a_search_all_steps_go_into_the_one_run() -> None:
    done = refine_scene(wrong(blobs()), views(), few(80, search=0.0))
    assert (done.facts["held_out"], done.facts["steps"], done.facts["psnr_held_out"]) == (0, 80, None)
    assert seen_as(done.scene, unseen()) > seen_as(wrong(blobs()), unseen()) + 3


def turned(cameras: Cameras, degrees: float = 1.0) -> Cameras:
    """All cameras but the first look past what they looked at."""
    random = torch.Generator().manual_seed(0)
    axes = torch.nn.functional.normalize(torch.randn(len(cameras), 3, generator=random), dim=-1) * degrees * torch.pi / 180
    axes[0] = 0
    x, y, z = axes.unbind(-1)
    o = torch.zeros_like(x)
    turn = torch.eye(4).repeat(len(cameras), 1, 1)
    turn[:, :3, :3] = torch.linalg.matrix_exp(torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).view(-1, 3, 3))
    return replace(cameras, viewmats=turn @ cameras.viewmats)


def corrected(given: Views, steps: int = 40, **asked: bool) -> tuple[float, Outcome]:
    """PSNR of a right scene on the views with what was found about them, all Gaussians fixed but for their colours."""

    scene, config = blobs(), few(steps, **asked)
    sizes = {**dict.fromkeys(config.free, 0.0), "colors": 1e-4}
    pictures = training_views(scene, given)
    outcome = OPTIMISE.optimise(fields_of(scene), pictures, range(len(pictures)), config, Budget(steps), sizes, False)
    assert outcome.corrections is not None
    every = range(len(pictures))
    with torch.no_grad():
        shown = show(outcome.fields, pictures, every, "cpu", viewmats=outcome.corrections.poses(pictures.viewmats))[0]
        return mean_psnr(outcome.corrections.exposed(shown, every), pictures.rgb), outcome


def test_poses_that_are_a_little_off_are_corrected() -> None:
    given = replace(views(), cameras=turned(views().cameras))
    without, _ = corrected(given)
    found, outcome = corrected(given, cameras=True)
    assert found > without + 8  # 31.6 and 44.4 dB
    assert outcome.corrections is not None
    right = views().cameras.viewmats.float()
    after = outcome.corrections.poses(given.cameras.viewmats.float()).detach()
    assert torch.equal(after[0], given.cameras.viewmats[0])  # the first camera holds the world
    away = lambda poses: float((poses - right)[1:, :3, :3].norm())
    assert away(after) < 0.65 * away(given.cameras.viewmats)


def test_pictures_of_other_exposure_are_corrected() -> None:
    gains = 1 + 0.06 * torch.randn(len(views()), 1, 1, 3, generator=torch.Generator().manual_seed(2))
    given = replace(views(), images=(views().images * gains).clamp(0, 1))
    without, _ = corrected(given, 120)
    found, _ = corrected(given, 120, exposure=True)
    assert found > without + 0.5


@pytest.mark.parametrize("asked", [{"cameras": True}, {"exposure": True}, {"cameras": True, "exposure": True}])
def test_corrections_go_with_a_refinement(asked: dict[str, bool]) -> None:
    done = refine_scene(wrong(blobs()), replace(views(), cameras=turned(views().cameras, 0.3)), few(80, **asked))
    assert not done.facts["stopped"]
    assert seen_as(done.scene, unseen()) > seen_as(wrong(blobs()), unseen()) + 1.5
    told = {"cameras": ("cameras_turned_degrees", "cameras_moved"), "exposure": ("exposure_gain", "exposure_shift")}
    for what, names in told.items():
        for name in names:
            assert (name in done.facts) == asked.get(what, False)
            assert done.facts.get(name, 1.0) > 0


def test_from_random_points_it_gets_better_than_white() -> None:
    done = fit(views(), few(30))
    white = mean_psnr(torch.ones_like(unseen().images), unseen().on_white())
    assert isinstance(done.scene, Gaussians4D)
    assert done.scene.seconds == views().seconds
    assert done.facts["mode"] == "from random points"
    assert seen_as(done.scene, views()) > white + 17
    assert seen_as(done.scene, unseen()) > white + 14


@pytest.mark.parametrize("call", [1, 3, 14, 15, 16, 24])
def test_ctrl_c_never_leaves_a_scene_worse_than_the_prediction(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the search, at the first steps of the run from its start anew, and late in it."""
    interrupted_at(call, monkeypatch)
    scene = wrong(blobs())
    done = refine_scene(scene, views(), few(40))
    assert done.facts["stopped"] == "interrupted"
    assert any("stopped early (interrupted)" in note for note in done.notes)
    assert seen_as(done.scene, views()) >= seen_as(scene, views())


def test_ctrl_c_in_the_last_run_keeps_what_the_search_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_at(71, monkeypatch)
    done = refine_scene(wrong(blobs()), views(), few(200))
    assert done.facts["stopped"] == "interrupted"
    assert seen_as(done.scene, unseen()) > seen_as(wrong(blobs()), unseen()) + 2.5


@pytest.mark.parametrize("call", [1, 5, 15])
def test_ctrl_c_while_fitting_gives_a_scene(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_at(call, monkeypatch)
    done = fit(views(), few(40))
    assert done.facts["stopped"] == "interrupted"
    assert all(bool(t.isfinite().all()) for t in done.scene.tensors().values())


@pytest.mark.parametrize("scene", [wrong(blobs()), wrong(still())])
def test_the_public_door_returns_a_scene_of_the_same_kind(scene: Gaussians4D | Gaussians3D) -> None:
    given = views() if isinstance(scene, Gaussians4D) else ring()
    assert type(chronosplat.refine(scene, given, steps=40)) is type(scene)
    assert chronosplat.refine(scene, given, how="off") is scene


def test_the_public_door_says_what_is_to_be_known(caplog: pytest.LogCaptureFixture) -> None:
    assert chronosplat.refine(blobs(), video_views(), steps=20) is blobs()
    assert "the prediction is kept" in caplog.text


def test_the_public_door_works_where_no_gradients_are_asked_for() -> None:
    with torch.no_grad():
        done = chronosplat.refine(wrong(blobs()), views(), steps=100)
    assert seen_as(done, views()) > seen_as(wrong(blobs()), views()) + 8
    assert not any(t.requires_grad for t in done.tensors().values())
