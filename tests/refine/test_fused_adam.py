"""FusedAdam against torch.optim.Adam and its own twin in torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from chronosplat.refine.fused_adam import BETAS, EPS, FusedAdam
from chronosplat.refine.parameters import Fields, bounded, freed
from chronosplat.shapes import InputError

LRS = {
    "means": 6e-3, "velocities": 1e-2, "time_centers": 3e-2, "time_sigmas": 3e-2, "scales": 0.1, "quats": 3e-2, "opacities": 9e-2,
    "colors": 0.2, "turns": 1e-2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def start(count: int = 5000) -> Fields:
    g = torch.Generator().manual_seed(0)
    widths = {"means": 3, "velocities": 3, "quats": 4, "scales": 3, "colors": 3}
    fields = {name: torch.rand(count, width, generator=g) for name, width in widths.items()}
    fields |= {name: torch.rand(count, generator=g) for name in ("time_centers", "time_sigmas", "opacities")}
    return fields | {"turns": torch.rand(7, 11, 3, generator=g)}


def loss_of(values: Fields, step: int) -> Tensor:
    """A loss whose gradients differ between rows, columns and steps, with some rows of zero."""
    total = torch.zeros(())
    for k, t in enumerate(values.values()):
        target = 2 * torch.rand(t.shape, generator=torch.Generator().manual_seed(100 * step + k)) - 0.5
        weight = (torch.arange(len(t)) % 5).view(-1, *[1] * (t.dim() - 1))
        total = total + (weight * (t - target).square() * 10.0 ** -(k % 4)).sum()
    return total


def run(adam: FusedAdam, steps: int = 20) -> Fields:
    for step in range(steps):
        loss_of({name: t for name, t in adam.values.items() if t.requires_grad}, step).backward()
        assert adam.step(0.9**step)
    return {name: t.detach().clone() for name, t in adam.values.items()}


def in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FusedAdam, "_native", FusedAdam._torch)


def reference(steps: int = 20, max_anisotropy: float = 1.5) -> Fields:
    free = freed(start())
    adam = torch.optim.Adam([{"params": [t], "lr": LRS[name]} for name, t in free.items()], betas=BETAS, eps=EPS)
    for step in range(steps):
        for group, name in zip(adam.param_groups, free, strict=True):
            group["lr"] = LRS[name] * 0.9**step
        adam.zero_grad()
        loss_of(bounded(free), step).backward()
        adam.step()
        with torch.no_grad():
            free["colors"].clamp_(0, 1)
            longest = free["scales"].amax(-1, keepdim=True)
            free["scales"].copy_(torch.maximum(free["scales"], longest - math.log(max_anisotropy)))
    return {name: t.detach() for name, t in bounded(free).items()}


def close(a: Fields, b: Fields, tolerance: float = 2e-4) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


def test_it_is_torch_s_adam_with_activations() -> None:
    found = run(FusedAdam(start(), LRS, max_anisotropy=1.5))
    close(found, reference())
    assert 0 <= float(found["colors"].min()) < 0.001
    assert 0.999 < float(found["colors"].max()) <= 1
    scales = found["scales"]
    assert float((scales.amax(-1) / scales.amin(-1)).max()) == pytest.approx(1.5, rel=1e-5)


def test_the_native_one_is_its_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = run(FusedAdam(start(), LRS, 3.0))
    in_torch(monkeypatch)
    close(fast, run(FusedAdam(start(), LRS, 3.0)))


def test_threads_do_not_change_a_bit() -> None:
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(run(FusedAdam(start(9000), LRS, 4.0), 4))
    for other in found[1:]:
        assert all(torch.equal(t, other[name]) for name, t in found[0].items())


@pytest.mark.parametrize("twin", [False, True])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gradient_that_is_no_number_changes_nothing(twin: bool, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    if twin:
        in_torch(monkeypatch)
    adam = FusedAdam(start(), LRS)
    run(adam, 2)
    before = {name: t.detach().clone() for name, t in adam.values.items()}
    loss_of(adam.values, 2).backward()
    grad = adam.values["scales"].grad
    assert grad is not None
    grad[4321, 1] = value
    assert not adam.step()
    assert all(torch.equal(t, adam.values[name]) for name, t in before.items())
    assert all(t.grad is None for t in adam.values.values())
    other = FusedAdam(start(), LRS)
    run(other, 2)
    for each in (adam, other):  # moments, too, are as if nothing had been
        loss_of(each.values, 2).backward()
        assert each.step()
    assert all(torch.equal(t, other.values[name]) for name, t in adam.values.items())


def test_what_has_no_learning_rate_or_no_gradient_stays() -> None:
    given = start()
    given["opacities"][:2] = torch.tensor([0.0, 1.0])
    adam = FusedAdam(given, {**LRS, "opacities": 0.0})
    assert not adam.values["opacities"].requires_grad
    before = adam.values["means"].detach().clone()
    adam.values["colors"].sum().backward()
    assert adam.step()
    assert torch.equal(adam.values["opacities"], given["opacities"])
    assert torch.equal(adam.values["means"], before)
    assert not torch.equal(adam.values["colors"], given["colors"])
    assert torch.equal(given["means"], start()["means"])


@pytest.mark.parametrize(
    "change", [lambda n: torch.arange(n)[::2], lambda n: torch.cat([torch.arange(n), -torch.ones(3, dtype=torch.long)])]
)
def test_rows_that_are_kept_go_on_as_they_were(change: Callable[[int], Tensor]) -> None:
    names = ("means", "scales", "opacities", "colors")
    given = {name: start(50)[name] for name in names}
    whole, part = (FusedAdam(given, {name: LRS[name] for name in names}) for _ in range(2))
    origin = change(50)
    rows = origin.clamp_min(0)

    def step(adam: FusedAdam, which: Tensor) -> None:
        sum(((k + 1.0) * t * (which + 1.0).view(-1, *[1] * (t.dim() - 1))).sum() for k, t in enumerate(adam.values.values())).backward()  # pyright: ignore[reportAttributeAccessIssue]
        assert adam.step()

    every = torch.arange(50)
    step(whole, every), step(part, every)
    part.regroup({name: t.detach()[rows] for name, t in part.values.items()}, origin)
    step(whole, every), step(part, rows)
    kept = origin >= 0
    for name in names:
        torch.testing.assert_close(part.values[name][kept], whole.values[name][origin[kept]], rtol=1e-5, atol=1e-6)
        assert len(part.values[name]) == len(origin)


def test_no_rows_and_no_fields() -> None:
    adam = FusedAdam({"means": torch.zeros(0, 3)}, {"means": 1.0})
    adam.values["means"].sum().backward()
    assert adam.step()
    assert FusedAdam({}, {}).step()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lrs": {"mean": 1.0}}, "FusedAdam: no field mean; known: means, velocities"),
        ({"max_anisotropy": 1.0}, "max_anisotropy: expected a number above 1, got 1"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    fields = {name: start(5)[name] for name in ("means", "velocities")}
    with pytest.raises(InputError, match=message):
        FusedAdam(fields, **({"lrs": {}} | arguments))


def test_regrouping_needs_an_origin_for_each_row() -> None:
    adam = FusedAdam({"means": torch.zeros(4, 3)}, {"means": 1.0})
    with pytest.raises(InputError, match="means: expected 2 rows, one for each origin; got 3"):
        adam.regroup({"means": torch.zeros(3, 3)}, torch.tensor([0, 1]))


def test_regrouping_keeps_names_whose_learning_rate_is_zero_for_now() -> None:
    adam = FusedAdam({"means": torch.zeros(4, 3)}, {"means": 1.0})
    adam.lrs["means"] = 0.0
    adam.regroup({"means": torch.ones(3, 3)}, torch.tensor([0, 1, -1]))
    for lr, moves in ((0.0, False), (0.5, True)):
        adam.lrs["means"] = lr
        adam.values["means"].sum().backward()
        assert adam.step()
        assert bool((adam.values["means"] != 1).all()) == moves
