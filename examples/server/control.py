"""The control connection as text: command lines in, replies out.

RFC 959 §4.2 and §5.3, RFC 1123 §4.1.2.12 (Telnet), RFC 2640 §3.1 (CR NUL).
Knows no commands. What a client sends is never trusted to be short, to be
text, or to be Telnet done right; what is sent can never be taken for a line
that it is not.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence

import anyio
import anyio.abc
import attrs
from anyio.streams.tls import TLSStream

__all__ = ["ControlConnection", "Reply", "TelnetLines", "prepare_socket", "printable"]

READ_SIZE = 4096

GOODBYE = 1.0
"""Seconds for a client to answer the end of TLS. It need not, and many do not."""

_LOST = (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)

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

        lines = []
        if self.before:
            first, *others = self.before
            # A line that begins with a digit could be taken for the last one.
            lines = [f"{self.code}-{first}", *(f" {line}" for line in others)]
        lines.append(f"{self.code} {self.text}")
        return b"".join(_encode_line(line) for line in lines)


def _encode_line(line: str) -> bytes:
    """Encode one line. Names keep their bytes; control characters cannot make a second line."""

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

    @property
    def is_within_line(self) -> bool:
        """Whether there are bytes of a line whose end has not come."""

        return bool(self._line) or self._too_long or self._telnet is not None

    def feed(self, data: bytes) -> list[str | None]:
        """Return the lines that end in `data`; None stands for one that was too long."""

        lines: list[str | None] = []
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
        line = bytes(self._line.removesuffix(b"\r"))
        too_long = self._too_long or len(line) > self._limit
        self._line.clear()
        self._too_long = self._after_cr = False
        return None if too_long else line.decode("utf-8", "surrogateescape")


def prepare_socket(sock: socket.socket) -> None:
    """Set what a control connection wants, before its first byte is read."""

    # Urgent data stay in their place: without this the last byte of an urgent
    # "ABOR\r\n" is lost, and with it the line.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    # A reply is small and waited for.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class ControlConnection:
    """Reads lines and sends replies over a byte stream. Replies are never mixed.

    Args:
        stream: The connection. Any byte stream will do, one with TLS too.
        line_limit: Bytes of a command line.
        send_timeout: Seconds for the client to take a reply. A client that
            sends commands and reads no replies is cut off.
    """

    def __init__(
        self, stream: anyio.abc.ByteStream, *, line_limit: int, send_timeout: float
    ) -> None:
        self._stream = stream
        self._line_limit = line_limit
        self._lines = TelnetLines(line_limit)
        self._lines_left = 0
        self._early = b""
        self._send_timeout = send_timeout
        self._send_lock = anyio.Lock()
        self.is_lost = False

    async def lines(self) -> AsyncIterator[str | None]:
        """Yield command lines to the end of the connection; None for one too long.

        However the connection ends, the iteration just ends. `is_lost` says
        whether that was an error, or a client that is done with sending.
        """

        while True:
            data, self._early = self._early, b""
            try:
                if not data:
                    data = await self._stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                return
            except _LOST:
                self.is_lost = True
                return

            lines = self._lines.feed(data)
            for index, line in enumerate(lines):
                self._lines_left = len(lines) - index - 1
                yield line

    @property
    def tls(self) -> TLSStream | None:
        """The TLS of the connection, if there is any."""

        return self._stream if isinstance(self._stream, TLSStream) else None

    @property
    def has_more(self) -> bool:
        """Whether the client has said more than the line that `lines` gave last."""

        return self._lines_left > 0 or self._lines.is_within_line

    async def protect(self, context: ssl.SSLContext) -> None:
        """Begin TLS. Nobody may wait in `lines` meanwhile.

        What was read before is forgotten, not taken for a command: it may be
        somebody else's (CVE-2011-1575). What is still to be read is taken for
        the handshake, and fails it.

        Raises:
            ssl.SSLError: There is no agreement.
            anyio.BrokenResourceError: The connection was lost.
            anyio.EndOfStream: The client has left.
        """

        self._lines = TelnetLines(self._line_limit)
        self._lines_left = 0
        self._stream = await TLSStream.wrap(
            self._stream, server_side=True, ssl_context=context, standard_compatible=False
        )

    async def unprotect(self) -> None:
        """End TLS, and go on in clear (CCC). Nobody may wait in `lines` meanwhile.

        Raises:
            ssl.SSLError: The client does not end it.
            anyio.BrokenResourceError: The connection was lost.
            anyio.EndOfStream: The client has left.
        """

        assert isinstance(self._stream, TLSStream)
        # What the client has said in clear behind its end of TLS is all its own.
        stream, self._early = await self._stream.unwrap()
        assert isinstance(stream, anyio.abc.ByteStream)
        self._stream = stream

    async def aclose(self) -> None:
        """Close at once; say so before, where TLS wants it."""

        if self.tls is not None and not self.is_lost:
            with anyio.move_on_after(GOODBYE), contextlib.suppress(*_LOST, anyio.EndOfStream):
                await self.tls.unwrap()

        await anyio.aclose_forcefully(self._stream)

    async def send(self, reply: Reply) -> None:
        """Send a reply. To a connection that is lost nothing is sent, and no error raised."""

        await self.send_all(reply.encode())

    async def send_all(self, data: bytes) -> None:
        """Send bytes that are whole lines, under the same rules as `send`."""

        async with self._send_lock:
            if self.is_lost:
                return

            try:
                with anyio.fail_after(self._send_timeout):
                    await self._stream.send(data)
            except (*_LOST, TimeoutError):
                self.is_lost = True
                await anyio.aclose_forcefully(self._stream)
