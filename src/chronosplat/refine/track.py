"""A film of one side, and other sides at one moment: the object of that moment is followed through the film.

What the other sides showed once still belongs to the object when it has moved on. So the prediction at the moment that
is seen from the most sides is kept as one cloud, and a warp (warp.py) bends it into the other moments, ever farther from that
one; what moves in the film takes its surroundings along. The result is cut into straight pieces (pieces.py).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.captures import Views
from chronosplat.gaussians import Gaussians4D
from chronosplat.refine.account import Progressed, Refined, notices
from chronosplat.refine.config import RefineConfig
from chronosplat.refine.coverage import keeps_its_size, moment_seen_most, well_seen
from chronosplat.refine.optimise import BETAS, Budget, all_finite, unlike
from chronosplat.refine.parameters import Fields, bounded, fields_of, freed, with_fields
from chronosplat.refine.pictures import Pictures, show_each
from chronosplat.refine.pieces import in_pieces
from chronosplat.refine.poses import Corrections
from chronosplat.refine.vector_adam import VectorAdam
from chronosplat.refine.warp import Warp

CLOUD = {"means": 1e-3, "scales": 1e-2, "quats": 1e-2, "opacities": 3e-2, "colors": 1e-2}  # step sizes
SHIFT, TURN = 1.5e-3, 4.8e-3  # small: what the film does not ask for should stay where it is
BENDING, UNSTEADINESS = 1.0, 0.01  # weights beside the pictures'
FAINT = 0.03  # opacity below which a Gaussian at rest is left out
GROWN = 0.4  # share of the steps after which all moments are reached
SIDES = 3  # from which the moment at rest has to be seen
FEWEST = 60  # steps, and Gaussians at rest: with less there is nothing to follow
VIEWS, AT_REST = 8, 2  # pictures in a step, and how many of them are of the moment at rest, which alone shows the other sides
LOOKS = 16  # at each picture, at least; longer films were not tried and would need more steps


def can_follow(scene: Gaussians4D, views: Views, pictures: Pictures, config: RefineConfig) -> bool:
    """Whether most moments are seen from one side in which the object keeps its size, and some moment from several; and whether the
    steps are enough for so many pictures, and the scene shows something at that moment."""
    steps = min(config.track, config.steps or config.track)
    if steps < FEWEST or steps * VIEWS < LOOKS * len(views) or not pictures.masked:
        return False
    if well_seen(views.cameras, views.times) or not keeps_its_size(views.cameras, views.alphas):
        return False
    rest, sides = moment_seen_most(views.cameras, views.times)
    return sides >= SIDES and len(cloud_at(scene, rest)["means"]) >= FEWEST


def followed(scene: Gaussians4D, views: Views, pictures: Pictures, config: RefineConfig, progressed: Progressed) -> Refined:
    """Follow the object; see :func:`chronosplat.refine.refine_scene`. What was not followed through the whole film is given up."""
    began = time.perf_counter()
    rest, _ = moment_seen_most(views.cameras, views.times)
    steps = config.track if config.steps is None else min(config.track, config.steps)
    track = follow(scene, rest, pictures, config, Budget(steps, config.seconds), progressed)
    notes = notices(views, pictures)
    kept = not track.whole or track.steps < FEWEST
    facts = {
        "mode": "followed",
        "rest": rest,
        "steps": track.steps,
        "seconds": round(time.perf_counter() - began, 3),
        "held_back": 0,
        "psnr_held_back_before": None,
        "psnr_held_back": None,
        "seed": config.seed,
        "stopped": track.broken,
        "kept": kept,
        "gaussians": len(scene) if kept else len(track.fields["means"]),
        **track.corrections.facts(),
    }
    if kept:
        why = f"stopped early ({track.broken})" if track.broken else "was too short to follow the object"
        return Refined(scene, facts, [*notes, f"refinement {why}: the start is kept"])
    if track.broken:
        notes.append(f"refinement stopped early ({track.broken}); the state at that moment is kept")
    return Refined(with_fields(scene, track.fields), facts, notes)


@dataclass
class Track:
    """What following an object came to.

    Attributes:
        fields: of a Gaussians4D. steps: taken. whole: whether all moments were reached. broken: why it broke off, or "".
    """

    fields: Fields
    steps: int
    whole: bool
    broken: str
    corrections: Corrections


@torch.enable_grad()  # also where the caller asks for no gradients
def follow(
    scene: Gaussians4D,
    rest: float,
    pictures: Pictures,
    config: RefineConfig,
    budget: Budget,
    progressed: Progressed = lambda _share, _psnr: None,
) -> Track:
    """Follow an object from its state at a moment through all pictures.

    Args:
        rest: the moment in seconds, one of the pictures'. pictures: in the scene's world and time.

    Returns:
        The cloud in pieces. Ctrl-C, or a loss that is not a number, ends it at the last good state.
    """
    assert pictures.times is not None
    moments, which = torch.unique(pictures.times, return_inverse=True)
    middle = int((moments - scene.clock.scene_time(torch.tensor(rest, dtype=torch.float64)).to(moments)).abs().argmin())
    away = (which - middle).abs()
    free = freed(cloud_at(scene, rest))
    draws = torch.Generator().manual_seed(config.seed)
    warp = Warp(free["means"], len(moments), draws)
    weights = warp.weights(free["means"])
    corrections = Corrections(len(pictures), config, pictures.rgb.device)
    groups = [{"params": [t], "size": CLOUD[name]} for name, t in free.items()] + corrections.groups()
    adam = torch.optim.Adam(groups, lr=0.0, betas=BETAS, eps=1e-15, fused=True)
    motion = VectorAdam([(warp.shifts, SHIFT), (warp.turns, TURN), (warp.drifts, SHIFT)])
    optimised = [t for group in groups for t in group["params"]] + [warp.shifts, warp.turns, warp.drifts]
    began, steps, reach, broken = time.perf_counter(), 0, 0, ""
    try:
        while True:
            share = budget.spent(steps, time.perf_counter() - began)
            progressed(min(share, 1.0), math.nan)
            if share >= 1 - 1e-9:
                break
            reach = grow(warp, middle, reach, share)
            chosen = drawn(away, reach, draws)
            seen, cloud = which[chosen], bounded(free)
            means, quats = warp.at(seen, cloud["means"], cloud["quats"], weights)
            poses = corrections.poses(pictures.viewmats)
            rgb, alpha = show_each(cloud | {"means": means, "quats": quats}, pictures, chosen, config.backend, poses)
            loss = unlike(corrections.exposed(rgb, chosen), alpha, pictures, chosen, config)
            loss = loss + BENDING * warp.bending(seen) + UNSTEADINESS * warp.unsteadiness(middle - reach, middle + reach)
            adam.zero_grad()
            loss.backward()
            if not bool(torch.isfinite(loss)) or not all_finite(optimised):
                broken = "the loss is not a number any more"
                break
            for group in adam.param_groups:
                group["lr"] = group["size"] * config.final**share
            adam.step()
            motion.step(config.final**share)
            with torch.no_grad():
                free["colors"].clamp_(0, 1)  # else what is white grows brighter than a scene may be
            steps += 1
    except KeyboardInterrupt:
        broken = "interrupted"
    with torch.no_grad():
        cloud = bounded(free)
        every = torch.arange(len(moments), device=which.device)
        fields = in_pieces(cloud, *warp.at(every, cloud["means"], cloud["quats"], weights), moments)
    return Track(fields, steps, reach >= farthest(warp, middle), broken, corrections)


def drawn(away: Tensor, reach: int, draws: torch.Generator) -> list[int]:
    """Pictures for a step: some of the moment at rest, the others of any moment within reach.

    Args:
        away: [F] number of moments from the one at rest to each picture's.
    """
    order = torch.randperm(len(away), generator=draws)
    gaps = away.cpu()[order]
    at_rest = order[gaps == 0][:AT_REST].tolist()
    others = [i for i in order[gaps <= reach].tolist() if i not in at_rest]
    return at_rest + others[: VIEWS - AT_REST]


def cloud_at(scene: Gaussians4D, rest: float) -> Fields:
    """What a scene shows at a moment, without what is faint there."""
    still = fields_of(scene.conditioned(rest))
    seen = still["opacities"] > FAINT
    return {name: still[name][seen] for name in CLOUD}


def farthest(warp: Warp, middle: int) -> int:
    """Number of moments from the one at rest to the end of the film that is farther away."""
    return max(middle, len(warp.drifts) - 1 - middle)


def grow(warp: Warp, middle: int, reach: int, share: float) -> int:
    """Take further moments in as the budget is spent; each begins where its neighbour is. The new reach."""
    wanted = min(2 + int(share / GROWN * farthest(warp, middle)), farthest(warp, middle))
    for further in range(reach + 1, wanted + 1):
        for side in (-1, 1):
            if 0 <= middle + side * further < len(warp.drifts):
                warp.carry(middle + side * (further - 1), middle + side * further)
    return max(reach, wanted)
