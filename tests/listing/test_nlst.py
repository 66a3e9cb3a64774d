"""NLST lists only names, written and read."""

from __future__ import annotations

import pytest
from hypothesis import given

from ftpdata.errors import InvalidData
from ftpdata.listing._names import NamePolicy, safe_name
from ftpdata.listing.entry import ListingEntry
from ftpdata.listing.nlst import format_nlst_line, parse_nlst_line
from tests.harness.entries import names


def test_escape_is_octal_of_the_bytes() -> None:
    """It escapes as ls -b does, but a backslash stays single so that names can be retrieved."""

    assert format_nlst_line("a\nb\x85\u2028\\") == rb"a\012b\302\205\342\200\250" + b"\\"
    assert format_nlst_line("a\nb\x85\\", name_policy=NamePolicy.REPLACE) == b"a?b?\\"


def test_names_of_windows_do_not_raise() -> None:
    """Lone surrogates have bytes, too, and cannot form a line end."""

    assert format_nlst_line("\ud800x\udc80\udc0a") == b"\xed\xa0\x80x\x80\xed\xb0\x8a"


def test_nlst_lines_are_single() -> None:
    """A line end within a name is an error."""

    with pytest.raises(InvalidData):
        parse_nlst_line(b"a\nb")


@given(names)
def test_nlst_round_trip(name: str | bytes) -> None:
    """A name comes back, from an entry and from the name alone."""

    line = format_nlst_line(name)
    assert line == format_nlst_line(ListingEntry(name=name))
    assert parse_nlst_line((line or b"") + b"\r\n") == safe_name(name, NamePolicy.ESCAPE)
