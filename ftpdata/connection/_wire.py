"""The transport of a data connection, and what has passed over it.

A `Wire` is the state that a `DTP` shares with the objects that work for it: its producer's `Feed`,
its consumer's `Intake`, its `Ending` and the `Bypass` of the fast ways. It counts, holds what came
too early, and knows the habits of the event loops' transports. It calls no producer and no
consumer, and does not decide how the connection ends.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import sys
from collections.abc import Callable
from typing import Any, cast

from .._hangup import HangupWatch
from .._kernel import reset_on_close, sight_of
from .._loop_end import LastCall
from .._reading import pause_reading, resume_reading
from ..addresses import HostPort
from ..errors import BadAddress
from ._delivery import Sight
from ._delivery_watch import DeliveryWatch

__all__ = ["Wire", "peer_of"]

STARTS_READING_ANYWAY = sys.version_info < (3, 12)
"""Whether asyncio starts to read after `connection_made` even if that has paused reading. The first
releases of 3.11 do (Debian 12 has one)."""

HELD_LIMIT = 1024 * 1024
"""Bytes that a transport may deliver although reading is paused.

asyncio's transports deliver one read at most (256 KiB); uvloop's and TLS one buffer more. A
transport that goes on is broken."""

TLS_READ = 64 * 1024
"""Bytes that are read at a time from the event loop's own TLS."""


def peer_of(peername: Any) -> HostPort | None:
    """Parse the name that a socket has for its peer; return None if it has none."""

    try:
        return HostPort(peername[0], peername[1])
    except (BadAddress, TypeError, LookupError):
        return None


class Wire:
    """The transport of one connection, before, while and after there is one.

    Attributes:
        transport: The transport; None until the connection is made.
        peername: The name that the socket has for its peer; None where nobody knows it.
        tls: The object that knows how the connection is protected; None in clear.
        channel: This library's TLS below the transport (`ftpdata.tls`). None in clear, and if
            the TLS is the event loop's own.
        written: Bytes that were given to the transport, or sent past it.
        sent: Bytes that have left the transport, as of the last `note_sent`.
        has_writer: Whether a producer is registered, which will write more.
        is_full: Whether the transport has asked for a pause of writing.
        eof_sent: Whether the end of file was sent, or waits for the data before it to be sent.
        delivery: The watch on whether the peer has what was sent; None until the graceful end.
        received: Bytes that were received.
        is_reading: Whether the transport may deliver.
        is_held_back: Whether the consumer has asked for a pause of delivery.
        eof_received: Whether the peer's end of file has come.
        held: What was delivered before anybody wanted it, in order.
        held_size: Bytes in `held`.
    """

    __slots__ = (
        "_farewell",
        "_waiters",
        "_watched",
        "channel",
        "delivery",
        "eof_received",
        "eof_sent",
        "has_writer",
        "held",
        "held_size",
        "is_full",
        "is_held_back",
        "is_reading",
        "peername",
        "received",
        "sent",
        "tls",
        "transport",
        "written",
    )

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peername: Any = None
        self.tls: ssl.SSLObject | None = None
        self.channel: Any = None
        self.written: int = 0
        self.sent: int = 0
        self.received: int = 0
        self.held_size: int = 0
        self.has_writer: bool = False
        self.is_full: bool = False
        self.eof_sent: bool = False
        self.eof_received: bool = False
        self.delivery: DeliveryWatch | None = None
        self.is_reading: bool = True
        self.is_held_back: bool = False
        # Mostly there are neither: empty tuples take no memory.
        self.held: list[bytes] | tuple[()] = ()
        # Those who wait for room to write.
        self._waiters: tuple[asyncio.Future[None], ...] = ()
        # The number of the socket that is watched for a hang-up.
        self._watched: int | None = None
        # Waits while the transport stays open for the peer's last word.
        self._farewell: LastCall | None = None

    def connect(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the transport."""

        self.transport = cast("asyncio.Transport", transport)
        self.peername = transport.get_extra_info("peername") or self.peername
        self.tls = transport.get_extra_info("ssl_object")
        self.channel = getattr(transport, "channel", None)

    @property
    def is_open(self) -> bool:
        """Whether there is a transport that is not closing."""

        return self.transport is not None and not self.transport.is_closing()

    @property
    def is_foreign_tls(self) -> bool:
        """Whether the TLS is the event loop's own, set up by the host."""

        return self.tls is not None and self.channel is None

    # Sending

    @property
    def is_sending(self) -> bool:
        """Whether something was sent, or is to be, without its end of file."""

        return not self.eof_sent and (self.has_writer or self.written > 0)

    def note_sent(self) -> None:
        """Count what has left the transport."""

        if self.transport is not None:
            self.sent = max(self.sent, self.written - self.transport.get_write_buffer_size())

    async def wait_for_room(self) -> None:
        """Wait until `wake` is called."""

        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters += (waiter,)
        try:
            await waiter
        finally:
            self._waiters = tuple(other for other in self._waiters if other is not waiter)

    def wake(self) -> None:
        """Wake up everybody who waits for room: there is some, or the connection has ended."""

        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def watch_delivery(
        self, *, stall: float | None, close: float = math.inf, hurries: bool = False
    ) -> DeliveryWatch:
        """Make a watch on whether the peer has what was sent; see `Delivery` for the arguments."""

        assert self.transport is not None
        return DeliveryWatch(
            self.transport,
            channel=self.channel,
            is_protected=self.tls is not None,
            stall=stall,
            close=close,
            hurries=hurries,
        )

    def shut_down(self) -> None:
        """Send the end of file after what was written.

        Raises:
            OSError: The peer has reset the connection, which nobody has noticed while nothing
                was read or written.
        """

        assert self.transport is not None
        self.eof_sent = True
        self.transport.write_eof()

    # Receiving

    def set_reading(self, wanted: bool) -> None:
        """Let the transport deliver, or pause it, if its state is the other one."""

        transport = self.transport
        # After the end of file there is nothing to read, and asyncio would report it once more.
        if transport is None or self.eof_received or transport.is_closing():
            return

        self.is_reading = wanted
        if wanted:
            resume_reading(transport)
        else:
            pause_reading(transport)

    @property
    def forgets_pause(self) -> bool:
        """Whether the transport is about to read although `connection_made` has paused it."""

        assert self.transport is not None
        return STARTS_READING_ANYWAY and self.transport.get_extra_info("socket") is not None

    def pause_again(self) -> None:
        """Pause the transport if it should be paused; it believes that it is."""

        if self.is_open and not (self.is_reading or self.eof_received):
            assert self.transport is not None
            # It would ignore a second pause.
            resume_reading(self.transport)
            pause_reading(self.transport)

    def hold(self, data: bytes) -> None:
        """Keep data that nobody wants yet, and let no more come."""

        self._keep(data)
        if self.is_open:
            assert self.transport is not None
            # Always: uvloop starts to read after connection_made even if that has paused reading.
            self.is_reading = False
            pause_reading(self.transport)

    @property
    def holds_too_much(self) -> bool:
        """Whether the transport goes on delivering although reading is paused."""

        return self.held_size > HELD_LIMIT

    def hold_undelivered(self, *, strict_close: bool) -> None:
        """Keep the data that the event loop's own TLS has not delivered before it was closed.

        uvloop drops them if the peer's end of file came while reading was paused, and does not
        report the close_notify after them.

        Args:
            strict_close: Whether an end of file without close_notify is a cut.
        """

        if not self.is_foreign_tls or self.eof_received:
            return

        try:
            while data := cast("ssl.SSLObject", self.tls).read(TLS_READ):
                self.received += len(data)
                self._keep(data)
            self.eof_received = True
        except ssl.SSLZeroReturnError:
            self.eof_received = True
        except (ssl.SSLError, ValueError):
            # The stream ends without a close_notify.
            self.eof_received = not strict_close

    def _keep(self, data: bytes) -> None:
        if isinstance(self.held, list):
            self.held.append(data)
        else:
            self.held = [data]
        self.held_size += len(data)

    def take_held(self) -> bytes:
        """Give the first of what is held; there must be some."""

        assert isinstance(self.held, list)
        data = self.held.pop(0)
        self.held_size -= len(data)
        return data

    def discard_held(self) -> None:
        """Drop what is held."""

        self.held = ()
        self.held_size = 0

    # Watching for a peer that is gone

    def watch_for_hangup(self, callback: Callable[[], None]) -> None:
        """Call this when the peer may be gone, also while reading is paused and nothing is sent."""

        assert self.transport is not None
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            self._watched = sock.fileno()
            HangupWatch.of(asyncio.get_running_loop()).add(self._watched, callback)

    def watch_no_more(self, callback: Callable[[], None]) -> None:
        """Take the callback back. Idempotent."""

        watched, self._watched = self._watched, None
        if watched is not None:
            HangupWatch.of(asyncio.get_running_loop()).remove(watched, callback)

    def look(self) -> Sight:
        """Look at the socket; the answer is empty if the transport has noticed an end itself."""

        if not self.is_open:
            return Sight()

        assert self.transport is not None
        return sight_of(self.transport.get_extra_info("socket"))

    # The end

    def close(self) -> None:
        """Close the transport, once: a second time breaks asyncio's TLS transport."""

        if self.is_open:
            assert self.transport is not None
            self.transport.close()

    def keep_open(self) -> None:
        """Keep this library's TLS open after `close`, until `linger`, `release` or `cut`.

        It would close as soon as the peer has ended, which may have been before this side had
        anything to send. (In clear this is not needed, and in a foreign TLS not possible.)
        """

        if self.channel is not None:
            cast("Any", self.transport).keep_open()

    def release(self) -> None:
        """Take `keep_open` back: what the peer has is known, or cannot be known. Idempotent."""

        if self.channel is not None:
            cast("Any", self.transport).release()

    def cut(self) -> None:
        """Close the transport at once, with a reset."""

        assert self.transport is not None
        reset_on_close(self.transport)
        self.transport.abort()

    def leave_tls(self) -> None:
        """Say that the TLS object has had its connection, if it wants to know."""

        leave = getattr(self.tls, "leave", None)
        if leave is not None:
            leave()

    @property
    def is_lingering(self) -> bool:
        """Whether the transport stays open for the peer's last word."""

        return self._farewell is not None

    def linger(self, patience: float) -> None:
        """Keep the transport open for the peer's last word: everything has been delivered.

        Args:
            patience: Seconds after which the transport is closed in any case. It is closed before
                if the event loop ends.
        """

        assert self.transport is not None
        self.sent = self.written
        self._farewell = LastCall(self.transport.abort, after=patience)
        self.release()

    def linger_no_more(self) -> None:
        """Take note that the transport is closed."""

        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None
