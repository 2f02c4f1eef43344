"""What the tests of the evaluation share: studios that are cheap, a model that is given its answer, and rows made up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch

from chronosplat.assets.procedural import procedural_object
from chronosplat.cameras import Similarity, orbit
from chronosplat.captures import Views
from chronosplat.evaluate.benchmark import Row
from chronosplat.evaluate.studio import CaptureStudio, MeshStudio, ViewSpec, random_angles
from chronosplat.render import render
from chronosplat.scenes import Gaussians4D
from tests.scene_kit import moving_scene, tilted_world

SIZE = 16
RING = [15.0 * i for i in range(24)]  # every camera that a set-up places
UP = torch.tensor([0.0, 1.0, 0.0])


@cache
def mesh_studio(times: int = 24, seed: int = 0) -> MeshStudio:
    return MeshStudio(procedural_object(3, "blob"), "blob", SIZE, times, samples=1, seed=seed)


@cache
def ring(times: int = 8) -> Views:
    """All of the ring's cameras at each timestamp of the mesh."""
    return mesh_studio(times).get_views([ViewSpec(azimuth, 0.0, t) for t in range(times) for azimuth in RING])


def moved(views: Views, world: Similarity | None = None) -> Views:
    """The same views in another world."""
    world = tilted_world() if world is None else world
    assert views.up is not None
    up = world.directions(views.up.double())
    return Views(views.images, views.alphas, views.cameras.to(dtype=torch.float64).transformed(world), views.times, up)


@cache
def ring_studio(times: int = 8) -> CaptureStudio:
    """A capture of the whole ring, in a world that is turned, scaled and shifted."""
    return CaptureStudio("ring", moved(ring(times)))


class SceneStudio:
    """Renderings of a scene of Gaussians: a prediction can be perfect."""

    def __init__(self, scene: Gaussians4D, size: int = 24, times: int = 24) -> None:
        self.name, self.scene, self.size = "gaussians", scene, size
        first, last = scene.seconds
        self.seconds = torch.linspace(first, last, times, dtype=torch.float64)
        self.input_frames = self.target_frames = list(range(times))

    def random_view(self, moment: int, purpose: str, again: int = 0) -> ViewSpec:
        return ViewSpec(*random_angles(0, self.name, purpose, moment, again), moment)

    def has(self, shot: ViewSpec) -> bool:
        return shot.frame in self.input_frames

    def get_views(self, shots: Sequence[ViewSpec], purpose: str = "targets") -> Views:
        assert purpose in ("inputs", "targets")
        cameras = orbit([s.azimuth for s in shots], [s.elevation for s in shots], self.size)
        times = self.seconds[[s.frame for s in shots]]
        with torch.no_grad():
            shown = render(self.scene, cameras, times, cull=False)
        straight = (shown.rgb - 1 + shown.alpha) / shown.alpha.clamp_min(1e-6)
        return Views(straight.clamp(0, 1), shown.alpha, cameras, times, UP)

    def tracks(self, inputs: Sequence[ViewSpec]) -> None:
        pass


@cache
def scene_studio(times: int = 24) -> SceneStudio:
    return SceneStudio(moving_scene(count=8, seed=3), times=times)


class Knowing:
    """A model that knows the answer; counts how often it is asked."""

    def __init__(self, scene: Gaussians4D) -> None:
        self.scene, self.asked = scene, 0

    def reconstruct(self, views: Views) -> Gaussians4D:
        assert len(views) > 0
        self.asked += 1
        return self.scene


def row(capture: str = "a", setup: str = "random", method: str = "fast", **other: float) -> Row:
    """A row with figures made up."""
    figures = {
        "psnr": 20.0, "psnr_canonical": 21.0, "psnr_random": 19.0, "psnr_foreground": 15.0, "ssim": 0.9, "lpips": 0.1, "flicker": 0.01,
        "lite0": math.nan, "sharpness": 0.8, "silhouette_iou": 0.95, "track_error": math.nan, "seconds": 2.0,
    } | other  # fmt: skip
    return Row(
        capture, setup, method, inputs=4, targets=8, width=16, height=16, gaussians=10, steps=0, model="4d-lrm-mini", seed=0,
        device="cpu", threads=1, version="0", commit="0123456789ab", **figures,
    )  # fmt: skip
