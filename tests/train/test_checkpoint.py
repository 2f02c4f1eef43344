"""The state file: everything comes back, and the state of another model is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chronosplat.shapes import InputError
from chronosplat.train.checkpoint import load_state, save_state


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
    save_state(tmp_path / "state.safetensors", model, optimizer, ema, 3)
    again, fresh, average = trained(0)
    assert load_state(tmp_path / "state.safetensors", again, fresh, average) == 3
    for (name, p), q in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
        assert torch.equal(ema[name], average[name])
        for key in ("exp_avg", "exp_avg_sq", "step"):
            assert torch.equal(optimizer.state[p][key], fresh.state[q][key]), key


def test_the_next_step_is_the_same(tmp_path: Path) -> None:
    model, optimizer, ema = trained(3)
    save_state(tmp_path / "state.safetensors", model, optimizer, ema, 3)
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
    save_state(tmp_path / "state.safetensors", model, optimizer, ema, 0)
    again, fresh, average = trained(0)
    assert load_state(tmp_path / "state.safetensors", again, fresh, average) == 0
    assert not fresh.state


def test_state_of_another_model_is_refused(tmp_path: Path) -> None:
    model, optimizer, ema = trained(1)
    save_state(tmp_path / "state.safetensors", model, optimizer, ema, 1)
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1))
    weights = {name: p.detach().clone() for name, p in other.named_parameters()}
    with pytest.raises(InputError, match=r"the state of another model \(model\.2\.bias is missing\); choose another folder"):
        load_state(tmp_path / "state.safetensors", other, torch.optim.AdamW(other.parameters()), weights)


def test_state_of_another_width_is_refused(tmp_path: Path) -> None:
    model, optimizer, ema = trained(1)
    save_state(tmp_path / "state.safetensors", model, optimizer, ema, 1)
    other, fresh, average = trained(0, width=6)
    with pytest.raises(InputError, match="another model"):
        load_state(tmp_path / "state.safetensors", other, fresh, average)
