"""What several checks of data connections do."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Literal, TypeVar

import attrs

from ..client import Failure, Reply, ScriptedClient, ScriptedStream, Truncated
from ._frame import Trial

__all__ = [
    "LARGE_SIZE",
    "MOMENT",
    "SMALL_BUFFER",
    "Drained",
    "Listener",
    "drain",
    "end_upload",
    "final_replies",
    "final_reply",
    "happens_soon",
    "in_step",
    "is_open",
    "large_file",
    "listing_works",
    "passive_ports",
    "read_away",
    "running",
    "secured",
    "small_file",
]

_T = TypeVar("_T")

MOMENT = 0.7
"""Seconds to wait for what may not come at all."""

LARGE_SIZE = 8 * 1024 * 1024
"""Bytes of a file that the buffers of a data connection do not hold while nobody reads."""

SMALL_BUFFER = 32 * 1024
"""Bytes of SO_RCVBUF of a client that lags: small, but large enough to be fast afterwards."""

_SMALL_CONTENT = bytes(range(256)) * 40 + b"end"


@functools.cache
def _large_content() -> bytes:
    return b"".join(b"%015d\n" % number for number in range(LARGE_SIZE // 16))


async def small_file(trial: Trial, client: ScriptedClient) -> tuple[str, bytes]:
    """Make a file of some kibibytes; return its name and content."""

    name = trial.new_name()
    await trial.put(client, name, _SMALL_CONTENT)
    return name, _SMALL_CONTENT


async def large_file(trial: Trial, client: ScriptedClient) -> tuple[str, bytes]:
    """Make a file of `LARGE_SIZE` bytes, if this run has none; return its name and content."""

    trial.writable()
    name = "large.bin"
    content = _large_content()
    # Digits alone: some servers put words around them.
    size = await client.command(f"SIZE {name}")
    if size.code != 213 or str(len(content)) not in size.text.split():
        await trial.put(client, name, content)
    return name, content


# Replies


async def in_step(client: ScriptedClient) -> None:
    """Require that the session goes on, and that no reply is left over.

    A server that lacks these commands says so, in step.
    """

    await client.expect("PWD", 257, 500, 502)
    await client.expect("NOOP", 200, 500, 502)


async def final_reply(client: ScriptedClient) -> Reply:
    """Read the final reply of a transfer command, and a preliminary one before it."""

    reply = await client.reply()
    if reply.kind == 1:
        reply = await client.reply()
        if reply.kind == 1:
            raise Failure(f"a second preliminary reply came: '{reply}'")
    return reply


async def final_replies(client: ScriptedClient, number: int) -> list[Reply]:
    """Read that many final replies, and preliminary ones between them."""

    return [await final_reply(client) for _ in range(number)]


async def happens_soon(task: asyncio.Task[_T], seconds: float = MOMENT) -> bool:
    """Whether a task ends in that time. It runs on if it does not."""

    done, _ = await asyncio.wait({task}, timeout=seconds)
    return bool(done)


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, _T]) -> AsyncIterator[asyncio.Task[_T]]:
    """Run something in a task, which is cancelled at the end of the block, if it still runs."""

    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Failure, OSError):
            await task


# Data connections


@attrs.frozen
class Drained:
    """What came over a data connection.

    Attributes:
        content: The bytes.
        end: How it ended: with an end of file that can be trusted, with one that TLS has not
            announced, or broken.
    """

    content: bytes
    end: Literal["clean", "truncated", "broken"]


async def drain(data: ScriptedStream) -> Drained:
    """Read until the data connection ends, however that is.

    Raises:
        Failure: It does not end in time.
    """

    content = bytearray()
    end: Literal["clean", "truncated", "broken"] = "clean"
    try:
        while piece := await data.receive():
            content += piece
    except Truncated:
        end = "truncated"
    except OSError:
        # An SSLError is one, too.
        end = "broken"
    return Drained(bytes(content), end)


async def is_open(data: ScriptedStream, seconds: float = MOMENT) -> bool:
    """Whether a data connection is open and silent for that time. Data that come are an error.

    A connection that was silent is sent a byte: it must be of no more use if it is open.

    Raises:
        Failure: Data have come.
    """

    if not await _is_silent(data, seconds):
        return False

    # Where a port is closed in the instant at which a client connects, the system may lose the
    # reset (seen with Linux 6.18): nobody owns the connection. It answers what it is sent.
    with contextlib.suppress(OSError):
        data.socket.send(b"\0")
    return await _is_silent(data, MOMENT)


async def _is_silent(data: ScriptedStream, seconds: float) -> bool:
    """Whether neither data nor the end nor a reset come within that time."""

    try:
        async with asyncio.timeout(seconds):
            piece = await asyncio.get_running_loop().sock_recv(data.socket, 1024)
    except TimeoutError:
        return True
    except OSError:
        return False

    if piece:
        raise Failure(f"{len(piece)} bytes came over a connection that must have none")
    return False


@contextlib.asynccontextmanager
async def secured(
    client: ScriptedClient, data: ScriptedStream
) -> AsyncIterator[asyncio.Task[None]]:
    """Negotiate TLS in a task, if the session is private; its error is raised by the task alone."""

    async with running(client.secure(data)) as handshake:
        yield handshake


async def read_away(client: ScriptedClient, data: ScriptedStream) -> None:
    """Negotiate TLS where it is due, read to the end, and close, however that goes."""

    with contextlib.suppress(Failure):
        await client.secure(data)
        await drain(data)
        await client.leave(data)
    data.close()


async def end_upload(data: ScriptedStream) -> None:
    """Send the end of file; in TLS, read the answer to it, which unread would be a reset."""

    await data.end()
    if data.tls is not None:
        await drain(data)


async def listing_works(client: ScriptedClient) -> None:
    """Require that the next transfer works, and the session is in step after it."""

    await client.download("LIST")
    await in_step(client)


async def passive_ports(client: ScriptedClient, number: int) -> list[int]:
    """Ask for passive ports, and connect to none."""

    return [await client.passive_port() for _ in range(number)]


@attrs.define
class Listener:
    """A port of ours that a server is to connect to.

    Attributes:
        address: Its address.
        port: Its number.
        patience: Seconds for each wait.
    """

    _socket: socket.socket
    address: str
    port: int
    patience: float

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls, client: ScriptedClient, *, address: str | None = None, port: int = 0
    ) -> AsyncIterator[Listener]:
        """Listen on `address`, by default that of the client, and on `port`, by default any.

        Raises:
            OSError: The port cannot be had.
        """

        address = address or client.stream.local_address[0]
        with socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET
        ) as sock:
            sock.setblocking(False)
            yield cls(sock, address, sock.getsockname()[1], client.stream.patience)

    @property
    def port_command(self) -> str:
        """PORT with this address (RFC 959 §4.1.2)."""

        numbers = [*self.address.split("."), str(self.port >> 8), str(self.port & 0xFF)]
        return f"PORT {','.join(numbers)}"

    @property
    def eprt_command(self) -> str:
        """EPRT with this address (RFC 2428 §2)."""

        family = 2 if ipaddress.ip_address(self.address).version == 6 else 1
        return f"EPRT |{family}|{self.address}|{self.port}|"

    async def accept(self) -> ScriptedStream:
        """Wait for the server to connect.

        Raises:
            Failure: It does not in time.
        """

        try:
            async with asyncio.timeout(self.patience):
                sock, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        except TimeoutError:
            raise Failure(f"nobody connected in {self.patience:g} s") from None

        sock.setblocking(False)
        return ScriptedStream(sock, patience=self.patience)

    def was_connected_to(self) -> bool:
        """Whether somebody has connected. The connection is reset."""

        try:
            sock, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError):
            return False
        ScriptedStream(sock).reset()
        return True
