"""Times that lie inside a scene."""

from __future__ import annotations

from collections.abc import Sequence

from chronosplat.scenes import Scene
from chronosplat.shapes import InputError


def check_times(scene: Scene, times: Sequence[float]) -> None:
    """Check that times lie inside the scene.

    Raises:
        InputError: names the first that does not.
    """
    if scene.seconds is None:
        return
    first, last = scene.seconds
    slack = 1e-6 * max(1.0, last - first)
    outside = next((t for t in times if not first - slack <= t <= last + slack), None)
    if outside is not None:
        raise InputError(f"times: {outside:g} s lies outside the scene, which spans {first:g} to {last:g} s")
