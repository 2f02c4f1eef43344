"""A posed capture as L4GM wants it: one camera that sees every moment, and what others see of the first.

L4GM's cameras stand around the object at elevation 0, at even azimuths (section 4.1). Cameras of a capture that stand
there are used, within a tolerance; others are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chronosplat.cameras import FOVY, RADIUS, Similarity
from chronosplat.captures.normalize import distinct, normalizing_similarity
from chronosplat.captures.views import Views, on_white
from chronosplat.shapes import InputError

ANGLE, DISTANCE = 5.0, 0.1  # degrees, and share of the radius, by which a camera may stand off its place


@dataclass(frozen=True)
class Rig:
    """The pictures of a capture by moment and azimuth.

    Attributes:
        views: the capture. world: from the normalised world to the capture's. places: how many azimuths there are.
        fovy: degrees, of the pictures that are given.
        times: [T] the moments that the reference camera (the capture's first) sees.
        where: index of the picture of a moment at an azimuth; all moments have azimuth 0.
    """

    views: Views
    world: Similarity
    places: int
    fovy: float
    times: Tensor
    where: dict[tuple[int, int], int]

    def picture(self, moment: int, place: int, size: int) -> tuple[Tensor, Tensor] | None:
        """Straight colours [size, size, 3] and alphas [size, size, 1], framed as in training; None where there is none."""
        index = self.where.get((moment, place))
        if index is None:
            return None
        view = self.views[[index]].framed(self.fovy, size)
        return view.images[0], view.alphas[0]

    def frames(self, size: int, which: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """What the reference camera sees at the moments ``which``."""
        for moment in which:
            picture = self.picture(moment, 0, size)
            assert picture is not None
            yield picture

    def views_of(self, moment: int, size: int) -> Tensor | None:
        """[V, size, size, 3] on white, a moment at all azimuths; None if one is missing."""
        white = []
        for place in range(self.places):
            picture = self.picture(moment, place, size)
            if picture is None:
                return None
            white.append(on_white(*picture))
        return torch.stack(white)


def sort_into_rig(views: Views, places: int = 4, fovy: float = FOVY, radius: float = RADIUS) -> Rig:
    """Find the cameras of a capture that stand where L4GM's do.

    Args:
        views: the first camera is the reference; its distance from the object becomes ``radius``.
        places: azimuths. fovy: degrees.

    Raises:
        InputError: the reference camera does not look at the object from elevation 0.
    """
    cameras = views.cameras
    world = normalizing_similarity(distinct(cameras), views.up)
    reach = float((cameras.centers[0].double() - world.translation).norm())
    world = replace(world, scale=reach / radius)
    centers = cameras.transformed(world.inverse()).centers.double()
    distance = centers.norm(dim=-1)
    elevation = torch.rad2deg(torch.asin((centers[:, 1] / distance).clamp(-1, 1)))
    if abs(float(elevation[0])) > ANGLE:
        raise InputError(
            f"cameras: L4GM looks from elevation 0 degrees, the first camera stands at {float(elevation[0]):.0f}; use a 4d-lrm model"
        )
    azimuth = torch.rad2deg(torch.atan2(centers[:, 0], centers[:, 2]))
    place = (azimuth / (360 / places)).round()
    off = (azimuth - place * 360 / places).abs()
    fits = (off < ANGLE) & (elevation.abs() < ANGLE) & ((distance / radius - 1).abs() < DISTANCE)
    where: dict[tuple[int, int], int] = {}
    reference = [i for i in range(len(views)) if bool(fits[i]) and int(place[i]) % places == 0]
    times = views.times[reference].unique()
    moments = {float(t): moment for moment, t in enumerate(times)}
    for i in range(len(views)):
        moment = moments.get(float(views.times[i]))
        if bool(fits[i]) and moment is not None:
            where.setdefault((moment, int(place[i]) % places), i)
    return Rig(views, world, places, fovy, times, where)
