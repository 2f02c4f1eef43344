"""The benchmark: captures x set-ups x methods to one row of metrics each, and images for the report."""

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
from chronosplat.evaluate.setups import PAPER, SETUPS, random_inputs
from chronosplat.evaluate.studio import CaptureStudio, MeshStudio, Split, Studio, split_of, subsample
from chronosplat.evaluate.tracks import track_error
from chronosplat.events import Events, Notice, info
from chronosplat.metrics import flicker, foreground_psnr, mean_psnr, sharpness, silhouette_iou, ssim
from chronosplat.metrics.lite0 import Lite0, load_lite0, mean_lite0
from chronosplat.metrics.lpips import LPIPS, load_lpips, mean_lpips
from chronosplat.models import Reconstructor, load_model
from chronosplat.shapes import InputError, UnavailableError

MODELS = (".glb", ".gltf")
REPORT_VIEWS = 4  # per clip
COUNTS_SETUP = "random, {} views"
COUNTED = ("feed-forward", "fast")  # methods in the curve over the number of input views


@dataclass(frozen=True)
class EvalConfig:
    """An evaluation.

    Attributes:
        captures: .glb or .gltf files (FILE@ANIMATION chooses one), procedural:FAMILY, or folders with a posed capture.
        model: a model's name.
        weights: a safetensors file instead of the model's weights.
        setup: alternating, interpolation, rotating, random, video (the five of 4D-LRM); dense4, dense8, dnerf.
        methods: white, nearest, feed-forward, fast, best, SECONDS of refinement; scratch=fast, scratch=best, scratch=SECONDS for
            per-scene optimisation from random initialisation, with the total time of fast or best, or for SECONDS.
        views: numbers of random input views for which to evaluate feed-forward and fast, too.
        size: pixels of the longer side; by default the set-up's (128; dense8 256, dnerf 400).
        times: number of input timestamps; by default the set-up's (24; dnerf 100).
        lpips: auto, on or off; its weights (0.5 GB) come from the hub.
        seed: random seed.
        device: auto, cpu or cuda; auto takes CUDA where it is available.
    """

    captures: tuple[str, ...]
    model: str = "4d-lrm-mini"
    weights: str = ""
    setup: tuple[str, ...] = tuple(PAPER)
    methods: tuple[str, ...] = DEFAULT
    views: tuple[int, ...] = ()
    size: int | None = None
    times: int | None = None
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
    lite0: float
    sharpness: float
    silhouette_iou: float
    flicker: float
    track_error: float
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
class ReportImages:
    """Images of one capture in one set-up for the report: inputs, targets, and each method's renderings [K, H, W, 3]."""

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
    images: list[ReportImages] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


@dataclass(frozen=True)
class Networks:
    """Networks that measure perceptual distance, those that are at hand."""

    lpips: LPIPS | None = None
    lite0: Lite0 | None = None


def evaluate(config: EvalConfig, events: Events | None = None, keep: Callable[[Row], None] = lambda _: None) -> Results:
    """Run an evaluation.

    Args:
        keep: called with every finished row, so that an interrupted run keeps its results.

    Raises:
        InputError: nothing to evaluate, unknown names, or a capture without the views of a set-up.
    """
    check(config)
    events, results = events or Events(), Results(config)
    networks = Networks(load_perceptual(config, results.notices), find_lite0())
    model = load_model(config.model, config.weights or None, config.device)
    jobs = [(capture, setup) for capture in config.captures for setup in (*config.setup, *config.views)]
    studios: dict[tuple[str, int, int], Studio] = {}
    for done, (capture, setup) in enumerate(jobs):
        events.progress("evaluating", done, len(jobs))
        protocol = SETUPS["random" if isinstance(setup, int) else setup]
        size, times = config.size or protocol.size, config.times or protocol.times
        key = capture, size, protocol.timestamps(times)
        if key not in studios:
            studios = {key: open_studio(*key, config.seed)}  # one at a time is in memory
        studio = studios[key]
        if isinstance(setup, int):
            name, split = COUNTS_SETUP.format(setup), split_of(studio, random_inputs(studio, setup))
            methods = tuple(m for m in config.methods if m in COUNTED)
        else:
            name, split, methods = setup, protocol.split(studio, times), config.methods
        for row in evaluate_setup(studio.name, name, split, model, methods, config, networks, results):
            results.rows.append(row)
            keep(row)
            events.notice(info("row", f"{row.capture}, {row.setup}, {row.method}: {row.psnr:.2f} dB in {row.seconds:.1f} s"))
    events.progress("evaluating", len(jobs), len(jobs))
    return results


def evaluate_setup(
    capture: str,
    setup: str,
    split: Split,
    model: Reconstructor,
    methods: tuple[str, ...],
    config: EvalConfig,
    networks: Networks,
    results: Results,
) -> Iterator[Row]:
    """Yield the rows of one capture in one set-up, method by method; add their images to the results."""
    bench = Bench(model, split.inputs, split.targets, config.seed, config.device)
    targets, inputs = split.targets.on_white(), split.inputs.on_white()
    count = len(targets)
    chosen = [round((i + 0.5) * count / REPORT_VIEWS) for i in range(REPORT_VIEWS)] if count > REPORT_VIEWS else list(range(count))
    images = ReportImages(capture, setup, inputs[subsample(range(len(inputs)), REPORT_VIEWS)], targets[chosen])
    results.images.append(images)
    for method in methods:
        run = bench.run(method)
        images.rendered[method] = run.images[chosen].clamp(0, 1)
        yield measure(capture, setup, method, run, split, config, networks)


def measure(capture: str, setup: str, method: str, run: Run, split: Split, config: EvalConfig, networks: Networks) -> Row:
    """Compare a run's renderings with the targets."""
    targets, truth, canonical = split.targets, split.targets.on_white(), split.canonical

    def psnr_of(which: Tensor) -> float:
        return mean_psnr(run.images[which], truth[which]) if bool(which.any()) else math.nan

    return Row(
        capture=capture,
        setup=setup,
        method=method,
        inputs=len(split.inputs),
        targets=len(targets),
        width=targets.cameras.width,
        height=targets.cameras.height,
        psnr=mean_psnr(run.images, truth),
        psnr_canonical=psnr_of(canonical),
        psnr_random=psnr_of(~canonical),
        psnr_foreground=foreground_psnr(run.images, truth, targets.alphas),
        ssim=ssim(run.images, truth),
        lpips=math.nan if networks.lpips is None else mean_lpips(networks.lpips, run.images, truth),
        lite0=math.nan if networks.lite0 is None else mean_lite0(networks.lite0, run.images, truth),
        sharpness=sharpness(run.images, truth, targets.alphas),
        silhouette_iou=silhouette_iou(run.alphas, targets.alphas),
        flicker=flicker(run.images, truth, targets.cameras, targets.times),
        track_error=track_error(run.scene, split.tracks),
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
    """Raise InputError for what cannot be evaluated, before anything runs."""
    if not config.captures:
        raise InputError("captures: none given; expected .glb files, procedural:FAMILY, or folders with a posed capture")
    for setup in config.setup:
        if setup not in SETUPS:
            raise InputError(f"unknown set-up {setup!r}; known: {', '.join(SETUPS)}")
    if config.lpips not in ("auto", "on", "off"):
        raise InputError(f"lpips: expected auto, on or off, got {config.lpips!r}")
    if (config.times is not None and config.times < 2) or (config.size is not None and config.size < 16):
        raise InputError(f"expected at least 2 times and 16 pixels, got {config.times} and {config.size}")
    check_methods(config.methods)
    if min(config.views, default=1) < 1:
        raise InputError(f"views: expected at least one input view, got {min(config.views)}")
    if not config.setup and not config.views:
        raise InputError(f"nothing to evaluate: give a set-up ({', '.join(SETUPS)}) or numbers of views")
    if not config.methods or (not config.setup and not set(config.methods) & set(COUNTED)):
        raise InputError(f"nothing to evaluate: give a method (with numbers of views alone: {' or '.join(COUNTED)})")


def load_perceptual(config: EvalConfig, notices: list[Notice]) -> LPIPS | None:
    """Load LPIPS if it is requested and its weights are available."""
    if config.lpips == "off":
        return None
    try:
        return load_lpips()
    except (UnavailableError, InputError) as error:
        if config.lpips == "on":
            raise
        notices.append(info("no-lpips", f"LPIPS left out: {error.problem}"))
        return None


def find_lite0() -> Lite0 | None:
    """Load the network of the lite0 distance; None if its package, an extra, is not installed."""
    try:
        return load_lite0()
    except UnavailableError:
        return None


def open_studio(capture: str, size: int, times: int, seed: int) -> Studio:
    """Open the source of a capture's views, at ``times`` timestamps if it is a moving mesh.

    Raises:
        InputError: no such capture, or a video, whose camera and other views are unknown.
    """
    file, _, clip = capture.rpartition("@")
    if not file.lower().endswith(MODELS):  # an @ in the name of a folder
        file, clip = capture, ""
    path = Path(file)
    if path.suffix.lower() in MODELS:
        mesh = GltfModel(path, int(clip) if clip.isdigit() else clip or 0)
        return MeshStudio(mesh, f"{path.stem}@{clip}" if clip else path.stem, size, times, seed=seed)
    if capture.startswith(PROCEDURAL):
        return MeshStudio(open_mesh(capture, None, seed), capture, size, times, seed=seed)
    if is_video(path):
        raise InputError(f"{capture}: a video has one viewpoint of unknown pose; an evaluation needs a posed capture or a .glb")
    inputs, held_out = load_splits(path, size)
    return CaptureStudio(path.name, inputs, held_out, seed)


@cache
def commit() -> str:
    """Return the commit of the running source, with ``-dirty`` if modified; empty outside a checkout of chronosplat."""
    return commit_of(Path(chronosplat.__file__))


def commit_of(file: Path) -> str:
    """Return the commit of the repository that tracks a file; empty if none does, as for an installed package."""

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
    """Convert a row for JSON; NaN becomes null."""
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in asdict(row).items()}
