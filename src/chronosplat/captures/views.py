"""Views: posed images with timestamps, a model's input."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.cameras import Cameras, intrinsics
from chronosplat.events import Notice
from chronosplat.shapes import InputError, check_finite, check_shape, ordinary


@dataclass(frozen=True)
class Views:
    """F images of one object, in the capture's own world and seconds.

    Attributes:
        images: [F, H, W, 3] straight sRGB in [0, 1].
        alphas: [F, H, W, 1] coverage of the object in [0, 1].
        cameras: F cameras of the images' size.
        times: [F] seconds, float64.
        up: [3] the capture's up direction, if known.
        notices: what the loader detected and changed.

    Raises:
        InputError: shapes that do not fit, no frames, or values that are not finite.
    """

    images: Tensor
    alphas: Tensor
    cameras: Cameras
    times: Tensor
    up: Tensor | None = None
    notices: tuple[Notice, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("images", "alphas", "times"):
            object.__setattr__(self, name, ordinary(getattr(self, name)))
        sizes = check_shape("images", self.images, "F H W 3")
        check_shape("alphas", self.alphas, "F H W 1", sizes)
        check_shape("times", self.times, "F", sizes)
        if sizes["F"] == 0:
            raise InputError("views: expected at least one frame, got none")
        if len(self.cameras) != sizes["F"]:
            raise InputError(f"cameras: expected one per image ({sizes['F']}), got {len(self.cameras)}")
        if (self.cameras.height, self.cameras.width) != (sizes["H"], sizes["W"]):
            got = f"{self.cameras.width}x{self.cameras.height}"
            raise InputError(f"cameras: made for {got}, the images are {sizes['W']}x{sizes['H']}; use cameras.resized")
        for name in ("images", "alphas", "times"):
            check_finite(name, getattr(self, name))

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, index: slice | list[int] | Tensor) -> Views:
        return Views(self.images[index], self.alphas[index], self.cameras[index], self.times[index], self.up, self.notices)

    @property
    def seconds(self) -> tuple[float, float]:
        """Return the first and last timestamp."""
        return float(self.times.min()), float(self.times.max())

    def on_white(self) -> Tensor:
        """Composite on white, [F, H, W, 3]."""
        return on_white(self.images, self.alphas)

    def resized(self, width: int, height: int) -> Views:
        """Resize to another size: anti-aliased, colours weighted by alpha."""
        if (width, height) == (self.cameras.width, self.cameras.height):
            return self
        images, alphas = resize_straight(self.images, self.alphas, width, height)
        return Views(images, alphas, self.cameras.resized(width, height), self.times, self.up, self.notices)

    def framed(self, fovy: float, size: int) -> Views:
        """Crop to square images of a given field of view around the principal point, transparent outside the original image.

        Args:
            fovy: degrees. size: pixels.
        """
        reach = math.tan(math.radians(fovy) / 2)
        parts = []
        for i, K in enumerate(self.cameras.Ks.double()):
            half = float(K[0, 0]) * reach, float(K[1, 1]) * reach
            shrink = min(1.0, 2 * size / min(half))  # with a narrow lens most of the window lies outside the image
            width, height = (max(1, round(n * shrink)) for n in (self.cameras.width, self.cameras.height))
            images, alphas = resize_straight(self.images[i : i + 1], self.alphas[i : i + 1], width, height)
            scale_x, scale_y = width / self.cameras.width, height / self.cameras.height
            columns = [round((float(K[0, 2]) + side * half[0]) * scale_x) for side in (-1, 1)]
            rows = [round((float(K[1, 2]) + side * half[1]) * scale_y) for side in (-1, 1)]
            parts.append(resize_straight(_window(images, rows, columns), _window(alphas, rows, columns), size, size))
        images, alphas = (torch.cat(part) for part in zip(*parts, strict=True))
        Ks = intrinsics(size, size, fovy).to(self.cameras.Ks).expand(len(self), 3, 3)
        return Views(images, alphas, Cameras(self.cameras.viewmats, Ks, size, size), self.times, self.up, self.notices)


def evenly(count: int, limit: int) -> list[int]:
    """Return up to ``limit`` of ``count`` indices, evenly spaced, the first and last included."""
    return list(range(count)) if count <= limit else [round(i * (count - 1) / max(limit - 1, 1)) for i in range(limit)]


def on_white(images: Tensor, alphas: Tensor) -> Tensor:
    """Composite straight colours [..., H, W, 3] on white."""
    return images * alphas + 1 - alphas


def _window(images: Tensor, rows: list[int], columns: list[int]) -> Tensor:
    """Crop images [F, H, W, C] to a window; zero outside the image."""
    frames, _, _, channels = images.shape
    top, bottom, left, right = rows[0], max(rows[1], rows[0] + 1), columns[0], max(columns[1], columns[0] + 1)
    window = images.new_zeros(frames, bottom - top, right - left, channels)
    inside = images[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    first = max(-top, 0), max(-left, 0)
    window[:, first[0] : first[0] + inside.shape[1], first[1] : first[1] + inside.shape[2]] = inside
    return window


def resize_straight(images: Tensor, alphas: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Resize straight colours [F, H, W, 3] and alphas [F, H, W, 1]: anti-aliased, colours weighted by alpha."""
    if images.shape[1:3] == (height, width):
        return images, alphas
    return resize_premultiplied(torch.cat([images * alphas, alphas], -1), width, height)


def resize_premultiplied(images: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Resize premultiplied images [F, H, W, 4] to straight colours [F, h, w, 3] and alphas [F, h, w, 1]."""
    channels = images.permute(0, 3, 1, 2)
    small = F.interpolate(channels, (height, width), mode="bilinear", antialias=True, align_corners=False).permute(0, 2, 3, 1)
    alphas = small[..., 3:].clamp(0, 1)
    return (small[..., :3] / alphas.clamp_min(1e-6)).clamp(0, 1), alphas
