"""Fusion of rendered depth maps into a signed distance on a grid (Curless and Levoy, SIGGRAPH 1996).

Cameras all around see every part of the outside, so what no camera sees is inside, and the surface is closed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from chronosplat.cameras import Cameras, Similarity, orbit
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D, quats_to_matrices
from chronosplat.shapes import InputError

RADIUS = 2.5  # of the cameras, in half diagonals of the box
OPAQUE = 0.5  # alpha of a pixel that shows the surface
TRUNCATION = 3.0  # voxels
SOFTNESS = 8.0  # voxels of depth over which a Gaussian's weight falls by 1 / e
HALF = math.sqrt(2 * math.log(2))  # standard deviations at which a Gaussian's density is a half: its surface; docs/meshes.md
SOLID = 0.1  # opacity of a Gaussian that counts for the box
TAIL = 0.001  # of the Gaussians on each side may lie outside the box: floaters
MARGIN = 0.08  # of the box's largest side, around it
GOLDEN = math.degrees(math.pi * (3 - math.sqrt(5)))  # between neighbours of an even spiral on a sphere
VOXELS_PER_CALL = 1 << 20


@dataclass(frozen=True)
class Box:
    """An axis-aligned cube.

    Attributes:
        center: [3]. half: half its side.
    """

    center: Tensor
    half: float


@dataclass(frozen=True)
class DepthMaps:
    """Rendered images of a surface.

    Attributes:
        cameras: F of them. depth: [F, H, W] along the cameras' axes. alpha: [F, H, W]. rgb: [F, H, W, 3] without background.
    """

    cameras: Cameras
    depth: Tensor
    alpha: Tensor
    rgb: Tensor

    def sample(self, frame: int, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Look points [P, 3] up in an image: their depths [P], and the image's depth [P], alpha [P] and colour [P, 3] there."""
        local = points @ self.cameras.viewmats[frame, :3, :3].T + self.cameras.viewmats[frame, :3, 3]
        z = local[:, 2].clamp_min(1e-6)
        K = self.cameras.Ks[frame]
        u, v = (K[i, i] * local[:, i] / z + K[i, 2] for i in (0, 1))
        where = torch.stack([2 * u / self.cameras.width - 1, 2 * v / self.cameras.height - 1], -1)[None, None]
        layers = torch.cat([self.depth[frame, None], self.alpha[frame, None], self.rgb[frame].permute(2, 0, 1)])[None]
        found = grid_sample(layers, where, align_corners=False, padding_mode="zeros")[0, :, 0]
        return local[:, 2], found[0], found[1], found[2:].T


def box_of(gaussians: Gaussians3D) -> Box:
    """Find the cube of the visible Gaussians, apart from a few far out.

    Raises:
        InputError: none is opaque enough to have a surface.
    """
    solid = gaussians.opacities >= SOLID
    if not bool(solid.any()):
        raise InputError(f"mesh: no Gaussian has an opacity of {SOLID} at this time, there is no surface")
    means = gaussians.means[solid].double()
    low, high = (torch.stack([_quantile(means[:, axis], q) for axis in range(3)]) for q in (TAIL, 1 - TAIL))
    reach = float(gaussians.scales[solid].amax(1).double().median())  # Gaussians reach beyond their means
    half = float((high - low).max()) / 2 + 2 * reach
    return Box(((low + high) / 2).to(gaussians.means), max(half * (1 + 2 * MARGIN), 1e-6))


def _quantile(values: Tensor, q: float) -> Tensor:
    """The value at a quantile, without torch's limit on the size."""
    return values.sort().values[round(q * (len(values) - 1))]


def depth_maps(gaussians: Gaussians3D, box: Box, views: int, size: int, voxel: float) -> DepthMaps:
    """Render one time from an even spiral of cameras around a box.

    A pixel's depth is that of the Gaussians it shows, each where the pixel's ray enters it, and the nearest ones count most: their mean
    would lie behind the front surface wherever that lets a percent of the far side through.
    """
    heights = [1 - 2 * (index + 0.5) / views for index in range(views)]
    around = orbit(
        [GOLDEN * index for index in range(views)], [math.degrees(math.asin(height)) for height in heights], size, RADIUS,
        2 * math.degrees(math.asin(1 / RADIUS)),
    )  # fmt: skip
    reach = box.half * math.sqrt(3)
    cameras = around.transformed(Similarity(reach, translation=box.center.double())).to(gaussians.device, torch.float32)
    images = render(gaussians, cameras, background="black", near_plane=reach / 100)
    alpha = images.alpha[..., 0]
    pixels = torch.arange(size, device=gaussians.device) + 0.5
    depths = []
    for frame in range(views):
        camera = cameras[frame]
        z, planes = entry_depths(gaussians, camera)
        nearest = z.min()
        closeness = torch.exp((nearest - z) / (SOFTNESS * voxel))[:, None]
        summed, weight = (
            render(replace(gaussians, colors=closeness * values), camera, background="black", near_plane=reach / 100).rgb[0]
            for values in (planes, torch.ones_like(planes))
        )
        u, v = ((pixels - camera.Ks[0, i, 2]) / camera.Ks[0, i, i] for i in (0, 1))
        depth = summed[..., 0] + summed[..., 1] * u + summed[..., 2] * v[:, None]
        depths.append(depth / weight[..., 0].clamp_min(1e-30))
    return DepthMaps(cameras, torch.stack(depths), alpha, images.rgb / alpha.clamp_min(1e-3)[..., None])


def entry_depths(gaussians: Gaussians3D, camera: Cameras) -> tuple[Tensor, Tensor]:
    """Find the depth at which the rays of a camera's pixels enter each Gaussian.

    Along a ray, a Gaussian's density is greatest on a plane through its centre (to first order; for a flat one, its own plane).
    The depth of the centre alone would be wrong where the surface is oblique: there a pixel's nearest Gaussians hide the others.

    Returns:
        The depths of the centres [N]; and planes [N, 3]: the depth at x / z = u, y / z = v is ``planes @ (1, u, v)``.
    """
    rotation = camera.viewmats[0, :3, :3]
    means = gaussians.means @ rotation.T + camera.viewmats[0, :3, 3]
    z = means[:, 2]
    rays = means / z[:, None]
    roots = rotation @ quats_to_matrices(gaussians.quats) / gaussians.scales[:, None]  # the inverse covariance is roots @ roots^T
    along = torch.einsum("nij,ni->nj", roots, rays)
    steepness = (along * along).sum(1)
    slopes = -z[:, None] * torch.einsum("nij,nj->ni", roots[:, :2], along) / steepness[:, None]
    return z, torch.cat([(z - (slopes * rays[:, :2]).sum(1) - HALF * steepness.rsqrt())[:, None], slopes], 1)


def signed_distance(maps: DepthMaps, box: Box, resolution: int) -> Tensor:
    """Fuse depth maps.

    Returns:
        Distance to the surface in voxels [R, R, R], at most TRUNCATION, positive outside; axes x, y, z; the corners of the grid are
        those of the box.
    """
    axis = torch.linspace(-box.half, box.half, resolution, dtype=torch.float32, device=maps.depth.device)
    voxel = 2 * box.half / (resolution - 1)
    slabs = []
    for xs in axis.split(max(1, VOXELS_PER_CALL // resolution**2)):
        points = torch.stack(torch.meshgrid(xs, axis, axis, indexing="ij"), -1).reshape(-1, 3) + box.center.float()
        slabs.append(_fused(maps, points, voxel).reshape(len(xs), resolution, resolution))
    volume = torch.cat(slabs)
    for axis_index in range(3):  # closed at the border of the box
        volume.index_fill_(axis_index, torch.tensor([0, resolution - 1], device=volume.device), TRUNCATION)
    return volume


def _fused(maps: DepthMaps, points: Tensor, voxel: float) -> Tensor:
    """The mean over the views of the truncated distances [P], in voxels; -TRUNCATION where no view sees a point."""
    total, weight = torch.zeros(len(points), device=points.device), torch.zeros(len(points), device=points.device)
    for frame in range(len(maps.cameras)):
        z, depth, alpha, _ = maps.sample(frame, points)
        distance = torch.where(alpha < OPAQUE, TRUNCATION, ((depth - z) / voxel).clamp(max=TRUNCATION))
        seen = distance > -TRUNCATION
        total += torch.where(seen, distance, 0.0)
        weight += seen
    return torch.where(weight > 0, total / weight.clamp_min(1), -TRUNCATION)
