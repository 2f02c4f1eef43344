"""The image formats, and ``render_to``: a scene into any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from chronosplat.events import Events
from chronosplat.export.images.film import Film, film
from chronosplat.export.images.options import RenderOptions
from chronosplat.export.images.stills import write_png, write_pngs, write_sheet
from chronosplat.export.images.video import CODECS, check_rate, write_video
from chronosplat.export.registry import NUMBERS
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError

SHEET_FRAMES = 12


@dataclass(frozen=True)
class ImageFormat:
    """One image format.

    Attributes:
        suffix: the end of its file names; the longest match counts. about: a short description. write: writes a film.
        alpha: whether it holds transparency. deep: whether it holds 16-bit greys.
        frames: number of frames where the user chose none; None: the path's.
        most: the most frames.
    """

    suffix: str
    about: str
    write: Callable[[Film, Path], None]
    alpha: bool = True
    deep: bool = False
    frames: int | None = None
    most: int | None = None


def _image(shot: Film, path: Path) -> None:
    write_png(next(shot.frames), path, shot.facts)


def _video(shot: Film, path: Path) -> None:
    write_video(shot.frames, path, shot.fps)


_ENTRIES = (
    ImageFormat(".mp4", "H.264 video", _video, alpha=False),
    ImageFormat(".webm", "VP9 video, also transparent", _video),
    ImageFormat(".gif", "animated GIF", _video),
    ImageFormat(".apng", "animated PNG", _video),
    ImageFormat(".png", "one rendering", _image, deep=True, frames=1, most=1),
    ImageFormat(".sheet.png", "contact sheet", lambda shot, path: write_sheet(shot.frames, path), frames=SHEET_FRAMES),
)
FORMATS = {entry.suffix: entry for entry in _ENTRIES}
NUMBERED = ImageFormat(".png", "numbered renderings", lambda shot, path: write_pngs(shot.frames, path, shot.facts), deep=True)


def image_format(path: Path) -> ImageFormat:
    """Find the format of a file name, or of a numbered one.

    Raises:
        InputError: not an image format.
    """
    if NUMBERS in path.name and path.name.lower().endswith(".png"):
        return NUMBERED
    found = max((suffix for suffix in FORMATS if path.name.lower().endswith(suffix)), key=len, default=None)
    if found is None or NUMBERS in path.name:
        listed = ", ".join(f"{suffix} ({entry.about})" for suffix, entry in FORMATS.items())
        raise InputError(f"{path}: not an image format; expected {listed}, NAME_{NUMBERS}.png or NAME/")
    return FORMATS[found]


def render_to(
    scene: Scene, path: str | Path, options: RenderOptions = RenderOptions(), events: Events | None = None, device: str | None = None
) -> int:
    """Render a scene into a file, or into numbered files, frame by frame.

    Args:
        path: a name with a suffix of ``FORMATS``; a name with ``####`` for numbered PNG files; a trailing slash, or no suffix, means
            ``NAME/frame_####.png``.
        device: where to render; None: where the scene is.

    Returns:
        The number of frames.

    Raises:
        InputError: an unknown format, path, pass or background, transparency that the format cannot hold, cameras that cannot be
            read, times outside the scene, or an empty scene.
    """
    given, path = str(path), Path(path)
    if given.endswith(("/", "\\")) or (path.suffix == "" and not path.is_file()):
        path = path / f"frame_{NUMBERS}.png"
    return write_as(image_format(path), scene, path, options, events, device)


def write_as(
    entry: ImageFormat, scene: Scene, path: Path, options: RenderOptions, events: Events | None = None, device: str | None = None
) -> int:
    """Render a scene into a file of a format, whatever its name; see render_to."""
    if scene.num_gaussians == 0:
        raise InputError("scene: has no Gaussians, nothing to render")
    if options.transparent and not entry.alpha:
        problem = f"background: {entry.suffix} ({entry.about}) holds no transparency"
        raise InputError(problem, "write .webm, .apng or numbered .png files, or use {background}", background="white")
    if entry.most is not None and (options.frames or 0) > entry.most:
        raise InputError(f"frames: {entry.suffix} holds one image, not {options.frames}; write NAME_{NUMBERS}.png or NAME.sheet.png")
    if entry.suffix in CODECS and options.fps is not None:
        check_rate(entry.suffix, options.fps)
    shot = film(scene, replace(options, frames=options.frames or entry.frames), events, device, entry.deep)
    entry.write(shot, path)
    return shot.count
