"""The training loop: one process, data from worker processes, exact resume.

A step's batch is a pure function of (seed, step), and a checkpoint holds weights, optimiser, EMA, step and config, so a
resumed run gives identical numbers. Checkpoints are written between steps only.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from chronosplat.data.bank import VALIDATION, ClipBank
from chronosplat.data.clipset import ClipSet
from chronosplat.data.sampling import TrainingBatch, training_batch
from chronosplat.events import Events
from chronosplat.models import find_model
from chronosplat.models.lrm4d import LRM4D, LRM4DConfig, model_from_file
from chronosplat.models.precision import bf16_is_fast
from chronosplat.models.weights import save_weights
from chronosplat.shapes import InputError
from chronosplat.train.checkpoint import changed, load_state, save_state
from chronosplat.train.config import TrainConfig
from chronosplat.train.objective import compute_loss

log = logging.getLogger("chronosplat")
# settings that change no result; the clips are compared by their digest
INCIDENTAL = ("shards", "bank", "device", "workers", "backend", "log_every", "save_every", "sample_every")


class BatchStream(IterableDataset[TrainingBatch]):
    """The batches from a step on; workers take turns, so that the order does not depend on their number."""

    def __init__(self, config: TrainConfig, folder: Path, first: int) -> None:
        self.config, self.first = config, first
        self.clips = open_clips(config, folder)

    def __iter__(self) -> Iterator[TrainingBatch]:
        info = torch.utils.data.get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if info:
            torch.set_num_threads(1)
        for step in range(self.first + worker, self.config.steps, workers):
            count = self.clips.usable(self.config.clips(step))
            yield training_batch(self.clips, step, self.config.phase(step), count, self.config.seed)


def open_clips(config: TrainConfig, folder: Path) -> ClipBank | ClipSet:
    """Open the clips of a run: a data set of shards, or a bank that is rendered to ``folder``.

    Raises:
        InputError: there are none.
    """
    return ClipSet(config.shards, config.bank.excluded()) if config.shards else ClipBank(config.bank, folder)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate: linear warm-up, then a cosine down to ``lr_floor`` of the peak."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.lr * (config.lr_floor + (1 - config.lr_floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def make_optimizer(model: LRM4D, config: TrainConfig) -> torch.optim.AdamW:
    """Create AdamW with weight decay on matrices only (GS-LRM, appendix A.3)."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)


class Ema:
    """An exponential moving average of the weights, with a smaller decay in the first steps."""

    def __init__(self, model: LRM4D, decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: LRM4D, step: int) -> None:
        """Update the average after a step."""
        rate = 1 - min(self.decay, (step + 1) / (step + 10))
        for name, p in model.named_parameters():
            self.weights[name].lerp_(p.detach(), rate)


class Trainer:
    """A run in a folder: ``state.safetensors`` (checkpoint), ``weights.safetensors`` (EMA), ``log.jsonl``, ``samples/``, ``bank/``.

    Args:
        allow_changes: resume a checkpoint of another config, for example with a smaller learning rate.

    Raises:
        InputError: no data, a model without a training recipe, or a checkpoint of another model or config.
    """

    def __init__(self, config: TrainConfig, folder: str | Path, allow_changes: bool = False) -> None:
        self.config, self.folder = config, Path(folder)
        architecture = find_model(config.preset).config
        if not isinstance(architecture, LRM4DConfig):
            raise InputError(f"preset: {config.preset} has no training recipe; train a 4d-lrm model")
        clips = open_clips(config, self.folder / "bank")  # raises without data, before anything is written
        self.settings = {name: value for name, value in asdict(config).items() if name not in INCIDENTAL}
        self.settings["bank"] = clips.digest()  # identifies the clips, wherever their files are
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        if config.bank.assets:
            split = "included" if config.bank.include_validation else "excluded"
            log.info("%d asset files; the validation split (%s, ...) is %s", len(config.bank.files()), VALIDATION[0], split)
        self.model = model_from_file(config.init) if config.init else LRM4D(architecture)
        self.model.to(config.device).train()
        self.optimizer = make_optimizer(self.model, config)
        self.ema = Ema(self.model, config.ema)
        self.step = 0
        state = self.folder / "state.safetensors"
        if state.is_file():
            if (differences := changed(state, self.settings)) and not allow_changes:
                problem = f"{state}: a checkpoint of another config ({'; '.join(differences)})"
                raise InputError(problem, "choose another {output}, or add {allow_changes}", output=..., allow_changes=...)
            self.step = load_state(state, self.model, self.optimizer, self.ema.weights)
            log.info("resumed %s at step %d", state, self.step)
        (self.folder / "config.json").write_text(json.dumps(asdict(config), indent=1))

    def batches(self) -> Iterator[TrainingBatch]:
        """Iterate over the remaining batches."""
        stream = BatchStream(self.config, self.folder / "bank", self.step)
        workers = self.config.workers
        loader = DataLoader(stream, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)
        return iter(loader)

    def run(self, stop_at: int | None = None, events: Events | None = None) -> Iterator[dict[str, float]]:
        """Train to the end or to step ``stop_at``; yield log rows.

        Saves at intervals, at the end and when cancelled. After an exception within a step the last checkpoint stays, because the
        state may be half updated.
        """
        end = min(self.config.steps, stop_at or self.config.steps)
        if self.step >= end:
            return
        cancel = (events or Events()).cancel
        started, rows, is_whole = time.perf_counter(), [], True
        try:
            with cancel.watched():
                for batch in self.batches():
                    is_whole = False
                    rows.append(self._train_step(batch.to(self.config.device)))
                    self.step += 1
                    is_whole = True
                    if self.step % self.config.log_every == 0 or self.step == end:
                        seconds = (time.perf_counter() - started) / len(rows)
                        yield self._log(rows, seconds)
                        started, rows = time.perf_counter(), []
                    if self.step % self.config.save_every == 0:
                        self.save()
                    if self.step >= end or cancel.requested:
                        break
        finally:
            if is_whole:
                self.save()

    def _train_step(self, batch: TrainingBatch) -> dict[str, float]:
        c, rate = self.config, learning_rate(self.config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        precision = torch.bfloat16 if bf16_is_fast(c.device) else torch.float32
        loss = compute_loss(self.model, batch, c.loss, c.backend, precision)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip_norm)
        if torch.isfinite(norm):  # one bad batch must not corrupt the run
            self.optimizer.step()
            self.ema.update(self.model, self.step)
        else:
            log.warning("step %d: gradients are not finite, step skipped", self.step)
        if self.step % c.sample_every == 0:
            strip = torch.cat([loss.target[0], loss.rendered[0].detach()], 1).float().cpu()  # targets above, renderings below
            save_strip(strip, self.folder / "samples" / f"{self.step:06d}.png")
        parts = {name: float(getattr(loss, name).detach()) for name in ("total", "rgb", "alpha", "structure", "surface", "motion")}
        return {**parts, "gradient": float(norm), "lr": rate, "samples": float(len(batch.rgba)), "inputs": float(batch.inputs)}

    def _log(self, rows: list[dict[str, float]], seconds: float) -> dict[str, float]:
        row = {name: sum(r[name] for r in rows) / len(rows) for name in rows[0]}
        row = {"step": float(self.step), "psnr": -10 * math.log10(row["rgb"] + 1e-12), **row, "seconds": seconds}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({k: round(v, 6) for k, v in row.items()}) + "\n")
        return row

    def save(self) -> None:
        """Write the checkpoint, and the EMA weights for use, each by atomic rename."""
        save_state(self.folder / "state.safetensors", self.model, self.optimizer, self.ema.weights, self.step, self.settings)
        path, notes = self.folder / "weights.safetensors", {"step": str(self.step)}
        save_weights(asdict(self.model.config), self.config.preset, self.ema.weights, path, notes)


def save_strip(images: Tensor, path: Path) -> None:
    """Write images [F, H, W, 3] side by side as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    strip = torch.cat(list(images.clamp(0, 1)), 1).numpy()
    Image.fromarray((strip * 255 + 0.5).astype(np.uint8)).save(path)
