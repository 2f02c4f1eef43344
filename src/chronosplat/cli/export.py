"""Verbs that write scenes in other formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

import chronosplat
from chronosplat.cli.common import Common, Input, Shared, choose_device, say, watched
from chronosplat.export import formats
from chronosplat.export.export import TIMES, target_format
from chronosplat.export.images import with_source
from chronosplat.shapes import InputError


def _groups() -> dict[str, type]:
    """The option groups of all formats, by name."""
    return {entry.group: entry.options for entry in formats().values() if entry.options is not None}


if TYPE_CHECKING:
    FormatOptions = object
else:
    FormatOptions = make_dataclass(
        "FormatOptions", [(name, kind, field(default_factory=kind)) for name, kind in _groups().items()], frozen=True
    )


@dataclass(frozen=True)
class Options:
    """Options of ``export`` and ``convert``."""

    up: str = "auto"
    """auto is the format's convention; y, z or y-down turn the scene upright there; capture keeps the capture's coordinates."""
    times: str = ""
    """Seconds to write: FIRST:LAST:COUNT, or a list such as 0,0.5,1."""
    frames: int = TIMES
    """Number of evenly spaced times, for a scene that is continuous in time."""
    device: str = "auto"
    """auto, cpu or cuda: where images are rendered; auto takes CUDA where it is available."""
    formats: Annotated[FormatOptions, tyro.conf.arg(name="")] = field(default_factory=FormatOptions)  # pyright: ignore[reportInvalidTypeForm]
    common: Shared = field(default_factory=Common)

    def write(self, source: str, output: str) -> None:
        """Read, write, and report."""
        self.common.prepare()
        device = choose_device(self.device)
        with watched(f"writing {output}") as events:
            scene = chronosplat.load_scene(source, events)
            times = parse_times(self.times) if self.times else self.frames
            path = chronosplat.export(scene, output, self.up, times, with_source(self.chosen(output), source), events, device)
        say(f"written {path}")
        self.common.give({"output": str(path)})

    def chosen(self, output: str) -> Any:
        """The options of the output's format; None where it has none."""
        entry = target_format(output)
        return getattr(self.formats, entry.group) if entry.options is not None else None


def parse_times(text: str) -> Sequence[float]:
    """Parse ``FIRST:LAST:COUNT`` or seconds separated by commas.

    Raises:
        InputError: neither.
    """
    try:
        if ":" not in text:
            return [float(part) for part in text.split(",")]
        first, last, count = text.split(":")
        start, end, steps = float(first), float(last), int(count)
        if steps < 1:
            raise ValueError
        return [start + (end - start) * i / max(steps - 1, 1) for i in range(steps)]
    except ValueError:
        raise InputError(f"times: expected FIRST:LAST:COUNT or seconds such as 0,0.5,1; got {text!r}") from None


@dataclass(frozen=True)
class Export:
    """Write a scene in another format, chosen by the suffix of the output.

    The table in docs/formats.md lists the formats. NAME/ is a PLY sequence, NAME_####.splat one numbered file per time. Examples:
      chronosplat export outputs/fox/scene.safetensors -o fox/
      chronosplat export outputs/fox/scene.safetensors -o fox.ply --up capture
      chronosplat export outputs/fox/scene.safetensors -o fox_####.splat --times 0:1:24
    """

    FLAT = False  # options of formats keep the format's name

    scene: Input
    """A scene file of any format that can be read, or a folder of numbered files."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])]
    """The file or folder to write; its suffix names the format."""
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)

    def run(self) -> None:
        """Run the verb."""
        self.options.write(self.scene, self.output)


@dataclass(frozen=True)
class Convert:
    """Convert a splat file, or a sequence of files, into another format.

    Suffixes name the formats (docs/formats.md). Examples:
      chronosplat convert fox.ply fox.splat
      chronosplat convert frames/ fox.safetensors
      chronosplat convert "frames/frame_####.ply" "out/frame_####.splat"
    """

    FLAT = False

    source: Input
    """A file of any format that can be read, or a folder of numbered files."""
    output: Input
    """The file or folder to write."""
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)

    def run(self) -> None:
        """Run the verb."""
        self.options.write(self.source, self.output)
