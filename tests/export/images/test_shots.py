"""Camera paths: where cameras stand, which way they look, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.cameras import FOVY, RADIUS, Similarity
from chronosplat.events import Events, Notice
from chronosplat.export import RenderOptions
from chronosplat.export.images import PATHS
from chronosplat.export.images.shots import Shots, path_shots
from chronosplat.scenes import Gaussians4D
from chronosplat.shapes import InputError
from tests.scene_kit import SECONDS, law, moving_scene, project, similarities, static_scene, tilted_world

FIRST, LAST = SECONDS  # one second


def shots(path: str, world: Similarity | None = None, **options: object) -> Shots:
    """The shots of a path around a moving scene."""
    return path_shots(moving_scene(world=world), RenderOptions(path=path, **options))  # pyright: ignore[reportArgumentType]


def own(found: Shots, world: Similarity | None = None) -> torch.Tensor:
    """Camera centres in the scene's own world."""
    return found.cameras.transformed((world or Similarity()).inverse()).centers


@pytest.mark.parametrize("path", PATHS)
def test_cameras_look_at_the_scene_upright_in_any_world(path: str) -> None:
    for world in (Similarity(), tilted_world()):
        found = shots(path, world, frames=5, size=40, elevation=25)
        pixels, _ = project(found.cameras, world.points(torch.zeros(1, 3, dtype=torch.float64)))
        torch.testing.assert_close(pixels, torch.full((5, 1, 2), 20.0, dtype=torch.float64), rtol=0, atol=1e-6)
        top, depth = project(found.cameras, world.points(torch.tensor([[0, 0.1, 0]], dtype=torch.float64)))
        assert bool((top[..., 1] < 20).all())
        torch.testing.assert_close(top[..., 0], pixels[..., 0], rtol=0, atol=1e-6)
        assert bool((depth > 0).all())


@law
@given(similarities())
def test_paths_move_with_the_world(world: Similarity) -> None:
    straight, moved = shots("orbit", frames=4), shots("orbit", world, frames=4)
    torch.testing.assert_close(own(moved, world), straight.cameras.centers, rtol=0, atol=1e-6)
    assert moved.times == straight.times


def test_circles_start_in_front_and_turn_evenly() -> None:
    for path in ("orbit", "turntable", "bullet"):
        centers = own(shots(path, frames=4, elevation=0))
        expected = RADIUS * torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 0, -1], [-1, 0, 0]], dtype=torch.float64)
        torch.testing.assert_close(centers, expected, rtol=0, atol=1e-9)
    back = own(shots("turntable", frames=4, elevation=0, turns=-1, azimuth=90))
    torch.testing.assert_close(back, expected[[1, 0, 3, 2]], rtol=0, atol=1e-9)


def test_a_dolly_approaches_and_static_stays() -> None:
    distances = own(shots("dolly", frames=7)).norm(dim=-1)
    assert bool((distances.diff() < 0).all())
    assert float(own(shots("static", frames=3)).var(0).sum()) == 0
    torch.testing.assert_close(own(shots("static", frames=1, zoom=2)).norm().item(), RADIUS / 2)


def test_time_plays_at_its_speed_and_ends_at_the_end() -> None:
    found = shots("static", fps=10)
    assert found.times == pytest.approx([FIRST + 0.1 * i for i in range(11)])
    slow = shots("static", fps=10, speed=0.25)
    assert slow.times == pytest.approx([FIRST + 0.025 * i for i in range(41)])
    assert shots("turntable", frames=5).times == pytest.approx([FIRST + 0.25 * i for i in range(5)])


@law
@given(st.floats(0.2, 5), st.floats(0.1, 4), st.sampled_from([5.0, 24.0, 29.97]))
def test_time_that_plays_longer_starts_again(seconds: float, speed: float, fps: float) -> None:
    found = shots("static", fps=fps, seconds=seconds, speed=speed)
    assert len(found) == max(1, round(seconds * fps))
    assert found.times[0] == FIRST
    assert min(found.times) >= FIRST
    assert max(found.times) <= LAST
    for sooner, later in zip(found.times, found.times[1:], strict=False):
        is_next, is_end = abs(later - sooner - speed / fps) < 1e-6, later < sooner or later == LAST
        assert is_next or is_end


def test_an_orbit_runs_to_the_end_and_back_and_loops() -> None:
    found = shots("orbit", frames=8)
    assert found.times == pytest.approx([FIRST, FIRST + 0.5, LAST, FIRST + 0.5] * 2)
    assert len(shots("orbit", fps=10)) == 40  # two passes of two seconds
    assert len(shots("orbit", fps=10, speed=0.5)) == 80


def test_bullet_time_is_frozen_in_the_middle_or_where_it_is_asked() -> None:
    assert set(shots("bullet", frames=3).times) == {(FIRST + LAST) / 2}
    for path in PATHS:
        assert set(shots(path, frames=3, at=LAST).times) == {LAST}
    assert len(shots("bullet", fps=10)) == 40


def test_a_static_scene_needs_no_times() -> None:
    for path in PATHS:
        found = path_shots(static_scene(), RenderOptions(path=path, frames=3))
        assert found.times == (0.0, 0.0, 0.0)


def test_the_field_of_view_is_along_the_shorter_side() -> None:
    wide, tall = (shots("static", frames=1, size=h, width=w).cameras for w, h in ((80, 40), (40, 80)))
    focal = 20 / torch.tan(torch.deg2rad(torch.tensor(FOVY, dtype=torch.float64)) / 2)
    for cameras in (wide, tall):
        torch.testing.assert_close(cameras.Ks[0, 0, 0], focal)
        torch.testing.assert_close(cameras.Ks[0, 1, 1], focal)


@pytest.mark.parametrize("world", [Similarity(), tilted_world()], ids=["own world", "tilted world"])
def test_a_scene_that_is_not_normalised_is_framed_with_a_notice(world: Similarity) -> None:
    far = torch.tensor([50.0, -20.0, 7.0])
    scene = static_scene(200, world=world)
    large = replace(scene, means=scene.means * 30 + far, scales=scene.scales * 30)
    notices: list[Notice] = []
    found = path_shots(large, RenderOptions(path="turntable", frames=4, size=100), Events(notices.append))
    assert [notice.code for notice in notices] == ["framed"]
    pixels, depths = project(found.cameras, world.points(large.means.double()))
    assert bool((depths > 0).all())
    inside = ((pixels > 0) & (pixels < 100)).all(-1).double().mean()
    assert float(inside) > 0.9
    spread = pixels[0].amax(0) - pixels[0].amin(0)
    assert float(spread.max()) > 40


BAD = {
    "path: expected orbit, turntable, bullet, dolly, static; got 'spiral'": {"path": "spiral"},
    "times: 9 s lies outside the scene, which spans 2.5 to 3.5 s": {"at": 9.0},
    "frames: expected a positive number, got 0": {"frames": 0},
    "size: expected a positive number, got -3": {"size": -3},
    "speed: expected a positive number, got 0": {"speed": 0.0},
    "seconds: expected a positive number, got nan": {"seconds": float("nan")},
    "fps: expected a positive number, got inf": {"fps": float("inf")},
    "fov: expected degrees between 0 and 180, got 180": {"fov": 180.0},
    "elevation: expected -90 to 90 degrees, got 91": {"elevation": 91.0},
    "turns: expected a number, got nan": {"turns": float("nan")},
}


@pytest.mark.parametrize(("problem", "options"), BAD.items(), ids=list(BAD))
def test_bad_options_are_refused(problem: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError) as error:
        path_shots(moving_scene(), RenderOptions(**options))  # pyright: ignore[reportArgumentType]
    assert str(error.value) == problem


def test_a_moving_scene_of_one_time_is_frozen() -> None:
    scene: Gaussians4D = moving_scene(seconds=(3.0, 3.0))
    assert set(path_shots(scene, RenderOptions(frames=2)).times) == {3.0}
