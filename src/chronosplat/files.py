"""Files and folders that appear whole or not at all, and result folders that only ever lose what chronosplat wrote.

Both are written under an unpredictable name beside their target and renamed at the end. The writer holds a lock on that
name; one whose lock is free was left by a process that died, and is removed.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from chronosplat.shapes import InputError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

MARKER = ".chronosplat.json"  # in every result folder: the files that chronosplat wrote there, with their sizes
LOCK = ".lock"
GRACE = 60.0  # seconds in which a temporary name may not be locked yet


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes ``path`` when the block ends and disappears when it raises.

    The temporary name keeps the suffix, because some writers choose a format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent, f".{path.stem}.*.tmp{path.suffix}")
    fresh = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.tmp{path.suffix}")
    with _locked(fresh):
        try:
            yield fresh
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``, removed when the block ends unless the block renamed it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent, f".{path.name}.*.tmp")
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    fresh.mkdir()
    try:
        with _locked(fresh / LOCK):
            yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def result_folder(path: Path, inputs: Sequence[Path] = ()) -> Iterator[Path]:
    """Yield a folder to write results into, which becomes ``path`` when the block ends.

    Args:
        inputs: files and folders that the results are made from.

    Raises:
        InputError: as :func:`check_output`, before the block and, for files that appeared meanwhile, after it.
    """
    path = path.resolve()
    check_output(path, inputs)
    with temporary_folder(path) as fresh:
        yield fresh
        (fresh / LOCK).unlink()
        replace_results(fresh, path)


def check_output(path: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse an output folder that would cost the user a file.

    Args:
        path: the folder; it may be absent, empty, or an earlier result.
        inputs: files and folders that the results are made from.

    Raises:
        InputError: the output is, contains or lies inside an input; it is a file; it holds a file that chronosplat did
            not write, or one that changed since.
    """
    path = path.resolve()
    for source in (given.resolve() for given in inputs if given.exists()):
        relation = "is" if path == source else "contains" if source.is_relative_to(path) else "lies inside"
        if path == source or source.is_relative_to(path) or (source.is_dir() and path.is_relative_to(source)):
            raise InputError(f"{path}: the output {relation} the input {source}", "choose another {output}", output=...)
    if path.is_file():
        raise InputError(f"{path}: is a file", "choose a folder as {output}", output=...)
    if not path.is_dir():
        return
    owned = owned_files(path)
    for file in sorted(p for p in path.rglob("*") if not p.is_dir() or p.is_symlink()):
        name = file.relative_to(path).as_posix()
        if file.name != MARKER and owned.get(name) != (file.stat().st_size if file.is_file() else None):
            what = "changed since chronosplat wrote it" if name in owned else "was not written by chronosplat"
            raise InputError(f"{path}: {name} {what}", "move it away, or choose another {output}", output=...)


def owned_files(folder: Path) -> dict[str, int]:
    """The files that chronosplat wrote into a folder, as relative paths with their sizes; the innermost marker counts."""
    found: dict[str, int] = {}
    for marker in sorted(folder.rglob(MARKER), key=lambda path: len(path.parts)):
        inside = marker.parent.relative_to(folder)
        try:
            listed = {(inside / name).as_posix(): int(size) for name, size in json.loads(marker.read_text())["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        within = [] if inside == Path() else [name for name in found if Path(name).is_relative_to(inside)]
        found = {name: size for name, size in found.items() if name not in within} | listed
    return found


def mark_results(folder: Path) -> None:
    """Write the marker that lists all files of a folder, with their sizes."""
    found = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    listed = {name: size for name, size in found.items() if Path(name).name not in (MARKER, LOCK)}
    with atomic_file(folder / MARKER) as fresh:
        fresh.write_text(json.dumps({"made_by": "chronosplat", "files": listed}, indent=1))


def replace_results(fresh: Path, path: Path) -> None:
    """Make ``fresh`` the result folder ``path``, in place of an earlier result.

    Raises:
        InputError: the earlier result is none of ours, or was changed; ``fresh`` is then kept under a name beside it.
    """
    mark_results(fresh)
    try:
        check_output(path)
    except InputError as error:
        kept = path.with_name(f"{path.name}.new-{secrets.token_hex(2)}")
        fresh.replace(kept)
        raise InputError(f"{error.problem}; the finished result is in {kept}") from error
    if path.is_dir():
        old = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        path.replace(old)
        fresh.replace(path)
        shutil.rmtree(old, ignore_errors=True)  # checked above: it holds our own files only
    else:
        fresh.replace(path)


def remove_stale(folder: Path, pattern: str) -> None:
    """Remove temporary files and folders whose writer is dead: nobody holds their lock, and nobody is about to."""
    for path in folder.glob(pattern):
        lock = path / LOCK if path.is_dir() else path
        try:
            if time.time() - path.stat().st_mtime < GRACE or (lock.exists() and not is_free(lock)):
                continue
        except OSError:  # gone meanwhile
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def is_free(lock: Path) -> bool:
    """Whether no process holds a lock; False where that cannot be known."""
    if fcntl is None:
        return False
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:
        return False


@contextmanager
def held(lock: Path, problem: str) -> Iterator[None]:
    """Hold a lock file for a block; systems without such locks go without.

    Raises:
        InputError: ``problem``; another process holds it.
    """
    with lock.open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(problem) from error
        yield


@contextmanager
def _locked(fresh: Path) -> Iterator[None]:
    """Create a file and hold its lock."""
    with fresh.open("xb") as file:
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks: such a name is never taken for stale
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def write_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file that everybody who may read its folder can read.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    with atomic_file(path) as fresh:
        try:
            # copies, because the format refuses tensors that share memory
            save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, fresh, metadata)
        except SafetensorError as error:
            raise OSError(f"cannot write {path}: {error}") from error
        fresh.chmod(0o644)
