"""Small data sets, an engine in this process, and work that loses workers."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from chronosplat.data import jobs
from chronosplat.data.clip import Clip
from chronosplat.data.engines import Job, Outcome, Work, Workers
from chronosplat.data.engines.local import attempt
from chronosplat.data.make import Omit, asset_clips
from chronosplat.data.recipe import Recipe
from chronosplat.data.run import Totals, make_data_set
from chronosplat.data.shards import read_records
from chronosplat.data.sources import Asset, Query
from chronosplat.data.store import Store
from chronosplat.events import Events

TINY = Recipe(size=8, samples=1, frames=3, fps=3, rig="studio", views=2, objects=2, motion=0)
HERE = Workers("here")


class HereEngine:
    """Does every job when it is waited for."""

    slots, workers = 2, "this process"

    def __init__(self, work: Work, workers: Workers) -> None:
        self.work, self.jobs = work, deque[Job]()

    def submit(self, job: Job) -> None:
        """Keep the job."""
        self.jobs.append(job)

    def wait(self, seconds: float) -> list[Outcome]:
        """Do one job."""
        return [attempt(self.work, self.jobs.popleft())] if self.jobs else []

    def close(self) -> None:
        """Nothing is to be ended."""


def make(
    address: str | Path,
    limit: int = 5,
    workers: Workers = HERE,
    events: Events | None = None,
    source: str = "procedural:blob",
    **changes: Any,
) -> Totals:
    """Make a tiny data set of blobs."""
    return make_data_set(source, str(address), replace(TINY, **changes), Query("", limit=limit), workers=workers, events=events)


def shards(folder: Path) -> dict[str, bytes]:
    """The bytes of all shards and records."""
    return {p.name: p.read_bytes() for p in sorted(folder.glob("shard-*"))}


def uids(folder: Path) -> list[str]:
    """The objects that have clips."""
    return [entry.uid for record in read_records(Store.at(folder)) for entry in record.entries]


def _killing(uid: str, once: Path | None) -> Callable[..., Iterator[Clip]]:
    def clips(asset: Asset, recipe: Recipe, cache: Path, omit: Omit) -> Iterator[Clip]:
        if asset.uid == uid and (once is None or not once.exists()):
            if once is not None:
                once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from asset_clips(asset, recipe, cache, omit)

    return clips


def killed_by_object_3(job: Job) -> dict[str, Any]:
    """Make a shard in a process that dies on the object number 3, always."""
    jobs.asset_clips = _killing("procedural-blob-0000003", None)
    return jobs.make_shard(job)


def killed_once_by_object_3(job: Job) -> dict[str, Any]:
    """Make a shard in a process that dies on the object number 3, the first time."""
    jobs.asset_clips = _killing("procedural-blob-0000003", Path(job.address).with_suffix(".died"))
    return jobs.make_shard(job)
