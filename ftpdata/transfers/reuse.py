"""A data connection for several files, one after the other (RFC 959 §3.3, §3.4.2).

In block and compressed mode a mark ends the file, not the end of the
connection, "thus using these modes one can leave the data connection open for
multiple file transfers". A `DTP` is for one transfer, and every function of
`ftpdata.transfers` closes it. A `ReusableConnection` wraps it and takes its place
in those functions: it stays open after a file that ended cleanly, and keeps the
data that arrived after the end of the file for the next file.
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from .._checks import check_call
from ..connection.protocol import DTP
from ..connection.receive_queue import ReceiveQueue
from ..errors import FTPDataError
from ..outcome import Direction
from ..parameters import TransmissionMode
from ._supervisor import Supervisor

__all__ = ["ReusableConnection"]

MODES = frozenset({TransmissionMode.BLOCK, TransmissionMode.COMPRESSED})
"""Modes whose end of file leaves the connection open."""


class ReusableConnection:
    """A connected `DTP` that outlives a transfer in block or compressed mode.

    ::

        async with ReusableConnection(dtp) as connection:
            for path in paths:
                result = await send_file(connection, path, parameters=block_mode)
                await reply(result.reply_code)  # 250 if it stays open

    A clean end in another mode closes it, as it closes any connection (226),
    and so does a peer that closes its side; `is_open` reports this. Any other end
    resets it. Files may be sent and received, one at a time. Between two
    files no deadline runs: the caller decides how long to wait for the next one.

    Args:
        dtp: A connected data connection over which nothing was sent or received.
    """

    def __init__(self, dtp: DTP) -> None:
        check_call(ReusableConnection.__init__, locals())
        self.dtp = dtp
        self._queue: ReceiveQueue | None = None
        self._remainder = b""
        self._is_busy = False
        # Received bytes that belong to earlier files.
        self._taken = 0
        self._taken_before = 0
        # Whether the peer's kernel is known to have everything that was sent.
        self._is_delivered = True

    @property
    def is_open(self) -> bool:
        """Whether another file may be sent or received.

        The peer may have done something that the system has not reported yet: a
        connection that is open may turn out to be lost.
        """

        if self._remainder or (self._queue is not None and self._queue.size):
            return self.dtp.reason is None

        has_ended = self._queue is not None and self._queue.is_ready
        return self.dtp.is_connected and not self.dtp.is_finishing and not has_ended

    async def finish(self, timeout: float | None = None) -> None:
        """End the connection gracefully, after its last file.

        Args:
            timeout: Seconds without progress; None takes the connection's own.

        Raises:
            FTPDataError: It is not known whether the peer has everything that was
                sent (only on systems that do not report it; Linux does); or
                the connection was never made.
            RuntimeError: A transfer is running.
        """

        self._check_idle()
        try:
            if self.dtp.end is None:
                await self.dtp.finish(timeout)
            elif self.dtp.reason is not None:
                raise self.dtp.reason
        except FTPDataError:
            # If everything was delivered, nothing was in flight that could have been lost.
            if not (self._is_delivered and self.dtp.has_been_connected):
                raise

    async def aclose(self) -> None:
        """Reset the connection unless it has ended. Idempotent."""

        self.dtp.abort()
        with contextlib.suppress(FTPDataError):
            await self.dtp.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc is None:
                await self.finish()
        finally:
            await self.aclose()

    # For the transfers

    def begin_file(self, transfer: Supervisor) -> None:
        """Count bytes for this transfer from now on, until `end_file` or a reset.

        Raises:
            RuntimeError: Another transfer is running.
        """

        self._check_idle()
        self._is_busy = True
        self._taken_before = self._taken
        transfer.begin_next_file(self._taken)

    async def receive(self, max_bytes: int | None = None) -> bytes:
        """Receive data of the current file; see `ReceiveQueue.receive`."""

        data, self._remainder = self._remainder, b""
        if max_bytes is not None and len(data) > max_bytes:
            data, self._remainder = data[:max_bytes], data[max_bytes:]
        if not data:
            if self._queue is None:
                self._queue = ReceiveQueue.attach(self.dtp)
            data = await self._queue.receive(max_bytes)

        self._taken += len(data)
        return data

    def give_back(self, remainder: bytes) -> None:
        """Take back the data that arrived after the end of the file: they belong to the next."""

        self._remainder = remainder + self._remainder
        self._taken -= len(remainder)

    async def end_file(self, transfer: Supervisor, mode: TransmissionMode) -> None:
        """End the current file; let the connection stay open if its mode and the peer allow it.

        Raises:
            FTPDataError: The peer did not take what was sent.
        """

        can_go_on = mode in MODES
        if transfer.report.direction is Direction.SENT:
            if can_go_on:
                self._is_delivered = False
                self._is_delivered = await self.dtp.bypass.wait_delivered(transfer.deadlines.stall)
            if self._queue is None and can_go_on:
                # From here on `is_open` notices when the peer closes its side.
                self._queue = ReceiveQueue.attach(self.dtp)
        else:
            taken = self._taken - self._taken_before
            transfer.report.foreign_bytes = self.dtp.bytes_received - taken

        transfer.report.keep_open = can_go_on and self.is_open
        self._is_busy = False

    # Private

    def _check_idle(self) -> None:
        # A transfer that fails resets the connection without a call of `end_file`.
        if self._is_busy and self.dtp.end is None:
            raise RuntimeError("a transfer is running on this connection already")
