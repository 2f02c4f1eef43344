"""Linear blend skinning with its gradient; natively on the CPU. The twin is ``chronosplat.scenes.deformable.skin``."""

from __future__ import annotations

from ctypes import byref
from typing import Any

import torch
from torch import Tensor

from chronosplat.render import native
from chronosplat.scenes import deformable
from chronosplat.shapes import InputError, check_shape


def skin(
    means: Tensor, quats: Tensor, skin_nodes: Tensor, skin_weights: Tensor, nodes: Tensor, shifts: Tensor, turns: Tensor
) -> tuple[Tensor, Tensor]:
    """Deform Gaussians by linear blend skinning: arguments and results are those of ``scenes.deformable.skin``.

    Returns:
        Means [T, N, 3] and quaternions [T, N, 4], which keep the length of ``quats``. Differentiable in means, quats, shifts
        and turns, not in weights and nodes.

    Raises:
        InputError: a shape, a type or an index does not fit.
    """
    sizes = check_shape("means", means, "N 3")
    shapes = {"quats": "N 4", "skin_nodes": "N J", "skin_weights": "N J", "nodes": "K 3", "shifts": "T K 3", "turns": "T K 3"}
    tensors = dict(zip(shapes, (quats, skin_nodes, skin_weights, nodes, shifts, turns), strict=True))
    for name, tensor in tensors.items():
        check_shape(name, tensor, shapes[name], sizes)
    if skin_nodes.dtype != torch.int64:
        raise InputError(f"skin_nodes: expected int64, got {skin_nodes.dtype}")
    at_home = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in (means, quats, skin_weights, nodes, shifts, turns))
    if not at_home or 0 in sizes.values():
        return deformable.skin(means, quats, skin_nodes, skin_weights.detach(), nodes.detach(), shifts, turns)
    return _Skin.apply(means, quats, skin_nodes, skin_weights, nodes, shifts, turns)  # pyright: ignore[reportReturnType]


def _mirror(means: Tensor, quats: Tensor, skin_nodes: Tensor, skin_weights: Tensor, nodes: Tensor, shifts: Tensor, turns: Tensor) -> Any:
    sizes = (shifts.shape[0], means.shape[0], nodes.shape[0], skin_nodes.shape[1], torch.get_num_threads())
    tensors = (means, quats, skin_nodes, skin_weights, nodes, shifts, turns)
    return native.SkinInputs(*sizes, *(native.address(t) for t in tensors))


class _Skin(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        tensors = tuple(t.contiguous() for t in tensors)
        means, nodes, times = tensors[0], tensors[4], tensors[5].shape[0]
        moved, turned = means.new_empty(times, len(means), 3), means.new_empty(times, len(means), 4)
        status = native.library().skin_forward(byref(_mirror(*tensors)), native.address(moved), native.address(turned))
        if status == native.Status.BAD_ARGUMENT:
            raise InputError(f"skin_nodes: expected values from 0 to {len(nodes) - 1}")
        if status:
            raise InputError("skin: out of memory; deform fewer Gaussians or times at once")
        ctx.save_for_backward(*tensors)
        return moved, turned

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        tensors = ctx.saved_tensors
        means, quats, shifts, turns = (tensors[k] for k in (0, 1, 5, 6))
        found = [torch.empty_like(t) for t in (means, quats, shifts, turns)]
        upstream = [g.contiguous() for g in grad_outputs]
        out = native.SkinGradients(*(native.address(t) for t in found))
        if native.library().skin_backward(byref(_mirror(*tensors)), *(native.address(g) for g in upstream), byref(out)):
            raise InputError("skin: out of memory; deform fewer Gaussians or times at once")
        return found[0], found[1], None, None, None, found[2], found[3]
