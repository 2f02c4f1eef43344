"""Verbs that render data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

import tyro

from chronosplat.cli.common import Common, Input, Output, Shared, say, watched
from chronosplat.data.engines.engine import Workers
from chronosplat.data.recipe import Recipe
from chronosplat.data.render import PROCEDURAL, CaptureRig, render_capture
from chronosplat.data.sources.asset import Query
from chronosplat.events import Events, warning
from chronosplat.shapes import InputError

Address = Annotated[str, tyro.conf.arg(aliases=["-o"])]
MODELS = (".glb", ".gltf")
KINDS = ("failed", "skipped", "unreached")  # of what is left out


@dataclass(frozen=True)
class RenderCapture(CaptureRig):
    """Render one animated glTF model, or a procedural object, as a capture in the D-NeRF form.

    16 fixed views on a ring and random ones (radius 1.5, fovy 49.1 degrees), each at all times, split into
    train (fixed) and test (random). A folder, a list, or --form shards makes a data set of clips instead:
    chronosplat data render --help. Examples:
      chronosplat data render model.glb -o fox/ --clip Run
      chronosplat data render procedural:creature -o creature/ --seed 7
    """

    model: Input = field(kw_only=True)
    """A .glb or .gltf file, or procedural:FAMILY."""
    output: Output = field(kw_only=True)
    """The capture's folder."""
    clip: str = ""
    """Name or number of the animation; the first by default."""
    form: Literal["capture"] = "capture"
    """capture, or shards for a data set of clips."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        self.common.prepare()
        rig = CaptureRig(**{name: getattr(self, name) for name in CaptureRig.__dataclass_fields__})
        with watched("rendering a capture") as events:
            count = render_capture(self.model, self.clip or None, rig, self.output, events)
        say(f"{count} images in {self.output}")
        self.common.give({"output": str(self.output), "images": count})


@dataclass(frozen=True)
class RenderShards(Recipe):
    """Render animated objects to shards of clips, on this machine or on a Ray cluster. The same command continues a run.

    Every animation is cut into one-second clips of 24 frames. SOURCE is a folder of .glb files (with an optional
    manifest.json that names licences), a list (.txt, .csv, .json, .jsonl), objaverse, texverse:ID_LIST.txt,
    objaverse-xl-rigged, or procedural:FAMILY; docs/data.md describes them. One model file alone makes a capture
    (chronosplat data render model.glb --help) unless --form shards. Examples:
      chronosplat data render models/ -o clips/ --size 128
      chronosplat data render objaverse -o s3://bucket/clips --limit 100 --engine ray --address auto
      chronosplat data render procedural: -o clips/ --form shards --limit 500 --rig studio --views 24
      chronosplat data status s3://bucket/clips
    """

    source: Input = field(kw_only=True)
    """The objects."""
    output: Address = field(kw_only=True)
    """The data set: a folder, or an address such as s3://bucket/clips."""
    form: Literal["shards"] = "shards"
    """shards, or capture for one model file."""
    limit: int = 0
    """At most this many objects; 0 for all (of procedural objects: 100)."""
    all_objects: bool = False
    """Also objects that their source says are static."""
    recommended: bool = False
    """Of each object only the animation that the manifest recommends."""
    skip: tuple[str, ...] = ()
    """Files with uids to leave out, one per line; Consistent4D's test objects always are."""
    quality: int | None = None
    """Quality of lossy WebP, 0 to 100; None is lossless."""
    where: Annotated[Workers, tyro.conf.arg(name="")] = field(default_factory=Workers)
    common: Shared = field(default_factory=Common)

    def __post_init__(self) -> None:
        """Values are checked when the verb runs, whose messages are one line."""

    def run(self) -> None:
        """Run the verb."""
        from chronosplat.data.run import make_data_set
        from chronosplat.data.sample import ShardOptions

        self.common.prepare()
        recipe = Recipe(**{name: getattr(self, name) for name in Recipe.__dataclass_fields__})
        query = Query("", not self.all_objects, self.limit, self.licences, self.recommended)
        with watched("rendering clips") as events:
            totals = make_data_set(self.source, self.output, recipe, query, ShardOptions(self.quality), self.where, self.skip, events)
            tell_omissions(totals, events)
        say(f"{totals.clips} clips ({totals.frames} images) in {totals.shards} shards, {totals.bytes / 1e6:.1f} MB: {self.output}")
        self.common.give({"output": self.output} | numbers(totals))


def tell_omissions(totals: Any, events: Events) -> None:
    """Report what was left out, by reason."""
    status = "chronosplat data status lists the reasons"
    for kind, verb, remedy in (
        ("failed", "could not be rendered", status),
        ("skipped", "were skipped", status),
        ("unreached", "could not be downloaded", "the same command tries them again"),
    ):
        if count := totals.count(kind):
            reasons = "; ".join(f"{n} x {text}" for text, n in totals.reasons(kind, 3))
            events.notice(warning(f"clips-{kind}", f"{count} {verb}: {reasons}", remedy))


def numbers(totals: Any) -> dict[str, Any]:
    """Return the numbers of a data set for programs."""
    counts = {name: getattr(totals, name) for name in ("shards", "clips", "frames", "bytes")}
    return counts | {kind: totals.count(kind) for kind in KINDS}


class DataRender:
    """One verb with two forms: a capture of one model, or a data set."""

    @staticmethod
    def parse(args: Sequence[str]) -> RenderCapture | RenderShards:
        """Parse the options of the requested form, or of the form that the source suggests."""
        named = [after for flag, after in pairwise(args) if flag == "--form"]
        named += [word.removeprefix("--form=") for word in args if word.startswith("--form=")]
        is_model = any(word.lower().endswith(MODELS) or word.startswith(PROCEDURAL) for word in args if not word.startswith("-"))
        form = named[-1] if named else "capture" if is_model else "shards"
        kind = RenderCapture if form == "capture" else RenderShards
        if {"-h", "--help"} & {*args}:
            args = ["--help"]  # of what is given already, no help would be shown
        return tyro.cli(kind, prog="chronosplat data render", args=list(args), config=(tyro.conf.OmitArgPrefixes,))


@dataclass(frozen=True)
class DataStatus:
    """Say how far a data set is, wherever it is being rendered.

    Prints shards, clips, rate and time left, and what was left out and why. Examples:
      chronosplat data status clips/
      chronosplat data status s3://bucket/clips --json
    """

    address: Input
    """The data set: a folder or an address."""
    most: int = 8
    """Reasons to list."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb."""
        from chronosplat.data.run import data_set_status, in_words

        if self.most < 0:
            raise InputError(f"most: expected 0 or more, got {self.most}")
        found = data_set_status(self.address)
        totals, run, left = found.totals, found.run, found.seconds_left
        say(f"{totals.shards} of {found.plan.shards} shards, {totals.clips} clips, {totals.frames} images, {totals.bytes / 1e9:.3f} GB")
        if run is not None:
            alive = "running" if run.is_alive else "not running (lost)" if run.state == "running" else run.state
            rate = f"{run.clips / run.seconds:.2f} clips a second" if run.clips else "no rate yet"
            say(
                f"{alive} on {run.host}, {run.workers or 'no workers yet'}, {rate}"
                + (f", {in_words(left)} left" if left is not None else "")
            )
        for kind in KINDS:
            say(f"{totals.count(kind)} {kind}")
            for text, count in totals.reasons(kind, self.most):
                say(f"  {count} x {text}")
        reasons = {kind: dict(totals.reasons(kind, self.most)) for kind in KINDS}
        state = {"running": run is not None and run.is_alive, "seconds_left": left, "planned_shards": found.plan.shards, "reasons": reasons}
        self.common.give({"address": self.address} | numbers(totals) | state)
