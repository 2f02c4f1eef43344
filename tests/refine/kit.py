"""Two blobs that move past each other, seen by small cameras: what the tests of refinement work on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import CANONICAL, Cameras, orbit
from chronosplat.captures import Views
from chronosplat.events import Events, Notice, info
from chronosplat.metrics import mean_psnr
from chronosplat.refine import RefineConfig, Refined, search
from chronosplat.refine.config import FreeConfig
from chronosplat.render import render
from chronosplat.scenes import Clock, DeformableGaussians, Gaussians3D, Gaussians4D, GaussianSequence, Scene, normalize
from chronosplat.scenes.deformable import rotation_quats
from chronosplat.scenes.rotations import quats_to_matrices

S = TypeVar("S", Gaussians3D, Gaussians4D, GaussianSequence)
SIZE, COUNT, FRAMES = 32, 300, 24
CLOCK, SECONDS = Clock(offset=1.0, rate=1.0), (0.0, 2.0)
WIDTHS = FreeConfig(widths=(2.0, 3.5))


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
    """The blobs at one timestamp."""
    return blobs().at(1.0)


@cache
def three_frames() -> GaussianSequence:
    """The blobs as a sequence."""
    frames = [blobs().at(t) for t in (0.0, 1.0, 2.0)]
    fields = {name: torch.stack([getattr(frame, name) for frame in frames]) for name in frames[0].tensors()}
    return GaussianSequence(times=torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64), **fields)  # pyright: ignore[reportArgumentType]


def views_of(scene: Scene, cameras: Cameras, times: Tensor) -> Views:
    """Views of a scene with their masks, as a capture has them."""
    with torch.no_grad():
        seen = render(scene, cameras, times, cull=False)
    straight = ((seen.rgb - (1 - seen.alpha)) / seen.alpha.clamp_min(1e-4)).clamp(0, 1)
    return Views(straight, seen.alpha.clamp(0, 1), cameras, times)


def timestamps(frames: int = FRAMES) -> Tensor:
    """Even timestamps of the blobs' two seconds."""
    return torch.linspace(*SECONDS, frames, dtype=torch.float64)


def alternating(frames: int = FRAMES, size: int = SIZE) -> tuple[Cameras, Tensor]:
    """One of the four canonical cameras at a time, cyclically."""
    return orbit([CANONICAL[i % 4] for i in range(frames)], size=size), timestamps(frames)


def video(frames: int = FRAMES, sides: bool = True) -> tuple[Cameras, Tensor]:
    """A static camera, and views of the first timestamp from the other sides."""
    others = CANONICAL[1:] if sides else ()
    times = torch.cat([timestamps(frames), torch.zeros(len(others), dtype=torch.float64)])
    return orbit([0.0] * frames + list(others), size=SIZE), times


@cache
def views() -> Views:
    """24 views of the blobs from alternating cameras."""
    return views_of(blobs(), *alternating())


@cache
def unseen() -> Views:
    """Views from other directions, which no refinement sees."""
    return views_of(blobs(), orbit([45.0, 135.0, 225.0, 315.0], 15.0, size=SIZE), torch.tensor([0.3, 0.8, 1.3, 1.8], dtype=torch.float64))


@cache
def video_views() -> Views:
    """The blobs from a static camera, and the other sides of the first timestamp."""
    return views_of(blobs(), *video())


@cache
def ring() -> Views:
    """A static scene from six sides."""
    cameras = orbit([60.0 * i for i in range(6)], [0, 20, -20] * 2, size=32)
    return views_of(still(), cameras, torch.zeros(6, dtype=torch.float64))


@cache
def moving() -> Gaussians4D:
    """Both blobs move to the side and up."""
    right, down = video()[0].viewmats[0, :2, :3].float()
    return replace(blobs(), velocities=(0.12 * right - 0.08 * down).expand(blobs().num_gaussians, 3).clone())


@cache
def front_facing() -> Views:
    """Both blobs from a static camera, and the other sides of the first timestamp."""
    return views_of(moving(), *video(12))


def body_of(turns: Tensor, shifts: Tensor, count: int = 400) -> DeformableGaussians:
    """An opaque bar of coloured blocks along x, moved by a node at each end.

    Args:
        turns, shifts: [M, 2, 3] at even knots over the two seconds.
    """
    random = torch.Generator().manual_seed(5)
    means = (torch.rand(count, 3, generator=random) - 0.5) * torch.tensor([0.9, 0.24, 0.24])
    along = means[:, 0] / 0.9 + 0.5
    block = (along * 6).long() + (means[:, 1] > 0).long() * 3 + (means[:, 2] > 0).long() * 2
    palette = torch.tensor([[0.8, 0.2, 0.1], [0.1, 0.3, 0.8], [0.2, 0.7, 0.2], [0.9, 0.8, 0.2], [0.5, 0.2, 0.6]])
    return DeformableGaussians(
        means=means,
        quats=torch.tensor([1.0, 0, 0, 0]).expand(count, 4).clone(),
        scales=torch.full((count, 3), 0.025),
        opacities=torch.full((count,), 0.9),
        colors=palette[block % 5],
        nodes=torch.tensor([[-0.45, 0.0, 0.0], [0.45, 0.0, 0.0]]),
        skin_nodes=torch.tensor([0, 1]).expand(count, 2).clone(),
        skin_weights=torch.stack([1 - along, along], -1),
        knots=torch.linspace(*SECONDS, len(turns), dtype=torch.float64),
        shifts=shifts,
        turns=turns,
    )


@cache
def rigid() -> DeformableGaussians:
    """The bar turns by 70 degrees about an axis through its middle."""
    at = torch.linspace(-1, 1, 9)[:, None, None]
    turns = at * torch.tensor([0.0, 0.5, 0.35]).expand(1, 2, 3)
    ends = torch.tensor([[-0.45, 0.0, 0.0], [0.45, 0.0, 0.0]])
    shifts = (quats_to_matrices(rotation_quats(turns)) @ ends[:, :, None])[..., 0] - ends
    return body_of(turns, shifts)


@cache
def bending() -> DeformableGaussians:
    """Both ends of the bar rise and fall, and turn against each other."""
    at = torch.sin(torch.linspace(0, 2 * math.pi, 9))[:, None, None]
    turns = at * torch.tensor([[0.0, 0.0, -0.5], [0.0, 0.0, 0.5]])
    return body_of(turns, at * torch.tensor([0.0, 0.15, 0.0]).expand(1, 2, 3))


def wrong(scene: S, by: float = 0.03, tint: float = 0.1, seed: int = 7) -> S:
    """The scene with its Gaussians out of place and of other colours."""
    random = torch.Generator().manual_seed(seed)
    means = scene.means + by * torch.randn(scene.means.shape, generator=random)
    colors = (scene.colors + tint * torch.randn(scene.colors.shape, generator=random)).clamp(0, 1)
    return replace(scene, means=means, colors=colors)


def psnr_of(scene: Scene, wanted: Views) -> float:
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


def said(done: Refined, code: str) -> str:
    """The text of a result's only notice with this code."""
    (text,) = [str(notice) for notice in done.notices if notice.code == code]
    return text


def codes(done: Refined) -> list[str]:
    """The codes of a result's notices."""
    return [notice.code for notice in done.notices]


@dataclass
class Recorder:
    """Events that are remembered.

    Attributes:
        shares: fractions of the refinement, as progress reports them. psnrs: on held-out views, NaN where none are told.
    """

    shares: list[float] = field(default_factory=list)
    psnrs: list[float] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def progress(self, stage: str, done: int, total: int, note: str = "") -> None:
        """See Progress."""
        if stage == "tracking":
            return
        assert (stage, total) == ("refining", 100)
        self.shares.append(done / total)
        self.psnrs.append(float(note.split()[2]) if note else math.nan)

    def events(self) -> Events:
        """New events that report here."""
        return Events(self.notices.append, self.progress)


def in_step(step: int, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen in the middle of a step, counted from 1: where its gradients are computed."""
    usual, calls = Tensor.backward, [0]
    monkeypatch.setattr(search, "estimate", lambda *_: info("estimate", ""))  # takes steps of its own, and so does
    monkeypatch.setattr(import_module("chronosplat.refine.strategies.deform"), "tracked_poses", lambda start, *_: start.poses)

    def backward(loss: Tensor, *arguments: Any, **options: Any) -> None:
        calls[0] += 1
        if calls[0] == step:
            happens()
        usual(loss, *arguments, **options)

    monkeypatch.setattr(Tensor, "backward", backward)


def cancelled_in(step: int, monkeypatch: pytest.MonkeyPatch) -> Events:
    """Events whose token is requested in the middle of a step: that step is the last."""
    events = Events()
    in_step(step, monkeypatch, events.cancel.request)
    return events


def interrupted_in(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise KeyboardInterrupt in the middle of a step."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    in_step(step, monkeypatch, interrupt)
