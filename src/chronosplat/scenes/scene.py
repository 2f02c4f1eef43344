"""The contract of every kind of scene, the registry of kinds, and the static scene that any kind is at one time.

A new kind is one class that names itself with :func:`scene_kind` and satisfies :class:`Scene`; a dataclass of tensors extends
:class:`TensorScene`. Rendering, exports, files and evaluation then work as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Protocol, Self, TypeVar

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.scenes.rotations import matrices_to_quats, multiply
from chronosplat.shapes import check_shape, ordinary

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


@dataclass(frozen=True)
class LinearForm:
    """Gaussians that stand still or move on straight lines: what the renderers take as it is.

    Attributes:
        tensors: fields of ``Gaussians3D`` or ``Gaussians4D`` by name.
        clock: from the scene's own time to seconds; None for a static scene.
    """

    tensors: dict[str, Tensor]
    clock: Clock | None = None


class Scene(Protocol):
    """Gaussians over time.

    Fields are in the scene's own world. ``at``, :func:`chronosplat.render.render` and the exports use the capture's world
    and seconds, so that the capture's cameras and timestamps fit as they are.

    Attributes:
        kind: the name under which the kind is registered. schema: version of its file.
    """

    kind: ClassVar[str]
    schema: ClassVar[int]

    @property
    def world(self) -> Similarity:
        """From the scene's own world to the capture's."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the Gaussians are."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The Gaussians' floating point type."""
        ...

    @property
    def num_gaussians(self) -> int:
        """N: Gaussians at one time."""
        ...

    @property
    def num_frames(self) -> int | None:
        """T: stored time steps; 1 for a static scene, None where time is continuous."""
        ...

    @property
    def seconds(self) -> tuple[float, float] | None:
        """The first and last observed second; None for a static scene."""
        ...

    def timestamps(self, count: int) -> list[float]:
        """Seconds at which to sample the scene: its stored time steps, else ``count`` evenly spaced; none for a static scene."""
        ...

    def at(self, seconds: float) -> Gaussians3D:
        """The Gaussians at a time, in the capture's world."""
        ...

    def evaluate(self, seconds: Tensor) -> dict[str, Tensor]:
        """Fields of ``Gaussians3D``, each [T, N, ...], at times [T], in the scene's own world; differentiable."""
        ...

    def linear_form(self) -> LinearForm | None:
        """The Gaussians in linear motion, if that is all they do."""
        ...

    def with_world(self, world: Similarity) -> Scene:
        """The same scene with another similarity to the capture's world."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What the file holds, by name."""
        ...

    def metadata(self) -> dict[str, str]:
        """What the file says beside its tensors, the world, the kind and the schema."""
        ...

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], world: Similarity, metadata: Mapping[str, str]) -> Scene:
        """The inverse of :meth:`tensors` and :meth:`metadata`.

        Raises:
            KeyError, TypeError, ValueError: a damaged file.
        """
        ...


SCENE_KINDS: dict[str, type[Scene]] = {}
Kind = TypeVar("Kind", bound=type)


def scene_kind(name: str, schema: int = 1) -> Callable[[Kind], Kind]:
    """Register a class as a kind of scene.

    Args:
        name: in files and messages. schema: version of the kind's file; raise it when old files no longer read.
    """

    def register(cls: Kind) -> Kind:
        cls.kind, cls.schema = name, schema
        SCENE_KINDS[name] = cls
        return cls

    return register


@dataclass(frozen=True)
class TensorScene:
    """Base of scenes that are dataclasses of tensors. A subclass defines its fields, ``num_gaussians``, ``seconds`` and ``evaluate``."""

    kind: ClassVar[str] = ""
    schema: ClassVar[int] = 1
    world: Similarity = field(default_factory=Similarity, kw_only=True)

    def __post_init__(self) -> None:
        for name, tensor in self.tensors().items():
            object.__setattr__(self, name, ordinary(tensor))

    def tensors(self) -> dict[str, Tensor]:
        """The tensor fields by name, in the order of declaration."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The scene with ``function`` applied to every tensor field."""
        return replace(self, **{name: function(value) for name, value in self.tensors().items()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The scene on another device or in another precision."""
        return self.map(lambda x: x.to(device=device, dtype=dtype))

    def check(self, shapes: Mapping[str, str]) -> None:
        """Check the shapes of the named fields against each other."""
        sizes: dict[str, int] = {}
        for name, shape in shapes.items():
            check_shape(name, getattr(self, name), shape, sizes)

    @property
    def device(self) -> torch.device:
        """Where the Gaussians are."""
        return next(iter(self.tensors().values())).device

    @property
    def dtype(self) -> torch.dtype:
        """The Gaussians' floating point type."""
        return next(iter(self.tensors().values())).dtype

    @property
    def num_frames(self) -> int | None:
        """None: time is continuous."""
        return None

    def timestamps(self: Scene, count: int) -> list[float]:
        """See Scene: evenly spaced."""
        if self.seconds is None:
            return []
        first, last = self.seconds
        return [first + (last - first) * i / max(count - 1, 1) for i in range(count)]

    def at(self: Scene, seconds: float) -> Gaussians3D:
        """The Gaussians at a time, in the capture's world."""
        return gaussians_at(self, seconds).in_world()

    def linear_form(self) -> LinearForm | None:
        """See Scene: none."""
        return None

    def with_world(self, world: Similarity) -> Self:
        """See Scene."""
        return replace(self, world=world)

    def metadata(self) -> dict[str, str]:
        """See Scene: nothing."""
        return {}

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], world: Similarity, metadata: Mapping[str, str]) -> Self:
        """See Scene."""
        return cls(**tensors, world=world)


@scene_kind("Gaussians3D")
@dataclass(frozen=True)
class Gaussians3D(TensorScene):
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

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(SPLAT_SHAPES)

    @property
    def num_gaussians(self) -> int:
        """N."""
        return self.means.shape[0]

    @property
    def num_frames(self) -> int:
        """A static scene is one frame."""
        return 1

    @property
    def seconds(self) -> None:
        """A static scene has no time."""

    def evaluate(self, seconds: Tensor) -> dict[str, Tensor]:
        """See Scene: the same at all times, without a copy."""
        return {name: t.expand(len(seconds), *t.shape) for name, t in self.tensors().items()}

    def linear_form(self) -> LinearForm:
        """See Scene."""
        return LinearForm(self.tensors())

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


def gaussians_at(scene: Scene, seconds: float) -> Gaussians3D:
    """A scene's Gaussians at a time, in its own world. All N are kept, however faint."""
    fields = scene.evaluate(torch.tensor([seconds], dtype=torch.float64))
    return Gaussians3D(**{name: t[0] for name, t in fields.items()}, world=scene.world)
