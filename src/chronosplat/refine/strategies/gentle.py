"""Strategy ``gentle``: few views, or one side only; the prediction's geometry moves in small steps."""

from __future__ import annotations

import math
import time

from chronosplat.refine.coverage import hold_out
from chronosplat.refine.parameters import fields_of
from chronosplat.refine.search import FreeStart, finished, optimise_with_search, rounded
from chronosplat.refine.strategy import Problem, Refined, Strategy
from chronosplat.refine.training_views import psnr_on


def _cannot(problem: Problem) -> str:
    return "" if problem.scene.linear_form() is not None else "the scene has no linear motion"


def _unsuitable(problem: Problem) -> str:
    return ""


def _run(problem: Problem) -> Refined:
    began, config, training = time.perf_counter(), problem.config, problem.training
    fields = fields_of(problem.scene)
    held = hold_out(problem.views.cameras, problem.views.times, config.held_out) if config.search > 0 else []
    before = psnr_on(fields, training, held, config.backend) if held else math.nan
    most = config.gentle.max_steps if held else config.gentle.max_steps_blind
    start = FreeStart(fields, config.gentle.lrs, False, strategy="gentle")
    done = optimise_with_search([start], problem, held, before + config.gentle.gain, began, most)
    return finished(problem, done, {"psnr_held_out_before": rounded(before)}, "gains nothing on held-out views", compare=bool(done.broken))


GENTLE = Strategy("gentle", "the views leave most of the scene to the prediction", _cannot, _unsuitable, _run)
