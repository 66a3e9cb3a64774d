"""A server in the test's own event loop, and a client that does nothing by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs

from examples.server.accounts import PasswordTable
from examples.server.disk import DiskStore
from examples.server.server import Server
from examples.server.settings import Settings
from examples.server.store import Store

__all__ = ["Client", "Data", "Serving", "make_file", "names", "reset", "serving"]

PATIENCE = 60.0
"""Seconds after which a test fails that waits for what does not come."""


@attrs.define
class Data:
    """The client's end of a data connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self) -> bytes:
        """Read to the end."""

        async with asyncio.timeout(PATIENCE):
            data = await self.reader.read()
        await self.close()
        return data

    async def was_reset(self) -> bool:
        """Read on to the end; tell whether that was a reset."""

        try:
            await self.read()
        except ConnectionResetError:
            await self.close()
            return True
        return False

    async def send(self, data: bytes) -> None:
        """Send data and the end of file, and close."""

        self.writer.write(data)
        await self.close()

    async def close(self) -> None:
        """Close, whatever the state."""

        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@attrs.define
class Client:
    """A control connection. Replies are read when they are asked for."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str
    source: str | None = None

    async def reply(self) -> str:
        """Read one reply; lines joined with a line feed."""

        async with asyncio.timeout(PATIENCE):
            lines = [(await self.reader.readline()).decode("utf-8", "surrogateescape")]
            if lines[0][3:4] == "-":
                while not lines[-1].startswith(lines[0][:3] + " "):
                    line = (await self.reader.readline()).decode("utf-8", "surrogateescape")
                    assert line.endswith("\r\n"), lines
                    lines.append(line)
        return "\n".join(line.removesuffix("\r\n") for line in lines)

    async def codes(self, number: int) -> list[int]:
        """Read some replies; return their codes."""

        return [int((await self.reply())[:3]) for _ in range(number)]

    def send(self, line: str | bytes) -> None:
        """Send a line, in which Telnet wants 255 doubled; or bytes as they are."""

        if isinstance(line, str):
            line = line.encode("utf-8", "surrogateescape").replace(b"\xff", b"\xff\xff") + b"\r\n"
        self.writer.write(line)

    async def command(self, line: str | bytes) -> str:
        """Send a line; read one reply."""

        self.send(line)
        return await self.reply()

    async def code(self, line: str | bytes) -> int:
        """Send a line; return the code of one reply."""

        return int((await self.command(line))[:3])

    async def login(self, name: str = "ann", password: str = "secret") -> None:
        """Log in."""

        assert await self.code(f"USER {name}") == 331
        assert await self.code(f"PASS {password}") == 230

    async def epsv(self) -> int:
        """Say EPSV; return the port."""

        found = re.search(r"\(\|\|\|(\d+)\|\)", await self.command("EPSV"))
        assert found
        return int(found[1])

    async def connect(self, port: int, **options: Any) -> Data:
        """Connect to a passive port."""

        return Data(*await asyncio.open_connection(self.host, port, **options))

    async def is_refused(self, port: int, source: str, said: bytes = b"") -> bool:
        """Connect to a passive port from an address; tell whether that was reset."""

        try:
            data = await self.connect(port, local_addr=(source, 0))
        except ConnectionResetError:
            return True
        data.writer.write(said)
        return await data.was_reset()

    async def passive(self) -> Data:
        """Say EPSV, and connect from where the control connection does."""

        port = await self.epsv()
        return await self.connect(port, local_addr=(self.source, 0) if self.source else None)

    async def slow_passive(self) -> Data:
        """Say EPSV, and connect with a small buffer, to read nothing until asked."""

        sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (self.host, await self.epsv()))
        return Data(*await asyncio.open_connection(sock=sock, limit=1024))

    async def download(self, line: str) -> bytes:
        """Run a transfer command that sends, over EPSV; return what came."""

        data = await self.passive()
        self.send(line)
        assert (await self.codes(1))[0] in (125, 150)
        content = await data.read()
        assert await self.codes(1) == [226]
        return content

    async def upload(self, line: str, content: bytes) -> str:
        """Run a transfer command that receives, over EPSV; return the last reply."""

        data = await self.passive()
        self.send(line)
        assert (await self.codes(1))[0] in (125, 150)
        await data.send(content)
        return await self.reply()

    async def quiet(self) -> None:
        """Check that no reply is left: the next one is that to NOOP."""

        assert await self.command("NOOP") == "200 Nothing done."

    async def is_closed(self) -> bool:
        """Whether the server has closed the connection, with nothing left to read."""

        try:
            async with asyncio.timeout(PATIENCE):
                return not await self.reader.read()
        except ConnectionResetError:
            return True

    async def close(self) -> None:
        """Close the control connection."""

        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def names(directory: Path) -> list[str]:
    """Return the names in a directory, sorted, but not of what stays for a resumption."""

    names = (path.name for path in directory.iterdir())
    return sorted(name for name in names if not name.startswith(".ftpdata-part."))


def make_file(directory: Path, name: bytes, content: bytes = b"") -> None:
    """Make a file of any name that the system allows."""

    (directory / os.fsdecode(name)).write_bytes(content)


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection with a reset."""

    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


@attrs.define
class Serving:
    """A server that runs."""

    server: Server
    host: str
    port: int

    @asynccontextmanager
    async def arrived(
        self, source: str | None = None, *, header: bytes = b""
    ) -> AsyncIterator[Client]:
        """Connect a client that has read nothing yet.

        Args:
            source: Its address.
            header: What it sends first.
        """

        reader, writer = await asyncio.open_connection(
            self.host, self.port, local_addr=(source, 0) if source else None
        )
        writer.write(header)
        client = Client(reader, writer, self.host, source)
        try:
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def connected(self, source: str | None = None) -> AsyncIterator[Client]:
        """Connect a client that has read the greeting."""

        async with self.arrived(source) as client:
            assert (await client.reply())[:3] == "220"
            yield client

    @asynccontextmanager
    async def logged_in(self, source: str | None = None) -> AsyncIterator[Client]:
        """Connect a client that has logged in and said TYPE I."""

        async with self.connected(source) as client:
            await client.login()
            assert await client.code("TYPE I") == 200
            yield client

    async def all_left(self) -> None:
        """Wait until the server has no session."""

        async with asyncio.timeout(PATIENCE):
            while self.server.session_count:  # noqa: ASYNC110 - no event for it is part of a server
                await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(
    served: Path | Store, *, host: str = "127.0.0.1", writable: bool = True, **settings: Any
) -> AsyncIterator[Serving]:
    """Run a server of a directory or a store; stop it at the end."""

    settings.setdefault("accounts", PasswordTable([("ann", "secret")], anonymous=True))
    settings.setdefault("grace", 0.2)
    settings.setdefault("login_delay", 0.0)
    settings.setdefault("shutdown_idle", 0.0)
    store: Store
    if isinstance(served, Path):
        store = await anyio.to_thread.run_sync(DiskStore, served)
    else:
        store = served
    server = Server(store, Settings(writable=writable, **settings))
    try:
        async with anyio.create_task_group() as tasks:
            host, port = await tasks.start(server.run, host, 0)
            yield Serving(server, host, port)
            server.stop()
    finally:
        await anyio.to_thread.run_sync(store.close)
