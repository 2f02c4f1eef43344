"""Conversions between kinds of scenes: to linear motion, which any viewer of 4D Gaussians plays, and to a set per frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.events import Notice, info
from chronosplat.scenes.gaussians import Gaussians4D, GaussianSequence
from chronosplat.scenes.pieces import TOLERANCE, in_pieces
from chronosplat.scenes.scene import SPLAT_SHAPES, Clock, Scene
from chronosplat.shapes import InputError

SAMPLES = 33  # times at which trajectories are sampled
SPLATS_PER_CALL = 4_000_000  # Gaussians times timestamps that are evaluated at once


@dataclass(frozen=True)
class Converted:
    """A scene in linear motion, and its distance from the one that it was made of.

    Attributes:
        largest, mean: distance between the places of a Gaussian and of its pieces, over all Gaussians and times, in units of
            the capture's world.
        before: number of Gaussians that were split into pieces.
    """

    scene: Gaussians4D
    largest: float
    mean: float
    before: int

    def notice(self) -> Notice:
        """What the user should know."""
        pieces = f"{self.before} Gaussians became {self.scene.num_gaussians} pieces in linear motion"
        return info("linear-pieces", f"{pieces}, off by {self.mean:.2g} in the mean and by {self.largest:.2g} at most (world units)")


def to_linear_motion(scene: Scene, tolerance: float = TOLERANCE, samples: int = SAMPLES) -> Converted:
    """Convert a scene whose Gaussians persist (DeformableGaussians) to linear motion, by pieces.

    Args:
        scene: Gaussians that move, turn and change their colour and opacity; their sizes stay.
        tolerance: largest distance of a piece from its Gaussian, in longest axes of the Gaussian.
        samples: times over the scene's duration at which Gaussians are sampled; none has more pieces.

    Raises:
        InputError: a scene whose Gaussians are others in every frame, or arguments out of range.
    """
    if not 0 < tolerance < float("inf") or samples < 2:
        raise InputError(f"to_linear_motion: expected tolerance above 0 and at least 2 samples, got {tolerance:g} and {samples}")
    linear = scene.linear_form()
    if isinstance(scene, Gaussians4D):
        return Converted(scene, 0.0, 0.0, scene.num_gaussians)
    seconds = torch.tensor(scene.timestamps(samples) or [0.0], dtype=torch.float64)
    if linear is None:
        _check_persistent(scene, seconds[[0, -1]])
    first, last = float(seconds[0]), float(seconds[-1])
    clock = Clock((first + last) / 2, (last - first) / 2 if last > first else 1.0)
    with torch.no_grad():
        sampled = scene.evaluate(seconds)
        times = clock.scene_time(seconds).to(sampled["means"])
        cloud = {"scales": sampled["scales"][0], "opacities": sampled["opacities"], "colors": sampled["colors"]}
        fields, source = in_pieces(cloud, sampled["means"], sampled["quats"], times, tolerance)
        pieces = Gaussians4D(**fields, world=scene.world, notes=scene.notes, clock=clock, seconds=(first, last))
        between = (seconds[1:] + seconds[:-1]) / 2
        largest, mean = _distances(scene, pieces, source, torch.cat([seconds, between]))
    return Converted(pieces, largest * scene.world.scale, mean * scene.world.scale, scene.num_gaussians)


def to_sequence(scene: Scene, times: Tensor | Sequence[float]) -> GaussianSequence:
    """Convert any scene to one set of Gaussians per time.

    Args:
        times: [T] seconds, increasing.

    Raises:
        InputError: no times, or times that do not increase.
    """
    seconds = torch.as_tensor(times, dtype=torch.float64)
    if seconds.ndim != 1 or len(seconds) == 0:
        raise InputError(f"times: expected seconds [T], at least one, got shape {list(seconds.shape)}")
    step = max(1, SPLATS_PER_CALL // max(1, scene.num_gaussians))
    parts = [scene.evaluate(some) for some in seconds.split(step)]
    fields = {name: torch.cat([part[name] for part in parts]) for name in SPLAT_SHAPES}
    return GaussianSequence(**fields, times=seconds, world=scene.world, notes=scene.notes)


def _check_persistent(scene: Scene, seconds: Tensor) -> None:
    """Refuse Gaussians whose sizes change."""
    scales = scene.evaluate(seconds)["scales"]
    if not torch.equal(scales[0], scales[-1]):
        problem = f"scene: a {scene.kind} with other scales at other times has no trajectories to cut into pieces"
        raise InputError(problem, "chronosplat.refine.body_from_sequence makes one body of a sequence")


def _distances(scene: Scene, pieces: Gaussians4D, source: Tensor, seconds: Tensor) -> tuple[float, float]:
    """The largest and the mean distance of the pieces' places, weighted by opacity, from the Gaussians that they are of."""
    largest, total = 0.0, 0.0
    for some in seconds.split(1):  # one time at a time, because of memory
        wanted = scene.evaluate(some)["means"][0]
        found = {name: t[0] for name, t in pieces.evaluate(some).items()}
        weights = found["opacities"].clamp_min(1e-30)[:, None]
        sums = wanted.new_zeros(len(wanted), 4).index_add(0, source, torch.cat([weights * found["means"], weights], -1))
        off = (sums[:, :3] / sums[:, 3:] - wanted).norm(dim=-1)
        largest, total = max(largest, float(off.max())), total + float(off.mean())
    return largest, total / len(seconds)
