"""One image: read, its background removed, and framed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from chronosplat.captures.matting import Matte, choose_matte
from chronosplat.captures.survey import Survey
from chronosplat.captures.views import resize_straight
from chronosplat.captures.window import FILL, Window
from chronosplat.events import Notice, warning
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class ObjectImage:
    """An image of an object.

    Attributes:
        pixels: [H, W, 3 or 4] bytes. matte: finds the object. window: frames it. notices: what was found.
    """

    pixels: NDArray[np.uint8]
    matte: Matte
    window: Window
    notices: tuple[Notice, ...]

    def framed(self, size: int) -> tuple[Tensor, Tensor]:
        """Straight colours [size, size, 3] and alphas [size, size, 1]."""
        return frame_image(self.pixels, self.window, self.matte, size)


def open_image(path: str | Path, matting: str = "auto") -> ObjectImage:
    """Read an image and find its object.

    Raises:
        InputError: no such file, undecodable, or no object in it.
        UnavailableError: see choose_matte.
    """
    return find_object(read_pixels(Path(path)), matting, str(path))


def find_object(pixels: NDArray[np.uint8], matting: str, what: str) -> ObjectImage:
    """Find the object in an image [H, W, 3 or 4]; ``what`` names it. Raises as open_image."""
    matte = choose_matte(matting, [pixels], Path(what).name)
    survey = Survey(matte)
    survey.add(0.0, pixels)
    if survey.missing:
        raise InputError(f"{what}: no object found in it", "try another {matting}", matting=...)
    cut = (warning("touches-border", "the object touches the image's border; the part beyond it is lost"),) if survey.touches else ()
    return ObjectImage(pixels, matte, survey.object_window(FILL), (matte.notice, *cut))


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """[H, W, 3] or, with alpha, [H, W, 4].

    Raises:
        InputError: no such file, or undecodable.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):  # which Pillow would clip
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.array(upright.convert("RGBA" if has_alpha else "RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be decoded as an image ({error})") from error


def frame_image(picture: NDArray[np.uint8], window: Window, matte: Matte, size: int) -> tuple[Tensor, Tensor]:
    """The window of an image [H, W, 3 or 4]: straight colours [size, size, 3] and alphas [size, size, 1]."""
    pixels, inside = window.cut(picture, matte.fill)
    if window.side > 2 * size and matte.slow:  # such a matte sees no more; others are sharper with every pixel
        pixels = np.asarray(Image.fromarray(pixels).resize((2 * size, 2 * size), Image.Resampling.BOX))
        inside = np.array(Image.fromarray(inside).resize((2 * size, 2 * size), Image.Resampling.NEAREST))
    images, alphas = matte(pixels)
    alphas = alphas * torch.from_numpy(inside)[..., None]
    images, alphas = resize_straight(images[None], alphas[None], size, size)
    return images[0], alphas[0]
