"""Many entries of one directory at a time, as little as can be said of each.

Pure. A `ListingEntry` for each file is comfortable, and most of the time that a
large listing takes. `EntryTable` holds the names and what the system says about
them side by side; the formatters of every format make lines of it at once
(`ListFormatter.format_table` and the like), the same as of its `entries`.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import attrs

from .listing_entry import ListingEntry, entry_type, permissions_of
from .listing_text import NamePolicy, safe_name

__all__ = ["EntryTable", "ListingBlock", "StatusRow", "TableFormatter"]

StatusRow = tuple[int, int, int, int, int, int, int, int]
"""What a listing shows of a file: links, uid, gid, mode, inode, size in bytes, last modification
in whole seconds since the epoch, device. A plain tuple: there are millions of them."""


class ListingBlock(bytes):
    """Whole lines of a listing, each with its CR LF: what is sent as it is."""

    __slots__ = ()


@attrs.frozen
class EntryTable:
    """Entries of one directory.

    Attributes:
        names: Names, not paths, with surrogate escapes.
        rows: What the system says of each; empty where only names are asked for.
        targets: Where symbolic links lead, by their place in `names`.
        device_number: Makes `st_dev` of what a row has for its device.
    """

    names: list[str]
    rows: list[StatusRow] = attrs.field(factory=list)
    targets: dict[int, str] = attrs.field(factory=dict)
    device_number: Callable[[int], int] = int

    def entries(
        self,
        *,
        owner_name: Callable[[int], str] = str,
        group_name: Callable[[int], str] = str,
    ) -> Iterator[ListingEntry]:
        """Give the same as entries, one by one.

        Args:
            owner_name: Gives the name of a uid; the number itself by default.
            group_name: The same of a gid.
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
        """Give one row as an entry, for what it has in common with others."""

        one = EntryTable([""], [row], {}, self.device_number)
        return next(one.entries(owner_name=owner_name, group_name=group_name))


class TableFormatter(Protocol):
    """Makes lines of entries, in some format."""

    @property
    def needs_status(self) -> bool:
        """Whether it looks at more than the names."""

    def format_block(self, entries: Iterable[ListingEntry], /) -> bytes:
        """Return the lines of all entries, each with its CR LF."""

    def format_table(self, table: EntryTable, /) -> bytes:
        """Return the same lines for a table of them."""


def named_rows(
    table: EntryTable, policy: NamePolicy, *, with_targets: bool = False
) -> Iterable[tuple[str, StatusRow]]:
    """Give each row with its name, made safe; without those that the policy skips.

    Names are judged together first: nearly all directories have only ordinary ones.

    Args:
        table: The entries, with their rows.
        policy: What becomes of control characters in a name or target.
        with_targets: Whether a symbolic link shows where it leads.
    """

    names, rows = table.names, table.rows
    is_plain = "".join(names).isprintable()
    targets = table.targets if with_targets else {}
    if is_plain and not targets:
        return zip(names, rows, strict=True)

    pairs = []
    for index, row in enumerate(rows):
        name = safe_name(names[index], policy)
        if name is not None and index in targets and stat.S_ISLNK(row[3]):
            target = safe_name(targets[index], policy)
            name = None if target is None else f"{name} -> {target}"

        if name is not None:
            pairs.append((name, row))

    return pairs
