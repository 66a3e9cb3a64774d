"""The LIST lines of MS-DOS and Windows (IIS), their writer and their parser.

Pure: no clock, no locale, no file system. RFC 959 §4.1.3 leaves the text of LIST to the
server; this is what Windows servers send.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Final

from .._checks import check_call
from ._calendar import (
    MINUTES_PER_DAY,
    as_zone,
    civil_date,
    date_time,
    epoch_minute,
    epoch_seconds,
    offset_minutes,
)
from ._dates import FIRST_SHORT_YEAR, full_year
from ._names import NamePolicy, safe_name
from ._reading import is_noise, line_text, number, refuse
from .entry import EntryType, ListingEntry, Permissions
from .hints import DateOrder

__all__ = ["format_msdos_line", "parse_msdos_line"]

_NOON: Final = 12


# Writing


def format_msdos_line(
    entry: ListingEntry,
    *,
    name_policy: NamePolicy = NamePolicy.ESCAPE,
    tz: tzinfo | timedelta = UTC,
    four_digit_year: bool = False,
) -> bytes | None:
    """Format one line of a LIST response as Windows' IIS does.

    The format only has directories and files: anything but a directory is listed as a file.

    Args:
        entry: What to list.
        name_policy: What becomes of control characters in a name.
        tz: Zone of the date written: a zone, or a fixed offset from UTC.
        four_digit_year: Write 2026 instead of 26. Years outside 1969–2068 are always
            written in full, because two digits would be misread.

    Returns:
        The line without its line end, or None if the policy skips it.
    """

    check_call(format_msdos_line, locals())
    name = safe_name(entry.name, name_policy)
    if name is None:
        return None

    minute = epoch_minute(entry.modified or 0)
    days, clock = divmod(minute + offset_minutes(as_zone(tz), minute), MINUTES_PER_DAY)
    year, month, day = civil_date(days)
    two_digits = not four_digit_year and FIRST_SHORT_YEAR <= year < FIRST_SHORT_YEAR + 100
    year_text = f"{year % 100:02d}" if two_digits else f"{year:04d}"
    hour, minutes = divmod(clock, 60)
    half = "PM" if hour >= _NOON else "AM"
    size = "<DIR>         " if entry.is_directory else str(entry.size)
    when = f"{month:02d}-{day:02d}-{year_text}  {hour % _NOON or _NOON:02d}:{minutes:02d}{half}"
    return f"{when} {size:>20} {name}".encode("utf-8", "surrogateescape")


# Reading


@cache
def _pattern() -> re.Pattern[str]:
    """Return the pattern of a line, compiled on first use, since servers only write."""

    return re.compile(
        r"""
        (?:(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})
          |(?P<iso_year>\d{4})-(?P<iso_month>\d{2})-(?P<iso_day>\d{2}))
        [ ]++(?P<hour>\d{1,2}):(?P<minute>\d{2})[ ]?(?P<half>[AaPp])?[Mm]?
        [ ]++(?:<(?P<kind>[A-Z]{3,9})>[ ]{1,10}+|(?P<size>\d[\d,.]*+)[ ])
        (?P<name>.+)
        """,
        re.ASCII | re.DOTALL | re.VERBOSE,
    )


_TYPES: Final = {
    "DIR": EntryType.DIRECTORY,
    "JUNCTION": EntryType.SYMLINK,
    "SYMLINK": EntryType.SYMLINK,
    "SYMLINKD": EntryType.SYMLINK,
}


def parse_msdos_line(line: bytes, *, tz: tzinfo | timedelta = UTC) -> ListingEntry | None:
    """Parse one line of a LIST response as MS-DOS and Windows write it.

    Two-digit years mean 1969 to 2068.

    Args:
        line: The line, with or without its line end.
        tz: Zone of the server's dates: a zone, or a fixed offset from UTC.

    Returns:
        The entry, or None for a line that is known not to be one, as for `parse_unix_line`.

    Raises:
        InvalidData: The line is not in this format. Reply 451.
    """

    check_call(parse_msdos_line, locals())
    return read_msdos_line(line, tz)


def read_msdos_line(
    line: bytes, tz: tzinfo | timedelta, order: DateOrder | None = None
) -> ListingEntry | None:
    """Do as `parse_msdos_line`, with arguments that were checked."""

    text = line_text(line)
    match = _pattern().fullmatch(text)
    if match is None:
        if is_noise(text):
            return None

        refuse("a line of MS-DOS", text)

    moment = _moment(match, as_zone(tz), order)
    if moment is None:
        refuse("a date that exists", text)

    name, target = match["name"], None
    kind = _TYPES.get(match["kind"], EntryType.OTHER) if match["kind"] else EntryType.FILE
    if kind is EntryType.SYMLINK and name.endswith("]") and " [" in name:
        name, _, target = name[:-1].partition(" [")

    is_directory = kind is EntryType.DIRECTORY
    return ListingEntry(
        name=name,
        size=number(re.sub("[,.]", "", match["size"] or "0"), text),
        type=kind,
        permissions=Permissions(0o755 if is_directory else 0o644),
        modified=epoch_seconds(moment),
        owner="-",
        group="-",
        target=target,
    )


def _moment(match: re.Match[str], zone: tzinfo, order: DateOrder | None) -> datetime | None:
    year = full_year(match["iso_year"] or match["year"])
    hour = int(match["hour"])
    if match["half"]:
        if not 1 <= hour <= _NOON:
            return None

        hour = hour % _NOON + (_NOON if match["half"] in "Pp" else 0)

    month, day = int(match["iso_month"] or match["first"]), int(match["iso_day"] or match["second"])
    if match["mark"] == "." or (match["mark"] and order is DateOrder.DAY_FIRST):
        month, day = day, month

    return date_time((year, month, day, hour, int(match["minute"]), 0, 0), zone)
