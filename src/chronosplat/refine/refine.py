"""``refine``: a scene and its input views in, a better scene out; ``fit``: views alone in, a scene from random points.

A strategy does the work (strategies/). Where many views constrain each Gaussian, fields move freely; where few do, the
prediction's geometry moves in small steps. Held-out views decide when to stop, and whether anything was gained.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from chronosplat.captures import Views
from chronosplat.events import Events, info, interruptible, logged, warning
from chronosplat.refine.config import BEST, FAST, RefineConfig, refinement
from chronosplat.refine.coverage import best_seen_time, hold_out
from chronosplat.refine.hull import random_in_hull
from chronosplat.refine.search import corrections_of, optimise_with_search
from chronosplat.refine.start import count_for
from chronosplat.refine.strategies import STRATEGIES
from chronosplat.refine.strategies.frames import is_sequence
from chronosplat.refine.strategies.free import hull_starts
from chronosplat.refine.strategy import Problem, Refined, Strategy, check_fit, view_notices
from chronosplat.refine.training_views import training_views
from chronosplat.scenes import Gaussians4D, Scene
from chronosplat.shapes import InputError

log = logging.getLogger("chronosplat")


def refine(
    scene: Scene,
    views: Views,
    how: str = "fast",
    steps: int | None = None,
    seconds: float | None = None,
    strategy: str = "auto",
    seed: int = 0,
) -> Scene:
    """Optimise a scene against its input views.

    Args:
        scene: any kind, on the device to work on. views: in the scene's world and seconds.
        how: fast, best, or a number of seconds as text; or give
        steps or seconds: the whole budget.
        strategy: auto, or one of ``chronosplat.refine.STRATEGIES``.
        seed: with steps, fast and best the result depends on nothing else.

    Returns:
        The refined scene; the scene itself where nothing is gained on held-out views. Ctrl-C returns the best so far.

    Raises:
        InputError: the scene and the views are of different worlds or times, or the strategy cannot run.
    """
    if steps is not None or seconds is not None:
        config = replace(BEST, steps=steps, seconds=seconds)
    else:
        config = refinement(how)
        if config is None:
            return scene
    events = Events(notice=logged)
    with interruptible(events.cancel):
        done = refine_scene(scene, views, replace(config, strategy=strategy, seed=seed), events)
    for notice in done.notices:
        log.warning(str(notice))  # else they would be lost
    return done.scene


def refine_scene(scene: Scene, views: Views, config: RefineConfig = FAST, events: Events | None = None) -> Refined:
    """As :func:`refine`, by a config, with corrected cameras and a report.

    Args:
        scene: any kind, on the device to work on. views: in the scene's world and seconds.

    Raises:
        InputError: the scene and the views are of different worlds or times, or the strategy cannot run.
    """
    if not is_sequence(scene):
        check_fit(scene, views)
    problem = Problem(scene, views, training_views(scene, views), config, events or Events())
    strategy, why = choose_strategy(problem)
    with problem.events.cancel.watched():
        problem.events.notice(info("strategy", f"refinement strategy {strategy.name}: {why}"))
        done = strategy.run(problem)
    return replace(done, facts=done.facts | {"why": why})


def choose_strategy(problem: Problem) -> tuple[Strategy, str]:
    """The strategy that the config names, or the first one that suits the views, and why.

    Raises:
        InputError: an unknown name, or a strategy that cannot run.
    """
    name = problem.config.strategy
    if name != "auto":
        if name not in STRATEGIES:
            raise InputError(f"strategy: expected auto, {', '.join(STRATEGIES)}; got {name!r}")
        if reason := STRATEGIES[name].cannot(problem):
            raise InputError(f"strategy {name}: cannot run, because {reason}", "use {strategy}", strategy="auto")
        return STRATEGIES[name], "requested"
    for strategy in STRATEGIES.values():
        if not (strategy.cannot(problem) or strategy.unsuitable(problem)):
            return strategy, strategy.why
    raise InputError(f"scene: no strategy refines a {problem.scene.kind}")


def fit(views: Views, config: RefineConfig = FAST, events: Events | None = None, device: str = "cpu") -> Refined:
    """Per-scene optimisation without a prediction: the same optimiser, from random points in the visual hull.

    The time sigma of the start is searched among the config's widths. Where a prediction would be tracked, the random points
    of the best-seen timestamp are.

    Raises:
        InputError: the silhouettes do not intersect.
    """
    began, events = time.perf_counter(), events or Events()
    points = random_in_hull(views, count_for(views.alphas), config.seed).to(device)
    problem = Problem(points, views, training_views(points, views), config, events)
    track = STRATEGIES["track"]
    with events.cancel.watched():
        if not (track.cannot(problem) or track.unsuitable(problem)):
            done = track.run(replace(problem, scene=random_at_rest(views, points, config.seed)))
            return replace(done, facts=done.facts | {"start": "random points"})
        starts = hull_starts(points, problem.training, config, config.free.widths)
        held = hold_out(views.cameras, views.times, config.held_out) if config.search > 0 else []
        done = optimise_with_search(starts, problem, held, float("-inf"), began)
    notices = view_notices(views, problem.training.masked)
    if done.broken:
        notices.append(warning("stopped-early", f"refinement stopped early ({done.broken}); the best state so far is kept"))
    scene = points if done.scene is None else done.scene
    return Refined(scene, {"strategy": "free", **done.facts}, notices, *corrections_of(done, problem))


def random_at_rest(views: Views, points: Gaussians4D, seed: int) -> Gaussians4D:
    """As many random points, in the same world and time, at the timestamp that is seen from the most directions."""
    rest, _ = best_seen_time(views.cameras, views.times)
    there = views[(views.times == rest).nonzero()[:, 0].tolist()]
    return replace(random_in_hull(there, points.num_gaussians, seed, like=points), seconds=views.seconds).to(points.device)
