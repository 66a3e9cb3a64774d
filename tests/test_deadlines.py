"""Deadlines, and the decision that one has passed, on a simulated clock."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.deadlines import Deadlines, ProgressWatch, shared_moment
from ftpdata.outcome import End

NOTHING = Deadlines(
    open=None, handshake=None, first_byte=None, stall=None, minimum_rate=None, close=None
)
FIELDS = [field.name for field in attrs.fields(Deadlines)]


def test_defaults_wait_for_nothing_for_ever() -> None:
    """By default every wait has a limit, except the rate, which is optional."""
    deadlines = Deadlines()
    unlimited = {name for name in FIELDS if getattr(deadlines, name) is None}
    assert unlimited == {"minimum_rate"}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("bad", [0, -1, 0.0, -0.5, math.nan, math.inf])
def test_limits_are_positive(name: str, bad: float) -> None:
    """Zero, negative values, infinity and not-a-number are refused, with the limit's name."""
    with pytest.raises(ValueError, match=name):
        attrs.evolve(NOTHING, **{name: bad})


def test_window_cannot_be_infinite() -> None:
    """A rate is always averaged over some window."""
    with pytest.raises((TypeError, ValueError)):
        Deadlines(rate_window=None)  # type: ignore[arg-type]


def test_deadlines_are_a_value() -> None:
    """Deadlines are compared by value and cannot be changed."""
    assert Deadlines(stall=5) == Deadlines(stall=5.0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        NOTHING.stall = 1  # type: ignore[misc]


def test_nothing_limited_never_ends() -> None:
    """Without limits a transfer may wait for ever, and no check is needed."""
    watch = ProgressWatch(NOTHING, 100.0)
    assert watch.next_check_at() is None
    assert watch.check(1e9, 0) is None
    assert watch.check(2e9, 5) is None
    assert watch.check(9e9, 5) is None
    assert watch.next_check_at() is None


def test_first_byte() -> None:
    """The first byte has a deadline of its own, which counts from the start."""
    deadlines = attrs.evolve(NOTHING, first_byte=60)
    watch = ProgressWatch(deadlines, 100.0)
    assert watch.check(159.9, 0) is None
    assert watch.next_check_at() == 160
    assert watch.check(160, 0) is End.FIRST_BYTE_TIMEOUT

    watch = ProgressWatch(deadlines, 100.0)
    assert watch.check(160, 1) is None
    assert watch.check(1e9, 1) is None
    assert watch.next_check_at() is None


def test_stall() -> None:
    """After the first byte only progress postpones the deadline, however small it is."""
    watch = ProgressWatch(attrs.evolve(NOTHING, stall=10, first_byte=60), 100.0)
    assert watch.check(150, 1) is None
    assert watch.check(159.9, 1) is None
    assert watch.next_check_at() == 160
    assert watch.check(159.95, 2) is None
    assert watch.check(169.9, 2) is None
    assert watch.check(169.95, 2) is End.STALLED


def test_stall_counts_from_the_start_where_the_first_byte_has_no_deadline() -> None:
    """If nothing else limits it, a complete lack of progress is a stall, too."""
    watch = ProgressWatch(attrs.evolve(NOTHING, stall=10), 100.0)
    assert watch.check(109.9, 0) is None
    assert watch.check(110, 0) is End.STALLED


def test_minimum_rate() -> None:
    """Too few bytes in a window end the transfer; each window is measured separately."""
    deadlines = attrs.evolve(NOTHING, minimum_rate=100, rate_window=10)
    watch = ProgressWatch(deadlines, 0.0)
    assert watch.next_check_at() is None
    assert watch.check(50, 7) is None
    assert watch.next_check_at() == 60
    assert watch.check(59.9, 7) is None
    assert watch.check(60, 1007) is None
    assert watch.next_check_at() == 70
    assert watch.check(70, 100_000) is None
    assert watch.check(80, 100_999) is End.TOO_SLOW

    watch = ProgressWatch(deadlines, 50.0)
    assert watch.check(50, 1) is None
    assert watch.check(60, 1000) is End.TOO_SLOW


def test_rate_is_not_measured_before_the_first_byte() -> None:
    """Waiting for the first byte is not slowness; it has a deadline of its own."""
    watch = ProgressWatch(attrs.evolve(NOTHING, minimum_rate=100, rate_window=10), 0.0)
    assert watch.check(1000, 0) is None
    assert watch.check(1001, 1) is None
    assert watch.check(1010, 1) is None
    assert watch.check(1011, 1) is End.TOO_SLOW


def test_late_check_measures_the_window_as_it_was() -> None:
    """A window that lasted longer, because the check was late, needs proportionally more bytes."""
    deadlines = attrs.evolve(NOTHING, minimum_rate=100, rate_window=10)
    for moved, end in ((2000, End.TOO_SLOW), (2001, None)):
        watch = ProgressWatch(deadlines, 0.0)
        assert watch.check(0, 1) is None
        assert watch.check(20, moved) is end

    assert watch.next_check_at() == 30


def test_excused_transfer_counts_anew() -> None:
    """Time for which this side kept the peer waiting does not count against the peer."""
    deadlines = attrs.evolve(NOTHING, first_byte=60, stall=10, minimum_rate=100, rate_window=10)
    watch = ProgressWatch(deadlines, 0.0)
    watch.excuse(59)
    assert watch.check(118, 0) is None
    assert watch.check(118.5, 1) is None
    watch.excuse(127)
    assert watch.check(136, 1) is None
    watch.excuse(136.5)
    assert watch.check(146, 1) is None
    assert watch.check(146.4, 1000) is None
    assert watch.check(146.5, 1000) is End.TOO_SLOW


def test_excuse_starts_an_empty_window() -> None:
    """Bytes that passed before an excuse do not count for the window after it."""
    watch = ProgressWatch(attrs.evolve(NOTHING, minimum_rate=100, rate_window=10), 0.0)
    watch.check(0, 1)
    watch.check(5, 100_000)
    watch.excuse(6)
    assert watch.check(16, 100_999) is End.TOO_SLOW


def test_excused_transfer_is_expected_to_move() -> None:
    """After an excuse the first check comes soon, as for a transfer that moves."""
    watch = ProgressWatch(attrs.evolve(NOTHING, stall=300), 0.0)
    watch.check(100, 0)
    watch.excuse(110)
    assert watch.next_check_at() == 110.25


def test_excuse_does_not_lift_a_deadline() -> None:
    """After an excuse the same limit begins again."""
    watch = ProgressWatch(attrs.evolve(NOTHING, stall=10), 0.0)
    watch.excuse(5)
    assert watch.check(14.9, 0) is None
    assert watch.check(15, 0) is End.STALLED


def test_a_moving_transfer_is_looked_at_often_and_an_idle_one_rarely() -> None:
    """Ten thousand idle transfers cost little, and a stall is still noticed in time."""
    watch = ProgressWatch(attrs.evolve(NOTHING, stall=300), 0.0)
    assert watch.next_check_at() == 0.25
    watch.check(1, 10)
    assert watch.next_check_at() == 1.25
    watch.check(2, 10)
    assert watch.next_check_at() == 2.25
    watch.check(21, 10)
    assert watch.next_check_at() == 26
    watch.check(201, 10)
    assert watch.next_check_at() == 201 + 300 / 8
    watch.check(239, 11)
    assert watch.next_check_at() == 239.25

    watch = ProgressWatch(attrs.evolve(NOTHING, stall=1), 0.0)
    assert watch.next_check_at() == 0.125


def test_what_can_wait_waits_for_the_others() -> None:
    """Distant checks are grouped, never later than requested; checks that are soon stay."""
    assert {shared_moment(at, 100.0) for at in (101.5, 101.55, 101.74)} == {101.5}
    assert shared_moment(100.49, 100.0) == 100.49
    assert shared_moment(100.5, 100.0) == 100.5
    for hundredths in range(1, 1000):
        at = 100.13 + hundredths / 100
        assert 100.13 < shared_moment(at, 100.13) <= at


def test_the_earliest_limit_is_looked_at_first() -> None:
    """The next check is when the earliest of the limits can pass."""
    watch = ProgressWatch(
        attrs.evolve(NOTHING, stall=80, minimum_rate=0.001, rate_window=30), 0.0
    )
    watch.check(1, 100)
    watch.check(25, 100)
    assert watch.next_check_at() == 31
    watch.check(31, 200)
    watch.check(56, 200)
    assert watch.next_check_at() == 61


limits = st.none() | st.floats(0.001, 1000)


@given(
    st.builds(
        Deadlines,
        first_byte=limits,
        stall=limits,
        minimum_rate=limits,
        rate_window=st.floats(0.001, 1000),
    ),
    st.floats(0, 1e7),
    st.lists(st.integers(0, 3), max_size=30),
)
def test_watching_at_the_given_times_never_spins(
    deadlines: Deadlines, started_at: float, progress: list[int]
) -> None:
    """A check at the requested moment ends the transfer, or requests a later one."""
    watch = ProgressWatch(deadlines, started_at)
    now, moved = started_at, 0
    for more in progress:
        at = watch.next_check_at()
        if at is None:
            break

        assert at > now
        now, moved = at, moved + more
        if watch.check(now, moved) is not None:
            break


@given(st.floats(0.01, 1000), st.floats(0, 0.99), st.floats(0, 1e6))
def test_a_stall_is_seen_in_time(stall: float, part: float, started_at: float) -> None:
    """With checks as requested, a stall ends after the limit, late by an eighth of it at most."""
    last_byte_at = started_at + stall * part
    watch = ProgressWatch(attrs.evolve(NOTHING, stall=stall), started_at)
    end, now = None, started_at
    for _ in range(100):
        at = watch.next_check_at()
        assert at is not None
        now = at
        end = watch.check(now, int(now >= last_byte_at))
        if end is not None:
            break

    assert end is End.STALLED
    assert 0.999 <= (now - last_byte_at) / stall <= 1.126


def test_a_steady_transfer_that_stalls_is_seen_within_the_second() -> None:
    """If bytes arrived steadily, the moment of the last one is known well."""
    watch = ProgressWatch(attrs.evolve(NOTHING, stall=300), 0.0)
    last_byte_at = 1000.5
    end, now = None, 0.0
    for _ in range(4200):
        at = watch.next_check_at()
        assert at is not None
        now = at
        end = watch.check(now, int(1000 * min(now, last_byte_at)))
        if end is not None:
            break

    assert end is End.STALLED
    assert 300 <= now - last_byte_at <= 301


@pytest.mark.parametrize("begins_after", [0.1, 0.6, 1.4, 3.0])
def test_a_transfer_that_stalls_soon_is_seen_in_time(begins_after: float) -> None:
    """If bytes come only at the start, the end is late by a quarter of the pause before it."""
    watch = ProgressWatch(attrs.evolve(NOTHING, first_byte=60, stall=60), 0.0)
    watch.excuse(0.0)
    assert watch.check(0.0, 0) is None
    end, now = None, 0.0
    while end is None:
        at = watch.next_check_at()
        assert at is not None
        now = at
        end = watch.check(now, int(now >= begins_after))

    assert end is End.STALLED
    assert 60 <= now - begins_after <= 60 + max(0.25, begins_after / 4)


def test_a_check_at_the_given_time_is_never_too_early() -> None:
    """The sum of a moment and a limit is rounded once, so that no check is too early."""
    for tenths in range(1, 200):
        watch = ProgressWatch(attrs.evolve(NOTHING, first_byte=tenths / 10), 0.7)
        looks = 0
        end = None
        while end is None:
            at = watch.next_check_at()
            assert at is not None
            end = watch.check(at, 0)
            looks += 1

        assert end is End.FIRST_BYTE_TIMEOUT
        assert at == 0.7 + tenths / 10
        assert looks <= 24
