"""Speed of the mesh rasteriser on one core, against another checkout in the same run.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/raster.py ASSETS [--models NAME ...] [--before CHECKOUT] [--size 256] [--samples 4]

For each model it prints the frames a second of CPU time (median over rounds) of every shading that a checkout has. The processes
take turns, so that a busy machine slows them alike. `pbr` renders colours only, `pbr geometry` also depth, motion, normals and parts.
"""

from __future__ import annotations

import argparse
import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

MODELS = ("q_tank_tank", "q_animals_wolf", "sketchfab_lumberjack", "babylon_desk_fan")  # low-poly, skinned, textured, 21,080 triangles
AZIMUTHS = [360 / 8 * k for k in range(8)]


def variants(path: str, size: int, samples: int) -> dict[str, Callable[[], object]]:
    """Return the renderings of a model from eight cameras, by name."""
    from chronosplat import assets
    from chronosplat.cameras import orbit
    from chronosplat.data.clips import pose_clip

    model = assets.GltfModel(path)
    poses, placement = pose_clip(model, np.array([0.3, 0.31]) * model.duration)
    surface, cameras = assets.PreparedSurface(model.surface), orbit(AZIMUTHS, 15.0, size)
    positions, normals = placement.apply(poses[0][0]), poses[0][1]
    velocities = placement.apply(poses[1][0]) - positions
    mesh = lambda **more: assets.rasterize_mesh(surface, positions, normals, cameras, samples=samples, **more)
    geometry = lambda **more: assets.rasterize_geometry(surface, positions, normals, cameras, velocities, samples=samples, **more)
    found: dict[str, Callable[[], object]] = {"lambert": mesh, "lambert geometry": geometry}
    if "shading" in inspect.signature(assets.rasterize_mesh).parameters:
        found |= {"pbr": lambda: mesh(shading="pbr"), "pbr geometry": lambda: geometry(shading="pbr")}
    return found


def work(paths: list[str], size: int, samples: int) -> None:
    """Serve one checkout: print the variants' names, then for every line read, the CPU seconds of one rendering of each."""
    tables = {path: variants(path, size, samples) for path in paths}
    print(*next(iter(tables.values())), sep=",", flush=True)
    for line in sys.stdin:
        seconds = []
        for render in tables[line.strip()].values():
            start = time.process_time()
            render()
            seconds.append(time.process_time() - start)
        print(*seconds, flush=True)


class Worker:
    """A process that renders with the package of one checkout."""

    def __init__(self, name: str, source: Path, options: argparse.Namespace, paths: list[str]) -> None:
        self.name = name
        command = [
            sys.executable,
            __file__,
            options.assets,
            "--serve",
            *paths,
            "--size",
            str(options.size),
            "--samples",
            str(options.samples),
        ]
        environment = {**os.environ, "PYTHONPATH": str(source)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.variants = self._line().split(",")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def measure(self, path: str) -> list[float]:
        """Return the CPU seconds of each variant."""
        assert self.process.stdin is not None
        self.process.stdin.write(path + "\n")
        self.process.stdin.flush()
        return [float(value) for value in self._line().split()]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--before", help="another checkout, built")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        work(options.serve, options.size, options.samples)
        return
    paths = [str(Path(options.assets) / f"{name}.glb") for name in options.models]
    workers = [Worker("now", Path(__file__).resolve().parents[1] / "src", options, paths)]
    if options.before:
        workers.append(Worker("before", Path(options.before).resolve() / "src", options, paths))
    for path in paths:
        times: dict[str, list[list[float]]] = {worker.name: [] for worker in workers}
        for _ in range(options.rounds):
            for worker in workers:
                times[worker.name].append(worker.measure(path))
        for worker in workers:
            rates = len(AZIMUTHS) / np.median(times[worker.name], 0)
            shown = ", ".join(f"{name} {rate:.0f}" for name, rate in zip(worker.variants, rates, strict=True))
            print(f"{Path(path).stem:24s} {worker.name:7s} {shown}", flush=True)
    for worker in workers:
        worker.process.terminate()


if __name__ == "__main__":
    main()
