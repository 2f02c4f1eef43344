"""Scenes in memory: one set of Gaussians per frame, and Gaussians in linear motion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.scenes.conditioning import temporal_weight
from chronosplat.scenes.scene import MOTION_SHAPES, SPLAT_SHAPES, Clock, Gaussians3D, LinearForm, TensorScene, scene_kind
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

    def metadata(self) -> dict[str, str]:
        clock = {"offset": self.clock.offset, "rate": self.clock.rate}
        return {"clock": json.dumps(clock), "seconds": json.dumps(list(self.seconds))}

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], world: Similarity, metadata: Mapping[str, str]) -> Self:
        first, last = json.loads(metadata["seconds"])
        return cls(**tensors, world=world, clock=Clock(**json.loads(metadata["clock"])), seconds=(float(first), float(last)))
