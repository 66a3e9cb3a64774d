"""Names and dates as they stand in listing lines.

Pure. What the writers and parsers of every listing format share: names between
text and bytes, the policy for control characters, and dates between seconds
since the epoch and the calendar. No clock, no locale, no file system.

Rules:

1. Text is UTF-8 with surrogate escapes, as `os.fsdecode` makes it: the bytes
   on the wire are the bytes of the file's name.
2. A control character is C0, DEL, C1, or one of the line separators U+2028 and
   U+2029: a client that decodes before it splits may take any of these for a
   line end. It is judged on the bytes that go out, so that surrogate escapes
   cannot smuggle one in. Single bytes 0x80–0x9F that are no UTF-8 stay: they
   are letters of older character sets, and the name must stay retrievable.
3. Dates are of the Gregorian calendar, in any year; months as in C's locale.
"""

from __future__ import annotations

import enum
import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final

__all__ = [
    "MINUTES_PER_DAY",
    "MONTHS",
    "NamePolicy",
    "as_zone",
    "civil_date",
    "decode_name",
    "encode_name",
    "epoch_minute",
    "epoch_seconds",
    "field_word",
    "has_control",
    "offset_minutes",
    "replace_control",
    "safe_name",
    "year_start",
]

MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip

MINUTES_PER_DAY: Final = 1440

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()

_CYCLE_DAYS, _CYCLE_YEARS = 146_097, 400
"""The Gregorian calendar repeats; so years that `datetime` cannot hold have dates, too."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_OR_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


# Names


class NamePolicy(enum.Enum):
    r"""What becomes of control characters in a name (rule 2 of this module).

    ESCAPE writes the octal of each of their bytes, as ``ls -b`` does
    (``\012``). A backslash of the name stays single, so that the name of an
    ordinary file is what RETR wants; the escape is for eyes, not for RETR.
    REPLACE writes ``?``, as ``ls -q``. SKIP leaves the entry out.
    """

    ESCAPE = "escape"
    REPLACE = "replace"
    SKIP = "skip"


def decode_name(name: bytes) -> str:
    """Decode a name from the wire; bytes that are no UTF-8 become surrogate escapes."""

    return name.decode("utf-8", "surrogateescape")


def encode_name(name: str) -> bytes:
    """Encode a name for the wire; the inverse of `decode_name`.

    Lone surrogates that are no escapes, which Windows allows in names, get
    the three bytes that UTF-8 would give them, rather than an exception in
    the middle of a listing.
    """

    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b"".join(
            c.encode("utf-8", "surrogateescape" if "\udc80" <= c <= "\udcff" else "surrogatepass")
            for c in name
        )


def has_control(text: str) -> bool:
    """Whether text holds a control character (rule 2)."""

    return _CONTROL.search(text) is not None


def replace_control(text: str) -> str:
    """Replace each control character by ``_``."""

    return _CONTROL.sub("_", text)


def safe_name(name: str | bytes, policy: NamePolicy) -> str | None:
    """Apply a name policy; the result can be encoded and holds no control character.

    Returns:
        Text with surrogate escapes, or None where the policy is to skip.
    """

    if isinstance(name, str):
        if name.isprintable():
            return name

        # By way of the bytes: escapes may spell the UTF-8 of a control character.
        name = encode_name(name)

    text = decode_name(name)
    if text.isprintable() or not _CONTROL.search(text):
        return text

    if policy is NamePolicy.SKIP:
        return None

    return _CONTROL.sub(_octal if policy is NamePolicy.ESCAPE else "?", text)


def _octal(match: re.Match[str]) -> str:
    return "".join(f"\\{byte:03o}" for byte in match[0].encode())


def field_word(value: str | bytes) -> str:
    """Make an owner or group one field: never empty, no blank, no control character."""

    text = decode_name(value if isinstance(value, bytes) else encode_name(value))
    return _CONTROL_OR_BLANK.sub("_", text) or "-"


# Dates


def epoch_seconds(moment: datetime | float) -> float:
    """Return seconds since the epoch.

    Raises:
        ValueError: A date without a zone could be any of two dozen moments.
    """

    if not isinstance(moment, datetime):
        return moment

    if moment.utcoffset() is None:
        raise ValueError(f"a date needs a zone, {moment!r} has none")

    return (moment - _EPOCH) / timedelta(seconds=1)


def epoch_minute(moment: datetime | float) -> int:
    """Return whole minutes since the epoch, rounded down. Raises as `epoch_seconds`."""

    return int(epoch_seconds(moment) // 60)


def as_zone(tz: tzinfo | timedelta) -> tzinfo:
    """Return a zone for a zone or a fixed offset from UTC."""

    zone = timezone(tz) if isinstance(tz, timedelta) else tz
    return UTC if zone == UTC else zone


def offset_minutes(zone: tzinfo, minute: int) -> int:
    """Return how many minutes a zone is ahead of UTC at a minute since the epoch."""

    if zone is UTC:
        return 0

    try:
        offset = (_EPOCH + timedelta(minutes=minute)).astimezone(zone).utcoffset()
    except OverflowError:
        return 0  # a year that datetime cannot hold: no zone has rules for it

    return 0 if offset is None else offset // timedelta(minutes=1)


def civil_date(day: int) -> tuple[int, int, int]:
    """Return year, month and day of a day since the epoch, for any year."""

    cycles, ordinal = divmod(day + _EPOCH_DAY - 1, _CYCLE_DAYS)
    civil = date.fromordinal(ordinal + 1)
    return civil.year + cycles * _CYCLE_YEARS, civil.month, civil.day


def year_start(year: int) -> int:
    """Return the day since the epoch that a year begins with, for any year."""

    cycles, rest = divmod(year - 1, _CYCLE_YEARS)
    return date(rest + 1, 1, 1).toordinal() - _EPOCH_DAY + cycles * _CYCLE_DAYS
