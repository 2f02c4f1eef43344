"""How long an optimisation will take, measured by a few of its steps before it begins."""

from __future__ import annotations

import time

import torch

from chronosplat.events import Notice, info
from chronosplat.memory import peak_memory
from chronosplat.refine.optimise import Stepper
from chronosplat.refine.strategy import Problem, Start

PROBED = 2  # steps of each kind; the faster one counts
# parts of an optimisation: small images and few Gaussians, small images and many, whole images and many (DeformConfig's defaults)
PARTS = (0.28, 0.27, 0.45)


@torch.inference_mode(False)
@torch.enable_grad()
def estimate(problem: Problem, start: Start, searching: int, final: int) -> Notice:
    """Estimate seconds and memory of an optimisation.

    Args:
        start: one of the starts, of which some steps are taken. searching, final: steps of the search and of the final run.
    """
    stepper, every = start.begin(problem.training, problem.config), list(range(len(problem.training)))
    small = _seconds_of_a_step(stepper, every, 0.0)
    stepper.grow()
    crowded, whole = (_seconds_of_a_step(stepper, every, share) for share in (0.0, 0.99))
    mean = sum(part * seconds for part, seconds in zip(PARTS, (small, crowded, whole), strict=True))
    seconds = start.preparation * small + searching * (small + crowded) / 2 + final * mean
    most = peak_memory() / 2**30  # these steps are as large as any
    memory = f" and {most:.1f} GiB of memory" if most else ""
    text = f"{_images(problem)}: {searching + final} steps, about {seconds:.0f} s{memory}"
    return info("estimate", text, "{refine} sets another length", refine="SECONDS")


def budgeted(problem: Problem, seconds: float) -> Notice:
    """Say the seconds that the user has set."""
    return info("estimate", f"{_images(problem)}: {seconds:g} s")


def _images(problem: Problem) -> str:
    height, width = problem.training.size
    return f"refining with {len(problem.training)} images of {width}x{height}"


def _seconds_of_a_step(stepper: Stepper, train: list[int], share: float) -> float:
    times = []
    for _ in range(PROBED):
        began = time.perf_counter()
        stepper.step(stepper.draw(train, [], share), share)
        times.append(time.perf_counter() - began)
    return min(times)
