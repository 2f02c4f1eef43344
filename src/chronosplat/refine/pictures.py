"""The input views as the optimiser wants them, and the scene as they see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.captures import Views
from chronosplat.gaussians import Gaussians3D, Gaussians4D
from chronosplat.metrics import mean_psnr
from chronosplat.render import RasterInputs, rasterize

# what contributes less than this is not drawn while optimising: half a gray level, and the tails of time
WEIGHT_MIN, OPACITY_MIN = 0.02, 1 / 255
AT_ONCE = 8  # views in a call that asks for no gradients


@dataclass(frozen=True)
class Pictures:
    """F pictures in a scene's own world and time, on its device.

    Attributes:
        rgb: [F, H, W, 3] on white. alpha: [F, H, W, 1]. masked: whether the alphas say anything.
        viewmats [F, 4, 4], Ks [F, 3, 3]; times [F] in scene time, None for a static scene.
    """

    rgb: Tensor
    alpha: Tensor
    viewmats: Tensor
    Ks: Tensor
    times: Tensor | None
    masked: bool

    def __len__(self) -> int:
        return self.rgb.shape[0]


def pictures_for(scene: Gaussians3D | Gaussians4D, views: Views) -> Pictures:
    """The views in the scene's world and time."""
    device = scene.means.device
    cameras = views.cameras.transformed(scene.world.inverse())
    times = scene.clock.scene_time(views.times).float().to(device) if isinstance(scene, Gaussians4D) else None
    masked = bool((views.alphas < 0.5).any())
    rgb, alpha, viewmats, Ks = (t.float().to(device) for t in (views.on_white(), views.alphas, cameras.viewmats, cameras.Ks))
    return Pictures(rgb, alpha, viewmats, Ks, times, masked)


def show(
    fields: Mapping[str, Tensor], pictures: Pictures, chosen: Sequence[int], backend: str, cull: bool = True, viewmats: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What the chosen pictures' cameras see: rgb [V, H, W, 3] on white and alpha [V, H, W, 1], differentiable.

    Args:
        viewmats: [F, 4, 4] other poses for all pictures.
    """
    which = torch.as_tensor(list(chosen), device=pictures.rgb.device)
    poses = pictures.viewmats if viewmats is None else viewmats
    height, width = pictures.rgb.shape[1:3]
    out = rasterize(
        RasterInputs(
            **{name: t[None] for name, t in fields.items()},  # pyright: ignore[reportArgumentType]
            viewmats=poses[which][None],
            Ks=pictures.Ks[which][None],
            times=None if pictures.times is None else pictures.times[which][None],
            width=width,
            height=height,
            weight_min=WEIGHT_MIN if cull and pictures.times is not None else 0.0,
            opacity_min=OPACITY_MIN if cull and pictures.times is not None else 0.0,
        ),
        backend,
    )
    return out.rgb[0] + 1 - out.alpha[0], out.alpha[0]


def show_each(
    fields: Mapping[str, Tensor], pictures: Pictures, chosen: Sequence[int], backend: str, viewmats: Tensor
) -> tuple[Tensor, Tensor]:
    """As :func:`show`, of a static cloud that is elsewhere in each of V pictures: means [V, N, 3] and quats [V, N, 4]."""
    which = torch.as_tensor(list(chosen), device=pictures.rgb.device)
    height, width = pictures.rgb.shape[1:3]
    scales, opacities, colors = (fields[name].expand(len(which), *fields[name].shape) for name in ("scales", "opacities", "colors"))
    out = rasterize(
        RasterInputs(
            means=fields["means"],
            quats=fields["quats"],
            scales=scales,
            opacities=opacities,
            colors=colors,
            viewmats=viewmats[which][:, None],
            Ks=pictures.Ks[which][:, None],
            width=width,
            height=height,
        ),
        backend,
    )
    return out.rgb[:, 0] + 1 - out.alpha[:, 0], out.alpha[:, 0]


def psnr_on(fields: Mapping[str, Tensor], pictures: Pictures, chosen: Sequence[int], backend: str) -> float:
    """Mean PSNR in dB over the chosen pictures."""
    found = []
    with torch.no_grad():
        for first in range(0, len(chosen), AT_ONCE):
            some = list(chosen[first : first + AT_ONCE])
            found.append(mean_psnr(show(fields, pictures, some, backend, cull=False)[0], pictures.rgb[some]) * len(some))
    return sum(found) / len(chosen)
