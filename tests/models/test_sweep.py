"""The plane sweep: how frames count for each other, and that it finds a sphere's surface from silhouettes."""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.cameras import CANONICAL, Cameras, orbit, pixel_rays
from chronosplat.models.lrm4d import MovingHeadConfig
from chronosplat.models.lrm4d.heads import MovingHead, PixelContext
from chronosplat.models.lrm4d.sweep import Sweep, SweepConfig, plane_sweep, time_weights
from tests.scene_kit import camera_rays

RADIUS = 0.4


def sphere_views(cameras: Cameras, radius: float = RADIUS) -> tuple[Tensor, Tensor, Tensor]:
    """rgb [F, H, W, 3] on white, alpha [F, H, W, 1] and distance along the ray [F, H, W, 1] of a sphere at the origin."""
    origins, directions = camera_rays(cameras)
    middle = -(origins * directions).sum(-1, keepdim=True)
    inside = radius**2 - (origins**2).sum(-1, keepdim=True) + middle**2
    alpha = (inside > 0).float()
    distance = middle - inside.clamp_min(0).sqrt()
    normal = (origins + distance * directions) / radius
    return (0.5 + 0.5 * normal) * alpha + 1 - alpha, alpha, distance


def sweep_of_sphere(config: SweepConfig, size: int = 64) -> tuple[Sweep, PixelContext, Tensor]:
    cameras = orbit(CANONICAL, 0.0, size)
    rgb, alpha, distance = (t[None] for t in sphere_views(cameras))
    viewmats, Ks, times = cameras.viewmats[None], cameras.Ks[None], torch.zeros(1, len(cameras))
    sweep = plane_sweep(rgb, alpha, times, viewmats, Ks, config)
    origins, directions = pixel_rays(viewmats, Ks, size, size)
    return sweep, PixelContext(rgb, alpha, origins, directions, times, viewmats, 1 / Ks[..., 0, 0], sweep), distance


def test_shapes_and_distances() -> None:
    config = SweepConfig(depths=12, stride=4)
    sweep, context, _ = sweep_of_sphere(config, 32)
    assert sweep.silhouettes.shape == (1, 4, 8, 8, 12, 2)
    assert sweep.colors.shape == sweep.distances.shape == (1, 4, 8, 8, 12)
    origins, directions = pixel_rays(context.viewmats, 32 / 2 * torch.eye(3).expand(1, 4, 3, 3), 32, 32, 4)
    assert origins.shape == directions.shape == (1, 4, 8, 8, 3)
    spacing = sweep.distances.diff(dim=-1)
    assert torch.allclose(spacing, torch.full_like(spacing, 2 * config.reach / 11), atol=1e-5)


def test_distances_are_around_the_point_nearest_to_the_origin() -> None:
    config = SweepConfig(depths=11)
    sweep, context, _ = sweep_of_sphere(config, 32)
    origins, directions = pixel_rays(context.viewmats, orbit(CANONICAL, 0.0, 32).Ks[None], 32, 32, config.stride)
    points = origins + sweep.distances[..., 5:6] * directions
    assert float((points * directions).sum(-1).abs().max()) < 1e-5


def test_points_inside_the_sphere_agree_and_points_in_front_do_not() -> None:
    config = SweepConfig()
    sweep, context, _ = sweep_of_sphere(config)
    h = 64 // config.stride
    origins, directions = pixel_rays(context.viewmats, orbit(CANONICAL, 0.0, 64).Ks[None], 64, 64, config.stride)
    points = origins[..., None, :] + sweep.distances[..., None] * directions[..., None, :]
    radius = points.norm(dim=-1)
    assert radius.shape == (1, 4, h, h, config.depths)
    assert float(sweep.silhouettes[radius < 0.85 * RADIUS].min()) > -1e-5
    outside = (points[..., 0].abs() > 1.2 * RADIUS) | (points[..., 2].abs() > 1.2 * RADIUS)  # out of some side view's silhouette
    assert float(sweep.silhouettes[outside].max()) < -0.9


def test_untrained_surface_lies_near_the_sphere() -> None:
    """Zero outputs: only the priors and the sweep speak. The visual hull of four views is a little larger than the sphere."""
    config = SweepConfig()
    _, context, distance = sweep_of_sphere(config)
    head = MovingHead(MovingHeadConfig(config))
    zeros = torch.zeros(1, 4, 64, 64, head.channels), torch.zeros(1, 4, 16, 16, head.cell_channels)
    out = head(*zeros, context)
    found = ((out.means.detach() - context.origins.flatten(1, 3)) * context.directions.flatten(1, 3)).sum(-1).view(1, 4, 64, 64, 1)
    nearest = -(context.origins * context.directions).sum(-1, keepdim=True)
    central = (context.origins + nearest * context.directions).norm(dim=-1, keepdim=True) < 0.7 * RADIUS
    error = (found - distance)[central]
    spacing = 2 * config.reach / (config.depths - 1)
    assert central.sum() > 1000
    assert float(error.abs().median()) < 0.7 * spacing
    assert float(error.abs().max()) < 0.05
    flat = (nearest - distance)[central]  # what no sweep at all would give: the plane through the origin
    assert float(error.abs().mean()) < 0.08 * float(flat.abs().mean())


def test_a_smaller_sphere_is_seen_as_smaller() -> None:
    cameras = orbit(CANONICAL, 0.0, 32)
    found = []
    for radius in (0.25, 0.5):
        rgb, alpha, _ = (t[None] for t in sphere_views(cameras, radius))
        sweep = plane_sweep(rgb, alpha, torch.zeros(1, 4), cameras.viewmats[None], cameras.Ks[None], SweepConfig())
        found.append(int((sweep.silhouettes[..., 0] > -0.05).sum()))
    assert 4 * found[0] < found[1]


def test_colours_agree_only_where_the_other_frames_see_the_same() -> None:
    cameras = orbit((0.0, 30.0), 0.0, 32)
    alpha = torch.ones(1, 2, 32, 32, 1)
    for shade, expected in ((0.3, 0.0), (0.8, 3 * 0.5**2)):
        rgb = torch.stack([torch.full((32, 32, 3), 0.3), torch.full((32, 32, 3), shade)])[None]
        sweep = plane_sweep(rgb, alpha, torch.zeros(1, 2), cameras.viewmats[None], cameras.Ks[None], SweepConfig(depths=5, reach=0.1))
        middle = sweep.colors[0, 0, 3:5, 3:5]
        assert torch.allclose(middle, torch.full_like(middle, expected), atol=1e-5)


def test_time_weights_sum_to_one_and_leave_oneself_out() -> None:
    times = torch.tensor([[-1.0, -0.2, 0.0, 0.7, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    weights = time_weights(times, (0.12, 0.6))
    assert weights.shape == (2, 5, 5, 2)
    assert torch.allclose(weights.sum(1), torch.ones(2, 5, 2), atol=1e-5)
    assert float(weights.diagonal(dim1=1, dim2=2).abs().max()) == 0
    assert torch.allclose(weights[1, 0, 1:], torch.full((4, 2), 0.25), atol=1e-6)


def test_closer_timestamps_count_more() -> None:
    weights = time_weights(torch.tensor([[0.0, 0.1, 0.5]]), (0.12, 0.6))
    ratio = weights[0, 1, 0] / weights[0, 2, 0]
    expected = torch.exp(torch.tensor(0.4) / torch.tensor([0.12, 0.6]))
    assert torch.allclose(ratio, expected, rtol=1e-4)


def test_a_single_frame_has_no_evidence() -> None:
    cameras = orbit((0.0,), 0.0, 16)
    rgb, alpha, _ = (t[None] for t in sphere_views(cameras))
    sweep = plane_sweep(rgb, alpha, torch.zeros(1, 1), cameras.viewmats[None], cameras.Ks[None], SweepConfig())
    assert not sweep.silhouettes.any()
    assert not sweep.colors.any()
