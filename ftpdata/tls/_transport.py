"""The transport of a protected connection, above the event loop's transport of its socket.

It begins once the handshake of its `TLSChannel` is done (`ftpdata.tls._channel`).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

from .._reading import pause_reading, resume_reading
from .._views import byte_views
from ..contracts import Buffer
from ._channel import TLSChannel, scratch

__all__ = ["TLSTransport"]

MOST_ANSWERS = 16 * 1024
"""Bytes that TLS itself may queue for a peer that reads nothing.

TLS answers requests for new keys and tickets, and a peer can send such requests for ever."""


PIECE = 64 * 1024
"""Bytes that are encrypted at a time.

OpenSSL keeps the memory for that many as long as the connection lasts. More at a time are no
faster."""


class TLSTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """The transport of a protocol whose connection is protected.

    For the event loop's transport below, it is the protocol. Data that it cannot
    deliver while reading is paused stay in the channel: at most the data of one
    read. It ends as TLS requires, with the announcement and then the end of file.
    Then it waits for the peer's end without a limit; the owner must abort it.

    A peer's end ends what the peer sends, and nothing else (RFC 8446 §6.1): it may have come
    long ago, while most of what was written is still on its way, in the system's buffers. An
    owner that wants to see it arrive calls `keep_open`, and `release` when it has.

    Args:
        channel: The channel, whose handshake is done.
        protocol: The protocol above, which this transport serves.
        unsent: Bytes from the channel that the socket has not taken.
        is_ending: Whether the end was announced already: either the announcement is
            the last part of `unsent`, or it was sent, and the end of file after it.

    Attributes:
        channel: As above.
    """

    def __init__(
        self,
        channel: TLSChannel,
        protocol: asyncio.BaseProtocol,
        *,
        unsent: bytes = b"",
        is_ending: bool = False,
    ) -> None:
        super().__init__()
        self.channel = channel
        self._protocol = cast("asyncio.Protocol | asyncio.BufferedProtocol", protocol)
        self._unsent = unsent
        self._below: asyncio.Transport | None = None
        self._is_closing = is_ending
        self._is_paused = False
        self._delivery: asyncio.Handle | None = None
        # Whether there may be something to deliver: data, an end or a failure.
        self._has_more = channel.holds_data
        self._answered = 0
        # Whether the connection below has ended, and whether the protocol has got an end.
        self._has_ended = False
        self._is_at_end = False
        self._failure: Exception | None = None
        # Whether it was this transport that has closed the one below.
        self._has_closed = False
        # Whether the owner keeps the connection below open; and whether nothing else does.
        self._is_kept = False
        self._is_answered = False

    @property
    def below(self) -> asyncio.Transport | None:
        """The event loop's transport of the socket; None before the connection is made."""

        return self._below

    # What the protocol calls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the information of asyncio's TLS transports, and that of the transport below."""

        tls = self.channel.object
        if name == "ssl_object":
            return tls
        if name == "sslcontext":
            return tls.context
        if name == "cipher":
            return tls.cipher()
        if name == "peercert":
            return tls.getpeercert()
        if name == "compression":
            return tls.compression()

        return default if self._below is None else self._below.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Call another protocol from now on."""

        self._protocol = cast("asyncio.Protocol | asyncio.BufferedProtocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that is called."""

        return self._protocol

    def is_closing(self) -> bool:
        """Whether the end was announced, or the connection is gone."""

        return self._is_closing or (self._below is not None and self._below.is_closing())

    @property
    def is_broken(self) -> bool:
        """Whether the transport below has failed, and is about to say why.

        What was written last may be lost, the announcement of the end among it.
        """

        below = self._below
        return below is not None and not self._has_closed and below.is_closing()

    def is_reading(self) -> bool:
        """Whether data are delivered."""

        return not (self._is_paused or self.is_closing())

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""

        if not self._is_paused:
            self._is_paused = True
            if not self.is_closing():
                pause_reading(self._lower)

    def resume_reading(self) -> None:
        """Deliver the data that came meanwhile, on the loop's next turn, and go on."""

        if self._is_paused:
            self._is_paused = False
            if not self.is_closing():
                resume_reading(self._lower)
                self._deliver_soon()

    def write(self, data: Buffer) -> None:
        """Send data. Data after `close` are dropped."""

        if self.is_closing():
            return

        for view in byte_views(data, PIECE):
            try:
                self.channel.write(view)
            except ssl.SSLError as error:
                self._fail(error)
                break
            self._flush()

    def can_write_eof(self) -> bool:
        """Return False: the end of sending is the end of the connection."""

        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the protocol is to pause, in bytes of TLS."""

        self._lower.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return these limits."""

        return self._lower.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes of TLS wait to be sent."""

        return self._lower.get_write_buffer_size()

    def close(self) -> None:
        """Announce the end after the written data, and wait for the peer's end."""

        if self.is_closing():
            return

        self._is_closing = True
        try:
            is_answered = self.channel.announce_end()
        except ssl.SSLError as error:
            self._fail(error)
            return

        self._flush()
        is_answered = is_answered or self._has_ended
        if self._is_kept or not is_answered:
            self._end_sending()
        if is_answered:
            self._close_lower()

    def keep_open(self) -> None:
        """Stay open after `close`, whether or not the peer has ended, until `release` or `abort`.

        The protocol does not hear of a peer's end that comes after `close`.
        """

        self._is_kept = True

    def release(self) -> None:
        """Close as soon as the peer has ended; at once, if it has. Idempotent."""

        self._is_kept = False
        if self._is_answered:
            self._close_lower()

    def abort(self) -> None:
        """Drop the connection at once."""

        self._is_closing = self._has_closed = True
        self._lower.abort()

    # What the transport below calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve the protocol above."""

        self._below = cast("asyncio.Transport", transport)
        unsent, self._unsent = self._unsent, b""
        if unsent and not self._lower.is_closing():
            # These bytes go before anything that the protocol writes.
            self._lower.write(unsent)
        self._protocol.connection_made(self)
        if self._lower.is_closing():
            return

        if not self._is_closing:
            self._deliver_soon()
        elif unsent:
            self._end_sending()
        else:
            # The announcement and the end of file were sent before.
            resume_reading(self._lower)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the loss to the protocol, with its reason."""

        self._is_closing = True
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        self._protocol.connection_lost(exc or self._failure)

    def pause_writing(self) -> None:
        """Pause the protocol above."""

        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Resume the protocol above."""

        self._protocol.resume_writing()

    def get_buffer(self, _: int) -> memoryview:
        """Return memory to receive into."""

        return scratch.received

    def buffer_updated(self, nbytes: int) -> None:
        """Receive bytes from the connection below."""

        if self._is_answered or (self._is_at_end and not self._is_closing):
            # Nothing counts after the peer's end.
            return

        self.channel.feed(scratch.received[:nbytes])
        self._has_more = True
        if self._is_closing:
            self._await_end()
        elif self._is_paused:
            # uvloop reads once more although it was paused.
            pause_reading(self._lower)
        else:
            self._deliver()

    def eof_received(self) -> bool:
        """Note that the peer has closed, whether or not it has announced it."""

        self._has_ended = self._has_more = True
        if self._is_closing:
            self._close_lower()
        else:
            self._deliver()

        return True

    # Private

    @property
    def _lower(self) -> asyncio.Transport:
        assert self._below is not None
        return self._below

    def _close_lower(self) -> None:
        """Close the connection below, unless it is kept open: nobody waits for anything on it."""

        self._is_answered = True
        if self._is_kept:
            return

        self._has_closed = self._has_closed or not self._lower.is_closing()
        self._lower.close()

    def _flush(self) -> None:
        data = self.channel.take()
        if data and not self._lower.is_closing():
            self._lower.write(data)

    def _answer(self) -> None:
        """Send TLS's own answers, to new keys or a new ticket, up to a limit."""

        data = self.channel.take()
        if not data:
            return

        if not self._lower.get_write_buffer_size():
            self._answered = 0
        self._lower.write(data)
        if self._lower.get_write_buffer_size():
            self._answered += len(data)
        if self._answered > MOST_ANSWERS:
            self._fail(ssl.SSLError("the peer asks TLS for answers and does not read them"))

    def _end_sending(self) -> None:
        try:
            self._lower.write_eof()
        except OSError as error:
            self._fail(error)
        else:
            if not self._has_ended:
                resume_reading(self._lower)

    def _deliver_soon(self) -> None:
        if self._delivery is None and self._has_more:
            self._delivery = asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        """Deliver data while the protocol reads; then the end, if it has come."""

        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None

        try:
            while self._has_more and not (self._is_paused or self._is_at_end or self.is_closing()):
                size, has_announced = self._deliver_some()
                self._has_more = size > 0
                if not size and (has_announced or self._has_ended):
                    self._tell_end()
        except Exception as error:  # noqa: BLE001 - TLS's or the protocol's, it ends the connection
            self._fail(error)

        if not self.is_closing():
            self._answer()

    def _deliver_some(self) -> tuple[int, bool]:
        protocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            buffer = memoryview(protocol.get_buffer(-1))
            if not buffer:
                raise RuntimeError(f"expected memory to read into, got none from {protocol!r}")
            size, has_announced = self.channel.read_into(buffer)
            if size:
                protocol.buffer_updated(size)
        else:
            memory = scratch.decrypted
            size, has_announced = self.channel.read_into(memory)
            if size:
                protocol.data_received(bytes(memory[:size]))

        return size, has_announced

    def _tell_end(self) -> None:
        self._is_at_end = True
        if not self._protocol.eof_received():
            self.close()

    def _await_end(self) -> None:
        """Read on after our own end until the peer's; the data before it are dropped."""

        try:
            size, has_announced = self.channel.read_into(scratch.decrypted)
            while size and not has_announced:
                size, has_announced = self.channel.read_into(scratch.decrypted)
        except ssl.SSLError:
            has_announced = True

        # Drop TLS's answers: after our end nothing may be sent.
        self.channel.take()
        if has_announced:
            self._close_lower()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._flush()
        self.abort()
