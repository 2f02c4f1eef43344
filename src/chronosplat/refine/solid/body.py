"""The body of a rest frame: inflated, surfaced, with nodes."""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.refine.solid.bones import build_bones
from chronosplat.refine.solid.frames import Frames
from chronosplat.refine.solid.inflate import inflate
from chronosplat.refine.solid.motion import Body
from chronosplat.refine.solid.profile import middle_plane
from chronosplat.refine.solid.shell import build_shell

AT_ONCE = 2048  # pixels whose distances to the coarse ones are computed at once
THIN = 2.5  # pixels of half thickness, below which the camera sees the back, too

RIM, RIM_SHARE = 1.5, 0.1  # pixels: such thin parts are seen from the sides, and take only this share of what the camera sees


def build_body(frames: Frames, rest: int, nodes: int, depth: Tensor | None = None) -> Body:
    """Build the body of the frame ``rest`` with so many nodes in its middle plane.

    Args:
        depth: [h, w] a map of that frame, see middle_plane; None: the middle is flat.
    """
    surface = _surface(frames, rest, depth)
    bones = build_bones(surface["pixels"], nodes)
    at = surface["pixels"][bones.at] + 0.5
    return Body(
        **surface,
        nodes=frames.place(torch.cat([at, surface["middles"][bones.at, None]], -1)),
        weights=torch.zeros(len(surface["pixels"]), len(bones.at)).scatter_add(1, bones.skin_nodes, bones.skin_weights),
        others=bones.others,
        links=bones.links,
        spacing=bones.spacing,
    )


def enlarge(body: Body, frames: Frames, rest: int, factor: float, depth: Tensor | None = None) -> tuple[Body, Tensor]:
    """Build the body of frames that are ``factor`` times as large, with the same nodes.

    Returns:
        The body, and the former column of each of its columns [P].
    """
    surface = _surface(frames, rest, depth)
    coarse = (body.pixels + 0.5) * factor
    nearest = torch.cat([torch.cdist(some + 0.5, coarse).argmin(1) for some in surface["pixels"].split(AT_ONCE)])
    larger = Body(
        **surface,
        nodes=body.nodes * factor,
        weights=body.weights[nearest],
        others=body.others,
        links=body.links,
        spacing=body.spacing * factor,
    )
    return larger, nearest


def _surface(frames: Frames, rest: int, depth: Tensor | None) -> dict[str, Tensor]:
    """The fields of a Body that its nodes have no part in."""
    mask = frames.masks[rest]
    height = inflate(mask)
    middle = torch.zeros_like(height)
    if depth is not None:
        resized = torch.nn.functional.interpolate(depth[None, None], size=mask.shape, mode="bilinear", align_corners=False)
        middle = middle_plane(resized[0, 0], mask, height)
    shell = build_shell(frames.images[rest], mask, height, middle)
    heights, middles = (x[shell.pixels[:, 1], shell.pixels[:, 0]] for x in (height, middle))
    at = torch.cat([shell.uvz[:, :2], shell.uvz[:, 2:] + middles[shell.columns, None]], -1)
    return {
        "points": frames.place(at),
        "colors": shell.colors,
        "front": torch.where(heights < RIM, RIM_SHARE, 1.0)[shell.columns] * shell.front,
        "visible": (shell.uvz[:, 2] <= 0.5) | (heights < THIN)[shell.columns],
        "columns": shell.columns,
        "pixels": shell.pixels,
        "heights": heights,
        "middles": middles,
    }
