"""L4GM: a video and its first frame's other views -> Gaussians for every frame -> pictures and files.

The work is done in the folder ``NAME.partial`` beside the target: what a long run has reached stays there when it is
interrupted, and the same command goes on from it. At the end the folder is renamed.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.captures import Clip, Rig
from chronosplat.captures.views import evenly, on_white
from chronosplat.export import sequence_pictures, write_ply, write_video
from chronosplat.export.sequence import visible
from chronosplat.files import atomic_folder
from chronosplat.gaussians import StoredSequence
from chronosplat.metrics import mean_psnr
from chronosplat.models.l4gm import L4GM, L4GMConfig
from chronosplat.models.precision import bf16_is_fast
from chronosplat.models.weights import check_l4gm_file, find_weights, load_model
from chronosplat.multiview import load_given, save_views
from chronosplat.pipeline.common import Clock, Progressed, ReconstructConfig, Report, Say, write_report
from chronosplat.pipeline.refined import REFINED, asked_refinement, refine_stored
from chronosplat.pipeline.source import USUAL_FPS, Source, open_source
from chronosplat.pipeline.views import ViewsConfig, imagine
from chronosplat.pipeline.working import WORKING, finish_folder, stamps_of, working_folder
from chronosplat.render import render
from chronosplat.sequences import Plan, choose_chunk, out_of_memory, run_sequence
from chronosplat.sequences.chunks import model_cameras
from chronosplat.sequences.run import STATE
from chronosplat.shapes import InputError

SCENE = "scene.safetensors"
REFINED_PLY = "refined-ply"
NOTE = "note.txt"  # beside the views: what to say of them
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
COMPARED = 24  # frames whose renderings are compared with the video


def reconstruct_sequence(config: ReconstructConfig, output: Path, say: Say, progressed: Progressed) -> Report:
    """See :func:`chronosplat.pipeline.reconstruct_capture`."""
    options, dtype = config.sequence, precision_of(config)
    if options.interpolate not in (1, 3):
        raise InputError(f"interpolate: expected 1 (off) or 3 (three times the frame rate), got {options.interpolate}")
    if options.interp_weights and options.interpolate == 1:
        raise InputError("--interp-weights: goes with --interpolate 3")
    unused = [f"--{name}" for name in ("diffusion", "lgm_weights") if getattr(options, name)]
    unused += ["--prompt"] if options.drawing.prompt else []
    if options.views and unused:
        raise InputError(f"{', '.join(unused).replace('_', '-')}: the other sides are given by --views; leave one or the other out")
    torch.manual_seed(config.seed)
    wanted = asked_refinement(config, "off")
    if wanted is not None and options.interpolate > 1:
        raise InputError("--refine: the frames that --interpolate puts in between have no pictures to refine against; leave one out")
    clock = Clock()
    notes: list[str] = []

    def tell(note: str) -> None:
        notes.append(note)
        say(note)

    weights = find_weights(config.model, config.weights or None)
    between_weights = find_weights("l4gm-interp", options.interp_weights or None) if options.interpolate > 1 else None
    network = check_l4gm_file(config.model, weights)
    if between_weights is not None:
        inner = check_l4gm_file("l4gm-interp", between_weights)
        if (inner.input_size, inner.splat_size, inner.views) != (network.input_size, network.splat_size, network.views):
            raise InputError(f"{between_weights}: takes other pictures, or gives other Gaussians, than {weights}")
    with clock("survey"):
        source = open_source(config, network.input_size)
    for note in source.notes:
        tell(note)
    frames = len(source.pictures.times)
    chunk = choose_chunk(options.chunk, frames, network, dtype, config.device, 1 + (between_weights is not None))
    stamps = stamps_of(config, [weights, between_weights], network.input_size, dtype, output)
    with working_folder(output, stamps, chunk, options.chunk is None, tell) as work:
        folder = work.folder
        if not (folder / STATE).is_file():
            shutil.rmtree(folder / "ply", ignore_errors=True)  # of a refined scene that is gone
        with clock("views"):
            first_views = first_views_of(config, source, folder, network.input_size, tell, progressed)
        with clock("load"):
            model = loaded(config.model, weights, config, dtype)
            between = None if between_weights is None else loaded("l4gm-interp", between_weights, config, dtype)
        kept = {"model": config.model, "input_size": str(network.input_size)}
        plan = Plan(model, between, work.chunk, work.stamp, source.world, kept)
        with clock("reconstruct"), out_of_memory(work.chunk):
            for progress in run_sequence(plan, source.pictures, first_views, folder):
                progressed("reconstructing", progress.done, progress.chunks)
                if config.ply and wanted is None:
                    write_frames(folder / "ply", folder / SCENE, progress.added)
        del model, between, plan
        stored, facts = folder / SCENE, {}
        if wanted is not None:
            with clock("refine"):
                cameras = model_cameras(network)
                stored, found = refine_stored(wanted, folder, source.pictures, cameras, kept, tell, progressed, config.device)
            facts = {"refinement": found}
        report = finish(config, stored, source, network, clock, say)
        if wanted is not None and config.ply:
            shutil.rmtree(folder / REFINED_PLY, ignore_errors=True)
            write_frames(folder / REFINED_PLY, stored, range(frames))
        if not config.ply:
            shutil.rmtree(folder / "ply", ignore_errors=True)  # of an earlier run that was asked for them
        report.notes = notes
        report.facts |= {"chunk": work.chunk, "precision": str(dtype).removeprefix("torch."), **facts}
        if wanted is not None:
            (folder / STATE).unlink()  # what follows cannot be gone on from
            if config.ply:
                shutil.rmtree(folder / "ply", ignore_errors=True)
                (folder / REFINED_PLY).rename(folder / "ply")
            stored.replace(folder / SCENE)
        else:
            shutil.rmtree(folder / REFINED_PLY, ignore_errors=True)
            (folder / REFINED).unlink(missing_ok=True)  # of an earlier run
        write_report(config, report, folder, WORKING)
        finish_folder(work, output)
    facts = report.facts
    say(f"PSNR on the input frames {report.psnr_inputs:.2f} dB; {facts['output_frames']} frames at {facts['fps']:g} a second in {output}")
    return report


def finish(config: ReconstructConfig, stored: Path, source: Source, network: L4GMConfig, clock: Clock, say: Say) -> Report:
    """Compare the scene with its input, and film it, frame by frame from its file."""
    scene = StoredSequence(stored)
    say(f"{scene.count} Gaussians in each of {len(scene)} frames, in {clock.seconds['reconstruct']:.1f} s")
    with clock("compare"):
        quality = compare(scene, source.pictures, network, config.device)
    with clock("preview"):
        fps = (len(scene) - 1) / (scene.seconds[1] - scene.seconds[0]) if len(scene) > 1 else USUAL_FPS
        pictures = sequence_pictures(scene, config.preview_size, network.input_size, config.device)
        write_video(pictures, stored.parent / "preview.mp4", fps)
    return Report(
        version="",
        model=config.model,
        frames=len(source.pictures.times),
        width=network.input_size,
        height=network.input_size,
        seconds=scene.seconds,
        gaussians=scene.count,
        psnr_inputs=round(quality, 3),
        times=clock.rounded(),
        facts={"output_frames": len(scene), "fps": round(fps, 4)},
    )


def precision_of(config: ReconstructConfig) -> torch.dtype:
    """The numbers to compute with: bf16 where that is fast, fp16 on older GPUs, else fp32.

    Raises:
        InputError: an unknown name.
    """
    name = config.sequence.precision
    if name == "auto":
        if bf16_is_fast(config.device):
            return torch.bfloat16
        return torch.float16 if config.device.startswith("cuda") else torch.float32
    if name not in PRECISIONS:
        raise InputError(f"precision: expected auto, {', '.join(PRECISIONS)}; got {name!r}")
    return PRECISIONS[name]


def first_views_of(config: ReconstructConfig, source: Source, folder: Path, size: int, tell: Say, progressed: Progressed) -> Tensor:
    """[4, S, S, 3] on white: the first frame from all sides, given, found in the capture, or generated.

    They are kept as pictures in ``views/`` and used as read from there, so that a run that goes on uses the same.
    """
    kept = folder / "views"
    if not kept.is_dir():
        views = source.first_views
        note = ""
        if views is None:
            views, note = generated_views(config, source, size, progressed)
        with atomic_folder(kept) as fresh:
            save_views(views, fresh)
            if note:
                (fresh / NOTE).write_text(note)
    if (kept / NOTE).is_file():
        tell((kept / NOTE).read_text())
    return load_given([kept], size, "none").views


def generated_views(config: ReconstructConfig, source: Source, size: int, progressed: Progressed) -> tuple[Tensor, str]:
    """ImageDream's views, made consistent by LGM, of the first frame, and what to say of them."""
    options = config.sequence

    def first_frame(size: int) -> Tensor:
        images, alphas = next(source.pictures.frames(size, range(1)))
        return on_white(images, alphas)

    wanted = ViewsConfig(options.drawing, options.diffusion, options.lgm_weights, config.device, config.seed)
    made = imagine(wanted, first_frame, progressed, size)
    note = f"the other sides were generated by ImageDream and LGM (azimuth {made.azimuth} degrees, seed {config.seed}); --views takes yours"
    return made.views, note


def loaded(name: str, weights: Path, config: ReconstructConfig, dtype: torch.dtype) -> L4GM:
    """A network of L4GM's kind, ready to run."""
    model = load_model(name, weights)
    assert isinstance(model, L4GM)
    model = model.lowered(dtype).to(config.device)
    return cast(L4GM, torch.compile(model)) if config.sequence.compile else model


def write_frames(folder: Path, stored: Path, which: range) -> None:
    """PLY files of frames that are in the sequence's file; those that are there stay."""
    scene = StoredSequence(stored)
    folder.mkdir(exist_ok=True)
    for index in which:
        path = folder / f"frame_{index:04d}.ply"
        if not path.exists():
            write_ply(visible(scene.frame(index).in_world()), path)


def compare(scene: StoredSequence, pictures: Clip | Rig, network: L4GMConfig, device: str) -> float:
    """Mean PSNR in dB, on white, between evenly chosen frames of the video and the scene from the reference view."""
    frames = len(pictures.times)
    chosen = evenly(frames, COMPARED)
    factor = (len(scene) - 1) // max(frames - 1, 1)
    camera = model_cameras(network)[0]
    found = []
    for index, (images, alphas) in zip(chosen, pictures.frames(network.input_size, chosen), strict=True):
        gaussians = replace(scene.frame(index * factor), world=Similarity())
        rendered = render(gaussians, camera, device=device).rgb.cpu()
        found.append(mean_psnr(rendered, on_white(images, alphas)[None]))
    return sum(found) / len(found)
