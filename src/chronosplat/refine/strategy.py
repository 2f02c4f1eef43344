"""What a refinement strategy is given, what it returns, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.captures import Views
from chronosplat.events import Events, Notice, info
from chronosplat.refine.config import RefineConfig
from chronosplat.refine.optimise import Stepper
from chronosplat.refine.training_views import TrainingViews
from chronosplat.render import render
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Problem:
    """A scene to refine.

    Attributes:
        views: in the capture's world. training: the same in the scene's world and time.
    """

    scene: Scene
    views: Views
    training: TrainingViews
    config: RefineConfig
    events: Events


@dataclass
class Refined:
    """A refined scene and a report.

    Attributes:
        facts: for a report: strategy, steps, seconds, number of Gaussians, PSNR on held-out views before and after.
        cameras: F corrected cameras in the capture's world, if poses were optimised.
        exposure: gains and offsets of the views' colours, [F, 3] each, if they were optimised.
    """

    scene: Scene
    facts: dict[str, Any] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    cameras: Cameras | None = None
    exposure: tuple[Tensor, Tensor] | None = None


class Start(Protocol):
    """A state to optimise from.

    Attributes:
        strategy: name of the strategy that it belongs to.
        marks: fractions of the budget at which it may be evaluated, and may end.
        max_steps: at most so many steps of the final run; None: as the budget says.
        lead: dB added to its PSNR on held-out views when it competes with others.
        preparation: about how many steps its preparation takes as long as; 0 if there is none.
    """

    @property
    def strategy(self) -> str: ...

    @property
    def marks(self) -> tuple[float, ...]: ...

    @property
    def max_steps(self) -> int | None: ...

    @property
    def lead(self) -> float: ...

    @property
    def preparation(self) -> int: ...

    def prepared(self, problem: Problem, events: Events) -> Start:
        """The start after work that belongs to no step; a cancellation of the events ends it early."""
        ...

    def begin(self, views: TrainingViews, config: RefineConfig) -> Stepper:
        """Set up the optimisation against the views."""
        ...

    def facts(self) -> dict[str, object]:
        """For a report."""
        ...


@dataclass(frozen=True)
class Strategy:
    """One way to refine.

    Attributes:
        name: forces it. why: when ``auto`` takes it.
        cannot: why it cannot run; "" if it can.
        unsuitable: why ``auto`` passes it over, given that it can run; "" if it does not.
        run: refines. A cancellation ends it with the best result so far. Or
        starts: states to optimise from. Suitable strategies that have them compete on held-out views.
    """

    name: str
    why: str
    cannot: Callable[[Problem], str]
    unsuitable: Callable[[Problem], str]
    run: Callable[[Problem], Refined] | None = None
    starts: Callable[[Problem], list[Start]] | None = None


def check_times(scene: Scene, views: Views, slack: float) -> None:
    """Refuse views of other times.

    Args:
        slack: seconds by which they may lie outside the scene's.

    Raises:
        InputError: views outside the scene's time.
    """
    if scene.seconds is None:
        return
    (first, last), (low, high) = scene.seconds, views.seconds
    if low < first - slack or high > last + slack:
        raise InputError(
            f"views: taken from {low:g} to {high:g} s, but the scene covers {first:g} to {last:g} s; they are not of one capture"
        )


def check_fit(scene: Scene, views: Views) -> None:
    """Refuse views that cannot be of the scene.

    Raises:
        InputError: views outside the scene's time, or cameras that see nothing of it.
    """
    first, last = scene.seconds or (0.0, 0.0)
    check_times(scene, views, 0.05 * (last - first) + 1e-6)
    check_seen(scene, views)


def check_seen(scene: Scene, views: Views) -> None:
    """Refuse cameras that see nothing of a scene.

    Raises:
        InputError: they are of different worlds.
    """
    some = views[slice(0, None, max(1, len(views) // 4))]
    with torch.no_grad():
        alpha = render(scene, some.cameras, some.times, cull=False).alpha
    seen = float(alpha.mean((1, 2, 3)).max())
    if seen < 1e-3:
        raise InputError("views: their cameras see nothing of the scene; are both in the same world?")


def view_notices(views: Views, masked: bool) -> list[Notice]:
    """What the user should know of these views."""
    found = []
    if len(views) < 2:
        found.append(info("single-view-refinement", "a single input view: refinement changes only what it shows"))
    if not masked:
        found.append(info("no-mask", "the views have no masks: refinement compares colours only"))
    return found
