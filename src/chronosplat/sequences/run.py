"""Run over a whole video: one chunk at a time, written as it finishes, resumable at any point.

A chunk passes only renderings of its last Gaussians to the next. They are stored with the number of finished chunks, in a
file that is replaced after the chunk's frames are on disk, so that a killed run resumes with identical numbers.
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
from chronosplat.sequences.chunks import Span, frame_of, plan_chunks, reconstruct_chunk, render_views
from chronosplat.sequences.interpolate import FACTOR, interpolate_pair, interpolated_times

STATE = "progress.safetensors"


class FrameSource(Protocol):
    """Frames of a reference camera, such as :class:`chronosplat.captures.ObjectVideo`."""

    @property
    def times(self) -> Tensor:
        """[T] seconds, rising."""
        ...

    def frames(self, size: int, which: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield straight colours [size, size, 3] and alphas [size, size, 1] of the frames ``which``."""
        ...


@dataclass(frozen=True)
class Plan:
    """A run's settings; two runs of the same plan write the same file.

    Attributes:
        interpolator: the interpolation model; None keeps the frame rate. chunk: frames of a forward pass.
        stamp: identifies the input, the weights and all else that the result depends on; only runs of the same stamp are resumed.
    """

    model: L4GM
    interpolator: L4GM | None
    chunk: int
    stamp: str
    world: Similarity
    notes: dict[str, str]


@dataclass(frozen=True)
class ChunkDone:
    """The number of finished chunks, of all chunks, and the output frames that the last one added."""

    done: int
    chunks: int
    added: range


def run_sequence(
    plan: Plan, source: FrameSource, first_views: Tensor, folder: Path, name: str = "scene.safetensors"
) -> Iterator[ChunkDone]:
    """Reconstruct into ``folder/NAME``, resuming a run of the same plan.

    Args:
        source: the video. first_views: [V, H, W, 3] on white, all views of the first frame.

    Yields:
        After every chunk, once its frames are on disk.

    Raises:
        InputError: images that do not fit, or a full disk.
    """
    config = plan.model.config
    factor = 1 if plan.interpolator is None else FACTOR
    times = source.times if plan.interpolator is None else interpolated_times(source.times)
    spans = plan_chunks(len(source.times), plan.chunk)
    with SequenceWriter(folder / name, times, config.num_gaussians, plan.world, plan.notes) as writer:
        done, views = _read_state(folder / STATE, plan.stamp) if writer.continued else (0, None)
        views = first_views if views is None else views
        chunks = _read_chunks(source, spans[done:], config.input_size)
        if done:
            yield ChunkDone(done, len(spans), range(factor * spans[done - 1].last + 1))
        for index, span in enumerate(spans[done:], done):
            images = next(chunks)
            predicted = reconstruct_chunk(plan.model, images, views)
            added = range(factor * span.first + (span.first > 0), factor * span.last + 1)
            if plan.interpolator is None or len(times) == 1:
                fresh = slice(0 if index == 0 else 1, None)
                writer.write(added.start, {name: t[0, fresh] for name, t in predicted.fields().items()})
                views = render_views(frame_of(predicted, len(span) - 1), config)
            else:
                views = _write_interpolated(plan.interpolator, writer, span, images, predicted, None if index == 0 else views)
            writer.flush()
            write_tensors({"views": views}, folder / STATE, {"done": str(index + 1), "stamp": plan.stamp})
            yield ChunkDone(index + 1, len(spans), added)


def _write_interpolated(
    model: L4GM, writer: SequenceWriter, span: Span, images: Tensor, predicted: PredictedSplats, first: Tensor | None
) -> Tensor:
    """Write a chunk's frames and the interpolated ones, and return all views of the last frame.

    Args:
        first: the previous chunk's views of the first frame; None in the first chunk.
    """

    def views_of(index: int) -> Tensor:
        """Return all views of a frame, the video's image as view 0."""
        views = render_views(frame_of(predicted, index), model.config) if index or first is None else first
        return torch.cat([images[index][None], views[1:]])

    before = views_of(0)
    for index in range(1, len(span)):
        after = views_of(index)
        frames = interpolate_pair(model, before, after)
        start = FACTOR * (span.first + index - 1)
        skip = int(start > 0)  # the previous pair wrote the shared frame
        writer.write(start + skip, {name: t[0, skip:] for name, t in frames.fields().items()})
        before = after
    return before


def _read_chunks(source: FrameSource, spans: list[Span], size: int) -> Iterator[Tensor]:
    """Yield the images [T, size, size, 3] of every span on white; each frame is read once."""
    if not spans:
        return
    frames = source.frames(size, range(spans[0].first, spans[-1].last + 1))
    images: list[Tensor] = []
    for span in spans:
        while len(images) < len(span):
            images.append(on_white(*next(frames)))
        yield torch.stack(images)
        images = images[-1:]


def _read_state(path: Path, stamp: str) -> tuple[int, Tensor | None]:
    """Return the finished chunks and the views of the last frame; zero and None if there is nothing to resume."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("stamp") != stamp:
                return 0, None
            return int(metadata["done"]), file.get_tensor("views").clone()
    except (SafetensorError, OSError, KeyError, ValueError):
        return 0, None
