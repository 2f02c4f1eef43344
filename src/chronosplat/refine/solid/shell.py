"""The rest frame as a closed surface of splats: one per surface voxel of the inflated silhouette, with guessed back colours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.captures.views import resize_straight
from chronosplat.refine.solid.bones import farthest
from chronosplat.refine.solid.grids import blur, distance_inside, erode

WALL, SOFT = 1.5, 0.3  # pixels below the surface where the front ends, and how softly
INSET, STACKED = 1.3, 0.7  # pixels: by which the outline's splats lie inside, and those of walls in addition
FADES = 2.0  # pixels inside the outline over which that ends
SMOOTH = 2 / 128  # of the image's size: blur of the colours of walls and back
TURN = 0.3  # of the half thickness, behind the middle plane: where sides become back
OUTLINE = 2 / 128  # of the image's size: distance from the outline within which colours continue onto the back
CLUSTERS, ROUNDS = 8, 10  # of its colours
NEAR = 3 / 128  # of the image's size: distance at which votes begin to fall
MAJORITY = 4.0  # exponent of votes
SHADE = 0.15  # difference of colours that vote together
GUESSED = 128  # pixels: size of images at which the back is guessed
ROWS = 4096  # pixels whose distances to the outline are computed at once


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


def build_shell(image: Tensor, mask: Tensor, height: Tensor, middle: Tensor) -> Shell:
    """Build the surface of a silhouette.

    Args:
        image: [H, W, 3] straight colours. mask: [H, W] bool, the silhouette.
        height: [H, W] half the thickness. middle: [H, W] depth of the middle between front and back; zeros if unknown.
    """
    y, x, layer, layers = surface_voxels(mask, height, middle)
    z, thickness = layers[layer] - middle[y, x].round(), height[y, x]
    top = (z.abs() == thickness.floor()) & (thickness >= 1)
    z = torch.where(top, z.sign() * thickness, z)  # onto the surface itself, which closes seams
    # what the camera sees ends below the surface; the walls of steep outlines would repeat one pixel's colour along their depth
    front = torch.sigmoid((WALL - z - thickness) / SOFT)
    behind = torch.sigmoid((z - TURN * thickness) / (0.15 * thickness + SOFT))[:, None]
    sides = (1 - behind) * blur(image, mask.float(), SMOOTH * max(mask.shape))[y, x] + behind * back_colors(image, mask)[y, x]
    colors = front[:, None] * image[y, x] + (1 - front[:, None]) * sides
    numbers = torch.cumsum(mask.flatten().long(), 0).view(mask.shape) - 1
    rows, columns = mask.nonzero().unbind(1)
    uv = torch.stack([x, y], -1) + 0.5 + inward(mask, z, thickness, y, x)
    return Shell(torch.cat([uv, z[:, None]], -1), colors.clamp(0, 1), numbers[y, x], torch.stack([columns, rows], -1), front)


def inward(mask: Tensor, z: Tensor, thickness: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Displacements [N, 2] in pixels that keep splats on the outline from reaching beyond it; more where they are stacked."""
    solid = blur(mask.float()[..., None], torch.ones_like(mask, dtype=torch.float32), 1.0)[..., 0]
    slope = torch.stack(torch.gradient(solid)[::-1], -1)
    slope = slope / slope.norm(dim=-1, keepdim=True).clamp_min(0.05)
    depth = distance_inside(mask)[y, x]  # 1 on the outline
    wall = (z.abs() < thickness - 0.5).float()
    amount = (INSET + STACKED * wall) * (1 - (depth - 1) / FADES).clamp_min(0)
    return amount[:, None] * slope[y, x]


def surface_voxels(mask: Tensor, height: Tensor, middle: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Voxels of the solid |z - middle| <= height that have an open neighbour: rows, columns and layers [N], and the layers' depths."""
    reach = int(height.max() + middle.abs().max()) + 2
    layers = torch.arange(-reach, reach + 1).to(height)
    solid = (((layers - middle.round()[..., None]).abs() <= height[..., None]) & mask[..., None]).float()
    padded = F.pad(solid, (1, 1, 1, 1, 1, 1))
    neighbours = [
        padded[2:, 1:-1, 1:-1], padded[:-2, 1:-1, 1:-1], padded[1:-1, 2:, 1:-1], padded[1:-1, :-2, 1:-1],
        padded[1:-1, 1:-1, 2:], padded[1:-1, 1:-1, :-2],
    ]  # fmt: skip
    exposed = torch.stack(neighbours).amin(0) < 0.5
    y, x, layer = ((solid > 0.5) & exposed).nonzero().unbind(1)
    return y, x, layer, layers


def back_colors(seen: Tensor, mask: Tensor) -> Tensor:
    """Guess the back [H, W, 3]: the colours that most of the outline nearby has.

    A mean would mix them to gray. Each pixel of the outline votes for the cluster of its colour, the near ones more. It is soft:
    large images are reduced for it.
    """
    size = max(mask.shape)
    if size > GUESSED:
        height, width = (max(1, round(side * GUESSED / size)) for side in mask.shape)
        reduced, covered = resize_straight(seen[None], mask[None, ..., None].float(), width, height)
        inside = covered[0, ..., 0] > 0.5
        guess = torch.cat([back_colors(reduced[0], inside), inside[..., None]], -1).permute(2, 0, 1)[None]
        found = F.interpolate(guess, size=mask.shape, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        back, sure = found[..., :3] / found[..., 3:].clamp_min(1e-6), found[..., 3:] > 0.1
        return torch.where(sure, back, seen) * mask[..., None]
    rows = mask.nonzero()
    border = (mask & ~(erode(mask, max(1, round(OUTLINE * size))) > 0.5))[rows[:, 0], rows[:, 1]]
    colors = seen[mask]
    clusters = cluster(colors[border])
    own = torch.cdist(colors[border], clusters).argmin(1)
    votes = torch.zeros(len(rows), len(clusters))
    voters = rows[border].float()
    for part in torch.arange(len(rows)).split(ROWS):
        nearness = (torch.cdist(rows[part].float(), voters).square() + (NEAR * size) ** 2).square().reciprocal()
        votes[part] = torch.zeros(len(part), len(clusters)).index_add(1, own, nearness)
    alike = torch.exp(-((torch.cdist(clusters, clusters) / SHADE) ** 2) / 2)  # shades of one colour vote together
    backed = votes @ alike
    votes = votes * (backed / backed.amax(1, keepdim=True)) ** MAJORITY
    back = torch.zeros_like(seen)
    back[mask] = votes @ clusters / votes.sum(1, keepdim=True)
    return blur(back, mask.float(), SMOOTH * size) * mask[..., None]


def cluster(colors: Tensor) -> Tensor:
    """Up to CLUSTERS mean colours [C, 3] of colours [P, 3] (Lloyd's algorithm, from colours far from each other)."""
    centers = colors[farthest(colors, min(CLUSTERS, len(colors)))]
    for _ in range(ROUNDS):
        own = torch.cdist(colors, centers).argmin(1)
        counts = torch.bincount(own, minlength=len(centers))[:, None]
        centers = torch.where(counts > 0, torch.zeros_like(centers).index_add(0, own, colors) / counts.clamp_min(1), centers)
    return centers
