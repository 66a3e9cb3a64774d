"""Tests of `Endpoint.drain` and `ListenerPool.drain`: what runs may end, nothing new begins."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftpdata.errors import DataConnectionError, TransferAborted
from ftpdata.opening import Drained
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.opening.passive import listen_passive
from ftpdata.opening.pool import ListenerPool, PooledEndpoint
from ftpdata.outcome import End
from ftpdata.testing import tcp_pair
from ftpdata.transfers import receive_file, receive_stream, send_file
from tests.harness.connections import peer_task, read_until_cut, receive_all
from tests.harness.outcomes import failed, finished
from tests.harness.proxies import connect_from, free_ports
from tests.harness.waiting import turns, until

HOST = "127.0.0.1"
LONG = 60.0
LARGE = bytes(range(256)) * 4096 * 32


@contextlib.asynccontextmanager
async def pooled(count: int = 1) -> AsyncIterator[tuple[ListenerPool, list[PooledEndpoint]]]:
    """Yield a pool with reservations, each for a client of its own."""

    async with ListenerPool(HOST, free_ports(2)) as pool:
        yield pool, [pool.reserve(control_peer=f"127.0.0.{number + 2}") for number in range(count)]


async def arrived(endpoint: PooledEndpoint, number: int = 0) -> socket.socket:
    """Connect the client of a reservation."""

    return await connect_from(f"127.0.0.{number + 2}", endpoint.address)


async def waiting(drain: asyncio.Task[Drained]) -> None:
    """Let a drain begin, and assert that it waits."""

    await turns()
    assert not drain.done()


# One endpoint


async def test_an_endpoint_that_nobody_uses_is_given_up() -> None:
    """There is nothing to wait for, and whoever opens it learns why it cannot be."""
    endpoint = await listen_passive(HOST, control_peer=HOST)
    assert await endpoint.drain(LONG) == Drained(ended=0, cut=0)
    with pytest.raises(DataConnectionError, match="about to end") as caught:
        await endpoint.open()
    assert caught.value.reply_code == 425


@pytest.mark.parametrize("direction", ["sent", "received"])
async def test_a_transfer_in_time_ends_as_always(tmp_path: Path, direction: str) -> None:
    """The drain returns after it: the file is stored by then, and nothing was cut."""
    file = tmp_path / "file"
    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    if direction == "sent":
        file.write_bytes(LARGE)
        transfer = asyncio.create_task(send_file(endpoint, file))
    else:
        transfer = asyncio.create_task(receive_file(endpoint, file))
    await turns()
    drain = asyncio.create_task(endpoint.drain(LONG))
    await waiting(drain)
    if direction == "sent":
        assert await finished(transfer, peer) == LARGE
    else:
        peer.close()
        assert (await transfer).end is End.CLEAN
        assert file.read_bytes() == b""
    assert await drain == Drained(ended=1, cut=0)
    assert transfer.done()
    peer.close()


async def test_what_does_not_end_in_time_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer sees a reset, the transfer a 426, and the log says what was cut, and why."""
    (tmp_path / "file").write_bytes(LARGE)
    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    transfer = asyncio.create_task(send_file(endpoint, tmp_path / "file"))
    await until(lambda: endpoint.activity.is_active)
    with caplog.at_level(logging.WARNING, "ftpdata.opening.drain"):
        assert await endpoint.drain(0) == Drained(ended=0, cut=1)
    result = await failed(transfer, TransferAborted, End.ABORTED)
    assert result.reply_code == 426
    assert result.reason == "the host is about to end"
    assert (await read_until_cut(peer))[1]
    peer.close()
    [message] = [record.getMessage() for record in caplog.records if "drain" in record.name]
    assert message.startswith("cut after 0 s: ")
    assert str(tmp_path / "file") in message


async def test_a_commit_that_has_begun_decides(tmp_path: Path) -> None:
    """The upload is whole: it is waited for after the deadline, and its result is true."""
    may_commit = asyncio.Event()
    at_commit = asyncio.Event()

    class Slow:
        """A target whose commit takes long."""

        position = 0
        is_published = False

        async def write(self, data: object) -> None:
            """Take everything."""

        async def commit(self) -> None:
            """Take long."""
            at_commit.set()
            await may_commit.wait()
            self.is_published = True

        async def discard(self) -> None:
            """Never be called."""
            raise AssertionError

    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    transfer = asyncio.create_task(receive_file(endpoint, Slow()))
    peer.close()
    await at_commit.wait()
    drain = asyncio.create_task(endpoint.drain(0))
    await waiting(drain)
    may_commit.set()
    result = await transfer
    assert result.end is End.CLEAN
    await drain


async def test_a_drain_waits_for_a_connection_that_was_given_away() -> None:
    """It is the host's own, and may end, or is cut."""
    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    dtp = await endpoint.open()
    drain = asyncio.create_task(endpoint.drain(LONG))
    await waiting(drain)
    dtp.write(b"data")
    async with peer_task(receive_all(peer)):
        await dtp.finish()
    assert await drain == Drained(ended=1, cut=0)
    peer.close()

    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    dtp = await endpoint.open()
    assert await endpoint.drain(0) == Drained(ended=0, cut=1)
    assert dtp.end is End.ABORTED
    peer.close()


async def test_a_stream_counts_from_its_first_byte_asked_for_to_its_end() -> None:
    """Its connection is what is active before and after that."""
    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    stream = receive_stream(endpoint)
    await asyncio.get_running_loop().sock_sendall(peer, b"data")
    assert await anext(stream) == b"data"
    drain = asyncio.create_task(endpoint.drain(LONG))
    await waiting(drain)
    peer.close()
    assert [data async for data in stream] == []
    assert await drain == Drained(ended=1, cut=0)


async def test_a_drain_that_is_cancelled_cuts_nothing() -> None:
    """The host has changed its mind, and the transfer goes on."""
    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    dtp = await endpoint.open()
    drain = asyncio.create_task(endpoint.drain(LONG))
    await waiting(drain)
    drain.cancel()
    await asyncio.wait([drain])
    assert dtp.is_connected
    dtp.abort()
    peer.close()


@pytest.mark.parametrize("within", [-1, float("nan"), float("inf")])
async def test_a_time_that_is_not_valid(within: float) -> None:
    """A drain needs a deadline."""
    async with await listen_passive(HOST, control_peer=HOST) as endpoint:
        with pytest.raises(ValueError, match="within"):
            await endpoint.drain(within)


# A pool


async def test_a_pool_that_drains_makes_no_reservation() -> None:
    """The client gets a 425; reservations that nobody has opened are given up."""
    async with pooled() as (pool, [endpoint]):
        assert await pool.drain(LONG) == Drained(ended=0, cut=0)
        with pytest.raises(DataConnectionError, match="about to end") as caught:
            pool.reserve(control_peer=HOST)
        assert caught.value.reply_code == 425
        with pytest.raises(DataConnectionError, match="about to end"):
            await endpoint.open()
        assert pool.metrics.in_use == 0


async def test_a_pool_waits_for_all_and_cuts_the_late(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two transfers end; one whose client stalls is cut."""
    (tmp_path / "file").write_bytes(LARGE)
    async with pooled(3) as (pool, endpoints):
        peers = [await arrived(endpoint, number) for number, endpoint in enumerate(endpoints)]
        transfers = [
            asyncio.create_task(send_file(endpoint, tmp_path / "file")) for endpoint in endpoints
        ]
        await turns()
        drain = asyncio.create_task(pool.drain(LONG))
        await waiting(drain)
        for peer, transfer in list(zip(peers, transfers, strict=True))[:2]:
            assert await finished(transfer, peer) == LARGE
        await until(lambda: pool.metrics.running == 1)
        await waiting(drain)
        # The deadline of another drain is over first.
        with caplog.at_level(logging.WARNING, "ftpdata.opening.drain"):
            assert await pool.drain(0) == Drained(ended=0, cut=1)
        assert await drain == Drained(ended=3, cut=0)
        result = await failed(transfers[2], TransferAborted, End.ABORTED)
        assert result.reply_code == 426
    [message] = [record.getMessage() for record in caplog.records if "drain" in record.name]
    assert message.startswith("cut after 0 s: ")
    assert str(tmp_path / "file") in message
    for peer in peers:
        peer.close()


async def test_an_endpoint_that_waits_for_its_client_is_cut() -> None:
    """The transfer command has come, the connection has not."""
    async with pooled() as (pool, [endpoint]):
        opening = asyncio.create_task(endpoint.open())
        await turns()
        assert await pool.drain(0) == Drained(ended=0, cut=1)
        with pytest.raises(DataConnectionError, match="about to end"):
            await opening


async def test_a_drained_endpoint_is_still_its_pools() -> None:
    """Both drains learn that the connection has ended, and so does a second drain of its own."""

    async with pooled() as (pool, [endpoint]):
        peer = await arrived(endpoint)
        dtp = await endpoint.open()
        drains = [
            asyncio.create_task(drain)
            for drain in (endpoint.drain(LONG), pool.drain(LONG), endpoint.drain(LONG))
        ]
        for drain in drains:
            await waiting(drain)
        dtp.abort()
        async with asyncio.timeout(LONG / 2):
            assert await asyncio.gather(*drains) == [Drained(ended=1, cut=0)] * 3
        assert pool.metrics.running == 0
        peer.close()


async def test_nothing_is_kept_of_what_has_ended(tmp_path: Path) -> None:
    """A pool that serves for months keeps nothing of its transfers."""
    (tmp_path / "file").write_bytes(b"data")
    async with pooled() as (pool, [endpoint]):
        peer = await arrived(endpoint)
        assert await finished(send_file(endpoint, tmp_path / "file"), peer) == b"data"
        peer.close()
        await until(lambda: not pool.metrics.running)
