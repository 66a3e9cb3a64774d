"""The graceful end: when it succeeds, its limits, and how long it lingers."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from ftpdata.connection import _delivery, _delivery_watch
from ftpdata.connection._delivery import Sight
from ftpdata.connection.protocol import DTP
from ftpdata.errors import ConnectionReset, NotConnected, TransferTimeout
from ftpdata.outcome import End
from ftpdata.testing import (
    Cut,
    MemoryTransport,
    RecordingPullProducer,
    half_close,
    receive_then_cut,
    reset,
)
from tests.harness.connections import receive_all
from tests.harness.dtps import only_linux, real
from tests.harness.loops import LOOP_FACTORIES, factory_of
from tests.harness.waiting import turns, until


async def ending() -> tuple[DTP, MemoryTransport, asyncio.Task[None]]:
    """Return a DTP that has data to send, its transport, and a task that waits in `finish`."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    dtp.write(b"data")
    finishing = asyncio.create_task(dtp.finish())
    await turns()
    return dtp, transport, finishing


async def test_finish_waits_for_the_peer() -> None:
    """finish() returns when the peer has closed its side, not when everything has left here."""

    dtp, transport, finishing = await ending()
    transport.drain()
    await turns()
    assert transport.eof_sent
    assert not finishing.done()
    transport.feed(b"ignored: the peer should not send")
    transport.feed_eof()
    await finishing
    assert dtp.end is End.CLEAN
    await dtp.finish()


async def test_finish_has_a_limit() -> None:
    """A peer that takes nothing is given up: CLOSE_TIMEOUT, and a reset."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    dtp.write(b"data")
    with pytest.raises(TransferTimeout) as caught:
        await dtp.finish(timeout=0.01)
    assert caught.value.end is End.CLOSE_TIMEOUT
    assert transport.was_aborted


async def test_finish_before_the_connection_is_an_error() -> None:
    """There is no connection to finish yet."""

    with pytest.raises(NotConnected):
        await DTP().finish()


async def test_a_cancelled_finish_goes_on_by_itself() -> None:
    """If the waiting task is cancelled, the connection still finishes."""

    dtp, transport, finishing = await ending()
    finishing.cancel()
    await turns()
    transport.drain()
    transport.feed_eof()
    await dtp.wait_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
async def test_a_download_arrives_whole_without_a_reset(host: str, size: int) -> None:
    """finish() ends cleanly, and the peer sees data and an end of file, never a reset."""

    dtp, peer = await real(host=host, high_water=65536)
    data = os.urandom(size)
    RecordingPullProducer(dtp, [data[i : i + 65536] for i in range(0, size, 65536)]).register()
    assert await receive_all(peer) == data
    await dtp.wait_closed()
    assert dtp.end is End.CLEAN
    assert dtp.bytes_sent == size
    peer.close()


@only_linux
async def test_finish_is_true_although_the_peer_keeps_its_side_open() -> None:
    """Most clients close their side late; the acknowledgement of their kernel is enough."""

    dtp, peer = await real()
    dtp.write(b"data")
    await dtp.finish(timeout=60)
    assert dtp.end is End.CLEAN
    assert await receive_all(peer) == b"data"
    peer.close()


@only_linux
async def test_a_peer_that_talks_is_not_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transfer is over at once; what the peer should not have sent is read before closing."""

    dtp, peer = await real()
    # These data arrive before the loop can read them.
    monkeypatch.setattr(_delivery_watch, "sight_of", lambda _: Sight(0, unread=9))
    dtp.write(b"data")
    await dtp.finish(timeout=60)
    assert dtp.end is End.CLEAN
    assert dtp.is_lingering
    assert not dtp.is_connected
    peer.send(b"what for?")
    assert await receive_all(peer) == b"data"
    peer.close()
    await until(lambda: not dtp.is_lingering)


@only_linux
async def test_what_lingers_can_be_aborted() -> None:
    """Its owner may abort it at any time; nothing is left of the connection."""

    dtp, peer = await real()
    peer.send(b"what for?")
    await turns()
    dtp.write(b"data")
    finishing = asyncio.ensure_future(dtp.finish(timeout=60))
    await finishing
    dtp.abort()
    await turns()
    assert not dtp.is_lingering
    assert dtp.end is End.CLEAN
    peer.close()


@only_linux
async def test_nothing_lingers_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection does not wait for ever for a peer that never closes its side."""

    monkeypatch.setattr(_delivery, "ANSWER_PATIENCE", 0.01)
    monkeypatch.setattr(_delivery_watch, "sight_of", lambda _: Sight(0, unread=9))
    dtp, peer = await real()
    await dtp.finish(timeout=60)
    assert dtp.is_lingering
    await until(lambda: not dtp.is_lingering)
    peer.close()


@only_linux
@pytest.mark.parametrize("runs_on", LOOP_FACTORIES)
def test_what_lingers_is_closed_as_the_loop_ends(
    runs_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program may end right after its transfer: it leaves no open connection."""

    monkeypatch.setattr(_delivery_watch, "sight_of", lambda _: Sight(0, unread=9))

    async def work() -> tuple[DTP, socket.socket]:
        dtp, peer = await real()
        await dtp.finish(timeout=60)
        assert dtp.is_lingering
        return dtp, peer

    with asyncio.Runner(loop_factory=factory_of(runs_on)) as runner:
        dtp, peer = runner.run(work())
    with peer:
        assert not dtp.is_lingering
        assert dtp.end is End.CLEAN


@only_linux
async def test_finish_is_not_true_before_the_peer_has_it() -> None:
    """Data that still wait in this host's kernel have not reached the peer: CLOSE_TIMEOUT."""

    dtp, peer = await real(receive_buffer=4096)
    dtp.write(bytes(200_000))
    while dtp.transport.get_write_buffer_size() > 0:
        await turns(1)

    # Everything has left the process, but the peer reads nothing.
    with pytest.raises(TransferTimeout) as caught:
        await dtp.finish(timeout=0.05)
    assert caught.value.end is End.CLOSE_TIMEOUT
    with pytest.raises(ConnectionResetError):
        await receive_all(peer)
    peer.close()


async def test_the_end_waits_for_a_peer_that_takes_it_late() -> None:
    """finish() returns once a slow peer has read, and not before."""

    dtp, peer = await real(receive_buffer=4096)
    dtp.write(bytes(200_000))
    finishing = asyncio.ensure_future(dtp.finish())
    await turns(50)
    assert not finishing.done()
    assert len(await receive_all(peer)) == 200_000
    await finishing
    peer.close()


async def test_a_reset_while_finishing_is_a_reset() -> None:
    """finish() raises at once if the peer resets before it has everything."""

    dtp, peer = await real(receive_buffer=4096)
    dtp.write(bytes(200_000))
    finishing = asyncio.ensure_future(dtp.finish())
    await turns()
    await receive_then_cut(peer, 1000, Cut.RESET)
    with pytest.raises(ConnectionReset):
        await finishing
    assert dtp.end is End.RESET


async def test_a_reset_while_finishing_after_the_peers_end_of_file() -> None:
    """finish() raises at once, even if the peer had closed its own side before."""

    dtp, peer = await real(receive_buffer=4096)
    half_close(peer)
    dtp.write(bytes(200_000))
    finishing = asyncio.ensure_future(dtp.finish(timeout=60))
    while not dtp._wire.eof_received:
        await turns(1)

    started = asyncio.get_running_loop().time()
    reset(peer)
    with pytest.raises(ConnectionReset):
        await finishing
    assert asyncio.get_running_loop().time() - started < 5


async def test_a_reset_nobody_noticed_comes_out_in_finish() -> None:
    """Nobody notices a reset while nothing is read or written; finish() then raises it."""

    dtp, peer = await real()
    reset(peer)
    with pytest.raises(ConnectionReset):
        await dtp.finish(timeout=60)
    assert dtp.end is End.RESET


async def test_a_reset_nobody_noticed_comes_out_in_write_eof() -> None:
    """The half-close of a two-way stream notices it, too, and finish() raises it."""

    dtp, peer = await real()
    reset(peer)
    dtp.write_eof()
    with pytest.raises(ConnectionReset):
        await dtp.finish(timeout=60)
