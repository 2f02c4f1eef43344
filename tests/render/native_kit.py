"""Scenes for the native library in fenced memory: an access one byte beyond an array crashes.

Everything here runs in a process of its own, so that a crash is a failed test.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import subprocess
import sys
from ctypes import byref
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chronosplat.render import native

OK, NO_MEMORY, TOO_MANY, NOT_FINITE, BAD_ARGUMENT, BAD_STATE = range(6)
ROOT, PAGE = Path(__file__).parents[2], mmap.PAGESIZE
GAUSSIANS = ("means", "quats", "scales", "covars", "opacities", "colors", "velocities", "time_centers", "time_sigmas")
MOTION = ("velocities", "time_centers", "time_sigmas", "times")
OPTIONS = ("eps2d", "near_plane", "far_plane", "radius_clip", "weight_min", "opacity_min")
WIDTHS = dict(zip(GAUSSIANS, (3, 4, 3, 9, 1, 3, 3, 1, 1), strict=True)) | {"viewmats": 16, "Ks": 9, "times": 1}
NEVER_FINITE = [float("nan"), float("inf"), -float("inf")]


def run_apart(function: str, module: str, timeout: float = 300, room: str = "render") -> None:
    """Call a function without arguments in a fresh process; fails with its last output if it crashes or raises."""
    code = f"import faulthandler; faulthandler.enable(); from tests.{room} import {module}; {module}.{function}()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"


def announce(case: object) -> None:
    """Print the case that comes next: after a crash this is the last line before the trace."""
    print(case, file=sys.stderr, flush=True)


class Fenced:
    """``size`` bytes that end, or begin, at a fence which nobody may touch; less than ``align`` bytes may lie between.

    The fence behind is ``depth`` bytes deep.
    """

    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, size: int, fence_behind: bool = True, align: int = 1, depth: int = PAGE) -> None:
        self.size, room = size, max(1, -(-size // PAGE)) * PAGE
        self.pages = mmap.mmap(-1, PAGE + room + depth)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))
        for start, length in ((base, PAGE), (base + PAGE + room, depth)):
            assert self.libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(length), 0) == 0, os.strerror(ctypes.get_errno())
        self.offset = PAGE + ((room - size) // align * align if fence_behind else 0)
        self.address = base + self.offset

    def view(self, kind: DTypeLike = np.float32) -> NDArray:
        """The bytes as an array of numbers."""
        return np.frombuffer(self.pages, kind, self.size // np.dtype(kind).itemsize, self.offset)

    @staticmethod
    def holding(values: NDArray, fence_behind: bool = True, align: int = 1) -> Fenced:
        """A fenced copy."""
        fenced = Fenced(values.nbytes, fence_behind, align)
        fenced.view(values.dtype)[:] = values.ravel()
        return fenced


@dataclass
class Case:
    """A scene as the library sees it; tests spoil ``numbers`` and ``arrays``.

    Attributes:
        numbers: the fields of SplatScene that are not pointers. arrays: the others, null where missing.
        sizes: what the arrays were made for.
    """

    numbers: dict[str, float]
    arrays: dict[str, Fenced]
    sizes: dict[str, int] = field(default_factory=dict)
    fence_behind: bool = True

    @staticmethod
    def make(seed: int = 0, covars: bool = False, moving: bool = False, fence_behind: bool = True, **sizes: int) -> Case:
        """Ordinary Gaussians before cameras that look along Z."""
        n = {"scenes": 1, "views": 2, "gaussians": 70, "width": 40, "height": 36} | sizes
        g = np.random.default_rng(seed)
        B, V, N = n["scenes"], n["views"], n["gaussians"]
        half = 0.2 * g.normal(size=(B * N, 3, 3))
        fields: dict[str, NDArray] = {
            "means": 0.7 * g.normal(size=(B * N, 3)), "opacities": g.uniform(0, 1, B * N), "colors": g.uniform(0, 1, (B * N, 3)),
            "viewmats": np.tile(np.eye(4), (B * V, 1, 1)), "Ks": np.tile(np.diag([40.0, 40.0, 1.0]), (B * V, 1, 1)),
        }  # fmt: skip
        fields["viewmats"][:, 2, 3], fields["Ks"][:, :2, 2] = 3, 18
        if covars:
            fields["covars"] = half @ half.transpose(0, 2, 1)
        else:
            fields |= {"quats": g.normal(size=(B * N, 4)), "scales": g.uniform(0.02, 0.4, (B * N, 3))}
        if moving:
            fields |= {"velocities": g.normal(size=(B * N, 3)), "time_centers": g.uniform(-1, 1, B * N)}
            fields |= {"time_sigmas": g.uniform(0.2, 2, B * N), "times": g.uniform(-1, 1, B * V)}
        options = dict(zip(OPTIONS, (0.3, 0.01, 1e10, 0.0, 0.0, 0.0), strict=True))
        arrays = {name: Fenced.holding(values.astype(np.float32), fence_behind) for name, values in fields.items()}
        return Case({**n, "threads": 1, "antialiased": 0, **options}, arrays, n, fence_behind)

    def scene(self) -> native.SplatScene:
        pointers = {name: array.address for name, array in self.arrays.items()}
        whole = {name: int(v) for name, v in self.numbers.items() if name not in OPTIONS}
        return native.SplatScene(**{**self.numbers, **whole, **pointers})

    def image(self, seed: int | None = None) -> dict[str, Fenced]:
        """Images of the size that the arrays were made for; random if there is a seed."""
        pixels = self.sizes["scenes"] * self.sizes["views"] * self.sizes["width"] * self.sizes["height"]
        found = {name: Fenced(4 * c * pixels, self.fence_behind) for name, c in (("rgb", 3), ("alpha", 1), ("depth", 1))}
        for array in found.values():
            array.view()[:] = 0 if seed is None else np.random.default_rng(seed).normal(size=array.size // 4)
        return found

    def gradients(self) -> dict[str, Fenced]:
        """Fenced buffers for the gradients of all given arrays."""
        images, count = self.sizes["scenes"] * self.sizes["views"], self.sizes["scenes"] * self.sizes["gaussians"]
        lengths = {name: 4 * WIDTHS[name] * count for name in GAUSSIANS if name in self.arrays} | {"viewmats": 64 * images}
        return {name: Fenced(length, self.fence_behind) for name, length in lengths.items()}


def state_of(block: NDArray, fence_behind: bool = True) -> tuple[Fenced, int]:
    """Copy a state of the forward pass into fenced memory; returns the copy and its length."""
    return Fenced.holding(block, fence_behind, align=64), block.nbytes


def pointers(arrays: dict[str, Fenced]) -> dict[str, int]:
    return {name: array.address for name, array in arrays.items()}


def forward(case: Case, image: dict[str, Fenced], keep: bool = True) -> tuple[int, NDArray]:
    """Status, and the bytes of the state (none without ``keep``)."""
    state = native.SplatState()
    status = native.library().splat_forward(
        byref(case.scene()), byref(native.SplatImage(**pointers(image))), byref(state) if keep else None
    )
    if status or not keep:
        assert (state.block, state.bytes) == (None, 0)
        return status, np.empty(0, np.uint8)
    block = np.frombuffer(ctypes.string_at(state.block, state.bytes), np.uint8).copy()
    native.library().splat_free(state.block)
    return status, block


def backward(
    case: Case, state: tuple[Fenced | None, int], image: dict[str, Fenced], upstream: dict[str, Fenced], found: dict[str, Fenced]
) -> int:
    """Status; the gradients are in ``found``."""
    images = [native.SplatImage(**pointers(i)) for i in (image, upstream)]
    gradients, block = native.SplatGradients(**pointers(found)), native.SplatState(state[0].address if state[0] else None, state[1])
    return native.library().splat_backward(byref(case.scene()), byref(block), byref(images[0]), byref(images[1]), byref(gradients))


def bits(g: np.random.Generator, array: NDArray, finite: bool) -> None:
    """Fill an array with random bits: denormals, infinities and NaN too, unless ``finite``."""
    array[:] = g.integers(0, 2**32, array.size, dtype=np.uint32).view(np.float32)
    small = g.random(array.size) < 0.2
    array[small] = (array[small].view(np.uint32) & np.uint32(0x807FFFFF)).view(np.float32)
    if finite:
        array[~np.isfinite(array)] = 3e38


def used_memory() -> int:
    """Bytes of address space that this process uses."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


__all__ = ["Case", "Fenced", "announce", "backward", "bits", "forward", "pointers", "run_apart", "state_of", "used_memory"]
