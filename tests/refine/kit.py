"""Two blobs that move past each other, photographed by small cameras: what the tests of refinement work on."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import CANONICAL, Cameras, orbit
from chronosplat.captures import Views
from chronosplat.metrics import mean_psnr
from chronosplat.refine import RefineConfig
from chronosplat.render import render
from chronosplat.scenes import Clock, Gaussians3D, Gaussians4D, GaussianSequence, Scene, normalize

OPTIMISE = importlib.import_module("chronosplat.refine.optimise")  # the package's attribute of that name is a function
S = TypeVar("S", Gaussians3D, Gaussians4D, GaussianSequence)
SIZE, COUNT, FRAMES = 32, 300, 24
CLOCK, SECONDS = Clock(offset=1.0, rate=1.0), (0.0, 2.0)


@cache
def blobs(count: int = COUNT) -> Gaussians4D:
    """A red and a blue blob that move past each other for two seconds."""
    random = torch.Generator().manual_seed(3)
    second = (torch.arange(count) % 2).float()
    side = (2 * second - 1)[:, None]
    means = 0.09 * torch.randn(count, 3, generator=random) + side * torch.tensor([0.18, 0.1, 0.0])
    tints = torch.where(second[:, None] > 0, torch.tensor([0.8, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.8]))
    return Gaussians4D(
        means=means,
        velocities=-side * torch.tensor([0.12, 0.0, 0.05]).expand(count, 3),
        time_centers=torch.zeros(count),
        time_sigmas=torch.full((count,), 3.0),
        quats=normalize(torch.randn(count, 4, generator=random)),
        scales=0.03 + 0.03 * torch.rand(count, 3, generator=random),
        opacities=0.5 + 0.4 * torch.rand(count, generator=random),
        colors=(tints + 0.15 * torch.randn(count, 3, generator=random)).clamp(0, 1),
        clock=CLOCK,
        seconds=SECONDS,
    )


@cache
def still() -> Gaussians3D:
    """The blobs at one moment."""
    return blobs().at(1.0)


@cache
def three_frames() -> GaussianSequence:
    """The blobs as a sequence."""
    frames = [blobs().at(t) for t in (0.0, 1.0, 2.0)]
    fields = {name: torch.stack([getattr(frame, name) for frame in frames]) for name in frames[0].tensors()}
    return GaussianSequence(times=torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64), **fields)  # pyright: ignore[reportArgumentType]


def photographed(scene: Scene, cameras: Cameras, times: Tensor) -> Views:
    """TrainingViews of a scene with their masks, as a capture has them."""
    with torch.no_grad():
        seen = render(scene, cameras, times, cull=False)
    straight = ((seen.rgb - (1 - seen.alpha)) / seen.alpha.clamp_min(1e-4)).clamp(0, 1)
    return Views(straight, seen.alpha.clamp(0, 1), cameras, times)


def moments(frames: int = FRAMES) -> Tensor:
    """Even moments of the blobs' two seconds."""
    return torch.linspace(*SECONDS, frames, dtype=torch.float64)


def alternating(frames: int = FRAMES, size: int = SIZE) -> tuple[Cameras, Tensor]:
    """One of the four canonical cameras at a time, cyclically."""
    return orbit([CANONICAL[i % 4] for i in range(frames)], size=size), moments(frames)


def video(frames: int = FRAMES, sides: bool = True) -> tuple[Cameras, Tensor]:
    """A camera that stands still, and the first moment's other sides."""
    others = CANONICAL[1:] if sides else ()
    times = torch.cat([moments(frames), torch.zeros(len(others), dtype=torch.float64)])
    return orbit([0.0] * frames + list(others), size=SIZE), times


@cache
def views() -> Views:
    """24 pictures of the blobs from alternating cameras."""
    return photographed(blobs(), *alternating())


@cache
def unseen() -> Views:
    """TrainingViews from elsewhere, which no refinement sees."""
    return photographed(
        blobs(), orbit([45.0, 135.0, 225.0, 315.0], 15.0, size=SIZE), torch.tensor([0.3, 0.8, 1.3, 1.8], dtype=torch.float64)
    )


def wrong(scene: S, by: float = 0.03, tint: float = 0.1, seed: int = 7) -> S:
    """The scene with its Gaussians out of place and of other colours."""
    random = torch.Generator().manual_seed(seed)
    means = scene.means + by * torch.randn(scene.means.shape, generator=random)
    colors = (scene.colors + tint * torch.randn(scene.colors.shape, generator=random)).clamp(0, 1)
    return replace(scene, means=means, colors=colors)


def seen_as(scene: Scene, wanted: Views) -> float:
    """PSNR of a scene on views."""
    with torch.no_grad():
        shown = render(scene, wanted.cameras, None if isinstance(scene, Gaussians3D) else wanted.times, cull=False)
    return mean_psnr(shown.rgb, wanted.on_white())


def few(steps: int = 40, **more: object) -> RefineConfig:
    """A short refinement."""
    return replace(RefineConfig(steps=steps), **more)  # pyright: ignore[reportArgumentType]


def same(a: Scene, b: Scene) -> bool:
    """Whether two scenes have the same numbers, bit for bit."""
    return all(torch.equal(t, b.tensors()[name]) for name, t in a.tensors().items())


def interrupted_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One Ctrl-C in a step, before anything has changed: where its gradients would be computed."""
    usual, calls = Tensor.backward, [0]

    def backward(loss: Tensor, *arguments: Any, **options: Any) -> None:
        calls[0] += 1
        if calls[0] == call:
            raise KeyboardInterrupt
        usual(loss, *arguments, **options)

    monkeypatch.setattr(Tensor, "backward", backward)
