"""What a transfer may do without the transport: borrow the socket, count, wait, report a loss."""

from __future__ import annotations

import asyncio
import errno

import pytest

from ftpdata.connection.protocol import DTP
from ftpdata.connection.receive_queue import ReceiveQueue
from ftpdata.errors import ConnectionReset, FTPDataError, NotConnected
from ftpdata.outcome import End
from ftpdata.testing import MemoryTransport, half_close, reset
from tests.harness.connections import connection, peer_task, receive_all
from tests.harness.dtps import only_linux
from tests.harness.waiting import turns

# Bytes


async def test_what_went_past_is_counted() -> None:
    """`bytes_sent` includes it and what the transport has sent, but not what still waits there."""

    dtp = DTP()
    dtp.bypass.account_sent(3)
    transport = MemoryTransport(dtp)
    dtp.write(b"12345")
    dtp.bypass.account_sent(100)
    assert dtp.bytes_sent == 103
    transport.drain()
    assert dtp.bytes_sent == 108
    dtp.bypass.account_received(7)
    assert dtp.bytes_received == 7
    dtp.bypass.account_sent(0, eof=True)
    assert dtp.is_finishing
    with pytest.raises(NotConnected):
        dtp.write(b"x")
    dtp.abort()
    await turns()
    dtp.bypass.account_sent(1000)
    assert dtp.bytes_sent == 108


async def test_fewer_bytes_may_wait_than_the_high_water_mark_allows() -> None:
    """The limit can be lowered but not raised; without an open connection nothing happens."""

    dtp = DTP(high_water=1000)
    dtp.bypass.limit_waiting(10)
    transport = MemoryTransport(dtp)
    assert transport.get_write_buffer_limits()[1] == 1000
    dtp.bypass.limit_waiting(10)
    assert transport.get_write_buffer_limits()[1] == 10
    dtp.bypass.limit_waiting(2000)
    assert transport.get_write_buffer_limits()[1] == 1000
    dtp.abort()
    dtp.bypass.limit_waiting(10)
    assert transport.get_write_buffer_limits()[1] == 1000


async def test_a_socket_is_lent_where_nobody_reads() -> None:
    """It is refused unconnected, while the transport reads, with held data, and at an end."""

    assert DTP().bypass.lend_socket() is None
    async with connection() as (dtp, peer):
        queue = ReceiveQueue.attach(dtp)
        assert dtp.bypass.lend_socket() is None
        queue.pause()
        lent = dtp.bypass.lend_socket()
        assert lent is not None
        lent.close()
        dtp.data_received(b"held")
        assert dtp.bypass.lend_socket() is None
        queue.resume()
        half_close(peer)
        while await queue.receive():
            pass
        queue.pause()
        assert dtp.bypass.lend_socket() is None
        dtp.abort()
        assert dtp.bypass.lend_socket() is None


# The end


async def test_a_cut_is_announced_before_the_transport_is_closed() -> None:
    """The callback of the current transfer is called once, unless it was withdrawn."""

    for taken_back in (False, True):
        dtp = DTP()
        transport = MemoryTransport(dtp)
        heard: list[tuple[End | None, bool]] = []
        dtp.bypass.on_cut(lambda dtp=dtp, transport=transport, heard=heard: heard.append(  # type: ignore[misc]
            (dtp.end, transport.was_aborted)
        ))
        if taken_back:
            dtp.bypass.on_cut(None)
        dtp.abort(End.STALLED)
        dtp.abort()
        await turns()
        assert heard == ([] if taken_back else [(End.STALLED, False)])


async def test_a_loss_that_a_system_call_reports() -> None:
    """It ends the connection; the caller gets the reason, and is not called back."""

    dtp = DTP()
    MemoryTransport(dtp)
    heard: list[End | None] = []
    dtp.bypass.on_cut(lambda: heard.append(dtp.end))
    error = OSError(errno.EPIPE, "gone")
    reason = dtp.bypass.lost_by(error)
    assert isinstance(reason, ConnectionReset)
    assert reason is dtp.reason
    assert reason.__cause__ is error
    assert heard == []
    with pytest.raises(ConnectionReset):
        await dtp.wait_closed()
    assert dtp.bypass.lost_by(OSError(errno.EIO, "later")) is reason


@only_linux
async def test_what_was_written_is_delivered_once_the_peer_s_kernel_has_it() -> None:
    """Before that it is not; the answer is False without a socket, and an error unconnected."""

    with pytest.raises(NotConnected):
        await DTP().bypass.wait_delivered()
    memory = DTP()
    MemoryTransport(memory)
    assert not await memory.bypass.wait_delivered()
    memory.abort()
    with pytest.raises(NotConnected):
        await memory.bypass.wait_delivered()
    async with connection(send_buffer=4096, receive_buffer=4096) as (dtp, peer):
        assert await dtp.bypass.wait_delivered()
        dtp.write(bytes(1 << 20))
        waiting = asyncio.ensure_future(dtp.bypass.wait_delivered())
        await turns(50)
        assert not waiting.done()
        async with peer_task(receive_all(peer)):
            assert await waiting
        assert dtp.is_connected


@only_linux
async def test_what_cannot_be_delivered_is_given_up() -> None:
    """It is given up if the connection is gone, or if the peer takes nothing for too long."""

    async with connection(receive_buffer=4096) as (dtp, peer):
        dtp.write(bytes(1 << 20))
        waiting = asyncio.ensure_future(dtp.bypass.wait_delivered(stall=3600))
        await turns()
        reset(peer)
        with pytest.raises(FTPDataError):
            await waiting
        assert dtp.end is End.RESET

    async with connection(receive_buffer=4096) as (dtp, _):
        dtp.write(bytes(1 << 20))
        with pytest.raises(FTPDataError):
            await dtp.bypass.wait_delivered(stall=0.05)
        assert dtp.end is End.STALLED


async def test_the_record_of_a_connection_was_connected() -> None:
    """Nobody waits for ever for a connection that is over and will never have a transport."""

    dtp = DTP()
    waiting = dtp.connected
    dtp.bypass.receive_past(b"all of it", None)
    await turns()
    assert waiting.done()
    assert dtp.connected.done()
    await dtp.wait_connected()
    assert dtp.end is End.CLEAN
