"""``load_scene(path)``: a scene from any format that has a reader, or from a numbered sequence of files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from chronosplat.cameras import Similarity
from chronosplat.events import Events, info, logged
from chronosplat.export.coordinates import upright
from chronosplat.export.export import times_file
from chronosplat.export.frame_files import FrameFiles
from chronosplat.export.registry import NUMBERS, Format, format_of, formats
from chronosplat.scenes import Gaussians3D, Scene, gaussians_at
from chronosplat.shapes import InputError

FPS = 24.0  # of a sequence that does not say


def load_scene(path: str | Path, events: Events | None = None) -> Scene:
    """Read a scene: a native file, a file of another format, or a numbered sequence.

    Args:
        path: a file; a folder of numbered files; or a name with ``####`` in place of the number. Files of a sequence are read when
            they are used.

    Returns:
        The scene, upright (+Y) in its own world; its capture's world is the file's coordinates.

    Raises:
        InputError: the file is missing, damaged, of an unknown format, or of one that is only written.
    """
    events, given = events or Events(logged), Path(path)
    if NUMBERS in given.name or given.is_dir():
        return _load_numbered(given, events)
    entry = _readable(given)
    if not given.is_file():
        raise InputError(f"{given}: no such file")
    assert entry.read is not None
    scene = entry.read(given, events)
    if scene.num_gaussians == 0:
        raise InputError(f"{given}: holds no Gaussians")
    return upright(scene, entry.up)


def _readable(path: Path) -> Format:
    entry = format_of(path)
    if entry.read is None:
        readable = ", ".join(e.suffix for e in formats().values() if e.read)
        raise InputError(f"{path}: {entry.suffix} files are only written; readable: {readable}")
    return entry


def _load_numbered(path: Path, events: Events) -> Scene:
    """A folder or a pattern, as one sequence."""
    files, numbered = numbered_files(path)
    entry = _readable(files[0])
    if entry.holds == "scene":
        raise InputError(f"{path}: {entry.suffix} files hold whole scenes, not frames; name one of them")
    seconds = _seconds(numbered, len(files), events)

    assert entry.read is not None
    take, quiet = entry.read, replace(events, notice=lambda notice: None)

    def read(file: Path, to: Events = quiet) -> Gaussians3D:
        return gaussians_at(upright(take(file, to), entry.up), 0.0)

    most, world = 0, Similarity()
    for index, file in enumerate(files):  # a damaged file is found now, not in the middle of the work
        frame = read(file, quiet if index else events)
        most, world = max(most, frame.num_gaussians), frame.world
        events.progress("reading files", index + 1, len(files))
    if most == 0:
        raise InputError(f"{path}: holds no Gaussians")
    return FrameFiles(tuple(files), seconds, most, read, world)


def numbered_files(path: Path) -> tuple[list[Path], Path]:
    """Return the files of a sequence in order of their numbers, and its pattern.

    Raises:
        InputError: there are none, or more than one sequence lies in the folder.
    """
    suffixes = "|".join(re.escape(e.suffix) for e in formats().values() if e.read and e.holds != "scene")
    before, after = path.name.split(NUMBERS, 1) if NUMBERS in path.name else ("", "")
    folder = path.parent if NUMBERS in path.name else path
    shape = rf"{re.escape(before)}(\d+){re.escape(after)}" if NUMBERS in path.name else rf"(.*?)(\d+)({suffixes})"
    found: dict[tuple[str, str], dict[int, Path]] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = re.fullmatch(shape, file.name, re.IGNORECASE)
        if match:
            start, number, end = (before, match[1], after) if NUMBERS in path.name else match.groups()
            found.setdefault((start, end), {})[int(number)] = file
    if not found:
        raise InputError(f"{path}: no numbered splat files, such as frame_0000.ply")
    if len(found) > 1:
        listed = ", ".join(f"{start}{NUMBERS}{end}" for start, end in found)
        raise InputError(f"{path}: more than one sequence; name one of {listed}")
    ((start, end), files) = next(iter(found.items()))
    return [files[number] for number in sorted(files)], folder / f"{start}{NUMBERS}{end}"


def _seconds(numbered: Path, count: int, events: Events) -> tuple[float, ...]:
    """The times of a sequence: from the file beside it, else 24 a second."""
    try:
        listed = json.loads(times_file(numbered).read_text())["seconds"]
        seconds = tuple(float(t) for t in listed)
        if len(seconds) == count and all(a < b for a, b in pairwise(seconds)):
            return seconds
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if count > 1:
        events.notice(info("sequence-rate", f"{numbered}: no times beside the files, taken as {FPS:g} frames a second"))
    return tuple(index / FPS for index in range(count))
