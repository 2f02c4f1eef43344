"""From how many directions each timestamp is seen, and which views are held out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.cameras import CANONICAL, Cameras, orbit
from chronosplat.refine.coverage import (
    SAME_SIZE,
    camera_numbers,
    hold_out,
    keeps_its_size,
    one_direction,
    sides_seen,
    timestamp_spacing,
    well_seen,
)
from tests.refine.kit import alternating, timestamps, video
from tests.scene_kit import law

SHARES = (0.05, 0.17, 0.3, 0.5)


def rotating() -> tuple[Cameras, Tensor]:
    azimuths = [15.0 * (i // 2) if i % 2 == 0 else 360 - 15.0 * (i // 2 + 1) for i in range(24)]
    return orbit(azimuths, size=8), timestamps()


def scattered(seed: int = 0, count: int = 24) -> tuple[Cameras, Tensor]:
    random = torch.Generator().manual_seed(seed)
    azimuths, heights = (360 * torch.rand(count, generator=random)).tolist(), (60 * torch.rand(count, generator=random) - 20).tolist()
    return orbit(azimuths, heights, size=8), timestamps(count)


def several_at_once() -> tuple[Cameras, Tensor]:
    return orbit(list(CANONICAL) * 6, size=8), timestamps(6).repeat_interleave(4)


RIGS = {"alternating": alternating, "rotating": rotating, "random": scattered, "several at once": several_at_once}


@pytest.mark.parametrize("rig", RIGS)
def test_rigs_of_many_sides_are_well_seen(rig: str) -> None:
    assert well_seen(*RIGS[rig]())


@pytest.mark.parametrize("sides", [True, False])
def test_a_video_is_not_well_seen(sides: bool) -> None:
    assert not well_seen(*video(sides=sides))


def test_a_single_timestamp_from_four_sides_is_well_seen_and_from_one_is_not() -> None:
    same = torch.full((4,), 3.0, dtype=torch.float64)
    assert well_seen(orbit(CANONICAL, size=8), same)
    assert not well_seen(orbit([0.0, 5.0, 10.0, 15.0], size=8), same)
    assert timestamp_spacing(same) == 0


def test_directions_are_counted_for_each_timestamp() -> None:
    found, counts = sides_seen(*video())
    assert len(found) == 24
    assert int(counts[0]) == 4
    assert int(counts[-1]) == 1
    assert sorted(counts.tolist(), reverse=True) == counts.tolist()


@law
@given(shift=st.integers(-(2**20), 2**20), power=st.integers(-12, 12), rig=st.sampled_from([*RIGS, "video"]))
def test_shifts_and_scales_of_time_do_not_matter(shift: int, power: int, rig: str) -> None:
    """Whole shifts of 32nds and powers of two are exact, so that not even ties may come out otherwise."""
    cameras, _ = RIGS[rig]() if rig != "video" else video()
    times = torch.arange(len(cameras), dtype=torch.float64) / 32
    moved = (times + shift) * 2.0**power
    assert well_seen(cameras, moved) == well_seen(cameras, times)
    assert hold_out(cameras, moved, 0.17) == hold_out(cameras, times, 0.17)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("rig", [*RIGS, "video"])
def test_about_the_share_is_held_out_and_never_all(rig: str, share: float) -> None:
    cameras, times = RIGS[rig]() if rig != "video" else video()
    held = hold_out(cameras, times, share)
    assert held == sorted(set(held))
    assert 2 <= len(held) <= max(2, round(share * len(times)))
    assert len(held) <= len(times) / 2
    assert held == hold_out(cameras, times, share)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_few_views_none_is_held_out(count: int) -> None:
    assert hold_out(orbit([90.0 * i for i in range(count)], size=8), timestamps(count), 0.5) == []


def test_nothing_is_held_out_for_no_share() -> None:
    assert hold_out(*alternating(), 0.0) == []


def test_held_out_views_are_spread_over_directions_and_time() -> None:
    cameras, times = alternating()
    held = hold_out(cameras, times, 0.17)
    assert sorted(i % 4 for i in held) == [0, 1, 2, 3]
    chosen = times[held]
    assert float(chosen.max() - chosen.min()) > 1.0


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("backs", [2, 3])
def test_of_each_direction_with_several_views_one_stays(share: float, backs: int) -> None:
    """Many views of the front, few from behind, first and last: those lie farthest from all others."""
    azimuths = [0.0] * 6 + [180.0] * backs
    times = torch.cat([timestamps(6), timestamps(backs)])
    held = hold_out(orbit(azimuths, size=8), times, share)
    assert {azimuths[i] for i in range(len(azimuths)) if i not in held} == {0.0, 180.0}


def test_views_in_any_order_are_held_out_alike() -> None:
    cameras, times = scattered(4)
    order = torch.randperm(len(times), generator=torch.Generator().manual_seed(1))
    held = hold_out(cameras[order], times[order], 0.17)
    assert sorted(order[held].tolist()) == hold_out(cameras, times, 0.17)


def pixels(areas: list[float]) -> Tensor:
    """RGBA images of 10x10 pixels with so many covered pixels each."""
    alphas = torch.stack([(torch.arange(100) < area).view(10, 10, 1) for area in areas])
    return alphas.to(torch.uint8).expand(-1, -1, -1, 4) * 255


@pytest.mark.parametrize(("areas", "stays"), [([40, 45, 50], True), ([40, 45, 51], False), ([40, 0, 40], False), ([40, 40], False)])
def test_an_object_that_keeps_its_size_in_a_video_stays_in_place(areas: list[float], stays: bool) -> None:
    assert SAME_SIZE == 1.25
    assert keeps_its_size(orbit([0.0] * len(areas), size=10), pixels(areas)) is stays


def test_single_views_of_other_sides_do_not_count() -> None:
    cameras = orbit([0.0, 90.0, 0.0, 180.0, 0.0], size=10)
    assert keeps_its_size(cameras, pixels([40, 90, 42, 5, 44]))
    assert not keeps_its_size(cameras[[0, 1, 3]], pixels([40, 90, 5]))


def test_every_video_has_to_keep_its_size() -> None:
    assert not keeps_its_size(orbit([0.0, 90.0] * 3, size=10), pixels([40, 20, 40, 40, 40, 60]))


def test_views_of_one_pose_are_one_cameras_unless_they_share_a_timestamp() -> None:
    cameras = orbit([90.0, 0.0, 90.0, 0.0, 0.0], size=10)
    assert camera_numbers(cameras, torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0])).tolist() == [0, 1, 0, 1, 1]
    assert camera_numbers(cameras, torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])).tolist() == [0, 1, 0, 1, 2]
    zoomed = replace(cameras, Ks=cameras.Ks * torch.tensor([1.0, 1.0, 1.0, 2.0, 1.0])[:, None, None])
    assert camera_numbers(zoomed, torch.arange(5.0)).tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize(("azimuths", "same"), [([0.0], True), ([0.0, 9.0, -9.0], True), ([0.0, 25.0], False), ([0.0, 180.0], False)])
def test_cameras_that_look_the_same_way(azimuths: list[float], same: bool) -> None:
    assert one_direction(orbit(azimuths, size=10)) is same
