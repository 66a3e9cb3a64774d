"""What the clients of a soak do: each job is a session, and knows what must come of it.

Every file has the name of its client: nobody else writes it, so what it holds is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import ssl
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs

from ftpdata.testing.client import Failure, Reply, ScriptedClient, ScriptedStream, Truncated
from tests.harness.tls import client_context

__all__ = ["JOBS", "Visitor", "Wrong"]

HOST = "127.0.0.1"
LATE = 5.0
"""Seconds after which any reply is late that waits for nobody: the server does the work of a
few clients. What waits for the client has the server's deadlines instead."""

PATIENCE = 60.0
SMALL = 20_000
LARGE = 3_000_000


class Wrong(Exception):
    """The server has done what it must not."""


class _Client(ScriptedClient):
    """A client that measures how late replies are."""

    visitor: Visitor
    is_waiting = False

    async def reply(self) -> Reply:
        """Read a reply; note how long it took."""

        began = asyncio.get_running_loop().time()
        reply = await super().reply()
        self.visitor.note(reply, asyncio.get_running_loop().time() - began, self._said)
        return reply


@attrs.define
class Visitor:
    """One client, and what it knows of its files.

    Attributes:
        name: Of the client; its files begin with it.
        port: Of the server.
        directory: What is served.
        random: Draws everything.
        held: What its files hold.
        replies: How many came, by their codes.
        slowest: The seconds that the slowest reply took, and what it was to.
        late: Replies that were late.
        jobs: How many jobs are done, by name.
    """

    name: str
    source: str
    port: int
    directory: Path
    random: random.Random
    held: dict[str, bytes] = attrs.field(factory=dict)
    replies: Counter[int] = attrs.field(factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    late: list[str] = attrs.field(factory=list)
    jobs: Counter[str] = attrs.field(factory=Counter)

    def note(self, reply: Reply, seconds: float, said: str) -> None:
        """Note a reply, and the seconds that it was waited for."""

        self.replies[reply.code] += 1
        self.slowest = max(self.slowest, (seconds, f"{said}: {reply.code}"))
        if seconds > LATE:
            self.late.append(f"{self.name}: {said} was answered after {seconds:.1f} s: {reply}")

    async def connect(self) -> ScriptedClient:
        """Connect, and read the greeting."""

        stream = await ScriptedStream.connect(
            HOST, self.port, source=self.source, patience=PATIENCE
        )
        client = _Client(stream, HOST, source=self.source)
        client.visitor = self
        try:
            await client.expect_reply(220)
        except BaseException:
            client.close()
            raise
        return client

    async def log_in(self, *, is_private: bool | None = None) -> ScriptedClient:
        """Connect and log in, with or without TLS."""

        client = await self.connect()
        try:
            if is_private is None:
                is_private = self.random.random() < 0.3
            if is_private:
                context = client_context()
                context.check_hostname = False
                await client.protect(context)
                await client.keep_private()
            await client.login(self.random.choice(["ann", "bob"]), "secret")
            await client.expect("TYPE I", 200)
        except BaseException:
            client.close()
            raise
        return client

    def content(self, size: int) -> bytes:
        """Make up to this many bytes that nobody has sent before."""

        pattern = self.random.randbytes(997)
        size = self.random.randrange(size)
        return (pattern * (size // len(pattern) + 1))[:size]

    def file(self) -> str:
        """Choose one of its names."""

        return f"{self.name}.{self.random.randrange(4)}"

    def check(self, name: str) -> None:
        """Check what a file holds on the disk."""

        path = self.directory / name
        found = path.read_bytes() if path.exists() else None
        if found != self.held.get(name):
            raise Wrong(f"{name} holds {_size(found)}, not {_size(self.held.get(name))}")

    async def store(self, client: ScriptedClient, size: int) -> str:
        """Upload a file; return its name."""

        name, content = self.file(), self.content(size)
        reply = await client.upload(f"STOR {name}", content)
        client.check(reply, 226)
        self.held[name] = content
        self.check(name)
        return name

    async def fetch(self, client: ScriptedClient, name: str) -> None:
        """Download a file, and compare it."""

        content = await client.download(f"RETR {name}")
        if content != self.held[name]:
            raise Wrong(f"RETR {name}: {_size(content)}, not these {_size(self.held[name])}")


def _size(content: bytes | None) -> str:
    return "nothing" if content is None else f"{len(content)} bytes"


async def _end(client: ScriptedClient) -> None:
    """Check that no reply is left, and leave."""

    await client.expect("NOOP", 200)
    await client.expect("QUIT", 221)
    if await client.stream.receive():
        raise Wrong("something came after 221")


async def small(visitor: Visitor) -> None:
    """Upload and download small files."""

    async with await visitor.log_in() as client:
        for _ in range(visitor.random.randrange(1, 6)):
            name = await visitor.store(client, SMALL)
            await visitor.fetch(client, name)
            await client.expect(f"SIZE {name}", 213)
        await _end(client)


async def large(visitor: Visitor) -> None:
    """Upload a large file, and download it."""

    async with await visitor.log_in() as client:
        await visitor.fetch(client, await visitor.store(client, LARGE))
        await _end(client)


async def listings(visitor: Visitor) -> None:
    """List everything, in every form."""

    async with await visitor.log_in() as client:
        own = sorted(name for name in visitor.held if name.startswith(visitor.name))
        for line in ("MLSD", "NLST", "LIST", "STAT ."):
            if line.startswith("STAT"):
                text = (await client.expect(line, 212)).text.encode()
            else:
                text = await client.download(line)
            found = set(re.findall(rf"\b{re.escape(visitor.name)}\.\d\b", text.decode()))
            if found != set(own):
                raise Wrong(f"{line} shows {sorted(found)}, not {own}")
        await _end(client)


async def cut(visitor: Visitor) -> None:
    """Reset data connections in the middle."""

    async with await visitor.log_in() as client:
        name = await visitor.store(client, LARGE)
        data = await client.passive(receive_buffer=4096)
        _, data = await client.begin(f"RETR {name}", data)
        await data.receive_exactly(visitor.random.randrange(1, 1000))
        data.reset()
        await client.expect_reply(426, 226)
        _, data = await client.begin(f"STOR {name}")
        await data.send(visitor.content(SMALL))
        data.reset()
        await client.expect_reply(426)
        visitor.check(name)
        await client.expect(f"DELE {name}", 250)
        del visitor.held[name]
        await _end(client)


async def abort(visitor: Visitor) -> None:
    """Say ABOR, in each phase."""

    async with await visitor.log_in() as client:
        name = await visitor.store(client, LARGE)
        for line in (f"RETR {name}", f"STOR {name}"):
            data = await client.passive(receive_buffer=4096)
            _, data = await client.begin(line, data)
            if line.startswith("STOR"):
                await data.send(visitor.content(SMALL))
            await client.send("ABOR")
            await client.expect_reply(426, 226)
            await client.expect_reply(226)
            data.close()
            visitor.check(name)
        await client.passive_port()
        await client.send("LIST")
        await client.expect_reply(150)
        await client.send("ABOR")
        await client.expect_reply(426)
        await client.expect_reply(226)
        await client.expect("ABOR", 226)
        await client.expect(f"DELE {name}", 250)
        del visitor.held[name]
        await _end(client)


async def resume(visitor: Visitor) -> None:
    """Be cut, and go on from where the server says."""

    name = f"{visitor.name}.9"
    content = visitor.content(LARGE) + b"the end"
    async with await visitor.log_in(is_private=False) as client:
        await client.expect("USER ann", 331)
        await client.expect("PASS secret", 230)
        await client.expect("TYPE I", 200)
        _, data = await client.begin(f"STOR {name}")
        await data.send(content[: len(content) // 2])
        data.reset()
        await client.expect_reply(426)
        visitor.check(name)
        reply = await client.expect(f"SIZE {name}", 213, 550)
        told = int(reply.text.split()[1]) if reply.code == 213 else 0
        if told:
            await client.expect(f"REST {told}", 350)
        client.check(await client.upload(f"STOR {name}", content[told:]), 226)
        visitor.held[name] = content
        visitor.check(name)
        await client.expect(f"DELE {name}", 250)
        del visitor.held[name]
        await _end(client)


async def compressed(visitor: Visitor) -> None:
    """Send and receive in MODE Z, and let the server digest a file."""

    async with await visitor.log_in() as client:
        name, content = visitor.file(), visitor.content(LARGE)
        await client.expect("MODE Z", 200)
        client.check(await client.upload(f"STOR {name}", zlib.compress(content)), 226)
        visitor.held[name] = content
        visitor.check(name)
        if zlib.decompress(await client.download(f"RETR {name}")) != content:
            raise Wrong(f"{name} is another one in MODE Z")
        digest = (await client.expect(f"XCRC {name}", 250)).text.split()[1]
        if int(digest, 16) != zlib.crc32(content):
            raise Wrong(f"XCRC {name}: {digest}")
        await _end(client)


async def active(visitor: Visitor) -> None:
    """Download over PORT."""

    async with await visitor.log_in(is_private=False) as client:
        name = await visitor.store(client, SMALL)
        arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.closing(writer):
                arrived.set_result(await reader.read())

        listener = await asyncio.start_server(take, visitor.source, 0)
        async with listener:
            host, port = listener.sockets[0].getsockname()
            numbers = f"{host.replace('.', ',')},{port >> 8},{port & 255}"
            await client.expect(f"PORT {numbers}", 200)
            await client.expect(f"RETR {name}", 150)
            if await arrived != visitor.held[name]:
                raise Wrong(f"{name} is another one over PORT")
            await client.expect_reply(226)
        await _end(client)


async def idle(visitor: Visitor) -> None:
    """Do nothing for a while, with a data connection that nobody uses."""

    async with await visitor.log_in() as client, await client.passive():
        await asyncio.sleep(visitor.random.random() * 2)
        await client.expect("STAT", 211)
        await _end(client)


async def nonsense(visitor: Visitor) -> None:
    """Say what is no command, or a wrong one."""

    async with await visitor.connect() as client:
        await client.expect("PASS early", 503)
        await client.expect("USER ann", 331)
        await client.expect("PASS wrong", 530)
        await client.login("ann", "secret")
        for line, code in (
            ("NONSENSE", 500), ("RETR missing", 550), ("RETR", 501), ("REST x", 501),
            ("PORT 10,0,0,1,9,9", 504), ("CWD ../..", 250), ("STOR missing/x", 553),
            ("X" * 5000, 500), (b"\xfe\xfd\x00\x01", 500), ("RNTO x", 503), ("LIST", 425),
        ):
            await client.expect(line, code)
        await client.send("NOOP", "SYST", "NOOP", "PWD")
        for code in (200, 215, 200, 257):
            await client.expect_reply(code)
        if visitor.random.random() < 0.3:
            # A browser that was lured here.
            await client.send(*["GET / HTTP/1.1"] * 10)
            for code in (500,) * 9:
                await client.expect_reply(code)
            await client.expect_reply(421)
            return
        await _end(client)


async def leave(visitor: Visitor) -> None:
    """Vanish, at any moment; what had come whole is there."""

    how = visitor.random.randrange(4)
    if how == 0:
        stream = await ScriptedStream.connect(HOST, visitor.port, source=visitor.source)
        stream.reset()
        return

    async with await visitor.log_in() as client:
        if how == 1:
            await client.passive_port()
            client.stream.reset()
            return
        name = await visitor.store(client, SMALL)
        if how == 2:
            _, data = await client.begin(f"RETR {name}")
            client.stream.reset()
            with contextlib.suppress(OSError, Truncated):
                await data.receive_all()
            data.close()
            return
        _, data = await client.begin(f"STOR {name}")
        await data.send(b"half of it")
        client.stream.reset()
        data.reset()
    visitor.check(name)


JOBS: dict[str, tuple[Callable[[Visitor], Awaitable[None]], int]] = {
    "small": (small, 8),
    "large": (large, 3),
    "listings": (listings, 4),
    "cut": (cut, 4),
    "abort": (abort, 4),
    "resume": (resume, 3),
    "compressed": (compressed, 2),
    "active": (active, 2),
    "idle": (idle, 2),
    "nonsense": (nonsense, 4),
    "leave": (leave, 6),
}
"""The jobs, and how often each is chosen."""

EXPECTED = (Failure, OSError, ssl.SSLError)
"""What a job raises if the server is not as it should be."""
