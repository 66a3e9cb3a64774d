"""The LIST lines of ``ls -l``: their writers, for one entry or many, and their parser.

Pure: no clock, no locale, no file system. The present and the time zone are arguments; the
months that are written are those of the C locale. RFC 959 §4.1.3 leaves the text of LIST to
the server; this is what nearly all servers send and what all clients read.

`ListFormatter` is in this module, beside `format_list_line`, because both write the same line
from the same parts; the other formats do the same. `ftpdata.listing.table` has what concerns
many entries at a time in any format, and `ftpdata.listing._line_dates` makes their dates.

Rules:

1. One entry gives one line, without its line end, or None if the policy skips it. No name,
   link target, owner or group can start a second line.
2. Dates have a resolution of one minute, as the lines do.
3. A date without a year is the latest one that is not in the future. A date up to one day in
   the future is accepted, since the server's clock and zone may differ.
4. The parser's time and memory are linear in the length of the line.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache, lru_cache
from itertools import islice
from math import floor
from typing import Final

from .._checks import check_call, check_type
from ._calendar import (
    MINUTES_PER_DAY,
    as_zone,
    civil_date,
    date_time,
    epoch_minute,
    epoch_seconds,
    latest_date_time,
    year_start,
)
from ._line_dates import LineDates
from ._names import NamePolicy, decode_name, encode_name, field_word, replace_control
from ._reading import is_noise, line_text, number, refuse
from ._words import month_number
from .entry import EntryType, ListingEntry, Permissions
from .hints import DateOrder
from .table import CACHE_LIMIT, Column, EntryTable, folded, shown, shown_entries, shown_name

__all__ = ["ListFormatter", "ListingRules", "format_list_line", "parse_unix_line"]

_RECENT_MINUTES: Final = 31_556_952 // 2 // 60
"""Six months as ls measures them: half a mean Gregorian year."""

_LINE: Final = "%s%15d%s%s"
"""Type to group; size; date with blanks around it; name. The same for all rules."""

_LINE_WITH_END: Final = f"{_LINE}\r\n"
_FIELDS: Final = 4


class ListingRules(enum.Enum):
    r"""The rules by which unix lines are written.

    DEFAULT suits today's clients: the year for dates more than six months ago or in the
    future, the day padded with a blank, link targets, all file types, letters for setuid,
    setgid and sticky, columns that never touch.

    TWISTED is the line of ``twisted.protocols.ftp.DTP``, byte for byte: the year unless it
    is this calendar year in UTC, the day padded with a zero, types ``d`` and ``-`` only,
    nine plain letters, owner and group cut to 8 characters and in latin-1, and link counts
    that touch the letters from 10,000 on. It differs where Twisted's line could forge an
    entry or fail: control characters follow the policy in the name and become ``_`` in
    owner and group, a backslash that would read as an escape becomes ``\134``, and what
    latin-1 cannot hold becomes ``?`` instead of an exception.
    """

    DEFAULT = "default"
    TWISTED = "twisted"


# Writing


class ListFormatter:
    """Writes the unix lines of many entries that are listed at one moment.

    What entries share is cached: letters, links, owner and group as one prefix, and days.
    Both caches are bounded. A formatter may be used as long as `now` is close enough to the
    present; making one is cheap. It works by columns, see `ftpdata.listing.table`.

    Args:
        now: The present, as a date with a zone or in seconds since the epoch.
        rules: Today's rules, or those of Twisted's DTP to the letter.
        name_policy: What becomes of control characters in a name or target.
        tz: Zone of the dates written: a zone, or a fixed offset from UTC.
        owner_name: Returns the name for a uid of a table, which holds numbers only; the
            number itself by default. Its answers are cached.
        group_name: Returns the name for a gid; as `owner_name`.

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
        check_call(ListFormatter.__init__, locals())
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
            raise ValueError("Twisted's rules have no zone but UTC")

        self._prefixes: dict[tuple[object, ...], str] = {}
        self._dates = LineDates(clocked, "02d" if self._twisted else "2d", zone)

    def format(self, entry: ListingEntry) -> bytes | None:
        """Return one line without its line end, or None if the policy skips it."""

        check_type("entry", entry, ListingEntry, "a ListingEntry")
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
        """Return the lines of all entries, each with its CR LF."""

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
        except TypeError:  # some are dates, or not known
            moments = [floor(epoch_seconds(moment or 0)) for moment in modified]

        return self._lines(kinds, [entry.size for entry in listed], moments, names)

    def format_table(self, table: EntryTable) -> bytes:
        """Return the lines of a whole table, each with its CR LF: faster still.

        The result is byte for byte what `format_block` makes of the table's entries.
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
        """Yield blocks of at most `lines` lines, which bounds the memory needed."""

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
        """Return lines made from columns, which one formatting operation writes."""

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
            # Only the modes differ, and there are few: a small table of them is faster.
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
        """Return the prefix of a row with these links, uid, gid and mode."""

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
    """Format one line of a LIST response as ``ls -l`` or Twisted's DTP does.

    For many entries, `ListFormatter` does the same faster.

    Args:
        entry: What to list.
        now: The present, as a date with a zone or in seconds since the epoch. It decides
            between time of day and year.
        rules: Today's rules, or those of Twisted's DTP to the letter.
        name_policy: What becomes of control characters in a name or target.
        tz: Zone of the date written: a zone, or a fixed offset from UTC.

    Returns:
        The line without its line end, or None if the policy skips it.

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
    """Write an owner or group as Twisted does: cut to 8 characters, padded to 9, in latin-1."""

    text = replace_control(decode_name(value) if isinstance(value, bytes) else value)
    return f"{text[:8]:9}".encode("latin-1", "replace").decode("utf-8", "surrogateescape")


# Reading


@cache
def _pattern() -> re.Pattern[str]:
    """Return the pattern of a line, compiled on first use, since servers only write.

    It is possessive throughout: there is only one way to match the blanks, and so no
    back-tracking (rule 4).
    """

    month, day, year = r"(?:[^ \d,.-]{2,12}+|\d{1,2}[月월])", r"\d{1,2}", r"\d{4}"
    return re.compile(
        rf"""
        (?P<type>(?P<device>[bc])|[-dlpsDPwn?])?    # some servers leave it out
        (?P<letters>[-rwxsStTlL]{{9}})[.+@]?    # a sign of more access control
        (?:[ ]*+(?P<links>\d++))?    # Twisted's may touch the letters; NetPresenz has none
        [ ]++(?P<owners>(?:[^ ]++[ ]++){{2}}|(?:[^ ]++[ ]++){{0,6}}?)    # two if possible
        (?(device)(?:(?P<major>\d++),[ ]*+)?)
        (?P<size>\d++)(?:(?:[.,](?P<decimals>\d{{1,3}}))?(?P<unit>[kKMGTPE])i?B?)?[ ]++
        (?:
          # POSIX; with the seconds and the year, ls -lT of the BSDs; with a comma, VShell
          (?P<month>{month})[.]?[ ]++(?P<day>{day})
          (?:,[ ]++(?P<year>{year})[ ]++(?P<clock>\d{{1,2}}:\d{{2}})
            |[일日]?[ ]++(?:(?P<clock_1>\d{{1,2}}:\d{{2}})
                (?::(?P<second>\d{{2}})[ ]++(?P<late_year>{year}))?
              |(?P<year_1>{year})[年년]?))
        | # day first
          (?P<day_2>{day})[.]?[ ]++(?P<month_2>{month})[.]?,?[ ]++
          (?:(?P<clock_2>\d{{1,2}}:\d{{2}})|(?P<year_2>{year}))
        | # GNU's long-iso, full-iso, and iso, which pads a date without a time
          (?:(?P<year_3>{year})[-/])?(?P<month_3>\d{{2}})[-/](?P<day_3>\d{{2}})
          (?:[ ]++(?P<clock_3>\d{{1,2}}:\d{{2}})
            (?::(?P<second_3>\d{{2}})(?:\.(?P<fraction>\d++))?(?:[ ]++(?P<zone>[+-]\d{{4}}))?)?
          |(?<=\d{{4}}-\d{{2}}-\d{{2}})[ ])
        | # the same, day first
          (?P<day_4>\d{{2}})[-.](?P<month_4>\d{{2}})[-.](?P<year_4>{year})
          [ ]++(?P<clock_4>\d{{1,2}}:\d{{2}})
        | # with strokes, in either order
          (?P<either>\d{{2}}/\d{{2}}/{year}[ ]++\d{{1,2}}:\d{{2}})
        | # Korean, year first
          (?P<year_5>{year})[年년][ ]++(?P<month_5>\d{{1,2}}[月월])[ ]++(?P<day_5>{day})[일日]
        )
        [ ](?P<name>.+)
        """,
        re.ASCII | re.DOTALL | re.VERBOSE,
    )


_LETTERS: Final = {letter.value: letter for letter in EntryType}
_UNITS: Final = "KMGTPE"
_HOURS_PER_DAY: Final = 24
_MINUTES_PER_HOUR: Final = 60
_BITS: Final = {"r": 4, "w": 2, "x": 1, "s": 1, "t": 1}
_SPECIAL: Final = ((2, "sS", 0o4000), (5, "sSlL", 0o2000), (8, "tT", 0o1000))
"""Place, letters and bit of setuid, setgid (l: mandatory locking, of Solaris) and sticky."""


def parse_unix_line(
    line: bytes, *, now: datetime | float, tz: tzinfo | timedelta = UTC
) -> ListingEntry | None:
    """Parse one line of a LIST response as ``ls -l`` of many systems writes it.

    Args:
        line: The line, with or without its line end.
        now: The present, to which dates without a year are relative.
        tz: Zone of the server's dates: a zone, or a fixed offset from UTC.

    Returns:
        The entry, or None for a line that is known not to be one: an empty one, the total
        of a directory (``total 12``, in many languages), or the name of a directory in a
        recursive listing (``/pub:``). The type is OTHER if the server leaves it out. A size
        such as ``33.5k`` is in units of 1024 bytes, and as exact as the server's rounding. A
        date such as ``03/04/2026``, which can be read in two orders, is not guessed: `modified`
        is None, and `details` has it.

    Raises:
        InvalidData: The line is not in this format. Reply 451.
        ValueError: `now` has no zone.
    """

    check_call(parse_unix_line, locals())
    return read_unix_line(line, now, tz)


def read_unix_line(
    line: bytes,
    now: datetime | float,
    tz: tzinfo | timedelta,
    order: DateOrder | None = None,
) -> ListingEntry | None:
    """Do as `parse_unix_line`, with arguments that were checked."""

    text = line_text(line)
    match = _pattern().fullmatch(text)
    if match is None:
        if is_noise(text):
            return None

        refuse("a line of ls -l, or of another known format", text)

    present = datetime.fromtimestamp(epoch_seconds(now), UTC)
    zone = as_zone(tz)
    details: dict[str, str] = {}
    if match["either"]:
        found = _moments(match["either"], zone, order)
        moment = found[0] if found else None
        if len(found) > 1:
            details["date"] = match["either"]
    else:
        moment = _moment(match, present, zone, order)

    if moment is None:
        refuse("a date that exists", text)

    kind = _LETTERS.get(match["type"], EntryType.OTHER)
    size = 0 if match["major"] else _size(match, text)
    name, target = match["name"], None
    if kind is EntryType.SYMLINK:
        name, target = _split_link(name, size)

    # A group may hold blanks ("Domain Users"); an owner is one word.
    owner, _, group = match["owners"].strip(" ").partition(" ")
    return ListingEntry(
        name=name,
        size=size,
        type=kind,
        permissions=_permissions(match["letters"]),
        links=number(match["links"] or "1", text),
        modified=None if details else epoch_seconds(moment),
        owner=owner or "-",
        group=group.strip(" ") or "-",
        target=target,
        details=details,
    )


def _size(match: re.Match[str], text: str) -> int:
    size = number(match["size"], text)
    if not match["unit"]:
        return size

    unit = 1024 << 10 * _UNITS.index(match["unit"].upper())
    decimals = match["decimals"] or ""
    scale = int("1" + "0" * len(decimals))
    return (size * scale + int(decimals or 0)) * unit // scale


def _permissions(letters: str) -> Permissions:
    mode = sum(_BITS.get(letter, 0) << 6 - place // 3 * 3 for place, letter in enumerate(letters))
    for place, special, bit in _SPECIAL:
        if letters[place] in special:
            mode |= bit

    return Permissions(mode)


def _split_link(name: str, size: int) -> tuple[str, str | None]:
    """Split ``name -> target``, where either may hold an arrow.

    The size of a symbolic link is the length of its target, which shows where to split. If a
    server sends another size, the first arrow counts.
    """

    arrow, shown = " -> ", encode_name(name)
    head, tail = shown[: len(shown) - size], shown[len(shown) - size :]
    if size <= len(shown) and head.endswith(arrow.encode()):
        return decode_name(head).removesuffix(arrow), decode_name(tail)

    name, found, target = name.partition(arrow)
    return name, target if found else None


def _moment(
    match: re.Match[str], now: datetime, zone: tzinfo, order: DateOrder | None
) -> datetime | None:
    if word := match["month"]:
        month, day, clock = month_number(word), match["day"], match["clock_1"] or match["clock"]
        year = match["year_1"] or match["late_year"] or match["year"]
    elif word := match["month_2"] or match["month_5"]:
        month, day, clock = month_number(word), match["day_2"] or match["day_5"], match["clock_2"]
        year = match["year_2"] or match["year_5"]
    else:
        month, day = int(match["month_3"] or match["month_4"]), match["day_3"] or match["day_4"]
        clock, year = match["clock_3"] or match["clock_4"], match["year_3"] or match["year_4"]
        if match["year_4"] and order is DateOrder.MONTH_FIRST:
            month, day = int(day), str(month)

    hour, minute = map(int, (clock or "00:00").split(":"))
    if year is None:
        return latest_date_time((month, int(day), hour, minute), zone, now=now)

    second = int(match["second"] or match["second_3"] or 0)
    microsecond = int((match["fraction"] or "")[:6].ljust(6, "0"))
    if match["zone"]:
        offset = _offset(match["zone"])
        if offset is None:
            return None

        zone = offset

    return date_time((int(year), month, int(day), hour, minute, second, microsecond), zone)


def _moments(text: str, zone: tzinfo, order: DateOrder | None) -> list[datetime]:
    """Return the moments that ``03/04/2026 10:00`` can mean, each once."""

    one, two, year, hour, minute = map(int, re.split("[/: ]+", text))
    found = []
    if order is not DateOrder.DAY_FIRST:
        found.append(date_time((year, one, two, hour, minute, 0, 0), zone))
    if order is not DateOrder.MONTH_FIRST:
        found.append(date_time((year, two, one, hour, minute, 0, 0), zone))

    return [*dict.fromkeys(moment for moment in found if moment)]


def _offset(text: str) -> tzinfo | None:
    hours, minutes = int(text[1:3]), int(text[3:])
    if hours >= _HOURS_PER_DAY or minutes >= _MINUTES_PER_HOUR:
        return None

    offset = timedelta(hours=hours, minutes=minutes)
    return as_zone(-offset if text.startswith("-") else offset)
