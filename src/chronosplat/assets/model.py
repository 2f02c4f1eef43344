"""Animated glTF models: node, skin and morph animation at any time.

The vertices of all primitives are concatenated. A rigid primitive is skinned to its node with weight one, so that one
blend of matrices poses the whole model.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chronosplat.assets.animation import Channel, Skeleton, read_channels
from chronosplat.assets.compression import unpack_draco
from chronosplat.assets.gltf import Array, GltfFile
from chronosplat.assets.instancing import instances
from chronosplat.assets.materials import TextureTable, coordinate_sets, read_material, texture_coordinates
from chronosplat.assets.mesh import Floats, Part, Surface, unit
from chronosplat.assets.parts import dominant_joints
from chronosplat.assets.primitive import Morph, check_size, read_morph, rest_normals, skin_weights, triangles
from chronosplat.assets.repairs import Repairs
from chronosplat.events import Events, logged
from chronosplat.shapes import InputError

CHUNK = 1 << 15  # vertices blended at once, so that the matrices stay in the cache


@dataclass(frozen=True)
class Animation:
    """Name and duration in seconds of an animation."""

    name: str
    duration: float


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
    morphs: list[Morph] = field(default_factory=list)
    count: int = 0


class GltfModel:
    """A glTF model with one of its animations.

    Args:
        path: a .glb or .gltf file.
        animation: name or index; the first by default. A model without animations is static.
        events: receives notices about repaired defects; they are logged by default.

    Raises:
        InputError: the file is unreadable, has no triangles or not this animation, or geometry or animation are NaN.
        UnavailableError: the file is compressed and the decoder is not installed.
    """

    def __init__(self, path: str | Path, animation: str | int = 0, events: Events | None = None) -> None:
        self.file = GltfFile(path)
        repairs = Repairs(self.file.path)
        try:
            with np.errstate(all="ignore"):  # values that are not finite are refused or repaired
                self._read(animation, repairs)
        except InputError:
            raise
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            raise self.file.error(f"damaged: a reference is invalid, or a value has the wrong size ({error!r})") from error
        repairs.report(events or Events(logged))

    def _read(self, animation: str | int, repairs: Repairs) -> None:
        self.skeleton = Skeleton(self.file)
        self.animations = tuple(self._animation(i, a) for i, a in enumerate(self.file.items("animations")))
        self.name, self.channels, self.duration = self.file.path.stem, [], 0.0
        if self.animations or animation != 0:
            index = self._index(animation)
            self.channels: list[Channel] = read_channels(self.file, self.file.items("animations")[index], repairs)
            self.duration = self.animations[index].duration
            if not self.duration > 0:
                repairs.add("animation without length; shown as a static pose")
        self._palette: list[tuple[int, Array]] = []  # (node, inverse bind matrix, or a copy's transform)
        self._first: dict[tuple[str, int], int] = {}  # palette index of a skin's first joint, or of a rigid node
        self._build(repairs)

    def _animation(self, index: int, animation: dict[str, Any]) -> Animation:
        keys = [self.file.accessor(s["input"]).astype(np.float64) for s in animation.get("samplers", [])]
        ends = [k[np.isfinite(k)].max(initial=0) for k in keys]  # NaN is refused where the animation is chosen
        return Animation(str(animation.get("name", f"anim{index}")), float(max(ends, default=0)))

    def _index(self, animation: str | int) -> int:
        names = [a.name for a in self.animations]
        if isinstance(animation, str) and animation in names:
            return names.index(animation)
        if not isinstance(animation, str) and 0 <= animation < len(names):
            return animation
        raise self.file.error(f"no animation {animation!r}; it has {len(names)}: {', '.join(names) or 'none'}")

    def _build(self, repairs: Repairs) -> None:
        parts, table, nodes = _Parts(), TextureTable(self.file), self.file.items("nodes")
        materials = [*self.file.items("materials"), {}]
        check_size(self.file, self.skeleton.order)
        for node in self.skeleton.order:
            if "mesh" in nodes[node]:
                mesh = self.file.items("meshes")[nodes[node]["mesh"]]
                for number in range(len(mesh["primitives"])):
                    self._add_primitive(parts, node, mesh, number, materials, repairs)
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
        self, parts: _Parts, node: int, mesh: dict[str, Any], number: int, materials: list[dict[str, Any]], repairs: Repairs
    ) -> None:
        primitive = mesh["primitives"][number]
        attributes = primitive["attributes"]
        unpack_draco(self.file, primitive)
        faces = triangles(self.file, primitive)
        if faces is None:
            return
        positions = self.file.finite(attributes["POSITION"], "POSITION", 3)
        count = len(positions)
        index = primitive.get("material", len(materials) - 1)
        material = materials[index]
        normals = rest_normals(self.file, attributes, positions, faces, repairs)
        uvs = [texture_coordinates(self.file, attributes, reference, count) for reference in coordinate_sets(material)[0]]
        placements = instances(self.file, node)
        copies = len(placements)
        joints, weights = self._skinning(node, attributes, count, placements, repairs)
        faces = self._copied_faces(faces, count, node, placements, weights)
        if targets := primitive.get("targets"):
            morph = self._morph(node, mesh, targets, slice(parts.count, parts.count + count))
            parts.morphs.append(morph.repeated(copies) if copies != 1 else morph)
        parts.positions.append(np.tile(positions, (copies, 1)))
        parts.normals.append(np.tile(normals, (copies, 1)))
        parts.uvs.append(np.tile(np.concatenate(uvs, 1), (copies, 1)))
        parts.colors.append(np.tile(self._colors(attributes, count), (copies, 1)))
        parts.joints.append(joints)
        parts.weights.append(weights)
        parts.faces.append(faces + parts.count)
        parts.face_materials.append(np.full(len(faces), index))
        moved_by = [Part(node, number, self._palette[joint][0]) for joint in dominant_joints(faces, joints, weights)]
        parts.face_parts.append(np.array([parts.parts.setdefault(part, len(parts.parts)) for part in moved_by], np.int32))
        parts.count += count * copies

    def _copied_faces(self, faces: Array, count: int, node: int, placements: Array, weights: Array) -> Array:
        """Return the faces of all copies of a primitive of ``count`` vertices.

        A transform that mirrors reverses the winding (glTF 2.0, section 3.7.4); skinned primitives ignore their node.
        """
        world, _ = self.skeleton.pose([], 0.0)
        mirrored = np.linalg.det(world[node, :3, :3] @ placements[:, :3, :3]) < 0
        copied = faces + count * np.arange(len(placements))[:, None, None]
        if weights.shape[1] == 1:
            copied[mirrored] = copied[mirrored][..., ::-1]
        return copied.reshape(-1, 3)

    def _colors(self, attributes: dict[str, int], count: int) -> Array:
        colors = np.ones((count, 4))
        if "COLOR_0" in attributes:
            values = np.nan_to_num(self.file.attribute(attributes, "COLOR_0", count), nan=1.0, posinf=1.0, neginf=0.0)
            colors[:, : values.shape[1]] = values
        return colors

    def _skinning(self, node: int, attributes: dict[str, int], count: int, placements: Array, repairs: Repairs) -> tuple[Array, Array]:
        """Return palette indices and weights, both [copies * count, influences]."""
        skin = self.file.items("nodes")[node].get("skin")
        if skin is None or "JOINTS_0" not in attributes:
            first = self._palette_index(("node", node), [(node, placement) for placement in placements])
            copies = np.repeat(first + np.arange(len(placements), dtype=np.int32), count)
            return copies[:, None], np.ones((len(copies), 1), np.float32)
        spec = self.file.items("skins")[skin]
        inverse = np.tile(np.eye(4), (len(spec["joints"]), 1, 1))
        if "inverseBindMatrices" in spec:
            inverse = (
                self.file.finite(spec["inverseBindMatrices"], "a skin's inverse bind matrices", 16).reshape(-1, 4, 4).transpose(0, 2, 1)
            )
        if len(inverse) < len(spec["joints"]) or not all(0 <= j < len(self.file.items("nodes")) for j in spec["joints"]):
            raise self.file.error(f"damaged: skin {skin} names joints or inverse bind matrices that do not exist")
        first = self._palette_index(("skin", skin), list(zip(spec["joints"], inverse, strict=False)))
        joints, weights = skin_weights(self.file, attributes, count, len(spec["joints"]), repairs)
        return first + joints, weights

    def inner_joints(self) -> list[int]:
        """Return the nodes that are joints of a skin and have a joint as parent."""
        joints = {joint for skin in self.file.items("skins") for joint in skin["joints"]}
        return sorted(j for j in joints if self.skeleton.parent[j] in joints and j not in self.skeleton.matrices)

    def with_channels(self, channels: list[Channel]) -> GltfModel:
        """Return the model with another animation; what does not move is shared."""
        model = copy.copy(self)
        model.channels = channels
        return model

    def _palette_index(self, key: tuple[str, int], entries: list[tuple[int, Array]]) -> int:
        """Return where the palette has these joints; they are added once."""
        if key not in self._first:
            self._first[key] = len(self._palette)
            self._palette += entries
        return self._first[key]

    def _morph(self, node: int, mesh: dict[str, Any], targets: list[dict[str, int]], rows: slice) -> Morph:
        morph = read_morph(self.file, node, mesh, targets, rows)
        for channel in self.channels:
            if channel.node == node and channel.path == "weights" and channel.values.shape[-1] != len(targets):
                raise self.file.error(f"damaged: an animation of {channel.values.shape[-1]} weights for {len(targets)} morph targets")
        return morph

    def vertices(self, seconds: float) -> tuple[Floats, Floats]:
        """Return positions [P, 3] and unit normals [P, 3] at a time of the animation, in the file's world (+Y up).

        Raises:
            InputError: a vertex is not finite at this time.
        """
        with np.errstate(all="ignore"):
            placed, turned = self._posed(seconds)
        if not np.isfinite(placed).all():
            raise InputError(f"{self.file.path}: vertices are not finite at {seconds:g} s")
        return placed, unit(np.where(np.isfinite(turned), turned, 0.0))

    def _posed(self, seconds: float) -> tuple[Floats, Floats]:
        world, weights = self.skeleton.pose(self.channels, seconds)
        positions, normals = self._positions, self._normals
        if self._morphs:
            positions, normals = positions.copy(), normals.copy()
            for morph in self._morphs:
                amount = weights.get(morph.node, morph.rest)
                positions[morph.rows] += np.tensordot(amount, morph.positions, 1)
                normals[morph.rows] += np.tensordot(amount, morph.normals, 1)
        palette = np.stack([world[node] @ inverse for node, inverse in self._palette])
        moves = palette[:, :3].astype(np.float32)
        turns = cofactors(palette[:, :3, :3]).astype(np.float32)
        placed, turned = np.empty(positions.shape, np.float32), np.empty(positions.shape, np.float32)
        for start in range(0, len(positions), CHUNK):
            rows = slice(start, start + CHUNK)
            joints, shares = self._joints[rows], self._weights[rows, :, None, None]
            blend = lambda table, joints=joints, shares=shares: (shares * table[joints]).sum(1)
            moved = blend(moves)
            placed[rows] = np.einsum("pij,pj->pi", moved[:, :, :3], positions[rows].astype(np.float32)) + moved[:, :, 3]
            turned[rows] = np.einsum("pij,pj->pi", blend(turns), normals[rows].astype(np.float32))
        return placed, turned


def cofactors(m: Array) -> Array:
    """Return cofactor matrices [n, 3, 3] times the sign of the determinant: they transform normals under any scale."""
    rows = (np.cross(m[:, 1], m[:, 2]), np.cross(m[:, 2], m[:, 0]), np.cross(m[:, 0], m[:, 1]))
    matrices = np.stack(rows, axis=1)
    mirrored = (m[:, 0] * matrices[:, 0]).sum(-1) < 0
    return np.where(mirrored[:, None, None], -matrices, matrices)
