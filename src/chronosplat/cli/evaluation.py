"""The verb that measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from chronosplat.cli.common import Common, Shared, give, say, stages
from chronosplat.files import atomic_file
from chronosplat.shapes import InputError


def evaluate(
    captures: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    /,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("outputs/eval"),
    model: str = "4d-lrm-mini",
    weights: str = "",
    setup: tuple[str, ...] = ("alternating", "interpolation", "rotating", "random", "video"),
    methods: tuple[str, ...] = ("white", "nearest", "feed-forward", "fast", "best", "scratch=fast", "scratch=best"),
    views: tuple[int, ...] = (),
    size: int = 128,
    times: int = 24,
    lpips: str = "auto",
    common: Shared = Common(),
) -> None:
    """Measure a model on captures, in 4D-LRM's five input set-ups, beside baselines.

    Writes rows.jsonl, table.md and report.html. A capture is a .glb or .gltf (FILE@ANIMATION chooses one), procedural:FAMILY, or
    a folder with posed pictures that has the cameras a set-up needs. Examples:
      chronosplat eval model.glb@Run procedural:creature -o outputs/eval
      chronosplat eval my_capture/ --setup random --methods feed-forward fast scratch=10
      chronosplat eval model.glb --setup random --methods feed-forward fast --views 1 4 12 24 48

    Args:
        captures: what to measure on.
        output: folder for the results.
        model: a preset's name.
        weights: a safetensors file instead of the preset's weights.
        setup: alternating, interpolation, rotating, random, video.
        methods: white, nearest, feed-forward, fast, best, SECONDS of refinement; scratch=fast, scratch=best, scratch=SECONDS for
            per-scene optimisation from random points, as long as ours takes in all or so many seconds.
        views: also measure feed-forward and fast with so many random input views.
        size: pixels of the longer side.
        times: moments of an animated model.
        lpips: auto, on or off; its weights (0.5 GB) come from the hub.
    """
    from chronosplat.evaluate.benchmark import EvalConfig, Row, as_dict, check
    from chronosplat.evaluate.benchmark import evaluate as run
    from chronosplat.evaluate.report import markdown, write_report

    device = common.prepare()
    config = EvalConfig(captures, model, weights, setup, methods, views, size, times, lpips, common.seed, device)
    check(config)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; give a folder for the results")
    kept = 0

    def keep(row: Row) -> None:
        nonlocal kept
        output.mkdir(parents=True, exist_ok=True)  # not before there is something to keep: bad input leaves all as it was
        with (output / "rows.jsonl").open("a" if kept else "w") as file:
            print(json.dumps(as_dict(row)), file=file)
        kept += 1

    with stages("evaluating") as progressed:
        results = run(config, say, progressed, keep)
    rows = [as_dict(row) for row in results.rows]
    with atomic_file(output / "table.md") as fresh:
        fresh.write_text(markdown(results.rows) + "\n")
    write_report(results, output / "report.html")
    for note in results.notes:
        say(note)
    say(f"report in {output / 'report.html'}")
    give(common, {"output": str(output), "rows": rows, "notes": results.notes})
