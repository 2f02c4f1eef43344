"""Scenes in memory: one set of Gaussians per frame, and Gaussians in linear motion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.scenes.conditioning import temporal_weight
from chronosplat.scenes.fading import FAINT, crossfaded
from chronosplat.scenes.scene import MOTION_SHAPES, SPLAT_SHAPES, Clock, Gaussians3D, LinearForm, TensorScene, scene_kind, splats_moved
from chronosplat.scenes.time_map import TimeMap
from chronosplat.shapes import InputError


@scene_kind("GaussianSequence")
@dataclass(frozen=True)
class GaussianSequence(TensorScene):
    """T sets of N Gaussians, one per frame (L4GM).

    Attributes:
        means [T, N, 3], quats [T, N, 4], scales [T, N, 3], opacities [T, N], colors [T, N, 3]: as Gaussians3D.
        times: [T] seconds, increasing.
        world: from these coordinates to the capture's world.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    times: Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check({name: f"T {shape}" for name, shape in SPLAT_SHAPES.items()} | {"times": "T"})
        if len(self.times) > 1 and not bool((self.times.diff() > 0).all()):
            raise InputError("times: must increase from frame to frame; sort the frames")

    @property
    def num_gaussians(self) -> int:
        return self.means.shape[1]

    @property
    def num_frames(self) -> int:
        return self.times.shape[0]

    @property
    def seconds(self) -> tuple[float, float]:
        return float(self.times[0]), float(self.times[-1])

    def timestamps(self, count: int) -> list[float]:
        """Return the times of the frames."""
        return self.times.tolist()

    def frame(self, index: int) -> Gaussians3D:
        """Return the Gaussians of one frame, in the scene's own world."""
        return Gaussians3D(*(getattr(self, name)[index] for name in SPLAT_SHAPES), world=self.world)

    def evaluate(self, seconds: Tensor) -> dict[str, Tensor]:
        """Return the frames nearest in time."""
        which = nearest_frames(self.times, seconds)
        return {name: getattr(self, name)[which] for name in SPLAT_SHAPES}

    def select(self, keep: Tensor) -> GaussianSequence:
        """Keep Gaussians; with a mask of each frame, frames are packed and filled up with invisible Gaussians to one length."""
        keep = keep.to(self.device).expand(self.num_frames, self.num_gaussians)
        most = int(keep.sum(1).max()) if keep.numel() else 0
        order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        rows = torch.arange(self.num_frames, device=self.device)[:, None]
        fields = {name: getattr(self, name)[rows, order] for name in SPLAT_SHAPES}
        return replace(self, **fields | {"opacities": fields["opacities"] * keep[rows, order]})

    def in_coordinates(self, world: Similarity) -> GaussianSequence:
        """Express the same scene in other coordinates of its own; ``world`` leads from those to the capture's world."""
        change = world.inverse().after(self.world)
        return self if change.is_identity() else replace(self, **splats_moved(self.tensors(), change), world=world)

    def moved(self, change: Similarity) -> GaussianSequence:
        return self.with_world(change.after(self.world)).in_coordinates(self.world)

    def retimed(self, change: TimeMap) -> GaussianSequence:
        return replace(self, times=change.seconds(self.times).to(self.times.device))

    def trimmed(self, first: float, last: float) -> GaussianSequence:
        rows = torch.nonzero((self.times >= first) & (self.times <= last))[:, 0]
        if len(rows) == 0:
            near = float(self.times[nearest_frames(self.times, torch.tensor([first]))[0]])
            raise InputError(f"scene: no frame lies between {first:g} and {last:g} s; the nearest one is at {near:g} s")
        return replace(self, **{name: tensor[rows] for name, tensor in self.tensors().items()})

    def looped(self, fade: float) -> GaussianSequence:
        """Cross-fade: frames of the end fade out while those of the beginning fade in."""
        fields, times = crossfaded({name: getattr(self, name) for name in SPLAT_SHAPES}, self.times, fade)
        both = replace(self, **fields, times=times)
        return both.select(both.opacities >= FAINT)


def nearest_frames(times: Tensor, seconds: Tensor) -> Tensor:
    """Find the indices [S] of the times [T] nearest to ``seconds`` [S]; ties go to the earlier one."""
    return (times[None].cpu() - seconds[:, None].to(times.dtype).cpu()).abs().argmin(1)


@scene_kind("Gaussians4D")
@dataclass(frozen=True)
class Gaussians4D(TensorScene):
    """N Gaussians in linear motion: 4D Gaussians in their moving form (conditioning.py).

    Attributes:
        means: [N, 3] at the time centre. velocities: [N, 3] per unit of scene time.
        time_centers: [N] and time_sigmas: [N] in scene time.
        quats: [N, 4] wxyz. scales: [N, 3]. opacities: [N] at the time centre. colors: [N, 3].
        world: from these coordinates to the capture's world.
        clock: converts between scene time and seconds.
        seconds: first and last observed second.
    """

    means: Tensor
    velocities: Tensor
    time_centers: Tensor
    time_sigmas: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    clock: Clock = field(default_factory=Clock)
    seconds: tuple[float, float] = (0.0, 1.0)

    per_gaussian: ClassVar[tuple[str, ...]] = (*SPLAT_SHAPES, *MOTION_SHAPES)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(SPLAT_SHAPES | MOTION_SHAPES)

    @property
    def num_gaussians(self) -> int:
        return self.means.shape[0]

    def evaluate(self, seconds: Tensor) -> dict[str, Tensor]:
        """Move every Gaussian along its velocity and multiply its opacity by its temporal weight."""
        t = self.clock.scene_time(seconds.double()).to(self.means)[:, None]
        constant = {name: getattr(self, name).expand(len(seconds), *getattr(self, name).shape) for name in ("quats", "scales", "colors")}
        return {
            "means": self.means + self.velocities * (t - self.time_centers)[..., None],
            "opacities": self.opacities * temporal_weight(t, self.time_centers, self.time_sigmas),
            **constant,
        }

    def linear_form(self) -> LinearForm:
        return LinearForm(self.tensors(), self.clock)

    def in_coordinates(self, world: Similarity) -> Gaussians4D:
        """Express the same scene in other coordinates of its own; ``world`` leads from those to the capture's world."""
        change = world.inverse().after(self.world)
        if change.is_identity():
            return self
        velocities = change.scale * change.directions(self.velocities)
        return replace(self, **splats_moved(self.tensors(), change), velocities=velocities, world=world)

    def moved(self, change: Similarity) -> Gaussians4D:
        return self.with_world(change.after(self.world)).in_coordinates(self.world)

    def retimed(self, change: TimeMap) -> Gaussians4D:
        """Change the clock, or stretch every Gaussian by the rate at its time centre: exact where the rate is the same all the time
        that the Gaussian is visible."""
        first, last = change.seconds(torch.tensor(self.seconds, dtype=torch.float64)).tolist()
        if change.is_affine:
            start, rate = float(change.seconds(torch.tensor(self.clock.offset))), float(change.rate(torch.tensor(0.0)))
            return replace(self, clock=Clock(start, rate * self.clock.rate), seconds=(first, last))
        centers = self.clock.seconds(self.time_centers.double())
        rates = change.rate(centers).to(self.means)
        moved = self.clock.scene_time(change.seconds(centers)).to(self.means)
        stretched = {"velocities": self.velocities / rates[:, None], "time_sigmas": self.time_sigmas * rates}
        return replace(self, time_centers=moved, **stretched, seconds=(first, last))

    def trimmed(self, first: float, last: float) -> Gaussians4D:
        low, high = self.clock.scene_time(torch.tensor([first, last], dtype=torch.float64)).sort().values.tolist()
        nearest = self.time_centers.clamp(low, high)
        peaks = self.opacities * temporal_weight(nearest, self.time_centers, self.time_sigmas)
        return replace(self.select(peaks >= FAINT), seconds=(first, last))

    def metadata(self) -> dict[str, str]:
        clock = {"offset": self.clock.offset, "rate": self.clock.rate}
        return {"clock": json.dumps(clock), "seconds": json.dumps(list(self.seconds))}

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], world: Similarity, metadata: Mapping[str, str]) -> Self:
        first, last = json.loads(metadata["seconds"])
        return cls(**tensors, world=world, notes={}, clock=Clock(**json.loads(metadata["clock"])), seconds=(float(first), float(last)))
