"""What is taken is given back, a refusal takes nothing, and memory is bounded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.errors import BadAddress, DataConnectionError
from ftpdata.limits import FailedAttempts, Limits, Slot, Usage, address_key


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_addresses_are_counted_by_their_owner(address: str, key: str) -> None:
    """An IPv6 address counts as its network: whoever has one address has them all."""

    assert address_key(address) == key


def test_what_is_not_an_address_cannot_be_counted() -> None:
    """It is a 501, as everywhere."""

    with pytest.raises(BadAddress):
        address_key("localhost")


@pytest.mark.parametrize("value", [0, -1])
def test_limits_are_numbers_from_one(value: int) -> None:
    """None means no limit; a limit of zero would refuse everybody."""

    with pytest.raises(ValueError, match="transfers"):
        Limits(transfers=value)


def test_transfers_in_all_and_of_one_user() -> None:
    """Both limits hold; a slot that was given back can be taken again."""

    usage = Usage(Limits(transfers=3, transfers_per_user=2))
    mine = [usage.take_transfer("me"), usage.take_transfer("me")]
    with pytest.raises(DataConnectionError, match="of one user, at most 2") as caught:
        usage.take_transfer("me")
    assert caught.value.reply_code == 425
    other = usage.take_transfer("you")
    with pytest.raises(DataConnectionError, match="at most 3"):
        usage.take_transfer("third")
    assert usage.transfers == 3
    mine[0].release()
    mine[0].release()
    assert usage.transfers == 2
    with usage.take_transfer("third"):
        assert usage.transfers == 3
    other.release()
    mine[1].release()
    assert usage.transfers == 0
    assert usage._transfers.by_key == {}


def test_an_exception_gives_the_slot_back() -> None:
    """A failed transfer is over, too."""

    usage = Usage(Limits(transfers=1))
    with pytest.raises(KeyError), usage.take_transfer("me"):
        raise KeyError
    usage.take_transfer("me").release()


@pytest.mark.parametrize("kind", ["connection", "listener"])
def test_one_address_is_limited_and_others_are_not(kind: str) -> None:
    """Neighbours in an IPv6 network count as one; other addresses are not limited."""

    limits = Limits(
        connections_per_address=1, listeners_per_address=1, connections=2, listeners=2
    )
    usage = Usage(limits)
    take = usage.take_connection if kind == "connection" else usage.take_listener
    slot = take("2001:db8::1")
    with pytest.raises(DataConnectionError, match="one address"):
        take("2001:db8::2")
    second = take("192.0.2.1")
    assert (usage.connections, usage.listeners) == ((2, 0) if kind == "connection" else (0, 2))
    with pytest.raises(DataConnectionError, match="at most 2"):
        take("192.0.2.2")
    slot.release()
    second.release()
    take("2001:db8::2").release()


def test_without_limits_nothing_is_refused() -> None:
    """If every limit is None, transfers are only counted."""

    usage = Usage()
    slots = [usage.take_connection("192.0.2.1") for _ in range(1000)]
    assert usage.connections == 1000
    for slot in slots:
        slot.release()
    assert usage.connections == 0


@given(
    total=st.none() | st.integers(1, 6),
    per_user=st.none() | st.integers(1, 4),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60),
)
def test_no_limit_is_ever_passed(
    total: int | None, per_user: int | None, steps: list[tuple[bool, int]]
) -> None:
    """In any order, the counts are those of the held slots, and within the limits."""

    usage = Usage(Limits(transfers=total, transfers_per_user=per_user))
    held: dict[int, list[Slot]] = {}
    for take, user in steps:
        mine = held.setdefault(user, [])
        count = sum(map(len, held.values()))
        if not take:
            if mine:
                mine.pop().release()
        elif count < (total or math.inf) and len(mine) < (per_user or math.inf):
            mine.append(usage.take_transfer(user))
        else:
            with pytest.raises(DataConnectionError):
                usage.take_transfer(user)
        assert usage.transfers == sum(map(len, held.values()))


# Failures


def test_failures_block_an_address_for_a_while() -> None:
    """The limit can be used up at once, then one attempt in each interval; success forgives."""

    failed = FailedAttempts(3, window=30.0)
    for _ in range(3):
        assert failed.blocked_for("192.0.2.1", now=100.0) == 0.0
        failed.record("192.0.2.1", now=100.0)

    assert failed.blocked_for("192.0.2.1", now=100.0) == pytest.approx(10.0)
    assert failed.blocked_for("192.0.2.1", now=109.0) == pytest.approx(1.0)
    assert failed.blocked_for("192.0.2.1", now=110.0) == 0.0
    assert failed.blocked_for("192.0.2.2", now=100.0) == 0.0
    failed.record("192.0.2.1", now=110.0)
    assert failed.blocked_for("192.0.2.1", now=110.0) == pytest.approx(10.0)
    failed.forgive("192.0.2.1")
    assert failed.blocked_for("192.0.2.1", now=110.0) == 0.0
    assert len(failed) == 0


def test_a_failure_that_was_recorded_in_advance_is_taken_back() -> None:
    """One, not all; and what is not there cannot be taken back."""

    failed = FailedAttempts(3, window=30.0)
    for _ in range(3):
        failed.record("192.0.2.1", now=100.0)
    failed.withdraw("192.0.2.1", now=100.0)
    assert failed.blocked_for("192.0.2.1", now=100.0) == 0.0
    failed.record("192.0.2.1", now=100.0)
    assert failed.blocked_for("192.0.2.1", now=100.0) == pytest.approx(10.0)
    for _ in range(5):
        failed.withdraw("192.0.2.1", now=100.0)
    assert len(failed) == 0
    for _ in range(2):
        failed.record("192.0.2.1", now=100.0)
    assert failed.blocked_for("192.0.2.1", now=100.0) == 0.0
    failed.record("192.0.2.1", now=100.0)
    assert failed.blocked_for("192.0.2.1", now=100.0) == pytest.approx(10.0)


def test_an_address_that_goes_on_failing_is_not_blocked_for_ever() -> None:
    """A thousand failures block no longer than the limit does."""

    failed = FailedAttempts(10, window=60.0)
    for _ in range(1000):
        failed.record("192.0.2.1", now=0.0)
    assert failed.blocked_for("192.0.2.1", now=0.0) == pytest.approx(6.0)


@given(limit=st.integers(1, 50), window=st.floats(1, 1e5), now=st.floats(0, 1e8))
def test_exactly_the_limit_blocks(limit: int, window: float, now: float) -> None:
    """One failure less does not block, whatever the rounding."""

    failed = FailedAttempts(limit, window=window)
    for _ in range(limit - 1):
        failed.record("192.0.2.1", now=now)
    assert failed.blocked_for("192.0.2.1", now=now) == 0.0
    failed.record("192.0.2.1", now=now)
    assert failed.blocked_for("192.0.2.1", now=now) > 0.0
    assert failed.blocked_for("192.0.2.1", now=now + window) == 0.0


def test_a_flood_of_addresses_does_not_fill_the_memory() -> None:
    """The oldest failure is forgotten first; forgiven addresses are removed in passing."""

    failed = FailedAttempts(1, window=10.0, max_addresses=100)
    for number in range(1000):
        failed.record(f"10.0.{number >> 8}.{number & 255}", now=0.0)
    assert len(failed) == 100
    assert failed.blocked_for("10.0.0.1", now=0.0) == 0.0
    assert failed.blocked_for("10.0.3.231", now=0.0) > 0.0
    for number in range(100):
        failed.record("192.0.2.1", now=11.0 + number)
    assert len(failed) == 1


@pytest.mark.parametrize(
    "arguments", [{"limit": 0}, {"window": 0.0}, {"window": math.nan}, {"max_addresses": 0}]
)
def test_numbers_that_are_not_valid(arguments: dict[str, float]) -> None:
    """A limit of zero failures would block everybody."""

    with pytest.raises(ValueError, match=r"positive|at least 1"):
        FailedAttempts(**arguments)  # type: ignore[arg-type]
