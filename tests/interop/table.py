"""The table of what clients do, in Markdown: made from results, and parsed again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import attrs

from tests.interop.clients.base import Client
from tests.interop.ways import Capability, Protection, Way

__all__ = [
    "BEGIN",
    "CLIENTS_TABLE",
    "END",
    "BadTable",
    "Case",
    "Column",
    "Markers",
    "Results",
    "cases_of",
    "compare",
    "format_table",
    "is_complete",
    "parse_table",
    "replace_section",
    "rows_of",
    "text_of",
    "worst_of",
]

T = TypeVar("T")


@attrs.frozen
class Case:
    """A client, what it is to do, and how it is to open and protect the data connection."""

    client: Client
    capability: Capability
    way: Way
    protection: Protection | None = None

    @property
    def resumes(self) -> bool:
        """Whether the client resumes its TLS session, and can be required to."""

        return self.protection is not None and self.client.protections[self.protection]

    def __str__(self) -> str:
        return f"{self.client.name}-{self.capability}-{self.protection or self.way}"


Results = dict[Case, bool]
"""Whether each case worked; a case that was not tried is missing."""

@attrs.frozen
class Markers:
    """The comments around a table.

    Attributes:
        name: Name of the table in them.
        page: The file beside this module that has the table.
    """

    name: str
    page: str

    @property
    def begin(self) -> str:
        """The comment before the table."""

        return f"<!-- {self.name}:begin -->"

    @property
    def end(self) -> str:
        """The comment behind it."""

        return f"<!-- {self.name}:end -->"


CLIENTS_TABLE = Markers("interop", "clients.md")
BEGIN, END = CLIENTS_TABLE.begin, CLIENTS_TABLE.end

WORKS = "✓"
WORKS_IN_A_NEW_SESSION = "✓ anew"
RESUMES = "✓ resumes"
FAILS = "✗"
CANNOT = "–"

_LEGEND = f"""\
{WORKS}: over every way in the client's column, each tested apart. {CANNOT}: the client cannot.
{WORKS_IN_A_NEW_SESSION}: the client itself ends its session with the abort, and goes on in a new
one. Each of the hostile names is exactly one entry. {RESUMES}: with `--require-tls
--require-session-reuse`; the others, that cannot resume there, with `--require-tls` alone.
"""


class BadTable(Exception):
    """The table cannot be written, or does not agree."""


def cases_of(client: Client) -> list[Case]:
    """Return all cases that a client is tested with."""

    able = [capability for capability in Capability if client.can(capability)]
    clear = [
        Case(client, capability, way)
        for capability in able
        for way in Way
        if way in client.ways and not capability.wants_tls
    ]
    return clear + [
        Case(client, capability, client.way_of_tls, protection)
        for capability in able
        for protection in Protection
        if protection in client.protections and capability.wants_tls
        # It takes a while; only in TLS 1.3 do single-use tickets make it hard.
        and (capability is not Capability.TLS_FIFTY or protection is Protection.TLS_1_3)
    ]


def is_complete(client: Client, results: Mapping[Case, bool]) -> bool:
    """Return whether a client has done everything, with any result."""

    return all(case in results for case in cases_of(client))


@attrs.frozen
class Column:
    """What the table says of one client.

    Attributes:
        name: Name of the client.
        version: Version of the client, which is shown but not compared.
        cells: Text for each row, by the row's name.
    """

    name: str
    version: str
    cells: Mapping[str, str]

    @classmethod
    def of(cls, client: Client, version: str, results: Mapping[Case, bool]) -> Column:
        """Return the column of a client from its results."""

        cells = dict.fromkeys((way.command for way in Way), CANNOT)
        for way in sorted(client.ways, key=lambda way: way.family):
            works = all(
                results[case]
                for case in cases_of(client)
                if case.way is way and case.protection is None
            )
            text = f"IPv{way.family}" if works else f"{FAILS} IPv{way.family}"
            before = cells[way.command]
            cells[way.command] = text if before == CANNOT else f"{before}, {text}"

        for protection in Protection:
            cases = [case for case in cases_of(client) if case.protection is protection]
            if not cases:
                cells[protection.value] = CANNOT
            elif not all(results[case] for case in cases):
                cells[protection.value] = FAILS
            else:
                cells[protection.value] = RESUMES if cases[0].resumes else WORKS

        for capability in Capability:
            cases = [case for case in cases_of(client) if case.capability is capability]
            if not cases:
                cells[capability.value] = CANNOT
            elif not all(results[case] for case in cases):
                cells[capability.value] = FAILS
            elif capability is Capability.ABORT and not client.keeps_session:
                cells[capability.value] = WORKS_IN_A_NEW_SESSION
            else:
                cells[capability.value] = WORKS

        return cls(client.name, version, cells)


def format_table(columns: Sequence[Column]) -> str:
    """Return the table and its legend."""

    names = columns[0].cells if columns else ()
    rows = [
        ["over IPv4 and IPv6", *(f"{column.name} {column.version}" for column in columns)],
        ["---", *("---" for _ in columns)],
        *([name, *(column.cells[name] for column in columns)] for name in names),
    ]
    return text_of(rows, _LEGEND)


def text_of(rows: Iterable[Sequence[str]], legend: str) -> str:
    """Return a table of these rows, with its legend."""

    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", legend])


def worst_of(runs: Iterable[Mapping[str, T]], worst_first: Sequence[T]) -> dict[str, T]:
    """Return the worst that each row has in several runs."""

    worst: dict[str, T] = {}
    for run in runs:
        for name, found in run.items():
            worst[name] = min(worst.get(name, found), found, key=worst_first.index)
    return worst


def _section(text: str, markers: Markers) -> tuple[int, int]:
    """Return where the text between the markers begins and ends."""

    begin, end = markers.begin, markers.end
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise BadTable(f"{markers.page} must have {begin} once, and {end} once after it")

    return text.index(begin) + len(begin), text.index(end)


def replace_section(text: str, table: str, markers: Markers = CLIENTS_TABLE) -> str:
    """Return the text with the table between its markers; the rest of it stays as it is.

    Raises:
        BadTable: The markers are not there, or more than once.
    """

    begin, end = _section(text, markers)
    return f"{text[:begin]}\n{table.rstrip()}\n{text[end:]}"


def rows_of(text: str, markers: Markers) -> list[list[str]]:
    """Return the rows of the table between the markers, with its heading and its rule.

    Raises:
        BadTable: There is no such table.
    """

    begin, end = _section(text, markers)
    rows = [
        [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
        for line in text[begin:end].splitlines()
        if line.strip().startswith("|")
    ]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise BadTable(f"there is no table in {markers.page}, or its rows differ in length")
    return rows


def parse_table(text: str) -> dict[str, dict[str, str]]:
    """Return the cells of the table between the markers: by client, then by row.

    Raises:
        BadTable: There is no such table.
    """

    rows = rows_of(text, CLIENTS_TABLE)
    names = [heading.rpartition(" ")[0] for heading in rows[0][1:]]
    return {
        name: {row[0]: row[column] for row in rows[2:]} for column, name in enumerate(names, 1)
    }


def compare(text: str, columns: Sequence[Column]) -> list[str]:
    """Return where a written table differs from columns, line by line, except in versions.

    Columns that only the page has are those of clients that are missing here.

    Raises:
        BadTable: There is no table.
    """

    written, page = parse_table(text), CLIENTS_TABLE.page
    differences = []
    for column in columns:
        cells = written.get(column.name)
        if cells is None:
            differences.append(f"{page} has no column for {column.name}")
            continue

        for row in dict.fromkeys([*column.cells, *cells]):
            ours, theirs = column.cells.get(row, "nothing"), cells.get(row, "nothing")
            if ours != theirs:
                differences.append(f"{column.name}, {row}: {page} has {theirs}, now {ours}")

    return differences
