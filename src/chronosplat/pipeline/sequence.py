"""Models that take a video (L4GM): a video and its first frame's other views -> Gaussians for every frame -> renderings and files.

The stages run in the folder ``NAME.partial`` beside the target (stages.py), which becomes the result at the end:

    views        the first frame's views, given, found in the capture or generated       views/
    reconstruct  the network over all chunks, resumed between them                       predicted.safetensors
    scene        the prediction, refined frame by frame if requested                     scene.safetensors
    ply          one file per frame, if requested                                        ply/
    preview      the scene from a camera that circles it                                 preview.mp4
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

import chronosplat
from chronosplat.cameras import Similarity
from chronosplat.captures import Views
from chronosplat.captures.views import evenly, on_white
from chronosplat.events import Events, info, warning
from chronosplat.export import export, sequence_frames, write_video
from chronosplat.files import temporary_folder
from chronosplat.metrics import mean_psnr
from chronosplat.models import ModelSpec, find_model, find_weights
from chronosplat.models.l4gm import L4GM, L4GMConfig, check_l4gm_file
from chronosplat.models.l4gm.weights import load_l4gm
from chronosplat.models.precision import bf16_is_fast
from chronosplat.multiview import load_given, save_views
from chronosplat.pipeline.config import MultiviewConfig, ReconstructConfig, refine_config
from chronosplat.pipeline.report import Journal, Report, write_report
from chronosplat.pipeline.source import USUAL_FPS, Source, open_source
from chronosplat.pipeline.stages import Stage, StagedRun, staged_run, stamp_of
from chronosplat.pipeline.views import generate
from chronosplat.refine import RefineConfig
from chronosplat.refine.strategies.frames import facts_of, refine_frames
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D, SequenceWriter, StoredSequence
from chronosplat.sequences import Plan, choose_chunk, out_of_memory, run_sequence
from chronosplat.sequences.chunks import model_cameras
from chronosplat.sequences.run import STATE
from chronosplat.shapes import InputError

SCENE, PREDICTED, REFINED, NOTE = "scene.safetensors", "predicted.safetensors", "refined.json", "note.txt"
WORKING = (PREDICTED, REFINED, STATE)  # of no use once the work is done
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
COMPARED = 24  # frames that are compared with the video
INTERPOLATION_MODEL = "l4gm-interp"


@dataclass(frozen=True)
class Setup:
    """What the stages work with.

    Attributes:
        weights, interpolator: weights files; ``interpolator`` is the interpolation model's. network: the config of ``weights``.
        refinement: None for none.
    """

    config: ReconstructConfig
    spec: ModelSpec
    source: Source
    weights: Path
    interpolator: Path | None
    network: L4GMConfig
    dtype: torch.dtype
    refinement: RefineConfig | None

    @property
    def notes(self) -> dict[str, str]:
        """Metadata of the scene file."""
        return {"model": self.config.model, "input_size": str(self.network.input_size)}


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


def prepared(config: ReconstructConfig, spec: ModelSpec, journal: Journal) -> Setup:
    """Check the options, find the weights and survey the input.

    Raises:
        InputError: options that do not go together, or weights that do not fit.
        UnavailableError: weights that are neither here nor downloadable.
    """
    options, dtype = config.sequence, precision_of(config)
    if options.interpolate not in (1, 3):
        raise InputError(f"interpolate: expected 1 (off) or 3 (three times the frame rate), got {options.interpolate}")
    if options.interp_weights and options.interpolate == 1:
        raise InputError("interp_weights: nothing is interpolated", "add {interpolate}", interpolate=3)
    unused = [name for name in ("diffusion", "lgm_weights") if getattr(options, name)]
    unused += ["prompt"] if options.generation.prompt else []
    if options.views and unused:
        listed = " and ".join(f"{{{name}}}" for name in unused)
        raise InputError("views: given, so none are generated", f"leave out {listed}", **dict.fromkeys(unused, ...))
    refinement = refine_config(config, spec)
    if refinement is not None and options.interpolate > 1:
        problem = "refine: interpolated frames have no images to refine against"
        raise InputError(problem, "leave out {refine} or {interpolate}", refine=..., interpolate=...)
    if refinement is not None and refinement.strategy not in ("auto", "frames"):
        raise InputError(f"strategy {refinement.strategy}: a sequence is refined frame by frame", "use {strategy}", strategy="frames")
    weights = find_weights(config.model, config.weights or None)
    assert weights is not None
    interpolator = find_weights(INTERPOLATION_MODEL, options.interp_weights or None) if options.interpolate > 1 else None
    network = check_l4gm_file(spec.config, weights)
    if interpolator is not None:
        inner = check_l4gm_file(find_model(INTERPOLATION_MODEL).config, interpolator)
        if (inner.input_size, inner.num_gaussians, inner.views) != (network.input_size, network.num_gaussians, network.views):
            raise InputError(f"{interpolator}: its inputs or its number of Gaussians differ from those of {weights}")
    with journal.stage("survey"):
        source = open_source(config, network.input_size)
    return Setup(config, spec, source, weights, interpolator, network, dtype, refinement)


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
        stages.append(Stage("ply", scene, ("ply",), lambda: export(StoredSequence(folder / SCENE), folder / "ply")))
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


def make_scene(setup: Setup, folder: Path, journal: Journal) -> None:
    """The predicted sequence, refined frame by frame against the video, the first frame against all of its views."""
    config, cameras, events = setup.refinement, model_cameras(setup.network), journal.events
    if config is None:
        (folder / SCENE).unlink(missing_ok=True)
        try:
            (folder / SCENE).hardlink_to(folder / PREDICTED)
        except OSError:  # a file system without hard links
            shutil.copyfile(folder / PREDICTED, folder / SCENE)
        return
    scene = StoredSequence(folder / PREDICTED)
    sides = load_given([folder / "views"], cameras.height, "none").views

    def frames() -> Iterator[tuple[Gaussians3D, Views | None]]:
        for index, (images, alphas) in enumerate(setup.source.frames.frames(cameras.height, range(scene.num_frames))):
            views = Views(images[None], alphas[None], cameras[[0]], torch.zeros(1, dtype=torch.float64))
            if index == 0:
                still = torch.zeros(len(sides), dtype=torch.float64)
                views = Views(sides, torch.ones_like(sides[..., :1]), cameras, still)
            yield scene.frame(index).with_world(Similarity()).to(setup.config.device), views

    facts: dict[str, Any] = {}
    notes = setup.notes | {"refinement": json.dumps({"steps": config.steps, "seconds": config.seconds, "seed": config.seed})}
    with events.cancel.watched(), SequenceWriter(folder / SCENE, scene.times, scene.num_gaussians, scene.world, notes) as writer:
        for index, (gaussians, pace) in enumerate(refine_frames(frames(), scene.num_frames, config, events.cancel)):
            writer.write(index, {name: t[None] for name, t in gaussians.tensors().items()})
            events.progress("refining", index + 1, scene.num_frames)
            facts = facts_of(pace, config)
        writer.flush()
    if facts["stopped"]:
        journal.notice(warning("stopped-early", f"refinement stopped early ({facts['stopped']}); the frames so far are kept"))
    elif facts["kept"]:
        journal.notice(info("prediction-kept", "refinement gains nothing on held-out views: the prediction is kept"))
    (folder / REFINED).write_text(json.dumps(facts))


def write_preview(setup: Setup, folder: Path) -> None:
    """The scene as it plays, from a camera that circles it."""
    scene = StoredSequence(folder / SCENE)
    frames = sequence_frames(scene, setup.config.preview_size, setup.network.input_size, setup.config.device)
    write_video(frames, folder / "preview.mp4", frame_rate(scene))


def frame_rate(scene: StoredSequence) -> float:
    """Mean frames per second."""
    first, last = scene.seconds
    return (scene.num_frames - 1) / (last - first) if scene.num_frames > 1 else USUAL_FPS


def finished(setup: Setup, folder: Path, chunk: int, journal: Journal) -> Report:
    """Compare the scene with its input, and report."""
    scene = StoredSequence(folder / SCENE)
    if (folder / "views" / NOTE).is_file():
        journal.notice(info("generated-views", (folder / "views" / NOTE).read_text(), "{views} takes yours", views=...))
    with journal.stage("compare"):
        quality = compare(scene, setup)
    facts: dict[str, Any] = {"output_frames": scene.num_frames, "fps": round(frame_rate(scene), 4), "chunk": chunk}
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


def compare(scene: StoredSequence, setup: Setup) -> float:
    """Mean PSNR in dB, on white, between evenly spaced frames of the video and the scene from the reference view."""
    frames, size = len(setup.source.frames.times), setup.network.input_size
    chosen = evenly(frames, COMPARED)
    factor = (scene.num_frames - 1) // max(frames - 1, 1)
    camera = model_cameras(setup.network)[0]
    found = []
    for index, (images, alphas) in zip(chosen, setup.source.frames.frames(size, chosen), strict=True):
        gaussians = replace(scene.frame(index * factor), world=Similarity())
        rendered = render(gaussians, camera, device=setup.config.device).rgb.cpu()
        found.append(mean_psnr(rendered, on_white(images, alphas)[None]))
    return sum(found) / len(found)


def precision_of(config: ReconstructConfig) -> torch.dtype:
    """The network's type: bf16 where that is fast, fp16 on older GPUs, else fp32.

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


def loaded(network: L4GMConfig, weights: Path, config: ReconstructConfig, dtype: torch.dtype) -> L4GM:
    """A network ready to run."""
    model = load_l4gm(network, weights).eval().lowered(dtype).to(config.device)
    return cast(L4GM, torch.compile(model)) if config.sequence.compile else model
