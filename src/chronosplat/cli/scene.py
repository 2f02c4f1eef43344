"""Verbs for scene files, and for a first look."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.markup import escape
from rich.progress import track

import chronosplat
from chronosplat.cli.common import Common, Input, Output, Shared, choose_device, config_of, console, say, watched
from chronosplat.demo import DemoConfig, run_demo
from chronosplat.export import turntable_frames, write_video
from chronosplat.info import describe_file, describe_installation
from chronosplat.scenes import read_metadata
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Render:
    """Render a scene as a turntable in space while time runs back and forth.

    The camera circles the object. Examples:
      chronosplat render outputs/fox/scene.safetensors -o fox.mp4 --size 512
    """

    scene: Input
    """A scene file of any format that can be read."""
    output: Output
    """An .mp4 or .webm file."""
    frames: int = 72
    """Number of frames."""
    size: int = 256
    """Pixels."""
    loops: int = 2
    """How often time runs back and forth."""
    fps: float = 24.0
    """Frames per second."""
    device: str = "auto"
    """auto, cpu or cuda; auto takes CUDA where it is available."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        loaded = chronosplat.load_scene(self.scene)
        input_size = int(read_metadata(self.scene).get("input_size", self.size))
        if self.output.suffix not in (".mp4", ".webm"):
            raise InputError(f"{self.output}: expected .mp4 or .webm")
        frames = turntable_frames(loaded, self.frames, self.size, self.loops, input_size, choose_device(self.device))
        write_video(track(frames, "encoding", console=console, transient=True), self.output, self.fps)
        say(f"{self.frames} frames in {self.output}")
        self.common.give({"output": str(self.output), "frames": self.frames})


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
        say(f"look at {self.output / 'comparison.png'} and {self.output / 'reconstruction' / 'preview.mp4'}")
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
