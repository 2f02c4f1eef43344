"""``reconstruct``: views in, a scene out. A network predicts and refinement follows, unless the silhouettes are the better start."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from chronosplat.captures import Views
from chronosplat.events import Events, info, interruptible, logged
from chronosplat.models import find_model, load_model
from chronosplat.pipeline.checks import check_views, network_views
from chronosplat.pipeline.report import Journal
from chronosplat.refine import RefineConfig, Refined, fit, needs_prediction, refine_scene, refinement, simplified
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError

MODEL = "4d-lrm-mini"
log = logging.getLogger("chronosplat")


def reconstruct(
    views: Views,
    how: str | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    strategy: str = "auto",
    seed: int = 0,
    model: str = MODEL,
    weights: str | Path | None = None,
    device: str = "cpu",
) -> Scene:
    """Reconstruct a scene from views, as ``chronosplat reconstruct`` does, without writing files.

    A single static camera, and many views of a body from several sides, are optimised from their silhouettes. For other views
    the model predicts a scene, which is refined.

    Args:
        views: from :func:`~chronosplat.captures.load_capture`, at their full size.
        how: off (the prediction), fast, best, or a number of seconds as text; by default the model's own, fast for 4d-lrm. Or give
        steps or seconds: the whole budget of the refinement.
        strategy: auto, or one of ``chronosplat.refine.STRATEGIES``.
        seed: with steps, fast and best the result depends on nothing else.
        model: name of a model that takes posed views; it is loaded only where a prediction is needed.
        weights: a safetensors file instead of the model's own weights.

    Returns:
        The scene, in the capture's world and seconds. Ctrl-C returns the best so far.

    Raises:
        InputError: no view shows an object, an unknown model, or one that takes a video.
        UnavailableError: weights neither cached nor downloadable.
    """
    config = refinement(how or find_model(model).inputs.refine, steps, seconds)
    if config is not None:
        config = replace(config, strategy=strategy, seed=seed)
    seen = check_views(views)
    events = Events(notice=logged)
    for notice in seen.notices:
        if notice not in views.notices:  # the loader's were told when it ran
            events.notice(notice)
    seen = seen if config is None else simplified(seen, config, events)
    with interruptible(events.cancel):
        done = reconstruct_views(seen, config, model, weights, device, Journal(events), events)
    for notice in done.notices:
        log.warning(str(notice))  # else they would be lost
    return done.scene


def reconstruct_views(
    views: Views, config: RefineConfig | None, model: str, weights: str | Path | None, device: str, journal: Journal, events: Events
) -> Refined:
    """Predict and refine, or optimise from the silhouettes where a prediction is of no use.

    Args:
        config: of the refinement; None: the prediction alone.

    Raises:
        InputError: an unknown model, or one that takes a video.
    """
    spec = find_model(model)
    if spec.inputs.kind != "views":
        raise InputError(f"model: {model} takes a video, not posed views", "use {model}", model=MODEL)
    if config is not None and not needs_prediction(views, config):
        events.notice(info("no-prediction", "no prediction is made: the silhouettes are the better start"))
        with journal.stage("refine"):
            done = fit(views, config, events, device)
    else:
        with journal.stage("load"):
            network = load_model(model, weights or None, device)
        with journal.stage("reconstruct"):
            done = Refined(network.reconstruct(network_views(views, spec.inputs, events)))
        taken = f"{done.scene.num_gaussians} Gaussians from {len(views)} images in {journal.times['reconstruct']:.1f} s"
        journal.events.notice(info("reconstructed", taken))
        events.improved(done.scene)
        if config is None:
            return done
        with journal.stage("refine"):
            done = refine_scene(done.scene, views, config, events)
    if not done.facts["kept"]:
        taken = f"refined to {done.scene.num_gaussians} Gaussians in {done.facts['steps']} steps, {journal.times['refine']:.1f} s"
        journal.events.notice(info("refined", taken))
    return done
