"""What the library reports while it works: notices, progress, and a token that cancels it.

Every long function takes one :class:`Events`. The command line turns notices into lines, progress into bars and
Ctrl-C into a cancellation; a program may do anything else.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from chronosplat.shapes import Spell, as_argument, with_remedy

log = logging.getLogger("chronosplat")


@dataclass(frozen=True)
class Notice:
    """Something that the user should know.

    Attributes:
        level: ``warning`` where the result may not be what the user expects, else ``info``.
        code: a stable name for programs, such as ``single-view``.
        text: one line.
        remedy: what to do about it, with arguments in braces, as :class:`~chronosplat.shapes.InputError` takes it.
        arguments: values of the remedy's arguments; ``...`` names the argument alone.
    """

    level: Literal["info", "warning"]
    code: str
    text: str
    remedy: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)

    def spelled(self, spell: Spell) -> str:
        """The text and the remedy, with the arguments as ``spell`` writes them."""
        return with_remedy(self.text, self.remedy, self.arguments, spell)

    def __str__(self) -> str:
        return self.spelled(as_argument)

    def as_dict(self) -> dict[str, str]:
        """For a report."""
        return {"level": self.level, "code": self.code, "text": str(self)}


def info(code: str, text: str, remedy: str = "", **arguments: Any) -> Notice:
    """A notice of level ``info``."""
    return Notice("info", code, text, remedy, arguments)


def warning(code: str, text: str, remedy: str = "", **arguments: Any) -> Notice:
    """A notice of level ``warning``."""
    return Notice("warning", code, text, remedy, arguments)


class Progress(Protocol):
    """Called as a stage advances."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Args: stage: its name. done, total: steps. note: a short text, such as the PSNR so far."""
        ...


class Cancel:
    """A token that asks for an early end. Work that can stop with a useful result looks at it; the result is kept."""

    def __init__(self) -> None:
        self.requested = False
        self._watchers = 0

    def request(self) -> None:
        """Ask for the end."""
        self.requested = True

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Declare that the block looks at the token, so that an interrupt need not break it off."""
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    @property
    def is_watched(self) -> bool:
        """Whether some block looks at the token now."""
        return self._watchers > 0


class Deadline(Cancel):
    """A cancellation that also comes when time is up."""

    def __init__(self, inner: Cancel, seconds: float) -> None:
        self.inner, self.ends = inner, time.perf_counter() + seconds
        super().__init__()

    @property
    def requested(self) -> bool:
        """Whether the end is requested, or due."""
        return self.inner.requested or time.perf_counter() >= self.ends

    @requested.setter
    def requested(self, value: bool) -> None:
        self.inner.requested = self.inner.requested or value


def _no_notice(notice: Notice) -> None:
    """Drop a notice."""


def _no_progress(stage: str, done: int, total: int, note: str = "") -> None:
    """Drop progress."""


def _no_scene(scene: Any) -> None:
    """Drop a scene."""


@dataclass(frozen=True)
class Events:
    """Where a long function reports to, and what may cancel it.

    Attributes:
        notice: called with every notice. progress: called as stages advance. cancel: looked at between steps.
        improved: called with a scene that is better than the ones before, as an optimisation goes on.
    """

    notice: Callable[[Notice], None] = _no_notice
    progress: Progress = _no_progress
    cancel: Cancel = field(default_factory=Cancel)
    improved: Callable[[Any], None] = _no_scene


def logged(notice: Notice) -> None:
    """Send a notice to the package's log."""
    log.log(logging.WARNING if notice.level == "warning" else logging.INFO, str(notice))


@contextmanager
def interruptible(cancel: Cancel, signals: tuple[signal.Signals, ...] = (signal.SIGINT,)) -> Iterator[None]:
    """Turn the first Ctrl-C into a cancellation while work watches the token; any other raises KeyboardInterrupt.

    Args:
        signals: the signals to handle. Outside the main thread, which alone can handle signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        if cancel.requested or not cancel.is_watched:
            raise KeyboardInterrupt
        cancel.request()

    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
