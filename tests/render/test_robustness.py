"""Finite but extreme inputs never crash the native library, and give finite images and gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.render import RasterInputs
from tests.render.raster_cases import gradients, random_inputs, random_upstream


def check_finite_everywhere(x: RasterInputs) -> None:
    """Finite in, finite out, and coverage within [0, 1]."""
    x = x.map(lambda t: t.float())
    everywhere = torch.ones(*x.viewmats.shape[:2], x.height, x.width, 1, dtype=torch.bool)
    out, found = gradients(x, random_upstream(x, everywhere), "cpu")
    bad = [name for name in ("rgb", "alpha", "depth") if not torch.isfinite(getattr(out, name)).all()]
    bad += [f"gradient of {name}" for name, g in found.items() if not torch.isfinite(g).all()]
    assert not bad
    assert float(out.alpha.detach().min()) >= -1e-6
    assert float(out.alpha.detach().max()) <= 1 + 1e-6


def scene(moving: bool = True) -> RasterInputs:
    return random_inputs(seed=11, gaussians=64, views=2, moving=moving)


def at_depth(x: RasterInputs, depth: float) -> RasterInputs:
    """Cameras that look along +Z from -3, and all Gaussians at one depth, standing still in depth."""
    viewmats = torch.eye(4, dtype=torch.float64).repeat(1, 2, 1, 1)
    viewmats[..., 2, 3] = 3.0
    means = x.means.clone()
    means[..., 2] = depth - 3.0
    velocities = None if x.velocities is None else x.velocities * torch.tensor([1.0, 1.0, 0.0])
    return replace(x, means=means, velocities=velocities, viewmats=viewmats)


def times(x: RasterInputs, name: str, factor: float) -> RasterInputs:
    tensor = getattr(x, name)
    assert isinstance(tensor, Tensor)
    return replace(x, **{name: tensor * factor})


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("depth", [0.0, -1e-7, 1e-30, 1e-6, 0.00999, 0.0100001, 0.011, 1e9])
@pytest.mark.parametrize("scale", [1e-3, 0.2, 30.0])
def test_depths_around_the_camera(moving: bool, depth: float, scale: float) -> None:
    x = at_depth(scene(moving), depth)
    check_finite_everywhere(replace(x, scales=torch.full_like(x.scales, scale)))


def test_invisible_gaussian_at_depth_zero() -> None:
    """Beside many good ones, one in the camera's own plane: its gradients are zero, not NaN."""
    x = scene(moving=False)
    x = replace(x, viewmats=at_depth(x, 1.0).viewmats)
    means = x.means.clone()
    means[0, 5] = torch.tensor([0.3, 0.2, -3.0])
    x = replace(x, means=means).map(lambda t: t.float())
    upstream = random_upstream(x, torch.ones(1, 2, x.height, x.width, 1, dtype=torch.bool))
    _, found = gradients(x, upstream, "cpu", cameras=False)
    for name, g in found.items():
        assert torch.equal(g[0, 5], torch.zeros_like(g[0, 5])), name


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("exponent", [-30, -20, -10, -5, 3, 5, 10, 15, 20, 30])
@pytest.mark.parametrize("field", ["means", "scales", "quats"])
def test_magnitudes_of_shapes(moving: bool, exponent: int, field: str) -> None:
    check_finite_everywhere(times(scene(moving), field, 10.0**exponent))


@pytest.mark.parametrize("exponent", [-30, -10, 10, 30])
def test_needles_and_discs(exponent: int) -> None:
    x = scene(False)
    check_finite_everywhere(replace(x, scales=x.scales * torch.tensor([10.0**exponent, 1, 1])))
    check_finite_everywhere(replace(x, scales=x.scales * torch.tensor([10.0**exponent, 10.0**exponent, 1])))


@pytest.mark.parametrize("exponent", [-30, -12, -3, 3, 12, 30])
@pytest.mark.parametrize("field", ["time_sigmas", "velocities", "time_centers", "times"])
def test_magnitudes_of_motion(exponent: int, field: str) -> None:
    check_finite_everywhere(times(scene(), field, 10.0**exponent))


@pytest.mark.parametrize("exponent", [3, 12, 30])
def test_time_far_from_a_very_short_life(exponent: int) -> None:
    check_finite_everywhere(times(times(scene(), "time_sigmas", 1e-30), "time_centers", 10.0**exponent))


@pytest.mark.parametrize("exponent", [-30, -10, -3, 4, 10, 20, 30])
def test_focal_lengths(exponent: int) -> None:
    x = scene(False)
    Ks = x.Ks.clone()
    Ks[..., 0, 0], Ks[..., 1, 1] = 10.0**exponent, 10.0**exponent
    check_finite_everywhere(replace(x, Ks=Ks))


EDGES: dict[str, Callable[[RasterInputs], RasterInputs]] = {
    "zero quaternions": lambda x: replace(x, quats=torch.zeros_like(x.quats)),
    "zero scales": lambda x: replace(x, scales=torch.zeros_like(x.scales)),
    "zero time sigmas": lambda x: replace(x, time_sigmas=torch.zeros_like(x.scales[..., 0])),
    "opacity 0": lambda x: replace(x, opacities=torch.zeros_like(x.opacities)),
    "opacity 1": lambda x: replace(x, opacities=torch.ones_like(x.opacities)),
    "opacity 2": lambda x: replace(x, opacities=2 * torch.ones_like(x.opacities)),
    "opacity -1": lambda x: replace(x, opacities=-torch.ones_like(x.opacities)),
    "bright colours": lambda x: replace(x, colors=1e20 * x.colors),
    "all at one point": lambda x: replace(x, means=torch.zeros_like(x.means)),
    "camera at the means": lambda x: replace(x, means=torch.zeros_like(x.means), viewmats=torch.eye(4).double().repeat(1, 2, 1, 1)),
}


@pytest.mark.parametrize("edge", list(EDGES))
def test_edges(edge: str) -> None:
    check_finite_everywhere(EDGES[edge](scene()))


@given(seed=st.integers(0, 100_000), spread=st.floats(0, 3), moving=st.booleans())
@settings(derandomize=True, deadline=None, max_examples=150)
def test_random_magnitudes(seed: int, spread: float, moving: bool) -> None:
    """Every Gaussian has its own magnitudes, from 10^-spread to 10^spread of the ordinary, also close to the cameras."""
    x = random_inputs("behind" if seed % 2 else "ordinary", seed, gaussians=60, views=2, moving=moving)
    g = torch.Generator().manual_seed(seed)

    def spread_out(t: Tensor) -> Tensor:
        return t * 10 ** (spread * (2 * torch.rand(t.shape, generator=g, dtype=t.dtype) - 1))

    fields = ("means", "quats", "scales", "opacities") + (("velocities", "time_centers", "time_sigmas") if moving else ())
    check_finite_everywhere(replace(x, **{name: spread_out(getattr(x, name)) for name in fields}))
