"""Verbs that pack, look at and verify data sets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from chronosplat.cli.common import Common, Input, Shared, say, watched
from chronosplat.data.clipset import ClipSet
from chronosplat.data.inspect import contact_sheet, sample_clips, statistics
from chronosplat.data.pack import PackOptions, pack
from chronosplat.data.verify import verify
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Pack(PackOptions):
    """Pack captures and data sets of other layouts into shards, or shards into other layouts.

    A source is a data set of shards, a folder of L4GM's tars, a capture (D-NeRF, nerfstudio, COLMAP, Consistent4D,
    Diffusion4D), or a folder of captures. Examples:
      chronosplat data pack my_captures/ -o data/
      chronosplat data pack data/ -o l4gm_data/ --form l4gm
    """

    sources: Annotated[tuple[str, ...], tyro.conf.Positional] = field(kw_only=True)
    """Folders or addresses."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = field(kw_only=True)
    """The data set's folder or address."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        options = PackOptions(**{name: getattr(self, name) for name in PackOptions.__dataclass_fields__})
        with watched("packing") as events:
            count = pack(list(self.sources), self.output, options, events)
        say(f"{count} clips in {self.output}")
        self.common.give({"output": self.output, "clips": count})


@dataclass(frozen=True)
class Inspect:
    """Describe a data set of shards: statistics, and a contact sheet of random clips.

    The sheet shows one random view of each clip at four times. Examples:
      chronosplat data inspect data/ -o sheet.png
      chronosplat data inspect s3://bucket/data --json
    """

    data: Input = field(kw_only=True)
    """The data set's folder or address."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The contact sheet, a .png; none without it."""
    count: int = 24
    """Random clips to measure and show."""
    seed: int = 0
    """Of the choice."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        if self.output is not None and self.output.suffix.lower() != ".png":
            raise InputError(f"{self.output}: expected a .png for the contact sheet", "give {output}", output="sheet.png")
        clips = ClipSet(self.data)
        sampled = sample_clips(clips, self.count, self.seed)
        found = statistics(clips, sampled)
        for name, value in found.items():
            listed = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            say(f"{name.replace('_', ' '):<16} {listed}")
        if self.output is not None:
            contact_sheet(sampled, self.output, self.seed)
            say(f"contact sheet in {self.output}")
        self.common.give(found)


@dataclass(frozen=True)
class Verify:
    """Read a data set of shards whole, compare it with its checksums, and list the clips that are lost.

    The exit code is 2 if there are any. Example:
      chronosplat data verify data/
    """

    data: Input = field(kw_only=True)
    """The data set's folder or address."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        with watched("verifying") as events:
            found = verify(self.data, events)
        for loss in found.lost:
            say(f"lost: {loss.shard} {loss.key or '(whole shard)'}: {loss.problem}")
        for name in found.unfinished:
            say(f"unfinished: {name} has no record; it is written again when its run continues")
        self.common.give(asdict(found))
        if found.lost:
            raise InputError(
                f"{self.data}: {len(found.lost)} of {found.clips} clips are lost; delete the records of their shards and run again"
            )
        say(f"{found.clips} clips in {found.shards} shards are whole, {found.bytes / 1e6:.1f} MB")
