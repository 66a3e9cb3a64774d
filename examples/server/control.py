"""The control connection as text: command lines in, replies out.

RFC 959 §4.2 and §5.3, RFC 1123 §4.1.2.12 (Telnet), RFC 2640 §3.1 (CR NUL),
RFC 4217 (TLS). Knows no commands. What a client sends is never trusted to be
short, to be text, or to be Telnet done right; what is sent can never be taken
for a line that it is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import cast

import attrs

from ftpdata.lowlevel import PromptFuture

__all__ = ["ControlConnection", "Reply", "TelnetLines", "prepare_socket", "printable"]

READ_SIZE = 2048
"""Bytes that are read at a time: a few commands."""

GOODBYE = 1.0
"""Seconds for a client to take the last reply, and to answer the end of TLS. It need not."""

# Telnet commands (RFC 854): those with an operand, and the two marks of a sub-negotiation.
_IAC = 255
_WITH_OPTION = range(251, 255)  # WILL, WONT, DO, DONT
_SB = 250
_SE = 240


def printable(text: str) -> str:
    """Return the text as one line of printable characters, for a log or a reply.

    Everything else, line ends and terminal escapes above all, is written as
    Python writes it in a literal.
    """

    if text.isprintable():
        return text

    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@attrs.frozen
class Reply:
    """A reply of one or more lines (RFC 959 §4.2).

    Attributes:
        code: Three digits.
        text: The line; of a reply of several lines, the last.
        before: The lines before the last one.
    """

    code: int
    text: str
    before: Sequence[str] = ()

    @classmethod
    def parse(cls, line: str) -> Reply:
        """Make a reply of one line: those that ftpdata formats."""

        code, _, text = line.partition(" ")
        return cls(int(code), text)

    def encode(self) -> bytes:
        """Return what goes over the wire, the line ends included."""

        if not self.before:
            # Nearly always, and for every command.
            return _encode_line(f"{self.code} {self.text}")

        first, *others = self.before
        # A line that begins with a digit could be taken for the last one.
        within = (f" {line}" for line in others)
        lines = (f"{self.code}-{first}", *within, f"{self.code} {self.text}")
        return b"".join(_encode_line(line) for line in lines)


def _encode_line(line: str) -> bytes:
    """Encode one line. Names keep their bytes; control characters cannot make a second line."""

    safe = line
    if not line.isprintable():
        safe = "".join(c if c >= " " and c != "\x7f" else ascii(c)[1:-1] for c in line)

    return safe.encode("utf-8", "surrogateescape") + b"\r\n"


class TelnetLines:
    """Cuts a byte stream into command lines, and takes the Telnet out of it. Pure.

    Abort sequences come with IAC IP and IAC DM in front, some of it as urgent
    data (RFC 959 §4.1.3, ABOR); naive clients send option negotiations too.
    All of it is dropped; an escaped IAC is one byte 255.

    Args:
        limit: Bytes of a line, without its end. The bytes of a longer one are
            dropped as they come.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()
        self._too_long = False
        self._telnet: int | None = None
        self._in_subnegotiation = False
        self._after_cr = False
        self._is_at_start = True

    @property
    def is_within_line(self) -> bool:
        """Whether there are bytes of a line whose end has not come."""

        return bool(self._line) or self._too_long or self._telnet is not None

    def feed(self, data: bytes) -> list[str | None]:
        """Return the lines that end in `data`; None stands for one that was too long."""

        lines: list[str | None] = []
        if self._is_at_start and b"\xff" not in data and b"\0" not in data:
            # Nearly always: whole lines, and no Telnet.
            *ended, data = data.split(b"\n")
            lines += [self._decode(line) for line in ended]
            if not data:
                return lines

        for byte in data:
            if self._telnet is not None:
                self._take_telnet(byte)
            elif byte == _IAC:
                self._telnet = _IAC
            elif self._in_subnegotiation:
                continue
            elif byte == 10:  # noqa: PLR2004 - LF
                lines.append(self._end_line())
            else:
                self._add(byte)

        self._is_at_start = not (self.is_within_line or self._in_subnegotiation)
        return lines

    def _take_telnet(self, byte: int) -> None:
        """Take the byte after IAC, or the operand of a command."""

        command, self._telnet = self._telnet, None
        if command in _WITH_OPTION:
            return
        if byte == _SB:
            self._in_subnegotiation = True
        elif byte == _SE:
            self._in_subnegotiation = False
        elif self._in_subnegotiation:
            return
        elif byte in _WITH_OPTION:
            self._telnet = byte
        elif byte == _IAC:
            self._add(byte)

    def _add(self, byte: int) -> None:
        # RFC 2640 §3.1: a CR within a path is sent as CR NUL.
        if byte == 0 and self._after_cr:
            self._after_cr = False
            return

        self._after_cr = byte == 13  # noqa: PLR2004 - CR
        if len(self._line) > self._limit:
            self._too_long = True
        else:
            self._line.append(byte)

    def _end_line(self) -> str | None:
        line = bytes(self._line)
        too_long = self._too_long
        self._line.clear()
        self._too_long = self._after_cr = False
        return None if too_long else self._decode(line)

    def _decode(self, line: bytes) -> str | None:
        line = line.removesuffix(b"\r")
        return None if len(line) > self._limit else line.decode("utf-8", "surrogateescape")


def prepare_socket(sock: socket.socket) -> None:
    """Set what a control connection wants, before its first byte is read."""

    # Urgent data stay in their place: without this the last byte of an urgent
    # "ABOR\r\n" is lost, and with it the line.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    # A reply is small and waited for.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class ControlConnection(asyncio.BufferedProtocol):
    """Reads lines and sends replies, in clear or through TLS.

    Lines wait here for their turn; `watch` sees each of them as it comes.

    Args:
        line_limit: Bytes of a command line.
        max_waiting: Lines that may wait. No more are read meanwhile.
        send_timeout: Seconds for the client to take a reply. A client that
            sends commands and reads no replies is cut off.
        watch: Called with each line as it comes; returns True where that was
            all there is to do about it, and it shall not wait.
        on_end: Called once, when the client says no more: `is_lost` tells
            whether that was an error.

    Attributes:
        is_lost: Whether the connection has failed. Nothing can be sent any more.
        has_ended: Whether no more lines will come.
        tls: TLS, while the connection is protected.
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
        self.has_ended = False
        self.tls: ssl.SSLObject | None = None
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
        # What is read of TLS, and what is to be sent of it; none without.
        self._incoming: ssl.MemoryBIO | None = None
        self._outgoing: ssl.MemoryBIO | None = None
        self._switch: Callable[[], None] | None = None

    # Lines

    @property
    def has_line(self) -> bool:
        """Whether a line waits."""

        return bool(self._waiting)

    @property
    def has_more(self) -> bool:
        """Whether the client has said more than what was taken: a line, or a part of one."""

        return bool(self._waiting) or self._telnet.is_within_line

    @property
    def is_full(self) -> bool:
        """Whether the client has many replies to read before it is to get more."""

        return self._is_full

    def take_line(self) -> str | None:
        """Take the line that has waited longest; None stands for one that was too long."""

        line = self._waiting.pop(0)
        if len(self._waiting) < self._max_waiting:
            self._read_on()

        return line

    def _read_on(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            if self._transport is not None and not self.has_ended:
                self._transport.resume_reading()

    async def wait(self, timeout: float) -> None:
        """Wait until there is a line, the end, or a call of `wake`.

        Raises:
            TimeoutError: Nothing of it came in time.
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
        """Let `wait` return now, and the line be answered before this does."""

        if self._changed is None or self._changed.done():
            return

        self._is_prompt = True
        try:
            self._changed.set_prompt_result(None)
        finally:
            self._is_prompt = False
            if self._held:
                # What it is held for takes longer.
                self.write(b"")

    async def _change(self) -> None:
        self._changed = PromptFuture(loop=self._loop)
        try:
            await self._changed
        finally:
            self._changed = None

    def _watch_time(self) -> None:
        # One timer at a time, which is set anew when it fires: most waits are over long before.
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

        Of a transfer that is over in no time, 150 and 226 are one packet.
        """

        self._held += reply.encode()
        if not self._is_prompt and self._let_go is None:
            self._let_go = self._loop.call_soon(self.write, b"")

    async def send_all(self, data: bytes) -> None:
        """Send whole lines, any number, and wait as `drain` does."""

        self.write(data)
        await self.drain()

    def write(self, data: bytes) -> None:
        """Send whole lines, few enough that nobody needs to wait until the client takes them.

        To a connection that is lost nothing is sent, and no error raised.
        """

        if self._held:
            data, self._held = self._held + data, b""
        if self._let_go is not None:
            self._let_go.cancel()
            self._let_go = None

        if self.is_lost or self._transport is None or self._transport.is_closing():
            return

        if self.tls is None:
            self._transport.write(data)
            return

        try:
            self.tls.write(data)
        except ssl.SSLError:
            self._lose()
        self._flush()

    async def drain(self) -> None:
        """Wait until the client has taken what was written, nearly all of it.

        One that takes too long for it is cut off, as `send_timeout` says.
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

    def _flush(self) -> None:
        data = self._outgoing.read() if self._outgoing is not None else b""
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _lose(self) -> None:
        """Give the connection up: it has failed, or the client breaks the rules."""

        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()
        self._end()

    # TLS

    def expect_tls(self, context: ssl.SSLContext) -> None:
        """Take what comes from now on for TLS; `handshake` comes next.

        What was read before is forgotten, not taken for a command: it may be
        somebody else's (CVE-2011-1575).
        """

        self._waiting.clear()
        self._telnet = TelnetLines(self._line_limit)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._switch = self._hold

    async def handshake(self) -> None:
        """Begin TLS.

        Raises:
            ssl.SSLError: There is no agreement.
            ConnectionError: The client has left.
        """

        assert self.tls is not None
        await self._run_switch(self.tls.do_handshake)
        # Behind the client's last message there may be commands already.
        self._take_protected()

    async def unprotect(self) -> None:
        """End TLS, and go on in clear (CCC).

        Raises:
            ssl.SSLError: The client does not end it.
            ConnectionError: The client has left.
        """

        assert self.tls is not None
        assert self._incoming is not None
        await self._run_switch(self.tls.unwrap)
        # What the client has said in clear behind its end of TLS is all its own.
        rest = self._incoming.read()
        self.tls = self._incoming = self._outgoing = None
        self._take(rest)

    async def _run_switch(self, step: Callable[[], object]) -> None:
        """Repeat a step of TLS with each piece that comes, until it is done."""

        done = False
        failure: ssl.SSLError | None = None

        def advance() -> None:
            nonlocal done, failure
            try:
                step()
                done = True
            except ssl.SSLWantReadError:
                return
            except ssl.SSLError as error:
                failure = error
            finally:
                self._flush()

        self._switch = advance
        try:
            advance()
            while not done:
                if failure is not None:
                    raise failure
                if self.has_ended:
                    raise ConnectionError("the client has left")
                await self._change()
        finally:
            self._switch = None

    def _hold(self) -> None:
        """Leave what has come to who is about to ask for it."""

    def _take_protected(self) -> None:
        """Take what has come through TLS."""

        assert self.tls is not None
        try:
            while data := self.tls.read(READ_SIZE):
                self._take(data)
            # The client has ended TLS, and so all that it has to say.
            self._end()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._lose()
        finally:
            # Also a ticket that is due.
            self._flush()

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the transport."""

        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, _: int) -> memoryview:
        """Give room for what has come, until `buffer_updated` takes it at once."""

        self._buffer = memoryview(bytearray(READ_SIZE))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Cut it into lines."""

        buffer, self._buffer = self._buffer, None
        assert buffer is not None
        if self.has_ended or self._is_deaf:
            return

        data = bytes(buffer[:nbytes])
        if self._incoming is None:
            self._take(data)
        else:
            self._incoming.write(data)
            if self._switch is None:
                self._take_protected()
            else:
                self._switch()
                self.wake()

        if self._waiting:
            self._wake_promptly()

    def eof_received(self) -> bool:
        """Take note that the client says no more. It may still read."""

        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""

        self.is_lost = self.is_lost or exc is not None or not self.has_ended
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end()
        self.wake()

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
            if self._transport is not None:
                self._transport.pause_reading()

    def _end(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self._on_end()
            self.wake()

    # The end

    async def aclose(self) -> None:
        """Close behind what was sent; say so before, where TLS wants it.

        A client that takes neither within a second is cut off.
        """

        try:
            if self._held:
                self.write(b"")
            has_more = self.has_more or not self._is_reading
            # The answer to the end of TLS may stand behind all that.
            self._read_on()
            if self.tls is not None and not self.is_lost:
                with contextlib.suppress(TimeoutError, ssl.SSLError, ConnectionError):
                    async with asyncio.timeout(GOODBYE):
                        await self._run_switch(self.tls.unwrap)

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

        What it says is dropped. To close over it would be a reset, which fails what
        the client sends, and most of them read no further then.
        """

        self._is_deaf = True
        with contextlib.suppress(OSError):  # a reset that has not been told of yet
            transport.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                while not self.has_ended:
                    await self._change()
