"""4D-LRM: posed pictures -> one cloud of space-time Gaussians -> pictures and files.

Everything is written into a folder beside the target and renamed at the end, so that a run that fails leaves nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from chronosplat.captures import Views, fit_size, load_capture
from chronosplat.captures.views import evenly
from chronosplat.export import turntable_pictures, write_sequence, write_video
from chronosplat.files import atomic_folder
from chronosplat.gaussians import Gaussians4D, save_scene
from chronosplat.metrics import mean_psnr
from chronosplat.models.lrm4d import LRM4D
from chronosplat.models.weights import load_model
from chronosplat.pipeline.common import Clock, Progressed, ReconstructConfig, Report, Say, SequenceOptions, write_report
from chronosplat.pipeline.refined import asked_refinement, told
from chronosplat.refine import refine_scene
from chronosplat.render import render
from chronosplat.shapes import InputError

PREVIEW_FPS = 24.0
TRAINED_SIZE = 128  # the larger of the two sizes that 4d-lrm-mini was trained at
MOST_FRAMES = 48  # beyond this 4D-LRM gets no better (its figure 10)
SINGLE_VIEW_WARNING = "all pictures come from one viewpoint: the back of the object is unseen and will be guessed"


def reconstruct_cloud(config: ReconstructConfig, output: Path, say: Say, progressed: Progressed) -> Report:
    """See :func:`chronosplat.pipeline.reconstruct_capture`."""
    usual, asked = (o | o.pop("drawing") for o in (asdict(SequenceOptions()), asdict(config.sequence)))
    strange = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value != usual[name]]
    if strange:
        raise InputError(f"{', '.join(strange)}: for --model l4gm only; {config.model} takes posed pictures, or a video alone")
    torch.manual_seed(config.seed)
    wanted = asked_refinement(config, "fast")
    clock = Clock()
    with clock("load"):
        views = load_views(config)
        model = load_model(config.model, config.weights or None, config.device)
    assert isinstance(model, LRM4D)
    notes = notices(views)
    for note in notes:
        say(note)
    with clock("reconstruct"):
        scene = model.reconstruct(views)
    say(f"{len(scene)} Gaussians from {len(views)} pictures in {clock.seconds['reconstruct']:.1f} s")
    facts: dict[str, Any] = {}
    if wanted is not None:
        with clock("refine"):
            done = refine_scene(scene, views, wanted, told(progressed))
        assert isinstance(done.scene, Gaussians4D)
        scene, facts = done.scene, {"refinement": done.facts}
        for note in done.notes:
            notes.append(note)
            say(note)
        if not done.facts["kept"]:
            say(f"refined to {len(scene)} Gaussians in {done.facts['steps']} steps, {clock.seconds['refine']:.1f} s")
    with atomic_folder(output) as folder:
        with clock("save"):
            notes_kept = {"model": config.model, "input_size": str(views.cameras.height)}
            notes_kept |= {name: json.dumps(value) for name, value in facts.items()}
            save_scene(scene, folder / "scene.safetensors", notes_kept)
        with clock("compare"):
            rendered = render(scene, views.cameras, views.times, device=config.device).rgb.cpu()
            quality = mean_psnr(rendered, views.on_white())
        with clock("preview"):
            pictures = turntable_pictures(scene, config.preview_frames, config.preview_size, input_size=views.cameras.height)
            write_video(pictures, folder / "preview.mp4", PREVIEW_FPS)
        if config.ply:
            with clock("ply"):
                count = sum(1 for _ in write_sequence(scene, folder / "ply", config.ply_frames))
            say(f"{count} PLY files")
        report = Report(
            version="",
            model=config.model,
            frames=len(views),
            width=views.cameras.width,
            height=views.cameras.height,
            seconds=views.seconds,
            gaussians=len(scene),
            psnr_inputs=round(quality, 3),
            times=clock.rounded(),
            notes=notes,
            facts=facts,
        )
        write_report(config, report, folder)
    say(f"PSNR on the input pictures {quality:.2f} dB; results in {output}")
    return report


def load_views(config: ReconstructConfig) -> Views:
    """The capture, thinned and reduced to what the model was trained for unless the user asks for more.

    Ten times the pixels of each of a hundred pictures would ask for more memory than most machines have.
    """
    views = load_capture(config.input, config.split, config.size, config.video.max_frames, config.video)
    notes = list(views.notes)
    if config.video.max_frames is None and len(views) > MOST_FRAMES:
        notes.append(f"{MOST_FRAMES} of {len(views)} pictures are used, evenly chosen; --max-frames takes more")
        views = views[evenly(len(views), MOST_FRAMES)]
    width, height = views.cameras.width, views.cameras.height
    if config.size is None and max(width, height) > TRAINED_SIZE:
        views = fit_size(views, TRAINED_SIZE)
        smaller = f"{views.cameras.width}x{views.cameras.height}"
        notes.append(f"pictures reduced from {width}x{height} to {smaller}, the size that the model was trained for; --size keeps more")
    return replace(views, notes=tuple(notes))


def notices(views: Views) -> list[str]:
    """What the user should know before the result: the loader's notes, and a warning about a single viewpoint."""
    centers = views.cameras.centers
    single = float((centers - centers[0]).norm(dim=-1).max()) < 1e-6
    notes = [n for n in views.notes if "single view" not in n]
    return [*notes, f"warning: {SINGLE_VIEW_WARNING}"] if single else notes
