"""Corrections of a capture's cameras: poses, and each view's exposure. Off by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity
from chronosplat.refine.config import RefineConfig

POSE_LR, EXPOSURE_LR = 1e-3, 2e-3


class Corrections:
    """Small rigid motions of F cameras, and a gain and an offset of each view's colours; the first camera is fixed."""

    def __init__(self, count: int, config: RefineConfig, device: torch.device) -> None:
        self.twists = torch.zeros(count, 6, device=device, requires_grad=config.cameras)
        self.gains = torch.zeros(count, 3, device=device, requires_grad=config.exposure)
        self.offsets = torch.zeros(count, 3, device=device, requires_grad=config.exposure)

    def groups(self) -> list[dict[str, Any]]:
        """The optimised tensors, for Adam."""
        groups = [([self.twists], POSE_LR), ([self.gains, self.offsets], EXPOSURE_LR)]
        return [{"params": tensors, "initial_lr": lr} for tensors, lr in groups if tensors[0].requires_grad]

    def finite(self) -> bool:
        """Whether all gradients of the optimised tensors are finite."""
        return all(bool(t.grad.isfinite().all()) for t in (self.twists, self.gains, self.offsets) if t.grad is not None)

    def facts(self) -> dict[str, float]:
        """The mean size of the corrections, for a report."""
        found: dict[str, float] = {}
        with torch.no_grad():
            if self.twists.requires_grad:
                moving = max(len(self.twists) - 1, 1)  # the first camera is fixed
                found["cameras_turned_degrees"] = round(float(torch.rad2deg(self.twists[1:, :3].norm(dim=-1).sum() / moving)), 4)
                found["cameras_moved"] = round(float(self.twists[1:, 3:].norm(dim=-1).sum() / moving), 6)
            if self.gains.requires_grad:
                found["exposure_gain"] = round(float(self.gains.abs().mean()), 5)
                found["exposure_offset"] = round(float(self.offsets.abs().mean()), 5)
        return found

    def poses(self, viewmats: Tensor) -> Tensor:
        """Corrected world-to-camera matrices [F, 4, 4]: a rotation about the camera and a shift, both in camera axes."""
        if not self.twists.requires_grad:
            return viewmats
        moving = torch.ones(len(viewmats), 1, device=viewmats.device)
        moving[0] = 0  # else the whole world could drift
        twists = self.twists * moving
        x, y, z = twists[:, :3].unbind(-1)
        o = torch.zeros_like(x)
        skew = torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).view(-1, 3, 3)
        turn = torch.linalg.matrix_exp(skew)
        top = torch.cat([turn @ viewmats[:, :3, :3], turn @ viewmats[:, :3, 3:] + twists[:, 3:, None]], -1)
        return torch.cat([top, viewmats[:, 3:]], 1)

    def cameras(self, cameras: Cameras, world: Similarity) -> Cameras | None:
        """The corrected cameras in the capture's world; None where poses were not optimised.

        Args:
            cameras: in the capture's world. world: from the scene's world to the capture's.
        """
        if not self.twists.requires_grad:
            return None
        local = cameras.transformed(world.inverse())
        with torch.no_grad():
            poses = self.poses(local.viewmats.float().to(self.twists.device)).to(local.viewmats)
        return replace(local, viewmats=poses).transformed(world)

    def exposure(self) -> tuple[Tensor, Tensor] | None:
        """Gains and offsets [F, 3]; None where they were not optimised."""
        return (1 + self.gains.detach().cpu(), self.offsets.detach().cpu()) if self.gains.requires_grad else None

    def exposed(self, rgb: Tensor, chosen: Sequence[int]) -> Tensor:
        """Renderings [V, H, W, 3] with the exposure of their views."""
        if not self.gains.requires_grad:
            return rgb
        which = list(chosen)
        return rgb * (1 + self.gains[which][:, None, None]) + self.offsets[which][:, None, None]
