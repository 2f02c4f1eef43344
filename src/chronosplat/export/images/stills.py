"""PNG files: one image, numbered ones, and contact sheets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from chronosplat.export.images.video import as_pixels
from chronosplat.export.numbered import numbered_file, remove_later
from chronosplat.files import atomic_file
from chronosplat.shapes import InputError

SHAPE = 3 / 2  # width to height that a sheet comes near to


def write_png(image: Tensor, path: Path, facts: dict[str, str] | None = None) -> None:
    """Write an image by atomic rename.

    Args:
        image: in [0, 1]: [H, W, 3], [H, W, 4] with straight alpha, or [H, W, 1], which is written with 16 bits.
        facts: text by name, kept in the file.
    """
    text = PngInfo()
    for name, value in (facts or {}).items():
        text.add_text(name, value)
    if image.shape[-1] == 1:
        picture = Image.fromarray((image[..., 0].detach().cpu().clamp(0, 1).double().numpy() * 65535 + 0.5).astype(np.uint16))
    else:
        picture = Image.fromarray(as_pixels(image))
    with atomic_file(path) as fresh:
        picture.save(fresh, "PNG", pnginfo=text)


def write_pngs(images: Iterable[Tensor], pattern: Path, facts: dict[str, str] | None = None) -> None:
    """Write numbered images as they come, and remove later numbers of an earlier run.

    Args:
        pattern: a name with ``####``.
    """
    count = 0
    for count, image in enumerate(images, 1):
        write_png(image, numbered_file(pattern, count - 1), facts)
    remove_later(pattern, count)


def write_sheet(images: Iterable[Tensor], path: Path) -> None:
    """Write a contact sheet: images row by row in a grid, kept as bytes.

    Raises:
        InputError: no images.
    """
    tiles = [as_pixels(image) for image in images]
    if not tiles:
        raise InputError(f"{path}: no images to write")
    write_png(torch.from_numpy(grid(tiles)).float() / 255, path)


def grid(tiles: list[np.ndarray]) -> np.ndarray:
    """Arrange tiles [h, w, C]; the rest of the last row is white, or empty where tiles have alpha."""
    height, width, channels = tiles[0].shape
    columns = min(len(tiles), max(1, round(math.sqrt(len(tiles) * SHAPE * height / width))))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * height, columns * width, channels), 0 if channels == 4 else 255, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return sheet
