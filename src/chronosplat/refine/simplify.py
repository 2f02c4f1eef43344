"""Views that show less than they seem to: cameras that all look the same way, and an object that does not move."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.captures import Views
from chronosplat.events import Events, info
from chronosplat.refine.config import RefineConfig
from chronosplat.refine.coverage import camera_numbers, one_direction

BLOCKS, LEAST_SIZE = 24, 4  # along the longer side, and pixels of each at least: noise averages out, half a pixel of motion does not
STILL = 0.04  # largest difference of a block's mean colour, in [0, 1]


def simplified(views: Views, config: RefineConfig, events: Events) -> Views:
    """Reduce views to what they show, with a notice of each change. Applied twice, it changes nothing more.

    * Cameras that all look the same way: the views of one camera, where it sees at least half of the timestamps. A solid body
      of it shows a side view that blended cameras would leave empty.
    * An object that does not move: one timestamp for all views, so that no motion is fitted to noise; of one camera, one view.
    """
    if config.strategy in ("auto", "solid"):
        views = _one_camera(views, events)
    if len(views.times.unique()) > 1 and is_still(views):
        text = f"the object does not move: its {len(views.times.unique())} timestamps are taken as one"
        events.notice(info("still", text))
        one = int(camera_numbers(views.cameras, views.times).max()) == 0
        views = replace(views, times=torch.full_like(views.times, float(views.times.min())))
        return views[[0]] if one else views
    return views


def is_still(views: Views) -> bool:
    """Whether each camera's images are equal but for noise, given that cameras with several images see every timestamp."""
    numbers = camera_numbers(views.cameras, views.times)
    seen: list[Tensor] = []
    for camera in range(int(numbers.max()) + 1):
        which = (numbers == camera).nonzero()[:, 0]
        if len(which) < 2:
            continue
        seen.append(views.times[which])
        first = _blocks(views[which[:1]])
        if any(float((_blocks(views[view[None]]) - first).abs().max()) > STILL for view in which[1:]):
            return False
    return bool(seen) and len(torch.cat(seen).unique()) == len(views.times.unique())


def _blocks(view: Views) -> Tensor:
    """A view's mean colours on white and alpha in blocks, [1, 4, h, w]."""
    channels = torch.cat([view.on_white(), view.alphas], -1).float().permute(0, 3, 1, 2)
    size = max(LEAST_SIZE, round(max(channels.shape[2:]) / BLOCKS))
    return F.avg_pool2d(channels, size, ceil_mode=True)


def _one_camera(views: Views, events: Events) -> Views:
    numbers = camera_numbers(views.cameras, views.times)
    if int(numbers.max()) == 0 or not one_direction(views.cameras) or not bool((views.rgba8()[..., 3] < 128).any()):
        return views
    best = int(numbers.bincount().argmax())
    if 2 * int((numbers == best).sum()) < len(views.times.unique()):
        return views
    chosen, others = views[(numbers == best).nonzero()[:, 0]], int((numbers != best).sum())
    text = f"all cameras look the same way: camera {best} alone makes a solid body, {others} of {len(views)} views are left out"
    events.notice(info("cameras-left-out", text, "{strategy} uses all", strategy="gentle"))
    return chosen
