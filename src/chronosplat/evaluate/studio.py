"""Studios: sources of an evaluation's views. A moving mesh renders any view; a posed capture has its own cameras only.

Both address views by :class:`ViewSpec`: azimuth and elevation around the object, and a frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from chronosplat.assets import MovingMesh, PreparedSurface, rasterize_mesh
from chronosplat.cameras import CANONICAL, Cameras, orbit
from chronosplat.captures import Views, normalizing_similarity
from chronosplat.captures.normalize import distinct
from chronosplat.captures.views import evenly
from chronosplat.data.clips import ELEVATIONS, pose_clip
from chronosplat.evaluate.tracks import Tracks, surface_tracks
from chronosplat.shapes import InputError

TIMES = 24
TRACK_SIZE = 512  # pixels of the depth images that decide which surface points are visible
NEAR = 5.0  # tolerance in degrees between a capture's camera and a set-up's view
T = TypeVar("T")


@dataclass(frozen=True)
class ViewSpec:
    """A view by its camera (degrees; azimuth 0 is the front, 90 the right) and its frame, an index of the studio's timestamps."""

    azimuth: float
    elevation: float
    frame: int

    @property
    def is_canonical(self) -> bool:
        """Whether it is the front, right, back or left view."""
        return self.elevation == 0 and self.azimuth in CANONICAL


@dataclass(frozen=True)
class Split:
    """Input and target views.

    Attributes:
        canonical: [F] bool, whether a target is a canonical view (else a random one).
        tracks: true trajectories of surface points that the first input views see; None if the surface is unknown.

    Raises:
        InputError: a target is also an input.
    """

    inputs: Views
    targets: Views
    canonical: Tensor
    tracks: Tracks | None = None

    def __post_init__(self) -> None:
        same = same_views(self.targets, self.inputs)
        if bool(same.any()):
            raise InputError(f"targets: {int(same.any(1).sum())} of {len(self.targets)} are also inputs; choose other targets")


class Studio(Protocol):
    """A source of views."""

    name: str
    input_frames: list[int]
    target_frames: list[int]

    def random_view(self, frame: int, purpose: str, again: int = 0) -> ViewSpec:
        """Draw a random view of a frame, reproducibly by studio, seed, purpose and ``again``, independent of other draws."""
        ...

    def has(self, spec: ViewSpec) -> bool:
        """Whether the view exists."""
        ...

    def get_views(self, specs: Sequence[ViewSpec], purpose: str = "targets") -> Views:
        """Return views in the given order; for the purpose ``inputs``, only those that may be inputs."""
        ...

    def tracks(self, inputs: Sequence[ViewSpec]) -> Tracks | None:
        """Return true trajectories of points that the inputs see at their first timestamp; None where there is no ground truth."""
        ...


def canonical_and_random(studio: Studio, inputs: Sequence[ViewSpec]) -> list[ViewSpec]:
    """Choose 4D-LRM's targets: the canonical views that exist, and one random view, at every timestamp."""
    canonical = [spec for t in studio.target_frames for a in CANONICAL if studio.has(spec := ViewSpec(a, 0.0, t))]
    return canonical + [studio.random_view(t, "targets") for t in studio.target_frames]


def split_of(studio: Studio, inputs: Sequence[ViewSpec], targets: Sequence[ViewSpec] | None = None) -> Split:
    """Split into inputs and targets, which are 4D-LRM's by default. Targets that are inputs are left out.

    Raises:
        InputError: no target is left.
    """
    wanted = canonical_and_random(studio, inputs) if targets is None else targets
    specs = [spec for spec in dict.fromkeys(wanted) if spec not in set(inputs)]
    input_views, canonical = studio.get_views(inputs, "inputs"), torch.tensor([spec.is_canonical for spec in specs])
    if specs:
        views = studio.get_views(specs)
        # different specs may be one camera of a capture
        left = ~(same_views(views, input_views).any(1) | same_views(views, views).tril(-1).any(1))
        if bool(left.any()):
            return Split(input_views, views[left], canonical[left], studio.tracks(inputs))
    raise InputError(f"{studio.name}: every view is an input, no target is left; give a capture with more views, or use fewer")


def same_views(a: Views, b: Views) -> Tensor:
    """Compare views by camera and timestamp, [F, G] bool."""
    distance = (a.cameras.viewmats[:, None] - b.cameras.viewmats[None]).abs().amax((2, 3))
    return ((a.times[:, None] - b.times[None]).abs() < 1e-9) & (distance < 1e-6)


class MeshStudio:
    """Renderings of a moving mesh at ``times`` timestamps over its whole motion, with L4GM's distance, lens and light.

    Rendered views are kept, so that further set-ups of a clip cost little.
    """

    def __init__(self, mesh: MovingMesh, name: str, size: int = 128, times: int = TIMES, samples: int = 3, seed: int = 0) -> None:
        self.name, self.size, self.samples, self.seed = name, size, samples, seed
        self.seconds = np.linspace(0, mesh.duration, times)
        self.input_frames = self.target_frames = list(range(times))
        poses, placement = pose_clip(mesh, self.seconds)
        self.surface = PreparedSurface(mesh.surface)
        self.poses = [(placement.apply(positions), normals) for positions, normals in poses]
        self.rendered: dict[ViewSpec, Tensor] = {}

    def random_view(self, frame: int, purpose: str, again: int = 0) -> ViewSpec:
        """See Studio: azimuth uniform, elevation uniform in L4GM's range."""
        return ViewSpec(*random_angles(self.seed, self.name, purpose, frame, again), frame)

    def has(self, spec: ViewSpec) -> bool:
        """See Studio: any camera, at the mesh's frames."""
        return spec.frame in self.input_frames

    def get_views(self, specs: Sequence[ViewSpec], purpose: str = "targets") -> Views:
        """See Studio."""
        for frame in sorted({spec.frame for spec in specs}):
            new = [spec for spec in dict.fromkeys(specs) if spec.frame == frame and spec not in self.rendered]
            if new:
                threads = torch.get_num_threads()
                images = rasterize_mesh(self.surface, *self.poses[frame], self._cameras(new), None, self.samples, threads, "lambert")
                self.rendered |= dict(zip(new, torch.from_numpy(images), strict=True))
        pixels = torch.stack([self.rendered[spec] for spec in specs])
        times = torch.tensor([self.seconds[spec.frame] for spec in specs], dtype=torch.float64)
        return Views(pixels=pixels, cameras=self._cameras(specs), times=times, up=torch.tensor([0.0, 1.0, 0.0]))

    def tracks(self, inputs: Sequence[ViewSpec]) -> Tracks | None:
        """See Studio: 200 points, drawn by the studio's seed and name."""
        first = min(spec.frame for spec in inputs)
        seeing = [spec for spec in inputs if spec.frame == first]
        cameras = orbit([s.azimuth for s in seeing], [s.elevation for s in seeing], TRACK_SIZE)
        rng = rng_for(self.seed, self.name, "tracks", first)
        return surface_tracks(self.surface, self.poses, self.seconds, first, cameras, rng)

    def _cameras(self, specs: Sequence[ViewSpec]) -> Cameras:
        return orbit([s.azimuth for s in specs], [s.elevation for s in specs], self.size)


class CaptureStudio:
    """The views of a posed capture, by the angles of its cameras around the object.

    Args:
        inputs: views that may be inputs; the first camera is the front.
        held_out: views that may only be targets (a test split), if there are any.
    """

    def __init__(self, name: str, inputs: Views, held_out: Views | None = None, seed: int = 0) -> None:
        self.name, self.seed = name, seed
        parts = [inputs] if held_out is None else [inputs, held_out]
        cameras = Cameras.cat([part.cameras for part in parts])
        images, alphas, seconds = (torch.cat([getattr(part, name) for part in parts]) for name in ("images", "alphas", "times"))
        self.views = Views(images, alphas, cameras, seconds, inputs.up)
        self.num_inputs = len(inputs)  # the first ones; the others may only be targets
        self.seconds, frames = torch.unique(seconds, return_inverse=True)
        world = normalizing_similarity(distinct(inputs.cameras), inputs.up)
        centers = cameras.transformed(world.inverse()).centers.double()
        azimuths = torch.rad2deg(torch.atan2(centers[:, 0], centers[:, 2])) % 360
        elevations = torch.rad2deg(torch.asin((centers[:, 1] / centers.norm(dim=-1)).clamp(-1, 1)))
        angles = zip(azimuths.tolist(), elevations.tolist(), frames.tolist(), strict=True)
        self.specs = [ViewSpec(round(azimuth, 3), round(elevation, 3), frame) for azimuth, elevation, frame in angles]
        self.input_frames = sorted({spec.frame for spec in self.specs[: len(inputs)]})
        held_out_frames = sorted({spec.frame for spec in self.specs[len(inputs) :]})
        self.target_frames = sorted({*subsample(self.input_frames, TIMES), *subsample(held_out_frames, TIMES)})

    def random_view(self, frame: int, purpose: str, again: int = 0) -> ViewSpec:
        """See Studio: one of the frame's views; for inputs, one of those that may be inputs."""
        candidates = [spec for spec in self._candidates(purpose) if spec.frame == frame]
        return candidates[int(rng_for(self.seed, self.name, purpose, frame, again).integers(len(candidates)))]

    def has(self, spec: ViewSpec) -> bool:
        """See Studio: the capture has a camera within five degrees."""
        return self._find(spec) is not None

    def get_views(self, specs: Sequence[ViewSpec], purpose: str = "targets") -> Views:
        """See Studio.

        Raises:
            InputError: the capture lacks a view; names the first.
        """
        found = {spec: self._find(spec, purpose) for spec in specs}
        if missing := [spec for spec, index in found.items() if index is None]:
            first = missing[0]
            raise InputError(
                f"{self.name}: the set-up needs a camera at azimuth {first.azimuth:g}, elevation {first.elevation:g} degrees "
                f"at {float(self.seconds[first.frame]):g} s, and the capture has none within {NEAR:g} degrees "
                f"({len(missing)} of {len(found)} views missing)",
                "use {setup}",
                setup="random",
            )
        return self.views[[index for spec in specs if (index := found[spec]) is not None]]

    def tracks(self, inputs: Sequence[ViewSpec]) -> None:
        """See Studio: the surface is unknown."""

    def _candidates(self, purpose: str) -> list[ViewSpec]:
        return self.specs[: self.num_inputs] if purpose == "inputs" else self.specs

    def _find(self, spec: ViewSpec, purpose: str = "targets") -> int | None:
        best, found = NEAR, None
        for index, other in enumerate(self._candidates(purpose)):
            if other.frame == spec.frame:
                off = max(abs((other.azimuth - spec.azimuth + 180) % 360 - 180), abs(other.elevation - spec.elevation))
                if off < best:
                    best, found = off, index
        return found


def rng_for(seed: int, *what: object) -> np.random.Generator:
    """Return a generator seeded by the seed and its purpose, independent of earlier draws."""
    digest = hashlib.sha256(repr((seed, *what)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def random_angles(seed: int, *what: object) -> tuple[float, float]:
    """Draw azimuth and elevation of a random view in degrees, in L4GM's ranges."""
    rng = rng_for(seed, *what)
    return float(rng.uniform(0, 360)), float(rng.uniform(*ELEVATIONS))


def subsample(items: Sequence[T], limit: int) -> list[T]:
    """Return up to ``limit`` items, evenly spaced, the first and last included."""
    return [items[i] for i in evenly(len(items), limit)]
