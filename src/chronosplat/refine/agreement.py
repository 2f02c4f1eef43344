"""Whether the cameras of a capture agree: at every timestamp, each silhouette lies within the visual hull of all.

A camera with a wrong pose cuts the hull, and silhouettes stick out; without it the others agree. The principle is that of
Hernández, Schmitt and Cipolla, "Silhouette Coherence for Camera Calibration under Circular Motion" (PAMI 2007).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.captures import Views, normalizing_similarity
from chronosplat.captures.normalize import distinct
from chronosplat.captures.views import evenly
from chronosplat.events import Notice, warning
from chronosplat.refine.coverage import camera_numbers

FEWEST, MOST = 4, 32  # cameras at a timestamp: of three, two agree with anything; of more than MOST, so many are compared
TIMESTAMPS = 4
SIZE = 96  # pixels of the silhouettes' longer side
CELLS, FINER = 24, 4  # cells along an edge of the box, and points along an edge of a cell
CERTAIN, POSSIBLE = 0.9, 0.02  # alphas of pixels that must lie within the hull, and of those that may
TRANSLUCENT = 0.25  # part of the latter that is certain, up to which a silhouette is not judged
# docs/results.md, "Wrong cameras"
LEAST = 0.003  # sum over the cameras of their silhouettes' parts outside the hull, from which on cameras disagree
EXPLAINED = 0.2  # of that sum, which at most is left without a wrong camera
ALIKE = 0.05  # of that sum: cameras without which no more than this is left in addition are named with it
IMPRECISE = 0.02  # mean part outside the hull, from which on it is said that cameras disagree though none can be named
SHOWN = 3  # views of a camera that are listed


@dataclass(frozen=True)
class Timestamp:
    """The silhouettes of a timestamp, and points in space.

    Attributes:
        numbers: of the C cameras. solid: [C, H * W] bool, pixels that show the object.
        pixels: [C, P] the pixel of each point; H * W outside the image. inside: [C, P] bool, whether the point may be the object's.
    """

    numbers: list[int]
    solid: Tensor
    pixels: Tensor
    inside: Tensor
    width: int

    def outside(self, without: Collection[int]) -> tuple[Tensor, Tensor]:
        """The pixels outside the hull of all cameras but some, and all, of each camera: [C] counts; zero for those cameras."""
        rows = [row for row, number in enumerate(self.numbers) if number not in without]
        hull = self.inside[rows].all(0)
        lost, area = torch.zeros(len(self.numbers)), torch.zeros(len(self.numbers))
        for row in rows:
            hit = torch.zeros(self.solid.shape[1] + 1)
            hit[self.pixels[row, hull]] = 1
            near = F.max_pool2d(hit[:-1].view(1, -1, self.width), 3, 1, 1).flatten() > 0
            lost[row], area[row] = (self.solid[row] & ~near).sum(), self.solid[row].sum()
        return lost, area


def disagreeing_cameras(views: Views) -> list[Notice]:
    """Warn of cameras whose silhouettes contradict those of the others; nothing where fewer than four share a timestamp."""
    numbers = camera_numbers(views.cameras, views.times)
    stamps = _timestamps(views, numbers)
    compared = sorted({number for stamp in stamps for number in stamp.numbers})
    if not compared:
        return []
    total = _outside(stamps, [])
    if total <= LEAST:
        return []
    removed: list[int] = []
    while len(removed) < _most_wrong(len(compared)):
        trials = {number: _outside(stamps, [*removed, number]) for number in compared if number not in removed}
        best = min(trials, key=lambda number: trials[number])
        if trials[best] <= EXPLAINED * total:
            alike = [number for number, rest in trials.items() if rest <= trials[best] + ALIKE * total]
            return [warning("cameras-disagree", _told(removed, alike, len(compared), numbers))]
        removed.append(best)
    share = total / len(compared)
    if share <= IMPRECISE:
        return []
    text = f"{100 * share:.1f} percent of the silhouettes contradict those of other cameras; check poses, timestamps and masks"
    return [warning("cameras-disagree", text)]


def _told(removed: list[int], alike: list[int], count: int, numbers: Tensor) -> str:
    """Name the wrong cameras.

    Args:
        removed: they are wrong. alike: one of these is, too. count: of all that were compared.
    """
    if not removed and len(alike) > count // 2:
        return f"one of the {count} cameras contradicts the silhouettes of the others; check their poses, timestamps and masks"
    last = " or ".join(_camera(number, numbers) for number in alike)
    wrong = " and ".join([*(_camera(number, numbers) for number in removed), last])
    verb, whose = ("contradict", "their poses") if removed else ("contradicts", "its pose")
    return f"{wrong} {verb} the silhouettes of the others; check {whose}, timestamps and masks"


def _camera(number: int, numbers: Tensor) -> str:
    views = (numbers == number).nonzero()[:, 0].tolist()
    listed = ", ".join(str(view) for view in views[:SHOWN]) + (", ..." if len(views) > SHOWN else "")
    return f"camera {number} (view{'s' if len(views) > 1 else ''} {listed})"


def _most_wrong(count: int) -> int:
    return max(1, count // 4)


def _outside(stamps: list[Timestamp], without: Collection[int]) -> float:
    """The parts of the silhouettes outside the hull of all cameras but some, summed over the cameras."""
    lost, area = torch.zeros(0), torch.zeros(0)
    for stamp in stamps:
        size = max(len(lost), max(stamp.numbers) + 1)
        lost, area = (F.pad(t, (0, size - len(t))) for t in (lost, area))
        for total, more in zip((lost, area), stamp.outside(without), strict=True):
            total[stamp.numbers] += more
    return float((lost / area.clamp_min(1)).sum())


def _timestamps(views: Views, numbers: Tensor) -> list[Timestamp]:
    """Up to TIMESTAMPS timestamps that several cameras see at once."""
    found: list[list[int]] = []
    for time in views.times.unique():
        found.append(sorted((views.times == time).nonzero()[:, 0].tolist(), key=lambda view: int(numbers[view])))
    shared = [some for some in found if len(some) >= FEWEST]
    world = normalizing_similarity(distinct(views.cameras), views.up)
    cameras = views.cameras.transformed(world.inverse()).to(dtype=torch.float32)
    stamps = []
    for place in evenly(len(shared), TIMESTAMPS):
        chosen = [shared[place][i] for i in evenly(len(shared[place]), MOST)]
        stamps.append(_timestamp(views[chosen], cameras[chosen], numbers[chosen].tolist()))
    return stamps


def _timestamp(views: Views, cameras: Cameras, numbers: list[int]) -> Timestamp:
    """Project points of a box around the object into all cameras.

    Args:
        cameras: in the normalised world, where the object is at the origin.
    """
    shrink = min(1.0, SIZE / max(cameras.width, cameras.height))
    width, height = (max(1, round(side * shrink)) for side in (cameras.width, cameras.height))
    alphas = torch.stack(
        [F.interpolate(view[None, None].float() / 255, (height, width), mode="area")[0, 0] for view in views.rgba8()[..., 3]]
    )
    cameras = cameras.resized(width, height)
    half = 1.1 * _radius(alphas > CERTAIN, cameras)
    cell = 2 * half / CELLS
    reach = math.ceil(cell * float((cameras.Ks[:, 0, 0] / cameras.viewmats[:, 2, 3].clamp_min(1e-3)).max())) + 1  # a cell's circumsphere
    wide = F.max_pool2d((alphas > POSSIBLE).float()[:, None], 2 * reach + 1, 1, reach)[:, 0] > 0
    steps = (torch.arange(CELLS) + 0.5) * cell - half
    coarse = torch.cartesian_prod(steps, steps, steps)
    least = len(cameras) - _most_wrong(len(cameras))
    cells = coarse[_look(wide, cameras, coarse)[1].sum(0) >= least]
    steps = ((torch.arange(FINER) + 0.5) / FINER - 0.5) * cell
    points = (cells[:, None] + torch.cartesian_prod(steps, steps, steps)).view(-1, 3)
    pixels, inside = _look(alphas > POSSIBLE, cameras, points)
    some = inside.sum(0) >= least
    solid = (alphas > CERTAIN).flatten(1)
    solid &= solid.sum(1, keepdim=True) > TRANSLUCENT * (alphas > POSSIBLE).flatten(1).sum(1, keepdim=True)
    return Timestamp(numbers, solid, pixels[:, some], inside[:, some], width)


def _radius(solid: Tensor, cameras: Cameras) -> float:
    """The radius of a sphere about the origin that the silhouettes fit into, by the median camera."""
    ys, xs = torch.meshgrid(torch.arange(solid.shape[1]) + 0.5, torch.arange(solid.shape[2]) + 0.5, indexing="ij")
    radii = []
    for mask, K, pose in zip(solid, cameras.Ks, cameras.viewmats, strict=True):
        x, y, z = pose[:3, 3].tolist()
        across = torch.hypot((xs - K[0, 2]) / K[0, 0] * z - x, (ys - K[1, 2]) / K[1, 1] * z - y)[mask]
        if z > 0 and len(across):
            radii.append(float(across.max()))
    return sorted(radii)[len(radii) // 2] if radii else 1.0


def _look(masks: Tensor, cameras: Cameras, points: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels of points [P, 3], H * W outside the image, and whether masks [C, H, W] hold them; outside they may."""
    height, width = masks.shape[1:]
    pixels = torch.empty(len(masks), len(points), dtype=torch.int64)
    inside = torch.empty(len(masks), len(points), dtype=torch.bool)
    for row, (mask, K, pose) in enumerate(zip(masks, cameras.Ks, cameras.viewmats, strict=True)):
        seen = points @ pose[:3, :3].T + pose[:3, 3]
        x, y = (seen[:, :2] / seen[:, 2:].clamp_min(1e-6) * K[(0, 1), (0, 1)] + K[:2, 2]).floor().unbind(1)
        shown = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (seen[:, 2] > 0)
        pixels[row] = torch.where(shown, y * width + x, height * width).long()
        inside[row] = F.pad(mask.flatten(), (0, 1), value=True)[pixels[row]]
    return pixels, inside
