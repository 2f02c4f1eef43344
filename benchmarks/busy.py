"""Speed beside another process: steps per second on an idle machine and with one core taken, by the way OpenMP threads wait.

    python benchmarks/busy.py                                       # about six minutes
    python benchmarks/busy.py --seconds 1 --rounds 1                # smoke run
    python benchmarks/busy.py --workloads refine --waits brief

Three workloads: ``render`` (forward and backward pass), ``refine`` (optimisation against 24 views) and ``train`` (a
transformer's forward and backward pass, the render of its Gaussians and AdamW). Each is measured in a process of its own,
first idle and then beside a process that burns one core. Three waits: ``unset`` (OpenMP's default), ``PASSIVE``
(OMP_WAIT_POLICY=PASSIVE) and ``brief`` (GOMP_SPINCOUNT=1000 besides, which importing chronosplat before torch sets). All
processes share the same ``--cores``. Speeds are medians over the rounds, in which the waits alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chronosplat import Gaussians4D

WORKLOADS, STATES = ("render", "refine", "train"), ("idle", "busy")
WAITS = {
    "unset": {},
    "PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "brief": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"},
}
TARGET = 0.35  # busy speed over idle speed, with one of two cores taken
OTHERS_MOST = 0.1  # cores that other processes may use while the machine counts as idle
BURNER = "while True: pass"
Speed = Callable[[float], float]  # seconds to measure -> steps per second
Speeds = dict[str, dict[str, float]]  # workload -> state -> steps per second


def ball(count: int) -> Gaussians4D:
    """Random moving Gaussians in a ball."""
    import torch

    import chronosplat as cs

    g = torch.Generator().manual_seed(0)
    return cs.Gaussians4D(
        means=0.25 * torch.randn(count, 3, generator=g),
        velocities=0.05 * torch.randn(count, 3, generator=g),
        time_centers=torch.rand(count, generator=g),
        time_sigmas=torch.full((count,), 0.5),
        quats=torch.randn(count, 4, generator=g),
        scales=0.02 * torch.exp(0.4 * torch.randn(count, 3, generator=g)),
        opacities=torch.rand(count, generator=g),
        colors=torch.rand(count, 3, generator=g),
    )


def repeated(step: Callable[[], None]) -> Speed:
    """Measure a step by repeating it."""

    def speed(seconds: float) -> float:
        steps, began = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            step()
            steps += 1
        return steps / elapsed

    return speed


def render_workload() -> Speed:
    """Forward and backward pass of four views of 128x128."""
    import chronosplat as cs
    from chronosplat.cameras import orbit

    scene, cameras = ball(20_000), orbit([0, 90, 180, 270], size=128)
    scene.means.requires_grad_()

    def step() -> None:
        scene.means.grad = None
        (cs.render(scene, cameras, [0, 0.3, 0.6, 1]).rgb ** 2).mean().backward()

    return repeated(step)


def refine_workload() -> Speed:
    """Refinement steps against 24 views of 128x128."""
    import torch

    import chronosplat as cs
    from chronosplat.cameras import orbit
    from chronosplat.captures import Views
    from chronosplat.refine import RefineConfig, refine_scene

    scene, times = ball(10_000), torch.linspace(0, 1, 24, dtype=torch.float64)
    cameras = orbit([90.0 * (i % 4) for i in range(24)], size=128)
    with torch.no_grad():
        out = cs.render(scene, cameras, times)
    views = Views((out.rgb + 1 - out.alpha).clamp(0, 1), out.alpha.clamp(0, 1), cameras, times)

    def speed(seconds: float) -> float:
        began = time.perf_counter()
        done = refine_scene(scene, views, RefineConfig(seconds=seconds, search=0))
        return done.facts["steps"] / (time.perf_counter() - began)

    return speed


def train_workload() -> Speed:
    """A step of a small transformer over 512 tokens, each of which predicts 16 Gaussians."""
    import torch
    from torch import nn

    import chronosplat as cs
    from chronosplat.cameras import orbit

    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(256, 8, 1024, 0.0, "gelu", batch_first=True, norm_first=True)
    model = nn.Sequential(nn.Linear(64, 256), nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), nn.Linear(256, 16 * 14))
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4)
    tokens, cameras = torch.randn(1, 512, 64), orbit([0, 90, 180, 270], size=64)

    def step() -> None:
        x = model(tokens).view(-1, 14)
        scales, opacities = 0.02 * torch.exp(x[:, 7:10].clamp(-2, 2)), torch.sigmoid(x[:, 10])
        scene = cs.Gaussians3D(0.3 * x[:, :3], x[:, 3:7], scales, opacities, torch.sigmoid(x[:, 11:14]))
        adam.zero_grad()
        ((cs.render(scene, cameras).rgb - 0.5) ** 2).mean().backward()
        adam.step()

    return repeated(step)


def machine_cpu() -> float:
    """CPU seconds that all processes have used."""
    user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def measure(workload: str, seconds: float, cores: set[int]) -> dict[str, float]:
    """Steps per second of one workload in this process, idle and then beside a burning process."""
    os.sched_setaffinity(0, cores)  # before torch counts them
    import_module("torch")  # before chronosplat, which would choose a wait

    speed = {"render": render_workload, "refine": refine_workload, "train": train_workload}[workload]()
    speed(min(1.0, seconds))  # warm up
    began, cpu, own = time.perf_counter(), machine_cpu(), time.process_time()
    idle = speed(seconds)
    others = (machine_cpu() - cpu - time.process_time() + own) / (time.perf_counter() - began)
    burner = subprocess.Popen([sys.executable, "-c", BURNER])  # inherits the cores
    try:
        time.sleep(0.3)
        return {"idle": idle, "busy": speed(seconds), "others": others}
    finally:
        burner.kill()
        burner.wait()


def measure_apart(workload: str, wait: str, seconds: float, cores: list[int]) -> dict[str, float]:
    """Call ``measure`` in a fresh process with one of the waits."""
    environment = {name: value for name, value in os.environ.items() if name not in WAITS["brief"]} | WAITS[wait]
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", workload, "--seconds", str(seconds), "--cores", *map(str, cores)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(found: dict[str, Speeds], cores: int) -> str:
    """Two tables in Markdown: speeds by workload and wait, and their ratios to OpenMP's default."""
    lines = [
        f"{cores} cores, one of them taken when busy",
        "",
        "| workload | wait | idle steps/s | busy steps/s | busy / idle |",
    ]
    lines.append("|---|---|---|---|---|")
    for workload in WORKLOADS:
        for wait, speeds in found.items():
            if workload in speeds:
                idle, busy = (speeds[workload][state] for state in STATES)
                mark = "" if busy >= TARGET * idle else f" (target {TARGET:.0%})"
                lines.append(f"| {workload} | {wait} | {idle:.2f} | {busy:.2f} | {busy / idle:.0%}{mark} |")
    if "unset" in found:
        lines += ["", "| workload | wait | idle / idle unset | busy / busy unset |", "|---|---|---|---|"]
        for wait in [wait for wait in found if wait != "unset"]:
            for workload, unset in found["unset"].items():
                ratios = [found[wait][workload][state] / unset[state] for state in STATES]
                lines.append(f"| {workload} | {wait} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables, and write JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument("--waits", nargs="+", choices=WAITS, default=list(WAITS))
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, nargs="+", help="cores to use by number; the first two by default")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", choices=WORKLOADS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not hasattr(os, "sched_setaffinity"):
        parser.error("needs Linux: processes are bound to cores")
    cores = arguments.cores or sorted(os.sched_getaffinity(0))[:2]
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.seconds, set(cores))))
        return
    rounds: dict[str, dict[str, list[dict[str, float]]]] = {wait: {w: [] for w in arguments.workloads} for wait in arguments.waits}
    for index in range(arguments.rounds):
        for workload in arguments.workloads:
            for wait in arguments.waits:
                row = measure_apart(workload, wait, arguments.seconds, cores)
                rounds[wait][workload].append(row)
                print(f"round {index + 1}, {workload}, {wait}: idle {row['idle']:.2f}, busy {row['busy']:.2f}", file=sys.stderr, flush=True)
    found: dict[str, Speeds] = {
        wait: {w: {state: median(row[state] for row in rows) for state in STATES} for w, rows in workloads.items()}
        for wait, workloads in rounds.items()
    }
    print(report(found, len(cores)))
    others = max(row["others"] for workloads in rounds.values() for rows in workloads.values() for row in rows)
    if others > OTHERS_MOST:
        print(f"\nnot idle: other processes used up to {others:.1f} cores during the idle measurements; repeat on an idle machine")
    if arguments.json:
        arguments.json.write_text(json.dumps({"cores": len(cores), "median": found, "rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()
