"""Edits of time: trims equal the scene inside, retiming scales seconds, loops close."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import chronosplat as cs
from chronosplat.edit import Edit, Loop, Move, Retime, Sample, SlowMotion, Trim, edit
from chronosplat.events import Events
from chronosplat.scenes import TimeMap
from chronosplat.shapes import InputError
from tests.contracts.test_toy_scene import circling
from tests.edit.edit_kit import KINDS, assert_same_at, deformable_scene, every_moving_kind, seen, times_of
from tests.scene_kit import moving_scene, sequence_scene


@every_moving_kind
def test_a_trim_equals_the_scene_inside(kind: str) -> None:
    scene = KINDS[kind]()
    first, last = scene.seconds or (0, 0)
    start, end = first + 0.3 * (last - first), first + 0.8 * (last - first)
    trimmed = edit(scene, [Trim(start, end)])
    assert trimmed.seconds is not None
    if kind == "sequence":  # its own times: the frames inside
        inside = [t for t in times_of(scene) if start <= t <= end]
        assert times_of(trimmed) == inside
    else:
        assert trimmed.seconds == (start, end)
        inside = trimmed.timestamps(9)
    assert_same_at(scene, trimmed, inside, atol=1e-5)


def test_a_trim_leaves_out_gaussians_that_cannot_be_seen() -> None:
    scene = moving_scene(200)
    scene = type(scene)(**scene.tensors() | {"time_sigmas": torch.full((200,), 0.05)}, clock=scene.clock, seconds=scene.seconds)
    trimmed = edit(scene, [Trim(2.9, 3.1)])
    assert 0 < trimmed.num_gaussians < 150
    assert_same_at(scene, trimmed, trimmed.timestamps(9))


def test_a_trimmed_deformable_scene_drops_knots_and_keeps_its_span_in_its_file(tmp_path: Path) -> None:
    scene = deformable_scene()
    knots = torch.linspace(0, 4, 41, dtype=torch.float64)
    rows = torch.rand(41, 5, generator=torch.Generator().manual_seed(3))
    scene = scene._with_rows(rows, knots)
    trimmed = edit(scene, [Trim(1.03, 1.58)])
    assert trimmed.tensors()["knots"].shape[0] == 9  # seven around the span and one more on each side
    assert_same_at(scene, trimmed, trimmed.timestamps(12))
    cs.save_scene(trimmed, tmp_path / "a.safetensors")
    again = cs.load_scene(tmp_path / "a.safetensors")
    assert again.seconds == (1.03, 1.58)
    assert_same_at(scene, edit(again, [Retime(start=0.0)]), [1.03, 1.3, 1.58], [0.0, 0.27, 0.55])


@every_moving_kind
def test_retiming_scales_seconds(kind: str) -> None:
    scene = KINDS[kind]()
    retimed = edit(scene, [Retime(start=10.0, duration=8.0)])
    assert retimed.seconds == pytest.approx((10.0, 18.0))
    first, last = scene.seconds or (0, 0)
    times = times_of(scene)
    assert_same_at(scene, retimed, times, [10 + 8 * (t - first) / (last - first) for t in times])
    back = edit(retimed, [Retime(start=first, duration=last - first)])
    assert_same_at(scene, back, times)


@every_moving_kind
def test_slow_motion_of_the_whole_scene_stretches_it(kind: str) -> None:
    scene = KINDS[kind]()
    first, last = scene.seconds or (0, 0)
    slow = edit(scene, [SlowMotion(4.0)])
    assert slow.seconds == pytest.approx((first, first + 4 * (last - first)))
    times = times_of(scene)
    assert_same_at(scene, slow, times, [first + 4 * (t - first) for t in times])


def test_slow_motion_of_a_part_holds_at_knots_and_frames() -> None:
    for scene, times in ((deformable_scene(), [1.0, 1.4, 1.9, 2.5, 3.0]), (sequence_scene(5), times_of(sequence_scene(5)))):
        first, last = scene.seconds
        start, end = first + 0.25 * (last - first), first + 0.5 * (last - first)
        slow = edit(scene, [SlowMotion(3.0, start, end)])
        assert slow.seconds == pytest.approx((first, last + 2 * (end - start)))
        assert_same_at(scene, slow, times, [t + 2 * (min(max(t, start), end) - start) for t in times])


def test_slow_motion_of_a_part_warns_where_gaussians_outlive_it() -> None:
    long, notices = moving_scene(), []
    edit(long, [SlowMotion(5.0, 2.9, 3.1)], Events(notices.append))
    assert [notice.code for notice in notices] == ["slow-motion"]
    short = type(long)(**long.tensors() | {"time_sigmas": torch.full((6,), 0.01)}, clock=long.clock, seconds=long.seconds)
    slow = edit(short, [SlowMotion(5.0, 2.9, 3.1)], Events(notices.append))
    assert len(notices) == 1
    change = TimeMap((2.5, 2.9, 3.1, 3.5), (2.5, 2.9, 3.9, 4.3))
    for center in short.clock.seconds(short.time_centers.double()).tolist():
        now = torch.tensor(center)
        assert_same_at(short, slow, [center], [float(change.seconds(now))], atol=1e-4)


@every_moving_kind
def test_the_first_and_the_last_time_of_a_loop_are_equal(kind: str) -> None:
    scene = KINDS[kind]()
    first, last = scene.seconds or (0, 0)
    fade = 0.4 * (last - first)
    looped = edit(scene, [Loop(fade)])
    assert looped.seconds is not None
    start, end = looped.seconds
    assert start == pytest.approx(first)
    begin, finish = seen(looped.at(start)), seen(looped.at(end))
    for name, tensor in begin.tensors().items():
        torch.testing.assert_close(finish.tensors()[name], tensor, rtol=0, atol=1e-5)
    if kind == "deformable":
        assert end - start == pytest.approx(last - first - fade)
        assert looped.num_gaussians == scene.num_gaussians
    assert_same_at(
        scene, looped, [first + fade + 1e-3] if kind == "deformable" else [], [first + 1e-3] if kind == "deformable" else [], 1e-3
    )


def test_a_cross_fade_covers_as_much_as_the_scene() -> None:
    scene = sequence_scene(9, 1)
    still = type(scene)(**{name: t[:1].expand_as(t) if name != "times" else t for name, t in scene.tensors().items()})
    looped = edit(still, [Loop(1.5)])
    clear = still.tensors()["opacities"][0, 0]
    for seconds in times_of(looped):
        together = 1 - (1 - looped.at(seconds).opacities).prod()
        torch.testing.assert_close(together, clear, rtol=0, atol=5e-3)


@pytest.mark.parametrize("kind", list(KINDS))
def test_samples_equal_the_scene_at_their_times(kind: str) -> None:
    scene = KINDS[kind]()
    sampled = edit(scene, [Sample(3)])
    assert sampled.num_frames == (1 if kind == "static" else 3)
    assert_same_at(scene, sampled, times_of(sampled))


def test_time_edits_compose() -> None:
    for kind in ("linear", "deformable", "sequence"):
        scene = KINDS[kind]()
        first, last = scene.seconds or (0, 0)
        steps: list[Edit] = [Move((1.0, 0.0, 0.0)), Retime(start=0.0), SlowMotion(2.0)]
        together, apart = edit(scene, steps), scene
        for step in steps:
            apart = edit(apart, [step])
        assert_same_at(together, apart, times_of(together))
        assert together.seconds == pytest.approx((0.0, 2 * (last - first)))
        assert together.notes == apart.notes


@pytest.mark.parametrize(
    ("step", "kind", "message"),
    [
        (Trim(0.0, 9.0), "linear", r"trim: 0 s lies outside the scene, which spans 2.5 to 3.5 s"),
        (Trim(0.1, 0.2), "static", r"trim: the scene is static, it has no times to change"),
        (Trim(1.21, 1.29), "sequence", r"scene: no frame lies between 1.21 and 1.29 s; the nearest one is at 1.2 s"),
        (Loop(1.5), "deformable", r"loop: fade: expected at most half of the scene's 2 s, got 1.5"),
        (SlowMotion(2.0, 4.0, 5.0), "linear", r"slow-motion: 4 s lies outside the scene"),
        (SlowMotion(2.0, 3.2), "deformable", r"slow-motion: end: expected a time after the start, 3.2 s, got None"),
    ],
)
def test_bad_times_are_refused(step: Edit, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        edit(KINDS[kind](), [step])


def test_a_kind_that_knows_no_time_edits_says_what_to_do() -> None:
    scene = circling()
    with pytest.raises(InputError, match="cannot be trimmed; sample it into frames first"):
        edit(scene, [Trim(0.5, 1.0)])
    assert edit(scene, [Sample(9), Trim(0.5, 1.0)]).seconds == (0.5, 1.0)
    moved = edit(scene, [Move((0.0, 1.0, 0.0))])
    torch.testing.assert_close(moved.at(0.7).means, scene.at(0.7).means + torch.tensor([0.0, 1, 0]))
    assert edit(scene, [Loop(0.5)]).num_frames
