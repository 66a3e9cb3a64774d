"""The table of what servers do in each check, in Markdown, and back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from ftpdata.testing import Outcome
from tests.interop import table
from tests.interop.table import BadTable, Markers, rows_of

__all__ = ["MARKERS", "CheckedServer", "compare_servers", "format_servers", "merge"]

MARKERS = Markers("servers", "servers.md")

MARKS = {
    Outcome.PASS: "✓",
    Outcome.WARNING: "!",
    Outcome.FAIL: "✗",
    Outcome.NOT_OFFERED: "–",
}
WORST_FIRST = (Outcome.FAIL, Outcome.WARNING, Outcome.PASS, Outcome.NOT_OFFERED)

_LEGEND = """\
✓ as it should be; ! not wrong, but not as it should be; ✗ wrong; – not offered: the server has
nothing of the kind, or the check needs TLS, which only the reference server is checked with (its
column is the worst of what it does in clear, with explicit and with implicit TLS).
"""


@attrs.frozen
class CheckedServer:
    """The column of a server.

    Attributes:
        name: Its name.
        version: Its version, which is shown but not compared.
        outcomes: How each check has ended, by its name.
    """

    name: str
    version: str
    outcomes: Mapping[str, Outcome]


def merge(runs: Iterable[Mapping[str, Outcome]]) -> dict[str, Outcome]:
    """Return the worst outcome of each check in several runs; what is not offered counts last."""

    return table.worst_of(runs, WORST_FIRST)


def format_servers(sources: Mapping[str, str], servers: Sequence[CheckedServer]) -> str:
    """Return the table and its legend.

    Args:
        sources: The source of each check, by its name.
        servers: The columns.
    """

    rows = [
        ["check", "source", *(f"{server.name} {server.version}" for server in servers)],
        ["---"] * (2 + len(servers)),
    ]
    rows += [
        [name, source, *(MARKS[server.outcomes[name]] for server in servers)]
        for name, source in sources.items()
    ]
    counts = [
        " ".join(
            f"{sum(found is outcome for found in server.outcomes.values())} {mark}"
            for outcome, mark in MARKS.items()
        )
        for server in servers
    ]
    rows.append(["**all**", "", *counts])
    return table.text_of(rows, _LEGEND)


def compare_servers(
    text: str, sources: Mapping[str, str], servers: Sequence[CheckedServer]
) -> list[str]:
    """Return where a written table differs in the outcomes of servers, line by line.

    Raises:
        BadTable: There is no table, or it has other checks or other sources.
    """

    header, _, *rows = rows_of(text, MARKERS)
    written = {row[0]: row[1:] for row in rows[:-1]}
    if {name: row[0] for name, row in written.items()} != dict(sources):
        raise BadTable("the table of servers has other checks, or other sources")

    names = [heading.rpartition(" ")[0] for heading in header[2:]]
    differences = []
    for server in servers:
        if server.name not in names:
            raise BadTable(f"the table of servers has no column for {server.name}")
        column = names.index(server.name) + 1
        for name, outcome in server.outcomes.items():
            if written[name][column] != MARKS[outcome]:
                differences.append(
                    f"{server.name}, {name}: {MARKERS.page} has {written[name][column]}, "
                    f"now {MARKS[outcome]}"
                )
    return differences
