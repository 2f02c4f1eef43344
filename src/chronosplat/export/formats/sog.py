"""``.sog`` files (version 2) of PlayCanvas and SuperSplat, the smallest of all: a ZIP of lossless WebP images and ``meta.json``.

A pixel is a Gaussian. Positions: sign(x) log(1 + |x|) in 16 bits between ``mins`` and ``maxs``, low and high bytes in two images.
Quaternions: the three smaller components of wxyz, and 252 plus the index of the largest one in alpha. Scales and colours: bytes
that index a ``codebook`` of 256 logarithms or f_dc values; the alpha of the colours is the opacity.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chronosplat.events import Events, info
from chronosplat.export.packing import (
    SH_C0,
    SMALLEST_SCALE,
    Array,
    arrays,
    from_smallest_three,
    gaussians,
    morton_order,
    smallest_three,
    unorm,
)
from chronosplat.export.registry import Format, Job, register
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError

LARGEST_TAG = 252
MAX_META = 1 << 22  # bytes
MAX_COUNT = 1 << 28  # Gaussians: the largest image that WebP holds
SPARE = 1 << 16  # pixels that an image may have beyond the Gaussians
LLOYD_STEPS, HISTOGRAM = 12, 1 << 14


def write(scene: Gaussians3D, path: Path, job: Job) -> None:
    """Write the Gaussians of one time."""
    g = arrays(scene)
    order = morton_order(g["means"])
    g = {name: values[order] for name, values in g.items()}
    logs = np.sign(g["means"]) * np.log1p(np.abs(g["means"].astype(np.float64)))
    low, high = logs.min(0), logs.max(0)
    steps = unorm((logs - low) / np.maximum(high - low, 1e-30), 16)
    largest, three = smallest_three(g["quats"])
    scale_codes, scale_book = quantise(np.log(np.maximum(g["scales"], SMALLEST_SCALE)))
    color_codes, color_book = quantise((g["colors"] - 0.5) / SH_C0)
    images = {
        "means_l": steps & 0xFF,
        "means_u": steps >> 8,
        "quats": np.concatenate([unorm(three * math.sqrt(0.5) + 0.5), LARGEST_TAG + largest[:, None]], 1),
        "scales": scale_codes,
        "sh0": np.concatenate([color_codes, unorm(g["opacities"])[:, None]], 1),
    }
    means = {"mins": low.tolist(), "maxs": high.tolist(), "files": ["means_l.webp", "means_u.webp"]}
    meta: dict[str, Any] = {"version": 2, "count": len(order), "antialias": False, "means": means}
    meta |= {"scales": {"codebook": scale_book, "files": ["scales.webp"]}, "quats": {"files": ["quats.webp"]}}
    meta |= {"sh0": {"codebook": color_book, "files": ["sh0.webp"]}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, text in [("meta.json", json.dumps(meta).encode()), *((f"{name}.webp", _webp(px)) for name, px in images.items())]:
            archive.writestr(zipfile.ZipInfo(name), text)  # without the time of day: the same scene gives the same file


def quantise(values: Array) -> tuple[Array, list[float]]:
    """Find 256 values that represent all others well: Lloyd's iterations on a histogram, from equally filled bins.

    Returns:
        The index of the nearest one for each value, and the ascending codebook.
    """
    values = values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    counts, edges = np.histogram(values, HISTOGRAM, (low, max(high, low + 1e-6)))
    weights, centers = counts**0.5, (edges[:-1] + edges[1:]) / 2  # the root: rare values, such as large splats, get their share
    filled = np.cumsum(np.concatenate([[0], weights]))
    book = np.interp((np.arange(256) + 0.5) / 256 * filled[-1], filled, edges)
    for _ in range(LLOYD_STEPS):
        nearest = np.searchsorted((book[:-1] + book[1:]) / 2, centers)
        total = np.bincount(nearest, weights, 256)
        book = np.where(total > 0, np.bincount(nearest, weights * centers, 256) / np.maximum(total, 1e-30), book)
    book = np.clip(book, low, high)
    book[0], book[-1] = low, high
    return np.searchsorted((book[:-1] + book[1:]) / 2, values), book.tolist()


def _webp(pixels: Array) -> bytes:
    """A lossless image whose first pixels are the rows [N, 3 or 4]."""
    width = max(4, math.ceil(math.sqrt(len(pixels)) / 4) * 4)
    height = max(4, math.ceil(len(pixels) / width / 4) * 4)
    canvas = np.full((height * width, 4), 255, np.uint8)
    canvas[: len(pixels), : pixels.shape[1]] = pixels
    canvas[len(pixels) :] = 0
    buffer = io.BytesIO()
    Image.fromarray(canvas.reshape(height, width, 4), "RGBA").save(buffer, "WEBP", lossless=True, exact=True, quality=20, method=2)
    return buffer.getvalue()


@np.errstate(all="ignore")  # damaged numbers are found by ``gaussians``
def read(path: Path, events: Events) -> Gaussians3D:
    """Read a file.

    Raises:
        InputError: not such a file, another version, damaged, or images of other sizes than the header announces.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive, events)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: damaged, its images do not fit into memory") from error
    except Exception as error:  # zipfile, json and pillow raise many kinds on damaged data
        raise InputError(f"{path}: not a readable .sog file ({type(error).__name__}: {str(error)[:80]})") from error


def _read(path: Path, archive: zipfile.ZipFile, events: Events) -> Gaussians3D:
    meta = json.loads(_member(path, archive, "meta.json", MAX_META))
    if not isinstance(meta, dict) or meta.get("version") != 2:
        raise InputError(f"{path}: expected version 2 of .sog; convert older files with SuperSplat")
    count = meta["count"]
    if type(count) is not int or not 0 <= count <= MAX_COUNT:
        raise InputError(f"{path}: damaged, its count of Gaussians is {str(count)[:20]}")
    if "shN" in meta:
        events.notice(info("harmonics", f"{path}: colours that depend on the viewing direction are left out (degree 0 is kept)"))

    def pixels(entry: str, index: int = 0) -> Array:
        return _pixels(path, _member(path, archive, str(meta[entry]["files"][index]), 4 * (count + SPARE) + MAX_META), count)

    def coded(entry: str, codes: Array) -> Array:
        return np.asarray(meta[entry]["codebook"], np.float64).reshape(-1)[codes]

    low, high = (np.asarray(meta["means"][end], np.float64).reshape(3) for end in ("mins", "maxs"))
    steps = pixels("means")[:, :3].astype(np.float64) + 256.0 * pixels("means", 1)[:, :3]
    logs = low + (high - low) * steps / 65535
    quats, sh0 = pixels("quats"), pixels("sh0")
    three = (quats[:, :3] / 255.0 - 0.5) * math.sqrt(2)
    largest = np.clip(quats[:, 3].astype(np.int64) - LARGEST_TAG, 0, 3)
    return gaussians(
        path,
        means=np.sign(logs) * np.expm1(np.abs(logs)),
        quats=from_smallest_three(largest, three),
        scales=np.exp(coded("scales", pixels("scales")[:, :3])),
        opacities=sh0[:, 3] / 255.0,
        colors=coded("sh0", sh0[:, :3]) * SH_C0 + 0.5,
    )


def _member(path: Path, archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A file of the archive; no more than ``most`` bytes are ever unpacked."""
    with archive.open(name) as member:
        found = member.read(most + 1)
    if len(found) > most:
        raise InputError(f"{path}: damaged, {name[:40]} is larger than its Gaussians need")
    return found


def _pixels(path: Path, data: bytes, count: int) -> Array:
    """The first ``count`` pixels [N, 4]; the size is checked before anything is decoded."""
    image = Image.open(io.BytesIO(data), formats=["WEBP"])
    area = image.width * image.height
    if not count <= area <= 2 * count + SPARE:
        raise InputError(f"{path}: damaged, an image of {image.width}x{image.height} pixels for {count} Gaussians")
    return np.asarray(image.convert("RGBA")).reshape(-1, 4)[:count]


LOSES = "positions are kept in 16 bits, rotations, sizes, colours and opacities in 8 bits"
register(Format(".sog", "smallest, for SuperSplat and web engines", "static", write, read, loses=LOSES))
