"""Reader for glTF 2.0 files: containers, accessors and images.

Reads ``.glb`` and ``.gltf`` with buffers and images embedded or in the same folder. Normalised integers become floats, and
sparse accessors are resolved (glTF 2.0, section 3.6.2).
"""

from __future__ import annotations

import base64
import io
import json
import mmap
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from chronosplat.shapes import InputError

Array = NDArray[Any]
Bytes = bytes | memoryview

COMPONENTS = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
NORMALIZERS = {5120: 127.0, 5121: 255.0, 5122: 32767.0, 5123: 65535.0}
# required extensions that this reader supports, or that do not affect geometry and base colour
SUPPORTED = {
    "EXT_texture_webp", "KHR_gaussian_splatting", "KHR_lights_punctual", "KHR_materials_clearcoat", "KHR_materials_emissive_strength",
    "KHR_materials_ior", "KHR_materials_pbrSpecularGlossiness", "KHR_materials_sheen", "KHR_materials_specular", "KHR_materials_unlit",
    "KHR_mesh_quantization", "KHR_texture_transform",
}  # fmt: skip
# names under which glTF refers to elements of an array by their index
REFERENCES = {
    "attributes", "buffer", "bufferView", "children", "index", "indices", "input", "inverseBindMatrices", "joints", "material", "mesh",
    "node", "nodes", "output", "sampler", "scene", "skeleton", "skin", "source", "targets",
}  # fmt: skip


class GltfFile:
    """A parsed file: its ``json``, and access to accessors, images and buffers.

    Raises:
        InputError: the file is missing, truncated, not glTF 2.0, or requires an unsupported extension.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{path}: no such file")
        data = mapped(self.path)
        self.json, self._binary = self._glb(data) if data[:4] == b"glTF" else (self._parse(data), b"")
        asset, required = self.json.get("asset"), self.json.get("extensionsRequired", [])
        if not isinstance(asset, dict) or not str(asset.get("version", "")).startswith("2"):
            raise self.error("not a glTF 2.0 file (asset.version is missing or not 2.x)")
        if not isinstance(required, list):
            raise self.error("damaged: extensionsRequired is not a list")
        unknown = sorted({str(name) for name in required} - SUPPORTED)
        if unknown:
            raise self.error(f"requires the unsupported extension {', '.join(unknown)}; export without it (compression off)")
        self._check_references(self.json)
        self._buffers: dict[int, Bytes] = {}
        self._accessors: dict[int, Array] = {}

    def error(self, message: str) -> InputError:
        """Return an InputError whose message names this file."""
        return InputError(f"{self.path}: {message}")

    def _glb(self, data: Bytes) -> tuple[dict[str, Any], Bytes]:
        if len(data) < 20:
            raise self.error("truncated: shorter than a GLB header")
        version, length = struct.unpack_from("<II", data, 4)
        if version != 2:
            raise self.error(f"GLB version {version}; expected 2")
        if length > len(data):
            raise self.error(f"truncated: the header promises {length} bytes, the file has {len(data)}")
        chunks: dict[int, Bytes] = {}
        at = 12
        while at + 8 <= length:
            size, kind = struct.unpack_from("<II", data, at)
            if at + 8 + size > length:
                raise self.error("truncated: a chunk runs past the end")
            chunks.setdefault(kind, data[at + 8 : at + 8 + size])
            at += 8 + size
        return self._parse(chunks.get(0x4E4F534A, b"")), chunks.get(0x004E4942, b"")

    def _parse(self, text: Bytes) -> dict[str, Any]:
        try:
            parsed = json.loads(bytes(text))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.error(f"not a glTF file ({error})") from error
        if not isinstance(parsed, dict):
            raise self.error("not a glTF file (its JSON is not an object)")
        return parsed

    def _check_references(self, value: Any, is_reference: bool = False, name: str = "") -> None:
        """Refuse references that are no natural numbers: Python would count -1 from the end and truncate a fraction later."""
        if isinstance(value, dict):
            for key, inner in value.items():
                if key != "extras":
                    self._check_references(
                        inner, key in REFERENCES or name in ("attributes", "targets"), key if key in REFERENCES else name
                    )
        elif isinstance(value, list):
            for inner in value:
                self._check_references(inner, is_reference, name)
        elif is_reference and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise self.error(f"damaged: {name or 'a reference'} {json.dumps(value)} is no index")

    def items(self, name: str) -> list[dict[str, Any]]:
        """Return a top-level array, empty if absent."""
        return self.json.get(name, [])

    def _resource(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            return base64.b64decode(uri.split(",", 1)[1])
        folder = self.path.parent.resolve()
        file = (folder / unquote(uri)).resolve()
        if not file.is_relative_to(folder):
            raise self.error(f"refers to {uri} outside its folder, which is not allowed; copy that file into the folder")
        if not file.is_file():
            raise self.error(f"needs {uri} in the same folder, which is missing")
        return file.read_bytes()

    def _buffer(self, index: int) -> Bytes:
        if index not in self._buffers:
            buffer = self.items("buffers")[index]
            data = self._resource(buffer["uri"]) if "uri" in buffer else self._binary
            if len(data) < buffer["byteLength"]:
                raise self.error(f"truncated: buffer {index} has {len(data)} of {buffer['byteLength']} bytes")
            self._buffers[index] = data
        return self._buffers[index]

    def view(self, index: int) -> tuple[Bytes, int | None]:
        """Return the bytes of a buffer view, and its stride."""
        view = self.items("bufferViews")[index]
        start = view.get("byteOffset", 0)
        return self._buffer(view["buffer"])[start : start + view["byteLength"]], view.get("byteStride")

    def _elements(self, view: int, offset: int, component: int, width: int, count: int) -> Array:
        data, stride = self.view(view)
        dtype = np.dtype(COMPONENTS[component])
        size = dtype.itemsize * width
        stride = stride or size
        if count and offset + stride * (count - 1) + size > len(data):
            raise self.error(f"truncated: an accessor runs past the end of buffer view {view}")
        if count == 0:
            return np.zeros((0, width), dtype)
        if min(offset, count, stride) < 0:
            raise self.error(f"damaged: an accessor of buffer view {view} has a negative offset, count or stride")
        return np.ndarray((count, width), dtype, data, offset, (stride, dtype.itemsize)).copy()

    def accessor(self, index: int) -> Array:
        """Return the elements of an accessor [count, width], and keep them; integers are kept unless normalised."""
        if index not in self._accessors:
            self._accessors[index] = self.decoded(index)
        return self._accessors[index]

    def decoded(self, index: int) -> Array:
        """Return the elements of an accessor without keeping them."""
        try:
            return self._decode(self.items("accessors")[index])
        except (KeyError, IndexError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise self.error(f"accessor {index} is damaged ({error})") from error

    def _decode(self, accessor: dict[str, Any]) -> Array:
        width, component, count = WIDTHS[accessor["type"]], accessor["componentType"], accessor["count"]
        if "bufferView" in accessor:
            values = self._elements(accessor["bufferView"], accessor.get("byteOffset", 0), component, width, count)
        else:
            values = np.zeros((count, width), COMPONENTS[component])
        if sparse := accessor.get("sparse"):
            values, at, new = values.copy(), sparse["indices"], sparse["values"]
            rows = self._elements(at["bufferView"], at.get("byteOffset", 0), at["componentType"], 1, sparse["count"])
            values[rows[:, 0]] = self._elements(new["bufferView"], new.get("byteOffset", 0), component, width, sparse["count"])
        if accessor.get("normalized") and component != 5126:
            values = np.maximum(values / np.float32(NORMALIZERS[component]), -1.0).astype(np.float32)
        return values

    def attribute(self, attributes: dict[str, int], name: str, count: int) -> Array:
        """Return a vertex attribute as float64, NaN and infinities included.

        Raises:
            InputError: the number of elements is not ``count``, the number of vertices.
        """
        values = self.accessor(attributes[name])
        if len(values) != count:
            raise self.error(f"damaged: {name} has {len(values)} elements for {count} vertices")
        return values.astype(np.float64)

    def finite(self, index: int, what: str) -> Array:
        """Return an accessor as float64; raises if it holds NaN or infinities."""
        values = self.accessor(index).astype(np.float64)
        if bad := int((~np.isfinite(values)).sum()):
            raise self.error(f"{what} holds {bad} NaN or infinite values")
        return values

    def image(self, index: int) -> Image.Image:
        """Decode an image to RGBA."""
        image = self.items("images")[index]
        data = self.view(image["bufferView"])[0] if "bufferView" in image else self._resource(image["uri"])
        try:
            return Image.open(io.BytesIO(data)).convert("RGBA")
        except (UnidentifiedImageError, OSError) as error:
            raise self.error(f"image {index} cannot be decoded ({error})") from error


def mapped(path: Path) -> Bytes:
    """The bytes of a file, read when they are used, so that a file larger than the memory can be opened."""
    with path.open("rb") as file:
        empty = not file.seek(0, io.SEEK_END)
        return b"" if empty else memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
