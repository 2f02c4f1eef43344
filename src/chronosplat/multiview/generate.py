"""One picture, or a text, to four views that fit together: ImageDream, then LGM, then its Gaussians from four sides.

What the diffusion draws need not agree from view to view, nor face as the picture does. LGM makes one object of it, which
is turned until it looks like the picture and then rendered (L4GM, section 4.1 and appendix E).
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
from chronosplat.multiview.diffusion import Diffusion, DiffusionOptions, Step, resized
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError, check_shape


@dataclass(frozen=True)
class Generated:
    """Views of an object.

    Attributes:
        views: [4, S, S, 3] on white, azimuths 0, 90, 180, 270 from where the picture was taken.
        drawn: [4, D, D, 3] what the diffusion drew, before LGM.
        gaussians: LGM's object. azimuth: degrees from LGM's front to the picture's.
    """

    views: Tensor
    drawn: Tensor
    gaussians: Gaussians3D
    azimuth: int


def generate_views(
    diffusion: Diffusion,
    lgm: L4GM,
    picture: Tensor | None,
    options: DiffusionOptions = DiffusionOptions(),
    seed: int = 0,
    step: Step = lambda _done, _all: None,
) -> Generated:
    """Views of the object in a picture, or of a text alone.

    Args:
        lgm: makes Gaussians of four views.
        picture: [S, S, 3] on white; None: the text alone.
        seed: of the diffusion's noise. step: called after every denoising step with how many are done, and how many there are.

    Raises:
        InputError: no picture and no text; a picture of another shape; an LGM that takes another number of views.
    """
    if picture is None and not options.prompt:
        raise InputError("multiview: no image and no text", "give an image, or a {prompt}", prompt=...)
    if picture is not None:
        check_shape("picture", picture, f"{lgm.config.input_size} {lgm.config.input_size} 3")
    check_views(lgm.config)
    return consistent_views(lgm, diffusion.draw(picture, options, seed, step), picture, options.elevation)


@torch.no_grad()
def consistent_views(lgm: L4GM, drawn: Tensor, picture: Tensor | None, elevation: float = 0.0) -> Generated:
    """One object out of four drawn views, seen from where the picture was taken and from the other sides, at elevation 0.

    Args:
        drawn: [4, D, D, 3] front, right, back, left, at ``elevation`` degrees. Those of a text alone are cut out and framed first:
            unlike ImageDream's they are not on white.
        picture: [S, S, 3] on white; None keeps the drawing's own front.

    Raises:
        InputError: an LGM that takes another number of views.
    """
    check_views(lgm.config)
    config = lgm.config
    views = resized(drawn, config.input_size) if picture is not None else torch.stack([framed(v, config.input_size) for v in drawn])
    predicted = lgm(input_maps(views[None, None], config, elevation).to(next(lgm.parameters()).device))
    gaussians = Gaussians3D(**{name: value[0, 0] for name, value in predicted.fields().items()})
    azimuth = 0 if picture is None else best_azimuth(gaussians, picture, config, elevation)
    cameras = orbit([azimuth + 90.0 * i for i in range(4)], 0.0, config.input_size, config.radius, config.fovy)
    return Generated(render(gaussians, cameras).rgb.clamp(0, 1).cpu(), drawn, gaussians, azimuth)


def check_views(config: L4GMConfig) -> None:
    """Refuse a model of another number of views than are drawn.

    Raises:
        InputError: saying the number.
    """
    if config.views != 4:
        raise InputError(f"lgm: expected a model of 4 views, got one of {config.views}")


def framed(drawing: Tensor, size: int) -> Tensor:
    """A drawing [D, D, 3] as LGM wants it, [size, size, 3]: its object cut out, framed, and on white; as it is if none is found."""
    pixels = (drawing.clamp(0, 1) * 255 + 0.5).byte().numpy()
    try:
        images, alphas = find_object(pixels, "auto", "drawing").framed(size)
    except InputError:
        return resized(drawing[None], size)[0]
    return on_white(images, alphas)
