"""One door to all exports: the format by its suffix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from chronosplat.cameras import Similarity, space_time_path, turntable
from chronosplat.export.ply import write_ply
from chronosplat.export.sequence import write_sequence
from chronosplat.export.video import write_video
from chronosplat.gaussians import Gaussians3D, GaussianSequence, Scene, StoredSequence, save_scene
from chronosplat.render import render
from chronosplat.shapes import InputError

TURN_SECONDS, STILL = 8.0, 72  # of a sequence's pictures
EPS2D = 0.3  # the renderer's usual blur in square pixels
# the rotation that takes the normalised world's +Y to the asked-for up
UPS = {
    "y": torch.eye(3, dtype=torch.float64),
    "z": torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64),
    "y-down": torch.diag(torch.tensor([1.0, -1, -1], dtype=torch.float64)),
}
FORMATS = ".ply (one file; a moving cloud as 4D PLY), a folder ending in / (PLY sequence), .mp4, .webm, .safetensors"


def export(scene: Scene, path: str | Path, up: str = "capture", frames: int = 24, size: int = 256) -> Path:
    """Write a scene in the format that the path's suffix names.

    Args:
        path: see FORMATS; a trailing slash, or no suffix, asks for a PLY sequence.
        up: ``capture`` keeps the capture's world; ``y``, ``z`` or ``y-down`` (what most splat viewers take for upright)
            centre the scene at the look-at point and turn its up there, in the capture's units.
        frames: moments of a PLY sequence, or frames of a video.
        size: pixels of a video.

    Raises:
        InputError: an unknown format or up, or a scene that the format cannot hold.
    """
    text, path = str(path), Path(path)
    scene = oriented(scene, up)
    if text.endswith(("/", "\\")) or (path.suffix == "" and not path.is_file()):
        for _ in write_sequence(scene, path, frames):
            pass
    elif path.suffix == ".ply":
        if isinstance(scene, GaussianSequence):
            raise InputError(f"{path}: a sequence does not fit into one PLY; give a folder: {path.with_suffix('')}/")
        write_ply(scene, path)
    elif path.suffix in (".mp4", ".webm"):
        write_video(turntable_pictures(scene, frames, size), path)
    elif path.suffix == ".safetensors":
        save_scene(scene, path)
    else:
        raise InputError(f"{path}: unknown format {path.suffix!r}; known: {FORMATS}")
    return path


def oriented(scene: Scene, up: str) -> Scene:
    """The scene with its world turned so that the normalised +Y points to ``up``."""
    if up == "capture":
        return scene
    if up not in UPS:
        raise InputError(f"up: expected capture, {', '.join(UPS)}; got {up!r}")
    return replace(scene, world=Similarity(scene.world.scale, UPS[up]))


def turntable_pictures(
    scene: Scene,
    frames: int,
    size: int,
    loops: int = 2,
    input_size: int | None = None,
    device: torch.device | str | None = None,
) -> list[torch.Tensor]:
    """Pictures [H, W, 3] of a turntable in space while time runs to and fro; always around the normalised world's +Y.

    Args:
        input_size: pixels of the pictures that a pixel-aligned scene was predicted from. Larger pictures then widen the
            screen-space blur in proportion, since the scene has no finer detail; without it gaps show between the splats.
        device: where to render; None: where the scene is.
    """
    local = replace(scene, world=Similarity())
    seconds = (0.0, 0.0) if isinstance(scene, Gaussians3D) else scene.seconds
    cameras, times = space_time_path(frames, seconds, loops, size)
    moments = None if isinstance(scene, Gaussians3D) else times
    zoom = max(1.0, size / input_size) if input_size else 1.0
    return list(render(local, cameras, moments, eps2d=EPS2D * zoom**2, device=device).rgb.detach())


def sequence_pictures(
    scene: GaussianSequence | StoredSequence, size: int, input_size: int | None = None, device: torch.device | str | None = None
) -> Iterator[torch.Tensor]:
    """Pictures [H, W, 3] of a sequence as it plays, one a frame, while the camera walks around it; one at a time.

    A turn takes about eight seconds; a clip that is shorter is shown in one turn. A single frame is shown from 72 sides.

    Args:
        input_size, device: see turntable_pictures.
    """
    first, last = scene.seconds
    count = len(scene) if len(scene) > 1 else STILL
    cameras = turntable(count, turns=max(1, round((last - first) / TURN_SECONDS)), size=size)
    zoom = max(1.0, size / input_size) if input_size else 1.0
    for index in range(count):
        gaussians = replace(scene.frame(min(index, len(scene) - 1)), world=Similarity())
        yield render(gaussians, cameras[index], eps2d=EPS2D * zoom**2, device=device).rgb[0].detach()
