"""Cameras: conventions convert both ways; changes of world and image size preserve projections."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity, intrinsics, rigid_inverse
from chronosplat.scenes import quats_to_matrices
from chronosplat.shapes import InputError
from tests.scene_kit import law, project, quaternions, random_cameras, seeds, similarities, vectors


def points_in_front(cameras: Cameras, count: int = 7) -> Tensor:
    """[F, N, 3] world points between 1 and 3 before each camera."""
    random = torch.Generator().manual_seed(1)
    local = torch.rand(len(cameras), count, 3, generator=random, dtype=torch.float64) * 2 + torch.tensor([-1.0, -1.0, 1.0])
    homogeneous = torch.cat([local, torch.ones_like(local[..., :1])], -1)
    return torch.einsum("fij,fnj->fni", torch.linalg.inv(cameras.viewmats), homogeneous)[..., :3]


@law
@given(seeds())
def test_opengl_round_trip(seed: int) -> None:
    cameras = random_cameras(seed=seed)
    back = Cameras.from_opengl_c2w(cameras.to_opengl_c2w(), cameras.Ks, cameras.width, cameras.height)
    torch.testing.assert_close(back.viewmats, cameras.viewmats, rtol=0, atol=1e-12)
    assert torch.equal(back.Ks, cameras.Ks)


@law
@given(seeds())
def test_opengl_pose_has_its_axes_and_centre_in_the_columns(seed: int) -> None:
    cameras = random_cameras(seed=seed)
    poses = cameras.to_opengl_c2w()
    torch.testing.assert_close(poses[:, :3, 1], cameras.ups, rtol=0, atol=1e-12)
    torch.testing.assert_close(poses[:, :3, 2], -cameras.forwards, rtol=0, atol=1e-12)
    torch.testing.assert_close(poses[:, :3, 3], cameras.centers, rtol=0, atol=1e-12)
    local = cameras.viewmats @ torch.cat([cameras.centers, torch.ones(3, 1, dtype=torch.float64)], 1)[..., None]
    torch.testing.assert_close(local[:, :3, 0], torch.zeros(3, 3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_opengl_identity_looks_along_minus_z_with_y_up() -> None:
    pose = torch.eye(4)[None]
    cameras = Cameras.from_opengl_c2w(pose, intrinsics(10, 10, 90.0)[None].float(), 10, 10)
    assert cameras.forwards.tolist() == [[0, 0, -1]]
    assert cameras.ups.tolist() == [[0, 1, 0]]
    pixels, depths = project(cameras, torch.tensor([[1.0, 1.0, -2.0]]))
    torch.testing.assert_close(pixels, torch.tensor([[[7.5, 2.5]]]))  # right of the centre, and above it
    assert depths.item() == 2


def test_colmap_equals_known_matrices() -> None:
    quats = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 3.0], [0.5, 0.5, 0.5, 0.5]], dtype=torch.float64)
    translations = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]], dtype=torch.float64)
    expected = torch.tensor(
        [
            [[0, 0, 1, 1], [0, 1, 0, 2], [-1, 0, 0, 3], [0, 0, 0, 1]],
            [[-1, 0, 0, 4], [0, -1, 0, 5], [0, 0, 1, 6], [0, 0, 0, 1]],
            [[0, 0, 1, 7], [1, 0, 0, 8], [0, 1, 0, 9], [0, 0, 0, 1]],
        ],
        dtype=torch.float64,
    )
    cameras = Cameras.from_colmap(quats, translations, intrinsics(8, 8, 50.0).expand(3, 3, 3), 8, 8)
    torch.testing.assert_close(cameras.viewmats, expected, rtol=0, atol=1e-15)


@law
@given(quaternions(), vectors(3))
def test_colmap_quaternions_are_those_of_the_package(quat: Tensor, translation: Tensor) -> None:
    cameras = Cameras.from_colmap(quat[None], translation[None], intrinsics(8, 8, 50.0)[None], 8, 8)
    torch.testing.assert_close(cameras.viewmats[0, :3, :3], quats_to_matrices(quat), rtol=0, atol=1e-12)
    assert torch.equal(cameras.viewmats[0, :3, 3], translation)


@law
@given(seeds(), similarities())
def test_transforming_cameras_and_scene_preserves_pixels_and_scales_depths(seed: int, world: Similarity) -> None:
    cameras = random_cameras(seed=seed)
    points = points_in_front(cameras)
    pixels, depths = project(cameras, points)
    moved = cameras.transformed(world)
    moved_pixels, moved_depths = project(moved, world.points(points))
    torch.testing.assert_close(moved_pixels, pixels, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(moved_depths, world.scale * depths, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(moved.centers, world.points(cameras.centers), rtol=0, atol=1e-10)
    torch.testing.assert_close(moved.forwards, world.directions(cameras.forwards), rtol=0, atol=1e-12)
    torch.testing.assert_close(moved.ups, world.directions(cameras.ups), rtol=0, atol=1e-12)


@law
@given(seeds(), similarities(), similarities())
def test_transforms_compose(seed: int, first: Similarity, second: Similarity) -> None:
    cameras = random_cameras(seed=seed)
    steps = cameras.transformed(first).transformed(second)
    torch.testing.assert_close(steps.viewmats, cameras.transformed(second.after(first)).viewmats, rtol=1e-10, atol=1e-10)
    back = cameras.transformed(first).transformed(first.inverse())
    torch.testing.assert_close(back.viewmats, cameras.viewmats, rtol=1e-10, atol=1e-10)


@law
@given(seeds())
def test_another_size_keeps_normalised_projections(seed: int) -> None:
    cameras = random_cameras(seed=seed, width=8, height=6)
    resized = cameras.resized(20, 3)
    assert (resized.width, resized.height) == (20, 3)
    points = points_in_front(cameras)
    size, new = torch.tensor([8.0, 6.0], dtype=torch.float64), torch.tensor([20.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(project(resized, points)[0] / new, project(cameras, points)[0] / size, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(resized.resized(8, 6).Ks, cameras.Ks, rtol=1e-14, atol=0)


@law
@given(seeds())
def test_rigid_inverse_is_the_matrix_inverse(seed: int) -> None:
    matrices = random_cameras(seed=seed, frames=4).viewmats.view(2, 2, 4, 4)
    torch.testing.assert_close(rigid_inverse(matrices), torch.linalg.inv(matrices), rtol=0, atol=1e-12)


def test_intrinsics_put_the_field_of_view_on_the_image_edge() -> None:
    K = intrinsics(30, 20, 49.1)
    edge = K @ torch.tensor([0, math.tan(math.radians(49.1 / 2)), 1], dtype=torch.float64)
    torch.testing.assert_close(edge, torch.tensor([15.0, 20.0, 1.0], dtype=torch.float64), rtol=1e-14, atol=0)
    assert K[0, 0] == K[1, 1]


def test_indexing_and_joining() -> None:
    cameras = random_cameras(frames=5)
    assert len(cameras[1]) == 1
    assert torch.equal(cameras[-1].viewmats, cameras.viewmats[4:])
    assert torch.equal(cameras[[3, 0]].Ks, cameras.Ks[[3, 0]])
    assert torch.equal(cameras[torch.tensor([False, True, True, False, False])].viewmats, cameras[1:3].viewmats)
    joined = Cameras.cat([cameras[:2], cameras[2], cameras[3:]])
    assert torch.equal(joined.viewmats, cameras.viewmats)
    assert torch.equal(joined.Ks, cameras.Ks)
    assert (joined.width, joined.height) == (cameras.width, cameras.height)


def test_precision_changes_of_both_tensors() -> None:
    cameras = random_cameras().to(dtype=torch.float32)
    assert (cameras.viewmats.dtype, cameras.Ks.dtype) == (torch.float32, torch.float32)


def changed(K: Tensor, row: int, column: int, value: float) -> Tensor:
    """A copy of an intrinsic matrix [1, 3, 3] with one entry replaced."""
    K = K.clone()
    K[0, row, column] = value
    return K


VIEW, K = torch.eye(4)[None], intrinsics(4, 4, 50.0)[None].float()


@pytest.mark.parametrize(
    ("viewmats", "Ks", "size", "message"),
    [
        (torch.eye(4), K, (4, 4), r"^viewmats: expected shape \[F, 4, 4\], got \[4, 4\]; world-to-camera, one 4x4 matrix per frame$"),
        (VIEW.repeat(2, 1, 1), K, (4, 4), r"^Ks: expected shape \[F=2, 3, 3\], got \[1, 3, 3\]"),
        (VIEW * math.nan, K, (4, 4), r"^viewmats: 16 of 16 values are NaN or infinite"),
        (VIEW, changed(K, 0, 2, math.inf), (4, 4), r"^Ks: 1 of 9 values are NaN or infinite"),
        (VIEW, K, (0, 4), r"^image size: expected at least 1x1, got 0x4"),
        (VIEW, K, (4, -1), r"^image size: expected at least 1x1, got 4x-1"),
        (VIEW, changed(K, 1, 1, -2.0), (4, 4), r"^Ks: focal lengths must be positive, got -2"),
        (VIEW, changed(K, 0, 0, 0.0), (4, 4), r"^Ks: focal lengths must be positive, got 0"),
    ],
)
def test_bad_cameras_are_refused(viewmats: Tensor, Ks: Tensor, size: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Cameras(viewmats, Ks, *size)


def test_bad_poses_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"^poses: expected shape \[F, 4, 4\], got \[3, 4\]"):
        Cameras.from_opengl_c2w(torch.eye(4)[:3], K, 4, 4)
    with pytest.raises(InputError, match=r"^quats: expected shape \[F, 4\], got \[1, 3\]"):
        Cameras.from_colmap(torch.ones(1, 3), torch.ones(1, 3), K, 4, 4)
    with pytest.raises(InputError, match=r"^translations: expected shape \[F=2, 3\], got \[1, 3\]"):
        Cameras.from_colmap(torch.ones(2, 4), torch.ones(1, 3), K.repeat(2, 1, 1), 4, 4)


def test_cameras_of_different_image_sizes_do_not_join() -> None:
    with pytest.raises(InputError, match=r"image sizes differ \(6x8, 8x6\)"):
        Cameras.cat([random_cameras(width=8, height=6), random_cameras(width=6, height=8)])
