"""How much a scene loses when it is decimated, by three ways to choose the Gaussians.

    python benchmarks/decimation.py SCENE CAPTURE [--shares 0.5 0.25 0.1]

For each share of the Gaussians it prints the PSNR on the capture's held-out views, against the views and against the rendering of the
whole scene: chosen by contribution (the edit ``decimate``), by opacity times volume, and at random.
"""

from __future__ import annotations

import argparse
import time

import torch

import chronosplat as cs
from chronosplat.edit import Decimate
from chronosplat.edit.sampled import has_frames
from chronosplat.metrics import mean_psnr
from chronosplat.scenes import Editable


def baseline(scene: Editable, how: str, count: int) -> cs.Scene:
    """Keep Gaussians by opacity times volume, or at random."""
    t = scene.tensors()
    random = torch.rand(t["opacities"].shape, generator=torch.Generator().manual_seed(0))
    scores = random if how == "random" else t["opacities"] * t["scales"].prod(-1)
    keep = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, scores.topk(count).indices, True)
    return scene.select(keep if has_frames(scene) else keep.view(-1))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("capture")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.25, 0.1])
    options = parser.parse_args()
    scene, views = cs.load_scene(options.scene), cs.load_capture(options.capture, split="test")
    truth = views.on_white()
    whole = cs.render(scene, views.cameras, views.times).rgb
    print(f"{scene.kind}, {scene.num_gaussians} Gaussians, {len(views)} held-out views: {mean_psnr(whole, truth):.2f} dB")
    for share in options.shares:
        count = round(share * scene.num_gaussians)
        start = time.perf_counter()
        results = {"contribution": cs.edit(scene, [Decimate(count)])}
        seconds = time.perf_counter() - start
        results |= {how: baseline(scene.editable(), how, count) for how in ("opacity x volume", "random")}
        for how, decimated in results.items():
            rgb = cs.render(decimated, views.cameras, views.times).rgb
            spent = f", {seconds:.1f} s" if how == "contribution" else ""
            print(
                f"{share:.0%} {how}: {mean_psnr(rgb, truth):.2f} dB, to the whole scene {mean_psnr(rgb, whole):.2f} dB{spent}", flush=True
            )


if __name__ == "__main__":
    main()
