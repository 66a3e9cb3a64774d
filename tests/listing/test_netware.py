"""Lines of NetWare: the rights in brackets, and one blank or four before the name."""

from __future__ import annotations

import attrs
import pytest

from ftpdata.errors import InvalidData
from ftpdata.listing.entry import ListingEntry
from ftpdata.listing.formats import parse_list_line
from ftpdata.listing.hints import ListFormat, ListingHints
from tests.harness.entries import LISTED, entry, epoch

# Our own lines. The rights: Novell, NetWare 6.5 FTP Server Administration Guide. The columns: those
# in the comments of D. J. Bernstein's ftpparse.c (four blanks) and of Indy's list parsers (one).
LINES = [
    (
        b"d [R----F--] admin                512       Nov 16 18:53    login",
        "[R----F--]",
        entry("login", 512, epoch(2026, 11, 16, 18, 53), 0o500, "d", "admin", "-"),
    ),
    (
        b"- [RWCEAFMS] anna             1020928 Sep 25  2001 a b.exe",
        "[RWCEAFMS]",
        entry("a b.exe", 1020928, epoch(2001, 9, 25), 0o600, "-", "anna", "-"),
    ),
    (
        b"-[-W---F-]  1 7           857 Feb 23  2000 !info!",
        "[-W---F-]",
        entry("!info!", 857, epoch(2000, 2, 23), 0o200, "-", "7", "-"),
    ),
    (
        b"d[--------] 2 anna 0 Feb 23  2000 d [x]",
        "[--------]",
        entry("d [x]", 0, epoch(2000, 2, 23), 0, "d", "anna", "-", 2),
    ),
]


@pytest.mark.parametrize(("line", "rights", "expected"), LINES)
@pytest.mark.parametrize("hints", [ListingHints(), ListingHints(format=ListFormat.NETWARE)])
def test_lines_of_netware(
    line: bytes, rights: str, expected: ListingEntry, hints: ListingHints
) -> None:
    """Each line gives the entry, whether or not the format is known."""

    expected = attrs.evolve(expected, details={"rights": rights[1:-1]})
    assert parse_list_line(line, now=LISTED, hints=hints) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"- [RWCEAFMS] anna 12 Sep 25  2001  x",  # x, or a blank and x?
        b"- [RWCEAFMS] anna 12 Sep 25  2001     x",
        b"- [RWCEAFMS] anna 12 Sep 31  2001 x",
        b"- [RWCEAFMS] anna 12 Foo 25  2001 x",
        b"- [RWCEAFMS] anna Sep 25  2001 x",
        b"- [RW] anna 12 Sep 25  2001 x",
        b"l [RWCEAFMS] anna 12 Sep 25  2001 x",
    ],
)
@pytest.mark.parametrize("hints", [ListingHints(), ListingHints(format=ListFormat.NETWARE)])
def test_what_is_not_a_line_of_netware(line: bytes, hints: ListingHints) -> None:
    """What could have two meanings is an error."""

    with pytest.raises(InvalidData, match="expected"):
        parse_list_line(line, now=LISTED, hints=hints)
