"""Token buckets in a tree: how long a transfer must wait, for a rate per connection, user and all.

Pure: the time is an argument, and nobody waits here. Whoever moves bytes
reserves them, waits as long as it is told, and moves them.

1. By any moment a bucket has let pass at most its burst, plus its rate times
   the time it exists. (A bucket above a slower one counts bytes when they are
   reserved, so there they may pass later, by as much as is waited for.)
2. Reservations are served in the order in which they are made. Children that
   reserve pieces of one size, one piece at a time, share a parent evenly.
3. No bucket ever holds more than its burst: time without transfers is not
   saved up beyond it, and nothing runs in steps of a second.
"""

from __future__ import annotations

import math

__all__ = ["TokenBucket"]

_BURST_SECONDS = 0.1
# No timer is finer; a shorter wait is the rounding of sums of seconds.
_SHORTEST_WAIT = 1e-6


class TokenBucket:
    """A rate, shared by everything that reserves from the bucket or from its children.

    A tree is made from the root: ``everyone = TokenBucket(10_000_000, now=now)``,
    ``user = TokenBucket(1_000_000, parent=everyone, now=now)``,
    ``connection = TokenBucket(None, parent=user, now=now)``. One direction of
    transfer, one tree.

    A bucket starts full. It is not safe between threads.

    Args:
        rate: Bytes per second; None for no limit.
        burst: Bytes that may pass at once after a pause. None for what passes
            in a tenth of a second at the rate of the time: enough that a late
            timer loses nothing, too little to be seen.
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
        self._rate = _positive("rate", rate)
        self._burst = _positive("burst", burst)
        self._parent = parent
        # All there is to know of a bucket is when it will be full again:
        # until then it lacks (full_at - now) * rate bytes, and that is more
        # than its burst where reservations are waiting.
        self._full_at = now
        self._reserved_at = now
        # Whether nothing was ever reserved: then it is full, at whatever time it is asked.
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
        """Bytes that may pass at once after a pause; None where there is no limit."""

        if self._rate is None:
            return None

        return self._rate * _BURST_SECONDS if self._burst is None else self._burst

    @property
    def rate(self) -> float | None:
        """Bytes per second, None for no limit. May be set at any time.

        The new rate is for reservations from now on. A faster one also makes
        what is lacking come sooner; a slower one takes nothing back, so that a
        wait that was told to somebody stays true.

        Raises:
            ValueError: It is set to what is not a positive, finite number.
        """

        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        old, self._rate = self._rate, _positive("rate", rate)
        if self._rate is None:
            self._full_at = self._reserved_at
        elif old is not None and self._rate > old:
            lacking = (self._full_at - self._reserved_at) * old
            self._full_at = self._reserved_at + lacking / self._rate

    def reserve(self, nbytes: int, now: float) -> float:
        """Take bytes from this bucket and all above it; say how long to wait before moving them.

        More than the burst may be reserved at once: the bucket goes into
        debt, and this reservation and those after it wait. Small pieces (64
        KiB, or what passes in a tenth of a second) are what makes sharing fair.

        Whoever gives up waiting, is cancelled, or moves less, gives the rest to
        `unused`. The time waited for it does not come back: where less may
        come than is reserved, reserve no more than the burst.

        Args:
            nbytes: Bytes, 0 or more.
            now: The time, in seconds of the clock of the tree.

        Returns:
            Seconds, 0.0 or more.

        Raises:
            ValueError: `nbytes` is negative.
        """

        if nbytes < 0:
            raise ValueError(f"0 or more bytes can be reserved, not {nbytes!r}")

        delay = self._pass_at(nbytes, now) - now
        return delay if delay >= _SHORTEST_WAIT else 0.0

    def unused(self, nbytes: int) -> None:
        """Give back, to this bucket and all above it, bytes that were reserved and not moved.

        Args:
            nbytes: Bytes, 0 or more, and no more than were reserved.

        Raises:
            ValueError: `nbytes` is negative.
        """

        if nbytes < 0:
            raise ValueError(f"0 or more bytes can be given back, not {nbytes!r}")

        bucket: TokenBucket | None = self
        while bucket is not None:
            if bucket._rate is not None:  # noqa: SLF001 - a bucket of the same tree
                bucket._full_at -= nbytes / bucket._rate  # noqa: SLF001

            bucket = bucket._parent  # noqa: SLF001

    def _pass_at(self, nbytes: int, now: float) -> float:
        """Take bytes in all buckets from the root down to here; return when they may pass.

        The bytes come to a bucket when the one above lets them pass. A child
        that waits for its parent thus loses nothing of its own, and a slow
        child never makes its parent idle: the parent has counted the bytes
        already, and goes on to serve others.
        """

        parent = self._parent
        arrival = now if parent is None else parent._pass_at(nbytes, now)  # noqa: SLF001 - as above
        burst = self.burst
        if self._rate is None or burst is None:
            return arrival

        if self._is_fresh:
            # `now` may have been another clock's, whose time never comes on this one.
            self._is_fresh = False
            self._full_at = min(self._full_at, arrival)
        # Never below the moment of arrival: a full bucket does not get fuller.
        self._reserved_at = arrival
        self._full_at = max(self._full_at, arrival) + nbytes / self._rate
        return max(arrival, self._full_at - burst / self._rate)


def _positive(name: str, value: float | None) -> float | None:
    # Written so that NaN is refused, too.
    if value is not None and not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive, finite number or None, not {value!r}")

    return value
