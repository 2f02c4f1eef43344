"""The body of a rest frame: inflated, surfaced, with nodes."""

from __future__ import annotations

import torch

from chronosplat.refine.solid.bones import build_bones
from chronosplat.refine.solid.frames import Frames
from chronosplat.refine.solid.inflate import inflate
from chronosplat.refine.solid.motion import Body
from chronosplat.refine.solid.shell import build_shell

THIN = 2.5  # pixels of half thickness, below which the camera sees the back, too

RIM, RIM_SHARE = 1.5, 0.1  # pixels: such thin parts are seen from the sides, and take only this share of what the camera sees


def build_body(frames: Frames, rest: int, nodes: int) -> Body:
    """Build the body of the frame ``rest`` with so many nodes in its middle plane."""
    mask = frames.masks[rest]
    height = inflate(mask)
    shell = build_shell(frames.images[rest], mask, height)
    heights = height[shell.pixels[:, 1], shell.pixels[:, 0]]
    bones = build_bones(shell.pixels, nodes)
    at = shell.pixels[bones.at] + 0.5
    weights = torch.zeros(len(shell.pixels), len(bones.at)).scatter_add(1, bones.skin_nodes, bones.skin_weights)
    return Body(
        points=frames.place(shell.uvz),
        colors=shell.colors,
        front=torch.where(heights < RIM, RIM_SHARE, 1.0)[shell.columns] * shell.front,
        visible=(shell.uvz[:, 2] <= 0.5) | (heights < THIN)[shell.columns],
        columns=shell.columns,
        pixels=shell.pixels,
        heights=heights,
        nodes=frames.place(torch.cat([at, torch.zeros(len(at), 1)], -1)),
        weights=weights,
        others=bones.others,
        links=bones.links,
        spacing=bones.spacing,
    )
