"""``load_capture``: load a folder (of any layout), a transforms JSON or a video, subsampled and resized while it is decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from chronosplat.captures.decode import SUFFIXES
from chronosplat.captures.object_video import VideoOptions
from chronosplat.captures.registry import layout_of, layouts
from chronosplat.captures.transforms import find_json, has_split, load_described, load_transforms, transforms_file
from chronosplat.captures.video import MAX_FRAMES, load_image, load_video
from chronosplat.captures.views import Views, evenly
from chronosplat.events import Notice, info
from chronosplat.memory import available_memory
from chronosplat.shapes import InputError

MULTIPLE = 8  # the networks' patch size
BYTES_PER_PIXEL = 6  # of an image: four as they are loaded, and those of smaller copies
WORKING_BYTES = 400  # for a pixel of each image's size, besides: a step of refinement renders four
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
KEEP_FREE = 0.8  # fraction of the free memory that images may take


@dataclass(frozen=True)
class Limits:
    """A model's limits: larger captures are subsampled and reduced, with a notice, unless the user chose a size or number.

    Attributes:
        frames: maximum number of images. size: longer side in pixels.
    """

    frames: int | None = None
    size: int | None = None


def load_capture(
    path: str | Path,
    split: str = "train",
    size: int | None = None,
    max_frames: int | None = None,
    video: VideoOptions = VideoOptions(),
    limits: Limits = Limits(),
) -> Views:
    """Load posed images from a folder, a transforms JSON or a video file, or a single image.

    Args:
        split: which frames, where the capture has splits (train, val, test).
        size: the longer side in pixels to resize to; the other follows. None keeps the images as they are.
        max_frames: maximum number of frames, evenly spaced (24 for a video by default).
        video: a video's time span, background removal and framing.
        limits: used where ``size`` or ``max_frames`` is None.

    Returns:
        Views in the capture's own world and seconds; ``views.notices`` lists what was detected and changed.

    Raises:
        InputError: no such file, not a capture, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    notices: list[Notice] = []
    counted = [max_frames or video.max_frames or MAX_FRAMES]  # of a video; other captures say

    def choose(count: int) -> list[int]:
        limit = max_frames or limits.frames or count
        if max_frames is None and limit < count:
            notices.append(info("thinned", f"{limit} of {count} images are used, evenly spaced", "{max_frames} takes more", max_frames=...))
        counted[0] = min(count, limit)
        return evenly(count, limit)

    def resize(old: tuple[int, int]) -> tuple[int, int]:
        reduce = size is None and limits.size is not None and max(old) > limits.size
        longer = limits.size if reduce else size
        new = old if longer is None else fitted_size(*old, longer)
        if reduce:
            change = f"images reduced from {old[0]}x{old[1]} to {new[0]}x{new[1]}"
            notices.append(info("reduced", change, "{size} keeps more", size=...))
        elif longer is not None and any(abs(n - side * longer / max(old)) >= 0.5 for n, side in zip(new, old, strict=True)):
            notices.append(_rounded(old, new))
        check_memory(counted[0], new)
        return new

    if path.is_dir() and transforms_file(path, split) is None:
        views = load_described(layout_of(path, split).describe(path, split), split, choose, resize)
    elif path.is_dir() or path.suffix.lower() == ".json":
        file = find_json(path, split) if path.is_dir() else path
        views = load_transforms(file, split, choose, resize)
    elif is_video(path):
        views = load_video(path, video, max_frames or video.max_frames or MAX_FRAMES, resize)
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        views = load_image(path, video.matting, resize)
    else:
        raise InputError(f"{path}: expected a folder, a transforms .json, an image, or a video ({' '.join(SUFFIXES)})")
    return replace(views, notices=(*views.notices, *notices))


def check_memory(count: int, size: tuple[int, int]) -> None:
    """Refuse images that do not fit into memory, with the work on them.

    Args:
        count: number of images. size: width and height.

    Raises:
        InputError: names the largest size that fits.
    """
    room, need = KEEP_FREE * available_memory("cpu"), size[0] * size[1] * (count * BYTES_PER_PIXEL + WORKING_BYTES)
    if need > room:
        largest = int(max(size) * math.sqrt(room / need)) // MULTIPLE * MULTIPLE
        needed, free = (f"{n / 2**30:.1f} GiB" for n in (need, room))
        problem = f"size: {count} images of {size[0]}x{size[1]} take about {needed} to work with, {free} are free"
        raise InputError(problem, "{size} fits" if largest >= MULTIPLE else "take fewer: {max_frames}", size=largest, max_frames=...)


def load_splits(path: str | Path, size: int | None = None) -> tuple[Views, Views | None]:
    """Load the training views of a posed capture, and its test (or val) views, if it has a split.

    Raises:
        InputError: as for :func:`load_capture`.
    """
    inputs = load_capture(path, "train", size)
    for split in ("test", "val"):
        if has_split(Path(path), split):
            return inputs, load_capture(path, split, size)
    return inputs, None


def fitted_size(width: int, height: int, size: int | None = None) -> tuple[int, int]:
    """Return the width and height divisible by 8 nearest to a longer side of ``size`` pixels (None: unchanged).

    Raises:
        InputError: a size that is not positive.
    """
    if size is not None and size < 1:
        raise InputError(f"size: expected a positive number of pixels, got {size}")
    factor = 1.0 if size is None else size / max(width, height)
    return max(MULTIPLE, round(width * factor / MULTIPLE) * MULTIPLE), max(MULTIPLE, round(height * factor / MULTIPLE) * MULTIPLE)


def _rounded(old: tuple[int, int], new: tuple[int, int]) -> Notice:
    return info("resized", f"images resized from {old[0]}x{old[1]} to {new[0]}x{new[1]}, divisible by {MULTIPLE}")


def is_capture(path: Path) -> bool:
    """Whether a folder holds a capture."""
    return path.is_dir() and (transforms_file(path, "train") is not None or any(layout.splits(path) for layout in layouts()))


def is_video(path: Path) -> bool:
    """Whether a file's suffix is that of a video."""
    return path.suffix.lower() in SUFFIXES
