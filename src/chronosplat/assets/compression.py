"""Compressed geometry in glTF files: Draco (KHR_draco_mesh_compression) and meshopt (EXT_ and KHR_meshopt_compression).

Both decoders are packages of the extra ``data``. Basis textures (KHR_texture_basisu) are recognised and refused.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from chronosplat.shapes import InputError, UnavailableError

if TYPE_CHECKING:
    from chronosplat.assets.gltf import GltfFile

DRACO = "KHR_draco_mesh_compression"
MESHOPT = ("KHR_meshopt_compression", "EXT_meshopt_compression")
BASIS = "KHR_texture_basisu"
BASIS_REMEDY = "convert its textures to PNG, JPEG or WebP"
RATIO_MOST = 1024  # the vertex codec spends at least 2 bits on a byte plane of 256 vertices
INSTALL = "run: pip install 'chronosplat[data]'"
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


def basis_textures(textures: list[dict[str, Any]]) -> list[int]:
    """Return the textures that have no other image than a Basis one."""
    extensions = [texture.get("extensions", {}) for texture in textures]
    others = [("source" in texture) or "EXT_texture_webp" in more for texture, more in zip(textures, extensions, strict=True)]
    return [i for i, more in enumerate(extensions) if BASIS in more and not others[i]]


def is_basis(data: bytes | memoryview) -> bool:
    """Whether an image is a KTX 2 container or a .basis file, which hold Basis textures."""
    return bytes(data[:7]) == b"\xabKTX 20" or bytes(data[:2]) == b"sB"
