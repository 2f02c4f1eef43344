"""Numbered files: a name with ``####`` in place of the number."""

from __future__ import annotations

from pathlib import Path

from chronosplat.export.registry import NUMBERS


def numbered_file(pattern: Path, index: int) -> Path:
    """The file of a number, with at least four digits."""
    return pattern.with_name(pattern.name.replace(NUMBERS, f"{index:04d}", 1))


def remove_later(pattern: Path, count: int) -> None:
    """Remove the files from a number on, so that a longer earlier sequence does not play on behind a new one."""
    before, after = pattern.name.split(NUMBERS, 1)
    for stale in pattern.parent.glob(f"{before}*{after}"):
        number = stale.name[len(before) : -len(after)]
        if number.isdigit() and int(number) >= count:
            stale.unlink()
