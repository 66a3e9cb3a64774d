"""A connection in memory, whose network is controlled by the test."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections import deque
from typing import Any, cast

from ..contracts import Buffer

__all__ = ["MemoryTransport", "connection_reset", "pair"]

READ_SIZE = 64 * 1024
"""Bytes of one read of a `MemoryTransport`, as from a socket."""


class MemoryTransport(asyncio.Transport):
    """A transport whose network is controlled by the test.

    Data that the protocol writes wait in the write buffer until `drain` lets the
    network take them; data from `feed` wait, as in a kernel, until the protocol
    reads. Pauses, ends and write-buffer limits are those of asyncio's own
    transports, which also refuse the same mistakes.

    Args:
        protocol: Gets ``connection_made`` at once.
        auto_drain: Let the network take everything as soon as it is written.
        tls: Behave as a TLS transport: no half-close, and an ``ssl_object``
            that knows whether the peer's end was announced.
        peername: The result of ``get_extra_info("peername")``.
        extra: Further results of ``get_extra_info``.

    Attributes:
        sent: The data that the network has taken.
        calls: Names of the methods the protocol has called, in order.
        most_buffered: The most bytes that ever waited to be sent.
        eof_sent: Whether the network has taken the end of file.
        is_lost: Whether ``connection_lost`` was called.
        was_aborted: Whether the connection was cut rather than closed.

    Raises:
        RuntimeError: There is no running event loop.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol,
        *,
        auto_drain: bool = False,
        tls: bool = False,
        peername: tuple[str, int] = ("192.0.2.1", 40000),
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._tls_object = _MemoryTLS() if tls else None
        super().__init__({
            "peername": peername,
            "ssl_object": self._tls_object,
            **(extra or {}),
        })
        self.sent: bytearray = bytearray()
        self.calls: list[str] = []
        self.most_buffered: int = 0
        self.eof_sent: bool = False
        self.is_lost: bool = False
        self.was_aborted: bool = False
        self.auto_drain = auto_drain
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        # Sending.
        self._buffer = bytearray()
        self._high = 64 * 1024
        self._low = self._high // 4
        self._writing_paused = False
        self._eof_written = False
        self._closing = False
        # Receiving: chunks, and None for the end of file.
        self._incoming: deque[bytes | None] = deque()
        self._reading_paused = False
        self._eof_delivered = False
        self._reading_scheduled = False
        self._partner: MemoryTransport | None = None
        protocol.connection_made(self)

    def __repr__(self) -> str:
        state = "lost" if self.is_lost else "closing" if self._closing else "open"
        return (
            f"<MemoryTransport {state} sent={len(self.sent)} buffered={len(self._buffer)} "
            f"incoming={len(self._incoming)} reading={self.is_reading()}>"
        )

    # The network's side, for the test

    def drain(self, nbytes: int | None = None) -> int:
        """Let the network take bytes from the write buffer.

        Args:
            nbytes: How many bytes at most; None takes all.

        Returns:
            How many bytes it took.
        """

        taken = bytes(self._buffer[:nbytes])
        del self._buffer[: len(taken)]
        self.sent += taken
        if taken and self._partner is not None:
            self._partner.feed(taken)

        if self._writing_paused and len(self._buffer) <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()

        self._flushed()
        return len(taken)

    def feed(self, *chunks: bytes) -> None:
        """Let bytes arrive; the loop delivers them while the protocol reads.

        Each chunk is one read, or several if it is longer than `READ_SIZE`.
        """

        for chunk in chunks:
            self._incoming.extend(
                chunk[start : start + READ_SIZE] for start in range(0, len(chunk), READ_SIZE)
            )

        self._schedule_reading()

    def feed_eof(self, *, close_notify: bool = True) -> None:
        """Let the peer's end of file arrive, after the data that were fed.

        Args:
            close_notify: With TLS, whether the end is announced; without the
                announcement the stream may have been cut.
        """

        if self._tls_object is not None:
            self._tls_object.has_close_notify = close_notify

        self._incoming.append(None)
        self._schedule_reading()

    def deliver(self, data: bytes) -> None:
        """Deliver bytes now, even if reading is paused, as a read under way does."""

        self._protocol.data_received(data)

    def lose(self, exc: Exception | None = None) -> None:
        """End the connection now: ``connection_lost(exc)``. Buffered data are dropped."""

        if self.is_lost:
            return

        self._closing = True
        self.is_lost = True
        self._buffer.clear()
        self._incoming.clear()
        self._protocol.connection_lost(exc)

    @property
    def buffered(self) -> bytes:
        """The data that were written but not yet taken by the network."""

        return bytes(self._buffer)

    @property
    def is_writing_paused(self) -> bool:
        """Whether the last call to the protocol's flow control was ``pause_writing``."""

        return self._writing_paused

    # asyncio's transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the protocol whose callbacks are called from now on."""

        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""

        return self._protocol

    def is_closing(self) -> bool:
        """Whether the connection is closing or closed."""

        return self._closing

    def close(self) -> None:
        """Close once the network has taken the buffered data."""

        self.calls.append("close")
        if self._closing:
            return

        self._closing = True
        self._incoming.clear()
        self._flushed()

    def abort(self) -> None:
        """Cut the connection; buffered data are dropped."""

        self.calls.append("abort")
        self.was_aborted = True
        self._closing = True
        self._buffer.clear()
        self._incoming.clear()
        self._loop.call_soon(self.lose)
        if self._partner is not None:
            self._loop.call_soon(self._partner.lose, connection_reset())

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""

        self.calls.append("pause_reading")
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Deliver the data that are fed."""

        self.calls.append("resume_reading")
        if self._closing:
            return

        self._reading_paused = False
        if self._eof_delivered:
            # As in asyncio, a protocol that reads on after an end of file gets it again.
            self._incoming.append(None)

        self._schedule_reading()

    def is_reading(self) -> bool:
        """Whether data that are fed get delivered."""

        return not self._reading_paused and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when writing is paused (above `high` bytes) and resumed (at `low` or fewer)."""

        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"expected high >= low >= 0, not high={high!r}, low={low!r}")

        self._high, self._low = high, low
        self._pause_if_full()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the limits as (low, high), in bytes."""

        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""

        return len(self._buffer)

    def write(self, data: Buffer) -> None:
        """Take data for the network.

        Raises:
            TypeError: Not bytes.
            RuntimeError: The end of file was written already.
        """

        self.calls.append("write")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        if self._eof_written:
            raise RuntimeError("cannot write after write_eof")
        if self._closing:
            # asyncio's transports drop such data, too; code that writes them has a defect.
            return

        self._buffer += data
        self.most_buffered = max(self.most_buffered, len(self._buffer))
        self._pause_if_full()
        if self.auto_drain:
            self._loop.call_soon(self.drain)

    def can_write_eof(self) -> bool:
        """Whether half-close is supported: not with TLS."""

        return self._tls_object is None

    def write_eof(self) -> None:
        """Send the end of file after the buffered data; go on receiving."""

        self.calls.append("write_eof")
        if not self.can_write_eof():
            raise NotImplementedError("TLS has no half-close")

        self._eof_written = True
        self._flushed()

    # Private

    def _pause_if_full(self) -> None:
        if len(self._buffer) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def _flushed(self) -> None:
        """Send the end of file, and close, once the write buffer is empty."""

        if self._buffer or self.is_lost:
            return

        if (self._eof_written or self._closing) and not self.eof_sent and not self.was_aborted:
            self.eof_sent = True
            if self._partner is not None:
                self._partner.feed_eof()

        if self._closing:
            self._loop.call_soon(self.lose)

    def _schedule_reading(self) -> None:
        if self._incoming and self.is_reading() and not self._reading_scheduled:
            self._reading_scheduled = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._reading_scheduled = False
        if not self._incoming or not self.is_reading():
            return

        data = self._incoming.popleft()
        if data is None:
            self._eof_delivered = True
            keep_open = self._protocol.eof_received()
            if not keep_open or self._tls_object is not None:
                self.close()
        else:
            self._protocol.data_received(data)
            self._schedule_reading()


def connection_reset() -> ConnectionResetError:
    """Make the error that a socket raises when its peer has reset the connection."""

    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


class _MemoryTLS:
    """The part of an `ssl.SSLObject` that is used at the end of a stream."""

    def __init__(self) -> None:
        self.has_close_notify = True

    def read(self, _: int) -> bytes:
        if self.has_close_notify:
            return b""

        raise ssl.SSLWantReadError


def pair(
    first: asyncio.Protocol, second: asyncio.Protocol
) -> tuple[MemoryTransport, MemoryTransport]:
    """Connect two protocols in memory: each receives the data that the other sends.

    Each transport takes data at once when they are written, and delivers them while
    its protocol reads. Turn `MemoryTransport.auto_drain` off to hold bytes back.
    """

    one = MemoryTransport(first, auto_drain=True)
    two = MemoryTransport(second, auto_drain=True)
    one._partner, two._partner = two, one  # noqa: SLF001 - the same class
    return one, two
