"""The work of a job: make one shard of a data set, from its plan alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from chronosplat.data.clip import Clip
from chronosplat.data.engines import Job
from chronosplat.data.lease import apart
from chronosplat.data.make import UNREACHED, asset_clips
from chronosplat.data.plan import Plan, plan_at
from chronosplat.data.shards import ShardRecord, finished_shard, record_name, shard_name, write_shard
from chronosplat.data.sources.asset import Asset
from chronosplat.data.sources.files import UnreachedError, fetch
from chronosplat.data.store import Store
from chronosplat.shapes import InputError


def make_shard(job: Job) -> dict[str, Any]:
    """Make a shard, unless it is finished, and return its summary.

    A finished one is made again if some of its objects could not be downloaded then, and can be now.

    Raises:
        InputError: the store cannot be reached, or the disk is full.
    """
    store, plan = Store.at(job.address), plan_at(job.address)
    address = store.where(shard_name(job.index))
    record = finished_shard(address)
    if record is None or ((missed := unreached(record)) and still_unreached(plan.part(job.index)) < missed):
        if record is not None:  # a kill must not leave the record of another shard
            store.fs.rm_file(store.path(record_name(shard_name(job.index))))
        omitted: list[list[str]] = []
        notes = {"plan": plan.digest, "objects": [asset.uid for asset in plan.part(job.index)], "omitted": omitted}
        try:
            record = write_shard(address, _clips(store, plan, job, omitted), plan.storage, notes)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise InputError(f"{address}: the disk is full; free some space and run the same command, no half shard was left") from error
    forget_attempt(store, job.index)
    return summary(record)


def summary(record: ShardRecord) -> dict[str, Any]:
    """Return the numbers of a shard: clips, frames, bytes, and what was omitted as [kind, what, reason]."""
    omitted = record.notes.get("omitted", [])
    frames = sum(entry.times * entry.views for entry in record.entries)
    return {"clips": len(record.entries), "frames": frames, "bytes": record.size, "omitted": omitted}


def unreached(record: ShardRecord) -> set[str]:
    """Return the uids of objects that could not be downloaded when a shard was made."""
    return {uid for kind, uid, _ in record.notes.get("omitted", []) if kind == UNREACHED}


def still_unreached(assets: tuple[Asset, ...]) -> set[str]:
    """Download objects, and return the uids of those that cannot be."""
    found: set[str] = set()
    for asset in assets:
        try:
            fetch(asset.file, cache_folder())
        except UnreachedError:
            found.add(asset.uid)
        except InputError:  # it fails in another way, which its shard's record says
            continue
    return found


def _clips(store: Store, plan: Plan, job: Job, omitted: list[list[str]]) -> Iterator[Clip]:
    """Make the clips of a shard one by one; a note in the store names the object that is being worked on."""
    excluded, notes = dict(job.excluded), apart(store)  # the shard's transaction is open
    for asset in plan.part(job.index):
        if asset.uid in excluded:
            omitted.append(["failed", asset.uid, excluded[asset.uid]])
            continue
        with notes.writing(attempt_name(job.index)) as file:
            file.write(asset.uid.encode())
        yield from asset_clips(asset, plan.recipe, cache_folder(), lambda *words: omitted.append(list(words)))


def cache_folder() -> Path:
    """Return the folder of downloaded objects on this machine: $CHRONOSPLAT_CACHE, by default ~/.cache/chronosplat."""
    return Path(os.environ.get("CHRONOSPLAT_CACHE", "~/.cache/chronosplat")).expanduser() / "objects"


def attempt_name(index: int) -> str:
    """Return the name of the note that says which object of a shard is being worked on."""
    return f"{shard_name(index)}.attempt"


def attempted(store: Store, index: int) -> str:
    """Return the uid that a lost worker was working on; empty if unknown."""
    return store.read(attempt_name(index)).decode(errors="replace") if store.exists(attempt_name(index)) else ""


def forget_attempt(store: Store, index: int) -> None:
    """Delete the note of a finished shard."""
    with suppress(FileNotFoundError):
        store.fs.rm_file(store.path(attempt_name(index)))
