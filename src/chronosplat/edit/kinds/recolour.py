"""Recolour: brightness, contrast, saturation, hue, tint and gamma."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.edit.registry import Edit, edit_kind
from chronosplat.events import Events
from chronosplat.scenes import Editable, Scene

LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
GREY = 0.5  # stays under a change of contrast


@edit_kind("recolour")
@dataclass(frozen=True)
class Recolour(Edit):
    """Change the colours. Steps apply in the order of these options, to sRGB values, and the result is clamped to [0, 1]."""

    gamma: float = 1.0
    """Exponent; above 1 darkens the middle tones."""
    brightness: float = 1.0
    """Factor."""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors of red, green and blue."""
    contrast: float = 1.0
    """Factor of the distance from middle grey."""
    saturation: float = 1.0
    """Factor of the distance from grey; 0 is black and white."""
    hue: float = 0.0
    """Degrees around the colour circle; 120 turns red to green."""

    def check(self) -> None:
        """Refuse factors below 0."""
        if self.gamma <= 0:
            raise self.wrong("gamma", "a number above 0")
        for name in ("brightness", "contrast", "saturation"):
            if getattr(self, name) < 0:
                raise self.wrong(name, "a number of at least 0")
        if min(self.tint) < 0:
            raise self.wrong("tint", "three numbers of at least 0")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Recolour the scene."""
        return scene if self == Recolour() else scene.recoloured(self._changed)

    def _changed(self, colors: Tensor) -> Tensor:
        """Colours [..., 3] after the change."""
        colors = colors if self.gamma == 1 else colors.clamp(0, 1) ** self.gamma
        colors = colors * (self.brightness * colors.new_tensor(self.tint))
        colors = GREY + self.contrast * (colors - GREY)
        grey = (colors @ colors.new_tensor(LUMA))[..., None]
        colors = grey + self.saturation * (colors - grey)
        return (colors @ hue_matrix(self.hue).to(colors).T).clamp(0, 1)


def hue_matrix(degrees: float) -> Tensor:
    """Return the rotation [3, 3] about the grey axis; 120 degrees move red to green, green to blue and blue to red."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)) / math.sqrt(3)
    rest = (1 - cosine) / 3
    rows = [[cosine + rest, rest - sine, rest + sine], [rest + sine, cosine + rest, rest - sine], [rest - sine, rest + sine, cosine + rest]]
    return torch.tensor(rows, dtype=torch.float64)
