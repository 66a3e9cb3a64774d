"""A transfer prepares much data for a peer that reads quickly, and little for one that does not."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from ftpdata import _kernel as kernel
from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.outcome import Direction
from ftpdata.testing import MemoryTransport
from ftpdata.throttle import TokenBucket
from ftpdata.transfers import _pace
from ftpdata.transfers._report import Report
from ftpdata.transfers._supervisor import Supervisor
from tests.harness.connections import connection, receive_all

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports this")


async def _send_pieces(transfer: Supervisor, sizes: list[int], *, total: int) -> None:
    """Make and send pieces of the sizes that the pace asks for, as for a converted file."""

    sent = 0
    while sent < total:
        size = transfer.pace.sending_size()
        sizes.append(size)
        await transfer.pace.send(bytes(size))
        sent += size


@linux_only
async def test_little_waits_for_a_peer_that_takes_nothing() -> None:
    """What any system accepts goes out in one piece; after that, pieces are small."""

    sizes: list[int] = []
    async with connection(receive_buffer=4096) as (dtp, _):
        transfer = Supervisor(dtp, Report(Direction.SENT), deadlines=Deadlines())
        task = asyncio.create_task(_send_pieces(transfer, sizes, total=1 << 24))
        before = -1
        while len(sizes) != before:
            before = len(sizes)
            await asyncio.sleep(0.05)
        assert sizes[0] == _pace.FIRST_PIECES
        assert set(sizes[2:]) == {_pace.STALLED_PIECE}
        assert dtp.transport.get_write_buffer_size() <= 2 * _pace.STALLED_PIECE
        # The system's own memory is not filled, either.
        assert dtp.bytes_sent < 1 << 20
        task.cancel()


@linux_only
async def test_the_first_pieces_in_tls_are_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """The records of a large piece would take memory for as long as the peer stalls."""

    monkeypatch.setattr(DTP, "tls", object())
    sizes: list[int] = []
    async with connection() as (dtp, peer):
        transfer = Supervisor(dtp, Report(Direction.SENT), deadlines=Deadlines())
        first = transfer.pace.sending_size()
        assert first == _pace.FIRST_TLS_PIECE
        receiving = asyncio.create_task(receive_all(peer))
        await _send_pieces(transfer, sizes, total=1 << 24)
        assert sizes[0] == first
        assert max(sizes) == _pace.LARGEST_PIECE
        await dtp.finish()
        assert len(await receiving) == sum(sizes)


@linux_only
async def test_many_small_pieces_wait_as_little() -> None:
    """This holds for a source that chooses the size of its pieces itself."""

    async def work() -> None:
        while True:
            await transfer.pace.send(bytes(1000))

    async with connection(receive_buffer=4096) as (dtp, _):
        transfer = Supervisor(dtp, Report(Direction.SENT), deadlines=Deadlines())
        task = asyncio.create_task(work())
        await asyncio.sleep(0.3)
        assert dtp.transport.get_write_buffer_size() <= 2 * _pace.STALLED_PIECE
        task.cancel()


@linux_only
async def test_one_large_piece_waits_as_little() -> None:
    """The piece is split, and only its first parts are in the transport."""

    async with connection(receive_buffer=4096) as (dtp, _):
        transfer = Supervisor(dtp, Report(Direction.SENT), deadlines=Deadlines())
        task = asyncio.create_task(transfer.pace.send(bytes(1 << 24)))
        await asyncio.sleep(0.1)
        assert dtp.transport.get_write_buffer_size() <= 2 * _pace.STALLED_PIECE
        task.cancel()


@linux_only
async def test_pieces_are_large_for_a_peer_that_takes_them() -> None:
    """The system may hold as much as it likes, and its limit is restored afterwards."""

    sizes: list[int] = []
    async with connection() as (dtp, peer):
        sock = dtp.transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, kernel.TCP_NOTSENT_LOWAT, 1 << 22)
        transfer = Supervisor(dtp, Report(Direction.SENT), deadlines=Deadlines())
        receiving = asyncio.create_task(receive_all(peer))
        await _send_pieces(transfer, sizes, total=1 << 24)
        await dtp.finish()
        assert len(await receiving) == sum(sizes)
        assert max(sizes) == _pace.LARGEST_PIECE
        assert max(sizes[:2]) < _pace.LARGEST_PIECE
        assert transfer.pace._unsent_limit is None


async def test_the_rest_of_the_room_makes_no_small_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system is asked again before it; many small pieces share one answer."""

    asked = 0

    def room(_: object) -> int:
        nonlocal asked
        asked += 1
        return 300_000

    async def drain(_: DTP) -> None:
        """Wait for nothing."""

    monkeypatch.setattr(_pace, "room_to_send", room)
    monkeypatch.setattr(DTP, "write", lambda *_: None)
    monkeypatch.setattr(DTP, "drain", drain)
    dtp = DTP()
    MemoryTransport(dtp)
    transfer = Supervisor(dtp, Report(Direction.SENT), deadlines=Deadlines())
    for number in range(1, 4):
        assert transfer.pace.sending_size() == _pace.LARGEST_PIECE
        assert asked == number
        await transfer.pace.send(bytes(_pace.LARGEST_PIECE))
    for _ in range(300):
        await transfer.pace.send(bytes(1000))
    assert asked < 6


async def test_small_pieces_with_a_throttle_need_room_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system is asked before the first one: otherwise it holds much for a peer that stalls."""

    asked = 0

    def room(_: object) -> int:
        nonlocal asked
        asked += 1
        return 1 << 20

    monkeypatch.setattr(_pace, "room_to_send", room)
    dtp = DTP()
    MemoryTransport(dtp)
    throttle = TokenBucket(1e9, now=asyncio.get_running_loop().time())
    transfer = Supervisor(dtp, Report(Direction.SENT), deadlines=Deadlines(), throttle=throttle)
    await transfer.pace.send(bytes(1000))
    assert asked == 1


async def test_pieces_are_large_where_the_system_tells_nothing() -> None:
    """On such systems only the high-water mark limits the data that wait."""

    dtp = DTP()
    MemoryTransport(dtp)
    transfer = Supervisor(dtp, Report(Direction.SENT), deadlines=Deadlines())
    assert transfer.pace.sending_size() == _pace.LARGEST_PIECE


@pytest.mark.parametrize(("tls", "expected"), [(None, 3), (object(), 15)])
async def test_others_have_their_turn_in_time(
    tls: object, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a mebibyte in clear; sooner in TLS, where it takes longer to encrypt as much."""

    turns = 0

    async def sleep(_: float) -> None:
        nonlocal turns
        turns += 1

    monkeypatch.setattr(DTP, "tls", tls)
    dtp = DTP()
    MemoryTransport(dtp)
    transfer = Supervisor(dtp, Report(Direction.SENT), deadlines=Deadlines())
    monkeypatch.setattr("asyncio.sleep", sleep)
    for _ in range(64):
        await transfer.pace.wait_for_turn(64 * 1024)
    assert turns == expected
