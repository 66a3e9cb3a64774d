"""Trees of token buckets, on a simulated clock."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.throttle import TokenBucket

START = 1000.0


def simulate(
    buckets: list[TokenBucket],
    *,
    seconds: float,
    chunk: int = 16_384,
    lateness: float = 0.0,
    start: float = START,
    at: dict[float, Callable[[], None]] | None = None,
) -> list[tuple[float, int, int]]:
    """Let one transfer for each bucket move chunks, with the waits that the bucket asks for.

    Returns:
        Moments, buckets by their index, and bytes, in the order of time.
    """
    randomness = random.Random(1)
    moved: list[tuple[float, int, int]] = []
    events: list[tuple[float, int, int | Callable[[], None]]] = [
        (start, number, number) for number in range(len(buckets))
    ]
    events += [(start + moment, -1, action) for moment, action in (at or {}).items()]
    heapq.heapify(events)
    while events and events[0][0] < start + seconds:
        now, _, what = heapq.heappop(events)
        if not isinstance(what, int):
            what()
            continue

        delay = buckets[what].reserve(chunk, now)
        passed = now + delay + (randomness.uniform(0, lateness) if delay else 0.0)
        moved.append((passed, what, chunk))
        # Moving takes time, too; without any limit this ends the simulation.
        heapq.heappush(events, (passed + 1e-5, what, what))

    return sorted(moment for moment in moved if moment[0] < start + seconds)


def rate_of(moved: list[tuple[float, int, int]], since: float, until: float, *who: int) -> float:
    """Return the mean rate between two moments, of all buckets or of some."""
    total = sum(
        size
        for moment, number, size in moved
        if START + since <= moment < START + until and (not who or number in who)
    )
    return total / (until - since)


def heaviest_window(moved: list[tuple[float, int, int]], width: float) -> int:
    """Return the most bytes that passed within any window of this width."""
    most = held = first = 0
    for moment, _, size in moved:
        held += size
        while moved[first][0] < moment - width:
            held -= moved[first][2]
            first += 1
        most = max(most, held)

    return most


# One bucket


def test_full_bucket_lets_its_burst_pass_at_once() -> None:
    """A new bucket is full; bytes beyond the burst wait for their turn."""
    bucket = TokenBucket(1000, burst=300, now=START)
    assert bucket.reserve(100, START) == 0.0
    assert bucket.reserve(200, START) == 0.0
    assert bucket.reserve(50, START) == pytest.approx(0.05)
    assert bucket.reserve(50, START) == pytest.approx(0.1)
    assert bucket.reserve(50, START + 0.1) == pytest.approx(0.05)


def test_reservation_larger_than_the_burst_goes_into_debt() -> None:
    """It waits until the bucket could have held it, and the next reservation waits after it."""
    bucket = TokenBucket(1000, burst=100, now=START)
    assert bucket.reserve(5100, START) == pytest.approx(5.0)
    assert bucket.reserve(1000, START) == pytest.approx(6.0)
    assert bucket.reserve(1000, START + 6) == pytest.approx(1.0)


def test_pause_does_not_save_up_more_than_the_burst() -> None:
    """After an hour without transfers the burst passes at once, and no more."""
    bucket = TokenBucket(1000, burst=100, now=START)
    assert bucket.reserve(100, START + 3600) == 0.0
    assert bucket.reserve(100, START + 3600) == pytest.approx(0.1)


def test_default_burst_is_a_tenth_of_a_second() -> None:
    """The burst follows the rate, unless it was given."""
    bucket = TokenBucket(1000, now=START)
    assert bucket.burst == pytest.approx(100)
    bucket.rate = 50_000
    assert bucket.burst == pytest.approx(5000)
    bucket.rate = None
    assert bucket.burst is None
    fixed = TokenBucket(1000, burst=7, now=START)
    fixed.rate = 50_000
    assert fixed.burst == 7


def test_no_limit() -> None:
    """A bucket without a rate never makes anybody wait."""
    bucket = TokenBucket(None, now=START)
    for now in (START, START, START + 1):
        assert bucket.reserve(10**12, now) == 0.0

    bucket.unused(10**12)
    assert bucket.rate is None
    assert bucket.parent is None


def test_nothing_reserved_waits_for_what_is_owed() -> None:
    """Reserving zero bytes is legal, and returns how long the next byte would wait."""
    bucket = TokenBucket(1000, burst=100, now=START)
    assert bucket.reserve(0, START) == 0.0
    bucket.reserve(1100, START)
    assert bucket.reserve(0, START) == pytest.approx(1.0)
    assert bucket.reserve(0, START) == pytest.approx(1.0)


def test_clock_that_goes_back_gives_nothing_away() -> None:
    """A moment before the last one results in a longer wait, not a shorter one."""
    bucket = TokenBucket(1000, burst=100, now=START)
    assert bucket.reserve(1100, START) == pytest.approx(1.0)
    assert bucket.reserve(0, START - 1) == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [0, 0.0, -1, -0.5, math.nan, math.inf, -math.inf])
def test_rate_and_burst_are_positive(bad: float) -> None:
    """An invalid rate is refused, also when it is set later, and changes nothing."""
    with pytest.raises(ValueError, match="rate"):
        TokenBucket(bad, now=START)

    with pytest.raises(ValueError, match="burst"):
        TokenBucket(1000, burst=bad, now=START)

    bucket = TokenBucket(1000, now=START)
    with pytest.raises(ValueError, match="rate"):
        bucket.rate = bad

    assert bucket.rate == 1000


def test_negative_bytes_are_refused() -> None:
    """Neither a reservation nor a return can be negative."""
    bucket = TokenBucket(1000, now=START)
    with pytest.raises(ValueError, match="to reserve, not -1"):
        bucket.reserve(-1, START)

    with pytest.raises(ValueError, match="unused bytes, not -1"):
        bucket.unused(-1)


def test_bucket_prints_its_place_in_the_tree() -> None:
    """The representation shows the rates up to the root."""
    root = TokenBucket(None, now=START)
    child = TokenBucket(10, parent=root, now=START)
    assert repr(child) == "<TokenBucket rate=10 in <TokenBucket rate=None>>"
    assert child.parent is root


class ReferenceBucket:
    """The textbook's bucket, counted in bytes: a second implementation."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, now

    def reserve(self, nbytes: int, now: float) -> float:
        """Fill the bucket for the elapsed time, and take from it."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        self.tokens -= nbytes
        return max(0.0, -self.tokens / self.rate)


steps = st.lists(st.tuples(st.integers(0, 200_000), st.floats(0, 5)), max_size=40)


@settings(max_examples=300)
@given(st.floats(10, 1e6), st.floats(1, 1e6), steps)
def test_same_waits_as_the_textbook(
    rate: float, burst: float, sequence: list[tuple[int, float]]
) -> None:
    """For any reservations at any moments, the waits are those of a bucket counted in bytes."""
    bucket = TokenBucket(rate, burst=burst, now=START)
    reference = ReferenceBucket(rate, burst, START)
    now = START
    for nbytes, pause in sequence:
        now += pause
        expected = reference.reserve(nbytes, now)
        assert bucket.reserve(nbytes, now) == pytest.approx(expected, rel=1e-6, abs=2e-6)


tree_steps = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 100_000), st.floats(0, 0.5)), max_size=60
)


@settings(max_examples=300)
@given(st.floats(1e3, 1e6), st.floats(1e3, 1e6), tree_steps)
def test_tree_never_passes_more_than_the_root_allows(
    root_rate: float, user_rate: float, sequence: list[tuple[int, int, float]]
) -> None:
    """At any moment, at most burst plus rate times time has passed, whoever reserved it."""
    root = TokenBucket(root_rate, now=START)
    users = [TokenBucket(user_rate, parent=root, now=START) for _ in range(2)]
    leaves = [TokenBucket(None, parent=users[number % 2], now=START) for number in range(5)]
    now = START
    passed: list[tuple[float, int, int]] = []
    for number, nbytes, pause in sequence:
        now += pause
        delay = leaves[number].reserve(nbytes, now)
        assert delay >= 0
        passed.append((now + delay, number, nbytes))

    passed.sort()
    for who, rate in (({0, 1, 2, 3, 4}, root_rate), ({0, 2, 4}, user_rate), ({1, 3}, user_rate)):
        total = 0
        for moment, number, nbytes in passed:
            total += nbytes if number in who else 0
            if number in who:
                assert total <= rate * (0.1 + moment - START) * (1 + 1e-6) + 1e-3


# Long runs


def test_long_run_of_one_transfer() -> None:
    """The mean rate is the rate, even if timers are late."""
    for lateness in (0.0, 0.002, 0.02):
        bucket = TokenBucket(1_000_000, now=START)
        moved = simulate([bucket], seconds=60, lateness=lateness)
        assert rate_of(moved, 0, 60) == pytest.approx(1_000_000, rel=0.01)


def test_children_share_a_parent_evenly() -> None:
    """Five transfers under one limit use it up together, each with a fifth of it."""
    root = TokenBucket(1_000_000, now=START)
    children = [TokenBucket(None, parent=root, now=START) for _ in range(5)]
    moved = simulate(children, seconds=100, lateness=0.002)
    assert rate_of(moved, 0, 100) == pytest.approx(1_000_000, rel=0.01)
    for number in range(5):
        assert rate_of(moved, 0, 100, number) == pytest.approx(200_000, rel=0.01)


def test_slow_child_leaves_the_rest_to_the_others() -> None:
    """A child with its own limit keeps to it, and its parent is not idle meanwhile."""
    root = TokenBucket(1_000_000, now=START)
    children = [TokenBucket(rate, parent=root, now=START) for rate in (50_000, None, None)]
    moved = simulate(children, seconds=200, lateness=0.001)
    assert rate_of(moved, 0, 200) == pytest.approx(1_000_000, rel=0.01)
    assert rate_of(moved, 0, 200, 0) == pytest.approx(50_000, rel=0.01)
    assert rate_of(moved, 0, 200, 1) == pytest.approx(475_000, rel=0.01)


def test_three_levels() -> None:
    """For a connection, a user and everyone, each limit holds, and the tightest one decides."""
    everyone = TokenBucket(1_000_000, now=START)
    users = [TokenBucket(rate, parent=everyone, now=START) for rate in (300_000, None)]
    connections = [
        TokenBucket(rate, parent=user, now=START)
        for user, rate in ((users[0], None), (users[0], 100_000), (users[1], None))
    ]
    moved = simulate(connections, seconds=200, lateness=0.001)
    assert rate_of(moved, 0, 200, 0, 1) == pytest.approx(300_000, rel=0.01)
    assert rate_of(moved, 0, 200, 0) == pytest.approx(200_000, rel=0.01)
    assert rate_of(moved, 0, 200, 1) == pytest.approx(100_000, rel=0.01)
    assert rate_of(moved, 0, 200, 2) == pytest.approx(700_000, rel=0.01)


def test_no_bursts() -> None:
    """No tenth of a second passes more than twice the rate, and there is no gap."""
    root = TokenBucket(1_000_000, now=START)
    children = [TokenBucket(None, parent=root, now=START) for _ in range(8)]
    moved = simulate(children, seconds=20)
    assert heaviest_window(moved, 0.1) <= 200_000 + 1
    moments = [moment for moment, _, _ in moved]
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert max(gaps) < 0.02


def test_child_that_waited_for_its_parent_does_not_catch_up() -> None:
    """A child's own limit also holds just after its parent became free."""
    root = TokenBucket(10_000, burst=1000, now=START)
    other = TokenBucket(None, parent=root, now=START)
    child = TokenBucket(1000, burst=100, parent=root, now=START)
    assert other.reserve(21_000, START) == pytest.approx(2.0)
    assert child.reserve(100, START) == pytest.approx(2.01)
    # The child's bucket was empty when its bytes passed, not two seconds before.
    assert child.reserve(100, START + 2.01) == pytest.approx(0.1)


# Changes while transfers run


def test_live_change_of_the_rate() -> None:
    """A new rate holds from the next reservation, up and down, for all children together."""
    root = TokenBucket(1_000_000, now=START)
    children = [TokenBucket(None, parent=root, now=START) for _ in range(3)]

    def change(rate: float | None) -> Callable[[], None]:
        return lambda: setattr(root, "rate", rate)

    moved = simulate(
        children,
        seconds=90,
        lateness=0.001,
        at={30.0: change(200_000), 60.0: change(3_000_000)},
    )
    assert rate_of(moved, 0, 30) == pytest.approx(1_000_000, rel=0.01)
    assert rate_of(moved, 30, 60) == pytest.approx(200_000, rel=0.01)
    assert rate_of(moved, 61, 90) == pytest.approx(3_000_000, rel=0.01)


def test_limit_lifted_and_set_again() -> None:
    """None lifts the limit and forgets the debt; a later limit starts with a full bucket."""
    bucket = TokenBucket(1000, burst=100, now=START)
    bucket.reserve(10_100, START)
    bucket.rate = None
    assert bucket.reserve(10**9, START) == 0.0
    for rate in (1000, None, 1000):
        bucket.rate = rate

    assert bucket.reserve(100, START) == 0.0
    assert bucket.reserve(10_000, START) == pytest.approx(10.0)
    for rate in (None, 1000):
        bucket.rate = rate

    assert bucket.reserve(100, START) == 0.0
    assert bucket.reserve(100, START) == pytest.approx(0.1)


def test_faster_rate_pays_a_debt_sooner() -> None:
    """A higher rate helps the next reservations at once."""
    bucket = TokenBucket(1000, burst=100, now=START)
    assert bucket.reserve(10_100, START + 100) == pytest.approx(10.0)
    bucket.rate = 10_000
    assert bucket.reserve(0, START + 100) == pytest.approx(1.0)


def test_slower_rate_takes_nothing_back() -> None:
    """What was reserved keeps its moment; what is reserved now has the new rate."""
    bucket = TokenBucket(1000, burst=100, now=START)
    assert bucket.reserve(1100, START) == pytest.approx(1.0)
    bucket.rate = 100
    assert bucket.reserve(100, START) == pytest.approx(1.1)
    # Time that passed at the old rate is not counted again at the new one.
    idle = TokenBucket(1_000_000, burst=1000, now=START)
    idle.reserve(100_000, START)
    idle.rate = 10
    assert idle.reserve(1000, START + 10) == 0.0


# Giving back


def test_unused_bytes_are_given_back_up_to_the_root() -> None:
    """Bytes that were reserved and not moved are available to the next one, at every level."""
    root = TokenBucket(1000, burst=1500, now=START)
    user = TokenBucket(None, parent=root, now=START)
    child = TokenBucket(500, burst=100, parent=user, now=START)
    assert child.reserve(1100, START) == pytest.approx(2.0)
    child.unused(1100)
    assert child.reserve(100, START) == 0.0
    assert child.reserve(100, START) == pytest.approx(0.2)
    assert root.reserve(1300, START) == 0.0
    assert root.reserve(100, START) == pytest.approx(0.1)


def test_giving_back_does_not_overfill() -> None:
    """The bucket never has more than the burst, whatever is given back."""
    bucket = TokenBucket(1000, burst=100, now=START)
    bucket.reserve(100, START)
    bucket.unused(100_000)
    assert bucket.reserve(100, START) == 0.0
    assert bucket.reserve(100, START) == pytest.approx(0.1)


def short_reads(bucket: TokenBucket, seconds: float) -> Iterator[int]:
    """Reserve 8 KiB each time, and move a quarter of it."""
    now = START
    while now < START + seconds:
        now += bucket.reserve(8192, now)
        bucket.unused(6144)
        yield 2048


def test_short_reads_do_not_lower_the_rate() -> None:
    """A transfer that moves less than it reserves still gets its rate."""
    bucket = TokenBucket(100_000, now=START)
    assert sum(short_reads(bucket, 100)) / 100 == pytest.approx(100_000, rel=0.01)
