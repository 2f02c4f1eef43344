"""Studios: where the pictures of an evaluation come from. A moving mesh can be photographed from anywhere; a capture has what it has.

Both answer in :class:`ViewSpec`: an azimuth and an elevation around the object, and a moment.
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
from chronosplat.shapes import InputError

TIMES = 24
NEAR = 5.0  # degrees by which a capture's camera may miss the place that a set-up asks for
T = TypeVar("T")


@dataclass(frozen=True)
class ViewSpec:
    """A picture by where it is taken from (degrees; azimuth 0 is the front) and at which of the studio's moments."""

    azimuth: float
    elevation: float
    moment: int


@dataclass(frozen=True)
class Split:
    """What the model sees, and what it is asked for.

    Raises:
        InputError: a picture that is asked for also goes in.
    """

    inputs: Views
    targets: Views
    canonical: Tensor  # [F] bool: which targets are canonical views, not random ones

    def __post_init__(self) -> None:
        same = alike(self.targets, self.inputs)
        if bool(same.any()):
            raise InputError(f"targets: {int(same.any(1).sum())} of {len(self.targets)} are also inputs; ask for other pictures")


class Studio(Protocol):
    """What a set-up needs of a source of pictures."""

    name: str
    input_moments: list[int]
    target_moments: list[int]

    def random_shot(self, moment: int, purpose: str, again: int = 0) -> ViewSpec:
        """A random view of a moment: the same for the same studio, seed and purpose, independent of other draws."""
        ...

    def has(self, shot: ViewSpec) -> bool:
        """Whether there is such a picture."""
        ...

    def shoot(self, shots: Sequence[ViewSpec], purpose: str = "targets") -> Views:
        """The pictures of the shots, in their order; for ``inputs``, of those that may go in."""
        ...


def split_of(studio: Studio, inputs: Sequence[ViewSpec]) -> Split:
    """The inputs, and as targets the canonical and one random view at every moment, less the inputs (the paper's protocol).

    Raises:
        InputError: no target is left.
    """
    asked = [ViewSpec(a, 0.0, t) for t in studio.target_moments for a in CANONICAL]
    canonical = [shot for shot in asked if studio.has(shot) and shot not in set(inputs)]
    others = [studio.random_shot(t, "targets") for t in studio.target_moments]
    others = [shot for shot in others if shot not in set(inputs) and shot not in set(canonical)]
    given, flags = studio.shoot(inputs, "inputs"), torch.tensor([True] * len(canonical) + [False] * len(others))
    if len(flags):
        targets = studio.shoot([*canonical, *others])
        left = ~(alike(targets, given).any(1) | alike(targets, targets).tril(-1).any(1))  # different shots may be one picture of a capture
        if bool(left.any()):
            return Split(given, targets[left], flags[left])
    raise InputError(f"{studio.name}: every picture goes in, none is left to ask for; give a capture with more views, or use fewer")


def alike(these: Views, those: Views) -> Tensor:
    """[F, G] bool: whether two pictures are of one camera and one moment."""
    apart = (these.cameras.viewmats[:, None] - those.cameras.viewmats[None]).abs().amax((2, 3))
    return ((these.times[:, None] - those.times[None]).abs() < 1e-9) & (apart < 1e-6)


class MeshStudio:
    """Photographs of a moving mesh: ``times`` moments over all of its motion, from L4GM's distance, lens and light.

    Pictures are kept, so that several set-ups of one clip cost little more than one.
    """

    def __init__(self, mesh: MovingMesh, name: str, size: int = 128, times: int = TIMES, samples: int = 3, seed: int = 0) -> None:
        self.name, self.size, self.samples, self.seed = name, size, samples, seed
        self.seconds = np.linspace(0, mesh.duration, times)
        self.input_moments = self.target_moments = list(range(times))
        poses, placement = pose_clip(mesh, self.seconds)
        self.surface = PreparedSurface(mesh.surface)
        self.poses = [(placement.apply(positions), normals) for positions, normals in poses]
        self.taken: dict[ViewSpec, Tensor] = {}

    def random_shot(self, moment: int, purpose: str, again: int = 0) -> ViewSpec:
        """See Studio: azimuth uniform, elevation uniform in L4GM's range."""
        return ViewSpec(*random_angles(self.seed, self.name, purpose, moment, again), moment)

    def has(self, shot: ViewSpec) -> bool:
        """Always, at a moment that there is."""
        return shot.moment in self.input_moments

    def shoot(self, shots: Sequence[ViewSpec], purpose: str = "targets") -> Views:
        """See Studio."""
        for moment in sorted({shot.moment for shot in shots}):
            fresh = [shot for shot in dict.fromkeys(shots) if shot.moment == moment and shot not in self.taken]
            if fresh:
                pictures = rasterize_mesh(
                    self.surface, *self.poses[moment], self._cameras(fresh), None, self.samples, torch.get_num_threads()
                )
                self.taken |= dict(zip(fresh, torch.from_numpy(pictures), strict=True))
        rgba = torch.stack([self.taken[shot] for shot in shots]).float() / 255
        times = torch.tensor([self.seconds[shot.moment] for shot in shots], dtype=torch.float64)
        return Views(rgba[..., :3], rgba[..., 3:], self._cameras(shots), times, torch.tensor([0.0, 1.0, 0.0]))

    def _cameras(self, shots: Sequence[ViewSpec]) -> Cameras:
        return orbit([s.azimuth for s in shots], [s.elevation for s in shots], self.size)


class CaptureStudio:
    """The pictures of a posed capture, by the angles at which its cameras stand around the object.

    Args:
        inputs: pictures that may go in; the first camera is the front.
        held_back: pictures that may only be asked for (a test split), if the capture has such.
    """

    def __init__(self, name: str, inputs: Views, held_back: Views | None = None, seed: int = 0) -> None:
        self.name, self.seed = name, seed
        parts = [inputs] if held_back is None else [inputs, held_back]
        cameras = Cameras.cat([part.cameras for part in parts])
        images, alphas, seconds = (torch.cat([getattr(part, name) for part in parts]) for name in ("images", "alphas", "times"))
        self.pictures = Views(images, alphas, cameras, seconds, inputs.up)
        self.inputs = len(inputs)  # the first ones; the others may only be asked for
        self.seconds, moments = torch.unique(seconds, return_inverse=True)
        world = normalizing_similarity(distinct(inputs.cameras), inputs.up)
        centers = cameras.transformed(world.inverse()).centers.double()
        azimuth = torch.rad2deg(torch.atan2(centers[:, 0], centers[:, 2])) % 360
        elevation = torch.rad2deg(torch.asin((centers[:, 1] / centers.norm(dim=-1)).clamp(-1, 1)))
        self.places = [
            ViewSpec(round(float(a), 3), round(float(e), 3), int(t)) for a, e, t in zip(azimuth, elevation, moments, strict=True)
        ]
        self.input_moments = sorted({shot.moment for shot in self.places[: len(inputs)]})
        later = sorted({shot.moment for shot in self.places[len(inputs) :]})
        self.target_moments = sorted({*thinned(self.input_moments, TIMES), *thinned(later, TIMES)})

    def random_shot(self, moment: int, purpose: str, again: int = 0) -> ViewSpec:
        """See Studio: one of the moment's pictures; of those that may go in, if it is to go in."""
        count = self.inputs if purpose == "inputs" else len(self.places)
        there = [shot for shot in self.places[:count] if shot.moment == moment]
        return there[int(generator(self.seed, self.name, purpose, moment, again).integers(len(there)))]

    def has(self, shot: ViewSpec) -> bool:
        """Whether a camera of the capture stands there, within five degrees."""
        return self._find(shot) is not None

    def shoot(self, shots: Sequence[ViewSpec], purpose: str = "targets") -> Views:
        """See Studio.

        Raises:
            InputError: the capture has no such picture; says which.
        """
        found = {shot: self._find(shot, purpose) for shot in shots}
        if missing := [shot for shot, index in found.items() if index is None]:
            first = missing[0]
            raise InputError(
                f"{self.name}: the set-up needs a camera at azimuth {first.azimuth:g}, elevation {first.elevation:g} degrees "
                f"at {float(self.seconds[first.moment]):g} s, and the capture has none within {NEAR:g} degrees "
                f"({len(missing)} of {len(found)} views missing)",
                "use {setup}",
                setup="random",
            )
        chosen = [index for shot in shots if (index := found[shot]) is not None]
        return self.pictures[chosen]

    def _find(self, shot: ViewSpec, purpose: str = "targets") -> int | None:
        best, where = NEAR, None
        for index, place in enumerate(self.places[: self.inputs] if purpose == "inputs" else self.places):
            if place.moment == shot.moment:
                off = max(abs((place.azimuth - shot.azimuth + 180) % 360 - 180), abs(place.elevation - shot.elevation))
                if off < best:
                    best, where = off, index
        return where


def generator(seed: int, *what: object) -> np.random.Generator:
    """Random numbers that depend on the seed and on what they are for, and on nothing that was drawn before."""
    digest = hashlib.sha256(repr((seed, *what)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def random_angles(seed: int, *what: object) -> tuple[float, float]:
    """Azimuth and elevation of a random view in degrees, by L4GM's ranges."""
    rng = generator(seed, *what)
    return float(rng.uniform(0, 360)), float(rng.uniform(*ELEVATIONS))


def thinned(items: Sequence[T], count: int) -> list[T]:
    """At most ``count`` of the items, evenly chosen, first and last among them."""
    return [items[i] for i in evenly(len(items), count)]
