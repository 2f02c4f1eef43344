"""Models that take a video (L4GM): a video and its first frame's other views -> Gaussians for every frame -> renderings and files.

The stages run in the folder ``NAME.partial`` beside the target (stages.py), which becomes the result at the end:

    views        the first frame's views, given, found in the capture or generated       views/
    reconstruct  the network over all chunks, resumed between them                       predicted.safetensors
    scene        the prediction; refined, one body of it or its frames one by one        scene.safetensors
    ply          one file per frame, if requested                                        ply/
    page         the scene in a page that plays it                                       viewer.html
    preview      the scene from a camera that circles it                                 preview.mp4
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

import chronosplat
from chronosplat.captures.views import evenly, on_white
from chronosplat.events import Events, info
from chronosplat.export import export, sequence_frames, write_video
from chronosplat.files import temporary_folder
from chronosplat.metrics import mean_psnr
from chronosplat.models import ModelSpec, find_model
from chronosplat.models.l4gm import L4GM, L4GMConfig
from chronosplat.models.l4gm.weights import load_l4gm
from chronosplat.multiview import load_given, save_views
from chronosplat.pipeline.config import MultiviewConfig, ReconstructConfig, page_title
from chronosplat.pipeline.report import Journal, Report, write_report
from chronosplat.pipeline.sequence_scene import input_views, make_scene, reference_camera, scene_of
from chronosplat.pipeline.sequence_setup import INTERPOLATION_MODEL, PREDICTED, REFINED, SCENE, Setup, prepared
from chronosplat.pipeline.source import USUAL_FPS
from chronosplat.pipeline.stages import Stage, StagedRun, staged_run, stamp_of
from chronosplat.pipeline.views import generate
from chronosplat.render import render
from chronosplat.scenes import Scene, StoredSequence
from chronosplat.sequences import Plan, choose_chunk, out_of_memory, run_sequence
from chronosplat.sequences.run import STATE
from chronosplat.viewer import write_page

NOTE = "note.txt"
PAGE = "viewer.html"
WORKING = (PREDICTED, REFINED, STATE)  # of no use once the work is done
PAGE_SPLATS = 4_000_000  # over all frames; 13 bytes each
COMPARED = 24  # frames that are compared with the video


def reconstruct_sequence(config: ReconstructConfig, spec: ModelSpec, output: Path, events: Events) -> Report:
    """See :func:`chronosplat.pipeline.reconstruct_capture`."""
    journal = Journal(events)
    torch.manual_seed(config.seed)
    setup = prepared(config, spec, journal)
    for notice in setup.source.notices:
        journal.notice(notice)
    with staged_run(output, journal) as run:
        stages, chunk = planned(setup, run, output, events)
        run.run(stages, chunk=chunk)
        report = finished(setup, run.folder, chunk, journal)
        write_report(config, report, run.folder, WORKING)
        run.publish(output, WORKING)
    rate = f"{report.facts['output_frames']} frames at {report.facts['fps']:g} per second"
    events.notice(info("done", f"PSNR on the input frames {report.psnr_inputs:.2f} dB; {rate} in {output}"))
    return report


def planned(setup: Setup, run: StagedRun, output: Path, events: Events) -> tuple[list[Stage], int]:
    """The stages with their stamps, and the frames of a forward pass."""
    config, options, folder, journal = setup.config, setup.config.sequence, run.folder, run.journal
    own = asdict(options)
    sides = {name: own[name] for name in ("views", "generation", "diffusion", "lgm_weights")}
    video = asdict(config.video)
    first = {"input": config.input, "split": config.split, "video": video | {"max_frames": None}, "seed": config.seed}
    first |= {"size": setup.network.input_size, "version": chronosplat.__version__, **sides}
    source = Path(config.input)
    paths = [source.parent if source.suffix == ".json" else source, *(Path(v) for v in options.views)]
    paths += [Path(p) for p in (options.diffusion, options.lgm_weights) if p]
    views = stamp_of(first, paths, output)
    files = [*paths, setup.weights, *([] if setup.interpolator is None else [setup.interpolator])]
    every = {"views": views, "sequence": own | {"chunk": None}, "video": video, "model": config.model, "device": config.device}
    free_choice = stamp_of(every | {"precision": str(setup.dtype)}, files, output)
    earlier = run.recorded("reconstruct")
    chunk = choose_chunk(
        options.chunk, len(setup.source.frames.times), setup.network, setup.dtype, config.device, 1 + (setup.interpolator is not None)
    )
    if options.chunk is None and earlier.get("stamp") == stamp_of([free_choice, earlier.get("chunk")]):
        chunk = earlier["chunk"]  # chosen by the memory that was free then: a resumed run keeps it
    reconstructed = stamp_of([free_choice, chunk])
    scene = stamp_of([reconstructed, setup.refinement])
    stages = [
        Stage("views", views, ("views",), lambda: make_first_views(setup, folder, events)),
        Stage(
            "reconstruct",
            reconstructed,
            (PREDICTED, STATE),
            lambda: reconstruct(setup, folder, chunk, reconstructed, events),
        ),
        Stage("scene", scene, (SCENE, REFINED), lambda: make_scene(setup, folder, journal)),
    ]
    if config.ply:
        stages.append(Stage("ply", scene, ("ply",), lambda: write_frames(folder)))
    stages.append(Stage("page", stamp_of([scene, page_title(setup.config)]), (PAGE,), lambda: write_viewer(setup, folder, journal)))
    shown = stamp_of([scene, config.preview_size])
    stages.append(Stage("preview", shown, ("preview.mp4",), lambda: write_preview(setup, folder)))
    return stages, chunk


def make_first_views(setup: Setup, folder: Path, events: Events) -> None:
    """Write the first frame's views into ``views/``: given, found in the capture, or generated by ImageDream and LGM."""
    config, options, size = setup.config, setup.config.sequence, setup.network.input_size

    def first_frame(size: int) -> Tensor:
        images, alphas = next(setup.source.frames.frames(size, range(1)))
        return on_white(images, alphas)

    views, note = setup.source.first_views, ""
    if views is None:
        multiview = MultiviewConfig("", "auto", options.diffusion, options.lgm_weights, config.device, config.seed, options.generation)
        made = generate(multiview, first_frame, events, size)
        views = made.views
        note = f"ImageDream and LGM generated the other views (azimuth {made.azimuth} degrees, seed {config.seed})"
    with temporary_folder(folder / "views") as fresh:
        made_views = fresh / "views"
        save_views(views, made_views)
        if note:
            (made_views / NOTE).write_text(note)
        shutil.rmtree(folder / "views", ignore_errors=True)  # of a run that was killed before the manifest said so
        made_views.replace(folder / "views")


def reconstruct(setup: Setup, folder: Path, chunk: int, stamp: str, events: Events) -> None:
    """Run the network over all chunks, from where an interrupted run stopped."""
    config = setup.config
    first_views = load_given([folder / "views"], setup.network.input_size, "none").views
    model = loaded(setup.spec.config, setup.weights, config, setup.dtype)
    interpolator = (
        None if setup.interpolator is None else loaded(find_model(INTERPOLATION_MODEL).config, setup.interpolator, config, setup.dtype)
    )
    plan = Plan(model, interpolator, chunk, stamp, setup.source.world, setup.notes)
    with out_of_memory(chunk):
        for step in run_sequence(plan, setup.source.frames, first_views, folder, PREDICTED):
            events.progress("reconstructing", step.done, step.chunks)


def write_frames(folder: Path) -> None:
    """One PLY file per time step of the prediction."""
    export(scene_of(folder), folder / "ply", times=StoredSequence(folder / PREDICTED).num_frames)


def write_viewer(setup: Setup, folder: Path, journal: Journal) -> None:
    """A page with the scene and the video's camera, unless it would be too large for a browser."""
    scene = scene_of(folder)
    splats = scene.num_gaussians * (scene.num_frames or 1)
    if splats > PAGE_SPLATS:
        times = max(1, PAGE_SPLATS // scene.num_gaussians)
        text = f"no {PAGE}: {scene.num_frames} frames of {scene.num_gaussians} Gaussians are too many for a page"
        journal.notice(info("no-page", text, f"export the scene as {PAGE} with {times} {{times}} or fewer", times=...))
        return
    views = input_views(setup)
    write_page(scene, folder / PAGE, views.cameras, views.times, views.pixels, page_title(setup.config), notes=setup.notes)


def write_preview(setup: Setup, folder: Path) -> None:
    """The scene as it plays, from a camera that circles it; as many time steps as the prediction has."""
    predicted, size = StoredSequence(folder / PREDICTED), setup.config.preview_size
    frames = sequence_frames(scene_of(folder), size, setup.network.input_size, setup.config.device, predicted.num_frames)
    write_video(frames, folder / "preview.mp4", frame_rate(predicted))


def frame_rate(scene: StoredSequence) -> float:
    """Mean frames per second."""
    first, last = scene.seconds
    return (scene.num_frames - 1) / (last - first) if scene.num_frames > 1 else USUAL_FPS


def finished(setup: Setup, folder: Path, chunk: int, journal: Journal) -> Report:
    """Compare the scene with its input, and report."""
    scene, predicted = scene_of(folder), StoredSequence(folder / PREDICTED)
    if (folder / "views" / NOTE).is_file():
        journal.notice(info("generated-views", (folder / "views" / NOTE).read_text(), "{views} takes yours", views=...))
    with journal.stage("compare"):
        quality = compare(scene, setup)
    facts: dict[str, Any] = {"output_frames": predicted.num_frames, "fps": round(frame_rate(predicted), 4), "chunk": chunk}
    facts["precision"] = str(setup.dtype).removeprefix("torch.")
    if (folder / REFINED).is_file():
        facts["refinement"] = json.loads((folder / REFINED).read_text())
    return Report(
        model=setup.config.model,
        frames=len(setup.source.frames.times),
        width=setup.network.input_size,
        height=setup.network.input_size,
        seconds=scene.seconds,
        gaussians=scene.num_gaussians,
        psnr_inputs=round(quality, 3),
        times=journal.rounded(),
        notices=journal.notices,
        facts=facts,
    )


def compare(scene: Scene, setup: Setup) -> float:
    """Mean PSNR in dB, on white, between evenly spaced frames of the video and the scene from the reference view."""
    frames, size = setup.source.frames, setup.network.input_size
    chosen = evenly(len(frames.times), COMPARED)
    camera, found = reference_camera(setup), []
    for index, (images, alphas) in zip(chosen, frames.frames(size, chosen), strict=True):
        rendered = render(scene, camera, [float(frames.times[index])], device=setup.config.device).rgb.cpu()
        found.append(mean_psnr(rendered, on_white(images, alphas)[None]))
    return sum(found) / len(found)


def loaded(network: L4GMConfig, weights: Path, config: ReconstructConfig, dtype: torch.dtype) -> L4GM:
    """A network ready to run."""
    model = load_l4gm(network, weights).eval().lowered(dtype).to(config.device)
    return cast(L4GM, torch.compile(model)) if config.sequence.compile else model
