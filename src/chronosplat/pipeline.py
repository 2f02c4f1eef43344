"""The whole story on one page: capture -> views -> model -> scene -> pictures and files.

Everything is written into a folder beside the target and renamed at the end, so that a run that fails leaves nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import chronosplat
from chronosplat.captures import Views, fit_size, load_capture
from chronosplat.export import turntable_pictures, write_sequence, write_video
from chronosplat.files import atomic_folder, check_folder
from chronosplat.gaussians import Gaussians4D, save_scene
from chronosplat.metrics import mean_psnr
from chronosplat.models.lrm4d import LRM4D, LRM4DConfig
from chronosplat.models.presets import find_preset
from chronosplat.models.weights import load_model
from chronosplat.render import render
from chronosplat.shapes import InputError

Say = Callable[[str], None]
PREVIEW_FPS = 24.0
TRAINED_SIZE = 128  # the larger of the two sizes that 4d-lrm-mini was trained at
MOST_FRAMES = 48  # beyond this 4D-LRM gets no better (its figure 10)
SINGLE_VIEW_WARNING = "all pictures come from one viewpoint: the back of the object is unseen and will be guessed"


@dataclass(frozen=True)
class ReconstructConfig:
    """What a reconstruction was asked to do; kept beside its result as ``config.yaml``."""

    input: str
    model: str = "4d-lrm-mini"
    weights: str = ""
    split: str = "train"
    size: int | None = None
    max_frames: int | None = None
    device: str = "cpu"
    seed: int = 0
    ply: bool = False
    ply_frames: int = 24
    preview_frames: int = 72
    preview_size: int = 256


@dataclass
class Report:
    """What happened: kept as ``report.json``."""

    version: str
    model: str
    frames: int
    width: int
    height: int
    seconds: tuple[float, float]
    gaussians: int
    psnr_inputs: float
    times: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def reconstruct_capture(config: ReconstructConfig, output: Path, say: Say = lambda _: None) -> Report:
    """Run the whole way from a capture to a folder of results.

    Args:
        output: the folder to make: scene.safetensors, config.yaml, report.json, preview.mp4, and ply/ if asked.
        say: called with one line per stage and per notice.

    Raises:
        InputError: bad input, in one line. Nothing is left behind then.
    """
    check_folder(output)
    if not isinstance(find_preset(config.model).config, LRM4DConfig):
        raise InputError(f"model: {config.model} takes frames from four sides, from Python so far; reconstruct with a 4d-lrm model")
    torch.manual_seed(config.seed)
    clock: dict[str, float] = {}
    with timed(clock, "load"):
        views = load_views(config)
        model = load_model(config.model, config.weights or None, config.device)
    assert isinstance(model, LRM4D)
    notes = notices(views)
    for note in notes:
        say(note)
    with timed(clock, "reconstruct"):
        scene = model.reconstruct(views)
    say(f"{len(scene)} Gaussians from {len(views)} pictures in {clock['reconstruct']:.1f} s")
    with atomic_folder(output) as folder:
        with timed(clock, "save"):
            notes_kept = {"model": config.model, "input_size": str(views.cameras.height)}
            save_scene(scene, folder / "scene.safetensors", notes_kept)
        with timed(clock, "compare"):
            rendered = render(scene, views.cameras, views.times, device=config.device).rgb.cpu()
            quality = mean_psnr(rendered, views.on_white())
        with timed(clock, "preview"):
            pictures = turntable_pictures(scene, config.preview_frames, config.preview_size, input_size=views.cameras.height)
            write_video(pictures, folder / "preview.mp4", PREVIEW_FPS)
        if config.ply:
            with timed(clock, "ply"):
                count = sum(1 for _ in write_sequence(scene, folder / "ply", config.ply_frames))
            say(f"{count} PLY files")
        (folder / "config.yaml").write_text(as_yaml(asdict(config)))
        report = make_report(config, views, scene, quality, clock, notes)
        report.files = sorted([*(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()), "report.json"])
        (folder / "report.json").write_text(json.dumps(asdict(report), indent=1))
    say(f"PSNR on the input pictures {quality:.2f} dB; results in {output}")
    return report


def load_views(config: ReconstructConfig) -> Views:
    """The capture, thinned and reduced to what the model was trained for unless the user asks for more.

    Ten times the pixels of each of a hundred pictures would ask for more memory than most machines have.
    """
    views = load_capture(config.input, config.split, config.size, config.max_frames)
    notes = list(views.notes)
    if config.max_frames is None and len(views) > MOST_FRAMES:
        notes.append(f"{MOST_FRAMES} of {len(views)} pictures are used, evenly chosen; --max-frames takes more")
        views = views[[round(i * (len(views) - 1) / (MOST_FRAMES - 1)) for i in range(MOST_FRAMES)]]
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


def make_report(
    config: ReconstructConfig, views: Views, scene: Gaussians4D, quality: float, clock: dict[str, float], notes: list[str]
) -> Report:
    """Collect what happened."""
    return Report(
        version=chronosplat.__version__,
        model=config.model,
        frames=len(views),
        width=views.cameras.width,
        height=views.cameras.height,
        seconds=views.seconds,
        gaussians=len(scene),
        psnr_inputs=round(quality, 3),
        times={name: round(value, 3) for name, value in clock.items()},
        notes=notes,
    )


@contextmanager
def timed(clock: dict[str, float], name: str) -> Iterator[None]:
    """Add the wall time of a block to ``clock``."""
    started = time.perf_counter()
    yield
    clock[name] = clock.get(name, 0.0) + time.perf_counter() - started


def as_yaml(values: dict[str, Any]) -> str:
    """A flat mapping as YAML; JSON scalars are YAML scalars."""
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items())
