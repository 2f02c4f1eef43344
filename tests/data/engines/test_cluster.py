"""The Ray engine on a real cluster: a head and two workers on this machine, one of which is killed in the middle."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chronosplat.data.engines import Workers, start_engine
from chronosplat.shapes import UnavailableError
from tests.data.engines.work_kit import square
from tests.data.run_kit import shards

pytest.importorskip("ray")
ROOT = Path(__file__).parents[3]
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # of the tests' own cluster
PATHS = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
ENVIRONMENT = os.environ | TOKEN | PATHS | {"RAY_USAGE_STATS_ENABLED": "0"}
RENDER = ["data", "render", "procedural:blob", "--form", "shards", "--limit", "8", "--objects", "1", "--rig", "studio", "--views", "6"]
RENDER += ["--size", "64", "--frames", "24"]


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def node(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node of a cluster, with all its processes in one group; it is killed when the block ends."""
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block", "--disable-usage-stats", *options]
    process = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a node with all its processes, without a farewell."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def render(output: Path, *options: str) -> subprocess.Popen[bytes]:
    """The command line, in a process of its own."""
    command = [sys.executable, "-c", "from chronosplat.cli import entry; entry()", *RENDER, "-o", str(output), *options, "--json"]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_cluster_that_loses_a_node_writes_the_same_bytes(tmp_path: Path) -> None:
    port = free_port()
    memory = ("--object-store-memory", "80000000")
    worker = ("--address", f"127.0.0.1:{port}", "--num-cpus", "1", *memory)
    with node("--head", "--port", str(port), "--num-cpus", "0", "--include-dashboard", "false", *memory):
        wait_for_nodes(port, 1)
        with node(*worker) as doomed:
            wait_for_nodes(port, 2)  # two that begin together on one machine get in each other's way
            with node(*worker):
                wait_for_nodes(port, 3)
                finished = render_and_kill(tmp_path / "ray", port, doomed)
    assert 2 <= finished < 8, "the node was not killed in the middle"
    local = render(tmp_path / "local", "--workers", "1")
    local.communicate(timeout=240)
    assert shards(tmp_path / "ray") == shards(tmp_path / "local")
    assert len(shards(tmp_path / "ray")) == 16


def render_and_kill(output: Path, port: int, doomed: subprocess.Popen[bytes]) -> int:
    """Render on a cluster and kill a node when two shards are finished; return how many were finished then."""
    run = render(output, "--engine", "ray", "--address", f"127.0.0.1:{port}")
    until = time.time() + 180
    while (finished := len(list(output.glob("shard-*.json")))) < 2 and run.poll() is None and time.time() < until:
        time.sleep(0.05)
    kill(doomed)
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err.decode()
    # Ray itself prints that a node was lost
    assert json.loads(out.splitlines()[-1])["clips"] == 8
    return finished


def wait_for_nodes(port: int, count: int) -> None:
    """Wait until so many nodes belong to the cluster."""
    code = f"import ray; ray.init('127.0.0.1:{port}', logging_level='ERROR'); print('alive', sum(n['Alive'] for n in ray.nodes()))"
    until = time.time() + 180
    while time.time() < until:
        asked = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
        if (found := re.search(r"^alive (\d+)$", asked.stdout, re.MULTILINE)) and int(found[1]) >= count:
            return
    pytest.fail("the cluster does not come up")


def test_an_address_without_a_cluster_is_refused() -> None:
    with pytest.raises(UnavailableError, match=r"engine ray: no cluster at 127\.0\.0\.1:1 .*start one with ray start"):
        start_engine(square, Workers("ray", address="127.0.0.1:1"))
