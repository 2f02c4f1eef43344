"""Residuals explain what motion does not, and cost; colours do not make up for a wrong outline."""

from __future__ import annotations

import math

import pytest
import torch

from chronosplat.events import Events
from chronosplat.refine.optimise import Budget
from chronosplat.refine.solid.body import build_body
from chronosplat.refine.solid.follow import Follower
from chronosplat.refine.solid.frames import Frames, read_frames
from chronosplat.refine.solid.motion import Pose
from chronosplat.refine.solid.polish import Model, Polisher, enlarged, neighbours, polish, residual_cost, separated
from tests.refine.solid.kit import bar, spoil_losses, video


def tracked() -> tuple[Model, Frames]:
    """A bar whose colour changes from frame to frame."""
    shapes = [bar(20 + 2 * i, 24, 0.4, 22, 9) for i in range(4)]
    frames = read_frames(video([(alpha, (colors + 0.08 * i).clamp(0, 1)) for i, (alpha, colors) in enumerate(shapes)]))
    body = build_body(frames, 0, 12)
    return Model.of(body, Follower(frames, body, 0, 8, 8).run(Events()).pose), frames


def test_residuals_explain_changing_colours() -> None:
    start, frames = tracked()
    moved = polish(Polisher(start, frames, False), Budget(30), Events()).model
    explained = polish(Polisher(moved, frames, True), Budget(60), Events()).model
    errors = [sum(model.errors(frames)) for model in (start, moved, explained)]
    assert errors[1] < errors[0]
    assert errors[2] < 0.4 * errors[1]
    assert not moved.tints.any()
    assert bool((explained.fades >= 0).all())
    assert bool((explained.fades <= 1).all())


def test_the_same_seed_gives_the_same_result() -> None:
    start, frames = tracked()
    first, second = (polish(Polisher(start, frames, True, seed=3), Budget(6), Events()).model for _ in range(2))
    for name, tensor in first.tensors().items():
        torch.testing.assert_close(tensor, second.tensors()[name], rtol=0, atol=0)


@pytest.mark.parametrize(("factor", "slope", "why"), [(math.nan, 1.0, "the loss"), (1.0, math.nan, "a gradient")])
def test_what_is_not_finite_ends_at_the_last_good_state(factor: float, slope: float, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start, frames = tracked()
    good = Polisher(start, frames, True)
    for k in range(8):
        assert good.step(k / 20) == ""
    spoil_losses(monkeypatch, "polish", 9, factor, slope)
    ended = polish(Polisher(start, frames, True), Budget(20), Events())
    assert (ended.steps, ended.broken) == (8, f"{why} became NaN")
    for name, tensor in ended.model.tensors().items():
        torch.testing.assert_close(tensor, good.model.tensors()[name], rtol=0, atol=0)


def test_a_cancellation_is_told_with_the_steps_until_then() -> None:
    start, frames = tracked()
    events = Events(progress=lambda stage, done, total, note="": events.cancel.request() if done else None)
    ended = polish(Polisher(start, frames, True), Budget(100), events)
    assert (ended.steps, ended.broken) == (21, "interrupted")


def test_colours_are_not_asked_to_make_up_for_an_outline() -> None:
    """Coverage beyond the outline has a cost, but no gradient on its colour, and right colours have none anywhere."""
    wanted = torch.zeros(1, 4, 4)
    wanted[0, :, :2] = 1
    straight = torch.full((1, 4, 4, 3), 0.3)
    alpha = torch.full((1, 4, 4), 0.8)
    premultiplied = (0.3 * alpha[..., None].expand(1, 4, 4, 3)).clone().requires_grad_()
    image, target = separated(premultiplied + 1 - alpha[..., None], alpha, straight, wanted)
    (image - target).square().sum().backward()
    assert premultiplied.grad is not None
    assert float(premultiplied.grad.abs().max()) < 1e-6
    assert float((image - target)[..., 3].detach().square().sum()) > 1


def test_what_residuals_cost() -> None:
    start, _ = tracked()
    pairs = neighbours(start.body.pixels)
    assert float(residual_cost(start, [0, 1], pairs)) == 0
    rng = torch.Generator().manual_seed(0)
    for name in ("tints", "offsets", "fades"):
        tensors = start.tensors()
        changed = start.with_tensors(tensors | {name: tensors[name] - 0.3 * torch.rand(tensors[name].shape, generator=rng)})
        assert float(residual_cost(changed, [0, 1], pairs)) > 0
    together = start.with_tensors(start.tensors() | {"offsets": torch.ones_like(start.offsets)})
    torn = start.with_tensors(start.tensors() | {"offsets": start.offsets + (torch.arange(len(start.fades[0])) % 2)[:, None]})
    assert float(residual_cost(together, [0, 1], pairs)) < float(residual_cost(torn, [0, 1], pairs))


def test_residuals_are_carried_to_a_larger_model() -> None:
    """Those of length in the new pixels."""
    frames = read_frames(video([bar(20 + 2 * i, 24, 0.4, 22, 9) for i in range(2)]))
    small = frames.resized(24, 24)
    body = build_body(small, 0, 12)
    start = Model.of(body, Pose(*(torch.zeros(2, *body.nodes.shape) for _ in range(2))))
    ramp = 0.1 * body.pixels[:, 0].float()
    start = start.with_tensors(start.tensors() | {"offsets": ramp[None, :, None].expand(2, -1, 2), "fades": 0.7 * start.fades})
    large = enlarged(start, frames, 0, 2.0)
    torch.testing.assert_close(large.fades, torch.full((2, len(large.body.pixels)), 0.7))
    wanted = 2 * 0.1 * ((large.body.pixels[:, 0] + 0.5) / 2 - 0.5)
    assert float((large.offsets[0, :, 0] - wanted).abs().median()) < 0.06  # half of a small pixel's step


def test_neighbours_are_next_to_each_other() -> None:
    pixels = torch.tensor([[3, 3], [4, 3], [4, 4], [7, 3]])
    assert sorted(map(tuple, neighbours(pixels).T.tolist())) == [(0, 1), (1, 2)]
