"""Remove floaters: Gaussians that are faint, detached from the object, or contradicted by the input views."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.edit.clusters import cluster_shares
from chronosplat.edit.contribution import contributions
from chronosplat.edit.registry import Edit, edit_kind
from chronosplat.edit.sampled import FIVE, NINETY_FIVE, bounds, has_frames, sampled, sampled_times
from chronosplat.edit.views import input_views
from chronosplat.events import Events, info
from chronosplat.scenes import Editable, Scene

UNSEEN = 1e-3  # blending weight in pixels over all views, below which a Gaussian is invisible
OUTSIDE = 0.5  # share of a Gaussian's blending weight on the views' background from which it is a floater


@edit_kind("floaters")
@dataclass(frozen=True)
class Floaters(Edit):
    """Remove Gaussians that are faint or detached, and with views also those that the views do not show.

    A Gaussian is judged at the time at which it is most opaque, in a sequence in every frame.
    """

    opacity: float = 0.02
    """Remove Gaussians that are never more opaque than this."""
    cluster: float = 0.01
    """Remove clusters that hold less than this share of all opacity."""
    gap: float = 0.05
    """Cells whose edges are this share of the scene's diagonal form one cluster where they touch."""
    views: str = ""
    """The capture of the scene: remove what none of its views shows, and what lies on their background for the most part."""

    def check(self) -> None:
        """Refuse shares outside [0, 1)."""
        for name in ("opacity", "cluster"):
            if not 0 <= getattr(self, name) < 1:
                raise self.wrong(name, "a number from 0 to below 1")
        if not 0 < self.gap < 1:
            raise self.wrong("gap", "a number between 0 and 1")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Remove the floaters."""
        low, high = bounds(scene, FIVE, NINETY_FIVE)
        stills = [(still.means, still.opacities) for still in sampled(scene)]
        means, opacities = (torch.stack(parts) for parts in zip(*stills, strict=True))
        if not has_frames(scene):
            opacities, best = opacities.max(0, keepdim=True)
            means = means.gather(0, best[..., None].expand(1, -1, 3))
        side = self.gap * float((high - low).norm())
        faint = opacities < self.opacity
        detached = torch.stack([self._detached(*parts, side) for parts in zip(means, opacities, ~faint, strict=True)]) & ~faint
        unseen = self._unseen(scene) & ~faint & ~detached if self.views else torch.zeros_like(faint)
        counted = {"faint": faint, "detached": detached, "not in the views": unseen}
        # frames may be filled up with invisible Gaussians, which are no floaters
        listed = ", ".join(f"{int((some & (opacities > 0)).sum())} {name}" for name, some in counted.items())
        events.notice(info("floaters", f"floaters: of {int((opacities > 0).sum())} Gaussians, {listed}"))
        keep = ~(faint | detached | unseen)
        return scene.select(keep if has_frames(scene) else keep[0])

    def _detached(self, points: Tensor, opacities: Tensor, seen: Tensor, side: float) -> Tensor:
        """Which of N Gaussians are in small clusters."""
        detached = torch.zeros_like(seen)
        if side > 0 and bool(seen.any()):
            detached[seen] = cluster_shares(points[seen], opacities[seen], side) < self.cluster
        return detached

    def _unseen(self, scene: Scene) -> Tensor:
        """Which Gaussians [S, N] the views do not show; frames without a view are not judged."""
        views = input_views(self.views)
        seen, outside = contributions(scene, views.cameras, views.times, 1 - views.alphas[..., 0])
        unseen = torch.atleast_2d((seen < UNSEEN) | (outside > OUTSIDE * seen))
        if has_frames(scene):
            frames = torch.tensor(sampled_times(scene), dtype=torch.float64)
            nearest = (frames[None] - views.times[:, None].cpu()).abs().argmin(1)
            judged = torch.zeros(len(frames), dtype=torch.bool)
            judged[nearest] = True
            unseen = unseen & judged.to(unseen.device)[:, None]
        return unseen
