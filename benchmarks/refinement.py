"""Metrics with and without a refinement setting, on five animated models outside the validation split.

    python benchmarks/refinement.py ASSETS --setup alternating --steps 500
    python benchmarks/refinement.py ASSETS --setup alternating --steps 500 --with velocity_weight=0
    python benchmarks/refinement.py ASSETS --setup video --with strategy=gentle
    python benchmarks/refinement.py ASSETS --views 4 --how fast
    python benchmarks/refinement.py ASSETS --setup dense8 --scratch --seconds 60 --models q_animals_husky --sheet sheet.png

ASSETS: a folder with the .glb files and a manifest.json that names each one's animation.
Prints the metrics of docs/evaluation.md, of the prediction and of the refined scene; lite0 if its package is installed.
The sheet has two or three rows a model: ground truth, prediction (unless --scratch), refined scene, at eight times.
"""

from __future__ import annotations

import argparse
import ast
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from chronosplat import load_model
from chronosplat.assets import GltfModel
from chronosplat.evaluate.benchmark import EvalConfig, Networks, Row, find_lite0, measure
from chronosplat.evaluate.methods import Run
from chronosplat.evaluate.report import COLUMNS
from chronosplat.evaluate.setups import SETUPS, random_inputs
from chronosplat.evaluate.studio import MeshStudio, Split, split_of, subsample
from chronosplat.refine import BEST, FAST, fit, refine_scene
from chronosplat.render import render
from chronosplat.scenes import Scene

MODELS = ("q_animals_fox", "sketchfab_carnotaurus", "kaykit_knight", "q_easy_enemies_wasp", "gdquest_mannequiny")
SHOWN, CELL = 8, 176  # times on the sheet, pixels of each image


def rendered(scene: Scene, split: Split, seconds: float, steps: int = 0) -> Run:
    """Render the target views."""
    with torch.no_grad():
        shown = render(scene, split.targets.cameras, split.targets.times, cull=False)
    return Run(shown.rgb, shown.alpha, seconds, steps, scene)


def line(name: str, row: Row) -> str:
    """Format the metrics of one row, or of the mean."""
    return name[:38].ljust(38) + "".join(column.form.format(column.get(row)).rjust(12) for column in COLUMNS.values())


def mean_row(rows: list[Row]) -> Row:
    """Average the metrics that were measured."""
    numbers = {
        key: torch.tensor([getattr(row, key) for row in rows]).nanmean().item() for key, v in vars(rows[0]).items() if type(v) is float
    }
    return replace(rows[0], **numbers)


def strips(name: str, split: Split, runs: dict[str, Run]) -> Tensor:
    """Rows of random target views at several times, cropped to the object [rows CELL, SHOWN CELL, 3]: ground truth, then each run."""
    order = [i for i in torch.argsort(split.targets.times, stable=True).tolist() if not split.canonical[i]]
    some = subsample(order or list(range(len(split.targets))), SHOWN)
    covered = split.targets.alphas[some].amax(0)[..., 0] > 0
    (top, bottom), (left, right) = (covered.any(axis).nonzero().aminmax() for axis in (1, 0))
    side = round(1.2 * max(int(bottom - top), int(right - left)) + 1)
    y, x = (max(0, (int(low + high) - side) // 2) for low, high in ((top, bottom), (left, right)))
    images = [split.targets.on_white(), *(run.images for run in runs.values())]
    cells = [stack[some, y : y + side, x : x + side].permute(0, 3, 1, 2) for stack in images]
    cells = [F.interpolate(c, (CELL, CELL), mode="bicubic", antialias=True).permute(0, 2, 3, 1) for c in cells]
    sheet = torch.cat([torch.cat(list(c), 1) for c in cells]).clamp(0, 1)
    sheet_image = Image.fromarray((sheet * 255).round().byte().numpy())
    canvas = ImageDraw.Draw(sheet_image)
    for row, label in enumerate((f"{name}: ground truth", *runs)):
        canvas.text((2, row * CELL), label, fill=(200, 0, 0))
    return torch.frombuffer(bytearray(sheet_image.tobytes()), dtype=torch.uint8).reshape(sheet_image.height, sheet_image.width, 3)


def changed(config: Any, names: list[str], value: str) -> Any:
    """A config with another value in one field, which may be one of a nested config; text that is no literal is a string."""
    name, *inner = names
    if inner:
        return replace(config, **{name: changed(getattr(config, name), inner, value)})
    try:
        return replace(config, **{name: ast.literal_eval(value)})
    except (ValueError, SyntaxError):
        return replace(config, **{name: value})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--setup", default="alternating", choices=list(SETUPS))
    parser.add_argument("--views", type=int, help="number of random input views, instead of a set-up")
    parser.add_argument("--size", type=int, help="pixels, instead of the set-up's")
    parser.add_argument("--times", type=int, help="input timestamps, instead of the set-up's")
    parser.add_argument("--how", default="best", choices=["fast", "best"])
    parser.add_argument("--steps", type=int, help="instead of the config's")
    parser.add_argument("--seconds", type=float, help="instead of the config's steps")
    parser.add_argument("--scratch", action="store_true", help="random initialisation, without a prediction")
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--sheet", type=Path, help="an image of target views, predictions and refined scenes")
    parser.add_argument("--with", dest="changes", nargs="*", default=[], metavar="FIELD=VALUE", help="fields of RefineConfig")
    arguments = parser.parse_args()
    config = BEST if arguments.how == "best" else FAST
    config = config if arguments.steps is None else replace(config, steps=arguments.steps)
    config = config if arguments.seconds is None else replace(config, steps=None, seconds=arguments.seconds)
    for change in arguments.changes:
        name, value = change.split("=", 1)
        config = changed(config, name.split("."), value)
    setup = SETUPS[arguments.setup]
    size, times = arguments.size or setup.size, arguments.times or setup.times
    clips = {entry["name"]: entry["recommended_animation"] for entry in json.loads((arguments.assets / "manifest.json").read_text())}
    networks, about = Networks(lite0=find_lite0()), EvalConfig(())
    model = None if arguments.scratch else load_model(about.model)
    rows: dict[str, list[Row]] = {}
    sheet: list[Tensor] = []
    print(" " * 38 + "".join(name.rjust(12) for name in COLUMNS))
    for name in arguments.models:
        studio = MeshStudio(GltfModel(arguments.assets / f"{name}.glb", clips[name]), name, size, setup.timestamps(times))
        split = setup.split(studio, times) if arguments.views is None else split_of(studio, random_inputs(studio, arguments.views))
        runs: dict[str, Run] = {}
        began = time.perf_counter()
        if model is None:
            done = fit(split.inputs, config)
        else:
            predicted = model.reconstruct(split.inputs)
            runs["prediction"] = rendered(predicted, split, time.perf_counter() - began)
            began = time.perf_counter()
            done = refine_scene(predicted, split.inputs, config)
        runs[f"refined, {done.facts['strategy']}"] = rendered(done.scene, split, time.perf_counter() - began, done.facts["steps"])
        for label, run in runs.items():
            row = measure(name, arguments.setup, label, run, split, about, networks)
            rows.setdefault(label.split(",")[0], []).append(row)
            print(line(f"{name} {label}", row), flush=True)
        sheet.append(strips(name, split, runs))
    for label, some in rows.items():
        print(line(f"mean {label}", mean_row(some)))
    if arguments.sheet is not None:
        Image.fromarray(torch.cat(sheet).numpy()).save(arguments.sheet)


if __name__ == "__main__":
    main()
