"""One run at a time: a file in the data set that says who writes it, and how far it is."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Literal

import fsspec

from chronosplat.data.plan import PLAN
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


def apart(store: Store) -> Store:
    """Return the same folder through a file system object of its own, because transactions belong to the object."""
    fs, root = fsspec.url_to_fs(store.address, skip_instance_cache=True)
    return Store(fs, root.rstrip("/"), store.address)


class Lease:
    """The right to write a data set. A thread gives signs of life until it is released.

    Raises:
        InputError: another run has it.
    """

    def __init__(self, store: Store) -> None:
        now = time.time()
        self.store, self.state = apart(store), RunState(secrets.token_hex(8), socket.gethostname(), os.getpid(), now, now)
        self.taken_by: RunState | None = None
        self._released = threading.Event()
        self._check()
        self._write()
        time.sleep(SETTLE)
        self._check()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _other(self) -> RunState | None:
        other = read_run(self.store)
        return other if other is not None and other.is_alive and other.token != self.state.token else None

    def _check(self) -> None:
        other = self.taken_by or self._other()
        if other is not None:
            who = f"process {other.pid} on {other.host}, last sign of life {time.time() - other.updated:.0f} s ago"
            raise InputError(f"{self.store.address}: another run writes there ({who}); wait for it, end it, or choose another output")

    def _write(self) -> None:
        with self.store.writing(RUN) as file:
            file.write(json.dumps(asdict(self.state)).encode())

    def _beat(self) -> None:
        while not self._released.wait(BEAT):
            with suppress(InputError, OSError):  # the store may be unreachable for some seconds
                self.taken_by = self._other()
                if self.taken_by is not None:
                    return
                self.state = replace(self.state, updated=time.time())
                self._write()

    def tell(self, **changes: int | str) -> None:
        """Note the progress for the next sign of life.

        Raises:
            InputError: another run has taken over, because this one was silent for too long.
        """
        self.state = replace(self.state, **changes)  # pyright: ignore[reportArgumentType]
        if self.taken_by is not None:
            self._check()

    def release(self, state: Literal["finished", "interrupted"]) -> None:
        """End the run, or, if it has not begun to write, undo that it was there."""
        self._released.set()
        self._thread.join()
        if self.taken_by is not None:
            return
        if not self.store.exists(PLAN):
            self.store.fs.rm_file(self.store.path(RUN))
            if self.store.folder is not None and not any(self.store.folder.iterdir()):
                self.store.folder.rmdir()
            return
        self.state = replace(self.state, updated=time.time(), state=state)
        self._write()
