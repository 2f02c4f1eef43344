"""Sampling of training batches: input and target (view, time) pairs of clips.

Patterns cover the input set-ups of 4D-LRM's evaluation and of users: alternating canonical views, random views, one video
with or without views of its first frame, several synchronous cameras, and static captures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.captures.normalize import normalizing_similarity
from chronosplat.data.bank import ClipBank
from chronosplat.data.clipset import ClipSet
from chronosplat.data.sample import StoredClip
from chronosplat.shapes import InputError

UP = torch.tensor([0.0, 1.0, 0.0])
CANONICAL_VIEWS = 4  # sample_pairs numbers them first; see canonical_first


@dataclass(frozen=True)
class Phase:
    """A phase of training.

    Attributes:
        until: end of the phase, as a fraction of the run.
        size: pixels.
        images: input images per batch, which bounds the number of tokens.
        targets: target images per sample.
        static: fraction of steps with static scenes.
    """

    until: float
    size: int = 64
    images: int = 48
    targets: int = 6
    static: float = 0.2


@dataclass(frozen=True)
class Pairs:
    """Input and target (view, time) pairs, as indices into a clip."""

    inputs: list[tuple[int, int]]
    targets: list[tuple[int, int]]


@dataclass(frozen=True)
class TrainingBatch:
    """B samples of F frames, in the normalised world.

    Attributes:
        rgba: [B, F, H, W, 4] straight colour and alpha in [0, 1]. times: [B, F] in [-1, 1].
        viewmats: [B, F, 4, 4]. Ks: [B, F, 3, 3].
        geometry: [B, inputs, H, W, 4] of the input frames: depth along the camera's axis (0 in the background), then the
            velocity of the surface per unit of network time.
        inputs: number of input frames, which come first; the rest are targets.
    """

    rgba: Tensor
    times: Tensor
    viewmats: Tensor
    Ks: Tensor
    geometry: Tensor
    inputs: int

    def to(self, device: torch.device | str) -> TrainingBatch:
        """Move to another device."""
        moved = (t.to(device) for t in (self.rgba, self.times, self.viewmats, self.Ks, self.geometry))
        return TrainingBatch(*moved, inputs=self.inputs)


PATTERNS = {"alternating": 0.45, "random": 0.25, "video": 0.15, "synchronous": 0.15}


def sample_pairs(rng: np.random.Generator, views: int, frames: int, count: int, targets: int, static: bool) -> Pairs:
    """Sample ``count`` input and ``targets`` target pairs of a clip with ``views`` cameras and ``frames`` times."""
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
        steps = np.round(np.linspace(first, first + window - 1, max(1, count // CANONICAL_VIEWS))).astype(int)
        inputs = [(i % CANONICAL_VIEWS, int(steps[min(i // CANONICAL_VIEWS, len(steps) - 1)])) for i in range(count)]
    else:
        inputs = [(int(rng.integers(views)), int(t)) for t in rng.integers(first, first + window, count)]
    observed = [t for _, t in inputs]  # target times lie between the input times: extrapolation is not trained
    target_times = rng.integers(min(observed), max(observed) + 1, targets)
    cameras = [int(rng.integers(CANONICAL_VIEWS if k % 2 else views)) for k in range(targets)]
    outputs = [(v, int(t)) for v, t in zip(cameras, target_times, strict=True)]
    if static:
        inputs, outputs = [(v, first) for v, _ in inputs], [(v, first) for v, _ in outputs]
        if len({v for v, _ in inputs}) < len(inputs) // 2:  # a static video repeats one image: take random views instead
            inputs = [(int(v), first) for v in rng.integers(views, size=count)]
    return Pairs(inputs, outputs)


def input_count(rng: np.random.Generator, most: int) -> int:
    """Sample the number of input images, 1 to ``most``: ``most`` with probability 0.3, else log-normal around 8."""
    return most if rng.random() < 0.3 else int(np.clip(round(np.exp(rng.normal(np.log(8), 0.5))), 1, most))


def training_batch(source: ClipBank | ClipSet, step: int, phase: Phase, clips: int, seed: int) -> TrainingBatch:
    """Build the batch of a step, a pure function of the arguments and the clips.

    One input count applies to the whole batch, so that samples stack.

    Args:
        source: a bank, or a data set of shards. clips: sample from its first ``clips`` clips.
    """
    rng = np.random.default_rng((seed, step))
    static = rng.random() < phase.static
    count = input_count(rng, min(24, phase.images))
    rows = []
    for _ in range(max(1, phase.images // count)):
        clip = source.clip(int(rng.integers(clips)))
        pairs = sample_pairs(rng, clip.views, clip.times, count, phase.targets, static)
        rows.append(_sample(clip, pairs, phase.size, rng))
    stacked = (torch.stack(column) for column in zip(*rows, strict=True))
    return TrainingBatch(*stacked, inputs=count)


def _sample(clip: StoredClip, pairs: Pairs, size: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
    chosen = pairs.inputs + pairs.targets
    order, times = canonical_first(clip), [t for _, t in chosen]
    views = [order[v] for v, _ in chosen]
    rgba = torch.from_numpy(clip.read(times, views)).float() / 255
    full, cameras = clip.width, clip.cameras(times, views)
    if full % size or clip.height != full:
        raise InputError(f"phase size {size}: must divide the clips' image size {clip.width}x{clip.height}, which must be square")
    inputs = len(pairs.inputs)
    geometry = torch.zeros(inputs, full, full, 4)  # unknown, which counts as background: the loss leaves it out
    if clip.has_geometry:
        geometry = torch.from_numpy(clip.read_geometry(times[:inputs], views[:inputs])).float()
    if size != full:
        geometry = shrink_geometry(geometry, rgba[:inputs, ..., 3:], full // size)
        rgba, cameras = shrink(rgba, full // size), cameras.resized(size, size)
    up = UP if rng.random() < 0.7 else None  # captures do not always have an up axis
    world = jitter(normalizing_similarity(cameras[:inputs], up).inverse(), rng)
    cameras = cameras.transformed(world)
    t = torch.tensor([float(t) for _, t in chosen])
    first, last = t[:inputs].min(), t[:inputs].max()
    middle, half = (last + first) / 2, (last - first) / 2
    times = (t - middle) / half if half > 0 else torch.zeros_like(t)
    motion = world.scale * half * world.directions(geometry[..., 1:])  # from displacement per frame
    geometry = torch.cat([world.scale * geometry[..., :1], motion], -1)
    return rgba, times, cameras.viewmats, cameras.Ks, geometry


def canonical_first(clip: StoredClip) -> list[int]:
    """Return a clip's views with four canonical ones first: its group ``canonical``, else quarter turns of ``fixed``, else any."""
    ring = clip.groups.get("canonical") or clip.groups.get("fixed", [])
    first = ring[:: max(len(ring) // CANONICAL_VIEWS, 1)][:CANONICAL_VIEWS]
    return first + [v for v in range(clip.views) if v not in first]


def shrink_geometry(geometry: Tensor, alpha: Tensor, factor: int) -> Tensor:
    """Average factor x factor pixels of [F, H, W, C], weighted by coverage [F, H, W, 1]; 0 in the background."""
    F, H, W, C = geometry.shape
    both = torch.cat([geometry * alpha, alpha], -1).view(F, H // factor, factor, W // factor, factor, C + 1).mean((2, 4))
    return both[..., :C] / both[..., C:].clamp_min(1e-6)


def jitter(world: Similarity, rng: np.random.Generator) -> Similarity:
    """Scale the normalised world randomly by a few percent, because real captures are less regular than rigs."""
    return Similarity(scale=float(np.exp(rng.normal(0, 0.04)))).after(world)


def shrink(rgba: Tensor, factor: int) -> Tensor:
    """Average factor x factor pixels of straight RGBA images [F, H, W, 4], with colour weighted by alpha."""
    F, H, W, _ = rgba.shape
    premultiplied = torch.cat([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1)
    small = premultiplied.view(F, H // factor, factor, W // factor, factor, 4).mean((2, 4))
    return torch.cat([small[..., :3] / small[..., 3:].clamp_min(1e-6), small[..., 3:]], -1)
