"""Passes of a plane and a sphere, whose depths and normals are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from chronosplat.cameras import orbit
from chronosplat.events import Events, Notice
from chronosplat.export import RenderOptions, render_to, turntable_frames
from chronosplat.export.images.film import film
from chronosplat.export.images.passes import EPS2D, Setting, composed, normals, rendered, widened
from chronosplat.export.images.shots import Shots, path_shots
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError
from tests.scene_kit import moving_scene, sequence_scene, static_scene, tilted_world

SIZE = 48


def sphere_depth(radius: float = 0.4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth and coverage [1, H, W, 1] of a sphere at the origin, and its normals [H, W, 3] in the camera's OpenGL axes."""
    cameras = orbit([0.0], size=SIZE)
    focal, grid = float(cameras.Ks[0, 0, 0]), torch.arange(SIZE) + 0.5 - SIZE / 2
    y, x = torch.meshgrid(grid / focal, grid / focal, indexing="ij")
    rays = torch.stack([x, y, torch.ones_like(x)], -1)
    middle = torch.tensor([0, 0, 1.5])
    a, b, c = (rays * rays).sum(-1), -2 * rays @ middle, middle @ middle - radius**2
    root = b * b - 4 * a * c
    depth = torch.where(root > 0, (-b - root.clamp(min=0).sqrt()) / (2 * a), torch.zeros(()))
    outward = (depth[..., None] * rays - middle) / radius * torch.tensor([1.0, -1, -1])
    return depth[None, ..., None], (root > 0).float()[None, ..., None], outward


def test_normals_of_a_sphere_are_its_own() -> None:
    depth, alpha, outward = sphere_depth()
    found = normals(depth, alpha, orbit([0.0], size=SIZE))[0]
    solid = alpha[0, ..., 0] > 0
    away = (found * outward).sum(-1)[solid].clamp(-1, 1).acos().rad2deg()
    assert float(away.median()) < 4
    facing = solid & (outward[..., 2] > 0.5)
    assert float((found * outward).sum(-1)[facing].min()) > 0.95
    assert float(found[solid][:, 2].min()) >= 0  # to the camera


MIDDLE = (slice(5, 11), slice(5, 11))  # of images of 16 x 16: there the wall is opaque


def wall() -> Gaussians3D:
    """Flat Gaussians side by side in the plane z = 0 of a tilted world."""
    x, y = torch.meshgrid(torch.linspace(-0.5, 0.5, 9), torch.linspace(-0.5, 0.5, 9), indexing="ij")
    return Gaussians3D(
        means=torch.stack([x, y, torch.zeros_like(x)], -1).reshape(-1, 3),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(81, 1),
        scales=torch.tensor([[0.15, 0.15, 1e-3]]).repeat(81, 1),
        opacities=torch.full((81,), 0.99),
        colors=torch.tensor([[0.2, 0.4, 0.6]]).repeat(81, 1),
        world=tilted_world(),
    )


def front(passes: tuple[str, ...], background: str = "white", deep: bool = False) -> tuple[torch.Tensor, dict[str, str], list[Notice]]:
    """One image of the wall from the front."""
    notices: list[Notice] = []
    options = RenderOptions(path="static", frames=1, size=16, elevation=0, passes=passes, background=background)
    shot = film(wall(), options, Events(notices.append), deep=deep)
    return next(shot.frames), shot.facts, notices


def test_depth_is_in_the_captures_units() -> None:
    distance = 1.5 * tilted_world().scale
    image, facts, notices = front(("depth",), deep=True)
    assert image.shape == (16, 16, 1)
    unit = float(facts["depth_unit"])
    torch.testing.assert_close(image[MIDDLE] * 65535 * unit, torch.full((6, 6, 1), distance), rtol=1e-3, atol=0)
    assert [notice.code for notice in notices] == ["depth-unit"]
    image, facts, notices = front(("depth",))
    near, far = float(facts["depth_near"]), float(facts["depth_far"])
    torch.testing.assert_close(far - image[MIDDLE] * (far - near), torch.full((6, 6, 3), distance), rtol=1e-3, atol=0)
    assert near < distance < far
    assert [notice.code for notice in notices] == ["depth-range"]


def test_passes_stand_side_by_side() -> None:
    image, _, _ = front(("rgb", "alpha", "normal"))
    assert image.shape == (16, 48, 3)
    torch.testing.assert_close(image[8, 8], torch.tensor([0.2, 0.4, 0.6]), rtol=0, atol=0.01)
    torch.testing.assert_close(image[8, 24], torch.ones(3), rtol=0, atol=0.01)
    torch.testing.assert_close(image[8, 40], torch.tensor([0.5, 0.5, 1.0]), rtol=0, atol=0.02)


def test_transparent_images_have_straight_colours() -> None:
    image, _, _ = front(("rgb",), "transparent")
    torch.testing.assert_close(image[8, 8], torch.tensor([0.2, 0.4, 0.6, 1.0]), rtol=0, atol=0.01)


@pytest.mark.parametrize(("background", "color"), [("#ff8000", (1.0, 128 / 255, 0.0)), ("black", (0.0, 0, 0)), ("gray", (0.5, 0.5, 0.5))])
def test_backgrounds(background: str, color: tuple[float, ...]) -> None:
    image = next(film(wall(), RenderOptions(path="static", frames=1, size=16, background=background, zoom=0.3)).frames)
    torch.testing.assert_close(image[0, 0], torch.tensor(color))


def test_images_are_those_of_render() -> None:
    for scene in (static_scene(), sequence_scene(), moving_scene(world=tilted_world())):
        options = RenderOptions(frames=11, size=12)
        shots = path_shots(scene, options)
        images = torch.stack(list(film(scene, options).frames))
        torch.testing.assert_close(images, render(scene, shots.cameras, shots.times).rgb, rtol=0, atol=1e-5)


def test_larger_images_than_the_input_have_wider_splats() -> None:
    assert widened(64, None) == widened(64, 64) == widened(64, 128) == EPS2D
    assert widened(256, 64) == pytest.approx(16 * EPS2D)
    scene, options = static_scene(), RenderOptions(path="static", frames=1, size=32)
    shots = path_shots(scene, options)
    wide = next(film(scene, replace(options, input_size=8)).frames)
    torch.testing.assert_close(wide, render(scene, shots.cameras, shots.times, eps2d=16 * EPS2D).rgb[0], rtol=0, atol=1e-5)
    (preview,) = turntable_frames(scene, 1, 32, input_size=8)
    torch.testing.assert_close(preview, wide, rtol=0, atol=1e-5)


def test_images_are_rendered_as_they_are_read() -> None:
    scene, options = static_scene(), RenderOptions(path="bullet", frames=2000, size=8)
    done: list[int] = []
    shot = film(scene, options, Events(progress=lambda stage, done_, total, note="": done.append(total)))
    first = next(shot.frames)
    assert first.shape == (8, 8, 3)
    next(shot.frames)
    assert (shot.count, done) == (2000, [2000])


def test_an_image_of_nothing_has_depths_and_normals() -> None:
    scene = replace(static_scene(), opacities=torch.full((6,), 1e-4))
    shots = path_shots(scene, RenderOptions(frames=1, size=8))
    (found,) = [
        composed(out, cameras, ("rgb", "alpha", "depth", "normal"), torch.zeros(3), Setting())
        for out, cameras in rendered(scene, shots, Setting())
    ]
    assert torch.equal(found, torch.zeros(8, 32, 3))
    assert next(film(scene, RenderOptions(frames=1, size=8, passes=("depth",)), deep=True).frames).max() == 0


def test_unknown_passes_and_backgrounds_are_refused() -> None:
    with pytest.raises(InputError, match=r"^passes: expected rgb, alpha, depth, normal; got 'albedo'$"):
        film(static_scene(), RenderOptions(passes=("rgb", "albedo")))
    with pytest.raises(InputError, match=r"^passes: "):
        film(static_scene(), RenderOptions(passes=()))
    for background in ("pink", "#12345", "#gggggg", "123456"):
        with pytest.raises(InputError, match=rf"^background: expected .*#rrggbb or transparent; got '{background}'$"):
            film(static_scene(), RenderOptions(background=background))


def test_an_empty_scene_is_refused(tmp_path: object) -> None:
    empty = static_scene().map(lambda x: x[:0])
    with pytest.raises(InputError, match="scene: has no Gaussians"):
        render_to(empty, f"{tmp_path}/a.mp4")


def test_shots_count_their_frames() -> None:
    assert len(Shots(orbit([0.0, 1.0]), (0.0, 0.0))) == 2
