"""SVG plots: lines, and grouped bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 310, 70, 130, 28, 64
MAX_NAME = 20  # letters of a group's name
COLORS = ("#3366cc", "#dc3912", "#109618", "#ff9900", "#990099", "#0099c6", "#888888", "#b82e2e", "#66aa00", "#316395")
Points = Sequence[tuple[float, float]]


def line_plot(title: str, x_label: str, y_label: str, series: Mapping[str, Points], log_x: bool = False, joined: bool = True) -> str:
    """Plot named series of (x, y) as lines with dots, or as dots only."""
    points = [p for s in series.values() for p in s if all(math.isfinite(v) for v in p)]
    if not points:
        return ""
    xs, ys = zip(*points, strict=True)
    scale = (lambda v: math.log10(max(v, 1e-3))) if log_x else (lambda v: v)
    left, right = _range([scale(x) for x in xs])
    low, high = _range(ys)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (scale(x) - left) / (right - left) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = _frame(title, x_label, y_label, low, high)
    for x in _log_ticks(min(xs), max(xs)) if log_x else _ticks(min(xs), max(xs)):
        across = place(x, low)[0]
        parts.append(f'<text x="{across:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{x:g}</text>')
    for index, (name, some) in enumerate(series.items()):
        color = COLORS[index % len(COLORS)]
        placed = [place(x, y) for x, y in sorted(some) if math.isfinite(x) and math.isfinite(y)]
        if joined and len(placed) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"><title>{escape(name)}</title></circle>' for x, y in placed]
        parts.append(_legend(index, name, color))
    return _svg(parts)


def bar_plot(title: str, y_label: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """Plot grouped bars: group -> name -> value."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    values = [v for group in groups.values() for v in group.values() if math.isfinite(v)]
    if not values:
        return ""
    low, high = _range([*values, min(values) - 0.1 * (max(values) - min(values) + 1)])
    parts = _frame(title, "", y_label, low, high)
    slot = (WIDTH - LEFT - RIGHT) / len(groups)
    thick = slot * 0.84 / max(len(names), 1)
    for place, (group, found) in enumerate(groups.items()):
        start = LEFT + place * slot + slot * 0.08
        for index, name in enumerate(names):
            value = found.get(name, math.nan)
            if not math.isfinite(value):
                continue
            height = max(0.0, (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM))
            color = COLORS[index % len(COLORS)]
            x, y = start + index * thick, HEIGHT - BOTTOM - height
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{thick:.1f}" height="{height:.1f}" fill="{color}">')
            parts.append(f"<title>{escape(group)}, {escape(name)}: {value:.2f}</title></rect>")
        middle, y = start + slot * 0.42, HEIGHT - BOTTOM + 11
        short = group if len(group) <= MAX_NAME else group[: MAX_NAME - 2] + ".."
        turn = f'transform="rotate(-24 {middle:.1f} {y})"'
        parts.append(f'<text x="{middle:.1f}" y="{y}" text-anchor="end" font-size="9" {turn}>{escape(short)}</text>')
    parts += [_legend(index, name, COLORS[index % len(COLORS)]) for index, name in enumerate(names)]
    return _svg(parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    slack = 0.06 * (high - low) or 1.0
    return low - slack, high + slack


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9) / count))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= count)
    first = math.ceil(low / step)
    return [round(i * step, 9) for i in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of every decade in the range, or its ends if these are fewer than two."""
    low = max(low, 1e-3)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(max(high, low))) + 1)
    found = [m * 10.0**d for d in decades for m in (1, 2, 5) if low * 0.99 <= m * 10.0**d <= high * 1.01]
    return found if len(found) > 1 else [float(f"{v:.2g}") for v in sorted({low, high})]


def _frame(title: str, x_label: str, y_label: str, low: float, high: float) -> list[str]:
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts = [
        f'<text x="{middle}" y="16" text-anchor="middle" font-weight="bold">{escape(title)}</text>',
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})">{escape(y_label)}</text>',
    ]
    for value in _ticks(low, high):
        y = HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    return parts


def _legend(index: int, name: str, color: str) -> str:
    y = TOP + 8 + 17 * index
    box = f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 9}" width="11" height="11" fill="{color}"/>'
    return f'{box}<text x="{WIDTH - RIGHT + 28}" y="{y}">{escape(name)}</text>'


def _svg(parts: Sequence[str]) -> str:
    style = 'font-family="system-ui, sans-serif" font-size="11" fill="#222"'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" {style}>{"".join(parts)}</svg>'
