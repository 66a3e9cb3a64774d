"""Draws the house: the layers of ftpdata, its rooms, and which room imports which.

The layers come from the table in pyproject.toml, the imports from the sources. A room is a
sub-package, or the modules of one purpose that stand beside the sub-packages. An arrow that follows
from others is left out.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping

import attrs

from tests.docs.svg import Drawing
from tests.test_layers import LAYERS, ORDER, PACKAGE, imported_modules

__all__ = ["Room", "arrows", "draw_house", "rooms"]

ALONE = {
    "_lazy": "Imports names at their first use.",
    "lowlevel": "Tools that make a server fast.",
    "objectstore": "Files in S3 and other stores.",
    "_version": "The number of this version.",
}
"""Modules that are rooms of their own."""

TEXTS = {
    "values": "Errors, results, limits, deadlines.",
    "listing": "Listings: writers and parsers.",
    "codecs": "TYPE, STRU and MODE.",
    "decisions": "The rules of the rooms above.",
    "system": "Descriptors, tasks, the kernel.",
    "observers": "Logs, metrics, traces.",
    "files": "Files and directories.",
    "tls": "How connections are protected.",
    "connection": "The DTP and its streams.",
    "opening": "Passive, pooled and active.",
    "transfers": "Whole files, listings and streams.",
    "testing": "For tests of servers and clients.",
    "program": "python -m ftpdata.",
}
"""What the other rooms are for."""


@attrs.frozen
class Room:
    """A room of the house.

    Attributes:
        name: As the picture shows it.
        layer: Its layer.
        modules: The modules, as the table has them.
    """

    name: str
    layer: str
    modules: tuple[str, ...]

    @property
    def text(self) -> str:
        """What it is for."""

        return (ALONE | TEXTS)[self.name]

    @property
    def page(self) -> str:
        """Its page; empty for a room without one of its own."""

        match self.name:
            case "_lazy" | "_version" | "decisions" | "system" | "program":
                return ""
            case "values":
                return "ftpdata"
            case name:
                return f"ftpdata.{name}"


def rooms() -> list[Room]:
    """Return the rooms, lowest first."""

    inside: dict[tuple[str, str], list[str]] = {}
    for layer, modules in LAYERS.items():
        for module in modules:
            inside.setdefault((layer, _room_of(layer, module)), []).append(module)

    return [Room(name, layer, tuple(modules)) for (layer, name), modules in inside.items()]


def _room_of(layer: str, module: str) -> str:
    package, dot, _ = module.partition(".")
    if dot and layer == "pure" and package in _packages("asyncio"):
        return "decisions"
    if dot or module in ALONE:
        return package
    return {"pure": "values", "support": "program"}.get(layer, "system")


def _packages(layer: str) -> set[str]:
    return {module.partition(".")[0] for module in LAYERS[layer] if "." in module}


@functools.cache
def arrows() -> dict[str, set[str]]:
    """Return which rooms each room imports, without what follows from others."""

    home = {module: room.name for room in rooms() for module in room.modules}
    imports: dict[str, set[str]] = {room.name: set() for room in rooms()}
    for module in ORDER:
        source = PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8")
        for imported in imported_modules(module, source):
            other = home.get(imported.removeprefix("ftpdata."))
            if other is not None and other != home[module]:
                imports[home[module]].add(other)

    return {
        room: {
            other
            for other in others
            if not any(other in _below(imports, third) for third in others - {other})
        }
        for room, others in imports.items()
    }


def _below(imports: Mapping[str, set[str]], room: str) -> set[str]:
    """Return what a room imports, directly or not."""

    found: set[str] = set()
    left = [room]
    while left:
        new = imports[left.pop()] - found
        found |= new
        left += new
    return found


# The drawing

WIDTH = 960
BOX = (200, 50)
GAP = 22
PASSAGE = 12
"""Pixels across that an arrow needs where it passes a row."""
ROW = 84
"""Pixels from one row to the next."""
BAND = 30
"""Pixels more between the rows of two layers."""


@attrs.frozen
class _Arrow:
    """An arrow from one room to another: the names of its places in the rows between them."""

    start: str
    end: str
    passages: tuple[tuple[int, str], ...]

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Its parts, each from one row to the next."""

        return [
            *itertools.pairwise([self.start, *(name for _, name in self.passages), self.end])
        ]


def draw_house(*, has_links: bool = False) -> str:
    """Return the picture, as SVG."""

    house = rooms()
    levels = _levels(house)
    lines, across = _layout()
    tops = _tops(house, levels)

    height = max(tops.values()) + BOX[1] + 24
    drawing = Drawing("The layers and rooms of ftpdata", WIDTH, height, has_links=has_links)
    for layer in LAYERS:
        ys = [tops[levels[room.name]] for room in house if room.layer == layer]
        drawing.area(layer, 0, min(ys) - 20, WIDTH, max(ys) - min(ys) + BOX[1] + 40)
        drawing.text(14, min(ys), layer, kind="name")
    for line in lines:
        drawing.arrow([
            (across[line.start], tops[levels[line.start]] + BOX[1]),
            *(
                (across[name], tops[level] + y)
                for level, name in line.passages
                for y in (0, BOX[1])
            ),
            (across[line.end], tops[levels[line.end]]),
        ])
    for room in house:
        x, y = across[room.name], tops[levels[room.name]]
        drawing.begin_link(room.page)
        drawing.box(x - BOX[0] / 2, y, *BOX, note=", ".join(room.modules))
        drawing.text(x, y + 21, room.name, kind="name", anchor="middle")
        drawing.text(x, y + 39, room.text, kind="faint", anchor="middle")
        drawing.end_link(room.page)
    return str(drawing)


@functools.cache
def _layout() -> tuple[list[_Arrow], dict[str, float]]:
    """Return the arrows, and how far from the left each room and passage is.

    It takes a second to find out.
    """

    levels = _levels(rooms())
    lines = [
        _Arrow(
            start,
            end,
            tuple(
                (level, f"{start}>{end}@{level}")
                for level in range(levels[start] - 1, levels[end], -1)
            ),
        )
        for start, others in arrows().items()
        for end in sorted(others)
    ]
    return lines, _places(_ordered(levels, lines), {*levels})


def _levels(house: list[Room]) -> dict[str, int]:
    """Return the row of each room, counted from below: above all that it imports."""

    below, levels = arrows(), dict[str, int]()
    floor = 0
    for layer in LAYERS:
        left = [room.name for room in house if room.layer == layer]
        while left:
            for name in left:
                if below[name] <= levels.keys():
                    levels[name] = max([floor, *(levels[other] + 1 for other in below[name])])
            left = [name for name in left if name not in levels]
        floor = max(levels.values()) + 1

    return levels


def _tops(house: list[Room], levels: Mapping[str, int]) -> dict[int, int]:
    """Return the upper edge of each row."""

    layer_of = {levels[room.name]: room.layer for room in house}
    tops: dict[int, int] = {}
    y = 20
    for level in sorted(layer_of, reverse=True):
        if level + 1 in layer_of and layer_of[level + 1] != layer_of[level]:
            y += BAND
        tops[level] = y
        y += ROW
    return tops


def _ordered(levels: Mapping[str, int], lines: list[_Arrow]) -> list[list[str]]:
    """Return the rows, from below, in an order in which few arrows cross."""

    rows: list[list[str]] = [[] for _ in range(max(levels.values()) + 1)]
    for name, level in levels.items():
        rows[level].append(name)
    for line in lines:
        for level, name in line.passages:
            rows[level].append(name)

    steps = [step for line in lines for step in line.steps]
    for _ in range(2):
        for row in [*rows, *reversed(rows)]:
            orders = itertools.permutations(row)
            row[:] = min(orders, key=lambda order: _cost(rows, [*order], steps))
    return rows


def _cost(
    rows: list[list[str]], order: list[str], steps: list[tuple[str, str]]
) -> tuple[int, float]:
    """Return how many arrows cross if a row has another order, and how far they go aside."""

    place: dict[str, float] = {}
    for row in rows:
        now = order if {*row} == {*order} else row
        place.update((name, number - (len(now) - 1) / 2) for number, name in enumerate(now))
    near = [
        (place[start], place[end]) for start, end in steps if start in order or end in order
    ]
    crossings = sum(
        (one[0] - other[0]) * (one[1] - other[1]) < 0
        for one, other in itertools.combinations(near, 2)
    )
    return crossings, sum(abs(start - end) for start, end in near)


def _places(rows: list[list[str]], names: set[str]) -> dict[str, float]:
    """Return the middle of each room, and of each passage, across the picture."""

    places: dict[str, float] = {}
    for row in rows:
        widths = [BOX[0] if name in names else PASSAGE for name in row]
        x = (WIDTH - sum(widths) - GAP * (len(row) - 1)) / 2
        for name, width in zip(row, widths, strict=True):
            places[name] = x + width / 2
            x += width + GAP
    return places
