"""What the binary formats share: bytes of a file, bounded inflation, quantisation, and the checks that every reader ends with."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chronosplat.scenes import SPLAT_SHAPES, Gaussians3D, normalize
from chronosplat.shapes import InputError

SH_C0 = 0.28209479177387814  # of spherical harmonics: rgb = 0.5 + SH_C0 f_dc
OPACITY_RIM = 1e-6  # keeps logits finite
SMALLEST_SCALE = 1e-12  # keeps logarithms finite
UNSEEN_SCALE = 1e-4  # of a Gaussian that stands for none
MAX_RATIO = 1040  # of deflate: no byte inflates to more
Array = NDArray[Any]


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        InputError: there is none.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path.read_bytes()


def arrays(scene: Any) -> dict[str, Array]:
    """Return the tensors of Gaussians as float32 arrays by name, with unit quaternions.

    A time at which nothing is visible gives one invisible Gaussian: many readers refuse empty files.
    """
    if scene.num_gaussians == 0:
        zeros = {name: np.zeros((1, *tensor.shape[1:]), np.float32) for name, tensor in scene.tensors().items()}
        return zeros | {"quats": np.eye(4, dtype=np.float32)[:1], "scales": np.full((1, 3), UNSEEN_SCALE, np.float32)}
    found = {name: tensor.detach().cpu().float() for name, tensor in scene.tensors().items()}
    return {name: (normalize(t) if name == "quats" else t).numpy() for name, t in found.items()}


def gaussians(path: Path, **fields: Array) -> Gaussians3D:
    """Build Gaussians from the arrays of a file.

    Args:
        fields: those of ``Gaussians3D``; opacities may lie a little outside [0, 1].

    Raises:
        InputError: NaN, infinities, or negative scales.
    """
    tensors: dict[str, Any] = {name: tensor(path, name, fields[name]) for name in SPLAT_SHAPES}
    if bool((tensors["scales"] < 0).any()):
        raise InputError(f"{path}: damaged, {int((tensors['scales'] < 0).any(1).sum())} Gaussians have negative scales")
    return Gaussians3D(**tensors | {"quats": normalize(tensors["quats"]), "opacities": tensors["opacities"].clamp(0, 1)})


def tensor(path: Path, name: str, values: Array) -> Tensor:
    """Convert an array of a file to a float32 tensor.

    Raises:
        InputError: NaN or infinities.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
    bad = int((~torch.isfinite(found)).sum())
    if bad:
        raise InputError(f"{path}: damaged, {bad} of {found.numel()} values of the {name} are NaN or infinite")
    return found


def unorm(values: Array, bits: int = 8) -> Array:
    """Quantise values in [0, 1] to integers of some bits; values outside are clamped."""
    top = (1 << bits) - 1
    return np.floor(np.clip(values, 0, 1) * top + 0.5).astype(np.uint32)


def smallest_three(quats: Array) -> tuple[Array, Array]:
    """Leave the largest component of unit quaternions [N, 4] out, with the sign that makes it positive.

    Returns:
        Its index [N], and the other three components [N, 3] in order, within +-sqrt(1/2).
    """
    largest = np.abs(quats).argmax(1)
    rows = np.arange(len(quats))
    quats = np.where(quats[rows, largest] < 0, -1, 1)[:, None] * quats
    others = np.arange(4)[None] != largest[:, None]
    return largest, quats[others].reshape(-1, 3)


def from_smallest_three(largest: Array, three: Array) -> Array:
    """Invert :func:`smallest_three`: quaternions [N, 4]."""
    quats = np.zeros((len(three), 4), np.float32)
    quats[np.arange(4)[None] != largest[:, None]] = three.reshape(-1)
    quats[np.arange(len(three)), largest] = np.sqrt(np.maximum(0, 1 - (three.astype(np.float32) ** 2).sum(1)))
    return quats


def morton_order(means: Array) -> Array:
    """Return the order of points [N, 3] along a Z curve, in which neighbours in space stay close."""
    low, high = means.min(0), means.max(0)
    cells = unorm((means - low) / np.maximum(high - low, 1e-30), 10).astype(np.uint64)
    for shift, mask in ((16, 0x30000FF), (8, 0x300F00F), (4, 0x30C30C3), (2, 0x9249249)):
        cells = (cells | cells << np.uint64(shift)) & np.uint64(mask)
    return np.argsort(cells[:, 0] | cells[:, 1] << np.uint64(1) | cells[:, 2] << np.uint64(2), kind="stable")


class Inflater:
    """Unpacks a gzip file piece by piece, so that no more memory is taken than its header announces."""

    def __init__(self, path: Path, data: bytes) -> None:
        """Args: data: the whole file."""
        self.path, self._rest, self._packed = path, data, len(data)
        self._zlib = zlib.decompressobj(wbits=31)

    def take(self, size: int) -> bytes:
        """Return exactly the next bytes.

        Raises:
            InputError: the file is damaged, or holds fewer.
        """
        if size > self._packed * MAX_RATIO:
            raise InputError(f"{self.path}: cut short (it cannot hold the {size} bytes that its header announces)")
        found = self._inflate(size)
        if len(found) < size:
            raise InputError(f"{self.path}: cut short ({len(found)} of {size} bytes)")
        return found

    def finish(self, allow_more: bool) -> None:
        """Check the end of the file, and its checksum where nothing follows.

        Args:
            allow_more: whether further data, which is not read, may follow.
        """
        if not allow_more and (self._inflate(1) or not self._zlib.eof):
            raise InputError(f"{self.path}: damaged, it holds more than its header announces, or its end is missing")

    def _inflate(self, size: int) -> bytes:
        if size == 0:
            return b""
        try:
            found = self._zlib.decompress(self._rest, size)
        except zlib.error as error:
            raise InputError(f"{self.path}: damaged gzip data ({error})") from error
        self._rest = self._zlib.unconsumed_tail
        return found
