"""The choice of a few of many views: spread over directions and times, the first and last timestamp and all cameras included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import CANONICAL, Cameras, orbit
from chronosplat.captures import spread_views

SIZE = 8


def rig(cameras: int, timestamps: int) -> tuple[Cameras, Tensor]:
    """Synchronised cameras around the object, time-major."""
    around = orbit([360.0 * i / cameras for i in range(cameras)], 0.0, SIZE)
    return around[list(range(cameras)) * timestamps], torch.arange(timestamps).repeat_interleave(cameras).double() / 10


def random_cameras(count: int) -> tuple[Cameras, Tensor]:
    """One random camera at every timestamp, as in D-NeRF."""
    angles = torch.rand(count, 2, generator=torch.Generator().manual_seed(0))
    cameras = orbit((360 * angles[:, 0]).tolist(), (60 * angles[:, 1] - 30).tolist(), SIZE)
    return cameras, torch.linspace(3, 5, count, dtype=torch.float64)


def widest_gap(cameras: Cameras, chosen: list[int]) -> float:
    """The largest angle in degrees from any camera to the nearest chosen one."""
    forwards = cameras.forwards
    return float(torch.rad2deg(torch.acos((forwards @ forwards[chosen].T).clamp(-1, 1).amax(1)).amax()))


def smallest_distance(cameras: Cameras, times: Tensor, chosen: list[int]) -> float:
    """The smallest distance in direction and time (opposite directions and both ends of time are 2 apart) between chosen views."""
    span = times.max() - times.min()
    places = torch.cat([cameras.forwards.double(), 2 * times[:, None] / span], 1)[chosen]
    return float((torch.cdist(places, places) + 9 * torch.eye(len(chosen))).min())


@pytest.mark.parametrize("count", [1, 5, 24])
def test_all_views_where_there_are_few(count: int) -> None:
    assert spread_views(*random_cameras(count), 24) == list(range(count))


@pytest.mark.parametrize(("cameras", "timestamps"), [(4, 24), (8, 24), (4, 48), (8, 12), (3, 300), (24, 24), (4, 7)])
def test_synchronised_cameras(cameras: int, timestamps: int) -> None:
    """Every camera equally often, every timestamp or every part of the time span about equally often."""
    poses, times = rig(cameras, timestamps)
    chosen = spread_views(poses, times, 24)
    assert len(set(chosen)) == 24
    assert chosen == sorted(chosen)
    found = times[chosen]
    assert {float(times[0]), float(times[-1])} <= set(found.tolist())
    assert len(found.unique()) == min(timestamps, 24)
    assert float(found.unique().diff().max()) <= 2 * timestamps / 24 / 10 + 1e-9 or timestamps < 24
    of_camera = torch.bincount(torch.tensor(chosen) % cameras, minlength=cameras)
    assert int(of_camera.max() - of_camera.min()) <= 1
    at_time = torch.unique(found, return_counts=True)[1]
    assert int(at_time.max() - at_time.min()) <= 2


def test_neighbours_in_time_look_from_different_directions() -> None:
    cameras, times = rig(8, 24)
    forwards = cameras[spread_views(cameras, times, 24)].forwards
    assert float((forwards[1:] * forwards[:-1]).sum(1).max()) < 0.75  # never the same camera; 0.71 is the next one


def test_random_cameras_cover_directions_and_times() -> None:
    cameras, times = random_cameras(300)
    chosen = spread_views(cameras, times, 24)
    assert chosen[0] == 0
    assert chosen[-1] == 299
    assert float(times[chosen].diff().max()) <= 2 * 2.0 / 24
    evenly_spaced = [round(i * 299 / 23) for i in range(24)]
    assert smallest_distance(cameras, times, chosen) > 1.5 * smallest_distance(cameras, times, evenly_spaced)
    assert widest_gap(cameras, chosen) < widest_gap(cameras, evenly_spaced)


def test_cameras_of_one_timestamp_are_kept() -> None:
    """L4GM's setting: a long video, and other cameras of its first frame."""
    video, sides = orbit([0.0] * 100, 0.0, SIZE), orbit(CANONICAL[1:], 0.0, SIZE)
    times = torch.cat([torch.linspace(0, 4, 100, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)])
    chosen = spread_views(Cameras.cat([video, sides]), times, 24)
    assert chosen[-3:] == [100, 101, 102]
    assert chosen[0] == 0
    assert 99 in chosen


def test_a_static_capture_is_spread_over_directions() -> None:
    cameras = orbit([float(i) for i in range(360)], 0.0, SIZE)
    chosen = spread_views(cameras, torch.zeros(360, dtype=torch.float64), 24)
    assert len(chosen) == 24
    assert widest_gap(cameras, chosen) < 16


def test_more_cameras_than_views() -> None:
    cameras, times = rig(30, 40)
    chosen = spread_views(cameras, times, 24)
    assert len({i % 30 for i in chosen}) == 24


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_tiny_limits(limit: int) -> None:
    cameras, times = rig(4, 6)
    chosen = spread_views(cameras, times, limit)
    assert len(chosen) == limit
    assert chosen[0] < 4
    assert limit == 1 or chosen[-1] >= 20


def test_the_choice_depends_on_the_views_alone() -> None:
    cameras, times = random_cameras(100)
    state = torch.get_rng_state()
    first = spread_views(cameras, times, 24)
    torch.rand(7)
    assert spread_views(cameras, times, 24) == first
    torch.set_rng_state(state)
    shifted = spread_views(cameras, 1000 + 60 * times, 24)  # other units and another origin of time
    assert shifted == first


def test_order_does_not_matter_where_nothing_ties() -> None:
    cameras, times = random_cameras(100)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = spread_views(cameras[order], times[order], 24)
    assert sorted(order[i] for i in shuffled) == spread_views(cameras, times, 24)
