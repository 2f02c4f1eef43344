"""What every backend takes and gives: one signature, checked once at the door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chronosplat.shapes import InputError, check_finite, check_shape

GAUSSIAN_FIELDS = ("means", "quats", "scales", "opacities", "colors", "velocities", "time_centers", "time_sigmas")
SHAPES = {
    "means": "B N 3",
    "quats": "B N 4",
    "scales": "B N 3",
    "opacities": "B N",
    "colors": "B N 3",
    "velocities": "B N 3",
    "time_centers": "B N",
    "time_sigmas": "B N",
    "viewmats": "B V 4 4",
    "Ks": "B V 3 3",
    "times": "B V",
}


@dataclass(frozen=True)
class RasterInputs:
    """B scenes of N Gaussians, each seen by V cameras at V moments.

    Attributes:
        means [B, N, 3], quats [B, N, 4] (any length), scales [B, N, 3], opacities [B, N], colors [B, N, 3].
        viewmats [B, V, 4, 4], Ks [B, V, 3, 3], width, height.
        velocities [B, N, 3], time_centers [B, N], time_sigmas [B, N], times [B, V]: all, or none for static scenes.
        eps2d: added to the diagonal of the projected covariance, in square pixels (gsplat's default).
        near_plane, far_plane: depths outside are not drawn.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    viewmats: Tensor
    Ks: Tensor
    width: int
    height: int
    velocities: Tensor | None = None
    time_centers: Tensor | None = None
    time_sigmas: Tensor | None = None
    times: Tensor | None = None
    eps2d: float = 0.3
    near_plane: float = 0.01
    far_plane: float = 1e10

    def gaussians(self) -> tuple[Tensor | None, ...]:
        """The Gaussians' tensors in the order of GAUSSIAN_FIELDS."""
        return tuple(getattr(self, name) for name in GAUSSIAN_FIELDS)

    def with_gaussians(self, tensors: Sequence[Tensor | None]) -> RasterInputs:
        """The same inputs with other Gaussians."""
        return replace(self, **dict(zip(GAUSSIAN_FIELDS, tensors, strict=True)))

    def map(self, function: Callable[[Tensor], Tensor]) -> RasterInputs:
        """The inputs with ``function`` applied to every tensor."""
        tensors = {name: getattr(self, name) for name in SHAPES}
        return replace(self, **{name: function(t) for name, t in tensors.items() if t is not None})

    def check(self) -> None:
        """Refuse shapes, types, devices and values that do not fit.

        Raises:
            InputError: naming the tensor, what was expected and what was found.
        """
        sizes: dict[str, int] = {}
        for name, shape in SHAPES.items():
            tensor = getattr(self, name)
            if tensor is None:
                continue
            check_shape(name, tensor, shape, sizes)
            if tensor.device != self.means.device:
                raise InputError(f"{name}: on {tensor.device}, but means on {self.means.device}; move them together")
            if not tensor.is_floating_point():
                raise InputError(f"{name}: expected floating point, got {tensor.dtype}")
            check_finite(name, tensor)
        motion = [getattr(self, name) is None for name in ("velocities", "time_centers", "time_sigmas", "times")]
        if any(motion) and not all(motion):
            raise InputError("velocities, time_centers, time_sigmas and times: give all of them, or none for a static scene")
        if self.width < 1 or self.height < 1:
            raise InputError(f"picture size: expected at least 1x1, got {self.width}x{self.height}")
        focal = self.Ks[..., (0, 1), (0, 1)]
        if focal.numel() and bool((focal <= 0).any()):
            raise InputError(f"Ks: focal lengths must be positive, got {focal.min().item():g}")


@dataclass(frozen=True)
class RasterOutputs:
    """Pictures before any background.

    Attributes:
        rgb: [B, V, H, W, 3] colour times coverage. alpha: [B, V, H, W, 1] coverage.
        depth: [B, V, H, W, 1] depth times coverage, summed front to back.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor

    @staticmethod
    def empty(x: RasterInputs) -> RasterOutputs:
        """Pictures of nothing, still connected to the inputs' graph."""
        B, V = x.viewmats.shape[:2]
        nothing = sum((t.sum() for t in x.gaussians() if t is not None), torch.zeros((), dtype=x.means.dtype, device=x.means.device)) * 0
        plane = nothing.expand(B, V, x.height, x.width, 1)
        return RasterOutputs(plane.expand(-1, -1, -1, -1, 3), plane, plane)
