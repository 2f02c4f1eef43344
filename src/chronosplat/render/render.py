"""One door to all renderers: ``render(scene, cameras, times)``, and ``rasterize`` below it for batches of tensors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.gaussians import Gaussians3D, Gaussians4D, GaussianSequence, Scene
from chronosplat.render import cpu, gsplat, reference
from chronosplat.render.inputs import RasterInputs, RasterOutputs
from chronosplat.shapes import InputError

log = logging.getLogger("chronosplat")
BACKENDS: dict[str, Callable[[RasterInputs], RasterOutputs]] = {
    "reference": reference.rasterize,
    "cpu": cpu.rasterize,
    "gsplat": gsplat.rasterize,
}
BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "gray": (0.5, 0.5, 0.5)}
FRAMES_AT_ONCE = 16  # bounds memory; a call takes all frames


@dataclass(frozen=True)
class Rendered:
    """Pictures of a scene.

    Attributes:
        rgb: [F, H, W, 3] on the background. alpha: [F, H, W, 1] coverage.
        depth: [F, H, W, 1] expected depth along the camera's axis in the capture's units; 0 where nothing is.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor


def choose_backend(name: str, device: torch.device) -> str:
    """The backend that ``name`` means for tensors on ``device``; ``auto`` says once which it chose and why.

    Raises:
        InputError: for an unknown name.
    """
    if name == "auto":
        chosen = "gsplat" if device.type == "cuda" else "cpu"
        _say_once(f"renderer: {chosen}, because the scene is on {device.type}")
        return chosen
    if name not in BACKENDS:
        raise InputError(f"backend: expected auto, {', '.join(BACKENDS)}; got {name!r}")
    return name


@cache
def _say_once(message: str) -> None:
    log.info(message)


def rasterize(inputs: RasterInputs, backend: str = "auto") -> RasterOutputs:
    """Render B scenes from V views each; the door for training and tests.

    Raises:
        InputError: inputs that do not fit, or an unknown backend.
    """
    inputs.check()
    return BACKENDS[choose_backend(backend, inputs.means.device)](inputs)


def background_color(background: str | Sequence[float] | Tensor, like: Tensor) -> Tensor:
    """[3] colour of a background given by name or by value.

    Raises:
        InputError: for an unknown name or anything but three numbers.
    """
    if isinstance(background, str):
        if background not in BACKGROUNDS:
            raise InputError(f"background: expected {', '.join(BACKGROUNDS)} or three numbers in [0, 1]; got {background!r}")
        background = BACKGROUNDS[background]
    color = torch.as_tensor(background, dtype=like.dtype, device=like.device)
    if color.shape != (3,):
        raise InputError(f"background: expected three numbers, got shape {list(color.shape)}")
    return color


def render(
    scene: Scene,
    cameras: Cameras,
    times: Tensor | Sequence[float] | None = None,
    background: str | Sequence[float] | Tensor = "white",
    backend: str = "auto",
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    eps2d: float = 0.3,
) -> Rendered:
    """Render a scene at F cameras and moments.

    Args:
        scene: any kind of scene.
        cameras: F cameras in the capture's world.
        times: [F] seconds; None for a static scene.
        background: a name (white, black, gray) or an sRGB colour.
        backend: ``auto``, ``reference``, ``cpu`` or ``gsplat``.
        near_plane, far_plane: in the scene's own units. eps2d: screen-space blur in square pixels.

    Returns:
        Rendered pictures, differentiable in the scene's tensors.

    Raises:
        InputError: times missing for a moving scene or of another length, an unknown backend or background.
    """
    like = scene.means
    moments = _moments(scene, len(cameras), times)
    local = cameras.transformed(scene.world.inverse()).to(like.device, like.dtype)
    options: dict[str, Any] = {"near_plane": near_plane, "far_plane": far_plane, "eps2d": eps2d}
    parts = []
    for first in range(0, max(len(cameras), 1), FRAMES_AT_ONCE):
        some = slice(first, first + FRAMES_AT_ONCE)
        inputs = _inputs(scene, local[some], None if moments is None else moments[some], options)
        parts.append(rasterize(inputs, backend))
    rgb, alpha, depth = (torch.cat([getattr(p, name).flatten(0, 1) for p in parts]) for name in ("rgb", "alpha", "depth"))
    color = background_color(background, like)
    return Rendered(rgb + (1 - alpha) * color, alpha, depth / alpha.clamp_min(1e-6) * scene.world.scale)


def _moments(scene: Scene, frames: int, times: Tensor | Sequence[float] | None) -> Tensor | None:
    if times is None:
        if not isinstance(scene, Gaussians3D):
            raise InputError("times: a moving scene needs one moment per camera, in seconds")
        return None
    moments = torch.as_tensor(times, dtype=torch.float64)
    if moments.shape != (frames,):
        raise InputError(f"times: expected one per camera [{frames}], got {list(moments.shape)}")
    return moments


def _inputs(scene: Scene, cameras: Cameras, moments: Tensor | None, options: dict[str, Any]) -> RasterInputs:
    """One scene with V views, or for a sequence V scenes (the frames' Gaussians) with one view each."""
    size: dict[str, Any] = {"width": cameras.width, "height": cameras.height}
    viewmats, Ks = cameras.viewmats[None], cameras.Ks[None]
    if isinstance(scene, GaussianSequence):
        assert moments is not None
        index = [scene.nearest(float(t)) for t in moments]
        frames: dict[str, Any] = {name: getattr(scene, name)[index] for name in ("means", "quats", "scales", "opacities", "colors")}
        return RasterInputs(**frames, viewmats=viewmats[0][:, None], Ks=Ks[0][:, None], **size, **options)
    tensors: dict[str, Any] = {name: t[None] for name, t in scene.tensors().items()}
    if isinstance(scene, Gaussians4D):
        assert moments is not None
        tensors["times"] = scene.clock.scene_time(moments)[None].to(scene.means)
    return RasterInputs(**tensors, viewmats=viewmats, Ks=Ks, **size, **options)
