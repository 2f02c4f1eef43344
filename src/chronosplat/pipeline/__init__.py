"""The whole story: capture -> views -> model -> scene -> pictures and files; one way for each kind of model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from chronosplat.captures import VideoOptions, is_video
from chronosplat.files import check_folder
from chronosplat.models.lrm4d import LRM4DConfig
from chronosplat.models.presets import find_preset
from chronosplat.pipeline.cloud import load_views, reconstruct_cloud
from chronosplat.pipeline.common import Progressed, ReconstructConfig, Report, Say, SequenceOptions, silent
from chronosplat.pipeline.sequence import reconstruct_sequence
from chronosplat.pipeline.views import ViewsConfig, make_views
from chronosplat.shapes import InputError

__all__ = [
    "Progressed",
    "ReconstructConfig",
    "Report",
    "Say",
    "SequenceOptions",
    "ViewsConfig",
    "load_views",
    "make_views",
    "reconstruct_capture",
]


def reconstruct_capture(config: ReconstructConfig, output: Path, say: Say = lambda _: None, progressed: Progressed = silent) -> Report:
    """Run the whole way from a capture to a folder of results.

    Args:
        output: the folder to make: scene.safetensors, config.yaml, report.json, preview.mp4, and ply/ if asked.
        say: called with one line per stage and per notice.
        progressed: called as :class:`Progressed` says.

    Raises:
        InputError: bad input, in one line. Nothing is left behind then.
        UnavailableError: something that this machine lacks, weights among it.
    """
    output = output.resolve()  # "." has no name, and a link stays one
    check_folder(output)
    usual, asked = asdict(VideoOptions()), asdict(config.video)
    strange = [f"--{name}" for name in asked if asked[name] != usual[name] and name != "max_frames"]
    if strange and not is_video(Path(config.input)):
        raise InputError(f"{', '.join(strange)}: for videos only; {config.input} is none")
    if isinstance(find_preset(config.model).config, LRM4DConfig):
        return reconstruct_cloud(config, output, say, progressed)
    return reconstruct_sequence(config, output, say, progressed)
