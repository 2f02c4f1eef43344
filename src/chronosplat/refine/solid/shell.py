"""The rest frame as a closed surface of splats: one per surface voxel of the inflated silhouette, with guessed back colours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.refine.solid.grids import blur, diffuse, erode, median

OUTLINE = 2.5  # pixels from the outline whose colours continue onto the back
FEATURES = 5  # pixels: eyes and mouths, which the back does not have, are smaller than twice this
WALL, SOFT = 1.5, 0.3  # pixels below the surface where the front ends, and how softly
SMOOTH = 2.0  # pixels: blur of the colours of walls
TURN = 0.3  # of the half thickness, behind the middle plane: where sides become back
MIRRORED = 0.3  # of the back's colours; the rest is continued from the outline


@dataclass(frozen=True)
class Shell:
    """N surface points over the P pixels of a silhouette.

    Attributes:
        uvz: [N, 3] pixel coordinates (centres at +0.5) and depth in pixels, 0 in the middle plane, negative in front.
        colors: [N, 3].
        columns: [N] int64, the pixel of each point. pixels: [P, 2] its x and y, int64.
        front: [N] in [0, 1]: how much a point shows what the camera sees.
    """

    uvz: Tensor
    colors: Tensor
    columns: Tensor
    pixels: Tensor
    front: Tensor


def build_shell(image: Tensor, alpha: Tensor, height: Tensor) -> Shell:
    """Build the surface of a silhouette.

    Args:
        image: [H, W, 3] straight colours. alpha: [H, W]; the silhouette is where it exceeds 0.5.
        height: [H, W] half the thickness.
    """
    mask = alpha > 0.5
    y, x, layer, layers = surface_voxels(mask, height)
    z, thickness = layers[layer], height[y, x]
    top = (z.abs() == thickness.floor()) & (thickness >= 1)
    z = torch.where(top, z.sign() * thickness, z)  # onto the surface itself, which closes seams
    seen = front_colors(image, alpha)
    # what the camera sees ends below the surface; the walls of steep outlines would repeat one pixel's colour along their depth
    front = torch.sigmoid((WALL - z - thickness) / SOFT)
    behind = torch.sigmoid((z - TURN * thickness) / (0.15 * thickness + SOFT))[:, None]
    sides = (1 - behind) * blur(seen, mask.float(), SMOOTH)[y, x] + behind * back_colors(seen, mask)[y, x]
    colors = front[:, None] * seen[y, x] + (1 - front[:, None]) * sides
    numbers = torch.cumsum(mask.flatten().long(), 0).view(mask.shape) - 1
    rows, columns = mask.nonzero().unbind(1)
    return Shell(
        torch.stack([x + 0.5, y + 0.5, z], -1), colors.clamp(0, 1), numbers[y, x], torch.stack([columns, rows], -1), front
    )


def surface_voxels(mask: Tensor, height: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Voxels of the solid |z| <= height that have an open neighbour: rows, columns and layers [N], and the layers' depths."""
    reach = int(height.max()) + 2
    layers = torch.arange(-reach, reach + 1).to(height)
    solid = ((layers.abs() <= height[..., None]) & mask[..., None]).float()
    padded = F.pad(solid, (1, 1, 1, 1, 1, 1))
    neighbours = [
        padded[2:, 1:-1, 1:-1], padded[:-2, 1:-1, 1:-1], padded[1:-1, 2:, 1:-1], padded[1:-1, :-2, 1:-1],
        padded[1:-1, 1:-1, 2:], padded[1:-1, 1:-1, :-2],
    ]  # fmt: skip
    exposed = torch.stack(neighbours).amin(0) < 0.5
    y, x, layer = ((solid > 0.5) & exposed).nonzero().unbind(1)
    return y, x, layer, layers


def front_colors(image: Tensor, alpha: Tensor) -> Tensor:
    """Colours [H, W, 3] of the silhouette, those of the outline continued from inside: mattes leave background there."""
    inner = F.avg_pool2d(F.pad(alpha, (1, 1, 1, 1))[None, None], 3, 1)[0, 0] > 0.97
    trust = (inner.float() + 1e-3 * alpha) * (alpha > 0.5)
    return torch.where(inner[..., None], image, blur(image, trust, 1.0))


def back_colors(seen: Tensor, mask: Tensor) -> Tensor:
    """Guess the back [H, W, 3]: the front without its small features, mixed with the outline's colours continued inward."""
    outline = mask & ~(erode(mask, round(OUTLINE)) > 0.5)
    plain = blur(median(seen, mask, FEATURES), mask.float(), 1.0)
    return MIRRORED * plain + (1 - MIRRORED) * diffuse(seen, outline, mask)
