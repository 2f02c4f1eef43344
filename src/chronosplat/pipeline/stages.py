"""A run of named stages in a folder of its own, which the same command resumes after an interruption.

``manifest.json`` says which stages are done, each with a stamp of all that its outputs depend on. A stage is skipped if it is
done under the same stamp; otherwise its outputs and those of all later stages are removed and it runs, again if need be.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chronosplat.events import info
from chronosplat.files import LOCK, atomic_file, held, replace_results
from chronosplat.pipeline.report import Journal
from chronosplat.shapes import InputError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        stamp: a hash of all that the outputs depend on. outputs: files and folders that the stage makes.
        run: makes them; may find outputs of its own from a run under the same stamp that was interrupted.
    """

    name: str
    stamp: str
    outputs: tuple[str, ...]
    run: Callable[[], object]


@dataclass(frozen=True)
class StagedRun:
    """A working folder and the stages that are done in it."""

    folder: Path
    journal: Journal

    def manifest(self) -> dict[str, Any]:
        """The stages by name with ``stamp`` and ``done``; empty where none can be read."""
        try:
            found = json.loads((self.folder / MANIFEST).read_text())
            return found if isinstance(found, dict) and all(isinstance(v, dict) for v in found.values()) else {}
        except (OSError, ValueError):
            return {}

    def recorded(self, stage: str) -> dict[str, Any]:
        """The record of a stage."""
        return self.manifest().get(stage, {})

    def run(self, stages: Sequence[Stage], **facts: Any) -> None:
        """Run the stages that are not done.

        Args:
            facts: kept in every stage's record.
        """
        before = self.manifest()
        started = {name for name, record in before.items() if record.get("stamp") in {s.stamp for s in stages}}
        damaged = not before and (self.folder / MANIFEST).exists()
        if damaged:
            for path in [p for p in self.folder.iterdir() if p.name not in (LOCK, MANIFEST)]:
                _remove(path)
        if damaged or (before and not started):
            self.journal.notice(info("starting-over", f"{self.folder} holds a run with other settings, input or weights: starting over"))
        elif before:
            self.journal.notice(info("resuming", f"resuming the run in {self.folder}; kept: {', '.join(sorted(started))}"))
        planned = {stage.name for stage in stages}
        for name in {name for old, record in before.items() if old not in planned for name in record.get("outputs", ())}:
            _remove(self.folder / Path(name).name)
        records: dict[str, Any] = {}
        stale = False
        for stage in stages:
            record = before.get(stage.name, {})
            stale = stale or record.get("stamp") != stage.stamp
            if stale:
                for name in stage.outputs:
                    _remove(self.folder / name)
                record = {}
            records[stage.name] = {"stamp": stage.stamp, "done": bool(record.get("done")), "outputs": stage.outputs, **facts}
        self._write(records)
        for stage in stages:
            if not records[stage.name]["done"]:
                with self.journal.stage(stage.name):
                    stage.run()
                records[stage.name]["done"] = True
                self._write(records)

    def publish(self, output: Path, leave_out: Sequence[str]) -> None:
        """Make the folder the result ``output``, without the files that are of no use once the work is done.

        Raises:
            InputError: what lies at ``output`` by now is none of ours.
        """
        for name in leave_out:
            _remove(self.folder / name)
        (self.folder / LOCK).unlink(missing_ok=True)
        replace_results(self.folder, output)

    def _write(self, records: dict[str, Any]) -> None:
        with atomic_file(self.folder / MANIFEST) as fresh:
            fresh.write_text(json.dumps(records, indent=1))


def partial_of(output: Path) -> Path:
    """The working folder of a result."""
    return output.with_name(f"{output.name}.partial")


@contextmanager
def staged_run(output: Path, journal: Journal) -> Iterator[StagedRun]:
    """Hold the working folder beside the target; one without a finished or resumable stage is removed on failure.

    Raises:
        InputError: something else is in its place, or another run holds it.
    """
    folder = partial_of(output)
    others = {p.name for p in folder.iterdir()} - {LOCK} if folder.is_dir() else set()
    if folder.is_file() or (others and not (folder / MANIFEST).is_file()):
        raise InputError(f"{folder}: the working folder exists and was not created by chronosplat; move or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / LOCK, f"{folder}: another run is at work there; wait for it, or choose another output"):
        for stray in list(folder.rglob(".*.tmp*")):  # of a run that was killed while it wrote
            _remove(stray)
        run = StagedRun(folder, journal)
        try:
            yield run
        except BaseException:
            kept = {p.name for p in folder.iterdir()} - {LOCK, MANIFEST} if folder.is_dir() else set()
            if not kept:
                shutil.rmtree(folder, ignore_errors=True)
            raise


def stamp_of(facts: Any, paths: Iterable[Path] = (), leave_out: Path | None = None) -> str:
    """A hash of facts, and of files by name, size and date; files under the output ``leave_out`` do not count."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    own = () if leave_out is None else (leave_out, partial_of(leave_out))
    for path in paths:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            if not any(file.resolve().is_relative_to(folder) for folder in own):
                stat = file.stat()
                digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
