"""Strategy ``deform``: one body, seen from several sides over time, as canonical Gaussians moved by control nodes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from chronosplat.captures import Views
from chronosplat.events import Events
from chronosplat.refine.body import BodyStart
from chronosplat.refine.config import DeformConfig, RefineConfig
from chronosplat.refine.coverage import directions_seen, keeps_its_size, well_seen
from chronosplat.refine.hull import CARVING_VIEWS, random_in_hull
from chronosplat.refine.register import registered_poses
from chronosplat.refine.start import count_for
from chronosplat.refine.strategy import Problem, Start, Strategy
from chronosplat.refine.tracking import RESTING, tracked_poses
from chronosplat.scenes import SPLAT_SHAPES
from chronosplat.shapes import InputError

MOST_REGISTERED = 100  # timestamps; of more, neighbours lie close together
STEPS_OF_A_POSE = 45  # of an optimisation, that registration and tracking of a timestamp take as long as


def why_not(views: Views, config: RefineConfig) -> str:
    """Why these views do not suit a body; "" if they do."""
    cameras, times, pixels = views.cameras, views.times, views.rgba8()
    if len(times) < config.free.min_views:
        return f"fewer than {config.free.min_views} views"
    if well_seen(cameras, times):
        return ""
    if int(directions_seen(cameras, times)[1].max()) < config.deform.min_directions:
        return f"most timestamps are seen from one direction, and none from {config.deform.min_directions}"
    return "" if keeps_its_size(cameras, pixels) else "the object changes its size in the video"


def _cannot(problem: Problem) -> str:
    return "" if problem.training.masked else "the views have no masks"


def _unsuitable(problem: Problem) -> str:
    return why_not(problem.views, problem.config)


def deform_starts(problem: Problem) -> list[Start]:
    """Bodies at rest at one or several timestamps; none where the silhouettes do not intersect."""
    found: list[Start] = []
    if not (shown := shown_views(problem)):
        return found
    settings, views = settings_for(problem), problem.views[shown]
    for rest in [widest_time(views)] if settings.register else rest_times(views, settings.rests):
        with suppress(InputError):  # silhouettes without a hull
            found.append(body_start(problem, rest))
    return found


def rest_times(views: Views, count: int) -> list[float]:
    """Candidates for the second at which the body is canonical: timestamps that are seen from the most directions.

    From a timestamp near the middle, no other is far away. docs/results.md, "Rest times".

    Args:
        count: at most so many, spread over the middle half.
    """
    stamps, directions = directions_seen(views.cameras, views.times)
    best = stamps[directions == directions.max()]
    places = [0.25 + (i + 0.5) / (2 * count) for i in range(count)]
    return list(dict.fromkeys(float(best[round(place * (len(best) - 1))]) for place in places))


def widest_time(views: Views) -> float:
    """The second at which the silhouettes cover the most: limbs, wings and weapons are spread, and no part hides another."""
    stamps, directions = directions_seen(views.cameras, views.times)
    best = stamps[directions == directions.max()]
    areas = views.rgba8()[..., 3].double().mean((1, 2))
    return float(max(best, key=lambda stamp: float(areas[views.times == stamp].mean())))


def shown_views(problem: Problem) -> list[int]:
    """Indices of the views that show something: at other timestamps there is no hull."""
    return [i for i, image in enumerate(problem.training.pixels[..., 3]) if int(image.max()) >= 128]


def body_start(problem: Problem, rest: float) -> BodyStart:
    """Random Gaussians in the visual hull of the views nearest to a second.

    Raises:
        InputError: the silhouettes do not intersect.
    """
    views, settings = problem.views, settings_for(problem)
    shown = views[shown_views(problem)]
    near = shown[nearest_views(shown, rest)]
    near = replace(near, times=torch.full_like(near.times, rest))  # else Gaussians would be carved at several times
    count = max(2, min(settings.max_gaussians, round(settings.density * count_for(problem.training.pyramid[0].pixels))))
    points = random_in_hull(near, count, problem.config.seed, like=problem.scene)
    fields = {name: points.tensors()[name].to(problem.training.device) for name in SPLAT_SHAPES}
    kind, preparation, stamps = BodyStart, 0, len(torch.unique(problem.training.seconds))
    if settings.register and stamps <= MOST_REGISTERED:
        kind, preparation = DenseStart, RESTING + STEPS_OF_A_POSE * stamps
    most = settings.steps_per_view * len(views)
    return kind(fields, rest, "visual hull", settings, most, settings.lead, preparation=preparation)


@dataclass(frozen=True)
class DenseStart(BodyStart):
    """A body whose poses are found before its optimisation begins: by registration, then by tracking.

    Without the time for that it has no lead over others.
    """

    def prepared(self, problem: Problem, events: Events) -> DenseStart:
        """See Start."""
        views, seed = problem.training.pyramid[0], problem.config.seed
        stamps = torch.unique(views.seconds)
        motion, rest = self.motion(stamps, torch.Generator().manual_seed(seed)), int((stamps - self.rest).abs().argmin())
        found = replace(self, poses=registered_poses(motion, views, rest, seed, events.cancel))
        poses = tracked_poses(found, views, problem.config, events)
        return replace(found, poses=poses, lead=0.0 if events.cancel.requested else self.lead)


def settings_for(problem: Problem) -> DeformConfig:
    """The usual settings; other ones where most timestamps show several sides of the body, or where a single one does."""
    views, config = problem.views, problem.config
    stamps, directions = directions_seen(views.cameras, views.times)
    if len(stamps) > 1 and int(directions.median()) >= config.dense.min_directions:
        return config.dense
    if well_seen(views.cameras, views.times):
        return config.deform
    others = int(directions.max()) >= config.deform.min_directions
    return config.front_facing if others else config.deform


def nearest_views(views: Views, rest: float) -> list[int]:
    """Indices of the views at a second; of at least as many views as carve a hull, those nearest in time."""
    gap = (views.times - rest).abs()
    return gap.argsort(stable=True)[: max(CARVING_VIEWS, int((gap == 0).sum()))].tolist()


DEFORM = Strategy("deform", "one timestamp or most of them are seen from several directions", _cannot, _unsuitable, starts=deform_starts)
