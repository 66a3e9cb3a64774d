"""The LIST lines of MS-DOS and Windows, written and read."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.listing._names import NamePolicy, safe_name
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions
from ftpdata.listing.formats import parse_list_line
from ftpdata.listing.msdos import format_msdos_line, parse_msdos_line
from tests.harness.entries import LISTED, NOW, entries, entry, epoch, zones


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            ListingEntry(name="name", type=EntryType.DIRECTORY, modified=epoch(2026, 1, 31, 17, 4)),
            b"01-31-26  05:04PM       <DIR>          name",
        ),
        (
            ListingEntry(name=" a b", size=1024, modified=epoch(2026, 2, 14, 0, 15)),
            b"02-14-26  12:15AM                 1024  a b",
        ),
        (
            ListingEntry(name="x", size=10**12, modified=epoch(1999, 12, 5, 12)),
            b"12-05-99  12:00PM        1000000000000 x",
        ),
        (
            ListingEntry(name="x", modified=epoch(1968, 12, 31, 23)),
            b"12-31-1968  11:00PM                    0 x",
        ),
        (
            ListingEntry(name="x", modified=epoch(2069, 1, 1)),
            b"01-01-2069  12:00AM                    0 x",
        ),
        (ListingEntry(name="x"), b"01-01-70  12:00AM                    0 x"),
    ],
)
def test_msdos_line(entry: ListingEntry, line: bytes) -> None:
    """The line is that of IIS; years that do not fit two digits are written in full."""

    assert format_msdos_line(entry) == line


def test_msdos_options() -> None:
    """The year may have four digits, and a zone can be chosen."""

    entry = ListingEntry(name="x", modified=epoch(2026, 1, 1))
    line = format_msdos_line(entry, four_digit_year=True, tz=timedelta(hours=-1))
    assert line == b"12-31-2025  11:00PM                    0 x"


WINDOWS = [
    (
        b"01-31-26  05:04PM       <DIR>          name",
        entry("name", 0, epoch(2026, 1, 31, 17, 4), 0o755, "d", "-", "-"),
    ),
    (
        b"02-14-2026  12:15AM                 1024  lead",
        entry(" lead", 1024, epoch(2026, 2, 14, 0, 15), owner="-", group="-"),
    ),
    (
        b"12-05-99  12:00PM            1,024,000 a b",
        entry("a b", 1024000, epoch(1999, 12, 5, 12), owner="-", group="-"),
    ),
    (
        b"7/4/1976  3:30 p          1.024 f",
        entry("f", 1024, epoch(1976, 7, 4, 15, 30), owner="-", group="-"),
    ),
    (
        b"2026-01-31  17:04    <DIR>          name",
        entry("name", 0, epoch(2026, 1, 31, 17, 4), 0o755, "d", "-", "-"),
    ),
    (
        rb"01-31-26  05:04PM    <JUNCTION>     Documents [C:\Users\x y]",
        entry("Documents", 0, epoch(2026, 1, 31, 17, 4), 0o644, "l", "-", "-", 1, r"C:\Users\x y"),
    ),
    (
        b"01-31-26  05:04PM    <SYMLINKD>     Documents",
        entry("Documents", 0, epoch(2026, 1, 31, 17, 4), 0o644, "l", "-", "-"),
    ),
    (
        b"01-31-26  05:04PM    <STRANGE>     x",
        entry("x", 0, epoch(2026, 1, 31, 17, 4), 0o644, "?", "-", "-"),
    ),
]


@pytest.mark.parametrize(
    ("line", "expected"),
    WINDOWS,
)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_lines_of_servers(line: bytes, expected: ListingEntry, end: bytes) -> None:
    """What Windows prints is understood, with any line end."""

    assert parse_list_line(line + end, now=LISTED) == expected


@given(entries(), zones, st.booleans())
@settings(max_examples=300)
def test_msdos_round_trip(entry: ListingEntry, tz: timezone, four_digit_year: bool) -> None:
    """Name, kind, size and minute come back."""

    line = format_msdos_line(entry, tz=tz, four_digit_year=four_digit_year)
    assert line is not None
    assert isinstance(entry.modified, float)
    assert parse_list_line(line, now=NOW, tz=tz) == parse_msdos_line(line, tz=tz)
    assert parse_msdos_line(line, tz=tz) == ListingEntry(
        name=safe_name(entry.name, NamePolicy.ESCAPE) or "",
        size=0 if entry.is_directory else entry.size,
        type=EntryType.DIRECTORY if entry.is_directory else EntryType.FILE,
        permissions=Permissions(0o755 if entry.is_directory else 0o644),
        modified=entry.modified // 60 * 60,
        owner="-",
        group="-",
    )
