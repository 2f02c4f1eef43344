"""The working folder of a run that may take hours: kept when it is interrupted, and taken up by the same command."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import chronosplat
from chronosplat.files import atomic_file
from chronosplat.pipeline.common import ReconstructConfig, Say
from chronosplat.sequences.run import STATE
from chronosplat.shapes import InputError

MARK, LOCK = "plan.json", "lock"
WORKING = (MARK, LOCK, STATE)  # files that are of no use once the work is done


@dataclass(frozen=True)
class Work:
    """A run's folder.

    Attributes:
        folder: where the work is done. stamp: a hash of all that the result depends on. chunk: frames of a forward pass.
    """

    folder: Path
    stamp: str
    chunk: int


def stamps_of(config: ReconstructConfig, weights: list[Path | None], size: int, dtype: torch.dtype, output: Path) -> dict[str, str]:
    """Hashes of all that the scene's numbers depend on (``stamp``), and of what the first frame's views do (``views``)."""
    own = asdict(config.sequence)
    sides = {name: own[name] for name in ("views", "drawing", "diffusion", "lgm_weights")}
    video = asdict(config.video) | {"max_frames": None}
    first = {"input": config.input, "split": config.split, "video": video, "seed": config.seed, "size": size, **sides}
    first["version"] = chronosplat.__version__
    source = Path(config.input)
    asked = [source.parent if source.suffix == ".json" else source, *(Path(v) for v in config.sequence.views)]
    asked += [Path(p) for p in (config.sequence.diffusion, config.sequence.lgm_weights) if p]
    views = _hash(first, asked, output)
    every = first | own | {"video": asdict(config.video), "model": config.model, "device": config.device, "precision": str(dtype)}
    return {"views": views, "stamp": _hash(every, [*asked, *(w for w in weights if w is not None)], output)}


def _hash(facts: dict[str, Any], paths: Iterable[Path], output: Path) -> str:
    """Of facts, and of files by their names, sizes and dates; what lies under the output does not count."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for path in paths:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            if not any(file.resolve().is_relative_to(own) for own in (output, partial_of(output))):
                stat = file.stat()
                digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def partial_of(output: Path) -> Path:
    """Where the work for a result is done."""
    return output.with_name(f"{output.name}.partial")


@contextmanager
def working_folder(output: Path, stamps: dict[str, str], chunk: int, free_choice: bool, tell: Say) -> Iterator[Work]:
    """The working folder beside the target, with what an earlier run of the same stamps left in it.

    One that a failure leaves without any progress is taken away again. Of a run with other settings the first frame's views are
    kept where they would come out the same.

    Args:
        chunk: frames of a forward pass. free_choice: it was chosen by the memory that is free, and an earlier choice stands.

    Raises:
        InputError: something else is in its place, or another run is at work there.
    """
    folder = partial_of(output)
    mark = folder / MARK
    others = {p.name for p in folder.iterdir()} - {LOCK} if folder.is_dir() else set()
    if folder.is_file() or (others and not mark.is_file()):
        raise InputError(f"{folder}: is in the way; the work is done there until it is whole. Move it away")
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        before = _plan(mark)
        if before.get("stamp") == stamps["stamp"] and free_choice:
            chunk = before["chunk"]
        plan = {**stamps, "chunk": chunk}
        if before and before != plan:
            same_views = before.get("views") == stamps["views"]
            tell(f"{folder} holds a run of other settings, input or weights; starting over" + (", its views stay" if same_views else ""))
            _clear(folder, but=(LOCK, "views") if same_views else (LOCK,))
        elif (folder / STATE).is_file():
            tell(f"going on with what is in {folder}")
        for stray in list(folder.rglob(".*.tmp*")):  # of a run that was killed while it wrote
            shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
        with atomic_file(mark) as fresh:
            fresh.write_text(json.dumps(plan))
        try:
            yield Work(folder, f"{stamps['stamp']} {chunk}", chunk)
        except BaseException:
            if not (folder / STATE).is_file() and not (folder / "views").is_dir():
                shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, so that a second run does not work in it; systems without such locks go without.

    Raises:
        InputError: another run holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{folder}: another run is at work there; wait for it, or give another output") from error
        yield


def _plan(mark: Path) -> dict[str, Any]:
    """What an earlier run wrote; something that fits nothing, where it cannot be read."""
    if not mark.is_file():
        return {}
    try:
        plan = json.loads(mark.read_text())
    except ValueError:
        plan = None
    return plan if isinstance(plan, dict) and {"stamp", "chunk"} <= plan.keys() else {"stamp": "", "chunk": 0}


def _clear(folder: Path, but: tuple[str, ...]) -> None:
    for path in folder.iterdir():
        if path.name not in but:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def finish_folder(work: Work, output: Path) -> None:
    """Make the working folder the result, in place of an earlier one."""
    if output.exists():
        shutil.rmtree(output)
    work.folder.replace(output)
    for name in WORKING:
        (output / name).unlink(missing_ok=True)
