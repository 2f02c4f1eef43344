"""Verification: every byte of a data set against its records, and which clips are lost."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from chronosplat.data.plan import PLAN, read_plan
from chronosplat.data.sample import parse_sample
from chronosplat.data.shards import SHARD, ShardRecord, read_record, record_name
from chronosplat.data.store import Store
from chronosplat.events import Events
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Loss:
    """A clip that is lost, or a shard whose record is (key ""), and why."""

    shard: str
    key: str
    problem: str


@dataclass(frozen=True)
class Verification:
    """What a data set holds, and what it lost.

    Attributes:
        shards, clips, bytes: of whole shards, as their records say. unfinished: tar files without a record.
    """

    shards: int
    clips: int
    bytes: int
    lost: tuple[Loss, ...]
    unfinished: tuple[str, ...]


def verify(address: str, events: Events | None = None) -> Verification:
    """Read a data set whole, and compare it with its records.

    Raises:
        InputError: there are no shards, or the address cannot be reached.
    """
    events, store = events or Events(), Store.at(address)
    tars = {name for name in store.names(".tar") if SHARD.fullmatch(name)}
    recorded = {name.removesuffix(".json") + ".tar" for name in store.names(".json") if name.startswith("shard-")}
    if not tars | recorded:
        raise InputError(f"{address}: no shards in it")
    plan, lost = None, []
    try:
        plan = read_plan(store)
    except InputError as error:
        lost.append(Loss(PLAN, "", str(error)))
    clips = size = 0
    for done, shard in enumerate(sorted(recorded)):
        events.progress("verifying", done, len(recorded), f"{len(lost)} lost")
        try:
            record = read_record(store, record_name(shard))
            if record.file != shard:
                raise InputError(f"it describes {record.file}")
            if plan is not None and not plan.has_made(record):
                lost.append(Loss(shard, "", f"is a shard of another data set than that of {PLAN}"))
        except InputError as error:
            lost.append(Loss(shard, "", f"its record is damaged: {error}"))
            continue
        clips, size = clips + len(record.entries), size + record.size
        lost += _losses(store, record)
    events.progress("verifying", len(recorded), len(recorded), f"{len(lost)} lost")
    return Verification(len(recorded), clips, size, tuple(lost), tuple(sorted(tars - recorded)))


def _losses(store: Store, record: ShardRecord) -> list[Loss]:
    try:
        size = store.size(record.file)
    except InputError as error:
        return [Loss(record.file, entry.key, str(error)) for entry in record.entries]
    lost = []
    for entry in record.entries:
        end = entry.offset + entry.size
        data = store.read(record.file, entry.offset, min(end, size)) if entry.offset < size else b""
        if len(data) < entry.size:
            lost.append(Loss(record.file, entry.key, f"cut off: {len(data)} of {entry.size} bytes"))
        elif hashlib.sha256(data).hexdigest() != entry.sha256:
            lost.append(Loss(record.file, entry.key, _where(data, store.where(record.file))))
        del data
    if size != record.size and not lost:
        lost.append(Loss(record.file, "", f"{size} bytes, its record says {record.size}; its clips are whole"))
    return lost


def _where(data: bytes, where: str) -> str:
    """Say what is wrong with bytes of another hash, as far as it can be seen."""
    try:
        parse_sample(data, where).clip()
    except InputError as error:
        return str(error)
    return "its bytes differ from those that were written; they still decode"
