"""Flow between frames is what moved; where it disagrees with itself it is not trusted; a motion that agrees costs nothing."""

from __future__ import annotations

import pytest
import torch

from chronosplat.refine.solid.body import build_body
from chronosplat.refine.solid.flow import Flow, optical_flow
from chronosplat.refine.solid.frames import read_frames
from chronosplat.refine.solid.motion import Pose
from chronosplat.refine.solid.polish import Model, flow_cost
from tests.refine.solid.kit import bar, sliding_bar, video


def test_the_flow_of_a_translation() -> None:
    pytest.importorskip("cv2")
    frames = read_frames(video([bar(18 + 2 * i, 24, 0.5, 24, 11) for i in range(3)]))
    flow = optical_flow(frames)
    assert flow.moves.shape == (2, 2, 48, 48)
    sure = flow.trust[0, 0] > 0.8
    assert float(sure.sum()) > 0.5 * float(frames.masks[0].sum())
    torch.testing.assert_close(flow.moves[0][:, sure].mean(1), torch.tensor([2.0, 0.0]), atol=0.3, rtol=0)
    assert float(flow.trust[:, 0][~frames.masks[:2]].max()) == 0


def test_what_vanishes_is_not_trusted() -> None:
    pytest.importorskip("cv2")
    here, there = bar(12, 24, 0.5, 20, 9), bar(36, 24, 1.5, 20, 9)
    other = (there[0], 1 - there[1])
    flow = optical_flow(read_frames(video([here, other])))
    assert float(flow.trust.sum()) < 0.4 * float((here[0] > 0.5).sum())


def test_a_motion_that_agrees_costs_nothing_and_others_are_pulled_to_it() -> None:
    frames = read_frames(sliding_bar(2))
    body = build_body(frames, 0, 12)
    flow = Flow(torch.tensor([3.0, 0.0])[None, :, None, None].expand(1, 2, 48, 48), torch.ones(1, 1, 48, 48))
    right = torch.zeros(2, len(body.nodes), 3)
    right[1, :, 0] = 3
    still = torch.zeros_like(right).requires_grad_()
    costs = []
    for shifts in (right, still):
        model = Model.of(body, Pose(shifts, torch.zeros_like(right)))
        costs.append(flow_cost(model, frames, flow, [0, 1], body.in_front))
    assert costs[0].item() < 0.05 * costs[1].item()
    (pull,) = torch.autograd.grad(costs[1], still)
    assert float(pull[1, :, 0].sum()) < 0  # descent moves the later frame to the right
    assert float(pull[0, :, 0].sum()) > 0
