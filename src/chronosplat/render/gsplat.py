"""The CUDA backend: gsplat (extra ``cuda``)."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Any

import torch
from torch import Tensor

from chronosplat.render.inputs import RasterInputs, RasterOutputs
from chronosplat.scenes.conditioning import temporal_weight
from chronosplat.shapes import UnavailableError


def unavailable() -> str | None:
    """Return why this backend cannot run here, with the remedy; None if it can."""
    if not torch.cuda.is_available():
        return "no CUDA device is available to this PyTorch; use backend='cpu', or install a CUDA build of torch"
    missing = [name for name in ("gsplat", "packaging") if importlib.util.find_spec(name) is None]  # gsplat 1.5.3 needs packaging
    if missing:
        return f"{' and '.join(missing)} not installed; run: pip install 'chronosplat[cuda]'"
    return None


@cache
def _gsplat() -> Any:
    """Import gsplat, which compiles its kernels on first use.

    Raises:
        UnavailableError: the kernels did not build.
    """
    try:
        kernels = importlib.import_module("gsplat.cuda._backend")._C
    except Exception as error:  # the extension builder raises many types: no nvcc, no ninja, a compiler error
        raise UnavailableError(_build_failed(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))) from error
    if kernels is None:
        raise UnavailableError(_build_failed("no CUDA toolkit (nvcc) was found"))
    return importlib.import_module("gsplat")


def _build_failed(why: str) -> str:
    return (
        f"backend gsplat: its CUDA kernels did not build ({why}); nvcc must match torch's CUDA {torch.version.cuda}, "
        "set TORCH_CUDA_ARCH_LIST to your GPU and VERBOSE=1 to see the compiler's errors, or use backend='cpu'"
    )


def rasterize(x: RasterInputs) -> RasterOutputs:
    """Render all scenes and views with one call of ``gsplat.rasterization``.

    Raises:
        InputError: NaN or infinite values.
        UnavailableError: gsplat or CUDA is missing, or gsplat's kernels did not build.
    """
    if reason := unavailable():
        raise UnavailableError(f"backend gsplat: {reason}")
    x.check_values()
    x = x.unshared()
    if x.empty:
        return RasterOutputs.blank(x)
    B, V = x.viewmats.shape[:2]
    scene: dict[str, Tensor | None] = {
        "means": x.means, "quats": x.quats, "scales": x.scales, "covars": x.covars, "opacities": x.opacities, "colors": x.colors,
    }  # fmt: skip
    if x.covars is not None:
        scene["covars"] = 0.5 * (x.covars + x.covars.transpose(-1, -2))  # gsplat reads the upper triangle only
    viewmats, Ks = x.viewmats, x.Ks
    visible = x.opacities >= x.opacity_min
    if x.velocities is not None and x.time_centers is not None and x.time_sigmas is not None and x.times is not None:
        # every view has its own time, hence its own means: turn each view into a scene with one view
        t = x.times[:, :, None]
        weight = temporal_weight(t, x.time_centers[:, None], x.time_sigmas[:, None])
        scene = {name: None if g is None else g[:, None].expand(B, V, *g.shape[1:]).flatten(0, 1) for name, g in scene.items()}
        scene["means"] = (x.means[:, None] + x.velocities[:, None] * (t - x.time_centers[:, None])[..., None]).flatten(0, 1)
        opacities = x.opacities[:, None] * weight
        visible = ((weight >= x.weight_min) & (opacities >= x.opacity_min)).flatten(0, 1)
        scene["opacities"] = opacities.flatten(0, 1)
        viewmats, Ks = viewmats.flatten(0, 1)[:, None], Ks.flatten(0, 1)[:, None]
    assert scene["opacities"] is not None
    scene["opacities"] = scene["opacities"] * visible  # gsplat culls transparent Gaussians before projection
    features, alphas, _ = _gsplat().rasterization(
        **{name: None if t is None else t.float() for name, t in scene.items()},
        viewmats=viewmats.float(),
        Ks=Ks.float(),
        width=x.width,
        height=x.height,
        near_plane=x.near_plane,
        far_plane=x.far_plane,
        radius_clip=x.radius_clip,
        eps2d=x.eps2d,
        rasterize_mode=x.rasterize_mode,
        render_mode="RGB+D",
        packed=False,
    )
    shape = (B, V, x.height, x.width)
    rgb, depth = features[..., :3].reshape(*shape, 3), features[..., 3:].reshape(*shape, 1)
    return RasterOutputs(*(t.to(x.means.dtype) for t in (rgb, alphas.reshape(*shape, 1), depth)))
