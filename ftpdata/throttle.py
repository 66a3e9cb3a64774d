"""Token buckets in a tree: how long a transfer must wait, for rates per connection, user and total.

Pure: the time is an argument, and nothing waits here. The caller reserves bytes, waits
for the seconds that `TokenBucket.reserve` returns, and moves them.

1. At any moment a bucket has let pass at most its burst, plus its rate times
   its age. (A bucket above a slower one counts bytes when they are reserved; they
   may pass later, after the wait that the slower one demands.)
2. Reservations are served in the order in which they are made. Children that
   reserve pieces of one size, one piece at a time, share a parent evenly.
3. No bucket ever holds more than its burst: idle time is not saved up beyond it,
   and nothing runs in steps of a second.
"""

from __future__ import annotations

import sys

from ._checks import check_call, check_range, check_seconds

__all__ = ["TokenBucket"]

_BURST_SECONDS = 0.1
# No timer is finer; a shorter wait is only rounding in sums of seconds.
_SHORTEST_WAIT = 1e-6


class TokenBucket:
    """A rate, shared by everything that reserves from the bucket or from its children.

    A tree is made from the root: ``everyone = TokenBucket(10_000_000, now=now)``,
    ``user = TokenBucket(1_000_000, parent=everyone, now=now)``,
    ``connection = TokenBucket(None, parent=user, now=now)``. Each direction of
    transfer needs a tree of its own.

    A bucket starts full. It is not thread-safe.

    Args:
        rate: Bytes per second; None for no limit.
        burst: Bytes that may pass at once after a pause. None takes the bytes that
            pass in a tenth of a second at the current rate: enough that a late
            timer loses nothing, too few to be noticed.
        parent: The bucket that this one shares with others.
        now: The time, in seconds of any monotonic clock, the same one for the
            whole tree.

    Raises:
        ValueError: `rate` or `burst` is not a positive, finite number.
    """

    __slots__ = ("_burst", "_full_at", "_is_fresh", "_parent", "_rate", "_reserved_at")

    def __init__(
        self,
        rate: float | None,
        *,
        burst: float | None = None,
        parent: TokenBucket | None = None,
        now: float,
    ) -> None:
        check_call(TokenBucket.__init__, locals())
        check_range("now", now, -sys.float_info.max, sys.float_info.max)
        check_seconds("rate", rate)
        check_seconds("burst", burst)
        self._rate = rate
        self._burst = burst
        self._parent = parent
        # The moment at which it will be full again describes a bucket completely: until
        # then it lacks (full_at - now) * rate bytes, which is more than its burst while
        # reservations are waiting.
        self._full_at = now
        self._reserved_at = now
        # Whether nothing was ever reserved: then the bucket is full at any time.
        self._is_fresh = True

    def __repr__(self) -> str:
        parent = "" if self._parent is None else f" in {self._parent!r}"
        return f"<TokenBucket rate={self._rate}{parent}>"

    @property
    def parent(self) -> TokenBucket | None:
        """The bucket above this one."""

        return self._parent

    @property
    def burst(self) -> float | None:
        """Bytes that may pass at once after a pause; None if there is no limit."""

        if self._rate is None:
            return None

        return self._rate * _BURST_SECONDS if self._burst is None else self._burst

    @property
    def rate(self) -> float | None:
        """Bytes per second, None for no limit. May be set at any time.

        The new rate applies to reservations from now on. A faster one also fills the
        bucket sooner; a slower one takes nothing back, so that waits which `reserve`
        has returned stay true.

        Raises:
            ValueError: The new rate is not a positive, finite number.
        """

        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        check_seconds("rate", rate)
        old, self._rate = self._rate, rate
        if self._rate is None:
            self._full_at = self._reserved_at
        elif old is not None and self._rate > old:
            lacking = (self._full_at - self._reserved_at) * old
            self._full_at = self._reserved_at + lacking / self._rate

    def reserve(self, nbytes: int, now: float) -> float:
        """Take bytes from this bucket and all above it; return how long to wait before moving them.

        More than the burst may be reserved at once: the bucket then goes into
        debt, and this reservation and those after it wait. Sharing is fair if the
        pieces are small (64 KiB, or what passes in a tenth of a second).

        A caller that gives up waiting, is cancelled, or moves fewer bytes, returns
        the rest with `unused`. The time waited for them does not come back: if fewer
        bytes may come than are reserved, reserve no more than the burst.

        Args:
            nbytes: Bytes, 0 or more.
            now: The time, in seconds of the clock of the tree.

        Returns:
            Seconds, 0.0 or more.

        Raises:
            ValueError: `nbytes` is negative.
        """

        if nbytes < 0:
            raise ValueError(f"expected 0 or more bytes to reserve, not {nbytes!r}")

        delay = self._pass_at(nbytes, now) - now
        return delay if delay >= _SHORTEST_WAIT else 0.0

    def unused(self, nbytes: int) -> None:
        """Return bytes that were reserved but not moved to this bucket and all above it.

        Args:
            nbytes: Bytes, 0 or more, and no more than were reserved.

        Raises:
            ValueError: `nbytes` is negative.
        """

        if nbytes < 0:
            raise ValueError(f"expected 0 or more unused bytes, not {nbytes!r}")

        bucket: TokenBucket | None = self
        while bucket is not None:
            if bucket._rate is not None:  # noqa: SLF001 - a bucket of the same tree
                bucket._full_at -= nbytes / bucket._rate  # noqa: SLF001

            bucket = bucket._parent  # noqa: SLF001

    def _pass_at(self, nbytes: int, now: float) -> float:
        """Take bytes in all buckets from the root down to here; return when they may pass.

        The bytes reach a bucket when the one above lets them pass. So a child that
        waits for its parent loses none of its own tokens, and a slow child never
        makes its parent idle: the parent has counted the bytes already, and goes on
        to serve others.
        """

        parent = self._parent
        arrival = now if parent is None else parent._pass_at(nbytes, now)  # noqa: SLF001 - as above
        burst = self.burst
        if self._rate is None or burst is None:
            return arrival

        if self._is_fresh:
            # An earlier `now` may have come from another clock, far ahead of this one.
            self._is_fresh = False
            self._full_at = min(self._full_at, arrival)
        # Never before the moment of arrival: a full bucket does not get fuller.
        self._reserved_at = arrival
        self._full_at = max(self._full_at, arrival) + nbytes / self._rate
        return max(arrival, self._full_at - burst / self._rate)
