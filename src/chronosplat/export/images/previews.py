"""The frames of the preview that a reconstruction writes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chronosplat.cameras import space_time_path, turntable
from chronosplat.export.images.passes import Setting, composed, rendered, widened
from chronosplat.export.images.shots import Shots, own_shots
from chronosplat.scenes import Scene

TURN_SECONDS, STILL_FRAMES = 8.0, 72  # of a sequence's turntable


def turntable_frames(
    scene: Scene,
    frames: int,
    size: int,
    loops: int = 2,
    input_size: int | None = None,
    device: torch.device | str | None = None,
) -> Iterator[Tensor]:
    """Images [H, W, 3] of a turntable while time runs back and forth; always around the scene's own +Y; rendered a few at a time.

    Args:
        input_size: pixels of the images that a pixel-aligned scene was predicted from; larger renderings widen the splats in proportion.
        device: where to render; None: where the scene is.
    """
    cameras, times = space_time_path(frames, scene.seconds or (0.0, 0.0), loops, size)
    return _on_white(scene, own_shots(scene, cameras, times.tolist()), input_size, device)


def sequence_frames(
    scene: Scene,
    size: int,
    input_size: int | None = None,
    device: torch.device | str | None = None,
    frames: int = STILL_FRAMES,
) -> Iterator[Tensor]:
    """Images [H, W, 3] of a scene as it plays, one per time step, while the camera circles it; rendered a few at a time.

    A turn takes about eight seconds; a shorter scene gets one turn. A scene of one time step is shown from 72 sides.

    Args:
        input_size, device: see turntable_frames. frames: time steps of a scene that is continuous in time.
    """
    times = scene.timestamps(frames)
    times = times if len(times) > 1 else (times or [0.0]) * STILL_FRAMES
    cameras = turntable(len(times), turns=max(1, round((times[-1] - times[0]) / TURN_SECONDS)), size=size)
    return _on_white(scene, own_shots(scene, cameras, times), input_size, device)


def _on_white(scene: Scene, shots: Shots, input_size: int | None, device: torch.device | str | None) -> Iterator[Tensor]:
    setting = Setting(widened(shots.cameras.height, input_size), device)
    return (composed(out, cameras, ("rgb",), torch.ones(3), setting) for out, cameras in rendered(scene, shots, setting))
