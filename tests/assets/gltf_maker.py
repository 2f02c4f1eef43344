"""Builds small GLB files in memory: accessors, meshes, skins, morph targets and animations."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Json = dict[str, Any]

COMPONENT_OF = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
KIND_OF = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}

SQUARE = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], np.float32)
SQUARE_FACES = np.array([0, 1, 2, 0, 2, 3], np.uint16)


def floats(values: ArrayLike) -> NDArray[np.float32]:
    """An array of float32."""
    return np.asarray(values, np.float32)


def png(pixels: ArrayLike) -> bytes:
    """The PNG of [h, w, 3 or 4] bytes."""
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def pack(document: Json, binary: bytes) -> bytes:
    """A GLB of a JSON document and one binary chunk."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


class GltfMaker:
    """A document that grows; every method returns the index of what it added."""

    def __init__(self) -> None:
        self.json: Json = {"asset": {"version": "2.0"}}
        self.binary = b""

    def add(self, table: str, item: Json) -> int:
        """Append to a top-level array."""
        self.json.setdefault(table, []).append(item)
        return len(self.json[table]) - 1

    def view(self, data: bytes, **extra: Any) -> int:
        """A buffer view on new bytes."""
        start = len(self.binary)
        self.binary += data + b"\0" * (-len(data) % 4)
        return self.add("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(data), **extra})

    def accessor(self, values: ArrayLike, **extra: Any) -> int:
        """A tightly packed accessor of [n] or [n, width]; floats become float32."""
        array = np.asarray(values)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        array = array[:, None] if array.ndim == 1 else array
        item = {"componentType": COMPONENT_OF[array.dtype.name], "count": len(array), "type": KIND_OF[array.shape[1]]}
        return self.add("accessors", {"bufferView": self.view(array.tobytes()), **item, **extra})

    def mesh(self, positions: ArrayLike, faces: ArrayLike | None = None, targets: list[Json] | None = None, **extra: Any) -> int:
        """A mesh of one primitive; capital keys are vertex attributes, others fields of the primitive."""
        attributes = {"POSITION": self.accessor(floats(positions))}
        attributes |= {k: self.accessor(v) for k, v in extra.items() if k.isupper()}
        primitive: Json = {"attributes": attributes, **{k: v for k, v in extra.items() if not k.isupper()}}
        if faces is not None:
            primitive["indices"] = self.accessor(np.asarray(faces, np.uint16))
        if targets:
            primitive["targets"] = [{k: self.accessor(floats(v)) for k, v in target.items()} for target in targets]
        return self.add("meshes", {"primitives": [primitive]})

    def node(self, **fields: Any) -> int:
        """A node."""
        return self.add("nodes", fields)

    def animation(self, name: str | None, *tracks: tuple[int, str, ArrayLike, ArrayLike, str]) -> int:
        """An animation of tracks (node, path, keys, values, interpolation)."""
        samplers, channels = [], []
        for node, path, keys, values, interpolation in tracks:
            item = {"input": self.accessor(floats(keys)), "output": self.accessor(floats(values)), "interpolation": interpolation}
            samplers.append(item)
            channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})
        named = {} if name is None else {"name": name}
        return self.add("animations", {**named, "samplers": samplers, "channels": channels})

    def texture(self, pixels: ArrayLike) -> int:
        """A texture of an embedded PNG."""
        image = self.add("images", {"bufferView": self.view(png(pixels)), "mimeType": "image/png"})
        return self.add("textures", {"source": image})

    def document(self) -> Json:
        """The finished JSON: one buffer, and a scene of all nodes that are nobody's children unless a scene was given."""
        nodes = self.json.get("nodes", [])
        children = {c for n in nodes for c in n.get("children", [])}
        scenes = self.json.get("scenes", [{"nodes": [i for i in range(len(nodes)) if i not in children]}])
        return {**self.json, "scenes": scenes, "buffers": self.json.get("buffers", [{"byteLength": len(self.binary)}])}

    def glb(self) -> bytes:
        """The bytes of the GLB."""
        return pack(self.document(), self.binary)

    def save(self, folder: Path, name: str = "model.glb") -> Path:
        """Write the GLB."""
        path = folder / name
        path.write_bytes(self.glb())
        return path


def two_joint_strip(weights: ArrayLike | None = None) -> GltfMaker:
    """A strip of three pairs of vertices at heights 0, 1, 2; joint 1 sits at height 1 and turns by 90 degrees about z in one second."""
    maker = GltfMaker()
    positions = [(x, y, 0) for y in (0, 1, 2) for x in (-0.5, 0.5)]
    faces = [0, 1, 3, 0, 3, 2, 2, 3, 5, 2, 5, 4]
    given = [(1, 0, 0, 0)] * 2 + [(0.5, 0.5, 0, 0)] * 2 + [(0, 1, 0, 0)] * 2 if weights is None else weights
    joints = np.tile(np.array([0, 1, 0, 0], np.uint8), (6, 1))
    mesh = maker.mesh(positions, faces, JOINTS_0=joints, WEIGHTS_0=floats(given), NORMAL=floats([(0, 0, 1)] * 6))
    inverse = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    inverse[1, 3, 1] = -1  # column-major: the translation stands in the last row
    skin = maker.add("skins", {"joints": [1, 2], "inverseBindMatrices": maker.accessor(inverse.reshape(2, 16))})
    maker.node(mesh=mesh, skin=skin, translation=[9, 9, 9])  # a skinned mesh does not follow its own node
    maker.node(children=[2])
    maker.node(translation=[0, 1, 0])
    half = np.sqrt(0.5)
    maker.animation("bend", (2, "rotation", [0, 1], [(0, 0, 0, 1), (0, 0, half, half)], "LINEAR"))
    return maker


def textured_square(pixels: ArrayLike, **material: Any) -> GltfMaker:
    """A square in the xy plane that faces +z, with a base colour texture whose top-left is the square's top-left."""
    maker = GltfMaker()
    texture = maker.texture(pixels)
    index = maker.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}, **material})
    uv = floats([(0, 1), (1, 1), (1, 0), (0, 0)])
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES, TEXCOORD_0=uv, material=index))
    return maker
