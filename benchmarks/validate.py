"""The table of the validation split: alternating canonical views at 128x128, with both baselines in the same run.

    python benchmarks/validate.py ASSETS [--weights FILE] [--json FILE] [--sheet FILE.png]

ASSETS is a folder with the eight .glb files of the split and the manifest that names each one's clip.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import chronosplat as cs
from chronosplat.assets import GltfModel
from chronosplat.evaluate.baselines import nearest_inputs
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.metrics import mean_psnr
from chronosplat.train.config import VALIDATION

SHOWN = [20, 37, 52, 64, 70]  # targets in the contact sheet


def measure(model: Any, mesh: GltfModel, size: int) -> tuple[dict[str, float], torch.Tensor]:
    """PSNR of the model and the baselines on one clip, and a strip of targets above predictions."""
    split = alternating_canonical(mesh, size)
    started = time.perf_counter()
    scene = model.reconstruct(split.inputs)
    seconds = time.perf_counter() - started
    wanted = split.targets.on_white()
    rendered = cs.render(scene, split.targets.cameras, split.targets.times, cull=False).rgb.clamp(0, 1)
    row = {
        "white": mean_psnr(torch.ones_like(wanted), wanted),
        "nearest": mean_psnr(nearest_inputs(split.inputs, split.targets), wanted),
        "nearest in time": mean_psnr(nearest_in_time(split.inputs, split.targets), wanted),
        "model": mean_psnr(rendered, wanted),
        "seconds": seconds,
    }
    return row, torch.cat([torch.cat(list(p[SHOWN]), 1) for p in (wanted, rendered)], 0)


def nearest_in_time(inputs: cs.Views, targets: cs.Views) -> torch.Tensor:
    """The other reading of the baseline: the input nearest in time first, then in camera."""
    moment = (inputs.times[None] - targets.times[:, None]).abs()
    camera = (inputs.cameras.centers[None] - targets.cameras.centers[:, None]).norm(dim=-1)
    return inputs.on_white()[(moment / moment.max() * 1e3 + camera).argmin(1)]


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--weights", default=None)
    parser.add_argument("--model", default="4d-lrm-mini")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--sheet", type=Path, default=None)
    arguments = parser.parse_args()
    clips = {a["name"]: a["recommended_animation"] for a in json.loads((arguments.assets / "manifest.json").read_text())}
    model = cs.load_model(arguments.model, weights=arguments.weights)
    rows: dict[str, dict[str, float]] = {}
    strips = []
    print("| clip | all white | nearest in camera, then time | nearest in time, then camera | model |\n|---|---|---|---|---|")
    for name in VALIDATION:
        row, strip = measure(model, GltfModel(arguments.assets / f"{name}.glb", clips[name]), arguments.size)
        rows[name] = row
        strips.append(strip)
        print(line(f"{name} ({clips[name]})", row), flush=True)
    mean = {key: sum(r[key] for r in rows.values()) / len(rows) for key in next(iter(rows.values()))}
    print(line("**mean**", mean))
    print(f"\nreconstruction {mean['seconds']:.1f} s a clip in the mean, {torch.get_num_threads()} threads")
    if arguments.json:
        arguments.json.write_text(json.dumps({"clips": rows, "mean": mean}, indent=1))
    if arguments.sheet:
        half = len(strips) // 2
        sheet = torch.cat([torch.cat(strips[:half], 0), torch.cat(strips[half:], 0)], 1)
        Image.fromarray((sheet.numpy() * 255 + 0.5).astype(np.uint8)).save(arguments.sheet, optimize=True)


def line(name: str, row: dict[str, float]) -> str:
    """One row of the table."""
    safe = name.replace("|", "\\|")  # some clips have the table's own mark in their name
    return f"| {safe} | {row['white']:.2f} | {row['nearest']:.2f} | {row['nearest in time']:.2f} | {row['model']:.2f} |"


if __name__ == "__main__":
    main()
