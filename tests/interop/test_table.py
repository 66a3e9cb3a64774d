"""The table of results is made, parsed again, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest

from ftpdata.testing import Outcome
from tests.interop.clients.base import Client
from tests.interop.names import FORGED, NASTY, ODD, names_of_lines, shown
from tests.interop.served import Site
from tests.interop.server_table import (
    MARKERS,
    CheckedServer,
    compare_servers,
    format_servers,
    merge,
)
from tests.interop.table import (
    BEGIN,
    END,
    BadTable,
    Column,
    cases_of,
    compare,
    format_table,
    is_complete,
    parse_table,
    replace_section,
)
from tests.interop.ways import Capability, Protection, Step, Way


class _Pigeon(Client):
    """A client that only downloads, and begins a new session after an abort."""

    name = "pigeon post"
    ways = frozenset({Way.PASV_4, Way.EPSV_6, Way.EPSV_4})
    cannot: ClassVar = {Capability.PUT: "it flies home only"}
    rare = frozenset({Capability.LOCAL})
    keeps_session = False

    def _find_version(self) -> str:
        return "1.2"

    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        raise NotImplementedError


PIGEON = _Pigeon()
PERFECT = dict.fromkeys(cases_of(PIGEON), True)


def _page(*columns: Column) -> str:
    return replace_section(f"before\n{BEGIN}\n{END}\nbehind\n", format_table(columns))


def test_column_tells_ways_and_capabilities_apart() -> None:
    """A column says what works, what the client cannot do, and what takes it a new session."""

    cells = Column.of(PIGEON, "1.2", PERFECT).cells
    assert cells["PASV"] == "IPv4"
    assert cells["EPSV"] == "IPv4, IPv6"
    assert cells["PORT"] == cells["EPRT"] == "–"
    assert cells["get"] == "✓"
    assert cells["put"] == "–"
    assert cells[Capability.LOCAL.value] == "✓"
    assert cells[Capability.DEFLATE.value] == "–"
    assert cells[Capability.ABORT.value] == "✓ anew"


class _Owl(_Pigeon):
    """A client with two versions of TLS, which resumes a session in one of them."""

    name = "owl post"
    protections: ClassVar = {Protection.TLS_1_2: True, Protection.TLS_1_3: False}


def test_a_column_says_who_resumes() -> None:
    """The column says where a client resumes; the server requires it there."""

    owl = _Owl()
    results = dict.fromkeys(cases_of(owl), True)
    cells = Column.of(owl, "1", results).cells
    assert cells["TLS 1.2"] == "✓ resumes"
    assert cells["TLS 1.3"] == cells[Capability.TLS_EMPTY_GET.value] == "✓"
    assert cells["implicit TLS"] == "–"
    failing = next(case for case in results if case.protection is Protection.TLS_1_2)
    assert failing.resumes
    cells = Column.of(owl, "1", results | {failing: False}).cells
    assert cells["TLS 1.2"] == "✗"
    assert cells["PASV"] == "IPv4"
    assert Column.of(PIGEON, "1", PERFECT).cells["TLS 1.2"] == "–"
    assert not any(case.protection for case in cases_of(PIGEON))


def test_one_failure_shows_twice() -> None:
    """What fails over one way does not count as a capability, and the way is marked, too."""

    case = next(c for c in PERFECT if c.way is Way.EPSV_6 and c.capability is Capability.GET)
    cells = Column.of(PIGEON, "1.2", PERFECT | {case: False}).cells
    assert cells["get"] == "✗"
    assert cells["resumed get"] == "✓"
    assert cells["EPSV"] == "IPv4, ✗ IPv6"


def test_a_missing_result_is_not_complete() -> None:
    """A client must have done everything that it can, with any result."""

    case = next(iter(PERFECT))
    assert is_complete(PIGEON, PERFECT)
    assert is_complete(PIGEON, PERFECT | {case: False})
    assert not is_complete(PIGEON, {key: True for key in PERFECT if key != case})


def test_a_written_table_agrees_whatever_the_version() -> None:
    """A table that was written is parsed again; another version makes no difference."""

    text = _page(Column.of(PIGEON, "1.2", PERFECT))
    assert text.startswith("before\n")
    assert text.endswith("\nbehind\n")
    assert parse_table(text)["pigeon post"]["PASV"] == "IPv4"
    assert compare(text, [Column.of(PIGEON, "1.3", PERFECT)]) == []


def test_replacing_twice_is_replacing_once() -> None:
    """The section is replaced, and does not grow."""

    column = Column.of(PIGEON, "1.2", PERFECT)
    once = _page(column)
    assert replace_section(once, format_table([column])) == once


def test_differences_are_named() -> None:
    """Another cell, a missing row or a missing column is a difference; a spare column is not."""

    column = Column.of(PIGEON, "1.2", PERFECT)
    text = _page(column)
    assert compare(text.replace("| get | ✓ |", "| get | ✗ |"), [column]) == [
        "pigeon post, get: clients.md has ✗, now ✓"
    ]
    assert compare(text.replace("| get | ✓ |\n", ""), [column]) == [
        "pigeon post, get: clients.md has nothing, now ✓"
    ]
    assert compare(text.replace("pigeon post", "owl post"), [column]) == [
        "clients.md has no column for pigeon post"
    ]
    assert compare(text, []) == []


@pytest.mark.parametrize(
    "text",
    [
        "no markers",
        BEGIN,
        f"{END}\n{BEGIN}",
        f"{BEGIN}\n{BEGIN}\n{END}",
        f"{BEGIN}\n{END}\n{END}",
    ],
)
def test_markers_must_be_there_once(text: str) -> None:
    """A page without its markers is not changed."""

    with pytest.raises(BadTable):
        replace_section(text, "table")


@pytest.mark.parametrize("table", ["", "words", "| a | b 1 |\n| --- | --- |\n| c |"])
def test_a_section_without_a_table_is_an_error(table: str) -> None:
    """An empty section, or a ragged table, is an error."""

    with pytest.raises(BadTable):
        parse_table(f"{BEGIN}\n{table}\n{END}")


def test_names_are_what_the_listings_are_tested_with() -> None:
    """There are sixteen different names; two without control characters are not UTF-8."""

    assert len(set(NASTY)) == 16
    assert sum(name.decode(errors="replace").encode() != name for name in ODD) == 2
    assert shown(b"a\nb\x7f") == b"a\\012b\\177"
    assert shown(b"caf\xe9\n") == b"caf\xe9\\012"
    assert shown(b"a\\b\\012") == b"a\\b\\134012"


def test_a_forged_line_is_an_entry_too_many() -> None:
    """The reader of listings notices a name that forges a line."""

    line = b"-rw-r--r--   1 0         0               1 Jan  1 00:00 "
    assert names_of_lines([line + b" x", FORGED]) == [b" x", b"forged"]
    with pytest.raises(AssertionError):
        names_of_lines([line + b"x", b"rest of a name"])


# Servers

SOURCES = {"noop": "RFC 959 §4.1.3", "theft": "RFC 2577 §8"}
GOOD = CheckedServer("good one", "1.2", dict.fromkeys(SOURCES, Outcome.PASS))
BAD = CheckedServer("bad", "0", {"noop": Outcome.WARNING, "theft": Outcome.FAIL})


def _servers(*servers: CheckedServer) -> str:
    table = format_servers(SOURCES, servers)
    return replace_section(f"a\n{MARKERS.begin}\n{MARKERS.end}\n", table, MARKERS)


def test_table_of_servers_shows_each_check_with_its_source() -> None:
    """The last row counts."""

    rows = [line for line in _servers(GOOD, BAD).splitlines() if line.startswith("|")]
    assert rows == [
        "| check | source | good one 1.2 | bad 0 |",
        "| --- | --- | --- | --- |",
        "| noop | RFC 959 §4.1.3 | ✓ | ! |",
        "| theft | RFC 2577 §8 | ✓ | ✗ |",
        "| **all** |  | 2 ✓ 0 ! 0 ✗ 0 – | 0 ✓ 1 ! 1 ✗ 0 – |",
    ]


def test_table_of_servers_agrees_with_itself_in_any_version() -> None:
    """A column that is missing here is no difference."""

    text = _servers(GOOD, BAD)
    newer = CheckedServer(GOOD.name, "2.0", GOOD.outcomes)
    assert compare_servers(text, SOURCES, [newer]) == []
    worse = CheckedServer(GOOD.name, "2.0", {**GOOD.outcomes, "theft": Outcome.FAIL})
    assert compare_servers(text, SOURCES, [worse, BAD]) == [
        "good one, theft: servers.md has ✓, now ✗"
    ]


@pytest.mark.parametrize(
    ("sources", "servers", "why"),
    [
        ({**SOURCES, "new": "RFC 1"}, [GOOD], "other checks"),
        ({"noop": SOURCES["noop"]}, [GOOD], "other checks"),
        ({**SOURCES, "noop": "RFC 1"}, [GOOD], "other sources"),
        (SOURCES, [CheckedServer("ugly", "1", GOOD.outcomes)], "no column for ugly"),
    ],
)
def test_table_of_servers_must_have_all_checks(
    sources: dict[str, str], servers: list[CheckedServer], why: str
) -> None:
    """Otherwise it is to be written anew."""

    with pytest.raises(BadTable, match=why):
        compare_servers(_servers(GOOD, BAD), sources, servers)


def test_runs_of_a_server_are_merged_to_the_worst() -> None:
    """What is not offered in one way may be offered in another."""

    names = {"a", "b", "c", "d"}
    merged = merge([
        dict.fromkeys(names, Outcome.NOT_OFFERED),
        {"a": Outcome.PASS, "b": Outcome.WARNING, "c": Outcome.PASS, "d": Outcome.NOT_OFFERED},
        {"a": Outcome.PASS, "b": Outcome.PASS, "c": Outcome.FAIL, "d": Outcome.NOT_OFFERED},
    ])
    assert merged == {
        "a": Outcome.PASS,
        "b": Outcome.WARNING,
        "c": Outcome.FAIL,
        "d": Outcome.NOT_OFFERED,
    }
