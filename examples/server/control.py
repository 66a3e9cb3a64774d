"""The control connection: command lines come in, replies go out, in clear or through TLS.

RFC 959 §4.2 and §5.3, RFC 4217. Knows no commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from typing import cast

from ftpdata import SocketOptions
from ftpdata.lowlevel import PromptFuture

from .control_tls import ControlTLS
from .reply import Reply
from .telnet import TelnetLines

__all__ = ["ControlConnection", "prepare_socket"]

READ_SIZE = 2048
"""Bytes that are read at a time: a few commands."""

GOODBYE = 1.0
"""Seconds for a client to take the last reply, and to answer the end of TLS. It need not."""


def prepare_socket(sock: socket.socket, options: SocketOptions) -> None:
    """Set the options of a control connection, before its first byte is read."""

    options.set_on(sock)
    # Urgent data stay in their place: without this the last byte of an urgent
    # "ABOR\r\n" is lost, and with it the line.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


class ControlConnection(asyncio.BufferedProtocol):
    """Reads lines and sends replies, in clear or through TLS.

    Lines wait here for their turn; `watch` sees each of them as it comes.

    Args:
        line_limit: Bytes of a command line.
        max_waiting: Lines that may wait. While that many do, nothing is read.
        send_timeout: Seconds for the client to take a reply. A client that
            sends commands and reads no replies is cut off.
        watch: Called with each line as it comes. Returns True if it has dealt
            with the line, which then does not wait.
        on_end: Called once, when the client sends no more: `is_lost` tells
            whether that was an error.

    Attributes:
        is_lost: Whether the connection has failed. Nothing can be sent any more.
        is_given_up: Whether it was this side that ended it: the client breaks the rules,
            or does not read its replies.
        has_ended: Whether no more lines will come.
    """

    def __init__(
        self,
        *,
        line_limit: int,
        max_waiting: int,
        send_timeout: float,
        watch: Callable[[str | None], bool],
        on_end: Callable[[], None],
    ) -> None:
        self.is_lost = False
        self.is_given_up = False
        self.has_ended = False
        self._line_limit = line_limit
        self._max_waiting = max_waiting
        self._send_timeout = send_timeout
        self._watch = watch
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._buffer: memoryview | None = None
        self._telnet = TelnetLines(line_limit)
        self._waiting: list[str | None] = []
        self._transport: asyncio.Transport | None = None
        self._is_reading = True
        self._is_full = False
        self._changed: PromptFuture[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._patient_until = 0.0
        self._is_prompt = False
        self._is_deaf = False
        self._held = b""
        self._let_go: asyncio.Handle | None = None
        self._tls: ControlTLS | None = None

    async def begin(self, sock: socket.socket) -> None:
        """Take over a connection.

        Args:
            sock: A connected socket that does not block.

        Raises:
            OSError: It was lost meanwhile.
        """

        try:
            await self._loop.connect_accepted_socket(lambda: self, sock)
        except BaseException:
            # Both loops close the transport that they have begun with, if this is cancelled; but
            # uvloop does not say so, and each later call is a RuntimeError.
            self.connection_lost(None)
            raise

    # Lines

    @property
    def has_line(self) -> bool:
        """Whether a line waits."""

        return bool(self._waiting)

    @property
    def has_more(self) -> bool:
        """Whether the client has sent more than what was taken: a line, or a part of one."""

        return bool(self._waiting) or self._telnet.is_within_line

    @property
    def is_full(self) -> bool:
        """Whether the client has to read many replies before it gets more."""

        return self._is_full

    def take_line(self) -> str | None:
        """Take the line that has waited longest; None stands for one that was too long."""

        line = self._waiting.pop(0)
        if not self._is_reading and len(self._waiting) < self._max_waiting:
            self._read_on()

        return line

    def _read_on(self) -> None:
        self._is_reading = True
        if self._transport is not None and not self.has_ended:
            self._transport.resume_reading()

    async def wait(self, timeout: float) -> None:
        """Wait until there is a line, the end, or a call of `wake`.

        Raises:
            TimeoutError: None of these came in time.
        """

        self._patient_until = self._loop.time() + timeout
        if self._timer is None or self._timer.when() > self._patient_until:
            self._watch_time()
        await self._change()
        if not (self._waiting or self.has_ended) and self._loop.time() >= self._patient_until:
            raise TimeoutError

    def wake(self) -> None:
        """Let `wait` return."""

        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _wake_promptly(self) -> None:
        """Let `wait` return now, so that the line is answered before this returns."""

        if self._changed is None or self._changed.done():
            return

        self._is_prompt = True
        try:
            self._changed.set_prompt_result(None)
        finally:
            self._is_prompt = False
            if self._held:
                # The reply that it was held for takes longer.
                self.write(b"")

    async def _change(self) -> None:
        self._changed = PromptFuture(loop=self._loop)
        try:
            await self._changed
        finally:
            self._changed = None

    def _watch_time(self) -> None:
        # One timer at a time, which is set again when it fires: most waits are over long before.
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._patient_until, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        if self._loop.time() < self._patient_until:
            self._watch_time()
        else:
            self.wake()

    # Replies

    def hold(self, reply: Reply) -> None:
        """Send a reply together with the next one, at the latest on the loop's next turn.

        For a transfer that is over in no time, 150 and 226 are one packet.
        """

        self._held += reply.encode()
        if not self._is_prompt and self._let_go is None:
            self._let_go = self._loop.call_soon(self.write, b"")

    async def send_all(self, data: bytes) -> None:
        """Send any number of whole lines, and wait as `drain` does."""

        self.write(data)
        await self.drain()

    def write(self, data: bytes) -> None:
        """Send whole lines, few enough not to wait until the client has read them.

        On a connection that is lost, nothing is sent and no error is raised.
        """

        if self._held:
            data, self._held = self._held + data, b""
        if self._let_go is not None:
            self._let_go.cancel()
            self._let_go = None

        if self.is_lost or self._transport is None or self._transport.is_closing():
            return

        if self._tls is None:
            self._transport.write(data)
            return

        try:
            self._tls.write(data)
        except ssl.SSLError:
            self._lose()

    async def drain(self) -> None:
        """Wait until the client has taken nearly all of what was written.

        A client that takes too long is cut off, as `send_timeout` says.
        """

        if self._is_full:
            await self._drain()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._send_timeout):
                while self._is_full and not self.is_lost:
                    await self._change()
        except TimeoutError:
            self._lose()

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _lose(self) -> None:
        """Give the connection up: it has failed, or the client breaks the rules."""

        self.is_lost = self.is_given_up = True
        if self._transport is not None:
            self._transport.abort()
        self._end()

    # TLS

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS of the connection; None while it is in clear."""

        return None if self._tls is None else self._tls.object

    def expect_tls(self, context: ssl.SSLContext) -> None:
        """Take what comes from now on for TLS; `handshake` comes next.

        What was read before is forgotten, not taken for a command: somebody else
        may have sent it (CVE-2011-1575).
        """

        self._waiting.clear()
        self._telnet = TelnetLines(self._line_limit)
        self._tls = ControlTLS(context, send=self._send, wait=self._change_of_client)

    async def handshake(self) -> None:
        """Begin TLS; see `ControlTLS.handshake` for the errors."""

        assert self._tls is not None
        await self._tls.handshake()
        self._take_protected()

    async def unprotect(self) -> None:
        """End TLS, and go on in clear (CCC); see `ControlTLS.end` for the errors."""

        assert self._tls is not None
        rest = await self._tls.end()
        self._tls = None
        # What the client has sent in clear after its end of TLS can only be its own.
        self._take(rest)

    async def _change_of_client(self) -> None:
        if self.has_ended:
            raise ConnectionError("the client has left")
        await self._change()

    def _take_protected(self, records: bytes = b"") -> None:
        """Take what has come through TLS."""

        assert self._tls is not None
        try:
            for data in self._tls.read(records):
                self._take(data)
        except ssl.SSLError:
            self._lose()
        if self._tls.has_ended:
            self._end()

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the transport."""

        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, _: int) -> memoryview:
        """Give room for what has come, until `buffer_updated` takes it at once."""

        self._buffer = memoryview(bytearray(READ_SIZE))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Cut what has come into lines."""

        buffer, self._buffer = self._buffer, None
        assert buffer is not None
        if self.has_ended or self._is_deaf:
            return

        self._receive(bytes(buffer[:nbytes]))
        if self._waiting:
            self._wake_promptly()

    def _receive(self, data: bytes) -> None:
        if self._tls is None:
            self._take(data)
        elif self._tls.is_in_step:
            self._tls.advance(data)
            self.wake()
        else:
            self._take_protected(data)

    def eof_received(self) -> bool:
        """Take note that the client sends no more. It may still read."""

        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""

        if exc is not None:
            self._hear_rest()
        self.is_lost = self.is_lost or exc is not None or not self.has_ended
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end()
        self.wake()

    def _hear_rest(self) -> None:
        """Take the lines that came before the connection was lost, and were not read yet.

        The system keeps them through a reset, but if it was a reply that could not be
        sent, the event loop reads no more.
        """

        assert self._transport is not None
        sock = self._transport.get_extra_info("socket")
        heard = 0
        # As much as may wait in any case.
        limit = self._max_waiting * self._line_limit
        with contextlib.suppress(OSError):
            while not self.has_ended and heard < limit:
                data = os.read(sock.fileno(), READ_SIZE)
                if not data:
                    return
                heard += len(data)
                self._receive(data)

    def pause_writing(self) -> None:
        """Let nobody send more."""

        self._is_full = True

    def resume_writing(self) -> None:
        """Let them go on."""

        self._is_full = False
        self.wake()

    def _take(self, data: bytes) -> None:
        for line in self._telnet.feed(data):
            if not self._watch(line):
                self._waiting.append(line)

        if len(self._waiting) >= self._max_waiting and self._is_reading:
            self._is_reading = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.pause_reading()

    def _end(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self._on_end()
            self.wake()

    # The end

    async def aclose(self) -> None:
        """Close after what was sent; through TLS, end TLS before.

        A client that takes neither within a second is cut off.
        """

        try:
            if self._held:
                self.write(b"")
            has_more = self.has_more or not self._is_reading
            # The client's answer to the end of TLS may come after all that.
            if not self._is_reading:
                self._read_on()
            if self._tls is not None and not self.is_lost:
                with contextlib.suppress(TimeoutError, ssl.SSLError, ConnectionError):
                    async with asyncio.timeout(GOODBYE):
                        await self._tls.end()

            if has_more and self._transport is not None and not self.is_lost:
                await self._hear_out(self._transport)

            if self._transport is not None:
                self._transport.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GOODBYE):
                        while self._transport is not None:
                            await self._change()
        finally:
            if self._transport is not None:
                self._transport.abort()

    async def _hear_out(self, transport: asyncio.Transport) -> None:
        """Let a client that has more to say read the last reply before the connection is closed.

        What it says is dropped. Closing with unread data would cause a reset: the client's sending
        would fail, and most clients would not read the reply then.
        """

        self._is_deaf = True
        with contextlib.suppress(OSError):  # a reset that nobody has reported yet
            transport.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                while not self.has_ended:
                    await self._change()
