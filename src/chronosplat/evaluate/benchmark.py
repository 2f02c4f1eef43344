"""The benchmark: captures x set-ups x methods -> one row of figures each, and images for the report."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

import chronosplat
from chronosplat.assets import GltfModel
from chronosplat.captures import is_video, load_splits
from chronosplat.data.render import PROCEDURAL, open_mesh
from chronosplat.evaluate.methods import DEFAULT, Bench, Run, check_methods
from chronosplat.evaluate.setups import SETUPS, random_inputs
from chronosplat.evaluate.studio import CaptureStudio, MeshStudio, Split, Studio, ViewSpec, split_of, thinned
from chronosplat.events import Events, Notice, info
from chronosplat.metrics import flicker, foreground_psnr, mean_psnr, ssim
from chronosplat.metrics.lpips import LPIPS, load_lpips, mean_lpips
from chronosplat.models import Reconstructor, load_model
from chronosplat.shapes import InputError, UnavailableError

MODELS = (".glb", ".gltf")
SHOWN = 4  # targets of a clip in the report
COUNTS_SETUP = "random, {} views"
COUNTED = ("feed-forward", "fast")  # methods of the curve over the number of input views


@dataclass(frozen=True)
class EvalConfig:
    """An evaluation.

    Attributes:
        captures: .glb or .gltf files (FILE@ANIMATION chooses one), procedural:FAMILY, or folders with a posed capture.
        model: a model's name.
        weights: a safetensors file instead of the model's weights.
        setup: alternating, interpolation, rotating, random, video.
        methods: white, nearest, feed-forward, fast, best, SECONDS of refinement; scratch=fast, scratch=best, scratch=SECONDS for
            per-scene optimisation from random points, as long as ours takes in all or so many seconds.
        views: numbers of random input views with which to measure feed-forward and fast, too.
        size: pixels of the longer side.
        times: timestamps of an animated model.
        lpips: auto, on or off; its weights (0.5 GB) come from the hub.
        seed: of everything random.
        device: auto, cpu or cuda; auto takes CUDA where it is available.
    """

    captures: tuple[str, ...]
    model: str = "4d-lrm-mini"
    weights: str = ""
    setup: tuple[str, ...] = tuple(SETUPS)
    methods: tuple[str, ...] = DEFAULT
    views: tuple[int, ...] = ()
    size: int = 128
    times: int = 24
    lpips: str = "auto"
    seed: int = 0
    device: str = "cpu"


@dataclass
class Row:
    """One measurement. PSNR in dB on white; see chronosplat.metrics for each protocol. NaN: not measured."""

    capture: str
    setup: str
    method: str
    inputs: int
    targets: int
    width: int
    height: int
    psnr: float
    psnr_canonical: float
    psnr_random: float
    psnr_foreground: float
    ssim: float
    lpips: float
    flicker: float
    seconds: float
    gaussians: int
    steps: int
    model: str
    seed: int
    device: str
    threads: int
    version: str
    commit: str


@dataclass
class Shown:
    """Images of one capture in one set-up, for the report: inputs, targets, and each method's renderings [K, H, W, 3]."""

    capture: str
    setup: str
    inputs: Tensor
    targets: Tensor
    rendered: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Results:
    """All rows, images and notices of an evaluation."""

    config: EvalConfig
    rows: list[Row] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


def evaluate(config: EvalConfig, events: Events | None = None, keep: Callable[[Row], None] = lambda _: None) -> Results:
    """Run an evaluation.

    Args:
        keep: called with every row as it is measured, so that a run that is interrupted keeps its finished rows.

    Raises:
        InputError: nothing to evaluate, unknown names, a capture that lacks what a set-up needs.
    """
    check(config)
    events, results = events or Events(), Results(config)
    network = perceptual(config, results.notices)
    model = load_model(config.model, config.weights or None, config.device)
    jobs = [(capture, setup) for capture in config.captures for setup in (*config.setup, *config.views)]
    studios: dict[str, Studio] = {}
    for done, (capture, setup) in enumerate(jobs):
        events.progress("evaluating", done, len(jobs))
        if capture not in studios:
            studios = {capture: open_studio(capture, config)}  # one at a time is in memory
        studio = studios[capture]
        counted = isinstance(setup, int)
        shots = random_inputs(studio, setup) if isinstance(setup, int) else SETUPS[setup].shots(studio, config.times)
        methods = tuple(m for m in config.methods if m in COUNTED) if counted else config.methods
        name = COUNTS_SETUP.format(setup) if counted else str(setup)
        for row in measured(studio, name, shots, model, methods, config, network, results):
            results.rows.append(row)
            keep(row)
            events.notice(info("row", f"{row.capture}, {row.setup}, {row.method}: {row.psnr:.2f} dB in {row.seconds:.1f} s"))
    events.progress("evaluating", len(jobs), len(jobs))
    return results


def measured(
    studio: Studio,
    setup: str,
    shots: list[ViewSpec],
    model: Reconstructor,
    methods: tuple[str, ...],
    config: EvalConfig,
    network: LPIPS | None,
    results: Results,
) -> Iterator[Row]:
    """Rows of one capture in one set-up, method by method."""
    split = split_of(studio, shots)
    bench = Bench(model, split.inputs, split.targets, config.seed, config.device)
    white = split.targets.on_white()
    chosen = [round((i + 0.5) * len(white) / SHOWN) for i in range(SHOWN)] if len(white) > SHOWN else list(range(len(white)))
    some = thinned(range(len(split.inputs)), SHOWN)
    shown = Shown(studio.name, setup, split.inputs.on_white()[some], white[chosen])
    results.shown.append(shown)
    for method in methods:
        run = bench.run(method)
        shown.rendered[method] = run.images[chosen].clamp(0, 1)
        yield row_of(studio.name, setup, method, run, split, config, network)


def row_of(capture: str, setup: str, method: str, run: Run, split: Split, config: EvalConfig, network: LPIPS | None) -> Row:
    """Measure a run's pictures against the targets."""
    targets = split.targets
    wanted, kinds = targets.on_white(), split.canonical

    def psnr_of(which: Tensor) -> float:
        return mean_psnr(run.images[which], wanted[which]) if bool(which.any()) else math.nan

    return Row(
        capture=capture,
        setup=setup,
        method=method,
        inputs=len(split.inputs),
        targets=len(targets),
        width=targets.cameras.width,
        height=targets.cameras.height,
        psnr=mean_psnr(run.images, wanted),
        psnr_canonical=psnr_of(kinds),
        psnr_random=psnr_of(~kinds),
        psnr_foreground=foreground_psnr(run.images, wanted, targets.alphas),
        ssim=ssim(run.images, wanted),
        lpips=math.nan if network is None else mean_lpips(network, run.images, wanted),
        flicker=flicker(run.images, wanted, targets.cameras, targets.times),
        seconds=round(run.seconds, 3),
        gaussians=run.gaussians,
        steps=run.steps,
        model=config.model,
        seed=config.seed,
        device=config.device,
        threads=torch.get_num_threads(),
        version=chronosplat.__version__,
        commit=commit(),
    )


def check(config: EvalConfig) -> None:
    """Refuse what cannot be evaluated, before anything runs."""
    if not config.captures:
        raise InputError("captures: none given; expected .glb files, procedural:FAMILY, or folders with a posed capture")
    for setup in config.setup:
        if setup not in SETUPS:
            raise InputError(f"unknown set-up {setup!r}; known: {', '.join(SETUPS)}")
    if config.lpips not in ("auto", "on", "off"):
        raise InputError(f"lpips: expected auto, on or off, got {config.lpips!r}")
    if config.times < 2 or config.size < 16:
        raise InputError(f"expected at least 2 times and 16 pixels, got {config.times} and {config.size}")
    check_methods(config.methods)
    if min(config.views, default=1) < 1:
        raise InputError(f"views: expected at least one input view, got {min(config.views)}")
    if not config.setup and not config.views:
        raise InputError(f"nothing to evaluate: give a set-up ({', '.join(SETUPS)}) or numbers of views")
    if not config.methods or (not config.setup and not set(config.methods) & set(COUNTED)):
        raise InputError(f"nothing to evaluate: give a method (with numbers of views alone: {' or '.join(COUNTED)})")


def perceptual(config: EvalConfig, notices: list[Notice]) -> LPIPS | None:
    """LPIPS, if it is requested and its weights are available."""
    if config.lpips == "off":
        return None
    try:
        return load_lpips()
    except (UnavailableError, InputError) as error:
        if config.lpips == "on":
            raise
        notices.append(info("no-lpips", f"LPIPS left out: {error.problem}"))
        return None


def open_studio(capture: str, config: EvalConfig) -> Studio:
    """The source of views that a capture's name means.

    Raises:
        InputError: no such capture, or a video, whose camera and other sides are unknown.
    """
    file, _, clip = capture.rpartition("@")
    if not file.lower().endswith(MODELS):  # an @ in the name of a folder
        file, clip = capture, ""
    path = Path(file)
    if capture.startswith(PROCEDURAL) or path.suffix.lower() in MODELS:
        mesh = (
            GltfModel(path, int(clip) if clip.isdigit() else clip or 0)
            if path.suffix.lower() in MODELS
            else open_mesh(capture, None, config.seed)
        )
        named = f"{path.stem}@{clip}" if clip else path.stem
        return MeshStudio(mesh, named if path.suffix else capture, config.size, config.times, seed=config.seed)
    if is_video(path):
        raise InputError(f"{capture}: a video shows one side and its camera is unknown; an evaluation needs a posed capture or a .glb")
    inputs, held_back = load_splits(path, config.size)
    return CaptureStudio(path.name, inputs, held_back, config.seed)


@cache
def commit() -> str:
    """The commit of the source that runs, with ``-dirty`` if it was changed; empty outside a checkout of chronosplat."""
    return commit_of(Path(chronosplat.__file__))


def commit_of(file: Path) -> str:
    """The commit of the repository that tracks a file; empty where none does, such as for an installed package."""

    def git(*arguments: str) -> str | None:
        try:
            command = ["git", "-C", str(file.parent), *arguments]
            found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return found.stdout.strip() if found.returncode == 0 else None

    if git("ls-files", "--error-unmatch", file.name) is None:
        return ""
    return git("describe", "--always", "--dirty", "--abbrev=12") or ""


def as_dict(row: Row) -> dict[str, object]:
    """A row for JSON: null where nothing was measured."""
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in asdict(row).items()}


__all__ = ["COUNTS_SETUP", "EvalConfig", "Results", "Row", "Shown", "as_dict", "evaluate", "open_studio"]
