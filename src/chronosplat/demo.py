"""The demonstration: make a moving creature, photograph it, reconstruct it, and compare with pictures held back.

Needs no file and no network.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import load_capture, save_transforms
from chronosplat.evaluate.baselines import nearest_inputs
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.files import atomic_folder
from chronosplat.gaussians import load_scene
from chronosplat.metrics import mean_psnr
from chronosplat.pipeline import ReconstructConfig, Report, Say, reconstruct_capture
from chronosplat.render import render

SHOWN = 8  # held-back pictures in comparison.png


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration measured: mean PSNR in dB over the held-back pictures, and the reconstruction's report."""

    psnr_heldout: float
    psnr_white: float
    psnr_nearest: float
    heldout: int
    report: Report


def run_demo(output: Path, model: str, device: str, seed: int, size: int = 128, say: Say = lambda _: None) -> DemoResult:
    """Make a capture in ``output/capture`` (split ``train``: 24 inputs; ``test``: the rest) and reconstruct it beside it."""
    split = alternating_canonical(procedural_object(seed, "creature"), size)
    capture = output / "capture"
    with atomic_folder(capture) as folder:
        save_transforms(split.inputs, folder, "train")
        save_transforms(split.targets, folder, "test")
        (folder / "report.json").write_text(json.dumps({"made_by": "chronosplat demo", "seed": seed}))
    say(f"a moving creature in 4 canonical views x 24 times: 24 pictures go in, {len(split.targets)} are held back")
    config = ReconstructConfig(str(capture), model=model, device=device, seed=seed, ply=True)
    report = reconstruct_capture(config, output / "reconstruction", say)
    result = compare(output, report)
    say(
        f"PSNR on the {result.heldout} held-back pictures: {result.psnr_heldout:.2f} dB "
        f"(all white {result.psnr_white:.2f}, nearest input picture {result.psnr_nearest:.2f})"
    )
    return result


def compare(output: Path, report: Report) -> DemoResult:
    """Render the held-back pictures, measure, and write ``comparison.png`` (held-back above, rendered below)."""
    scene = load_scene(output / "reconstruction" / "scene.safetensors")
    inputs, targets = (load_capture(output / "capture", split) for split in ("train", "test"))
    rendered, wanted = render(scene, targets.cameras, targets.times).rgb, targets.on_white()
    chosen = torch.linspace(0, len(targets) - 1, SHOWN).round().long()
    sheet = torch.cat([torch.cat(list(p[chosen]), 1) for p in (wanted, rendered.clamp(0, 1))], 0)
    Image.fromarray((sheet.numpy() * 255 + 0.5).astype(np.uint8)).save(output / "comparison.png")
    result = DemoResult(
        psnr_heldout=mean_psnr(rendered, wanted),
        psnr_white=mean_psnr(torch.ones_like(wanted), wanted),
        psnr_nearest=mean_psnr(nearest_inputs(inputs, targets), wanted),
        heldout=len(targets),
        report=report,
    )
    (output / "demo.json").write_text(json.dumps(asdict(result), indent=1))
    return result
