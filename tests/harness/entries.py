"""Entries for the tests of listing formats: fixed ones, and a strategy that draws any entry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from ftpdata.listing._names import NamePolicy, safe_name
from ftpdata.listing.entry import EntryType, ListingEntry, Permissions

NOW = datetime(2026, 1, 31, 17, 4, 5, tzinfo=UTC)
"""The time at which writers write their lines."""

LISTED = datetime(2026, 11, 23, 4, 42, 50, tzinfo=UTC)
"""The time at which servers sent the lines that parsers read."""

EVIL = "x\r\n-rw-r--r--   1 root root 0 Jan  1 1970 forged"
"""A name that contains a line end, and would forge a second line."""


def epoch(*calendar: int) -> float:
    """Return the seconds since the epoch of a date in UTC."""

    return datetime(*calendar, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


def entry(  # noqa: PLR0917 - a table of many entries
    name: str,
    size: int,
    modified: float,
    mode: int = 0o644,
    kind: str = "-",
    owner: str = "root",
    group: str = "root",
    links: int = 1,
    target: str | None = None,
) -> ListingEntry:
    """Return an entry, in few words."""

    return ListingEntry(
        name=name,
        size=size,
        type=EntryType(kind),
        permissions=Permissions(mode),
        links=links,
        modified=modified,
        owner=owner,
        group=group,
        target=target,
    )


names = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.text(min_size=1, max_size=12),
    st.sampled_from(["a -> b", " -> ", " lead", "trail ", "total 12", ".", "12 Jan  1  1970 x"]),
)
words = st.text(max_size=12) | st.sampled_from(["2020-01-31", "5", "Jan", "31", "12:00"])
seconds = st.floats(-3e10, 2.5e11) | st.floats(-2e7, 1e5).map(lambda s: NOW.timestamp() + s)
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@st.composite
def entries(draw: st.DrawFn) -> ListingEntry:
    """Draw an entry; the size of a link is the length of its target, as in lstat."""

    kind = draw(st.sampled_from([*EntryType]))
    target = draw(names) if kind is EntryType.SYMLINK else None
    size = draw(st.integers(0, 10**19 - 1))
    if target is not None:
        shown = safe_name(target, NamePolicy.ESCAPE) or ""
        size = len(shown.encode("utf-8", "surrogateescape"))

    def word() -> str:
        # A device shows "major, minor" instead of a size, so no group may be called "8,".
        return draw(words).replace(",", "_")

    return ListingEntry(
        name=draw(names),
        size=size,
        type=kind,
        permissions=Permissions(draw(st.integers(0, 0o7777))),
        links=draw(st.integers(0, 10**9)),
        modified=draw(seconds),
        owner=word(),
        group=word(),
        target=target,
    )
