"""The native library, found late and called through ctypes."""

from __future__ import annotations

import ctypes
import platform
from ctypes import POINTER, c_float, c_int32, c_void_p
from functools import cache
from pathlib import Path

from torch import Tensor

from chronosplat.shapes import UnavailableError

LIBRARY = Path(__file__).parent.parent / "_native" / "libchronosplat.so"
FLOATS = POINTER(c_float)


class SplatScene(ctypes.Structure):
    """Mirror of ``SplatScene`` in native/splat.h."""

    _fields_ = [
        *[(name, c_int32) for name in ("scenes", "views", "gaussians", "width", "height")],
        *[(name, c_float) for name in ("eps2d", "near_plane", "far_plane")],
        *[(name, c_void_p) for name in ("means", "quats", "scales", "opacities", "colors")],
        *[(name, c_void_p) for name in ("velocities", "time_centers", "time_sigmas", "viewmats", "Ks", "times")],
        ("threads", c_int32),
    ]


class SplatImage(ctypes.Structure):
    """Mirror of ``SplatImage``."""

    _fields_ = [(name, c_void_p) for name in ("rgb", "alpha", "depth")]


class SplatGradients(ctypes.Structure):
    """Mirror of ``SplatGradients``."""

    _fields_ = [
        (name, c_void_p) for name in ("means", "quats", "scales", "opacities", "colors", "velocities", "time_centers", "time_sigmas")
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
    lib.splat_forward.argtypes = [POINTER(SplatScene), POINTER(SplatImage), POINTER(c_void_p)]
    lib.splat_backward.argtypes = [
        POINTER(SplatScene), c_void_p, POINTER(SplatImage), POINTER(SplatImage), POINTER(SplatGradients),
    ]  # fmt: skip
    lib.splat_free.argtypes = [c_void_p]
    lib.splat_free.restype = None
    return lib


def address(tensor: Tensor | None) -> int | None:
    """The data pointer of a contiguous tensor, or None."""
    return None if tensor is None else tensor.data_ptr()
