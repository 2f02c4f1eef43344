"""The training loop: schedule, exact resume, logs, and that it learns."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from chronosplat.data.bank import VALIDATION, BankRecipe
from chronosplat.data.clipset import ClipSet
from chronosplat.data.sampling import Phase
from chronosplat.data.shards import write_shard
from chronosplat.models.lrm4d import model_from_file
from chronosplat.shapes import InputError
from chronosplat.train.config import TrainConfig
from chronosplat.train.loop import Ema, Trainer, learning_rate, make_optimizer
from chronosplat.train.objective import LossWeights, compute_loss
from tests.data.shard_kit import small_clip
from tests.train.test_objective import batch, fresh_model


def config(steps: int = 4) -> TrainConfig:
    return TrainConfig(
        steps=steps,
        warmup=2,
        clips_start=2,
        clips_per_step=0.5,
        phases=(Phase(until=0.5, size=16, images=4, targets=2), Phase(until=1.0, size=32, images=4, targets=2)),
        bank=BankRecipe(size=32, frames=3, extra_views=1, samples=1),
        workers=0,
        log_every=1,
        save_every=100,
        sample_every=100,
    )


def test_learning_rate_rises_then_falls_to_its_floor() -> None:
    c = TrainConfig(steps=1000, warmup=100, lr=1e-3, lr_floor=0.1)
    rates = [learning_rate(c, step) for step in range(1001)]
    assert rates[0] == pytest.approx(1e-5)
    assert rates[49] == pytest.approx(5e-4)
    assert max(rates) == pytest.approx(1e-3)
    assert rates.index(max(rates)) in (99, 100)
    assert all(a < b for a, b in pairwise(rates[:100]))
    assert all(a > b for a, b in pairwise(rates[100:1000]))
    assert rates[550] == pytest.approx(1e-3 * 0.55)
    assert rates[1000] == pytest.approx(1e-4)
    assert learning_rate(c, 5000) == pytest.approx(1e-4)


def test_phases_follow_the_steps() -> None:
    c = config(10)
    assert [c.phase(step).size for step in (0, 4, 5, 9, 50)] == [16, 16, 32, 32, 32]
    assert [c.clips(step) for step in (0, 1, 2, 7)] == [2, 2, 3, 5]


def test_weight_decay_is_on_matrices_only() -> None:
    model = fresh_model()
    decayed, plain = make_optimizer(model, config()).param_groups
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in plain["params"])
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))


def test_ema_moves_towards_the_weights() -> None:
    model = fresh_model()
    ema = Ema(model, 0.9)
    before = ema.weights["embed.weight"].clone()
    with torch.no_grad():
        model.embed.weight.add_(1.0)
    ema.update(model, 0)
    assert torch.allclose(ema.weights["embed.weight"], before + 0.9, atol=1e-5)  # quick at first: decay 1 / 10
    ema.update(model, 10_000)
    assert torch.allclose(ema.weights["embed.weight"], before + 0.91, atol=1e-5)


def test_resumed_run_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    whole = Trainer(config(), tmp_path / "whole")
    rows = list(whole.run())
    assert list(Trainer(config(), tmp_path / "parts").run(stop_at=2))[-1]["step"] == 2
    second = Trainer(config(), tmp_path / "parts")
    assert second.step == 2
    rest = list(second.run())
    assert [row["step"] for row in rest] == [3, 4]
    for name, p in whole.model.named_parameters():
        assert torch.allclose(p, dict(second.model.named_parameters())[name], atol=1e-6, rtol=0), name
        assert torch.allclose(whole.ema.weights[name], second.ema.weights[name], atol=1e-6, rtol=0), name
    assert [row["total"] for row in rest] == pytest.approx([row["total"] for row in rows[2:]], rel=1e-5)


def test_a_run_leaves_its_files(tmp_path: Path) -> None:
    trainer = Trainer(replace(config(), steps=2), tmp_path)
    before = {name: w.clone() for name, w in trainer.ema.weights.items()}
    list(trainer.run())
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert row.keys() >= {"step", "psnr", "total", "rgb", "alpha", "structure", "gradient", "lr", "seconds"}
        assert row["total"] > 0
        assert row["gradient"] > 0
    assert rows[0]["lr"] == pytest.approx(2.5e-4)
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 2
    assert [p.name for p in (tmp_path / "samples").iterdir()] == ["000000.png"]
    assert any(not torch.equal(before[name], w) for name, w in trainer.ema.weights.items())
    weights = model_from_file(tmp_path / "weights.safetensors")
    assert torch.allclose(weights.embed.weight, trainer.ema.weights["embed.weight"], atol=1e-3)


def test_a_finished_run_does_nothing(tmp_path: Path) -> None:
    list(Trainer(replace(config(), steps=1), tmp_path).run())
    assert list(Trainer(replace(config(), steps=1), tmp_path).run()) == []


def test_loss_falls_on_a_fixed_batch() -> None:
    model, b = fresh_model(), batch()
    optimizer = make_optimizer(model, replace(config(), lr=1e-3))
    losses = []
    for _ in range(15):
        loss = compute_loss(model, b, LossWeights(), "cpu").total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]  # a tenth is found


def test_a_run_on_shards_resumes_wherever_they_lie(tmp_path: Path) -> None:
    """The checkpoint knows the clips, not their address; clips that are held out are not trained on."""
    keep = ["a", "b", VALIDATION[0]]
    clips = [replace(small_clip(f"clip{i}", i, size=32), facts={"uid": uid}) for i, uid in enumerate(keep)]
    for place in ("one", "two"):
        write_shard(tmp_path / place / "shard-000000.tar", clips)
    on_shards = replace(config(), shards=(str(tmp_path / "one"),))
    assert [p.entry.uid for p in ClipSet(on_shards.shards, on_shards.bank.excluded()).places] == ["a", "b"]
    whole = Trainer(on_shards, tmp_path / "whole")
    rows = list(whole.run())
    assert all(row["surface"] == 0 for row in rows)  # unknown geometry is no error
    list(Trainer(on_shards, tmp_path / "parts").run(stop_at=2))
    resumed = Trainer(replace(on_shards, shards=(str(tmp_path / "two"),)), tmp_path / "parts")
    assert resumed.step == 2
    list(resumed.run())
    for name, p in whole.model.named_parameters():
        assert torch.equal(p, dict(resumed.model.named_parameters())[name]), name
    assert not (tmp_path / "parts/bank").exists()
    write_shard(tmp_path / "two/shard-000001.tar", [small_clip("more", 9, size=32)])
    with pytest.raises(InputError, match="another config \\(bank: "):
        Trainer(replace(on_shards, shards=(str(tmp_path / "two"),)), tmp_path / "parts")
