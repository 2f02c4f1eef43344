"""One run at a time: a file in the data set that says who writes it, and how far it is."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass, replace
from typing import Literal

from chronosplat.data.store import Store
from chronosplat.shapes import InputError

RUN = "run.json"
BEAT = 5.0  # seconds between signs of life
SILENCE = 60.0  # seconds without one, after which a run on another machine counts as dead
SETTLE = 0.3  # seconds after which two runs that began together see who wrote last


@dataclass(frozen=True)
class RunState:
    """A run as others see it.

    Attributes:
        token, host, pid: who it is. started, updated: seconds since 1970.
        state: running, finished, interrupted (by the user, or by an error).
        workers: in words. done, total: shards. clips: made by this run.
    """

    token: str
    host: str
    pid: int
    started: float
    updated: float
    state: Literal["running", "finished", "interrupted"] = "running"
    workers: str = ""
    done: int = 0
    total: int = 0
    clips: int = 0
    shards_made: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether it is running: it gave a sign of life, and its process exists if it is on this machine."""
        if self.state != "running" or time.time() - self.updated > SILENCE:
            return False
        return self.host != socket.gethostname() or process_exists(self.pid)

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return max(self.updated - self.started, 1e-3)


def process_exists(pid: int) -> bool:
    """Whether a process of this machine exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def read_run(store: Store) -> RunState | None:
    """Return the last run of a data set; None if there was none, or its file is damaged."""
    if not store.exists(RUN):
        return None
    try:
        return RunState(**json.loads(store.read(RUN)))
    except (ValueError, TypeError):
        return None


class Lease:
    """The right to write a data set.

    Raises:
        InputError: another run has it.
    """

    def __init__(self, store: Store) -> None:
        now = time.time()
        self.store, self.state = store, RunState(secrets.token_hex(8), socket.gethostname(), os.getpid(), now, now)
        self._check()
        self._write()
        time.sleep(SETTLE)
        self._check()

    def _check(self) -> None:
        other = read_run(self.store)
        if other is not None and other.is_alive and other.token != self.state.token:
            self._refuse(other)

    def _refuse(self, other: RunState) -> None:
        age = time.time() - other.updated
        problem = f"{self.store.address}: another run writes there (process {other.pid} on {other.host}, last sign of life {age:.0f} s ago)"
        raise InputError(f"{problem}; wait for it, end it, or choose another output")

    def _write(self) -> None:
        with self.store.writing(RUN) as file:
            file.write(json.dumps(asdict(self.state)).encode())

    def beat(self, **changes: int | str) -> None:
        """Give a sign of life with the progress, if the last one is some seconds old.

        Raises:
            InputError: another run has taken over, because this one was silent for too long.
        """
        first = not self.state.workers
        self.state = replace(self.state, **changes)  # pyright: ignore[reportArgumentType]
        if first or time.time() - self.state.updated >= BEAT:
            self._check()
            self.state = replace(self.state, updated=time.time())
            self._write()

    def release(self, state: Literal["finished", "interrupted"], **changes: int | str) -> None:
        """End the run."""
        self.state = replace(self.state, updated=time.time(), state=state, **changes)  # pyright: ignore[reportArgumentType]
        self._write()
