"""Resuming a run: other settings are refused with their names, a torn step is never saved, a cancellation saves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from chronosplat.data.bank import BankRecipe
from chronosplat.data.sampling import Phase
from chronosplat.events import Events
from chronosplat.shapes import InputError
from chronosplat.train.config import TrainConfig
from chronosplat.train.loop import Trainer
from chronosplat.train.objective import LossWeights
from tests.data.test_bank import models
from tests.train.test_loop import config

STATE = "state.safetensors"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps of four."""
    folder = tmp_path_factory.mktemp("begun")
    list(Trainer(config(), folder).run(stop_at=2))
    return folder


@pytest.fixture
def run_folder(begun: Path, tmp_path: Path) -> Path:
    """A copy of it, without its clips."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / STATE).write_bytes((begun / STATE).read_bytes())
    return tmp_path / "run"


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "lr": ({"lr": 1e-3}, "lr: 0.0005 -> 0.001"),
    "decay": ({"weight_decay": 0.1}, "weight_decay: 0.05 -> 0.1"),
    "seed": ({"seed": 7}, "seed: 0 -> 7"),
    "steps": ({"steps": 6}, "steps: 4 -> 6"),
    "loss": ({"loss": LossWeights(alpha=0.25)}, "loss.alpha: 0.5 -> 0.25"),
    "phases": ({"phases": (Phase(until=1.0, size=32, images=4, targets=2),)}, "phases: "),
    "clips": ({"bank": BankRecipe(size=32, frames=4, extra_views=1, samples=1)}, "bank: "),
}


def test_the_expected_settings_are_the_run_s() -> None:
    assert (config().lr, config().weight_decay, config().seed) == (5e-4, 0.05, 0)


@pytest.mark.parametrize("what", CHANGES)
def test_other_settings_are_refused_and_named(run_folder: Path, what: str) -> None:
    change, line = CHANGES[what]
    before = (run_folder / STATE).read_bytes()
    with pytest.raises(InputError) as found:
        Trainer(replace(config(), **change), run_folder)
    message = str(found.value)
    assert "a checkpoint of another config" in message
    assert line in message
    assert message.endswith("choose another output, or add allow_changes")
    assert "\n" not in message
    assert (run_folder / STATE).read_bytes() == before
    assert not (run_folder / "config.json").exists()


def test_all_other_settings_are_named(run_folder: Path) -> None:
    with pytest.raises(InputError, match=r"lr: 0\.0005 -> 0\.001; seed: 0 -> 7"):
        Trainer(replace(config(), lr=1e-3, seed=7), run_folder)


@pytest.mark.parametrize("what", CHANGES)
def test_other_settings_are_allowed_on_request(run_folder: Path, what: str) -> None:
    trainer = Trainer(replace(config(), **CHANGES[what][0]), run_folder, allow_changes=True)
    assert trainer.step == 2


def test_allowed_settings_are_the_checkpoint_s_from_then_on(run_folder: Path) -> None:
    other = replace(config(), lr=1e-3)
    list(Trainer(other, run_folder, allow_changes=True).run(stop_at=3))
    assert Trainer(other, run_folder).step == 3
    with pytest.raises(InputError, match=r"lr: 0\.001 -> 0\.0005"):
        Trainer(config(), run_folder)


@pytest.mark.parametrize("change", [{"log_every": 7}, {"save_every": 1}, {"sample_every": 9}, {"workers": 1}, {"backend": "reference"}])
def test_settings_that_change_no_result_are_not_compared(run_folder: Path, change: dict[str, Any]) -> None:
    assert Trainer(replace(config(), **change), run_folder).step == 2


def test_moved_assets_are_the_same_and_changed_ones_are_not(tmp_path: Path) -> None:
    folder = models(tmp_path / "models", "cat", "dog")
    recipe = BankRecipe(assets=folder, size=16, frames=2, extra_views=1, samples=1)
    small = replace(config(), phases=(Phase(until=1.0, size=16, images=4, targets=1),), bank=recipe)
    list(Trainer(small, tmp_path / "run").run(stop_at=1))
    (tmp_path / "models").rename(tmp_path / "moved")
    moved = replace(small, bank=replace(recipe, assets=str(tmp_path / "moved")))
    assert Trainer(moved, tmp_path / "run").step == 1
    (tmp_path / "moved/eel.glb").write_bytes((tmp_path / "moved/cat.glb").read_bytes())
    with pytest.raises(InputError, match="a checkpoint of another config \\(bank: "):
        Trainer(moved, tmp_path / "run")


@pytest.mark.parametrize(("include", "said"), [(False, "excluded"), (True, "included")])
def test_the_log_says_whether_the_validation_split_is_trained_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, include: bool, said: str
) -> None:
    caplog.set_level("INFO", "chronosplat")
    recipe = BankRecipe(assets=models(tmp_path / "models", "cat", "q_animals_husky"), include_validation=include, size=32, frames=2)
    Trainer(replace(config(), bank=recipe), tmp_path / "run")
    assert f"{1 + include} asset files; the validation split" in caplog.text
    assert f"is {said}" in caplog.text


def failing_at(step: int, error: type[BaseException]) -> Callable[..., None]:
    """A hook that raises within a training step: the weights are new, their average and the step number are not."""
    steps = [0]

    def hook(*_: object) -> None:
        steps[0] += 1
        if steps[0] == step:
            raise error

    return hook


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_exception_within_a_step_leaves_the_last_checkpoint(tmp_path: Path, error: type[BaseException]) -> None:
    every = replace(config(), save_every=1)
    whole = Trainer(every, tmp_path / "whole")
    list(whole.run())
    torn = Trainer(every, tmp_path / "torn")
    hook = register_optimizer_step_post_hook(failing_at(3, error))
    try:
        with pytest.raises(error):
            list(torn.run())
    finally:
        hook.remove()
    resumed = Trainer(every, tmp_path / "torn")
    assert resumed.step == 2
    list(resumed.run())
    for name, p in whole.model.named_parameters():
        assert torch.allclose(p, dict(resumed.model.named_parameters())[name], atol=1e-6, rtol=0), name
        assert torch.allclose(whole.ema.weights[name], resumed.ema.weights[name], atol=1e-6, rtol=0), name


def test_an_exception_within_the_first_step_leaves_no_checkpoint(tmp_path: Path) -> None:
    hook = register_optimizer_step_post_hook(failing_at(1, RuntimeError))
    try:
        with pytest.raises(RuntimeError):
            list(Trainer(config(), tmp_path).run())
    finally:
        hook.remove()
    assert not (tmp_path / STATE).exists()


def test_a_cancellation_saves_after_the_step(tmp_path: Path) -> None:
    """It comes in the middle of a step: that one is finished, no further one is begun."""
    trainer, events = Trainer(config(), tmp_path / "parts"), Events()
    seen: list[bool] = []

    def hook(*_: object) -> None:
        seen.append(events.cancel.is_watched)
        if len(seen) == 3:
            events.cancel.request()

    handle = register_optimizer_step_post_hook(hook)
    try:
        rows = list(trainer.run(events=events))
    finally:
        handle.remove()
    assert seen == [True] * 3
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert not events.cancel.is_watched
    again = Trainer(config(), tmp_path / "parts")
    assert again.step == 3
    whole = Trainer(config(), tmp_path / "whole")
    list(whole.run())
    list(again.run())
    for name, p in whole.model.named_parameters():
        assert torch.allclose(p, dict(again.model.named_parameters())[name], atol=1e-6, rtol=0), name


def test_a_reader_that_stops_saves_the_steps_so_far(tmp_path: Path) -> None:
    rows = Trainer(config(), tmp_path).run()
    next(rows)
    next(rows)
    rows.close()
    assert Trainer(config(), tmp_path).step == 2


def test_the_config_is_kept_beside_the_checkpoint(begun: Path) -> None:
    kept = json.loads((begun / "config.json").read_text())
    assert kept["lr"] == config().lr
    assert kept["bank"]["clip_seed"] == 0


def test_a_model_without_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="l4gm has no training recipe"):
        Trainer(TrainConfig(preset="l4gm"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
