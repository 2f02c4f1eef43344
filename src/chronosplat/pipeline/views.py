"""A picture, or a text, -> four views of the object, as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import chronosplat
from chronosplat.captures import open_picture
from chronosplat.captures.views import on_white
from chronosplat.export import write_ply
from chronosplat.export.sequence import visible
from chronosplat.files import atomic_folder, check_folder
from chronosplat.models.l4gm import L4GM
from chronosplat.models.weights import check_l4gm_file, find_weights, load_model
from chronosplat.multiview import Diffusion, DiffusionOptions, Generated, consistent_views, fetch_diffusion, save_views
from chronosplat.multiview.generate import check_views
from chronosplat.pipeline.common import Progressed, Say
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class ViewsConfig:
    """How views are imagined.

    Attributes:
        drawing: see DiffusionOptions. diffusion: a folder instead of the released model. lgm_weights: a file instead of LGM's.
    """

    drawing: DiffusionOptions
    diffusion: str = ""
    lgm_weights: str = ""
    device: str = "cpu"
    seed: int = 0


def imagine(config: ViewsConfig, picture: Callable[[int], Tensor] | None, progressed: Progressed, size: int | None = None) -> Generated:
    """Views of the object in a picture, or of a text alone.

    Args:
        picture: gives the picture [S, S, 3] on white for LGM's size S; None: the text alone. size: what S must be.

    Raises:
        InputError: neither picture nor text, or weights that do not fit.
        UnavailableError: weights that are neither here nor downloadable.
    """
    if picture is None and not config.drawing.prompt:
        raise InputError("multiview: give a picture, or a text with --prompt")
    half = torch.float16 if config.device.startswith("cuda") else torch.float32
    diffusion = Diffusion(config.diffusion or fetch_diffusion("mvdream" if picture is None else "imagedream"), config.device, half)
    lgm_file = find_weights("lgm", config.lgm_weights or None)
    network = check_l4gm_file("lgm", lgm_file)
    if size is not None and network.input_size != size:
        raise InputError(f"lgm: takes {network.input_size} pixels, the model {size}")
    check_views(network)
    seen = None if picture is None else picture(network.input_size)
    drawn = diffusion.draw(seen, config.drawing, config.seed, lambda done, steps: progressed("drawing the other sides", done, steps))
    lgm = load_model("lgm", lgm_file, config.device)  # after the diffusion has let go of its memory
    assert isinstance(lgm, L4GM)
    return consistent_views(lgm, drawn, seen, config.drawing.elevation)


def make_views(input: str, matting: str, config: ViewsConfig, output: Path, say: Say, progressed: Progressed) -> Generated:
    """Write front.png, right.png, back.png, left.png, drawn.png (before LGM), object.ply and report.json into a folder.

    Args:
        input: a picture's file; empty: the text alone. matting: see choose_matte.

    Raises:
        InputError, UnavailableError: see open_picture and imagine.
    """
    output = output.resolve()
    check_folder(output)
    source = open_picture(input, matting) if input else None
    for note in () if source is None else source.notes:
        say(note)

    def framed(size: int) -> Tensor:
        assert source is not None
        images, alphas = source.framed(size)
        return on_white(images, alphas)

    made = imagine(config, None if source is None else framed, progressed)
    with atomic_folder(output) as folder:
        save_views(made.views, folder)
        sheet = torch.cat(list(made.drawn), 1)
        Image.fromarray((sheet.clamp(0, 1) * 255 + 0.5).byte().numpy()).save(folder / "drawn.png")
        write_ply(visible(made.gaussians), folder / "object.ply")
        report = {"version": chronosplat.__version__, "input": input, "matting": matting, **asdict(config), "azimuth": made.azimuth}
        report["notes"] = [] if source is None else list(source.notes)
        (folder / "report.json").write_text(json.dumps(report, indent=1))
    return made
