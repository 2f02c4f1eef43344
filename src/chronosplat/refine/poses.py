"""Corrections of what a capture says of its cameras: poses, and each picture's exposure. Only if asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from chronosplat.refine.config import RefineConfig

POSE_STEP, EXPOSURE_STEP = 1e-3, 2e-3


class Corrections:
    """Small rigid motions of F cameras, and a gain and a shift of each picture's colours; the first camera stays put."""

    def __init__(self, count: int, config: RefineConfig, device: torch.device) -> None:
        self.twists = torch.zeros(count, 6, device=device, requires_grad=config.cameras)
        self.gains = torch.zeros(count, 3, device=device, requires_grad=config.exposure)
        self.shifts = torch.zeros(count, 3, device=device, requires_grad=config.exposure)

    def groups(self) -> list[dict[str, Any]]:
        """What is optimised, for Adam."""
        groups = [([self.twists], POSE_STEP), ([self.gains, self.shifts], EXPOSURE_STEP)]
        return [{"params": tensors, "size": size} for tensors, size in groups if tensors[0].requires_grad]

    def facts(self) -> dict[str, float]:
        """How much was corrected, for a report: the mean over pictures."""
        told: dict[str, float] = {}
        with torch.no_grad():
            if self.twists.requires_grad:
                told["cameras_turned_degrees"] = round(float(torch.rad2deg(self.twists[1:, :3].norm(dim=-1).mean())), 4)
                told["cameras_moved"] = round(float(self.twists[1:, 3:].norm(dim=-1).mean()), 6)
            if self.gains.requires_grad:
                told["exposure_gain"] = round(float(self.gains.abs().mean()), 5)
                told["exposure_shift"] = round(float(self.shifts.abs().mean()), 5)
        return told

    def poses(self, viewmats: Tensor) -> Tensor:
        """World-to-camera [F, 4, 4] after the correction: a rotation about the camera and a shift, both in camera axes."""
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

    def exposed(self, rgb: Tensor, chosen: Sequence[int]) -> Tensor:
        """Pictures [V, H, W, 3] as the cameras would have exposed them."""
        if not self.gains.requires_grad:
            return rgb
        which = list(chosen)
        return rgb * (1 + self.gains[which][:, None, None]) + self.shifts[which][:, None, None]
