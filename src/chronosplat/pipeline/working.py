"""The working folder of a run that may take hours: kept when it is interrupted, and taken up by the same command."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import chronosplat
from chronosplat.pipeline.common import ReconstructConfig, Say
from chronosplat.sequences.run import STATE
from chronosplat.shapes import InputError

MARK = "plan.json"
WORKING = (MARK, STATE)  # files that are of no use once the work is done


@dataclass(frozen=True)
class Work:
    """A run's folder.

    Attributes:
        folder: where the work is done. stamp: a hash of all that the result depends on. chunk: frames of a forward pass.
    """

    folder: Path
    stamp: str
    chunk: int


def stamp_of(config: ReconstructConfig, weights: list[Path | None], dtype: torch.dtype) -> str:
    """A hash of all that the scene's numbers depend on."""
    facts = asdict(config)
    for name in ("ply", "ply_frames", "preview_frames", "preview_size"):
        facts.pop(name)
    facts |= {"version": chronosplat.__version__, "precision": str(dtype)}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    inputs = [Path(config.input), *(Path(v) for v in config.sequence.views)]
    for path in [*inputs, *(w for w in weights if w is not None)]:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            stat = file.stat()
            digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


@contextmanager
def working_folder(output: Path, stamp: str, chunk: int, free_choice: bool, tell: Say) -> Iterator[Work]:
    """The working folder beside the target, with what an earlier run of the same ``stamp`` left in it.

    One that a failure leaves without any progress is taken away again.

    Args:
        chunk: frames of a forward pass. free_choice: it was chosen by the memory that is free, and an earlier choice stands.

    Raises:
        InputError: something else is in its place.
    """
    folder = output.with_name(f"{output.name}.partial")
    mark = folder / MARK
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not mark.is_file()):
        raise InputError(f"{folder}: is in the way; the work is done there until it is whole. Move it away")
    before = json.loads(mark.read_text()) if mark.is_file() else None
    if before is not None and before["stamp"] == stamp and free_choice:
        chunk = before["chunk"]
    plan = {"stamp": stamp, "chunk": chunk}
    if before is not None and before != plan:
        tell(f"{folder} holds a run of other settings, input or weights; starting over")
        shutil.rmtree(folder)
    elif (folder / STATE).is_file():
        tell(f"going on with what is in {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(plan))
    try:
        yield Work(folder, f"{stamp} {chunk}", chunk)
    except BaseException:
        if not (folder / STATE).is_file() and not (folder / "views").is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def finish_folder(work: Work, output: Path) -> None:
    """Make the working folder the result, in place of an earlier one."""
    if output.exists():
        shutil.rmtree(output)
    work.folder.replace(output)
    for name in WORKING:
        (output / name).unlink(missing_ok=True)
