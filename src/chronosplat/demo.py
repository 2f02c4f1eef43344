"""The demonstration: capture a moving creature, reconstruct it, and compare with held-out views. Needs no file and no network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from chronosplat.assets.procedural import procedural_object
from chronosplat.cameras import Similarity, orbit
from chronosplat.captures import load_capture, save_transforms
from chronosplat.evaluate.baselines import nearest_inputs
from chronosplat.evaluate.setups import SETUPS
from chronosplat.evaluate.studio import MeshStudio
from chronosplat.events import Events, info
from chronosplat.files import check_output, mark_results, result_folder
from chronosplat.metrics import mean_psnr
from chronosplat.pipeline import ReconstructConfig, Report, reconstruct_capture
from chronosplat.render import render
from chronosplat.scenes import load_scene

SHOWN = 8  # held-out views in comparison.png


@dataclass(frozen=True)
class DemoConfig:
    """A demonstration.

    Attributes:
        output: folder for the capture, the reconstruction, comparison.png and turntable.png.
        model: a model's name.
        device: auto, cpu or cuda; auto takes CUDA where it is available.
        seed: of the creature and of the refinement.
        size: pixels of the capture.
        refine: fast, best, or a number of seconds.
    """

    output: Path = Path("outputs/demo")
    model: str = "4d-lrm-mini"
    device: str = "cpu"
    seed: int = 13
    size: int = 256
    refine: str = "best"


@dataclass(frozen=True)
class DemoResult:
    """Mean PSNR in dB over the held-out views, those of two baselines, and the reconstruction's report."""

    psnr_heldout: float
    psnr_white: float
    psnr_nearest: float
    heldout: int
    report: Report


def run_demo(config: DemoConfig, events: Events | None = None) -> DemoResult:
    """Make a capture in ``output/capture`` (eight cameras at 24 times; split ``test``: held-out views) and reconstruct it beside it.

    Raises:
        InputError: the output holds files that chronosplat did not write.
    """
    events, output = events or Events(), config.output
    check_output(output)
    studio = MeshStudio(procedural_object(config.seed, "creature"), "creature", config.size, samples=3)
    split = SETUPS["dense8"].split(studio)
    with result_folder(output / "capture") as folder:
        save_transforms(split.inputs, folder, "train")
        save_transforms(split.targets, folder, "test")
    taken = f"a moving creature, captured by 8 cameras at 24 times: {len(split.inputs)} input views, {len(split.targets)} held out"
    events.notice(info("demo-capture", taken))
    capture = ReconstructConfig(
        str(output / "capture"),
        model=config.model,
        device=config.device,
        seed=config.seed,
        refine=config.refine,
        ply=True,
        title="creature",
    )
    report = reconstruct_capture(capture, output / "reconstruction", events)
    result = compare(output, report)
    baselines = f"all white {result.psnr_white:.2f}, nearest input view {result.psnr_nearest:.2f}"
    quality = f"PSNR on the {result.heldout} held-out views: {result.psnr_heldout:.2f} dB ({baselines})"
    events.notice(info("demo-quality", quality))
    return result


def compare(output: Path, report: Report) -> DemoResult:
    """Render the held-out views, measure, and write ``comparison.png`` (ground truth above, renderings below), ``turntable.png``
    and ``demo.json``."""
    scene = load_scene(output / "reconstruction" / "scene.safetensors")
    inputs, targets = (load_capture(output / "capture", split) for split in ("train", "test"))
    rendered, truth = render(scene, targets.cameras, targets.times).rgb, targets.on_white()
    chosen = torch.linspace(0, len(targets) - 1, SHOWN).round().long()
    write_sheet(output / "comparison.png", [truth[chosen], rendered[chosen]])
    first, last = scene.seconds or (0.0, 0.0)
    size = targets.cameras.width
    orbits = [orbit([360 / SHOWN * k for k in range(SHOWN)], elevation, size) for elevation in (0.0, 25.0)]
    times = [first + (last - first) * k / (SHOWN - 1) for k in range(SHOWN)]
    own = scene.with_world(Similarity())
    write_sheet(output / "turntable.png", [render(own, cameras, times).rgb for cameras in orbits])
    result = DemoResult(
        psnr_heldout=mean_psnr(rendered, truth),
        psnr_white=mean_psnr(torch.ones_like(truth), truth),
        psnr_nearest=mean_psnr(nearest_inputs(inputs, targets), truth),
        heldout=len(targets),
        report=report,
    )
    (output / "demo.json").write_text(json.dumps(asdict(result), indent=1))
    mark_results(output)
    return result


def write_sheet(path: Path, rows: list[Tensor]) -> None:
    """Write rows of images [K, H, W, 3] as one picture."""
    sheet = torch.cat([torch.cat(list(row), 1) for row in rows]).clamp(0, 1)
    Image.fromarray((sheet.numpy() * 255 + 0.5).astype(np.uint8)).save(path)
