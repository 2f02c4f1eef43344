"""Optimisation with held-out views: they choose the start and the length, then all views take part."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.events import Events, info, warning
from chronosplat.refine.config import LearningRates, RefineConfig
from chronosplat.refine.corrections import Corrections
from chronosplat.refine.optimise import Budget, optimise
from chronosplat.refine.parameters import Fields, fields_of, with_fields
from chronosplat.refine.strategy import Problem, Refined, view_notices
from chronosplat.refine.training_views import TrainingViews, psnr_on

MARKS = tuple(i / 8 for i in range(1, 9))  # fractions of an optimisation at which it is evaluated


@dataclass(frozen=True)
class Start:
    """A state to optimise from, its learning rates, and whether to regularise (see optimise)."""

    fields: Fields
    lrs: LearningRates
    regularise: bool
    width: float | None = None
    origin: str = "prediction"


@dataclass
class Best:
    """The best state on held-out views: its start, the fraction of the budget, and its fields."""

    psnr: float
    start: int = 0
    until: float = 0.0
    fields: Fields | None = None
    steps: int = 0
    broken: str = ""


@dataclass
class Done:
    """The final fields (None: nothing was gained), why it stopped early if it did, and the corrections."""

    fields: Fields | None
    broken: str
    facts: dict[str, Any]
    corrections: Corrections | None = None


def report_progress(events: Events, share: float, psnr: float) -> None:
    """Report a fraction of a refinement with the PSNR on held-out views."""
    events.progress("refining", round(100 * share), 100, f"held-out views {psnr:.2f} dB" if math.isfinite(psnr) else "")


def optimise_with_search(
    starts: list[Start],
    views: TrainingViews,
    held: list[int],
    floor: float,
    config: RefineConfig,
    events: Events,
    began: float,
    max_steps: int | None = None,
) -> Done:
    """Find the best start and length with views held out, then optimise with all of them.

    Args:
        held: indices of the held-out views. floor: PSNR on them below which nothing counts as found.
        began: when the budget's seconds began. max_steps: whatever the budget.
    """

    def seconds_left() -> float | None:
        return None if config.seconds is None else max(config.seconds - (time.perf_counter() - began), 1e-3)

    budget = Budget(min((n for n in (config.steps, max_steps) if n is not None), default=None), seconds_left())
    best = _search(starts, views, held, floor, config, budget, events) if held else Best(math.nan, until=1.0)
    facts: dict[str, Any] = {"held_out": len(held), "psnr_held_out": rounded(best.psnr) if best.fields else None, "seed": config.seed}
    fields, steps, broken, corrections = best.fields, best.steps, best.broken, None
    if best.until > 0 and not broken:
        start, first, until, rest = starts[best.start], 0.0, 1.0, budget
        if held:
            first, rest = config.search, budget.share(1 - config.search)
            rest = replace(rest, seconds=seconds_left())
            steps_left = max(best.steps, 1) * (1 - config.search) / config.search
            until = max(best.until, min(1.0, config.free.min_steps / steps_left)) if start.regularise else best.until
        outcome = optimise(
            start.fields, views, range(len(views)), config, rest.share(until), start.lrs, start.regularise, MARKS,
            lambda share, _: report_progress(events, first + (1 - first) * share, best.psnr), events.cancel,
        )  # fmt: skip
        fields, steps, broken, corrections = outcome.fields, steps + outcome.steps, outcome.broken, outcome.corrections
        if broken and best.fields is not None:  # the search may have got further; its corrections are not kept
            ours, theirs = (psnr_on(f, views, range(len(views)), config.backend) for f in (fields, best.fields))
            fields, corrections = (best.fields, None) if theirs >= ours else (fields, corrections)
        facts |= {"until": round(until, 3), "width": start.width, "start": start.origin, **outcome.corrections.facts()}
    return Done(fields, broken, facts | {"steps": steps, "seconds": round(time.perf_counter() - began, 3), "stopped": broken}, corrections)


def _search(
    starts: list[Start], views: TrainingViews, held: list[int], floor: float, config: RefineConfig, budget: Budget, events: Events
) -> Best:
    """Optimise from every start without the held-out views, and keep the state with the best PSNR on them."""
    train = [i for i in range(len(views)) if i not in set(held)]
    best = Best(floor)
    for index, start in enumerate(starts):

        def on_mark(share: float, fields: Mapping[str, Tensor], index: int = index) -> None:
            psnr = psnr_on(fields, views, held, config.backend)
            if psnr > best.psnr:
                best.psnr, best.start, best.until, best.fields = psnr, index, share, dict(fields)
            report_progress(events, config.search * (index + share) / len(starts), psnr)

        part = budget.share(config.search / len(starts))
        outcome = optimise(start.fields, views, train, config, part, start.lrs, start.regularise, MARKS, on_mark, events.cancel)
        best.steps += outcome.steps
        if outcome.broken:
            best.broken = outcome.broken
            break
    return best


def rounded(value: float) -> float | None:
    """For a report: three decimals, None for what is not finite."""
    return round(value, 3) if math.isfinite(value) else None


def finished(problem: Problem, done: Done, facts: dict[str, object], nothing_gained: str, compare: bool = False) -> Refined:
    """The result of an optimisation with search: the refined scene, or the prediction where nothing was gained.

    Args:
        nothing_gained: why. compare: keep the prediction if it fits the input views better, as after any early stop; with
            corrections the views of the two differ, and the scene is taken.
    """
    corrected = problem.config.cameras or problem.config.exposure
    if done.fields is not None and (compare or done.broken) and not corrected:
        every, backend = range(len(problem.training)), problem.config.backend
        ours, theirs = (psnr_on(f, problem.training, every, backend) for f in (done.fields, fields_of(problem.scene)))
        done.fields = done.fields if ours >= theirs else None
    notices = view_notices(problem.views, problem.training.masked)
    facts = facts | done.facts
    if done.fields is None:
        why = f"stopped early ({done.broken}) with nothing gained" if done.broken else nothing_gained
        notices.append(info("prediction-kept", f"refinement {why}: the prediction is kept"))
        return Refined(problem.scene, facts | {"kept": True, "gaussians": problem.scene.num_gaussians}, notices)
    if done.broken:
        notices.append(warning("stopped-early", f"refinement stopped early ({done.broken}); the best state so far is kept"))
    scene = with_fields(problem.scene, done.fields)
    return Refined(scene, facts | {"kept": False, "gaussians": scene.num_gaussians}, notices, *corrections_of(done, problem))


def corrections_of(done: Done, problem: Problem) -> tuple[Cameras | None, tuple[Tensor, Tensor] | None]:
    """Corrected cameras in the capture's world, and exposure; None where they were not optimised."""
    if done.corrections is None or done.fields is None:
        return None, None
    return done.corrections.cameras(problem.views.cameras, problem.scene.world), done.corrections.exposure()
