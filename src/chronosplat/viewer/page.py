"""``viewer.html``: a scene and its player in one file that works offline (docs/viewer.md)."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.events import Events
from chronosplat.files import atomic_file
from chronosplat.render import background_color
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError
from chronosplat.viewer.blocks import scene_blocks, typical_place
from chronosplat.viewer.cameras import camera_entries
from chronosplat.viewer.packing import text_of

TEMPLATE = Path(__file__).parent / "page.html"  # built from web/ by ``make web``
MARK = "<!-- scene -->"  # where the scene goes in the template
VERSION = 1  # of the header, which the page checks
FRAMES = 48  # time steps of a scene that the page cannot evaluate itself


def write_page(
    scene: Scene,
    path: str | Path,
    cameras: Cameras | None = None,
    times: Sequence[float] | Tensor | None = None,
    images: Tensor | None = None,
    title: str | None = None,
    background: str = "white",
    notes: Mapping[str, str] | None = None,
    frames: int = FRAMES,
    events: Events | None = None,
) -> Path:
    """Write a page that plays a scene in any browser with WebGL2, from a file and offline.

    The scene is written block by block, so that a stored sequence never has to fit in memory.

    Args:
        cameras: F input cameras, in the capture's world: shown as frusta to look through.
        times: [F] seconds of their images. images: [F, H, W, 3] or [F, H, W, 4], bytes or floats in [0, 1]: shown small.
        title: the page's title; None: the file's name.
        background: a name that ``render`` knows, or ``#rrggbb``.
        notes: facts that the page lists.
        frames: time steps of a scene whose motion the page cannot evaluate and that stores none.

    Raises:
        InputError: cameras, times or images that do not match, an unknown background, or values that are not finite.
    """
    path = Path(path)
    parts = page_parts(scene, path.stem if title is None else title, cameras, times, images, background, notes, frames, events)
    with atomic_file(path) as fresh, fresh.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(parts)
    return path


@dataclass(frozen=True)
class Page:
    """A page for notebooks, which show it as a cell's result.

    Attributes:
        html: the whole page. height: of the cell, in pixels.
    """

    html: str
    height: int = 520

    def _repr_html_(self) -> str:
        style = f"width:100%;height:{self.height}px;border:0;border-radius:6px"
        return f'<iframe srcdoc="{html.escape(self.html)}" style="{style}" allow="fullscreen" title="chronosplat viewer"></iframe>'


def show(
    scene: Scene,
    cameras: Cameras | None = None,
    times: Sequence[float] | Tensor | None = None,
    images: Tensor | None = None,
    title: str = "",
    background: str = "white",
    height: int = 520,
) -> Page:
    """Show a scene in a notebook; arguments are those of :func:`write_page`."""
    return Page("".join(page_parts(scene, title, cameras, times, images, background, None, FRAMES, None)), height)


def page_parts(
    scene: Scene,
    title: str,
    cameras: Cameras | None,
    times: Sequence[float] | Tensor | None,
    images: Tensor | None,
    background: str,
    notes: Mapping[str, str] | None,
    frames: int,
    events: Events | None,
) -> Iterator[str]:
    """Yield the text of a page, see :func:`write_page`."""
    if scene.num_gaussians == 0:
        raise InputError("scene: holds no Gaussians to show")
    entries = [] if cameras is None else camera_entries(cameras, times, images)
    form, blocks = scene_blocks(scene, frames)
    center, radius = typical_place(scene)
    header: dict[str, Any] = {
        "version": VERSION,
        "title": title,
        "notes": {str(name): str(value) for name, value in (notes or {}).items()},
        "background": _hexadecimal(background),
        "world": scene.world.matrix().flatten().tolist(),
        "seconds": scene.seconds,
        "center": center,
        "radius": radius,
        "cameras": entries,
        "size": None if cameras is None else [cameras.width, cameras.height],
        "blocks": [],
    }
    header |= form
    before, after = _template()
    yield before
    total = len(form.get("times", [0.0]))
    for index, block in enumerate(blocks):
        header["blocks"].append([block.count, block.channels])
        yield f'<script type="application/octet-stream" class="block">{text_of(block.data)}</script>\n'
        if events is not None:
            events.progress("page", index + 1, total)
    yield f'<script type="application/json" id="scene">{script_json(header)}</script>'
    yield after


def script_json(value: Any) -> str:
    """JSON that can stand in a script element: no ``<`` of a text can end the element or begin a comment."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


@cache
def _template() -> tuple[str, str]:
    """The page before and after the scene."""
    before, found, after = TEMPLATE.read_text(encoding="utf-8").partition(MARK)
    if not found:
        raise RuntimeError(f"{TEMPLATE}: has no {MARK}")
    return before, after


def _hexadecimal(background: str) -> str:
    """A colour by name or ``#rrggbb`` as ``#rrggbb``."""
    if background.startswith("#"):
        digits = background[1:]
        if len(digits) != 6 or not all(c in "0123456789abcdefABCDEF" for c in digits):
            raise InputError(f"background: expected a name or #rrggbb, got {background!r}")
        return background.lower()
    color = background_color(background, torch.zeros(3))
    return "#" + "".join(f"{round(float(x) * 255):02x}" for x in color)
