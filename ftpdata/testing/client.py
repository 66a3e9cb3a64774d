"""A scripted client: it sends what a test wants, reads what comes, and fails in every way.

It is the other side in tests of servers. It is polite only where the test asks for it:
it can end a data connection with a reset, with a bare FIN in TLS, or not at all; it can
send several commands at once, in pieces, or bytes that are no command. Every wait has a
deadline. It uses the standard library and what is in this package for tests, so that it cannot
share a defect with the rest of ftpdata.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Self

import attrs

from . import faults
from ._words import printable, reason

__all__ = ["Failure", "Reply", "ScriptedClient", "ScriptedStream", "Truncated"]

PATIENCE = 10.0
"""Seconds for each wait, unless the client has others."""

_READ_SIZE = 64 * 1024
_REPLY_LIMIT = 1024 * 1024
"""Bytes of one reply; FEAT and HELP have a few hundred, STAT of a directory has more."""
_DOWNLOAD_LIMIT = 64 * 1024 * 1024
"""Bytes of one download."""


class Failure(Exception):
    """The server has not done what was expected; the text says what came instead."""


class Truncated(Failure):
    """A TLS connection has ended without close_notify (RFC 8446 §6.1)."""


@attrs.frozen
class Reply:
    """One reply of the server (RFC 959 §4.2).

    Attributes:
        code: Its code.
        lines: Its lines, without line ends; names may have surrogate escapes.
        seconds: How long after the last command it came.
    """

    code: int
    lines: tuple[str, ...]
    seconds: float = 0.0

    @property
    def kind(self) -> int:
        """The first digit of the code."""

        return self.code // 100

    @property
    def text(self) -> str:
        """All lines, joined with line feeds."""

        return "\n".join(self.lines)

    def __str__(self) -> str:
        first = printable(self.lines[0] if self.lines else str(self.code))
        return first if len(first) <= 80 else first[:77] + "..."


class ScriptedStream:
    """A TCP connection, in clear or TLS, that does nothing by itself.

    Args:
        sock: A connected, non-blocking socket; it belongs to the stream.
        patience: Seconds for each wait.

    Attributes:
        patience: As above.
    """

    def __init__(self, sock: socket.socket, *, patience: float = PATIENCE) -> None:
        self._socket = sock
        self.patience: float = patience
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        source: str | None = None,
        receive_buffer: int | None = None,
        patience: float = PATIENCE,
    ) -> Self:
        """Connect.

        Args:
            host: Address of the peer.
            port: Its port.
            source: Address to connect from.
            receive_buffer: SO_RCVBUF in bytes, for a client that is to read slowly.
            patience: Seconds for this and every later wait.

        Raises:
            Failure: Nobody accepts in time.
            OSError: The connection is refused or reset.
        """

        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source is not None:
                sock.bind((source, 0))
            stream = cls(sock, patience=patience)
            async with stream._deadline(f"connecting to port {port}"):
                await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except BaseException:
            sock.close()
            raise

        return stream

    @property
    def socket(self) -> socket.socket:
        """The socket, for what this class has no method for."""

        return self._socket

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS of the connection; None in clear."""

        return self._tls

    @property
    def local_address(self) -> tuple[str, int]:
        """Our address and port."""

        name = self._socket.getsockname()
        return str(name[0]), int(name[1])

    @contextlib.asynccontextmanager
    async def _deadline(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.patience):
                yield
        except TimeoutError:
            raise Failure(f"nothing happened in {self.patience:g} s of {what}") from None

    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        session: ssl.SSLSession | None = None,
        server_hostname: str | None = None,
    ) -> None:
        """Negotiate TLS as the client.

        Args:
            context: Its `SSLContext`.
            session: A session to resume; of the same context.
            server_hostname: Name for SNI and for the check of the certificate, if the
                context checks it.

        Raises:
            ssl.SSLError: The handshake fails.
            Failure: It does not end in time.
            OSError: The connection breaks.
        """

        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname, session=session
        )
        async with self._deadline("the TLS handshake"):
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._fill()
                else:
                    break
            await self._flush()

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _fill(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, _READ_SIZE)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            Failure: The peer does not take it in time.
            OSError: The connection breaks.
        """

        async with self._deadline("sending"):
            if self._tls is None:
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
                return

            view = memoryview(data)
            while view:
                view = view[self._tls.write(view[:_READ_SIZE]) :]
                await self._flush()

    async def receive(self, limit: int = _READ_SIZE) -> bytes:
        """Receive what comes next.

        Returns:
            At most `limit` bytes; none at the end of file, which in TLS the peer has
            announced.

        Raises:
            Truncated: In TLS, the end of file without close_notify.
            Failure: Nothing comes in time.
            OSError: The connection breaks.
        """

        async with self._deadline("waiting for data"):
            if self._tls is None:
                return await asyncio.get_running_loop().sock_recv(self._socket, limit)

            while True:
                try:
                    return self._tls.read(limit)
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._fill()
                except ssl.SSLZeroReturnError:
                    return b""
                except ssl.SSLEOFError:
                    raise Truncated("the TLS connection has ended without close_notify") from None

    async def receive_exactly(self, nbytes: int) -> bytes:
        """Receive that many bytes; fewer if the end of file comes first."""

        data = bytearray()
        while len(data) < nbytes:
            piece = await self.receive(nbytes - len(data))
            if not piece:
                break
            data += piece

        return bytes(data)

    async def receive_all(self) -> bytes:
        """Receive to the end of file; at most 64 MiB.

        Raises:
            Truncated: In TLS, the end of file without close_notify.
            Failure: Nothing comes in time, or more than that.
            OSError: The connection breaks.
        """

        data = bytearray()
        while piece := await self.receive():
            data += piece
            if len(data) > _DOWNLOAD_LIMIT:
                raise Failure(f"more than {_DOWNLOAD_LIMIT} bytes came")

        return bytes(data)

    async def end(self) -> None:
        """Send the end of file: in TLS close_notify (RFC 8446 §6.1), then FIN.

        The other direction stays open.
        """

        if self._tls is not None:
            # It wants the peer's close_notify, or has met the peer's data; ours is out.
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            async with self._deadline("sending close_notify"):
                await self._flush()
        self.fin()

    def fin(self) -> None:
        """Send FIN alone; in TLS, this is a truncation."""

        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a reset (RST)."""

        faults.reset(self._socket)

    def close(self) -> None:
        """Close the socket as it is. Can be called again."""

        self._socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *reason: object) -> None:
        self.close()


class ScriptedClient:
    """The control connection of a client that does nothing by itself.

    Args:
        stream: The connection; it belongs to the client.
        host: Address of the server, for data connections.
        context: TLS context of the session, for both kinds of connections; None in clear.
        source: Address to connect from.

    Attributes:
        stream: As above.
        host: As above.
        context: As above.
        source: As above.
        is_private: Whether data connections are protected (PROT P).
    """

    def __init__(
        self,
        stream: ScriptedStream,
        host: str,
        *,
        context: ssl.SSLContext | None = None,
        source: str | None = None,
    ) -> None:
        self.stream: ScriptedStream = stream
        self.host: str = host
        self.context: ssl.SSLContext | None = context
        self.source: str | None = source
        self.is_private: bool = False
        self._buffer = bytearray()
        self._sent_at = time.monotonic()
        self._said = "connecting"

    # Commands and replies

    async def send(self, *lines: str | bytes) -> None:
        """Send commands, all in one piece, without reading replies.

        Text is encoded as UTF-8 with surrogate escapes; bytes are sent as they are. Each
        line gets its CRLF, and a byte 255 is doubled, as Telnet has it (RFC 854).
        """

        encoded = (
            line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")
            for line in lines
        )
        await self.send_bytes(
            b"".join(line.replace(b"\xff", b"\xff\xff") + b"\r\n" for line in encoded)
        )
        said = lines[-1] if lines else ""
        if said[:5].upper() in {"PASS ", b"PASS "}:
            # What is said of a reply is shown to anybody.
            said = said[:4]
        self._said = repr(said if len(said) <= 60 else said[:57])

    async def send_bytes(self, data: bytes, *, said: str | None = None) -> None:
        """Send bytes as they are.

        Args:
            data: The bytes.
            said: What they are, for the text of a `Failure`.
        """

        self._sent_at = time.monotonic()
        self._said = repr(data[:60]) if said is None else said
        await self.stream.send(data)

    async def reply(self) -> Reply:
        """Read one reply (RFC 959 §4.2).

        Raises:
            Failure: No reply comes in time, what comes is no reply, or the server has closed
                the connection.
        """

        lines = [await self._line()]
        if not re.match(r"[1-5][0-9]{2}[ -]|[1-5][0-9]{2}$", lines[0]):
            raise Failure(f"after {self._said} came what is no reply: {lines[0][:60]!r}")

        code = lines[0][:3]
        size = len(lines[0])
        while lines[0][3:4] == "-" and not (len(lines) > 1 and lines[-1][:4] in (code, code + " ")):
            lines.append(await self._line())
            size += len(lines[-1])
            if size > _REPLY_LIMIT:
                raise Failure(f"the reply to {self._said} does not end")

        return Reply(int(code), tuple(lines), time.monotonic() - self._sent_at)

    async def _line(self) -> str:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _REPLY_LIMIT:
                raise Failure(f"a line of the reply to {self._said} does not end")
            try:
                piece = await self.stream.receive()
            except Truncated:
                piece = b""
            except Failure:
                raise Failure(
                    f"no reply to {self._said} in {self.stream.patience:g} s"
                ) from None
            except OSError as error:
                raise Failure(
                    f"after {self._said} the control connection broke: {reason(error)}"
                ) from error
            if not piece:
                raise Failure(f"after {self._said} the server closed the control connection")
            self._buffer += piece

        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        return line.replace(b"\xff\xff", b"\xff").decode("utf-8", "surrogateescape")

    async def command(self, line: str | bytes) -> Reply:
        """Send a command; read one reply, whatever it is."""

        await self.send(line)
        return await self.reply()

    async def expect(self, line: str | bytes, *codes: int) -> Reply:
        """Send a command; read one reply, which must be as expected.

        Args:
            line: The command.
            codes: Codes that are right; a code below 10 means all of that kind, so 2 is 2yz.

        Raises:
            Failure: Another reply came, or none.
        """

        return self.check(await self.command(line), *codes)

    async def expect_reply(self, *codes: int) -> Reply:
        """Read one reply, which must be as expected (see `expect`)."""

        return self.check(await self.reply(), *codes)

    def check(self, reply: Reply, *codes: int) -> Reply:
        """Return the reply, if it is as expected (see `expect`).

        Raises:
            Failure: It is not.
        """

        if reply.code in codes or reply.kind in codes:
            return reply

        wanted = " or ".join(f"{code}yz" if code < 10 else str(code) for code in codes)
        raise Failure(f"{self._said} was answered by '{reply}', not by {wanted}")

    # The session

    async def login(self, user: str, password: str) -> None:
        """Log in (RFC 959 §4.1.1).

        Raises:
            Failure: The server refuses.
        """

        reply = await self.expect(f"USER {user}", 2, 331)
        if reply.kind == 3:
            await self.expect(f"PASS {password}", 2)

    async def protect(self, context: ssl.SSLContext) -> None:
        """Protect the control connection (AUTH TLS, RFC 4217 §4).

        Raises:
            Failure: The server refuses, or the handshake fails.
        """

        await self.expect("AUTH TLS", 234)
        self.context = context
        try:
            await self.stream.start_tls(context)
        except (OSError, ssl.SSLError) as error:
            raise Failure(f"the TLS handshake of the control connection failed: {error}") from error

    async def keep_private(self) -> None:
        """Have data connections protected (PBSZ 0, PROT P, RFC 4217 §9)."""

        await self.expect("PBSZ 0", 2)
        await self.expect("PROT P", 2)
        self.is_private = True

    @property
    def session(self) -> ssl.SSLSession | None:
        """The newest TLS session of the control connection, for data connections to resume."""

        return None if self.stream.tls is None else self.stream.tls.session

    def close(self) -> None:
        """Close the control connection without QUIT."""

        self.stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *reason: object) -> None:
        self.close()

    # Data connections

    async def passive_port(self) -> int:
        """Ask for a passive port: EPSV (RFC 2428 §3), or PASV where the server has no EPSV.

        The address of PASV's reply is not used, as clients do that want no surprise.

        Raises:
            Failure: The server refuses both.
        """

        reply = await self.command("EPSV")
        if reply.kind == 2:
            if found := re.search(r"\((.)\1\1(\d+)\1\)", reply.text):
                return int(found[2])
            raise Failure(f"no port in the reply to EPSV: '{reply}'")

        reply = await self.expect("PASV", 227)
        if found := re.search(r"\d+,\d+,\d+,\d+,(\d+),(\d+)", reply.text):
            return int(found[1]) << 8 | int(found[2])
        raise Failure(f"no port in the reply to PASV: '{reply}'")

    async def connect(
        self, port: int, *, source: str | None = None, receive_buffer: int | None = None
    ) -> ScriptedStream:
        """Connect to a port of the server, from the address of the client unless another is given.

        Raises:
            Failure: Nobody accepts in time.
            OSError: The connection is refused or reset.
        """

        return await ScriptedStream.connect(
            self.host,
            port,
            source=source or self.source,
            receive_buffer=receive_buffer,
            patience=self.stream.patience,
        )

    async def passive(self, *, receive_buffer: int | None = None) -> ScriptedStream:
        """Ask for a passive port, and connect to it; TLS is not negotiated yet."""

        return await self.connect(await self.passive_port(), receive_buffer=receive_buffer)

    async def secure(self, data: ScriptedStream) -> None:
        """Negotiate TLS on a data connection, if they are protected, in the session's TLS session.

        Raises:
            Failure: The handshake fails.
        """

        if not self.is_private:
            return

        assert self.context is not None
        try:
            await data.start_tls(self.context, session=self.session)
        except (OSError, ssl.SSLError) as error:
            raise Failure(f"the TLS handshake of the data connection failed: {error}") from error

    async def begin(
        self, line: str | bytes, data: ScriptedStream | None = None
    ) -> tuple[Reply, ScriptedStream]:
        """Begin a transfer: connect, send the command, negotiate TLS, read 125 or 150.

        Args:
            line: The transfer command.
            data: A data connection that is already open; a passive one is opened else.

        Returns:
            The first reply, and the data connection.

        Raises:
            Failure: The server refuses the command; the data connection is closed then.
        """

        reply, opened = await self.attempt(line, data)
        self.check(reply, 125, 150)
        assert opened is not None
        return reply, opened

    async def attempt(
        self, line: str | bytes, data: ScriptedStream | None = None
    ) -> tuple[Reply, ScriptedStream | None]:
        """Do as `begin` does, with a command that may be refused.

        Servers differ in whether the handshake or the reply comes first; both are right.

        Args:
            line: The transfer command.
            data: A data connection that is already open; a passive one is opened else.

        Returns:
            The first reply, and the data connection; None if the reply is not 1yz, for the
            data connection is closed then.

        Raises:
            Failure: No reply comes, or the TLS handshake fails.
        """

        if data is None:
            data = await self.passive()
        try:
            await self.send(line)
            handshake = asyncio.create_task(self.secure(data))
            try:
                reply = await self.reply()
                if reply.kind == 1:
                    await handshake
                    return reply, data
            finally:
                handshake.cancel()
                with contextlib.suppress(asyncio.CancelledError, Failure):
                    await handshake
        except BaseException:
            data.close()
            raise

        data.close()
        return reply, None

    async def download(self, line: str | bytes) -> bytes:
        """Run a command that sends, to its 2yz; return what came.

        Raises:
            Failure: The server refuses, ends badly, or says anything else.
        """

        _, data = await self.begin(line)
        async with data:
            content = await data.receive_all()
            await self.leave(data)
        await self.expect_reply(2)
        return content

    async def leave(self, data: ScriptedStream) -> None:
        """Answer the end of what the server has sent: in TLS, with close_notify, if it is there."""

        if data.tls is not None:
            with contextlib.suppress(OSError):
                await data.end()

    async def upload(self, line: str | bytes, content: bytes) -> Reply:
        """Run a command that receives; return its last reply, whatever it is.

        Raises:
            Failure: The server refuses at once, or the connection breaks.
        """

        _, data = await self.begin(line)
        async with data:
            await data.send(content)
            await data.end()
            if data.tls is not None:
                # Its close_notify comes; unread, it would be a reset.
                with contextlib.suppress(Truncated, OSError):
                    await data.receive_all()
        return await self.reply()
