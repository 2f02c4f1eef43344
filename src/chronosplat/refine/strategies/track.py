"""Strategy ``track``: a front-facing camera, and other views of one timestamp whose geometry is tracked through the video.

The views of the other sides still hold when the object has moved on. The scene at the timestamp that is seen from the most
directions becomes one set of Gaussians, which control nodes (warp.py) deform to the other timestamps, ever farther from it.
The result is split into pieces in linear motion (pieces.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.events import info, warning
from chronosplat.refine.config import RefineConfig, TrackConfig
from chronosplat.refine.corrections import Corrections
from chronosplat.refine.coverage import best_seen_time, keeps_its_size, well_seen
from chronosplat.refine.optimise import BETAS, Budget, all_finite, image_loss
from chronosplat.refine.parameters import Fields, bounded, freed, with_fields
from chronosplat.refine.pieces import in_pieces
from chronosplat.refine.search import report_progress
from chronosplat.refine.strategy import Problem, Refined, Strategy, view_notices
from chronosplat.refine.training_views import render_each
from chronosplat.refine.vector_adam import VectorAdam
from chronosplat.refine.warp import Warp
from chronosplat.scenes import Scene, gaussians_at


def _cannot(problem: Problem) -> str:
    config, views, training = problem.config.track, problem.views, problem.training
    if training.times is None:
        return "the scene has no time"
    if not training.masked:
        return "the views have no masks"
    steps = tracking_steps(problem.config)
    if steps < config.min_steps or steps * config.batch < config.min_steps_per_view * len(views):
        return f"{steps} steps are too few for {len(views)} views"
    rest, _ = best_seen_time(views.cameras, views.times)
    if len(gaussians_at_rest(problem.scene, rest, config)["means"]) < config.min_steps:
        return f"the scene shows too little at {rest:g} s"
    return ""


def _unsuitable(problem: Problem) -> str:
    cameras, times = problem.views.cameras, problem.views.times
    if well_seen(cameras, times):
        return "most timestamps are seen from several directions"
    if best_seen_time(cameras, times)[1] < problem.config.track.min_directions:
        return f"no timestamp is seen from {problem.config.track.min_directions} directions"
    return "" if keeps_its_size(cameras, problem.views.alphas) else "the object changes its size in the video"


def _run(problem: Problem) -> Refined:
    """A track that did not reach all timestamps is dropped."""
    began, config = time.perf_counter(), problem.config
    rest, _ = best_seen_time(problem.views.cameras, problem.views.times)
    track = track_object(problem, rest)
    kept = not track.whole or track.steps < config.track.min_steps
    facts = {
        "strategy": "track",
        "rest": rest,
        "steps": track.steps,
        "seconds": round(time.perf_counter() - began, 3),
        "held_out": 0,
        "psnr_held_out_before": None,
        "psnr_held_out": None,
        "seed": config.seed,
        "stopped": track.broken,
        "kept": kept,
        "gaussians": problem.scene.num_gaussians if kept else len(track.fields["means"]),
        **track.corrections.facts(),
    }
    notices = view_notices(problem.views, problem.training.masked)
    if kept:
        why = f"stopped early ({track.broken})" if track.broken else "was too short to track the object"
        return Refined(problem.scene, facts, [*notices, info("prediction-kept", f"refinement {why}: the start is kept")])
    if track.broken:
        notices.append(warning("stopped-early", f"refinement stopped early ({track.broken}); the state so far is kept"))
    cameras = track.corrections.cameras(problem.views.cameras, problem.scene.world)
    return Refined(with_fields(problem.scene, track.fields), facts, notices, cameras, track.corrections.exposure())


@dataclass
class TrackResult:
    """The result of tracking.

    Attributes:
        fields: of a Gaussians4D. steps: taken. whole: whether all timestamps took part. broken: why it stopped early, or "".
    """

    fields: Fields
    steps: int
    whole: bool
    broken: str
    corrections: Corrections


def tracking_steps(config: RefineConfig) -> int:
    """The steps that tracking takes at most."""
    return config.track.steps if config.steps is None else min(config.track.steps, config.steps)


@torch.inference_mode(False)
@torch.enable_grad()  # also where the caller has switched gradients off
def track_object(problem: Problem, rest: float) -> TrackResult:
    """Track an object from its state at one timestamp through all views.

    Args:
        rest: that timestamp in seconds, one of the views'.

    Returns:
        The Gaussians in pieces. A cancellation, or a loss that is NaN, ends it at the last good state.
    """
    scene, views, config, settings = problem.scene, problem.training, problem.config, problem.config.track
    linear = scene.linear_form()
    assert views.times is not None
    assert linear is not None
    assert linear.clock is not None
    stamps, which = torch.unique(views.times, return_inverse=True)
    middle = int((stamps - linear.clock.scene_time(torch.tensor(rest, dtype=torch.float64)).to(stamps)).abs().argmin())
    away = (which - middle).abs()
    free = freed(gaussians_at_rest(scene, rest, settings))
    generator = torch.Generator().manual_seed(config.seed)
    warp = Warp(free["means"], len(stamps), generator)
    weights = warp.weights(free["means"])
    corrections = Corrections(len(views), config, views.rgb.device)
    groups = [{"params": [t], "initial_lr": settings.lrs[name]} for name, t in free.items()] + corrections.groups()
    adam = torch.optim.Adam(groups, lr=0.0, betas=BETAS, eps=1e-15, fused=True)
    motion = VectorAdam([(warp.shifts, settings.shift_lr), (warp.turns, settings.turn_lr), (warp.drifts, settings.shift_lr)])
    optimised = [t for group in groups for t in group["params"]] + [warp.shifts, warp.turns, warp.drifts]
    budget = Budget(tracking_steps(config), config.seconds)
    began, steps, reach, broken = time.perf_counter(), 0, 0, ""
    while True:
        share = budget.spent(steps, time.perf_counter() - began)
        report_progress(problem.events, min(share, 1.0), float("nan"))
        if problem.events.cancel.requested:
            broken = "interrupted"
            break
        if share >= 1 - 1e-9:
            break
        reach = grow(warp, middle, reach, share, settings)
        chosen = sample_views(away, reach, generator, settings)
        seen, cloud = which[chosen], bounded(free)
        means, quats = warp.at(seen, cloud["means"], cloud["quats"], weights)
        poses = corrections.poses(views.viewmats)
        rgb, alpha = render_each(cloud | {"means": means, "quats": quats}, views, chosen, config.backend, poses)
        loss = image_loss(corrections.exposed(rgb, chosen), alpha, views, chosen, config)
        loss = loss + settings.rigidity * warp.bending(seen) + settings.steadiness * warp.unsteadiness(middle - reach, middle + reach)
        adam.zero_grad()
        loss.backward()
        if not bool(torch.isfinite(loss)) or not all_finite(optimised):
            broken = "the loss became NaN"
            break
        for group in adam.param_groups:
            group["lr"] = group["initial_lr"] * config.lr_floor**share
        adam.step()
        motion.step(config.lr_floor**share)
        with torch.no_grad():
            free["colors"].clamp_(0, 1)  # else white grows brighter than a scene may be
        steps += 1
    with torch.no_grad():
        cloud = bounded(free)
        every = torch.arange(len(stamps), device=which.device)
        fields = in_pieces(cloud, *warp.at(every, cloud["means"], cloud["quats"], weights), stamps)
    return TrackResult(fields, steps, reach >= farthest(warp, middle), broken, corrections)


def sample_views(away: Tensor, reach: int, generator: torch.Generator, settings: TrackConfig) -> list[int]:
    """Views for a step: some of the rest timestamp, the others of any timestamp within reach.

    Args:
        away: [F] time steps from rest to each view's timestamp.
    """
    order = torch.randperm(len(away), generator=generator)
    gaps = away.cpu()[order]
    at_rest = order[gaps == 0][: settings.at_rest].tolist()
    others = [i for i in order[gaps <= reach].tolist() if i not in at_rest]
    return at_rest + others[: settings.batch - settings.at_rest]


def gaussians_at_rest(scene: Scene, rest: float, settings: TrackConfig) -> Fields:
    """A scene's Gaussians at a timestamp, without the faint ones."""
    still = gaussians_at(scene, rest)
    kept = still.opacities > settings.min_opacity
    return {name: still.tensors()[name].detach().float()[kept] for name in settings.lrs}


def farthest(warp: Warp, middle: int) -> int:
    """Time steps from rest to the farther end of the video."""
    return max(middle, len(warp.drifts) - 1 - middle)


def grow(warp: Warp, middle: int, reach: int, share: float, settings: TrackConfig) -> int:
    """Add timestamps as the budget is spent, each with its neighbour's motion; return the new reach."""
    target = min(2 + int(share / settings.growth * farthest(warp, middle)), farthest(warp, middle))
    for further in range(reach + 1, target + 1):
        for side in (-1, 1):
            if 0 <= middle + side * further < len(warp.drifts):
                warp.carry(middle + side * (further - 1), middle + side * further)
    return max(reach, target)


TRACK = Strategy("track", "most timestamps are seen from one direction, and one of them from several", _cannot, _unsuitable, _run)
