"""Training configs."""

from __future__ import annotations

from dataclasses import dataclass, field

from chronosplat.data.bank import BankRecipe
from chronosplat.data.sampling import Phase
from chronosplat.train.objective import LossWeights

# static scenes first: geometry trains faster without motion; small images first: they are cheaper (docs/results.md, "Training")
SCHEDULE = (
    Phase(until=0.08, size=64, images=48, static=0.5),
    Phase(until=0.55, size=64, images=48, static=0.1),
    Phase(until=1.0, size=128, images=16, targets=4, static=0.1),
)


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        preset: the model to train.
        init: weights file to start from; random weights if empty.
        steps: length of the run and of the cosine schedule.
        lr: peak learning rate.
        lr_floor: final learning rate as a fraction of the peak.
        warmup: steps of linear warm-up.
        betas: of AdamW.
        weight_decay: of AdamW, on matrices only.
        clip_norm: maximum gradient norm.
        ema: decay of the averaged weights.
        loss: weights of the loss terms.
        clips_start: clips in the bank at step 0.
        clips_per_step: clips added with every step.
        phases: image size, number of inputs and fraction of static scenes, by phase of the run.
        shards: addresses of data sets of shards to train on, all of their clips; without them clips are rendered as the bank says.
        bank: the clips that are rendered.
        workers: data loader processes.
        device: auto, cpu or cuda; auto takes CUDA where it is available.
        backend: renderer.
        seed: random seed of everything but the clips.
        log_every: steps between log rows.
        save_every: steps between checkpoints.
        sample_every: steps between sample images.
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
    shards: tuple[str, ...] = ()
    bank: BankRecipe = field(default_factory=BankRecipe)
    workers: int = 1
    device: str = "cpu"
    backend: str = "auto"
    seed: int = 0
    log_every: int = 20
    save_every: int = 200
    sample_every: int = 1000

    def phase(self, step: int) -> Phase:
        """Return the phase of a step."""
        return next((p for p in self.phases if step < p.until * self.steps), self.phases[-1])

    def clips(self, step: int) -> int:
        """Return the number of the bank's clips that a step samples from."""
        return self.clips_start + int(step * self.clips_per_step)
