"""The checkpoint: everything comes back, another model is refused, and other settings are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chronosplat.shapes import InputError
from chronosplat.train.checkpoint import changed, load_state, save_state

CONFIG = {"lr": 0.1, "betas": (0.9, 0.95), "loss": {"alpha": 0.5, "motion": 0.03}, "phases": [{"size": 64}, {"size": 128}]}


def trained(steps: int, width: int = 4) -> tuple[nn.Module, torch.optim.AdamW, dict[str, Tensor]]:
    torch.manual_seed(steps)
    model = nn.Sequential(nn.Linear(3, width), nn.Linear(width, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer, {name: p.detach() * 0.5 for name, p in model.named_parameters()}


def test_everything_comes_back(tmp_path: Path) -> None:
    model, optimizer, ema = trained(3)
    save_state(tmp_path / "state.safetensors", model, optimizer, ema, 3, CONFIG)
    again, fresh, average = trained(0)
    assert load_state(tmp_path / "state.safetensors", again, fresh, average) == 3
    for (name, p), q in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
        assert torch.equal(ema[name], average[name])
        for key in ("exp_avg", "exp_avg_sq", "step"):
            assert torch.equal(optimizer.state[p][key], fresh.state[q][key]), key


def test_the_next_step_is_the_same(tmp_path: Path) -> None:
    model, optimizer, ema = trained(3)
    save_state(tmp_path / "state.safetensors", model, optimizer, ema, 3, CONFIG)
    again, fresh, average = trained(0)
    load_state(tmp_path / "state.safetensors", again, fresh, average)
    x = torch.ones(2, 3)
    for m, o in ((model, optimizer), (again, fresh)):
        o.zero_grad()
        m(x).square().sum().backward()
        o.step()
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)


def test_state_before_the_first_step(tmp_path: Path) -> None:
    model, optimizer, ema = trained(0)
    save_state(tmp_path / "state.safetensors", model, optimizer, ema, 0, CONFIG)
    again, fresh, average = trained(0)
    assert load_state(tmp_path / "state.safetensors", again, fresh, average) == 0
    assert not fresh.state


def test_state_of_another_model_is_refused(tmp_path: Path) -> None:
    model, optimizer, ema = trained(1)
    save_state(tmp_path / "state.safetensors", model, optimizer, ema, 1, CONFIG)
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1))
    weights = {name: p.detach().clone() for name, p in other.named_parameters()}
    with pytest.raises(InputError, match=r"a checkpoint of another model \(model\.2\.bias is missing\); choose another folder"):
        load_state(tmp_path / "state.safetensors", other, torch.optim.AdamW(other.parameters()), weights)


def test_state_of_another_width_is_refused(tmp_path: Path) -> None:
    model, optimizer, ema = trained(1)
    save_state(tmp_path / "state.safetensors", model, optimizer, ema, 1, CONFIG)
    other, fresh, average = trained(0, width=6)
    with pytest.raises(InputError, match="another model"):
        load_state(tmp_path / "state.safetensors", other, fresh, average)


def saved(folder: Path) -> Path:
    """A checkpoint with CONFIG."""
    model, optimizer, ema = trained(1)
    save_state(folder / "state.safetensors", model, optimizer, ema, 1, CONFIG)
    return folder / "state.safetensors"


def test_the_same_settings_are_unchanged(tmp_path: Path) -> None:
    """Tuples are lists in a file."""
    assert changed(saved(tmp_path), CONFIG) == []
    assert changed(saved(tmp_path), {**CONFIG, "betas": [0.9, 0.95]}) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"lr": 0.05}, "lr: 0.1 -> 0.05"),
        ({"betas": (0.9, 0.99)}, "betas: [0.9, 0.95] -> [0.9, 0.99]"),
        ({"loss": {"alpha": 0.5, "motion": 0.1}}, "loss.motion: 0.03 -> 0.1"),
        ({"seed": 3}, "seed: None -> 3"),
    ],
)
def test_every_difference_is_named(tmp_path: Path, change: dict[str, object], line: str) -> None:
    assert changed(saved(tmp_path), {**CONFIG, **change}) == [line]


def test_all_differences_are_named(tmp_path: Path) -> None:
    now = {"lr": 0.2, "loss": {"alpha": 0.5, "motion": 0.0}, "phases": CONFIG["phases"]}
    assert changed(saved(tmp_path), now) == ["betas: [0.9, 0.95] -> None", "loss.motion: 0.03 -> 0.0", "lr: 0.1 -> 0.2"]


def test_a_checkpoint_without_settings_differs_in_nothing(tmp_path: Path) -> None:
    """As those of earlier versions."""
    path = saved(tmp_path)
    tensors = load_file(path)
    save_file(tensors, path, {"step": "1"})
    assert changed(path, CONFIG) == []
