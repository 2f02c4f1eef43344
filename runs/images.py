"""Make the README's images from CC0 models by Quaternius and KayKit.

    python runs/images.py ASSETS docs/images

ASSETS: a folder with the .glb files and a manifest.json that names each one's animation. Writes bodies.png (captures by eight
cameras: held-out views above, renderings below) and solid.png (one camera alone: its frames, then the body from other sides).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from chronosplat.assets import GltfModel
from chronosplat.cameras import Similarity, orbit
from chronosplat.evaluate.setups import SETUPS
from chronosplat.evaluate.studio import MeshStudio, ViewSpec, split_of
from chronosplat.refine import BEST, fit
from chronosplat.render import render

BODIES = ("q_fish_whale", "q_animals_alpaca", "kaykit_barbarian")
SOLIDS = ("q_animals_shiba_inu", "q_dinosaurs_stegosaurus")
SIZE, SHOWN = 256, 6
AZIMUTH = 75.0  # degrees of the one camera


def bodies(assets: Path, clips: dict[str, str]) -> Tensor:
    """Held-out views above, renderings below, of each model."""
    rows = []
    for name in BODIES:
        split = SETUPS["dense8"].split(MeshStudio(GltfModel(assets / f"{name}.glb", clips[name]), name, SIZE))
        done = fit(split.inputs, BEST)
        targets = split.targets[torch.linspace(0, len(split.targets) - 1, SHOWN).round().long()]
        rgb = render(done.scene, targets.cameras, targets.times).rgb
        rows += [torch.cat(list(images), 1) for images in (targets.on_white(), rgb)]
        print(name, done.facts["psnr_held_out"], done.facts["strategy"], flush=True)
    return torch.cat(rows)


def solids(assets: Path, clips: dict[str, str]) -> Tensor:
    """The camera's frames, and the body from other sides, of each model."""
    rows = []
    for name in SOLIDS:
        studio = MeshStudio(GltfModel(assets / f"{name}.glb", clips[name]), name, SIZE)
        views = split_of(studio, [ViewSpec(AZIMUTH, 0.0, frame) for frame in studio.input_frames]).inputs
        scene = fit(views, BEST).scene
        shown = [round(i * (len(views) - 1) / (SHOWN - 1)) for i in range(SHOWN)]
        cameras = orbit([15.0 + 45 * i for i in range(SHOWN)], 10.0, SIZE)
        rgb = render(scene.with_world(Similarity()), cameras, views.times[shown]).rgb
        rows += [torch.cat(list(images), 1) for images in (views[shown].on_white(), rgb)]
        print(name, flush=True)
    return torch.cat(rows)


def main() -> None:
    """Write both images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    clips = {entry["name"]: entry["recommended_animation"] for entry in json.loads((arguments.assets / "manifest.json").read_text())}
    for name, make in (("bodies", bodies), ("solid", solids)):
        sheet = make(arguments.assets, clips).clamp(0, 1)
        Image.fromarray((sheet * 255 + 0.5).byte().numpy()).save(arguments.output / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
