"""Runs: make a data set on an engine, continue it, and say how far it is."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from chronosplat.data.engines import Engine, Job, Outcome, Workers, start_engine
from chronosplat.data.holdout import held_out
from chronosplat.data.jobs import attempted, make_shard, summary, unreached
from chronosplat.data.lease import RUN, Lease, RunState, read_run
from chronosplat.data.plan import PLAN, Plan, check_same, read_plan
from chronosplat.data.recipe import Recipe
from chronosplat.data.sample import ShardOptions
from chronosplat.data.shards import ShardRecord, read_records, shard_name
from chronosplat.data.sources import Query, find_assets
from chronosplat.data.store import Store
from chronosplat.events import Events, info, warning
from chronosplat.files import remove_stale
from chronosplat.shapes import InputError

TRIES = 3  # losses of a worker after which its object is left out


@dataclass
class Totals:
    """What a data set holds so far."""

    shards: int = 0
    clips: int = 0
    frames: int = 0
    bytes: int = 0
    omitted: list[list[str]] = field(default_factory=list)  # [kind, what, reason]

    def add(self, numbers: dict[str, Any]) -> None:
        """Add a shard."""
        self.shards += 1
        for name in ("clips", "frames", "bytes"):
            setattr(self, name, getattr(self, name) + numbers[name])
        self.omitted += numbers["omitted"]

    def count(self, kind: str) -> int:
        """Return how many objects, animations or clips failed, were skipped, or were unreached."""
        return sum(entry[0] == kind for entry in self.omitted)

    def reasons(self, kind: str, most: int = 8) -> list[tuple[str, int]]:
        """Return the commonest reasons, without names and numbers, with their counts."""
        return Counter(_general(entry[2]) for entry in self.omitted if entry[0] == kind).most_common(most)


def _general(reason: str) -> str:
    """Return a reason without the path before it, figures after it and numbers in it, so that equal ones count together."""
    reason = re.sub(r" \([\d. of]+\)$", "", reason)
    text = reason.split(": ", 1)[1] if ": " in reason and "/" in reason.split(": ", 1)[0] else reason
    return re.sub(r"(?<![\w.-])\d[\d.]*(?!\w)", "N", text)


@dataclass(frozen=True)
class DataSetStatus:
    """How far a data set is."""

    plan: Plan
    totals: Totals
    run: RunState | None

    @property
    def seconds_left(self) -> float | None:
        """Return the time left by the run's own rate; None while nothing is known."""
        if self.run is None or not self.run.is_alive or not self.run.shards_made:
            return None
        return self.run.seconds / self.run.shards_made * (self.plan.shards - self.totals.shards)


def data_set_status(address: str) -> DataSetStatus:
    """Return how far the data set at an address is, wherever it is being made.

    Raises:
        InputError: there is none.
    """
    store = Store.at(address)
    plan = read_plan(store)
    if plan is None:
        raise InputError(f"{address}: no {PLAN}; give the output of chronosplat data render")
    totals = Totals()
    for record in finished(store).values():
        totals.add(summary(record))
    return DataSetStatus(plan, totals, read_run(store))


def finished(store: Store) -> dict[str, ShardRecord]:
    """Return the records of the finished shards by name."""
    names = set(store.names(".tar"))
    if names.isdisjoint(name.removesuffix(".json") + ".tar" for name in store.names(".json")):
        return {}
    return {record.file: record for record in read_records(store) if record.file in names}


def make_data_set(
    source: str,
    address: str,
    recipe: Recipe,
    query: Query = Query(""),
    storage: ShardOptions = ShardOptions(),
    workers: Workers = Workers(),
    skip: tuple[str, ...] = (),
    events: Events | None = None,
) -> Totals:
    """Render a source's objects to shards; what is finished already is kept.

    Args:
        source: see :func:`chronosplat.data.sources.find_assets`. address: of the data set, at any address that fsspec opens.
        skip: files with uids to leave out, besides those of published benchmarks.

    Returns:
        The numbers of the whole data set. After a cancellation, those of what was finished.

    Raises:
        InputError: a source or an option is wrong, another data set or another run is there, the store cannot be reached, the
            disk is full, or workers were lost repeatedly.
        UnavailableError: the engine is not installed or not reachable.
    """
    events, store = events or Events(), Store.at(address)
    check_place(store)
    lease, totals = Lease(store), Totals()
    try:
        plan = planned(store, source, recipe, query, storage, skip, events)
        before = finished(store)
        kept = {name: record for name, record in before.items() if not unreached(record)}
        for name, record in before.items():
            if not plan.has_made(record):
                raise InputError(f"{store.where(name)}: is a shard of another data set; move it and its record away, and run again")
            if name in kept:
                totals.add(summary(record))
        if store.folder is not None:
            remove_stale(store.folder, ".shard-*.tmp.*")  # of workers that were killed
        todo = [i for i in range(plan.shards) if shard_name(i) not in kept]
        lease.tell(done=totals.shards, total=plan.shards)
        if todo:
            engine = start_engine(make_shard, workers)
            try:
                _Run(store, plan, lease, engine, events, totals).work(todo)
            finally:
                engine.close()
    finally:
        lease.release("finished" if totals.shards and totals.shards == lease.state.total else "interrupted")
    return totals


def check_place(store: Store) -> None:
    """Refuse a folder that holds something else than a data set.

    Raises:
        InputError: naming it.
    """
    folder = store.folder
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"{store.address}: is a file", "choose a new folder as {output}", output=...)
    if store.exists(PLAN):
        return
    found = store.names(".tar") if folder is None else sorted(path.name for path in folder.glob("*")) if folder.exists() else []
    if [name for name in found if name != RUN and not name.startswith((".run.", ".plan."))]:
        raise InputError(f"{store.address}: holds files of something else", "choose a new folder as {output}", output=...)


def planned(store: Store, source: str, recipe: Recipe, query: Query, storage: ShardOptions, skip: tuple[str, ...], events: Events) -> Plan:
    """Return the plan of the data set that was begun, or write a new one.

    Raises:
        InputError: another data set is at the address, or no objects are left.
    """
    found = read_plan(store)
    if found is not None:
        check_same(found, Plan(source, recipe, storage, ()), store.address)
        return found
    out = held_out(skip)
    assets = find_assets(source, query, events)
    kept = tuple(asset for asset in assets if asset.uid not in out)
    if dropped := len(assets) - len(kept):
        events.notice(info("held-out", f"{dropped} objects are left out: they belong to published benchmarks or to a skip list"))
    if not kept:
        raise InputError(f"{source}: all {len(assets)} objects are held out; nothing is left to render")
    plan = Plan(source, recipe, storage, kept)
    with store.writing(PLAN) as file:
        file.write(plan.to_json().encode())
    return plan


class _Run:
    """The state of a run."""

    def __init__(self, store: Store, plan: Plan, lease: Lease, engine: Engine, events: Events, totals: Totals) -> None:
        self.store, self.plan, self.lease, self.engine, self.events, self.totals = store, plan, lease, engine, events, totals
        self.began, self.clips, self.made = time.time(), 0, 0
        self.losses: Counter[tuple[int, str]] = Counter()
        self.excluded: dict[int, dict[str, str]] = {}

    def work(self, todo: list[int]) -> None:
        """Do the jobs, until all are done or the run is cancelled."""
        waiting = deque(self._job(i) for i in todo)
        running, cancel = 0, self.events.cancel
        with cancel.watched():
            while (waiting or running) and not cancel.requested:
                while waiting and running < self.engine.slots:
                    self.engine.submit(waiting.popleft())
                    running += 1
                for outcome in self.engine.wait(1.0):
                    running -= 1
                    if outcome.kind == "failed":
                        raise InputError(outcome.text)
                    if outcome.kind == "lost":
                        waiting.append(self._again(outcome))
                    else:
                        self._count(outcome.result)
                self._tell()

    def _job(self, index: int) -> Job:
        return Job(self.store.address, index, tuple(self.excluded.get(index, {}).items()))

    def _count(self, numbers: dict[str, Any]) -> None:
        self.totals.add(numbers)
        self.clips, self.made = self.clips + numbers["clips"], self.made + 1

    def _tell(self) -> None:
        seconds = max(time.time() - self.began, 1e-3)
        left = seconds / self.made * (self.plan.shards - self.totals.shards) if self.made else 0
        note = (
            f"{self.totals.clips} clips, {self.clips / seconds:.2f} a second, {in_words(left)} left" if self.made else self.engine.workers
        )
        self.events.progress("shards", self.totals.shards, self.plan.shards, note)
        numbers = {"done": self.totals.shards, "total": self.plan.shards, "clips": self.clips, "shards_made": self.made}
        self.lease.tell(workers=self.engine.workers, **numbers)

    def _again(self, outcome: Outcome) -> Job:
        """Return the job of a lost worker to be done again; without the object that lost it three times."""
        index = outcome.job.index
        uid = attempted(self.store, index)
        self.losses[index, uid] += 1
        if self.losses[index, uid] >= TRIES:
            if not uid:
                raise InputError(f"{self.store.where(shard_name(index))}: {TRIES} workers were lost before they began ({outcome.text})")
            self.excluded.setdefault(index, {})[uid] = f"{TRIES} workers were lost on it: {outcome.text}"
        what = f"shard {index}" + (f", {uid}" if uid else "")
        self.events.notice(warning("worker-lost", f"{what}: {outcome.text}; the shard is begun again"))
        return self._job(index)


def in_words(seconds: float) -> str:
    """Return a duration for people."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
