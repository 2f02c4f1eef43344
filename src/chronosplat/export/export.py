"""``export(scene, path)``: the format by the path's suffix, from a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from chronosplat.cameras import Similarity, space_time_path, turntable
from chronosplat.export.ply import write_ply
from chronosplat.export.sequence import write_sequence
from chronosplat.export.video import write_video
from chronosplat.render import render
from chronosplat.scenes import Scene, save_scene
from chronosplat.shapes import InputError

TURN_SECONDS, STILL_FRAMES = 8.0, 72  # of a sequence's turntable
EPS2D = 0.3  # the renderer's default blur in square pixels
# rotations that take the normalised world's +Y to the requested up axis
UPS = {
    "y": torch.eye(3, dtype=torch.float64),
    "z": torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64),
    "y-down": torch.diag(torch.tensor([1.0, -1, -1], dtype=torch.float64)),
}


@dataclass(frozen=True)
class ExportOptions:
    """Options that formats may use.

    Attributes:
        frames: time steps of a PLY sequence, or frames of a video. size: pixels of a video. device: where a video is rendered.
    """

    frames: int = 24
    size: int = 256
    device: str | None = None


@dataclass(frozen=True)
class ExportFormat:
    """One format: the suffix of its paths ("" for a folder), a short description, and its writer."""

    suffix: str
    about: str
    write: Callable[[Scene, Path, ExportOptions], None]


def _write_folder(scene: Scene, path: Path, options: ExportOptions) -> None:
    for _ in write_sequence(scene, path, options.frames):
        pass


def _write_video(scene: Scene, path: Path, options: ExportOptions) -> None:
    write_video(turntable_frames(scene, options.frames, options.size, device=options.device), path)


FORMATS: dict[str, ExportFormat] = {
    entry.suffix: entry
    for entry in (
        ExportFormat(".ply", "one file (a 4D PLY if the scene moves)", lambda scene, path, options: write_ply(scene, path)),
        ExportFormat("", "a folder: PLY sequence", _write_folder),
        ExportFormat(".mp4", "turntable video", _write_video),
        ExportFormat(".webm", "turntable video", _write_video),
        ExportFormat(".safetensors", "native scene file", lambda scene, path, options: save_scene(scene, path)),
    )
}


def export(scene: Scene, path: str | Path, up: str = "capture", frames: int = 24, size: int = 256, device: str | None = None) -> Path:
    """Write a scene in the format that the path's suffix names.

    Args:
        path: a suffix of FORMATS; a trailing slash, or no suffix, means a PLY sequence.
        up: ``capture`` keeps the capture's world; ``y``, ``z`` or ``y-down`` (which most splat viewers expect) centre the
            scene at the look-at point and turn its up axis there, in the capture's units.
        frames, size, device: see ExportOptions.

    Raises:
        InputError: an unknown format or up axis, or a scene that the format cannot hold.
    """
    is_folder = str(path).endswith(("/", "\\")) or (Path(path).suffix == "" and not Path(path).is_file())
    path = Path(path)
    found = FORMATS.get("" if is_folder else path.suffix or "none")
    if found is None:
        known = ", ".join(f"{entry.suffix or 'NAME/'} ({entry.about})" for entry in FORMATS.values())
        raise InputError(f"{path}: unknown format {path.suffix!r}; known: {known}")
    found.write(oriented(scene, up), path, ExportOptions(frames, size, device))
    return path


def oriented(scene: Scene, up: str) -> Scene:
    """The scene with its world turned so that the normalised +Y points to ``up``."""
    if up == "capture":
        return scene
    if up not in UPS:
        raise InputError(f"up: expected capture, {', '.join(UPS)}; got {up!r}")
    return scene.with_world(Similarity(scene.world.scale, UPS[up]))


def turntable_frames(
    scene: Scene,
    frames: int,
    size: int,
    loops: int = 2,
    input_size: int | None = None,
    device: torch.device | str | None = None,
) -> list[Tensor]:
    """Images [H, W, 3] of a turntable while time runs back and forth; always around the normalised world's +Y.

    Args:
        input_size: pixels of the images that a pixel-aligned scene was predicted from. Larger renderings then widen the
            screen-space blur in proportion: the scene has no finer detail, and gaps would show between the splats.
        device: where to render; None: where the scene is.
    """
    cameras, times = space_time_path(frames, scene.seconds or (0.0, 0.0), loops, size)
    eps2d = EPS2D * max(1.0, size / (input_size or size)) ** 2
    return list(render(scene.with_world(Similarity()), cameras, times, eps2d=eps2d, device=device).rgb.detach())


def sequence_frames(
    scene: Scene,
    size: int,
    input_size: int | None = None,
    device: torch.device | str | None = None,
    frames: int = STILL_FRAMES,
) -> Iterator[Tensor]:
    """Images [H, W, 3] of a scene as it plays, one per time step, while the camera circles it; rendered one at a time.

    A turn takes about eight seconds; a shorter scene gets one turn. A scene of one time step is shown from 72 sides.

    Args:
        input_size, device: see turntable_frames. frames: time steps of a scene that is continuous in time.
    """
    times = scene.timestamps(frames)
    times = times if len(times) > 1 else (times or [0.0]) * STILL_FRAMES
    cameras = turntable(len(times), turns=max(1, round((times[-1] - times[0]) / TURN_SECONDS)), size=size)
    eps2d = EPS2D * max(1.0, size / (input_size or size)) ** 2
    local = scene.with_world(Similarity())
    for index, seconds in enumerate(times):
        yield render(local, cameras[index], [seconds], eps2d=eps2d, device=device).rgb[0].detach()
