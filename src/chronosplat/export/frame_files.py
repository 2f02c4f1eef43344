"""A sequence of files, or of frames inside one file, as a scene: each is read when its time is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.scenes import SPLAT_SHAPES, Gaussians3D, GaussianSequence, sequence_in_memory

UNSEEN = {"means": 0.0, "quats": 1.0, "scales": 1e-6, "opacities": 0.0, "colors": 0.0}  # of Gaussians that fill a frame up


@dataclass(frozen=True)
class FrameFiles:
    """A sequence whose frames are files with any number of Gaussians; frames are filled up with invisible ones.

    Attributes:
        files: one per time: paths, or whatever else ``read`` takes. times: seconds, increasing. num_gaussians: the most of a frame.
        read: reads a frame; all have the same own world.
        world: from that world to the capture's. notes: metadata for a scene file.
    """

    files: tuple[Any, ...]
    times: tuple[float, ...]
    num_gaussians: int
    read: Callable[[Any], Gaussians3D]
    world: Similarity
    notes: Mapping[str, str] = field(default_factory=dict)

    kind: ClassVar[str] = GaussianSequence.kind  # what it becomes in a scene file
    schema: ClassVar[int] = GaussianSequence.schema

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    @property
    def num_frames(self) -> int:
        return len(self.files)

    @property
    def seconds(self) -> tuple[float, float]:
        return self.times[0], self.times[-1]

    def timestamps(self, count: int) -> list[float]:
        """Return the times of the frames."""
        return list(self.times)

    def frame(self, index: int) -> Gaussians3D:
        """Return the Gaussians of one frame, in the scene's own world."""
        return self.read(self.files[index]).with_world(self.world)

    def _nearest(self, seconds: float) -> int:
        return min(range(len(self.times)), key=lambda index: abs(self.times[index] - seconds))

    def at(self, seconds: float) -> Gaussians3D:
        """Return the frame nearest in time, in the capture's world."""
        return self.frame(self._nearest(seconds)).in_world()

    def evaluate(self, seconds: Tensor) -> dict[str, Tensor]:
        """Read the frames nearest in time, filled up to one length."""
        frames = [self.frame(self._nearest(t)) for t in seconds.tolist()]
        return {
            name: torch.stack([_filled(getattr(frame, name), self.num_gaussians, UNSEEN[name]) for frame in frames])
            for name in SPLAT_SHAPES
        }

    def linear_form(self) -> None:
        return None

    def with_world(self, world: Similarity) -> FrameFiles:
        return replace(self, world=world)

    def with_notes(self, notes: Mapping[str, str]) -> FrameFiles:
        return replace(self, notes=notes)

    def editable(self) -> GaussianSequence:
        """Read the whole sequence.

        Raises:
            InputError: it does not fit into memory.
        """
        return sequence_in_memory(self)

    def tensors(self) -> dict[str, Tensor]:
        """Read the whole sequence."""
        times = torch.tensor(self.times, dtype=torch.float64)
        return self.evaluate(times) | {"times": times}

    def metadata(self) -> dict[str, str]:
        return {}

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], world: Similarity, metadata: Mapping[str, str]) -> GaussianSequence:
        """Build the sequence in memory, because its tensors are."""
        return GaussianSequence.from_file(tensors, world, metadata)


def _filled(tensor: Tensor, length: int, value: float) -> Tensor:
    """Lengthen a tensor [N, ...] to [length, ...]."""
    missing = torch.full((length - len(tensor), *tensor.shape[1:]), value, dtype=tensor.dtype)
    return torch.cat([tensor, missing])
