"""The whole story: capture -> views -> model -> scene -> renderings and files."""

from __future__ import annotations

from pathlib import Path

from chronosplat.captures import VideoOptions, is_video
from chronosplat.events import Events
from chronosplat.files import check_output
from chronosplat.models import find_model
from chronosplat.pipeline.config import MultiviewConfig, ReconstructConfig, SequenceOptions, changed_options
from chronosplat.pipeline.posed import SCENE, reconstruct_posed
from chronosplat.pipeline.reconstruct import reconstruct
from chronosplat.pipeline.report import Report
from chronosplat.pipeline.sequence import reconstruct_sequence
from chronosplat.pipeline.views import make_views
from chronosplat.shapes import InputError


def reconstruct_capture(config: ReconstructConfig, output: Path, events: Events | None = None) -> Report:
    """Run the whole way from a capture to a folder of results.

    Args:
        output: the folder to make: scene.safetensors, config.yaml, report.json, preview.mp4, and ply/ if requested.

    Raises:
        InputError: bad input, in one line. Nothing is left behind then.
        UnavailableError: something that this machine lacks, weights among it.
    """
    events = events or Events()
    output = output.resolve()  # "." has no name, and a link stays one
    check_output(output, [Path(config.input)])
    unused = changed_options(config.video, VideoOptions(), leave_out=("max_frames",))
    if unused and not is_video(Path(config.input)):
        listed = ", ".join(f"{{{name}}}" for name in unused)
        raise InputError(f"{config.input}: not a video", f"leave out {listed}", **dict.fromkeys(unused, ...))
    spec = find_model(config.model)
    way = reconstruct_posed if spec.inputs.kind == "views" else reconstruct_sequence
    return way(config, spec, output, events)
