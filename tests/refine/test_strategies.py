"""Strategies: each can be forced, one that cannot run is refused with its reason, and ``auto`` says why it chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import chronosplat
from chronosplat.captures import Views
from chronosplat.events import Events
from chronosplat.refine import Problem, Refined, Strategy, refine_scene
from chronosplat.refine.strategies import STRATEGIES
from chronosplat.refine.strategies.deform import DEFORM
from chronosplat.refine.training_views import training_views
from chronosplat.scenes import Gaussians3D, Scene
from chronosplat.shapes import InputError
from tests.refine.kit import Recorder, blobs, few, front_facing, moving, psnr_of, ring, still, three_frames, video_views, views, wrong


@pytest.mark.parametrize(
    ("strategy", "scene", "given"),
    [
        ("free", blobs, video_views),
        ("gentle", blobs, views),
        ("deform", blobs, video_views),
        ("deform", still, ring),
        ("gentle", still, ring),
        ("frames", three_frames, views),
    ],
)
def test_each_can_be_forced(strategy: str, scene: Callable[[], Scene], given: Callable[[], Views]) -> None:
    done = refine_scene(scene(), given(), few(20, strategy=strategy))
    assert (done.facts["strategy"], done.facts["why"]) == (strategy, "requested")


def test_the_public_door_forces_one() -> None:
    scene = wrong(blobs())
    done = chronosplat.refine(scene, views(), steps=60, strategy="gentle")
    assert torch.equal(done.tensors()["colors"], scene.colors)  # which gentle steps leave
    assert psnr_of(done, views()) > psnr_of(scene, views())
    assert not torch.equal(chronosplat.refine(scene, views(), steps=60).tensors()["colors"], scene.colors)


def unmasked() -> Views:
    return replace(video_views(), images=video_views().on_white(), alphas=torch.ones_like(video_views().alphas))


def many_unmasked() -> Views:
    return replace(views(), images=views().on_white(), alphas=torch.ones_like(views().alphas))


def approaching() -> Views:
    """A front-facing video in which the object covers twice the area in the end."""
    alphas = front_facing().alphas.clone()
    alphas[6:12] = torch.nn.functional.max_pool2d(alphas[6:12, ..., 0], 9, 1, 4)[..., None]
    return replace(front_facing(), alphas=alphas)


REFUSED: dict[str, tuple[str, Callable[[], Scene], Callable[[], Views], str]] = {
    "free, static": ("free", still, ring, "the scene is not in linear motion over time"),
    "free, sequence": ("free", three_frames, views, "the scene is not in linear motion over time"),
    "gentle, sequence": ("gentle", three_frames, views, "the scene has no linear motion"),
    "frames, static": ("frames", still, ring, "the scene has no frames of its own"),
    "frames, moving": ("frames", blobs, views, "the scene has no frames of its own"),
    "deform, no masks": ("deform", blobs, unmasked, "the views have no masks"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_one_that_cannot_run_is_refused_with_its_reason(what: str) -> None:
    strategy, scene, given, reason = REFUSED[what]
    with pytest.raises(InputError) as found:
        refine_scene(scene(), given(), few(20, strategy=strategy))
    assert f"strategy {strategy}: cannot run, because {reason}" in str(found.value)
    assert "use strategy=auto" in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("scene", "given", "names", "why"),
    [
        (blobs, views, "deform or free", "one timestamp or most of them are seen from several directions"),
        (moving, front_facing, "deform", "one timestamp or most of them are seen from several directions"),
        (blobs, unmasked, "gentle", "leave most of the scene to the prediction"),
        (blobs, many_unmasked, "free", "most timestamps are seen from at least two directions"),
        (blobs, video_views, "gentle", "leave most of the scene to the prediction"),
        (still, ring, "deform", "one timestamp or most of them are seen from several directions"),
        (three_frames, views, "frames", "every timestamp has Gaussians of its own"),
    ],
)
def test_auto_says_why(scene: Callable[[], Scene], given: Callable[[], Views], names: str, why: str) -> None:
    record = Recorder()
    done = refine_scene(scene(), given(), few(10), record.events())
    assert done.facts["strategy"] in names.split(" or ")
    assert why in done.facts["why"]
    (notice,) = [notice for notice in record.notices if notice.code == "strategy"]
    assert notice.level == "info"
    assert str(notice) == f"refinement strategy {names}: {done.facts['why']}"


UNSUITABLE: dict[str, tuple[Callable[[], Scene], Callable[[], Views], str]] = {
    "few views": (blobs, lambda: views()[list(range(5))], "fewer than 6 views"),
    "one side": (blobs, lambda: video_views()[list(range(12))], "seen from one direction, and none from 3"),
    "two sides at once": (moving, lambda: front_facing()[list(range(13))], "seen from one direction, and none from 3"),
    "nearer and nearer": (blobs, approaching, "the object changes its size in the video"),
}


@pytest.mark.parametrize("what", UNSUITABLE)
def test_auto_passes_over_bodies_where_views_do_not_determine_them(what: str) -> None:
    scene, given, reason = UNSUITABLE[what]
    problem = Problem(scene(), given(), training_views(scene(), given()), few(10), Events())
    assert not DEFORM.cannot(problem)
    assert reason in DEFORM.unsuitable(problem)


def painted(problem: Problem) -> Refined:
    """The scene in red."""
    assert isinstance(problem.scene, Gaussians3D)
    red = torch.tensor([1.0, 0, 0]).expand_as(problem.scene.colors)
    return Refined(replace(problem.scene, colors=red), {"strategy": "painted", "kept": False})


PAINTED = Strategy(
    "painted",
    "a test registered it",
    cannot=lambda problem: "" if isinstance(problem.scene, Gaussians3D) else "only static scenes have paint",
    unsuitable=lambda problem: "it runs on request only",
    run=painted,
)


def test_another_strategy_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "painted", PAINTED)
    done = refine_scene(still(), ring(), few(10, strategy="painted"))
    assert float(done.scene.tensors()["colors"][:, 1:].max()) == 0
    assert refine_scene(still(), ring(), few(10)).facts.get("strategy") != "painted"
    with pytest.raises(InputError, match="only static scenes have paint"):
        refine_scene(blobs(), views(), few(10, strategy="painted"))
