"""EPLF, written and read."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.listing._names import NamePolicy, safe_name
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions
from ftpdata.listing.eplf import format_eplf_line, parse_eplf_line
from ftpdata.listing.formats import parse_list_line
from tests.harness.entries import LISTED, NOW, entries


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            ListingEntry(name="djb.html", size=280, modified=825718503.7, unique="8388621.48594"),
            b"+i8388621.48594,m825718503,r,s280,up644,\tdjb.html",
        ),
        (
            ListingEntry(
                name="514", type=EntryType.DIRECTORY, permissions=Permissions(0o755), modified=-1.5
            ),
            b"+m-2,/,up755,\t514",
        ),
        (ListingEntry(name="q", type=EntryType.FIFO, unique="a,b"), b"+up644,\tq"),
        (ListingEntry(name="l", type=EntryType.SYMLINK, unique="a b"), b"+r,s0,up644,\tl"),
    ],
)
def test_eplf_line(entry: ListingEntry, line: bytes) -> None:
    """Facts are written if they are known and fit."""

    assert format_eplf_line(entry) == line


EPLF = [
    (
        b"+i8388621.48594,m825718503,r,s280,\tdjb.html",
        ListingEntry(
            name="djb.html",
            size=280,
            modified=825718503,
            owner="-",
            group="-",
            unique="8388621.48594",
        ),
    ),
    (
        b"+i8388621.50690,m824255907,/,\t514",
        ListingEntry(
            name="514",
            type=EntryType.DIRECTORY,
            permissions=Permissions(0o755),
            modified=824255907,
            owner="-",
            group="-",
            unique="8388621.50690",
        ),
    ),
    (
        b"+x,unknown,up4711,upx,\t a\tb",
        ListingEntry(
            name=" a\tb",
            type=EntryType.OTHER,
            permissions=Permissions(0o4711),
            owner="-",
            group="-",
        ),
    ),
    (
        b"+r,up99,\tx",
        ListingEntry(name="x", owner="-", group="-"),
    ),
]


@pytest.mark.parametrize(("line", "expected"), EPLF)
def test_eplf(line: bytes, expected: ListingEntry) -> None:
    """The examples of the specification are read; unknown or senseless facts are left out."""

    assert parse_list_line(line, now=LISTED) == expected
    assert parse_eplf_line(line) == expected


@given(entries(), st.from_regex(r"[!-+\--~]{1,20}", fullmatch=True) | st.none())
@settings(max_examples=300)
def test_eplf_round_trip(entry: ListingEntry, unique: str | None) -> None:
    """Name, kind, size, second, permissions and identifier come back."""

    kind = entry.type
    if kind is EntryType.SYMLINK:
        kind = EntryType.FILE
    elif kind not in {EntryType.FILE, EntryType.DIRECTORY}:
        kind = EntryType.OTHER

    line = format_eplf_line(attrs.evolve(entry, unique=unique))
    assert line is not None
    assert isinstance(entry.modified, float)
    assert parse_list_line(line, now=NOW) == parse_eplf_line(line)
    assert parse_eplf_line(line) == ListingEntry(
        name=safe_name(entry.name, NamePolicy.ESCAPE) or "",
        size=entry.size if kind is EntryType.FILE else 0,
        type=kind,
        permissions=entry.permissions,
        modified=entry.modified // 1,
        owner="-",
        group="-",
        unique=unique,
    )
