"""The scene of a reconstruction from video: the predicted sequence, one body of it, or its frames refined one by one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from chronosplat.cameras import Cameras, Similarity
from chronosplat.captures import Views
from chronosplat.captures.views import as_bytes, evenly
from chronosplat.events import info, warning
from chronosplat.multiview import load_given
from chronosplat.pipeline.report import Journal
from chronosplat.pipeline.sequence_setup import PREDICTED, REFINED, SCENE, Setup
from chronosplat.refine import RefineConfig, Refined, body_of_sequence
from chronosplat.refine.strategies.frames import facts_of, refine_frames
from chronosplat.scenes import Gaussians3D, Scene, SequenceWriter, StoredSequence, load_scene, save_scene
from chronosplat.scenes.scene_file import read_metadata
from chronosplat.sequences.chunks import model_cameras

MAX_IMAGES = 300  # of the video that a body is fitted to, evenly spaced; 256 x 256 pixels take 79 MB


def make_scene(setup: Setup, folder: Path, journal: Journal) -> None:
    """Write the scene: one body where the strategy finds one, else refined frames, else the prediction itself."""
    (folder / SCENE).unlink(missing_ok=True)  # may be the prediction's file under another name
    predicted, config = StoredSequence(folder / PREDICTED), setup.refinement
    if config is None:
        keep_prediction(folder)
        return
    done = fitted_body(setup, predicted, folder, journal)
    if done is not None:
        for notice in done.notices:
            journal.notice(notice)
        facts = {name: value for name, value in done.facts.items() if name != "seconds"}  # the journal's; files do not depend on time
        (folder / REFINED).write_text(json.dumps(facts))
        if facts["kept"]:
            keep_prediction(folder)
        else:
            save_scene(done.scene, folder / SCENE, setup.notes | {"refinement": json.dumps(facts)})
    elif setup.interpolator is not None:
        journal.notice(info("prediction-kept", "interpolated frames have no images to refine against: the prediction is kept"))
        keep_prediction(folder)
    else:
        refine_frame_by_frame(setup, config, predicted, folder, journal)


def scene_of(folder: Path) -> Scene:
    """The scene of a result; a sequence stays on the disk."""
    path = folder / SCENE
    return StoredSequence(path) if read_metadata(path).get("kind") == StoredSequence.kind else load_scene(path)


def keep_prediction(folder: Path) -> None:
    """Make the prediction the scene."""
    (folder / SCENE).unlink(missing_ok=True)
    try:
        (folder / SCENE).hardlink_to(folder / PREDICTED)
    except OSError:  # a file system without hard links
        shutil.copyfile(folder / PREDICTED, folder / SCENE)


def fitted_body(setup: Setup, predicted: StoredSequence, folder: Path, journal: Journal) -> Refined | None:
    """One body of the sequence and the video's frames; None where frames are to be refined one by one."""
    assert setup.refinement is not None
    if setup.refinement.strategy == "frames":
        return None
    events = replace(journal.events, notice=journal.notice, improved=lambda scene: save_scene(scene, folder / SCENE, setup.notes))
    return body_of_sequence(predicted, input_views(setup), setup.refinement, events, setup.config.device)


def input_views(setup: Setup) -> Views:
    """Up to MAX_IMAGES of the video's frames, as bytes, in the capture's world and seconds."""
    frames, size = setup.source.frames, setup.network.input_size
    chosen = evenly(len(frames.times), MAX_IMAGES)
    pixels = torch.empty(len(chosen), size, size, 4, dtype=torch.uint8)
    for index, (images, alphas) in enumerate(frames.frames(size, chosen)):
        pixels[index] = as_bytes(torch.cat([images, alphas], -1))
    return Views(pixels=pixels, cameras=reference_camera(setup)[[0] * len(chosen)], times=frames.times[chosen])


def reference_camera(setup: Setup) -> Cameras:
    """The video's camera, in the capture's world."""
    return model_cameras(setup.network)[0].to(dtype=torch.float64).transformed(setup.source.world)


def refine_frame_by_frame(setup: Setup, config: RefineConfig, predicted: StoredSequence, folder: Path, journal: Journal) -> None:
    """Every frame against its image of the video, the first one against all of its views; one is in memory at a time."""
    cameras, events = model_cameras(setup.network), journal.events
    sides = load_given([folder / "views"], cameras.height, "none").views

    def frames() -> Iterator[tuple[Gaussians3D, Views | None]]:
        for index, (images, alphas) in enumerate(setup.source.frames.frames(cameras.height, range(predicted.num_frames))):
            views = Views(images[None], alphas[None], cameras[[0]], torch.zeros(1, dtype=torch.float64))
            if index == 0:
                still = torch.zeros(len(sides), dtype=torch.float64)
                views = Views(sides, torch.ones_like(sides[..., :1]), cameras, still)
            yield predicted.frame(index).with_world(Similarity()).to(setup.config.device), views

    facts: dict[str, Any] = {}
    notes = setup.notes | {"refinement": json.dumps({"steps": config.steps, "seconds": config.seconds, "seed": config.seed})}
    writer = SequenceWriter(folder / SCENE, predicted.times, predicted.num_gaussians, predicted.world, notes)
    with events.cancel.watched(), writer:
        for index, (gaussians, pace) in enumerate(refine_frames(frames(), predicted.num_frames, config, events.cancel)):
            writer.write(index, {name: t[None] for name, t in gaussians.tensors().items()})
            events.progress("refining", index + 1, predicted.num_frames)
            facts = facts_of(pace, config)
        writer.flush()
    if facts["stopped"]:
        journal.notice(warning("stopped-early", f"refinement stopped early ({facts['stopped']}); the frames so far are kept"))
    elif facts["kept"]:
        journal.notice(info("prediction-kept", "refinement gains nothing on held-out views: the prediction is kept"))
    (folder / REFINED).write_text(json.dumps(facts))
