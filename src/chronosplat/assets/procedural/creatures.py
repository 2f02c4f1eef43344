"""Articulated creatures: random joint trees of skinned capsules that walk in sinusoids with a phase per limb."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from chronosplat.assets.procedural.parts import Array, Ints, ProceduralMesh, Rng, assemble, capsule, paint, rotation


@dataclass
class _Body:
    """Joints (parent, position, swing axis, amplitude, phase) and the capsules attached to them."""

    parents: list[int] = field(default_factory=list)
    positions: list[Array] = field(default_factory=list)
    swings: list[tuple[Array, float, float]] = field(default_factory=list)
    capsules: list[tuple[int, Array, Array, float, float]] = field(default_factory=list)

    def joint(self, parent: int, position: Array, axis: tuple[float, float, float], amplitude: float, phase: float) -> int:
        self.parents.append(parent)
        self.positions.append(np.asarray(position, float))
        self.swings.append((np.array(axis, float), amplitude, phase))
        return len(self.parents) - 1

    def limb(self, joint: int, end: Array, radius: float, radius_end: float) -> None:
        self.capsules.append((joint, self.positions[joint], np.asarray(end, float), radius, radius_end))


def creature(rng: Rng) -> ProceduralMesh:
    """Generate an upright creature, or one with two to six legs, a spine, a head and a tail."""
    body = _upright(rng) if rng.random() < 0.35 else _walker(rng)
    points, faces, weights = _skin(body)
    colors = _colors(body, points, rng)
    frequency = rng.integers(1, 3)

    def positions(t: float) -> Array:
        pose: list[Array] = []
        for j, (axis, amplitude, phase) in enumerate(body.swings):
            turn = rotation(axis, amplitude * math.sin(2 * math.pi * frequency * t + phase))
            local = np.eye(4)
            local[:3, :3], local[:3, 3] = turn, body.positions[j] - turn @ body.positions[j]
            pose.append(local if body.parents[j] < 0 else pose[body.parents[j]] @ local)
        blended = np.einsum("pj,jab->pab", weights, np.array(pose)[:, :3])
        lift = [0, 0.03 * math.sin(4 * math.pi * frequency * t), 0]
        return np.einsum("pab,pb->pa", blended[:, :, :3], points) + blended[:, :, 3] + lift

    return assemble("creature", faces, colors, 1.0, positions)


def _walker(rng: Rng) -> _Body:
    body, segments = _Body(), int(rng.integers(2, 5))
    length, height = rng.uniform(0.5, 0.95), rng.uniform(0.25, 0.5)
    girth = rng.uniform(0.09, 0.2)
    spine = [body.joint(-1, np.array([0, height, -length / 2]), (0, 1, 0), 0.08, 0)]
    for i in range(segments):
        at = np.array([0, height + rng.uniform(-0.04, 0.04), -length / 2 + length * (i + 1) / segments])
        spine.append(body.joint(spine[-1], at, (rng.uniform(0, 1), 1, 0), rng.uniform(0.03, 0.25), i * 0.8))
        body.limb(spine[-2], at, girth * rng.uniform(0.8, 1.2), girth * rng.uniform(0.8, 1.2))
    neck = body.positions[spine[-1]]
    head = body.joint(spine[-1], neck + [0, rng.uniform(0.05, 0.3), rng.uniform(0.08, 0.25)], (1, 0.4, 0), rng.uniform(0.1, 0.4), 1.0)
    body.limb(spine[-1], body.positions[head], girth * 0.6, girth * 0.55)
    body.limb(
        head, body.positions[head] + [0, rng.uniform(-0.1, 0.05), rng.uniform(0.1, 0.3)], girth * rng.uniform(0.6, 0.95), girth * 0.45
    )
    for side in (-1, 1):  # ears or horns
        ear = body.positions[head] + [side * girth * 0.5, girth * 0.5, 0]
        body.capsules.append((head, ear, ear + [side * 0.03, rng.uniform(0.05, 0.15), -0.02], 0.03, 0.01))
    tail = body.joint(spine[0], body.positions[spine[0]], (0, 1, 0.2), rng.uniform(0.2, 0.8), 0)
    body.limb(tail, body.positions[tail] + [0, rng.uniform(-0.1, 0.3), -rng.uniform(0.15, 0.5)], girth * 0.35, 0.02)
    pairs = int(rng.integers(1, 4))
    for pair in range(pairs):
        hip = spine[round(pair * segments / max(1, pairs - 1))] if pairs > 1 else spine[len(spine) // 2]
        _leg_pair(body, rng, hip, height, pair * math.pi / 2, rng.uniform(0.6, 0.9) * girth)
    return body


def _leg_pair(body: _Body, rng: Rng, hip: int, height: float, phase: float, spread: float) -> None:
    radius, swing = rng.uniform(0.03, 0.065), rng.uniform(0.3, 0.8)
    for side in (-1, 1):
        beat = math.pi * (side > 0) + phase
        top = body.joint(hip, body.positions[hip] + [side * spread, -0.03, 0], (1, 0, side * 0.2), swing, beat)
        knee = body.joint(top, body.positions[top] + [side * 0.03, -height * 0.5, 0.02], (1, 0, 0), swing * 0.7, beat + 1)
        body.limb(top, body.positions[knee], radius * 1.4, radius)
        body.limb(knee, body.positions[knee] + [0, -height * 0.45, 0.02], radius, radius * 0.7)
        foot = body.positions[knee] + [0, -height * 0.45, 0.02]
        body.capsules.append((knee, foot, foot + [0, 0, 0.08], radius, radius * 0.8))


def _upright(rng: Rng) -> _Body:
    body, height, girth = _Body(), rng.uniform(0.35, 0.5), rng.uniform(0.1, 0.2)
    hip = body.joint(-1, np.array([0, height, 0]), (0, 1, 0), rng.uniform(0.1, 0.3), 0)
    chest = body.joint(hip, np.array([0, height + rng.uniform(0.2, 0.35), 0]), (0.3, 1, 0), rng.uniform(0.1, 0.4), 0.5)
    body.limb(hip, body.positions[chest], girth, girth * rng.uniform(0.8, 1.2))
    head = body.joint(chest, body.positions[chest] + [0, girth * 0.9, 0], (1, 0.3, 0), rng.uniform(0.1, 0.4), 1)
    body.limb(head, body.positions[head] + [0, rng.uniform(0.05, 0.2), 0.02], girth * rng.uniform(0.7, 1.2), girth * rng.uniform(0.6, 1.2))
    _leg_pair(body, rng, hip, height, 0, girth * 0.6)
    radius, swing = rng.uniform(0.03, 0.06), rng.uniform(0.4, 1.1)
    for side in (-1, 1):
        beat = math.pi * (side < 0)
        shoulder = body.joint(chest, body.positions[chest] + [side * girth * 1.1, 0, 0], (1, 0, side * 0.5), swing, beat)
        elbow = body.joint(shoulder, body.positions[shoulder] + [side * rng.uniform(0.03, 0.2), -0.15, 0], (1, 0, 0.3), swing, beat + 0.7)
        body.limb(shoulder, body.positions[elbow], radius * 1.2, radius)
        body.limb(elbow, body.positions[elbow] + [side * 0.05, -0.16, 0.05], radius, radius * 0.7)
    if rng.random() < 0.5:  # an object in one hand
        elbow = len(body.parents) - 1
        hand = body.positions[elbow] + [0.05, -0.16, 0.05]
        body.capsules.append((elbow, hand - [0, 0, 0.1], hand + [0, 0.05, rng.uniform(0.2, 0.5)], 0.025, 0.02))
    return body


def _skin(body: _Body) -> tuple[Array, Ints, Array]:
    """Return points [P, 3], faces, and weights [P, joints] that blend each limb into its parent near the joint."""
    points, faces, weights, count = [], [], [], 0
    for joint, start, end, radius, radius_end in body.capsules:
        part, part_faces = capsule(start, end, radius, radius_end)
        along = end - start
        share = np.clip((part - start) @ along / (along @ along + 1e-9), 0, 1)
        weight = np.zeros((len(part), len(body.parents)))
        to_parent = np.clip(0.5 - share * 2.5, 0, 0.5) if body.parents[joint] >= 0 else np.zeros(len(part))
        weight[:, joint] = 1 - to_parent
        if body.parents[joint] >= 0:
            weight[:, body.parents[joint]] += to_parent
        points.append(part)
        faces.append(part_faces + count)
        weights.append(weight)
        count += len(part)
    return np.concatenate(points), np.concatenate(faces), np.concatenate(weights)


def _colors(body: _Body, points: Array, rng: Rng) -> Array:
    """Paint one pattern over the body, and plain colours over about a quarter of the limbs, like clothes."""
    colors = paint(points, rng)
    each = len(points) // len(body.capsules)
    for k in range(len(body.capsules)):
        if rng.random() < 0.25:
            colors[k * each : (k + 1) * each] = rng.uniform(0.02, 0.9, 3) ** 1.5
    return colors
