"""Videos and first-frame views made from a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Movie:
    """T frames of a coloured block that moves over a transparent background; records which were read."""

    count: int
    fps: float = 10.0
    seed: int = 3
    reads: list[int] = field(default_factory=list)

    @property
    def times(self) -> Tensor:
        """[T] seconds."""
        return 1.5 + torch.arange(self.count, dtype=torch.float64) / self.fps

    def frames(self, size: int, which: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """See chronosplat.sequences.run.FrameSource."""
        for index in which:
            self.reads.append(index)
            yield self.frame(size, index)

    def frame(self, size: int, index: int) -> tuple[Tensor, Tensor]:
        """Straight colours and alphas of one frame."""
        generator = torch.Generator().manual_seed(self.seed + index // 4)
        images = torch.rand(3, generator=generator).expand(size, size, 3) * torch.linspace(0.3, 1, size)[:, None, None]
        alphas = torch.zeros(size, size, 1)
        left = 4 + index % (size // 2 - 4)
        alphas[size // 4 : 3 * size // 4, left : left + size // 3] = 1
        return images, alphas

    def white(self, size: int, index: int) -> Tensor:
        """[size, size, 3] one frame on white."""
        images, alphas = self.frame(size, index)
        return images * alphas + 1 - alphas


def side_views(size: int, seed: int = 0) -> Tensor:
    """[4, size, size, 3] on white, blocks of four colours."""
    views = torch.ones(4, size, size, 3)
    generator = torch.Generator().manual_seed(seed)
    for view in views:
        view[size // 4 : 3 * size // 4, size // 3 : 2 * size // 3] = torch.rand(3, generator=generator)
    return views
