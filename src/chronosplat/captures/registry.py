"""Layouts of captures: one file each in ``captures/layouts/``, which registers itself and describes a folder as transforms JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from chronosplat.events import Notice
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Described:
    """A split of a capture as transforms JSON.

    Attributes:
        meta: as in a transforms file; ``file_path`` is relative to ``path``, or absolute.
        path: the file that describes the capture, for messages. up: the world's up direction; None where it is unknown.
        notices: what was assumed.
    """

    meta: dict[str, Any]
    path: Path
    up: tuple[float, float, float] | None = (0.0, 0.0, 1.0)
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How a kind of capture lies in a folder.

    Attributes:
        name: of the layout. expected: the files that tell it.
        splits: which splits a folder has; none if it is not this layout.
        describe: ``describe(folder, split)``; raises InputError where a file is damaged.
    """

    name: str
    expected: str
    splits: Callable[[Path], tuple[str, ...]]
    describe: Callable[[Path, str], Described]


_LAYOUTS: dict[str, Layout] = {}


def register(layout: Layout) -> None:
    """Add a layout to the registry."""
    _LAYOUTS[layout.name] = layout


def layouts() -> list[Layout]:
    """All layouts by name."""
    package = import_module("chronosplat.captures.layouts")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return [_LAYOUTS[name] for name in sorted(_LAYOUTS)]


def layout_of(folder: Path, split: str) -> Layout:
    """Find a folder's layout.

    Raises:
        InputError: it has none, or not this split.
    """
    found = [(layout, layout.splits(folder)) for layout in layouts()]
    here = [(layout, splits) for layout, splits in found if splits]
    for layout, splits in here:
        if split in splits:
            return layout
    if here:
        raise InputError(f"{folder}: has no split {split!r}; it has {', '.join(here[0][1])}")
    listed = "; ".join(f"{layout.name}: {layout.expected}" for layout in layouts())
    raise InputError(
        f"{folder}: no capture in it; expected transforms_{split}.json or transforms.json, or one of {listed}; or give a video file"
    )


def numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Return the files of a folder whose names match a pattern with one group, by its number; 4D data sets count from 0."""
    found: dict[int, Path] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if (match := re.fullmatch(pattern, path.name)) and path.is_file():
            found[int(match[1])] = path
    return dict(sorted(found.items()))
