"""Strategy ``solid``: a single static camera, or a single image; the silhouette is inflated to one body and tracked."""

from __future__ import annotations

from dataclasses import replace

from chronosplat.captures import Views
from chronosplat.events import Deadline, info
from chronosplat.refine.config import RefineConfig
from chronosplat.refine.solid.frames import SAME_CAMERA
from chronosplat.refine.solid.solid import solid_body
from chronosplat.refine.strategy import Problem, Refined, Strategy


def why_not(views: Views) -> str:
    """Why these views are not those of a single static camera; "" if they are."""
    cameras = views.cameras
    if not bool((views.rgba8()[..., 3] < 128).any()):
        return "the views have no masks"
    poses = float((cameras.viewmats - cameras.viewmats[:1]).abs().amax())
    lenses = float(((cameras.Ks - cameras.Ks[:1]).abs() / cameras.Ks[:1].abs().clamp_min(1)).amax())
    if max(poses, lenses) > SAME_CAMERA:
        return "the views are not those of one static camera"
    return "" if len(views.times.unique()) == len(views) else "two views have the same timestamp"


def _run(problem: Problem) -> Refined:
    views, config, events = problem.views, problem.config, problem.events
    size, whole = config.solid.fit_size, (views.cameras.width, views.cameras.height)
    if max(whole) > size:
        small = tuple(max(1, round(side * size / max(whole))) for side in whole)
        text = f"the body is fitted to images of {small[0]}x{small[1]}, reduced from {whole[0]}x{whole[1]}"
        events.notice(info("solid-size", text, "{quality} takes larger ones", quality="high"))
        views = views.resized(*small)
    if config.seconds is not None:
        events = replace(events, cancel=Deadline(events.cancel, config.seconds))
    done = solid_body(views, replace(config.solid, seed=config.seed), events)
    return replace(done, facts=done.facts | {"kept": False})


def _cannot(problem: Problem) -> str:
    return why_not(problem.views)


def _unsuitable(problem: Problem) -> str:
    return "it would not begin with the scene, but with the silhouettes"


SOLID = Strategy("solid", "all views are those of one static camera", _cannot, _unsuitable, run=_run)


def suits(views: Views, config: RefineConfig) -> bool:
    """Whether a solid body is made of views, where no scene is given."""
    return config.strategy in ("auto", "solid") and not why_not(views)
