"""What a transfer may do past the contract of a `DTP`.

The fast ways (`ftpdata.transfers`) move bytes between a file and a socket without the transport,
which reads and sends at other times. A `Bypass` keeps the two apart, and takes note of what went
past the transport: bytes, ends and errors.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Callable

from .._kernel import carries_as_is, duplicate_socket
from ..errors import FTPDataError
from ..outcome import End
from ._delivery import Verdict
from ._fate import Fate
from ._loss import give_up, lose
from ._owner import Owner
from ._wire import Wire

__all__ = ["Bypass"]


class Bypass:
    """The way past one `DTP`; see `DTP.bypass`.

    Args:
        dtp: The `DTP`.
        wire: The connection.
        fate: How it ended.
    """

    __slots__ = ("_dtp", "_fate", "_wire")

    def __init__(self, dtp: Owner, wire: Wire, fate: Fate) -> None:
        self._dtp = dtp
        self._wire = wire
        self._fate = fate

    # Its end

    def on_cut(self, callback: Callable[[], None] | None) -> None:
        """Call this when the connection ends in any way but a clean one.

        For a transfer that waits for something else than the connection. The callback is called
        once, when the end is decided and before the transport is closed.

        Args:
            callback: None takes a callback back.
        """

        self._fate.on_cut(callback)

    def lost_by(self, error: OSError) -> FTPDataError:
        """End the connection with an error that a system call past the transport has raised.

        The callback of `on_cut` is taken back: the caller knows, and raises what this returns.

        Returns:
            The reason.
        """

        self._fate.on_cut(None)
        lose(error, self._dtp, self._wire)
        assert self._fate.reason is not None
        return self._fate.reason

    # Sending

    def limit_waiting(self, nbytes: int) -> None:
        """Change how many bytes may wait in the transport before a producer is paused.

        Does nothing if there is no open connection.

        Args:
            nbytes: The limit; it has no effect above the `high_water` of the `DTP`.
        """

        transport = self._wire.transport
        if transport is not None and self._fate.end is None and not transport.is_closing():
            transport.set_write_buffer_limits(high=min(nbytes, self._dtp.high_water))

    def account_sent(self, nbytes: int, *, eof: bool = False) -> None:
        """Count bytes that were sent past `DTP.write`.

        Args:
            nbytes: How many.
            eof: Whether the end of file was sent after them.
        """

        wire = self._wire
        wire.written += nbytes
        if not self._fate.is_over:
            wire.note_sent()
        wire.eof_sent = wire.eof_sent or eof

    async def wait_delivered(self, stall: float | None = None) -> bool:
        """Wait until the peer's kernel has everything that was written; the connection stays open.

        Args:
            stall: Seconds without progress after which the connection is aborted; None waits
                for ever.

        Returns:
            Whether it has. False if the system does not report it (Linux does).

        Raises:
            FTPDataError: The connection has ended; the reason.
        """

        wire, fate = self._wire, self._fate
        if wire.transport is None:
            raise fate.not_connected(eof_sent=wire.eof_sent)

        watch = wire.watch_delivery(stall=math.inf if stall is None else stall)
        while fate.end is None and wire.is_open:
            verdict, sight = watch.judge()
            if verdict is Verdict.DELIVERED:
                return True

            if verdict is not Verdict.PENDING:
                give_up(verdict, sight, self._dtp, wire)
            elif sight.unacknowledged is None:
                return False
            else:
                now = asyncio.get_running_loop().time()
                await asyncio.sleep(watch.next_look_at - now)

        raise fate.not_connected(eof_sent=wire.eof_sent)

    # Receiving

    def lend_socket(self) -> socket.socket | None:
        """Return a second socket, to read from past the transport. The caller closes it.

        The connection is closed, or reset, only once this socket is closed, too.

        Returns:
            None if the transport reads or has read what it has not delivered; after the end of
            file; in TLS; if the transport is not the event loop's own; and if there is none.
        """

        wire = self._wire
        transport = wire.transport
        if (
            transport is None
            or wire.tls is not None
            or not carries_as_is(transport)
            or wire.is_reading
            or wire.held
            or wire.eof_received
            or self._fate.end is not None
            or transport.is_closing()
        ):
            return None

        return duplicate_socket(transport)

    def account_received(self, nbytes: int) -> None:
        """Count bytes that were received past the transport."""

        self._wire.received += nbytes

    def name_peer(self, peername: object) -> None:
        """Say what the socket calls its peer: after a reset, its transport does not know."""

        self._wire.peername = peername

    def receive_past(self, data: bytes, tls: ssl.SSLObject | None) -> None:
        """Make the `DTP` the record of a connection that has ended cleanly, without a transport.

        Args:
            data: All that came before the end. It is held for the consumer.
            tls: How the connection was protected; None if it was not.
        """

        wire, fate = self._wire, self._fate
        wire.tls = tls
        wire.received = len(data)
        wire.eof_received = True
        if data:
            wire.hold(data)

        fate.make()
        fate.is_over = True
        fate.end = End.CLEAN
