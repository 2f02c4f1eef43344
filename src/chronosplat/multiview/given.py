"""User-given views of the first frame: four images, or the three besides the video's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from chronosplat.captures.matting import Matte, choose_matte
from chronosplat.captures.object_image import frame_image, read_pixels
from chronosplat.captures.views import on_white
from chronosplat.captures.window import object_box, whole_window
from chronosplat.events import Notice
from chronosplat.shapes import InputError

VIEW_NAMES = ("front", "right", "back", "left")  # azimuths 0, 90, 180, 270
IMAGES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class GivenViews:
    """Four views of one timestamp.

    Attributes:
        views: [4, S, S, 3] on white, azimuths 0, 90, 180, 270; the first is blank if only three were given.
        has_front: whether the front view was given.
        box: left, top, right, bottom of the object in the front view, as fractions of the image; without a front view, the
            image's centre column and the mean rows of the others.
        notices: what was detected.
    """

    views: Tensor
    has_front: bool
    box: tuple[float, float, float, float]
    notices: tuple[Notice, ...] = ()


def load_given(paths: Sequence[str | Path], size: int, matting: str = "auto") -> GivenViews:
    """Load views of the first frame.

    Args:
        paths: four images in the order front, right, back, left, or three without the front; or a folder with files of these
            names, or else with images in alphabetical order.
        size: pixels. matting: see choose_matte.

    Raises:
        InputError: another number of images, undecodable ones, different sizes, or no object in one.
    """
    files = _files([Path(p) for p in paths])
    if len(files) not in (3, 4):
        found = f"{len(files)} ({', '.join(f.name for f in files[:6])}{', ...' if len(files) > 6 else ''})" if files else "none"
        raise InputError(f"views: expected 4 images (front right back left), or 3 without the front; got {found}")
    images = [read_pixels(path) for path in files]
    if len({image.shape[:2] for image in images}) > 1:
        listed = ", ".join(f"{f.name} {image.shape[1]}x{image.shape[0]}" for f, image in zip(files, images, strict=True))
        raise InputError(f"views: images of different sizes ({listed}); they must have one framing and one size")
    white, boxes, notices = [], [], []
    network: Matte | None = None  # loaded once for all
    for path, image in zip(files, images, strict=True):
        matte = network or choose_matte(matting, [image], path.name)
        network = matte if matte.slow else None
        colors, alphas = frame_image(image, whole_window(*image.shape[1::-1]), matte, size)
        box = object_box(alphas[..., 0].numpy())
        if box is None:
            raise InputError(f"{path}: no object found in it", "try another {matting}", matting=...)
        boxes.append(box)
        white.append(on_white(colors, alphas))
        if matte.kind != "alpha":
            notices.append(matte.notice)
    has_front = len(files) == 4
    if not has_front:
        white.insert(0, torch.ones_like(white[0]))
    top, bottom = (sum(b[i] for b in boxes) / len(boxes) for i in (1, 3))
    box = boxes[0] if has_front else (0.5, top, 0.5, bottom)
    return GivenViews(torch.stack(white), has_front, box, tuple(notices))


def save_views(views: Tensor, folder: Path) -> list[Path]:
    """Write [4, H, W, 3] as front.png, right.png, back.png, left.png."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in VIEW_NAMES]
    for path, view in zip(paths, views, strict=True):
        Image.fromarray((view.clamp(0, 1) * 255 + 0.5).byte().numpy()).save(path)
    return paths


def _files(paths: list[Path]) -> list[Path]:
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
    if len(paths) != 1 or not paths[0].is_dir():
        names = [p.stem.lower() for p in paths]
        order = [name for name in VIEW_NAMES if name in names]
        if sorted(names) == sorted(order) and names != order:
            raise InputError(f"views: expected in the order {' '.join(order)}, got {' '.join(names)}")
        return paths
    inside = sorted(p for p in paths[0].iterdir() if p.suffix.lower() in IMAGES)
    named = {p.stem.lower(): p for p in inside if p.stem.lower() in VIEW_NAMES}
    if not named:
        return inside
    missing = [name for name in VIEW_NAMES[1:] if name not in named]
    if missing:
        raise InputError(f"{paths[0]}: has {', '.join(named)}, but no {', '.join(missing)}")
    return [named[name] for name in VIEW_NAMES if name in named]
