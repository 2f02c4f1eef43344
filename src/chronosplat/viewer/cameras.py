"""The input cameras in the page: each pose once, with its times and a small image."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.shapes import InputError, check_shape
from chronosplat.viewer.packing import text_of

MOST_IMAGES, IMAGE_SIDE, QUALITY = 64, 128, 70  # how many small images, their longer side in pixels, and JPEG's quality


def camera_entries(cameras: Cameras, times: Sequence[float] | Tensor | None, images: Tensor | None) -> list[dict[str, Any]]:
    """Describe the cameras for the page: one entry per pose, in order of first appearance.

    Args:
        times: [F] seconds of the images. images: [F, H, W, 3] or [F, H, W, 4], bytes or floats in [0, 1].

    Raises:
        InputError: times or images that do not match the cameras.
    """
    count = len(cameras)
    seconds = None if times is None else torch.as_tensor(times, dtype=torch.float64)
    if seconds is not None:
        check_shape("times", seconds, "F", {"F": count}, remedy="one time per camera, in seconds")
    if images is not None and (images.ndim != 4 or len(images) != count or images.shape[-1] not in (3, 4)):
        raise InputError(f"images: expected [F={count}, H, W, 3 or 4], one per camera, got {list(images.shape)}")
    poses = cameras.to_opengl_c2w().double()
    entries: dict[bytes, dict[str, Any]] = {}
    first: list[int] = []
    for index in range(count):
        key = poses[index].float().numpy(force=True).tobytes() + cameras.Ks[index].float().numpy(force=True).tobytes()
        if key not in entries:
            K = cameras.Ks[index].double()
            lens = [float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])]
            entries[key] = {"pose": poses[index].flatten().tolist(), "lens": lens, "times": []}
            first.append(index)
        if seconds is not None:
            entries[key]["times"].append(float(seconds[index]))
    found = list(entries.values())
    if images is not None:
        step = -(-len(found) // MOST_IMAGES)
        for entry, index in list(zip(found, first, strict=True))[::step]:
            entry["image"] = _small_image(images[index])
    return found


def _small_image(image: Tensor) -> str:
    """An image [H, W, 3 or 4] as a data URL; alpha is composited on white."""
    pixels = image.detach().cpu()
    pixels = pixels if pixels.dtype == torch.uint8 else (pixels.float().clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    picture = Image.fromarray(pixels.numpy())
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture).convert("RGB")
    picture.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
    file = BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + text_of(file.getvalue())
