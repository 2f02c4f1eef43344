"""Renderings: videos, animations, images and contact sheets."""

from __future__ import annotations

from pathlib import Path

from chronosplat.export.images import RenderOptions
from chronosplat.export.images.write import FORMATS, NUMBERED, ImageFormat, write_as
from chronosplat.export.registry import Format, Job, register
from chronosplat.scenes import Scene


def _format(entry: ImageFormat) -> Format:
    """An image format in the registry of exports; cameras of files are in the capture's world."""

    def write(scene: Scene, path: Path, job: Job) -> None:
        write_as(entry, scene, path, job.options, job.events, job.device)

    def write_numbered(scene: Scene, pattern: Path, job: Job) -> None:
        write_as(NUMBERED, scene, pattern, job.options, job.events, job.device)

    numbered = write_numbered if entry.suffix == NUMBERED.suffix else None
    return Format(entry.suffix, entry.about, "scene", write, options=RenderOptions, group="render", up="capture", write_numbered=numbered)


register(*map(_format, FORMATS.values()))
