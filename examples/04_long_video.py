"""L4GM on a video, from Python: background removal and framing, overlapping chunks, a sequence on the disk.

Give a video and a folder with four views of its first frame to use the released weights (1.9 GB, downloaded once). Without
them, a synthetic video and a small network with random weights show the same calls.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import chronosplat as cs
from chronosplat.cameras import Similarity
from chronosplat.export import write_video
from chronosplat.models.l4gm import L4GM, L4GMConfig, UNetConfig
from chronosplat.multiview import load_given
from chronosplat.sequences import Plan, run_sequence

SMALL = UNetConfig(
    down_channels=(8, 8, 16), down_attention=(False, False, True), up_channels=(16, 8), up_attention=(True, False), heads=2, groups=4
)


def synthetic_video(path: Path) -> Path:
    """A block that moves over white."""
    images = torch.ones(10, 64, 64, 3)
    for i, image in enumerate(images):
        image[16:48, 12 + i : 32 + i] = torch.tensor([0.2, 0.4, 0.8])
    write_video(images, path, fps=10)
    return path


def main(folder: Path, video: str = "", views: str = "") -> None:
    """Write ``scene.safetensors`` and ``frames/`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    model = cs.load_model("l4gm") if video else L4GM(L4GMConfig(SMALL, input_size=32, splat_size=16)).eval()
    source = cs.open_video(video or synthetic_video(folder / "video.mp4"), cs.VideoOptions(fps=10))
    size = model.config.input_size
    if views:
        given = load_given([views], size)
        source, sides = source.framed_like(given.box), given.views
    else:
        images, alphas = next(source.frames(size))
        sides = (images * alphas + 1 - alphas).expand(4, size, size, 3)
    plan = Plan(model, None, chunk=4, stamp="example", world=Similarity(), notes={})
    for progress in run_sequence(plan, source, sides, folder):
        print(f"chunk {progress.done} of {progress.chunks}: frames {progress.added.start} to {progress.added.stop - 1}")
    scene = cs.load_scene(folder / "scene.safetensors")
    cs.export(scene, f"{folder}/frames/")
    print(f"{len(list((folder / 'frames').iterdir()))} PLY files in {folder / 'frames'}")


if __name__ == "__main__":
    main(Path("outputs/long_video"), *sys.argv[1:3])
