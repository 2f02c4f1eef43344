"""``render`` for scenes and ``rasterize`` for batches of tensors, with three backends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.render import cpu, gsplat, reference
from chronosplat.render.inputs import RasterInputs, RasterOutputs
from chronosplat.scenes import LinearForm, Scene
from chronosplat.shapes import InputError

log = logging.getLogger("chronosplat")
BACKENDS: dict[str, Callable[[RasterInputs], RasterOutputs]] = {
    "reference": reference.rasterize,
    "cpu": cpu.rasterize,
    "gsplat": gsplat.rasterize,
}
BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "gray": (0.5, 0.5, 0.5)}
FRAMES_PER_CALL, SPLATS_PER_CALL = 16, 4_000_000  # upper bounds, to limit the memory of one backend call
FAINT = {"weight_min": 0.05, "opacity_min": 0.05}  # culled by the 4D-LRM paper at inference


@dataclass(frozen=True)
class Rendered:
    """Rendered images of a scene.

    Attributes:
        rgb: [F, H, W, 3] on the background. alpha: [F, H, W, 1] coverage.
        depth: [F, H, W, 1] expected depth along the camera's axis in the capture's units; 0 where alpha is 0.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor


def choose_backend(name: str, device: torch.device) -> str:
    """Resolve a backend name for tensors on ``device``; the choice of ``auto`` is logged once, with the reason.

    Raises:
        InputError: the name is unknown.
    """
    if name == "auto":
        chosen = "gsplat" if device.type == "cuda" else "cpu"
        if not torch.compiler.is_compiling():
            _log_once(f"renderer: {chosen}, because the scene is on {device.type}")
        return chosen
    if name not in BACKENDS:
        raise InputError(f"backend: expected auto, {', '.join(BACKENDS)}; got {name!r}")
    return name


@cache
def _log_once(message: str) -> None:
    log.info(message)


def rasterize(inputs: RasterInputs, backend: str = "auto") -> RasterOutputs:
    """Render B scenes from V views each.

    Raises:
        InputError: the inputs do not fit, or the backend is unknown.
        UnavailableError: the backend cannot run here.
    """
    inputs.check()
    return BACKENDS[choose_backend(backend, inputs.means.device)](inputs)


def background_color(background: str | Sequence[float] | Tensor, like: Tensor) -> Tensor:
    """Convert a background name, colour [3] or image to a tensor that broadcasts to [F, H, W, 3].

    Raises:
        InputError: the name is unknown, or the last axis does not have three values.
    """
    if isinstance(background, str):
        if background not in BACKGROUNDS:
            raise InputError(f"background: expected {', '.join(BACKGROUNDS)} or three numbers in [0, 1]; got {background!r}")
        background = BACKGROUNDS[background]
    color = torch.as_tensor(background, dtype=like.dtype, device=like.device)
    if color.dim() == 0 or color.shape[-1] != 3:
        raise InputError(f"background: expected three numbers, or an image [H, W, 3], got shape {list(color.shape)}")
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
    radius_clip: float = 0.0,
    rasterize_mode: str = "classic",
    cull: bool | None = None,
    device: torch.device | str | None = None,
) -> Rendered:
    """Render a scene from F cameras at F times.

    Args:
        scene: any kind of scene. A sequence is moved to the device frame by frame.
        cameras: F cameras in the capture's world.
        times: [F] seconds; None for a static scene.
        background: a name (white, black, gray), an sRGB colour, or values that broadcast to [F, H, W, 3].
        backend: ``auto``, ``reference``, ``cpu`` or ``gsplat``.
        near_plane, far_plane: in the scene's own units.
        eps2d, radius_clip, rasterize_mode: see RasterInputs.
        cull: cull Gaussians of a 4D scene whose temporal weight, or opacity times it, is below 0.05, as the 4D-LRM paper
            does at inference. None: cull unless gradients are required.
        device: where to render and return the images; None: the scene's device.

    Returns:
        Images, differentiable in the scene's tensors.

    Raises:
        InputError: times are missing or of the wrong length, or the backend or background is unknown.
        UnavailableError: the backend cannot run here.
    """
    like = torch.empty(0, dtype=scene.dtype, device=scene.device if device is None else device)
    seconds = _seconds(scene, len(cameras), times)
    local = cameras.transformed(scene.world.inverse()).to(like.device, like.dtype)
    options: dict[str, Any] = {
        "near_plane": near_plane,
        "far_plane": far_plane,
        "eps2d": eps2d,
        "radius_clip": radius_clip,
        "rasterize_mode": rasterize_mode,
    }
    linear = scene.linear_form()
    if linear is not None and linear.clock is not None:
        needs_gradient = torch.is_grad_enabled() and any(t.requires_grad for t in linear.tensors.values())
        options |= FAINT if (not needs_gradient if cull is None else cull) else {}
    calls = _evaluated_calls(scene, local, seconds) if linear is None else _linear_calls(linear, local, seconds)
    to = lambda value: value.to(like) if isinstance(value, Tensor) else value
    parts = [rasterize(RasterInputs(**{name: to(value) for name, value in call.items()}, **options), backend) for call in calls]
    rgb, alpha, depth = (torch.cat([getattr(p, name).flatten(0, 1) for p in parts]) for name in ("rgb", "alpha", "depth"))
    color = background_color(background, like)
    try:
        color = color.expand(rgb.shape)
    except RuntimeError as error:
        raise InputError(f"background: shape {list(color.shape)} does not broadcast to images {list(rgb.shape)}") from error
    return Rendered(rgb + (1 - alpha) * color, alpha, depth / alpha.clamp_min(1e-6) * scene.world.scale)


def _seconds(scene: Scene, frames: int, times: Tensor | Sequence[float] | None) -> Tensor:
    if times is None:
        if scene.seconds is not None:
            raise InputError("times: a moving scene needs one time per camera, in seconds")
        return torch.zeros(frames, dtype=torch.float64)
    seconds = torch.as_tensor(times, dtype=torch.float64)
    if seconds.shape != (frames,):
        raise InputError(f"times: expected one per camera [{frames}], got {list(seconds.shape)}")
    return seconds


def _views(cameras: Cameras) -> dict[str, Any]:
    """Return the camera arguments of RasterInputs for one scene."""
    return {"viewmats": cameras.viewmats[None], "Ks": cameras.Ks[None], "width": cameras.width, "height": cameras.height}


def _batches(frames: int, gaussians: int) -> Iterator[slice]:
    """Split frames into slices of one call each; one empty slice if there are no frames."""
    step = min(FRAMES_PER_CALL, max(1, SPLATS_PER_CALL // max(1, gaussians)))
    return (slice(first, first + step) for first in range(0, max(frames, 1), step))


def _linear_calls(linear: LinearForm, cameras: Cameras, seconds: Tensor) -> Iterator[dict[str, Any]]:
    """Yield calls for linear motion: one scene with V views, moved by the backend."""
    tensors = {name: t[None] for name, t in linear.tensors.items()}
    for some in _batches(len(cameras), linear.tensors["means"].shape[0]):
        times = {} if linear.clock is None else {"times": linear.clock.scene_time(seconds[some])[None]}
        yield tensors | _views(cameras[some]) | times


def _evaluated_calls(scene: Scene, cameras: Cameras, seconds: Tensor) -> Iterator[dict[str, Any]]:
    """Yield calls for any scene, evaluated once per run of views with equal times."""
    if not len(cameras):
        yield {name: t[:1] for name, t in scene.evaluate(torch.zeros(1, dtype=torch.float64)).items()} | _views(cameras)
    for some in _batches(len(seconds), scene.num_gaussians) if len(cameras) else ():
        distinct, counts = torch.unique_consecutive(seconds[some], return_counts=True)
        gaussians = scene.evaluate(distinct)
        first = some.start
        for index, count in enumerate(counts.tolist()):
            yield {name: t[index : index + 1] for name, t in gaussians.items()} | _views(cameras[first : first + count])
            first += count
