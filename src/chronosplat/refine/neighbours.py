"""Velocity smoothness over neighbours in space and time, which keeps a velocity from fitting a single view."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import byref, c_double
from typing import Any

import torch
from torch import Tensor

from chronosplat.render import native
from chronosplat.shapes import InputError

COUNT = 6  # neighbours of a Gaussian
EVERY = 200  # evaluations between two neighbour searches
SAMPLES = 4000  # Gaussians per evaluation
MAX_DISTANCES = 2**28  # at most per search; of large scenes only some Gaussians are then compared
TIME = 0.5  # distance in space that equals one unit of scene time


class Neighbours:
    """The nearest neighbours among Gaussians that are being optimised.

    Attributes:
        generator: random numbers on the CPU that choose the compared Gaussians.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.evaluations = 0
        self.indices, self.neighbours = torch.empty(0, dtype=torch.long), torch.empty(0, COUNT, dtype=torch.long)

    def find(self, means: Tensor, time_centers: Tensor) -> None:
        """Find the neighbours of all Gaussians [N], or of as many as MAX_DISTANCES allows."""
        with torch.no_grad():
            points = torch.cat([means, time_centers[:, None] * TIME], -1)
            size = len(points)
            limit = max(SAMPLES // 4, MAX_DISTANCES // size)
            indices = torch.arange(size) if limit >= size else torch.randperm(size, generator=self.generator)[:limit]
            self.indices = indices.to(points.device)
            near = min(COUNT + 1, size)
            found = [torch.cdist(points[part], points).topk(near, largest=False).indices[:, 1:] for part in self.indices.split(1024)]
            self.neighbours = torch.cat(found)

    def velocity_differences(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Mean squared difference between the velocities of some Gaussians and those of their neighbours."""
        return 3 * mean_difference(fields["velocities"], *self.sample(fields))

    def sample(self, fields: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Indices [P] of some Gaussians, and [P, K] of their neighbours, which are found anew now and then."""
        if self.evaluations % EVERY == 0:
            self.find(fields["means"], fields["time_centers"])
        self.evaluations += 1
        sampled = torch.randint(len(self.indices), (min(SAMPLES, len(self.indices)),), generator=self.generator).to(self.indices.device)
        return self.indices[sampled], self.neighbours[sampled]


def mean_difference(values: Tensor, rows: Tensor, others: Tensor) -> Tensor:
    """Mean squared difference between values [N, C] at rows [P] and at others [P, K]; differentiable, one native call on the CPU."""
    if values.device.type != "cpu" or values.dtype != torch.float32 or 0 in (*others.shape, values.shape[1]):
        return mean_difference_reference(values, rows, others)
    return _MeanDifference.apply(values, rows, others)  # pyright: ignore[reportReturnType]


def mean_difference_reference(values: Tensor, rows: Tensor, others: Tensor) -> Tensor:
    """Compute :func:`mean_difference` with torch."""
    # index_select: its gradient is summed in order, that of indexing by all threads at once
    there = values.index_select(0, others.flatten()).unflatten(0, others.shape)
    return (there - values.index_select(0, rows)[:, None]).square().mean()


class _MeanDifference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, others: Tensor) -> Tensor:
        values, rows, others = values.contiguous(), rows.contiguous(), others.contiguous()
        loss, gradient = c_double(), torch.empty_like(values)
        pointers = [native.address(t) for t in (rows, others)]
        status = native.library().pair_differences(
            native.address(values), *values.shape, *pointers, *others.shape, byref(loss), native.address(gradient)
        )
        if status:
            raise InputError(f"mean_difference: expected rows and others from 0 to {len(values) - 1}")
        ctx.save_for_backward(gradient)
        return torch.tensor(loss.value, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        return float(grad_outputs[0]) * ctx.saved_tensors[0], None, None
