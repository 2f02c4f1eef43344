"""Reader for glTF 2.0 files: containers, accessors and images.

Reads ``.glb`` and ``.gltf`` with buffers and images embedded or in the same folder. Normalised integers become floats, and
sparse accessors are resolved (glTF 2.0, section 3.6.2). Sizes that a file states are checked against the bytes that it has
before anything is allocated.
"""

from __future__ import annotations

import base64
import io
import json
import mmap
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chronosplat.assets import compression
from chronosplat.shapes import InputError, UnavailableError

Array = NDArray[Any]
Bytes = bytes | memoryview

COMPONENTS = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
NORMALIZERS = {5120: 127.0, 5121: 255.0, 5122: 32767.0, 5123: 65535.0}
DECODED_MOST = 1 << 31  # bytes that the accessors of one file may decode to, however often they read the same bytes
ZEROS_MOST = 1 << 26  # numbers of an accessor without data of its own
PIXELS_MOST = 1 << 27  # of one image
IMAGES_MOST = 512
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP")
# required extensions that this reader supports, or that do not affect geometry and base colour
SUPPORTED = {
    "EXT_mesh_gpu_instancing", "EXT_meshopt_compression", "EXT_texture_webp", "KHR_draco_mesh_compression", "KHR_gaussian_splatting",
    "KHR_lights_punctual",
    "KHR_materials_anisotropy", "KHR_materials_clearcoat", "KHR_materials_dispersion", "KHR_materials_emissive_strength",
    "KHR_materials_ior", "KHR_materials_iridescence", "KHR_materials_pbrSpecularGlossiness", "KHR_materials_sheen",
    "KHR_materials_specular", "KHR_materials_transmission", "KHR_materials_unlit", "KHR_materials_variants", "KHR_materials_volume",
    "KHR_mesh_quantization", "KHR_meshopt_compression", "KHR_texture_basisu", "KHR_texture_transform", "KHR_xmp_json_ld",
}  # fmt: skip
TABLES = (
    "accessors", "animations", "buffers", "bufferViews", "images", "materials", "meshes", "nodes", "samplers", "scenes", "skins",
    "textures",
)  # fmt: skip
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
            raise self.error(f"requires the unsupported extension {', '.join(unknown)}; export without it")
        for table in TABLES:
            rows = self.json.get(table, [])
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise self.error(f"damaged: {table} is not a list of objects")
        self._check_references()
        self._buffers: dict[int, Bytes] = {}
        self._views: dict[int, Bytes] = {}
        self._accessors: dict[int, Array] = {}
        self._decoded_bytes, self._images = 0, 0

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
        except (ValueError, RecursionError) as error:
            raise self.error(f"not a glTF file ({error})") from error
        if not isinstance(parsed, dict):
            raise self.error("not a glTF file (its JSON is not an object)")
        return parsed

    def _check_references(self) -> None:
        """Refuse references that are no natural numbers: Python would count -1 from the end and truncate a fraction later."""
        pending: list[tuple[Any, bool, str]] = [(self.json, False, "")]
        while pending:
            value, is_reference, name = pending.pop()
            if isinstance(value, dict):
                for key, inner in value.items():
                    if key != "extras":
                        inside = name in ("attributes", "targets")
                        pending.append((inner, key in REFERENCES or inside, key if key in REFERENCES else name))
            elif isinstance(value, list):
                pending += [(inner, is_reference, name) for inner in value]
            elif is_reference:
                self.natural(value, name or "a reference")

    def natural(self, value: Any, name: str) -> int:
        """Return an index, count or offset of the file; refuses anything but natural numbers."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            problem = "is negative" if is_number and value < 0 else "is not a natural number"
            raise self.error(f"damaged: {name} {json.dumps(value)} {problem}")
        return value

    def items(self, name: str) -> list[dict[str, Any]]:
        """Return a top-level array, empty if absent."""
        return self.json.get(name, [])

    def _resource(self, uri: str) -> Bytes:
        if uri.startswith("data:"):
            head, _, body = uri.partition(",")
            return base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)
        folder = self.path.parent.resolve()
        try:
            file = (folder / unquote(uri)).resolve()
            is_inside, is_file = file.is_relative_to(folder), file.is_file()
        except (OSError, RuntimeError, ValueError) as error:  # a name too long, a loop of links, a null character
            raise self.error(f"refers to {uri[:80]!r}, which is no file name ({error})") from error
        if not is_inside:
            raise self.error(f"refers to {uri} outside its folder, which is not allowed; copy that file into the folder")
        if not is_file:
            raise self.error(f"needs {uri[:80]} in the same folder, which is missing")
        return mapped(file)

    def buffer(self, index: int) -> Bytes:
        """Return the bytes of a buffer."""
        if index not in self._buffers:
            buffer = self.items("buffers")[index]
            data, length = self._resource(buffer["uri"]) if "uri" in buffer else self._binary, buffer["byteLength"]
            if len(data) < self.natural(length, "byteLength"):
                raise self.error(f"truncated: buffer {index} has {len(data)} of {length} bytes")
            self._buffers[index] = data
        return self._buffers[index]

    def part(self, view: dict[str, Any], name: str) -> Bytes:
        """Return the bytes of a buffer that ``view`` names by its buffer, byteOffset and byteLength."""
        data = self.buffer(view["buffer"])
        start, length = self.natural(view.get("byteOffset", 0), "byteOffset"), self.natural(view["byteLength"], "byteLength")
        if start + length > len(data):
            raise self.error(f"damaged: {name} runs past the end of its buffer, to byte {start + length} of {len(data)}")
        return data[start : start + length]

    def view(self, index: int) -> tuple[Bytes, int | None]:
        """Return the bytes of a buffer view, decompressed, and its stride."""
        view = self.items("bufferViews")[index]
        if index not in self._views:
            packed = compression.meshopt_of(view)
            if packed is None:
                self._views[index] = self.part(view, f"buffer view {index}")
            else:
                self._views[index] = compression.unpack_meshopt(self, index, self.natural(view["byteLength"], "byteLength"), packed)
                self._hold(len(self._views[index]))
        return self._views[index], view.get("byteStride")

    def _elements(self, view: int, offset: int, component: int, width: int, count: int) -> Array:
        data, stride = self.view(view)
        dtype = np.dtype(COMPONENTS[component])
        size = dtype.itemsize * width
        stride, offset = self.natural(stride or size, "byteStride"), self.natural(offset, "byteOffset")
        if stride < size:
            raise self.error(f"damaged: buffer view {view} has elements of {size} bytes every {stride} bytes")
        if count and offset + stride * (count - 1) + size > len(data):
            raise self.error(f"truncated: an accessor runs past the end of buffer view {view}")
        if count == 0:
            return np.zeros((0, width), dtype)
        return np.ndarray((count, width), dtype, data, offset, (stride, dtype.itemsize)).copy()

    def count(self, index: int) -> int:
        """Return how many elements an accessor states to have."""
        return self.natural(self.items("accessors")[index]["count"], "count")

    def _hold(self, size: int) -> None:
        """Count bytes that stay in memory."""
        self._decoded_bytes += size
        if self._decoded_bytes > DECODED_MOST:
            raise self.error(f"decodes to more than {DECODED_MOST >> 30} GiB; split or simplify the model")

    def accessor(self, index: int) -> Array:
        """Return the elements of an accessor [count, width], and keep them; integers are kept unless normalised."""
        if index not in self._accessors:
            values = self.decoded(index)
            self._hold(values.nbytes)
            self._accessors[index] = values
        return self._accessors[index]

    def give(self, index: int, values: Any, name: str) -> None:
        """Set the elements of an accessor that the file holds in another form, such as a Draco mesh."""
        accessor, values = self.items("accessors")[index], np.asarray(values)
        stated, component = (self.count(index), WIDTHS[accessor["type"]]), accessor["componentType"]
        if values.shape != stated:
            raise self.error(f"damaged: its {name} has shape {list(values.shape)}; the accessor states {list(stated)}")
        self._hold(values.nbytes)
        values = values.astype(COMPONENTS[component])
        self._accessors[index] = normalised(values, component) if accessor.get("normalized") else values

    def decoded(self, index: int) -> Array:
        """Return the elements of an accessor without keeping them."""
        try:
            return self._decode(self.items("accessors")[index])
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise self.error(f"accessor {index} is damaged ({error})") from error

    def _decode(self, accessor: dict[str, Any]) -> Array:
        width, component = WIDTHS[accessor["type"]], accessor["componentType"]
        count, dtype = self.natural(accessor["count"], "count"), np.dtype(COMPONENTS[component])
        if "bufferView" in accessor:
            values = self._elements(accessor["bufferView"], accessor.get("byteOffset", 0), component, width, count)
        elif count * width > ZEROS_MOST:
            raise self.error(f"an accessor without data has {count} elements; at most {ZEROS_MOST // width} are read")
        else:
            values = np.zeros((count, width), dtype)
        if sparse := accessor.get("sparse"):
            values, at, new = values.copy(), sparse["indices"], sparse["values"]
            changed = self.natural(sparse["count"], "count")
            rows = self._elements(at["bufferView"], at.get("byteOffset", 0), at["componentType"], 1, changed)
            values[rows[:, 0]] = self._elements(new["bufferView"], new.get("byteOffset", 0), component, width, changed)
        return normalised(values, component) if accessor.get("normalized") else values

    def attribute(self, attributes: dict[str, int], name: str, count: int, width: int | None = None) -> Array:
        """Return a vertex attribute as float64, NaN and infinities included.

        Raises:
            InputError: the number of elements is not ``count``, the number of vertices, or each has not ``width`` numbers.
        """
        if (stated := self.count(attributes[name])) != count:
            raise self.error(f"damaged: {name} has {stated} elements for {count} vertices")
        values = self.accessor(attributes[name]).astype(np.float64)
        self._check_width(values, name, width)
        return values

    def _check_width(self, values: Array, name: str, width: int | None) -> None:
        if width is not None and values.shape[1] != width:
            raise self.error(f"damaged: {name} has {values.shape[1]} numbers for each element; expected {width}")

    def finite(self, index: int, what: str, width: int | None = None) -> Array:
        """Return an accessor as float64; raises if it holds NaN or infinities, or not ``width`` numbers for each element."""
        values = self.accessor(index).astype(np.float64)
        self._check_width(values, what, width)
        if bad := int((~np.isfinite(values)).sum()):
            raise self.error(f"{what} holds {bad} NaN or infinite values")
        return values

    def encoded_image(self, index: int) -> Bytes:
        """Return an image as the file holds it."""
        image = self.items("images")[index]
        return self.view(image["bufferView"])[0] if "bufferView" in image else self._resource(image["uri"])

    def image(self, index: int) -> Image.Image:
        """Decode an image to RGBA.

        Raises:
            InputError: it is damaged or too large.
            UnavailableError: it is a Basis texture, and its decoder is not installed.
        """
        self._images += 1
        if self._images > IMAGES_MOST:
            raise self.error(f"uses more than {IMAGES_MOST} images")
        data = self.encoded_image(index)
        try:
            if compression.is_basis(data):
                return Image.fromarray(compression.unpack_basis(self, data, PIXELS_MOST))
            opened = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
            if opened.width * opened.height > PIXELS_MOST:
                raise ValueError(f"{opened.width} x {opened.height} pixels are more than {PIXELS_MOST}")
            return opened.convert("RGBA")
        except UnavailableError:
            raise
        except Exception as error:  # decoders raise SyntaxError, struct.error, EOFError and others on damaged images
            raise self.error(f"image {index} cannot be decoded ({error})") from error


def normalised(values: Array, component: int) -> Array:
    """Convert integers of a component type to floats in [-1, 1]; floats are returned as they are."""
    if component not in NORMALIZERS:
        return values
    return np.maximum(values / np.float32(NORMALIZERS[component]), -1.0).astype(np.float32)


def mapped(path: Path) -> Bytes:
    """The bytes of a file, read when they are used, so that a file larger than the memory can be opened."""
    with path.open("rb") as file:
        empty = not file.seek(0, io.SEEK_END)
        return b"" if empty else memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
