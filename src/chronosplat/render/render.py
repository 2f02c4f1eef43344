"""``render(scene, cameras, times)`` for any scene, and below it ``rasterize`` for batches of tensors; three backends."""

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
from chronosplat.scenes import Clock, LinearForm, Scene
from chronosplat.shapes import InputError

log = logging.getLogger("chronosplat")
BACKENDS: dict[str, Callable[[RasterInputs], RasterOutputs]] = {
    "reference": reference.rasterize,
    "cpu": cpu.rasterize,
    "gsplat": gsplat.rasterize,
}
BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "gray": (0.5, 0.5, 0.5)}
FRAMES_AT_ONCE, SPLATS_AT_ONCE = 16, 4_000_000  # bound the memory of one call; a user's call takes all frames
FAINT = {"weight_min": 0.05, "opacity_min": 0.05}  # dropped by the 4D-LRM paper at inference


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
        if not torch.compiler.is_compiling():
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
        UnavailableError: the backend cannot run here.
    """
    inputs.check()
    return BACKENDS[choose_backend(backend, inputs.means.device)](inputs)


def background_color(background: str | Sequence[float] | Tensor, like: Tensor) -> Tensor:
    """A background by name or by value: [3], or anything that broadcasts to pictures [F, H, W, 3].

    Raises:
        InputError: for an unknown name, or values whose last axis is not three long.
    """
    if isinstance(background, str):
        if background not in BACKGROUNDS:
            raise InputError(f"background: expected {', '.join(BACKGROUNDS)} or three numbers in [0, 1]; got {background!r}")
        background = BACKGROUNDS[background]
    color = torch.as_tensor(background, dtype=like.dtype, device=like.device)
    if color.dim() == 0 or color.shape[-1] != 3:
        raise InputError(f"background: expected three numbers, or a picture [H, W, 3], got shape {list(color.shape)}")
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
    """Render a scene at F cameras and moments.

    Args:
        scene: any kind of scene. A sequence is rendered frame by frame; only the frame at hand is on the device.
        cameras: F cameras in the capture's world.
        times: [F] seconds; None for a static scene.
        background: a name (white, black, gray), an sRGB colour, or values that broadcast to [F, H, W, 3].
        backend: ``auto``, ``reference``, ``cpu`` or ``gsplat``.
        near_plane, far_plane: in the scene's own units. eps2d: screen-space blur in square pixels.
        radius_clip, rasterize_mode: see RasterInputs.
        cull: drop the Gaussians of a 4D scene that are faint at the moment (temporal weight, or opacity times it, below
            0.05), as the 4D-LRM paper does at inference. None: where no gradient is asked for.
        device: where to render; None: where the scene is. Pictures are returned there.

    Returns:
        Rendered pictures, differentiable in the scene's tensors.

    Raises:
        InputError: times missing for a moving scene or of another length, an unknown backend or background.
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
    parts = [rasterize(RasterInputs(**{name: _moved(t, like) for name, t in call.items()}, **options), backend) for call in calls]
    rgb, alpha, depth = (torch.cat([getattr(p, name).flatten(0, 1) for p in parts]) for name in ("rgb", "alpha", "depth"))
    color = background_color(background, like)
    try:
        color = color.expand(rgb.shape)
    except RuntimeError as error:
        raise InputError(f"background: shape {list(color.shape)} does not broadcast to pictures {list(rgb.shape)}") from error
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


def _moved(value: Any, like: Tensor) -> Any:
    return value.to(like) if isinstance(value, Tensor) else value


def _views(cameras: Cameras) -> dict[str, Any]:
    """The cameras' arguments of RasterInputs: one scene, all of them."""
    return {"viewmats": cameras.viewmats[None], "Ks": cameras.Ks[None], "width": cameras.width, "height": cameras.height}


def _batches(frames: int, gaussians: int) -> Iterator[slice]:
    """Runs of frames that are rendered together; one empty run where there are none."""
    step = min(FRAMES_AT_ONCE, max(1, SPLATS_AT_ONCE // max(1, gaussians)))
    return (slice(first, first + step) for first in range(0, max(frames, 1), step))


def _linear_calls(linear: LinearForm, cameras: Cameras, seconds: Tensor) -> Iterator[dict[str, Any]]:
    """The fast path: one scene with V views at a time, moved by the backend."""
    tensors = {name: t[None] for name, t in linear.tensors.items()}
    clock: Clock | None = linear.clock
    for some in _batches(len(cameras), linear.tensors["means"].shape[0]):
        times = {} if clock is None else {"times": clock.scene_time(seconds[some])[None]}
        yield tensors | _views(cameras[some]) | times


def _evaluated_calls(scene: Scene, cameras: Cameras, seconds: Tensor) -> Iterator[dict[str, Any]]:
    """Any scene, evaluated once for the consecutive views of one time."""
    if not len(cameras):
        yield {name: t[:1] for name, t in scene.evaluate(torch.zeros(1, dtype=torch.float64)).items()} | _views(cameras)
    for some in _batches(len(seconds), scene.num_gaussians) if len(cameras) else ():
        distinct, counts = torch.unique_consecutive(seconds[some], return_counts=True)
        gaussians = scene.evaluate(distinct)
        first = some.start
        for index, count in enumerate(counts.tolist()):
            yield {name: t[index : index + 1] for name, t in gaussians.items()} | _views(cameras[first : first + count])
            first += count
