"""A run over a whole video: one chunk at a time, written as it is done, resumed where it stopped.

A chunk passes little to the next (renderings of its last Gaussians from all azimuths), which a file of its own keeps with the
number of finished chunks. That file is replaced only after the chunk's frames are on the disk, so a run that was killed at
any time resumes with the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.captures.views import on_white
from chronosplat.files import write_tensors
from chronosplat.models.l4gm import L4GM, PredictedSplats
from chronosplat.scenes import SequenceWriter
from chronosplat.sequences.between import FACTOR, between_times, interpolate_pair
from chronosplat.sequences.chunks import Span, frame_of, plan_chunks, reconstruct_chunk, render_views

STATE = "progress.safetensors"


class FrameSource(Protocol):
    """Frames of a reference camera; :class:`chronosplat.captures.ObjectVideo` is one."""

    @property
    def times(self) -> Tensor:
        """[T] seconds, rising."""
        ...

    def frames(self, size: int, which: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Straight colours [size, size, 3] and alphas [size, size, 1] of the frames ``which``, one at a time."""
        ...


@dataclass(frozen=True)
class Plan:
    """A run's inputs; two runs of the same plan write the same file.

    Attributes:
        model: reconstructs. between: interpolates; None keeps the frame rate. chunk: frames of a forward pass.
        stamp: identifies the input, the weights and all else that the result depends on; progress of another stamp is not used.
    """

    model: L4GM
    between: L4GM | None
    chunk: int
    stamp: str
    world: Similarity
    notes: dict[str, str]


@dataclass(frozen=True)
class ChunkDone:
    """Finished chunks of all, and the output frames that the last one added."""

    done: int
    chunks: int
    added: range


def run_sequence(
    plan: Plan, source: FrameSource, first_views: Tensor, folder: Path, name: str = "scene.safetensors"
) -> Iterator[ChunkDone]:
    """Reconstruct into ``folder/NAME``, resuming a run of the same plan.

    Args:
        source: the video. first_views: [V, H, W, 3] on white, the first frame from all azimuths.

    Yields:
        After every chunk, when its frames are on the disk.

    Raises:
        InputError: images that do not fit, or no room on the disk.
    """
    config = plan.model.config
    factor = 1 if plan.between is None else FACTOR
    times = source.times if plan.between is None else between_times(source.times)
    spans = plan_chunks(len(source.times), plan.chunk)
    with SequenceWriter(folder / name, times, config.num_gaussians, plan.world, plan.notes) as writer:
        done, views = _read_state(folder / STATE, plan.stamp) if writer.continued else (0, None)
        views = first_views if views is None else views
        pictures = _chunks_of(source, spans[done:], config.input_size)
        if done:
            yield ChunkDone(done, len(spans), range(factor * spans[done - 1].last + 1))
        for index, span in enumerate(spans[done:], done):
            ready = next(pictures)
            predicted = reconstruct_chunk(plan.model, ready, views)
            added = _added(span, factor)
            if plan.between is None or len(times) == 1:
                fresh = slice(0 if index == 0 else 1, None)
                writer.write(added.start, {name: t[0, fresh] for name, t in predicted.fields().items()})
                views = render_views(frame_of(predicted, len(span) - 1), config)
            else:
                views = _write_between(plan.between, writer, span, ready, predicted, None if index == 0 else views)
            writer.flush()
            write_tensors({"views": views}, folder / STATE, {"done": str(index + 1), "stamp": plan.stamp})
            yield ChunkDone(index + 1, len(spans), added)


def _added(span: Span, factor: int) -> range:
    """The output frames that a chunk adds."""
    return range(factor * span.first + (span.first > 0), factor * span.last + 1)


def _write_between(
    model: L4GM, writer: SequenceWriter, span: Span, pictures: Tensor, predicted: PredictedSplats, views: Tensor | None
) -> Tensor:
    """Write the frames of a chunk with those in between, and return the last one seen from all sides.

    Args:
        views: how the chunk before saw the first frame; None in the first chunk.
    """

    def seen(index: int) -> Tensor:
        """A frame from all sides: the video's picture in front."""
        sides = render_views(frame_of(predicted, index), model.config) if index or views is None else views
        return torch.cat([pictures[index][None], sides[1:]])

    before = seen(0)
    for index in range(1, len(span)):
        after = seen(index)
        frames = interpolate_pair(model, before, after)
        first = FACTOR * (span.first + index - 1)
        keep = slice(0 if first == 0 else 1, None)
        writer.write(first + (keep.start or 0), {name: t[0, keep] for name, t in frames.fields().items()})
        before = after
    return before


def _chunks_of(source: FrameSource, spans: list[Span], size: int) -> Iterator[Tensor]:
    """The pictures [T, size, size, 3] of every span, on white, each read once."""
    if not spans:
        return
    frames = source.frames(size, range(spans[0].first, spans[-1].last + 1))
    shared: list[Tensor] = []
    for span in spans:
        while len(shared) < len(span):
            images, alphas = next(frames)
            shared.append(on_white(images, alphas))
        yield torch.stack(shared)
        shared = shared[-1:]


def _read_state(path: Path, stamp: str) -> tuple[int, Tensor | None]:
    """Finished chunks and the views of the last frame; zero and None where there is nothing to resume."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("stamp") != stamp:
                return 0, None
            return int(metadata["done"]), file.get_tensor("views").clone()
    except (SafetensorError, OSError, KeyError, ValueError):
        return 0, None
