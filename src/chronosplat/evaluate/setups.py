"""Set-ups: which views are inputs, which are targets, at how many timestamps and at which image size.

The five of 4D-LRM (section 4) ask for the four canonical views and one random view at every timestamp, without the inputs.
``dense4`` and ``dense8`` are captures by static cameras, and ``dnerf`` follows the protocol of D-NeRF.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chronosplat.assets import MovingMesh
from chronosplat.cameras import CANONICAL
from chronosplat.evaluate.studio import TIMES, MeshStudio, Split, Studio, ViewSpec, canonical_and_random, split_of, subsample
from chronosplat.shapes import InputError

ROTATION_STEP = 15.0  # degrees between the views of a rotating camera
DNERF_TARGETS = 20  # test views of each D-NeRF scene


@dataclass(frozen=True)
class Setup:
    """A protocol.

    Attributes:
        inputs: chooses the input views at a number of timestamps.
        targets: chooses the target views, given the inputs; those that are inputs are left out.
        times: number of input timestamps, unless the user gives one.
        size: pixels of the longer side, unless the user gives one.
        between: timestamps of a moving mesh between two input timestamps, for targets at other times.
    """

    inputs: Callable[[Studio, int], list[ViewSpec]]
    targets: Callable[[Studio, Sequence[ViewSpec]], list[ViewSpec]] = canonical_and_random
    times: int = TIMES
    size: int = 128
    between: int = 0

    def timestamps(self, times: int) -> int:
        """Return the number of timestamps of a moving mesh with ``times`` input timestamps."""
        return times + self.between * (times - 1)

    def split(self, studio: Studio, times: int | None = None) -> Split:
        """Split a studio's views into inputs and targets.

        Raises:
            InputError: a view is missing, or no target is left.
        """
        inputs = self.inputs(studio, self.times if times is None else times)
        return split_of(studio, inputs, self.targets(studio, inputs))


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


def dense(studio: Studio, times: int, count: int) -> list[ViewSpec]:
    """``count`` static cameras at elevation 0, evenly spaced from the front, at all timestamps."""
    return [ViewSpec(360 / count * i, 0.0, t) for t in subsample(studio.input_frames, times) for i in range(count)]


def dense4(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """The four canonical views at all timestamps. 96 images."""
    return dense(studio, times, 4)


def dense8(studio: Studio, times: int = TIMES) -> list[ViewSpec]:
    """Eight views, every 45 degrees, at all timestamps. 192 images."""
    return dense(studio, times, 8)


def random_and_static(studio: Studio, inputs: Sequence[ViewSpec]) -> list[ViewSpec]:
    """Choose two random views at every timestamp: one from anywhere, and one of a random camera that stays, which shows flicker."""
    frames = studio.target_frames
    static = studio.random_view(frames[0], "static camera")
    stays = [spec for t in frames if studio.has(spec := replace(static, frame=t))]
    return [studio.random_view(t, "targets") for t in frames] + stays


def dnerf_targets(studio: Studio, inputs: Sequence[ViewSpec]) -> list[ViewSpec]:
    """Choose 20 random views, evenly spaced in time, at timestamps without inputs (at all if there are no others)."""
    seen = {spec.frame for spec in inputs}
    others = [t for t in studio.target_frames if t not in seen] or studio.target_frames
    return [studio.random_view(t, "targets") for t in subsample(others, DNERF_TARGETS)]


PAPER = {  # 4D-LRM, section 4
    "alternating": Setup(alternating),
    "interpolation": Setup(interpolation),
    "rotating": Setup(rotating),
    "random": Setup(random),
    "video": Setup(video),
}
SETUPS: dict[str, Setup] = PAPER | {
    "dense4": Setup(dense4, random_and_static),
    "dense8": Setup(dense8, random_and_static, size=256),
    # D-NeRF (Pumarola et al., CVPR 2021): one camera per timestamp, anywhere around the object; 20 test views from other cameras
    # at times of their own; its code halves the images to 400x400.
    "dnerf": Setup(random, dnerf_targets, times=100, size=400, between=1),
}


def alternating_canonical(mesh: MovingMesh, size: int = 128, times: int = TIMES, samples: int = 3) -> Split:
    """Render a moving mesh in the first set-up."""
    studio = MeshStudio(mesh, mesh.name, size, times, samples)
    return SETUPS["alternating"].split(studio, times)


def random_inputs(studio: Studio, count: int) -> list[ViewSpec]:
    """Draw ``count`` random views, evenly spread over time, for the curve over the number of views."""
    if count < 1:
        raise InputError(f"views: expected at least one input view, got {count}")
    frames = subsample(studio.input_frames, TIMES)
    chosen = subsample(frames, count) if count <= len(frames) else [frames[i % len(frames)] for i in range(count)]
    return list(dict.fromkeys(studio.random_view(t, "inputs", i // len(frames)) for i, t in enumerate(chosen)))
