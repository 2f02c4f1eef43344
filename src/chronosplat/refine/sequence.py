"""Refinement of a sequence: frame by frame, by gentle steps, since most frames are seen from one side only.

Frames share no Gaussians (L4GM has no correspondence across frames), so each is optimised alone, and only one is at work at a time. The
frame that is seen from the most sides, usually the first, tells how long the others may run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chronosplat.captures import Views
from chronosplat.gaussians import Gaussians3D, GaussianSequence
from chronosplat.gaussians.scenes import SPLAT_SHAPES
from chronosplat.refine.account import Progressed, Refined, check_seen, notices
from chronosplat.refine.config import GENTLE_GAIN, RefineConfig
from chronosplat.refine.coverage import hold_back
from chronosplat.refine.optimise import Budget, optimise
from chronosplat.refine.parameters import Fields, fields_of, with_fields
from chronosplat.refine.pictures import Pictures, pictures_for, psnr_on
from chronosplat.shapes import InputError

FEWEST_STEPS = 8  # of a frame
MARKS = tuple(i / 4 for i in range(1, 5))


@dataclass
class Pace:
    """How long each frame may run: found at the first frame that has views to hold back."""

    budget: Budget
    until: float = 1.0
    before: float | None = None
    best: float | None = None
    steps: int = 0
    frames: int = 0
    broken: str = ""


def refine_frames(
    frames: Iterable[tuple[Gaussians3D, Views | None]], count: int, config: RefineConfig
) -> Iterator[tuple[Gaussians3D, Pace]]:
    """Refine frames as they come; those without views pass through.

    Args:
        frames: each with the views of its moment. count: how many have views; the budget is shared among them.
    """
    share = Budget(config.steps, config.seconds).share(1 / max(count, 1))
    pace = Pace(replace(share, steps=None if share.steps is None else max(share.steps, FEWEST_STEPS)))
    for scene, views in frames:
        if views is None or pace.until == 0 or pace.broken:
            yield scene, pace
            continue
        pictures = pictures_for(scene, views)
        fields = fields_of(scene)
        held = hold_back(views.cameras, views.times, config.held_back) if config.search > 0 and pace.best is None else []
        if held:
            find_pace(pace, fields, pictures, held, config)
        if pace.until > 0 and not pace.broken:
            outcome = optimise(fields, pictures, range(len(pictures)), config, pace.budget.share(pace.until), config.gentle, False)
            fields, pace.broken = outcome.fields, outcome.broken
            pace.steps, pace.frames = pace.steps + outcome.steps, pace.frames + 1
            refined = with_fields(scene, fields)
            assert isinstance(refined, Gaussians3D)
            scene = refined
        yield scene, pace


def find_pace(pace: Pace, fields: Fields, pictures: Pictures, held: list[int], config: RefineConfig) -> None:
    """Find how long frames may run at one that is seen from several sides: 0 where nothing is gained on the held-back views."""
    before = psnr_on(fields, pictures, held, config.backend)
    pace.before, pace.best, pace.until = before, before, 0.0

    def look(share: float, found: Mapping[str, Tensor]) -> None:
        psnr = psnr_on(found, pictures, held, config.backend)
        if psnr > max(before + GENTLE_GAIN, pace.best or before):
            pace.until, pace.best = share, psnr

    train = [i for i in range(len(pictures)) if i not in held]
    pace.broken = optimise(fields, pictures, train, config, pace.budget, config.gentle, False, marks=MARKS, look=look).broken


def refine_sequence(scene: GaussianSequence, views: Views, config: RefineConfig, progressed: Progressed) -> Refined:
    """See :func:`chronosplat.refine.refine_scene`: every view goes to the frame nearest in time.

    Raises:
        InputError: views of other moments than the sequence's.
    """
    first, last = scene.seconds
    slack = 0.5 * (last - first) / max(len(scene) - 1, 1) + 1e-6
    low, high = views.seconds
    if low < first - slack or high > last + slack:
        raise InputError(
            f"views: taken from {low:g} to {high:g} s, but the scene shows {first:g} to {last:g} s; they are not of one capture"
        )
    which = [scene.nearest(float(t)) for t in views.times]
    check_seen(scene.frame(which[0]), views[[0]])
    began = time.perf_counter()
    count = len(set(which))

    def frames() -> Iterator[tuple[Gaussians3D, Views | None]]:
        for index in range(len(scene)):
            mine = [i for i, frame in enumerate(which) if frame == index]
            yield scene.frame(index), views[mine] if mine else None

    done: list[Gaussians3D] = []
    pace = Pace(Budget(steps=1))
    for refined, pace in refine_frames(frames(), count, config):
        done.append(refined)
        progressed(len(done) / len(scene), pace.best if pace.best is not None else float("nan"))
    notes = notices(views, pictures_for(scene.frame(which[0]), views[[0]]))
    if count < len(scene):
        notes.append(f"{len(scene) - count} of {len(scene)} frames have no views and stay as they were")
    if pace.frames == 0 and not pace.broken:
        notes.append("refinement gains nothing on held-back views: the prediction is kept")
    if pace.broken:
        notes.append(f"refinement stopped early ({pace.broken}); the best state so far is kept")
    fields = {name: torch.stack([getattr(g, name) for g in done]) for name in SPLAT_SHAPES}
    facts = facts_of(pace, config) | {"seconds": round(time.perf_counter() - began, 3), "gaussians": scene.means.shape[1]}
    return Refined(replace(scene, **fields), facts, notes)


def facts_of(pace: Pace, config: RefineConfig) -> dict[str, object]:
    """For a report."""
    rounded = [None if v is None else round(v, 3) for v in (pace.before, pace.best)]
    return {
        "mode": "gentle, frame by frame",
        "psnr_held_back_before": rounded[0],
        "psnr_held_back": rounded[1],
        "kept": pace.frames == 0,
        "frames": pace.frames,
        "steps": pace.steps,
        "until": round(pace.until, 3),
        "seed": config.seed,
        "stopped": pace.broken,
    }
