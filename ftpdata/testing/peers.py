"""Peers for tests: a client that has logged in, and peers that behave badly.

`scripted_client` and `HostilePeers` are also fixtures of `ftpdata.testing.pytest_plugin`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from ._checks._frame import STRANGER, Protection, ServerUnderTest, Trial
from .client import PATIENCE, ScriptedClient, ScriptedStream
from .faults import Cut, cut

__all__ = ["HostilePeers", "scripted_client"]


@contextlib.asynccontextmanager
async def scripted_client(
    host: str,
    port: int,
    *,
    user: str | None = None,
    password: str = "",
    protection: Protection = Protection.CLEAR,
    source: str | None = None,
    patience: float = PATIENCE,
) -> AsyncIterator[ScriptedClient]:
    """Connect a scripted client to a server; close it in the end, without QUIT.

    Args:
        host: Address of the server.
        port: Its port.
        user: Who logs in; None for a client that has only read the greeting.
        password: The password for that.
        protection: How the connections are protected; any certificate is accepted.
        source: Address to connect from.
        patience: Seconds for each wait.

    Yields:
        The client; after a login, it has said TYPE I, and PROT P with TLS.

    Raises:
        Failure: The server greets otherwise, or refuses the login.
        OSError: The server cannot be reached.
    """

    trial = Trial(
        ServerUnderTest(
            *(host, port, user or "", password), protection=protection, patience=patience
        )
    )
    connect = trial.greeted if user is None else trial.client
    async with connect(source=source) as client:
        yield client


class HostilePeers:
    """Peers of data connections, or of anything on TCP, that behave badly.

    Each method connects to a port of the loopback address, unless `host` names another.
    Streams that are still open are closed with the object, which is a context manager.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._streams: list[ScriptedStream] = []

    async def connect(
        self, port: int, *, source: str | None = None, receive_buffer: int | None = None
    ) -> ScriptedStream:
        """Connect, and do nothing: `ScriptedStream` can reset, end, or stay silent.

        Args:
            port: The port.
            source: Address to connect from.
            receive_buffer: SO_RCVBUF in bytes.

        Raises:
            Failure: Nobody accepts in time.
            OSError: The connection is refused or reset.
        """

        stream = await ScriptedStream.connect(
            self._host, port, source=source, receive_buffer=receive_buffer
        )
        self._streams.append(stream)
        return stream

    async def stranger(self, port: int) -> ScriptedStream:
        """Connect from another loopback address, as a thief of data connections would.

        Not every system has such an address: Linux has.
        """

        return await self.connect(port, source=STRANGER)

    async def slow_reader(self, port: int) -> ScriptedStream:
        """Connect with a small buffer, and read nothing until asked to."""

        return await self.connect(port, receive_buffer=4096)

    async def send_then_cut(self, port: int, data: bytes, how: Cut) -> None:
        """Connect, send data, and cut the connection."""

        stream = await self.connect(port)
        await stream.send(data)
        cut(stream.socket, how)

    async def receive_then_cut(self, port: int, nbytes: int, how: Cut) -> bytes:
        """Connect, receive that many bytes, and cut the connection in the middle of the rest.

        Returns:
            What was received; fewer bytes if the end of file came first.
        """

        stream = await self.connect(port, receive_buffer=4096)
        data = await stream.receive_exactly(nbytes)
        cut(stream.socket, how)
        return data

    @contextlib.asynccontextmanager
    async def listening(
        self, script: Callable[[ScriptedStream], Awaitable[object]]
    ) -> AsyncIterator[int]:
        """Listen as a server that behaves badly: each connection is handed to the script.

        Args:
            script: What happens to a connection, which is closed afterwards.

        Yields:
            The port.

        Raises:
            BaseExceptionGroup: What a script has raised, at the end, if the test itself has
                raised nothing.
        """

        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.create_server((self._host, 0), family=family) as listener:
            listener.setblocking(False)
            async with asyncio.TaskGroup() as tasks:
                accepting = tasks.create_task(_accept(listener, script, tasks))
                try:
                    yield int(listener.getsockname()[1])
                finally:
                    accepting.cancel()

    def close(self) -> None:
        """Close what is still open. Can be called again."""

        for stream in self._streams:
            stream.close()
        self._streams.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


async def _accept(
    listener: socket.socket,
    script: Callable[[ScriptedStream], Awaitable[object]],
    tasks: asyncio.TaskGroup,
) -> None:
    while True:
        sock, _ = await asyncio.get_running_loop().sock_accept(listener)
        sock.setblocking(False)
        tasks.create_task(_play(script, ScriptedStream(sock)))


async def _play(
    script: Callable[[ScriptedStream], Awaitable[object]], stream: ScriptedStream
) -> None:
    async with stream:
        await script(stream)
