"""The pure parts of the benchmarks: the table with its ratios, and the plots."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks.client_role import Case
from tests.benchmarks.client_role import table as client_table
from tests.benchmarks.plot import bars, lines
from tests.benchmarks.report import Figure, Row, format_number, format_table

PEERS = ("slow", "fast")


def row(values: dict[str, tuple[float, ...]], *, is_better_if_more: bool = True) -> Row:
    """Return a row with the figures of its servers."""

    figures = {name: Figure(given) for name, given in values.items()}
    return Row("Work", "units", is_better_if_more, figures)


def test_a_figure_is_the_median_of_its_rounds() -> None:
    """One slow round does not count; without rounds there is no figure."""

    assert Figure((7.0, 1.0, 6.0)).median == 6.0
    assert Figure(()).median is None


def test_processor_time_is_divided_by_what_was_moved() -> None:
    """If nothing was moved, there is no figure."""

    assert Figure((1.0,), (3.0, 2)).cpu_of_each == 1.5
    assert Figure((1.0,), (3.0, 0)).cpu_of_each is None
    assert Figure((1.0,)).cpu_of_each is None


@pytest.mark.parametrize(("is_better_if_more", "expected"), [(True, 2.0), (False, 0.5)])
def test_a_ratio_above_one_is_better(is_better_if_more: bool, expected: float) -> None:
    """This also holds where less is better."""

    made = row({"ours": (10.0,), "limit": (5.0,)}, is_better_if_more=is_better_if_more)
    assert made.ratio("ours", "limit") == expected


def test_without_a_figure_there_is_no_ratio() -> None:
    """A server that is missing, failed, or took no time at all has no ratio."""

    made = row({"ours": (10.0,), "failed": (), "zero": (0.0,)})
    assert made.ratio("ours", "missing") is None
    assert made.ratio("ours", "failed") is None
    assert made.ratio("ours", "zero") is None


def test_the_best_peer_has_the_best_median() -> None:
    """The best is the most, or the least where that is better, of those that have a figure."""

    values: dict[str, tuple[float, ...]] = {"slow": (1.0, 2.0, 9.0), "fast": (3.0,), "failed": ()}
    assert row(values).best(values) == "fast"
    assert row(values, is_better_if_more=False).best(values) == "slow"
    assert row(values).best(("failed", "missing")) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "–"), (0.0, "0.00"), (0.897, "0.90"), (12.34, "12.3"), (1234.5, "1,234")],
)
def test_figures_have_three_digits(value: float | None, expected: str) -> None:
    """More digits would only show noise."""

    assert format_number(value) == expected


def test_the_table_has_a_column_for_each_server_and_two_ratios() -> None:
    """Cells are aligned; a missing figure is a dash."""

    table = format_table(
        [row({"ours": (90.0,), "limit": (100.0,), "slow": (30.0,), "fast": (60.0,)})],
        ("limit", "ours", "slow", "fast", "absent"),
        ours="ours",
        limit="limit",
        peers=PEERS,
    )
    head, rule, cells = table.splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        *("", "limit", "ours", "slow", "fast", "absent", "ours × limit", "ours × best peer"),
    ]
    assert set(rule) <= set("| :-")
    assert [cell.strip() for cell in cells.strip("|").split("|")] == [
        *("Work, units", "100", "90.0", "30.0", "60.0", "–", "0.90", "1.50 (fast)"),
    ]
    assert len({len(line) for line in table.splitlines()}) == 1


def elements(svg: str, name: str) -> list[ET.Element]:
    """Return elements of a plot, which must be well-formed."""

    return ET.fromstring(svg).findall(f"{{http://www.w3.org/2000/svg}}{name}")


def test_bars_are_as_long_as_the_medians() -> None:
    """A server without a figure has no bar; names are escaped."""

    figures = {"ours": Figure((50.0,)), "<them>": Figure((90.0, 100.0, 100.0)), "none": Figure()}
    svg = bars("Work", "units", figures, ours="ours")
    ours, theirs = elements(svg, "rect")[1:]
    assert math.isclose(float(theirs.get("width", 0)), 2 * float(ours.get("width", 0)))
    assert ours.get("fill") != theirs.get("fill")
    assert "<them>" in {element.text for element in elements(svg, "text")}


def test_nothing_to_plot_is_a_plot() -> None:
    """A measure in which every server failed does not fail the run."""

    assert len(elements(bars("Work", "units", {}, ours="ours"), "rect")) == 1
    assert not elements(lines("Work", "units", {}), "polyline")


def test_lines_begin_at_zero() -> None:
    """A flat line looks flat, and half the value has half the height."""

    svg = lines("Work", "units", {"a": ((1, 2), (10.0, 10.0)), "b": ((1, 2), (5.0, 5.0))})
    upper, lower = (
        [float(point.split(",")[1]) for point in (line.get("points") or "").split()]
        for line in elements(svg, "polyline")
    )
    bottom = max(float(text.get("y", 0)) for text in elements(svg, "text") if text.text == "0")
    assert upper[0] == upper[1]
    assert math.isclose(bottom - upper[0], 2 * (bottom - lower[0]))


def test_the_table_of_clients_has_medians_and_ratios() -> None:
    """Small files are counted in microseconds, and large ones in seconds."""

    small, large = Case("1 KiB", True, False), Case("1 GiB", False, True)
    found = {
        small: {"ftplib": [100e-6, 300e-6, 200e-6], "ftpdata": [300e-6]},
        large: {"ftplib": [2.0], "ftpdata": [1.0]},
    }
    head, _, *rows = client_table(found, ["ftplib", "ftpdata"]).splitlines()
    assert head == "| CPU of a transfer | ftplib | ftpdata | ftpdata / ftplib |"
    assert rows == [
        "| 1 KiB download | 200 µs | 300 µs | 1.50 |",
        "| 1 GiB upload TLS | 2.000 s | 1.000 s | 0.50 |",
    ]
