"""Windows around the silhouettes: steps render what the object covers, and the whole image now and then.

Gaussians outside a window are not seen there, so every EVERY-th step renders whole images: strays stay penalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chronosplat.render import RasterInputs
from chronosplat.render.image_loss import Targets
from chronosplat.shapes import InputError

MARGIN = 8  # pixels around a silhouette
MULTIPLE = 8  # of which a window's size is one
EVERY = 8  # steps from one of whole images to the next
ALPHA = 1 / 255  # of the silhouette


@dataclass(frozen=True)
class Window:
    """The same window size in V images.

    Attributes:
        corners: x and y of the first pixel, V pairs. width, height: pixels.
    """

    corners: list[tuple[int, int]]
    width: int
    height: int

    def apply(self, x: RasterInputs, targets: Targets) -> tuple[RasterInputs, Targets]:
        """Move principal points and targets to the window; views are ordered [scene, view]."""
        shift = torch.tensor(self.corners, dtype=x.Ks.dtype, device=x.Ks.device).view(*x.Ks.shape[:2], 2)
        Ks = x.Ks.clone()
        Ks[..., :2, 2] -= shift
        return replace(x, Ks=Ks, width=self.width, height=self.height), replace(targets, corners=self.corners)


@dataclass(frozen=True)
class Crop:
    """The silhouettes' boxes in F images.

    Attributes:
        boxes: [F, 4] int64 first column and row, and those after the last, margins included.
        width, height: of the images.
    """

    boxes: Tensor
    width: int
    height: int

    @staticmethod
    def around(alphas: Tensor, margin: int = MARGIN) -> Crop:
        """Find the boxes.

        Args:
            alphas: [F, H, W, 1] float, or [F, H, W, 4] uint8 RGBA.
            margin: pixels added on all sides, as far as the image goes.

        Raises:
            InputError: another shape or type.
        """
        is_bytes = alphas.dtype == torch.uint8
        if alphas.dim() != 4 or alphas.shape[-1] != (4 if is_bytes else 1):
            raise InputError(f"alphas: expected [F, H, W, 1], or [F, H, W, 4] uint8; got {list(alphas.shape)} {alphas.dtype}")
        height, width = alphas.shape[1:3]
        found = []
        for image in alphas:  # one at a time, because of memory
            solid = image[..., -1] > (0 if is_bytes else ALPHA)
            found.append([*_span(solid.any(0), margin), *_span(solid.any(1), margin)])
        boxes = torch.tensor(found, dtype=torch.long).view(-1, 4)
        return Crop(boxes[:, (0, 2, 1, 3)], width, height)

    def at(self, chosen: Sequence[int], step: int) -> Window:
        """Return the windows of a step: whole images in every EVERY-th."""
        return self.whole(len(chosen)) if step % EVERY == EVERY - 1 else self.window(chosen)

    def whole(self, count: int) -> Window:
        """Return whole images as windows."""
        return Window([(0, 0)] * count, self.width, self.height)

    def window(self, chosen: Sequence[int]) -> Window:
        """Return the smallest window size that holds each of the chosen boxes, and where it lies in each image."""
        boxes = self.boxes[list(chosen)]
        low, high = boxes[:, :2], boxes[:, 2:]
        full = torch.tensor([self.width, self.height])
        size = (high - low).amax(0).clamp_min(1)
        size = torch.minimum((size + MULTIPLE - 1) // MULTIPLE * MULTIPLE, full)
        corners = torch.minimum(((low + high - size) // 2).clamp_min(0), full - size)
        return Window([(int(x), int(y)) for x, y in corners.tolist()], int(size[0]), int(size[1]))


def _span(solid: Tensor, margin: int) -> tuple[int, int]:
    """Return the first index where a mask [L] holds and the one after the last, with margin; the middle where it never holds."""
    where = solid.nonzero()
    if not len(where):
        return len(solid) // 2, len(solid) // 2
    return max(int(where[0]) - margin, 0), min(int(where[-1]) + 1 + margin, len(solid))
