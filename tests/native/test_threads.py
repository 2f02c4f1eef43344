"""The native loop under OMP_WAIT_POLICY=PASSIVE, where it uses threads of its own: in forks, and with several callers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.render.native_kit import OK, Case, backward, forward, state_of

ROOT = Path(__file__).parents[2]
POLICIES = [None, "passive", "ACTIVE"]


def rendered(threads: int, seed: int = 0) -> dict[str, NDArray]:
    """Images and gradients of a scene of several chunks and tiles, computed without any operator of torch."""
    case = Case.make(seed, moving=True, gaussians=3000, width=150, height=140)
    case.numbers["threads"] = threads
    image, found = case.image(), case.gradients()
    status, block = forward(case, image)
    assert status == OK
    assert backward(case, state_of(block), image, case.image(1), found) == OK
    return {name: array.view().copy() for name, array in {**image, **found}.items()}


def same(a: Mapping[str, NDArray], b: Mapping[str, NDArray]) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def native_threads() -> int:
    """Threads of this process."""
    return len(list(Path("/proc/self/task").iterdir()))


def any_number_of_threads() -> None:
    alone = rendered(1)
    for threads in (2, 3, 8, 2, 1):
        for _ in range(5):
            assert same(rendered(threads), alone)


def own_threads_are_few() -> None:
    before = native_threads()
    rendered(1)
    assert native_threads() == before
    for threads in (2, 4, 3, 4):
        rendered(threads)
    assert native_threads() == before + 3


def in_a_fork() -> None:
    """The child has none of the parent's threads and starts its own."""
    alone = rendered(1)
    assert same(rendered(3), alone)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        before = native_threads()
        os._exit(0 if same(rendered(3), alone) and native_threads() == before + 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert same(rendered(3), alone)


def several_callers() -> None:
    alone = [rendered(1, seed) for seed in range(4)]
    wrong: list[int] = []

    def call(seed: int) -> None:
        wrong.extend(seed for _ in range(10) if not same(rendered(3, seed), alone[seed]))

    callers = [threading.Thread(target=call, args=[seed]) for seed in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def run_with(policy: str | None, *functions: str) -> None:
    """Call functions of this file in a fresh process with a wait policy."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if policy is None else {"OMP_WAIT_POLICY": policy}
    code = "; ".join(["from tests.native import test_threads", *(f"test_threads.{name}()" for name in functions)])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("policy", POLICIES)
def test_results_do_not_depend_on_threads_or_policy(policy: str | None) -> None:
    run_with(policy, "any_number_of_threads")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_own_threads_are_few_and_serve_forks_and_several_callers() -> None:
    run_with("PASSIVE", "own_threads_are_few", "several_callers")
    run_with("PASSIVE", "in_a_fork")
