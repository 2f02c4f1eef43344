"""The report of a reconstruction, and how long its stages took."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import chronosplat
from chronosplat.events import Events, Notice
from chronosplat.files import LOCK, MARKER
from chronosplat.pipeline.config import ReconstructConfig


@dataclass
class Report:
    """What a reconstruction did: kept as ``report.json``."""

    model: str
    frames: int
    width: int
    height: int
    seconds: tuple[float, float] | None
    gaussians: int
    psnr_inputs: float
    version: str = chronosplat.__version__
    times: dict[str, float] = field(default_factory=dict)
    notices: list[dict[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Journal:
    """The notices and the wall time of a reconstruction's stages, in seconds; notices are passed on."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self.notices: list[dict[str, str]] = []
        self.times: dict[str, float] = {}

    def notice(self, notice: Notice) -> None:
        """Keep a notice for the report, and pass it on."""
        self.notices.append(notice.as_dict())
        self.events.notice(notice)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block."""
        started = time.perf_counter()
        yield
        self.times[name] = self.times.get(name, 0.0) + time.perf_counter() - started

    def rounded(self) -> dict[str, float]:
        """For a report."""
        return {name: round(value, 3) for name, value in self.times.items()}


def write_report(config: ReconstructConfig, report: Report, folder: Path, leave_out: tuple[str, ...] = ()) -> None:
    """Write config.yaml and report.json, which lists all files of the folder but those that are removed later."""
    (folder / "config.yaml").write_text(as_yaml(asdict(config)), encoding="utf-8")
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    report.files = sorted((found | {"report.json"}) - {LOCK, MARKER, *leave_out})
    (folder / "report.json").write_text(json.dumps(asdict(report), indent=1))


def as_yaml(values: Mapping[str, Any]) -> str:
    """A mapping as YAML, one line per name; JSON values are YAML values."""
    return "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())
