"""One optimisation: it lowers the loss, keeps what it must, and ends as it should."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from chronosplat.events import Cancel
from chronosplat.refine import RefineConfig
from chronosplat.refine.config import FreeConfig, GentleConfig
from chronosplat.refine.optimise import Budget, FreeStepper, Outcome, optimise
from chronosplat.refine.parameters import Fields, fields_of
from chronosplat.refine.training_views import TrainingViews, psnr_on, training_views
from tests.refine.kit import blobs, cancelled_in, few, interrupted_in, views, wrong

FREE, GENTLE = FreeConfig().lrs, GentleConfig().lrs


@cache
def start() -> Fields:
    return fields_of(wrong(blobs()))


@cache
def training() -> TrainingViews:
    return training_views(blobs(), views())


def run(steps: int = 6, config: RefineConfig | None = None, lrs: Mapping[str, float] = FREE, **more: Any) -> Outcome:
    config = config or few()
    return optimise(more.pop("start", start()), more.pop("training", training()), range(24), config, Budget(steps), lrs, **more)


def identical(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(t, b[name]) for name, t in a.items())


def usable(fields: Mapping[str, Tensor]) -> bool:
    return fields.keys() == start().keys() and all(bool(t.isfinite().all()) for t in fields.values())


def test_steps_lower_the_loss() -> None:
    before = psnr_on(start(), training(), range(24), "cpu")
    assert psnr_on(run(30, lrs=FREE, regularise=False).fields, training(), range(24), "cpu") > before + 8


@pytest.mark.parametrize("size", [1e-4, 1e-3])
def test_one_small_step_on_all_views_goes_downhill(size: float) -> None:
    config = few(batch=24, l1_weight=0.0, binary_weight=0.0, alpha_weight=0.0)
    before = psnr_on(start(), training(), range(24), "cpu")
    after = run(1, config, dict.fromkeys(FREE, size), regularise=False)
    assert psnr_on(after.fields, training(), range(24), "cpu") > before


def test_the_start_is_left_as_it_was() -> None:
    before = {name: t.clone() for name, t in start().items()}
    run(3)
    assert identical(start(), before)


def test_step_sizes_of_zero_leave_fields_as_they_are() -> None:
    """Bit for bit, also opacities near 0 and 1, which have no finite logit, and needles."""
    given = dict(start())
    given["opacities"] = torch.linspace(0, 1, len(given["opacities"]))
    given["scales"] = given["scales"] * torch.tensor([1.0, 1.0, 0.01])
    after = run(4, lrs={**dict.fromkeys(FREE, 0.0), "means": 1e-3}, start=given).fields
    assert identical({**after, "means": given["means"]}, given)
    assert not torch.equal(after["means"], given["means"])


def test_gentle_steps_leave_colours_and_opacities() -> None:
    after = run(4, lrs=GENTLE).fields
    assert torch.equal(after["colors"], start()["colors"])
    assert torch.equal(after["opacities"], start()["opacities"])


def test_no_step_sizes_at_all_change_nothing() -> None:
    assert identical(run(3, lrs=dict.fromkeys(FREE, 0.0)).fields, start())


def test_the_same_seed_gives_the_same_bits() -> None:
    torch.manual_seed(1)
    one = run(8)
    torch.manual_seed(2)
    assert identical(run(8).fields, one.fields)
    assert not identical(run(8, few(seed=1)).fields, one.fields)


def test_looking_changes_nothing() -> None:
    seen: list[float] = []

    def on_mark(share: float, fields: Mapping[str, Tensor]) -> None:
        seen.append(share)
        for t in fields.values():
            t.zero_()

    marks = (0.5, 0.25, 1.0, 0.75)
    assert identical(run(8, marks=marks, on_mark=on_mark).fields, run(8).fields)
    assert seen == sorted(marks)


def test_of_the_marks_that_one_step_passes_the_last_counts() -> None:
    seen: list[float] = []
    marks = tuple(i / 8 for i in range(1, 9))
    found = run(3, marks=marks, on_mark=lambda share, _: seen.append(share))
    assert seen == [0.25, 0.625, 1.0]
    assert found.steps == 3
    assert not found.broken


def test_every_view_is_used_before_any_is_used_again() -> None:
    stepper, used, queue = FreeStepper(start(), training(), few(batch=4), FREE, True), list[int](), list[int]()
    for step in range(6):
        chosen = stepper.draw(range(2, 14), queue, step / 6)
        assert len(chosen) == 4
        used += chosen
    assert used[:12] != used[12:]
    assert sorted(used[:12]) == sorted(used[12:]) == list(range(2, 14))


def test_a_batch_larger_than_the_views_takes_what_there_is() -> None:
    assert run(2, few(batch=100)).steps == 2


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_no_number_ends_it_with_the_last_finite_fields(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the third step."""
    wanted, usual = run(3, few(lr_floor=1.0)), FreeStepper._loss
    monkeypatch.setattr(FreeStepper, "_loss", lambda self, chosen: usual(self, chosen) * (value if self.steps == 3 else 1.0))
    found = run(9, few(lr_floor=1.0))
    assert (found.broken, found.steps) == ("the loss became NaN", 3)
    assert identical(found.fields, wanted.fields)


def test_a_gradient_that_is_no_number_ends_it_with_the_last_finite_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = run(3, few(lr_floor=1.0))
    usual, calls = Tensor.backward, [0]

    def backward(loss: Tensor) -> None:
        calls[0] += 1
        usual(loss * (torch.nan if calls[0] == 4 else 1.0))

    monkeypatch.setattr(Tensor, "backward", backward)
    found = run(9, few(lr_floor=1.0))
    assert (found.broken, found.steps) == ("a gradient became NaN", 3)
    assert identical(found.fields, wanted.fields)


def test_a_cancellation_ends_it_after_the_step() -> None:
    wanted = run(3, few(lr_floor=1.0))
    with pytest.MonkeyPatch.context() as patch:
        found = run(9, few(lr_floor=1.0), cancel=cancelled_in(3, patch).cancel)
    assert (found.broken, found.steps) == ("interrupted", 3)
    assert identical(found.fields, wanted.fields)


def test_a_cancellation_before_the_first_step_leaves_the_start() -> None:
    cancel = Cancel()
    cancel.request()
    found = run(8, cancel=cancel)
    assert (found.broken, found.steps) == ("interrupted", 0)
    assert usable(found.fields)
    torch.testing.assert_close(found.fields["means"], start()["means"])


def test_a_cancellation_while_looking_ends_it_with_what_was_reached() -> None:
    cancel = Cancel()
    found = run(8, marks=(0.5,), on_mark=lambda *_: cancel.request(), cancel=cancel)
    assert found.broken == "interrupted"
    assert found.steps in (4, 5)
    assert usable(found.fields)


def test_an_interrupt_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line turns Ctrl-C into a cancellation; whoever raises KeyboardInterrupt wants to leave."""
    interrupted_in(4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(9, cancel=Cancel())


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock's time, which advances by a tenth of a second whenever it is read."""
    seconds = [0.0]

    def tick() -> float:
        seconds[0] += 0.1
        return seconds[0]

    monkeypatch.setattr(time, "perf_counter", tick)
    return seconds


@pytest.mark.usefixtures("now")
def test_seconds_end_it() -> None:
    found = optimise(start(), training(), range(24), few(), Budget(seconds=1.0), FREE)
    assert 5 <= found.steps <= 10
    assert usable(found.fields)


def test_time_spent_looking_is_not_counted(now: list[float]) -> None:
    def on_mark(_share: float, _fields: object) -> None:
        now[0] += 50.0

    assert optimise(start(), training(), range(24), few(), Budget(seconds=1.0), FREE, marks=(0.3,), on_mark=on_mark).steps > 4


def test_no_needles_and_opacities_and_colours_between_0_and_1() -> None:
    given = dict(start())
    given["scales"] = given["scales"] * torch.tensor([1.0, 1.0, 0.001])
    given["opacities"] = torch.linspace(0, 1, len(given["opacities"]))
    after = run(5, few(max_anisotropy=5.0), {**FREE, "opacities": 2.0, "scales": 1.0, "colors": 0.5}, start=given).fields
    assert bool(((after["colors"] >= 0) & (after["colors"] <= 1)).all())
    assert float((after["scales"].amax(-1) / after["scales"].amin(-1)).max()) <= 5.0 * (1 + 1e-5)
    assert bool(((after["opacities"] > 0) & (after["opacities"] < 1)).all())
    assert usable(after)


def test_it_works_under_no_grad() -> None:
    with torch.no_grad():
        found = run(3)
    assert identical(found.fields, run(3).fields)


def test_the_fast_renderer_and_the_reference_optimise_alike() -> None:
    fast, slow = (run(3, few(backend=backend, batch=2)).fields for backend in ("cpu", "reference"))
    for name, t in fast.items():
        torch.testing.assert_close(t, slow[name], rtol=1e-4, atol=1e-4, msg=name)
    assert float((fast["means"] - start()["means"]).abs().max()) > 5e-3
