"""Changes of time: piecewise linear, increasing maps from seconds to seconds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from chronosplat.shapes import InputError


@dataclass(frozen=True)
class TimeMap:
    """An increasing map through pairs of seconds; straight between them, and beyond the first and the last.

    Attributes:
        before, after: at least two seconds each, increasing.
    """

    before: tuple[float, ...]
    after: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.before) != len(self.after) or len(self.before) < 2:
            raise InputError(f"time map: expected two or more pairs of seconds, got {len(self.before)} and {len(self.after)}")
        if not all(a < b for times in (self.before, self.after) for a, b in pairwise(times)):
            raise InputError("time map: expected seconds that increase")

    @staticmethod
    def affine(offset: float, rate: float) -> TimeMap:
        """Return ``seconds -> offset + rate * seconds``."""
        return TimeMap((0.0, 1.0), (offset, offset + rate))

    @property
    def is_affine(self) -> bool:
        """Whether it is one straight line."""
        return len(self.before) == 2

    def seconds(self, seconds: Tensor) -> Tensor:
        """Map seconds [...]; float64."""
        piece = self._piece(seconds)
        before, after = (torch.tensor(times, dtype=torch.float64) for times in (self.before, self.after))
        return after[piece] + self.rate(seconds) * (seconds.double().cpu() - before[piece])

    def rate(self, seconds: Tensor) -> Tensor:
        """Return the derivative at seconds [...]; float64."""
        before, after = (torch.tensor(times, dtype=torch.float64) for times in (self.before, self.after))
        return (after.diff() / before.diff())[self._piece(seconds)]

    def _piece(self, seconds: Tensor) -> Tensor:
        """The piece of the line that maps each time."""
        inner = torch.tensor(self.before[1:-1], dtype=torch.float64)
        return torch.searchsorted(inner, seconds.double().cpu().contiguous(), right=True)
