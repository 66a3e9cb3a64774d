"""From raw figures to a table: medians, and ratios within one run. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

import attrs

__all__ = ["Figure", "Row", "format_number", "format_table", "row_cells"]


@attrs.frozen
class Figure:
    """The figures of one server in one measure.

    Attributes:
        values: Of the rounds.
        cpu: Seconds of processor time of the server in all rounds, and how
            many bytes, files or entries were moved; None where that says
            nothing.
        problem: Why there are no values.
    """

    values: tuple[float, ...] = ()
    cpu: tuple[float, int] | None = None
    problem: str = ""

    @property
    def median(self) -> float | None:
        """Return the median; None without values."""

        return statistics.median(self.values) if self.values else None

    @property
    def cpu_of_each(self) -> float | None:
        """Return seconds of processor time for one of them; None where that says nothing."""

        return self.cpu[0] / self.cpu[1] if self.cpu is not None and self.cpu[1] else None


@attrs.frozen
class Row:
    """One measure of all servers.

    Attributes:
        title: Of the measure.
        unit: Of its figures.
        is_better_if_more: Whether more is better.
        figures: By name of the server.
    """

    title: str
    unit: str
    is_better_if_more: bool
    figures: Mapping[str, Figure]

    def ratio(self, name: str, other: str) -> float | None:
        """Return how much better one server is than another: above 1 it is better."""

        mine, theirs = self._median(name), self._median(other)
        if not mine or not theirs:
            return None

        return mine / theirs if self.is_better_if_more else theirs / mine

    def best(self, names: Iterable[str]) -> str | None:
        """Return the best of these servers; None if none has a figure."""

        medians = {name: median for name in names if (median := self._median(name)) is not None}
        if not medians:
            return None

        choose = max if self.is_better_if_more else min
        return choose(medians, key=lambda name: medians[name])

    def _median(self, name: str) -> float | None:
        figure = self.figures.get(name)
        return None if figure is None else figure.median


def format_number(value: float | None) -> str:
    """Format a figure with about three significant digits."""

    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def row_cells(
    row: Row, servers: Sequence[str], *, ours: str, limit: str, peers: Sequence[str]
) -> list[str]:
    """Return the cells of one row of the table."""

    cells = [f"{row.title}, {row.unit}"]
    for name in servers:
        figure = row.figures.get(name)
        cells.append(format_number(None if figure is None else figure.median))

    cells.append(format_number(row.ratio(ours, limit)))
    best = row.best(peers)
    ratio = None if best is None else row.ratio(ours, best)
    cells.append("–" if ratio is None else f"{format_number(ratio)} ({best})")
    return cells


def format_table(
    rows: Iterable[Row], servers: Sequence[str], *, ours: str, limit: str, peers: Sequence[str]
) -> str:
    """Format the table in Markdown.

    Args:
        rows: The measures.
        servers: The columns.
        ours: The server whose ratios the last two columns have: above 1 it is
            better, also where less is better.
        limit: What the first ratio is to.
        peers: What the second ratio is to: the best of them, by its name.
    """

    table = [["", *servers, f"{ours} × {limit}", f"{ours} × best peer"]]
    table += [row_cells(row, servers, ours=ours, limit=limit, peers=peers) for row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in table
    ]
    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines) + "\n"
