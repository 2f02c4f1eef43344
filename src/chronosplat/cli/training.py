"""Verbs for those who train: data and the loop."""

from __future__ import annotations

import signal

from rich.progress import Progress, TextColumn

from chronosplat.cli.common import Common, Input, Output, Shared, console, give, say


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
