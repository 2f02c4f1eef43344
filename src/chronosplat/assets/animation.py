"""Animation channels, and poses of a node hierarchy (glTF 2.0, appendix C)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from chronosplat.assets.gltf import Array, GltfFile
from chronosplat.assets.repairs import Repairs

IDENTITY_QUATERNION = (0.0, 0.0, 0.0, 1.0)  # glTF's order is xyzw


@dataclass(frozen=True)
class Channel:
    """An animated property of a node: keys [n] in seconds and values [n, width] ([n, 3, width] for cubic splines)."""

    node: int
    path: str
    keys: Array
    values: Array
    interpolation: str

    def at(self, seconds: float) -> Array:
        """Interpolate the value at a time; it is constant before the first and after the last key."""
        cubic = self.interpolation == "CUBICSPLINE"
        k = int(np.searchsorted(self.keys, seconds, side="right")) - 1
        if k < 0 or k >= len(self.keys) - 1:
            edge = self.values[0 if k < 0 else -1]
            return edge[1] if cubic else edge
        if self.interpolation == "STEP":
            return self.values[k]
        step = self.keys[k + 1] - self.keys[k]
        u = (seconds - self.keys[k]) / step
        if cubic:
            u2, u3 = u * u, u * u * u
            value = (2 * u3 - 3 * u2 + 1) * self.values[k, 1] + step * (u3 - 2 * u2 + u) * self.values[k, 2]
            value = value + (3 * u2 - 2 * u3) * self.values[k + 1, 1] + step * (u3 - u2) * self.values[k + 1, 0]
            return unit_quaternions(value) if self.path == "rotation" else value
        if self.path == "rotation":
            return slerp(self.values[k], self.values[k + 1], u)
        return self.values[k] + (self.values[k + 1] - self.values[k]) * u


def slerp(a: Array, b: Array, u: float) -> Array:
    """Interpolate unit quaternions along the shorter arc."""
    cosine = float(a @ b)
    if cosine < 0:
        b, cosine = -b, -cosine
    if cosine > 0.9995:  # nearly equal: linear interpolation, renormalised
        value = a + (b - a) * u
        return unit_quaternions(value)
    angle = np.arccos(cosine)
    return (np.sin((1 - u) * angle) * a + np.sin(u * angle) * b) / np.sin(angle)


def unit_quaternions(q: Array) -> Array:
    """Normalise quaternions [..., 4]; zero becomes the identity."""
    length = np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(length > 1e-12, q / np.maximum(length, 1e-12), IDENTITY_QUATERNION)


def read_channels(file: GltfFile, animation: dict[str, Any], repairs: Repairs) -> list[Channel]:
    """Read the channels of an animation that target a node.

    Raises:
        InputError: keys or values are NaN, or do not fit together.
    """
    channels, read = [], cache(file.finite)
    for channel in animation.get("channels", []):
        target, sampler = channel["target"], animation["samplers"][channel["sampler"]]
        if "node" not in target or target["path"] not in ("translation", "rotation", "scale", "weights"):
            continue
        keys = read(sampler["input"], "an animation's key times", 1)[:, 0]
        values = read(sampler["output"], "an animation's values")
        interpolation = sampler.get("interpolation", "LINEAR")
        rows = (len(keys), 3) if interpolation == "CUBICSPLINE" else (len(keys),)
        width = {"translation": 3, "rotation": 4, "scale": 3}.get(target["path"], -1)
        whole = values.size % max(int(np.prod(rows)), 1) == 0 if width < 0 else values.size == np.prod(rows) * width
        if not len(keys) or not values.size or not whole:
            raise file.error(f"damaged: an animation of {target['path']} has {len(keys)} keys and {values.size} values")
        if not 0 <= target["node"] < len(file.items("nodes")):
            raise file.error(f"damaged: an animation targets node {target['node']}, which does not exist")
        values = values.reshape(*rows, width)
        if (np.diff(keys) < 0).any():
            repairs.add("animation channels with unsorted key times; sorted")
            order = np.argsort(keys, kind="stable")
            keys, values = keys[order], values[order]
        if target["path"] == "rotation" and interpolation != "CUBICSPLINE":
            values = unit_quaternions(values)
        channels.append(Channel(target["node"], target["path"], keys, values, interpolation))
    return channels


class Skeleton:
    """Node hierarchy: rest transforms, parents, and the nodes of the default scene in ``order``, parents before children."""

    def __init__(self, file: GltfFile) -> None:
        nodes = file.items("nodes")
        self.parent = np.full(len(nodes), -1)
        for index, node in enumerate(nodes):
            self.parent[node.get("children", [])] = index
        scenes = file.items("scenes")
        roots = scenes[file.json.get("scene", 0)].get("nodes", []) if scenes else np.flatnonzero(self.parent < 0).tolist()
        seen: set[int] = set()
        self.order = self._walk(file, list(roots), seen)
        self._outside = self._walk(file, [i for i in np.flatnonzero(self.parent < 0).tolist() if i not in seen], seen)
        if len(seen) < len(nodes):  # neither a root nor below one
            raise file.error(f"node {min(set(range(len(nodes))) - seen)} is its own ancestor, or a descendant of such a node")
        column = lambda name, rest: np.array([n.get(name, rest) for n in nodes], float).reshape(len(nodes), len(rest))
        self.translation, self.scale = column("translation", (0, 0, 0)), column("scale", (1, 1, 1))
        self.rotation = column("rotation", IDENTITY_QUATERNION)
        self.matrices = {i: np.array(n["matrix"], float).reshape(4, 4).T for i, n in enumerate(nodes) if "matrix" in n}
        for values in (self.translation, self.rotation, self.scale, *self.matrices.values()):
            if not np.isfinite(values).all():
                raise file.error("damaged: a node's transform is NaN or infinite")

    @staticmethod
    def _walk(file: GltfFile, pending: list[int], seen: set[int]) -> list[int]:
        """Return nodes and their descendants, parents first."""
        order, nodes = [], file.items("nodes")
        while pending:
            index = pending.pop()
            if index in seen:
                raise file.error(f"node {index} is its own ancestor, or occurs twice in the hierarchy")
            seen.add(index)
            order.append(index)
            pending += nodes[index].get("children", [])
        return order

    def pose(self, channels: list[Channel], seconds: float) -> tuple[Array, dict[int, Array]]:
        """Return global transforms [nodes, 4, 4], and animated morph weights by node."""
        translation, rotation, scale = self.translation.copy(), self.rotation.copy(), self.scale.copy()
        properties = {"translation": translation, "rotation": rotation, "scale": scale}
        matrices, weights = dict(self.matrices), {}
        for channel in channels:
            if channel.path == "weights":
                weights[channel.node] = channel.at(seconds)
            else:
                properties[channel.path][channel.node] = channel.at(seconds)
                matrices.pop(channel.node, None)
        local = compose(translation, rotation, scale)
        for index, matrix in matrices.items():
            local[index] = matrix
        world = np.tile(np.eye(4), (len(local), 1, 1))
        for index in (*self.order, *self._outside):  # joints may lie outside the scene
            parent = self.parent[index]
            world[index] = local[index] if parent < 0 else world[parent] @ local[index]
        return world, weights


def compose(translation: Array, rotation: Array, scale: Array) -> Array:
    """Compose translations [n, 3], xyzw quaternions [n, 4] and scales [n, 3] to matrices [n, 4, 4]."""
    x, y, z, w = unit_quaternions(rotation).T
    m = np.zeros((len(translation), 4, 4))
    m[:, 0, 0], m[:, 0, 1], m[:, 0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)
    m[:, 1, 0], m[:, 1, 1], m[:, 1, 2] = 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)
    m[:, 2, 0], m[:, 2, 1], m[:, 2, 2] = 2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)
    m[:, :3, :3] *= scale[:, None, :]
    m[:, :3, 3], m[:, 3, 3] = translation, 1
    return m
