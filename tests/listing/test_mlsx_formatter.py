"""Lines of MLSD for many files at a time: those of `format_mlsx_line`, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.listing import _mlsx_formatter as mlsx_formatter
from ftpdata.listing._mlsx_formatter import MlsxFormatter
from ftpdata.listing._names import NamePolicy
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions
from ftpdata.listing.mlsx import (
    SUPPORTED_FACTS,
    FactSelection,
    facts_for_entry,
    format_mlsx_line,
    parse_mlsx_line,
)

NOW = 1_769_879_045

words = st.text(max_size=6) | st.sampled_from(["100%", "%s", "a;b c"])
moments = (
    st.none()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.floats(0, 2e9)
    | st.datetimes(timezones=st.just(UTC))
)
entries = st.builds(
    ListingEntry,
    name=st.text(min_size=1) | st.binary(min_size=1),
    size=st.integers(0, 2**63),
    type=st.sampled_from(EntryType),
    permissions=st.builds(Permissions, st.integers(0, 0o7777)),
    modified=moments,
    owner=words,
    group=words,
    unique=st.none() | words,
    uid=st.none() | st.integers(0, 3),
    gid=st.none() | st.integers(0, 3),
)
selections = st.none() | st.builds(
    lambda selected: FactSelection(selected=tuple(selected)),
    st.lists(st.sampled_from([*SUPPORTED_FACTS, "x.unknown"])),
)


@given(
    st.lists(entries, max_size=8), selections, st.sampled_from(NamePolicy), st.none() | words
)
def test_a_block_is_its_lines(
    listed: list[ListingEntry],
    selection: FactSelection | None,
    policy: NamePolicy,
    perm: str | None,
) -> None:
    """For any entries, any choice of facts in any order, also one told twice."""

    formatter = MlsxFormatter(selection=selection, name_policy=policy, perm=lambda _: perm)
    lines = [
        format_mlsx_line(
            entry.name, facts_for_entry(entry, perm=perm), selection=selection, name_policy=policy
        )
        for entry in listed
    ]
    assert [formatter.format(entry) for entry in listed] == lines
    block = b"".join(line + b"\r\n" for line in lines if line is not None)
    assert formatter.format_block(listed) == block
    assert formatter.format_block(iter(listed)) == block


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -float("inf"), 2**63, -(2**63)])
def test_a_time_that_cannot_be_told_is_not(moment: float) -> None:
    """The fact is left out, and the line is there."""

    entry = ListingEntry(name="a", size=1, modified=moment)
    line = MlsxFormatter().format_block([entry])
    assert b"modify=" not in line
    assert line.endswith(b" a\r\n")


def test_without_permissions() -> None:
    """The fact is not told."""

    line = MlsxFormatter().format_block([ListingEntry(name="x", modified=NOW)])
    assert parse_mlsx_line(line)[1].perm is None


def test_permissions_are_asked_for_once_for_all_that_have_them_in_common() -> None:
    """Type, permissions, owner and group; not size, time or name."""

    asked = []

    def perm(entry: ListingEntry) -> str:
        asked.append((entry.type, entry.permissions))
        return "r"

    formatter = MlsxFormatter(perm=perm)
    for number in range(10):
        kind = EntryType.DIRECTORY if number % 2 else EntryType.FILE
        formatter.format_block([ListingEntry(name=str(number), type=kind, size=number)])
    assert len(asked) == 2


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each starts afresh when it is full, and the lines stay right."""

    monkeypatch.setattr(mlsx_formatter, "CACHE_LIMIT", 3)
    formatter = MlsxFormatter()
    start = datetime(2026, 1, 31, tzinfo=UTC)
    for number in range(10):
        entry = ListingEntry(
            name="x", uid=number, modified=(start + timedelta(hours=23 * number)).timestamp()
        )
        line = format_mlsx_line("x", facts_for_entry(entry))
        assert line is not None
        assert formatter.format_block([entry]) == line + b"\r\n"
    for cache in (formatter._templates, formatter._days):
        assert 0 < len(cache) <= 3
