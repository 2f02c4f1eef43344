"""One interface to run jobs: in processes of this machine, or on a Ray cluster.

A job is the number of a shard. Its work is a pure function of the recipe, the list of objects and that number, so that any
engine writes the same bytes, and a job whose worker was lost can be given to another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Job:
    """A shard to make.

    Attributes:
        address: of the data set. index: of the shard.
        excluded: (uid, reason) of objects that are left out, because their workers were lost.
    """

    address: str
    index: int
    excluded: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        kind: done; lost, if its worker died; failed, if the work raised an error that concerns the whole run.
        text: the reason. result: what the work returned.
    """

    job: Job
    kind: Literal["done", "lost", "failed"]
    text: str = ""
    result: dict[str, Any] = field(default_factory=dict)


Work = Callable[[Job], dict[str, Any]]  # a function of a module, so that other processes can import it


class Engine(Protocol):
    """Workers that do jobs."""

    @property
    def slots(self) -> int:
        """How many jobs to hand over at a time."""
        ...

    @property
    def workers(self) -> str:
        """The workers in words."""
        ...

    def submit(self, job: Job) -> None:
        """Hand over a job."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes of jobs that ended, after at most this long."""
        ...

    def close(self) -> None:
        """End the workers, whatever they do."""
        ...


@dataclass(frozen=True)
class Workers:
    """Where the work is done."""

    engine: str = "local"
    """local (processes of this machine) or ray."""
    workers: int = 0
    """Processes of the local engine, or CPUs of a Ray cluster started for the run; 0 for all."""
    address: str = ""
    """Address of a Ray cluster, such as auto or ray://head:10001; by default one is started on this machine."""


ENGINES: dict[str, Callable[[Work, Workers], Engine]] = {}


def register_engine(name: str) -> Callable[[Callable[[Work, Workers], Engine]], Callable[[Work, Workers], Engine]]:
    """Register a function (work, workers) -> engine."""

    def add(start: Callable[[Work, Workers], Engine]) -> Callable[[Work, Workers], Engine]:
        ENGINES[name] = start
        return start

    return add


def start_engine(work: Work, workers: Workers) -> Engine:
    """Start an engine by name.

    Raises:
        InputError: the name is unknown or the number of workers negative.
        UnavailableError: what it needs is not installed or not reachable.
    """
    if workers.engine not in ENGINES:
        raise InputError(f"engine {workers.engine!r}: unknown; use one of {', '.join(ENGINES)}")
    if workers.workers < 0:
        raise InputError(f"workers: expected 0 or more, got {workers.workers}")
    return ENGINES[workers.engine](work, workers)
