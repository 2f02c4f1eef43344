"""Scenes of every kind, and comparisons, that the tests of edits share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import chronosplat as cs
from chronosplat.cameras import Similarity
from chronosplat.edit import edit
from chronosplat.scenes import FAINT, DeformableGaussians, Gaussians3D, Scene
from tests.scene_kit import moving_scene, sequence_scene, static_scene, tilted_world


def deformable_scene(count: int = 6, world: Similarity | None = None, seed: int = 0) -> DeformableGaussians:
    """A body with two nodes, two residual groups, fades and shares, at five uneven knots from 1 to 3 s."""
    random = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*shape, generator=random) - 0.5
    weights = draw(count, 2) + 0.6
    return DeformableGaussians(
        **static_scene(count, seed).tensors(),
        nodes=draw(2, 3),
        skin_nodes=torch.tensor([[0, 1]]).repeat(count, 1),
        skin_weights=weights / weights.sum(-1, keepdim=True),
        knots=torch.tensor([1.0, 1.4, 1.9, 2.5, 3.0], dtype=torch.float64),
        shifts=draw(5, 2, 3),
        turns=draw(5, 2, 3),
        groups=torch.arange(count) % 2,
        offsets=0.1 * draw(5, 2, 3),
        tints=0.2 * draw(5, 2, 3),
        fades=draw(5, 2) * 0.4 + 0.8,
        shares=draw(count) + 0.5,
        world=world or Similarity(),
    )


KINDS: dict[str, Callable[[], Scene]] = {
    "static": lambda: static_scene(world=tilted_world()),
    "linear": lambda: moving_scene(world=tilted_world()),
    "sequence": lambda: sequence_scene(5, world=tilted_world()),
    "deformable": lambda: deformable_scene(world=tilted_world()),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_moving_kind = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "static"])


def seen(gaussians: Gaussians3D) -> Gaussians3D:
    """The visible ones."""
    keep = gaussians.opacities >= FAINT
    return gaussians.map(lambda t: t[keep])


def assert_same_at(scene: Scene, other: Scene, seconds: list[float], other_seconds: list[float] | None = None, atol: float = 2e-5) -> None:
    """Both scenes hold the same visible Gaussians at the times of each."""
    for one, two in zip(seconds, other_seconds or seconds, strict=True):
        first, second = seen(scene.at(one)), seen(other.at(two))
        for name, tensor in first.tensors().items():
            found, wanted = second.tensors()[name], tensor
            if name == "quats":  # q and -q are one rotation
                found, wanted = (q * torch.where(q[:, :1] < 0, -1.0, 1.0) for q in (found, wanted))
            torch.testing.assert_close(found, wanted, rtol=2e-5, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


def times_of(scene: Scene, count: int = 7) -> list[float]:
    """Times of the scene; one for a static scene."""
    return scene.timestamps(count) or [0.0]


__all__ = ["KINDS", "assert_same_at", "cs", "deformable_scene", "edit", "every_kind", "every_moving_kind", "seen", "times_of"]
