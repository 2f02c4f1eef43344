"""Geometry of one glTF primitive: triangles, skin weights and morph targets, with sizes checked and defects repaired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chronosplat.assets.gltf import Array, GltfFile
from chronosplat.assets.instancing import instance_count
from chronosplat.assets.mesh import Floats, Ints, unit, vertex_normals
from chronosplat.assets.repairs import Repairs

VERTICES_MOST = 4_000_000  # of all primitives in the scene; a mesh counts as often as it is shown
INDICES_MOST = 24_000_000
MORPHED_MOST = 32_000_000  # vertices times morph targets
LOOSE_SUM = 0.02  # skin weights whose sum is further from one were not meant to be normalised; 8-bit ones are within 0.016


@dataclass
class Morph:
    """Morph targets of one primitive: displacements [targets, rows, 3] of ``rows`` of the vertex table."""

    node: int
    rows: slice
    positions: Array
    normals: Array
    rest: Array

    def repeated(self, copies: int) -> Morph:
        """Return the targets of a primitive that is shown several times, one after the other."""
        rows = slice(self.rows.start, self.rows.start + copies * (self.rows.stop - self.rows.start))
        positions, normals = (np.tile(columns, (1, copies, 1)) for columns in (self.positions, self.normals))
        return Morph(self.node, rows, positions, normals, self.rest)


def check_size(file: GltfFile, nodes: list[int]) -> None:
    """Refuse scenes that would not fit into the memory, before their geometry is read.

    Raises:
        InputError: too many vertices, indices or morphed vertices.
    """
    vertices, indices, morphed = 0, 0, 0
    for node in nodes:
        if (mesh := file.items("nodes")[node].get("mesh")) is None:
            continue
        copies = instance_count(file, node)
        for primitive in file.items("meshes")[mesh]["primitives"]:
            attributes = primitive["attributes"]
            count = copies * max(file.count(attributes["POSITION"]), 1) if "POSITION" in attributes else 0
            vertices += count
            indices += copies * file.count(primitive["indices"]) if "indices" in primitive else count
            morphed += count * len(primitive.get("targets", []))
    for name, found, most in (
        ("vertices", vertices, VERTICES_MOST),
        ("indices", indices, INDICES_MOST),
        ("morphed vertices", morphed, MORPHED_MOST),
    ):
        if found > most:
            raise file.error(f"has {found:,} {name}; at most {most:,} are read; simplify the model")


def triangles(file: GltfFile, primitive: dict[str, Any]) -> Array | None:
    """Return the triangles [M, 3] of a list, strip or fan; None for points and lines."""
    mode = primitive.get("mode", 4)
    if mode not in (4, 5, 6) or "POSITION" not in primitive["attributes"]:
        return None
    count = file.count(primitive["attributes"]["POSITION"])
    index = file.accessor(primitive["indices"])[:, 0].astype(np.int64) if "indices" in primitive else np.arange(count)
    if index.max(initial=-1) >= count or index.min(initial=0) < 0:
        raise file.error(f"damaged: a face uses vertex {index.max()} of {count}")
    k = np.arange(max(len(index) - 2, 0))
    if mode == 5:  # every other triangle of a strip has the opposite winding
        faces = np.stack([index[k], index[k + 1 + (k & 1)], index[k + 2 - (k & 1)]], 1)
    elif mode == 6:
        faces = np.stack([np.full(len(k), index[0] if len(k) else 0), index[k + 1], index[k + 2]], 1)
    else:
        return index[: len(index) // 3 * 3].reshape(-1, 3)
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (c != a)]  # strips are joined by triangles without area


def rest_normals(file: GltfFile, attributes: dict[str, int], positions: Array, faces: Array, repairs: Repairs) -> Floats:
    """Return unit normals [P, 3]; those that are missing or have no direction come from the faces, by area."""
    given = np.zeros((len(positions), 3))
    if "NORMAL" in attributes:
        given = file.attribute(attributes, "NORMAL", len(positions), 3)
    normals = unit(np.where(np.isfinite(given).all(1, keepdims=True), given, 0.0))
    lost = ~(np.abs(normals).max(1) > 0)
    if lost.any():
        normals[lost] = vertex_normals(positions.astype(np.float32), faces.astype(np.int32))[lost]
        repairs.add("vertices without normals; computed from the faces", int(lost.sum()))
    return normals


def skin_weights(file: GltfFile, attributes: dict[str, int], count: int, joints: int, repairs: Repairs) -> tuple[Ints, Floats]:
    """Return joint indices and weights of a skinned primitive, both [count, influences]; weights sum to one."""
    sets = [k for k in range(4) if f"JOINTS_{k}" in attributes]
    index = np.concatenate([file.attribute(attributes, f"JOINTS_{k}", count) for k in sets], 1).astype(np.int64)
    if index.max(initial=0) >= joints or index.min(initial=0) < 0:
        raise file.error(f"damaged: a vertex uses joint {index.max()} of {joints}")
    weights = np.concatenate([file.attribute(attributes, f"WEIGHTS_{k}", count) for k in sets], 1)
    if weights.shape != index.shape:
        raise file.error(f"damaged: {weights.shape[1]} weights for {index.shape[1]} joints of a vertex")
    return index.astype(np.int32), repaired_weights(weights, repairs)


def repaired_weights(weights: Array, repairs: Repairs) -> Floats:
    """Normalise weights to sum to one; NaN and negative ones become zero, and a vertex without weights follows its first joint."""
    finite = np.isfinite(weights)
    repairs.add("vertices with NaN skin weights repaired", int((~finite).any(1).sum()))
    repairs.add("vertices with negative skin weights repaired", int((finite & (weights < 0)).any(1).sum()))
    weights = np.where(finite & (weights > 0), weights, 0.0)
    total = weights.sum(1)
    repairs.add(
        "vertices with skin weights that do not sum to one; normalised", int((finite.all(1) & (np.abs(total - 1) > LOOSE_SUM)).sum())
    )
    weights[~(total > 0), 0] = 1
    weights /= weights.max(1, keepdims=True)  # so that the sum of very large ones is finite
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def read_morph(file: GltfFile, node: int, mesh: dict[str, Any], targets: list[dict[str, int]], rows: slice) -> Morph:
    """Read the morph targets of a primitive, and their weights at rest."""
    count = rows.stop - rows.start

    def column(name: str) -> Array:
        stacked = np.zeros((len(targets), count, 3), np.float32)
        for displacement, target in zip(stacked, targets, strict=True):
            if name in target:
                if file.count(target[name]) != count:
                    raise file.error(f"damaged: a morph target has {file.count(target[name])} elements for {count} vertices")
                displacement[:] = file.finite(target[name], f"a morph target's {name}", 3)
        return stacked

    rest = np.array(file.items("nodes")[node].get("weights", mesh.get("weights", [0.0] * len(targets))), float)
    if rest.shape != (len(targets),) or not np.isfinite(rest).all():
        raise file.error(f"damaged: {rest.size} weights for {len(targets)} morph targets")
    return Morph(node, rows, column("POSITION"), column("NORMAL"), rest)
