"""Animated glTF models: node, skin and morph animation at any time.

The vertices of all primitives are concatenated. A rigid primitive is skinned to its node with weight one, so that one
blend of matrices poses the whole model.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chronosplat.assets.animation import Channel, Skeleton, read_channels
from chronosplat.assets.gltf import Array, GltfFile
from chronosplat.assets.materials import TextureTable, coordinate_sets, read_material, texture_coordinates
from chronosplat.assets.mesh import Floats, Part, Surface, unit, vertex_normals
from chronosplat.assets.parts import dominant_joints
from chronosplat.shapes import InputError

log = logging.getLogger("chronosplat")


@dataclass(frozen=True)
class Animation:
    """Name and duration in seconds of an animation."""

    name: str
    duration: float


@dataclass
class _Morph:
    """Morph targets of one primitive: displacements [targets, rows, 3] of ``rows`` of the vertex table."""

    node: int
    rows: slice
    positions: Array
    normals: Array
    rest: Array


@dataclass
class _Parts:
    """Columns of the vertex table, one entry per primitive."""

    positions: list[Array] = field(default_factory=list)
    normals: list[Array] = field(default_factory=list)
    uvs: list[Array] = field(default_factory=list)
    colors: list[Array] = field(default_factory=list)
    joints: list[Array] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)
    faces: list[Array] = field(default_factory=list)
    face_materials: list[Array] = field(default_factory=list)
    face_parts: list[Array] = field(default_factory=list)
    parts: dict[Part, int] = field(default_factory=dict)
    morphs: list[_Morph] = field(default_factory=list)
    count: int = 0


class GltfModel:
    """A glTF model with one of its animations.

    Args:
        path: a .glb or .gltf file.
        animation: name or index; the first by default. A model without animations is static.

    Raises:
        InputError: the file is unreadable, has no triangles or not this animation, or geometry or animation are NaN.
    """

    def __init__(self, path: str | Path, animation: str | int = 0) -> None:
        self.file = GltfFile(path)
        try:
            self._read(animation)
        except InputError:
            raise
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self.file.error(f"damaged: a reference is invalid, or a value has the wrong size ({error!r})") from error

    def _read(self, animation: str | int) -> None:
        self.skeleton = Skeleton(self.file)
        self.animations = tuple(self._animation(i, a) for i, a in enumerate(self.file.items("animations")))
        self.name, self.channels, self.duration = self.file.path.stem, [], 0.0
        if self.animations or animation != 0:
            index = self._index(animation)
            self.channels: list[Channel] = read_channels(self.file, self.file.items("animations")[index])
            self.duration = self.animations[index].duration
        self._palette: list[tuple[int, Array]] = []  # (node, inverse bind matrix)
        self._build()

    def _animation(self, index: int, animation: dict[str, Any]) -> Animation:
        ends = [self.file.accessor(s["input"]).max(initial=0) for s in animation.get("samplers", [])]
        return Animation(animation.get("name", f"anim{index}"), float(max(ends, default=0)))

    def _index(self, animation: str | int) -> int:
        names = [a.name for a in self.animations]
        if isinstance(animation, str) and animation in names:
            return names.index(animation)
        if not isinstance(animation, str) and 0 <= animation < len(names):
            return animation
        raise self.file.error(f"no animation {animation!r}; it has {len(names)}: {', '.join(names) or 'none'}")

    def _build(self) -> None:
        parts, table, nodes = _Parts(), TextureTable(self.file), self.file.items("nodes")
        materials = [*self.file.items("materials"), {}]
        for node in self.skeleton.order:
            if "mesh" in nodes[node]:
                mesh = self.file.items("meshes")[nodes[node]["mesh"]]
                for number, primitive in enumerate(mesh["primitives"]):
                    self._add_primitive(parts, node, mesh, number, primitive, materials)
        if not sum(len(faces) for faces in parts.faces):
            raise self.file.error("has no triangles to render")
        influences = max(j.shape[1] for j in parts.joints)
        pad = lambda a: np.pad(a, ((0, 0), (0, influences - a.shape[1])))
        self._joints = np.concatenate([pad(j) for j in parts.joints])
        self._weights = np.concatenate([pad(w) for w in parts.weights]).astype(np.float32)
        self._positions, self._normals = np.concatenate(parts.positions), np.concatenate(parts.normals)
        self._morphs = parts.morphs
        sets = max(uv.shape[1] for uv in parts.uvs)
        self.surface = Surface(
            faces=np.concatenate(parts.faces).astype(np.int32),
            face_materials=np.concatenate(parts.face_materials).astype(np.int32),
            uvs=np.concatenate([np.pad(uv, ((0, 0), (0, sets - uv.shape[1]))) for uv in parts.uvs]).astype(np.float32),
            colors=np.concatenate(parts.colors).astype(np.float32),
            materials=tuple(read_material(m, table) for m in materials),
            textures=tuple(table.textures),
            face_parts=np.concatenate(parts.face_parts).astype(np.int32),
            parts=tuple(parts.parts),
        )

    def _add_primitive(
        self, parts: _Parts, node: int, mesh: dict[str, Any], number: int, primitive: dict[str, Any], materials: list[dict[str, Any]]
    ) -> None:
        attributes = primitive["attributes"]
        faces = self._faces(primitive)
        if faces is None:
            return
        positions = self.file.finite(attributes["POSITION"], "POSITION")
        count = len(positions)
        if len(faces) and faces.max() >= count:
            raise self.file.error(f"damaged: a face uses vertex {faces.max()} of {count}")
        index = primitive.get("material", len(materials) - 1)
        material = materials[index]
        normals = None
        if "NORMAL" in attributes:
            normals = np.nan_to_num(self.file.attribute(attributes, "NORMAL", count), nan=0.0, posinf=0.0, neginf=0.0)
        uvs = [texture_coordinates(self.file, attributes, reference, count) for reference in coordinate_sets(material)[0]]
        joints, weights = self._skinning(node, attributes, count)
        if self._mirrored(node, weights):  # a mirrored node reverses the winding (glTF 2.0, section 3.7.4)
            faces = faces[:, ::-1]
        rows = slice(parts.count, parts.count + count)
        if targets := primitive.get("targets"):
            parts.morphs.append(self._morph(node, mesh, targets, rows))
        parts.positions.append(positions)
        parts.normals.append(vertex_normals(positions.astype(np.float32), faces) if normals is None else normals)
        parts.uvs.append(np.concatenate(uvs, 1))
        parts.colors.append(self._colors(attributes, count))
        parts.joints.append(joints)
        parts.weights.append(weights)
        parts.faces.append(faces + parts.count)
        parts.face_materials.append(np.full(len(faces), index))
        moved_by = [Part(node, number, self._palette[joint][0]) for joint in dominant_joints(faces, joints, weights)]
        parts.face_parts.append(np.array([parts.parts.setdefault(part, len(parts.parts)) for part in moved_by], np.int32))
        parts.count += count

    def _mirrored(self, node: int, weights: Array) -> bool:
        """Return whether the node of a rigid primitive mirrors it at rest; skinned primitives ignore their node."""
        world, _ = self.skeleton.pose([], 0.0)
        return weights.shape[1] == 1 and float(np.linalg.det(world[node][:3, :3])) < 0

    def _faces(self, primitive: dict[str, Any]) -> Array | None:
        """Return the triangles of a list, strip or fan; None for points and lines."""
        mode = primitive.get("mode", 4)
        if mode not in (4, 5, 6) or "POSITION" not in primitive["attributes"]:
            return None
        if "indices" in primitive:
            index = self.file.accessor(primitive["indices"])[:, 0].astype(np.int64)
        else:
            index = np.arange(self.file.items("accessors")[primitive["attributes"]["POSITION"]]["count"])
        if mode == 4:
            return index[: len(index) // 3 * 3].reshape(-1, 3)
        k = np.arange(max(len(index) - 2, 0))
        if mode == 5:  # every other triangle of a strip has the opposite winding
            return np.stack([index[k], index[k + 1 + (k & 1)], index[k + 2 - (k & 1)]], 1)
        return np.stack([np.full(len(k), index[0]), index[k + 1], index[k + 2]], 1)

    def _colors(self, attributes: dict[str, int], count: int) -> Array:
        colors = np.ones((count, 4))
        if "COLOR_0" in attributes:
            values = np.nan_to_num(self.file.attribute(attributes, "COLOR_0", count), nan=1.0, posinf=1.0, neginf=0.0)
            colors[:, : values.shape[1]] = values
        return colors

    def _skinning(self, node: int, attributes: dict[str, int], count: int) -> tuple[Array, Array]:
        """Return palette indices and weights, both [count, influences]."""
        skin = self.file.items("nodes")[node].get("skin")
        first = len(self._palette)
        if skin is None or "JOINTS_0" not in attributes:
            self._palette.append((node, np.eye(4)))
            return np.full((count, 1), first), np.ones((count, 1))
        spec = self.file.items("skins")[skin]
        inverse = np.tile(np.eye(4), (len(spec["joints"]), 1, 1))
        if "inverseBindMatrices" in spec:
            inverse = self.file.finite(spec["inverseBindMatrices"], "a skin's inverse bind matrices").reshape(-1, 4, 4).transpose(0, 2, 1)
        if len(inverse) < len(spec["joints"]) or not all(0 <= j < len(self.file.items("nodes")) for j in spec["joints"]):
            raise self.file.error(f"damaged: skin {skin} names joints or inverse bind matrices that do not exist")
        self._palette += list(zip(spec["joints"], inverse, strict=False))
        names = [f"{{}}_{k}" for k in (0, 1) if f"JOINTS_{k}" in attributes]
        joints = np.concatenate([self.file.attribute(attributes, n.format("JOINTS"), count) for n in names], 1).astype(np.int64)
        if joints.max(initial=0) >= len(spec["joints"]):
            raise self.file.error(f"damaged: a vertex uses joint {joints.max()} of {len(spec['joints'])}")
        weights = np.concatenate([self.file.attribute(attributes, n.format("WEIGHTS"), count) for n in names], 1)
        return first + joints, self._normalised(weights)

    def _normalised(self, weights: Array) -> Array:
        """Normalise weights to sum to one; NaN becomes zero, and a vertex without weights follows its first joint."""
        if broken := int((~np.isfinite(weights)).any(1).sum()):
            log.warning("%s: %d vertices with NaN skin weights repaired", self.file.path, broken)
        weights = np.where(np.isfinite(weights), weights, 0.0)
        weights[weights.sum(1) <= 0, 0] = 1
        return weights / weights.sum(1, keepdims=True)

    def _morph(self, node: int, mesh: dict[str, Any], targets: list[dict[str, int]], rows: slice) -> _Morph:
        count = rows.stop - rows.start
        column = lambda name: np.stack(
            [self.file.finite(t[name], f"a morph target's {name}") if name in t else np.zeros((count, 3)) for t in targets]
        )
        rest = self.file.items("nodes")[node].get("weights", mesh.get("weights", [0.0] * len(targets)))
        return _Morph(node, rows, column("POSITION"), column("NORMAL"), np.array(rest, float))

    def vertices(self, seconds: float) -> tuple[Floats, Floats]:
        """Return positions [P, 3] and unit normals [P, 3] at a time of the animation, in the file's world (+Y up)."""
        world, weights = self.skeleton.pose(self.channels, seconds)
        positions, normals = self._positions, self._normals
        if self._morphs:
            positions, normals = positions.copy(), normals.copy()
            for morph in self._morphs:
                amount = weights.get(morph.node, morph.rest)
                positions[morph.rows] += np.tensordot(amount, morph.positions, 1)
                normals[morph.rows] += np.tensordot(amount, morph.normals, 1)
        palette = np.stack([world[node] @ inverse for node, inverse in self._palette])
        blend = lambda table: (self._weights[:, :, None, None] * table.astype(np.float32)[self._joints]).sum(1)
        moved = blend(palette[:, :3])
        placed = np.einsum("pij,pj->pi", moved[:, :, :3], positions.astype(np.float32)) + moved[:, :, 3]
        turned = np.einsum("pij,pj->pi", blend(cofactors(palette[:, :3, :3])), normals.astype(np.float32))
        if not np.isfinite(placed).all():
            raise InputError(f"{self.file.path}: vertices are not finite at {seconds:g} s")
        return placed.astype(np.float32), unit(turned)


def cofactors(m: Array) -> Array:
    """Return cofactor matrices [n, 3, 3] times the sign of the determinant: they transform normals under any scale."""
    rows = (np.cross(m[:, 1], m[:, 2]), np.cross(m[:, 2], m[:, 0]), np.cross(m[:, 0], m[:, 1]))
    matrices = np.stack(rows, axis=1)
    mirrored = (m[:, 0] * matrices[:, 0]).sum(-1) < 0
    return np.where(mirrored[:, None, None], -matrices, matrices)
