"""The native library, loaded on first use and called through ctypes."""

from __future__ import annotations

import ctypes
import platform
from ctypes import POINTER, c_double, c_float, c_int32, c_int64, c_void_p
from enum import IntEnum
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from chronosplat.shapes import UnavailableError

LIBRARY = Path(__file__).parent.parent / "_native" / "libchronosplat.so"
ABI_VERSION = 5  # native/abi.h


class Status(IntEnum):
    """Mirror of ``Status`` in native/abi.h."""

    OK = 0
    NO_MEMORY = 1
    TOO_MANY = 2
    NOT_FINITE = 3
    BAD_ARGUMENT = 4
    BAD_STATE = 5


class SplatScene(ctypes.Structure):
    """Mirror of ``SplatScene`` in native/splat.h."""

    _fields_ = [
        *[(name, c_int32) for name in ("scenes", "views", "gaussians", "width", "height", "threads", "antialiased", "shared")],
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


class MeshMaterial(ctypes.Structure):
    """Mirror of ``MeshMaterial`` in native/mesh.h."""

    _fields_ = [
        ("base", c_float * 4), ("emissive", c_float * 3), ("specular", c_float * 3),
        *[(n, c_float) for n in ("metallic", "roughness", "normal_scale", "occlusion", "cutoff")],
        ("textures", c_int32 * 5), ("uv_sets", c_int32 * 5), *[(n, c_int32) for n in ("alpha_mode", "two_sided", "unlit")],
    ]  # fmt: skip


class MeshTexture(ctypes.Structure):
    """Mirror of ``MeshTexture``."""

    _fields_ = [("offset", c_int64), *[(n, c_int32) for n in ("width", "height", "levels", "wrap_u", "wrap_v", "srgb", "nearest")]]


class MeshScene(ctypes.Structure):
    """Mirror of ``MeshScene``."""

    _fields_ = [
        *[(n, c_int32) for n in ("vertices", "faces", "materials", "textures", "lights", "views", "width", "height", "samples")],
        ("uv_sets", c_int32), ("shading", c_int32), ("near_plane", c_float), ("sky", c_float * 3), ("ground", c_float * 3),
        ("texel_count", c_int64),
        *[(n, c_void_p) for n in ("positions", "normals", "uvs", "colors", "indices", "face_materials", "face_parts", "material")],
        *[(n, c_void_p) for n in ("texture", "texels", "light_directions", "light_colors", "viewmats", "Ks", "rgba")],
        *[(n, c_void_p) for n in ("velocities", "depth", "motion", "surface_normals", "parts")],
    ]  # fmt: skip


class ImageTargets(ctypes.Structure):
    """Mirror of ``ImageTargets`` in native/optim.h."""

    _fields_ = [
        *[(n, c_int32) for n in ("views", "width", "height", "images", "full_width", "full_height", "threads", "weighted")],
        *[(n, c_float) for n in ("l1_weight", "alpha_weight")],
        *[(n, c_void_p) for n in ("which", "corners", "rgba", "rgb", "alpha", "weights")],
    ]


class SkinInputs(ctypes.Structure):
    """Mirror of ``SkinInputs``."""

    _fields_ = [
        *[(n, c_int32) for n in ("times", "gaussians", "nodes", "joints", "threads")],
        *[(n, c_void_p) for n in ("means", "quats", "skin_nodes", "skin_weights", "centers", "shifts", "turns")],
    ]


class SkinGradients(ctypes.Structure):
    """Mirror of ``SkinGradients``."""

    _fields_ = [(n, c_void_p) for n in ("means", "quats", "shifts", "turns")]


class AdamGroup(ctypes.Structure):
    """Mirror of ``AdamGroup``."""

    _fields_ = [
        *[(n, c_int64) for n in ("rows", "steps")], *[(n, c_int32) for n in ("columns", "activation")],
        *[(n, c_float) for n in ("lr", "low", "high", "spread")],
        *[(n, c_void_p) for n in ("parameter", "value", "gradient", "first", "second")],
    ]  # fmt: skip


# in the order of chronosplat_struct_sizes in native/dispatch.cpp
MIRRORS = (
    SplatScene, SplatImage, SplatState, SplatGradients, MeshMaterial, MeshTexture, MeshScene,
    ImageTargets, SkinInputs, SkinGradients, AdamGroup,
)  # fmt: skip


@cache
def library() -> ctypes.CDLL:
    """Load the native library and check that its ABI matches this file.

    Raises:
        UnavailableError: the library is missing, does not load on this machine, or has another ABI.
    """
    remedy = f"reinstall chronosplat, or run: python native/build.py {LIBRARY}"
    if not LIBRARY.is_file():
        raise UnavailableError(f"native library: {LIBRARY} is missing; {remedy}")
    try:
        lib = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise UnavailableError(f"native library: does not load on this {platform.machine()} machine ({error}); {remedy}") from error
    if difference := abi_difference(lib):
        raise UnavailableError(f"native library: {LIBRARY} is a stale build ({difference}); {remedy}")
    lib.splat_forward.argtypes = [POINTER(SplatScene), POINTER(SplatImage), POINTER(SplatState)]
    lib.splat_backward.argtypes = [
        POINTER(SplatScene), POINTER(SplatState), POINTER(SplatImage), POINTER(SplatImage), POINTER(SplatGradients),
    ]  # fmt: skip
    lib.splat_free.argtypes = [c_void_p]
    lib.splat_free.restype = None
    lib.mesh_render.argtypes = [POINTER(MeshScene), c_int32]
    lib.image_loss.argtypes = [POINTER(ImageTargets), c_void_p, c_void_p, POINTER(c_double), c_void_p, c_void_p]
    lib.splat_fit.argtypes = [POINTER(SplatScene), POINTER(ImageTargets), POINTER(c_double), POINTER(SplatGradients)]
    lib.skin_forward.argtypes = [POINTER(SkinInputs), c_void_p, c_void_p]
    lib.skin_backward.argtypes = [POINTER(SkinInputs), c_void_p, c_void_p, POINTER(SkinGradients)]
    lib.adam_step.argtypes = [POINTER(AdamGroup), c_int32, c_float, c_float, c_float, c_int32]
    lib.pair_differences.argtypes = [c_void_p, c_int64, c_int32, c_void_p, c_void_p, c_int64, c_int32, POINTER(c_double), c_void_p]
    return lib


def abi_difference(lib: ctypes.CDLL) -> str:
    """Return the first difference between a library's ABI and the mirrors above; "" if they agree."""
    try:
        version, struct_sizes = lib.chronosplat_abi_version, lib.chronosplat_struct_sizes
    except AttributeError:
        return f"it has no ABI version, expected {ABI_VERSION}"
    if (found := version()) != ABI_VERSION:
        return f"its ABI version is {found}, expected {ABI_VERSION}"
    sizes = (c_int64 * len(MIRRORS))()
    if (count := struct_sizes(sizes, len(MIRRORS))) != len(MIRRORS):
        return f"it has {count} structs, expected {len(MIRRORS)}"
    for mirror, size in zip(MIRRORS, sizes, strict=True):
        if size != ctypes.sizeof(mirror):
            return f"its {mirror.__name__} has {size} bytes, expected {ctypes.sizeof(mirror)}"
    return ""


def address(tensor: Tensor | None) -> int | None:
    """Return the data pointer of a contiguous tensor; None for None."""
    return None if tensor is None else tensor.data_ptr()


class _Block:
    """Returns a block of memory to the library when it is garbage collected."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __del__(self) -> None:
        library().splat_free(self.pointer)


def tensor_over(pointer: int, size: int) -> Tensor:
    """Wrap ``size`` bytes of the library's memory in a uint8 tensor that owns them, without a copy."""
    buffer = (ctypes.c_uint8 * size).from_address(pointer)
    buffer._owner = _Block(pointer)  # pyright: ignore[reportAttributeAccessIssue] - lives as long as the buffer
    return torch.frombuffer(buffer, dtype=torch.uint8)
