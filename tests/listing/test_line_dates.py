"""Dates of unix listing lines equal those that `datetime` writes, for many moments at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.listing import _line_dates
from ftpdata.listing._calendar import MONTHS
from ftpdata.listing._line_dates import LineDates

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = (UTC, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(hours=1)))
SUMMER_TIME = ZoneInfo("Europe/Berlin")
CHANGE = int(datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp())
"""The change from summer time to winter time: local times from 2 to 3 occur twice."""


def plain_date(seconds: int, clocked: range, day_format: str, zone: tzinfo) -> str:
    """Write one date in the plainest way."""

    local = (EPOCH + timedelta(seconds=seconds)).astimezone(zone)
    rest = f"{local:%H:%M}" if seconds // 60 in clocked else f"{local.year:5d}"
    return f" {MONTHS[local.month - 1]} {local.day:{day_format}} {rest} "


moments = st.integers(CHANGE - 90_000, CHANGE + 90_000) | st.integers(-(10**10), 10**11)
ranges = st.builds(
    lambda start, length: range(start, start + length),
    st.integers(CHANGE // 60 - 1600, CHANGE // 60 + 1600) | st.integers(-(10**8), 10**9),
    st.integers(1, 3000) | st.integers(1, 10**9),
)


@given(
    st.lists(st.lists(moments, max_size=8), max_size=3),
    ranges,
    st.sampled_from(["02d", "2d"]),
    st.sampled_from([*ZONES, SUMMER_TIME]),
)
def test_dates_are_those_of_datetime(
    batches: list[list[int]], clocked: range, day_format: str, zone: tzinfo
) -> None:
    """This holds even if the time of day begins or ends to be shown within one day."""

    dates = LineDates(clocked, day_format, zone)
    for batch in batches:
        expected = [plain_date(seconds, clocked, day_format, zone) for seconds in batch]
        assert dates.of(batch) == expected
        assert dates.of(iter(batch)) == expected


@pytest.mark.parametrize(
    ("clocked", "with_clock"),
    [
        (range(1440), (True, True, True)),
        (range(1, 1440), (False, True, True)),
        (range(1439), (True, True, False)),
        (range(-9, 1439), (True, True, False)),
        (range(720, 721), (False, True, False)),
        (range(1440, 1500), (False, False, False)),
        (range(-9, 0), (False, False, False)),
    ],
)
def test_the_first_and_the_last_minute(clocked: range, with_clock: tuple[bool, ...]) -> None:
    """The range is exact, whether it ends within a day or between two."""

    dates = LineDates(clocked, "02d", UTC).of((0, 720 * 60, 86_399))
    assert tuple(":" in date for date in dates) == with_clock


def test_an_hour_that_is_twice() -> None:
    """The moment decides what is shown, not what a clock on the wall showed."""

    now = CHANGE // 60 - 30  # the first 2:30
    dates = LineDates(range(now - 60, now + 1), "2d", SUMMER_TIME)
    first, second = CHANGE - 50 * 60, CHANGE + 10 * 60
    assert dates.of([first, second]) == [" Oct 25 02:10 ", " Oct 25  2026 "]


@pytest.mark.parametrize("zone", [UTC, SUMMER_TIME])
def test_the_cache_is_bounded(zone: tzinfo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million days do not stay in memory, and the dates stay correct."""

    monkeypatch.setattr(_line_dates, "CACHE_LIMIT", 4)
    clocked = range(10 * 1440, 20 * 1440)
    dates = LineDates(clocked, "2d", zone)
    for seconds in range(0, 50 * 86_400, 86_401):
        assert dates.of([seconds]) == [plain_date(seconds, clocked, "2d", zone)]
        assert 0 < len(dates._days) <= 4
