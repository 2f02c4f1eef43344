"""One image of an object: reading, matting and framing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
        pixels: [H, W, 3 or 4] uint8. window: frames the object. notices: what was detected.
    """

    pixels: NDArray[np.uint8]
    matte: Matte
    window: Window
    notices: tuple[Notice, ...]

    def framed(self, size: int) -> tuple[Tensor, Tensor]:
        """Return straight colours [size, size, 3] and alphas [size, size, 1]."""
        return frame_image(self.pixels, self.window, self.matte, size)


def open_image(path: str | Path, matting: str = "auto") -> ObjectImage:
    """Read an image and find its object.

    Raises:
        InputError: no such file, undecodable, or no object found.
        UnavailableError: see choose_matte.
    """
    return find_object(read_pixels(Path(path)), matting, str(path))


def find_object(pixels: NDArray[np.uint8], matting: str, what: str) -> ObjectImage:
    """Find the object in an image [H, W, 3 or 4]; ``what`` names the image in messages. Raises as open_image."""
    matte = choose_matte(matting, [pixels], Path(what).name)
    survey = Survey(matte)
    survey.add(0.0, pixels)
    if survey.missing:
        raise InputError(f"{what}: no object found in it", "try another {matting}", matting=...)
    touches = warning("touches-border", "the object touches the image's border; the part beyond it is lost")
    return ObjectImage(pixels, matte, survey.object_window(FILL), (matte.notice, touches) if survey.touches else (matte.notice,))


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file.

    Raises:
        InputError: it cannot be decoded, here or within the block.
    """
    try:
        with Image.open(path) as image:
            yield image
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be decoded as an image ({error})") from error


def has_alpha(image: Image.Image) -> bool:
    """Whether an image has an alpha channel or a transparent colour."""
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Read an image as [H, W, 3] or, with alpha, [H, W, 4], upright.

    Raises:
        InputError: no such file, or undecodable.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with opened_image(path) as image:
        mode = "RGBA" if has_alpha(image) else "RGB"
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):  # Pillow would clip it
            upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
        return np.array(upright.convert(mode))


def frame_image(image: NDArray[np.uint8], window: Window, matte: Matte, size: int) -> tuple[Tensor, Tensor]:
    """Crop and matte an image [H, W, 3 or 4]: straight colours [size, size, 3] and alphas [size, size, 1]."""
    pixels, inside = window.crop(image, matte.fill)
    if window.side > 2 * size and matte.slow:  # a network gains nothing from more pixels, other mattes do
        pixels = np.asarray(Image.fromarray(pixels).resize((2 * size, 2 * size), Image.Resampling.BOX))
        inside = np.array(Image.fromarray(inside).resize((2 * size, 2 * size), Image.Resampling.NEAREST))
    images, alphas = matte(pixels)
    alphas = alphas * torch.from_numpy(inside)[..., None]
    images, alphas = resize_straight(images[None], alphas[None], size, size)
    return images[0], alphas[0]
