"""Verbs that make scenes, and the pictures that they are made of."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from chronosplat.captures import VideoOptions
from chronosplat.cli.common import Common, Input, Output, Shared, give, say, stages
from chronosplat.multiview import VIEW_NAMES, DiffusionOptions
from chronosplat.pipeline import ReconstructConfig, SequenceOptions, ViewsConfig, make_views, reconstruct_capture

Video = Annotated[VideoOptions, tyro.conf.arg(name="")]
Drawing = Annotated[DiffusionOptions, tyro.conf.arg(name="")]
Sequence = Annotated[SequenceOptions, tyro.conf.arg(name="")]


def reconstruct(
    input: Input,
    /,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    model: str = "4d-lrm-mini",
    weights: str = "",
    split: str = "train",
    size: int | None = None,
    refine: str = "",
    refine_cameras: bool = False,
    refine_exposure: bool = False,
    ply: bool = False,
    ply_frames: int = 24,
    video: Video = VideoOptions(),
    sequence: Sequence = SequenceOptions(),
    common: Shared = Common(),
) -> None:
    """Turn a capture into a 4D Gaussian scene.

    INPUT is a folder with transforms JSON, such a file, or a video. A 4d-lrm model makes one cloud that moves, l4gm a set of
    Gaussians for every frame; a long l4gm run that was interrupted goes on when the same command is given again. Examples:
      chronosplat reconstruct fox/ -o outputs/fox --ply
      chronosplat reconstruct fox/ --refine best
      chronosplat reconstruct cat.mp4
      chronosplat reconstruct cat.mp4 --model l4gm --interpolate 3
      chronosplat reconstruct cat.mp4 --model l4gm --views right.png back.png left.png

    Args:
        input: folder, transforms .json, or video file.
        output: folder for the results; outputs/NAME by default.
        model: a preset's name; see chronosplat info.
        weights: a safetensors file instead of the preset's weights.
        split: which frames of a capture with splits.
        size: resize the longer side to so many pixels; by default larger pictures are reduced to 128 (not for l4gm).
        refine: optimise the scene against its input views: off, fast (about as long as the prediction), best (some four times as
            long), or so many seconds. By default fast for 4d-lrm models, off for l4gm. Ctrl-C ends it with the best so far.
        refine_cameras: let refinement correct the cameras' poses, too.
        refine_exposure: let refinement correct each picture's gain and shift, too.
        ply: also write a PLY sequence.
        ply_frames: files of the PLY sequence of a 4d-lrm scene; an l4gm scene has one for every frame.
    """
    device = common.prepare()
    target = output or Path("outputs") / (Path(input).stem or Path(input).resolve().name)
    config = ReconstructConfig(
        input, model, weights, split, size, device, common.seed, ply, ply_frames, refine=refine, refine_cameras=refine_cameras,
        refine_exposure=refine_exposure, video=video, sequence=sequence,
    )  # fmt: skip
    with stages(f"reconstructing {input}") as progressed:
        report = reconstruct_capture(config, target, say, progressed)
    give(common, asdict(report) | {"output": str(target)})


def multiview(
    input: Annotated[str, tyro.conf.Positional] = "",
    /,
    *,
    output: Output,
    drawing: Drawing = DiffusionOptions(),
    diffusion: str = "",
    lgm_weights: str = "",
    matting: str = "auto",
    common: Shared = Common(),
) -> None:
    """Imagine an object from four sides: front, right, back, left.

    From a picture by ImageDream, from a text alone by MVDream, made consistent by LGM. What comes out goes into
    reconstruct --views. Examples:
      chronosplat multiview cat.png -o views/
      chronosplat multiview --prompt "a toy robot" -o views/

    Args:
        input: a picture of the object, taken from its own height (else see elevation); nothing for a text alone.
        output: folder for front.png, right.png, back.png, left.png, drawn.png (before LGM) and object.ply.
        diffusion: a folder with a model as diffusers lays it out, instead of the released one.
        lgm_weights: a safetensors file instead of LGM's weights.
        matting: how the object is cut out: auto, alpha, uniform, rembg, rembg:MODEL or none.
    """
    device = common.prepare()
    config = ViewsConfig(drawing, diffusion, lgm_weights, device, common.seed)
    with stages("imagining the object from all sides") as progressed:
        made = make_views(input, matting, config, output, say, progressed)
    say(f"four views in {output}")
    give(common, {"output": str(output), "views": [str(output / f"{name}.png") for name in VIEW_NAMES], "azimuth": made.azimuth})
