"""Work for engines, importable by other processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from chronosplat.data.engines import Job
from chronosplat.shapes import InputError


def square(job: Job) -> dict[str, Any]:
    """Return the square of the index."""
    return {"square": job.index**2, "threads": os.environ.get("OMP_NUM_THREADS"), "pid": os.getpid()}


def die_once(job: Job) -> dict[str, Any]:
    """Kill the own process on job 1, the first time; the address is a folder that remembers it."""
    note = Path(job.address) / "died"
    if job.index == 1 and not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(job)


def refuse(job: Job) -> dict[str, Any]:
    """Raise on job 1."""
    if job.index == 1:
        raise InputError("the store\nis gone")
    return square(job)


def sleep(job: Job) -> dict[str, Any]:
    """Say that the work began, and take long."""
    (Path(job.address) / f"{job.index}.{os.getpid()}").touch()
    time.sleep(60)
    return {}
