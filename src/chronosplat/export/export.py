"""``export(scene, path)``: any scene into any format that can hold it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from chronosplat.events import Events, info, logged
from chronosplat.export.coordinates import in_world, oriented
from chronosplat.export.numbered import numbered_file, remove_later
from chronosplat.export.registry import NUMBERS, Format, Frames, Job, format_of, formats, visible
from chronosplat.export.times import check_times
from chronosplat.files import atomic_file
from chronosplat.scenes import Scene, to_linear_motion
from chronosplat.shapes import InputError

TIMES = 24  # of a scene that is continuous in time


def export(
    scene: Scene,
    path: str | Path,
    up: str = "auto",
    times: int | Sequence[float] = TIMES,
    options: Any = None,
    events: Events | None = None,
    device: str | None = None,
) -> Path:
    """Write a scene in the format that the path's suffix names.

    Args:
        path: a file with a suffix of ``formats()``. A name with ``####`` writes one numbered file per time; a trailing slash, or no
            suffix, means ``NAME/frame_####.ply``.
        up: ``auto`` is the format's convention; ``y``, ``z`` or ``y-down`` turn the scene's up axis there and put the look-at point
            into the origin, in the capture's units; ``capture`` keeps the capture's coordinates.
        times: seconds, or the number of evenly spaced ones; a scene of stored frames has its own times.
        options: the format's options (``formats()[suffix].options``).
        events: receives notices, such as what the format loses, and progress; notices are logged by default.
        device: where images are rendered; None: where the scene is.

    Returns:
        The file or folder.

    Raises:
        InputError: an unknown format or up axis, an empty scene, times outside the scene, or a scene that the format cannot hold.
    """
    events = events or Events(logged)
    entry = target_format(path)
    path, numbered = _target(path)
    if scene.num_gaussians == 0:
        raise InputError("scene: has no Gaussians, nothing to export")
    scene = oriented(scene, entry.up if up == "auto" else up)
    seconds = export_times(scene, times)
    options = _options(entry, options)
    job = Job(options, seconds, scene.world, events, device, path.stem)
    if entry.loses:
        events.notice(info("format-loses", f"{entry.suffix}: {entry.loses}"))
    if numbered is not None:
        _write_numbered(entry, scene, numbered, job)
        return path
    content = _content(entry, scene, path, job)
    with atomic_file(path) as fresh:
        entry.write(content, fresh, job)
    return path


def target_format(path: str | Path) -> Format:
    """Find the format of a file, a numbered sequence or a folder; see :func:`export`."""
    path, numbered = _target(path)
    return format_of(numbered or path)


def _target(path: str | Path) -> tuple[Path, Path | None]:
    """The file or folder to return, and the pattern of a numbered sequence."""
    given, path = str(path), Path(path)
    if NUMBERS in path.name:
        return path.parent if path.stem == f"frame_{NUMBERS}" else path, path
    if given.endswith(("/", "\\")) or (path.suffix == "" and not path.is_file()):
        return path, path / f"frame_{NUMBERS}.ply"
    return path, None


def export_times(scene: Scene, times: int | Sequence[float] = TIMES) -> tuple[float, ...]:
    """Return the seconds that an export writes.

    Args:
        times: seconds, or their number.

    Raises:
        InputError: no times, or times outside the scene.
    """
    if isinstance(times, int):
        if times < 1:
            raise InputError(f"times: expected at least 1, got {times}")
        return tuple(scene.timestamps(times)) or (0.0,)
    if not times or any(later <= sooner for sooner, later in pairwise(times)):
        raise InputError("times: expected seconds that increase, at least one")
    check_times(scene, times)
    return tuple(float(t) for t in times)


def _options(entry: Format, options: Any) -> Any:
    """The options, or the format's defaults."""
    if options is not None and (entry.options is None or not isinstance(options, entry.options)):
        expected = entry.options.__name__ if entry.options else "none"
        raise InputError(f"options: {entry.suffix} takes {expected}, got {type(options).__name__}")
    return options or (entry.options() if entry.options else None)


def _content(entry: Format, scene: Scene, path: Path, job: Job) -> Any:
    """What the format's writer takes."""
    if entry.holds == "scene":
        return scene
    if entry.holds == "frames":
        return Frames(scene, job.times)
    if len(job.times) == 1:
        return visible(scene.at(job.times[0]))
    if entry.holds == "motion":
        if scene.linear_form() is not None:
            return in_world(scene)
        if scene.num_frames is None:
            converted = to_linear_motion(scene)
            job.events.notice(converted.notice())
            return in_world(converted.scene)
        problem = f"{path}: {entry.suffix} holds Gaussians that move on straight lines, a {scene.kind} has others in every frame"
    else:
        problem = f"{path}: {entry.suffix} holds one time, and the scene has {len(job.times)}"
    numbered = path.with_name(f"{path.name[: -len(entry.suffix)] or 'frame'}_{NUMBERS}{entry.suffix}")
    raise InputError(problem, f"choose one with {{times}}, or write one file per time: {numbered}", times=f"{job.times[0]:g}")


def times_file(numbered: Path) -> Path:
    """The file beside a numbered sequence that holds its seconds."""
    return numbered.with_name(f"{numbered.name.split(NUMBERS)[0]}times.json")


def _write_numbered(entry: Format, scene: Scene, numbered: Path, job: Job) -> None:
    """Write one file per time, and their seconds beside them."""
    if entry.write_numbered is not None:
        entry.write_numbered(scene, numbered, job)
        return
    if entry.holds not in ("static", "motion", "frames"):
        single = ", ".join(e.suffix for e in formats().values() if e.holds in ("static", "motion"))
        raise InputError(f"{numbered}: {entry.suffix} is one file for all times; numbered files: {single}")
    remove_later(numbered, len(job.times))
    frames = Frames(scene, job.times)
    for index, gaussians in enumerate(frames):
        single = replace(job, times=job.times[index : index + 1])
        content = Frames(scene, single.times) if entry.holds == "frames" else gaussians
        with atomic_file(numbered_file(numbered, index)) as fresh:
            entry.write(content, fresh, single)
        job.events.progress(f"writing {entry.suffix} files", index + 1, len(frames))
    with atomic_file(times_file(numbered)) as fresh:
        fresh.write_text(json.dumps({"seconds": list(job.times)}))
