"""Watches whether a transfer moves, and aborts it when one of its deadlines passes."""

from __future__ import annotations

import asyncio

from ..connection.protocol import DTP
from ..deadlines import Deadlines, ProgressWatch, shared_moment
from ..outcome import Direction

__all__ = ["Watch"]


class Watch:
    """The deadlines of one transfer, from its start to its last byte.

    Args:
        dtp: The connection whose bytes count; it is aborted when a deadline passes.
        direction: The direction of the bytes.
        deadlines: When to give up.
    """

    def __init__(self, dtp: DTP, direction: Direction, deadlines: Deadlines) -> None:
        self._dtp = dtp
        self._direction = direction
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._progress = ProgressWatch(deadlines, self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._moved_before = 0

    def start(self) -> None:
        """Watch from now on. Time that has passed before does not count against the peer."""

        self._progress.excuse(self._loop.time())
        self._check()

    def stop(self) -> None:
        """Stop watching. Idempotent."""

        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def start_anew(self, received_before: int) -> None:
        """Watch the next file on a connection that has carried others.

        Args:
            received_before: Bytes that earlier files took of what was received.
        """

        is_sent = self._direction is Direction.SENT
        self._moved_before = self._moved() if is_sent else received_before
        self._progress = ProgressWatch(self._deadlines, self._loop.time())
        self.stop()
        self.start()

    def _check(self) -> None:
        self._timer = None
        now = self._loop.time()
        end = self._progress.check(now, self._moved() - self._moved_before)
        if end is not None:
            self._dtp.abort(end)
            return

        at = self._progress.next_check_at()
        if at is not None:
            self._timer = self._loop.call_at(shared_moment(at, now), self._check)

    def _moved(self) -> int:
        dtp = self._dtp
        if self._direction is Direction.RECEIVED:
            return dtp.bytes_received

        # Only bytes that the peer has acknowledged count: otherwise the kernel's buffers would
        # hide a peer that has stopped, and a long sendfile a peer that goes on.
        acknowledged = dtp.bytes_acknowledged
        return dtp.bytes_sent if acknowledged is None else acknowledged
