"""Chains of uploads that are cut at random and resumed, beside a client that writes the same name.

Each chain has a seed, and is named by it: ``--chains 10000`` runs more of them, and
``--first-chain 4711`` begins with another one. What is published is always one whole version.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest

from examples.server.accounts import PasswordTable
from ftpdata.deadlines import Deadlines
from tests.harness.leaks import hidden_files
from tests.harness.seams import Seams
from tests.harness.tls import client_context, server_certificate
from tests.server.client import Client, Data, Serving, reset, serving

GROUP = 20
"""Chains that share a server, and run one after the other."""

LARGEST = 1_200_000
MOST_CUTS = 5
TRIES = 5
DISTURBED = 0.3
"""How often another client writes the same name meanwhile."""

APPENDED = 0.3
"""How often the client resumes with APPE, as curl does."""

STALL = 0.15


Way = Callable[["Chain", Client], Awaitable[None]]
"""Uploads, and is cut."""


class Refused(Exception):
    """The server does not take the upload."""


def version(seed: int, writer: int) -> bytes:
    """Make a file of a random size, of which no two bytes at one place are those of another."""

    chooser = random.Random(f"{seed} {writer}")
    size = chooser.choice([1, 2, 1000, 65_536, 300_000, chooser.randrange(1, LARGEST)])
    pattern = chooser.randbytes(4093)
    return (pattern * (size // len(pattern) + 1))[:size]


@attrs.define
class Chain:
    """One chain: a client that is cut again and again.

    Attributes:
        seed: Chooses everything.
        serving: The server.
        directory: What is served.
        versions: Whatever may be published.
    """

    seed: int
    serving: Serving
    directory: Path
    versions: list[bytes]
    chooser: random.Random = attrs.field(init=False)

    @chooser.default
    def _chooser(self) -> random.Random:
        return random.Random(self.seed)

    @property
    def name(self) -> str:
        """The name that both clients write."""

        return f"file{self.seed}"

    def check(self) -> None:
        """Check that what is published is one whole version."""

        path = self.directory / self.name
        with contextlib.suppress(FileNotFoundError):
            content = path.read_bytes()
            assert content in self.versions, (
                f"chain {self.seed}: {len(content)} bytes of no version are published"
            )

    async def run(self) -> None:
        """Upload, be cut, resume; then check that all is there."""

        for _ in range(self.chooser.randrange(MOST_CUTS + 1)):
            way = self.chooser.choice(WAYS)
            async with asyncio.TaskGroup() as tasks:
                if self.chooser.random() < DISTURBED:
                    tasks.create_task(self._another("bob"))
                await self._once(way)
            self.check()
            if self.chooser.random() < DISTURBED:
                await self._another("ann")
                self.check()

        for _ in range(TRIES):
            if await self._finish():
                break
        else:
            pytest.fail(f"chain {self.seed}: never published")
        assert (self.directory / self.name).read_bytes() == self.versions[0], self.seed

    async def offset(self, client: Client) -> int:
        """Return where the upload goes on: 0 if there is nothing of it, or a whole file."""

        code, _, size = (await client.command(f"SIZE {self.name}")).partition(" ")
        is_whole = await client.code(f"MLST {self.name}") == 250
        offset = 0 if is_whole or code != "213" else int(size)
        assert offset < len(self.versions[0]), f"chain {self.seed}: more came than was sent"
        return offset

    async def _once(self, way: Way) -> None:
        """Upload, from where the server says on, and be cut."""

        async with self.serving.connected() as client:
            await log_in(client)
            with contextlib.suppress(Refused):
                await way(self, client)

    async def _finish(self) -> bool:
        """Upload the rest; tell whether the server took it."""

        async with self.serving.connected() as client:
            await log_in(client)
            try:
                data = await self.begin(client, is_whole=True)
            except Refused:
                return False
            await data.close()
            return await client.codes(1) == [226]

    async def begin(self, client: Client, *, is_whole: bool = False) -> Data:
        """Send some of the upload, from where the server says on.

        Raises:
            Refused: By the server.
        """

        offset = await self.offset(client)
        verb = "STOR"
        if offset and self.chooser.random() < APPENDED:
            verb = "APPE"
        elif offset:
            assert await client.code(f"REST {offset}") == 350
        rest = self.versions[0][offset:]
        data = rest if is_whole else rest[: self.chooser.randrange(len(rest) + 1)]
        return await send(client, f"{verb} {self.name}", data)

    async def _another(self, user: str) -> None:
        """Another client writes the same name, whole.

        Meanwhile only another user does: two clients of one user are one to the server, which
        lets one go on with what the other sends.
        """

        async with self.serving.connected() as client:
            await log_in(client, user)
            await client.upload(f"STOR {self.name}", self.versions[1])


async def log_in(client: Client, name: str = "ann") -> None:
    """Log in, and choose TYPE I."""

    await client.login(name)
    assert await client.code("TYPE I") == 200


async def send(client: Client, line: str, data: bytes) -> Data:
    """Send an upload, and no end.

    Raises:
        Refused: The server refuses the step: what its replies said is no longer so.
    """

    connection = await client.passive()
    reply = await client.command(line)
    if reply[:3] not in {"125", "150"}:
        await connection.close()
        assert reply[:3] in {"450", "553", "554"}, reply
        raise Refused
    connection.writer.write(data)
    with contextlib.suppress(OSError):
        await connection.writer.drain()
    return connection


async def by_reset(chain: Chain, client: Client) -> None:
    """The data connection is reset."""

    connection = await chain.begin(client)
    reset(connection.writer)
    await connection.close()
    await client.reply()


async def by_abort(chain: Chain, client: Client) -> None:
    """The client says ABOR."""

    connection = await chain.begin(client)
    client.send("ABOR")
    await client.codes(2)
    await connection.close()


async def by_losing_control(chain: Chain, client: Client) -> None:
    """Both connections are reset."""

    connection = await chain.begin(client)
    reset(client.writer)
    reset(connection.writer)
    await connection.close()


async def by_silence(chain: Chain, client: Client) -> None:
    """Nothing comes any more."""

    connection = await chain.begin(client)
    await client.reply()
    await connection.close()


async def by_leaving_it_open(chain: Chain, client: Client) -> None:
    """The client goes on in another session, while the first one seems to live."""

    connection = await chain.begin(client)
    try:
        async with chain.serving.connected() as other:
            await log_in(other)
            again = await chain.begin(other)
            reset(again.writer)
            await again.close()
            await other.reply()
    finally:
        await close(connection)


async def by_missing_end(chain: Chain, client: Client) -> None:
    """MODE B, without the end mark."""

    offset = await chain.offset(client)
    assert await client.code("MODE B") == 200
    if offset:
        assert await client.code(f"REST {offset}") == 350
    rest = chain.versions[0][offset:]
    blocks = b"".join(
        b"\0" + len(rest[i : i + 60_000]).to_bytes(2, "big") + rest[i : i + 60_000]
        for i in range(0, len(rest), 60_000)
    )
    blocks = blocks[: chain.chooser.randrange(len(blocks) + 1)]
    connection = await send(client, f"STOR {chain.name}", blocks)
    await connection.close()
    await client.reply()


async def by_truncated_tls(chain: Chain, client: Client) -> None:
    """TLS, closed without close_notify."""

    assert await client.code("AUTH TLS") == 234
    await client.writer.start_tls(_context())
    await log_in(client)
    assert await client.code("PBSZ 0") == 200
    assert await client.code("PROT P") == 200
    offset = await chain.offset(client)
    if offset:
        assert await client.code(f"REST {offset}") == 350
    rest = chain.versions[0][offset:]
    port = await client.epsv()
    connection = await client.connect(port)
    try:
        if await client.code(f"STOR {chain.name}") not in {125, 150}:
            raise Refused
        await connection.writer.start_tls(_context())
        connection.writer.write(rest[: chain.chooser.randrange(len(rest) + 1)])
        await connection.writer.drain()
        connection.writer.transport.abort()
        await client.reply()
    finally:
        await close(connection)


async def close(connection: Data) -> None:
    """Cut what must not look complete."""

    if not connection.writer.transport.is_closing():
        reset(connection.writer)
    with contextlib.suppress(OSError, ssl.SSLError):
        await connection.writer.wait_closed()


@functools.cache
def _context() -> ssl.SSLContext:
    context = client_context()
    context.check_hostname = False
    return context


async def by_full_disk(chain: Chain, client: Client) -> None:
    """The disk takes no more after some writes."""

    Disk.writes_left = chain.chooser.randrange(4)
    try:
        connection = await chain.begin(client)
        await client.reply()
        await close(connection)
    finally:
        Disk.writes_left = None


class Disk:
    """A disk that may be full."""

    writes_left: int | None = None

    @classmethod
    def write(cls, original: Callable[..., int], fd: int, data: memoryview) -> int:
        """Stand for `os.write`: a disk that is nearly full takes half of it."""

        if cls.writes_left is None:
            return original(fd, data)
        if not cls.writes_left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        cls.writes_left -= 1
        return original(fd, data[: max(1, len(data) // 2)])


WAYS: list[Way] = [by_reset, by_abort, by_losing_control, by_silence, by_leaving_it_open]
WAYS += [by_missing_end, by_truncated_tls, by_full_disk]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each group of chains."""

    if "seeds" in metafunc.fixturenames:
        first = metafunc.config.getoption("first_chain")
        end = first + metafunc.config.getoption("chains")
        groups = [range(i, min(i + GROUP, end)) for i in range(first, end, GROUP)]
        metafunc.parametrize("seeds", groups, ids=[f"{group[0]}" for group in groups])


@pytest.mark.asyncio_only("there are many; `test_resumption` runs on each loop")
@pytest.mark.timeout(900)
async def test_chains(
    served_directory: Path, seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published is one whole version, at any time; what was sent comes through at last."""

    Seams(monkeypatch).replace("write", Disk.write)
    # What the kernel moves is on no disk of the test's.
    monkeypatch.setattr("ftpdata.transfers._plain.can_splice", lambda *_: False)
    async with serving(
        served_directory,
        accounts=PasswordTable([("ann", "secret"), ("bob", "secret")]),
        certificate=server_certificate(),
        deadlines=Deadlines(first_byte=STALL, stall=STALL),
        max_sessions=500,
    ) as server:
        for seed in seeds:
            chain = Chain(seed, server, served_directory, [version(seed, n) for n in (0, 1)])
            await chain.run()
            await server.all_left()
            left = [path.name for path in hidden_files(served_directory)]
            assert all(name.startswith(".ftpdata-part.") for name in left), (seed, left)
            for path in hidden_files(served_directory):
                # Of another user, or older than the file.
                path.unlink()
