"""Plots in SVG: bars with the range of the rounds, and lines for what should be flat. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from tests.benchmarks.report import Figure, format_number

__all__ = ["bars", "lines"]

WIDTH = 640
LABELS = 120
"""Width of the column of names."""

FIGURES = 90
"""Width of the column of figures."""

BAR = 22
GAP = 8
TOP = 44
OURS, THEIRS, RANGE = "#2a6fb0", "#b8b8b8", "#444444"
COLOURS = ("#2a6fb0", "#c2571a", "#3a8f4f", "#8456a8", "#a1893a", "#777777", "#c03a5b")


def bars(title: str, unit: str, figures: Mapping[str, Figure], *, ours: str) -> str:
    """Draw the medians of all servers that have one, with the range of their rounds.

    Args:
        title: Of the measure.
        unit: Of the figures.
        figures: By name of the server.
        ours: Names that begin so have a colour of their own.
    """

    shown = {name: figure for name, figure in figures.items() if figure.values}
    most = max((max(figure.values) for figure in shown.values()), default=0.0) or 1.0
    scale = (WIDTH - LABELS - FIGURES) / most
    parts = []
    for index, (name, figure) in enumerate(shown.items()):
        y = TOP + index * (BAR + GAP)
        median = figure.median or 0.0
        low, high = (LABELS + value * scale for value in (min(figure.values), max(figure.values)))
        middle = y + BAR / 2
        size = f'width="{median * scale:.1f}" height="{BAR}"'
        ends = f"M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"
        parts += [
            _text(LABELS - 8, middle + 4, name, "end"),
            f'<rect x="{LABELS}" y="{y}" {size} fill="{_colour(name, ours)}"/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}{ends}" stroke="{RANGE}" fill="none"/>',
            _text(WIDTH - 8, middle + 4, format_number(median), "end"),
        ]

    return _svg(title, unit, parts, TOP + len(shown) * (BAR + GAP))


def lines(
    title: str, unit: str, series: Mapping[str, tuple[Sequence[float], Sequence[float]]]
) -> str:
    """Draw a line for each server, from zero up: what should be flat looks flat.

    Args:
        title: Of the measure.
        unit: Of the figures.
        series: By name of the server, the places along the axis, and the
            figures there.
    """

    height = 260
    right = max((max(x) for x, _ in series.values()), default=1.0)
    most = max((max(y) for _, y in series.values()), default=0.0) or 1.0
    bottom, span = TOP + height, WIDTH - LABELS - 24
    parts = [
        f'<path d="M{LABELS} {TOP}V{bottom}H{WIDTH - 24}" stroke="{RANGE}" fill="none"/>',
        _text(LABELS - 8, TOP + 4, format_number(most), "end"),
        _text(LABELS - 8, bottom, "0", "end"),
        _text(WIDTH - 24, bottom + 18, format_number(right), "end"),
    ]
    for index, (name, (x, y)) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(
            f"{LABELS + span * across / right:.1f},{bottom - height * up / most:.1f}"
            for across, up in zip(x, y, strict=True)
        )
        parts += [
            f'<polyline points="{points}" stroke="{colour}" stroke-width="2" fill="none"/>',
            _text(8, TOP + 40 + index * 20, name, "start", colour),
        ]

    return _svg(title, unit, parts, bottom + 28)


def _colour(name: str, ours: str) -> str:
    return OURS if name.startswith(ours) else THEIRS


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#000000") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _svg(title: str, unit: str, parts: Sequence[str], height: float) -> str:
    box = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="8" y="24" font-size="16">{escape(f"{title}, {unit}")}</text>',
            *parts,
            "</svg>\n",
        )
    )
