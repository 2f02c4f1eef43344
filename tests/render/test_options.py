"""Options of RasterInputs: covariances, antialiasing, blur, clipping, culling, and gradients of the cameras."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.render import RasterInputs, rasterize, reference
from chronosplat.scenes import quats_to_matrices
from chronosplat.scenes.conditioning import temporal_weight
from tests.render.raster_cases import KINDS, decided, gradients, random_inputs, random_upstream
from tests.render.test_agreement import GRADIENT, VALUE, check_agreement

BACKENDS = ("reference", "cpu")
OUTPUTS = ("rgb", "alpha", "depth")
SMALL = {"gaussians": 60, "width": 25, "height": 21}


def covariances(x: RasterInputs) -> Tensor:
    """[B, N, 3, 3] of the quaternions and scales, differentiable."""
    assert x.quats is not None
    assert x.scales is not None
    half = quats_to_matrices(x.quats) * x.scales[..., None, :]
    return half @ half.transpose(-1, -2)


def with_covars(x: RasterInputs) -> RasterInputs:
    """The same Gaussians by their covariances, rounded to float32 like every other input."""
    return replace(x, quats=None, scales=None, covars=covariances(x).float().to(x.means))


def weights_and_opacities(x: RasterInputs) -> tuple[Tensor, Tensor]:
    """Temporal weights and opacities at every view's time, [B, V, N] each; weights are 1 in static scenes."""
    opacities = x.opacities[:, None].expand(-1, x.viewmats.shape[1], -1)
    if x.times is None or x.time_centers is None or x.time_sigmas is None:
        return torch.ones_like(opacities), opacities
    weights = temporal_weight(x.times[..., None], x.time_centers[:, None], x.time_sigmas[:, None])
    return weights, opacities * weights


def depths(x: RasterInputs) -> Tensor:
    """[B, V, N] along the cameras' axes."""
    means = x.means[:, None]
    if x.velocities is not None and x.times is not None and x.time_centers is not None:
        means = means + x.velocities[:, None] * (x.times[..., None] - x.time_centers[:, None])[..., None]
    return (means * x.viewmats[:, :, None, 2, :3]).sum(-1) + x.viewmats[:, :, None, 2, 3]


def radii(x: RasterInputs, b: int = 0, v: int = 0) -> Tensor:
    """[N] the larger radius in pixels before it is rounded up, by gsplat's formula; NaN for culled Gaussians."""
    marked = torch.arange(x.means.shape[1], dtype=x.means.dtype)[None, :, None].expand(x.colors.shape)
    g = reference.footprints(replace(x, colors=marked, radius_clip=0.0), b, v)
    sigmas = (g.conics[:, [0, 2]].amax(-1) / (g.conics[:, 0] * g.conics[:, 2] - g.conics[:, 1] ** 2)).sqrt()
    extents = (2 * (255 * g.opacities).clamp(min=1).log()).sqrt().clamp(max=3.33)
    found = torch.full((x.means.shape[1],), math.nan, dtype=x.means.dtype)
    found[g.colors[:, 0].long()] = extents * sigmas
    return found


def threshold(values: Tensor, share: float) -> float:
    """A threshold with about ``share`` of the values below it, in the widest gap nearby: no value is undecided."""
    ordered = values.flatten().sort().values
    middle = int(share * (len(ordered) - 1))
    near = ordered[max(0, middle - 4) : middle + 6]
    gap = int((near[1:] - near[:-1]).argmax())
    return float(near[gap : gap + 2].mean())


def clear_clip(x: RasterInputs, clip: float) -> float:
    """The first of clip, clip + 1, ... that no Gaussian's radius is close to."""
    B, V = x.viewmats.shape[:2]
    found = torch.cat([radii(x, b, v) for b in range(B) for v in range(V)])
    while bool(((found / math.floor(clip) - 1).abs() < 0.01).any()):
        clip += 1
    return clip


def only(x: RasterInputs, some: Tensor) -> RasterInputs:
    """The scene of the Gaussians in a mask [N]."""
    return x.with_gaussians([None if t is None else t[:, some] for t in x.gaussians()])


def check_culled(x: RasterInputs, option: dict[str, float], visible: Tensor, backend: str) -> None:
    """With the option, image and gradients equal those of a scene with only the ``visible`` [N] Gaussians."""
    assert 0 < int(visible.sum()) < len(visible)
    upstream = random_upstream(x, decided(replace(x, **option)))
    culled, found = gradients(replace(x, **option), upstream, backend)
    removed, target = gradients(only(x, visible), upstream, backend)
    for name in OUTPUTS:
        assert torch.allclose(getattr(culled, name), getattr(removed, name), rtol=0, atol=1e-6), name
    for name, value in target.items():
        here = found[name] if name == "viewmats" else found[name][:, visible]
        assert float((here - value).norm()) <= 1e-5 * float(value.norm()), name
        assert name == "viewmats" or not found[name][:, ~visible].any(), name
    whole = rasterize(x, backend)
    assert float((whole.rgb - culled.rgb).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_covariances_agree(kind: str, moving: bool) -> None:
    check_agreement(with_covars(random_inputs(kind, 2, views=2, moving=moving, **SMALL)))


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_antialiased_agrees(kind: str, moving: bool) -> None:
    check_agreement(replace(random_inputs(kind, 3, views=2, moving=moving, **SMALL), rasterize_mode="antialiased"))


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("eps2d", [0.0, 1e-3, 0.1, 4.0])
def test_blurs_agree(eps2d: float, mode: str) -> None:
    check_agreement(replace(random_inputs("ordinary", 4, views=2, **SMALL), eps2d=eps2d, rasterize_mode=mode))


@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10_000),
    moving=st.booleans(),
    covars=st.booleans(),
    mode=st.sampled_from(["classic", "antialiased"]),
    eps2d=st.sampled_from([0.02, 0.3, 2.0]),
    clip=st.sampled_from([0.0, 2.0, 3.5, 6.0]),
    planes=st.sampled_from([None, (0.1, 0.9), (0.4, 0.8)]),
    weight=st.sampled_from([0.0, 0.2, 0.5]),
    opacity=st.sampled_from([0.0, 0.1, 0.4]),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_options_agree_together(
    kind: str,
    seed: int,
    moving: bool,
    covars: bool,
    mode: str,
    eps2d: float,
    clip: float,
    planes: tuple[float, float] | None,
    weight: float,
    opacity: float,
) -> None:
    x = random_inputs(kind, seed, views=2, moving=moving, **SMALL)
    x = replace(with_covars(x) if covars else x, rasterize_mode=mode, eps2d=eps2d)
    weights, opacities = weights_and_opacities(x)
    if planes:
        z = depths(x)
        near, far = (threshold(z[z > 0], share) for share in planes)
        x = replace(x, near_plane=near, far_plane=far)
    if moving and weight:
        x = replace(x, weight_min=threshold(weights, weight))
    if opacity:
        x = replace(x, opacity_min=threshold(opacities, opacity))
    check_agreement(replace(x, radius_clip=clear_clip(x, clip)) if clip else x)


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_covariances_equal_quaternions_and_scales(backend: str, mode: str) -> None:
    """The same image, and by the chain rule the same gradients of quaternions and scales."""
    x = replace(random_inputs(seed=5, views=2, moving=True, **SMALL), rasterize_mode=mode)
    upstream = random_upstream(x, decided(x))
    shapes, target = gradients(x, upstream, backend)
    leaf = replace(x, quats=x.quats.clone().requires_grad_(), scales=x.scales.clone().requires_grad_())
    covars = covariances(leaf)
    matrices = rasterize(replace(leaf, quats=None, scales=None, covars=covars), backend)
    sum((getattr(matrices, name) * getattr(upstream, name)).sum() for name in OUTPUTS).backward()
    value, gradient = (1e-12, 1e-9) if backend == "reference" else (VALUE, GRADIENT)
    for name in OUTPUTS:
        difference = (getattr(matrices, name) - getattr(shapes, name)).detach().abs() * decided(x)
        assert float(difference.max()) <= value * (float(shapes.depth.detach().max()) if name == "depth" else 1), name
    for name, tensor in (("quats", leaf.quats), ("scales", leaf.scales)):
        assert tensor.grad is not None
        assert float((tensor.grad - target[name]).norm()) <= gradient * float(target[name].norm()), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_symmetric_part_of_covariances_counts(backend: str) -> None:
    x = with_covars(random_inputs(seed=6, **SMALL))
    assert x.covars is not None
    skew = 0.05 * torch.randn(x.covars.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tilted = replace(x, covars=x.covars + skew - skew.transpose(-1, -2))
    upstream = random_upstream(x, decided(x))
    (a, target), (b, found) = gradients(x, upstream, backend), gradients(tilted, upstream, backend)
    assert float(((a.rgb - b.rgb).detach().abs() * decided(x)).max()) <= (1e-12 if backend == "reference" else VALUE)
    assert torch.equal(found["covars"], found["covars"].transpose(-1, -2))
    assert float((found["covars"] - target["covars"]).norm()) <= GRADIENT * float(target["covars"].norm())


def grid_of_points(sigma: float, opacity: float = 0.9) -> RasterInputs:
    """Sixteen scenes of one round Gaussian, ``sigma`` pixels wide, at various places between the pixels."""
    shift = torch.rand(16, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    eye, ones = torch.eye(3, dtype=torch.float64), torch.ones(16, 1, dtype=torch.float64)
    K = torch.tensor([[20.0, 0, 10], [0, 20.0, 10], [0, 0, 1]], dtype=torch.float64)
    return RasterInputs(
        means=torch.cat([(shift - 0.5) / 20, torch.ones(16, 1, 1, dtype=torch.float64)], -1),
        quats=None,
        scales=None,
        covars=((sigma / 20) ** 2 * eye).expand(16, 1, 3, 3),
        opacities=opacity * ones,
        colors=ones[..., None].expand(16, 1, 3),
        viewmats=torch.eye(4, dtype=torch.float64).expand(16, 1, 4, 4),
        Ks=K.expand(16, 1, 3, 3),
        width=21,
        height=21,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_antialiased_light_does_not_depend_on_the_blur(backend: str) -> None:
    """A small Gaussian gives opacity 2 pi sigma^2, less the skipped rim: 1 / (255 peak) of it."""
    sigma, opacity = 0.5, 0.9
    light: dict[str, list[Tensor]] = {"classic": [], "antialiased": []}
    for eps2d in (0.3, 1.2):
        for mode in light:
            out = rasterize(replace(grid_of_points(sigma, opacity), eps2d=eps2d, rasterize_mode=mode), backend)
            light[mode].append(out.alpha.sum((1, 2, 3, 4)).mean())
        peak = opacity * sigma**2 / (sigma**2 + eps2d)
        expected = 2 * math.pi * sigma**2 * opacity * (1 - 1 / (255 * peak))
        assert float(light["antialiased"][-1]) == pytest.approx(expected, rel=0.01)
    assert float(light["classic"][1] / light["classic"][0]) == pytest.approx((0.25 + 1.2) / (0.25 + 0.3), rel=0.02)


@pytest.mark.parametrize("backend", BACKENDS)
def test_radius_clip_is_inclusive_and_counts_whole_pixels(backend: str) -> None:
    """Sigma 2.5 with blur 0.3 and opacity 0.9 reaches 8.4 pixels, so 9; a little more off the axis."""
    x = grid_of_points(2.5)
    assert radii(x).item() == pytest.approx((2 * math.log(255 * 0.9)) ** 0.5 * (6.25 + 0.3) ** 0.5, rel=1e-3)
    for clip, visible in ((8.0, True), (8.9, True), (9.0, False), (9.5, False)):
        assert bool(rasterize(replace(x, radius_clip=clip), backend).alpha.any()) is visible, clip


@pytest.mark.parametrize("backend", BACKENDS)
def test_radius_clip_keeps_gaussians_large_in_one_direction(backend: str) -> None:
    x = grid_of_points(0.1)
    for axis in (0, 1):
        covars = x.covars.clone()
        covars[..., axis, axis] = (2.5 / 20) ** 2
        out = rasterize(replace(x, covars=covars, radius_clip=8.0), backend)
        assert float(out.alpha.amax((1, 2, 3, 4)).min()) > 0.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_clipped_gaussians_have_no_effect(backend: str) -> None:
    x = random_inputs("ordinary", 7, **SMALL)
    clip = clear_clip(x, 6.0)
    check_culled(x, {"radius_clip": clip}, ~(radii(x).ceil() <= clip), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("option", ["weight_min", "opacity_min"])
def test_faint_gaussians_have_no_effect(option: str, backend: str) -> None:
    x = random_inputs("ordinary", 8, moving=True, **SMALL)
    values = weights_and_opacities(x)[option == "opacity_min"][0, 0]
    least = threshold(values, 0.4)
    check_culled(x, {option: least}, values >= least, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_transparent_gaussians_of_a_static_scene_have_no_effect(backend: str) -> None:
    x = random_inputs("ordinary", 9, **SMALL)
    least = threshold(x.opacities, 0.4)
    check_culled(x, {"opacity_min": least}, x.opacities[0] >= least, backend)
    assert torch.equal(rasterize(replace(x, weight_min=1.0), backend).rgb, rasterize(x, backend).rgb)  # always there


@pytest.mark.parametrize("backend", BACKENDS)
def test_gaussians_beyond_the_planes_have_no_effect(backend: str) -> None:
    x = random_inputs("ordinary", 10, moving=True, **SMALL)
    z = depths(x)[0, 0]
    near, far = threshold(z, 0.3), threshold(z, 0.7)
    check_culled(x, {"near_plane": near, "far_plane": far}, (z >= near) & (z <= far), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("near", "far"), [(0.5, 4.0), (0.1, 0.7)])
def test_planes_are_inclusive(near: float, far: float, backend: str) -> None:
    """As in gsplat; the next number in float32 on the other side is culled."""
    for plane, beyond in ((near, 0.0), (far, math.inf)):
        outside = float(torch.nextafter(torch.tensor(plane), torch.tensor(beyond)))
        for z, visible in ((plane, True), (outside, False)):
            x = grid_of_points(0.5)
            means = x.means * torch.tensor([z, z, 0.0]) + torch.tensor([0, 0, z], dtype=torch.float64)
            out = rasterize(replace(x, means=means, near_plane=near, far_plane=far), backend)
            assert bool(out.alpha.any()) is visible, (plane, z)


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("moving", [False, True])
def test_gradient_of_the_cameras_predicts_a_change_of_pose(moving: bool, mode: str) -> None:
    """Every camera turns and moves a little: the difference in the reference is what the gradients say."""
    x = replace(random_inputs("ordinary", 11, views=2, moving=moving, **SMALL), rasterize_mode=mode)
    upstream = random_upstream(x, decided(x))
    twist = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    values = torch.randn(1, 2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for k, (row, column) in enumerate(((1, 2), (2, 0), (0, 1))):
        twist[..., row, column], twist[..., column, row] = -values[..., k], values[..., k]
    twist[..., :3, 3] = values[..., 3:]

    def loss(step: float) -> float:
        out = rasterize(replace(x, viewmats=torch.linalg.matrix_exp(step * twist) @ x.viewmats), "reference")
        return float(sum((getattr(out, name) * getattr(upstream, name)).sum() for name in OUTPUTS))

    change = (loss(1e-6) - loss(-1e-6)) / 2e-6
    for backend, tolerance in (("reference", 1e-6), ("cpu", GRADIENT)):
        gradient = gradients(x, upstream, backend)[1]["viewmats"]
        assert float((gradient * (twist @ x.viewmats)).sum()) == pytest.approx(change, rel=tolerance), backend
        assert not gradient[..., 3, :].any()
