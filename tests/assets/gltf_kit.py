"""Files and error messages that the glTF tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronosplat.assets.gltf import GltfFile
from chronosplat.assets.model import GltfModel
from chronosplat.shapes import InputError
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, floats, two_joint_strip


def square() -> GltfMaker:
    """A file of one square."""
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES))
    return maker


def opened(maker: GltfMaker, folder: Path) -> GltfFile:
    """The saved file, opened."""
    return GltfFile(maker.save(folder))


def refusal(path: Path) -> str:
    """The message with which a model is refused; it must be one line that names the file."""
    with pytest.raises(InputError) as caught:
        GltfModel(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def written(folder: Path, data: bytes, name: str = "model.glb") -> Path:
    """A file of the given bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


def loose(maker: GltfMaker, uri: str) -> bytes:
    """The JSON form with its buffer at a URI."""
    return json.dumps({**maker.document(), "buffers": [{"byteLength": len(maker.binary), "uri": uri}]}).encode()


def sparse(maker: GltfMaker, indices: list[int], values: np.ndarray) -> dict[str, Any]:
    """The sparse part of an accessor."""
    where = {"bufferView": maker.view(np.array(indices, np.uint16).tobytes()), "componentType": 5123}
    return {"count": len(indices), "indices": where, "values": {"bufferView": maker.view(floats(values).tobytes())}}


def full() -> GltfMaker:
    """A file that uses every kind of reference."""
    maker = two_joint_strip()
    texture = maker.texture([[(255, 0, 0)]])
    material = maker.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}})
    maker.json["meshes"][0]["primitives"][0]["material"] = material
    maker.json["scene"] = 0
    return maker


REFERENCES = [
    ("scene",),
    ("scenes", 0, "nodes", 0),
    ("nodes", 1, "children", 0),
    ("nodes", 0, "mesh"),
    ("nodes", 0, "skin"),
    ("skins", 0, "joints", 1),
    ("skins", 0, "inverseBindMatrices"),
    ("meshes", 0, "primitives", 0, "material"),
    ("meshes", 0, "primitives", 0, "indices"),
    ("meshes", 0, "primitives", 0, "attributes", "POSITION"),
    ("meshes", 0, "primitives", 0, "attributes", "WEIGHTS_0"),
    ("accessors", 0, "bufferView"),
    ("bufferViews", 0, "buffer"),
    ("materials", 0, "pbrMetallicRoughness", "baseColorTexture", "index"),
    ("textures", 0, "source"),
    ("images", 0, "bufferView"),
    ("animations", 0, "channels", 0, "sampler"),
    ("animations", 0, "channels", 0, "target", "node"),
    ("animations", 0, "samplers", 0, "input"),
    ("animations", 0, "samplers", 0, "output"),
]
