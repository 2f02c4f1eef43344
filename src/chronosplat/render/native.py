"""The native library, found late and called through ctypes."""

from __future__ import annotations

import ctypes
import platform
from ctypes import POINTER, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from chronosplat.shapes import UnavailableError

LIBRARY = Path(__file__).parent.parent / "_native" / "libchronosplat.so"


class SplatScene(ctypes.Structure):
    """Mirror of ``SplatScene`` in native/splat.h."""

    _fields_ = [
        *[(name, c_int32) for name in ("scenes", "views", "gaussians", "width", "height", "threads", "antialiased")],
        *[(name, c_float) for name in ("eps2d", "near_plane", "far_plane", "radius_clip", "weight_min", "opacity_min")],
        *[(name, c_void_p) for name in ("means", "quats", "scales", "covars", "opacities", "colors")],
        *[(name, c_void_p) for name in ("velocities", "time_centers", "time_sigmas", "viewmats", "Ks", "times")],
    ]


class SplatImage(ctypes.Structure):
    """Mirror of ``SplatImage``."""

    _fields_ = [(name, c_void_p) for name in ("rgb", "alpha", "depth")]


class SplatState(ctypes.Structure):
    """Mirror of ``SplatState``."""

    _fields_ = [("block", c_void_p), ("bytes", c_int64)]


class SplatGradients(ctypes.Structure):
    """Mirror of ``SplatGradients``."""

    _fields_ = [
        *[(name, c_void_p) for name in ("means", "quats", "scales", "covars", "opacities", "colors")],
        *[(name, c_void_p) for name in ("velocities", "time_centers", "time_sigmas", "viewmats")],
    ]


@cache
def library() -> ctypes.CDLL:
    """The loaded library.

    Raises:
        UnavailableError: it was not built, or does not fit this machine, with the remedy.
    """
    if not LIBRARY.is_file():
        raise UnavailableError(
            f"the native library is missing at {LIBRARY}; reinstall chronosplat, or run: python native/build.py {LIBRARY}"
        )
    try:
        lib = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise UnavailableError(
            f"the native library does not load on this {platform.machine()} machine ({error}); reinstall chronosplat"
        ) from error
    lib.splat_forward.argtypes = [POINTER(SplatScene), POINTER(SplatImage), POINTER(SplatState)]
    lib.splat_backward.argtypes = [
        POINTER(SplatScene), POINTER(SplatState), POINTER(SplatImage), POINTER(SplatImage), POINTER(SplatGradients),
    ]  # fmt: skip
    lib.splat_free.argtypes = [c_void_p]
    lib.splat_free.restype = None
    return lib


def address(tensor: Tensor | None) -> int | None:
    """The data pointer of a contiguous tensor, or None."""
    return None if tensor is None else tensor.data_ptr()


class _Block:
    """Gives a block of memory back to the library when the last tensor over it is gone."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __del__(self) -> None:
        library().splat_free(self.pointer)


def tensor_over(pointer: int, size: int) -> Tensor:
    """[size] bytes that the library handed out, as a tensor without a copy; the tensor owns them from now on."""
    buffer = (ctypes.c_uint8 * size).from_address(pointer)
    buffer._owner = _Block(pointer)  # pyright: ignore[reportAttributeAccessIssue] - lives as long as the buffer
    return torch.frombuffer(buffer, dtype=torch.uint8)
