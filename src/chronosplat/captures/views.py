"""Views: posed images with timestamps, a model's input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.cameras import Cameras, intrinsics
from chronosplat.events import Notice
from chronosplat.shapes import InputError, check_finite, check_shape, ordinary


@dataclass(frozen=True, init=False)
class Views:
    """F images of one object, in the capture's own world and seconds.

    Images of files stay bytes, a quarter of the memory of floats: ``views[some]`` keeps them bytes, and ``images``, ``alphas``
    and ``on_white`` convert. Convert a few views at a time where there may be hundreds.

    Attributes:
        pixels: [F, H, W, 4] straight sRGB and alpha: uint8, or floats in [0, 1].
        cameras: F cameras of the images' size.
        times: [F] seconds, float64.
        up: [3] the capture's up direction, if known.
        notices: what the loader detected and changed.
    """

    pixels: Tensor
    cameras: Cameras
    times: Tensor
    up: Tensor | None
    notices: tuple[Notice, ...]

    def __init__(
        self,
        images: Tensor | None = None,
        alphas: Tensor | None = None,
        cameras: Cameras | None = None,
        times: Tensor | None = None,
        up: Tensor | None = None,
        notices: tuple[Notice, ...] = (),
        *,
        pixels: Tensor | None = None,
    ) -> None:
        """Build views from ``pixels``, or from images [F, H, W, 3] and alphas [F, H, W, 1], which replace those of ``pixels``.

        Raises:
            InputError: shapes that do not fit, no frames, neither bytes nor floats, or values that are not finite.
        """
        if cameras is None or times is None or (pixels is None and (images is None or alphas is None)):
            raise InputError("views: expected images and alphas (or pixels), cameras and times")
        if images is not None or alphas is not None:
            pixels = _joined(images, alphas, pixels)
        assert pixels is not None
        values = {"pixels": ordinary(pixels), "cameras": cameras, "times": ordinary(times), "up": up, "notices": notices}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        sizes = check_shape("pixels", self.pixels, "F H W 4")
        check_shape("times", self.times, "F", sizes)
        if sizes["F"] == 0:
            raise InputError("views: expected at least one frame, got none")
        if self.pixels.dtype != torch.uint8 and not self.pixels.is_floating_point():
            raise InputError(f"images: expected uint8 or floats, got {self.pixels.dtype}")
        if len(self.cameras) != sizes["F"]:
            raise InputError(f"cameras: expected one per image ({sizes['F']}), got {len(self.cameras)}")
        if (self.cameras.height, self.cameras.width) != (sizes["H"], sizes["W"]):
            got = f"{self.cameras.width}x{self.cameras.height}"
            raise InputError(f"cameras: made for {got}, the images are {sizes['W']}x{sizes['H']}; use cameras.resized")
        for name, values in {"images": self.pixels, "times": self.times}.items():
            if values.is_floating_point():
                check_finite(name, values)

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def __getitem__(self, index: slice | list[int] | Tensor) -> Views:
        return replace(self, pixels=self.pixels[index], cameras=self.cameras[index], times=self.times[index])

    @property
    def images(self) -> Tensor:
        """Return straight sRGB [F, H, W, 3] in [0, 1], as floats."""
        return as_floats(self.pixels[..., :3])

    @property
    def alphas(self) -> Tensor:
        """Return the coverage of the object [F, H, W, 1] in [0, 1], as floats."""
        return as_floats(self.pixels[..., 3:])

    @property
    def seconds(self) -> tuple[float, float]:
        """Return the first and last timestamp."""
        return float(self.times.min()), float(self.times.max())

    def on_white(self) -> Tensor:
        """Composite on white, [F, H, W, 3] as floats."""
        return on_white(self.images, self.alphas)

    def rgba8(self) -> Tensor:
        """Return straight sRGB and alpha [F, H, W, 4] as bytes; not copied where they are bytes already."""
        return as_bytes(self.pixels)

    def resized(self, width: int, height: int) -> Views:
        """Resize to another size, frame by frame: anti-aliased, colours weighted by alpha."""
        if (width, height) == (self.cameras.width, self.cameras.height):
            return self
        frames = (resize_straight(view.images, view.alphas, width, height) for view in self._each())
        return replace(self, pixels=self._stored(frames, width, height), cameras=self.cameras.resized(width, height))

    def framed(self, fovy: float, size: int) -> Views:
        """Crop to square images of a given field of view around the principal point, transparent outside the original image.

        Args:
            fovy: degrees. size: pixels.
        """
        reach = math.tan(math.radians(fovy) / 2)
        frames = (_framed(view, reach, size) for view in self._each())
        Ks = intrinsics(size, size, fovy).to(self.cameras.Ks).expand(len(self), 3, 3)
        return replace(self, pixels=self._stored(frames, size, size), cameras=Cameras(self.cameras.viewmats, Ks, size, size))

    def _each(self) -> Iterator[Views]:
        return (self[i : i + 1] for i in range(len(self)))

    def _stored(self, frames: Iterable[tuple[Tensor, Tensor]], width: int, height: int) -> Tensor:
        return collected(frames, self.pixels.new_empty(len(self), height, width, 4))


def collected(frames: Iterable[tuple[Tensor, Tensor]], pixels: Tensor) -> Tensor:
    """Fill ``pixels`` [F, H, W, 4], bytes or floats, with images [H, W, 3] and alphas [H, W, 1] in [0, 1], frame by frame."""
    for i, frame in enumerate(frames):
        rgba = torch.cat(frame, -1)
        pixels[i] = as_bytes(rgba) if pixels.dtype == torch.uint8 else rgba
    return pixels


def as_floats(values: Tensor) -> Tensor:
    """Convert bytes to floats in [0, 1]; floats stay as they are."""
    return values.float().div_(255) if values.dtype == torch.uint8 else values


def as_bytes(values: Tensor) -> Tensor:
    """Round floats in [0, 1] to bytes; bytes stay as they are."""
    return values if values.dtype == torch.uint8 else (values.clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def _joined(images: Tensor | None, alphas: Tensor | None, pixels: Tensor | None) -> Tensor:
    """Join images and alphas; those of ``pixels`` where one is None. Both are stored as bytes only if both are bytes."""
    if pixels is not None:
        images, alphas = (pixels[..., :3] if images is None else images), (pixels[..., 3:] if alphas is None else alphas)
    assert images is not None
    assert alphas is not None
    sizes = check_shape("images", images, "F H W 3")
    check_shape("alphas", alphas, "F H W 1", sizes)
    both = [images, alphas] if images.dtype == alphas.dtype else [as_floats(images), as_floats(alphas)]
    return torch.cat([ordinary(part) for part in both], -1)


def _framed(view: Views, reach: float, size: int) -> tuple[Tensor, Tensor]:
    """Crop one view to ``reach``, the tangent of half the field of view."""
    (K,), cameras = view.cameras.Ks.double(), view.cameras
    half = float(K[0, 0]) * reach, float(K[1, 1]) * reach
    shrink = min(1.0, 2 * size / min(half))  # with a narrow lens most of the window lies outside the image
    width, height = (max(1, round(n * shrink)) for n in (cameras.width, cameras.height))
    images, alphas = resize_straight(view.images, view.alphas, width, height)
    scale_x, scale_y = width / cameras.width, height / cameras.height
    columns = [round((float(K[0, 2]) + side * half[0]) * scale_x) for side in (-1, 1)]
    rows = [round((float(K[1, 2]) + side * half[1]) * scale_y) for side in (-1, 1)]
    return resize_straight(_window(images, rows, columns), _window(alphas, rows, columns), size, size)


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
