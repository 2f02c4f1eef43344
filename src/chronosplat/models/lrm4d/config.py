"""Configs of 4D-LRMs, and their input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from chronosplat.shapes import InputError, check_shape


@dataclass(frozen=True)
class SweepConfig:
    """Plane sweep: ``depths`` samples within ``reach`` of each ray's closest point to the origin.

    Attributes:
        stride: cell size in pixels. windows: time constants of the silhouette weights, in network time.
    """

    depths: int = 40
    reach: float = 0.85
    stride: int = 4
    windows: tuple[float, ...] = (0.12, 0.6)

    @property
    def channels(self) -> int:
        """Features per cell and depth: one silhouette agreement per window, one colour disagreement."""
        return len(self.windows) + 1


@dataclass(frozen=True)
class PaperHeadConfig:
    """4D-LRM's own head: 20 channels per pixel, 10-channel pixel maps."""


@dataclass(frozen=True)
class MovingHeadConfig:
    """A head with priors: plane sweep, linear motion, alpha as the eleventh input channel."""

    sweep: SweepConfig = field(default_factory=SweepConfig)


HeadConfig = PaperHeadConfig | MovingHeadConfig


@dataclass(frozen=True)
class LRM4DConfig:
    """Sizes and variant of a 4D-LRM; the paper's Base by default.

    Attributes:
        frame_layers: every other layer, from the first, attends within each frame only, which is far cheaper.
        max_views, max_size: number of images, and longer side in pixels, of the training. Reconstruction passes no more, so that
            its time does not depend on the capture's size.
    """

    layers: int = 12
    width: int = 768
    heads: int = 12
    mlp_ratio: int = 4
    patch: int = 8
    head: HeadConfig = field(default_factory=PaperHeadConfig)
    qk_norm: bool = False
    frame_layers: bool = False
    max_views: int = 24
    max_size: int = 256


def config_from_dict(data: Mapping[str, Any]) -> LRM4DConfig:
    """Read a config from its JSON form (``asdict``), or from the older one with ``head`` "paper" or "moving" and ``sweep`` beside it.

    Raises:
        InputError: unknown head.
    """
    sizes: dict[str, Any] = {name: value for name, value in data.items() if name not in ("head", "sweep")}
    head = data.get("head", "paper")
    if head in ("paper", {}):
        return LRM4DConfig(**sizes, head=PaperHeadConfig())
    if head != "moving" and not (isinstance(head, Mapping) and "sweep" in head):
        raise InputError(f"head: expected paper or moving, got {head!r}")
    sweep = dict(head["sweep"] if isinstance(head, Mapping) else data.get("sweep", {}))
    sweep["windows"] = tuple(sweep.get("windows", SweepConfig.windows))
    return LRM4DConfig(**sizes, head=MovingHeadConfig(SweepConfig(**sweep)))


@dataclass(frozen=True)
class Frames:
    """The network's input: B samples of F posed images.

    Attributes:
        rgb: [B, F, H, W, 3] in [0, 1] on white. alpha: [B, F, H, W, 1].
        times: [B, F] in [-1, 1]. viewmats: [B, F, 4, 4] and Ks: [B, F, 3, 3] in the normalised world.
    """

    rgb: Tensor
    alpha: Tensor
    times: Tensor
    viewmats: Tensor
    Ks: Tensor

    def check(self, patch: int) -> None:
        """Raise InputError if shapes do not fit each other or the patch size."""
        sizes = check_shape("rgb", self.rgb, "B F H W 3")
        for name, shape in {"alpha": "B F H W 1", "times": "B F", "viewmats": "B F 4 4", "Ks": "B F 3 3"}.items():
            check_shape(name, getattr(self, name), shape, sizes)
        if sizes["F"] < 1:
            raise InputError("rgb: expected at least one frame")
        if sizes["H"] % patch or sizes["W"] % patch:
            raise InputError(f"rgb: expected height and width divisible by {patch}, got {sizes['H']}x{sizes['W']}; resize the views")
