"""The input views as the optimiser needs them, and renderings from their cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.captures import Views
from chronosplat.captures.views import on_white
from chronosplat.metrics import mean_psnr
from chronosplat.render import RasterInputs, rasterize
from chronosplat.scenes import Scene

# contributions below this are not rendered while optimising: half a gray level, and the tails of time
WEIGHT_MIN, OPACITY_MIN = 0.02, 1 / 255
AT_ONCE = 8  # views in a call without gradients
SMALLEST = 96  # pixels of the longer side at which an optimisation begins


@dataclass(frozen=True)
class TrainingViews:
    """F views in a scene's own world and time, on its device.

    Attributes:
        pixels: [F, H, W, 4] uint8, straight sRGB and alpha. masked: whether some alpha is below one half.
        viewmats [F, 4, 4], Ks [F, 3, 3]; times [F] in scene time, None for a static scene. seconds [F].
    """

    pixels: Tensor
    viewmats: Tensor
    Ks: Tensor
    times: Tensor | None
    masked: bool
    seconds: Tensor

    def __len__(self) -> int:
        return self.pixels.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the work is done."""
        return self.pixels.device

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def on_white(self, chosen: Sequence[int]) -> Tensor:
        """Composite some images on white, [V, H, W, 3] as floats."""
        some = self.pixels[list(chosen)].float() / 255
        return on_white(some[..., :3], some[..., 3:])

    @cached_property
    def pyramid(self) -> list[TrainingViews]:
        """The views at rising sizes, each twice the one before; the last are these, the first at least SMALLEST pixels long."""
        factors = [2**k for k in range(8) if max(self.size) >= 2**k * SMALLEST or k == 0]
        return [self if factor == 1 else self.reduced(factor) for factor in reversed(factors)]

    def reduced(self, factor: int) -> TrainingViews:
        """The same views with ``factor`` times fewer rows and columns, averaged with colours weighted by alpha."""
        height, width = (max(1, round(n / factor)) for n in self.size)
        small = torch.empty(len(self), height, width, 4, dtype=torch.uint8, device=self.device)
        for image, to in zip(self.pixels, small, strict=True):  # one at a time, because of memory
            rgb, alpha = image[..., :3].float(), image[..., 3:].float() / 255
            mean = F.interpolate(torch.cat([rgb * alpha, alpha], -1).permute(2, 0, 1)[None], (height, width), mode="area")[0]
            straight = torch.cat([mean[:3] / mean[3:].clamp_min(1e-6), mean[3:] * 255])
            to.copy_(straight.clamp(0, 255).add(0.5).byte().permute(1, 2, 0))
        scale = torch.tensor([width / self.size[1], height / self.size[0], 1.0], device=self.device)
        return replace(self, pixels=small, Ks=self.Ks * scale[:, None])


def training_views(scene: Scene, views: Views) -> TrainingViews:
    """The views in the scene's world and time."""
    device, linear = scene.device, scene.linear_form()
    cameras = views.cameras.transformed(scene.world.inverse())
    clock = None if linear is None else linear.clock
    times = None if clock is None else clock.scene_time(views.times).float().to(device)
    pixels = views.rgba8().to(device).contiguous()
    viewmats, Ks = (t.float().to(device).contiguous() for t in (cameras.viewmats, cameras.Ks))
    seconds = views.times.float().to(device)
    return TrainingViews(pixels, viewmats, Ks, times, bool((pixels[..., 3] < 128).any()), seconds)


def render_views(
    fields: Mapping[str, Tensor],
    views: TrainingViews,
    chosen: Sequence[int],
    backend: str,
    cull: bool = True,
    viewmats: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Render the chosen views: rgb [V, H, W, 3] on white and alpha [V, H, W, 1], differentiable.

    Args:
        viewmats: [F, 4, 4] other poses for all views.
    """
    out = rasterize(raster_inputs(fields, views, chosen, cull, viewmats), backend)
    return out.rgb[0] + 1 - out.alpha[0], out.alpha[0]


def raster_inputs(
    fields: Mapping[str, Tensor],
    views: TrainingViews,
    chosen: Sequence[int],
    cull: bool = True,
    viewmats: Tensor | None = None,
) -> RasterInputs:
    """One scene of the fields' Gaussians and the chosen views; see :func:`render_views`."""
    which = torch.as_tensor(list(chosen), device=views.device)
    poses = views.viewmats if viewmats is None else viewmats
    height, width = views.size
    return RasterInputs(
        **{name: t[None] for name, t in fields.items()},  # pyright: ignore[reportArgumentType]
        viewmats=poses[which][None],
        Ks=views.Ks[which][None],
        times=None if views.times is None else views.times[which][None],
        width=width,
        height=height,
        weight_min=WEIGHT_MIN if cull and views.times is not None else 0.0,
        opacity_min=OPACITY_MIN if cull and views.times is not None else 0.0,
    )


def psnr_on(fields: Mapping[str, Tensor], views: TrainingViews, chosen: Sequence[int], backend: str) -> float:
    """Mean PSNR in dB over the chosen views."""
    found = []
    with torch.no_grad():
        for first in range(0, len(chosen), AT_ONCE):
            some = list(chosen[first : first + AT_ONCE])
            found.append(mean_psnr(render_views(fields, views, some, backend, cull=False)[0], views.on_white(some)) * len(some))
    return sum(found) / len(chosen)
