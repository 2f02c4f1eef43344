"""Our files in the hands of other programs: every format written here, read there, and rendered from 3 views at 3 times.

    npm install --prefix build/foreign @playcanvas/splat-transform@2.7.1 gsplat@1.2.9 @spz-loader/core@0.3.1
    pip install gaussforge gsply open3d-cpu
    python benchmarks/foreign.py --npm build/foreign [--sizes | --memory]

Prints the PSNR of renderings from what the foreign reader found against those of the scene itself, orientation included; a
judge that is not installed is named. ``--sizes`` instead measures 24 frames of 65,536 splats in each format: CPU seconds and bytes;
``--memory`` the peak memory of exporting 30 and 300 stored frames of 16,384 splats (Linux).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chronosplat.cameras import Similarity, orbit
from chronosplat.export import export, formats, read_ply
from chronosplat.export.coordinates import upright
from chronosplat.export.formats.spz import SpzOptions
from chronosplat.metrics import psnr
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D, Gaussians4D, GaussianSequence, Scene, SequenceWriter, StoredSequence, normalize

HERE = Path(__file__).parent
TIMES = (0.1, 0.5, 0.9)
SIZE, COUNT = 256, 20_000
SPLAT_TRANSFORM = "@playcanvas/splat-transform"


@dataclass(frozen=True)
class Judge:
    """A foreign reader.

    Attributes:
        name: package. suffixes: what it reads. up: the up axis of what it returns; empty: that of the file.
        read: file and a folder to work in -> Gaussians in those coordinates. needs: a module or npm package.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, Path], Scene]
    up: str = ""
    npm: bool = False


def creature(count: int, seed: int = 0) -> Gaussians4D:
    """Moving Gaussians on a twisted ring, turned flat onto its surface; they fade in and out."""
    random = torch.Generator().manual_seed(seed)
    u, v = 2 * math.pi * torch.rand(2, count, generator=random)
    ring = torch.stack([torch.cos(u), 0.35 * torch.sin(2 * u) + 0.15, torch.sin(u)], 1)
    tube = torch.stack([torch.cos(v) * torch.cos(u), torch.sin(v), torch.cos(v) * torch.sin(u)], 1)
    means = 0.45 * ring + (0.12 + 0.05 * torch.sin(3 * u))[:, None] * tube
    spacing = 2.2 / math.sqrt(count)
    return Gaussians4D(
        means=means,
        velocities=0.3 * torch.stack([torch.sin(u), torch.cos(2 * u), -torch.cos(u)], 1),
        time_centers=torch.rand(count, generator=random),
        time_sigmas=0.2 + torch.rand(count, generator=random),
        quats=normalize(torch.randn(count, 4, generator=random)),
        scales=spacing * torch.exp(0.5 * torch.randn(count, 3, generator=random)),
        opacities=torch.sigmoid(2 * torch.randn(count, generator=random) + 1),
        colors=(0.5 + 0.45 * torch.sin(3 * u[:, None] + torch.tensor([0.0, 2, 4]))).clamp(0, 1),
        seconds=(0.0, 1.0),
    )


def images(scene: Scene, seconds: float) -> torch.Tensor:
    """Three views [3, H, W, 3] at one time, in the scene's own world."""
    cameras = orbit([20.0, 140.0, 260.0], [15.0, -10.0, 40.0], SIZE)
    return render(scene.with_world(Similarity()), cameras, [seconds] * 3, backend="cpu").rgb


def _tensors(found: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.tensor(np.asarray(values), dtype=torch.float32) for name, values in found.items()}


def by_node(npm: Path, library: str) -> Callable[[Path, Path], Scene]:
    """A reader in foreign.mjs."""

    def read(path: Path, work: Path) -> Scene:
        script, out = npm / "foreign.mjs", work / "found.json"
        shutil.copy(HERE / "foreign.mjs", script)  # node looks for packages beside the script
        subprocess.run(["node", script, library, path, out], check=True, capture_output=True, cwd=npm)
        found = _tensors(json.loads(out.read_text()))
        if "widths" not in found:
            return Gaussians3D(**found)
        motion = {"time_sigmas": found.pop("widths") / math.sqrt(2), "time_centers": found.pop("centers")}
        return Gaussians4D(**found, **motion, seconds=(0.0, 1.0))

    return read


def by_splat_transform(npm: Path) -> Callable[[Path, Path], Scene]:
    """PlayCanvas's converter, to a PLY, y down."""

    def read(path: Path, work: Path) -> Scene:
        out = work / "found.ply"
        command = ["node", npm / "node_modules" / SPLAT_TRANSFORM / "bin" / "cli.mjs", "-w", path, out]
        subprocess.run(command, check=True, capture_output=True, cwd=npm)
        return read_ply(out)

    return read


def by_gaussforge(path: Path, work: Path) -> Scene:
    """Convert to a PLY in the same coordinates."""
    gaussforge = importlib.import_module("gaussforge")
    kind = path.name.split(".", 1)[1]
    found = gaussforge.GaussForge().convert(path.read_bytes(), kind, "ply")
    (work / "found.ply").write_bytes(found["data"])
    return read_ply(work / "found.ply")


def by_gsply(path: Path, work: Path) -> Scene:
    """Read raw numbers: logarithms, logits and f_dc."""
    gsply = importlib.import_module("gsply")
    data: Any = gsply.read_spz(str(path)) if path.suffix == ".spz" else gsply.plyread(str(path))
    fields = {
        "means": data.means,
        "quats": data.quats,
        "scales": np.exp(data.scales),
        "colors": 0.5 + gsply.SH_C0 * data.sh0.reshape(-1, 3),
    }
    return Gaussians3D(**_tensors(fields | {"opacities": 1 / (1 + np.exp(-data.opacities.reshape(-1)))}))


def by_open3d(path: Path, work: Path) -> Scene:
    """Read raw numbers, as of a PLY; the scales are linear."""
    open3d = importlib.import_module("open3d")
    point: Any = open3d.t.io.read_point_cloud(str(path)).point
    raw = {name: point[name].numpy() for name in ("positions", "rot", "scale", "opacity", "f_dc")}
    fields = {"means": raw["positions"], "quats": raw["rot"], "scales": raw["scale"], "colors": 0.5 + 0.28209479 * raw["f_dc"]}
    return Gaussians3D(**_tensors(fields | {"opacities": 1 / (1 + np.exp(-raw["opacity"].reshape(-1)))}))


def judges(npm: Path) -> list[Judge]:
    """All foreign readers."""
    return [
        Judge(SPLAT_TRANSFORM, (".ply", ".compressed.ply", ".splat", ".spz", ".spz 4", ".sog"), by_splat_transform(npm), "y-down", True),
        Judge("gaussforge", (".ply", ".compressed.ply", ".splat", ".spz", ".spz 4", ".sog"), by_gaussforge),
        Judge("gsply", (".ply", ".compressed.ply", ".spz", ".spz 4"), by_gsply),
        Judge("open3d", (".ply", ".splat"), by_open3d),
        Judge("@spz-loader/core", (".spz", ".spz 4"), by_node(npm, "@spz-loader/core"), "", True),
        Judge("gsplat", (".splatv",), by_node(npm, "gsplat"), "", True),
    ]


def is_there(judge: Judge, npm: Path) -> bool:
    """Whether a judge is installed."""
    if judge.npm:
        return shutil.which("node") is not None and (npm / "node_modules" / judge.name).is_dir()
    return importlib.util.find_spec(judge.name) is not None


def compare(npm: Path, work: Path) -> None:
    """Print a table of PSNR: the worst of 9 images, and their mean."""
    scene = creature(COUNT)
    print("| format | judge | worst PSNR | mean PSNR |\n|---|---|---|---|")
    for judge in judges(npm):
        if not is_there(judge, npm):
            print(f"| | {judge.name} | not installed | |", flush=True)
            continue
        for label in judge.suffixes:
            suffix, options = (".spz", SpzOptions(version=4)) if label == ".spz 4" else (label, None)
            moving, values = formats()[suffix].holds == "motion" and suffix != ".ply", []
            try:
                for seconds in TIMES:
                    written = scene if moving else scene.at(seconds)
                    path = export(written, work / f"a{suffix}", options=options)
                    found = upright(judge.read(path, work), judge.up or formats()[suffix].up)
                    values += [psnr(a, b) for a, b in zip(images(found, seconds), images(written, seconds), strict=True)]
            except Exception as error:  # what a foreign reader raises is its verdict
                print(f"| {label} | {judge.name} | failed: {type(error).__name__} {str(error)[:80]} | |", flush=True)
                continue
            print(f"| {label} | {judge.name} | {min(values):.1f} | {sum(values) / len(values):.1f} |", flush=True)


def sizes(work: Path) -> None:
    """Print CPU seconds and bytes of 24 frames of 65,536 splats in each format."""
    scene = creature(65_536)
    times = torch.linspace(0, 1, 24, dtype=torch.float64)
    fields: dict[str, Any] = scene.evaluate(times)
    frames = GaussianSequence(**fields, times=times)
    print("| format | CPU seconds | MB |\n|---|---|---|")
    for suffix in (".ply", ".compressed.ply", ".splat", ".spz", ".sog"):
        start = time.process_time()
        export(frames, work / f"sequence{suffix}" / f"frame_####{suffix}")
        spent = time.process_time() - start
        total = sum(file.stat().st_size for file in (work / f"sequence{suffix}").glob(f"*{suffix}"))
        print(f"| 24 x 65,536 {suffix} | {spent:.1f} | {total / 1e6:.1f} |", flush=True)
    for suffix in (".ply", ".splatv"):
        start = time.process_time()
        path = export(scene, work / f"moving{suffix}")
        print(f"| moving, 65,536 {suffix} | {time.process_time() - start:.2f} | {path.stat().st_size / 1e6:.2f} |", flush=True)


def memory(work: Path) -> None:
    """Print how far exporting a stored sequence raises memory above what the process holds before, for two lengths."""
    print("| format | 30 frames: MB | 300 frames: MB | CPU seconds |\n|---|---|---|---|")
    scene = creature(16_384)
    for suffix in (".ply", ".compressed.ply", ".splat", ".spz", ".sog", ".glb", ".usdc"):
        name = f"frames/frame_####{suffix}" if formats()[suffix].holds != "frames" else f"frames/all{suffix}"
        peaks, spent = [], 0.0
        for count in (30, 300):
            times = torch.arange(count, dtype=torch.float64) / (count - 1)
            with SequenceWriter(work / "stored.safetensors", times, scene.num_gaussians) as writer:
                for index in range(count):
                    writer.write(index, scene.evaluate(times[index : index + 1]))
            before = _status("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            start = time.process_time()
            export(StoredSequence(work / "stored.safetensors"), work / name)
            spent = time.process_time() - start
            peaks.append(_status("VmHWM") - before)
            shutil.rmtree(work / "frames")
        print(f"| {suffix} | {peaks[0]:.0f} | {peaks[1]:.0f} | {spent:.1f} |", flush=True)


def _status(name: str) -> float:
    """An entry of this process's status in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1e3


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npm", type=Path, default=Path("build/foreign"))
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.sizes:
            sizes(Path(folder))
        elif args.memory:
            memory(Path(folder))
        else:
            compare(args.npm.resolve(), Path(folder))


if __name__ == "__main__":
    sys.exit(main())
