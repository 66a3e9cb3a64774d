"""The calendar of listing lines."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.listing._calendar import (
    as_zone,
    civil_date,
    epoch_minute,
    epoch_seconds,
    offset_minutes,
    year_start,
)


def test_epoch() -> None:
    """Seconds stay as they are, dates become seconds, minutes are rounded down."""

    assert epoch_seconds(1.5) == 1.5
    assert epoch_seconds(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    assert [epoch_minute(s) for s in (-60.5, -0.5, 0, 59.9, 60)] == [-2, -1, 0, 0, 1]
    with pytest.raises(ValueError, match="zone"):
        epoch_seconds(datetime(1970, 1, 1))  # noqa: DTZ001 - what is refused


class Nowhere(tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, _: datetime | None) -> None:
        """Return None: the offset is not known."""

    def dst(self, _: datetime | None) -> None:
        """Return None: the offset is not known."""

    def tzname(self, _: datetime | None) -> str:
        """Return a name."""

        return "nowhere"

    def fromutc(self, moment: datetime) -> datetime:
        """Return the date as it is."""

        return moment


def test_zones() -> None:
    """A fixed offset is a zone, UTC has many spellings, and odd zones do no harm."""

    assert as_zone(timedelta(0)) is UTC
    assert as_zone(timezone.utc) is UTC  # noqa: UP017 - the point
    assert offset_minutes(as_zone(timedelta(hours=-3)), 0) == -180
    assert offset_minutes(ZoneInfo("Europe/Berlin"), epoch_minute(1.78e9)) == 120
    assert offset_minutes(ZoneInfo("Europe/Berlin"), 10**12) == 0
    assert offset_minutes(ZoneInfo("Europe/Berlin"), 10**30) == 0
    assert offset_minutes(Nowhere(), 0) == 0


@given(st.dates())
def test_civil_dates_equal_datetime(day: date) -> None:
    """This holds in the years that datetime supports, and in those 400 years later."""

    number = day.toordinal() - date(1970, 1, 1).toordinal()
    assert civil_date(number) == (day.year, day.month, day.day)
    assert civil_date(number + 146_097 * 100) == (day.year + 40_000, day.month, day.day)
    assert civil_date(number - 146_097 * 100) == (day.year - 40_000, day.month, day.day)


@given(st.integers(1, 9999))
def test_the_start_of_a_year_equals_datetime(year: int) -> None:
    """This holds for all years that `datetime` supports."""

    assert year_start(year) == (date(year, 1, 1) - date(1970, 1, 1)).days


@given(st.integers(-(10**9), 10**9))
def test_a_year_starts_after_the_last_day_of_the_one_before(year: int) -> None:
    """This holds for any year, and is the inverse of `civil_date`."""

    assert civil_date(year_start(year)) == (year, 1, 1)
    assert civil_date(year_start(year) - 1) == (year - 1, 12, 31)
