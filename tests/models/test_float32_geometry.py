"""Geometry, heads and losses run in float32, whatever the transformer runs in: bf16 rays are off by half a pixel at 64 pixels."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.models.lrm4d import LRM4D, Frames
from chronosplat.train.objective import LossWeights, compute_loss
from tests.models.test_lrm4d import TINY
from tests.train.test_objective import batch, fresh_model

SIZE = 64


def frames() -> Frames:
    """A disc that four cameras see."""
    cameras = orbit([0.0, 90.0, 180.0, 270.0], 10.0, SIZE)
    row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    disc = (((row - 31.5) ** 2 + (column - 31.5) ** 2) < 400).float()[..., None].expand(1, 4, SIZE, SIZE, 1)
    rgb = torch.rand(1, 4, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0)) * disc + 1 - disc
    return Frames(rgb, disc, torch.linspace(-1, 1, 4)[None], cameras.viewmats[None], cameras.Ks[None])


def network(head: str) -> LRM4D:
    """A network whose transformer says nothing: what comes out is the head's geometry alone."""
    torch.manual_seed(0)
    model = LRM4D(TINY[head]).eval()
    torch.nn.init.zeros_(model.out.weight)
    if head == "paper":  # rotations of zero would leave the covariance to chance
        model.head.register_forward_pre_hook(lambda _, inputs: (turned(inputs[0]), *inputs[1:]))
    return model


def turned(raw: Tensor) -> Tensor:
    raw = raw.clone()
    raw[..., 11], raw[..., 15], raw[..., 12] = 1.0, 1.0, 0.3
    return raw


@pytest.mark.parametrize("head", ["paper", "moving"])
@pytest.mark.parametrize("how", ["precision", "autocast of the caller"])
def test_reduced_precision_of_the_transformer_leaves_the_geometry_alone(head: str, how: str) -> None:
    model, x = network(head), frames()
    with torch.no_grad():
        exact = model(x)
        if how == "precision":
            reduced = model(x, torch.bfloat16)
        else:
            with torch.autocast("cpu", torch.bfloat16):
                reduced = model(x)
    for field in fields(exact):
        ours, theirs = getattr(reduced, field.name), getattr(exact, field.name)
        assert ours.dtype == torch.float32, field.name
        assert torch.equal(ours, theirs), field.name


def test_the_transformer_does_run_in_reduced_precision() -> None:
    torch.manual_seed(0)
    model, x = LRM4D(TINY["moving"]).eval(), frames()
    seen: list[torch.dtype] = []
    model.blocks[0].mlp[0].register_forward_hook(lambda *a: seen.append(a[2].dtype))
    with torch.no_grad():
        model(x, torch.bfloat16)
        model(x, torch.float32)
    assert seen == [torch.bfloat16, torch.float32]


def test_losses_are_float32() -> None:
    """Training's rendering and losses are float32: gradients of positions are too small for bf16."""
    loss = compute_loss(fresh_model(), batch(), LossWeights(), "cpu", torch.bfloat16)
    assert {getattr(loss, field.name).dtype for field in fields(loss)} == {torch.float32}
