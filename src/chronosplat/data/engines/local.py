"""The local engine: one process per worker, each with one thread, started afresh when it is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from chronosplat.data.engines.engine import Engine, Job, Outcome, Work, Workers, register_engine


def serve(work: Work, pipe: Connection) -> None:
    """Do the jobs that arrive through a pipe, until it closes or the parent process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    single_thread()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(work, job))


def available_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def single_thread() -> None:
    """Let this process compute with one thread: there are as many processes as cores."""
    import torch

    torch.set_num_threads(1)


def attempt(work: Work, job: Job) -> Outcome:
    """Do a job; an error becomes an outcome, because it must travel between processes."""
    try:
        return Outcome(job, "done", result=work(job))
    except Exception as error:  # whatever the store or the renderer raises ends the run with one line
        text = str(error) if str(error) else type(error).__name__
        return Outcome(job, "failed", " ".join(text.split()))


class _Worker:
    """A process, its pipe, and the job it has."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")  # threads and locks of this process are not copied
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=serve, args=(work, theirs), daemon=True)
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"
        try:
            self.process.start()
        finally:
            os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)
        theirs.close()
        self.job: Job | None = None

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class LocalEngine:
    """Processes of this machine."""

    def __init__(self, work: Work, count: int) -> None:
        self.work, self.waiting = work, deque[Job]()
        self.crew = [_Worker(work) for _ in range(count)]

    @property
    def slots(self) -> int:
        """One job for each process."""
        return len(self.crew)

    @property
    def workers(self) -> str:
        """The processes in words."""
        return f"{len(self.crew)} process{'es' if len(self.crew) > 1 else ''} on this machine"

    def submit(self, job: Job) -> None:
        """Give the job to a free process, or keep it until there is one."""
        self.waiting.append(job)
        self._hand_out()

    def _hand_out(self) -> None:
        for i, worker in enumerate(self.crew):
            if worker.job is None and self.waiting:
                worker.job = self.waiting.popleft()
                try:
                    worker.pipe.send(worker.job)
                except OSError:  # it died while it was idle
                    fresh = _Worker(self.work)
                    fresh.job = worker.job
                    worker.end()
                    fresh.pipe.send(fresh.job)
                    self.crew[i] = fresh

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes of jobs that ended; a dead process is replaced and its job is lost."""
        busy: dict[Any, int] = {}
        for i, worker in enumerate(self.crew):
            if worker.job is not None:
                busy |= {worker.pipe: i, worker.process.sentinel: i}
        found: list[Outcome] = []
        for i in sorted({busy[ready] for ready in wait(list(busy), seconds)}):
            worker = self.crew[i]
            assert worker.job is not None
            try:
                found.append(worker.pipe.recv() if worker.pipe.poll() else self._lost(i))
            except (EOFError, OSError):
                found.append(self._lost(i))
            self.crew[i].job = None
        self._hand_out()
        return found

    def _lost(self, i: int) -> Outcome:
        worker = self.crew[i]
        assert worker.job is not None
        worker.process.join()
        code = worker.process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        outcome = Outcome(worker.job, "lost", f"its process {how}" + ("; it may have run out of memory" if code == -9 else ""))
        worker.end()
        self.crew[i] = _Worker(self.work)
        return outcome

    def close(self) -> None:
        """Kill the processes."""
        for worker in self.crew:
            worker.end()


@register_engine("local")
def start_local(work: Work, workers: Workers) -> Engine:
    """Start the processes."""
    return LocalEngine(work, workers.workers or available_cpus())
