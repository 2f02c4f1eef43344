"""Passes: what an image shows of a rendering. Images are rendered a few at a time, as they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.captures.views import evenly
from chronosplat.export.images.shots import Shots
from chronosplat.memory import available_memory
from chronosplat.render import Rendered, render
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError

EPS2D = 0.3  # the renderer's default blur in square pixels
PIXELS_AT_ONCE, FRAMES_AT_ONCE = 1 << 20, 8
BYTES_PER_PIXEL, KEEP_FREE = 100, 0.8  # of one image while it is rendered and composed; fraction of the free memory
SOLID = 0.5  # coverage from which a pixel has a depth
PROBES, PROBE_SIZE, MARGIN = 12, 64, 0.05


@dataclass(frozen=True)
class DepthRange:
    """Depths along the camera's axis, in the capture's units, of the nearest and the farthest visible point."""

    near: float
    far: float


@dataclass(frozen=True)
class Setting:
    """How to render.

    Attributes:
        eps2d: see RasterInputs. device: where; None: where the scene is. depths: of the depth pass.
    """

    eps2d: float = EPS2D
    device: str | torch.device | None = None
    depths: DepthRange = DepthRange(0.0, 1.0)


def widened(height: int, input_size: int | None) -> float:
    """The blur for images of a height: a pixel-aligned scene has no finer detail than its input, and gaps would show between splats."""
    return EPS2D * max(1.0, height / (input_size or height)) ** 2


# name -> straight colours [F, H, W, 3] and coverage [F, H, W, 1]
Pass = Callable[[Rendered, Cameras, Setting], tuple[Tensor, Tensor]]


def _rgb(out: Rendered, cameras: Cameras, setting: Setting) -> tuple[Tensor, Tensor]:
    return (out.rgb / out.alpha.clamp_min(1e-6)).clamp(0, 1), out.alpha


def _alpha(out: Rendered, cameras: Cameras, setting: Setting) -> tuple[Tensor, Tensor]:
    return out.alpha.expand(out.rgb.shape), torch.ones_like(out.alpha)


def _depth(out: Rendered, cameras: Cameras, setting: Setting) -> tuple[Tensor, Tensor]:
    """The nearest point white, the farthest black."""
    near, far = setting.depths.near, setting.depths.far
    return ((far - out.depth) / max(far - near, 1e-9)).clamp(0, 1).expand(out.rgb.shape), out.alpha


def _normal(out: Rendered, cameras: Cameras, setting: Setting) -> tuple[Tensor, Tensor]:
    """Camera-space normals as (n + 1) / 2: red to the right, green up, blue to the camera."""
    return (normals(out.depth, out.alpha, cameras) + 1) / 2, (out.alpha >= SOLID).to(out.alpha)


PASSES: dict[str, Pass] = {"rgb": _rgb, "alpha": _alpha, "depth": _depth, "normal": _normal}


def check_passes(names: Sequence[str]) -> None:
    """Raises InputError for an unknown pass, or none."""
    for name in names or [""]:
        if name not in PASSES:
            raise InputError(f"passes: expected {', '.join(PASSES)}; got {name!r}")


def normals(depth: Tensor, alpha: Tensor, cameras: Cameras) -> Tensor:
    """Estimate unit normals [F, H, W, 3] from depth images [F, H, W, 1]: camera axes of OpenGL (right, up, to the camera).

    The tangents of a pixel are differences to the neighbours that are nearer in depth, so that silhouettes stay sharp.
    """
    K = cameras.Ks.to(depth)
    u = torch.arange(cameras.width).to(depth) + 0.5
    v = torch.arange(cameras.height).to(depth) + 0.5
    x = (u[None, None, :] - K[:, 0, 2, None, None]) / K[:, 0, 0, None, None] * depth[..., 0]
    y = (v[None, :, None] - K[:, 1, 2, None, None]) / K[:, 1, 1, None, None] * depth[..., 0]
    solid = torch.where(alpha >= SOLID, depth, torch.inf)
    points = torch.stack([x, -y, -depth[..., 0]], -1)
    normal = torch.linalg.cross(_tangent(points, solid, 1), _tangent(points, solid, 2))
    normal = torch.where((normal * points).sum(-1, keepdim=True) > 0, -normal, normal)
    return F.normalize(normal.nan_to_num(0.0), dim=-1)


def _tangent(points: Tensor, depth: Tensor, axis: int) -> Tensor:
    """Differences [F, H, W, 3] to the next or the previous pixel of an axis, whichever is nearer in depth."""
    step = points.diff(dim=axis)
    gap = depth.diff(dim=axis).abs().nan_to_num(torch.inf, torch.inf)
    first, last = (points.narrow(axis, 0, 1) * 0, depth.narrow(axis, 0, 1) * 0 + torch.inf)
    last = last.nan_to_num(torch.inf, torch.inf)
    forward, backward = torch.cat([step, first], axis), torch.cat([first, step], axis)
    ahead, behind = torch.cat([gap, last], axis), torch.cat([last, gap], axis)
    return torch.where(ahead <= behind, forward, backward)


def check_memory(cameras: Cameras) -> None:
    """Refuse images that do not fit into memory.

    Raises:
        InputError: names the largest size that fits.
    """
    room, need = KEEP_FREE * available_memory("cpu"), BYTES_PER_PIXEL * cameras.width * cameras.height
    if need > room:
        largest = int(cameras.height * math.sqrt(room / need))
        problem = f"size: an image of {cameras.width}x{cameras.height} takes about {need / 2**30:.1f} GiB, {room / 2**30:.1f} GiB are free"
        raise InputError(problem, "{size} fits", size=largest)


def rendered(scene: Scene, shots: Shots, setting: Setting) -> Iterator[tuple[Rendered, Cameras]]:
    """Render shots one by one, on black, on the CPU afterwards; a few are computed at a time."""
    check_memory(shots.cameras)
    pixels = shots.cameras.width * shots.cameras.height
    step = max(1, min(FRAMES_AT_ONCE, PIXELS_AT_ONCE // pixels))
    for first in range(0, len(shots), step):
        some, times = shots.cameras[slice(first, first + step)], shots.times[first : first + step]
        with torch.no_grad():
            out = render(scene, some, times, background="black", near_plane=shots.near, eps2d=setting.eps2d, device=setting.device)
        for index in range(len(some)):
            one = slice(index, index + 1)
            yield Rendered(out.rgb[one].cpu(), out.alpha[one].cpu(), out.depth[one].cpu()), some[index]


def composed(out: Rendered, cameras: Cameras, passes: Sequence[str], background: Tensor | None, setting: Setting) -> Tensor:
    """The passes side by side as one image: [H, W, 3] on a background, or [H, W, 4] straight where that is None.

    Depth and normals stand on black.
    """
    images = []
    for name in passes:
        color, alpha = PASSES[name](out, cameras, setting)
        if background is None:
            images.append(torch.cat([color, alpha], -1)[0])
        else:
            behind = background if name == "rgb" else torch.zeros(3)
            images.append((color * alpha + (1 - alpha) * behind)[0])
    return torch.cat(images, 1)


def depth_range(scene: Scene, shots: Shots, setting: Setting) -> DepthRange:
    """Find the depths that shots show, from small renderings of up to 12 of them, with a margin of 5 percent."""
    chosen = evenly(len(shots), PROBES)
    shrink = min(1.0, PROBE_SIZE / max(shots.cameras.width, shots.cameras.height))
    width, height = (max(1, round(side * shrink)) for side in (shots.cameras.width, shots.cameras.height))
    small = Shots(shots.cameras[chosen].resized(width, height), tuple(shots.times[i] for i in chosen), shots.fps, shots.near)
    near, far = float("inf"), 0.0
    for out, _ in rendered(scene, small, setting):
        depths = out.depth[out.alpha >= SOLID]
        if len(depths):
            near, far = min(near, float(depths.min())), max(far, float(depths.max()))
    return DepthRange(near * (1 - MARGIN), far * (1 + MARGIN)) if far > 0 else DepthRange(0.0, 1.0)
