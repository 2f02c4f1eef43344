"""What all verbs share: options, and how notices, progress and errors reach the person watching."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from chronosplat.events import Cancel, Events, Notice, interruptible
from chronosplat.shapes import InputError

Input = Annotated[str, tyro.conf.Positional]
Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Config = TypeVar("Config")
console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Common:
    """Options of every verb."""

    json: bool = False
    """Print one JSON object on stdout for programs to read."""
    threads: int = 0
    """CPU threads; 0 leaves PyTorch's choice."""

    def prepare(self) -> None:
        """Set the number of threads."""
        import torch

        if self.threads > 0:
            torch.set_num_threads(self.threads)

    def give(self, result: dict[str, Any]) -> None:
        """Print the result for programs, if requested."""
        if self.json:
            print(json.dumps(result))


Shared = Annotated[Common, tyro.conf.arg(name="")]


def choose_device(device: str) -> str:
    """The device that an option means.

    Raises:
        InputError: an unknown device, or CUDA where there is none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"device: expected auto, cpu or cuda; got {device!r}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("device cuda: this PyTorch sees no CUDA device", "use {device}", device="cpu")
    return device


def config_of(kind: type[Config], verb: Any) -> Config:
    """The library's config in a verb that extends it, with its device chosen."""
    values = {f.name: getattr(verb, f.name) for f in fields(kind)}  # pyright: ignore[reportArgumentType]
    return kind(**values | {"device": choose_device(values["device"])})


def as_flag(name: str, value: Any) -> str:
    """An argument as the command line writes it; see :func:`chronosplat.shapes.as_argument`."""
    flag = f"--{name.replace('_', '-')}"
    return flag if value is ... else f"{flag} {value}"


def say(line: str) -> None:
    """One line for the person watching."""
    console.print(line, soft_wrap=True, markup=False)


def show(notice: Notice) -> None:
    """A notice as a line."""
    line = notice.spelled(as_flag)
    if notice.level == "warning":
        console.print(f"[yellow]warning:[/yellow] {escape(line)}", soft_wrap=True)
    else:
        say(line)


@contextmanager
def watched(what: str) -> Iterator[Events]:
    """Events that become lines and bars: a spinner and a clock, and a bar for every stage that reports progress.

    Where the work can stop with a useful result, the first Ctrl-C asks for that, and the second one ends the program.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {"": bars.add_task(what, total=None)}

        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, description=f"{stage}, {note}" if note else stage)

        cancel = Cancel()
        with interruptible(cancel):
            yield Events(show, progress, cancel)
        if cancel.requested:
            raise Interrupted


class Interrupted(KeyboardInterrupt):
    """The work was cancelled, and its result so far was kept."""
