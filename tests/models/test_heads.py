"""Heads: the paper's activations against numbers worked out by hand, and the moving head's bounds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import orbit, pixel_rays
from chronosplat.models.lrm4d import MovingHeadConfig, SweepConfig
from chronosplat.models.lrm4d.heads import MovingHead, PaperHead, PixelContext, PredictedGaussians, initial_sigma
from chronosplat.models.lrm4d.sweep import plane_sweep
from chronosplat.scenes import quats_to_matrices

SIZE = 8
SWEEP = SweepConfig(depths=10)
# raw channels of the paper's head: xyz 0:3, t 3, rgb 4:7, scale_xyz 7:10, scale_t 10, left 11:15, right 15:19, opacity 19
IDENTITY = torch.tensor([1.0, 0, 0, 0])


def context(frames: int = 2, seed: int = 0, times: Tensor | None = None) -> PixelContext:
    g = torch.Generator().manual_seed(seed)
    cameras = orbit([70.0 * i for i in range(frames)], 10.0, SIZE)
    viewmats, Ks = cameras.viewmats[None], cameras.Ks[None]
    rgb = torch.rand(1, frames, SIZE, SIZE, 3, generator=g)
    alpha = torch.rand(1, frames, SIZE, SIZE, 1, generator=g)
    times = torch.linspace(-1, 1, frames)[None] if times is None else times
    origins, directions = pixel_rays(viewmats, Ks, SIZE, SIZE)
    sweep = plane_sweep(rgb, alpha, times, viewmats, Ks, SWEEP)
    return PixelContext(rgb, alpha, origins, directions, times, viewmats, 1 / Ks[..., 0, 0], sweep)


def paper_raw(frames: int = 2) -> Tensor:
    """All channels zero, rotations the identity."""
    raw = torch.zeros(1, frames, SIZE, SIZE, 20)
    raw[..., 11:15], raw[..., 15:19] = IDENTITY, IDENTITY
    return raw


def covariances(out: PredictedGaussians) -> Tensor:
    half = quats_to_matrices(out.quats) * out.scales[..., None, :]
    return half @ half.transpose(-1, -2)


@pytest.mark.parametrize(
    ("g", "distance"), [((0.0, 0.0, 0.0), 2.3), ((3.0, -1.5, 0.0), 2.83878), ((-30.0, -30, -30), 0.1), ((30.0, 30, 30), 4.5)]
)
def test_paper_distance(g: tuple[float, float, float], distance: float) -> None:
    """sigmoid of the mean of three: 0 gives the middle 2.3 of [0.1, 4.5]; sigmoid(0.5) = 0.622459 gives 2.83882."""
    raw, c = paper_raw(), context()
    raw[..., :3] = torch.tensor(g)
    out = PaperHead()(raw, None, c)
    share = 1 / (1 + math.exp(-sum(g) / 3))
    assert (1 - share) * 0.1 + share * 4.5 == pytest.approx(distance, abs=1e-4)
    expected = (c.origins + distance * c.directions).clamp(-1, 1).flatten(1, 3)
    assert torch.allclose(out.means, expected, atol=1e-4)


def test_paper_positions_are_clipped_to_the_cube() -> None:
    raw = paper_raw()
    raw[..., :3] = 30.0
    out = PaperHead()(raw, None, context())
    assert float(out.means.abs().max()) == 1.0


def test_paper_middle_distances_are_not_clipped() -> None:
    """The camera is 1.5 away: a distance of 1.5 stays inside the cube."""
    raw, c = paper_raw(), context()
    share = (1.5 - 0.1) / 4.4
    raw[..., :3] = math.log(share / (1 - share))
    out = PaperHead()(raw, None, c)
    reached = (out.means.view(1, 2, SIZE, SIZE, 3) - c.origins).norm(dim=-1)
    assert torch.allclose(reached, torch.full_like(reached, 1.5), atol=1e-5)


def test_paper_time_is_raw() -> None:
    raw = paper_raw()
    raw[..., 3] = torch.linspace(-3, 3, SIZE)
    out = PaperHead()(raw, None, context())
    assert torch.equal(out.time_centers.view(1, 2, SIZE, SIZE), raw[..., 3])


def test_paper_scales() -> None:
    """exp(g - 2.3), at most 0.3 in space and 1 in time; identity rotations keep the axes apart."""
    raw = paper_raw()
    raw[..., 7:10] = torch.tensor([-1.0, 0.5, 9.0])
    raw[..., 10] = 1.0
    out = PaperHead()(raw, None, context())
    expected = torch.diag(torch.tensor([math.exp(-3.3), math.exp(-1.8), 0.3]) ** 2)
    assert torch.allclose(covariances(out), expected.expand_as(covariances(out)), atol=1e-6)
    assert torch.allclose(out.time_sigmas, torch.full_like(out.time_sigmas, math.exp(-1.3)), atol=1e-6)
    assert float(out.velocities.abs().max()) < 1e-6
    raw[..., 10] = 9.0
    assert torch.allclose(PaperHead()(raw, None, context()).time_sigmas, torch.ones(1, 2 * SIZE * SIZE), atol=1e-6)


def test_paper_opacity_and_colour() -> None:
    raw = paper_raw()
    raw[..., 4:7] = torch.tensor([0.0, 1.0, -2.0])
    raw[..., 19] = 1.0
    out = PaperHead()(raw, None, context())
    assert torch.allclose(out.opacities, torch.full_like(out.opacities, 1 / (1 + math.e)), atol=1e-6)
    expected = torch.tensor([0.5, 0.5 + 0.28209479, 0.5 - 2 * 0.28209479])
    assert torch.allclose(out.colors, expected.expand_as(out.colors), atol=1e-6)


def test_paper_rotation_and_conditioning() -> None:
    """One generic Gaussian, from the matrices as printed in the paper (appendix A.1 and equation 11)."""
    g = torch.Generator().manual_seed(3)
    raw = paper_raw(1)
    left, right = torch.randn(4, generator=g), torch.randn(4, generator=g)
    raw[..., 11:15], raw[..., 15:19] = left, right
    raw[..., 7:11] = torch.tensor([0.3, -0.5, 0.9, 1.5])
    out = PaperHead()(raw, None, context(1))
    a, b, c, d = (left / left.norm()).tolist()
    p, q, r, s = (right / right.norm()).tolist()
    L = torch.tensor([[a, -b, -c, -d], [b, a, -d, c], [c, d, a, -b], [d, -c, b, a]])
    R = torch.tensor([[p, -q, -r, -s], [q, p, s, -r], [r, -s, p, q], [s, r, -q, p]])
    S = torch.diag(torch.tensor([math.exp(-2.0), math.exp(-2.8), 0.2465970, math.exp(-0.8)]))  # exp(-1.4) = 0.246597
    sigma = L @ R @ S @ S @ R.T @ L.T
    conditional = sigma[:3, :3] - sigma[:3, 3:] @ sigma[3:, :3] / sigma[3, 3]
    assert torch.allclose(covariances(out)[0, 0], conditional, atol=1e-5)
    assert torch.allclose(out.velocities[0, 0], sigma[:3, 3] / sigma[3, 3], atol=1e-4)
    assert out.time_sigmas[0, 0].item() == pytest.approx(math.sqrt(sigma[3, 3]), abs=1e-5)


def covariance_gradient(raw: Tensor) -> Tensor:
    raw = raw.requires_grad_()
    found = covariances(PaperHead()(raw, None, context()))
    upstream = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    (found * upstream).sum().backward()
    assert raw.grad is not None
    return raw.grad


def test_paper_gradient_is_finite_for_generic_outputs() -> None:
    raw = torch.randn(1, 2, SIZE, SIZE, 20, generator=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(covariance_gradient(raw)).all())


def test_paper_gradient_is_finite_at_the_scale_cap() -> None:
    """All three scales at 0.3 give equal eigenvalues; the covariance is smooth there, so its gradient must be finite."""
    raw = torch.randn(1, 2, SIZE, SIZE, 20, generator=torch.Generator().manual_seed(0))
    raw[..., 7:10] += 10
    assert bool(torch.isfinite(covariance_gradient(raw)).all())


def test_paper_head_survives_zero_outputs() -> None:
    """A network whose last layer starts at zero emits zero quaternions."""
    out = PaperHead()(torch.zeros(1, 2, SIZE, SIZE, 20), None, context())
    assert all(bool(torch.isfinite(value).all()) for value in out.fields().values())


def moving(scale: float, seed: int = 0, frames: int = 2) -> tuple[PredictedGaussians, PixelContext, Tensor]:
    g = torch.Generator().manual_seed(seed)
    head, c = MovingHead(MovingHeadConfig(SWEEP)), context(frames)
    raw = scale * torch.randn(1, frames, SIZE, SIZE, head.channels, generator=g)
    cells = scale * torch.randn(1, frames, SIZE // SWEEP.stride, SIZE // SWEEP.stride, head.cell_channels, generator=g)
    return head(raw, cells, c), c, raw


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_moving_fields_stay_within_their_bounds(scale: float) -> None:
    out, c, _ = moving(scale)
    assert all(bool(torch.isfinite(value).all()) for value in out.fields().values())
    assert bool((out.opacities <= c.alpha.flatten(1)).all())
    assert float(out.opacities.min()) >= 0
    assert float(out.colors.min()) >= 0
    assert float(out.colors.max()) <= 1
    ratio = out.time_sigmas / initial_sigma(c.times)
    assert float(ratio.min()) >= math.exp(-1.5) * 0.999
    assert float(ratio.max()) <= math.exp(1.5) * 1.001
    distance = (out.means.view_as(c.origins) - c.origins).norm(dim=-1)
    footprint = 0.4 * distance * c.pixel_angle[:, :, None, None]
    relative = out.scales.view_as(c.rgb) / footprint[..., None]
    assert float(relative.detach().min()) >= math.exp(-1.5) * 0.999
    assert float(relative.detach().max()) <= math.exp(1.5) * 1.001
    assert c.sweep is not None
    assert float(distance.min()) >= float(c.sweep.distances.min()) - 0.1 - 1e-3
    assert float(distance.max()) <= float(c.sweep.distances.max()) + 0.1 + 1e-3


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_moving_means_lie_on_their_rays(scale: float) -> None:
    out, c, _ = moving(scale)
    offset = out.means.view_as(c.origins) - c.origins
    across = offset - (offset * c.directions).sum(-1, keepdim=True) * c.directions
    assert float(across.abs().max()) < 1e-5


def test_moving_zero_outputs_are_the_priors() -> None:
    out, c, _ = moving(0.0)
    assert torch.allclose(out.colors.view_as(c.rgb), c.rgb.clamp(0.005, 0.995), atol=1e-5)
    assert torch.allclose(out.opacities, c.alpha.flatten(1) / (1 + math.exp(-2)), atol=1e-6)
    assert not out.velocities.any()
    assert torch.equal(out.time_centers.view(1, 2, SIZE, SIZE), c.times[:, :, None, None].expand(1, 2, SIZE, SIZE))
    turned = quats_to_matrices(out.quats).view(1, 2, SIZE, SIZE, 3, 3)
    expected = c.viewmats[:, :, None, None, :3, :3].transpose(-1, -2).expand_as(turned)
    assert torch.allclose(turned, expected, atol=1e-5)


def test_moving_channels_mean_what_they_say() -> None:
    out, c, raw = moving(1.0)
    assert torch.allclose(out.opacities, (c.alpha[..., 0] * torch.sigmoid(2 + 2 * raw[..., 0])).flatten(1), atol=1e-6)
    assert torch.allclose(out.velocities, 0.3 * raw[..., 2:5].flatten(1, 3), atol=1e-6)
    assert torch.allclose(out.time_centers, (c.times[:, :, None, None] + 0.3 * raw[..., 5]).flatten(1), atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_moving_gradients_are_finite(scale: float) -> None:
    head, c = MovingHead(MovingHeadConfig(SWEEP)), context()
    g = torch.Generator().manual_seed(0)
    raw = (scale * torch.randn(1, 2, SIZE, SIZE, head.channels, generator=g)).requires_grad_()
    cells = (scale * torch.randn(1, 2, 2, 2, head.cell_channels, generator=g)).requires_grad_()
    sum((value * torch.randn(value.shape, generator=g)).sum() for value in head(raw, cells, c).fields().values()).backward()
    for tensor in (raw, cells, *head.parameters()):
        assert tensor.grad is not None
        assert bool(torch.isfinite(tensor.grad).all())


@pytest.mark.parametrize(
    ("times", "sigma"),
    [([-1.0, 0.0, 1.0], 0.9), ([-1.0, 1.0], 1.0), ([0.0], 0.04), ([0.0, 0.0], 0.04), ([-1.0, -0.5, 0.0, 0.5, 1.0], 0.45)],
)
def test_initial_sigma(times: list[float], sigma: float) -> None:
    assert initial_sigma(torch.tensor([times])).item() == pytest.approx(sigma)
