"""The command line: one typed function per verb; bad input ends with one line on stderr and exit code 2."""

from __future__ import annotations

import errno
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, track

import chronosplat
from chronosplat.shapes import InputError, UnavailableError

Input = Annotated[str, tyro.conf.Positional]
Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Common:
    """Options that every verb has."""

    json: bool = False
    """Print one JSON object on stdout for programs to read."""
    device: str = "auto"
    """auto, cpu or cuda; auto takes CUDA where it is."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 0
    """CPU threads; 0 leaves PyTorch's choice."""

    def prepare(self) -> str:
        """Set threads and seed, and return the device.

        Raises:
            InputError: an unknown device, or CUDA where there is none.
        """
        if self.threads > 0:
            torch.set_num_threads(self.threads)
        torch.manual_seed(self.seed)
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if self.device.split(":")[0] not in ("cpu", "cuda"):
            raise InputError(f"device: expected auto, cpu or cuda; got {self.device!r}")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError("device cuda: this PyTorch sees no CUDA device; use --device cpu")
        return self.device


Shared = Annotated[Common, tyro.conf.arg(name="")]


def say(line: str) -> None:
    """One line for the person watching."""
    if line.startswith("warning: "):
        console.print(f"[yellow]warning:[/yellow] {line.removeprefix('warning: ')}", soft_wrap=True)
    else:
        console.print(line, soft_wrap=True)


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner and a clock while something of unknown length goes on."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(what)
        yield


def give(common: Common, result: dict[str, Any]) -> None:
    """The result for programs, if asked."""
    if common.json:
        print(json.dumps(result))


def reconstruct(
    input: Input,
    /,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    model: str = "4d-lrm-mini",
    weights: str = "",
    split: str = "train",
    size: int | None = None,
    max_frames: int | None = None,
    ply: bool = False,
    ply_frames: int = 24,
    common: Shared = Common(),
) -> None:
    """Turn a capture into a 4D Gaussian scene.

    INPUT is a folder with transforms JSON, such a file, or a video. Examples:
      chronosplat reconstruct fox/ -o outputs/fox --ply
      chronosplat reconstruct cat.mp4

    Args:
        input: folder, transforms .json, or video file.
        output: folder for the results; outputs/NAME by default.
        model: a preset's name; see chronosplat info.
        weights: a safetensors file instead of the preset's weights.
        split: which frames of a capture with splits.
        size: resize the longer side to so many pixels; by default larger pictures are reduced to 128.
        max_frames: at most so many pictures, evenly chosen; 48 by default (24 of a video).
        ply: also write a PLY sequence.
        ply_frames: files of the PLY sequence.
    """
    from chronosplat.pipeline import ReconstructConfig, reconstruct_capture

    device = common.prepare()
    target = output or Path("outputs") / (Path(input).stem or Path(input).resolve().name)
    config = ReconstructConfig(
        input, model, weights, split, size, max_frames, device=device, seed=common.seed, ply=ply, ply_frames=ply_frames
    )
    with working(f"reconstructing {input}"):
        report = reconstruct_capture(config, target, say)
    give(common, asdict(report) | {"output": str(target)})


def render(
    scene: Input,
    /,
    output: Output,
    frames: int = 72,
    size: int = 256,
    loops: int = 2,
    fps: float = 24.0,
    common: Shared = Common(),
) -> None:
    """Render a scene as a turntable in space while time runs.

    Example:
      chronosplat render outputs/fox/scene.safetensors -o fox.mp4 --size 512

    Args:
        scene: a scene.safetensors file.
        output: an .mp4 or .webm file.
        frames: pictures in all.
        size: pixels.
        loops: how often time runs to and fro.
        fps: pictures a second.
    """
    from chronosplat.export import turntable_pictures, write_video
    from chronosplat.gaussians.scene_file import read_notes

    device = common.prepare()
    loaded = chronosplat.load_scene(scene)
    input_size = int(read_notes(scene).get("input_size", size))
    if output.suffix not in (".mp4", ".webm"):
        raise InputError(f"{output}: expected .mp4 or .webm")
    pictures = turntable_pictures(loaded, frames, size, loops, input_size, device)
    write_video(track(pictures, "encoding", console=console, transient=True), output, fps)
    say(f"{frames} frames in {output}")
    give(common, {"output": str(output), "frames": frames})


def export(
    scene: Input,
    /,
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])],
    up: str = "capture",
    frames: int = 24,
    common: Shared = Common(),
) -> None:
    """Write a scene in another format, chosen by the suffix of the output.

    .ply is one file (a moving cloud becomes a 4D PLY), NAME/ a PLY sequence, .mp4 and .webm a turntable. Examples:
      chronosplat export outputs/fox/scene.safetensors -o fox/ --up y-down
      chronosplat export outputs/fox/scene.safetensors -o fox.ply

    Args:
        scene: a scene.safetensors file.
        output: where to; its suffix names the format.
        up: capture keeps the capture's world; y, z or y-down turn the scene upright there (splat viewers: y-down).
        frames: files of a PLY sequence, or frames of a video.
    """
    common.prepare()
    path = chronosplat.export(chronosplat.load_scene(scene), output, up, frames)
    say(f"written {path}")
    give(common, {"output": str(path)})


def data_render(
    model: Input,
    /,
    output: Output,
    clip: str = "",
    size: int = 256,
    frames: int = 24,
    random: int = 32,
    samples: int = 3,
    start: float = 0.0,
    duration: float | None = None,
    common: Shared = Common(),
) -> None:
    """Render an animated glTF model, or a procedural object, as a capture in the D-NeRF form.

    16 fixed views on a ring and random ones (radius 1.5, fovy 49.1 degrees), each at all times, split into
    train (fixed) and test (random). Examples:
      chronosplat data render model.glb -o fox/ --clip Run
      chronosplat data render procedural:creature -o creature/ --seed 7

    Args:
        model: a .glb or .gltf file, or procedural:FAMILY.
        output: the capture's folder.
        clip: name of the animation; the first by default.
        size: pixels.
        frames: moments, evenly over the animation.
        random: random views beside the 16 fixed ones.
        samples: samples x samples per pixel.
        start: first moment in seconds.
        duration: seconds to show; to the end of the animation by default.
    """
    from chronosplat.data.render import CaptureRig, render_capture

    common.prepare()
    rig = CaptureRig(size=size, frames=frames, random=random, samples=samples, start=start, duration=duration, seed=common.seed)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("rendering", total=rig.frames)
        count = render_capture(model, clip or None, rig, output, lambda: progress.advance(task))
    say(f"{count} pictures in {output}")
    give(common, {"output": str(output), "pictures": count})


def train(
    output: Output,
    assets: str = "",
    exclude: tuple[str, ...] = (),
    preset: str = "4d-lrm-mini",
    init: str = "",
    steps: int = 6000,
    lr: float = 5e-4,
    stop_at: int | None = None,
    clips_start: int = 100,
    clips_per_step: float = 0.1,
    workers: int = 1,
    procedural: float = 0.4,
    common: Shared = Common(),
) -> None:
    """Train a 4D-LRM on procedural objects and any folder of .glb files; run again to resume.

    Example:
      chronosplat train -o runs/state/mini --assets my_models/ --steps 20000

    Args:
        output: the run's folder: state, weights (EMA), log.jsonl, samples.
        assets: folder of .glb files; procedural objects only if empty.
        exclude: stems of files never to train on (the validation split).
        preset: the model to train.
        init: weights file to start from.
        steps: length of the run.
        lr: peak learning rate.
        stop_at: stop (and save) after this step.
        clips_start: clips in the bank at the start.
        clips_per_step: clips that join with every step.
        workers: processes that make data.
        procedural: share of procedural clips.
    """
    from chronosplat.data.bank import BankRecipe
    from chronosplat.train.config import TrainConfig
    from chronosplat.train.loop import Trainer

    device = common.prepare()
    bank = BankRecipe(assets=assets, exclude=tuple(exclude), procedural=procedural, seed=common.seed)
    config = TrainConfig(
        preset=preset, init=init, steps=steps, lr=lr, clips_start=clips_start, clips_per_step=clips_per_step,
        bank=bank, workers=workers, device=device, seed=common.seed,
    )  # fmt: skip
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a killed run saves its state, too
    trainer = Trainer(config, output)
    last: dict[str, float] = {}
    with Progress(*Progress.get_default_columns(), TextColumn("{task.fields[psnr]}"), console=console) as progress:
        task = progress.add_task("training", total=stop_at or steps, completed=trainer.step, psnr="")
        for last in trainer.run(stop_at):
            progress.update(task, completed=last["step"], psnr=f"{last['psnr']:.2f} dB")
    give(common, {"output": str(output), "step": trainer.step, **last})


def demo(output: Output = Path("outputs/demo"), model: str = "4d-lrm-mini", common: Shared = Common(seed=11)) -> None:
    """Make a moving creature, reconstruct it from 24 pictures, and compare with pictures held back.

    Needs no file and no network.

    Args:
        output: folder for the capture, the reconstruction, and comparison.png.
        model: a preset's name.
    """
    from chronosplat.demo import run_demo

    with working("making and reconstructing a capture"):
        result = run_demo(output, model, common.prepare(), common.seed, say=say)
    say(f"look at {output / 'comparison.png'} and {output / 'reconstruction' / 'preview.mp4'}")
    give(common, asdict(result))


def info(file: Annotated[str, tyro.conf.Positional] = "", common: Shared = Common()) -> None:
    """Say what is here: version, renderers, models; or what is in a scene, weights or capture file.

    Args:
        file: a scene.safetensors, a weights file, or a capture; nothing for the installation.
    """
    from chronosplat.info import describe_file, describe_installation

    common.prepare()
    facts = describe_file(file) if file else describe_installation()
    if common.json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        console.print(f"[bold]{name}[/bold]: {value}")


VERBS: dict[str, Callable[..., None]] = {
    "reconstruct": reconstruct,
    "render": render,
    "export": export,
    "train": train,
    "demo": demo,
    "info": info,
}
ABOUT = "Videos to 4D Gaussian splats in one feed-forward pass. Besides the verbs below: chronosplat data render."
DATA_VERBS: dict[str, Callable[..., None]] = {"render": data_render}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, or 2 for bad input, with one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(
        level="INFO", format="%(message)s", handlers=[RichHandler(console=console, show_time=False, show_path=False)], force=True
    )
    logging.getLogger("httpx").setLevel("WARNING")
    table, prog = VERBS, "chronosplat"
    if arguments[:1] == ["data"]:
        table, prog, arguments = DATA_VERBS, "chronosplat data", arguments[1:]
        if len(table) == 1 and arguments[:1] == ["render"]:  # a single verb takes no name in tyro
            prog, arguments = "chronosplat data render", arguments[1:]
    try:
        if len(table) == 1:
            tyro.cli(next(iter(table.values())), prog=prog, args=arguments)
        else:
            tyro.extras.subcommand_cli_from_dict(table, prog=prog, args=arguments, description=ABOUT)
    except (InputError, UnavailableError) as error:
        return fail(str(error))
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            return fail(f"the disk is full ({error.filename or error}); free some space, nothing half-written was left")
        return fail(str(error))
    except KeyboardInterrupt:
        return fail("interrupted")
    return 0


def fail(message: str) -> int:
    """One line on stderr, exit code 2."""
    print(f"chronosplat: {' '.join(message.split())}", file=sys.stderr)
    return 2


def entry() -> None:
    """The console script."""
    sys.exit(main())


__all__ = ["entry", "main"]
