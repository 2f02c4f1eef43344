"""Refinement settings: length, learning rates and regularisation. Each strategy has its own config."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from chronosplat.refine.motion import MotionConfig
from chronosplat.refine.solid.config import SOLID_BEST, SOLID_FAST, SolidConfig
from chronosplat.shapes import InputError

LearningRates = dict[str, float]  # by field, of the unbounded values (parameters.py), in a scene of size about one


@dataclass(frozen=True)
class FreeConfig:
    """Strategy ``free``: the scene restarts as fewer, longer-lived Gaussians, and every field moves.

    Attributes:
        lrs: learning rates. docs/results.md, "Learning lrs".
        hull_lrs: learning rates from random points in the visual hull, whose colours are one image's.
        widths: least time sigmas to try, in mean spacings between timestamps. docs/results.md, "Starts".
        hull: the same for starts from random points in the visual hull; empty tries none.
        min_views: with fewer views the prediction is more accurate. docs/results.md, "Number of views".
        min_steps: of a final run; the search overfits sooner than a run on all views.
    """

    lrs: LearningRates = field(
        default_factory=lambda: {
            "means": 6e-3, "velocities": 1.2e-2, "time_centers": 3e-2, "time_sigmas": 3e-2,
            "scales": 1e-1, "quats": 3e-2, "opacities": 9e-2, "colors": 3e-3,
        }
    )  # fmt: skip
    hull_lrs: LearningRates = field(
        default_factory=lambda: {
            "means": 6e-3, "velocities": 1.2e-2, "time_centers": 3e-2, "time_sigmas": 3e-2,
            "scales": 1e-1, "quats": 3e-2, "opacities": 9e-2, "colors": 1e-2,
        }
    )  # fmt: skip
    widths: tuple[float, ...] = (3.5,)
    hull: tuple[float, ...] = ()
    min_views: int = 6
    min_steps: int = 80


@dataclass(frozen=True)
class GentleConfig:
    """Strategy ``gentle``: geometry moves in small steps; colours and opacities stay, or they would paint one side's image
    onto the sides behind it.

    Attributes:
        lrs: learning rates. docs/results.md, "Learning lrs".
        gain: dB to gain on held-out views; these were inputs of the prediction, which flatters it.
        max_steps: more steps fit the visible side at the cost of all others.
        max_steps_blind: the same where no view is held out.
    """

    lrs: LearningRates = field(
        default_factory=lambda: {
            "means": 6e-4, "velocities": 1.2e-3, "time_centers": 3e-3, "time_sigmas": 3e-3,
            "scales": 3e-3, "quats": 3e-3, "opacities": 0.0, "colors": 0.0,
        }
    )  # fmt: skip
    gain: float = 0.02
    max_steps: int = 160
    max_steps_blind: int = 40


@dataclass(frozen=True)
class DeformConfig:
    """Strategy ``deform``: canonical Gaussians, moved by control nodes. docs/results.md, "Deformable scenes".

    Attributes:
        lrs: learning rates of the canonical Gaussians and of the motion's coefficients.
        steps_per_view: at most so many steps of the final run for each view; more of them fit few views at the cost of all others.
        rigidity, steadiness: weights of the as-rigid-as-possible term and of the acceleration.
        stiff, stiff_until: factor of the rigidity at the start, and the fraction of the budget in which it falls to one: the
            body first moves in large parts.
        opening: fraction of the budget after which all frequencies take part.
        growth: fraction of the budget in which half of the timestamps join, nearest to the rest time first; 0: all at once.
        coarse_until, fine_from: fractions of the budget until which the smallest images are compared with, and from which
            the whole ones are.
        density, final_density: Gaussians at the start and in the end, as a fraction of those that the images of that size can
            resolve. max_gaussians: at most so many.
        rests: timestamps to try as the rest time, each with the same part of the search.
        lead: dB added to a body's PSNR on held-out views when it competes: it gains more from the steps after the search than
            freely moving Gaussians do.
        min_directions: directions from which the rest time must be seen, where all other timestamps are seen from one.
        min_views: views from which on no prediction is needed.
        register: whether motion begins at poses found by registration of the timestamps' hulls (register.py), then by rendering
            (tracking.py).
        densify_every, densify_until: fractions of the budget
            between two densifications, and after which there are none.
        min_opacity: Gaussians with less are removed.
        max_anisotropy: largest ratio of a Gaussian's longest to its shortest axis.
    """

    motion: MotionConfig = field(default_factory=MotionConfig)
    lrs: LearningRates = field(
        default_factory=lambda: {
            "means": 6e-3, "scales": 1e-1, "quats": 3e-2, "opacities": 9e-2, "colors": 1e-2, "shift": 5e-3, "turn": 2e-2,
        }
    )  # fmt: skip
    steps_per_view: int = 28
    rigidity: float = 0.01
    stiff: float = 10.0
    stiff_until: float = 0.5
    steadiness: float = 0.001
    opening: float = 0.3
    growth: float = 0.1
    coarse_until: float = 0.4
    fine_from: float = 0.7
    density: float = 0.5
    final_density: float = 1.25
    max_gaussians: int = 60_000
    rests: int = 4
    lead: float = 2.0
    min_directions: int = 3
    min_views: int = 12
    register: bool = False
    densify_every: float = 0.08
    densify_until: float = 0.7
    min_opacity: float = 0.02
    max_anisotropy: float = 10.0


FRONT_FACING = DeformConfig(
    lrs={"means": 1e-3, "scales": 1e-2, "quats": 1e-2, "opacities": 3e-2, "colors": 1e-2, "shift": 3e-4, "turn": 1.2e-3},
    steps_per_view=8,
    rigidity=1.0,
    stiff=1.0,
    growth=0.4,
    final_density=0.5,
    rests=1,
)  # where most timestamps are seen from one direction: sides that they do not show stay near where the rest time has them

DENSE = DeformConfig(
    motion=MotionConfig(local=0.3),
    lrs={"means": 1.5e-3, "scales": 1e-1, "quats": 3e-2, "opacities": 9e-2, "colors": 1e-2, "shift": 2.5e-3, "turn": 1e-2},
    opening=0.15,
    growth=0.0,
    rests=1,
    lead=4.0,
    register=True,
)  # where every timestamp shows several sides: each has a pose of its own, which its views determine. High learning rates would
# disturb the registered poses of timestamps that a step does not see; docs/results.md, "Dense captures".


@dataclass(frozen=True)
class RefineConfig:
    """How a scene is optimised against its input views.

    Attributes:
        steps: gradient steps in all, those with held-out views included; or
        seconds: wall time in all. Give one of the two.
        strategy: ``auto``, or a name of ``strategies.STRATEGIES``.
        batch: views in a step.
        search: fraction of the budget for runs with held-out views, which choose the start and the length; the final run sees
            all views. 0 uses the defaults.
        held_out: fraction of the views that these runs do not see.
        lr_floor: final learning rate as a fraction of the initial one; the decay is exponential.
        dropout: fraction of the Gaussians left out of a step at random (DropGaussian, CVPR 2025).
        alpha_weight, l1_weight: weights of the alpha's squared error and the colours' absolute error; that of the colours'
            squared error is 1.
        binary_weight: weight of o (1 - o), which drives opacities to 0 or 1.
        velocity_weight: weight of the squared difference between the velocities of neighbours in space and time.
        max_anisotropy: largest ratio of a Gaussian's longest to its shortest axis.
        cameras, exposure: also optimise camera poses, and each view's gain and offset; both are returned.
        seed: of everything random. backend: renderer.
        front_facing: settings of ``deform`` for a video with other views of one timestamp.
        dense: settings of ``deform`` where timestamps are seen from ``min_directions`` or more.
        deform, solid, free, gentle: the strategies' own settings.
    """

    steps: int | None = None
    seconds: float | None = None
    strategy: str = "auto"
    batch: int = 4
    search: float = 0.35
    held_out: float = 0.17
    lr_floor: float = 0.1
    dropout: float = 0.1
    alpha_weight: float = 0.3
    l1_weight: float = 0.1
    binary_weight: float = 0.01
    velocity_weight: float = 0.1
    max_anisotropy: float = 30.0
    cameras: bool = False
    exposure: bool = False
    seed: int = 0
    backend: str = "auto"
    deform: DeformConfig = field(default_factory=DeformConfig)
    front_facing: DeformConfig = FRONT_FACING
    dense: DeformConfig = DENSE
    solid: SolidConfig = SOLID_BEST
    free: FreeConfig = field(default_factory=FreeConfig)
    gentle: GentleConfig = field(default_factory=GentleConfig)

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise InputError("refine: give steps or seconds, one of the two")
        for name in ("steps", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"refine: expected {name} above 0, got {value:g}; leave refinement out for none")
        if not self.batch >= 1:
            raise InputError(f"refine: expected a batch of at least 1 view, got {self.batch}")
        if not self.max_anisotropy > 1:
            raise InputError(f"refine: expected max_anisotropy above 1, got {self.max_anisotropy:g}")
        if not 0 < self.lr_floor <= 1:
            raise InputError(f"refine: expected lr_floor in (0, 1], got {self.lr_floor:g}")
        widths = self.free.widths
        if not widths or not all(0 < width < float("inf") for width in widths):
            raise InputError(f"refine: expected widths above 0, at least one, got {widths}")
        for name in ("search", "held_out", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"refine: expected {name} in [0, 1), got {getattr(self, name):g}")


SOLID_BEST_SECONDS = 30.0  # from which on a solid body is fitted as by best
FAST = RefineConfig(steps=700, solid=SOLID_FAST)
BEST = RefineConfig(steps=1600, search=0.6, deform=DeformConfig(rests=6))


def refinement(how: str, steps: int | None = None, seconds: float | None = None) -> RefineConfig | None:
    """The config of ``off`` (None), ``fast``, ``best`` or a number of seconds.

    Args:
        steps, seconds: a budget instead, one of the two.

    Raises:
        InputError: anything else.
    """
    if steps is not None:
        return replace(FAST, steps=steps, seconds=seconds)
    if seconds is not None:
        how = str(seconds)
    if how == "off":
        return None
    if how in ("fast", "best"):
        return FAST if how == "fast" else BEST
    try:
        seconds = float(how)
    except ValueError:
        raise InputError(f"refine: expected off, fast, best or a number of seconds, got {how!r}") from None
    return replace(FAST, steps=None, seconds=seconds, solid=SOLID_BEST if seconds >= SOLID_BEST_SECONDS else SOLID_FAST)
