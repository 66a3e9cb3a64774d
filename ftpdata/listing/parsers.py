"""Parsers of listing lines: what servers send in reply to LIST and NLST.

Pure: no clock, no locale. The other half of `ftpdata.listing.writers`, split off by
size only; MLSx (RFC 3659), which needs no guessing, is `ftpdata.listing.mlsx`.

RFC 959 §4.1.3 leaves the text of LIST to the server, so that this is a
collection of customs: ``ls -l`` of many systems, MS-DOS, and EPLF.

Rules:

1. A parser takes one line, with or without its line end. It gives an entry,
   None for a line that is known to be no entry (empty, ``total 12``), or
   raises `InvalidData`. It never gives more than one entry.
2. Names come out as text with surrogate escapes: `ListingEntry.wire_name` gives
   back the bytes. They are what the server sent, so that they can be asked
   for; whether one may be joined to a path is `ListingEntry.is_plain_name`.
3. A date without a year is the latest one that is not in the future. A day is
   granted, since the server's clock and zone are its own.
4. Time and space are linear in the length of the line.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NoReturn

from ..errors import InvalidData
from ._names import MONTHS, as_zone, decode_name, encode_name, epoch_seconds
from .entry import EntryType, ListingEntry, Permissions

__all__ = [
    "parse_eplf_line",
    "parse_list_line",
    "parse_msdos_line",
    "parse_nlst_line",
    "parse_unix_line",
]

_HOURS_PER_DAY: Final = 24
_MINUTES_PER_HOUR: Final = 60

_FUTURE_GRANTED: Final = timedelta(days=1)
_LEAP_GAP: Final = 8
"""Years from one 29 February to the next at most, as from 1896 to 1904."""


# Public


def parse_list_line(
    line: bytes, *, now: datetime | float, tz: tzinfo | timedelta = UTC
) -> ListingEntry | None:
    """Parse one line of a LIST response, in whichever format it is.

    Args:
        line: The line, with or without its line end.
        now: The present, which dates without a year are relative to.
        tz: Zone of the server's dates: a zone, or a fixed offset from UTC.

    Returns:
        The entry, or None for a line that is known to be none.

    Raises:
        InvalidData: The line is none of these formats. Reply 451.
        ValueError: `now` has no zone.
    """

    text = _line_text(line)
    if text.startswith("+"):
        return _eplf(text)

    if text[:1].isdigit():
        return _msdos(text, as_zone(tz))

    return _unix(text, now, as_zone(tz))


def parse_unix_line(
    line: bytes, *, now: datetime | float, tz: tzinfo | timedelta = UTC
) -> ListingEntry | None:
    """Parse a line of ``ls -l``. See `parse_list_line`."""

    return _unix(_line_text(line), now, as_zone(tz))


def parse_msdos_line(line: bytes, *, tz: tzinfo | timedelta = UTC) -> ListingEntry | None:
    """Parse a line of MS-DOS and Windows. Two-digit years are 1969 to 2068.

    See `parse_list_line`.
    """

    return _msdos(_line_text(line), as_zone(tz))


def parse_eplf_line(line: bytes) -> ListingEntry | None:
    """Parse a line in EPLF, of D. J. Bernstein. See `parse_list_line`."""

    return _eplf(_line_text(line))


def parse_nlst_line(line: bytes) -> str | None:
    """Parse a line of an NLST response: a name, or a path with some servers.

    Returns:
        The name as text with surrogate escapes, or None for an empty line.

    Raises:
        InvalidData: There is a line end within. Reply 451.
    """

    return _line_text(line) or None


# Lines


def _line_text(line: bytes) -> str:
    body = line.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in body:
        _refuse("one line", decode_name(body))

    return decode_name(body)


def _refuse(expected: str, text: str) -> NoReturn:
    raise InvalidData(f"expected {expected}, not {text!r:.80}")


# Unix

_UNIX = re.compile(
    r"""
    (?P<type>(?P<device>[bc])|[-dlpsDPwn?])
    (?P<letters>[-rwxsStTlL]{9})[.+@]?    # a sign of more access control behind
    (?:[ ]*+(?P<links>\d++))?    # Twisted's may stand close; NetPresenz' folders have none
    [ ]++(?P<owners>(?:[^ ]++[ ]++){2}|(?:[^ ]++[ ]++){0,6}?)    # two, if it can be
    (?(device)(?:(?P<major>\d++),[ ]*+)?)(?P<size>\d++)[ ]++
    (?:
      # POSIX; with the seconds and the year, ls -lT of the BSDs
      (?P<month>[A-Za-z]{3})[ ]++(?P<day>\d{1,2})[ ]++
      (?:(?P<clock>\d{1,2}:\d{2})(?::(?P<second>\d{2})[ ]++(?P<late_year>\d{4}))?|(?P<year>\d{4}))
    | # day first
      (?P<day_2>\d{1,2})\.?[ ]++(?P<month_2>[A-Za-z]{3})[ ]++
      (?:(?P<clock_2>\d{1,2}:\d{2})|(?P<year_2>\d{4}))
    | # GNU's long-iso and full-iso; iso, which pads a date without a time
      (?:(?P<year_3>\d{4})-)?(?P<month_3>\d{2})-(?P<day_3>\d{2})
      (?:[ ]++(?P<clock_3>\d{1,2}:\d{2})
        (?::(?P<second_3>\d{2})(?:\.(?P<fraction>\d++))?(?:[ ]++(?P<zone>[+-]\d{4}))?)?
      |(?<=\d{4}-\d{2}-\d{2})[ ])
    )
    [ ](?P<name>.+)
    """,
    re.ASCII | re.DOTALL | re.VERBOSE,
)
"""Possessive throughout: there is one way to match the blanks, and so no back-tracking (rule 4)."""

_TOTAL = re.compile(r"total +[0-9.,]+[A-Za-z]?")
_MONTH_NUMBERS: Final = {month.lower(): number for number, month in enumerate(MONTHS, 1)}
_LETTERS: Final = {letter.value: letter for letter in EntryType}
_BITS: Final = {"r": 4, "w": 2, "x": 1, "s": 1, "t": 1}
_SPECIAL: Final = ((2, "sS", 0o4000), (5, "sSlL", 0o2000), (8, "tT", 0o1000))
"""Place, letters and bit of setuid, setgid (l: mandatory locking, of Solaris) and sticky."""


def _unix(text: str, now: datetime | float, zone: tzinfo) -> ListingEntry | None:
    if not text.strip(" ") or _TOTAL.fullmatch(text.strip(" ")):
        return None

    match = _UNIX.fullmatch(text)
    if match is None:
        _refuse("a line of ls -l, MS-DOS or EPLF", text)

    moment = _unix_moment(match, datetime.fromtimestamp(epoch_seconds(now), UTC), zone)
    if moment is None:
        _refuse("a date that exists", text)

    kind = _LETTERS.get(match["type"], EntryType.OTHER)
    size = 0 if match["major"] else _number(match["size"], text)
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
        links=_number(match["links"] or "1", text),
        modified=epoch_seconds(moment),
        owner=owner or "-",
        group=group.strip(" ") or "-",
        target=target,
    )


def _permissions(letters: str) -> Permissions:
    mode = sum(_BITS.get(letter, 0) << 6 - place // 3 * 3 for place, letter in enumerate(letters))
    for place, special, bit in _SPECIAL:
        if letters[place] in special:
            mode |= bit

    return Permissions(mode)


def _split_link(name: str, size: int) -> tuple[str, str | None]:
    """Split ``name -> target``, where either may hold an arrow.

    The size of a symbolic link is the length of its target: that tells them
    apart. Where a server does not say so, the first arrow counts.
    """

    arrow, shown = " -> ", encode_name(name)
    head, tail = shown[: len(shown) - size], shown[len(shown) - size :]
    if size <= len(shown) and head.endswith(arrow.encode()):
        return decode_name(head).removesuffix(arrow), decode_name(tail)

    name, found, target = name.partition(arrow)
    return name, target if found else None


def _unix_moment(match: re.Match[str], now: datetime, zone: tzinfo) -> datetime | None:
    month = match["month"] or match["month_2"]
    number = _MONTH_NUMBERS.get(month.lower(), 0) if month else int(match["month_3"])
    day = int(match["day"] or match["day_2"] or match["day_3"])
    clock = match["clock"] or match["clock_2"] or match["clock_3"] or "00:00"
    hour, minute = map(int, clock.split(":"))
    year = match["year"] or match["year_2"] or match["year_3"] or match["late_year"]
    if year is None:
        return _latest(now, (number, day, hour, minute), zone)

    second = int(match["second"] or match["second_3"] or 0)
    microsecond = int((match["fraction"] or "")[:6].ljust(6, "0"))
    if match["zone"]:
        offset = _offset(match["zone"])
        if offset is None:
            return None

        zone = offset

    return _moment((int(year), number, day, hour, minute, second, microsecond), zone)


def _offset(text: str) -> tzinfo | None:
    hours, minutes = int(text[1:3]), int(text[3:])
    if hours >= _HOURS_PER_DAY or minutes >= _MINUTES_PER_HOUR:
        return None

    offset = timedelta(hours=hours, minutes=minutes)
    return as_zone(-offset if text.startswith("-") else offset)


# MS-DOS

_MSDOS = re.compile(
    r"""
    (?:(?P<month>\d{1,2})[-/](?P<day>\d{1,2})[-/](?P<year>\d{4}|\d{2})
      |(?P<iso_year>\d{4})-(?P<iso_month>\d{2})-(?P<iso_day>\d{2}))
    [ ]++(?P<hour>\d{1,2}):(?P<minute>\d{2})[ ]?(?P<half>[AaPp])?[Mm]?
    [ ]++(?:<(?P<kind>[A-Z]{3,9})>[ ]{1,10}+|(?P<size>\d[\d,.]*+)[ ])
    (?P<name>.+)
    """,
    re.ASCII | re.DOTALL | re.VERBOSE,
)

_MSDOS_TYPES: Final = {
    "DIR": EntryType.DIRECTORY,
    "JUNCTION": EntryType.SYMLINK,
    "SYMLINK": EntryType.SYMLINK,
    "SYMLINKD": EntryType.SYMLINK,
}
_NOON: Final = 12
_PIVOT: Final = 69


def _msdos(text: str, zone: tzinfo) -> ListingEntry | None:
    if not text.strip(" "):
        return None

    match = _MSDOS.fullmatch(text)
    if match is None:
        _refuse("a line of MS-DOS", text)

    moment = _msdos_moment(match, zone)
    if moment is None:
        _refuse("a date that exists", text)

    name, target = match["name"], None
    kind = _MSDOS_TYPES.get(match["kind"], EntryType.OTHER) if match["kind"] else EntryType.FILE
    if kind is EntryType.SYMLINK and name.endswith("]") and " [" in name:
        name, _, target = name[:-1].partition(" [")

    is_directory = kind is EntryType.DIRECTORY
    return ListingEntry(
        name=name,
        size=_number(re.sub("[,.]", "", match["size"] or "0"), text),
        type=kind,
        permissions=Permissions(0o755 if is_directory else 0o644),
        modified=epoch_seconds(moment),
        owner="-",
        group="-",
        target=target,
    )


def _msdos_moment(match: re.Match[str], zone: tzinfo) -> datetime | None:
    year = int(match["iso_year"] or match["year"])
    if match["year"] and len(match["year"]) < 4:  # noqa: PLR2004 - digits of a year
        year += 1900 if year >= _PIVOT else 2000

    hour = int(match["hour"])
    if match["half"]:
        if not 1 <= hour <= _NOON:
            return None

        hour = hour % _NOON + (_NOON if match["half"] in "Pp" else 0)

    month = int(match["iso_month"] or match["month"])
    day = int(match["iso_day"] or match["day"])
    return _moment((year, month, day, hour, int(match["minute"]), 0, 0), zone)


# EPLF


def _eplf(text: str) -> ListingEntry | None:
    if not text.strip(" "):
        return None

    facts, tab, name = text.partition("\t")
    if not facts.startswith("+") or not tab or not name:
        _refuse("a line of EPLF", text)

    found: dict[str, str] = {}
    for fact in facts[1:].split(","):
        key = "up" if fact.startswith("up") else fact[:1]
        found.setdefault(key, fact[len(key) :])

    if "/" in found:
        kind = EntryType.DIRECTORY
    else:
        kind = EntryType.FILE if "r" in found else EntryType.OTHER

    mode = 0o755 if "/" in found else 0o644
    if "up" in found and re.fullmatch("[0-7]{1,4}", found["up"]):
        mode = int(found["up"], 8)

    modified = found.get("m")
    if modified is not None and not re.fullmatch(r"-?\d{1,15}", modified, re.ASCII):
        _refuse("seconds since the epoch after m", text)

    return ListingEntry(
        name=name,
        size=_number(found.get("s", "0"), text),
        type=kind,
        permissions=Permissions(mode),
        modified=None if modified is None else float(modified),
        owner="-",
        group="-",
        unique=found.get("i"),
    )


# Numbers and dates

_MAX_DIGITS: Final = 19


def _number(digits: str, text: str) -> int:
    # Python takes any length and any script's digits for a number; a file's
    # size has 19 digits at most.
    if not re.fullmatch(r"[0-9]+", digits) or len(digits.lstrip("0")) > _MAX_DIGITS:
        _refuse("a number of at most 19 digits", text)

    return int(digits)


def _moment(calendar: tuple[int, int, int, int, int, int, int], zone: tzinfo) -> datetime | None:
    try:
        return datetime(*calendar, tzinfo=zone)
    except ValueError:
        return None


def _latest(now: datetime, calendar: tuple[int, int, int, int], zone: tzinfo) -> datetime | None:
    """Return the latest moment of such month, day, hour and minute (rule 3)."""

    limit = now + _FUTURE_GRANTED
    latest_year = limit.astimezone(zone).year
    for year in range(latest_year, latest_year - _LEAP_GAP - 1, -1):
        moment = _moment((year, *calendar, 0, 0), zone)
        if moment is not None and moment <= limit:
            return moment

    return None
