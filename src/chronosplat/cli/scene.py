"""Verbs for scenes that there are, and for a first look."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape
from rich.progress import track

import chronosplat
from chronosplat.cli.common import Common, Input, Output, Shared, console, give, say, working
from chronosplat.shapes import InputError


def render(
    scene: Input,
    /,
    output: Output,
    frames: int = 72,
    size: int = 256,
    loops: int = 2,
    fps: float = 24.0,
    common: Shared = Common(),
) -> None:
    """Render a scene as a turntable in space while time runs.

    Example:
      chronosplat render outputs/fox/scene.safetensors -o fox.mp4 --size 512

    Args:
        scene: a scene.safetensors file.
        output: an .mp4 or .webm file.
        frames: pictures in all.
        size: pixels.
        loops: how often time runs to and fro.
        fps: pictures a second.
    """
    from chronosplat.export import turntable_pictures, write_video
    from chronosplat.gaussians.scene_file import read_notes

    device = common.prepare()
    loaded = chronosplat.load_scene(scene)
    input_size = int(read_notes(scene).get("input_size", size))
    if output.suffix not in (".mp4", ".webm"):
        raise InputError(f"{output}: expected .mp4 or .webm")
    pictures = turntable_pictures(loaded, frames, size, loops, input_size, device)
    write_video(track(pictures, "encoding", console=console, transient=True), output, fps)
    say(f"{frames} frames in {output}")
    give(common, {"output": str(output), "frames": frames})


def export(
    scene: Input,
    /,
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])],
    up: str = "capture",
    frames: int = 24,
    common: Shared = Common(),
) -> None:
    """Write a scene in another format, chosen by the suffix of the output.

    .ply is one file (a moving cloud becomes a 4D PLY), NAME/ a PLY sequence, .mp4 and .webm a turntable. Examples:
      chronosplat export outputs/fox/scene.safetensors -o fox/ --up y-down
      chronosplat export outputs/fox/scene.safetensors -o fox.ply

    Args:
        scene: a scene.safetensors file.
        output: where to; its suffix names the format.
        up: capture keeps the capture's world; y, z or y-down turn the scene upright there (splat viewers: y-down).
        frames: files of a PLY sequence, or frames of a video.
    """
    common.prepare()
    path = chronosplat.export(chronosplat.load_scene(scene), output, up, frames)
    say(f"written {path}")
    give(common, {"output": str(path)})


def demo(output: Output = Path("outputs/demo"), model: str = "4d-lrm-mini", common: Shared = Common(seed=11)) -> None:
    """Make a moving creature, reconstruct it from 24 pictures, and compare with pictures held back.

    Needs no file and no network.

    Args:
        output: folder for the capture, the reconstruction, and comparison.png.
        model: a preset's name.
    """
    from chronosplat.demo import run_demo

    with working("making and reconstructing a capture"):
        result = run_demo(output, model, common.prepare(), common.seed, say=say)
    say(f"look at {output / 'comparison.png'} and {output / 'reconstruction' / 'preview.mp4'}")
    give(common, asdict(result))


def info(file: Annotated[str, tyro.conf.Positional] = "", common: Shared = Common()) -> None:
    """Say what is here: version, renderers, models; or what is in a scene, weights or capture file.

    Args:
        file: a scene.safetensors, a weights file, or a capture; nothing for the installation.
    """
    from chronosplat.info import describe_file, describe_installation

    common.prepare()
    facts = describe_file(file) if file else describe_installation()
    if common.json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        console.print(f"[bold]{escape(name)}[/bold]: {escape(str(value))}")
