"""Options of rendered images and videos, the same for the verb ``render`` and for exports."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chronosplat.cameras import FOVY
from chronosplat.render.render import BACKGROUNDS
from chronosplat.scenes import read_metadata
from chronosplat.shapes import InputError

FPS, SIZE = 24.0, 512
TRANSPARENT = "transparent"


@dataclass(frozen=True)
class RenderOptions:
    """Options of images and videos (docs/videos.md)."""

    path: str = "orbit"
    """Camera path: orbit (circle while time runs back and forth), turntable (circle while time plays), bullet (circle in frozen
    time), dolly (approach) or static."""
    cameras: str = ""
    """Cameras in place of a path: a capture, a transforms JSON, or a camera-path JSON."""
    compare: str = ""
    """A capture: its views beside renderings of them, with their PSNR."""
    split: str = ""
    """Split of the capture (train, val, test); by default test for compare where there is one, else train."""
    passes: tuple[str, ...] = ("rgb",)
    """What the images show: rgb, alpha, depth, normal; several stand side by side."""
    background: str = "white"
    """white, black, gray, #rrggbb, or transparent where the format has alpha."""
    size: int | None = None
    """Height in pixels; 512, or that of the cameras."""
    width: int | None = None
    """Width in pixels; by default as the height, or in the cameras' proportion."""
    fps: float | None = None
    """Frames per second; 24, or that of the camera path."""
    seconds: float | None = None
    """Duration; by default the scene's at this speed."""
    frames: int | None = None
    """Number of frames, spread over the whole path."""
    speed: float = 1.0
    """Seconds of the scene per second of video; 0.25 is slow motion."""
    at: float | None = None
    """Freeze time at this second of the scene."""
    turns: float = 1.0
    """Turns of a camera that circles; negative ones run the other way."""
    azimuth: float = 0.0
    """Degrees around the scene where a path starts; 0 is the front, 90 the right."""
    elevation: float = 10.0
    """Degrees above the scene."""
    zoom: float = 1.0
    """2 halves the distance of a path's cameras."""
    fov: float = FOVY
    """Field of view of a path's cameras, in degrees along the shorter side."""
    input_size: int | None = None
    """Pixels of the images that the scene was predicted from; larger renderings widen the splats in proportion. Scene files know it."""

    def __post_init__(self) -> None:
        for name in ("size", "width", "frames", "fps", "seconds", "speed", "zoom", "input_size"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name}: expected a positive number, got {value:g}")
        if not 0 < self.fov < 180:
            raise InputError(f"fov: expected degrees between 0 and 180, got {self.fov:g}")
        if not -90 <= self.elevation <= 90:
            raise InputError(f"elevation: expected -90 to 90 degrees, got {self.elevation:g}")
        for name in ("turns", "azimuth", "at"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise InputError(f"{name}: expected a number, got {value:g}")

    @property
    def transparent(self) -> bool:
        """Whether there is no background."""
        return self.background == TRANSPARENT

    @property
    def background_color(self) -> Tensor:
        """The background [3], sRGB in [0, 1].

        Raises:
            InputError: not a colour.
        """
        text = self.background
        if text in BACKGROUNDS:
            return torch.tensor(BACKGROUNDS[text])
        digits = text.removeprefix("#")
        if text.startswith("#") and len(digits) == 6 and all(c in "0123456789abcdefABCDEF" for c in digits):
            return torch.tensor([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
        raise InputError(f"background: expected {', '.join(BACKGROUNDS)}, #rrggbb or {TRANSPARENT}; got {text!r}")


def with_source(options: Any, source: str | Path) -> Any:
    """Fill in the ``input_size`` that a scene file notes; other options and files change nothing."""
    if not isinstance(options, RenderOptions) or options.input_size is not None or Path(source).suffix != ".safetensors":
        return options
    noted = read_metadata(source).get("input_size", "")
    return replace(options, input_size=int(noted)) if noted.isdecimal() and int(noted) > 0 else options
