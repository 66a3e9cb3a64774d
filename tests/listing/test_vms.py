"""Lines of OpenVMS: every column, names that fill a line, and what a server cannot look at."""

from __future__ import annotations

import string

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.errors import InvalidData
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions
from ftpdata.listing.formats import ListReader, parse_list_line
from ftpdata.listing.hints import ListFormat, ListingHints
from tests.harness.entries import LISTED, epoch


def vms(  # noqa: PLR0917 - a table of many entries
    name: str, blocks: str, modified: float, mode: int, owner: str = "JOE", group: str = "-"
) -> ListingEntry:
    """Return a file of VMS."""

    return ListingEntry(
        name=name,
        size=int(blocks.partition("/")[0]) * 512,
        permissions=Permissions(mode),
        modified=modified,
        owner=owner,
        group=group,
        details={"blocks": blocks},
    )


# Our own lines, in the columns of DIRECTORY/SIZE=ALL/DATE/OWNER/PROTECTION: HP OpenVMS DCL
# Dictionary (DIRECTORY); those of UCX and MultiNet as in D. J. Bernstein's ftpparse.c; `^` as in
# the OpenVMS Guide to Extended File Specifications.
LINES = [
    (  # UCX: blocks in use, no seconds
        b"LOGIN.COM;5              3  14-MAR-2019 09:05 [JOE] (RWED,RWED,RE,R)",
        vms("LOGIN.COM;5", "3", epoch(2019, 3, 14, 9, 5), 0o754),
    ),
    (  # MultiNet: blocks in use and allocated, group and user, nothing for the world
        b"A_REPORT.TXT;12      21/24  1-JAN-2020 00:00:59  [STAFF,JOE]   (RWED,RWED,RE,)",
        vms("A_REPORT.TXT;12", "21/24", epoch(2020, 1, 1, 0, 0, 59), 0o750, "JOE", "STAFF"),
    ),
    (  # hundredths; neither owner nor protection
        b"X.;1  0/0  31-DEC-1999 23:59:59.99",
        vms("X.;1", "0/0", epoch(1999, 12, 31, 23, 59, 59), 0o644, "-"),
    ),
    (  # the date first
        b"X.Y;32767   5-JUL-2021 10:00:00  7 [1,4] (R,W,E,RWE)",
        vms("X.Y;32767", "7", epoch(2021, 7, 5, 10), 0o217, "4", "1"),
    ),
    (  # ODS-5: blank, semicolon and caret are escaped, and stay so
        rb"a^ b^;c^^.txt;1   1  5-JUL-2021 10:00:00  [JOE]  (RWED,RWED,RWED,RWED)",
        vms(r"a^ b^;c^^.txt;1", "1", epoch(2021, 7, 5, 10), 0o777),
    ),
    (  # a directory is entered without its type and version
        b"PUB.DIR;1                1/9  5-JUL-2021 10:00:00  [JOE]  (RWE,RWE,RE,E)",
        attrs.evolve(
            vms("PUB", "1/9", epoch(2021, 7, 5, 10), 0o751), type=EntryType.DIRECTORY
        ),
    ),
    (  # only version 1 is a directory
        b"PUB.DIR;2                1/9  5-JUL-2021 10:00:00  [JOE]  (RWE,RWE,RE,E)",
        vms("PUB.DIR;2", "1/9", epoch(2021, 7, 5, 10), 0o751),
    ),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
@pytest.mark.parametrize("hints", [ListingHints(), ListingHints(format=ListFormat.VMS)])
def test_lines_of_vms(line: bytes, expected: ListingEntry, hints: ListingHints) -> None:
    """Each line gives the entry, whether or not the format is known."""

    assert parse_list_line(line + b"\r\n", now=LISTED, hints=hints) == expected


# The messages of RMS and of the system: OpenVMS System Messages and Recovery Procedures (RMS-E-PRV,
# SYSTEM-F-NOPRIV).
@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            b"SECRET.DIR;1   %RMS-E-PRV, insufficient privilege or file protection violation",
            "%RMS-E-PRV, insufficient privilege or file protection violation",
        ),
        (
            b"SECRET.DIR;1   no privilege for attempted operation",
            "no privilege for attempted operation",
        ),
        (
            b"SECRET.DIR;1   insufficient privilege or object protection violation ",
            "insufficient privilege or object protection violation",
        ),
    ],
)
def test_what_the_server_may_not_see_has_a_name_only(line: bytes, error: str) -> None:
    """The name is certain; the rest is what the server said."""

    assert parse_list_line(line, now=LISTED) == ListingEntry(
        name="SECRET",
        type=EntryType.DIRECTORY,
        owner="-",
        group="-",
        details={"error": error},
    )


@pytest.mark.parametrize(
    "line",
    [
        b"Directory DISK$USER:[JOE.PUB]",
        b"  Directory SYS$SYSDEVICE:[000000]",
        b"Total of 3 files, 25/42 blocks.",
        b"Total of 1 file, 0/0 blocks",
        b"Grand total of 2 directories, 7 files, 25/42 blocks",
    ],
)
def test_headings_and_totals_are_not_entries(line: bytes) -> None:
    """They are known not to be entries."""

    assert parse_list_line(line, now=LISTED) is None
    assert ListReader(now=LISTED).read(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b"LOGIN.COM;5",
        b"LOGIN.COM   3  14-MAR-2019 09:05 [JOE] (RWED,RWED,RE,R)",
        b"A B.COM;5   3  14-MAR-2019 09:05 [JOE] (RWED,RWED,RE,R)",
        b"LOGIN.COM;5   3  31-FEB-2019 09:05 [JOE] (RWED,RWED,RE,R)",
        b"LOGIN.COM;5   3  14-FOO-2019 09:05 [JOE] (RWED,RWED,RE,R)",
        b"LOGIN.COM;5   3  14-MAR-2019 24:05 [JOE] (RWED,RWED,RE,R)",
        b"LOGIN.COM;5   3  14-MAR-2019 09:05 [JOE] (RWED,RWED,RE,R) x",
        b"LOGIN.COM;5   3  14-MAR-2019 09:05 [JOE] (RWED,RWED)",
        b"LOGIN.COM;5   12345678901234567890  14-MAR-2019 09:05",
        b"%RMS-E-FNF, file not found",
    ],
)
@pytest.mark.parametrize("hints", [ListingHints(), ListingHints(format=ListFormat.VMS)])
def test_what_is_not_a_line_of_vms(line: bytes, hints: ListingHints) -> None:
    """What is not whole is an error."""

    with pytest.raises(InvalidData, match="expected"):
        parse_list_line(line, now=LISTED, hints=hints)


WHOLE = vms("A_LONG_NAME.TXT;1", "5/9", epoch(2019, 3, 14, 9, 5), 0o750)
LISTING = b"""\

Directory DISK$USER:[JOE]

A_LONG_NAME.TXT;1
                      5/9  14-MAR-2019 09:05:00  [JOE]  (RWED,RWED,RE,)
A_LONG_NAME.TXT;1     5/9  14-MAR-2019 09:05:00  [JOE]  (RWED,RWED,RE,)

Total of 2 files, 10/18 blocks.
"""


@pytest.mark.parametrize("hints", [ListingHints(), ListingHints(format=ListFormat.VMS)])
def test_a_name_that_fills_a_line_is_completed_by_the_next(hints: ListingHints) -> None:
    """The two lines are one entry."""

    reader = ListReader(now=LISTED, hints=hints)
    found = [reader.read(line + b"\r\n") for line in LISTING.splitlines()]
    reader.finish()
    assert [entry for entry in found if entry] == [WHOLE, WHOLE]
    assert reader.format is ListFormat.VMS


def test_a_name_that_nothing_completes_is_an_error() -> None:
    """It is not given, since it could be half of something else."""

    reader = ListReader(now=LISTED, hints=ListingHints(format=ListFormat.VMS))
    assert reader.read(b"A.TXT;1") is None
    with pytest.raises(InvalidData, match=r"the rest of the entry 'A\.TXT;1', not 'B\.TXT;1'"):
        reader.read(b"B.TXT;1")

    assert reader.read(b"C.TXT;1") is None
    with pytest.raises(InvalidData, match=r"the rest of an entry, not 'C\.TXT;1'"):
        reader.finish()

    reader.finish()


def test_names_in_lower_case_by_choice() -> None:
    """VMS takes either case."""

    hints = ListingHints(lower_case=True)
    entry = parse_list_line(b"A.TXT;1  1  14-MAR-2019 09:05", now=LISTED, hints=hints)
    assert entry is not None
    assert entry.name == "a.txt;1"


NAMES = st.text(string.ascii_uppercase + string.digits + "$_-", min_size=1, max_size=39)


@given(NAMES, NAMES, st.integers(1, 32767), st.integers(0, 2**31), st.integers(0, 0o777))
def test_what_a_line_says_comes_back(
    stem: str, extension: str, version: int, blocks: int, mode: int
) -> None:
    """Name, size and permissions are those of the line, whatever they are."""

    rights = [
        "".join(letter for letter, bit in (("R", 4), ("W", 2), ("E", 1)) if mode >> shift & bit)
        for shift in (6, 3, 0)
    ]
    line = (
        f"{stem}.X{extension};{version} {blocks}/{blocks} 14-MAR-2019 09:05:00 [JOE]"
        f" (RWED,{','.join(rights)})"
    )
    assert parse_list_line(line.encode(), now=LISTED) == vms(
        f"{stem}.X{extension};{version}",
        f"{blocks}/{blocks}",
        epoch(2019, 3, 14, 9, 5),
        mode,
    )
