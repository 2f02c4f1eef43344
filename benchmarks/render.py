"""Time and memory of rendering: fixed synthetic scenes, every backend that is present, interleaved in one run.

python benchmarks/render.py [--scenes abcd] [--threads 1 2] [--repeat 20] [--memory] [--against FILE.py:FUNCTION] [--json FILE]

a  65,536 Gaussians as a trained network predicts them, half on surfaces, half faint; four views of 256x256
b  262,144 of the same; one view of 512x512
c  65,536 as an untrained network predicts them, large and half opaque; one view of 256x256
d  393,216 moving Gaussians at 24 timestamps, 256x256, beside the same Gaussians already sliced at each one ("sliced")
e  1,572,864 moving Gaussians (24 views of 256x256), 512x512: frames per second with and without the faint ones (on request)

Times are the minimum of all repetitions, in milliseconds; compare them within one run only. ``--against`` adds another
renderer: a function that takes RasterInputs and returns the list of its output tensors.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.render import RasterInputs, gsplat, rasterize
from chronosplat.render.cpu import isa_level
from chronosplat.render.render import FAINT

Renderer = Callable[[RasterInputs], list[Tensor]]
ELLIPSOIDS = (((0, 0, 0), (0.25, 0.3, 0.22)), ((0, 0.32, 0.05), (0.16, 0.16, 0.16)), ((0.25, -0.1, 0.1), (0.12, 0.25, 0.12)),
              ((-0.25, -0.15, -0.1), (0.12, 0.2, 0.15)))  # fmt: skip


def trained(count: int, generator: torch.Generator) -> dict[str, Any]:
    """Half on the surface of four ellipsoids, as large as their spacing; half faint and anywhere."""
    half = count // 2
    centers, radii = (torch.tensor([e[k] for e in ELLIPSOIDS]) for k in range(2))
    which = torch.multinomial(torch.tensor([0.45, 0.2, 0.18, 0.17]), half, True, generator=generator)
    directions = torch.nn.functional.normalize(torch.randn(half, 3, generator=generator), dim=-1)
    surface = centers[which] + directions * radii[which] * (1 + 0.01 * torch.randn(half, 1, generator=generator))
    anywhere = 1.3 * torch.rand(count - half, 3, generator=generator) - 0.65
    means = torch.cat([surface, anywhere])
    spacing = 1.37 / math.sqrt(count / 4)
    shape = 0.45 * torch.randn(count, 1, generator=generator) + 0.35 * torch.randn(count, 3, generator=generator)
    logits = torch.cat([1.5 + 2 * torch.randn(half, generator=generator), 1.5 * torch.randn(count - half, generator=generator) - 6])
    colors = 0.5 + 0.4 * torch.sin(12 * means + torch.tensor([0.0, 2, 4])) + 0.05 * torch.randn(count, 3, generator=generator)
    fields = {
        "means": means,
        "quats": torch.randn(count, 4, generator=generator),
        "scales": (0.55 * spacing * shape.exp()).clamp(max=0.05),
        "opacities": logits.sigmoid(),
        "colors": colors.clamp(0, 1),
    }
    order = torch.randperm(count, generator=generator)
    return {name: t[order][None].contiguous() for name, t in fields.items()}


def fresh(count: int, generator: torch.Generator) -> dict[str, Any]:
    """Large and half opaque everywhere."""
    return {
        "means": 1.2 * torch.rand(1, count, 3, generator=generator) - 0.6,
        "quats": torch.randn(1, count, 4, generator=generator),
        "scales": 0.1 * torch.nn.functional.softplus(0.3 * torch.randn(1, count, 3, generator=generator)),
        "opacities": (0.3 * torch.randn(1, count, generator=generator)).sigmoid(),
        "colors": (0.3 * torch.randn(1, count, 3, generator=generator)).sigmoid(),
    }


def scene(name: str) -> RasterInputs:
    """One of the fixed scenes."""
    generator = torch.Generator().manual_seed(0)
    count, size, views = {
        "a": (65_536, 256, 4),
        "b": (262_144, 512, 1),
        "c": (65_536, 256, 1),
        "d": (393_216, 256, 24),
        "e": (1_572_864, 512, 24),
    }[name]
    cameras = orbit([20 + 360 * i / views for i in range(views)], [15 if i % 2 == 0 else -7.5 for i in range(views)], size=size)
    fields = fresh(count, generator) if name == "c" else trained(count, generator)
    if name in "de":  # frame by frame, as 4D-LRM predicts them: each frame's Gaussians live about as long as a frame
        frame = torch.arange(views).repeat_interleave(count // views)
        fields["time_centers"] = ((frame + 0.5 * torch.randn(count, generator=generator)) / (views - 1) * 2 - 1)[None]
        fields["time_sigmas"] = (2.0 / views * (0.3 * torch.randn(1, count, generator=generator)).exp()).contiguous()
        fields["velocities"] = 0.1 * torch.randn(1, count, 3, generator=generator)
        fields["times"] = torch.linspace(-1, 1, views)[None]
    return RasterInputs(**fields, viewmats=cameras.viewmats[None], Ks=cameras.Ks[None], width=size, height=size)


def sliced(x: RasterInputs) -> list[RasterInputs]:
    """The moving Gaussians as one static set per view: moved, faded, and without the invisible ones."""
    assert x.velocities is not None
    assert x.time_centers is not None
    assert x.time_sigmas is not None
    assert x.times is not None
    sets = []
    for v, t in enumerate(x.times[0]):
        dt = t - x.time_centers
        opacities = x.opacities * torch.exp(-0.5 * (dt / x.time_sigmas) ** 2)
        seen = opacities[0] >= 1 / 255
        still = replace(x, means=x.means + x.velocities * dt[..., None], opacities=opacities)
        still = replace(still, velocities=None, time_centers=None, time_sigmas=None, times=None)
        still = still.with_gaussians([None if g is None else g[:, seen].contiguous() for g in still.gaussians()])
        sets.append(replace(still, viewmats=x.viewmats[:, v : v + 1].contiguous(), Ks=x.Ks[:, v : v + 1].contiguous()))
    return sets


def by(backend: str) -> Renderer:
    """A renderer that calls one of our backends and returns its images."""

    def run(x: RasterInputs) -> list[Tensor]:
        out = rasterize(x, backend)
        return [out.rgb, out.alpha, out.depth]

    return run


def other(spec: str) -> Renderer:
    """The function of another renderer."""
    path, _, function = spec.rpartition(":")
    module_spec = importlib.util.spec_from_file_location("other", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return getattr(module, function)


def once(render: Renderer, sets: list[RasterInputs]) -> tuple[float, float]:
    """Milliseconds of forward and of backward, over all sets one after the other."""
    forward = backward = 0.0
    for x in sets:
        leaves = [None if t is None else t.detach().requires_grad_() for t in x.gaussians()]
        y = x.with_gaussians(leaves)
        started = clock(x)
        images = render(y)
        forward += clock(x) - started
        upstream = [torch.ones_like(p) for p in images]
        started = clock(x)
        torch.autograd.backward(images, upstream)
        backward += clock(x) - started
        for leaf in leaves:
            if leaf is not None:
                leaf.grad = None
    return 1e3 * forward, 1e3 * backward


def clock(x: RasterInputs) -> float:
    """Seconds, with the device's work done."""
    if x.means.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(name: str, threads: list[int], repeat: int, against: str | None) -> list[dict[str, float | str]]:
    """Rows of one scene: every renderer at every number of threads, interleaved."""
    x = scene(name)
    contestants: list[tuple[str, Renderer, list[RasterInputs], int]] = []
    for count in threads:
        contestants.append((f"cpu, {count} threads", by("cpu"), [x], count))
        if name == "d":
            contestants.append((f"cpu sliced, {count} threads", by("cpu"), sliced(x), count))
        if against and name != "d":
            contestants.append((f"other, {count} threads", other(against), [x], count))
    if gsplat.unavailable() is None:
        contestants.append(("gsplat", by("gsplat"), [x.map(lambda t: t.cuda())], threads[-1]))
    times: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repeat):
        for label, render, sets, count in contestants:
            torch.set_num_threads(count)
            times.setdefault(label, []).append(once(render, sets))
    return [
        {
            "scene": name,
            "renderer": label,
            "forward_ms": min(t[0] for t in rows),
            "backward_ms": min(t[1] for t in rows),
            "sum_ms": min(sum(t) for t in rows),
        }
        for label, rows in times.items()
    ]


def frames_per_second(repeat: int) -> list[dict[str, float | str]]:
    """Scene e, a frame at a time at its 24 timestamps, on every backend that is present: the best of ``repeat`` rounds."""
    x = scene("e")
    assert x.times is not None
    rows: list[dict[str, float | str]] = []
    for backend in ["cpu"] + ["gsplat"] * (gsplat.unavailable() is None):
        here = x.map(lambda t: t.cuda()) if backend == "gsplat" else x
        for label, options in (("all", {}), ("culled", FAINT)):
            views = [slice(v, v + 1) for v in range(24)]
            frames = [
                replace(here, viewmats=here.viewmats[:, v], Ks=here.Ks[:, v], times=x.times[:, v].to(here.means), **options) for v in views
            ]
            rounds = []
            for _ in range(repeat):
                started = clock(here)
                with torch.no_grad():
                    for frame in frames:
                        rasterize(frame, backend)
                rounds.append(clock(here) - started)
            rows.append({"scene": "e", "renderer": f"{backend}, {label}", "frames_per_second": 24 / min(rounds)})
    return rows


def memory(name: str) -> dict[str, float | str]:
    """Peak bytes per Gaussian and view of forward and backward, above inputs, images, upstream and gradients.

    Taken in a process of its own, because a process's peak never falls.
    """
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import render; print(render.peak_bytes({name!r}))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return {"scene": name, "bytes_per_gaussian_view": float(out.strip().splitlines()[-1])}


def peak_bytes(name: str) -> float:
    """For ``memory``, inside its process."""
    tiny = scene("c")
    once(by("cpu"), [tiny.with_gaussians([None if t is None else t[:, :64] for t in tiny.gaussians()])])  # load the libraries
    x = scene(name)
    views = x.viewmats.shape[0] * x.viewmats.shape[1]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = peak_kib()
    once(by("cpu"), [x])
    known = sum(t.nbytes for t in x.gaussians() if t is not None) + 2 * 4 * 5 * views * x.width * x.height
    return ((peak_kib() - before) * 1024 - known) / (x.means.shape[0] * x.means.shape[1] * views)


def peak_kib() -> int:
    """The process's peak resident memory since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main() -> None:
    """Print a table, and write JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", default="abcd")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--against")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    print(f"instruction set level {isa_level()}, torch {torch.__version__}\n")
    print("| scene | renderer | forward ms | backward ms | sum ms |\n|---|---|---|---|---|")
    for name in arguments.scenes.replace("e", ""):
        for row in measure(name, arguments.threads, arguments.repeat if name != "d" else max(3, arguments.repeat // 4), arguments.against):
            rows.append(row)
            print("| {scene} | {renderer} | {forward_ms:.1f} | {backward_ms:.1f} | {sum_ms:.1f} |".format(**row), flush=True)
    for row in frames_per_second(3) if "e" in arguments.scenes else []:
        rows.append(row)
        print("\nscene e, {renderer}: {frames_per_second:.1f} frames per second".format(**row))
    peaks = [memory(name) for name in arguments.scenes.replace("e", "")] if arguments.memory else []
    for peak in peaks:
        print(f"\nscene {peak['scene']}: {peak['bytes_per_gaussian_view']:.0f} bytes per Gaussian and view at the peak")
    if arguments.json:
        arguments.json.write_text(json.dumps({"isa_level": isa_level(), "times": rows, "memory": peaks}, indent=1))


if __name__ == "__main__":
    main()
