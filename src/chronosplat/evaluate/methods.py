"""The compared methods: the model, the refined model, per-scene optimisation and baselines, each with its wall time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from chronosplat.captures import Views
from chronosplat.evaluate.baselines import nearest_indices, white
from chronosplat.models import Reconstructor
from chronosplat.refine import BEST, RefineConfig, fit, needs_prediction, refine_scene, refinement
from chronosplat.render import render
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError

BASELINES = ("white", "nearest")
DEFAULT = ("white", "nearest", "feed-forward", "fast", "best", "scratch=fast", "scratch=best")
SCRATCH = "scratch="
ABOUT = (
    "methods: white, nearest, feed-forward, fast, best, SECONDS (of refinement), scratch=fast and scratch=best (per-scene optimisation "
    "from random initialisation, in the total time of fast or best), scratch=SECONDS"
)


@dataclass
class Run:
    """A method's result.

    Attributes:
        images: renderings of the targets [F, H, W, 3]. alphas: their coverage [F, H, W, 1].
        seconds: wall time from images to scene.
        scene: what was rendered; None for a baseline.
    """

    images: Tensor
    alphas: Tensor
    seconds: float = 0.0
    steps: int = 0
    scene: Scene | None = None

    @property
    def gaussians(self) -> int:
        """Number of Gaussians at one time."""
        return 0 if self.scene is None else self.scene.num_gaussians


@dataclass
class Bench:
    """One capture in one set-up; keeps the prediction and the times for later methods."""

    model: Reconstructor
    inputs: Views
    targets: Views
    seed: int
    device: str
    predicted: tuple[Scene, float] | None = None
    spent: dict[str, float] = field(default_factory=dict)

    def run(self, method: str) -> Run:
        """Run one method.

        Raises:
            InputError: unknown method, or a method that another must precede.
        """
        if method in BASELINES:
            if method == "white":
                return Run(white(self.targets), torch.zeros_like(self.targets.alphas))
            near = nearest_indices(self.inputs, self.targets)
            return Run(self.inputs.on_white()[near], self.inputs.alphas[near])
        if method.startswith(SCRATCH):
            seconds = self._seconds_of(method.removeprefix(SCRATCH))
            began = time.perf_counter()
            done = fit(self.inputs, scratch_config(seconds, self.seed), device=self.device)
            return self._rendered(method, done.scene, time.perf_counter() - began, done.facts["steps"])
        if method == "feed-forward":
            return self._rendered(method, *self._predicted())
        config = refinement(method)
        if config is None:
            raise InputError(f"methods: 'off' is called feed-forward here; {ABOUT}")
        config = replace(config, seed=self.seed)
        predicting = needs_prediction(self.inputs, config)  # as chronosplat reconstruct does
        scene, seconds = self._predicted() if predicting else (None, 0.0)
        began = time.perf_counter()
        done = fit(self.inputs, config, device=self.device) if scene is None else refine_scene(scene, self.inputs, config)
        return self._rendered(method, done.scene, seconds + time.perf_counter() - began, done.facts["steps"])

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

    def _rendered(self, method: str, scene: Scene, seconds: float, steps: int = 0) -> Run:
        """Render the targets, without the paper's culling of faint Gaussians, which trades quality for speed."""
        self.spent[method] = seconds
        with torch.no_grad():
            shown = render(scene, self.targets.cameras, self.targets.times, cull=False, device=self.device)
        return Run(shown.rgb.cpu(), shown.alpha.cpu(), seconds, steps, scene)


SCRATCH_WIDTHS = (3.5, 6.0, 12.0)  # BEST's and a wider one: without a prediction, longer lifetimes help single-view captures


def scratch_config(seconds: float, seed: int) -> RefineConfig:
    """Return the config of per-scene optimisation for a number of seconds."""
    return replace(BEST, steps=None, seconds=seconds, strategy="free", free=replace(BEST.free, widths=SCRATCH_WIDTHS), seed=seed)


def check_methods(methods: tuple[str, ...]) -> None:
    """Raise InputError for an unknown method, before anything runs."""
    for index, method in enumerate(methods):
        rest = method.removeprefix(SCRATCH)
        if method in BASELINES or method == "feed-forward":
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
