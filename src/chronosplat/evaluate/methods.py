"""What an evaluation compares: the model, the model with refinement, and baselines, each with its wall time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from chronosplat.captures import Views
from chronosplat.evaluate.baselines import nearest_inputs, white
from chronosplat.gaussians import Gaussians3D, Gaussians4D, GaussianSequence, Scene
from chronosplat.refine import BEST, fit, refine_scene, refinement
from chronosplat.render import render
from chronosplat.shapes import InputError

PICTURES = {"white": "an empty picture", "nearest": "the input picture nearest in camera, then in time"}
DEFAULT = ("white", "nearest", "feed-forward", "fast", "best", "scratch=fast", "scratch=best")
SCRATCH = "scratch="
ABOUT = (
    "methods: white, nearest, feed-forward, fast, best, SECONDS (of refinement), scratch=fast and scratch=best (per-scene optimisation "
    "from random points for as long as the whole of ours took), scratch=SECONDS"
)


class Reconstructs(Protocol):
    """A model: LRM4D or L4GM."""

    def reconstruct(self, views: Views) -> Gaussians4D | GaussianSequence:
        """A scene from views."""
        ...


@dataclass
class Run:
    """What a method made of a capture: pictures of the targets, and the wall time from pictures to scene."""

    pictures: Tensor
    seconds: float
    gaussians: int = 0
    steps: int = 0


@dataclass
class Bench:
    """One capture in one set-up: runs methods on it and keeps what later ones build on."""

    model: Reconstructs
    inputs: Views
    targets: Views
    seed: int
    device: str
    predicted: tuple[Scene, float] | None = None
    spent: dict[str, float] = field(default_factory=dict)

    def run(self, method: str) -> Run:
        """Run one method.

        Raises:
            InputError: an unknown method, or one that must come after another.
        """
        if method in PICTURES:
            return Run(white(self.targets) if method == "white" else nearest_inputs(self.inputs, self.targets), 0.0)
        if method.startswith(SCRATCH):
            seconds = self._seconds_of(method.removeprefix(SCRATCH))
            began = time.perf_counter()
            done = fit(self.inputs, replace(BEST, steps=None, seconds=seconds, widths=SCRATCH_WIDTHS, seed=self.seed), device=self.device)
            return self._shown(method, done.scene, time.perf_counter() - began, done.facts["steps"])
        scene, seconds = self._predicted()
        if method == "feed-forward":
            return self._shown(method, scene, seconds)
        config = refinement(method)
        if config is None:
            raise InputError(f"methods: 'off' is called feed-forward here; {ABOUT}")
        began = time.perf_counter()
        done = refine_scene(scene, self.inputs, replace(config, seed=self.seed))
        return self._shown(method, done.scene, seconds + time.perf_counter() - began, done.facts["steps"])

    def _predicted(self) -> tuple[Scene, float]:
        if self.predicted is None:
            began = time.perf_counter()
            self.predicted = self.model.reconstruct(self.inputs), time.perf_counter() - began
        return self.predicted

    def _seconds_of(self, what: str) -> float:
        if what in ("fast", "best"):
            if what not in self.spent:
                raise InputError(f"methods: scratch={what} takes as long as {what}; list {what} before it")
            return self.spent[what]
        return float(what)

    def _shown(self, method: str, scene: Scene, seconds: float, steps: int = 0) -> Run:
        """Render the targets. The paper's filter of faint Gaussians stays off: it makes rendering faster and the pictures worse."""
        self.spent[method] = seconds
        with torch.no_grad():
            pictures = render(scene, self.targets.cameras, self.targets.times, cull=False, device=self.device).rgb.cpu()
        count = len(scene) if isinstance(scene, Gaussians3D | Gaussians4D) else scene.means.shape[1]
        return Run(pictures, seconds, count, steps)


SCRATCH_WIDTHS = (3.5, 6.0, 12.0)  # as BEST, and a wider one: without a prediction longer lives do better where one side is seen


def check_methods(methods: tuple[str, ...]) -> None:
    """Refuse unknown methods before anything runs.

    Raises:
        InputError: naming the first one.
    """
    for index, method in enumerate(methods):
        rest = method.removeprefix(SCRATCH)
        if method in PICTURES or method == "feed-forward":
            continue
        if method.startswith(SCRATCH) and rest in ("fast", "best"):
            if rest not in methods[:index]:
                raise InputError(f"methods: {method} takes as long as {rest}; list {rest} before it")
            continue
        try:
            config = refinement(rest)
        except InputError:
            raise InputError(f"unknown method {method!r}; {ABOUT}") from None
        if config is None or (method.startswith(SCRATCH) and config.seconds is None):
            raise InputError(f"unknown method {method!r}; {ABOUT}")
