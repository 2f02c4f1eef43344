"""The verb that edits scenes: ``edit SCENE -o OUTPUT EDIT ... EDIT ...``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import tyro

import chronosplat
from chronosplat.cli.common import Common, Input, Shared, say, watched
from chronosplat.edit import Edit, edit_kinds, history, read_edits
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class EditScene:
    """Edit a scene: edits apply in the order in which they are written, and the scene file lists them.

    The edits are crop (--box or --sphere), floaters, move, rotate, scale, ground, trim, retime, slow-motion, loop, sample, recolour,
    merge and decimate; ``chronosplat edit crop --help`` shows the options of one. Positions are in the capture's world. Examples:
      chronosplat edit fox.safetensors -o small.safetensors crop --sphere 0 0 0 0.8 decimate 5000
      chronosplat edit fox.safetensors -o fox.ply floaters ground rotate 90
      chronosplat edit fox.safetensors --list
      chronosplat edit cat.safetensors -o cat.safetensors --replay fox.safetensors
    """

    scene: Input
    """A scene file of any format that can be read, or a folder of numbered files."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = ""
    """The file or folder to write; its suffix names the format. Scene files (.safetensors) list the edits."""
    list: bool = False
    """List the edits of the scene, and change nothing."""
    replay: str = ""
    """Apply the edits of this scene file, or of a JSON list, before the others."""
    up: str = "auto"
    """For other formats than scene files; see chronosplat export."""
    edits: tyro.conf.Suppress[tuple[Edit, ...]] = ()
    common: Shared = field(default_factory=Common)

    @classmethod
    def parse(cls, args: Sequence[str]) -> EditScene:
        """Parse the options, then each edit with its own; a word that names an edit begins one."""
        kinds = edit_kinds()
        starts = [index for index, word in enumerate(args) if word in kinds]
        head = list(args[: starts[0]] if starts else args)
        edits = []
        for start, end in pairwise([*starts, len(args)]):
            name = args[start]
            config = (tyro.conf.PositionalRequiredArgs,)
            edits.append(tyro.cli(kinds[name], prog=f"chronosplat edit ... {name}", args=list(args[start + 1 : end]), config=config))
        return tyro.cli(cls, prog="chronosplat edit", args=head, config=(tyro.conf.OmitArgPrefixes,)).with_edits(tuple(edits))

    def with_edits(self, edits: tuple[Edit, ...]) -> EditScene:
        """The same verb with other edits."""
        return EditScene(self.scene, self.output, self.list, self.replay, self.up, edits, self.common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        if self.list:
            self._list()
            return
        edits = [*(read_edits(self.replay) if self.replay else []), *self.edits]
        if not edits:
            raise InputError("edit: no edits were given", f"write one or more of {', '.join(edit_kinds())}, or {{replay}}", replay=...)
        if not self.output:
            raise InputError("edit: no output was given", "name a file with {output}", output=...)
        with watched(f"editing {self.scene}") as events:
            scene = chronosplat.load_scene(self.scene, events)
            edited = chronosplat.edit(scene, edits, events)
            path = chronosplat.export(edited, self.output, self.up, events=events)
        kept = "" if Path(self.output).suffix == ".safetensors" else "; only scene files (.safetensors) list the edits"
        say(f"{scene.num_gaussians} to {edited.num_gaussians} Gaussians, written {path}{kept}")
        records = [step.record() for step in history(edited)]
        self.common.give({"output": str(path), "gaussians": edited.num_gaussians, "edits": records})

    def _list(self) -> None:
        """Print the edits as they are written on the command line."""
        if self.edits or self.output or self.replay:
            raise InputError("edit: a listing changes nothing", "leave out the edits, {output} and {replay}", output=..., replay=...)
        done = history(chronosplat.load_scene(self.scene))
        if self.common.json:
            self.common.give({"edits": [step.record() for step in done]})
            return
        for step in done:
            print(written(step))
        if not done:
            say(f"{self.scene}: no edits")


def written(step: Edit) -> str:
    """An edit as the command line takes it."""
    words = [step.name]
    for name, value in step.record().items():
        if name == "edit":
            continue
        flag = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        texts = [f"{part:.12g}" if isinstance(part, float) else str(part) for part in values]
        required = name in _required(step)
        words += [flag] if value is True else texts if required else [flag, *texts]
    return " ".join(words)


def _required(step: Edit) -> set[str]:
    """The parameters without a default, which are written without a flag."""
    return {entry.name for entry in fields(step) if entry.default is MISSING}
