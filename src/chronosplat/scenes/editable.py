"""The protocol of scenes that can be edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self

from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.scenes.scene import Scene
from chronosplat.scenes.time_map import TimeMap


class Editable(Scene, Protocol):
    """A scene in memory that can be changed; each method returns a new scene of the same kind."""

    def select(self, keep: Tensor) -> Self:
        """Keep the Gaussians of a mask: bool [N], or [T, N] for each stored frame."""
        ...

    def moved(self, change: Similarity) -> Self:
        """Move, turn and scale the Gaussians in the capture's world, which stays where it is."""
        ...

    def recoloured(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Change the colours [..., 3]."""
        ...

    def retimed(self, change: TimeMap) -> Self:
        """Change the seconds at which everything happens.

        Raises:
            InputError: a kind of scene that cannot.
        """
        ...

    def trimmed(self, first: float, last: float) -> Self:
        """Restrict the scene to an interval inside its ``seconds``; what cannot be seen there is left out.

        Raises:
            InputError: no stored frame lies inside, or a kind of scene that cannot.
        """
        ...

    def looped(self, fade: float) -> Self | None:
        """Blend the end into the beginning, so that the last time equals the first; None if this kind must be sampled into frames.

        Args:
            fade: seconds, at most half of the duration; the scene becomes shorter by it.
        """
        ...
