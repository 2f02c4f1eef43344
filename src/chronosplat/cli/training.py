"""Verbs that train."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import tyro
from rich.progress import Progress, TextColumn

from chronosplat.cli.common import Common, Interrupted, Output, Shared, config_of, console
from chronosplat.data.bank import BankRecipe
from chronosplat.events import Events, interruptible
from chronosplat.train.config import TrainConfig
from chronosplat.train.loop import Trainer


@dataclass(frozen=True)
class Train(TrainConfig):
    """Train a 4D-LRM on procedural objects and any folder of .glb files, or on data sets; the same command resumes it.

    The validation split is excluded unless it is included by an option. Examples:
      chronosplat train -o runs/state/mini --assets my_models/ --steps 20000
      chronosplat train -o runs/state/mine --shards clips/ s3://bucket/more_clips
    """

    FLAT: ClassVar[bool] = False  # phases and loss terms keep their prefix
    device: str = "auto"
    bank: Annotated[BankRecipe, tyro.conf.arg(name="")] = field(default_factory=BankRecipe)
    output: Output = field(kw_only=True)
    """The run's folder: checkpoint, weights (EMA), log.jsonl, samples."""
    stop_at: int | None = None
    """Stop (and save) after this step."""
    allow_changes: bool = False
    """Resume a checkpoint of another config."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb. The first Ctrl-C (or SIGTERM) saves after the current step, the second one ends at once."""
        self.common.prepare()
        trainer = Trainer(config_of(TrainConfig, self), self.output, self.allow_changes)
        last: dict[str, float] = {}
        events = Events()
        with (
            interruptible(events.cancel, (signal.SIGINT, signal.SIGTERM)),
            Progress(*Progress.get_default_columns(), TextColumn("{task.fields[psnr]}"), console=console) as bars,
        ):
            task = bars.add_task("training", total=self.stop_at or self.steps, completed=trainer.step, psnr="")
            for last in trainer.run(self.stop_at, events):
                bars.update(task, completed=last["step"], psnr=f"{last['psnr']:.2f} dB")
        self.common.give({"output": str(self.output), "step": trainer.step, **last})
        if events.cancel.requested:
            raise Interrupted
