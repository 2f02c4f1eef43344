"""One camera's frames to one solid body that moves: no network, no other view.

The rest frame's silhouette is inflated and surfaced (shell.py), tracked through the video by nodes inside it (bones.py,
register.py, follow.py), and fitted to all frames (polish.py).
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from chronosplat.cameras import Similarity
from chronosplat.captures import Views, normalizing_similarity
from chronosplat.events import Events, info, warning
from chronosplat.refine.optimise import Budget
from chronosplat.refine.solid.body import build_body, enlarge
from chronosplat.refine.solid.config import SolidConfig
from chronosplat.refine.solid.depth import load_depth_model
from chronosplat.refine.solid.flow import has_flow, optical_flow
from chronosplat.refine.solid.follow import Follower
from chronosplat.refine.solid.frames import Frames, read_frames
from chronosplat.refine.solid.grids import erode
from chronosplat.refine.solid.motion import Pose
from chronosplat.refine.solid.polish import OPACITY, Model, Polisher, polish
from chronosplat.refine.solid.rest import choose_rest
from chronosplat.refine.strategy import Refined
from chronosplat.scenes import DeformableGaussians

NODES_PER_GAUSSIAN = 4
LOST = 0.03  # of an outline on the image's border, from which on the object leaves it
POOR = 22.0  # dB of a frame that is not explained


def solid_body(views: Views, config: SolidConfig = SolidConfig(), events: Events = Events()) -> Refined:
    """Reconstruct a solid body from the frames of one static camera, or from a single image.

    Args:
        views: with silhouettes, in the capture's world.

    Returns:
        A DeformableGaussians with a knot at every frame, in the capture's world and seconds. A cancellation ends with the state
        so far.

    Raises:
        InputError: see read_frames.
    """
    began = time.perf_counter()
    frames = read_frames(views)
    factor = max(frames.masks.shape[1:]) / config.track_size
    height, width = (round(side / factor) for side in frames.masks.shape[1:])
    small = frames if factor <= 1 else frames.resized(width, height)
    rest = choose_rest(small)
    pixels = int(small.masks[rest].sum())
    depth = load_depth_model(config.depth_model)(frames.on_white[rest]) if config.depth_model else None
    body = build_body(small, rest, max(1, min(config.max_nodes, round(pixels / config.pixels_per_node))), depth)
    joint, residuals = config.step_counts(len(frames))
    with events.cancel.watched():
        track = Follower(small, body, rest, config.rounds, config.steps, config.seed).run(events)
        pose, broken, steps = track.pose, track.broken, 0
        if small is not frames:
            factor = frames.focal / small.focal
            body, pose = enlarge(body, frames, rest, factor, depth), Pose(pose.shifts * factor, pose.turns)
        flow = optical_flow(frames) if has_flow() and len(frames) > 1 else None
        model = Model.of(body, pose)
        for explained, count in ((False, joint), (True, residuals)):
            if not broken:
                done = polish(Polisher(model, frames, explained, config.seed, flow), Budget(count), events)
                model, broken, steps = done.model, done.broken, steps + done.steps
    psnrs = [-10 * math.log10(max(error, 1e-8)) for error in model.errors(frames)]
    refined = Refined(as_scene(model, frames).in_coordinates(normalizing_similarity(views.cameras[:1], views.up)))
    refined.facts = {
        "strategy": "solid",
        "rest": float(frames.seconds[rest]),
        "frames": len(frames),
        "nodes": len(body.nodes),
        "gaussians": len(body.points),
        "steps": steps,
        "seconds": round(time.perf_counter() - began, 3),
        "psnr": sum(psnrs) / len(psnrs),
        "psnr_worst": min(psnrs),
        "flow": flow is not None,
        "depth_model": config.depth_model,
        "seed": config.seed,
        "stopped": broken,
    }
    if broken:
        refined.notices.append(warning("stopped-early", f"refinement stopped early ({broken}); the best state so far is kept"))
    if frames.empty:
        refined.notices.append(info("empty-frames", f"{frames.empty} of {len(views)} frames show no object and are not used"))
    if touching(frames) > LOST:
        text = "the object reaches the image's border in some frames; what lies beyond is missing"
        refined.notices.append(warning("leaves-image", text))
    poor = [i for i, value in enumerate(psnrs) if value < POOR]
    if poor:
        at = f"{float(frames.seconds[poor[0]]):g} s"
        refined.notices.append(warning("poor-frames", f"{len(poor)} of {len(frames)} frames are not explained, the first at {at}"))
    return refined


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
