"""What a glTF scene shows at which times: nodes with their transforms, and the animation of their visibility."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chronosplat.assets.gltf import GltfFile
from chronosplat.cameras import Similarity
from chronosplat.events import Events, info
from chronosplat.scenes import SPLAT_SHAPES, Gaussians3D, covariances_to_shapes, quats_to_matrices

Array = NDArray[np.float64]
HIDDEN = 1e-6  # a node whose scales are all smaller is not seen
UNIFORM = 1e-6  # relative deviation from a similarity that is taken for rounding
MOST_SAMPLES = 50_000_000  # nodes times key times of a file that is read


@dataclass(frozen=True)
class Shown:
    """A primitive that is visible, and its matrix [4, 4] to the scene's coordinates."""

    primitive: dict[str, Any]
    matrix: Array


@dataclass(frozen=True)
class ShownAt:
    """What is visible from a time on, until the next one."""

    seconds: float
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class _Leaf:
    """A node with a mesh, and the nodes from the root down to it."""

    chain: tuple[int, ...]
    primitives: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class _Track:
    """Key times [K] and scales [K, 3] of a node."""

    times: Array
    scales: Array

    def at(self, seconds: Array) -> Array:
        """The scale [T, 3] at or before each time; the first one earlier."""
        return self.scales[(np.searchsorted(self.times, seconds, side="right") - 1).clip(0)]


def shown_at_times(file: GltfFile, wanted: Callable[[dict[str, Any]], bool], events: Events) -> list[ShownAt]:
    """Return what is visible at each time at which that changes; one entry at zero for a still file.

    Args:
        wanted: chooses primitives.

    Raises:
        InputError: nothing wanted is in the scene, or nodes form a circle.
    """
    leaves = [leaf for leaf in _leaves(file, wanted) if leaf.primitives]
    if not leaves:
        raise file.error("holds no Gaussian splats (KHR_gaussian_splatting)")
    tracks = _tracks(file, {node for leaf in leaves for node in leaf.chain}, events)
    times = np.unique(np.concatenate([[0.0], *(track.times for track in tracks.values())]))
    if len(times) * len(leaves) > MOST_SAMPLES:
        raise file.error(f"{len(times)} times of {len(leaves)} nodes are more than this reader takes")
    scales = {node: track.at(times) for node, track in tracks.items()}
    seen = np.stack([_visible(leaf, scales, len(times), file) for leaf in leaves], 1)  # [T, leaves]
    changes = [0, *(np.flatnonzero((seen[1:] != seen[:-1]).any(1)) + 1)]
    frames = [_shown(file, leaves, seen[index], {n: s[index] for n, s in scales.items()}, float(times[index])) for index in changes]
    return frames


def _shown(file: GltfFile, leaves: list[_Leaf], seen: NDArray[np.bool_], scales: dict[int, Array], seconds: float) -> ShownAt:
    found = []
    for leaf in (leaves[index] for index in np.flatnonzero(seen)):
        matrix = np.eye(4)
        for node in leaf.chain:
            matrix = matrix @ _local(file, node, scales.get(node))
        found += [Shown(primitive, matrix) for primitive in leaf.primitives]
    return ShownAt(seconds, tuple(found))


def _visible(leaf: _Leaf, scales: dict[int, Array], count: int, file: GltfFile) -> NDArray[np.bool_]:
    """At which of the times no node of the chain is scaled to nothing [T]."""
    seen = np.ones(count, bool)
    for node in leaf.chain:
        still = np.array(file.items("nodes")[node].get("scale", (1.0, 1.0, 1.0)), np.float64)[None]
        seen &= (np.abs(scales.get(node, still)) > HIDDEN).any(1)
    return seen


def _leaves(file: GltfFile, wanted: Callable[[dict[str, Any]], bool]) -> list[_Leaf]:
    """The nodes of the default scene that have a mesh."""
    nodes, scenes = file.items("nodes"), file.items("scenes")
    children = {child for node in nodes for child in node.get("children", ())}
    roots = scenes[file.json.get("scene", 0)].get("nodes", []) if scenes else [i for i in range(len(nodes)) if i not in children]
    found, visited, stack = [], set(), [(root,) for root in reversed(roots)]
    while stack:
        chain = stack.pop()
        node = nodes[chain[-1]]
        if chain[-1] in visited:
            raise file.error(f"damaged: node {chain[-1]} is in the scene more than once")
        visited.add(chain[-1])
        stack += [(*chain, child) for child in reversed(node.get("children", []))]
        if "mesh" in node:
            primitives = file.items("meshes")[node["mesh"]]["primitives"]
            found.append(_Leaf(chain, tuple(primitive for primitive in primitives if wanted(primitive))))
    return found


def _tracks(file: GltfFile, nodes: set[int], events: Events) -> dict[int, _Track]:
    """The scales over time of some nodes, in the first animation; other motion is left out, with a notice."""
    tracks: dict[int, _Track] = {}
    animations = file.items("animations")
    other = len(animations) > 1
    for channel in animations[0]["channels"] if animations else ():
        target = channel["target"]
        if target.get("path") != "scale":
            other |= target.get("node") in nodes
        elif target.get("node") in nodes:
            sampler = animations[0]["samplers"][channel["sampler"]]
            times = file.finite(sampler["input"], "an animation")[:, 0]
            scales = file.finite(sampler["output"], "an animation")
            scales = scales[1::3] if sampler.get("interpolation") == "CUBICSPLINE" else scales
            if len(times) == 0 or scales.shape != (len(times), 3) or (np.diff(times) <= 0).any() or times[0] < 0:
                raise file.error("damaged: times of an animation do not increase from zero, or fit no scales")
            tracks[target["node"]] = _Track(times, scales)
    if other:
        events.notice(info("animation", f"{file.path}: only the visibility of splats is read; other animation is left out"))
    return tracks


def _local(file: GltfFile, index: int, scale: Array | None) -> Array:
    """The matrix [4, 4] of a node."""
    node = file.items("nodes")[index]
    if "matrix" in node:
        matrix = np.array(node["matrix"], np.float64).reshape(4, 4).T
    else:
        x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
        matrix = np.eye(4)
        matrix[:3, :3] = quats_to_matrices(torch.tensor([w, x, y, z], dtype=torch.float64)).numpy()
        matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)) if scale is None else scale, np.float64).reshape(3)
        matrix[:3, 3] = np.array(node.get("translation", (0, 0, 0)), np.float64).reshape(3)
    if not np.isfinite(matrix).all():
        raise file.error(f"damaged: the transform of node {index} holds NaN or infinities")
    return matrix


def transformed(gaussians: Gaussians3D, matrix: Array) -> Gaussians3D:
    """Move Gaussians by any affine matrix [4, 4]; exactly for similarities, through the covariances for others."""
    linear, shift = torch.from_numpy(matrix[:3, :3]), torch.from_numpy(matrix[:3, 3])
    determinant = float(torch.linalg.det(linear))
    scale = abs(determinant) ** (1 / 3)
    square = linear @ linear.T
    if determinant > 0 and torch.allclose(square, torch.eye(3, dtype=torch.float64) * scale**2, rtol=0, atol=UNIFORM * scale**2):
        return gaussians.with_world(Similarity(scale, linear / scale, shift)).in_world()
    half = linear @ (quats_to_matrices(gaussians.quats.double()) * gaussians.scales.double()[:, None, :])
    quats, scales = covariances_to_shapes(half @ half.transpose(-1, -2))
    means = gaussians.means.double() @ linear.T + shift
    return Gaussians3D(means.float(), quats.float(), scales.float(), gaussians.opacities, gaussians.colors)


def joined(parts: Sequence[Gaussians3D]) -> Gaussians3D:
    """Join sets of Gaussians; none make an empty one."""
    none = Gaussians3D(torch.zeros(0, 3), torch.zeros(0, 4), torch.zeros(0, 3), torch.zeros(0), torch.zeros(0, 3))
    return Gaussians3D(*(torch.cat([getattr(part, name) for part in (none, *parts)]) for name in SPLAT_SHAPES))
