"""An image, or a text, -> four views of the object, as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import chronosplat
from chronosplat.captures import open_image
from chronosplat.captures.views import on_white
from chronosplat.events import Events
from chronosplat.export import export
from chronosplat.files import check_output, result_folder
from chronosplat.models import find_model, find_weights
from chronosplat.models.l4gm import check_l4gm_file
from chronosplat.models.l4gm.weights import load_l4gm
from chronosplat.multiview import Diffusion, Generated, consistent_views, fetch_diffusion, save_views
from chronosplat.multiview.generate import check_views
from chronosplat.pipeline.config import MultiviewConfig
from chronosplat.shapes import InputError


def generate(config: MultiviewConfig, image: Callable[[int], Tensor] | None, events: Events, size: int | None = None) -> Generated:
    """Generate views of the object in an image, or of a text alone.

    Args:
        image: gives the image [S, S, 3] on white for LGM's size S; None: the text alone. size: what S must be.

    Raises:
        InputError: neither image nor text, or weights that do not fit.
        UnavailableError: weights that are neither here nor downloadable.
    """
    if image is None and not config.generation.prompt:
        raise InputError("multiview: no image and no text", "give an image, or a {prompt}", prompt=...)
    half = torch.float16 if config.device.startswith("cuda") else torch.float32
    diffusion = Diffusion(config.diffusion or fetch_diffusion("mvdream" if image is None else "imagedream"), config.device, half)
    lgm = find_model("lgm").config
    lgm_file = find_weights("lgm", config.lgm_weights or None)
    assert lgm_file is not None
    network = check_l4gm_file(lgm, lgm_file)
    if size is not None and network.input_size != size:
        raise InputError(f"lgm: takes {network.input_size} pixels, the model {size}")
    check_views(network)
    front = None if image is None else image(network.input_size)
    views = diffusion.generate(front, config.generation, config.seed, lambda done, steps: events.progress("generating views", done, steps))
    model = load_l4gm(lgm, lgm_file).to(config.device).eval()  # after the diffusion has freed its memory
    return consistent_views(model, views, front, config.generation.elevation)


def make_views(config: MultiviewConfig, output: Path, events: Events) -> Generated:
    """Write front.png, right.png, back.png, left.png, generated.png (before LGM), object.ply and report.json into a folder.

    Raises:
        InputError, UnavailableError: see open_image and generate.
    """
    inputs = [Path(config.input)] if config.input else []
    check_output(output, inputs)
    source = open_image(config.input, config.matting) if config.input else None
    notices = () if source is None else source.notices
    for notice in notices:
        events.notice(notice)

    def framed(size: int) -> Tensor:
        assert source is not None
        images, alphas = source.framed(size)
        return on_white(images, alphas)

    made = generate(config, None if source is None else framed, events)
    with result_folder(output, inputs) as folder:
        save_views(made.views, folder)
        sheet = torch.cat(list(made.generated), 1)
        Image.fromarray((sheet.clamp(0, 1) * 255 + 0.5).byte().numpy()).save(folder / "generated.png")
        export(made.gaussians, folder / "object.ply")
        report = {"version": chronosplat.__version__, **asdict(config), "azimuth": made.azimuth}
        report["notices"] = [notice.as_dict() for notice in notices]
        (folder / "report.json").write_text(json.dumps(report, indent=1))
    return made
