"""Compressed parts of glTF files: Draco (KHR_draco_mesh_compression), meshopt (EXT_ and KHR_meshopt_compression), and Basis textures.

The decoders are packages of the extra ``data``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chronosplat.shapes import InputError, UnavailableError

if TYPE_CHECKING:
    from chronosplat.assets.gltf import GltfFile

DRACO = "KHR_draco_mesh_compression"
MESHOPT = ("KHR_meshopt_compression", "EXT_meshopt_compression")
RATIO_MOST = 1024  # the vertex codec spends at least 2 bits on a byte plane of 256 vertices
INSTALL = "run: pip install 'chronosplat[data]'"
UNPACKED_LENGTH = slice(96, 104)  # in a KTX 2 file: bytes of the largest level after Zstandard, which are allocated; 1 for a pixel
MODES, FILTERS = ("ATTRIBUTES", "TRIANGLES", "INDICES"), ("NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL", "COLOR")


def decoder(module: str, file: GltfFile, method: str) -> Any:
    """Import a decoder.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnavailableError(f"{file.path}: compressed with {method}, and {module} is not installed", INSTALL) from error


def meshopt_of(view: dict[str, Any]) -> dict[str, Any] | None:
    """Return the meshopt extension of a buffer view, None if it is not compressed."""
    extensions = view.get("extensions", {})
    return next((extensions[name] for name in MESHOPT if name in extensions), None)


def unpack_meshopt(file: GltfFile, index: int, length: int, packed: dict[str, Any]) -> bytes:
    """Decompress a buffer view.

    Args:
        length: the bytes that the buffer view states.
        packed: its extension.

    Raises:
        InputError: the compressed bytes are damaged, or do not give ``length`` bytes.
        UnavailableError: meshopt is not installed.
    """
    name = f"buffer view {index}"
    count, stride = file.natural(packed["count"], "count"), file.natural(packed["byteStride"], "byteStride")
    mode, kind = packed["mode"], packed.get("filter", "NONE")
    if count * stride != length or mode not in MODES or kind not in FILTERS:
        raise file.error(f"damaged: {name} has {count} x {stride} bytes of {mode!r}, {kind!r} for a length of {length}")
    if not count:
        return b""
    data = file.part(packed, f"the compressed {name}")
    if length > RATIO_MOST * len(data):
        raise file.error(f"damaged: {name} states {length} bytes, more than its {len(data)} compressed bytes can hold")
    meshopt = decoder("meshopt", file, "meshopt")
    try:
        return meshopt.decode_gltf_buffer(bytes(data), count, stride, mode, kind).tobytes()
    except (ValueError, RuntimeError) as error:
        raise file.error(f"damaged: {name} cannot be decompressed ({error})") from error


def unpack_draco(file: GltfFile, primitive: dict[str, Any]) -> None:
    """Decompress a primitive's Draco mesh, if it has one, and give its accessors their elements.

    Raises:
        InputError: the mesh is damaged, or does not have the attributes and counts that the primitive states.
        UnavailableError: DracoPy is not installed.
    """
    packed = primitive.get("extensions", {}).get(DRACO)
    if packed is None:
        return
    draco = decoder("DracoPy", file, "Draco")
    try:
        mesh = draco.decode(bytes(file.view(packed["bufferView"])[0]))
        columns = {name: mesh.get_attribute_by_unique_id(key)["data"] for name, key in packed["attributes"].items()}
        faces = np.asarray(mesh.faces, np.uint32).reshape(-1, 1)
    except InputError:
        raise
    except Exception as error:  # the package raises its own kinds
        raise file.error(f"damaged: a Draco mesh cannot be decoded ({error})") from error
    for name, values in columns.items():
        file.give(primitive["attributes"][name], values, name)
    if "indices" in primitive:
        file.give(primitive["indices"], faces, "indices")


def is_basis(data: bytes | memoryview) -> bool:
    """Whether an image is a KTX 2 container, which holds Basis textures."""
    return bytes(data[:7]) == b"\xabKTX 20"


def unpack_basis(file: GltfFile, data: bytes | memoryview, most: int) -> NDArray[np.uint8]:
    """Decode a Basis texture (KHR_texture_basisu) to [h, w, 4].

    Args:
        most: pixels that it may have.

    Raises:
        ValueError: it is damaged, has more pixels, or holds no 8-bit colours.
        UnavailableError: opengl-basisu is not installed.
    """
    basis = decoder("opengl_basisu", file, "Basis Universal")
    texture = basis.open(bytes(data))
    if texture.width * texture.height > most:
        raise ValueError(f"{texture.width} x {texture.height} pixels are more than {most}")
    if (length := int.from_bytes(data[UNPACKED_LENGTH], "little")) > 4 * texture.width * texture.height + 64:
        raise ValueError(f"it states {length} bytes for {texture.width} x {texture.height} pixels")
    return texture.transcode(basis.Target.RGBA8).data
