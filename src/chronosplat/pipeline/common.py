"""What both ways share: what was asked for, what happened, and how long it took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import chronosplat
from chronosplat.captures import VideoOptions
from chronosplat.multiview import DiffusionOptions

Say = Callable[[str], None]


class Progressed(Protocol):
    """Called with a stage's name, how many of its steps are done, how many there are, and what else there is to say."""

    def __call__(self, stage: str, done: int, steps: int, note: str = "") -> None:
        """One report."""
        ...


def silent(stage: str, done: int, steps: int, note: str = "") -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class SequenceOptions:
    """What L4GM alone needs to know.

    Attributes:
        views: l4gm: pictures of the first frame (front right back left, or without the front), or their folder; by default
            they are generated.
        chunk: l4gm: frames of one forward pass; by default 16, or as many as fit into memory.
        interpolate: l4gm: 3 gives three times the frame rate.
        precision: l4gm: auto, fp32, bf16 or fp16.
        compile: l4gm: run the network through torch.compile (slow to start; needs a compiler).
        interp_weights: l4gm: a safetensors file instead of the released interpolation model's weights.
        lgm_weights: l4gm: a safetensors file instead of LGM's released weights.
        diffusion: l4gm: a folder with a model as diffusers lays it out, instead of the released ImageDream.
        drawing: how the first frame's other sides are generated, where no views are given.
    """

    views: tuple[str, ...] = ()
    chunk: int | None = None
    interpolate: int = 1
    precision: str = "auto"
    compile: bool = False
    interp_weights: str = ""
    lgm_weights: str = ""
    diffusion: str = ""
    drawing: DiffusionOptions = field(default_factory=DiffusionOptions)


@dataclass(frozen=True)
class ReconstructConfig:
    """What a reconstruction was asked to do; kept beside its result as ``config.yaml``.

    ``refine``: off, fast, best or seconds; empty means fast for a 4d-lrm model and off for l4gm. ``refine_cameras`` corrects poses,
    too, ``refine_exposure`` each picture's gain and shift.
    """

    input: str
    model: str = "4d-lrm-mini"
    weights: str = ""
    split: str = "train"
    size: int | None = None
    device: str = "cpu"
    seed: int = 0
    ply: bool = False
    ply_frames: int = 24
    preview_frames: int = 72
    preview_size: int = 256
    refine: str = ""
    refine_cameras: bool = False
    refine_exposure: bool = False
    video: VideoOptions = field(default_factory=VideoOptions)
    sequence: SequenceOptions = field(default_factory=SequenceOptions)


@dataclass
class Report:
    """What happened: kept as ``report.json``."""

    version: str
    model: str
    frames: int
    width: int
    height: int
    seconds: tuple[float, float]
    gaussians: int
    psnr_inputs: float
    times: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Clock:
    """Wall time by stage, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time of a block."""
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def rounded(self) -> dict[str, float]:
        """For a report."""
        return {name: round(value, 3) for name, value in self.seconds.items()}


def write_report(config: ReconstructConfig, report: Report, folder: Path, leave_out: tuple[str, ...] = ()) -> None:
    """Write config.yaml and report.json, which lists all files of the folder but those that will not stay."""
    report.version = chronosplat.__version__
    (folder / "config.yaml").write_text(as_yaml(asdict(config)), encoding="utf-8")
    found = (p for p in folder.rglob("*") if p.is_file())
    report.files = sorted({*(str(p.relative_to(folder)) for p in found), "report.json"} - set(leave_out))
    (folder / "report.json").write_text(json.dumps(asdict(report), indent=1))


def as_yaml(values: dict[str, Any]) -> str:
    """A mapping as YAML, one line for each name; JSON values are YAML values."""
    return "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())
