"""Between clips and captures: posed views of an object become a clip, and a clip a capture in the D-NeRF form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from chronosplat.captures import Views, load_capture, normalizing_similarity, save_transforms
from chronosplat.captures.load import has_split
from chronosplat.captures.normalize import distinct
from chronosplat.data.clip import Clip, spelled_key
from chronosplat.events import Events, warning
from chronosplat.files import result_folder
from chronosplat.shapes import InputError

SPLITS = {"train": "fixed", "test": "random"}  # splits of a capture, and the groups that they are in clips


def clip_of_views(key: str, parts: dict[str, Views], facts: dict[str, object]) -> Clip:
    """Build a clip from views of the same times, in the normalised world (the cameras' distance becomes 1.5, +Y up).

    Args:
        parts: views by group, each a grid: as many cameras at every time.

    Raises:
        InputError: some cameras lack a time, or groups differ in times or size.
    """
    grids = {name: _grid(key, views) for name, views in parts.items()}
    first = next(iter(parts.values()))
    if len({(views.cameras.width, views.cameras.height) for views in parts.values()}) > 1:
        raise InputError(f"{key}: its splits have images of different sizes")
    world = normalizing_similarity(distinct(first.cameras), first.up).inverse()
    frames, viewmats, Ks, groups, count = [], [], [], {}, 0
    for name, (_, order) in grids.items():
        T, V = order.shape
        views, cameras = parts[name], parts[name].cameras.transformed(world)
        flat = torch.from_numpy(order).flatten()
        frames.append(views.rgba8()[flat].numpy().reshape(T, V, *views.pixels.shape[1:]))
        viewmats.append(cameras.viewmats[flat].float().numpy().reshape(T, V, 4, 4))
        Ks.append(cameras.Ks[flat].float().numpy().reshape(T, V, 3, 3))
        groups[name], count = list(range(count, count + V)), count + V
    if len({part.shape[0] for part in frames}) > 1:
        raise InputError(f"{key}: its splits differ in times")
    return Clip(
        key=key,
        frames=np.concatenate(frames, 1),
        viewmats=np.concatenate(viewmats, 1),
        Ks=np.concatenate(Ks, 1),
        width=first.cameras.width,
        height=first.cameras.height,
        seconds=next(iter(grids.values()))[0],
        groups=groups,
        facts=facts,
    )


def _grid(key: str, views: Views) -> tuple[np.ndarray, np.ndarray]:
    """Return times [T] and the indices of the views [T, V], in the order of the file at each time."""
    times, which = np.unique(views.times.numpy(), return_inverse=True)
    counts = np.bincount(which)
    if len({*counts.tolist()}) > 1:
        raise InputError(f"{key}: {counts.min()} to {counts.max()} views at each time; a clip has every camera at every time")
    return times, np.argsort(which, kind="stable").reshape(len(times), -1)


def clip_of_capture(path: Path, size: int | None = None, events: Events | None = None) -> Clip:
    """Load a capture as a clip: the training views are the group ``fixed``, test views at the same times ``random``.

    Args:
        events: receives notices of what was assumed or left out.

    Raises:
        InputError: it cannot be loaded, or is no grid of cameras and times.
    """
    events, parts = events or Events(), {"fixed": load_capture(path, "train", size)}
    if has_split(path, "test"):
        test = load_capture(path, "test", size)
        if torch.equal(test.times.unique(), parts["fixed"].times.unique()):
            parts["random"] = test
        else:
            late = f"{path}: its test views have other times than its training views, and are left out"
            events.notice(warning("split-left-out", late))
    for notice in {str(notice): notice for views in parts.values() for notice in views.notices}.values():
        events.notice(notice)
    return clip_of_views(spelled_key(path.resolve().name), parts, {"uid": path.resolve().name, "layout": "capture"} | _saved_facts(path))


def _saved_facts(path: Path) -> dict[str, object]:
    """Return the facts that :func:`save_clip` wrote beside a capture, its licence among them; none of other captures."""
    try:
        facts = json.loads((path / "report.json").read_text(encoding="utf-8"))["facts"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return facts if isinstance(facts, dict) else {}


def save_clip(clip: Clip, folder: Path) -> None:
    """Write a clip as a capture in the D-NeRF form: its group ``fixed`` (or all views) is the split train, the others test."""
    train = clip.groups.get("fixed") or list(range(clip.views))
    splits = {"train": train, "test": [v for v in range(clip.views) if v not in train]}
    with result_folder(folder) as fresh:
        for split, views in splits.items():
            if views:
                save_transforms(views_of_clip(clip, views), fresh, split)
        (fresh / "report.json").write_text(json.dumps({"key": clip.key, "facts": clip.facts, "groups": clip.groups}, indent=1))


def views_of_clip(clip: Clip, views: list[int]) -> Views:
    """Return some views of a clip at all times, time-major; seconds count from the clip's first."""
    times, chosen = [t for t in range(clip.times) for _ in views], views * clip.times
    seconds = torch.from_numpy(np.abs(clip.seconds - clip.seconds[0]))[times]
    pixels = torch.from_numpy(clip.read(times, chosen))
    return Views(pixels=pixels, cameras=clip.cameras(times, chosen), times=seconds, up=torch.tensor([0.0, 1.0, 0.0]))
