"""The protocol of scenes, the registry of their kinds, and static Gaussians.

A new kind is one class that registers with :func:`scene_kind` and satisfies :class:`Scene`; a dataclass of tensors extends
:class:`TensorScene`. Rendering, exports, files and evaluation then work without changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.scenes.rotations import matrices_to_quats, multiply
from chronosplat.scenes.time_map import TimeMap
from chronosplat.shapes import InputError, check_shape, ordinary

if TYPE_CHECKING:
    from chronosplat.scenes.editable import Editable

SPLAT_SHAPES = {"means": "N 3", "quats": "N 4", "scales": "N 3", "opacities": "N", "colors": "N 3"}
MOTION_SHAPES = {"velocities": "N 3", "time_centers": "N", "time_sigmas": "N"}


@dataclass(frozen=True)
class Clock:
    """Affine map between scene time and seconds: ``seconds = offset + rate * t``."""

    offset: float = 0.0
    rate: float = 1.0

    def seconds(self, t: Tensor) -> Tensor:
        """Convert scene time to seconds."""
        return self.offset + self.rate * t

    def scene_time(self, seconds: Tensor) -> Tensor:
        """Convert seconds to scene time."""
        return (seconds - self.offset) / self.rate


@dataclass(frozen=True)
class LinearForm:
    """Static or linearly moving Gaussians, which the renderers evaluate themselves.

    Attributes:
        tensors: fields of ``Gaussians3D`` or ``Gaussians4D`` by name.
        clock: converts between scene time and seconds; None for a static scene.
    """

    tensors: dict[str, Tensor]
    clock: Clock | None = None


class Scene(Protocol):
    """Gaussians over time.

    Fields are in the scene's own world. ``at``, :func:`chronosplat.render.render` and the exports use the capture's world
    and seconds, like the capture's cameras and timestamps.

    Attributes:
        kind: registered name. schema: version of the file format.
    """

    kind: ClassVar[str]
    schema: ClassVar[int]

    @property
    def world(self) -> Similarity:
        """Map from the scene's own world to the capture's."""
        ...

    @property
    def notes(self) -> Mapping[str, str]:
        """What its file says beside the Gaussians, text by name: how it was made, and its edits."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the Gaussians."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Floating point type of the Gaussians."""
        ...

    @property
    def num_gaussians(self) -> int:
        """Number of Gaussians N at one time."""
        ...

    @property
    def num_frames(self) -> int | None:
        """Number of stored time steps T; 1 for a static scene, None where time is continuous."""
        ...

    @property
    def seconds(self) -> tuple[float, float] | None:
        """First and last observed second; None for a static scene."""
        ...

    def timestamps(self, count: int) -> list[float]:
        """Return the stored time steps in seconds, else ``count`` evenly spaced ones; none for a static scene."""
        ...

    def at(self, seconds: float) -> Gaussians3D:
        """Return the Gaussians at a time, in the capture's world."""
        ...

    def evaluate(self, seconds: Tensor) -> dict[str, Tensor]:
        """Return the fields of ``Gaussians3D``, each [T, N, ...], at times [T], in the scene's own world; differentiable."""
        ...

    def linear_form(self) -> LinearForm | None:
        """Return the Gaussians in linear form; None if they move otherwise."""
        ...

    def with_world(self, world: Similarity) -> Scene:
        """Replace the map to the capture's world."""
        ...

    def with_notes(self, notes: Mapping[str, str]) -> Scene:
        """Replace the notes."""
        ...

    def editable(self) -> Editable:
        """Return the scene in memory, as a kind that can be edited.

        Raises:
            InputError: it does not fit into memory.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors to store, by name."""
        ...

    def metadata(self) -> dict[str, str]:
        """Return the metadata to store beside the world, the kind and the schema."""
        ...

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], world: Similarity, metadata: Mapping[str, str]) -> Scene:
        """Build the scene from what :meth:`tensors` and :meth:`metadata` stored.

        Raises:
            KeyError, TypeError, ValueError: the file is damaged.
        """
        ...


@runtime_checkable
class Tracked(Protocol):
    """A scene that knows where a surface point is at any time: correspondence over time."""

    def tracks(self, points: Tensor, at: float, seconds: Tensor) -> Tensor:
        """Follow points [P, 3] of the capture's world, at the time ``at`` in seconds, to the times ``seconds`` [T]: [T, P, 3]."""
        ...


@runtime_checkable
class Skinned(Protocol):
    """A scene of canonical Gaussians that nodes move, as :class:`~chronosplat.scenes.DeformableGaussians` names its parts."""

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
    groups: Tensor | None
    offsets: Tensor | None
    tints: Tensor | None
    fades: Tensor | None
    shares: Tensor | None


SCENE_KINDS: dict[str, type[Scene]] = {}
Kind = TypeVar("Kind", bound=type)


def scene_kind(name: str, schema: int = 1) -> Callable[[Kind], Kind]:
    """Register a class as a kind of scene.

    Args:
        name: its name in files and messages.
        schema: version of its file format; raise it when old files can no longer be read.
    """

    def register(cls: Kind) -> Kind:
        cls.kind, cls.schema = name, schema
        SCENE_KINDS[name] = cls
        return cls

    return register


@dataclass(frozen=True)
class TensorScene:
    """Base class for dataclasses of tensors. A subclass adds its fields, ``num_gaussians``, ``seconds`` and ``evaluate``.

    Attributes:
        per_gaussian: names of the fields whose first axis is N; those that are None are left out.
        world: from these coordinates to the capture's world.
        notes: more metadata of its file.
    """

    kind: ClassVar[str] = ""
    schema: ClassVar[int] = 1
    per_gaussian: ClassVar[tuple[str, ...]] = tuple(SPLAT_SHAPES)
    world: Similarity = field(default_factory=Similarity, kw_only=True)
    notes: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        for name, tensor in self.tensors().items():
            object.__setattr__(self, name, ordinary(tensor))

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensor fields by name, in declaration order."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Apply ``function`` to every tensor field."""
        return replace(self, **{name: function(value) for name, value in self.tensors().items()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Move to another device or precision; indices stay integers."""
        return self.map(lambda x: x.to(device=device, dtype=dtype if x.is_floating_point() else None))

    def check(self, shapes: Mapping[str, str]) -> None:
        """Check the shapes of the named fields and the consistency of their axes."""
        sizes: dict[str, int] = {}
        for name, shape in shapes.items():
            check_shape(name, getattr(self, name), shape, sizes)

    @property
    def device(self) -> torch.device:
        return next(iter(self.tensors().values())).device

    @property
    def dtype(self) -> torch.dtype:
        return next(iter(self.tensors().values())).dtype

    @property
    def num_frames(self) -> int | None:
        return None

    def timestamps(self: Scene, count: int) -> list[float]:
        """Return ``count`` evenly spaced times; none for a static scene."""
        if self.seconds is None:
            return []
        first, last = self.seconds
        return [first + (last - first) * i / max(count - 1, 1) for i in range(count)]

    def at(self: Scene, seconds: float) -> Gaussians3D:
        return gaussians_at(self, seconds).in_world()

    def linear_form(self) -> LinearForm | None:
        return None

    def with_world(self, world: Similarity) -> Self:
        return replace(self, world=world)

    def with_notes(self, notes: Mapping[str, str]) -> Self:
        return replace(self, notes=notes)

    def editable(self) -> Self:
        return self

    def select(self, keep: Tensor) -> Self:
        rows = torch.nonzero(keep.to(self.device))[:, 0]
        chosen = {name: getattr(self, name) for name in self.per_gaussian}
        return replace(self, **{name: value[rows] for name, value in chosen.items() if value is not None})

    def moved(self, change: Similarity) -> Self:
        """Move the Gaussians by their world; a kind that can express itself in other coordinates keeps its world."""
        return self.with_world(change.after(self.world))

    def recoloured(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, colors=change(self.tensors()["colors"]))

    def retimed(self, change: TimeMap) -> Self:
        raise InputError(f"scene: the times of a {self.kind} cannot be changed", "sample it into frames first")

    def trimmed(self, first: float, last: float) -> Self:
        raise InputError(f"scene: a {self.kind} cannot be trimmed", "sample it into frames first")

    def looped(self, fade: float) -> Self | None:
        return None

    def metadata(self) -> dict[str, str]:
        return {}

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], world: Similarity, metadata: Mapping[str, str]) -> Self:
        return cls(**tensors, world=world, notes={})


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
        return self.means.shape[0]

    @property
    def num_frames(self) -> int:
        return 1

    @property
    def seconds(self) -> None:
        return None

    def evaluate(self, seconds: Tensor) -> dict[str, Tensor]:
        """Expand the fields to [T, N, ...] without a copy."""
        return {name: t.expand(len(seconds), *t.shape) for name, t in self.tensors().items()}

    def linear_form(self) -> LinearForm:
        return LinearForm(self.tensors())

    def in_world(self) -> Gaussians3D:
        """Convert the Gaussians to the capture's world."""
        return self.in_coordinates(Similarity())

    def in_coordinates(self, world: Similarity) -> Gaussians3D:
        """Express the same scene in other coordinates of its own; ``world`` leads from those to the capture's world."""
        change = world.inverse().after(self.world)
        return self if change.is_identity() else replace(self, **splats_moved(self.tensors(), change), world=world)

    def moved(self, change: Similarity) -> Gaussians3D:
        return self.with_world(change.after(self.world)).in_coordinates(self.world)


def splats_moved(splats: Mapping[str, Tensor], change: Similarity) -> dict[str, Tensor]:
    """Apply a similarity to means [..., 3], quats [..., 4] and scales [..., 3]."""
    turn = matrices_to_quats(change.rotation).to(splats["quats"])
    return {
        "means": change.points(splats["means"]),
        "quats": multiply(turn.expand_as(splats["quats"]), splats["quats"]),
        "scales": splats["scales"] * change.scale,
    }


def gaussians_at(scene: Scene, seconds: float) -> Gaussians3D:
    """Return all N Gaussians of a scene at a time, in its own world."""
    fields = scene.evaluate(torch.tensor([seconds], dtype=torch.float64))
    return Gaussians3D(**{name: t[0] for name, t in fields.items()}, world=scene.world, notes={})
