"""The transport of a protected connection, above the event loop's transport of its socket.

It begins once the handshake of its `TLSChannel` is done (`ftpdata.tls._channel`).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

from ..contracts import Buffer
from ._channel import TLSChannel, scratch

__all__ = ["TLSTransport"]

MOST_ANSWERS = 16 * 1024
"""Bytes that TLS itself may have to say to a peer that takes nothing.

New keys and new tickets are answered, and a peer can ask for keys without an end."""


class TLSTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """The transport of a protocol whose connection is protected.

    To the event loop's transport below it is the protocol. What it cannot
    deliver, as reading is paused, stays in the channel: what one read brought,
    at most. It ends as TLS wants it: the announcement, then the end of file;
    then it waits for the peer's own, without a limit: who has one aborts it.

    Args:
        channel: The handshake is done.
        protocol: Whose transport it is.
        unsent: What the channel gave and the socket has not taken.
        is_ending: Whether the end was announced already: it is the last of
            `unsent`, or was sent, and the end of file behind it.

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
        # Whether something may be there that was not delivered: data, an end or a failure.
        self._has_more = channel.holds_data
        self._answered = 0
        # Whether the connection below has ended, and whether the protocol was told of an end.
        self._has_ended = False
        self._is_at_end = False
        self._failure: Exception | None = None

    # What the protocol calls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell what asyncio's TLS transports tell, and what the one below does."""

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
        """Have another one told of everything from now on."""

        self._protocol = cast("asyncio.Protocol | asyncio.BufferedProtocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who is told."""

        return self._protocol

    def is_closing(self) -> bool:
        """Whether the end was announced, or the connection is gone."""

        return self._is_closing or (self._below is not None and self._below.is_closing())

    def is_reading(self) -> bool:
        """Whether data are delivered."""

        return not (self._is_paused or self.is_closing())

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""

        if not self._is_paused:
            self._is_paused = True
            if not self.is_closing():
                self._lower.pause_reading()

    def resume_reading(self) -> None:
        """Deliver what came meanwhile, on the loop's next turn, and go on."""

        if self._is_paused:
            self._is_paused = False
            if not self.is_closing():
                self._lower.resume_reading()
                self._deliver_soon()

    def write(self, data: Buffer) -> None:
        """Send data. Behind `close` nothing is."""

        if self.is_closing():
            return

        try:
            self.channel.write(data)
        except ssl.SSLError as error:
            self._fail(error)
        else:
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
        """Announce the end behind what was written, send it, and wait for the peer's."""

        if self.is_closing():
            return

        self._is_closing = True
        is_answered = self.channel.announce_end()
        self._flush()
        if is_answered or self._has_ended:
            self._lower.close()
        else:
            self._end_sending()

    def abort(self) -> None:
        """Let go of the connection at once."""

        self._is_closing = True
        self._lower.abort()

    # What the transport below calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, above it."""

        self._below = cast("asyncio.Transport", transport)
        unsent, self._unsent = self._unsent, b""
        if unsent and not self._lower.is_closing():
            # Before anything that the protocol writes.
            self._lower.write(unsent)
        self._protocol.connection_made(self)
        if self._lower.is_closing():
            return

        if not self._is_closing:
            self._deliver_soon()
        elif unsent:
            self._end_sending()
        else:
            # The end of file went out behind it.
            self._lower.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol, and why."""

        self._is_closing = True
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        self._protocol.connection_lost(exc or self._failure)

    def pause_writing(self) -> None:
        """Hand it on."""

        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Hand it on."""

        self._protocol.resume_writing()

    def get_buffer(self, _: int) -> memoryview:
        """Give memory to receive into."""

        return scratch.received

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came."""

        if self._is_at_end and not self._is_closing:
            # Nothing counts behind the peer's end.
            return

        self.channel.feed(scratch.received[:nbytes])
        self._has_more = True
        if self._is_closing:
            self._await_end()
        elif self._is_paused:
            # uvloop reads once more, whatever was said.
            self._lower.pause_reading()
        else:
            self._deliver()

    def eof_received(self) -> bool:
        """Take note that the peer has closed, whether it has announced it or not."""

        self._has_ended = self._has_more = True
        if self._is_closing:
            self._lower.close()
        else:
            self._deliver()

        return True

    # Private

    @property
    def _lower(self) -> asyncio.Transport:
        assert self._below is not None
        return self._below

    def _flush(self) -> None:
        data = self.channel.take()
        if data and not self._lower.is_closing():
            self._lower.write(data)

    def _answer(self) -> None:
        """Send what TLS itself has to say, to new keys or a new ticket, but not without limit."""

        data = self.channel.take()
        if not data:
            return

        if not self._lower.get_write_buffer_size():
            self._answered = 0
        self._lower.write(data)
        if self._lower.get_write_buffer_size():
            self._answered += len(data)
        if self._answered > MOST_ANSWERS:
            self._fail(ssl.SSLError("the peer asks TLS for answers and does not take them"))

    def _end_sending(self) -> None:
        try:
            self._lower.write_eof()
        except OSError as error:
            self._fail(error)
        else:
            self._lower.resume_reading()

    def _deliver_soon(self) -> None:
        if self._delivery is None and self._has_more:
            self._delivery = asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        """Give the protocol what there is, as long as it wants it; then the end, if it is there."""

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
                raise RuntimeError(f"{protocol!r} gives no memory to read into")
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
        """Read on behind our own end, for the peer's; nobody wants the data before it."""

        try:
            size, has_announced = self.channel.read_into(scratch.decrypted)
            while size and not has_announced:
                size, has_announced = self.channel.read_into(scratch.decrypted)
        except ssl.SSLError:
            has_announced = True

        # It is said behind our end, where nothing is.
        self.channel.take()
        if has_announced:
            self._lower.close()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._flush()
        self.abort()
