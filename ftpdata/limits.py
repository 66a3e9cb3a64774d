"""How many at a time, and how many failures: limits per address, per user, and of all.

RFC 2577 §5 asks for a limit of failed attempts. Pure: the time is an argument.
A server counts data connections, listeners and transfers with `Usage`, and
attempts that failed with `FailedAttempts`.

1. What is taken is given back once, however often it is tried, also by an exception.
2. A limit that refuses has taken nothing.
3. Nothing is remembered of a key that uses nothing; of failures no more than a
   fixed number of addresses.
"""

from __future__ import annotations

import functools
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Hashable
from types import TracebackType
from typing import Self

import attrs

from .addresses import HostPort
from .errors import DataConnectionError
from .outcome import End

__all__ = ["FailedAttempts", "Limits", "Slot", "Usage", "address_key"]


def address_key(address: str, *, ipv6_prefix: int = 64) -> str:
    """Make the key under which an address is counted.

    Args:
        address: An address as the kernel tells it. IPv4 mapped into IPv6 is IPv4.
        ipv6_prefix: Bits of an IPv6 address that count: who has one address
            has a network of 64 bits of them (RFC 4291 §2.5.1).

    Raises:
        BadAddress: Not an address. Reply 501.
    """

    return _key(address, ipv6_prefix)


# The same few addresses are counted again and again.
@functools.lru_cache(maxsize=1024)
def _key(address: str, ipv6_prefix: int) -> str:
    ip = HostPort(address.partition("%")[0], 1).ip
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)

    return str(ipaddress.IPv6Network((int(ip), ipv6_prefix), strict=False))


def _count(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{attribute.name} must be a number from 1, or None, not {value!r}")


def _limit() -> int | None:
    field: int | None = attrs.field(default=None, validator=attrs.validators.optional(_count))
    return field


@attrs.frozen(kw_only=True)
class Limits:
    """How many of each there may be at a time. None is no limit.

    Attributes:
        transfers: Transfers in all.
        transfers_per_user: Transfers of one user.
        connections: Data connections in all.
        connections_per_address: Data connections of one client address.
        listeners: Passive listeners, or reservations, in all.
        listeners_per_address: Those of one client address.

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
    """Counts one kind, in all and by key, up to two limits."""

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
            raise DataConnectionError(
                f"too many {self.what}, at most {self.limit} at a time", end=End.OPEN_FAILED
            )
        if used >= self.limit_per_key:
            raise DataConnectionError(
                f"too many {self.what} of one {self.of}, at most {self.limit_per_key} at a time",
                end=End.OPEN_FAILED,
            )

        self.total += 1
        self.by_key[key] = used + 1
        return Slot(self, key)


class Slot:
    """One of what is limited. Given back by `release`, or at the end of its ``with`` block."""

    __slots__ = ("_counter", "_key")

    def __init__(self, counter: _Counter, key: Hashable) -> None:
        self._counter: _Counter | None = counter
        self._key = key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
    """Counts what a server has in use, and refuses what is beyond its limits.

    Each method raises `DataConnectionError` (reply 425) where a limit is
    reached, and has taken nothing then. It is not safe between threads.

    Args:
        limits: The limits. Lower ones, set later, end nothing that runs.
        ipv6_prefix: See `address_key`.
    """

    def __init__(self, limits: Limits | None = None, *, ipv6_prefix: int = 64) -> None:
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
    """Counts attempts that failed, per address, and tells how long to refuse it.

    An address may fail `limit` times at once, and once more in each
    ``window / limit`` seconds; beyond that it is blocked, until the next such
    interval is over.

    Args:
        limit: Failures within `window` that block an address.
        window: Seconds.
        max_addresses: Addresses that are remembered. Beyond that the one that
            failed longest ago is forgotten: a flood cannot fill the memory.
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
        if limit < 1 or max_addresses < 1 or not 0 < window < math.inf:
            raise ValueError("limit, window and max_addresses must be positive")

        self._interval = window / limit
        self._window = window
        self._max_addresses = max_addresses
        self._ipv6_prefix = ipv6_prefix
        # When the failures of an address are forgotten, one after the other, the
        # last one goes at this moment. That is all there is to know of it.
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

        # In passing: the ones that failed longest ago, as far as they are forgiven.
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
        # Blocked while less than one more failure fits into the window; the
        # small part is for the rounding of sums of intervals.
        over = remembered - (self._window - self._interval)
        return over if over > self._interval * 1e-3 else 0.0

    def forgive(self, address: str) -> None:
        """Forget the failures of an address: it has succeeded."""

        self._forgotten_at.pop(self._key(address), None)

    def _key(self, address: str) -> str:
        return address_key(address, ipv6_prefix=self._ipv6_prefix)

    def _oldest(self, count: int) -> list[str]:
        return [key for key, _ in zip(self._forgotten_at, range(count), strict=False)]
