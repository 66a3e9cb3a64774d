"""Lines of HP NonStop: codes, owners by number, and security that has no permission bits."""

from __future__ import annotations

import pytest

from ftpdata.errors import InvalidData
from ftpdata.listing.entry import ListingEntry
from ftpdata.listing.formats import ListReader, parse_list_line
from ftpdata.listing.hints import ListFormat, ListingHints
from tests.harness.entries import LISTED, epoch

# Our own lines, below the heading that Indy's and FluentFTP's parsers quote; the flag of an open
# file: HP NonStop, OSS Shell and Utilities Reference Manual, ftpserver(7), SITE SHOWOPEN.
HEADING = b"File         Code             EOF  Last Modification    Owner  RWEP"
LINES: list[tuple[bytes, str, int, float, tuple[str, str], dict[str, str]]] = [
    (b'STOCK         101             2522 27-Aug-02 13:57:10 155,106 "nunu"', "STOCK", 2522,
     epoch(2002, 8, 27, 13, 57, 10), ("106", "155"), {"code": "101", "security": "nunu"}),
    (b'LOGS9      O    0                0  4-Mar-99 23:50:06 255,  1 "oo--"', "LOGS9", 0,
     epoch(1999, 3, 4, 23, 50, 6), ("1", "255"), {"code": "0", "security": "oo--", "open": "O"}),
    (b'Z           1000L            2048  4-Mar-2026 23:50:06   1, 10 "****"', "Z", 2048,
     epoch(2026, 3, 4, 23, 50, 6), ("10", "1"), {"code": "1000", "security": "****"}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "name", "size", "modified", "owner", "details"), LINES)
@pytest.mark.parametrize("hints", [ListingHints(), ListingHints(format=ListFormat.NONSTOP)])
def test_lines_of_nonstop(  # noqa: PLR0917 - a table
    line: bytes,
    name: str,
    size: int,
    modified: float,
    owner: tuple[str, str],
    details: dict[str, str],
    hints: ListingHints,
) -> None:
    """Each line gives the entry, whether or not the format is known."""

    assert parse_list_line(line, now=LISTED, hints=hints) == ListingEntry(
        name=name,
        size=size,
        modified=modified,
        owner=owner[0],
        group=owner[1],
        details=details,
    )


def test_a_heading_says_what_follows() -> None:
    """Other lines are errors then."""

    reader = ListReader(now=LISTED, hints=ListingHints(lower_case=True))
    assert reader.read(HEADING + b"\r\n") is None
    assert reader.format is ListFormat.NONSTOP
    entry = reader.read(LINES[0][0])
    assert entry is not None
    assert entry.name == "stock"
    with pytest.raises(InvalidData, match="nonstop"):
        reader.read(b"-rw-r--r--   1 root root 12 Nov 20 10:00 x")


def test_the_heading_is_not_an_entry() -> None:
    """It is known not to be one."""

    assert parse_list_line(HEADING, now=LISTED) is None
    hints = ListingHints(format=ListFormat.NONSTOP)
    assert parse_list_line(HEADING, now=LISTED, hints=hints) is None


@pytest.mark.parametrize(
    "line",
    [
        b'TOOLONGNAME   101             2522 27-Aug-02 13:57:10 155,106 "nunu"',
        b'9STOCK        101             2522 27-Aug-02 13:57:10 155,106 "nunu"',
        b'STOCK         101             2522 31-Jun-02 13:57:10 155,106 "nunu"',
        b'STOCK         101             2522 27-Aug-02 13:57:60 155,106 "nunu"',
        b'STOCK         101             2522 27-Aug-02 13:57:10 155,106 "nunux"',
        b'STOCK         101             27-Aug-02 13:57:10 155,106 "nunu"',
    ],
)
def test_what_is_not_a_line_of_nonstop(line: bytes) -> None:
    """What is not whole is an error."""

    with pytest.raises(InvalidData, match="expected"):
        parse_list_line(line, now=LISTED)
