"""The local engine: results, lost workers, errors and ends."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chronosplat.data.engines import ENGINES, Engine, Job, Outcome, Work, Workers, start_engine
from chronosplat.data.lease import process_exists
from chronosplat.shapes import InputError, UnavailableError
from tests.data.engines.work_kit import die_once, refuse, sleep, square


def outcomes(engine: Engine, count: int) -> list[Outcome]:
    """Wait for so many outcomes."""
    found: list[Outcome] = []
    until = time.time() + 60
    while len(found) < count and time.time() < until:
        found += engine.wait(1.0)
    return found


def started(work: Work, count: int = 1) -> Engine:
    """An engine with this many processes."""
    return start_engine(work, Workers("local", count))


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition becomes true in 30 seconds."""
    until = time.time() + 30
    while time.time() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_jobs_are_done_in_other_processes_with_one_thread() -> None:
    engine = started(square, 2)
    try:
        assert engine.slots == 2
        assert engine.workers == "2 processes on this machine"
        for i in range(5):
            engine.submit(Job("", i))
        found = outcomes(engine, 5)
        assert sorted(o.result["square"] for o in found) == [0, 1, 4, 9, 16]
        assert {o.result["threads"] for o in found} == {"1"}
        assert {o.kind for o in found} == {"done"}
        assert engine.wait(0.01) == []
    finally:
        engine.close()


def test_a_lost_worker_is_replaced_and_its_job_can_be_done_again(tmp_path: Path) -> None:
    engine = started(die_once)
    try:
        for i in range(3):
            engine.submit(Job(str(tmp_path), i))
        found = outcomes(engine, 3)
        lost = [o for o in found if o.kind == "lost"]
        assert [(o.job.index, o.text) for o in lost] == [(1, "its process was killed by signal 9; it may have run out of memory")]
        engine.submit(lost[0].job)
        assert outcomes(engine, 1)[0].result["square"] == 1
    finally:
        engine.close()


def test_an_error_is_an_outcome_of_one_line() -> None:
    engine = started(refuse)
    try:
        engine.submit(Job("", 1))
        engine.submit(Job("", 2))
        found = {o.job.index: o for o in outcomes(engine, 2)}
        assert (found[1].kind, found[1].text) == ("failed", "the store is gone")
        assert found[2].kind == "done"
    finally:
        engine.close()


def test_closing_ends_the_workers_at_once(tmp_path: Path) -> None:
    engine = started(sleep)
    engine.submit(Job(str(tmp_path), 0))
    assert eventually(lambda: any(tmp_path.iterdir()))
    pid = int(next(tmp_path.iterdir()).suffix[1:])
    engine.close()
    assert not process_exists(pid)


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    lines = [
        "from chronosplat.data.engines import Job, Workers, start_engine",
        "from tests.data.engines.work_kit import sleep",
        "if __name__ == '__main__':",
        "    engine = start_engine(sleep, Workers('local', 1))",
        f"    engine.submit(Job({str(tmp_path)!r}, 0))",
        "    engine.wait(100)",
    ]
    script = tmp_path / "run.py"
    script.write_text("\n".join(lines))
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import sys, runpy; sys.path.insert(0, {str(root)!r}); runpy.run_path({str(script)!r}, run_name='__main__')",
        ]
    )
    try:
        assert eventually(lambda: any(p.name.startswith("0.") for p in tmp_path.iterdir()))
        pid = int(next(p for p in tmp_path.iterdir() if p.name.startswith("0.")).suffix[1:])
    finally:
        process.kill()
        process.wait()
    assert eventually(lambda: not process_exists(pid))


def test_what_cannot_be_started_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="engine 'slurm': unknown; use one of local, ray"):
        start_engine(square, Workers("slurm"))
    with pytest.raises(InputError, match="workers: expected 0 or more, got -1"):
        start_engine(square, Workers("local", -1))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnavailableError, match="Ray is not installed"):
        start_engine(square, Workers("ray"))
    assert set(ENGINES) == {"local", "ray"}
