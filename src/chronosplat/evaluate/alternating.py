"""Alternating canonical views: 24 inputs cycling through four views, one per time (4D-LRM, section 4, set-up 1).

The targets are all canonical (view, time) pairs that are not inputs. PSNR is the mean over target pictures, on white,
peak 1 (the papers' protocol, with only the canonical views as targets).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chronosplat.assets import MovingMesh
from chronosplat.cameras import CANONICAL, Cameras, orbit
from chronosplat.captures.views import Views
from chronosplat.data.clips import render_clip

TIMES = 24


@dataclass(frozen=True)
class Split:
    """A capture cut in two: what the model sees, and what it is asked for."""

    inputs: Views
    targets: Views


def alternating_canonical(mesh: MovingMesh, size: int = 128, times: int = TIMES, samples: int = 3) -> Split:
    """Render the set-up from a moving mesh: all of its motion in ``times`` moments."""
    seconds = np.linspace(0, mesh.duration, times)
    cameras = orbit(CANONICAL, 0.0, size)
    rgba = torch.from_numpy(render_clip(mesh, seconds, cameras, samples=samples)).float() / 255  # [T, V, H, W, 4]
    pairs = [(view, t) for t in range(times) for view in range(len(CANONICAL))]
    inputs = [(t % len(CANONICAL), t) for t in range(times)]
    targets = [pair for pair in pairs if pair not in set(inputs)]
    return Split(*(_views(rgba, cameras, torch.from_numpy(seconds), chosen) for chosen in (inputs, targets)))


def _views(rgba: Tensor, cameras: Cameras, seconds: Tensor, pairs: list[tuple[int, int]]) -> Views:
    pictures = torch.stack([rgba[t, view] for view, t in pairs])
    return Views(
        images=pictures[..., :3],
        alphas=pictures[..., 3:],
        cameras=cameras[[view for view, _ in pairs]],
        times=seconds[[t for _, t in pairs]],
        up=torch.tensor([0.0, 1.0, 0.0]),
    )


def nearest_inputs(inputs: Views, targets: Views) -> Tensor:
    """The baseline picture of each target [F, H, W, 3] on white: the input nearest in camera, then in time."""
    camera = (inputs.cameras.viewmats[None] - targets.cameras.viewmats[:, None]).abs().amax((2, 3))
    moment = (inputs.times[None] - targets.times[:, None]).abs()
    order = camera / camera.max().clamp_min(1e-9) * 1e3 + moment / moment.max().clamp_min(1e-9)
    return inputs.on_white()[order.argmin(1)]
