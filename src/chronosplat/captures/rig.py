"""Sort a posed capture into L4GM's camera rig: one reference camera over time, and other views of its frames.

L4GM's cameras surround the object at elevation 0, at even azimuths (section 4.1). Cameras of a capture near these poses
are used; others are ignored.
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

ANGLE, DISTANCE = 5.0, 0.1  # tolerance of a camera's pose: degrees, and fraction of the radius


@dataclass(frozen=True)
class Rig:
    """The images of a capture by frame and view.

    Attributes:
        views: the capture. world: from the normalised world to the capture's.
        num_views: V, at even azimuths. fovy: degrees, of the framed images.
        times: [T] timestamps of the reference camera, which is the capture's first.
        indices: (frame, view) -> index into ``views``; view 0 exists for every frame.
    """

    views: Views
    world: Similarity
    num_views: int
    fovy: float
    times: Tensor
    indices: dict[tuple[int, int], int]

    def image(self, frame: int, view: int, size: int) -> tuple[Tensor, Tensor] | None:
        """Return straight colours [size, size, 3] and alphas [size, size, 1], framed as in training; None if there is no image."""
        index = self.indices.get((frame, view))
        if index is None:
            return None
        framed = self.views[[index]].framed(self.fovy, size)
        return framed.images[0], framed.alphas[0]

    def frames(self, size: int, which: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the reference camera's images of the frames ``which``."""
        for frame in which:
            image = self.image(frame, 0, size)
            assert image is not None
            yield image

    def views_of(self, frame: int, size: int) -> Tensor | None:
        """Return all views [V, size, size, 3] of a frame on white; None if one is missing."""
        images = [image for view in range(self.num_views) if (image := self.image(frame, view, size)) is not None]
        return torch.stack([on_white(*image) for image in images]) if len(images) == self.num_views else None


def sort_into_rig(views: Views, num_views: int = 4, fovy: float = FOVY, radius: float = RADIUS) -> Rig:
    """Find the cameras of a capture that match L4GM's.

    Args:
        views: the first camera is the reference; its distance from the object becomes ``radius``.
        num_views: V, the number of azimuths. fovy: degrees.

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
        raise InputError(f"cameras: L4GM expects elevation 0 degrees, the first camera is at {float(elevation[0]):.0f}; use a 4d-lrm model")
    azimuth = torch.rad2deg(torch.atan2(centers[:, 0], centers[:, 2]))
    nearest = (azimuth / (360 / num_views)).round()
    off = (azimuth - nearest * 360 / num_views).abs()
    fits = (off < ANGLE) & (elevation.abs() < ANGLE) & ((distance / radius - 1).abs() < DISTANCE)
    found = {i: int(nearest[i]) % num_views for i in range(len(views)) if bool(fits[i])}
    times = views.times[[i for i, view in found.items() if view == 0]].unique()
    frames = {float(t): frame for frame, t in enumerate(times)}
    indices: dict[tuple[int, int], int] = {}
    for i, view in found.items():
        if (frame := frames.get(float(views.times[i]))) is not None:
            indices.setdefault((frame, view), i)
    return Rig(views, world, num_views, fovy, times, indices)
