"""Dates of unix listing lines, for many files at a time.

Pure: no clock, no locale. In a large directory nearly every file has a minute of
its own, so there is nothing to remember by file. What there is few of is days:
a day's text, and what stands behind it for each of its minutes, make a date of
two look-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timezone, tzinfo
from functools import lru_cache, partial
from typing import Final

from ._names import MINUTES_PER_DAY, MONTHS, civil_date, offset_minutes

__all__ = ["CACHE_LIMIT", "LineDates"]

CACHE_LIMIT: Final = 65_536
"""Entries of one cache of a formatter: some megabytes at most, then it starts afresh."""

_CLOCK: Final = tuple(f"{minute // 60:02d}:{minute % 60:02d} " for minute in range(MINUTES_PER_DAY))
_NO_CLOCK: Final = ("",) * MINUTES_PER_DAY


class LineDates:
    """Writes the dates of unix lines, with a blank before and behind.

    Args:
        clocked: The minutes since the epoch that are written with the time of day;
            the others are with the year.
        day_format: How to write the day of the month.
        zone: Zone of the dates written.
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

        # The hot loop: what stands here is paid for with every file.
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
        """Write a date in a zone with summer time: a local minute may be twice, by its offset."""

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
            before, behind = (with_year,) * first, (with_year,) * (MINUTES_PER_DAY - end)
            clocks = before + _CLOCK[max(first, 0) : end] + behind

        if len(self._days) >= CACHE_LIMIT:
            self._days.clear()

        self._days[key] = parts = text, clocks
        return parts


@lru_cache(4096)
def _day_text(day: int, day_format: str) -> tuple[str, str]:
    """Return month and day, and the year.

    Kept for all: formatters are made anew for each listing, and days stay the same.
    """

    year, month, day_of_month = civil_date(day)
    return f" {MONTHS[month - 1]} {day_of_month:{day_format}} ", f"{year:5d} "
