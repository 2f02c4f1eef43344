"""A look at a data set: statistics, and a contact sheet of random clips."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from chronosplat.data.clipset import ClipSet
from chronosplat.data.sample import StoredClip
from chronosplat.files import atomic_file
from chronosplat.shapes import InputError

THUMB, STRIP, COLUMNS, LABEL = 96, 4, 3, 14  # pixels of a thumbnail, thumbnails of a clip, clips in a row, pixels of a label
LIGHT, DARK, CHECK = 235, 215, 8  # the chequered background


def statistics(clips: ClipSet, sampled: list[StoredClip]) -> dict[str, Any]:
    """Count what the records say of all clips, and measure the sampled ones."""
    entries = [place.entry for place in clips.places]
    images = sum(e.times * e.views for e in entries)
    facts = [clip.facts for clip in sampled]
    motion = [float(f["motion"]) for f in facts if isinstance(f.get("motion"), int | float)]
    coverage = [float((clip.read([clip.times // 2], [v])[..., 3] > 0).mean()) for clip in sampled for v in (0, clip.views // 2)]
    found: dict[str, Any] = {
        "clips": len(entries),
        "shards": len({(place.address, place.shard) for place in clips.places}),
        "objects": len({e.uid or e.key for e in entries}),
        "images": images,
        "bytes": sum(e.size for e in entries),
        "bytes_per_image": round(sum(e.size for e in entries) / images),
        "shapes": _counts(f"{e.times} times x {e.views} views" for e in entries),
        "licences": _counts(e.licence or "unknown" for e in entries),
        "sampled": len(sampled),
        "sizes": _counts(f"{clip.width}x{clip.height}" for clip in sampled),
        "groups": _counts(f"{name} {len(views)}" for clip in sampled for name, views in clip.groups.items()),
        "geometry": sum(clip.has_geometry for clip in sampled),
        "coverage": _spread(coverage),
    }
    return found | ({"motion": _spread(motion)} if motion else {})


def sample_clips(clips: ClipSet, count: int, seed: int = 0) -> list[StoredClip]:
    """Choose random clips."""
    if count < 1:
        raise InputError(f"count: expected at least 1, got {count}")
    chosen = np.random.default_rng(seed).permutation(len(clips))[:count]
    return [clips.clip(int(i)) for i in sorted(chosen)]


def contact_sheet(sampled: list[StoredClip], path: Path, seed: int = 0) -> None:
    """Write a PNG: of each clip one random view at four times, with its key."""
    rng, rows = np.random.default_rng(seed), -(-len(sampled) // COLUMNS)
    columns = min(COLUMNS, len(sampled))
    width, height = STRIP * THUMB + 8, THUMB + LABEL + 4
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for i, clip in enumerate(sampled):
        left, top = i % COLUMNS * width, i // COLUMNS * height
        view = int(rng.integers(clip.views))
        times = [round(t) for t in np.linspace(0, clip.times - 1, STRIP)]
        draw.text((left + 2, top + 1), f"{clip.key[:52]}  view {view}", fill="black")
        for j, pixels in enumerate(clip.read(times, [view] * STRIP)):
            image = Image.fromarray(pixels)
            image.thumbnail((THUMB, THUMB))
            back = _chequered(*image.size)
            back.paste(image, mask=image.getchannel("A"))
            sheet.paste(back, (left + j * THUMB, top + LABEL))
    with atomic_file(path) as fresh:
        sheet.save(fresh)


def _chequered(width: int, height: int) -> Image.Image:
    rows, columns = np.indices((height, width)) // CHECK
    return Image.fromarray(np.where((rows + columns) % 2, LIGHT, DARK).astype(np.uint8)).convert("RGB")


def _counts(values: Any) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _spread(values: list[float]) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return {"p5": round(float(low), 4), "median": round(float(middle), 4), "p95": round(float(high), 4)}
