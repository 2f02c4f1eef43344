"""The CUDA backend against the judge: values 1e-4 and gradients 1e-3 relative, static and moving, batched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from chronosplat.render import RasterInputs, gsplat, rasterize
from chronosplat.scenes import quats_to_matrices
from tests.render.raster_cases import decided, gradients, random_inputs, random_upstream

REASON = gsplat.unavailable()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=f"gsplat: {REASON}")]


def check_agreement(x: RasterInputs) -> None:
    """The judge runs in float64 on the CPU; undecided pixels take no part (see raster_cases.decided)."""
    keep = decided(x)
    assert keep.double().mean() > 0.9
    upstream = random_upstream(x, keep)
    judged, wanted = gradients(x, upstream, "reference")
    on_gpu = type(upstream)(*(t.cuda() for t in (upstream.rgb, upstream.alpha, upstream.depth)))
    fast, found = gradients(x.map(lambda t: t.cuda()), on_gpu, "gsplat")
    for name in ("rgb", "alpha", "depth"):
        difference = ((getattr(fast, name).detach().cpu() - getattr(judged, name).detach()).abs() * keep).max()
        scale = max(1.0, float(judged.depth.detach().max())) if name == "depth" else 1.0
        assert float(difference) <= 1e-4 * scale, name
    assert found.keys() == wanted.keys()
    assert "viewmats" in found
    for name, value in wanted.items():
        assert float((found[name].cpu() - value).norm()) <= 1e-3 * float(value.norm()) + 1e-12, name


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("kind", ["ordinary", "tiny", "off_centre", "behind"])
def test_one_scene(kind: str, moving: bool) -> None:
    check_agreement(random_inputs(kind, 0, gaussians=150, width=35, height=29, moving=moving))


@pytest.mark.parametrize("moving", [False, True])
def test_batches_of_scenes_and_views(moving: bool) -> None:
    check_agreement(random_inputs("ordinary", 1, gaussians=100, scenes=2, views=3, width=37, height=26, moving=moving))


OPTIONS: dict[str, dict[str, Any]] = {
    "antialiased": {"rasterize_mode": "antialiased", "eps2d": 0.8},
    "planes and clip": {"near_plane": 2.5, "far_plane": 3.6, "radius_clip": 3.0},
    "culled": {"weight_min": 0.3, "opacity_min": 0.2},
    "little blur": {"eps2d": 0.05},
    "everything": {"rasterize_mode": "antialiased", "eps2d": 1.0, "near_plane": 2.0, "radius_clip": 3.0, "opacity_min": 0.1},
}


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("option", list(OPTIONS))
def test_options(option: str, moving: bool) -> None:
    check_agreement(replace(random_inputs("ordinary", 2, gaussians=120, views=2, width=37, height=26, moving=moving), **OPTIONS[option]))


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("moving", [False, True])
def test_covars(moving: bool, mode: str) -> None:
    x = random_inputs("ordinary", 3, gaussians=120, scenes=2, views=2, width=37, height=26, moving=moving)
    assert x.quats is not None
    assert x.scales is not None
    half = quats_to_matrices(x.quats) * x.scales[..., None, :]
    check_agreement(replace(x, quats=None, scales=None, covars=half @ half.transpose(-1, -2), rasterize_mode=mode))


@pytest.mark.parametrize(("z", "drawn"), [(0.5, True), (0.49999997, False), (4.0, True), (4.0000005, False)])
def test_planes_are_inclusive(z: float, drawn: bool) -> None:
    x = random_inputs(gaussians=1).map(lambda t: t.float())
    means, viewmats = torch.tensor([[[0.0, 0.0, z]]]), torch.eye(4)[None, None]
    x = replace(x, means=means, viewmats=viewmats, opacities=torch.ones(1, 1), near_plane=0.5, far_plane=4.0)
    assert bool(rasterize(x.map(lambda t: t.cuda()), "gsplat").alpha.any()) is drawn
    assert bool(rasterize(x, "cpu").alpha.any()) is drawn


@pytest.mark.parametrize("sizes", [{"gaussians": 0}, {"views": 0}])
def test_nothing_gives_empty_pictures(sizes: dict[str, int]) -> None:
    out = rasterize(random_inputs(**sizes).map(lambda t: t.cuda()), "gsplat")
    assert not out.alpha.any()


def test_auto_chooses_gsplat_on_cuda() -> None:
    x = random_inputs().map(lambda t: t.float().cuda())
    assert torch.equal(rasterize(x, "auto").rgb, rasterize(x, "gsplat").rgb)
