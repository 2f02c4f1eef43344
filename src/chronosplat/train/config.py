"""What a training run is: everything that a checkpoint needs to be made again."""

from __future__ import annotations

from dataclasses import dataclass, field

from chronosplat.data.bank import BankRecipe
from chronosplat.data.sampling import Phase
from chronosplat.train.objective import LossWeights

VALIDATION = (
    "sketchfab_toon_cat",
    "sketchfab_robot_mantis",
    "q_animals_husky",
    "q_dinosaurs_triceratops",
    "kaykit_rogue_hooded",
    "babylon_desk_fan",
    "q_easy_enemies_frog",
    "quaternius_bunny_monster",
)  # the split that is never trained on

# static scenes first, since geometry is learned faster without motion; small pictures first, since they cost less
SCHEDULE = (
    Phase(until=0.08, size=64, pictures=48, static=0.5),
    Phase(until=0.55, size=64, pictures=48, static=0.1),
    Phase(until=1.0, size=128, pictures=16, targets=4, static=0.1),
)


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    ``steps`` is the length of the cosine; ``warmup`` steps lead in and ``lr_floor`` is the last share of ``lr``.
    ``clips_start`` clips are in the bank at step 0 and ``clips_per_step`` join with every step.
    """

    preset: str = "4d-lrm-mini"
    init: str = ""
    steps: int = 6000
    lr: float = 5e-4
    lr_floor: float = 0.03
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    ema: float = 0.998
    loss: LossWeights = field(default_factory=LossWeights)
    clips_start: int = 100
    clips_per_step: float = 0.1
    phases: tuple[Phase, ...] = SCHEDULE
    bank: BankRecipe = field(default_factory=BankRecipe)
    workers: int = 1
    device: str = "cpu"
    backend: str = "auto"
    seed: int = 0
    log_every: int = 20
    save_every: int = 200
    sample_every: int = 1000

    def phase(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        return next((p for p in self.phases if step < p.until * self.steps), self.phases[-1])

    def clips(self, step: int) -> int:
        """How many clips of the bank a step draws from."""
        return self.clips_start + int(step * self.clips_per_step)
