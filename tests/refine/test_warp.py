"""Laws of a warp, and of Adam for vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chronosplat.refine.vector_adam import VectorAdam
from chronosplat.refine.warp import Warp, farthest_points
from chronosplat.scenes.rotations import multiply, normalize, quats_to_matrices

TIMES = 5
EVERY = torch.arange(TIMES)


def points(count: int = 200) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(1)) * 0.2


def quats(count: int = 200) -> Tensor:
    return normalize(torch.randn(count, 4, generator=torch.Generator().manual_seed(2)))


def warp(count: int = 20) -> Warp:
    return Warp(points(), TIMES, torch.Generator().manual_seed(0), count)


def rigid(found: Warp, time: int, turn: Tensor, shift: Tensor) -> Tensor:
    """Let all nodes make one rigid motion at a time; its rotation matrix."""
    rotation = quats_to_matrices(torch.cat([torch.ones(1), turn]))
    with torch.no_grad():
        found.turns[time] = turn
        found.shifts[time] = found.nodes @ rotation.T - found.nodes + shift
    return rotation


def test_at_rest_nothing_moves() -> None:
    found = warp()
    means, turned = found.at(EVERY, points(), quats(), found.weights(points()))
    assert means.shape == (TIMES, 200, 3)
    assert torch.allclose(means, points().expand(TIMES, -1, -1), atol=1e-6)
    assert torch.allclose(turned, quats().expand(TIMES, -1, -1), atol=1e-6)
    assert float(found.bending(EVERY).detach()) < 1e-12
    assert float(found.unsteadiness(0, TIMES - 1).detach()) == 0


def test_a_rigid_motion_of_the_nodes_is_one_of_the_gaussians_and_bends_nothing() -> None:
    found = warp()
    turn, shift = torch.tensor([0.3, -0.1, 0.5]), torch.tensor([0.2, 0.0, -0.1])
    rotation = rigid(found, 2, turn, shift)
    means, turned = found.at(EVERY[2:3], points(), quats(), found.weights(points()))
    assert torch.allclose(means[0], points() @ rotation.T + shift, atol=1e-5)
    expected = multiply(normalize(torch.cat([torch.ones(1), turn])), quats())
    assert torch.allclose(turned[0], expected, atol=1e-5)
    assert float(found.bending(EVERY[2:3]).detach()) < 1e-9


def test_a_drift_moves_all_and_bends_nothing() -> None:
    found = warp()
    with torch.no_grad():
        found.drifts[3] = torch.tensor([0.0, 0.4, 0.1])
    means, _ = found.at(EVERY, points(), quats(), found.weights(points()))
    assert torch.allclose(means[3] - means[0], found.drifts[3].expand(200, 3), atol=1e-6)
    assert float(found.bending(EVERY).detach()) < 1e-12


def test_bending_does_not_depend_on_size() -> None:
    def bent(size: float) -> float:
        found = Warp(points() * size, TIMES, torch.Generator().manual_seed(0), 20)
        with torch.no_grad():
            found.shifts.copy_(0.1 * size * torch.randn(found.shifts.shape, generator=torch.Generator().manual_seed(3)))
        return float(found.bending(EVERY).detach())

    assert bent(1.0) > 0.01
    assert bent(4.0) == pytest.approx(bent(1.0), rel=1e-4)


def test_even_motion_is_steady_and_a_jerk_is_not() -> None:
    found = warp()
    with torch.no_grad():
        found.drifts[:] = EVERY[:, None] * torch.tensor([0.1, 0.0, -0.2])
    assert float(found.unsteadiness(0, TIMES - 1).detach()) < 1e-9
    with torch.no_grad():
        found.drifts[4] += 0.3
    assert float(found.unsteadiness(-7, 99).detach()) > 1e-3
    assert float(found.unsteadiness(0, 3).detach()) < 1e-9


def test_weights_sum_to_one_and_name_the_nearest() -> None:
    found = warp()
    weights = found.weights(points())
    assert torch.allclose(weights.sum(1), torch.ones(200))
    assert int((weights > 0).sum(1).max()) == 4
    assert torch.equal(weights.argmax(1), torch.cdist(points(), found.nodes).argmin(1))


def test_nodes_lie_apart() -> None:
    chosen = farthest_points(points(), 20)
    assert len(set(chosen.tolist())) == 20
    gaps = torch.cdist(points()[chosen], points()[chosen]).fill_diagonal_(9).amin()
    some = points()[:20]
    assert float(gaps) > 2 * float(torch.cdist(some, some).fill_diagonal_(9).amin())


def test_fewer_points_than_nodes() -> None:
    found = Warp(points(3), TIMES, torch.Generator().manual_seed(0))
    assert len(found.nodes) == 3
    assert torch.allclose(found.at(EVERY, points(3), quats(3), found.weights(points(3)))[0][1], points(3), atol=1e-6)


def test_a_timestamp_may_begin_where_another_is() -> None:
    found = warp()
    rigid(found, 1, torch.tensor([0.1, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    found.carry(1, 4)
    assert torch.equal(found.shifts[4], found.shifts[1])
    assert torch.equal(found.turns[4], found.turns[1])


def descended(turn: Tensor, steps: int = 7) -> Tensor:
    """Where a descent ends in a world that is turned, turned back."""
    vectors = (points(6) @ turn.T).clone().requires_grad_()
    sizes = torch.tensor([1.0, 30.0, 0.02])
    adam = VectorAdam([(vectors, 0.05)])
    for _ in range(steps):
        ((vectors @ turn) ** 2 * sizes).sum().backward()
        adam.step(0.9)
    return vectors.detach() @ turn


def test_a_vector_step_does_not_depend_on_the_axes() -> None:
    turn = quats_to_matrices(quats(1))[0]
    assert torch.allclose(descended(turn), descended(torch.eye(3)), atol=1e-5)


def test_a_first_vector_step_goes_against_the_gradient_by_its_size() -> None:
    vector = torch.zeros(1, 3, requires_grad=True)
    gradient = torch.tensor([3.0, 4.0, 0.0])
    (vector[0] @ gradient).backward()
    VectorAdam([(vector, 0.1)]).step()
    assert torch.allclose(vector.detach()[0], -0.1 * gradient / gradient.square().mean().sqrt())
    assert vector.grad is None


def test_a_tensor_without_a_gradient_stays() -> None:
    vector = torch.ones(2, 3, requires_grad=True)
    VectorAdam([(vector, 0.1)]).step()
    assert torch.equal(vector.detach(), torch.ones(2, 3))
