"""Models that take posed views: capture -> scene -> refinement -> renderings and files.

Everything is written into a folder beside the target and renamed at the end, so a run that fails leaves nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from chronosplat.captures import Views
from chronosplat.captures.transforms import transforms_json
from chronosplat.events import Events, info
from chronosplat.export import export, turntable_frames, write_video
from chronosplat.files import check_output, mark_results, result_folder
from chronosplat.metrics import psnr
from chronosplat.models import ModelSpec
from chronosplat.pipeline.checks import disagreeing_views, load_views
from chronosplat.pipeline.config import ReconstructConfig, SequenceOptions, changed_options, page_title, refine_config
from chronosplat.pipeline.reconstruct import reconstruct_views
from chronosplat.pipeline.report import Journal, Report, write_report
from chronosplat.pipeline.stages import partial_of
from chronosplat.refine import Refined, simplified
from chronosplat.render import render
from chronosplat.scenes import Scene, save_scene
from chronosplat.shapes import InputError
from chronosplat.viewer import write_page

PREVIEW_FPS = 24.0
SCENE = "scene.safetensors"
AT_ONCE = 8  # views that are rendered together


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
    events = replace(events, notice=journal.notice)
    with journal.stage("load"):
        views = load_views(config)
    for notice in views.notices:
        events.notice(notice)
    views = views if refinement is None else simplified(views, refinement, events)
    with work_in_progress(output, events.improved) as keep:
        told = replace(events, improved=keep)
        done = reconstruct_views(views, refinement, config.model, config.weights, config.device, journal, told)
        for notice in done.notices:
            events.notice(notice)
        with result_folder(output, [Path(config.input)]) as folder:
            report = write_results(config, views, done, folder, journal)
    journal.events.notice(info("done", f"PSNR on the input views {report.psnr_inputs:.2f} dB; results in {output}"))
    return report


@contextmanager
def work_in_progress(output: Path, improved: Callable[[Scene], None]) -> Iterator[Callable[[Scene], None]]:
    """Yield a function that keeps the best scene so far in ``OUTPUT.partial/scene.safetensors`` and passes it on.

    The folder is removed at the end; a program that is killed leaves it.
    """
    folder = partial_of(output)
    check_output(folder)

    def keep(scene: Scene) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_scene(scene, folder / SCENE)
        mark_results(folder)
        improved(scene)

    try:
        yield keep
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_results(config: ReconstructConfig, views: Views, done: Refined, folder: Path, journal: Journal) -> Report:
    """Write the scene, its preview, its PLY sequence and the report."""
    scene, size = done.scene, views.cameras.height
    facts: dict[str, Any] = {"refinement": done.facts} if done.facts else {}
    with journal.stage("save"):
        notes = {"model": config.model, "input_size": str(size)} | {name: json.dumps(value) for name, value in facts.items()}
        save_scene(scene, folder / SCENE, notes)
        if done.cameras is not None or done.exposure is not None:
            corrected = replace(views, cameras=done.cameras or views.cameras)
            (folder / "cameras.json").write_text(json.dumps(transforms_json(corrected, exposure=done.exposure), indent=1))
    with journal.stage("compare"):
        psnrs = psnr_by_view(scene, replace(views, cameras=done.cameras or views.cameras), config.device)
        if not any(notice.code == "cameras-disagree" for notice in views.notices):
            for notice in disagreeing_views(psnrs, views):
                journal.notice(notice)
    with journal.stage("preview"):
        frames = turntable_frames(scene, config.preview_frames, config.preview_size, input_size=size)
        write_video(frames, folder / "preview.mp4", PREVIEW_FPS)
    with journal.stage("page"):
        seen = done.cameras or views.cameras
        write_page(scene, folder / "viewer.html", seen, views.times, views.pixels, page_title(config), notes={"model": config.model})
    if config.ply:
        with journal.stage("ply"):
            export(scene, folder / "ply", times=config.ply_frames)
    report = Report(
        model=config.model,
        frames=len(views),
        width=views.cameras.width,
        height=size,
        seconds=views.seconds,
        gaussians=scene.num_gaussians,
        psnr_inputs=round(sum(psnrs) / len(psnrs), 3),
        times=journal.rounded(),
        notices=journal.notices,
        facts=facts,
    )
    write_report(config, report, folder)
    return report


def psnr_by_view(scene: Scene, views: Views, device: str) -> list[float]:
    """PSNR in dB of a scene on each view; a few are rendered at a time."""
    found: list[float] = []
    for first in range(0, len(views), AT_ONCE):
        some = views[slice(first, first + AT_ONCE)]
        rgb = render(scene, some.cameras, some.times, device=device).rgb.detach().cpu()
        found += [psnr(image, truth) for image, truth in zip(rgb, some.on_white(), strict=True)]
    return found
