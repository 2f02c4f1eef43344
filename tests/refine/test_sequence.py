"""Refinement of a sequence, frame by frame."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

import chronosplat
from chronosplat.cameras import CANONICAL, orbit
from chronosplat.captures import Views
from chronosplat.refine import Refined, refine_scene
from chronosplat.refine.strategies.frames import FEWEST_STEPS, refine_frames
from chronosplat.scenes import SPLAT_SHAPES, Gaussians3D, GaussianSequence
from tests.refine.kit import Recorder, cancelled_in, codes, few, psnr_of, said, same, three_frames, views_of, wrong
from tests.scene_kit import tilted_world


@cache
def given() -> Views:
    """The first frame from four sides, the second from the front, none of the third."""
    cameras = orbit([*CANONICAL, 0.0], size=32)
    return views_of(three_frames(), cameras, torch.tensor([0, 0, 0, 0, 1], dtype=torch.float64))


@cache
def bad() -> GaussianSequence:
    return wrong(three_frames(), 0.02, 0.0)


@cache
def refined() -> Refined:
    return refine_scene(bad(), given(), few(60))


def elsewhere(frame: int) -> Views:
    return views_of(three_frames(), orbit([45.0, 225.0], 10.0, size=32), torch.full((2,), float(frame), dtype=torch.float64))


def test_frames_with_views_get_better() -> None:
    done = refined().scene
    assert isinstance(done, GaussianSequence)
    assert psnr_of(done, given()) > psnr_of(bad(), given()) + 3.5
    assert psnr_of(done, elsewhere(0)) > psnr_of(bad(), elsewhere(0)) + 2.5
    assert psnr_of(done, elsewhere(1)) > psnr_of(bad(), elsewhere(1)) + 1


def test_frames_without_views_pass_through_bit_by_bit_with_a_notice() -> None:
    done = refined().scene
    assert isinstance(done, GaussianSequence)
    assert same(done.frame(2), bad().frame(2))
    assert not same(done.frame(1), bad().frame(1))
    assert torch.equal(done.times, bad().times)
    assert said(refined(), "frames-without-views") == "1 of 3 frames have no views and stay unchanged"


def test_the_facts_say_what_was_done() -> None:
    facts = refined().facts
    assert facts["strategy"] == "frames"
    assert (facts["frames"], facts["kept"], facts["stopped"], facts["gaussians"]) == (2, False, "", 300)
    assert facts["psnr_held_out"] > facts["psnr_held_out_before"]
    assert 2 * FEWEST_STEPS <= facts["steps"] <= 60


def test_the_same_twice() -> None:
    torch.manual_seed(99)
    assert same(refine_scene(bad(), given(), few(60)).scene, refined().scene)


def test_a_perfect_sequence_is_kept() -> None:
    done = refine_scene(three_frames(), given(), few(30))
    assert same(done.scene, three_frames())
    assert done.facts["kept"] is True
    assert "the prediction is kept" in said(done, "prediction-kept")


def test_a_sequence_elsewhere_keeps_its_world() -> None:
    world = tilted_world()
    done = refine_scene(replace(bad(), world=world), replace(given(), cameras=given().cameras.transformed(world)), few(60)).scene
    assert isinstance(done, GaussianSequence)
    assert done.world == world
    assert float((done.means - bad().means)[:2].abs().max()) > 1e-3
    torch.testing.assert_close(done.means[2], bad().means[2])


def test_progress_counts_frames() -> None:
    record = Recorder()
    refine_scene(bad(), given(), few(20), record.events())
    assert record.shares == pytest.approx([0.33, 0.67, 1])


def test_every_view_goes_to_the_nearest_frame() -> None:
    late = replace(given(), times=torch.tensor([0, 0, 0, 0, 1.6], dtype=torch.float64))
    done = refine_scene(bad(), late, few(60)).scene
    assert isinstance(done, GaussianSequence)
    assert same(done.frame(1), bad().frame(1))
    assert not same(done.frame(2), bad().frame(2))


def test_frames_come_one_at_a_time() -> None:
    """None is read before the previous one is done, so that a long sequence need not be in memory."""
    read: list[int] = []

    def frames() -> Any:
        for index in range(3):
            read.append(index)
            yield bad().frame(index), given()[[4]] if index == 1 else None

    found = refine_frames(frames(), 1, few(8))
    for index in range(3):
        next(found)
        assert read == list(range(index + 1))


def test_without_views_to_hold_out_all_steps_are_made() -> None:
    frames = [(bad().frame(index), given()[[4]]) for index in range(3)]
    done = list(refine_frames(frames, 3, few(30)))
    assert done[-1][1].steps == 30
    assert all(not same(after, before) for (after, _), (before, _) in zip(done, frames, strict=True))


@pytest.mark.parametrize(("step", "frames"), [(1, 0), (20, 0), (35, 1), (65, 2)])
def test_a_cancellation_ends_it_in_the_search_and_in_every_frame(step: int, frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 steps are 30 for each of two frames; the first frame's are made twice, once with views held out."""
    done = refine_scene(bad(), given(), few(60), cancelled_in(step, monkeypatch))
    assert done.facts["stopped"] == "interrupted"
    assert done.facts["frames"] == frames
    assert "stopped early (interrupted)" in said(done, "stopped-early")
    assert "prediction-kept" not in codes(done)
    assert isinstance(done.scene, GaussianSequence)
    for index in range(frames, 3):
        assert same(done.scene.frame(index), bad().frame(index))
    assert psnr_of(done.scene, given()) >= psnr_of(bad(), given()) - 1e-6


def test_a_sequence_of_one_frame() -> None:
    one = bad().map(lambda t: t[:1])
    done = refine_scene(one, given()[[0, 1, 2, 3]], few(30))
    assert psnr_of(done.scene, given()[[0, 1, 2, 3]]) > psnr_of(one, given()[[0, 1, 2, 3]]) + 3


def test_a_sequence_of_double_precision_is_refined() -> None:
    done = refine_scene(bad().to(dtype=torch.float64), given(), few(60))
    assert psnr_of(done.scene.to(dtype=torch.float32), given()) > psnr_of(bad(), given()) + 3.5


def test_the_public_door_returns_a_sequence() -> None:
    done = chronosplat.refine(bad(), given(), steps=16)
    assert isinstance(done, GaussianSequence)
    assert (done.num_frames, done.num_gaussians) == (3, 300)
    assert chronosplat.refine(bad(), given(), how="off") is bad()
    assert isinstance(done.frame(0), Gaussians3D)
    assert set(SPLAT_SHAPES) < set(done.tensors())
