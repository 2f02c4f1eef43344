"""A clip: one moving object from V cameras at T times, with what is known about it. One clip is one training sample."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chronosplat.cameras import Cameras
from chronosplat.shapes import InputError

KEY = re.compile(r"[a-z0-9_-]{1,80}")
GROUP = re.compile(r"[a-z0-9_-]{1,40}")
KEY_MOST = 80  # characters
MOST_FRAMES, MOST_SIDE = 100_000, 8192  # T times V, and pixels: bounds on what a damaged file can make a reader allocate


@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """All of a clip but its images.

    Attributes:
        key: unique in the data set: lower-case letters, digits, ``_`` and ``-``.
        viewmats: [T, V, 4, 4] float32, world to camera, OpenCV axes; [V, 4, 4] of cameras that stand still is accepted too.
        Ks: [T, V, 3, 3] float32, pixels; [V, 3, 3] is accepted too.
        width, height: of the images, in pixels.
        seconds: [T] float64, in the animation's time, never turning round (a clip may run backwards).
        groups: view indices by name: ``fixed`` (L4GM's ring), ``random``, ``canonical`` (front, right, back, left), ``moving``.
        facts: plain JSON: source, licence, attribution, placement, lights, renderer.

    Raises:
        InputError: a field that does not fit.
    """

    key: str
    viewmats: NDArray[np.float32]
    Ks: NDArray[np.float32]
    width: int
    height: int
    seconds: NDArray[np.float64]
    groups: dict[str, list[int]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not KEY.fullmatch(self.key):
            raise InputError(f"clip {self.key[:80]!r}: expected a key of 1 to 80 lower-case letters, digits, _ and -")
        seconds = np.asarray(self.seconds, np.float64)
        steps = np.diff(seconds)
        if seconds.ndim != 1 or not len(seconds) or not np.isfinite(seconds).all() or not ((steps >= 0).all() or (steps <= 0).all()):
            raise InputError(f"clip {self.key}: seconds: expected finite numbers that never turn round, got {_short(seconds)}")
        viewmats, Ks = (_per_time(self.key, name, value, len(seconds)) for name, value in (("viewmats", self.viewmats), ("Ks", self.Ks)))
        if viewmats.shape[1] != Ks.shape[1]:
            raise InputError(f"clip {self.key}: {viewmats.shape[1]} viewmats but {Ks.shape[1]} Ks")
        if (
            not (1 <= self.width <= MOST_SIDE and 1 <= self.height <= MOST_SIDE)
            or not 1 <= viewmats.shape[0] * viewmats.shape[1] <= MOST_FRAMES
        ):
            raise InputError(
                f"clip {self.key}: {viewmats.shape[:2]} images of {self.width}x{self.height}: at most {MOST_FRAMES} of {MOST_SIDE} pixels"
            )
        for name, indices in self.groups.items():
            if not GROUP.fullmatch(name) or not all(type(i) is int and 0 <= i < viewmats.shape[1] for i in indices):
                raise InputError(
                    f"clip {self.key}: group {name[:40]!r}: expected indices of its {viewmats.shape[1]} views, got {_short(indices)}"
                )
        for name, value in (("seconds", seconds), ("viewmats", viewmats), ("Ks", Ks)):
            object.__setattr__(self, name, value)

    @property
    def times(self) -> int:
        """Return T."""
        return len(self.seconds)

    @property
    def views(self) -> int:
        """Return V."""
        return self.viewmats.shape[1]

    def cameras(self, times: Sequence[int], views: Sequence[int]) -> Cameras:
        """Return the cameras of F (time, view) pairs."""
        viewmats, Ks = (torch.from_numpy(a[list(times), list(views)]) for a in (self.viewmats, self.Ks))
        return Cameras(viewmats, Ks, self.width, self.height)

    def group(self, name: str) -> list[int]:
        """Return the views of a group.

        Raises:
            InputError: there is no such group.
        """
        if not self.groups.get(name):
            raise InputError(f"clip {self.key}: no views {name!r}; it has {', '.join(self.groups) or 'no groups'}")
        return self.groups[name]


@dataclass(frozen=True, kw_only=True)
class Clip(ClipInfo):
    """A clip in memory.

    Attributes:
        frames: [T, V, H, W, 4] uint8, straight sRGB with coverage alpha.
        geometry: [T, V, H, W, 4] float16 or None: depth along the camera's axis (0 in the background), then the displacement of
            the surface per frame of the clip.
    """

    frames: NDArray[np.uint8]
    geometry: NDArray[np.float16] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = (self.times, self.views, self.height, self.width, 4)
        if self.frames.shape != shape or self.frames.dtype != np.uint8:
            raise InputError(f"clip {self.key}: frames: expected uint8 {list(shape)}, got {self.frames.dtype} {list(self.frames.shape)}")
        if self.geometry is not None and (self.geometry.shape != shape or self.geometry.dtype != np.float16):
            got = f"{self.geometry.dtype} {list(self.geometry.shape)}"
            raise InputError(f"clip {self.key}: geometry: expected float16 {list(shape)}, got {got}")

    @property
    def has_geometry(self) -> bool:
        """Whether depth and motion are known."""
        return self.geometry is not None

    def read(self, times: Sequence[int], views: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images of F (time, view) pairs, [F, H, W, 4]."""
        return self.frames[list(times), list(views)]

    def read_geometry(self, times: Sequence[int], views: Sequence[int]) -> NDArray[np.float16]:
        """Return depth and motion of F (time, view) pairs, [F, H, W, 4].

        Raises:
            InputError: the clip has none.
        """
        if self.geometry is None:
            raise InputError(f"clip {self.key}: has no geometry")
        return self.geometry[list(times), list(views)]


def spelled_key(name: str) -> str:
    """Spell the name of a folder or file as a key."""
    return re.sub(r"[^a-z0-9_-]+", "_", name.lower())[:KEY_MOST]


def _per_time(key: str, name: str, value: Any, times: int) -> NDArray[np.float32]:
    """Repeat the matrices of cameras that stand still."""
    n, array = (4 if name == "viewmats" else 3), np.asarray(value, np.float32)
    whole = np.broadcast_to(array, (times, *array.shape)) if array.ndim == 3 else array
    if whole.ndim != 4 or whole.shape[0] != times or whole.shape[2:] != (n, n) or not np.isfinite(whole).all():
        raise InputError(f"clip {key}: {name}: expected finite [T={times}, V, {n}, {n}] or [V, {n}, {n}], got {list(array.shape)}")
    if name == "Ks" and not (whole[..., 0, 0] > 0).all() & (whole[..., 1, 1] > 0).all():
        raise InputError(f"clip {key}: Ks: focal lengths must be positive")
    return whole


def _short(values: Any) -> str:
    return str(list(np.asarray(values).ravel()[:6].tolist())) if math.prod(np.shape(values)) <= 6 else f"{np.size(values)} values"
