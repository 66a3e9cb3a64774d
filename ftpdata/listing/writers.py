"""Lines of directory listings: the writers of every format but MLSx.

Pure: no file system, no clock, no locale. The present and the time zone are
arguments; month names are those of the C locale.

RFC 959 §4.1.3 leaves the text of LIST to the server. What clients read is the
line of ``ls -l`` (`format_list_line`), of MS-DOS (`format_msdos_line`) or EPLF
(`format_eplf_line`); NLST is bare names (`format_nlst_line`). MLSx (RFC 3659)
is `ftpdata.listing.mlsx`.

Split by size only: the entry is `ftpdata.listing.entry`, many of them at a time
`ftpdata.listing.table`, their dates `ftpdata.listing._calendar`, what all formats
share about names and dates `ftpdata.listing._names`, and the other half of each
pair, its parser, stands in `ftpdata.listing.parsers`. A round-trip property
holds each pair together.

Rules:

1. One entry gives one line, without its line end, or None where the policy
   skips it. No name, link target, owner or group can make a second line.
2. What the bytes of a name become depends on the policy only, not on the format.
3. Dates have the grain of a minute, because the line has.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from math import floor
from typing import Final

from ._calendar import CACHE_LIMIT, LineDates
from ._names import (
    MINUTES_PER_DAY,
    NamePolicy,
    as_zone,
    civil_date,
    decode_name,
    epoch_minute,
    epoch_seconds,
    field_word,
    offset_minutes,
    replace_control,
    safe_name,
    year_start,
)
from .entry import EntryType, ListingEntry, Permissions, StatResult
from .table import (
    Column,
    EntryTable,
    ListingBlock,
    StatusRow,
    TableFormatter,
    are_plain,
    folded,
    shown,
    shown_entries,
    shown_name,
)

__all__ = [
    "EntryTable",
    "EntryType",
    "ListFormatter",
    "ListingBlock",
    "ListingEntry",
    "ListingRules",
    "NamePolicy",
    "NlstFormatter",
    "Permissions",
    "StatResult",
    "StatusRow",
    "TableFormatter",
    "format_eplf_line",
    "format_list_line",
    "format_msdos_line",
    "format_nlst_line",
]

_RECENT_MINUTES: Final = 31_556_952 // 2 // 60
"""Six months, as ls measures them: half a mean Gregorian year."""

_LINE: Final = "%s%15d%s%s"
"""Type to group; size; date, blanks around it; name. The same for all rules."""

_LINE_WITH_END: Final = f"{_LINE}\r\n"
_FIELDS: Final = 4


class ListingRules(enum.Enum):
    """Whose unix lines to write.

    DEFAULT is right for today's clients: the year for dates more than six
    months ago or in the future, day padded with a blank, link targets, all
    file types, setuid, setgid and sticky letters, columns that never touch.

    TWISTED is the line of ``twisted.protocols.ftp.DTP``, byte for byte: the
    year unless it is this calendar year in UTC, day padded with a zero, types
    ``d`` and ``-`` only, nine plain letters, owner and group cut to 8
    characters and in latin-1, links that touch the letters from 10,000 on. It
    differs where Twisted's would let one entry forge another, or fail: control
    characters in the name follow the policy, in owner and group become ``_``,
    and an owner that latin-1 cannot hold gets ``?`` instead of an exception.
    """

    DEFAULT = "default"
    TWISTED = "twisted"


# Public: unix LIST


class ListFormatter:
    """Writes the unix lines of many entries that are listed at one moment.

    What entries share is kept: letters, links, owner and group as one prefix,
    and days. Both caches are bounded. A formatter may be used
    for as long as `now` is near enough the present; to make one is cheap.
    Everything goes by columns, see `ftpdata.listing.table`.

    Args:
        now: The present, as a date with a zone or in seconds since the epoch.
        rules: Today's rules, or those of Twisted's DTP to the letter.
        name_policy: What becomes of control characters in a name or target.
        tz: Zone of the dates written: a zone, or a fixed offset from UTC.
        owner_name: Gives the owner's name for a uid of a table, which has
            numbers only; the number itself by default. Its answers are kept.
        group_name: The same of a gid.

    Raises:
        ValueError: `now` has no zone, or `tz` is not UTC with Twisted's rules.
    """

    __slots__ = ("_dates", "_group_name", "_owner_name", "_policy", "_prefixes", "_twisted")

    needs_status = True

    def __init__(
        self,
        *,
        now: datetime | float,
        rules: ListingRules = ListingRules.DEFAULT,
        name_policy: NamePolicy = NamePolicy.ESCAPE,
        tz: tzinfo | timedelta = UTC,
        owner_name: Callable[[int], str] = str,
        group_name: Callable[[int], str] = str,
    ) -> None:
        zone = as_zone(tz)
        self._owner_name = owner_name
        self._group_name = group_name
        self._twisted = rules is ListingRules.TWISTED
        self._policy = name_policy
        minute = epoch_minute(now)
        if not self._twisted:
            clocked = range(minute - _RECENT_MINUTES + 1, minute + 1)
        elif zone is UTC:
            year, _, _ = civil_date(minute // MINUTES_PER_DAY)
            first, end = year_start(year), year_start(year + 1)
            clocked = range(first * MINUTES_PER_DAY, end * MINUTES_PER_DAY)
        else:
            raise ValueError("Twisted's rules know no zone but UTC")

        self._prefixes: dict[tuple[object, ...], str] = {}
        self._dates = LineDates(clocked, "02d" if self._twisted else "2d", zone)

    def format(self, entry: ListingEntry) -> bytes | None:
        """Return one line without its line end, or None where the policy skips it."""

        is_link = entry.type is EntryType.SYMLINK and not self._twisted
        name = shown_name(entry.name, entry.target if is_link else None, self._policy)
        if name is None:
            return None

        (date,) = self._dates.of((floor(epoch_seconds(entry.modified or 0)),))
        key = (entry.type, entry.permissions, entry.links, entry.owner, entry.group)
        prefix = self._prefixes.get(key) or self._add_prefix(key, entry)
        line = _LINE % (prefix, entry.size, date, name)
        return line.encode("utf-8", "surrogateescape")

    def format_block(self, entries: Iterable[ListingEntry]) -> bytes:
        """Return the lines of all entries, each with its CRLF."""

        names, listed = shown_entries(entries, self._policy, with_targets=not self._twisted)
        kinds = []
        last, prefix = None, ""
        for entry in listed:
            key = (entry.type, entry.permissions, entry.links, entry.owner, entry.group)
            if key != last:
                last, prefix = key, self._prefixes.get(key) or self._add_prefix(key, entry)

            kinds.append(prefix)

        modified = [entry.modified for entry in listed]
        try:
            moments = [*map(floor, modified)]  # type: ignore[arg-type]
        except TypeError:  # dates, or not known
            moments = [floor(epoch_seconds(moment or 0)) for moment in modified]

        return self._lines(kinds, [entry.size for entry in listed], moments, names)

    def format_table(self, table: EntryTable) -> bytes:
        """Return the lines of a whole table, each with its CRLF: faster still.

        Byte for byte what `format_block` makes of the entries of the table.
        """

        table = shown(table, self._policy, with_targets=not self._twisted)
        count = len(table.names)
        if not count:
            return b""

        links, uids, gids, modes, _, sizes, modified, _ = table.columns
        prefixes = self._row_prefixes(links, uids, gids, modes)
        return self._lines(prefixes, sizes, modified, table.names)

    def format_blocks(
        self, entries: Iterable[ListingEntry], *, lines: int = 512
    ) -> Iterator[bytes]:
        """Yield blocks of at most `lines` lines, so that memory stays bounded."""

        source = iter(entries)
        while chunk := tuple(islice(source, lines)):
            if block := self.format_block(chunk):
                yield block

    def _lines(
        self,
        prefixes: Sequence[str],
        sizes: Sequence[int],
        moments: Sequence[int],
        names: Sequence[str],
    ) -> bytes:
        """Make lines of columns. The formatting itself is one operation for all of them."""

        count = len(names)
        fields: list[str | int] = [""] * (count * _FIELDS)
        fields[0::_FIELDS] = prefixes
        fields[1::_FIELDS] = sizes
        fields[2::_FIELDS] = self._dates.of(moments)
        fields[3::_FIELDS] = names
        return (_LINE_WITH_END * count % tuple(fields)).encode("utf-8", "surrogateescape")

    def _row_prefixes(self, links: Column, uids: Column, gids: Column, modes: Column) -> list[str]:
        """Return the prefixes of rows."""

        (links, uids, gids), times = folded(links, uids, gids)
        if times > 1:
            # Few modes are left: a small table of them is quicker than one of all four.
            (modes,), times = folded(modes)
            rest = links[0], uids[0], gids[0]
            by_mode = {mode: self._row_prefix((*rest, mode)) for mode in {*modes}}
            return [*map(by_mode.__getitem__, modes)] * times

        keys = [*zip(links, uids, gids, modes, strict=True)]
        try:
            return [*map(self._prefixes.__getitem__, keys)]
        except KeyError:
            return [*map(self._row_prefix, keys)]

    def _row_prefix(self, key: tuple[int, int, int, int]) -> str:
        """Return the prefix of a row, of which these are links, uid, gid and mode."""

        if prefix := self._prefixes.get(key):
            return prefix

        links, uid, gid, mode = key
        row = (links, uid, gid, mode, 0, 0, 0, 0)
        entry = EntryTable([], []).nameless(row, self._owner_name, self._group_name)
        return self._add_prefix(key, entry)

    def _add_prefix(self, key: tuple[object, ...], entry: ListingEntry) -> str:
        letters = Permissions(entry.permissions)
        if self._twisted:
            letter = "d" if entry.is_directory else "-"
            owner, group = _twisted_word(entry.owner), _twisted_word(entry.group)
            prefix = f"{letter}{letters.plain_shorthand()}{entry.links:4d} {owner} {group} "
        else:
            owner, group = field_word(entry.owner), field_word(entry.group)
            prefix = (
                f"{entry.type.value}{letters.shorthand()} {entry.links:3d} {owner:9} {group:9} "
            )

        if len(self._prefixes) >= CACHE_LIMIT:
            self._prefixes.clear()

        self._prefixes[key] = prefix
        return prefix


def format_list_line(
    entry: ListingEntry,
    *,
    now: datetime | float,
    rules: ListingRules = ListingRules.DEFAULT,
    name_policy: NamePolicy = NamePolicy.ESCAPE,
    tz: tzinfo | timedelta = UTC,
) -> bytes | None:
    """Format one line of a LIST response, as ``ls -l`` and Twisted's DTP do.

    For many entries, `ListFormatter` does the same, faster.

    Args:
        entry: What to list.
        now: The present, which decides between time of day and year.
        rules: Today's rules, or those of Twisted's DTP to the letter.
        name_policy: What becomes of control characters in a name or target.
        tz: Zone of the date written: a zone, or a fixed offset from UTC.

    Returns:
        The line without its line end, or None where the policy skips it.

    Raises:
        ValueError: `now` has no zone, or `tz` is not UTC with Twisted's rules.
    """

    return _shared_formatter(epoch_minute(now), rules, name_policy, tz).format(entry)


@lru_cache(maxsize=8)
def _shared_formatter(
    minute: int, rules: ListingRules, policy: NamePolicy, tz: tzinfo | timedelta
) -> ListFormatter:
    return ListFormatter(now=minute * 60, rules=rules, name_policy=policy, tz=tz)


def _twisted_word(value: str | bytes) -> str:
    """Make an owner or group as Twisted does: cut to 8 characters, padded to 9, in latin-1."""

    text = replace_control(decode_name(value) if isinstance(value, bytes) else value)
    return f"{text[:8]:9}".encode("latin-1", "replace").decode("utf-8", "surrogateescape")


# Public: other formats


def format_nlst_line(
    entry: ListingEntry | str | bytes, *, name_policy: NamePolicy = NamePolicy.ESCAPE
) -> bytes | None:
    """Format one line of an NLST response: the name (RFC 959 §4.1.3).

    Args:
        entry: An entry, or a name or path.
        name_policy: What becomes of control characters.

    Returns:
        The line without its line end, or None where the policy skips it.
    """

    name = safe_name(entry.name if isinstance(entry, ListingEntry) else entry, name_policy)
    return None if name is None else name.encode("utf-8", "surrogateescape")


class NlstFormatter:
    """Writes the names of many entries: `format_nlst_line` for a whole block.

    Args:
        name_policy: What becomes of control characters in a name.
    """

    __slots__ = ("_policy",)

    needs_status = False

    def __init__(self, *, name_policy: NamePolicy = NamePolicy.ESCAPE) -> None:
        self._policy = name_policy

    def format(self, entry: ListingEntry) -> bytes | None:
        """Return one line without its line end, or None where the policy skips it."""

        return format_nlst_line(entry, name_policy=self._policy)

    def format_block(self, entries: Iterable[ListingEntry]) -> bytes:
        """Return the lines of all entries, each with its CRLF."""

        return self._lines([entry.name for entry in entries])

    def format_table(self, table: EntryTable) -> bytes:
        """Return the lines of a whole table, each with its CRLF."""

        return _name_lines(table.names) if are_plain(table.names) else self._lines(table.names)

    def _lines(self, names: Iterable[str | bytes]) -> bytes:
        safe = (safe_name(name, self._policy) for name in names)
        return _name_lines([name for name in safe if name is not None])


def _name_lines(names: Iterable[str]) -> bytes:
    return "\r\n".join([*names, ""]).encode("utf-8", "surrogateescape")


def format_msdos_line(
    entry: ListingEntry,
    *,
    name_policy: NamePolicy = NamePolicy.ESCAPE,
    tz: tzinfo | timedelta = UTC,
    four_digit_year: bool = False,
) -> bytes | None:
    """Format one line of a LIST response as Windows' IIS does.

    The format knows directories and files: anything that is not a directory
    is listed as a file.

    Args:
        entry: What to list.
        name_policy: What becomes of control characters in a name.
        tz: Zone of the date written: a zone, or a fixed offset from UTC.
        four_digit_year: Write 2026, not 26. A year outside 1969–2068 is
            always written in full, since two digits would be read wrong.

    Returns:
        The line without its line end, or None where the policy skips it.
    """

    name = safe_name(entry.name, name_policy)
    if name is None:
        return None

    minute = epoch_minute(entry.modified or 0)
    days, clock = divmod(minute + offset_minutes(as_zone(tz), minute), MINUTES_PER_DAY)
    year, month, day = civil_date(days)
    two_digits = not four_digit_year and _FIRST_SHORT_YEAR <= year < _FIRST_SHORT_YEAR + 100
    year_text = f"{year % 100:02d}" if two_digits else f"{year:04d}"
    hour, minutes = divmod(clock, 60)
    half = "PM" if hour >= 12 else "AM"  # noqa: PLR2004 - noon
    size = "<DIR>         " if entry.is_directory else str(entry.size)
    when = f"{month:02d}-{day:02d}-{year_text}  {hour % 12 or 12:02d}:{minutes:02d}{half}"
    return f"{when} {size:>20} {name}".encode("utf-8", "surrogateescape")


_FIRST_SHORT_YEAR = 1969
"""Two-digit years mean 1969 to 2068, as in POSIX's strptime."""


def format_eplf_line(
    entry: ListingEntry, *, name_policy: NamePolicy = NamePolicy.ESCAPE
) -> bytes | None:
    """Format one line in EPLF, the easily parsed LIST format of D. J. Bernstein.

    Its dates are seconds since the epoch: no zone, no guessing of years.

    Args:
        entry: What to list. A symbolic link is listed as a file.
        name_policy: What becomes of control characters in a name.

    Returns:
        The line without its line end, or None where the policy skips it.
    """

    name = safe_name(entry.name, name_policy)
    if name is None:
        return None

    facts = []
    if entry.unique and _EPLF_VALUE.fullmatch(entry.unique):
        facts.append(f"i{entry.unique}")

    if entry.modified is not None:
        facts.append(f"m{epoch_seconds(entry.modified) // 1:.0f}")

    if entry.is_directory:
        facts.append("/")
    elif entry.type in {EntryType.FILE, EntryType.SYMLINK}:
        facts.append(f"r,s{entry.size}")

    facts.append(f"up{entry.permissions:o}")
    return f"+{','.join(facts)},\t{name}".encode("utf-8", "surrogateescape")


_EPLF_VALUE = re.compile(r"[!-+\--~]+")
"""Visible ASCII without the comma, which ends a fact."""
