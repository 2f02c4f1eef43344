"""A training curve as SVG: training PSNR against steps, smoothed, from a run's log.

python benchmarks/curve.py runs/state/mini/log.jsonl -o docs/images/training.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 720, 300, 46
FIELDS = {"psnr": "training PSNR (dB)", "surface": "distance to the surface"}
COLORS = {"psnr": "#1f6feb", "surface": "#d1570b"}
WINDOW = 5  # log rows in the running mean


def smooth(values: list[float]) -> list[float]:
    """A running mean over the last WINDOW rows."""
    return [sum(values[max(0, i - WINDOW + 1) : i + 1]) / len(values[max(0, i - WINDOW + 1) : i + 1]) for i in range(len(values))]


def polyline(steps: list[float], values: list[float], color: str) -> str:
    """One curve, scaled to its own range, with its extremes written at the ends."""
    low, high = min(values), max(values)
    x = [MARGIN + (WIDTH - 2 * MARGIN) * s / max(steps) for s in steps]
    y = [HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (v - low) / max(high - low, 1e-9) for v in values]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    label = f'<text x="{x[-1] + 4:.0f}" y="{y[-1]:.0f}" fill="{color}">{values[-1]:.3g}</text>'
    return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>{label}'


def main() -> None:
    """Write the SVG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    lines = [json.loads(line) for line in arguments.log.read_text().splitlines()]
    latest = {line["step"]: line for line in lines}  # a run that was resumed has some steps twice
    rows = [latest[step] for step in sorted(latest)]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">']
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for index, (name, title) in enumerate(FIELDS.items()):
        chosen = [r for r in rows if name in r]
        steps, values = [r["step"] for r in chosen], smooth([r[name] for r in chosen])
        parts.append(polyline(steps, values, COLORS[name]))
        extent = f"{min(values):.3g} to {max(values):.3g}"
        parts.append(f'<text x="{MARGIN}" y="{16 + 14 * index}" fill="{COLORS[name]}">{title}, {extent}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}">step (to {rows[-1]["step"]:.0f})</text></svg>')
    arguments.output.write_text("".join(parts))


if __name__ == "__main__":
    main()
