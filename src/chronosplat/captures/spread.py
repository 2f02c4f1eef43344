"""Choose a few of many views, spread over directions and times."""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.cameras import Cameras


def spread_views(cameras: Cameras, times: Tensor, limit: int) -> list[int]:
    """Choose up to ``limit`` views, spread over directions and times.

    The first view is of the first timestamp, the second of the last one. Each further view is of the camera and the part of
    the time span that are used least so far; of several, it is the one farthest from all chosen views in direction and time.

    Args:
        cameras: F cameras; poses that are equal are one camera. times: [F] seconds.

    Returns:
        Rising indices; all views where there are no more than ``limit``. The choice depends on nothing random.
    """
    if len(cameras) <= limit:
        return list(range(len(cameras)))
    stamps, ranks = torch.unique(times.double().cpu(), return_inverse=True)
    parts = ranks * min(len(stamps), limit) // len(stamps)
    poses = torch.unique(cameras.viewmats.double().cpu(), dim=0, return_inverse=True)[1]
    directions = torch.nn.functional.normalize(cameras.forwards.double().cpu(), dim=-1)
    span = float(stamps[-1] - stamps[0]) or 1.0
    places = torch.cat([directions, 2 * times.double().cpu()[:, None] / span], 1)  # opposite directions, and both ends of time: 2 apart
    used_parts, used_poses = torch.zeros(len(parts)), torch.zeros(len(poses))
    nearest = torch.full((len(places),), torch.inf, dtype=torch.float64)
    chosen: list[int] = []
    for k in range(limit):
        allowed = ranks == (0 if k == 0 else len(stamps) - 1) if k < 2 else torch.ones(len(places), dtype=torch.bool)
        allowed[chosen] = False
        used = used_parts[parts] + used_poses[poses]
        allowed &= used == used[allowed].min()
        best = int(torch.where(allowed, nearest, -1.0).argmax())
        chosen.append(best)
        used_parts[parts[best]] += 1
        used_poses[poses[best]] += 1
        nearest = torch.minimum(nearest, (places - places[best]).norm(dim=1))
    return sorted(chosen)
