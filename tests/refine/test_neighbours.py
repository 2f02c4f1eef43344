"""Laws of neighbours that move alike."""

from __future__ import annotations

import pytest
import torch

from chronosplat.refine import neighbours as module
from chronosplat.refine.neighbours import COUNT, TIME, Neighbours, mean_difference, mean_difference_reference
from chronosplat.refine.parameters import Fields
from chronosplat.shapes import InputError


def cloud(count: int = 60) -> Fields:
    generator = torch.Generator().manual_seed(0)
    shapes = {"means": (count, 3), "velocities": (count, 3), "time_centers": (count,)}
    return {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}


def neighbours(seed: int = 0) -> Neighbours:
    return Neighbours(torch.Generator().manual_seed(seed))


def test_they_are_the_nearest_in_space_and_time() -> None:
    fields, found = cloud(), neighbours()
    found.find(fields["means"], fields["time_centers"])
    assert found.indices.tolist() == list(range(60))
    places = torch.cat([fields["means"], fields["time_centers"][:, None] * TIME], -1)
    for one, others in zip(found.indices.tolist(), found.neighbours.tolist(), strict=True):
        gaps = (places - places[one]).norm(dim=-1)
        gaps[one] = float("inf")
        assert set(others) == set(gaps.argsort()[:COUNT].tolist())


def test_the_same_velocity_costs_nothing_wherever_they_go() -> None:
    fields = cloud()
    fields["velocities"] = torch.tensor([0.3, -2.0, 1.0]).expand(60, 3)
    assert float(neighbours().velocity_differences(fields)) == 0


def test_it_grows_with_the_square_and_not_with_where_and_when() -> None:
    fields = cloud()
    once = float(neighbours().velocity_differences(fields))
    assert once > 0.1
    moved = fields | {"means": fields["means"] + 3, "time_centers": fields["time_centers"] - 1}
    assert float(neighbours().velocity_differences(moved)) == pytest.approx(once, rel=1e-5)
    assert float(neighbours().velocity_differences(fields | {"velocities": 3 * fields["velocities"]})) == pytest.approx(9 * once, rel=1e-5)


def test_descent_makes_velocities_one() -> None:
    fields = cloud()
    velocities = fields["velocities"].clone().requires_grad_()
    found, adam = neighbours(), torch.optim.Adam([velocities], 0.05)
    for _ in range(300):
        adam.zero_grad()
        found.velocity_differences(fields | {"velocities": velocities}).backward()
        adam.step()
    assert float(velocities.detach().std(0).max()) < 0.1 * float(fields["velocities"].std(0).min())


def test_of_a_large_cloud_some_are_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLES", 40)
    monkeypatch.setattr(module, "MAX_DISTANCES", 60 * 20)
    fields, found = cloud(), neighbours()
    assert float(found.velocity_differences(fields)) > 0
    assert len(found.indices) == len(set(found.indices.tolist())) == 20
    assert int(found.neighbours.max()) > 40


def test_two_are_each_others_only_neighbour() -> None:
    fields = cloud(2)
    gap = (fields["velocities"][0] - fields["velocities"][1]).square().sum()
    assert float(neighbours().velocity_differences(fields)) == pytest.approx(float(gap), rel=1e-5)


def test_the_native_difference_is_its_twin() -> None:
    g = torch.Generator().manual_seed(0)
    values = torch.randn(500, 3, generator=g).requires_grad_()
    rows, others = torch.randint(0, 500, (900,), generator=g), torch.randint(0, 500, (900, 6), generator=g)
    fast, slow = (function(values, rows, others) for function in (mean_difference, mean_difference_reference))
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(torch.autograd.grad(2 * fast, values)[0], torch.autograd.grad(2 * slow, values)[0])


def test_the_difference_refuses_rows_that_do_not_exist() -> None:
    with pytest.raises(InputError, match="mean_difference: expected rows and others from 0 to 4"):
        mean_difference(torch.zeros(5, 3), torch.tensor([0, 5]), torch.zeros(2, 1, dtype=torch.long))
