"""What a refinement is: how long, how freely, and what holds it back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from chronosplat.shapes import InputError

# step sizes of the fields without bounds (parameters.py), in a scene of size about one. Colours move slowly even where
# pictures are many: what is left to geometry to explain is right from other views, too (docs/refinement.md has the figures)
FREE = {
    "means": 6e-3,
    "velocities": 1.2e-2,
    "time_centers": 3e-2,
    "time_sigmas": 3e-2,
    "scales": 1e-1,
    "quats": 3e-2,
    "opacities": 9e-2,
    "colors": 3e-3,
}
RANDOM = {**FREE, "colors": 1e-2}  # from random points: their colours are those of what covers them in one picture
# where most moments are seen from one side only, colours and opacities would paint that side's picture onto what lies behind
GENTLE = {
    "means": 6e-4,
    "velocities": 1.2e-3,
    "time_centers": 3e-3,
    "time_sigmas": 3e-3,
    "scales": 3e-3,
    "quats": 3e-3,
    "opacities": 0.0,
    "colors": 0.0,
}
GENTLE_GAIN = 0.02  # dB that gentle steps must gain on held-back views; these were inputs of the prediction, which flatters it


@dataclass(frozen=True)
class RefineConfig:
    """How a scene is optimised against its input views.

    Attributes:
        steps: gradient steps in all, the search with held-back views included; or
        seconds: wall time in all. One of the two is given.
        batch: views in a step; following takes a number of its own (track.py).
        search: share of the budget that goes into runs with held-back views. They choose how to start and when to stop; the
            final run then sees all views. 0 trusts the defaults.
        held_back: share of the views that these runs do not see.
        widths: what the search chooses from, where the moments are seen from several sides: the Gaussians' least time
            sigma, in mean distances between pictures in time. hull: the same for starts from random points in the visual hull.
        track: most steps of following the object of the moment that is seen from the most sides through a film of one side, where it
            keeps its size there (track.py). 0 does not.
        free, gentle: step sizes where most moments are seen from several sides, and where they are not.
        final: the last share of a step size; it falls exponentially from 1.
        drop: share of the Gaussians left out of a step at random, so that none relies on others to hide its errors.
        alpha, absolute: weights of the mean squared error of alpha and of the mean absolute error of colour beside the
            mean squared error of colour.
        binary: weight of o (1 - o): opacities should be near 0 or 1.
        alike: weight of the mean squared difference between the velocities of neighbours in space and time.
        needle: largest ratio of a Gaussian's longest to its shortest axis.
        cameras, exposure: optimise the cameras' poses, and a gain and a shift of each picture's colours.
        seed: of everything random.
        backend: renderer.
    """

    steps: int | None = None
    seconds: float | None = None
    batch: int = 4
    search: float = 0.35
    held_back: float = 0.17
    widths: tuple[float, ...] = (3.5,)
    hull: tuple[float, ...] = ()
    track: int = 0
    final: float = 0.1
    drop: float = 0.1
    alpha: float = 0.3
    absolute: float = 0.1
    binary: float = 0.01
    alike: float = 0.1
    needle: float = 30.0
    cameras: bool = False
    exposure: bool = False
    seed: int = 0
    backend: str = "auto"
    free: dict[str, float] = field(default_factory=lambda: dict(FREE))
    gentle: dict[str, float] = field(default_factory=lambda: dict(GENTLE))

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise InputError("refine: give steps or seconds, one of the two")
        for name in ("steps", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"refine: expected {name} above 0, got {value:g}; leave refinement out for none")
        if not self.batch >= 1:
            raise InputError(f"refine: expected a batch of at least 1 view, got {self.batch}")
        if self.track < 0:
            raise InputError(f"refine: expected track of at least 0 steps, got {self.track}")
        if not self.needle > 1:
            raise InputError(f"refine: expected needle above 1, got {self.needle:g}")
        if not 0 < self.final <= 1:
            raise InputError(f"refine: expected final in (0, 1], got {self.final:g}")
        if not self.widths or not all(0 < width < float("inf") for width in self.widths):
            raise InputError(f"refine: expected widths above 0, at least one, got {self.widths}")
        for name in ("search", "held_back", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"refine: expected {name} in [0, 1), got {getattr(self, name):g}")


FAST = RefineConfig(steps=200, search=0.4, widths=(2.0, 3.5), track=100)
BEST = RefineConfig(steps=800, widths=(3.5, 6.0), hull=(3.5, 6.0), track=100)


def refinement(asked: str) -> RefineConfig | None:
    """What ``off``, ``fast``, ``best`` or a number of seconds asks for.

    Raises:
        InputError: anything else.
    """
    if asked == "off":
        return None
    if asked in ("fast", "best"):
        return FAST if asked == "fast" else BEST
    try:
        seconds = float(asked)
    except ValueError:
        raise InputError(f"refine: expected off, fast, best or a number of seconds, got {asked!r}") from None
    return replace(BEST, steps=None, seconds=seconds)
