"""viewer.html: a page that plays the scene (docs/viewer.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chronosplat.export.registry import Format, Job, register
from chronosplat.scenes import Scene, to_sequence
from chronosplat.viewer import write_page


@dataclass(frozen=True)
class PageOptions:
    """Options of the page."""

    title: str = ""
    """The page's title; the scene's file name by default."""
    background: str = "white"
    """white, black, gray or #rrggbb."""


def write(scene: Scene, path: Path, job: Job) -> None:
    """Write a page."""
    options: PageOptions = job.options
    if scene.num_frames not in (None, 1, len(job.times)):  # times were chosen
        scene = to_sequence(scene, job.times)
    frames, title = len(job.times), options.title or job.name
    write_page(scene, path, title=title, background=options.background, frames=frames, events=job.events)


register(Format(".html", "a page that plays the scene in any browser", "scene", write, options=PageOptions, group="page", up="capture"))
