"""Whole transfers, from the endpoint to the result, cancelled at each of their suspensions.

Both ends are ftpdata's: one is cancelled, and the other must not take what was cut for whole.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from ftpdata import (
    DataTLS,
    Endpoint,
    FileTarget,
    FTPDataError,
    ListenerPool,
    WriteMode,
    connect_active,
    listen_passive,
    receive_file,
    receive_stream,
    relay,
    send_file,
    send_listing,
    send_stream,
)
from ftpdata.files import PartStore
from ftpdata.listing import ListFormatter, ListingEntry
from ftpdata.testing import sweep
from tests.harness.leaks import hidden_files
from tests.harness.loops import start_tasks_eagerly
from tests.harness.proxies import free_ports
from tests.harness.tls import HOST_NAME, client_context, server_certificate
from tests.harness.waiting import turns
from tests.sweeps.ways import Way, ways

HOST = "127.0.0.1"
LEFT = ["file */file"]
PART = "file *.ftpdata-part.*"
PATIENCE = 60.0
OLD, NEW = b"old content\n" * 10, bytes(range(256)) * 1024
CUT = 100_000
"""Bytes of `NEW` that a part holds."""


@attrs.frozen
class Ground:
    """Where transfers take place.

    Attributes:
        directory: It has the file that is sent, ``source``, and the one that is replaced, ``file``.
        pool: Listeners that are shared.
        parts: Of the directory.
        others: Tasks of other sides.
    """

    directory: Path
    pool: ListenerPool
    parts: PartStore
    others: list[asyncio.Task[None]] = attrs.field(factory=list)

    def tls(self, *, is_private: bool) -> tuple[DataTLS | None, DataTLS | None]:
        """Return how the server and the client protect their connection."""

        if not is_private:
            return None, None
        server = DataTLS.for_server(server_certificate().session_context())
        client = DataTLS.for_client(client_context(), session=None, server_hostname=HOST_NAME)
        return server, client


Ends = tuple[Endpoint, Endpoint]
Connect = Callable[[Ground, bool], Awaitable[Ends]]


async def _passive(ground: Ground, is_private: bool) -> Ends:
    ours, theirs = ground.tls(is_private=is_private)
    endpoint = await listen_passive(HOST, control_peer=HOST, tls=ours)
    return endpoint, connect_active(endpoint.address, control_peer=HOST, tls=theirs)


async def _pooled(ground: Ground, is_private: bool) -> Ends:
    ours, theirs = ground.tls(is_private=is_private)
    endpoint = ground.pool.reserve(control_peer=HOST, tls=ours)
    return endpoint, connect_active(endpoint.address, control_peer=HOST, tls=theirs)


async def _active(ground: Ground, is_private: bool) -> Ends:
    # The side that connects is the server of FTP, and of TLS.
    ours, theirs = ground.tls(is_private=is_private)
    endpoint = await listen_passive(HOST, control_peer=HOST, tls=theirs)
    return connect_active(endpoint.address, control_peer=HOST, tls=ours), endpoint


CONNECT: dict[str, Connect] = {"passive": _passive, "pooled": _pooled, "active": _active}


async def _chunks() -> AsyncIterator[bytes]:
    for start in range(0, len(NEW), 65_536):
        yield NEW[start : start + 65_536]


def _listing() -> bytes:
    entries = [ListingEntry(name=f"name {number}", size=number) for number in range(300)]
    return ListFormatter(now=0.0).format_block(entries)


async def _send_listing(ground: Ground, endpoint: Endpoint) -> None:
    entries = [ListingEntry(name=f"name {number}", size=number) for number in range(300)]
    await send_listing(endpoint, entries, formatter=ListFormatter(now=0.0).format)


async def _receive_stream(ground: Ground, endpoint: Endpoint) -> None:
    received = b"".join([data async for data in receive_stream(endpoint)])
    assert received == NEW


async def _relay(ground: Ground, endpoint: Endpoint) -> None:
    source, sender = await _passive(ground, False)
    # It ends with the relay, whatever becomes of that.
    ground.others.append(
        asyncio.create_task(_ignoring(send_file(sender, ground.directory / "source")))
    )
    await relay(source, endpoint)


Work = Callable[[Ground, Endpoint], Awaitable[object]]

SENDS: dict[str, Work] = {
    "send_file": lambda ground, endpoint: send_file(endpoint, ground.directory / "source"),
    "send_stream": lambda ground, endpoint: send_stream(endpoint, _chunks()),
    "send_listing": _send_listing,
    "relay": _relay,
}
RECEIVES: dict[str, Work] = {
    "receive_file": lambda ground, endpoint: receive_file(endpoint, ground.directory / "file"),
    "receive_stream": _receive_stream,
    "resumption": lambda ground, endpoint: receive_file(
        endpoint, ground.directory / "file", offset=CUT, resume=ground.parts.owner("ann")
    ),
}
CASES = {
    f"{name}, {way}{', TLS' if is_private else ''}": (name, way, is_private)
    for name in (*SENDS, *RECEIVES)
    for way in CONNECT
    for is_private in (False, True)
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the ways in which each case runs."""

    if "way" in metafunc.fixturenames:
        chosen = [pair for pair in ways(CASES, metafunc.config) if pair[1].reset is None]
        metafunc.parametrize(("name", "way"), chosen, ids=str)


async def _ignoring(work: Awaitable[object]) -> None:
    with contextlib.suppress(FTPDataError):
        await work


@attrs.define
class Peer:
    """The other end.

    Attributes:
        expected: What comes if nothing is cut.
        received: What came, if it ended cleanly.
    """

    expected: bytes
    received: bytes | None = None
    task: asyncio.Task[None] | None = None

    async def receive(self, endpoint: Endpoint) -> None:
        """Receive, and keep what is whole."""

        with contextlib.suppress(FTPDataError):
            self.received = b"".join([data async for data in receive_stream(endpoint)])

    async def send(self, ground: Ground, endpoint: Endpoint, offset: int) -> None:
        """Send the file."""

        await _ignoring(send_file(endpoint, ground.directory / "source", offset=offset))

    async def check(self) -> None:
        """Check that nothing that was cut looks whole."""

        assert self.task is not None
        await self.task
        assert self.received in (None, self.expected)


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
@pytest.mark.timeout(900)
async def test_cancelling_a_transfer(served_directory: Path, name: str, way: Way) -> None:
    """Nothing is left, the file is the old or the new one, and the peer knows the truth."""

    if way.is_eager:
        start_tasks_eagerly()
    function, connect, is_private = CASES[name]
    is_resumption = function == "resumption"
    (served_directory / "source").write_bytes(NEW)
    peer = Peer(_listing() if function == "send_listing" else NEW)
    endpoints: list[Endpoint] = []
    parts = PartStore(served_directory)
    async with ListenerPool(HOST, free_ports(3), rest=0.0) as pool:
        ground = Ground(served_directory, pool, parts)

        async def scenario() -> None:
            (served_directory / "file").write_bytes(OLD)
            if is_resumption:
                _leave_part(ground)
            ours, theirs = await CONNECT[connect](ground, is_private)
            endpoints.extend((ours, theirs))
            peer.received = None
            if function in SENDS:
                work, answer = SENDS[function], peer.receive(theirs)
            else:
                offset = CUT if is_resumption else 0
                work, answer = RECEIVES[function], peer.send(ground, theirs, offset)
            peer.task = asyncio.create_task(answer)
            try:
                await work(ground, ours)
            except BaseException:
                if not theirs.is_open:
                    # It would wait for a connection that nobody makes any more.
                    theirs.abort()
                raise

        async def check() -> None:
            await peer.check()
            await asyncio.gather(*ground.others)
            ground.others.clear()
            held = (served_directory / "file").read_bytes()
            assert held in (OLD, NEW), f"{len(held)} bytes"
            kept = hidden_files(served_directory)
            if is_resumption and held == OLD:
                assert [path.stat().st_size >= CUT for path in kept] == [True]
            else:
                assert not kept
            assert pool.metrics.in_use == 0

        suspensions = await sweep(
            scenario,
            check=check,
            patience=PATIENCE,
            twice=way.is_twice,
            directories=[served_directory],
            may_leave=[*LEFT, PART] if is_resumption else LEFT,
        )
    parts.close()
    # A connection in TLS lingers after its transfer; so does that of the first run.
    for endpoint in endpoints:
        await endpoint.aclose()
    await turns()
    # With eager tasks, a small upload waits once: for the thread that has it.
    assert suspensions >= 1
    if function in SENDS:
        assert peer.received == peer.expected


def _leave_part(ground: Ground) -> None:
    """Make an upload that was cut. It suspends nobody, and so is no part of what is swept."""

    async def upload() -> None:
        target = await FileTarget.open(
            ground.directory / "file", mode=WriteMode.ATOMIC, parts=ground.parts.owner("ann")
        )
        await target.write(NEW[:CUT])
        await target.keep()

    with ThreadPoolExecutor(1) as another:
        another.submit(asyncio.run, upload()).result()
