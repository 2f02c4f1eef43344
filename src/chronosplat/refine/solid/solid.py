"""One camera's frames to one solid body that moves: no network, no other view.

The rest frame's silhouette is inflated and surfaced (shell.py), tracked through the video by nodes inside it (bones.py, register.py,
follow.py), and fitted to all frames (polish.py), from the tracked size to that of the images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from chronosplat.cameras import Similarity
from chronosplat.captures import Views, fitted_size, normalizing_similarity
from chronosplat.events import Events, Notice, info, warning
from chronosplat.refine.solid.body import build_body
from chronosplat.refine.solid.config import SolidConfig
from chronosplat.refine.solid.depth import load_depth_model
from chronosplat.refine.solid.flow import has_flow, optical_flow
from chronosplat.refine.solid.follow import Follower
from chronosplat.refine.solid.frames import Frames, read_frames
from chronosplat.refine.solid.grids import erode
from chronosplat.refine.solid.plan import Clock, make_plan, measure
from chronosplat.refine.solid.polish import OPACITY, Model, Polished, Polisher, enlarged, polish
from chronosplat.refine.solid.rest import choose_rest
from chronosplat.refine.strategy import Refined
from chronosplat.scenes import DeformableGaussians

NODES_PER_GAUSSIAN = 4
LOST = 0.03  # of an outline on the image's border, from which on the object leaves it
POOR = 22.0  # dB of a frame that is not explained


@dataclass(frozen=True)
class Fitted:
    """A model, the frames that it was fitted to, and how it ended."""

    frames: Frames
    rest: int
    done: Polished


def solid_body(views: Views, config: SolidConfig = SolidConfig(), events: Events = Events(), seconds: float | None = None) -> Refined:
    """Reconstruct a solid body from the frames of one static camera, or from a single image.

    Args:
        views: with silhouettes, in the capture's world.
        seconds: wall time in all, to which images and steps are reduced; None: as the config says.

    Returns:
        A DeformableGaussians with a knot at every frame, in the capture's world and seconds; static for a single frame. A cancellation,
        or what is not finite, ends with the state so far.

    Raises:
        InputError: see read_frames.
    """
    clock = Clock(seconds)
    whole = views.cameras.width, views.cameras.height
    frames = read_frames(views if max(whole) <= config.fit_size else views.resized(*fitted_size(*whole, config.fit_size)))
    world = normalizing_similarity(views.cameras[:1], views.up)
    fitted = _fit(frames, whole, config, clock, replace(events, improved=lambda scene: events.improved(scene.in_coordinates(world))))
    frames, model = fitted.frames, fitted.done.model
    psnrs = [-10 * math.log10(max(error, 1e-8)) for error in model.errors(frames)]
    height, width = frames.alphas.shape[1:]
    facts: dict[str, Any] = {
        "strategy": "solid",
        "rest": float(frames.seconds[fitted.rest]),
        "frames": len(frames),
        "size": [width, height],
        "nodes": len(model.body.nodes),
        "gaussians": len(model.body.points),
        "steps": fitted.done.steps,
        "seconds": round(clock.spent(), 3),
        "psnr": sum(psnrs) / len(psnrs),
        "psnr_worst": min(psnrs),
        "flow": has_flow() and len(frames) > 1,
        "depth_model": config.depth_model,
        "seed": config.seed,
        "stopped": fitted.done.broken,
    }
    return Refined(as_scene(model, frames).in_coordinates(world), facts, _notices(fitted, psnrs, len(views)))


def _fit(frames: Frames, whole: tuple[int, int], config: SolidConfig, clock: Clock, events: Events) -> Fitted:
    """Build the body, track it and fit it, as far as the clock allows.

    Args:
        whole: width and height of the images as they were given.
    """
    small = frames.at_most(config.track_size)
    rest = choose_rest(small)
    pixels = int(small.masks[rest].sum())
    depth = load_depth_model(config.depth_model)(frames.on_white[rest]) if config.depth_model else None
    body = build_body(small, rest, max(1, min(config.max_nodes, round(pixels / config.pixels_per_node))), depth)
    follower = Follower(small, body, rest, config.rounds, config.steps, config.seed)
    flow = optical_flow if has_flow() and len(frames) > 1 else lambda _: None
    events.improved(as_scene(Model.of(body, follower.track.pose), small))
    with events.cancel.watched():
        small_flow = flow(small)
        speeds = measure(follower, small, body, config.seed, small_flow, events)
        plan = make_plan(speeds, config, len(frames), max(1.0, max(frames.alphas.shape[1:]) / config.track_size), clock.left())
        for notice in plan.notices(plan.at_level(-1, frames, small), whole, config, clock.seconds):
            events.notice(notice)
        track = plan.track(follower, clock, events)
        done, at = Polished(Model.of(body, track.pose), 0, track.broken), small
        events.improved(as_scene(done.model, small))
        for part in range(len(plan.counts)):
            if done.broken:
                break
            level, before = max(part - 1, 0), at
            if level:
                at = plan.at_level(level, frames, small)
                done.model = enlarged(done.model, at, rest, at.focal / before.focal, depth)
            polisher = Polisher(done.model, at, part > 0, config.seed, flow(at) if level else small_flow)
            more = polish(polisher, plan.budget(part, clock), events)
            done = Polished(more.model, done.steps + more.steps, more.broken)
            events.improved(as_scene(done.model, at))
    return Fitted(at, rest, done)


def _notices(fitted: Fitted, psnrs: list[float], given: int) -> list[Notice]:
    """What the user should know of a fit to so many given views."""
    found, frames, broken = [], fitted.frames, fitted.done.broken
    if broken:
        found.append(warning("stopped-early", f"refinement stopped early ({broken}); the best state so far is kept"))
    if frames.empty:
        found.append(info("empty-frames", f"{frames.empty} of {given} frames show no object and are not used"))
    if touching(frames) > LOST:
        found.append(warning("leaves-image", "the object reaches the image's border in some frames; what lies beyond is missing"))
    poor = [i for i, value in enumerate(psnrs) if value < POOR]
    if poor:
        at = f"{float(frames.seconds[poor[0]]):g} s"
        found.append(warning("poor-frames", f"{len(poor)} of {len(frames)} frames are not explained, the first at {at}"))
    return found


def touching(frames: Frames) -> float:
    """The largest fraction of a frame's outline that lies on the image's border."""
    masks = frames.masks.float()
    border = torch.ones_like(masks[0])
    border[1:-1, 1:-1] = 0
    outline = masks - erode(torch.nn.functional.pad(masks, (1, 1, 1, 1)))[:, 1:-1, 1:-1]
    return float(((outline * border).sum((1, 2)) / outline.sum((1, 2)).clamp_min(1)).max())


def as_scene(model: Model, frames: Frames) -> DeformableGaussians:
    """Convert a fitted body to a scene: lengths in image widths."""
    body, width = model.body, float(frames.alphas.shape[-1])
    near = body.weights.topk(min(NODES_PER_GAUSSIAN, body.weights.shape[1]), -1)
    start = torch.logit(torch.tensor(OPACITY))
    count = len(body.points)
    residuals: dict[str, Any] = {
        "groups": body.columns,
        "offsets": torch.nn.functional.pad(model.offsets, (0, 1)) / width,
        "tints": model.tints,
        "fades": model.fades,
        "shares": body.front,
    }
    world = frames.world
    return DeformableGaussians(
        means=body.points / width,
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        scales=(model.scales() / width)[:, None].repeat(1, 3),
        opacities=torch.sigmoid(start + model.opacities)[body.columns],
        colors=(body.colors + body.front[:, None] * model.colors[body.columns]).clamp(0, 1),
        nodes=body.nodes / width,
        skin_nodes=near.indices[body.columns],
        skin_weights=(near.values / near.values.sum(-1, keepdim=True))[body.columns],
        knots=frames.seconds,
        shifts=model.pose.shifts / width,
        turns=model.pose.turns,
        world=Similarity(world.scale * width, world.rotation, world.translation),
        **residuals,
    )
