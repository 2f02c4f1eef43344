"""From generated views to consistent ones: LGM fuses them into Gaussians, which are aligned and rendered.

The diffusion's views need not agree with each other, nor with the input image's heading. LGM makes one object of them. It is
turned until it matches the input image, then rendered at the four azimuths (L4GM, section 4.1 and appendix E).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.captures.object_image import find_object
from chronosplat.captures.views import on_white
from chronosplat.models.l4gm import L4GM, L4GMConfig, input_maps
from chronosplat.multiview.align import best_azimuth
from chronosplat.multiview.diffusion import resize_square
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Generated:
    """Views of an object.

    Attributes:
        views: [4, S, S, 3] on white, azimuths 0, 90, 180, 270 from the input image's camera.
        generated: [4, D, D, 3] the diffusion's views, before LGM.
        gaussians: LGM's object. azimuth: degrees from LGM's front to the input image's.
    """

    views: Tensor
    generated: Tensor
    gaussians: Gaussians3D
    azimuth: int


@torch.no_grad()
def consistent_views(lgm: L4GM, generated: Tensor, image: Tensor | None, elevation: float = 0.0) -> Generated:
    """Fuse four generated views into one object, and render it from the input image's azimuth and the three others, at elevation 0.

    Args:
        generated: [4, D, D, 3] front, right, back, left, at ``elevation`` degrees. Views of a text prompt are matted and framed
            first: unlike ImageDream's they are not on white.
        image: [S, S, 3] the input image on white; None keeps the generated front.

    Raises:
        InputError: an LGM with another number of views.
    """
    check_views(lgm.config)
    config, size = lgm.config, lgm.config.input_size
    views = resize_square(generated, size) if image is not None else torch.stack([frame_view(v, size) for v in generated])
    predicted = lgm(input_maps(views[None, None], config, elevation).to(next(lgm.parameters()).device))
    gaussians = Gaussians3D(**{name: value[0, 0] for name, value in predicted.fields().items()})
    azimuth = 0 if image is None else best_azimuth(gaussians, image, config, elevation)
    cameras = orbit([azimuth + 90.0 * i for i in range(4)], 0.0, size, config.radius, config.fovy)
    return Generated(render(gaussians, cameras).rgb.clamp(0, 1).cpu(), generated, gaussians, azimuth)


def check_views(config: L4GMConfig) -> None:
    """Raise InputError unless the model takes four views."""
    if config.views != 4:
        raise InputError(f"lgm: expected a model of 4 views, got one of {config.views}")


def frame_view(view: Tensor, size: int) -> Tensor:
    """Matte and frame a generated view [D, D, 3] to [size, size, 3] on white; only resize it if no object is found."""
    pixels = (view.clamp(0, 1) * 255 + 0.5).byte().numpy()
    try:
        images, alphas = find_object(pixels, "auto", "generated view").framed(size)
    except InputError:
        return resize_square(view[None], size)[0]
    return on_white(images, alphas)
