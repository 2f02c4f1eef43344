"""Cross-fades of frames: one set of Gaussians vanishes while another appears, and what both cover stays covered."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

FAINT = 1 / 255  # renderers skip Gaussians that are less opaque


def faded(opacities: Tensor, weight: Tensor) -> Tensor:
    """Return ``1 - (1 - opacity)^weight``: two copies whose weights sum to one cover as much as the original."""
    return 1 - (1 - opacities.clamp(max=1 - 1e-6)) ** weight


def crossfaded(splats: Mapping[str, Tensor], times: Tensor, fade: float) -> tuple[dict[str, Tensor], Tensor]:
    """Blend the end of a sequence into its beginning.

    Args:
        splats: fields [T, N, ...]. times: [T] seconds, increasing. fade: seconds.

    Returns:
        Fields [S, 2 N, ...] and times [S] that begin at the first given time: the frames from ``fade`` on, of which the last ones
        are blended with those before. The first and the last frame hold the same visible Gaussians.
    """
    start = min(int((times < times[0] + fade - 1e-9).sum()), len(times) - 1)
    kept, period = times[start:], float(times[-1] - times[start])
    weight = (1 - (kept[-1] - kept) / max(min(fade, period), 1e-12)).clamp(0, 1)  # of the beginning
    weight[-1] = 1.0
    early = (times[None] - (kept - period)[:, None]).abs().argmin(1)
    fields = {name: torch.cat([value[start:], value[early]], 1) for name, value in splats.items()}
    count = splats["opacities"].shape[1]
    shares = torch.stack([1 - weight, weight], 1).repeat_interleave(count, 1).to(fields["opacities"])
    old = fields["opacities"]
    fields["opacities"] = torch.where(shares == 1, old, faded(old, shares))
    return fields, kept - (times[start] - times[0])
