"""Whether the peer has everything, and when to look again.

Pure: what the kernel says arrives as a `Sight` (`ftpdata._kernel.sight_of` takes one), and the
time is an argument. All senders ask the one `Delivery` here: the direct way over a bare socket,
the `DTP`, and a connection that stays open for the next file. The rules:

1. The peer has everything once its kernel has acknowledged all data. The end of file, and in TLS
   the close_notify, need no acknowledgement: a peer may delay that by 40 ms.
2. In clear, a reset means that the peer has not read everything, whatever its kernel has
   acknowledged. In TLS a client that knows the size of its file closes without reading the
   close_notify, and that resets as well.
3. While data are on their way, only a stall ends the wait. The shorter limit for closing holds
   once nothing but the peer's own end is missing.
4. The time between two looks follows the round trip, and grows with the time for which nothing
   has moved.
5. Everything has left this system once nothing waits in it, whether the peer has it or not.
"""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

from ..deadlines import shared_moment

__all__ = ["ANSWER_PATIENCE", "Delivery", "Sight", "Verdict", "answer_patience"]

SHORTEST_INTERVAL = 0.001
LONGEST_INTERVAL = 2.0
"""Seconds between two looks."""

DELAYED = 0.2
"""Seconds within which a kernel sends a delayed acknowledgement. After that a peer has probably
stalled, and thousands that stall shall cost next to nothing."""

ANSWER_PATIENCE = 1.0
"""Seconds for which a connection stays open after the peer has everything, for its close_notify.

A peer need not send one (RFC 8446 §6.1, RFC 5246 §7.2.1). Most send it at once, and a socket that
is closed by then would answer with a reset."""


def answer_patience(close: float | None) -> float:
    """Return for how many seconds a connection stays open for the peer's last word.

    Args:
        close: The limit for closing, in seconds; None for no limit.
    """

    return ANSWER_PATIENCE if close is None else min(ANSWER_PATIENCE, close / 2)


class Sight(NamedTuple):
    """What the kernel says about a connection at one moment.

    Attributes:
        unacknowledged: Bytes of data that the peer's kernel has not acknowledged; the end of file
            is not counted. None where the system does not tell.
        acknowledged: Bytes that it has acknowledged since the connection was made.
        unread: Bytes that the peer has sent and nobody has read. Closing over them causes a reset.
        has_peer_ended: Whether the peer's end of file has come.
        is_gone: Whether the kernel has closed the connection.
        error: Why, if it was not closed in peace. The kernel reports that once only.
        round_trip: Seconds that a round trip takes.
        unsent: Bytes that wait in this system, the end of file counted as one; None where the
            system does not tell.
    """

    unacknowledged: int | None = None
    acknowledged: int | None = None
    unread: int = 0
    has_peer_ended: bool = False
    is_gone: bool = False
    error: OSError | None = None
    round_trip: float = 0.0
    unsent: int | None = None


class Verdict(enum.Enum):
    """What a look has found.

    Attributes:
        PENDING: Not everything has arrived, as far as is known: look again.
        DELIVERED: The peer has everything.
        LOST: The connection is gone, and the peer does not have everything.
        STALLED: The peer has taken nothing for too long.
        CLOSE_TIMEOUT: The peer has not closed in time.
    """

    PENDING = "pending"
    DELIVERED = "delivered"
    LOST = "lost"
    STALLED = "stalled"
    CLOSE_TIMEOUT = "close timeout"


class Delivery:
    """Decides, look by look, whether the peer has everything that was sent.

    Args:
        now: The time, in seconds of any monotonic clock.
        is_protected: Whether the connection uses TLS.
        stall: Seconds without progress while data are on their way; None where `close` is to hold
            then, too.
        close: Seconds that the peer may take to close once it may have everything.
        hurries: Whether somebody waits until everything has left.

    Attributes:
        has_left: Whether everything had left this system at the last look, as far as is known; not
            where the connection was given up.
        next_look_at: When to look again, on the same clock; infinite where only the peer can
            bring news.
    """

    def __init__(
        self,
        now: float,
        *,
        is_protected: bool,
        stall: float | None = None,
        close: float = math.inf,
        hurries: bool = False,
    ) -> None:
        self.has_left = False
        self._is_protected = is_protected
        self._hurries = hurries
        self._outstanding: int | None = None
        self._progress_at = now
        self.next_look_at: float = now
        self.limit(now, stall=stall, close=close)

    def limit(self, now: float, *, stall: float | None, close: float) -> None:
        """Change the limits, which begin to run now."""

        self._stall, self._close = stall, close
        self._progress_at = now

    def check(
        self, sight: Sight, now: float, *, waiting: int = 0, is_answered: bool = False
    ) -> Verdict:
        """Judge what was seen; `next_look_at` says when to look again.

        Args:
            sight: What the kernel says.
            now: The time, on the clock that `Delivery` was made with.
            waiting: Bytes that have not been handed to the kernel.
            is_answered: Whether the peer's end came after ours, where that is the only news.
        """

        self.has_left = False
        outstanding = waiting + (sight.unacknowledged or 0)
        is_known = sight.unacknowledged is not None
        has_all = is_known and not outstanding
        if sight.error is not None and not (has_all and self._is_protected):
            return Verdict.LOST

        if has_all or (is_answered and not outstanding):
            self.has_left = True
            return Verdict.DELIVERED

        if sight.is_gone:
            return Verdict.LOST

        if self._outstanding is not None and outstanding < self._outstanding:
            self._progress_at = now
        self._outstanding = outstanding
        is_stall = outstanding > 0 and self._stall is not None
        limit = self._stall if is_stall and self._stall is not None else self._close
        deadline = self._progress_at + limit
        if now >= deadline:
            return Verdict.STALLED if is_stall else Verdict.CLOSE_TIMEOUT

        self.has_left = not waiting and sight.unsent == 0
        look_at = math.inf
        if is_known:
            idle = now - self._progress_at
            share = idle / (4 if idle < DELAYED else 2)
            interval = max(SHORTEST_INTERVAL, sight.round_trip / 4, share)
            if self._hurries and not self.has_left and idle < DELAYED:
                interval = max(SHORTEST_INTERVAL, sight.round_trip / 16)
            look_at = shared_moment(now + min(interval, LONGEST_INTERVAL), now)
        self.next_look_at = min(look_at, deadline)
        return Verdict.PENDING
