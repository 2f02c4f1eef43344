"""The Gaussians that a viewer shows: one time, without what its controls hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chronosplat.edit import Crop, Edit, Floaters
from chronosplat.scenes import FAINT, Gaussians3D, Scene, gaussians_at, quats_to_matrices

TRIM = 0.005  # share of the Gaussians that the bounds leave out on either side


@dataclass(frozen=True)
class Filter:
    """What is hidden.

    Attributes:
        opacity: fainter Gaussians are hidden. scale: factor on all sizes.
        box: lowest and highest corner in the capture's world; None shows all.
    """

    opacity: float = FAINT
    scale: float = 1.0
    box: tuple[Sequence[float], Sequence[float]] | None = None

    def keep(self, found: Gaussians3D) -> Tensor:
        """Return which of N Gaussians are shown, bool [N]."""
        shown = found.opacities >= self.opacity
        if self.box is not None:
            means = found.world.points(found.means)
            low, high = (torch.tensor(corner).to(means) for corner in self.box)
            shown &= ((means >= low) & (means <= high)).all(-1)
        return shown

    def edits(self) -> list[Edit]:
        """Return the edits that remove what is hidden at all times; sizes are display only."""
        faint: list[Edit] = [Floaters(opacity=self.opacity, cluster=0.0)] if self.opacity > FAINT else []
        return faint if self.box is None else [*faint, Crop(box=(*_corner(self.box[0]), *_corner(self.box[1])))]


def _corner(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


def splats_at(scene: Scene, seconds: float, hidden: Filter) -> tuple[Any, Any, Any, Any]:
    """Return the shown Gaussians in the scene's own world as numpy arrays.

    Returns:
        Means [N, 3], covariances [N, 3, 3], colours [N, 3] in [0, 1], opacities [N, 1].
    """
    with torch.no_grad():
        found = gaussians_at(scene, seconds)
        keep = hidden.keep(found)
        found = found.map(lambda t: t[keep].float().cpu())
        axes = quats_to_matrices(found.quats) * (hidden.scale * found.scales)[:, None, :]
        covariances = axes @ axes.transpose(1, 2)
    arrays = found.means, covariances, found.colors.clamp(0, 1), found.opacities[:, None].clamp(0, 1)
    return arrays[0].numpy(), arrays[1].numpy(), arrays[2].numpy(), arrays[3].numpy()


def bounds(scene: Scene, times: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the corners [3] of a box around nearly all visible Gaussians at the first, middle and last time, in the scene's own world."""
    some = sorted({times[0], times[len(times) // 2], times[-1]})
    frames = [gaussians_at(scene, seconds) for seconds in some]
    points = torch.cat([frame.means[frame.opacities > 0.1] for frame in frames]).detach().float().cpu()
    points = points if len(points) else frames[0].means.detach().float().cpu()
    ordered = points.sort(dim=0).values
    skip = int(TRIM * len(ordered))
    low, high = ordered[skip], ordered[len(ordered) - 1 - skip]
    margin = 0.1 * (high - low).max().clamp_min(1e-3)
    return low - margin, high + margin
