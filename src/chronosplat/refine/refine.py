"""``refine``: a scene and its input views in, a better scene out; ``fit``: views alone in, a scene from random Gaussians.

A strategy does the work (strategies/). Where views show several sides, one body that deforms competes with Gaussians that
move freely; where they show one, the prediction's geometry moves in small steps. Held-out views decide.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import torch

from chronosplat.captures import Views
from chronosplat.events import Events, info, interruptible, logged, warning
from chronosplat.refine.config import FAST, RefineConfig, refinement
from chronosplat.refine.coverage import well_seen
from chronosplat.refine.from_sequence import body_of_sequence
from chronosplat.refine.hull import random_in_hull
from chronosplat.refine.search import compete
from chronosplat.refine.simplify import simplified
from chronosplat.refine.start import count_for
from chronosplat.refine.strategies import STRATEGIES, solid
from chronosplat.refine.strategies.deform import DEFORM, why_not
from chronosplat.refine.strategies.frames import is_sequence
from chronosplat.refine.strategies.free import FREE, hull_starts
from chronosplat.refine.strategy import Problem, Refined, Strategy, check_fit, check_times
from chronosplat.refine.training_views import training_views
from chronosplat.scenes import Scene
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
        how: off, fast, best, or a number of seconds as text; or give
        steps or seconds: the whole budget.
        strategy: auto, or one of ``chronosplat.refine.STRATEGIES``.
        seed: with steps, fast and best the result depends on nothing else.

    Returns:
        The refined scene; the scene itself with off, and where nothing is gained on held-out views. Ctrl-C returns the best so far.

    Raises:
        InputError: the scene and the views are of different worlds or times, or the strategy cannot run.
    """
    config = refinement(how, steps, seconds)
    if config is None:
        return scene
    events = Events(notice=logged)
    with interruptible(events.cancel):
        done = refine_scene(scene, views, replace(config, strategy=strategy, seed=seed), events)
    for notice in done.notices:
        log.warning(str(notice))  # else they would be lost
    return done.scene


@torch.inference_mode(False)
@torch.enable_grad()  # also where the caller has switched gradients off
def refine_scene(scene: Scene, views: Views, config: RefineConfig = FAST, events: Events | None = None) -> Refined:
    """As :func:`refine`, by a config, with corrected cameras and a report.

    Args:
        scene: any kind, on the device to work on. views: in the scene's world and seconds.

    Raises:
        InputError: the scene and the views are of different worlds or times, or the strategy cannot run.
    """
    events = events or Events()
    if not is_sequence(scene):
        check_fit(scene, views)
    elif config.strategy in ("auto", "deform"):
        check_times(scene, views, 0.05 * (scene.timestamps(0)[-1] - scene.timestamps(0)[0]) + 1e-6)
        if done := body_of_sequence(scene, views, config, events):
            return done
    problem = Problem(scene, views, training_views(scene, views), config, events)
    chosen, why = choose_strategies(problem)
    with problem.events.cancel.watched():
        names = " or ".join(strategy.name for strategy in chosen)
        problem.events.notice(info("strategy", f"refinement strategy {names}: {why}"))
        _say_unused(config, chosen, problem.events)
        done = compete(problem, chosen) if chosen[0].run is None else chosen[0].run(problem)
    return replace(done, facts=done.facts | {"why": why})


def choose_strategies(problem: Problem) -> tuple[list[Strategy], str]:
    """The strategy that the config names, or the first one that suits the views with those that compete with it, and why.

    Raises:
        InputError: an unknown name, or a strategy that cannot run.
    """
    name = problem.config.strategy
    if name != "auto":
        if name not in STRATEGIES:
            raise InputError(f"strategy: expected auto, {', '.join(STRATEGIES)}; got {name!r}")
        if reason := STRATEGIES[name].cannot(problem):
            raise InputError(f"strategy {name}: cannot run, because {reason}", "use {strategy}", strategy="auto")
        return [STRATEGIES[name]], "requested"
    suitable = [s for s in STRATEGIES.values() if not (s.cannot(problem) or s.unsuitable(problem))]
    if not suitable:
        raise InputError(f"scene: no strategy refines a {problem.scene.kind}")
    rivals = [strategy for strategy in suitable if strategy.starts] if suitable[0].starts else suitable[:1]
    return rivals, suitable[0].why


def _say_unused(config: RefineConfig, chosen: list[Strategy], events: Events) -> None:
    if config.solid.depth_model and solid.SOLID not in chosen:
        events.notice(warning("depth-model-unused", "depth_model: it is used for one static camera only, and ignored here"))
    if chosen == [solid.SOLID]:
        for name, what in (("cameras", "camera poses"), ("exposure", "exposures")):
            if getattr(config, name):
                text = f"{what} are not corrected: strategy solid takes one static camera as it is"
                events.notice(warning(f"{name}-unused", text, f"leave out {{refine_{name}}}", **{f"refine_{name}": ...}))


def needs_prediction(views: Views, config: RefineConfig) -> bool:
    """Whether refinement begins with a prediction; not for a single static camera, nor for many views of a body from several sides.

    There silhouettes are the better start, and a prediction would only take time. docs/results.md, "Starts of a body".
    """
    if solid.suits(views, config):
        return False
    if config.strategy not in ("auto", "deform") or len(views) < config.deform.min_views:
        return True
    masked = bool((views.rgba8()[..., 3] < 128).any())
    return not masked or bool(why_not(views, config)) or not well_seen(views.cameras, views.times)


@torch.inference_mode(False)
@torch.enable_grad()
def fit(views: Views, config: RefineConfig = FAST, events: Events | None = None, device: str = "cpu") -> Refined:
    """Optimise a scene without a prediction, from silhouettes: an inflated one of a single static camera, or random Gaussians
    in the visual hull of several.

    Bodies (strategy ``deform``) compete on held-out views with freely moving Gaussians, whose time sigma is searched among
    the config's widths.

    Raises:
        InputError: the silhouettes do not intersect.
    """
    events = events or Events()
    began = time.perf_counter()
    views = simplified(views, config, events)
    if config.strategy not in ("auto", "solid", "deform", "free"):
        raise InputError(f"strategy: {config.strategy} needs a prediction; expected auto, solid, deform or free")
    if config.strategy == "solid" or solid.suits(views, config):
        return _fit_solid(views, config, events)
    points = random_in_hull(views, count_for(views.rgba8()), config.seed).to(device)
    problem = Problem(points, views, training_views(points, views), config, events)
    body = config.strategy == "deform" or not (DEFORM.cannot(problem) or DEFORM.unsuitable(problem))
    hulls = replace(FREE, starts=lambda p: list(hull_starts(points, p.training, config, config.free.widths)))
    rivals = [DEFORM] if config.strategy == "deform" else [FREE] if config.strategy == "free" else [DEFORM, FREE] if body else [FREE]
    names = " or ".join(strategy.name for strategy in rivals)
    with events.cancel.watched():
        events.notice(info("strategy", f"refinement strategy {names}, from the silhouettes"))
        _say_unused(config, rivals, events)
        return compete(problem, [hulls if strategy is FREE else strategy for strategy in rivals], predicted=False, began=began)


def _fit_solid(views: Views, config: RefineConfig, events: Events) -> Refined:
    """Fit a solid body, which starts from no points of a hull.

    Raises:
        InputError: the views are not those of one static camera with masks.
    """
    if reason := solid.why_not(views):
        raise InputError(f"strategy solid: cannot run, because {reason}", "use {strategy}", strategy="auto")
    why = solid.SOLID.why if config.strategy == "auto" else "requested"
    with events.cancel.watched():
        events.notice(info("strategy", f"refinement strategy solid: {why}"))
        _say_unused(config, [solid.SOLID], events)
        done = solid.reconstruct(views, config, events)
    return replace(done, facts=done.facts | {"why": why})
