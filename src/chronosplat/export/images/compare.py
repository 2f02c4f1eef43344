"""Input views beside renderings of them, with their PSNR."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from chronosplat.captures import Views, load_capture
from chronosplat.captures.transforms import has_split
from chronosplat.captures.views import evenly
from chronosplat.events import Events
from chronosplat.export.images.options import FPS, RenderOptions
from chronosplat.export.images.passes import Setting, rendered
from chronosplat.export.images.shots import Shots
from chronosplat.export.times import check_times
from chronosplat.metrics import psnr
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError

CAPTION = 1 / 12  # of a tile's height, at least 12 pixels


def compared_views(options: RenderOptions, events: Events) -> Views:
    """Load the views to compare with, evenly chosen where a number of frames is given.

    Raises:
        InputError: not a capture; options that make no sense beside views.
    """
    for name, given in (("cameras", options.cameras != ""), ("passes", options.passes != ("rgb",)), ("at", options.at is not None)):
        if given:
            raise InputError(
                f"{name}: not together with compare, which renders the capture's views", f"leave out {{{name}}}", **{name: ...}
            )
    if options.transparent:
        raise InputError("background: compare needs a colour", "use {background}", background="white")
    path = Path(options.compare)
    split = options.split or ("test" if path.exists() and has_split(path, "test") else "train")
    views = load_capture(path, split, options.size)
    for notice in views.notices:
        events.notice(notice)
    return views[evenly(len(views), options.frames or len(views))]


def view_shots(scene: Scene, views: Views, options: RenderOptions) -> Shots:
    """The cameras and times of views."""
    times = views.times.tolist() if scene.seconds is not None else [0.0] * len(views)
    check_times(scene, times)
    return Shots(views.cameras, tuple(times), options.fps or FPS)


def compared(scene: Scene, views: Views, shots: Shots, background: Tensor, setting: Setting) -> Iterator[Tensor]:
    """Images [H, 2 W, 3]: the view, its rendering, and a caption with the time and the PSNR on the background."""
    for index, (out, _) in enumerate(rendered(scene, shots, setting)):
        view = views[index : index + 1]
        truth = view.images * view.alphas + (1 - view.alphas) * background
        image = out.rgb + (1 - out.alpha) * background
        text = f"{shots.times[index]:.3g} s   {psnr(image, truth):.2f} dB"
        yield torch.cat([torch.cat([truth[0], image[0]], 1), caption(text, 2 * views.cameras.width, views.cameras.height)], 0)


def caption(text: str, width: int, height: int) -> Tensor:
    """A white strip [h, W, 3] with a text in the middle."""
    high = max(12, round(height * CAPTION))
    strip = Image.new("RGB", (width, high), "white")
    font = ImageFont.load_default(high * 0.75)
    ImageDraw.Draw(strip).text((width / 2, high / 2), text, "black", font, anchor="mm")
    return torch.from_numpy(np.asarray(strip, np.float32) / 255)
