"""One door to all captures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chronosplat.captures import transforms
from chronosplat.captures.clip import VideoOptions
from chronosplat.captures.decode import SUFFIXES
from chronosplat.captures.video import MOST_FRAMES, load_video
from chronosplat.captures.views import Views, evenly
from chronosplat.shapes import InputError

MULTIPLE = 8  # networks cut pictures into patches of this size


def load_capture(
    path: str | Path,
    split: str = "train",
    size: int | None = None,
    max_frames: int | None = None,
    video: VideoOptions = VideoOptions(),
) -> Views:
    """Load posed pictures from a folder, a transforms JSON, or a video file.

    Args:
        split: which frames, where the capture has splits (train, val, test).
        size: the longer side in pixels to resize to; the other follows. None keeps the pictures as they are.
        max_frames: at most so many frames, evenly chosen (a video is thinned to 24 by default).
        video: which part of a video to take, and how the object is cut out and framed.

    Returns:
        Views in the capture's own world and seconds; ``views.notes`` says what was found and done.

    Raises:
        InputError: no such file, not a capture, or a damaged one, in one line.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        views = transforms.load_transforms(transforms.find_json(path, split), split)
    elif path.suffix.lower() == ".json":
        views = transforms.load_transforms(path, split)
    elif is_video(path):
        views = load_video(path, video, max_frames or video.max_frames or MOST_FRAMES)
    else:
        raise InputError(f"{path}: expected a folder, a transforms .json, or a video ({' '.join(SUFFIXES)})")
    if max_frames and len(views) > max_frames:
        views = views[evenly(len(views), max_frames)]
    return views if size is None else fit_size(views, size)


def load_splits(path: str | Path, size: int | None = None) -> tuple[Views, Views | None]:
    """The pictures of a posed capture that may go in, and those of its test (or val) split, if it has one.

    Raises:
        InputError: as for :func:`load_capture`.
    """
    inputs = load_capture(path, "train", size)
    for split in ("test", "val"):
        if transforms.has_split(Path(path), split):
            return inputs, load_capture(path, split, size)
    return inputs, None


def fit_size(views: Views, size: int | None = None) -> Views:
    """Views whose longer side is ``size`` (None: as it is) and whose sides are divisible by 8, with a note if changed.

    Raises:
        InputError: a size that is not positive.
    """
    width, height = views.cameras.width, views.cameras.height
    if size is not None and size < 1:
        raise InputError(f"size: expected a positive number of pixels, got {size}")
    factor = 1.0 if size is None else size / max(width, height)
    new = tuple(max(MULTIPLE, round(side * factor / MULTIPLE) * MULTIPLE) for side in (width, height))
    if new == (width, height):
        return views
    exact = size is not None and all(abs(n - side * factor) < 0.5 for n, side in zip(new, (width, height), strict=True))
    resized = views.resized(*new)
    note = f"pictures resized from {width}x{height} to {new[0]}x{new[1]}, divisible by {MULTIPLE}"
    return resized if exact else replace(resized, notes=(*resized.notes, note))


def is_video(path: Path) -> bool:
    """Whether a file's name is that of a video."""
    return path.suffix.lower() in SUFFIXES
