"""``.spz`` files of Niantic: about a tenth of a PLY's size. Versions 2 to 4 are read, 3 and 4 written.

Version 3 is one gzip stream: a header of 16 bytes (magic, version, count, SH degree, fractional bits, flags), then for all
Gaussians in turn the positions (24-bit fixed point), opacities, colours, logarithms of the standard deviations (one byte each)
and rotations: two bits for the largest component of the quaternion xyzw, and for each other one a sign and nine bits. Version 4
has a header of 32 bytes, a table of sizes, and each attribute as one zstd frame. Axes: x right, y up, z backwards.
"""

from __future__ import annotations

import gzip
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from chronosplat.events import Events, info
from chronosplat.export.packing import (
    SH_C0,
    SMALLEST_SCALE,
    Array,
    Inflater,
    arrays,
    from_smallest_three,
    gaussians,
    morton_order,
    read_bytes,
    smallest_three,
    unorm,
)
from chronosplat.export.registry import Format, Job, register
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError, UnavailableError

MAGIC = b"NGSP"
COLOR_SCALE = 0.15  # of f_dc in a byte, so that colours may leave [0, 1] a little
FRACTION_BITS, EXTENT_BITS = 12, 13  # of positions: the format's usual precision, and the least relative to the extent
HARMONICS = {0: 0, 1: 9, 2: 24, 3: 45, 4: 72}  # bytes per Gaussian by degree
ROTATION_BITS = 9
HAS_EXTENSIONS = 2  # flag: vendors' data follows


@dataclass(frozen=True)
class SpzOptions:
    """Options of .spz files."""

    version: Literal[3, 4] = 3
    """3 (gzip) opens in every program that reads .spz; 4 (zstd) is slightly smaller and needs the extra chronosplat[spz4]."""


def write(scene: Gaussians3D, path: Path, job: Job) -> None:
    """Write the Gaussians of one time.

    Raises:
        InputError: positions too far from the origin for 24 bits.
        UnavailableError: version 4 without zstandard.
    """
    options: SpzOptions = job.options or SpzOptions()
    g = arrays(scene)
    order = morton_order(g["means"])  # neighbours compress well
    bits, parts = _pack(path, {name: values[order] for name, values in g.items()})
    if options.version == 3:
        header = struct.pack("<4sIIBBBB", MAGIC, 3, len(order), 0, bits, 0, 0)
        path.write_bytes(gzip.compress(header + b"".join(parts), 6, mtime=0))
        return
    frames = [_zstandard().ZstdCompressor(level=12).compress(part) for part in parts]
    header = struct.pack("<4sIIBBBBI12x", MAGIC, 4, len(order), 0, bits, 0, len(frames), 32)
    sizes = [struct.pack("<QQ", len(frame), len(part)) for frame, part in zip(frames, parts, strict=True)]
    path.write_bytes(header + b"".join(sizes) + b"".join(frames))


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise UnavailableError(".spz version 4: needs zstandard; pip install 'chronosplat[spz4]', or use version 3") from error
    return zstandard


def _pack(path: Path, g: dict[str, Array]) -> tuple[int, list[bytes]]:
    """Fractional bits, and the bytes of each attribute."""
    extent = max(float(np.abs(g["means"]).max()), 1e-6)
    fits = 22 - math.ceil(math.log2(extent))
    if fits < 0:
        raise InputError(f"{path}: .spz holds positions up to 4 million units from the origin, got {extent:g}; scale the scene down")
    bits = min(max(FRACTION_BITS, EXTENT_BITS - math.floor(math.log2(extent))), fits, 24)
    fixed = np.rint(g["means"].astype(np.float64) * 2**bits).astype("<i4")
    largest, three = smallest_three(g["quats"][:, [1, 2, 3, 0]])
    sizes = np.floor(np.abs(three) * math.sqrt(2) * ((1 << ROTATION_BITS) - 1) + 0.5).astype(np.uint32)
    rotations = largest.astype(np.uint32)
    for i in range(3):
        rotations = rotations << 10 | (three[:, i] < 0).astype(np.uint32) << ROTATION_BITS | np.minimum(sizes[:, i], 511)
    scales = np.clip(np.rint((np.log(np.maximum(g["scales"], SMALLEST_SCALE)) + 10) * 16), 0, 255)
    colors = unorm((g["colors"] - 0.5) / SH_C0 * COLOR_SCALE + 0.5)
    positions = fixed.view(np.uint8).reshape(-1, 3, 4)[..., :3]
    parts = (positions, unorm(g["opacities"]), colors, scales)
    return bits, [part.astype(np.uint8).tobytes() for part in parts] + [rotations.astype("<u4").tobytes()]


@np.errstate(all="ignore")  # damaged numbers are found by ``gaussians``
def read(path: Path, events: Events) -> Gaussians3D:
    """Read a file.

    Raises:
        InputError: not such a file, an unknown version, cut short, damaged, or more data than the header announces.
        UnavailableError: version 4 without zstandard.
    """
    data = read_bytes(path)
    if data[:4] == MAGIC:
        return _read_zstd(path, data, events)
    if data[:2] != b"\x1f\x8b":
        raise InputError(f"{path}: not an .spz file")
    inflater = Inflater(path, data)
    magic, version, count, degree, bits, flags, _ = struct.unpack("<4sIIBBBB", inflater.take(16))
    if magic != MAGIC:
        raise InputError(f"{path}: not an .spz file")
    if version not in (2, 3):
        raise InputError(f"{path}: .spz version {version}, expected 2, 3 or 4")
    sizes = _sizes(path, count, degree, bits, 3 if version == 2 else 4)
    body = inflater.take(sum(sizes))
    inflater.finish(allow_more=bool(flags & HAS_EXTENSIONS))
    ends = np.cumsum(sizes)
    parts = [body[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return _unpack(path, parts, bits, degree, events)


def _read_zstd(path: Path, data: bytes, events: Events) -> Gaussians3D:
    if len(data) < 32:
        raise InputError(f"{path}: cut short ({len(data)} of 32 bytes)")
    _, version, count, degree, bits, _, streams, at = struct.unpack_from("<4sIIBBBBI", data)
    if version != 4:
        raise InputError(f"{path}: .spz version {version}, expected 2, 3 or 4")
    decompressor = _zstandard().ZstdDecompressor()
    sizes = [size for size in _sizes(path, count, degree, bits, 4) if size]
    if not sizes:
        raise InputError(f"{path}: holds no Gaussians")
    if streams != len(sizes) or at < 32 or at + 16 * streams > len(data):
        raise InputError(f"{path}: damaged, its table of attributes does not fit the file")
    start, parts = at + 16 * streams, []
    for index, size in enumerate(sizes):
        packed, announced = struct.unpack_from("<QQ", data, at + 16 * index)
        if announced != size or start + packed > len(data):
            raise InputError(f"{path}: damaged, the sizes of attribute {index + 1} do not fit the file")
        parts.append(_unzstd(path, decompressor, data[start : start + packed], size))
        start += packed
    return _unpack(path, parts, bits, degree, events)


def _unzstd(path: Path, decompressor: Any, data: bytes, size: int) -> bytes:
    """Exactly ``size`` bytes of a zstd frame; no more are ever unpacked."""
    try:
        with decompressor.stream_reader(data) as reader:
            found = _bounded(reader, size + 1)
    except _zstandard().ZstdError as error:
        raise InputError(f"{path}: damaged zstd data ({error})") from error
    if len(found) != size:
        raise InputError(f"{path}: damaged, an attribute of {size} bytes has {'more' if len(found) > size else len(found)}")
    return found


def _bounded(reader: Any, most: int) -> bytes:
    """At most ``most`` bytes, in pieces."""
    pieces, missing = [], most
    while missing > 0 and (piece := reader.read(min(missing, 1 << 24))):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _sizes(path: Path, count: int, degree: int, bits: int, rotation: int) -> list[int]:
    """Bytes of each attribute."""
    if degree not in HARMONICS or bits > 24:
        raise InputError(f"{path}: damaged header (spherical harmonics of degree {degree}, {bits} fractional bits)")
    return [count * size for size in (9, 1, 3, 3, rotation, HARMONICS[degree])]


def _unpack(path: Path, parts: list[bytes], bits: int, degree: int, events: Events) -> Gaussians3D:
    """Gaussians from the bytes of each attribute."""
    if degree:
        events.notice(info("harmonics", f"{path}: colours that depend on the viewing direction are left out (degree 0 is kept)"))
    positions, opacities, colors, scales, rotations = (np.frombuffer(part, np.uint8) for part in parts[:5])
    count = len(opacities)
    fixed = np.zeros((count, 3, 4), np.uint8)
    fixed[..., 1:] = positions.reshape(count, 3, 3)  # the top three bytes, so that the sign is right
    return gaussians(
        path,
        means=fixed.view("<i4")[..., 0] / 2.0 ** (bits + 8),
        quats=_first_three(rotations.reshape(count, 3)) if len(rotations) == 3 * count else _rotations(rotations.view("<u4")),
        scales=np.exp(scales.reshape(count, 3) / 16.0 - 10),
        opacities=opacities / 255.0,
        colors=(colors.reshape(count, 3) / 255.0 - 0.5) / COLOR_SCALE * SH_C0 + 0.5,
    )


def _rotations(packed: Array) -> Array:
    """Quaternions wxyz of version 3 and 4."""
    fields = np.stack([packed >> shift & 0x3FF for shift in (20, 10, 0)], 1)
    three = (fields & 0x1FF) / (511 * math.sqrt(2)) * np.where(fields >> ROTATION_BITS, -1, 1)
    return from_smallest_three((packed >> 30).astype(np.int64), three)[:, [3, 0, 1, 2]]


def _first_three(packed: Array) -> Array:
    """Quaternions wxyz of version 2: x, y and z as bytes."""
    xyz = packed / 127.5 - 1
    return np.concatenate([np.sqrt(np.maximum(0, 1 - (xyz**2).sum(1, keepdims=True))), xyz], 1)


LOSES = "positions are rounded to a grid of 1/4096 unit or finer, sizes to 3 %, rotations to 0.2 degrees, colours and opacities to 8 bits"
register(Format(".spz", "compressed, by Niantic", "static", write, read, SpzOptions, "spz", up="y", loses=LOSES))
