"""Camera rigs of a clip: those of L4GM and 4D-LRM, and studios of many cameras.

A rig is a function that is registered by name. Its cameras are constant over the clip or move with it, and named groups
say which views are which, so that samplers can ask for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chronosplat.cameras import CANONICAL, FOVY, RADIUS, Cameras, orbit
from chronosplat.data.clips import ELEVATIONS, FIXED_VIEWS
from chronosplat.shapes import InputError

FOVS = (25.0, 65.0)  # degrees, where lenses are random
ROOM = (0.95, 1.3)  # factor of the distance at which the object fills the image as in the papers


@dataclass(frozen=True)
class Lens:
    """Distance and field of view of a clip's cameras."""

    radius: float = RADIUS
    fovy: float = FOVY


@dataclass(frozen=True)
class Rig:
    """V cameras of a clip with T frames.

    Attributes:
        viewmats: [T, V, 4, 4] world to camera. Ks: [V, 3, 3], constant. size: pixels (H = W).
        groups: views by name.
    """

    viewmats: Tensor
    Ks: Tensor
    size: int
    groups: dict[str, list[int]]

    def at(self, frame: int) -> Cameras:
        """Return the V cameras of a frame."""
        return Cameras(self.viewmats[frame], self.Ks, self.size, self.size)

    @property
    def is_constant(self) -> bool:
        """Whether no camera moves."""
        return bool((self.viewmats == self.viewmats[:1]).all())


RigMaker = Callable[[int, int, int, Lens, np.random.Generator], Rig]
RIGS: dict[str, RigMaker] = {}


def register_rig(name: str) -> Callable[[RigMaker], RigMaker]:
    """Register a function (frames, size, views, lens, rng) -> Rig; ``views`` is the number of its free cameras."""

    def add(make: RigMaker) -> RigMaker:
        RIGS[name] = make
        return make

    return add


def make_rig(name: str, frames: int, size: int, views: int, lens: Lens, rng: np.random.Generator) -> Rig:
    """Build a rig by name.

    Raises:
        InputError: the name is unknown.
    """
    if name not in RIGS:
        raise InputError(f"rig {name!r}: unknown; use one of {', '.join(RIGS)}")
    return RIGS[name](frames, size, views, lens, rng)


def random_lens(rng: np.random.Generator) -> Lens:
    """Draw a field of view, and a distance at which the object is about as large in the image as in the papers."""
    fovy = float(rng.uniform(*FOVS))
    same_size = RADIUS * math.tan(math.radians(FOVY) / 2) / math.tan(math.radians(fovy) / 2)
    return Lens(same_size * float(rng.uniform(*ROOM)), fovy)


def still(cameras: Cameras, frames: int, groups: dict[str, list[int]]) -> Rig:
    """Return a rig of cameras that do not move."""
    return Rig(cameras.viewmats.expand(frames, *cameras.viewmats.shape), cameras.Ks, cameras.width, groups)


def moving(per_frame: list[Cameras], groups: dict[str, list[int]]) -> Rig:
    """Return a rig from the cameras of each frame."""
    return Rig(torch.stack([c.viewmats for c in per_frame]), per_frame[0].Ks, per_frame[0].width, groups)


@register_rig("l4gm")
def l4gm(frames: int, size: int, views: int, lens: Lens, rng: np.random.Generator) -> Rig:
    """L4GM: 16 fixed views on a ring at elevation 0, and ``views`` random ones (32) above it, all constant over the clip."""
    azimuths = [360 / FIXED_VIEWS * i for i in range(FIXED_VIEWS)] + list(rng.uniform(0, 360, views))
    elevations = [0.0] * FIXED_VIEWS + list(rng.uniform(*ELEVATIONS, views))
    cameras = orbit(azimuths, elevations, size, lens.radius, lens.fovy)
    ring = list(range(FIXED_VIEWS))
    quarter = FIXED_VIEWS // len(CANONICAL)
    return still(cameras, frames, {"fixed": ring, "canonical": ring[::quarter], "random": list(range(FIXED_VIEWS, FIXED_VIEWS + views))})


@register_rig("4d-lrm")
def lrm4d(frames: int, size: int, views: int, lens: Lens, rng: np.random.Generator) -> Rig:
    """4D-LRM: 4 static canonical views, one elevated moving camera, one random orbit at varying distance: 6 per frame.

    The paper has 144 renderings of 24 frames and gives no numbers for the paths. Here the elevated camera turns by 90 to
    360 degrees at 20 to 50 degrees of elevation; the orbit turns by up to a full circle either way, rises and sinks between
    -10 and 40 degrees, and its distance varies by up to 25 percent.
    """
    u = np.linspace(0, 1, frames)
    turn = rng.uniform(90, 360) * rng.choice([-1, 1])
    above = rng.uniform(0, 360) + turn * u, np.full(frames, rng.uniform(20, 50))
    wave = lambda: np.sin(2 * np.pi * (rng.uniform(0.25, 1) * u + rng.uniform()))
    orbit_azimuths, orbit_elevations = rng.uniform(0, 360) + rng.uniform(-360, 360) * u, 15 + 25 * wave()
    distances = lens.radius * (1 + 0.25 * wave())
    per_frame = []
    for i in range(frames):
        around = orbit([*CANONICAL, above[0][i]], [0.0] * 4 + [above[1][i]], size, lens.radius, lens.fovy)
        free = orbit([orbit_azimuths[i]], [orbit_elevations[i]], size, distances[i], lens.fovy)
        per_frame.append(Cameras.cat([around, free]))
    return moving(per_frame, {"canonical": [0, 1, 2, 3], "moving": [4, 5]})


@register_rig("studio")
def studio(frames: int, size: int, views: int, lens: Lens, rng: np.random.Generator) -> Rig:
    """A studio with many synchronous cameras: ``views`` of them spread evenly over the sphere between -20 and 60 degrees.

    They lie on a spiral with equal steps in height and golden-angle steps in azimuth, turned by a random heading.
    """
    low, high = math.sin(math.radians(-20)), math.sin(math.radians(60))
    heights = low + (high - low) * (np.arange(views) + 0.5) / views
    azimuths = rng.uniform(0, 360) + np.arange(views) * 180 * (3 - math.sqrt(5))
    cameras = orbit(list(azimuths % 360), list(np.degrees(np.arcsin(heights))), size, lens.radius, lens.fovy)
    return still(cameras, frames, {"studio": list(range(views))})
