"""The optimised variables: a scene's fields without bounds, one group of Adam's for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.scenes import Scene, TensorScene
from chronosplat.shapes import InputError, ordinary

Fields = dict[str, Tensor]


def _logit(x: Tensor) -> Tensor:
    return torch.logit(x.clamp(1e-3, 1 - 1e-3))


def _same(x: Tensor) -> Tensor:
    return x


# field -> to unbounded values, and back
UNBOUNDED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "means": (_same, _same),
    "velocities": (_same, _same),
    "time_centers": (_same, _same),
    "time_sigmas": (torch.log, torch.exp),
    "scales": (lambda x: x.clamp_min(1e-7).log(), torch.exp),
    "quats": (lambda x: F.normalize(x, dim=-1), _same),
    "opacities": (_logit, torch.sigmoid),
    "colors": (_same, _same),
}


def freed(fields: Mapping[str, Tensor]) -> Fields:
    """Fields as unbounded leaves in float32, ready for an optimiser."""
    return {name: _transforms(name)[0](t.detach().float()).clone().requires_grad_() for name, t in fields.items()}


def bounded(free: Mapping[str, Tensor]) -> Fields:
    """The inverse of :func:`freed`: differentiable."""
    return {name: _transforms(name)[1](t) for name, t in free.items()}


def _transforms(name: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return a field's transforms; what is no field of Gaussians, such as the motion of nodes, has no bounds."""
    return UNBOUNDED.get(name, (_same, _same))


def fields_of(scene: Scene) -> Fields:
    """The Gaussians of a scene in linear motion by field, in float32.

    Raises:
        InputError: a scene that moves otherwise.
    """
    linear = scene.linear_form()
    if linear is None:
        raise InputError(f"scene: a {scene.kind} has no linear motion; refine its frames")
    return {name: ordinary(t.detach().float()) for name, t in linear.tensors.items()}


def with_fields(scene: Scene, fields: Mapping[str, Tensor]) -> Scene:
    """The scene with other Gaussians; quaternions have unit length and colours lie in [0, 1]."""
    assert isinstance(scene, TensorScene)
    found = {name: t.detach() for name, t in fields.items()}
    found |= {"quats": F.normalize(found["quats"], dim=-1), "colors": found["colors"].clamp(0, 1)}
    return replace(scene, **found)
