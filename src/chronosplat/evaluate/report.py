"""The report: one self-contained HTML page with tables, plots and images."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from chronosplat.evaluate.benchmark import COUNTS_SETUP, ReportImages, Results, Row
from chronosplat.evaluate.methods import BASELINES
from chronosplat.evaluate.plots import bar_plot, line_plot
from chronosplat.files import atomic_file

ERROR_GAIN = 3.0  # of the error images


@dataclass(frozen=True)
class Column:
    """A column of the tables.

    Attributes:
        about: tooltip. get: its value in a row. form: its format.
        badness: orders values, the best first; None if no value is best.
    """

    about: str
    get: Callable[[Row], float]
    form: str = "{:.2f}"
    badness: Callable[[float], float] | None = lambda v: -v


def least(value: float) -> float:
    """Order values for which lower is better."""
    return value


COLUMNS = {
    "PSNR": Column("dB, all targets", lambda r: r.psnr),
    "canonical": Column("PSNR of the canonical views", lambda r: r.psnr_canonical),
    "random": Column("PSNR of the random views", lambda r: r.psnr_random),
    "foreground": Column("PSNR of the object alone", lambda r: r.psnr_foreground),
    "SSIM": Column("structural similarity", lambda r: r.ssim, "{:.4f}"),
    "LPIPS": Column("lower is better", lambda r: r.lpips, "{:.4f}", least),
    "lite0": Column("distance of EfficientNet-Lite0 features, lower is better", lambda r: r.lite0, "{:.4f}", least),
    "sharpness": Column(
        "gradients inside the silhouette against the target's, 1 is best", lambda r: r.sharpness, "{:.3f}", lambda v: abs(v - 1)
    ),
    "silhouette": Column("overlap of the silhouettes, 1 is best", lambda r: r.silhouette_iou, "{:.3f}"),
    "flicker": Column("wrong change between frames, lower is better", lambda r: r.flicker, "{:.4f}", least),
    "track error": Column("distance of tracked surface points, object size 1, lower is better", lambda r: r.track_error, "{:.4f}", least),
    "seconds": Column("wall time from images to scene", lambda r: r.seconds, "{:.1f}", None),
}
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1180px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;margin:.6em 0 1.6em}th,td{padding:.2em .8em;text-align:right;border-bottom:1px solid #e4e4e4}
th:first-child,td:first-child{text-align:left}.plots{display:flex;flex-wrap:wrap;gap:1em}.best{font-weight:700}
figure{margin:0 0 1.4em}img{image-rendering:pixelated;max-width:100%}
details{margin:.4em 0}summary{cursor:pointer}
.strip{display:grid;grid-template-columns:9em 1fr 1fr;gap:2px 10px;align-items:center;font-size:13px}
"""


def write_report(results: Results, path: str | Path) -> None:
    """Write the page, by atomic rename."""
    config = results.config
    setups = list(dict.fromkeys(row.setup for row in results.rows))
    first, sizes = results.rows[0], dict.fromkeys(f"{row.width}x{row.height}" for row in results.rows)
    about = (
        f"model {config.model}, {len(config.captures)} captures, images of {', '.join(sizes)}, seed {config.seed}, "
        f"{first.device} with {first.threads} threads, version {first.version} {first.commit}"
    )
    parts = [f"<h1>chronosplat evaluation</h1><p>{escape(about)}</p>", *(f"<p>{escape(note)}</p>" for note in map(str, results.notices))]
    named = [s for s in setups if _count_of(s) is None]
    parts.append("<h2>Means over captures</h2>")
    for setup in named:
        parts.append(f"<h3>{escape(setup)}</h3>" + table(_of(results.rows, setup)))
    parts.append('<h2>Quality against time</h2><div class="plots">' + "".join(time_plot(results.rows, s) for s in named) + "</div>")
    if len(named) < len(setups):
        parts.append(f'<h2>Quality against the number of views</h2><div class="plots">{views_plot(results.rows)}</div>')
    parts.append('<h2>Clip by clip</h2><div class="plots">' + "".join(clip_plot(results.rows, s) for s in named) + "</div>")
    parts.append("<h2>Images</h2>" + "".join(image_strip(some, results.rows) for some in results.images if some.setup in named))
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>chronosplat evaluation</title><style>{STYLE}</style>'
    with atomic_file(Path(path)) as fresh:
        fresh.write_text(page + "".join(parts) + "</html>\n", encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """Format the means over captures by method; the best of each quality column is bold."""
    methods = list(dict.fromkeys(row.method for row in rows))
    means = {m: {c: _mean([column.get(r) for r in rows if r.method == m]) for c, column in COLUMNS.items()} for m in methods}
    columns = [c for c in COLUMNS if any(math.isfinite(means[m][c]) for m in methods)]
    head = "".join(f'<th title="{COLUMNS[c].about}">{c}</th>' for c in columns)
    body = []
    for method in methods:
        cells = []
        for c in columns:
            value, column = means[method][c], COLUMNS[c]
            known = [means[m][c] for m in methods if math.isfinite(means[m][c])]
            mark = ' class="best"' if column.badness is not None and value == min(known, key=column.badness) else ""
            cells.append(f"<td{mark}>{column.form.format(value) if math.isfinite(value) else ''}</td>")
        body.append(f"<tr><td>{escape(method)}</td>{''.join(cells)}</tr>")
    return f"<table><tr><th>method</th>{head}</tr>{''.join(body)}</table>"


def markdown(rows: Sequence[Row]) -> str:
    """Format the mean PSNR over captures (of the canonical views) as a Markdown table of set-ups and methods."""
    methods = list(dict.fromkeys(row.method for row in rows))
    setups = list(dict.fromkeys(row.setup for row in rows))
    lines = ["| set-up | " + " | ".join(methods) + " |", "|---|" + "---|" * len(methods)]
    for setup in setups:
        cells = []
        for method in methods:
            some = [r for r in _of(rows, setup) if r.method == method]
            canonical = _mean([r.psnr_canonical for r in some])
            beside = f" ({canonical:.2f})" if math.isfinite(canonical) else ""
            cells.append(f"{_mean([r.psnr for r in some]):.2f}{beside}" if some else "")
        lines.append(f"| {setup} | " + " | ".join(cells) + " |")
    means = [_mean([r.seconds for r in rows if r.method == m and _count_of(r.setup) is None]) for m in methods]
    seconds = [f"{mean:.1f} s" if math.isfinite(mean) else "" for mean in means]
    return "\n".join([*lines, "| *wall time* | " + " | ".join(seconds) + " |"])


def time_plot(rows: Sequence[Row], setup: str) -> str:
    """Plot the mean PSNR of each method over its mean wall time."""
    some = [r for r in _of(rows, setup) if r.method not in BASELINES]
    methods = list(dict.fromkeys(r.method for r in some))
    points = {m: [(_mean([r.seconds for r in some if r.method == m]), _mean([r.psnr for r in some if r.method == m]))] for m in methods}
    return line_plot(setup, "seconds", "PSNR (dB)", points, log_x=True, joined=False)


def views_plot(rows: Sequence[Row]) -> str:
    """Plot the mean PSNR over the number of random input views."""
    series: dict[str, list[tuple[float, float]]] = {}
    counted = [(count, r) for r in rows if (count := _count_of(r.setup)) is not None]
    for method in dict.fromkeys(r.method for _, r in counted):
        counts = sorted({c for c, r in counted if r.method == method})
        series[method] = [(c, _mean([r.psnr for k, r in counted if k == c and r.method == method])) for c in counts]
    return line_plot("random input views", "views", "PSNR (dB)", series, log_x=True)


def clip_plot(rows: Sequence[Row], setup: str) -> str:
    """Plot the PSNR of each method on each capture."""
    groups: dict[str, dict[str, float]] = {}
    for row in _of(rows, setup):
        groups.setdefault(row.capture, {})[row.method] = row.psnr
    return bar_plot(setup, "PSNR (dB)", groups)


def image_strip(images: ReportImages, rows: Sequence[Row]) -> str:
    """Format inputs, targets, and each method's renderings and errors, collapsed."""
    psnr = {r.method: r.psnr for r in rows if r.capture == images.capture and r.setup == images.setup}
    lines = [
        f"<span>inputs</span>{_image(images.inputs)}<span></span>",
        f"<span>targets</span>{_image(images.targets)}<span>error, 3x</span>",
    ]
    for method, rendered in images.rendered.items():
        error = ((rendered - images.targets).abs() * ERROR_GAIN).clamp(0, 1)
        lines.append(f"<span>{escape(method)}<br>{psnr[method]:.2f} dB</span>{_image(rendered)}{_image(error)}")
    title = f"{escape(images.capture)}, {escape(images.setup)}"
    return f'<details><summary>{title}</summary><figure class="strip">{"".join(lines)}</figure></details>'


def _image(stack: Tensor) -> str:
    pixels = (torch.cat(list(stack), 1).clamp(0, 1).numpy() * 255 + 0.5).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=88)
    return f'<img alt="" src="data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _of(rows: Sequence[Row], setup: str) -> list[Row]:
    return [row for row in rows if row.setup == setup]


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if math.isfinite(v)]
    return sum(known) / len(known) if known else math.nan


def _count_of(setup: str) -> int | None:
    found = re.fullmatch(COUNTS_SETUP.format(r"(\d+)"), setup)
    return int(found.group(1)) if found else None
