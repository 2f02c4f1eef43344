"""An interrupted method leaves no row: the rows before it stay, and the interrupt ends the evaluation."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from chronosplat.cli import main
from chronosplat.evaluate.benchmark import EvalConfig, Row, evaluate
from chronosplat.events import Events, interruptible
from tests.refine.kit import in_step, interrupted_in

METHODS = ("white", "feed-forward", "fast", "nearest")
CONFIG = EvalConfig(("procedural:blob",), size=32, times=8, setup=("alternating",), methods=METHODS, lpips="off")


def test_an_interrupted_refinement_writes_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Row] = []
    told: list[str] = []
    interrupted_in(5, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        evaluate(CONFIG, Events(lambda notice: told.append(str(notice))), kept.append)
    assert [row.method for row in kept] == ["white", "feed-forward"]
    assert not any("fast" in line for line in told)


def test_an_interrupted_fit_writes_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Row] = []
    interrupted_in(5, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        evaluate(EvalConfig(**{**vars(CONFIG), "methods": ("nearest", "scratch=60")}), keep=kept.append)
    assert [row.method for row in kept] == ["nearest"]


def test_ctrl_c_is_not_taken_for_a_shorter_refinement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in an evaluation may end early with what it has: a row would hold a shorter run under the method's name."""
    kept: list[Row] = []
    events = Events()
    in_step(5, monkeypatch, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), interruptible(events.cancel):
        evaluate(CONFIG, events, kept.append)
    assert [row.method for row in kept] == ["white", "feed-forward"]
    assert not events.cancel.requested


def test_the_verb_keeps_the_finished_rows_and_ends_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_step(5, monkeypatch, lambda: signal.raise_signal(signal.SIGINT))
    small = ["--size", "32", "--times", "8", "--setup", "alternating", "--lpips", "off", "--device", "cpu"]
    assert main(["eval", "procedural:blob", "-o", str(tmp_path / "out"), *small, "--methods", *METHODS]) == 130
    rows = [json.loads(line) for line in (tmp_path / "out/rows.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == ["white", "feed-forward"]
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == "chronosplat: interrupted"  # eval resumes nothing
