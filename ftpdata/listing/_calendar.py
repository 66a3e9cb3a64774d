"""Dates of listing lines: conversions between seconds since the epoch and the calendar.

Pure: no clock, no locale. Dates are Gregorian, in any year: `datetime` supports only 9,999
years, and a file system may hold any number as a time.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final

from .._checks import check_type, wrong_type

__all__ = [
    "FUTURE_GRANTED",
    "MINUTES_PER_DAY",
    "MONTHS",
    "as_zone",
    "civil_date",
    "date_time",
    "epoch_minute",
    "epoch_seconds",
    "latest_date_time",
    "offset_minutes",
    "year_start",
]

MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
"""The months as the C locale abbreviates them."""

MINUTES_PER_DAY: Final = 1440

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()

_CYCLE_DAYS, _CYCLE_YEARS = 146_097, 400
"""The Gregorian calendar repeats, which gives dates to years that `datetime` cannot hold."""

FUTURE_GRANTED: Final = timedelta(days=1)
_LEAP_GAP: Final = 8
"""Years from one 29 February to the next at most, as from 1896 to 1904."""


def epoch_seconds(moment: datetime | float) -> float:
    """Return seconds since the epoch.

    Raises:
        TypeError: It is neither a date nor a number.
        ValueError: The date has no zone, so it could be any of two dozen moments.
    """

    if not isinstance(moment, datetime):
        if not isinstance(moment, int | float):
            raise wrong_type("moment", "a date or seconds since the epoch", moment)

        return moment

    if moment.utcoffset() is None:
        raise ValueError(f"a date needs a zone, {moment!r} has none")

    return (moment - _EPOCH).total_seconds()


def epoch_minute(moment: datetime | float) -> int:
    """Return whole minutes since the epoch, rounded down. Raises as `epoch_seconds` does."""

    return int(epoch_seconds(moment) // 60)


def as_zone(tz: tzinfo | timedelta) -> tzinfo:
    """Return a zone for a zone or a fixed offset from UTC."""

    check_type("tz", tz, tzinfo | timedelta, "a zone, or an offset from UTC")
    zone = timezone(tz) if isinstance(tz, timedelta) else tz
    return UTC if zone == UTC else zone


def offset_minutes(zone: tzinfo, minute: int) -> int:
    """Return how many minutes a zone is ahead of UTC, at a minute since the epoch."""

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
    """Return the day since the epoch on which a year begins, for any year."""

    cycles, rest = divmod(year - 1, _CYCLE_YEARS)
    return date(rest + 1, 1, 1).toordinal() - _EPOCH_DAY + cycles * _CYCLE_DAYS


def date_time(calendar: tuple[int, int, int, int, int, int, int], zone: tzinfo) -> datetime | None:
    """Return the date of year, month, day, hour, minute, second and microsecond.

    Returns:
        The date, or None if there is no such date.
    """

    try:
        return datetime(*calendar, tzinfo=zone)
    except ValueError:
        return None


def latest_date_time(
    calendar: tuple[int, int, int, int], zone: tzinfo, *, now: datetime
) -> datetime | None:
    """Return the latest date with this month, day, hour and minute that is not in the future.

    A date up to one day in the future is accepted, since the server's clock and zone may differ.

    Returns:
        The date, or None if there is no such date.
    """

    limit = now + FUTURE_GRANTED
    latest_year = limit.astimezone(zone).year
    for year in range(latest_year, latest_year - _LEAP_GAP - 1, -1):
        moment = date_time((year, *calendar, 0, 0), zone)
        if moment is not None and moment <= limit:
            return moment

    return None
