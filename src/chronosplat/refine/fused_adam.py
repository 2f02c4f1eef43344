"""Adam over the unbounded parameters of Gaussians, with activations and bounds: one native call on the CPU, torch elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.refine.parameters import Fields, bounded, freed
from chronosplat.render import native
from chronosplat.shapes import InputError

BETAS, EPS = (0.9, 0.99), 1e-15
EXP, SIGMOID = 1, 2  # native/optim.h
ACTIVATIONS = {"time_sigmas": EXP, "scales": EXP, "opacities": SIGMOID}  # as UNBOUNDED in parameters.py


@dataclass
class _Group:
    """A field's parameters, and its moments."""

    parameter: Tensor
    first: Tensor
    second: Tensor
    steps: int = 0
    mirror: native.AdamGroup | None = None


class FusedAdam:
    """Adam (Kingma and Ba, ICLR 2015) as ``torch.optim.Adam``, over fields of Gaussians and any other tensors by name.

    A loss is computed from ``values`` and differentiated; ``step`` reads their gradients, moves the unbounded parameters
    behind them (logarithms of scales, logits of opacities) and writes the new values. It bounds colours to [0, 1] and
    lengthens the short axes of needles, which have no area from the side.

    Attributes:
        values: by name, what the loss is computed from: float32 leaves, bounded; those without learning rate are constant.
        lrs: learning rate of each name, may be changed between steps; 0 leaves values as they are, bit for bit.

    Args:
        fields: values at the start, which are copied. A name of ``parameters.UNBOUNDED`` has its activation.
        lrs: learning rates; names without one are fixed.
        max_anisotropy: largest ratio between a Gaussian's scales.
    """

    def __init__(self, fields: Mapping[str, Tensor], lrs: Mapping[str, float], max_anisotropy: float = math.inf) -> None:
        unknown = [name for name in lrs if name not in fields]
        if unknown:
            raise InputError(f"FusedAdam: no field {unknown[0]}; known: {', '.join(fields)}")
        if not max_anisotropy > 1:
            raise InputError(f"max_anisotropy: expected a number above 1, got {max_anisotropy:g}")
        self.lrs, self.spread = dict(lrs), math.log(max_anisotropy)
        self.values: Fields = {}
        self._groups: dict[str, _Group] = {}
        for name, tensor in fields.items():
            self._place(name, tensor)

    def _place(self, name: str, tensor: Tensor) -> None:
        """Make a field's value and, where it is optimised, its parameters, with moments of zero."""
        if not self.lrs.get(name, 0.0) > 0 and name not in self._groups:
            self.values[name] = tensor.detach().float()
            return
        with torch.no_grad():
            parameter = freed({name: tensor})[name].detach().contiguous()
            value = bounded({name: parameter})[name] if name in ACTIVATIONS else parameter
        self._groups[name] = _Group(parameter, torch.zeros_like(parameter), torch.zeros_like(parameter))
        self.values[name] = value.detach().requires_grad_()

    def step(self, scale: float = 1.0) -> bool:
        """Take a step with ``scale`` times the learning rates, and clear the gradients.

        Returns:
            Whether all gradients are finite. If not, nothing has changed but for the cleared gradients.
        """
        given = {name: grad for name in self._groups if (grad := self.values[name].grad) is not None and self.lrs[name] > 0}
        for name in self._groups:
            self.values[name].grad = None
        at_home = all(grad.device.type == "cpu" for grad in given.values())
        with torch.no_grad():
            return self._native(given, scale) if at_home else self._torch(given, scale)

    def regroup(self, fields: Mapping[str, Tensor], origin: Tensor) -> None:
        """Replace rows, as after pruning or densification: kept rows keep their moments, new ones begin with moments of zero.

        Args:
            fields: the new values of some names, N' rows each.
            origin: [N'] int64 the former row of each, -1 for new ones.
        """
        kept = origin >= 0
        for name, tensor in fields.items():
            if len(tensor) != len(origin):
                raise InputError(f"{name}: expected {len(origin)} rows, one for each origin; got {len(tensor)}")
            before, old_value = self._groups.get(name), self.values[name].detach()
            self._place(name, tensor)
            after = self._groups.get(name)
            if before is None or after is None:
                continue
            after.steps = before.steps
            rows = origin[kept]
            for new, old in ((after.first, before.first), (after.second, before.second)):
                new[kept] = old[rows]
            with torch.no_grad():  # values that did not change keep their parameters, bit for bit
                same, value = tensor[kept] == old_value[rows], self.values[name]
                after.parameter[kept] = torch.where(same, before.parameter[rows], after.parameter[kept])
                value[kept] = torch.where(same, old_value[rows], value[kept])

    def _native(self, given: Mapping[str, Tensor], scale: float) -> bool:
        groups = (native.AdamGroup * len(given))()
        alive = [grad.contiguous() for grad in given.values()]
        for k, name in enumerate(given):
            mirror = self._groups[name].mirror or self._mirror(name)
            mirror.steps, mirror.lr, mirror.gradient = self._groups[name].steps + 1, self.lrs[name] * scale, native.address(alive[k])
            groups[k] = mirror
        status = native.library().adam_step(groups, len(given), *BETAS, EPS, torch.get_num_threads())
        if status == native.Status.NOT_FINITE:
            return False
        if status:
            raise InputError(f"FusedAdam: the native library rejects the arguments (status {status})")
        for name in given:
            self._groups[name].steps += 1
        return True

    def _mirror(self, name: str) -> native.AdamGroup:
        """The group as the library sees it; steps, learning rate and gradient are set in each step."""
        group = self._groups[name]
        rows, columns = len(group.parameter), group.parameter[0].numel() if len(group.parameter) else 1
        low, high = (0.0, 1.0) if name == "colors" else (-math.inf, math.inf)
        pointers = [native.address(t) for t in (group.parameter, self.values[name], None, group.first, group.second)]
        spread = self.spread if name == "scales" else math.inf
        group.mirror = native.AdamGroup(rows, 1, columns, ACTIVATIONS.get(name, 0), 0.0, low, high, spread, *pointers)
        return group.mirror

    def _torch(self, given: Mapping[str, Tensor], scale: float) -> bool:
        if given and not bool(torch.stack([grad.isfinite().all() for grad in given.values()]).all()):
            return False
        for name, gradient in given.items():
            group, value = self._groups[name], self.values[name]
            activation = ACTIVATIONS.get(name)
            gradient = gradient * value if activation == EXP else gradient * value * (1 - value) if activation == SIGMOID else gradient
            group.steps += 1
            group.first.lerp_(gradient, 1 - BETAS[0])
            group.second.mul_(BETAS[1]).add_(gradient.square(), alpha=1 - BETAS[1])
            root = group.second.sqrt() / math.sqrt(1 - BETAS[1] ** group.steps) + EPS
            size = self.lrs[name] * scale / (1 - BETAS[0] ** group.steps)
            group.parameter.sub_(size * group.first / root)
            if name == "colors":
                group.parameter.clamp_(0, 1)
            if name == "scales":
                longest = group.parameter.amax(-1, keepdim=True)
                group.parameter.copy_(torch.maximum(group.parameter, longest - self.spread))
            if activation is not None:
                value.copy_(bounded({name: group.parameter})[name])
        return True
