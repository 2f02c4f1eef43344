"""What all verbs share: options, messages and progress."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from chronosplat.pipeline import Progressed
from chronosplat.shapes import InputError

Input = Annotated[str, tyro.conf.Positional]
Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Common:
    """Options that every verb has."""

    json: bool = False
    """Print one JSON object on stdout for programs to read."""
    device: str = "auto"
    """auto, cpu or cuda; auto takes CUDA where it is."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 0
    """CPU threads; 0 leaves PyTorch's choice."""

    def prepare(self) -> str:
        """Set threads and seed, and return the device.

        Raises:
            InputError: an unknown device, or CUDA where there is none.
        """
        if self.threads > 0:
            torch.set_num_threads(self.threads)
        torch.manual_seed(self.seed)
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if self.device.split(":")[0] not in ("cpu", "cuda"):
            raise InputError(f"device: expected auto, cpu or cuda; got {self.device!r}")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError("device cuda: this PyTorch sees no CUDA device; use --device cpu")
        return self.device


Shared = Annotated[Common, tyro.conf.arg(name="")]


def say(line: str) -> None:
    """One line for the person watching."""
    if line.startswith("warning: "):
        console.print(f"[yellow]warning:[/yellow] {escape(line.removeprefix('warning: '))}", soft_wrap=True)
    else:
        console.print(line, soft_wrap=True, markup=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner and a clock while something of unknown length goes on."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(what)
        yield


def give(common: Common, result: dict[str, Any]) -> None:
    """The result for programs, if asked."""
    if common.json:
        print(json.dumps(result))


@contextmanager
def stages(what: str) -> Iterator[Progressed]:
    """A spinner and a clock, and a bar for every stage that says how far it is."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {"": progress.add_task(what, total=None)}

        def progressed(stage: str, done: int, steps: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=steps)
            progress.update(tasks[stage], completed=done, description=f"{stage}, {note}" if note else stage)

        yield progressed
