"""Videos of a turntable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chronosplat.export.registry import Format, Job, register
from chronosplat.export.turntable import turntable_frames
from chronosplat.export.video import write_video
from chronosplat.scenes import Scene


@dataclass(frozen=True)
class TurntableOptions:
    """Options of videos."""

    frames: int = 72
    """Number of frames."""
    size: int = 256
    """Pixels."""
    fps: float = 24.0
    """Frames per second."""


def write(scene: Scene, path: Path, job: Job) -> None:
    """Write a turntable while time runs back and forth."""
    options: TurntableOptions = job.options
    write_video(turntable_frames(scene, options.frames, options.size, device=job.device), path, options.fps)


register(*(Format(suffix, "turntable video", "scene", write, options=TurntableOptions, group="video") for suffix in (".mp4", ".webm")))
