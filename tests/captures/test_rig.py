"""Cameras sorted into L4GM's places, whatever the capture's world and order; others are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.assets.procedural import procedural_object
from chronosplat.cameras import CANONICAL, RADIUS, Cameras, Similarity, orbit
from chronosplat.captures import Rig, Views, sort_into_rig
from chronosplat.data.clips import render_clip
from chronosplat.shapes import InputError
from tests.scene_kit import law, similarities, tilted_world

SIZE = 32
SECONDS = (2.0, 2.5, 4.0)
UP = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


@cache
def synchronised() -> Views:
    """A moving object seen from the four sides at each of three timestamps: images 0 to 3 of the first, and so on."""
    cameras = orbit(CANONICAL, 0.0, SIZE).to(dtype=torch.float64)
    rgba = torch.from_numpy(render_clip(procedural_object(3, "blob"), np.array([0.0, 0.3, 0.6]), cameras, samples=1)[0]).float() / 255
    pictures = rgba.flatten(0, 1)
    times = torch.tensor(SECONDS, dtype=torch.float64).repeat_interleave(4)
    return Views(pictures[..., :3], pictures[..., 3:], cameras[list(range(4)) * 3], times, UP)


def moved(views: Views, world: Similarity, order: Sequence[int] | None = None, up: bool = True) -> Views:
    """The same images in another world and order."""
    some = views if order is None else views[list(order)]
    assert some.up is not None
    return replace(some, cameras=some.cameras.transformed(world), up=world.directions(some.up) if up else None)


def standing(places: Sequence[tuple[float, float, float]], times: Sequence[float] | None = None, size: int = 8) -> Views:
    """TrainingViews that tell their number by their brightness, from cameras at (azimuth, elevation, radius)."""
    cameras = Cameras.cat([orbit([azimuth], elevation, size, radius) for azimuth, elevation, radius in places]).to(dtype=torch.float64)
    images = (torch.arange(len(places)) / len(places))[:, None, None, None].expand(-1, size, size, 3)
    seconds = torch.zeros(len(places)) if times is None else torch.tensor(times)
    return Views(images, torch.ones(len(places), size, size, 1), cameras, seconds.double(), UP)


def ring(*azimuths: float) -> list[tuple[float, float, float]]:
    return [(azimuth, 0.0, RADIUS) for azimuth in azimuths]


def assert_holds(rig: Rig, views: Views, indices: Sequence[Sequence[int]]) -> None:
    """That the rig has the images ``indices`` [T][4] of ``views``, in these places."""
    assert len(rig.indices) == sum(len(row) for row in indices)
    for moment, row in enumerate(indices):
        for place, index in enumerate(row):
            found = rig.image(moment, place, views.cameras.width)
            assert found is not None
            assert torch.equal(found[0], views.images[index]), (moment, place)
            assert torch.equal(found[1], views.alphas[index]), (moment, place)


ALL = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize("up", [True, False], ids=["up is known", "up is the cameras'"])
def test_world_and_order_of_a_capture_do_not_matter(up: bool) -> None:
    @law
    @given(similarities(), st.permutations(range(1, 12)), st.sampled_from([0, 4, 8]))
    def check(world: Similarity, order: list[int], first: int) -> None:
        whole = [first, *(0 if index == first else index for index in order)]
        assert sorted(whole) == list(range(12))
        rig = sort_into_rig(moved(synchronised(), world, whole, up))
        assert rig.times.tolist() == list(SECONDS)
        assert_holds(rig, synchronised(), ALL)
        torch.testing.assert_close(rig.world.matrix(), world.matrix(), atol=1e-5, rtol=1e-5)

    check()


@pytest.mark.parametrize("first", [1, 2, 3, 6, 11])
def test_the_first_camera_is_the_reference(first: int) -> None:
    order = [first, *(i for i in range(12) if i != first)]
    turn = first % 4
    rig = sort_into_rig(moved(synchronised(), tilted_world(), order))
    assert_holds(rig, synchronised(), [row[turn:] + row[:turn] for row in ALL])


def test_images_are_reported_apart() -> None:
    """What the tests above compare is not all the same."""
    x = synchronised()
    assert float(x.alphas.mean((1, 2, 3)).min()) > 0.05
    for i in range(12):
        for j in range(i):
            assert not torch.equal(x.images[i] * x.alphas[i], x.images[j] * x.alphas[j]), (i, j)


@pytest.mark.parametrize("headings", [(0, 90, 180, 270), (360, -270, -180, 630), (33, 123, 213, 303), (-170, -80, 10, 100)])
def test_headings_wrap_around(headings: tuple[float, ...]) -> None:
    views = standing(ring(*headings))
    assert_holds(sort_into_rig(views), views, [[0, 1, 2, 3]])


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize(
    ("off", "fits"),
    [
        ((3, 0, 1), True),
        ((-3, 0, 1), True),
        ((0, 3, 1), True),
        ((0, -3, 1), True),
        ((3, -3, 1), True),
        ((0, 0, 1.05), True),
        ((0, 0, 0.95), True),
        ((8, 0, 1), False),
        ((-8, 0, 1), False),
        ((45, 0, 1), False),
        ((0, 8, 1), False),
        ((0, -8, 1), False),
        ((0, 80, 1), False),
        ((0, 0, 1.3), False),
        ((0, 0, 0.7), False),
    ],
)
def test_cameras_near_a_place_are_used_and_others_left_out(place: int, off: tuple[float, float, float], fits: bool) -> None:
    places = ring(*CANONICAL)
    azimuth, _, radius = places[place]
    places[place] = (azimuth + off[0], off[1], radius * off[2])
    rig = sort_into_rig(moved(standing(places), tilted_world()))
    assert set(rig.indices) == {(0, p) for p in range(4) if fits or p != place}
    assert rig.indices == {(0, p): p for _, p in rig.indices}


def test_of_two_cameras_in_a_place_the_first_is_taken() -> None:
    rig = sort_into_rig(standing(ring(0, 2, 90, 180, 270, 271)))
    assert rig.indices == {(0, 0): 0, (0, 1): 2, (0, 2): 3, (0, 3): 4}


@pytest.mark.parametrize("elevation", [20, -20, 8, 60])
def test_a_reference_camera_that_looks_down_or_up_is_refused(elevation: float) -> None:
    views = standing([(0, elevation, RADIUS), *ring(90, 180, 270)])
    said = rf"^cameras: L4GM expects elevation 0 degrees, the first camera is at {elevation}; use a 4d-lrm model$"
    with pytest.raises(InputError, match=said):
        sort_into_rig(moved(views, tilted_world()))


@pytest.mark.parametrize("elevation", [3, -3])
def test_a_reference_camera_may_be_slightly_off(elevation: float) -> None:
    rig = sort_into_rig(standing([(0, elevation, RADIUS), *ring(90, 180, 270)]))
    assert set(rig.indices) == {(0, place) for place in range(4)}


def test_timestamps_that_the_reference_does_not_see_are_ignored() -> None:
    views = standing(ring(0, 90, 180, 270, 0, 90, 90, 180), [5, 5, 5, 5, 7, 6, 7, 4])
    rig = sort_into_rig(views)
    assert rig.times.tolist() == [5, 7]
    assert rig.indices == {(0, 0): 0, (0, 1): 1, (0, 2): 2, (0, 3): 3, (1, 0): 4, (1, 1): 6}
    assert rig.image(1, 2, 8) is None
    assert rig.views_of(1, 8) is None


def test_timestamps_are_in_order_though_the_images_are_not() -> None:
    views = standing(ring(0, 0, 0, 90), [9, -1, 3.5, 3.5])
    rig = sort_into_rig(views)
    assert rig.times.tolist() == [-1, 3.5, 9]
    assert rig.indices == {(0, 0): 1, (1, 0): 2, (2, 0): 0, (1, 1): 3}
    shown = [float(images.mean()) for images, _ in rig.frames(8, range(3))]
    assert shown == pytest.approx([0.25, 0.5, 0.0])
    assert [float(images.mean()) for images, _ in rig.frames(8, [2, 1])] == pytest.approx([0.0, 0.5])


def test_views_of_a_timestamp_are_on_white() -> None:
    found = sort_into_rig(moved(synchronised(), tilted_world())).views_of(1, SIZE)
    assert found is not None
    assert torch.equal(found, synchronised().on_white()[4:8])


def test_other_numbers_of_places() -> None:
    views = standing(ring(0, 60, 120, 180, 240, 300))
    assert sort_into_rig(views, num_views=6).indices == {(0, place): place for place in range(6)}
    assert sort_into_rig(views, num_views=2).indices == {(0, 0): 0, (0, 1): 3}
    assert sort_into_rig(views).indices == {(0, 0): 0, (0, 2): 3}
    assert sort_into_rig(views, num_views=1).indices == {(0, 0): 0}


def test_cameras_above_the_ring_are_left_out_and_change_nothing() -> None:
    """A rig with a ring of its own beside L4GM's, further away."""
    above = [(azimuth + 20.0, 45.0, 4.0) for azimuth in range(0, 360, 45)]
    views = moved(standing([*ring(*CANONICAL), *above]), tilted_world())
    assert sort_into_rig(views).indices == {(0, place): place for place in range(4)}


@pytest.mark.parametrize("radius", [1.0, 3.0])
def test_the_reference_camera_is_always_in_its_place(radius: float) -> None:
    """If its distance differs from the others', the others do not fit."""
    rig = sort_into_rig(standing([(0, 0, radius), *ring(90, 180, 270)]))
    assert len(rig.times) == 1
    assert rig.indices[0, 0] == 0
    assert len(list(rig.frames(8, range(1)))) == 1


@pytest.mark.parametrize("sides", [(90, 180, 270), (90,), (180,)], ids=str)
@pytest.mark.parametrize("moments", [30, 3000])
def test_a_long_video_with_sides_of_its_first_timestamp(moments: int, sides: tuple[float, ...]) -> None:
    """However often the reference camera is counted, it does not pull the object's middle towards itself."""
    cameras = orbit([0.0, *sides], 0.0, 1).to(dtype=torch.float64)[[0] * moments + list(range(1, len(sides) + 1))]
    pixels = torch.ones(len(cameras), 1, 1, 3)
    times = torch.tensor([*range(moments)] + [0] * len(sides), dtype=torch.float64)
    rig = sort_into_rig(Views(pixels, pixels[..., :1], cameras, times, UP))
    assert len(rig.times) == moments
    assert {place for moment, place in rig.indices if moment == 0} == {0, *(round(side / 90) for side in sides)}
    centers = cameras.transformed(rig.world.inverse()).centers
    torch.testing.assert_close(centers, cameras.centers, atol=1e-3, rtol=0)
