"""Cameras that disagree are named before the work begins; cameras that agree are not."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from chronosplat.assets.procedural import procedural_object
from chronosplat.cameras import Similarity
from chronosplat.captures import Views
from chronosplat.evaluate.studio import MeshStudio, ViewSpec
from chronosplat.refine import camera_numbers, disagreeing_cameras
from tests.refine.kit import video_views, views
from tests.scene_kit import tilted_world

ELEVATIONS = (0, 30, -10, 50, 10, -20, 40, 20)


@cache
def studio() -> MeshStudio:
    """A creature at four timestamps."""
    return MeshStudio(procedural_object(13, "creature"), "creature", 64, times=4)


@cache
def capture(count: int = 8, level: bool = False) -> Views:
    """Cameras around the creature, at every timestamp."""
    angles = [(360 / count * i, 0.0 if level else float(ELEVATIONS[i % 8])) for i in range(count)]
    return studio().get_views([ViewSpec(*angle, frame) for frame in range(4) for angle in angles])


def turned(views: Views, degrees: float, *cameras: int) -> Views:
    """The same images, with the poses of some cameras turned about the world's vertical axis."""
    angle, viewmats = math.radians(degrees), views.cameras.viewmats.clone()
    turn = torch.eye(4)
    turn[0, 0] = turn[2, 2] = math.cos(angle)
    turn[0, 2], turn[2, 0] = -math.sin(angle), math.sin(angle)
    chosen = torch.isin(camera_numbers(views.cameras, views.times), torch.tensor(cameras))
    viewmats[chosen] = viewmats[chosen] @ turn
    return replace(views, cameras=replace(views.cameras, viewmats=viewmats))


def told(views: Views) -> list[str]:
    """The warnings' texts."""
    return [str(notice) for notice in disagreeing_cameras(views)]


@pytest.mark.parametrize("given", [capture(), capture(4), capture(8, level=True), capture(4, level=True), views(), video_views()])
def test_cameras_that_agree_are_not_named(given: Views) -> None:
    assert told(given) == []


@pytest.mark.parametrize("degrees", [10.0, 25.0, -90.0])
@pytest.mark.parametrize("level", [True, False])
def test_one_wrong_camera_of_eight_is_named(degrees: float, level: bool) -> None:
    (notice,) = disagreeing_cameras(turned(capture(8, level), degrees, 3))
    assert (notice.level, notice.code) == ("warning", "cameras-disagree")
    assert str(notice) == (
        "camera 3 (views 3, 11, 19, ...) contradicts the silhouettes of the others; check its pose, timestamps and masks"
    )


@pytest.mark.parametrize("world", [Similarity(), tilted_world()])
def test_one_wrong_camera_of_four_is_among_those_named(world: Similarity) -> None:
    wrong = turned(capture(4, level=True), 45.0, 1)
    (text,) = told(replace(wrong, cameras=wrong.cameras.transformed(world)))
    assert "camera 1 (views 1, 5, 9, ...)" in text or text.startswith("one of the 4 cameras")


def test_a_camera_with_the_pose_of_another_is_told_from_it() -> None:
    wrong = turned(capture(4, level=True), 90.0, 1)
    assert len(wrong.cameras.viewmats.unique(dim=0)) == 3
    assert told(wrong)[0].startswith("camera 1 (views 1, 5, 9, ...) contradicts")


def test_two_wrong_cameras_of_eight_are_named() -> None:
    (text,) = told(turned(capture(), 40.0, 1, 4))
    assert text.endswith("contradict the silhouettes of the others; check their poses, timestamps and masks")
    assert "camera 1 (views 1, 9, 17, ...)" in text
    assert "camera 4 (views 4, 12, 20, ...)" in text


def test_many_wrong_cameras_are_said_though_none_is_named() -> None:
    wrong = turned(turned(capture(), 90.0, 0, 1, 2), -60.0, 4, 6)
    assert "percent of the silhouettes contradict those of other cameras" in told(wrong)[0]


def test_a_camera_whose_images_come_late_is_named() -> None:
    given, late = capture(), capture().pixels.clone()
    chosen = camera_numbers(given.cameras, given.times) == 2
    late[chosen] = given.pixels[chosen].roll(1, 0)
    assert told(replace(given, pixels=late))[0].startswith("camera 2 (views 2, 10, 18, ...)")


def test_an_object_that_leaves_an_image_is_no_contradiction() -> None:
    """A longer lens of camera 0 shows its middle alone."""
    given = capture()
    chosen = camera_numbers(given.cameras, given.times) == 0
    pixels, Ks = given.pixels.clone(), given.cameras.Ks.clone()
    middle = pixels[chosen, 24:40, 24:40].repeat_interleave(4, 1).repeat_interleave(4, 2)
    pixels[chosen] = middle
    Ks[chosen, 0, 0] *= 4
    Ks[chosen, 1, 1] *= 4
    assert told(replace(given, pixels=pixels, cameras=replace(given.cameras, Ks=Ks))) == []


def test_three_cameras_are_not_compared() -> None:
    given = capture(4)
    some = given[(camera_numbers(given.cameras, given.times) < 3).nonzero()[:, 0]]
    assert told(turned(some, 60.0, 1)) == []
