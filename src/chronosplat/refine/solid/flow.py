"""Optical flow between consecutive frames (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016), by OpenCV.

It ties points to each other where a rendering's gradient is blind: inside a surface of one colour, and beyond a few pixels.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.refine.solid.frames import Frames

LARGEST = 256  # pixels: smaller frames are enlarged
RETURN = 1.5  # pixels by which flow there and back may differ

UNLIKE = 0.08  # brightness by which a point may change


@dataclass(frozen=True)
class Flow:
    """Flow from each of M frames to the next.

    Attributes:
        moves: [M - 1, 2, H, W] in pixels, x and y. trust: [M - 1, 1, H, W] in [0, 1].
    """

    moves: Tensor
    trust: Tensor

    def at(self, which: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
        """Flow [V, n, 2] and trust [V, n] at pixel coordinates [V, n, 2] of the frames ``which`` [V]."""
        size = uv.new_tensor([self.moves.shape[3], self.moves.shape[2]])
        found = F.grid_sample(torch.cat([self.moves, self.trust], 1)[which], (2 * uv / size - 1)[:, :, None], align_corners=False)
        return found[:, :2, :, 0].transpose(1, 2), found[:, 2, :, 0]


def has_flow() -> bool:
    """Whether OpenCV is installed."""
    return importlib.util.find_spec("cv2") is not None


def optical_flow(frames: Frames) -> Flow:
    """Compute the flow between consecutive frames."""
    import cv2

    height, width = frames.alphas.shape[1:]
    factor = max(1.0, LARGEST / max(height, width))
    large = (round(width * factor), round(height * factor))
    shown = (frames.images * frames.alphas[..., None] + 0.5 * (1 - frames.alphas[..., None])).clamp(0, 1)
    grays = [cv2.resize(cv2.cvtColor((x * 255).byte().numpy(), cv2.COLOR_RGB2GRAY), large, interpolation=cv2.INTER_CUBIC) for x in shown]
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    moves, trusts = [], []
    for a, b, inside in zip(grays, grays[1:], frames.masks.float(), strict=False):
        # OpenCV allocates the flow; its type stubs do not know that it may be missing
        both_ways = (finder.calc(*pair, None) for pair in ((a, b), (b, a)))  # pyright: ignore[reportCallIssue, reportArgumentType]
        there, back = (torch.from_numpy(np.ascontiguousarray(move)).permute(2, 0, 1)[None] for move in both_ways)
        y, x = torch.meshgrid(torch.arange(large[1]) + 0.5, torch.arange(large[0]) + 0.5, indexing="ij")
        at = torch.stack([x, y], -1)[None] + there.permute(0, 2, 3, 1)
        found = F.grid_sample(back, 2 * at / at.new_tensor(large) - 1, align_corners=False)
        gap = (there + found).norm(dim=1, keepdim=True) / factor
        warped = F.grid_sample(torch.from_numpy(b)[None, None].float(), 2 * at / at.new_tensor(large) - 1, align_corners=False)
        unlike = (warped - torch.from_numpy(a)).abs() / 255
        trust = torch.exp(-((gap / RETURN) ** 2) - (unlike / UNLIKE) ** 2)
        both = F.interpolate(torch.cat([there / factor, trust], 1), size=(height, width), mode="area")
        moves.append(both[0, :2])
        trusts.append(both[0, 2:] * inside)
    return Flow(torch.stack(moves), torch.stack(trusts))
