"""The CUDA backend, through gsplat (extra ``cuda``)."""

from __future__ import annotations

import importlib
import importlib.util

import torch

from chronosplat.gaussians.fourd import temporal_weight
from chronosplat.render.inputs import RasterInputs, RasterOutputs
from chronosplat.shapes import UnavailableError


def unavailable() -> str | None:
    """Why this backend cannot run here, with the remedy; None if it can."""
    if not torch.cuda.is_available():
        return "no CUDA device is available to this PyTorch; use backend='cpu', or install a CUDA build of torch"
    missing = [name for name in ("gsplat", "packaging") if importlib.util.find_spec(name) is None]  # gsplat 1.5.3 needs packaging
    if missing:
        return f"{' and '.join(missing)} not installed; run: pip install 'chronosplat[cuda]'"
    return None


def rasterize(x: RasterInputs) -> RasterOutputs:
    """Render with ``gsplat.rasterization``, all scenes and views in one call.

    Raises:
        UnavailableError: gsplat or CUDA is missing, or gsplat's first-use build failed; with the remedy.
    """
    if reason := unavailable():
        raise UnavailableError(f"backend gsplat: {reason}")
    B, V = x.viewmats.shape[:2]
    if B == 0 or V == 0 or x.means.shape[1] == 0:
        return RasterOutputs.empty(x)
    means, opacities, quats, scales, colors = x.means, x.opacities, x.quats, x.scales, x.colors
    viewmats, Ks = x.viewmats, x.Ks
    if x.velocities is not None and x.time_centers is not None and x.time_sigmas is not None and x.times is not None:
        # every view has its own moment, hence its own means: views become scenes of one view each
        t = x.times[:, :, None]
        means = (means[:, None] + x.velocities[:, None] * (t - x.time_centers[:, None])[..., None]).flatten(0, 1)
        opacities = (opacities[:, None] * temporal_weight(t, x.time_centers[:, None], x.time_sigmas[:, None])).flatten(0, 1)
        quats, scales, colors = (g[:, None].expand(B, V, *g.shape[1:]).flatten(0, 1) for g in (quats, scales, colors))
        viewmats, Ks = viewmats.flatten(0, 1)[:, None], Ks.flatten(0, 1)[:, None]
    gsplat = importlib.import_module("gsplat")
    try:
        features, alphas, _ = gsplat.rasterization(
            means=means.float(),
            quats=quats.float(),
            scales=scales.float(),
            opacities=opacities.float(),
            colors=colors.float(),
            viewmats=viewmats.float(),
            Ks=Ks.float(),
            width=x.width,
            height=x.height,
            near_plane=x.near_plane,
            far_plane=x.far_plane,
            eps2d=x.eps2d,
            render_mode="RGB+D",
            packed=False,
        )
    except ImportError as error:
        raise UnavailableError(
            f"backend gsplat: its CUDA kernels did not build ({error}); nvcc must match torch's CUDA {torch.version.cuda}, "
            "set TORCH_CUDA_ARCH_LIST to your GPU and VERBOSE=1 to see the compiler's errors, or use backend='cpu'"
        ) from error
    shape = (B, V, x.height, x.width)
    dtype = x.means.dtype
    return RasterOutputs(
        features[..., :3].reshape(*shape, 3).to(dtype), alphas.reshape(*shape, 1).to(dtype), features[..., 3:].reshape(*shape, 1).to(dtype)
    )
