"""The five input set-ups of 4D-LRM (section 4): functions from a studio to the input views.

The targets of all are the four canonical views and one random view at every timestamp, without the inputs.
"""

from __future__ import annotations

from collections.abc import Callable

from chronosplat.assets import MovingMesh
from chronosplat.cameras import CANONICAL
from chronosplat.evaluate.studio import TIMES, MeshStudio, Split, Studio, ViewSpec, split_of, subsample
from chronosplat.shapes import InputError

ROTATION_STEP = 15.0  # degrees between the views of a rotating camera


def alternating(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """One canonical view per timestamp: front, right, back, left in turn. 24 images, 4 poses."""
    return [ViewSpec(CANONICAL[i % 4], 0.0, t) for i, t in enumerate(subsample(studio.input_frames, times))]


def interpolation(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """Two canonical views at every other timestamp. 24 images, 4 poses, 12 timestamps."""
    even = subsample(studio.input_frames, times)[::2]
    return [ViewSpec(CANONICAL[(2 * i + side) % 4], 0.0, t) for i, t in enumerate(even) for side in (0, 1)]


def rotating(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """Two cameras that move from front to back, one on either side, in steps of 15 degrees, and take turns. 24 images, 24 poses."""
    frames = subsample(studio.input_frames, times)
    azimuths = [ROTATION_STEP * (i // 2) if i % 2 == 0 else 360 - ROTATION_STEP * (i // 2 + 1) for i in range(len(frames))]
    return [ViewSpec(azimuth, 0.0, t) for azimuth, t in zip(azimuths, frames, strict=True)]


def random(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """One random view per timestamp."""
    return [studio.random_view(t, "inputs") for t in subsample(studio.input_frames, times)]


def video(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """A video from the front, and the three other canonical views of its first frame (L4GM's setting). 27 images."""
    frames = subsample(studio.input_frames, times)
    return [ViewSpec(0.0, 0.0, t) for t in frames] + [ViewSpec(azimuth, 0.0, frames[0]) for azimuth in CANONICAL[1:]]


SETUPS: dict[str, Callable[[Studio, int], list[ViewSpec]]] = {
    "alternating": alternating,
    "interpolation": interpolation,
    "rotating": rotating,
    "random": random,
    "video": video,
}


def alternating_canonical(mesh: MovingMesh, size: int = 128, times: int = TIMES, samples: int = 3) -> Split:
    """Render a moving mesh in the first set-up."""
    studio = MeshStudio(mesh, mesh.name, size, times, samples)
    return split_of(studio, alternating(studio, times))


def random_inputs(studio: Studio, count: int) -> list[ViewSpec]:
    """Draw ``count`` random views, evenly spread over time, for the curve over the number of views."""
    if count < 1:
        raise InputError(f"views: expected at least one input view, got {count}")
    frames = subsample(studio.input_frames, TIMES)
    chosen = subsample(frames, count) if count <= len(frames) else [frames[i % len(frames)] for i in range(count)]
    return list(dict.fromkeys(studio.random_view(t, "inputs", i // len(frames)) for i, t in enumerate(chosen)))
