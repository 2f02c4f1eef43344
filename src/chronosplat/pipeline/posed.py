"""Models that take posed views: capture -> scene -> refinement -> renderings and files.

Everything is written into a folder beside the target and renamed at the end, so a run that fails leaves nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from chronosplat.captures import Limits, Views, load_capture
from chronosplat.captures.transforms import transforms_json
from chronosplat.captures.video import SINGLE_VIEW
from chronosplat.events import Events, info
from chronosplat.export import turntable_frames, write_sequence, write_video
from chronosplat.files import result_folder
from chronosplat.metrics import mean_psnr
from chronosplat.models import ModelSpec, load_model
from chronosplat.pipeline.config import ReconstructConfig, SequenceOptions, changed_options, refine_config
from chronosplat.pipeline.report import Journal, Report, write_report
from chronosplat.refine import Refined, refine_scene
from chronosplat.render import render
from chronosplat.scenes import Scene, save_scene
from chronosplat.shapes import InputError

PREVIEW_FPS = 24.0


def reconstruct_posed(config: ReconstructConfig, spec: ModelSpec, output: Path, events: Events) -> Report:
    """See :func:`chronosplat.pipeline.reconstruct_capture`."""
    unused = changed_options(config.sequence, SequenceOptions())
    if unused:
        listed = ", ".join(f"{{{name}}}" for name in unused)
        problem = f"{config.model} takes posed views, or a video alone"
        raise InputError(problem, f"leave out {listed}, or choose {{model}}", model="l4gm", **dict.fromkeys(unused, ...))
    torch.manual_seed(config.seed)
    refinement = refine_config(config, spec)
    journal = Journal(events)
    with journal.stage("load"):
        views = load_views(config, spec)
        model = load_model(config.model, config.weights or None, config.device)
    for notice in views.notices:
        journal.notice(notice)
    with journal.stage("reconstruct"):
        scene: Scene = model.reconstruct(views)
    taken = f"{scene.num_gaussians} Gaussians from {len(views)} images in {journal.times['reconstruct']:.1f} s"
    events.notice(info("reconstructed", taken))
    done = Refined(scene)
    if refinement is not None:
        with journal.stage("refine"):
            done = refine_scene(scene, views, refinement, replace(events, notice=journal.notice))
        for notice in done.notices:
            journal.notice(notice)
        if not done.facts["kept"]:
            taken = f"refined to {done.scene.num_gaussians} Gaussians in {done.facts['steps']} steps, {journal.times['refine']:.1f} s"
            events.notice(info("refined", taken))
    with result_folder(output, [Path(config.input)]) as folder:
        report = write_results(config, views, done, folder, journal)
    events.notice(info("done", f"PSNR on the input views {report.psnr_inputs:.2f} dB; results in {output}"))
    return report


def write_results(config: ReconstructConfig, views: Views, done: Refined, folder: Path, journal: Journal) -> Report:
    """Write the scene, its preview, its PLY sequence and the report."""
    scene, size = done.scene, views.cameras.height
    facts: dict[str, Any] = {"refinement": done.facts} if done.facts else {}
    with journal.stage("save"):
        notes = {"model": config.model, "input_size": str(size)} | {name: json.dumps(value) for name, value in facts.items()}
        save_scene(scene, folder / "scene.safetensors", notes)
        if done.cameras is not None or done.exposure is not None:
            corrected = replace(views, cameras=done.cameras or views.cameras)
            (folder / "cameras.json").write_text(json.dumps(transforms_json(corrected, exposure=done.exposure), indent=1))
    with journal.stage("compare"):
        rendered = render(scene, done.cameras or views.cameras, views.times, device=config.device).rgb.cpu()
        quality = mean_psnr(rendered, views.on_white())
    with journal.stage("preview"):
        frames = turntable_frames(scene, config.preview_frames, config.preview_size, input_size=size)
        write_video(frames, folder / "preview.mp4", PREVIEW_FPS)
    if config.ply:
        with journal.stage("ply"):
            count = sum(1 for _ in write_sequence(scene, folder / "ply", config.ply_frames))
        journal.events.notice(info("ply", f"{count} PLY files"))
    report = Report(
        model=config.model,
        frames=len(views),
        width=views.cameras.width,
        height=size,
        seconds=views.seconds,
        gaussians=scene.num_gaussians,
        psnr_inputs=round(quality, 3),
        times=journal.rounded(),
        notices=journal.notices,
        facts=facts,
    )
    write_report(config, report, folder)
    return report


def load_views(config: ReconstructConfig, spec: ModelSpec) -> Views:
    """The capture, thinned and reduced to what the model was trained for unless the user chose otherwise; a warning, last,
    where all images come from one viewpoint."""
    limits = Limits(spec.inputs.max_views, spec.inputs.size)
    views = load_capture(config.input, config.split, config.size, config.video.max_frames, config.video, limits)
    centers = views.cameras.centers
    single = float((centers - centers[0]).norm(dim=-1).max()) < 1e-6
    notices = [notice for notice in views.notices if notice.code != SINGLE_VIEW.code]
    return replace(views, notices=(*notices, SINGLE_VIEW) if single else tuple(notices))
