"""Inputs and outputs of all backends, and their checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chronosplat.shapes import InputError, check_finite, check_shape

MOTION_FIELDS = ("velocities", "time_centers", "time_sigmas")
GAUSSIAN_FIELDS = ("means", "quats", "scales", "covars", "opacities", "colors", *MOTION_FIELDS)
SHARED_FIELDS = ("scales", "opacities", "colors")  # may be the same in all scenes
SHAPES = {
    "means": "B N 3",
    "quats": "B N 4",
    "scales": "B N 3",
    "covars": "B N 3 3",
    "opacities": "B N",
    "colors": "B N 3",
    "velocities": "B N 3",
    "time_centers": "B N",
    "time_sigmas": "B N",
    "viewmats": "B V 4 4",
    "Ks": "B V 3 3",
    "times": "B V",
}
RASTERIZE_MODES = ("classic", "antialiased")


@dataclass(frozen=True)
class RasterInputs:
    """B scenes of N Gaussians, each rendered from V cameras at V times. Names and meanings are gsplat's.

    Static scenes that differ in means and quats alone, such as one deforming body, may share their other fields: scales
    [1, N, 3], opacities [1, N] and colors [1, N, 3], with gradients summed over the scenes.

    Attributes:
        means [B, N, 3], opacities [B, N], colors [B, N, 3].
        quats [B, N, 4] (any length) and scales [B, N, 3], or covars [B, N, 3, 3] (the symmetric part is used).
        viewmats [B, V, 4, 4], Ks [B, V, 3, 3], width, height.
        velocities [B, N, 3], time_centers [B, N], time_sigmas [B, N], times [B, V]: all, or none if static.
        eps2d: added to the diagonal of the projected covariance, in square pixels.
        near_plane, far_plane: depths outside are culled.
        radius_clip: Gaussians whose radii in pixels are at most this in both directions are culled.
        rasterize_mode: ``classic``, or ``antialiased``, where opacity compensates for the blur of ``eps2d``.
        weight_min, opacity_min: Gaussians whose temporal weight p(t), or opacity times p(t), is below are culled. The
            4D-LRM paper uses 0.05 for both at inference and 0 in training, because culled Gaussians get no gradient.
    """

    means: Tensor
    quats: Tensor | None
    scales: Tensor | None
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
    covars: Tensor | None = None
    eps2d: float = 0.3
    near_plane: float = 0.01
    far_plane: float = 1e10
    radius_clip: float = 0.0
    rasterize_mode: str = "classic"
    weight_min: float = 0.0
    opacity_min: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether there are no scenes, no Gaussians or no cameras."""
        return 0 in (self.means.shape[0], self.means.shape[1], self.viewmats.shape[1])

    @property
    def shared(self) -> bool:
        """Whether several scenes share scales, opacities and colours."""
        return self.means.shape[0] > 1 and self.opacities.shape[0] == 1

    def unshared(self) -> RasterInputs:
        """Expand shared fields to all scenes."""
        if not self.shared:
            return self
        return replace(self, **{name: _expanded(getattr(self, name), self.means.shape[0]) for name in SHARED_FIELDS})

    def gaussians(self) -> tuple[Tensor | None, ...]:
        """Return the tensors of the Gaussians in the order of GAUSSIAN_FIELDS."""
        return tuple(getattr(self, name) for name in GAUSSIAN_FIELDS)

    def with_gaussians(self, tensors: Sequence[Tensor | None]) -> RasterInputs:
        """Replace the tensors of the Gaussians."""
        return replace(self, **dict(zip(GAUSSIAN_FIELDS, tensors, strict=True)))

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are not None, by name."""
        return {name: getattr(self, name) for name in SHAPES if getattr(self, name) is not None}

    def map(self, function: Callable[[Tensor], Tensor]) -> RasterInputs:
        """Apply ``function`` to every tensor."""
        return replace(self, **{name: function(t) for name, t in self.tensors().items()})

    def check(self) -> None:
        """Check shapes, types, devices and options. No tensor values are read, so this can be compiled.

        Raises:
            InputError: a tensor or option does not fit; the message names it, what was expected and what was found.
        """
        sizes: dict[str, int] = {}
        shared = self.means.dim() == 3 and self.opacities.dim() == 2 and self.shared
        for name, tensor in self.tensors().items():
            check_shape(name, tensor, SHAPES[name].replace("B", "1") if shared and name in SHARED_FIELDS else SHAPES[name], sizes)
            if tensor.device != self.means.device:
                raise InputError(f"{name}: on {tensor.device}, but means on {self.means.device}; move them together")
            if not tensor.is_floating_point():
                raise InputError(f"{name}: expected floating point, got {tensor.dtype}")
        if (self.quats is None) != (self.scales is None) or (self.quats is None) == (self.covars is None):
            raise InputError("shapes of the Gaussians: give quats and scales, or covars alone")
        if shared and (self.covars is not None or self.times is not None):
            raise InputError("opacities: shared by scenes with covars or motion; expand them to all scenes")
        motion = [getattr(self, name) is None for name in (*MOTION_FIELDS, "times")]
        if any(motion) and not all(motion):
            raise InputError("velocities, time_centers, time_sigmas and times: give all of them, or none for a static scene")
        if self.width < 1 or self.height < 1:
            raise InputError(f"image size: expected at least 1x1, got {self.width}x{self.height}")
        if max(self.width, self.height) > 1 << 20:
            raise InputError(f"image size: expected at most {1 << 20} pixels along an edge, got {self.width}x{self.height}")
        if self.rasterize_mode not in RASTERIZE_MODES:
            raise InputError(f"rasterize_mode: expected {' or '.join(RASTERIZE_MODES)}, got {self.rasterize_mode!r}")
        if not 0 < self.near_plane < self.far_plane < float("inf"):
            raise InputError(f"near_plane and far_plane: expected 0 < near < far, got {self.near_plane:g} and {self.far_plane:g}")
        for name in ("eps2d", "radius_clip", "weight_min", "opacity_min"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name}: expected a number of at least 0, got {getattr(self, name):g}")

    def check_values(self) -> None:
        """Check for NaN, infinities and focal lengths that are not positive.

        Raises:
            InputError: the message names the tensor and counts the bad values.
        """
        for name, tensor in self.tensors().items():
            check_finite(name, tensor)
        focal = self.Ks[..., (0, 1), (0, 1)]
        if focal.numel() and bool((focal <= 0).any()):
            raise InputError(f"Ks: focal lengths must be positive, got {focal.min().item():g}")


def _expanded(tensor: Tensor | None, count: int) -> Tensor | None:
    return None if tensor is None else tensor.expand(count, *tensor.shape[1:])


@dataclass(frozen=True)
class RasterOutputs:
    """Images before compositing on a background.

    Attributes:
        rgb: [B, V, H, W, 3] colour times coverage. alpha: [B, V, H, W, 1] coverage.
        depth: [B, V, H, W, 1] depth times coverage, summed front to back.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor

    @staticmethod
    def blank(x: RasterInputs) -> RasterOutputs:
        """Return images of zeros that are connected to the autograd graph of the inputs."""
        B, V = x.viewmats.shape[:2]
        zero = sum((t.sum() for t in x.tensors().values()), torch.zeros((), dtype=x.means.dtype, device=x.means.device)) * 0
        plane = zero.expand(B, V, x.height, x.width, 1)
        return RasterOutputs(plane.expand(-1, -1, -1, -1, 3), plane, plane)
