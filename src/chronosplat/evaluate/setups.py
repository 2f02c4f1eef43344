"""The five input set-ups of 4D-LRM (section 4): which pictures of an object go in, and which are asked for.

In all of them the pictures asked for are the four canonical views and one random view at every moment, less the
pictures that go in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chronosplat.assets import MovingMesh
from chronosplat.cameras import CANONICAL
from chronosplat.evaluate.studio import TIMES, MeshStudio, Split, Studio, ViewSpec, split_of, thinned
from chronosplat.shapes import InputError

ROTATION_STEP = 15.0  # degrees between the pictures of a rotating camera


@dataclass(frozen=True)
class Setup:
    """An input set-up: its name on the command line, what it is, and the shots that it takes of a studio."""

    name: str
    about: str
    shots: Callable[[Studio, int], list[ViewSpec]]


def alternating(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """One canonical view per moment: front, left, back, right (of the object) cyclically. 24 pictures, 4 poses."""
    return [ViewSpec(CANONICAL[i % 4], 0.0, t) for i, t in enumerate(thinned(studio.input_moments, times))]


def interpolation(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """Two canonical views at each even moment, the odd ones missing. 24 pictures, 4 poses, 12 moments."""
    even = thinned(studio.input_moments, times)[::2]
    return [ViewSpec(CANONICAL[(2 * i + side) % 4], 0.0, t) for i, t in enumerate(even) for side in (0, 1)]


def rotating(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """Two cameras walk from front to back on either side, in steps of 15 degrees, and film in turns. 24 pictures, 24 poses."""
    moments = thinned(studio.input_moments, times)
    azimuths = [ROTATION_STEP * (i // 2) if i % 2 == 0 else 360 - ROTATION_STEP * (i // 2 + 1) for i in range(len(moments))]
    return [ViewSpec(azimuth, 0.0, t) for azimuth, t in zip(azimuths, moments, strict=True)]


def random(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """One random view per moment."""
    return [studio.random_shot(t, "inputs") for t in thinned(studio.input_moments, times)]


def video(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """A video from the front, and the three other canonical views of its first moment (L4GM's setting). 27 pictures."""
    moments = thinned(studio.input_moments, times)
    return [ViewSpec(0.0, 0.0, t) for t in moments] + [ViewSpec(azimuth, 0.0, moments[0]) for azimuth in CANONICAL[1:]]


SETUPS = {
    setup.name: setup
    for setup in (
        Setup("alternating", "alternating canonical views", alternating),
        Setup("interpolation", "frame interpolation", interpolation),
        Setup("rotating", "two rotating cameras", rotating),
        Setup("random", "random views", random),
        Setup("video", "video + first-frame views", video),
    )
}


def alternating_canonical(mesh: MovingMesh, size: int = 128, times: int = TIMES, samples: int = 3) -> Split:
    """The first set-up, photographed from a moving mesh."""
    studio = MeshStudio(mesh, mesh.name, size, times, samples)
    return split_of(studio, alternating(studio, times))


def random_inputs(studio: Studio, count: int) -> list[ViewSpec]:
    """``count`` random views, spread evenly over the moments: the set-up of the curve over the number of views."""
    if count < 1:
        raise InputError(f"views: expected at least one input picture, got {count}")
    moments = thinned(studio.input_moments, TIMES)
    chosen = thinned(moments, count) if count <= len(moments) else [moments[i % len(moments)] for i in range(count)]
    shots = [studio.random_shot(t, "inputs", i // len(moments)) for i, t in enumerate(chosen)]
    return list(dict.fromkeys(shots))
