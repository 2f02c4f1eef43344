"""Strategy ``free``: most timestamps are seen from several sides, so every field is optimised from a subsampled scene."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch

from chronosplat.refine.config import RefineConfig
from chronosplat.refine.coverage import timestamp_spacing, well_seen
from chronosplat.refine.hull import random_in_hull
from chronosplat.refine.parameters import fields_of
from chronosplat.refine.search import FreeStart
from chronosplat.refine.start import count_for, subsample_and_widen
from chronosplat.refine.strategy import Problem, Start, Strategy
from chronosplat.refine.training_views import TrainingViews
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError


def _cannot(problem: Problem) -> str:
    return "" if problem.training.times is not None else "the scene is not in linear motion over time"


def _unsuitable(problem: Problem) -> str:
    views = problem.views
    if len(views) < problem.config.free.min_views:
        return f"fewer than {problem.config.free.min_views} views"
    return "" if well_seen(views.cameras, views.times) else "most timestamps are seen from one direction"


def free_starts(problem: Problem) -> list[Start]:
    """The subsampled prediction with each of the widths as least time sigma, and optionally random points in the hull."""
    scene, config, training = problem.scene, problem.config, problem.training
    assert training.times is not None
    predicted: list[Start] = [
        FreeStart(subsample_and_widen(scene, training.pixels, training.times, width, config.seed), config.free.lrs, True, width)
        for width in config.free.widths
    ]
    if not (config.free.hull and config.search > 0 and training.masked):
        return predicted
    with suppress(InputError):  # silhouettes without a hull
        points = random_in_hull(problem.views, count_for(training.pixels), config.seed, like=scene)
        return predicted + hull_starts(points, training, config, config.free.hull)
    return predicted


def hull_starts(points: Scene, training: TrainingViews, config: RefineConfig, widths: Sequence[float]) -> list[FreeStart]:
    """Starts from random points, with each of the widths as time sigma."""
    assert training.times is not None
    fields = {name: t.to(training.device) for name, t in fields_of(points).items()}
    spacing, one = timestamp_spacing(training.times), torch.ones_like(fields["opacities"])
    return [
        FreeStart(fields | {"time_sigmas": one * max(width * spacing, 1e-3)}, config.free.hull_lrs, True, width, "random points")
        for width in widths
    ]


FREE = Strategy("free", "most timestamps are seen from at least two directions", _cannot, _unsuitable, starts=free_starts)
