"""Lines of MLSD for many files at a time: `format_mlsx_line` for a whole block (RFC 3659 §7).

Pure. The facts of a directory's files are mostly the same: they are made once,
as a template with room for size, time, identifier and name, and all lines of a
block are filled in by one operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Final

from ._calendar import CACHE_LIMIT
from ._names import MINUTES_PER_DAY, NamePolicy, epoch_seconds
from .entry import ListingEntry
from .mlsx import (
    SUPPORTED_FACTS,
    FactSelection,
    clean_value,
    fact_text,
    facts_for_entry,
    format_mlsx_line,
    format_time_val,
)
from .table import Column, EntryTable, folded, shown, shown_entries

__all__ = ["MlsxFormatter"]

_FIELDS: Final = ("size", "modify", "unique")
"""The facts that differ from file to file, in the order of the values of a line."""

_IN_ORDER: Final = (0, 1, 2, 3)
"""These, and the name."""

_SECONDS_PER_DAY: Final = 86_400
_CLOCK: Final = tuple(f"{minute // 60:02d}{minute % 60:02d}" for minute in range(MINUTES_PER_DAY))
_SECONDS: Final = tuple(f"{second:02d};" for second in range(60))

_NOTHING: Final = "%.0s"
"""Takes a value, and writes nothing."""


class MlsxFormatter:
    """Writes the lines of MLSD for the entries of a directory.

    Each line is what `format_mlsx_line` makes of the facts of `facts_for_entry`,
    byte for byte.

    Args:
        selection: Which facts the client wants; all that are there by default.
        perm: Gives the value of the perm fact (see `perm_letters`). Its
            answers are kept: they depend on type, permissions, owner and
            group of the entry, and on nothing else. None does not tell it.
        name_policy: What becomes of control characters in a name.
        owner_name: Gives the owner's name for a uid of a table, which has
            numbers only; the number itself by default. Its answers are kept.
        group_name: The same of a gid.
    """

    __slots__ = (
        *("_days", "_group_name", "_order", "_owner_name", "_perm", "_policy", "_selection"),
        *("_templates", "_wanted"),
    )

    needs_status = True

    def __init__(
        self,
        *,
        selection: FactSelection | None = None,
        perm: Callable[[ListingEntry], str | None] | None = None,
        name_policy: NamePolicy = NamePolicy.ESCAPE,
        owner_name: Callable[[int], str] = str,
        group_name: Callable[[int], str] = str,
    ) -> None:
        self._selection = selection
        self._wanted = SUPPORTED_FACTS if selection is None else selection.selected
        self._perm = perm
        self._policy = name_policy
        self._owner_name = owner_name
        self._group_name = group_name
        self._templates: dict[tuple[object, ...], str] = {}
        self._days: dict[int, str] = {}
        told = [_FIELDS.index(fact) for fact in self._wanted if fact in _FIELDS]
        self._order = (*told, *(index for index in _IN_ORDER if index not in told))

    def format(self, entry: ListingEntry) -> bytes | None:
        """Return one line without its line end, or None where the policy skips it."""

        facts = facts_for_entry(entry, perm=self._perm(entry) if self._perm is not None else None)
        return format_mlsx_line(
            entry.name, facts, selection=self._selection, name_policy=self._policy
        )

    def format_block(self, entries: Iterable[ListingEntry]) -> bytes:
        """Return the lines of all entries, each with its CRLF."""

        kinds = self._templates
        last, modify = None, ""
        templates: list[str] = []
        values: list[str | int] = []
        for name, entry in zip(*shown_entries(entries, self._policy), strict=True):
            modified = entry.modified
            if modified != last:
                last, modify = modified, self._modify(modified)

            unique = entry.unique
            if unique is not None:
                unique = f"unique={clean_value(unique)};"

            values += entry.size, modify, unique or "", name
            kind = (entry.type, entry.permissions)
            key = (*kind, entry.owner, entry.group, entry.uid, entry.gid)
            try:
                templates.append(kinds[key])
            except KeyError:
                templates.append(self._add_template(key, entry, "%s"))

        return self._block(templates, values)

    def format_table(self, table: EntryTable) -> bytes:
        """Return the lines of a whole table, each with its CRLF: the fastest way.

        Byte for byte what `format_block` makes of the entries of the table.
        """

        table = shown(table, self._policy)
        count = len(table.names)
        if not count:
            return b""

        _, uids, gids, modes, inodes, sizes, modified, devices = table.columns
        kinds, times = folded(uids, gids, modes, devices)
        templates = self._row_templates(table, kinds) * times
        values: list[str | int] = [""] * (count * len(_IN_ORDER))
        values[0 :: len(_IN_ORDER)] = sizes
        values[1 :: len(_IN_ORDER)] = self._modify_all(modified)
        values[2 :: len(_IN_ORDER)] = inodes
        values[3 :: len(_IN_ORDER)] = table.names
        return self._block(templates, values)

    def _row_templates(self, table: EntryTable, kinds: Sequence[Column]) -> list[str]:
        """Return the templates of rows, of which these are uid, gid, mode and device."""

        templates = self._templates
        try:
            return [*map(templates.__getitem__, zip(*kinds, strict=True))]
        except KeyError:
            keys = zip(*kinds, strict=True)
            return [templates.get(key) or self._add_row(table, key) for key in keys]

    def _add_row(self, table: EntryTable, key: tuple[int, ...]) -> str:
        uid, gid, mode, device = key
        row = (1, uid, gid, mode, 0, 0, 0, device)
        entry = table.nameless(row, self._owner_name, self._group_name)
        unique = f"unique={table.device_number(device):x}g%x;"
        return self._add_template(key, entry, unique)

    def _block(self, templates: list[str], values: list[str | int]) -> bytes:
        if self._order != _IN_ORDER:
            columns = (values[index :: len(_IN_ORDER)] for index in self._order)
            values = [*chain.from_iterable(zip(*columns, strict=True))]

        return ("".join(templates) % tuple(values)).encode("utf-8", "surrogateescape")

    def _modify(self, modified: datetime | float | None) -> str:
        """Write the fact modify; a time that cannot be expressed is a fact that is not told."""

        if modified is None:
            return ""

        try:
            return self._modify_all((int(epoch_seconds(modified) // 1),))[0]
        except (ValueError, OverflowError):  # not a number, or infinite
            return ""

    def _modify_all(self, moments: Column) -> list[str]:
        """Write the fact modify of many files."""

        # The hot loop: what stands here is paid for with every file.
        facts = []
        days = self._days
        last, fact = None, ""
        for seconds in moments:
            # Files that were unpacked or copied together often stand together.
            if seconds != last:
                last = seconds
                minute = seconds // 60
                try:
                    day = days[minute // MINUTES_PER_DAY]
                except KeyError:
                    day = self._add_day(minute // MINUTES_PER_DAY)

                clock = _CLOCK[minute % MINUTES_PER_DAY]
                fact = day and f"{day}{clock}{_SECONDS[seconds % 60]}"

            facts.append(fact)

        return facts

    def _add_day(self, day: int) -> str:
        if len(self._days) >= CACHE_LIMIT:
            self._days.clear()

        self._days[day] = text = _day_text(day)
        return text

    def _add_template(self, key: tuple[object, ...], entry: ListingEntry, unique: str) -> str:
        """Make the line of all entries that share a key.

        Args:
            key: What they share.
            entry: One of them.
            unique: How to write the third value.
        """

        facts = facts_for_entry(entry, perm=self._perm(entry) if self._perm is not None else None)
        forms = {
            "size": _NOTHING if entry.is_directory else "size=%d;",
            "modify": "%s",
            "unique": unique,
        }
        parts = [
            forms.get(fact) or fact_text(facts, fact).replace("%", "%%") for fact in self._wanted
        ]
        untold = [_NOTHING for fact in forms if fact not in self._wanted]
        template = f"{''.join((*parts, *untold))} %s\r\n"
        if len(self._templates) >= CACHE_LIMIT:
            self._templates.clear()

        self._templates[key] = template
        return template


@lru_cache(4096)
def _day_text(day: int) -> str:
    """Begin the fact modify of a day; nothing where it cannot be told.

    Kept for all: formatters are made anew for each listing, and days stay the same.
    """

    try:
        return f"modify={format_time_val(day * _SECONDS_PER_DAY).removesuffix('000000')}"
    except (ValueError, OverflowError):
        return ""  # not a year from 1000 to 9999
