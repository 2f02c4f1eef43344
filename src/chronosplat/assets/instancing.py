"""Meshes that a node shows several times (EXT_mesh_gpu_instancing)."""

from __future__ import annotations

from typing import Any

import numpy as np

from chronosplat.assets.animation import IDENTITY_QUATERNION, compose
from chronosplat.assets.gltf import Array, GltfFile

INSTANCING = "EXT_mesh_gpu_instancing"
REST = {"TRANSLATION": (0.0, 0.0, 0.0), "ROTATION": IDENTITY_QUATERNION, "SCALE": (1.0, 1.0, 1.0)}


def _attributes(file: GltfFile, node: int) -> dict[str, int]:
    """Return the accessors of a node's copies by name; none of a skinned node, which its joints place."""
    facts: dict[str, Any] = file.items("nodes")[node]
    return {} if "skin" in facts else facts.get("extensions", {}).get(INSTANCING, {}).get("attributes", {})


def instance_count(file: GltfFile, node: int) -> int:
    """Return how many times a node shows its mesh.

    Raises:
        InputError: its attributes differ in length.
    """
    counts = {file.count(index) for index in _attributes(file, node).values()} or {1}
    if len(counts) > 1:
        raise file.error(f"damaged: the instances of node {node} have {' and '.join(map(str, sorted(counts)))} elements")
    return counts.pop()


def instances(file: GltfFile, node: int) -> Array:
    """Return where a node shows its mesh, as transforms [n, 4, 4] into the node.

    Raises:
        InputError: an attribute is NaN, or has not the width that it should have.
    """
    attributes, count = _attributes(file, node), instance_count(file, node)
    translation, rotation, scale = (
        file.finite(attributes[name], f"an instance's {name}", len(rest)) if name in attributes else np.tile(rest, (count, 1))
        for name, rest in REST.items()
    )
    return compose(translation, rotation, scale)
