"""Verbs for scene files, and for a first look."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape

import chronosplat
from chronosplat.cli.common import Common, Input, Output, Shared, choose_device, config_of, console, say, watched
from chronosplat.demo import DemoConfig, run_demo
from chronosplat.export.images import RenderOptions, render_to, with_source
from chronosplat.info import describe_file, describe_installation


@dataclass(frozen=True)
class Render:
    """Render a scene as a video, an animation or images, along a camera path or from given cameras.

    The suffix chooses the format: .mp4, .webm, .gif, .apng, .png, .sheet.png; NAME_####.png and NAME/ are numbered PNG files. Examples:
      chronosplat render outputs/fox/scene.safetensors -o fox.mp4
      chronosplat render outputs/fox/scene.safetensors -o fox.webm --path bullet --at 0.5 --background transparent
      chronosplat render outputs/fox/scene.safetensors -o slow.gif --path static --speed 0.25 --fps 20 --size 256
      chronosplat render outputs/fox/scene.safetensors -o depth/ --passes depth --cameras fox/
      chronosplat render outputs/fox/scene.safetensors -o fox.sheet.png --compare fox/
    """

    scene: Input
    """A scene file of any format that can be read, or a folder of numbered files."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])]
    """The file or folder to write."""
    options: Annotated[RenderOptions, tyro.conf.arg(name="")] = field(default_factory=RenderOptions)
    device: str = "auto"
    """auto, cpu or cuda; auto takes CUDA where it is available."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        device = choose_device(self.device)
        with watched(f"rendering {self.output}") as events:
            scene = chronosplat.load_scene(self.scene, events)
            frames = render_to(scene, self.output, with_source(self.options, self.scene), events, device)
        say(f"{frames} {'frame' if frames == 1 else 'frames'} in {self.output}")
        self.common.give({"output": self.output, "frames": frames})


@dataclass(frozen=True)
class Demo(DemoConfig):
    """Make a moving creature, reconstruct it from eight cameras, and compare with held-out views.

    Needs no file and no network. Examples:
      chronosplat demo -o outputs/demo
    """

    output: Output = Path("outputs/demo")
    device: str = "auto"
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        config = config_of(DemoConfig, self)
        with watched("making and reconstructing a capture") as events:
            result = run_demo(config, events)
        say(f"look at {self.output / 'comparison.png'} and {self.output / 'reconstruction' / 'viewer.html'}")
        self.common.give(asdict(result))


@dataclass(frozen=True)
class Info:
    """Describe the installation (version, renderers, models), or a scene, weights or capture file.

    Without a file it lists what is installed. Examples:
      chronosplat info
      chronosplat info outputs/fox/scene.safetensors --json
    """

    file: Input = ""
    """A scene.safetensors, a weights file, or a capture; nothing for the installation."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        facts = describe_file(self.file) if self.file else describe_installation()
        if self.common.json:
            print(json.dumps(facts))
            return
        for name, value in facts.items():
            console.print(f"[bold]{escape(name)}[/bold]: {escape(str(value))}")
