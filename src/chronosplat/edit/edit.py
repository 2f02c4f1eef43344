"""``edit(scene, edits)``: apply edits in order, and note them in the scene."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from chronosplat.edit.registry import Edit, edits_from_records
from chronosplat.events import Events
from chronosplat.scenes import Scene, read_metadata
from chronosplat.shapes import InputError

NOTE = "edits"  # the name of the list among a scene's notes


def edit(scene: Scene, edits: Sequence[Edit], events: Events | None = None) -> Scene:
    """Edit a scene.

    Args:
        edits: applied in this order. The scene's notes list them after those of earlier calls, and scene files keep notes.

    Returns:
        A new scene, in memory.

    Raises:
        InputError: an edit that does not fit the scene, or leaves nothing of it.
    """
    events, before = events or Events(), scene
    done = history(scene)
    for step in edits:
        step.validate()
    with torch.no_grad():
        for index, step in enumerate(edits):
            edited = step.apply(scene.editable(), events)
            if edited.num_gaussians == 0:
                raise InputError(f"{step.name}: nothing is left of {scene.num_gaussians} Gaussians")
            scene = edited
            events.progress("editing", index + 1, len(edits), step.name)
    records = [step.record() for step in [*done, *edits]]
    return scene.with_notes({**before.notes, NOTE: json.dumps(records)}) if edits else scene


def history(scene: Scene) -> list[Edit]:
    """Return the edits that a scene lists.

    Raises:
        InputError: the list is damaged.
    """
    return _parsed(scene.notes.get(NOTE, "[]"), "scene")


def read_edits(path: str | Path) -> list[Edit]:
    """Return the edits of a scene file, or of a JSON file that holds a list of records.

    Raises:
        InputError: the file is missing or damaged, or lists no edits.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        found = _parsed(path.read_text(errors="replace"), str(path))
    else:
        found = _parsed(read_metadata(path).get(NOTE, "[]"), str(path))
    if not found:
        raise InputError(f"{path}: lists no edits")
    return found


def _parsed(text: str, source: str) -> list[Edit]:
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: the list of edits is not JSON ({error})") from error
    if not isinstance(records, list):
        raise InputError(f"{source}: expected a list of edits, got {type(records).__name__}")
    return edits_from_records(records)
