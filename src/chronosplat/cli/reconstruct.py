"""Verbs that make scenes, and the views that they are made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from chronosplat.captures import VideoOptions
from chronosplat.cli.common import Common, Input, Output, Shared, config_of, say, watched
from chronosplat.export import load_scene
from chronosplat.live import LiveOptions, LiveViewer
from chronosplat.multiview import VIEW_NAMES, DiffusionOptions
from chronosplat.pipeline import SCENE, MultiviewConfig, ReconstructConfig, SequenceOptions, make_views, reconstruct_capture


@dataclass(frozen=True)
class Reconstruct(ReconstructConfig):
    """Turn a capture into a 4D Gaussian scene.

    INPUT is a folder with transforms JSON, such a file, or a video. The result of a 4d-lrm model is one body that moves, that of
    l4gm one set of Gaussians per frame, with --refine one body; the same command resumes a long l4gm run. Examples:
      chronosplat reconstruct fox/ -o outputs/fox --ply
      chronosplat reconstruct fox/ --quality high
      chronosplat reconstruct fox/ --size 256 --refine 60
      chronosplat reconstruct cat.mp4
      chronosplat reconstruct cat.mp4 --model l4gm --interpolate 3
      chronosplat reconstruct cat.mp4 --model l4gm --refine fast
      chronosplat reconstruct cat.mp4 --model l4gm --views right.png back.png left.png
    """

    input: Input
    device: str = "auto"
    video: Annotated[VideoOptions, tyro.conf.arg(name="")] = field(default_factory=VideoOptions)
    sequence: Annotated[SequenceOptions, tyro.conf.arg(name="")] = field(default_factory=SequenceOptions)
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the results; outputs/NAME by default."""
    view: bool = False
    """Show the scene in the browser while it improves, until Ctrl-C (needs the extra view)."""
    port: int = LiveOptions.port
    """Port of --view."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        target = self.output or Path("outputs") / (Path(self.input).stem or Path(self.input).resolve().name)
        viewer = LiveViewer(LiveOptions(port=self.port)) if self.view else None
        with watched(f"reconstructing {self.input}") as events:
            if viewer is not None:
                say(f"open {viewer.url} in a browser")
                events = replace(events, improved=viewer.show)
            report = reconstruct_capture(config_of(ReconstructConfig, self), target, events)
            self.common.give(asdict(report) | {"output": str(target)})
        if viewer is not None:
            viewer.show(load_scene(target / SCENE))
            say(f"the result is at {viewer.url}; Ctrl-C ends")
            viewer.wait()


@dataclass(frozen=True)
class Multiview(MultiviewConfig):
    """Generate views of an object from four sides: front, right, back, left.

    ImageDream generates them from an image, MVDream from a text alone; LGM makes them consistent. The results are the views of
    reconstruct --views. Examples:
      chronosplat multiview cat.png -o views/
      chronosplat multiview --prompt "a toy robot" -o views/
    """

    input: Input = ""
    device: str = "auto"
    generation: Annotated[DiffusionOptions, tyro.conf.arg(name="")] = field(default_factory=DiffusionOptions)
    output: Output = field(kw_only=True)
    """Folder for front.png, right.png, back.png, left.png, generated.png (before LGM) and object.ply."""
    common: Shared = field(default_factory=Common, kw_only=True)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        with watched("generating views of the object") as events:
            made = make_views(config_of(MultiviewConfig, self), self.output, events)
        say(f"four views in {self.output}")
        views = [str(self.output / f"{name}.png") for name in VIEW_NAMES]
        self.common.give({"output": str(self.output), "views": views, "azimuth": made.azimuth})
