"""Strategy ``frames``: a sequence, refined frame by frame in small steps.

Frames share no Gaussians (L4GM has no correspondence across frames), so each is optimised alone, and only one is in memory.
The first frame with views to hold out, usually the first of all, decides how long the others may run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chronosplat.captures import Views
from chronosplat.events import Cancel, info, warning
from chronosplat.refine.config import RefineConfig
from chronosplat.refine.coverage import hold_out
from chronosplat.refine.optimise import Budget, optimise
from chronosplat.refine.parameters import Fields, fields_of, with_fields
from chronosplat.refine.search import report_progress, rounded
from chronosplat.refine.strategy import Problem, Refined, Strategy, check_seen, check_times, view_notices
from chronosplat.refine.training_views import TrainingViews, psnr_on, training_views
from chronosplat.scenes import SPLAT_SHAPES, Gaussians3D, GaussianSequence, Scene, gaussians_at

FEWEST_STEPS = 8  # per frame
MARKS = tuple(i / 4 for i in range(1, 5))


@dataclass
class Pace:
    """How long each frame may run: found at the first frame that has views to hold out."""

    budget: Budget
    until: float = 1.0
    before: float | None = None
    best: float | None = None
    steps: int = 0
    frames: int = 0
    broken: str = ""


def refine_frames(
    frames: Iterable[tuple[Gaussians3D, Views | None]], count: int, config: RefineConfig, cancel: Cancel | None = None
) -> Iterator[tuple[Gaussians3D, Pace]]:
    """Refine frames as they come; those without views pass through.

    Args:
        frames: each with its views. count: how many have views; they share the budget.
    """
    share = Budget(config.steps, config.seconds).share(1 / max(count, 1))
    pace = Pace(replace(share, steps=None if share.steps is None else max(share.steps, FEWEST_STEPS)))
    lrs = config.gentle.lrs
    for frame, views in frames:
        if views is None or pace.until == 0 or pace.broken:
            yield frame, pace
            continue
        training, fields = training_views(frame, views), fields_of(frame)
        held = hold_out(views.cameras, views.times, config.held_out) if config.search > 0 and pace.best is None else []
        if held:
            find_pace(pace, fields, training, held, config, cancel)
        if pace.until > 0 and not pace.broken:
            budget = pace.budget.share(pace.until)
            outcome = optimise(fields, training, range(len(training)), config, budget, lrs, False, cancel=cancel)
            pace.broken, pace.steps, pace.frames = outcome.broken, pace.steps + outcome.steps, pace.frames + 1
            frame = gaussians_at(with_fields(frame, outcome.fields), 0.0)
        yield frame, pace


def find_pace(pace: Pace, fields: Fields, training: TrainingViews, held: list[int], config: RefineConfig, cancel: Cancel | None) -> None:
    """Find how long frames may run, at one seen from several sides: 0 where nothing is gained on the held-out views."""
    before = psnr_on(fields, training, held, config.backend)
    pace.before, pace.best, pace.until = before, before, 0.0

    def on_mark(share: float, found: Mapping[str, Tensor]) -> None:
        psnr = psnr_on(found, training, held, config.backend)
        if psnr > max(before + config.gentle.gain, pace.best or before):
            pace.until, pace.best = share, psnr

    train = [i for i in range(len(training)) if i not in held]
    lrs = config.gentle.lrs
    pace.broken = optimise(fields, training, train, config, pace.budget, lrs, False, MARKS, on_mark, cancel).broken


def is_sequence(scene: Scene) -> bool:
    """Whether a scene is a set of frames of its own for each timestamp."""
    return scene.linear_form() is None and scene.num_frames is not None and scene.seconds is not None


def _cannot(problem: Problem) -> str:
    return "" if is_sequence(problem.scene) else "the scene has no frames of its own"


def _unsuitable(problem: Problem) -> str:
    return ""


def _run(problem: Problem) -> Refined:
    """Every view belongs to the frame nearest in time.

    Raises:
        InputError: views of other times than the sequence's.
    """
    scene, views, config = problem.scene, problem.views, problem.config
    times = torch.tensor(scene.timestamps(0), dtype=torch.float64)
    check_times(scene, views, 0.5 * float(times[-1] - times[0]) / max(len(times) - 1, 1) + 1e-6)
    which = (times[None] - views.times[:, None].double()).abs().argmin(1).tolist()
    check_seen(gaussians_at(scene, float(times[which[0]])), views[[0]])
    began, count = time.perf_counter(), len(set(which))

    def frames() -> Iterator[tuple[Gaussians3D, Views | None]]:
        for index, seconds in enumerate(times.tolist()):
            mine = [i for i, frame in enumerate(which) if frame == index]
            yield gaussians_at(scene, seconds), views[mine] if mine else None

    done: list[Gaussians3D] = []
    pace = Pace(Budget(steps=1))
    for refined, pace in refine_frames(frames(), count, config, problem.events.cancel):
        done.append(refined)
        report_progress(problem.events, len(done) / len(times), pace.best if pace.best is not None else float("nan"))
    notices = view_notices(views, problem.training.masked)
    if count < len(times):
        notices.append(info("frames-without-views", f"{len(times) - count} of {len(times)} frames have no views and stay unchanged"))
    if pace.frames == 0 and not pace.broken:
        notices.append(info("prediction-kept", "refinement gains nothing on held-out views: the prediction is kept"))
    if pace.broken:
        notices.append(warning("stopped-early", f"refinement stopped early ({pace.broken}); the best state so far is kept"))
    fields = {name: torch.stack([getattr(g, name) for g in done]) for name in SPLAT_SHAPES}
    facts = facts_of(pace, config) | {"seconds": round(time.perf_counter() - began, 3), "gaussians": scene.num_gaussians}
    return Refined(GaussianSequence(**fields, times=times, world=scene.world, notes=scene.notes), facts, notices)


def facts_of(pace: Pace, config: RefineConfig) -> dict[str, object]:
    """For a report."""
    return {
        "strategy": "frames",
        "psnr_held_out_before": None if pace.before is None else rounded(pace.before),
        "psnr_held_out": None if pace.best is None else rounded(pace.best),
        "kept": pace.frames == 0,
        "frames": pace.frames,
        "steps": pace.steps,
        "until": round(pace.until, 3),
        "seed": config.seed,
        "stopped": pace.broken,
    }


FRAMES = Strategy("frames", "every timestamp has Gaussians of its own", _cannot, _unsuitable, _run)
