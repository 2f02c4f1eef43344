"""Images of a scene from a camera that circles it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chronosplat.cameras import Similarity, space_time_path, turntable
from chronosplat.render import render
from chronosplat.scenes import Scene

TURN_SECONDS, STILL_FRAMES = 8.0, 72  # of a sequence's turntable
EPS2D = 0.3  # the renderer's default blur in square pixels


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
