"""The recipe of a data set: with the list of objects, it determines every byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chronosplat.data.licences import DEFAULT_LICENCES
from chronosplat.data.renderers import RENDERERS
from chronosplat.data.rigs import RIGS
from chronosplat.shapes import InputError

SIZES, FRAMES_MOST = (8, 4096), 10_000


@dataclass(frozen=True)
class Recipe:
    """What clips a data set has, and how they are rendered."""

    size: int = 256
    """Pixels (H = W). L4GM: 512, 4D-LRM: 128 and 256."""
    samples: int = 3
    """Samples x samples per pixel; 4 with the renderer blender is L4GM's."""
    frames: int = 24
    """Frames per clip."""
    fps: float = 24.0
    """Frames per second; 24 frames at 24 fps and 8 frames at 8 fps are L4GM's one-second clips."""
    clips: int = 0
    """At most this many clips of an animation, evenly spread; 0 for all."""
    rig: str = "l4gm"
    """l4gm (16 fixed and the random views), 4d-lrm (4 static and 2 moving cameras), studio (all cameras at every frame)."""
    views: int = 32
    """Random views of the rig l4gm, cameras of the rig studio."""
    lens: Literal["paper", "random"] = "paper"
    """Distance 1.5 and field of view 49.1 degrees, or random ones that are drawn per clip."""
    lights: Literal["paper", "random"] = "paper"
    """L4GM's four suns, or random lights that are drawn per clip."""
    motion: float = 0.01
    """Skip clips whose surface moves less in half a second, on average, in units of the object's size."""
    static: Literal["skip", "drift"] = "skip"
    """Objects without animations: skip them, or move them a little along one random direction (4D-LRM)."""
    variants: int = 0
    """Changed copies of each animated object (textures, colours, bones, speed, proportions), besides itself."""
    geometry: bool = False
    """Also store depth and motion of the surface."""
    licences: tuple[str, ...] = DEFAULT_LICENCES
    """Licences to use: families such as CC0, CC-BY, CC-BY-SA, MIT, or the words of a source."""
    renderer: str = "native"
    """native, or blender for an installed Blender."""
    objects: int = 8
    """Objects per shard."""
    seed: int = 0
    """Of random cameras and lights."""

    def __post_init__(self) -> None:
        limits = [("size", self.size, *SIZES), ("samples", self.samples, 1, 64), ("frames", self.frames, 1, FRAMES_MOST)]
        limits += [
            ("fps", self.fps, 1e-3, 1e4),
            ("clips", self.clips, 0, 10**6),
            ("views", self.views, 0 if self.rig == "l4gm" else 1, 4096),
        ]
        limits += [("variants", self.variants, 0, 1000), ("motion", self.motion, 0, 10), ("objects", self.objects, 1, 10**6)]
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise InputError(f"{name}: expected {low} to {high}, got {value}")
        for name, value, known in (("rig", self.rig, RIGS), ("renderer", self.renderer, RENDERERS)):
            if value not in known:
                raise InputError(f"{name} {value!r}: unknown; use one of {', '.join(known)}")
        if self.renderer == "blender" and self.variants:
            raise InputError("variants: the renderer blender renders files as they are", "leave out {variants}", variants=...)
        if self.renderer == "blender" and self.geometry:
            raise InputError("geometry: the renderer blender gives no depth and motion", "leave out {geometry}", geometry=...)

    def rng(self, uid: str, animation: int, window: int) -> np.random.Generator:
        """Return the generator of a clip: the same for it in any shard, on any machine."""
        name = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "little")
        return np.random.default_rng((self.seed, name, animation, window))
