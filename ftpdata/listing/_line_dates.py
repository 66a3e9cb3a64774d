"""Dates of unix listing lines, for many files at a time.

Pure: no clock, no locale. In a large directory nearly every file has its own minute, so
caching dates would gain nothing. There are few days, however: the text of a day, and
what follows it for each of its minutes, make any date in two look-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timezone, tzinfo
from functools import lru_cache, partial
from typing import Final

from ._calendar import MINUTES_PER_DAY, MONTHS, civil_date, offset_minutes
from .table import CACHE_LIMIT

__all__ = ["LineDates"]

_CLOCK: Final = tuple(f"{minute // 60:02d}:{minute % 60:02d} " for minute in range(MINUTES_PER_DAY))
_NO_CLOCK: Final = ("",) * MINUTES_PER_DAY


class LineDates:
    """Writes the dates of unix lines, each with a blank before and after it.

    Args:
        clocked: The minutes since the epoch that are written with the time of day; all
            others are written with the year.
        day_format: How to format the day of the month.
        zone: Zone of the dates.
    """

    __slots__ = ("_clocked", "_day_format", "_days", "_offset", "_offset_at")

    def __init__(self, clocked: range, day_format: str, zone: tzinfo) -> None:
        self._clocked = clocked
        self._day_format = day_format
        self._days: dict[object, tuple[str, tuple[str, ...]]] = {}
        self._offset = offset_minutes(zone, 0) if isinstance(zone, timezone) else None
        self._offset_at: Callable[[int], int] = partial(offset_minutes, zone)
        if self._offset is None:
            self._offset_at = lru_cache(CACHE_LIMIT)(self._offset_at)

    def of(self, moments: Iterable[int]) -> list[str]:
        """Write the dates of moments, in whole seconds since the epoch."""

        if self._offset is None:
            return [*map(self._date, moments)]

        if ahead := self._offset * 60:
            moments = map(ahead.__add__, moments)

        # The hot loop: every file pays for what happens here.
        dates = []
        days = self._days
        last, date = None, ""
        for seconds in moments:
            minute = seconds // 60
            if minute != last:
                try:
                    text, clocks = days[minute // MINUTES_PER_DAY]
                except KeyError:
                    day = minute // MINUTES_PER_DAY
                    text, clocks = self._add_day(day, day, self._offset)

                last, date = minute, text + clocks[minute % MINUTES_PER_DAY]

            dates.append(date)

        return dates

    def _date(self, seconds: int) -> str:
        """Write a date in a zone with summer time, where a local minute may occur twice."""

        minute = seconds // 60
        offset = self._offset_at(minute)
        day, clock = divmod(minute + offset, MINUTES_PER_DAY)
        text, clocks = self._days.get((offset, day)) or self._add_day((offset, day), day, offset)
        return text + clocks[clock]

    def _add_day(self, key: object, day: int, offset: int) -> tuple[str, tuple[str, ...]]:
        """Make the text of a local day, and what follows it for each of its minutes."""

        text, with_year = _day_text(day, self._day_format)
        midnight = day * MINUTES_PER_DAY - offset
        first, end = self._clocked.start - midnight, self._clocked.stop - midnight
        if first <= 0 and end >= MINUTES_PER_DAY:
            clocks = _CLOCK
        elif end <= 0 or first >= MINUTES_PER_DAY:
            text, clocks = text + with_year, _NO_CLOCK
        else:
            before, after = (with_year,) * first, (with_year,) * (MINUTES_PER_DAY - end)
            clocks = before + _CLOCK[max(first, 0) : end] + after

        if len(self._days) >= CACHE_LIMIT:
            self._days.clear()

        self._days[key] = parts = text, clocks
        return parts


@lru_cache(4096)
def _day_text(day: int, day_format: str) -> tuple[str, str]:
    """Return month and day, and the year.

    All formatters share this cache: they are made anew for each listing, and days stay
    the same.
    """

    year, month, day_of_month = civil_date(day)
    return f" {MONTHS[month - 1]} {day_of_month:{day_format}} ", f"{year:5d} "
