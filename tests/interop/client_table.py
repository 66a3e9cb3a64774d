"""The table of what the example client does with each server, in Markdown, and back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from tests.interop import table
from tests.interop.table import BadTable, Markers, rows_of

__all__ = [
    "DONE",
    "FAILED",
    "MARKERS",
    "NOT_OFFERED",
    "TriedServer",
    "compare_trials",
    "format_trials",
    "worst_of",
]

MARKERS = Markers("client", "servers.md")

DONE, FAILED, NOT_OFFERED = "✓", "✗", "–"
_WORST_FIRST = (FAILED, DONE, NOT_OFFERED)

_LEGEND = """\
✓ done in clear and, where the second row has more, in each of these; – the server has nothing of
the kind, and the client does without; ✗ not done, for a reason that `tests/interop/test_client.py`
tells.
"""


@attrs.frozen
class TriedServer:
    """The column of a server.

    Attributes:
        name: Its name.
        version: Its version, which is shown but not compared.
        protections: How connections were protected.
        marks: What came of each step, by its name.
    """

    name: str
    version: str
    protections: str
    marks: Mapping[str, str]


def worst_of(runs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the worst mark of each step in several runs; what is not offered counts last."""

    return table.worst_of(runs, _WORST_FIRST)


def format_trials(servers: Sequence[TriedServer], steps: Sequence[str]) -> str:
    """Return the table and its legend."""

    rows = [
        ["", *(f"{server.name} {server.version}" for server in servers)],
        ["---"] * (1 + len(servers)),
        ["protection", *(server.protections for server in servers)],
        *([step, *(server.marks[step] for server in servers)] for step in steps),
    ]
    return table.text_of(rows, _LEGEND)


def compare_trials(text: str, servers: Sequence[TriedServer], steps: Sequence[str]) -> list[str]:
    """Return where a written table differs from what servers did now, line by line.

    Raises:
        BadTable: There is no table, or it has other steps or servers.
    """

    header, _, _, *rows = rows_of(text, MARKERS)
    written = {row[0]: row[1:] for row in rows}
    if [*written] != [*steps]:
        raise BadTable("the table of the example client has other rows")

    names = [heading.rpartition(" ")[0] for heading in header[1:]]
    differences = []
    for server in servers:
        if server.name not in names:
            raise BadTable(f"the table of the example client has no column for {server.name}")
        for step, mark in server.marks.items():
            there = written[step][names.index(server.name)]
            if there != mark:
                differences.append(
                    f"{server.name}, {step}: {MARKERS.page} has {there}, now {mark}"
                )
    return differences
