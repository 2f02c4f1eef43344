"""Files and folders that appear whole or not at all: written beside their target, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from chronosplat.shapes import InputError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path to write to that becomes ``path`` when the block ends well, and disappears when it does not.

    The working name keeps the suffix, so that writers that choose a format by it agree.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A working folder that becomes ``path`` when the block ends well, and disappears when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fresh.mkdir()
    try:
        yield fresh
        if path.exists():
            shutil.rmtree(path)
        fresh.replace(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check_folder(path: Path) -> None:
    """Refuse to replace anything but an earlier result of ours (known by its report.json).

    Raises:
        InputError: the target is a file, or a folder with other things in it.
    """
    if path.is_file():
        raise InputError(f"{path}: is a file; give a folder for the results")
    if path.is_dir() and any(path.iterdir()) and not (path / "report.json").is_file():
        raise InputError(f"{path}: is a folder with other files in it; give a new one")


def write_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file, readable for everybody that may read its folder.

    Raises:
        OSError: the file cannot be written, a full disk among the reasons.
    """
    with atomic_file(path) as fresh:
        try:
            # copies, since the format refuses tensors that share memory
            save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, fresh, metadata)
        except SafetensorError as error:
            raise OSError(f"cannot write {path}: {error}") from error
        fresh.chmod(0o644)
