"""Training samples of a clip, as the papers draw them: which (view, time) pairs are inputs, and which are targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from chronosplat.cameras import Cameras
from chronosplat.data.clip import Clip, ClipInfo
from chronosplat.data.distort import distort_grid, jitter_cameras
from chronosplat.data.sample import StoredClip
from chronosplat.shapes import InputError

Indices = list[int]
AnyClip = Clip | StoredClip


@dataclass(frozen=True)
class Images:
    """F images with their cameras and times, or batches of them.

    Attributes:
        rgba: [F, H, W, 4] uint8, straight sRGB and alpha. viewmats: [F, 4, 4]. Ks: [F, 3, 3].
        times: [F] in [-1, 1], over the whole clip, as the networks take them.
    """

    rgba: Tensor
    viewmats: Tensor
    Ks: Tensor
    times: Tensor


@dataclass(frozen=True)
class Sample:
    """One training sample, or a batch: input views and target views."""

    inputs: Images
    targets: Images

    @staticmethod
    def stack(samples: list[Sample]) -> Sample:
        """Stack samples to a batch.

        Raises:
            InputError: their sizes differ.
        """
        try:
            parts = [
                Images(*(_stacked([getattr(getattr(s, side), f.name) for s in samples]) for f in fields(Images)))
                for side in ("inputs", "targets")
            ]
        except RuntimeError as error:
            sizes = ", ".join(sorted({f"{s.inputs.rgba.shape[2]}x{s.inputs.rgba.shape[1]}" for s in samples}))
            raise InputError(f"batch: clips of different sizes ({sizes}); use data sets of one size, or batches of one sample") from error
        return Sample(*parts)


Draw = Callable[[AnyClip, np.random.Generator], Sample]


@dataclass(frozen=True)
class DrawLRM4D:
    """4D-LRM's draw (appendix A.3): 36 renderings of the clip, then inputs and targets of them independently; they may overlap.

    Attributes:
        pool: renderings to draw from. inputs, targets: images.
    """

    pool: int = 36
    inputs: int = 12
    targets: int = 24

    def __call__(self, clip: AnyClip, rng: np.random.Generator) -> Sample:
        """Draw a sample."""
        most = max(self.inputs, self.targets)
        count = clip.times * clip.views
        if min(self.pool, count) < most:
            raise InputError(f"clip {clip.key}: {min(self.pool, count)} renderings to draw {most} from", "see {pool}", pool=...)
        pool = rng.choice(count, min(self.pool, count), replace=False)
        inputs, targets = (np.sort(rng.choice(pool, n, replace=False)) for n in (self.inputs, self.targets))  # in temporal order
        return Sample(*(read_images(clip, *(part.tolist() for part in np.divmod(chosen, clip.views))) for chosen in (inputs, targets)))


@dataclass(frozen=True)
class DrawL4GM:
    """L4GM's draw: T frames of a video from the first view, with more views of the first frame alone.

    At times after the first, the images and cameras of the other input views are copies of the first frame's. Targets are all
    views at all times, the input views first. ``frame_first_view`` gives the frame that the network works in.

    Attributes:
        frames: T, with equal gaps over the clip: 8 frames of a 24-frame second are 8 fps.
        inputs: input views per time, from the group ``fixed``. views: target views per time, inputs included; the others are ``random``.
        shuffle: any input views in any order; else evenly spaced ones from the first, as in evaluation.
        distortion, jitter: probabilities of distorted images and of wrong cameras of the other input views.
    """

    frames: int = 8
    inputs: int = 4
    views: int = 8
    shuffle: bool = True
    distortion: float = 0.5
    jitter: float = 0.0

    def __call__(self, clip: AnyClip, rng: np.random.Generator) -> Sample:
        """Draw a sample; inputs [T * inputs], targets [T * views], time-major."""
        ring, others = clip.group("fixed"), list(clip.groups.get("random", ()))
        gap = clip.times // self.frames
        if gap < 1 or len(ring) < self.inputs or len(others) < self.views - self.inputs:
            found = f"{clip.times} times, {len(ring)} fixed and {len(others)} random views"
            raise InputError(f"clip {clip.key}: {found}; a sample takes {self.frames}, {self.inputs} and {self.views - self.inputs}")
        times = [gap * t for t in range(self.frames)]
        if self.shuffle:
            chosen = rng.permutation(ring)[: self.inputs].tolist() + rng.permutation(others)[: self.views - self.inputs].tolist()
        else:
            chosen = ring[:: len(ring) // self.inputs][: self.inputs] + others[: self.views - self.inputs]
        targets = read_images(clip, *_grid(times, chosen))
        grid = torch.arange(self.frames * self.views).view(self.frames, self.views)[:, : self.inputs].clone()
        grid[1:, 1:] = grid[:1, 1:]  # the views of the first frame
        inputs = _some(targets, grid.flatten().numpy())
        inputs = Images(inputs.rgba, inputs.viewmats, inputs.Ks, _times(clip, times).repeat_interleave(self.inputs))
        return Sample(_disturbed(inputs, self, rng), targets)


@dataclass(frozen=True)
class DrawInterpolation:
    """The draw of L4GM's interpolation model: consecutive frames of four views, where those between the ends are blends.

    Attributes:
        frames: of the sample. inputs, views, shuffle: as in :class:`DrawL4GM`.
    """

    frames: int = 4
    inputs: int = 4
    views: int = 8
    shuffle: bool = True

    def __call__(self, clip: AnyClip, rng: np.random.Generator) -> Sample:
        """Draw a sample; inputs [T * inputs], targets [T * views], time-major."""
        if clip.times < self.frames:
            raise InputError(f"clip {clip.key}: {clip.times} times; a sample takes {self.frames}")
        first = int(rng.integers(clip.times - self.frames + 1))
        ring, others = clip.group("fixed"), list(clip.groups.get("random", ()))
        if len(ring) < self.inputs or len(others) < self.views - self.inputs:
            raise InputError(
                f"clip {clip.key}: {len(ring)} fixed and {len(others)} random views; a sample takes {self.inputs} and {self.views}"
            )
        order = rng.permutation if self.shuffle else list
        spread = ring if self.shuffle else ring[:: len(ring) // self.inputs]
        chosen = [int(v) for v in order(spread)[: self.inputs]] + [int(v) for v in order(others)[: self.views - self.inputs]]
        times = list(range(first, first + self.frames))
        targets = read_images(clip, *_grid(times, chosen))
        grid = np.arange(self.frames * self.views).reshape(self.frames, self.views)[:, : self.inputs]
        inputs = _some(targets, grid.ravel())
        ends = inputs.rgba[[*range(self.inputs), *range(-self.inputs, 0)]].view(2, self.inputs, *inputs.rgba.shape[1:])
        blended = [blend(ends[0], ends[1], t / (self.frames - 1)) for t in range(self.frames)]
        return Sample(Images(torch.cat(blended), inputs.viewmats, inputs.Ks, inputs.times), targets)


def blend(first: Tensor, last: Tensor, share: float) -> Tensor:
    """Blend straight RGBA bytes [..., 4] linearly, colour weighted by alpha, as a blend of the images on any background."""
    a, b = (part.float() for part in (first, last))
    alpha = (1 - share) * a[..., 3:] + share * b[..., 3:]
    color = ((1 - share) * a[..., :3] * a[..., 3:] + share * b[..., :3] * b[..., 3:]) / alpha.clamp_min(1e-6)
    return torch.cat([color, alpha], -1).round().clamp(0, 255).to(torch.uint8)


def frame_first_view(sample: Sample, radius: float = 1.5) -> Sample:
    """Move the world so that the first input camera is at (0, 0, radius) and looks along -z, +y up (L4GM's frame)."""
    at_front = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    at_front[2, 3] = radius
    world = torch.linalg.inv(sample.inputs.viewmats[0].double()) @ at_front.double()
    moved = (Images(i.rgba, (i.viewmats.double() @ world).float(), i.Ks, i.times) for i in (sample.inputs, sample.targets))
    return Sample(*moved)


def read_images(clip: AnyClip, times: Indices, views: Indices) -> Images:
    """Read F (time, view) pairs of a clip."""
    cameras, rgba = clip.cameras(times, views), torch.from_numpy(clip.read(times, views))
    return Images(rgba, cameras.viewmats, cameras.Ks, _times(clip, times))


def _stacked(parts: list[Tensor]) -> Tensor:
    """Stack tensors; in a worker process, in the memory that it shares with the run, which saves a copy."""
    if get_worker_info() is None:
        return torch.stack(parts)
    shared = torch.empty(len(parts), *parts[0].shape, dtype=parts[0].dtype).share_memory_()
    return torch.stack(parts, out=shared)


def _times(clip: ClipInfo, times: Indices) -> Tensor:
    return torch.tensor([2 * t / max(clip.times - 1, 1) - 1 for t in times], dtype=torch.float32)


def _grid(times: Indices, views: Indices) -> tuple[Indices, Indices]:
    return [t for t in times for _ in views], [v for _ in times for v in views]


def _some(images: Images, index: Any) -> Images:
    which = torch.from_numpy(np.asarray(index))
    return Images(images.rgba[which], images.viewmats[which], images.Ks[which], images.times[which])


def _disturbed(inputs: Images, draw: DrawL4GM, rng: np.random.Generator) -> Images:
    """Distort the first frame's other views, and the copies of them alike."""
    V, rgba, viewmats = draw.inputs, inputs.rgba, inputs.viewmats
    if rng.random() < draw.distortion:
        other = torch.stack([distort_grid(image, rng) for image in rgba[1:V]])
        rgba = torch.cat([part for t in range(draw.frames) for part in (rgba[t * V : t * V + 1], other)])
    if rng.random() < draw.jitter:
        size = {"width": rgba.shape[2], "height": rgba.shape[1]}
        wrong = jitter_cameras(Cameras(viewmats[1:V], inputs.Ks[1:V], **size), rng).viewmats
        viewmats = torch.cat([part for t in range(draw.frames) for part in (viewmats[t * V : t * V + 1], wrong)])
    return Images(rgba, viewmats, inputs.Ks, inputs.times)
