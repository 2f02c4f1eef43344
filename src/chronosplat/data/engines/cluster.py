"""The Ray engine: one task per job, on a running cluster or on one that is started for the run."""

from __future__ import annotations

import logging
import socket
from typing import Any

from chronosplat.data.engines.engine import Engine, Job, Outcome, Work, Workers, register_engine
from chronosplat.data.engines.local import attempt, single_thread
from chronosplat.shapes import InputError, UnavailableError

QUEUED = 64  # jobs beyond the CPUs, so that an autoscaling cluster sees that it is too small


def remote_attempt(work: Work, job: Job) -> Outcome:
    """Do a job in a worker of Ray, with one thread as its one CPU."""
    single_thread()
    return attempt(work, job)


class RayEngine:
    """Tasks of a Ray cluster."""

    def __init__(self, ray: Any, work: Work) -> None:
        self.ray, self.work = ray, work
        self.task = ray.remote(num_cpus=1, max_retries=0)(remote_attempt)  # losses are counted by who gave the job
        self.running: dict[Any, Job] = {}

    @property
    def slots(self) -> int:
        """All CPUs of the cluster, which may grow, and a queue."""
        return self._cpus() + QUEUED

    @property
    def workers(self) -> str:
        """The cluster in words."""
        nodes = sum(bool(node["Alive"]) for node in self.ray.nodes())
        return f"{self._cpus()} CPUs of a Ray cluster of {nodes} node{'s' if nodes != 1 else ''}"

    def _cpus(self) -> int:
        return int(self.ray.cluster_resources().get("CPU", 0))

    def submit(self, job: Job) -> None:
        """Queue a task."""
        self.running[self.task.remote(self.work, job)] = job

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes of tasks that ended; one whose worker or node died is lost."""
        if not self.running:
            return []
        first, _ = self.ray.wait(list(self.running), num_returns=1, timeout=seconds)
        more, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=0) if first else ([], [])
        return [self._outcome(task) for task in dict.fromkeys([*first, *more])]

    def _outcome(self, task: Any) -> Outcome:
        job = self.running.pop(task)
        errors = self.ray.exceptions
        try:
            return self.ray.get(task)
        except errors.RayTaskError as error:  # the work catches its own errors: the worker could not even begin
            return Outcome(job, "failed", f"a worker cannot run chronosplat ({_first_line(error)}); install it on every node")
        except errors.RuntimeEnvSetupError as error:
            return Outcome(job, "failed", f"a worker could not be set up ({_first_line(error)})")
        except errors.RayError as error:
            return Outcome(job, "lost", f"its worker was lost ({type(error).__name__})")

    def close(self) -> None:
        """Cancel what runs and leave the cluster; one that was started for the run ends."""
        for task in self.running:
            self.ray.cancel(task, force=True)
        self.ray.shutdown()


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


@register_engine("ray")
def start_ray(work: Work, workers: Workers) -> Engine:
    """Connect to a cluster, or start one on this machine.

    Raises:
        UnavailableError: Ray is not installed, or no cluster is reachable at the address.
        InputError: a number of workers for a cluster that runs already.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise UnavailableError("engine ray: Ray is not installed; pip install 'chronosplat[ray]'") from None
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if workers.address and workers.workers:
        raise InputError(f"workers: the cluster at {workers.address} has its own", "leave out {workers}", workers=...)
    if workers.address:
        check_reachable(workers.address)
        options["address"] = workers.address
    else:
        options |= {"address": "local", "include_dashboard": False} | ({"num_cpus": workers.workers} if workers.workers else {})
    try:
        ray.init(**options)
    except Exception as error:  # Ray raises errors of many libraries
        where = f"the cluster at {workers.address} cannot be joined" if workers.address else "no cluster could be started here"
        remedy = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's" if _is_refused(error) else "see ray status"
        raise UnavailableError(f"engine ray: {where} ({_first_line(error)}); {remedy}") from error
    return RayEngine(ray, work)


def check_reachable(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself would try for five minutes.

    Raises:
        UnavailableError: naming it.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():  # auto, or a name that Ray resolves
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UnavailableError(f"engine ray: no cluster at {address} ({error}); start one with ray start") from error


def _is_refused(error: BaseException | None) -> bool:
    """Whether the cluster asks for a token (Ray 2.60 and newer do so by default)."""
    return error is not None and ("auth" in f"{type(error).__name__} {error}".lower() or _is_refused(error.__cause__))
