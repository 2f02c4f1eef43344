"""Strategies: each can be forced, one that cannot run is refused with its reason, and ``auto`` says why it chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import chronosplat
from chronosplat.captures import Views
from chronosplat.refine import Problem, Refined, Strategy, refine_scene
from chronosplat.refine.config import TrackConfig
from chronosplat.refine.strategies import STRATEGIES
from chronosplat.scenes import Gaussians3D, Scene
from chronosplat.shapes import InputError
from tests.refine.kit import Recorder, blobs, few, front_facing, moving, psnr_of, ring, still, three_frames, video_views, views, wrong

TRACK = TrackConfig(steps=120)


@pytest.mark.parametrize(
    ("strategy", "scene", "given", "other"),
    [
        ("free", blobs, video_views, "gentle"),
        ("gentle", blobs, views, "free"),
        ("track", blobs, video_views, "gentle"),
        ("gentle", still, ring, "gentle"),
        ("frames", three_frames, views, "frames"),
    ],
)
def test_each_can_be_forced(strategy: str, scene: Callable[[], Scene], given: Callable[[], Views], other: str) -> None:
    config = few(120, track=replace(TRACK, min_steps_per_view=1) if strategy == "track" else TrackConfig())
    assert refine_scene(scene(), given(), replace(config, steps=10, track=TrackConfig())).facts["strategy"] == other
    done = refine_scene(scene(), given(), replace(config, strategy=strategy))
    assert (done.facts["strategy"], done.facts["why"]) == (strategy, "requested")


def test_the_public_door_forces_one() -> None:
    scene = wrong(blobs())
    done = chronosplat.refine(scene, views(), steps=60, strategy="gentle")
    assert torch.equal(done.tensors()["colors"], scene.colors)  # which gentle steps leave
    assert psnr_of(done, views()) > psnr_of(scene, views())
    assert not torch.equal(chronosplat.refine(scene, views(), steps=60).tensors()["colors"], scene.colors)


def unmasked() -> Views:
    return replace(video_views(), images=video_views().on_white(), alphas=torch.ones_like(video_views().alphas))


REFUSED: dict[str, tuple[str, Callable[[], Scene], Callable[[], Views], str]] = {
    "free, static": ("free", still, ring, "the scene is not in linear motion over time"),
    "free, sequence": ("free", three_frames, views, "the scene is not in linear motion over time"),
    "gentle, sequence": ("gentle", three_frames, views, "the scene has no linear motion"),
    "frames, static": ("frames", still, ring, "the scene has no frames of its own"),
    "frames, moving": ("frames", blobs, views, "the scene has no frames of its own"),
    "track, static": ("track", still, ring, "the scene has no time"),
    "track, sequence": ("track", three_frames, views, "the scene has no time"),
    "track, no masks": ("track", blobs, unmasked, "the views have no masks"),
    "track, too few steps": ("track", blobs, video_views, "120 steps are too few for 27 views"),
    "track, nothing there": ("track", lambda: blobs().map(lambda t: t[:40]), video_views, "the scene shows too little at 0 s"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_one_that_cannot_run_is_refused_with_its_reason(what: str) -> None:
    strategy, scene, given, reason = REFUSED[what]
    looks = 1 if what == "track, nothing there" else TRACK.min_steps_per_view * 10
    with pytest.raises(InputError) as found:
        refine_scene(scene(), given(), few(120, strategy=strategy, track=replace(TRACK, min_steps_per_view=looks)))
    assert f"strategy {strategy}: cannot run, because {reason}" in str(found.value)
    assert "use strategy=auto" in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("scene", "given", "strategy", "why"),
    [
        (blobs, views, "free", "seen from at least two directions"),
        (blobs, video_views, "gentle", "leave most of the scene to the prediction"),
        (still, ring, "gentle", "leave most of the scene to the prediction"),
        (three_frames, views, "frames", "every timestamp has Gaussians of its own"),
    ],
)
def test_auto_says_why(scene: Callable[[], Scene], given: Callable[[], Views], strategy: str, why: str) -> None:
    record = Recorder()
    done = refine_scene(scene(), given(), few(10), record.events())
    assert done.facts["strategy"] == strategy
    assert why in done.facts["why"]
    (notice,) = [notice for notice in record.notices if notice.code == "strategy"]
    assert notice.level == "info"
    assert str(notice) == f"refinement strategy {strategy}: {done.facts['why']}"


def test_auto_says_why_it_tracks() -> None:
    record = Recorder()
    done = refine_scene(moving(), front_facing(), few(120, track=TRACK), record.events())
    assert done.facts["strategy"] == "track"
    assert "most timestamps are seen from one direction, and one of them from several" in str(record.notices[0])


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
    assert refine_scene(still(), ring(), few(10)).facts["strategy"] == "gentle"
    with pytest.raises(InputError, match="only static scenes have paint"):
        refine_scene(blobs(), views(), few(10, strategy="painted"))
