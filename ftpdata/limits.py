"""Limits per address, per user and in total: how many at a time, and how many failures.

RFC 2577 §5 asks for a limit of failed attempts. Pure: the time is an argument.
A server counts data connections, listeners and transfers with `Usage`, and
attempts that failed with `FailedAttempts`.

1. Whatever is taken is given back exactly once, however often that is tried, and also
   after an exception.
2. A limit that refuses has taken nothing.
3. A key that uses nothing occupies no memory; failures are remembered for no more than
   a fixed number of addresses.
"""

from __future__ import annotations

import functools
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Self

import attrs

from ._checks import check_call, check_range, check_seconds, checked, ranged
from .addresses import HostPort
from .errors import DataConnectionError
from .outcome import End

__all__ = ["FailedAttempts", "Limits", "Slot", "Usage", "address_key"]


def address_key(address: str, *, ipv6_prefix: int = 64) -> str:
    """Make the key under which an address is counted.

    Args:
        address: An address as the kernel reports it. IPv4 mapped into IPv6 counts as IPv4.
        ipv6_prefix: Bits of an IPv6 address that count: a client that has one
            address has a whole network of 64 bits (RFC 4291 §2.5.1).

    Raises:
        BadAddress: Not an address. Reply 501.
    """

    if address.__class__ is not str or ipv6_prefix.__class__ is not int:
        check_call(address_key, locals())
    return _key(address, ipv6_prefix)


# The same few addresses are counted over and over.
@functools.lru_cache(maxsize=1024)
def _key(address: str, ipv6_prefix: int) -> str:
    check_range("ipv6_prefix", ipv6_prefix, 1, 128)
    ip = HostPort(address.partition("%")[0], 1).ip
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)

    return str(ipaddress.IPv6Network((int(ip), ipv6_prefix), strict=False))


def _limit() -> int | None:
    field: int | None = attrs.field(default=None, validator=ranged(1))
    return field


@attrs.frozen(kw_only=True, field_transformer=checked)
class Limits:
    """How many of each there may be at a time. None means no limit.

    Attributes:
        transfers: Transfers in all.
        transfers_per_user: Transfers of one user.
        connections: Data connections in all.
        connections_per_address: Data connections of one client address.
        listeners: Passive listeners, or reservations, in all.
        listeners_per_address: Listeners, or reservations, of one client address.

    Raises:
        ValueError: Not a number from 1.
    """

    transfers: int | None = _limit()
    transfers_per_user: int | None = _limit()
    connections: int | None = _limit()
    connections_per_address: int | None = _limit()
    listeners: int | None = _limit()
    listeners_per_address: int | None = _limit()


class _Counter:
    """Counts one kind of resource, in total and by key, up to two limits."""

    def __init__(self, what: str, of: str, total: int | None, per_key: int | None) -> None:
        self.what = what
        self.of = of
        self.limit: float = math.inf if total is None else total
        self.limit_per_key: float = math.inf if per_key is None else per_key
        self.total: int = 0
        self.by_key: dict[Hashable, int] = {}

    def take(self, key: Hashable) -> Slot:
        used = self.by_key.get(key, 0)
        if self.total >= self.limit:
            raise _refusal(f"too many {self.what}, at most {self.limit} at a time")
        if used >= self.limit_per_key:
            limit = self.limit_per_key
            raise _refusal(f"too many {self.what} of one {self.of}, at most {limit} at a time")

        self.total += 1
        self.by_key[key] = used + 1
        return Slot(self, key)


class Slot:
    """A share of a limit. Given back by `release`, or at the end of its ``with`` block."""

    __slots__ = ("_counter", "_key")

    def __init__(self, counter: _Counter, key: Hashable) -> None:
        self._counter: _Counter | None = counter
        self._key = key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.release()

    def release(self) -> None:
        """Give it back. Idempotent."""

        counter, self._counter = self._counter, None
        if counter is None:
            return

        counter.total -= 1
        left = counter.by_key[self._key] - 1
        if left:
            counter.by_key[self._key] = left
        else:
            del counter.by_key[self._key]


class Usage:
    """Counts what a server has in use, and refuses more than its limits allow.

    Each method raises `DataConnectionError` (reply 425) if a limit is reached,
    and has then taken nothing. It is not thread-safe.

    Args:
        limits: The limits. Lower limits that are set later end nothing that runs.
        ipv6_prefix: See `address_key`.
    """

    def __init__(self, limits: Limits | None = None, *, ipv6_prefix: int = 64) -> None:
        check_call(Usage.__init__, locals())
        check_range("ipv6_prefix", ipv6_prefix, 1, 128)
        self._ipv6_prefix = ipv6_prefix
        limits = limits or Limits()
        self._transfers = _Counter(
            "transfers", "user", limits.transfers, limits.transfers_per_user
        )
        self._connections = _Counter(
            "data connections", "address", limits.connections, limits.connections_per_address
        )
        self._listeners = _Counter(
            "passive listeners", "address", limits.listeners, limits.listeners_per_address
        )

    @property
    def transfers(self) -> int:
        """Transfers at this moment."""

        return self._transfers.total

    @property
    def connections(self) -> int:
        """Data connections at this moment."""

        return self._connections.total

    @property
    def listeners(self) -> int:
        """Passive listeners at this moment."""

        return self._listeners.total

    def take_transfer(self, user: Hashable) -> Slot:
        """Count a transfer of a user."""

        return self._transfers.take(user)

    def take_connection(self, address: str) -> Slot:
        """Count a data connection of a client address."""

        return self._connections.take(address_key(address, ipv6_prefix=self._ipv6_prefix))

    def take_listener(self, address: str) -> Slot:
        """Count a passive listener, or a reservation, of a client address."""

        return self._listeners.take(address_key(address, ipv6_prefix=self._ipv6_prefix))


class FailedAttempts:
    """Counts failed attempts per address, and says how long to refuse an address.

    An address may fail `limit` times at once, and once more in each
    ``window / limit`` seconds; beyond that it is blocked, until the next such
    interval is over.

    Args:
        limit: Failures within `window` that block an address.
        window: Seconds.
        max_addresses: Addresses that are remembered. Beyond that, the address that
            failed longest ago is forgotten, so that a flood cannot fill the memory.
        ipv6_prefix: See `address_key`.

    Raises:
        ValueError: A number is not positive.
    """

    def __init__(
        self,
        limit: int = 10,
        *,
        window: float = 60.0,
        max_addresses: int = 100_000,
        ipv6_prefix: int = 64,
    ) -> None:
        check_call(FailedAttempts.__init__, locals())
        check_range("limit", limit, 1)
        check_seconds("window", window)
        check_range("max_addresses", max_addresses, 1)
        check_range("ipv6_prefix", ipv6_prefix, 1, 128)
        self._interval = window / limit
        self._window = window
        self._max_addresses = max_addresses
        self._ipv6_prefix = ipv6_prefix
        # The failures of an address are forgotten one after the other. The moment at which the
        # last one is forgotten describes the address completely.
        self._forgotten_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of addresses that are remembered."""

        return len(self._forgotten_at)

    def record(self, address: str, *, now: float) -> None:
        """Take note of a failure.

        Args:
            address: The client's.
            now: The time, in seconds of any monotonic clock.

        Raises:
            BadAddress: Not an address. Reply 501.
        """

        key = self._key(address)
        forgotten_at = max(self._forgotten_at.get(key, now), now) + self._interval
        self._forgotten_at[key] = min(forgotten_at, now + self._window)
        self._forgotten_at.move_to_end(key)
        while len(self._forgotten_at) > self._max_addresses:
            self._forgotten_at.popitem(last=False)

        # In passing, forget the addresses that failed longest ago and are no longer blocked.
        for oldest in list(self._oldest(2)):
            if self._forgotten_at[oldest] <= now:
                del self._forgotten_at[oldest]

    def blocked_for(self, address: str, *, now: float) -> float:
        """Return the seconds for which the address is to be refused, 0.0 if it is not.

        Args:
            address: The client's.
            now: The time, on the clock of `record`.

        Raises:
            BadAddress: Not an address. Reply 501.
        """

        remembered = self._forgotten_at.get(self._key(address), now) - now
        # An address is blocked while less than one more failure fits into the window; the
        # tolerance covers rounding in sums of intervals.
        over = remembered - (self._window - self._interval)
        return over if over > self._interval * 1e-3 else 0.0

    def withdraw(self, address: str, *, now: float) -> None:
        """Take back one failure that was recorded, as an attempt that might fail and did not.

        A server refuses an attempt of a blocked address. It records any other one before it
        judges it, and withdraws the failure if the attempt succeeds. Then many attempts at the
        same moment have no more guesses than they would have one after the other.

        Args:
            address: The client's.
            now: The time, on the clock of `record`.

        Raises:
            BadAddress: Not an address. Reply 501.
        """

        key = self._key(address)
        forgotten_at = self._forgotten_at.get(key, now) - self._interval
        if forgotten_at > now:
            self._forgotten_at[key] = forgotten_at
        else:
            self._forgotten_at.pop(key, None)

    def forgive(self, address: str) -> None:
        """Forget the failures of an address, which has succeeded."""

        self._forgotten_at.pop(self._key(address), None)

    def _key(self, address: str) -> str:
        return address_key(address, ipv6_prefix=self._ipv6_prefix)

    def _oldest(self, count: int) -> list[str]:
        return [key for key, _ in zip(self._forgotten_at, range(count), strict=False)]


def _refusal(text: str) -> DataConnectionError:
    """Make the error of a limit that is reached; the client may know which."""

    return DataConnectionError(text, end=End.OPEN_FAILED, reply_text=text)
