"""Whether the peer has everything is decided from what the kernel reports, given as arguments."""

from __future__ import annotations

import errno
import itertools
import math
import sys

import pytest

from ftpdata import _kernel as kernel
from ftpdata.connection import _delivery
from ftpdata.connection._delivery import Delivery, Sight, Verdict, answer_patience

RESET = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


def delivery(
    *, protect: bool = False, stall: float | None = 300.0, close: float = 30.0
) -> Delivery:
    """Return the delivery of a transfer that has sent everything at 100 seconds."""

    return Delivery(100.0, is_protected=protect, stall=stall, close=close)


@pytest.mark.parametrize("protect", [False, True])
@pytest.mark.parametrize(
    ("sight", "waiting", "is_answered", "verdict"),
    [
        # The kernel reports acknowledgements, and they decide.
        (Sight(0), 0, False, Verdict.DELIVERED),
        (Sight(1), 0, False, Verdict.PENDING),
        (Sight(1), 0, True, Verdict.PENDING),
        (Sight(0), 1, False, Verdict.PENDING),
        (Sight(0, unread=5), 0, False, Verdict.DELIVERED),
        # The peer's end alone proves nothing, and disproves nothing.
        (Sight(1, has_peer_ended=True), 0, True, Verdict.PENDING),
        (Sight(0, has_peer_ended=True), 0, True, Verdict.DELIVERED),
        (Sight(0, is_gone=True), 0, False, Verdict.DELIVERED),
        # A connection that is gone brings no more acknowledgements, with or without a known error.
        (Sight(1, is_gone=True), 0, False, Verdict.LOST),
        (Sight(0, is_gone=True), 1, False, Verdict.LOST),
        (Sight(1, is_gone=True, error=RESET), 0, False, Verdict.LOST),
        # The kernel does not report acknowledgements.
        (Sight(), 0, False, Verdict.PENDING),
        (Sight(), 0, True, Verdict.DELIVERED),
        (Sight(), 1, True, Verdict.PENDING),
        (Sight(error=RESET), 0, True, Verdict.LOST),
    ],
)
def test_what_a_look_means(
    sight: Sight, waiting: int, is_answered: bool, verdict: Verdict, protect: bool
) -> None:
    """The peer has everything once its kernel has acknowledged all data."""

    found = delivery(protect=protect).check(
        sight, 100.0, waiting=waiting, is_answered=is_answered
    )
    assert found is verdict


def test_a_reset_after_everything() -> None:
    """In clear the peer has not read everything; in TLS it may only lack the close_notify."""

    sight = Sight(0, is_gone=True, error=RESET)
    assert delivery().check(sight, 100.0) is Verdict.LOST
    assert delivery(protect=True).check(sight, 100.0) is Verdict.DELIVERED
    assert delivery(protect=True).check(sight, 100.0, waiting=1) is Verdict.LOST


def test_data_on_their_way_may_take_as_long_as_the_stall_limit() -> None:
    """An outage of 40 seconds near the end fails no transfer; `close` only limits the end."""

    watch = delivery()
    assert watch.check(Sight(1000), 100.0) is Verdict.PENDING
    assert watch.check(Sight(1000), 140.0) is Verdict.PENDING
    assert watch.check(Sight(1), 399.0) is Verdict.PENDING
    # Some bytes were acknowledged.
    assert watch.check(Sight(1), 699.0 - 0.5) is Verdict.PENDING
    assert watch.check(Sight(1), 699.0) is Verdict.STALLED


def test_the_end_of_file_may_take_as_long_as_the_limit_for_closing() -> None:
    """If the kernel reports nothing and no data wait here, only the peer's end is missing."""

    watch = delivery()
    assert watch.check(Sight(), 129.9) is Verdict.PENDING
    assert watch.next_look_at == 130.0
    assert watch.check(Sight(), 130.0) is Verdict.CLOSE_TIMEOUT
    assert delivery().check(Sight(), 399.0, waiting=1) is Verdict.PENDING


def test_one_limit_for_both() -> None:
    """A single limit applies to the whole wait."""

    watch = delivery(stall=None, close=5.0)
    assert watch.check(Sight(10), 104.9) is Verdict.PENDING
    assert watch.check(Sight(10), 105.0) is Verdict.CLOSE_TIMEOUT


def test_new_limits_begin_to_run_when_they_are_set() -> None:
    """This also holds for a `finish` with its own limit while another one already waits."""

    watch = delivery()
    watch.limit(110.0, stall=None, close=5.0)
    assert watch.check(Sight(10), 114.9) is Verdict.PENDING
    assert watch.check(Sight(10), 115.0) is Verdict.CLOSE_TIMEOUT


def looks(until: float, round_trip: float) -> list[float]:
    """Return the times of the checks on a peer that takes nothing."""

    watch = delivery(stall=math.inf, close=math.inf)
    now, times = 0.0, [0.0]
    while now < until:
        assert watch.check(Sight(10, round_trip=round_trip), 100.0 + now) is Verdict.PENDING
        now = watch.next_look_at - 100.0
        times.append(now)
    return times


@pytest.mark.parametrize("round_trip", [0.0, 0.0001, 0.02, 0.1, 0.3])
def test_a_look_is_late_by_a_quarter(round_trip: float) -> None:
    """The quarter is of the round trip, or of the acknowledgement's delay, up to 200 ms."""

    times = looks(0.2, round_trip)
    for last, at in itertools.pairwise(times):
        assert at - last <= max(0.00101, round_trip / 4 + 1e-9, last / 4 + 1e-9)
    # A delayed acknowledgement is noticed within 60 ms.
    if round_trip < 0.02:
        assert any(0.040 <= at <= 0.051 for at in times)
    # There are only a few checks.
    assert len([at for at in times if at < 0.040]) < 20


def test_thousands_that_stall_cost_little() -> None:
    """The checks are two seconds apart in the end, and many connections share a timer."""

    times = looks(60.0, 0.0001)
    gaps = [at - last for last, at in itertools.pairwise(times[-10:])]
    assert all(1.4 < gap <= 2.0 + 1e-9 for gap in gaps)
    assert len(times) < 70
    assert len([at for at in times if 0.5 < at < 10]) < 12


def test_a_peer_that_goes_on_is_looked_at_more_often_again() -> None:
    """The interval depends on the time since the last progress."""

    watch = delivery()
    watch.check(Sight(10), 150.0)
    assert watch.next_look_at > 151.0
    watch.check(Sight(9), 152.0)
    assert watch.next_look_at == pytest.approx(152.001)


def test_nothing_is_looked_at_where_the_kernel_tells_nothing() -> None:
    """In that case only the peer or a deadline ends the wait."""

    watch = delivery(close=math.inf)
    watch.check(Sight(), 100.0)
    assert watch.next_look_at == math.inf


def test_how_long_a_connection_stays_open_for_the_last_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stays open for a second, or for half of the closing limit if that is less."""

    assert answer_patience(None) == answer_patience(30.0) == 1.0
    assert answer_patience(0.5) == 0.25
    monkeypatch.setattr(_delivery, "ANSWER_PATIENCE", 0.1)
    assert answer_patience(30.0) == 0.1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports this")
def test_what_is_not_a_connection_is_unknown() -> None:
    """No answer is made up."""

    assert kernel.sight_of(None) == Sight()


@pytest.mark.parametrize(
    ("sight", "waiting", "has_left"),
    [
        (Sight(9, unsent=0), 0, True),
        (Sight(0, unsent=0), 0, True),
        (Sight(9, unsent=1), 0, False),
        (Sight(9, unsent=0), 1, False),
        (Sight(9), 0, False),
        (Sight(0), 0, True),
        # It is given up.
        (Sight(9, unsent=0, is_gone=True), 0, False),
        (Sight(9, unsent=0, error=RESET), 0, False),
    ],
)
def test_what_has_left_this_system(sight: Sight, waiting: int, has_left: bool) -> None:
    """Nothing waits in it, as far as is known, wherever the rest is."""

    found = delivery()
    found.check(sight, 100.0, waiting=waiting)
    assert found.has_left is has_left


def test_who_waits_for_the_last_byte_to_leave_is_told_within_a_sixteenth_of_a_round_trip() -> None:
    """For the peer's acknowledgement, a quarter does."""

    waiting, on_its_way = (Sight(9, round_trip=0.16, unsent=unsent) for unsent in (5, 0))
    for hurries, sight, share in (
        (True, waiting, 16),
        (True, on_its_way, 4),
        (False, waiting, 4),
    ):
        found = Delivery(100.0, is_protected=False, stall=300.0, hurries=hurries)
        found.check(sight, 100.0)
        assert found.next_look_at - 100.0 == pytest.approx(0.16 / share, rel=0.1)
