"""What a refinement asks of its input and tells of its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from chronosplat.captures import Views
from chronosplat.gaussians import Gaussians3D, Gaussians4D, Scene
from chronosplat.refine.parameters import fields_of
from chronosplat.refine.pictures import Pictures, pictures_for, show
from chronosplat.shapes import InputError

Progressed = Callable[[float, float], None]  # share done, PSNR on the held-back views so far (NaN before there is one)


@dataclass
class Refined:
    """A scene and what was done to it.

    Attributes:
        facts: for a report: mode, steps, seconds, number of Gaussians, PSNR on held-back views before and after.
        notes: for the user.
    """

    scene: Scene
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_fit(scene: Gaussians3D | Gaussians4D, views: Views) -> None:
    """Refuse views that cannot be of the scene.

    Raises:
        InputError: moments outside the scene's, or cameras that see nothing of it.
    """
    if isinstance(scene, Gaussians4D):
        first, last = scene.seconds
        low, high = views.seconds
        slack = 0.05 * (last - first) + 1e-6
        if low < first - slack or high > last + slack:
            raise InputError(
                f"views: taken from {low:g} to {high:g} s, but the scene shows {first:g} to {last:g} s; they are not of one capture"
            )
    check_seen(scene, views)


def check_seen(scene: Gaussians3D | Gaussians4D, views: Views) -> None:
    """Refuse cameras that see nothing of a scene.

    Raises:
        InputError: they are of different worlds.
    """
    pictures = pictures_for(scene, views)
    with torch.no_grad():
        some = range(0, len(pictures), max(1, len(pictures) // 4))
        seen = max(float(show(fields_of(scene), pictures, [i], "auto", cull=False)[1].mean()) for i in some)
    if seen < 1e-3:
        raise InputError("views: their cameras see nothing of the scene; are both in the same world?")


def notices(views: Views, pictures: Pictures) -> list[str]:
    """What the user should know of these views."""
    notes = []
    if len(views) < 2:
        notes.append("a single input view; refinement can only touch up what it shows")
    if not pictures.masked:
        notes.append("the views have no masks: refinement compares colours only")
    return notes
