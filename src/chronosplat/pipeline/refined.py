"""Refinement within a reconstruction: what was asked for, a cloud, and a sequence that stays in its file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from chronosplat.cameras import Cameras, Similarity
from chronosplat.captures import Clip, Rig, Views
from chronosplat.gaussians import Gaussians3D, SequenceWriter, StoredSequence
from chronosplat.multiview import load_given
from chronosplat.pipeline.common import Progressed, ReconstructConfig, Say
from chronosplat.refine import RefineConfig, refinement
from chronosplat.refine.sequence import facts_of, refine_frames
from chronosplat.shapes import InputError

REFINED = "refined.safetensors"


def asked_refinement(config: ReconstructConfig, usual: str) -> RefineConfig | None:
    """The refinement that the user asked for, or the usual one of the model's kind.

    Raises:
        InputError: neither off, fast, best nor a number of seconds above 0; corrections without refinement.
    """
    found = refinement(config.refine or usual)
    if found is None and (config.refine_cameras or config.refine_exposure):
        raise InputError("--refine-cameras and --refine-exposure: go with --refine fast, best or seconds")
    return None if found is None else replace(found, seed=config.seed, cameras=config.refine_cameras, exposure=config.refine_exposure)


def told(progressed: Progressed) -> Callable[[float, float], None]:
    """A refinement's progress as a stage of the reconstruction, with the PSNR on held-back views."""

    def step(share: float, psnr: float) -> None:
        progressed("refining", round(100 * share), 100, f"held-back views {psnr:.2f} dB" if math.isfinite(psnr) else "")

    return step


def refine_stored(
    config: RefineConfig,
    folder: Path,
    pictures: Clip | Rig,
    cameras: Cameras,
    notes: dict[str, str],
    tell: Say,
    progressed: Progressed,
    device: str = "cpu",
) -> tuple[Path, dict[str, Any]]:
    """Refine a stored sequence frame by frame against its video, the first frame against all of its views.

    Args:
        folder: the run's, with ``scene.safetensors`` and ``views/``. cameras: the network's, the video's first.
        notes: metadata of the scene file. device: where to work, one frame at a time.

    Returns:
        The refined sequence's file, and facts for the report.
    """
    scene = StoredSequence(folder / "scene.safetensors")
    count = len(scene)
    sides = load_given([folder / "views"], cameras.height, "none").views

    def frames() -> Iterator[tuple[Gaussians3D, Views | None]]:
        for index, (images, alphas) in enumerate(pictures.frames(cameras.height, range(count))):
            views = Views(images[None], alphas[None], cameras[[0]], torch.zeros(1, dtype=torch.float64))
            if index == 0:
                still = torch.zeros(len(sides), dtype=torch.float64)
                views = Views(sides, torch.ones_like(sides[..., :1]), cameras, still)
            yield replace(scene.frame(index), world=Similarity()).to(device), views

    facts: dict[str, Any] = {}
    kept = notes | {"refinement": json.dumps({"steps": config.steps, "seconds": config.seconds, "seed": config.seed})}
    with SequenceWriter(folder / REFINED, scene.times, scene.count, scene.world, kept) as writer:
        for index, (gaussians, pace) in enumerate(refine_frames(frames(), count, config)):
            writer.write(index, {name: t[None] for name, t in gaussians.tensors().items()})
            progressed("refining", index + 1, count)
            facts = facts_of(pace, config)
        writer.flush()
    if facts["kept"] and not facts["stopped"]:
        tell("refinement gains nothing on held-back views: the prediction is kept")
    if facts["stopped"]:
        tell(f"refinement stopped early ({facts['stopped']}); the frames so far are kept")
    return folder / REFINED, facts
