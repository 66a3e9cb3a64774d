"""The host learns that a download has left this system before the peer has it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ftpdata.connection import _delivery_watch
from ftpdata.connection._delivery import Sight
from ftpdata.deadlines import Deadlines
from ftpdata.errors import FTPDataError
from ftpdata.listing.table import ListingBlock
from ftpdata.opening import _link
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.outcome import End, FastPath, TransferResult
from ftpdata.parameters import TransferParameters
from ftpdata.testing import reset, tcp_pair
from ftpdata.tls.policy import DataTLS
from ftpdata.transfers import (
    ReusableConnection,
    send_file,
    send_listing,
    send_records,
    send_stream,
)
from tests.harness.connections import peer_task, receive_all
from tests.harness.tls import TLSPeer, client_context, server_certificate
from tests.harness.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

CONTENT = bytes(1000)
WAITING, ON_ITS_WAY, ARRIVED = Sight(9, unsent=5), Sight(9, unsent=0), Sight(0, unsent=0)

Send = Callable[..., Awaitable[TransferResult]]


async def chunks() -> AsyncIterator[bytes]:
    """Yield the content."""

    yield CONTENT


async def file_directly(endpoint: AcceptedEndpoint, path: Path, **options: Any) -> TransferResult:
    """Send a small file."""

    result = await send_file(endpoint, path, **options)
    assert result.fast_path is FastPath.DIRECT
    return result


async def file_plainly(endpoint: AcceptedEndpoint, path: Path, **options: Any) -> TransferResult:
    """Send a file that is digested, which the direct way does not do."""

    return await send_file(endpoint, path, digest="crc32", **options)


async def listing(endpoint: AcceptedEndpoint, _: Path, **options: Any) -> TransferResult:
    """Send a listing that is there as a whole."""

    return await send_listing(endpoint, ListingBlock(CONTENT[:-2] + b"\r\n"), **options)


async def lines(endpoint: AcceptedEndpoint, _: Path, **options: Any) -> TransferResult:
    """Send a listing line by line."""

    return await send_listing(endpoint, [CONTENT[:-2]], **options)


async def stream(endpoint: AcceptedEndpoint, _: Path, **options: Any) -> TransferResult:
    """Send what a generator yields."""

    return await send_stream(endpoint, chunks(), **options)


async def records(endpoint: AcceptedEndpoint, _: Path, **options: Any) -> TransferResult:
    """Send one record."""

    parameters = TransferParameters().with_structure("R")
    return await send_records(endpoint, [CONTENT], parameters=parameters, **options)


WAYS: list[Send] = [file_directly, file_plainly, listing, lines, stream, records]


class Host:
    """Sees a connection through a script, and takes note of when it is told."""

    def __init__(self, *sights: Sight) -> None:
        self.left = list(sights)
        self.looks = 0
        self.told: list[TransferResult] = []
        self.told_at = 0

    def sight(self, _: object) -> Sight:
        """Give the next sight of the script, or its last one again."""

        self.looks += 1
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]

    def on_sent(self, result: TransferResult) -> None:
        """Take note of it."""

        self.told.append(result)
        self.told_at = self.looks


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[AcceptedEndpoint, asyncio.Future[object]]]:
    """Yield an endpoint, and what its peer receives."""

    ours, peer = await tcp_pair()
    async with (
        AcceptedEndpoint(ours, deadlines=Deadlines(stall=30, close=30)) as endpoint,
        peer_task(receive_all(peer)) as receiving,
    ):
        yield endpoint, receiving
    peer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def see(monkeypatch: pytest.MonkeyPatch, host: Host) -> None:
    """Let both ways look through the host's script."""

    monkeypatch.setattr(_link, "sight_of", host.sight)
    monkeypatch.setattr(_delivery_watch, "sight_of", host.sight)


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_told_once_before_the_peer_has_everything(
    way: Send, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the result that the transfer will have."""

    host = Host(WAITING, WAITING, ON_ITS_WAY, ON_ITS_WAY, ARRIVED)
    see(monkeypatch, host)
    async with connected() as (endpoint, receiving), asyncio.timeout(60):
        result = await way(endpoint, path, on_sent=host.on_sent)
        await receiving
    (told,) = host.told
    assert (told.end, told.bytes, told.file_bytes) == (End.CLEAN, result.bytes, result.file_bytes)
    assert (told.reply_code, told.peer) == (226, result.peer)
    assert host.told_at == 3
    assert host.looks >= 5


@pytest.mark.parametrize("way", WAYS)
async def test_where_the_system_does_not_tell_it_is_told_at_the_end(
    way: Send, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer has everything by then."""

    host = Host(Sight(9), Sight(9), Sight(0))
    see(monkeypatch, host)
    async with connected() as (endpoint, receiving), asyncio.timeout(60):
        await way(endpoint, path, on_sent=host.on_sent)
        await receiving
    assert (len(host.told), host.told_at) == (1, 3)


@pytest.mark.parametrize(("before", "is_told"), [(ON_ITS_WAY, True), (WAITING, False)])
@pytest.mark.parametrize("way", WAYS)
async def test_what_gets_lost_is_an_error_whether_it_was_told_or_not(
    way: Send, before: Sight, is_told: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that was told learns the truth. What had not left by then is not told at the end."""

    error = ConnectionResetError(104, "Connection reset by peer")
    host = Host(before, Sight(9, is_gone=True, error=error, unsent=0))
    see(monkeypatch, host)
    async with connected() as (endpoint, _), asyncio.timeout(60):
        with pytest.raises(FTPDataError) as caught:
            await way(endpoint, path, on_sent=host.on_sent)
    assert len(host.told) == int(is_told)
    assert caught.value.result is not None
    assert (caught.value.end, caught.value.result.end) == (End.RESET, End.RESET)


@pytest.mark.parametrize("way", WAYS)
async def test_a_callback_that_fails_is_logged(
    way: Send, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The transfer goes on: its bytes are on their way."""

    see(monkeypatch, Host(ON_ITS_WAY, ON_ITS_WAY, ARRIVED))

    def fail(_: TransferResult) -> None:
        raise LookupError("no such session")

    caplog.set_level(logging.ERROR, "ftpdata.transfers")
    async with connected() as (endpoint, receiving), asyncio.timeout(60):
        result = await way(endpoint, path, on_sent=fail)
        await receiving
    assert result.end is End.CLEAN
    assert "no such session" in caplog.text
    caplog.clear()


@pytest.mark.parametrize("sights", [(ON_ITS_WAY, ARRIVED), (ARRIVED,)])
@pytest.mark.parametrize("way", WAYS)
async def test_a_host_may_abort_from_within(
    way: Send, sights: tuple[Sight, ...], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The abort counts, unless the peer has everything by then."""

    see(monkeypatch, Host(*sights))
    async with connected() as (endpoint, receiving), asyncio.timeout(60):

        def abort(_: TransferResult) -> None:
            endpoint.abort(End.ABORTED, "no more")

        has_arrived = sights == (ARRIVED,)
        failure = pytest.raises(FTPDataError, match="no more")
        with contextlib.suppress(FTPDataError) if has_arrived else failure:
            await way(endpoint, path, on_sent=abort)
        await asyncio.wait((receiving,))
        receiving.exception()


async def test_a_real_peer_that_reads_nothing_delays_it(path: Path) -> None:
    """What waits for room at the peer has not left this system."""

    os.truncate(path, 4_000_000)
    host = Host()
    ours, peer = await tcp_pair()
    with contextlib.closing(peer):
        async with AcceptedEndpoint(ours) as endpoint, asyncio.timeout(60):
            sending = asyncio.ensure_future(send_file(endpoint, path, on_sent=host.on_sent))
            await until(lambda: endpoint.dtp is not None and endpoint.dtp.bytes_sent > 0)
            assert host.told == []
            async with peer_task(receive_all(peer)):
                result = await sending
    assert [told.file_bytes for told in host.told] == [result.file_bytes]


async def test_a_connection_that_stays_open_tells_when_the_peer_has_everything() -> None:
    """Only the peer can say that all of a file that has its own end mark is there."""

    ours, peer = await tcp_pair()
    with contextlib.closing(peer):
        async with AcceptedEndpoint(ours) as endpoint, asyncio.timeout(60):
            reusable = ReusableConnection(await endpoint.open())
            for _ in range(2):
                host = Host()
                result = await send_stream(
                    reusable,
                    chunks(),
                    parameters=TransferParameters().with_mode("B"),
                    on_sent=host.on_sent,
                )
                (told,) = host.told
                assert (told.bytes, told.reply_code) == (result.bytes, 250)
            await reusable.aclose()


async def test_a_transfer_that_fails_before_is_not_told(path: Path) -> None:
    """Its peer has gone."""

    host = Host()
    ours, peer = await tcp_pair()
    async with AcceptedEndpoint(ours) as endpoint:
        reset(peer)
        with pytest.raises(FTPDataError):
            await send_file(endpoint, path, digest="crc32", on_sent=host.on_sent)
    assert host.told == []


@pytest.mark.parametrize("size", [1000, 3_000_000])
@pytest.mark.parametrize("way", [file_plainly, stream, None])
async def test_it_is_told_once_in_tls(way: Send | None, size: int, path: Path) -> None:
    """Records and the close_notify are what has to leave."""

    os.truncate(path, size)
    host = Host()
    ours, there = await tcp_pair()
    with there:
        peer = TLSPeer(there, client_context(None))
        tls = DataTLS.for_server(server_certificate(None).session_context())

        async def take_all() -> bytes:
            await peer.handshake()
            return await peer.receive_all()

        async with (
            AcceptedEndpoint(ours, tls=tls) as endpoint,
            peer_task(take_all()) as receiving,
            asyncio.timeout(60),
        ):
            result = await (way or send_file)(endpoint, path, on_sent=host.on_sent)
            received = await receiving
    (told,) = host.told
    assert (told.end, told.file_bytes) == (End.CLEAN, result.file_bytes)
    assert isinstance(received, bytes)
    assert len(received) == result.file_bytes
    assert told.tls_version == result.tls_version
    assert told.tls_version is not None
