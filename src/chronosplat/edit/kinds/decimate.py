"""Decimate: keep the Gaussians that contribute most to images."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from chronosplat.edit.contribution import contributions, sampled_views
from chronosplat.edit.registry import Edit, edit_kind
from chronosplat.edit.views import input_views
from chronosplat.events import Events, info
from chronosplat.scenes import Editable, Scene


@edit_kind("decimate")
@dataclass(frozen=True)
class Decimate(Edit):
    """Keep the N Gaussians that contribute most to renderings: blending weights, summed over sampled views and times.

    Of a sequence, each frame keeps its own N.
    """

    count: int
    """Number of Gaussians to keep; of a sequence, in each frame."""
    views: str = ""
    """A capture whose views are sampled; without one, cameras are placed all around the scene."""

    def check(self) -> None:
        """Refuse to keep nothing."""
        if self.count < 1:
            raise self.wrong("count", "at least 1")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Decimate the scene."""
        if self.count >= scene.num_gaussians:
            events.notice(info("decimate", f"decimate: the scene has {scene.num_gaussians} Gaussians, all are kept"))
            return scene
        if self.views:
            views = input_views(self.views)
            cameras, times = views.cameras, views.times
        else:
            cameras, times = sampled_views(scene)
        weights, _ = contributions(scene, cameras, times)
        keep = torch.zeros_like(weights, dtype=torch.bool).scatter(-1, weights.topk(self.count).indices, True)
        left = 1 - float((weights * keep).sum() / weights.sum().clamp_min(1e-30))
        text = (
            f"decimate: {scene.num_gaussians} to {self.count} Gaussians, which leaves out {100 * left:.2g} percent of the blending weights"
        )
        events.notice(info("decimate", text))
        return scene.select(keep)
