"""Repairs of defects that are common in real files, counted while a file is read and reported once each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from chronosplat.events import Events, warning


class Repairs:
    """Counts what was repaired in a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.counts = path, Counter[str]()

    def add(self, what: str, count: int = 1) -> None:
        """Count repaired things; ``what`` names them, and what was done."""
        if count:
            self.counts[what] += count

    def report(self, events: Events) -> None:
        """Send one notice for each kind of defect."""
        for what, count in self.counts.items():
            events.notice(warning("asset-repaired", f"{self.path}: {count} {what}"))
