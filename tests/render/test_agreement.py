"""The cpu backend against the reference backend: values and all gradients; the reference against finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.render import RasterInputs, rasterize
from chronosplat.render.inputs import GAUSSIAN_FIELDS
from tests.render.raster_cases import KINDS, decided, gradients, random_inputs, random_upstream

VALUE, GRADIENT = 1e-4, 1e-3


def check_agreement(x: RasterInputs, backend: str = "cpu") -> None:
    """Forward 1e-4 largest difference, gradients 1e-3 relative, at pixels away from all thresholds."""
    keep = decided(x)
    assert keep.double().mean() > 0.9, "too many undecided pixels: the comparison would say little"
    upstream = random_upstream(x, keep)
    slow, expected = gradients(x, upstream, "reference")
    fast, found = gradients(x, upstream, backend)
    for name in ("rgb", "alpha", "depth"):
        difference = ((getattr(fast, name) - getattr(slow, name)).detach().abs() * keep).max()
        scale = max(1.0, float(slow.depth.detach().max())) if name == "depth" else 1.0
        assert float(difference) <= VALUE * scale, name
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= GRADIENT * float(value.norm()) + 1e-12, name


@given(
    seed=st.integers(0, 10_000),
    gaussians=st.integers(1, 200),
    scenes=st.integers(1, 2),
    views=st.integers(1, 3),
    width=st.integers(21, 47),
    height=st.integers(23, 45),
    moving=st.booleans(),
)
@settings(derandomize=True, deadline=None, max_examples=12)
def test_scenes_agree(seed: int, gaussians: int, scenes: int, views: int, width: int, height: int, moving: bool) -> None:
    check_agreement(random_inputs("ordinary", seed, gaussians, scenes, views, width, height, moving))


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_difficult_kinds_agree(kind: str, moving: bool, seed: int) -> None:
    check_agreement(random_inputs(kind, seed, gaussians=150, scenes=1, views=2, width=35, height=29, moving=moving))


def test_hundreds_of_overlapping_opaque_gaussians_agree() -> None:
    x = random_inputs("opaque", 3, gaussians=600, width=37, height=30)
    check_agreement(x.with_gaussians([None if t is None else (0.3 * t if i == 0 else t) for i, t in enumerate(x.gaussians())]))


def test_kinds_have_their_named_property() -> None:
    """The kinds exercise what they are named for, otherwise their agreement would be empty."""
    x = random_inputs("off_centre", 0, gaussians=150, width=35, height=29)
    camera = x.means[0] @ x.viewmats[0, 0, :3, :3].T + x.viewmats[0, 0, :3, 3]
    ratio = camera[:, 0] / camera[:, 2]
    limit = (x.width - x.Ks[0, 0, 0, 2]) / x.Ks[0, 0, 0, 0] + 0.15 * x.width / x.Ks[0, 0, 0, 0]
    assert ((ratio > limit) & (camera[:, 2] > 0.01)).sum() > 20
    assert rasterize(x, "reference").alpha.max() > 0.3
    behind = random_inputs("behind", 0, gaussians=150)
    z = behind.means[0] @ behind.viewmats[0, 0, 2, :3] + behind.viewmats[0, 0, 2, 3]
    assert 30 < int((z < 0).sum()) < 120
    assert rasterize(random_inputs("opaque", 0, gaussians=150), "reference").alpha.max() > 0.999


@pytest.mark.parametrize("moving", [False, True])
def test_reference_gradients_are_finite_differences(moving: bool) -> None:
    """Tiny scene whose pixels stay clear of every threshold, so the image is smooth around it."""
    x = random_inputs("huge", 1, gaussians=3, width=5, height=4, moving=moving)
    assert bool(decided(x).all())
    names = [name for name, t in zip(GAUSSIAN_FIELDS, x.gaussians(), strict=True) if t is not None]

    def image(*tensors: Tensor) -> Tensor:
        given_fields = dict(zip(names, tensors, strict=True))
        out = rasterize(x.with_gaussians([given_fields.get(name) for name in GAUSSIAN_FIELDS]), "reference")
        return torch.cat([out.rgb, out.alpha, out.depth], -1)

    leaves = tuple(t.clone().requires_grad_() for t in x.gaussians() if t is not None)
    assert torch.autograd.gradcheck(image, leaves, eps=1e-6, atol=1e-6, rtol=1e-4)
