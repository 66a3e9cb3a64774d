"""The table that a long run prints: what was promised, what was measured, and whether it holds."""

from __future__ import annotations

import sys

import attrs

__all__ = ["Figures", "percentile"]


@attrs.define
class Figures:
    """Collects the figures of one run.

    Attributes:
        title: Of the table.
        broken: What was promised and does not hold.
    """

    title: str
    broken: list[str] = attrs.field(factory=list)
    _rows: list[tuple[str, str, str, str]] = attrs.field(factory=list)

    def note(self, what: str, figure: object) -> None:
        """Add a figure without a promise."""

        self._rows.append((what, _shown(figure), "", ""))

    def equal(self, what: str, figure: object, wanted: object) -> None:
        """Add a figure that must be exactly this."""

        self._add(what, figure, _shown(wanted), figure == wanted)

    def at_most(self, what: str, figure: float, limit: float) -> None:
        """Add a figure that must not be greater."""

        self._add(what, figure, f"≤ {_shown(limit)}", figure <= limit)

    def at_least(self, what: str, figure: float, limit: float) -> None:
        """Add a figure that must not be less."""

        self._add(what, figure, f"≥ {_shown(limit)}", figure >= limit)

    def report(self) -> int:
        """Print the table; return the exit status, 1 if a promise is broken."""

        widths = [max(len(row[column]) for row in self._rows) for column in range(3)]
        lines = [self.title]
        for what, figure, wanted, verdict in self._rows:
            columns = (what.ljust(widths[0]), figure.rjust(widths[1]), wanted.ljust(widths[2]))
            lines.append("  ".join((*columns, verdict)).rstrip())

        sys.stdout.write("\n  ".join(lines) + "\n")
        sys.stdout.flush()
        return 1 if self.broken else 0

    def _add(self, what: str, figure: object, wanted: str, is_kept: bool) -> None:
        self._rows.append((what, _shown(figure), wanted, "kept" if is_kept else "BROKEN"))
        if not is_kept:
            self.broken.append(what)


def _shown(figure: object) -> str:
    if isinstance(figure, float):
        return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"

    return f"{figure:,}" if type(figure) is int else str(figure)


def percentile(values: list[float], percent: float) -> float:
    """Return the value that this percentage of the values does not exceed; 0.0 without values."""

    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
