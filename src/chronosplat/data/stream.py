"""A run's batches from shards: shuffled, endless, the same after a resume, whatever the number of worker processes.

Batch b of a rank is a pure function of the seed, b, and the clips; so the state of a run is b. Each epoch every clip is read once,
by one rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from chronosplat.data.clipset import ClipSet, clip_at
from chronosplat.data.draws import Draw, Sample
from chronosplat.shapes import InputError

DRAWS = 2  # tells this use of a seed from others


@dataclass(frozen=True)
class StreamOptions:
    """How a run reads its data.

    Attributes:
        batch: samples of a batch, on each rank.
        draws: samples drawn from a clip each time it is read, in successive batches; more of them need less reading.
        seed: of the order and the draws.
        rank, ranks: this process and their number.
        workers: processes that prepare batches; 0 prepares them in this one.
    """

    batch: int = 8
    draws: int = 1
    seed: int = 0
    rank: int = 0
    ranks: int = 1
    workers: int = 0

    def __post_init__(self) -> None:
        if self.batch < 1 or self.draws < 1 or self.workers < 0 or not 0 <= self.rank < self.ranks:
            got = f"batch {self.batch}, draws {self.draws}, workers {self.workers}, rank {self.rank} of {self.ranks}"
            raise InputError(f"stream: expected batch >= 1, draws >= 1, workers >= 0 and rank in [0, ranks); got {got}")


class SampleStream:
    """Iterate over a rank's batches, forever; ``state_dict`` counts those that were handed out."""

    def __init__(self, clips: ClipSet, draw: Draw, options: StreamOptions = StreamOptions()) -> None:
        self.clips, self.draw, self.options = clips, draw, options
        self.step = 0

    def batch(self, step: int) -> Sample:
        """Return a batch: a pure function of the step.

        Raises:
            InputError: a clip is damaged, or does not fit the draw.
        """
        o = self.options
        turn, of_turn = divmod(step, o.draws)  # a turn reads `batch` clips and draws from each `draws` times
        samples = []
        for position in range(o.batch):
            slot = (turn * o.ranks + o.rank) * o.batch + position
            clip = self.clips.clip(clip_at(slot, len(self.clips), o.seed))
            samples.append(self.draw(clip, np.random.default_rng((DRAWS, o.seed, slot, of_turn))))
        return Sample.stack(samples)

    def __iter__(self) -> Iterator[Sample]:
        workers = self.options.workers
        turns = DataLoader(_Turns(self, self.step), batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None)
        for batches in turns:
            for batch in batches:
                self.step += 1
                yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return what resumes the sequence, as plain JSON."""
        o = self.options
        return {"step": self.step, "clips": self.clips.digest(), "batch": o.batch, "draws": o.draws, "seed": o.seed, "ranks": o.ranks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the last batch that was handed out; the number of workers may differ.

        Raises:
            InputError: the state of another sequence: other clips, batch size, draws, seed or number of ranks.
        """
        mine = self.state_dict()
        if differences := [
            f"{name} {state.get(name)} -> {mine[name]}" for name in mine if name != "step" and state.get(name) != mine[name]
        ]:
            raise InputError(f"stream: the state of another sequence ({'; '.join(differences)})")
        self.step = int(state["step"])


class _Turns(IterableDataset[list[Sample]]):
    """The batches that are drawn from one reading of their clips; workers take turns, so that the order is the same with any number."""

    def __init__(self, stream: SampleStream, first: int) -> None:
        self.stream, self.first = stream, first

    def __iter__(self) -> Iterator[list[Sample]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if info:
            torch.set_num_threads(1)
        draws = self.stream.options.draws
        turn = self.first // draws + worker
        while True:
            yield [self.stream.batch(step) for step in range(max(turn * draws, self.first), (turn + 1) * draws)]
            turn += workers
