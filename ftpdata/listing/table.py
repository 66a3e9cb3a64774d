"""Many entries of one directory at a time, with as little work as possible for each.

Pure. A `ListingEntry` for each file is convenient, but making them takes most of the time
of a large listing. An `EntryTable` holds names and what the system reports about them side by
side. The formatters of every format turn it into lines at once (`ListFormatter.format_table`
and its like), with the same result as for its `entries`. They work by columns: a Python loop
over rows becomes a few loops in C, and a column shows quickly whether all files have the same
value.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, cast, overload

import attrs

from .._checks import check_type, wrong_type
from ._names import NamePolicy, safe_name
from .entry import EntryType, ListingEntry, entry_type, permissions_of

__all__ = ["EntryTable", "ListingBlock", "StatusRow", "TableFormatter"]

StatusRow = tuple[int, int, int, int, int, int, int, int]
"""What a listing shows of a file: links, uid, gid, mode, inode, size in bytes, last modification
in whole seconds since the epoch, device. A plain tuple, because there may be millions of them."""

CACHE_LIMIT: Final = 65_536
"""Entries in one cache of a formatter: a few megabytes at most. A full cache is emptied."""

_FIELDS: Final = 8

Column = Sequence[int]
"""One field of many rows, in their order."""


class StatusColumns(Sequence[StatusRow]):
    """Rows held as columns.

    Args:
        columns: One for each field of a `StatusRow`, in that order, all of the same length.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns: Sequence[Column] = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, place: int) -> StatusRow: ...

    @overload
    def __getitem__(self, place: slice) -> StatusColumns: ...

    def __getitem__(self, place: int | slice) -> StatusRow | StatusColumns:
        if isinstance(place, slice):
            return StatusColumns([column[place] for column in self.columns])

        return cast("StatusRow", tuple(column[place] for column in self.columns))

    def __iter__(self) -> Iterator[StatusRow]:
        return cast("Iterator[StatusRow]", zip(*self.columns, strict=True))


def folded(*columns: Column) -> tuple[Sequence[Column], int]:
    """Fold columns that have the same values in all rows into one row.

    Comparing a column with itself takes a tenth of the time that going through it does.

    Returns:
        The columns, and how often to repeat them: one row and the number of rows if all rows
        are the same; otherwise the columns as they are, and 1.
    """

    if all(column[1:] == column[:-1] for column in columns):
        return [column[:1] for column in columns], len(columns[0])

    return columns, 1


class ListingBlock(bytes):
    """Whole lines of a listing, each with its CR LF, ready to be sent."""

    __slots__ = ()


@attrs.frozen
class EntryTable:
    """Entries of one directory.

    Attributes:
        names: Names, not paths, as text with surrogate escapes.
        rows: What the system reports about each; empty if only the names are needed.
        targets: Where symbolic links lead, by their index in `names`.
        device_number: Turns the device of a row into `st_dev`.
    """

    names: list[str]
    rows: Sequence[StatusRow] = attrs.field(factory=list)
    targets: dict[int, str] = attrs.field(factory=dict)
    device_number: Callable[[int], int] = int

    @property
    def columns(self) -> Sequence[Column]:
        """The rows, field by field."""

        if isinstance(self.rows, StatusColumns):
            return self.rows.columns

        return [*zip(*self.rows, strict=True)] or [()] * _FIELDS

    def entries(
        self,
        *,
        owner_name: Callable[[int], str] = str,
        group_name: Callable[[int], str] = str,
    ) -> Iterator[ListingEntry]:
        """Yield the table as entries, one by one.

        Args:
            owner_name: Returns the name for a uid; the number itself by default.
            group_name: Returns the name for a gid; the number itself by default.
        """

        if not self.rows:
            yield from (ListingEntry(name=name) for name in self.names)

        for place, row in enumerate(self.rows):
            links, uid, gid, mode, inode, size, modified, device = row
            yield ListingEntry(
                name=self.names[place],
                size=size,
                type=entry_type(mode),
                permissions=permissions_of(mode & 0o7777),
                links=links,
                modified=modified,
                owner=owner_name(uid),
                group=group_name(gid),
                target=self.targets.get(place),
                unique=f"{self.device_number(device):x}g{inode:x}",
                uid=uid,
                gid=gid,
            )

    def nameless(
        self, row: StatusRow, owner_name: Callable[[int], str], group_name: Callable[[int], str]
    ) -> ListingEntry:
        """Return one row as an entry without a name, to find what it has in common with others."""

        one = EntryTable([""], [row], {}, self.device_number)
        return next(one.entries(owner_name=owner_name, group_name=group_name))


class TableFormatter(Protocol):
    """Turns entries into lines of some format."""

    @property
    def needs_status(self) -> bool:
        """Whether the format shows more than names."""

    def format_block(self, entries: Iterable[ListingEntry], /) -> bytes:
        """Return the lines of all entries, each with its CR LF."""

    def format_table(self, table: EntryTable, /) -> bytes:
        """Return the same lines for a table of them."""


_PLAIN_ASCII: Final = bytes(byte for byte in range(0x20, 0x7F) if byte != ord("\\"))


def are_plain(names: Iterable[str]) -> bool:
    """Return whether all names are shown unchanged, as in nearly all directories.

    A backslash may have to be escaped, so names with one are checked one by one. For ASCII,
    removing plain characters is even faster than testing each character.
    """

    text = "".join(names)
    if text.isascii():
        return not text.encode().translate(None, _PLAIN_ASCII)

    return text.isprintable() and "\\" not in text


def shown(table: EntryTable, policy: NamePolicy, *, with_targets: bool = False) -> EntryTable:
    """Return the table as it is shown: names made safe, without those that the policy skips.

    Args:
        table: The entries, with their rows.
        policy: What becomes of control characters in a name or target.
        with_targets: Whether a symbolic link is shown with where it leads.
    """

    check_type("table", table, EntryTable, "an EntryTable")
    targets = table.targets if with_targets else {}
    if not targets and are_plain(table.names):
        return table

    names, rows = [], []
    for index, row in enumerate(table.rows):
        target = targets.get(index) if stat.S_ISLNK(row[3]) else None
        name = shown_name(table.names[index], target, policy)
        if name is not None:
            names.append(name)
            rows.append(row)

    return EntryTable(names, rows, {}, table.device_number)


def shown_entries(
    entries: Iterable[ListingEntry], policy: NamePolicy, *, with_targets: bool = False
) -> tuple[list[str], list[ListingEntry]]:
    """Return the names of entries as they are shown, and the entries, without the skipped ones.

    Args:
        entries: The entries.
        policy: What becomes of control characters in a name or target.
        with_targets: Whether a symbolic link is shown with where it leads.
    """

    entries = [*entries]
    names = entry_names(entries)
    targets = [entry.target for entry in entries] if with_targets else []
    has_targets = targets.count(None) < len(targets)
    with contextlib.suppress(TypeError):  # some names are bytes
        if not has_targets and are_plain(cast("list[str]", names)):
            return cast("list[str]", names), entries

    shown_names, kept = [], []
    for entry in entries:
        is_link = with_targets and entry.type is EntryType.SYMLINK
        name = shown_name(entry.name, entry.target if is_link else None, policy)
        if name is not None:
            shown_names.append(name)
            kept.append(entry)

    return shown_names, kept


def entry_names(entries: Iterable[ListingEntry]) -> list[str | bytes]:
    """Return the names of entries.

    Raises:
        TypeError: One of them is not an entry.
    """

    try:
        return [entry.name for entry in entries]
    except AttributeError as error:
        raise wrong_type("entry", "a ListingEntry", error.obj) from None


def shown_name(name: str | bytes, target: str | bytes | None, policy: NamePolicy) -> str | None:
    """Return a name as it is shown, with its target if any, or None if the policy skips it."""

    name_shown = safe_name(name, policy)
    if target is None or name_shown is None:
        return name_shown

    target_shown = safe_name(target, policy)
    return None if target_shown is None else f"{name_shown} -> {target_shown}"
