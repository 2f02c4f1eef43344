"""Training samples: which (view, time) pairs go in, and which are asked for.

Every step draws one pattern for its whole batch, so that samples stack. The patterns cover the input set-ups of
4D-LRM's evaluation and what users bring: alternating canonical views, random views, one video with or without views
of its first frame, several synchronous cameras, and static captures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity
from chronosplat.captures.normalize import normalizing_similarity
from chronosplat.data.bank import ClipBank, StoredClip
from chronosplat.shapes import InputError

UP = torch.tensor([0.0, 1.0, 0.0])
CANONICAL_VIEWS = 4  # the first cameras of a bank's clip


@dataclass(frozen=True)
class Phase:
    """A stretch of training: up to ``until`` of the run.

    ``size``: pixels. ``pictures``: input pictures per step over the whole batch (bounds the tokens).
    ``targets``: asked-for pictures per sample. ``static``: share of steps in which time stands still.
    """

    until: float
    size: int = 64
    pictures: int = 48
    targets: int = 6
    static: float = 0.2


@dataclass(frozen=True)
class Pairs:
    """F_in input and F_out target (view, time) pairs, as indices into a clip."""

    inputs: list[tuple[int, int]]
    targets: list[tuple[int, int]]


@dataclass(frozen=True)
class TrainingBatch:
    """B samples. Pictures are [B, F, H, W, 4] float, straight colour and alpha in [0, 1]; times in [-1, 1].

    The first ``inputs`` frames are the input, the rest targets; viewmats are in the normalised world. ``geometry``
    [B, inputs, H, W, 4] is known of the inputs alone: depth along the axis in the normalised world (0 where nothing is)
    and the surface's velocity in the normalised world per network time.
    """

    rgba: Tensor
    times: Tensor
    viewmats: Tensor
    Ks: Tensor
    geometry: Tensor
    inputs: int

    def to(self, device: torch.device | str) -> TrainingBatch:
        """The batch on another device."""
        moved = (t.to(device) for t in (self.rgba, self.times, self.viewmats, self.Ks, self.geometry))
        return TrainingBatch(*moved, inputs=self.inputs)


PATTERNS = {"alternating": 0.45, "random": 0.25, "video": 0.15, "synchronous": 0.15}


def draw_pairs(rng: np.random.Generator, views: int, frames: int, count: int, targets: int, static: bool) -> Pairs:
    """Draw the pairs of one sample; ``count`` inputs of ``views`` cameras and ``frames`` times."""
    pattern = str(rng.choice(list(PATTERNS), p=list(PATTERNS.values())))
    window = int(rng.integers(min(count, frames), frames + 1))
    first = int(rng.integers(0, frames - window + 1))
    times = np.round(np.linspace(first, first + window - 1, count)).astype(int)
    if pattern == "alternating":
        inputs = [(i % CANONICAL_VIEWS, int(t)) for i, t in enumerate(times)]
    elif pattern == "video":
        extra = min(CANONICAL_VIEWS - 1, count - 1) if rng.random() < 0.7 else 0
        camera = 0 if extra or rng.random() < 0.5 else int(rng.integers(views))
        video = np.round(np.linspace(first, first + window - 1, count - extra)).astype(int)
        inputs = [(camera, int(t)) for t in video] + [(v, first) for v in range(1, 1 + extra)]
    elif pattern == "synchronous":
        moments = np.round(np.linspace(first, first + window - 1, max(1, count // CANONICAL_VIEWS))).astype(int)
        inputs = [(i % CANONICAL_VIEWS, int(moments[min(i // CANONICAL_VIEWS, len(moments) - 1)])) for i in range(count)]
    else:
        inputs = [(int(rng.integers(views)), int(t)) for t in rng.integers(first, first + window, count)]
    seen = [t for _, t in inputs]  # only moments between the inputs' are asked for: one moment in, the same moment out
    moments = rng.integers(min(seen), max(seen) + 1, targets)
    cameras = [int(rng.integers(CANONICAL_VIEWS if k % 2 else views)) for k in range(targets)]
    asked = [(v, int(t)) for v, t in zip(cameras, moments, strict=True)]
    if static:
        inputs, asked = [(v, first) for v, _ in inputs], [(v, first) for v, _ in asked]
        if len({v for v, _ in inputs}) < len(inputs) // 2:  # a video that stands still says nothing new: spread it
            inputs = [(int(v), first) for v in rng.integers(views, size=count)]
    return Pairs(inputs, asked)


def input_count(rng: np.random.Generator, most: int) -> int:
    """How many input pictures: 1 to ``most``; about eight most often, and now and then as many as can be."""
    return most if rng.random() < 0.3 else int(np.clip(round(np.exp(rng.normal(np.log(8), 0.5))), 1, most))


def training_batch(bank: ClipBank, step: int, phase: Phase, clips: int, seed: int) -> TrainingBatch:
    """The batch of a step: a pure function of its arguments and the bank's recipe.

    Args:
        clips: the bank's first ``clips`` clips are drawn from.
    """
    rng = np.random.default_rng((seed, step))
    static = rng.random() < phase.static
    count = input_count(rng, min(24, phase.pictures))
    samples = max(1, phase.pictures // count)
    rows = []
    for _ in range(samples):
        clip = bank.clip(int(rng.integers(clips)))
        pairs = draw_pairs(rng, clip.rgba.shape[1], clip.rgba.shape[0], count, phase.targets, static)
        rows.append(_sample(clip, pairs, phase.size, rng))
    stacked = (torch.stack(column) for column in zip(*rows, strict=True))
    return TrainingBatch(*stacked, inputs=count)


def _sample(clip: StoredClip, pairs: Pairs, size: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
    chosen = pairs.inputs + pairs.targets
    rgba = torch.from_numpy(np.stack([clip.rgba[t, v] for v, t in chosen])).float() / 255
    full = rgba.shape[1]
    views = [v for v, _ in chosen]
    cameras = Cameras(clip.viewmats[views], clip.Ks[views], full, full)
    if full % size:
        raise InputError(f"phase size {size}: must divide the bank's picture size {full}")
    inputs = len(pairs.inputs)
    geometry = torch.from_numpy(np.stack([clip.geometry[t, v] for v, t in pairs.inputs])).float()
    if size != full:
        geometry = shrink_geometry(geometry, rgba[:inputs, ..., 3:], full // size)
        rgba, cameras = shrink(rgba, full // size), cameras.resized(size, size)
    up = UP if rng.random() < 0.7 else None  # captures do not always say which way is up
    world = normalizing_similarity(cameras[: len(pairs.inputs)], up).inverse()
    world = jitter(world, rng)
    cameras = cameras.transformed(world)
    t = torch.tensor([float(t) for _, t in chosen])
    first, last = t[:inputs].min(), t[:inputs].max()
    middle, half = (last + first) / 2, (last - first) / 2
    times = (t - middle) / half if half > 0 else torch.zeros_like(t)
    motion = world.scale * half * world.directions(geometry[..., 1:])  # displacement per frame to velocity per network time
    geometry = torch.cat([world.scale * geometry[..., :1], motion], -1)
    return rgba, times, cameras.viewmats, cameras.Ks, geometry


def shrink_geometry(geometry: Tensor, alpha: Tensor, factor: int) -> Tensor:
    """Average factor x factor pixels of [F, H, W, C], weighted by coverage [F, H, W, 1]; zero where nothing is."""
    F, H, W, C = geometry.shape
    both = torch.cat([geometry * alpha, alpha], -1).view(F, H // factor, factor, W // factor, factor, C + 1).mean((2, 4))
    return both[..., :C] / both[..., C:].clamp_min(1e-6)


def jitter(world: Similarity, rng: np.random.Generator) -> Similarity:
    """The normalised world, a little off in scale: captures are not as regular as rigs."""
    return Similarity(scale=float(np.exp(rng.normal(0, 0.04)))).after(world)


def shrink(rgba: Tensor, factor: int) -> Tensor:
    """Average factor x factor pixels of straight RGBA pictures [F, H, W, 4], colour weighted by alpha."""
    F, H, W, _ = rgba.shape
    premultiplied = torch.cat([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1)
    small = premultiplied.view(F, H // factor, factor, W // factor, factor, 4).mean((2, 4))
    return torch.cat([small[..., :3] / small[..., 3:].clamp_min(1e-6), small[..., 3:]], -1)
