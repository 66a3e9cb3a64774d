"""Dates of digits and of month names in the lines of several formats.

Pure. What all lines of one listing share, the present, the zone and the order of a date's parts,
is in `Dates`.
"""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import Final

import attrs

from ._calendar import FUTURE_GRANTED, date_time, epoch_seconds, latest_date_time
from ._reading import refuse
from ._words import month_number
from .hints import DateOrder

__all__ = ["FIRST_SHORT_YEAR", "Dates", "full_year"]

FIRST_SHORT_YEAR: Final = 1969
"""Two-digit years mean 1969 to 2068, as in POSIX's strptime."""

_PARTS: Final = re.compile(r"([0-9]{2})[-/.,]([0-9]{2})[-/.,]([0-9]{2})")

_PLACES: Final = {
    DateOrder.MONTH_FIRST: (2, 0, 1),
    DateOrder.DAY_FIRST: (2, 1, 0),
    DateOrder.YEAR_FIRST: (0, 1, 2),
}
"""Where year, month and day are among the parts of a date."""


def full_year(digits: str) -> int:
    """Return the year that two or four digits stand for."""

    year = int(digits)
    if len(digits) > 2:  # noqa: PLR2004 - digits of a year
        return year

    return year + (1900 if year >= FIRST_SHORT_YEAR % 100 else 2000)


@attrs.frozen
class Dates:
    """What the dates of one listing share.

    Attributes:
        now: The present.
        zone: Zone of the server's dates.
        order: The order of a date's parts, where it is known.
    """

    now: datetime
    zone: tzinfo
    order: DateOrder | None = None

    def named(self, day: str, month: str, year: str | None, clock: str, text: str) -> float:
        """Return the seconds since the epoch of a date whose month is a word.

        Args:
            day: One digit or two.
            month: The word.
            year: Two digits or four; None for the latest such date.
            clock: Hours, minutes and perhaps seconds, with colons.
            text: The whole line, for the error.

        Raises:
            InvalidData: There is no such date. Reply 451.
        """

        number = month_number(month)
        hour, minute, second = (*map(int, clock.split(":")), 0)[:3]
        if year is None:
            moment = latest_date_time((number, int(day), hour, minute), self.zone, now=self.now)
        else:
            calendar = (full_year(year), number, int(day), hour, minute, second, 0)
            moment = date_time(calendar, self.zone)

        if moment is None:
            refuse("a date that exists", text)

        return epoch_seconds(moment)

    def numbered(self, year: str, month: str, day: str, clock: str, text: str) -> float:
        """Return the seconds since the epoch of a date whose parts are known; as `named`."""

        hour, minute, second = (*map(int, clock.split(":")), 0)[:3]
        calendar = (int(year), int(month), int(day), hour, minute, second, 0)
        moment = date_time(calendar, self.zone)
        if moment is None:
            refuse("a date that exists", text)

        return epoch_seconds(moment)

    def of_digits(self, date: str, clock: str) -> float | None:
        """Return the seconds since the epoch of a date of three parts with two digits each.

        If the order is not known, one is sought that makes a date which is not in the future; a
        date up to one day in the future is accepted, since the server's clock may differ.

        Returns:
            The seconds; None if there is no such date, or more than one.
        """

        parts = _PARTS.fullmatch(date)
        if parts is None:
            return None

        hour, minute, second = map(int, re.split("[:.,]", clock))
        found = set()
        for order in DateOrder if self.order is None else (self.order,):
            year, month, day = (parts[place + 1] for place in _PLACES[order])
            calendar = (full_year(year), int(month), int(day), hour, minute, second, 0)
            moment = date_time(calendar, self.zone)
            if moment and (self.order or moment <= self.now + FUTURE_GRANTED):
                found.add(moment)

        return epoch_seconds(found.pop()) if len(found) == 1 else None
