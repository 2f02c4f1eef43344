"""Strategy ``deform``: one body, seen from several sides over time, as canonical Gaussians moved by control nodes."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import torch

from chronosplat.captures import Views
from chronosplat.refine.body import BodyStart
from chronosplat.refine.coverage import hold_out, well_seen
from chronosplat.refine.hull import CARVING_VIEWS, random_in_hull
from chronosplat.refine.search import finished, optimise_with_search
from chronosplat.refine.start import count_for
from chronosplat.refine.strategy import Problem, Refined, Strategy
from chronosplat.scenes import SPLAT_SHAPES


def _cannot(problem: Problem) -> str:
    return "" if problem.training.masked else "the views have no masks"


def _unsuitable(problem: Problem) -> str:
    views = problem.views
    if len(views) < problem.config.free.min_views:
        return f"fewer than {problem.config.free.min_views} views"
    return "" if well_seen(views.cameras, views.times) else "most timestamps are seen from one direction"


def _run(problem: Problem) -> Refined:
    began, config = time.perf_counter(), problem.config
    starts = [body_start(problem, rest) for rest in rest_times(problem.views, 1)]
    held = hold_out(problem.views.cameras, problem.views.times, config.held_out) if config.search > 0 and len(starts) > 1 else []
    done = optimise_with_search(starts, problem, held, -math.inf, began)
    return finished(problem, done, {"strategy": "deform"}, "was too short to gain anything", compare=True)


def rest_times(views: Views, count: int) -> list[float]:
    """Candidates for the second at which the body is canonical: the middle timestamp, and others spread over the capture."""
    stamps = torch.unique(views.times)
    places = [0.5] if count == 1 else [0.5, *(i / (count - 1) for i in range(count) if i * 2 != count - 1)]
    return list(dict.fromkeys(float(stamps[round(place * (len(stamps) - 1))]) for place in places))[:count]


def body_start(problem: Problem, rest: float) -> BodyStart:
    """Random Gaussians in the visual hull of the views nearest to a second.

    Raises:
        InputError: the silhouettes do not intersect.
    """
    views, config = problem.views, problem.config
    near = views[nearest_views(views, rest)]
    near = replace(near, times=torch.full_like(near.times, rest))  # else Gaussians would be carved at several times
    count = max(round(config.deform.density * count_for(problem.training.alpha)), 2)
    points = random_in_hull(near, count, config.seed, like=problem.scene)
    fields = {name: points.tensors()[name].to(problem.training.rgb.device) for name in SPLAT_SHAPES}
    return BodyStart(fields, rest, views.times, "visual hull")


def nearest_views(views: Views, rest: float) -> list[int]:
    """Indices of the views at a second; of at least as many views as carve a hull, those nearest in time."""
    gap = (views.times - rest).abs()
    return gap.argsort(stable=True)[: max(CARVING_VIEWS, int((gap == 0).sum()))].tolist()


DEFORM = Strategy("deform", "most timestamps are seen from at least two directions", _cannot, _unsuitable, _run)
