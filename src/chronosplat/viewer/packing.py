"""Gaussians as compressed bytes: quantised channels in spatial order, split into byte planes (docs/viewer.md, "Data").

A channel is stored as ``low + step * q`` with q an unsigned integer of at most 24 bits. Gaussians are sorted along a space-filling
curve; q, or its difference to the channel before, to the Gaussian before or to both, is split into byte planes, which deflate
compresses. Sizes and errors: docs/results.md, "The page".
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chronosplat.scenes import normalize

POSITION_BITS = (13, 24)  # fewest and most; more than the fewest where Gaussians are small beside the bounding box
QUAT_BITS = 9
FINEST = 0.05  # largest step of a position, in the axes of the smallest Gaussians
MORTON_BITS = 10
LEVEL, TRIAL = 6, 1  # of deflate

Integers = NDArray[np.uint32]


@dataclass(frozen=True)
class Place:
    """Where the page puts a channel on the GPU: a 32-bit word of a Gaussian's record, and a shift in it."""

    word: int
    shift: int = 0


@dataclass(frozen=True)
class Channel:
    """One number per Gaussian.

    Attributes:
        values: [N] integers below 2^bits. low, step: what they mean.
        place: on the GPU. row: of the page's table of ``low`` and ``step``; -1: the shader needs neither.
        is_alike: whether the channel before has the same bits and meaning, such as another colour.
    """

    values: Integers
    bits: int
    place: Place
    row: int = -1
    low: float = 0.0
    step: float = 0.0
    is_alike: bool = False


def quantised(values: Tensor, bits: int, places: Sequence[Place], row: int) -> list[Channel]:
    """Quantise values [N, C] between their extremes, which the channels share; rows count up from ``row``."""
    x = values.double().cpu().numpy()
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    step = (high - low) / (2**bits - 1)
    whole = np.rint((x - low) / step) if step > 0 else np.zeros_like(x)
    whole = whole.clip(0, 2**bits - 1).astype(np.uint32)
    return [Channel(whole[:, k], bits, place, row + k, low, step, k > 0) for k, place in enumerate(places)]


def integers(values: Tensor, bits: int, place: Place) -> Channel:
    """Keep integers [N] below 2^bits."""
    return Channel(values.cpu().numpy().astype(np.uint32), bits, place)


def position_bits(means: Tensor, scales: Tensor) -> int:
    """Bits of a coordinate, so that a step is small beside the smallest twentieth of the Gaussians."""
    if not len(means):
        return POSITION_BITS[0]
    extent = float((means.amax(0) - means.amin(0)).max())
    smallest = float(np.quantile(scales.amax(-1).double().cpu().numpy(), 0.05))
    needed = np.ceil(np.log2(max(extent / max(FINEST * smallest, 1e-30), 1.0)))
    return int(np.clip(needed, *POSITION_BITS))


def signed_root(values: Tensor) -> Tensor:
    """The square root with the value's sign: fine steps near zero, whatever the largest value."""
    return values.sign() * values.abs().sqrt()


def quat_channels(quats: Tensor, word: int) -> list[Channel]:
    """Quaternions [N, 4] in 29 bits: the index of the largest component, and the other three with its sign positive."""
    unit = normalize(quats.double())
    largest = unit.abs().argmax(-1, keepdim=True)
    unit = unit * unit.gather(-1, largest).sign()
    others = torch.stack([unit.gather(-1, (largest + k) % 4)[:, 0] for k in (1, 2, 3)], -1)
    whole = ((others * 0.5**0.5 + 0.5) * (2**QUAT_BITS - 1)).round().long()  # components are within 1 / sqrt 2
    parts = [integers(whole[:, k], QUAT_BITS, Place(word, QUAT_BITS * k)) for k in range(3)]
    return [*parts, integers(largest[:, 0], 2, Place(word, 3 * QUAT_BITS))]


def curve_order(means: Tensor) -> Tensor:
    """The order [N] of positions [N, 3] along a Morton curve: neighbours in space become neighbours in the file."""
    if not len(means):
        return torch.zeros(0, dtype=torch.long)
    low, high = means.amin(0), means.amax(0)
    cells = ((means - low) / (high - low).clamp_min(1e-30) * (2**MORTON_BITS - 1)).long()
    code = torch.zeros(len(means), dtype=torch.long)
    for bit in range(MORTON_BITS):
        for axis in range(3):
            code |= ((cells[:, axis].cpu() >> bit) & 1) << (3 * bit + axis)
    return code.argsort(stable=True)


def packed(channels: list[Channel]) -> tuple[list[list[float]], bytes]:
    """Return [bits, word, shift, differences, row, low, step] of each channel, and the compressed bytes.

    ``differences`` is the sum of 1: to the Gaussian before, and 2: to the channel before; whichever compresses best.
    """
    described: list[list[float]] = []
    planes: list[bytes] = []
    before = np.zeros(0, np.uint32)
    for channel in channels:
        ways = range(4 if channel.is_alike else 2)
        candidates = [_planes(_differences(channel.values, before, channel.bits, way), channel.bits) for way in ways]
        best = min(ways, key=lambda way: len(zlib.compress(candidates[way], TRIAL)))
        planes.append(candidates[best])
        before = channel.values
        described.append([channel.bits, channel.place.word, channel.place.shift, best, channel.row, channel.low, channel.step])
    return described, zlib.compress(b"".join(planes), LEVEL)


def _planes(values: Integers, bits: int) -> bytes:
    """Bytes of equal significance side by side, the lowest first."""
    return b"".join((values >> np.uint32(shift)).astype(np.uint8).tobytes() for shift in range(0, bits, 8))


def _differences(values: Integers, before: Integers, bits: int, way: int) -> Integers:
    """Differences modulo 2^bits as zigzag integers: 0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""
    if way == 0:
        return values
    whole = values.astype(np.int64)
    whole = whole - before if way & 2 else whole
    whole = np.diff(whole, prepend=0) if way & 1 else whole
    wrapped = whole & ((1 << bits) - 1)
    signed = np.where(wrapped >= 1 << (bits - 1), wrapped - (1 << bits), wrapped)
    return np.where(signed < 0, -2 * signed - 1, 2 * signed).astype(np.uint32)


def floats(values: Tensor) -> str:
    """A tensor as little-endian float32, compressed, in base64."""
    return text_of(zlib.compress(values.detach().cpu().float().contiguous().numpy().astype("<f4", copy=False).tobytes(), LEVEL))


def text_of(data: bytes) -> str:
    """Bytes in base64."""
    return base64.b64encode(data).decode("ascii")
