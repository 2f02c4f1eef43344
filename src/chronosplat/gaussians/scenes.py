"""The three kinds of scene: frozen, with named fields.

Fields are in the scene's own world, which for a predicted scene is the normalised +Y-up world of the network.
``world`` maps it to the capture's world; ``scene.at``, :func:`chronosplat.render.render` and the exports speak the
capture's world and seconds, so cameras and times of the capture fit as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Self

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.gaussians.fourd import temporal_weight
from chronosplat.gaussians.rotations import matrices_to_quats, multiply
from chronosplat.shapes import InputError, check_shape

SPLAT_SHAPES = {"means": "N 3", "quats": "N 4", "scales": "N 3", "opacities": "N", "colors": "N 3"}
MOTION_SHAPES = {"velocities": "N 3", "time_centers": "N", "time_sigmas": "N"}


@dataclass(frozen=True)
class Clock:
    """The affine map from a scene's own time to seconds: ``seconds = offset + rate * t``."""

    offset: float = 0.0
    rate: float = 1.0

    def seconds(self, t: Tensor) -> Tensor:
        """Seconds of scene times."""
        return self.offset + self.rate * t

    def scene_time(self, seconds: Tensor) -> Tensor:
        """Scene times of seconds."""
        return (seconds - self.offset) / self.rate


class TensorFields:
    """What all scenes share: their tensors by name, and moving them between devices."""

    def tensors(self) -> dict[str, Tensor]:
        """The tensor fields by name, in the order of declaration."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # pyright: ignore[reportArgumentType]
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def map(self, function: object) -> Self:
        """The scene with ``function`` applied to every tensor field."""
        assert callable(function)
        return replace(self, **{name: function(value) for name, value in self.tensors().items()})  # pyright: ignore[reportArgumentType]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The scene on another device or in another precision."""
        return self.map(lambda x: x.to(device=device, dtype=dtype))

    def check(self, shapes: dict[str, str]) -> None:
        """Check the shapes of the named fields against each other."""
        sizes: dict[str, int] = {}
        for name, shape in shapes.items():
            check_shape(name, getattr(self, name), shape, sizes)


@dataclass(frozen=True)
class Gaussians3D(TensorFields):
    """N static Gaussians.

    Attributes:
        means: [N, 3]. quats: [N, 4] wxyz. scales: [N, 3] standard deviations.
        opacities: [N] in (0, 1). colors: [N, 3] sRGB in [0, 1].
        world: from these coordinates to the capture's world.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    world: Similarity = field(default_factory=Similarity)

    def __post_init__(self) -> None:
        self.check(SPLAT_SHAPES)

    def __len__(self) -> int:
        return self.means.shape[0]

    def in_world(self) -> Gaussians3D:
        """The same Gaussians with their coordinates in the capture's world."""
        if self.world.is_identity():
            return self
        turn = matrices_to_quats(self.world.rotation).to(self.quats)
        return Gaussians3D(
            means=self.world.points(self.means),
            quats=multiply(turn.expand_as(self.quats), self.quats),
            scales=self.scales * self.world.scale,
            opacities=self.opacities,
            colors=self.colors,
        )


@dataclass(frozen=True)
class GaussianSequence(TensorFields):
    """One set of N Gaussians per frame, at given times (L4GM).

    Attributes:
        means [T, N, 3], quats [T, N, 4], scales [T, N, 3], opacities [T, N], colors [T, N, 3]: as Gaussians3D.
        times: [T] seconds, rising.
        world: from these coordinates to the capture's world.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    times: Tensor
    world: Similarity = field(default_factory=Similarity)

    def __post_init__(self) -> None:
        self.check({name: f"T {shape}" for name, shape in SPLAT_SHAPES.items()} | {"times": "T"})
        if len(self.times) > 1 and not bool((self.times.diff() > 0).all()):
            raise InputError("times: must rise from frame to frame; sort the frames")

    def __len__(self) -> int:
        return self.times.shape[0]

    @property
    def seconds(self) -> tuple[float, float]:
        """First and last moment."""
        return float(self.times[0]), float(self.times[-1])

    def frame(self, index: int) -> Gaussians3D:
        """The Gaussians of one frame, in the scene's own world."""
        return Gaussians3D(*(getattr(self, name)[index] for name in SPLAT_SHAPES), world=self.world)

    def nearest(self, seconds: float) -> int:
        """The index of the frame nearest in time."""
        return int((self.times - seconds).abs().argmin())

    def at(self, seconds: float) -> Gaussians3D:
        """The frame nearest to a moment, in the capture's world."""
        return self.frame(self.nearest(seconds)).in_world()

    def frames(self) -> Iterator[Gaussians3D]:
        """The frames in order, in the scene's own world."""
        return (self.frame(i) for i in range(len(self)))


@dataclass(frozen=True)
class Gaussians4D(TensorFields):
    """N moving Gaussians of one space-time cloud, in the exact moving form of :mod:`chronosplat.gaussians.fourd`.

    Attributes:
        means: [N, 3] at the time centre. velocities: [N, 3] per unit of scene time.
        time_centers: [N] and time_sigmas: [N] in scene time.
        quats: [N, 4] wxyz. scales: [N, 3]. opacities: [N] at the time centre. colors: [N, 3].
        world: from these coordinates to the capture's world.
        clock: from scene time to seconds.
        seconds: first and last moment that was observed.
    """

    means: Tensor
    velocities: Tensor
    time_centers: Tensor
    time_sigmas: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    world: Similarity = field(default_factory=Similarity)
    clock: Clock = field(default_factory=Clock)
    seconds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        self.check(SPLAT_SHAPES | MOTION_SHAPES)

    def __len__(self) -> int:
        return self.means.shape[0]

    def conditioned(self, seconds: float) -> Gaussians3D:
        """The cloud at a moment, in the scene's own world. All N Gaussians are kept, however faint."""
        t = self.clock.scene_time(torch.as_tensor(seconds, dtype=torch.float64)).to(self.means)
        return Gaussians3D(
            means=self.means + self.velocities * (t - self.time_centers)[:, None],
            quats=self.quats,
            scales=self.scales,
            opacities=self.opacities * temporal_weight(t, self.time_centers, self.time_sigmas),
            colors=self.colors,
            world=self.world,
        )

    def at(self, seconds: float) -> Gaussians3D:
        """The cloud at any continuous moment, in the capture's world."""
        return self.conditioned(seconds).in_world()


Scene = Gaussians3D | GaussianSequence | Gaussians4D
