"""One body that moves: canonical Gaussians, deformed by control nodes with smooth trajectories.

Embedded deformation (Sumner et al., SIGGRAPH 2007) of Gaussians by linear blend skinning, as in SC-GS (Huang et al.,
CVPR 2024). Trajectories are Catmull-Rom splines through knots, which are linear in the knots' values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.scenes.rotations import multiply, normalize, quats_to_matrices
from chronosplat.scenes.scene import SPLAT_SHAPES, TensorScene, scene_kind, splats_moved
from chronosplat.scenes.time_map import TimeMap
from chronosplat.shapes import InputError

ANCHORS = 4  # nearest Gaussians that carry a tracked point
LOOP_KNOTS = 9  # in a loop's fade, beside those of the motion
POINTS_PER_CALL = 1024  # tracked points whose distances to all Gaussians are computed at once


@scene_kind("DeformableGaussians")
@dataclass(frozen=True)
class DeformableGaussians(TensorScene):
    """N canonical Gaussians, moved by K nodes through M knots.

    Attributes:
        means [N, 3], quats [N, 4], scales [N, 3], opacities [N], colors [N, 3]: the canonical Gaussians, as Gaussians3D.
        nodes: [K, 3] centres of rotation, in canonical space.
        skin_nodes: [N, J] int64 nodes that move a Gaussian. skin_weights: [N, J], rows sum to one.
        knots: [M] seconds, float64, increasing.
        shifts: [M, K, 3] translation of each node at each knot.
        turns: [M, K, 3] its rotation: a rotation vector in radians, of any length, continuous over the knots.
        groups: [N] int64, the residual group of each Gaussian; None: no residuals.
        offsets: [M, G, 3] translation of each group after skinning, and
        tints: [M, G, 3] what is added to its colours; both or none.
        fades: [M, G] in [0, 1], factors of its opacities; None: ones. Parts that appear or vanish.
        shares: [N] in [0, 1]: how much of its group's tint a Gaussian takes; None: all of it.
        span: first and last observed second; None: the first and the last knot.
        world: from these coordinates to the capture's world.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    nodes: Tensor
    skin_nodes: Tensor
    skin_weights: Tensor
    knots: Tensor
    shifts: Tensor
    turns: Tensor
    groups: Tensor | None = None
    offsets: Tensor | None = None
    tints: Tensor | None = None
    fades: Tensor | None = None
    shares: Tensor | None = None
    span: tuple[float, float] | None = None

    per_gaussian: ClassVar[tuple[str, ...]] = (*SPLAT_SHAPES, "skin_nodes", "skin_weights", "groups", "shares")

    def __post_init__(self) -> None:
        super().__post_init__()
        shapes = {"nodes": "K 3", "skin_nodes": "N J", "skin_weights": "N J", "knots": "M", "shifts": "M K 3", "turns": "M K 3"}
        residuals = {"groups": "N", "offsets": "M G 3", "tints": "M G 3"}
        present = [name for name in residuals if getattr(self, name) is not None]
        if present and len(present) < len(residuals):
            raise InputError(f"residuals: expected {', '.join(residuals)} together, got {', '.join(present)} alone")
        extra = {name: shape for name, shape in {"fades": "M G", "shares": "N"}.items() if getattr(self, name) is not None}
        if extra and not present:
            raise InputError(f"{next(iter(extra))}: expected groups, offsets and tints beside it, got none")
        self.check(SPLAT_SHAPES | shapes | (residuals if present else {}) | extra)
        if len(self.knots) == 0 or (len(self.knots) > 1 and not bool((self.knots.diff() > 0).all())):
            raise InputError("knots: expected at least one, increasing")
        _check_indices("skin_nodes", self.skin_nodes, len(self.nodes))
        if self.groups is not None and self.offsets is not None:
            _check_indices("groups", self.groups, self.offsets.shape[1])

    @property
    def num_gaussians(self) -> int:
        return self.means.shape[0]

    @property
    def num_frames(self) -> int | None:
        return 1 if len(self.knots) == 1 else None

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Return the span, else the first and last knot; None for a static scene, which has one."""
        return self.span or (float(self.knots[0]), float(self.knots[-1])) if len(self.knots) > 1 else None

    def evaluate(self, seconds: Tensor) -> dict[str, Tensor]:
        """Deform the canonical Gaussians to each time; before the first and after the last knot they stand still."""
        rows = spline_rows(self.knots, seconds.to(self.knots)).to(self.shifts)
        shifts, turns = (torch.einsum("tm,mkc->tkc", rows, values) for values in (self.shifts, self.turns))
        means, quats = skin(self.means, self.quats, self.skin_nodes, self.skin_weights, self.nodes, shifts, turns)
        count = len(seconds)
        colors, opacities = self.colors.expand(count, *self.colors.shape), self.opacities.expand(count, *self.opacities.shape)
        if self.groups is not None and self.offsets is not None and self.tints is not None:
            offsets, tints = (torch.einsum("tm,mgc->tgc", rows, values) for values in (self.offsets, self.tints))
            means = means + offsets.index_select(1, self.groups)
            tints = tints.index_select(1, self.groups)
            colors = (colors + (tints if self.shares is None else tints * self.shares[:, None])).clamp(0, 1)
        if self.groups is not None and self.fades is not None:
            opacities = opacities * (rows @ self.fades).clamp(0, 1).index_select(1, self.groups)
        scales = self.scales.expand(count, *self.scales.shape)
        return {"means": means, "quats": quats, "scales": scales, "opacities": opacities, "colors": colors}

    def in_coordinates(self, world: Similarity) -> DeformableGaussians:
        """Express the same scene in other coordinates of its own.

        Args:
            world: from the new coordinates to the capture's world.
        """
        change = world.inverse().after(self.world)  # from the present coordinates to the new ones
        if change.is_identity():
            return replace(self, world=world)
        vectors = lambda x: change.scale * change.directions(x)
        return replace(
            self,
            **splats_moved(self.tensors(), change),
            nodes=change.points(self.nodes),
            shifts=vectors(self.shifts),
            turns=change.directions(self.turns),
            offsets=None if self.offsets is None else vectors(self.offsets),
            world=world,
        )

    def moved(self, change: Similarity) -> DeformableGaussians:
        return self.with_world(change.after(self.world)).in_coordinates(self.world)

    def recoloured(self, change: Callable[[Tensor], Tensor]) -> DeformableGaussians:
        """Change the colours, and each group's tints so that its Gaussians change as they would alone: exact for linear changes
        that stay in range, else in the least squares over the group."""
        colors = change(self.colors)
        if self.groups is None or self.tints is None:
            return replace(self, colors=colors)
        shares = (torch.ones_like(self.opacities) if self.shares is None else self.shares)[:, None]
        squares = self.tints.new_zeros(self.tints.shape[1], 1).index_add(0, self.groups, shares**2).clamp_min(1e-12)
        tints = []
        for tint in self.tints:
            difference = change((self.colors + tint[self.groups] * shares).clamp(0, 1)) - colors
            tints.append(torch.zeros_like(tint).index_add(0, self.groups, shares * difference) / squares)
        return replace(self, colors=colors, tints=torch.stack(tints))

    def retimed(self, change: TimeMap) -> DeformableGaussians:
        if self.seconds is None:
            return self
        first, last = self.seconds
        inner = [t for t in change.before[1:-1] if float(self.knots[0]) < t < float(self.knots[-1])]
        knots = torch.unique(torch.cat([self.knots, self.knots.new_tensor(inner)])) if inner else self.knots
        span = None if self.span is None else tuple(change.seconds(torch.tensor([first, last])).tolist())
        same = self if len(knots) == len(self.knots) else self._with_rows(spline_rows(self.knots, knots), knots)
        return replace(same, knots=change.seconds(knots).to(knots), span=span)

    def trimmed(self, first: float, last: float) -> DeformableGaussians:
        """Restrict the span; knots are kept as far as they shape the motion inside."""
        if self.seconds is None:
            return self
        left = int((self.knots <= first).sum()) - 2
        right = int((self.knots < last).sum()) + 2
        rows = torch.eye(len(self.knots), dtype=self.knots.dtype, device=self.knots.device)[max(left, 0) : right]
        return replace(self._with_rows(rows, self.knots[max(left, 0) : right]), span=(first, last))

    def looped(self, fade: float) -> DeformableGaussians | None:
        """Blend the motion at the end into that at the beginning; None where a node's turns are more than half a turn apart."""
        if self.seconds is None:
            return self
        first, last = self.seconds
        period = last - first - fade
        early, late = self.knots[self.knots < first + fade] + period, self.knots[(self.knots > first + fade) & (self.knots < last)]
        steps = torch.linspace(last - fade, last, LOOP_KNOTS).to(self.knots)
        times = torch.unique(torch.cat([self.knots.new_tensor([first + fade]), late, early[early > last - fade], steps]))
        times = times[torch.cat([times.new_ones(1), times.diff()]) > 1e-9]
        before, after = spline_rows(self.knots, times), spline_rows(self.knots, times - period)
        share = ((times - (last - fade)) / fade).clamp(0, 1)[:, None]
        blended = share > 0
        apart = torch.einsum("tm,mkc->tkc", (after - before)[blended[:, 0]].to(self.turns), self.turns).norm(dim=-1)
        if float(apart.max()) > math.pi:
            return None
        smooth = share**2 * (3 - 2 * share)
        return replace(self._with_rows((1 - smooth) * before + smooth * after, times - fade), span=None)

    def _with_rows(self, rows: Tensor, knots: Tensor) -> DeformableGaussians:
        """Replace the knots; rows [M', M] say how each new one combines the old ones."""
        names = [name for name in ("shifts", "turns", "offsets", "tints", "fades") if getattr(self, name) is not None]
        combined = {name: torch.einsum("pm,m...->p...", rows.to(getattr(self, name)), getattr(self, name)) for name in names}
        return replace(self, **combined, knots=knots)

    def metadata(self) -> dict[str, str]:
        return {} if self.span is None else {"seconds": json.dumps(list(self.span))}

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], world: Similarity, metadata: Mapping[str, str]) -> Self:
        span = json.loads(metadata.get("seconds", "null"))
        return cls(**tensors, world=world, notes={}, span=None if span is None else (float(span[0]), float(span[1])))

    def tracks(self, points: Tensor, at: float, seconds: Tensor) -> Tensor:
        """Follow surface points over time.

        Args:
            points: [P, 3] in the capture's world, at the time ``at`` in seconds.
            seconds: [T].

        Returns:
            [T, P, 3] where they are, in the capture's world. A point moves rigidly with each of the nearest Gaussians; the
            result is their mean, weighted by proximity.
        """
        inverse = self.world.inverse()
        local = inverse.points(points.to(self.means))
        start = self.evaluate(torch.tensor([at], dtype=torch.float64))
        moved = self.evaluate(seconds)
        parts = []
        for some in local.split(POINTS_PER_CALL):
            near = torch.cdist(some, start["means"][0]).topk(min(ANCHORS, self.num_gaussians), largest=False)
            floor = near.values[:, :1].clamp_min(1e-6)
            weights = (floor / near.values.clamp_min(1e-6)).square()
            weights = weights / weights.sum(-1, keepdim=True)
            begin = quats_to_matrices(start["quats"][0][near.indices]).transpose(-1, -2)
            inside = (begin @ (some[:, None] - start["means"][0][near.indices])[..., None])[..., 0]  # [P, A, 3]
            turned = (quats_to_matrices(moved["quats"][:, near.indices]) @ inside[..., None])[..., 0]
            parts.append((weights[..., None] * (moved["means"][:, near.indices] + turned)).sum(-2))
        return self.world.points(torch.cat(parts, 1))


def skin(
    means: Tensor, quats: Tensor, skin_nodes: Tensor, skin_weights: Tensor, nodes: Tensor, shifts: Tensor, turns: Tensor
) -> tuple[Tensor, Tensor]:
    """Deform Gaussians by linear blend skinning.

    Args:
        means [N, 3], quats [N, 4]: canonical. skin_nodes, skin_weights: [N, J].
        nodes: [K, 3]. shifts, turns: [T, K, 3], see DeformableGaussians.

    Returns:
        Means [T, N, 3] and quaternions [T, N, 4]; differentiable.
    """
    spins = rotation_quats(turns)
    rotations = quats_to_matrices(spins)
    offsets = nodes + shifts - (rotations @ nodes[:, :, None])[..., 0]
    matrix = skinning_matrix(skin_nodes, skin_weights, len(nodes))
    blended = matrix @ torch.cat([rotations.flatten(-2), offsets, spins], -1)
    moved = (blended[..., :9].unflatten(-1, (3, 3)) @ means[:, :, None])[..., 0] + blended[..., 9:12]
    return moved, multiply(normalize(blended[..., 12:]), quats)


def skinning_matrix(skin_nodes: Tensor, skin_weights: Tensor, count: int) -> Tensor:
    """Return the weights as a dense matrix [N, K]."""
    return skin_weights.new_zeros(len(skin_nodes), count).scatter_add(1, skin_nodes, skin_weights)


def rotation_quats(turns: Tensor) -> Tensor:
    """Convert rotation vectors [..., 3] of any length to unit quaternions [..., 4]; continuous, and differentiable at zero."""
    square = turns.square().sum(-1, keepdim=True)
    small = square < 1e-8
    half = torch.where(small, torch.ones_like(square), square).sqrt() / 2
    sine = torch.where(small, 0.5 - square / 48, torch.sin(half) / (2 * half))
    cosine = torch.where(small, 1 - square / 8, torch.cos(half))
    return torch.cat([cosine, sine * turns], -1)


def spline_rows(knots: Tensor, seconds: Tensor) -> Tensor:
    """Weights [T, M] of the knots' values in a Catmull-Rom spline at times [T]; rows sum to one.

    Tangents at inner knots are those of the parabola through three knots, at the ends those of the first and last segment,
    so a motion that is linear in time stays linear. Times outside are clamped.
    """
    count = len(knots)
    if count == 1:
        return seconds.new_ones(len(seconds), 1)
    t = seconds.clamp(knots[0], knots[-1])
    left = (torch.searchsorted(knots, t, right=True) - 1).clamp(0, count - 2)
    width = knots[left + 1] - knots[left]
    u = ((t - knots[left]) / width)[:, None]
    tangents = _tangent_rows(knots)
    values = torch.eye(count, dtype=knots.dtype, device=knots.device)
    start, end = u**2 * (2 * u - 3) + 1, u**2 * (3 - 2 * u)
    rise, fall = u * (u - 1) ** 2, u**2 * (u - 1)
    return start * values[left] + end * values[left + 1] + width[:, None] * (rise * tangents[left] + fall * tangents[left + 1])


def _tangent_rows(knots: Tensor) -> Tensor:
    """Weights [M, M] of the knots' values in the derivative at each knot."""
    count, steps = len(knots), knots.diff()
    rows = knots.new_zeros(count, count)
    rows[0, 0], rows[0, 1] = -1 / steps[0], 1 / steps[0]
    rows[-1, -2], rows[-1, -1] = -1 / steps[-1], 1 / steps[-1]
    i, before, after = torch.arange(1, count - 1, device=knots.device), steps[:-1], steps[1:]
    rows[i, i - 1] = -after / (before * (before + after))
    rows[i, i] = (after - before) / (before * after)
    rows[i, i + 1] = before / (after * (before + after))
    return rows


def _check_indices(name: str, indices: Tensor, limit: int) -> None:
    if indices.dtype != torch.int64:
        raise InputError(f"{name}: expected int64, got {indices.dtype}")
    if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= limit):
        raise InputError(f"{name}: expected values from 0 to {limit - 1}, got {int(indices.min())} to {int(indices.max())}")
