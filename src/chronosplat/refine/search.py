"""Optimisation with held-out views: they choose the start and the length, then all views take part."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.events import Deadline, Events, info, warning
from chronosplat.metrics import mean_psnr
from chronosplat.refine.config import LearningRates, RefineConfig
from chronosplat.refine.corrections import Corrections
from chronosplat.refine.coverage import hold_out, well_seen
from chronosplat.refine.estimate import budgeted, estimate
from chronosplat.refine.optimise import Budget, FreeStepper, Stepper, run_steps
from chronosplat.refine.parameters import Fields
from chronosplat.refine.strategy import Problem, Refined, Start, Strategy, view_notices
from chronosplat.refine.training_views import AT_ONCE, TrainingViews
from chronosplat.render import render
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError

PREPARING = 0.4  # of the seconds that a refinement may take: at most so many before its first step
FEW_STEPS = 100  # of the final run, below which its result is coarse
TRIAL_STEPS = 100  # of a start at most; docs/results.md, "Rest times"
MARKS = tuple(i / 8 for i in range(1, 9))  # fractions of an optimisation at which it is evaluated


@dataclass(frozen=True)
class FreeStart:
    """Gaussians of which every field moves, their learning rates, and whether to regularise (see optimise)."""

    fields: Fields
    lrs: LearningRates
    regularise: bool
    width: float | None = None
    origin: str = "prediction"
    max_steps: int | None = None
    lead: float = 0.0
    strategy: str = "free"
    marks: tuple[float, ...] = MARKS
    preparation: int = 0

    def prepared(self, problem: Problem, events: Events) -> FreeStart:
        """See Start."""
        return self

    def begin(self, views: TrainingViews, config: RefineConfig) -> FreeStepper:
        """See Start."""
        return FreeStepper(self.fields, views, config, self.lrs, self.regularise)

    def facts(self) -> dict[str, object]:
        """See Start."""
        return {"width": self.width, "start": self.origin}


@dataclass
class Best:
    """The best state on held-out views: its start, the fraction of the budget, and the scene."""

    psnr: float
    lead: float = 0.0
    start: int = 0
    until: float = 0.0
    scene: Scene | None = None
    steps: int = 0
    broken: str = ""
    tried: dict[str, float] = field(default_factory=dict)


@dataclass
class Done:
    """The final scene (None: nothing was gained), why it stopped early if it did, and the corrections."""

    scene: Scene | None
    broken: str
    facts: dict[str, Any]
    corrections: Corrections | None = None


def report_progress(events: Events, share: float, psnr: float) -> None:
    """Report a fraction of a refinement with the PSNR on held-out views."""
    events.progress("refining", round(100 * share), 100, f"held-out views {psnr:.2f} dB" if math.isfinite(psnr) else "")


def optimise_with_search(
    starts: Sequence[Start],
    problem: Problem,
    held: list[int],
    floor: float,
    began: float,
    max_steps: int | None = None,
) -> Done:
    """Find the best start and length with views held out, then optimise with all of them.

    Args:
        held: indices of the held-out views. floor: PSNR on them below which nothing counts as found.
        began: when the budget's seconds began. max_steps: whatever the budget.
    """
    config, events, views = problem.config, problem.events, problem.training

    def seconds_left() -> float | None:
        return None if config.seconds is None else max(config.seconds - (time.perf_counter() - began), 1e-3)

    budget = Budget(min((n for n in (config.steps, max_steps) if n is not None), default=None), seconds_left())
    best = _search(starts, problem, held, floor, budget) if held else Best(math.nan, until=1.0)
    facts: dict[str, Any] = {"strategy": starts[best.start].strategy, "held_out": len(held), "seed": config.seed}
    facts |= {"psnr_held_out": rounded(best.psnr) if best.scene else None, "final_steps": 0}
    if len(best.tried) > 1:
        facts["tried"] = {name: rounded(psnr) for name, psnr in best.tried.items()}
    scene, steps, broken, corrections = best.scene, best.steps, best.broken, None
    if best.until > 0 and not broken:
        start, first, until, rest = starts[best.start], 0.0, 1.0, budget
        if held:
            first = config.search
            rest = Budget(None if budget.steps is None else max(budget.steps - best.steps, 1), seconds_left())
            expected = max(best.steps, 1) * (1 - config.search) / config.search
            until = max(best.until, min(1.0, config.free.min_steps / expected)) if max_steps is None else best.until
        stepper = start.begin(views, config)

        def on_mark(share: float) -> None:
            report_progress(events, first + (1 - first) * share, best.psnr)
            if stepper.is_whole(share) and share < 1:
                events.improved(stepper.scene(problem.scene))

        rest = rest.share(until).at_most(start.max_steps)
        more, broken = run_steps(stepper, range(len(views)), rest, MARKS, on_mark, events.cancel)
        scene, steps, corrections = stepper.scene(problem.scene), steps + more, stepper.corrections
        shorter = more * len(starts) < best.steps
        if (broken or shorter) and best.scene is not None:  # the search may have got further; its corrections are not kept
            theirs = psnr_of(best.scene, problem)
            scene, corrections = (best.scene, None) if theirs >= stepper.psnr(range(len(views))) else (scene, corrections)
        facts |= {"until": round(until, 3), "final_steps": more, **start.facts(), **stepper.corrections.facts()}
    return Done(scene, broken, facts | {"steps": steps, "seconds": round(time.perf_counter() - began, 3), "stopped": broken}, corrections)


def _search(starts: Sequence[Start], problem: Problem, held: list[int], floor: float, budget: Budget) -> Best:
    """Optimise from every start without the held-out views, on small images, and keep the state with the best PSNR on them."""
    config, events, views = problem.config, problem.events, problem.training.pyramid[0]
    train = [i for i in range(len(views)) if i not in set(held)]
    best = Best(floor)
    for index, start in enumerate(starts):
        stepper = start.begin(views, config)

        def on_mark(share: float, index: int = index, stepper: Stepper = stepper, start: Start = start) -> None:
            psnr = stepper.psnr(held)
            best.tried[start.strategy] = max(best.tried.get(start.strategy, -math.inf), psnr)
            if psnr + start.lead > best.psnr + best.lead:
                best.psnr, best.lead, best.start, best.until = psnr, start.lead, index, share
                best.scene = stepper.scene(problem.scene)
                events.improved(best.scene)
            report_progress(events, config.search * (index + share) / len(starts), psnr)

        part = budget.share(config.search / len(starts)).at_most(TRIAL_STEPS)
        steps, broken = run_steps(stepper, train, part, start.marks, on_mark, events.cancel)
        best.steps += steps
        if broken:
            best.broken = broken
            break
    return best


def psnr_of(scene: Scene, problem: Problem, chosen: Sequence[int] | None = None) -> float:
    """Mean PSNR in dB of a scene on the chosen views, or on all."""
    views, found = problem.views, 0.0
    chosen = range(len(views)) if chosen is None else chosen
    with torch.no_grad():
        for first in range(0, len(chosen), AT_ONCE):
            some = list(chosen[first : first + AT_ONCE])
            rgb = render(scene, views.cameras[some], views.times[some], backend=problem.config.backend, cull=False).rgb
            found += mean_psnr(rgb, problem.training.on_white(some)) * len(rgb)
    return found / len(chosen)


def rounded(value: float) -> float | None:
    """For a report: three decimals, None for what is not finite."""
    return round(value, 3) if math.isfinite(value) else None


def compete(problem: Problem, strategies: Sequence[Strategy], predicted: bool = True, began: float | None = None) -> Refined:
    """Optimise from the start of these strategies that is the best on held-out views.

    Args:
        predicted: whether the problem's scene is a prediction, which is kept where nothing is gained.
        began: when the work began, by ``time.perf_counter``; None: now.

    Raises:
        InputError: the silhouettes do not intersect.
    """
    began, config, views = time.perf_counter() if began is None else began, problem.config, problem.views
    starts = [start for strategy in strategies if strategy.starts for start in strategy.starts(problem)]
    if not starts:
        raise InputError("views: the silhouettes do not intersect; check alphas and cameras")
    held = hold_out(views.cameras, views.times, config.held_out) if config.search > 0 and len(starts) > 1 else []
    events, left = problem.events, math.inf
    if not predicted:
        events.improved(problem.scene)  # a coarse one, at once
    if config.seconds is None:
        assert config.steps is not None
        searching = len(starts) * min(TRIAL_STEPS, round(config.steps * config.search / len(starts))) if held else 0
        final = Budget(config.steps - searching).at_most(starts[0].max_steps)
        events.notice(estimate(problem, starts[0], searching, final.steps or 0))
    else:
        left = began + PREPARING * config.seconds - time.perf_counter()
        events.notice(budgeted(problem, config.seconds))
    preparing = replace(events, cancel=Deadline(events.cancel, left))
    starts = [start.prepared(problem, preparing) for start in starts]
    before = psnr_of(problem.scene, problem, held) if held and predicted else math.nan
    done = optimise_with_search(starts, problem, held, -math.inf, began)
    facts: dict[str, object] = {"psnr_held_out_before": rounded(before)}
    if not predicted and done.scene is None:
        done.scene = problem.scene
    compare = predicted and well_seen(views.cameras, views.times)  # inputs of one side do not judge the others
    refined = finished(problem, done, facts, "was too short to gain anything", compare=compare)
    if config.seconds is not None and done.facts["final_steps"] < FEW_STEPS and not done.broken:
        text = f"{config.seconds:g} s were enough for {done.facts['final_steps']} steps of the final run: the result is coarse"
        refined.notices.append(warning("time-short", text, "{refine} takes longer", refine="SECONDS"))
    tried = done.facts.get("tried", {})
    if len(tried) > 1:
        leads = {start.strategy: f" + {start.lead:g}" for start in starts if start.lead}
        told = ", ".join(f"{name} {psnr:.2f}{leads.get(name, '')} dB" for name, psnr in tried.items() if psnr is not None)
        refined.notices.insert(0, info("strategy", f"refinement strategy {done.facts.get('strategy')}: held-out views say {told}"))
    return refined


def finished(problem: Problem, done: Done, facts: dict[str, object], nothing_gained: str, compare: bool) -> Refined:
    """The result of an optimisation with search: the refined scene, or the prediction where nothing was gained.

    Args:
        nothing_gained: why. compare: keep the prediction if it fits the input views better; with corrections the views of the
            two differ, and the scene is taken.
    """
    corrected = problem.config.cameras or problem.config.exposure
    if done.scene is not None and compare and not corrected:
        done.scene = done.scene if psnr_of(done.scene, problem) >= psnr_of(problem.scene, problem) else None
    notices = view_notices(problem.views, problem.training.masked)
    facts = facts | done.facts
    if done.scene is None:
        why = f"stopped early ({done.broken}) with nothing gained" if done.broken else nothing_gained
        notices.append(info("prediction-kept", f"refinement {why}: the prediction is kept"))
        return Refined(problem.scene, facts | {"kept": True, "gaussians": problem.scene.num_gaussians}, notices)
    if done.broken:
        notices.append(warning("stopped-early", f"refinement stopped early ({done.broken}); the best state so far is kept"))
    facts |= {"kept": False, "gaussians": done.scene.num_gaussians}
    return Refined(done.scene, facts, notices, *corrections_of(done, problem))


def corrections_of(done: Done, problem: Problem) -> tuple[Cameras | None, tuple[Tensor, Tensor] | None]:
    """Corrected cameras in the capture's world, and exposure; None where they were not optimised."""
    if done.corrections is None or done.scene is None:
        return None, None
    return done.corrections.cameras(problem.views.cameras, problem.scene.world), done.corrections.exposure()
