"""The registry of formats: a suffix, what a file of it can hold, and the functions that write and read it.

A new format is one file in ``formats/`` that ends with ``register(Format(...))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Literal

import torch

from chronosplat.cameras import Similarity
from chronosplat.events import Events
from chronosplat.scenes import FAINT, Gaussians3D, Scene
from chronosplat.shapes import InputError

NUMBERS = "####"  # in a file name: one file per time, numbered


@dataclass(frozen=True)
class Job:
    """What a writer gets beside the content.

    Attributes:
        options: the format's options, an instance of ``Format.options``.
        times: seconds to write, for formats of frames and videos.
        world: from the normalised world (+Y up) to the file's coordinates.
        events: receives notices and progress.
        device: where to render, for formats of images; None: where the scene is.
        name: the target's name without its suffix.
    """

    options: Any = None
    times: tuple[float, ...] = (0.0,)
    world: Similarity = field(default_factory=Similarity)
    events: Events = field(default_factory=Events)
    device: str | None = None
    name: str = ""


@dataclass(frozen=True)
class Frames:
    """The Gaussians at each of the requested times, in the file's coordinates; computed as they are read.

    Attributes:
        times: seconds, increasing.
    """

    scene: Scene
    times: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Gaussians3D]:
        return (visible(self.scene.at(seconds)) for seconds in self.times)


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        suffix: the end of its file names, such as ``.compressed.ply``; the longest match counts.
        about: a short description.
        holds: what the writer takes: ``static`` a ``Gaussians3D``; ``motion`` a ``Gaussians4D`` in seconds, or a
            ``Gaussians3D``; ``frames`` a ``Frames``; ``scene`` any ``Scene``. All are in the file's coordinates.
        write: ``write(content, path, job)``; the path is a temporary one that is renamed afterwards.
        read: ``read(path, events)`` returns a scene in the file's coordinates, or in its own world with ``up`` "capture".
        options: a frozen dataclass with a default for every field. group: what the command line calls them.
        up: the up axis of the format's convention, a key of UPS, or ``capture``.
        write_numbered: ``write_numbered(content, pattern, job)`` writes a name with ``####``, for formats of images, whose numbered
            files are those of a camera path and not of the scene's times.
        loses: what does not survive, for a notice.
    """

    suffix: str
    about: str
    holds: Literal["static", "motion", "frames", "scene"]
    write: Callable[[Any, Path, Job], None]
    read: Callable[[Path, Events], Scene] | None = None
    options: type | None = None
    group: str = ""
    up: str = "y-down"
    write_numbered: Callable[[Any, Path, Job], None] | None = None
    loses: str = ""


_FORMATS: dict[str, Format] = {}


def register(*formats: Format) -> None:
    """Add formats to the registry."""
    _FORMATS.update({entry.suffix: entry for entry in formats})


def formats() -> dict[str, Format]:
    """All formats by suffix."""
    package = import_module("chronosplat.export.formats")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return dict(_FORMATS)


def format_of(path: str | Path) -> Format:
    """Find the format of a file name.

    Raises:
        InputError: an unknown suffix; the known ones are listed.
    """
    name = "." + Path(path).name.lower()  # "mesh.glb" alone is a .mesh.glb
    known = formats()
    found = max((suffix for suffix in known if name.endswith(suffix)), key=len, default=None)
    if found is None:
        listed = ", ".join(f"{entry.suffix} ({entry.about})" for entry in known.values())
        raise InputError(
            f"{path}: unknown format {Path(path).suffix!r}; known: {listed}; NAME/ and NAME_{NUMBERS}.ply write one file per time"
        )
    return known[found]


def visible(gaussians: Gaussians3D) -> Gaussians3D:
    """The Gaussians that can be seen at all."""
    keep = torch.nonzero(gaussians.opacities >= FAINT)[:, 0]
    return gaussians.map(lambda t: t[keep])
