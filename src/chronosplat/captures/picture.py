"""One picture: read, its object cut out, and framed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from chronosplat.captures.matting import Matte, choose_matte
from chronosplat.captures.survey import Survey
from chronosplat.captures.views import resize_straight
from chronosplat.captures.window import FILL, Window
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Picture:
    """A picture of an object.

    Attributes:
        pixels: [H, W, 3 or 4] bytes. matte: finds the object. window: frames it. notes: what was found, for the user.
    """

    pixels: NDArray[np.uint8]
    matte: Matte
    window: Window
    notes: tuple[str, ...]

    def framed(self, size: int) -> tuple[Tensor, Tensor]:
        """Straight colours [size, size, 3] and alphas [size, size, 1]."""
        return frame_picture(self.pixels, self.window, self.matte, size)


def open_picture(path: str | Path, matting: str = "auto") -> Picture:
    """Read a picture and find its object.

    Raises:
        InputError: no such file, undecodable, or no object in it.
        UnavailableError: see choose_matte.
    """
    pixels = read_pixels(Path(path))
    matte = choose_matte(matting, [pixels], Path(path).name)
    survey = Survey(matte)
    survey.add(0.0, pixels)
    survey.check(str(path))
    return Picture(pixels, matte, survey.object_window(FILL), (matte.note, *survey.warnings()))


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
            return np.array(image.convert("RGBA" if has_alpha else "RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be decoded as a picture ({error})") from error


def frame_picture(picture: NDArray[np.uint8], window: Window, matte: Matte, size: int) -> tuple[Tensor, Tensor]:
    """What a window shows of a picture [H, W, 3 or 4]: straight colours [size, size, 3] and alphas [size, size, 1]."""
    pixels, inside = window.cut(picture, matte.fill)
    if window.side > 2 * size and pixels.shape[2] == 3:  # the matte needs no more pixels than that
        pixels = np.asarray(Image.fromarray(pixels).resize((2 * size, 2 * size), Image.Resampling.BOX))
        inside = np.array(Image.fromarray(inside).resize((2 * size, 2 * size), Image.Resampling.NEAREST))
    images, alphas = matte(pixels)
    alphas = alphas * torch.from_numpy(inside)[..., None]
    images, alphas = resize_straight(images[None], alphas[None], size, size)
    return images[0], alphas[0]
