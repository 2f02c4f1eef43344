"""PSNR with and without a refinement setting, on five animated models outside the validation split.

    python benchmarks/refinement.py ASSETS --setup alternating --steps 500
    python benchmarks/refinement.py ASSETS --setup alternating --steps 500 --with velocity_weight=0
    python benchmarks/refinement.py ASSETS --setup video --with track.steps=0
    python benchmarks/refinement.py ASSETS --setup video --with strategy=gentle
    python benchmarks/refinement.py ASSETS --setup video --scratch
    python benchmarks/refinement.py ASSETS --views 4 --how fast

ASSETS: a folder with the .glb files and a manifest.json that names each one's animation.
Prints PSNR in dB over all, canonical and random target views.
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
from PIL import Image
from torch import Tensor

from chronosplat import load_model
from chronosplat.assets import GltfModel
from chronosplat.evaluate.setups import SETUPS, random_inputs
from chronosplat.evaluate.studio import MeshStudio, Split, split_of
from chronosplat.metrics import mean_psnr
from chronosplat.refine import BEST, FAST, fit, refine_scene
from chronosplat.render import render
from chronosplat.scenes import Scene

MODELS = ("q_animals_fox", "sketchfab_carnotaurus", "kaykit_knight", "q_easy_enemies_wasp", "gdquest_mannequiny")


def scores(scene: Scene, split: Split) -> tuple[float, float, float]:
    """Mean PSNR in dB over all, canonical, and random target views."""
    with torch.no_grad():
        rgb = render(scene, split.targets.cameras, split.targets.times, cull=False).rgb
    wanted, canonical = split.targets.on_white(), split.canonical
    return mean_psnr(rgb, wanted), mean_psnr(rgb[canonical], wanted[canonical]), mean_psnr(rgb[~canonical], wanted[~canonical])


def compared(split: Split, predicted: Scene, refined: Scene) -> Tensor:
    """Some target views [3 H, W, 3]: ground truth, prediction, refined scene."""
    some = split.targets[list(range(len(split.targets) // 8, len(split.targets), len(split.targets) // 8))]
    with torch.no_grad():
        shown = [render(scene, some.cameras, some.times, cull=False).rgb for scene in (predicted, refined)]
    return torch.cat([torch.cat(list(rgb), 1) for rgb in (some.on_white(), *shown)])


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
    parser.add_argument("--how", default="best", choices=["fast", "best"])
    parser.add_argument("--steps", type=int, help="instead of the config's")
    parser.add_argument("--scratch", action="store_true", help="random initialisation, without a prediction")
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--sheet", type=Path, help="an image of target views, predictions and refined scenes")
    parser.add_argument(
        "--with",
        dest="changes",
        nargs="*",
        default=[],
        metavar="FIELD=VALUE",
        help="fields of RefineConfig",
    )
    arguments = parser.parse_args()
    config = BEST if arguments.how == "best" else FAST
    config = config if arguments.steps is None else replace(config, steps=arguments.steps)
    for change in arguments.changes:
        name, value = change.split("=", 1)
        config = changed(config, name.split("."), value)
    clips = {entry["name"]: entry["recommended_animation"] for entry in json.loads((arguments.assets / "manifest.json").read_text())}
    model, found, rows = load_model("4d-lrm-mini"), [], []
    for name in arguments.models:
        studio = MeshStudio(GltfModel(arguments.assets / f"{name}.glb", clips[name]), name, 128)
        specs = SETUPS[arguments.setup](studio, 24) if arguments.views is None else random_inputs(studio, arguments.views)
        split = split_of(studio, specs)
        predicted = model.reconstruct(split.inputs)
        began = time.perf_counter()
        done = fit(split.inputs, config) if arguments.scratch else refine_scene(predicted, split.inputs, config)
        seconds = time.perf_counter() - began
        found.append([*scores(predicted, split), *scores(done.scene, split), seconds])
        if arguments.sheet is not None:
            rows.append(compared(split, predicted, done.scene))
        print(name.ljust(22), "  ".join(f"{value:6.2f}" for value in found[-1]), done.facts["strategy"], flush=True)
    print("mean".ljust(22), "  ".join(f"{value:6.2f}" for value in torch.tensor(found).mean(0).tolist()))
    if arguments.sheet is not None:
        Image.fromarray((torch.cat(rows).clamp(0, 1) * 255).byte().numpy()).save(arguments.sheet)
    print("columns: prediction (all, canonical, random), refined (all, canonical, random), seconds of refinement")


if __name__ == "__main__":
    main()
