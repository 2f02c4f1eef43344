"""The shell is closed, is as thick as the solid, shows the image in front, and guesses the back from the outline."""

from __future__ import annotations

import torch

from chronosplat.refine.solid.inflate import inflate
from chronosplat.refine.solid.shell import back_colors, build_shell, cluster, surface_voxels
from tests.refine.solid.kit import disc, grid


def test_the_surface_has_no_holes() -> None:
    mask = disc(20, 20, 9, 40)
    height = inflate(mask)
    y, x, layer, layers = surface_voxels(mask, height, torch.zeros_like(height))
    surface = torch.zeros(40, 40, len(layers), dtype=torch.bool)
    surface[y, x, layer] = True
    outside = torch.zeros_like(surface)
    outside[0] = True
    for _ in range(120):  # flood from outside: it must not get in
        padded = torch.nn.functional.pad(outside.float(), (1,) * 6)
        grown = torch.nn.functional.max_pool3d(padded[None, None], (3, 1, 1), 1)[0, 0][:, 1:-1, 1:-1] > 0
        grown |= torch.nn.functional.max_pool3d(padded[None, None], (1, 3, 1), 1)[0, 0][1:-1, :, 1:-1] > 0
        grown |= torch.nn.functional.max_pool3d(padded[None, None], (1, 1, 3), 1)[0, 0][1:-1, 1:-1] > 0
        outside |= grown & ~surface
    assert not outside[20, 20, len(layers) // 2]


def test_a_shell_shows_the_image_in_front() -> None:
    mask = disc(20, 20, 10, 40)
    x, y = grid(40)
    image = torch.stack([x / 40, y / 40, torch.full_like(x, 0.5)], -1)
    height = inflate(mask)
    shell = build_shell(image, mask, height, torch.zeros_like(height))
    assert len(shell.pixels) == int(mask.sum())
    top = (shell.uvz[:, 2] <= -height[shell.pixels[:, 1], shell.pixels[:, 0]][shell.columns] + 0.1) & (shell.uvz[:, 2] < -2)
    at = shell.pixels[shell.columns[top]]
    torch.testing.assert_close(shell.colors[top], image[at[:, 1], at[:, 0]], atol=0.02, rtol=0)
    assert float(shell.front[shell.uvz[:, 2] > 2].max()) < 0.01
    thickest = float(height.max())
    assert float(shell.uvz[:, 2].max()) == thickest == -float(shell.uvz[:, 2].min())


def test_splats_stay_inside_the_outline() -> None:
    mask = disc(20, 20, 10, 40)
    shell = build_shell(torch.rand(40, 40, 3), mask, inflate(mask), torch.zeros(40, 40))
    assert float((shell.uvz[:, :2] - 20).norm(dim=-1).max()) < 9.3


def test_the_back_has_the_outlines_colour_and_not_the_faces() -> None:
    mask = disc(20, 20, 12, 40)
    face = disc(20, 20, 8, 40)
    image = torch.where(face[..., None], torch.tensor([0.9, 0.9, 0.9]), torch.tensor([0.4, 0.2, 0.1]))
    torch.testing.assert_close(back_colors(image, mask)[20, 20], torch.tensor([0.4, 0.2, 0.1]), atol=0.02, rtol=0)


def test_colours_vote_and_do_not_mix() -> None:
    """Two thirds brown and a third white is brown, not beige."""
    mask = disc(20, 20, 12, 40)
    brown, white = torch.tensor([0.4, 0.2, 0.1]), torch.tensor([0.9, 0.9, 0.9])
    _, y = grid(40)
    image = torch.where((y > 24)[..., None], white, brown)
    assert float((back_colors(image, mask)[18, 20] - brown).abs().max()) < 0.15  # a mean would be 0.2 off


def test_few_colours_are_their_own_clusters() -> None:
    colors = torch.tensor([[0.1, 0.2, 0.3], [0.8, 0.7, 0.6]]).repeat(20, 1)
    found = cluster(colors)
    assert float(torch.cdist(colors, found).amin(1).max()) < 1e-3
