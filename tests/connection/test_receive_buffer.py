"""Tests of `_receive_buffer`, and of a `DTP` whose transport reads into its consumer's memory."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.connection import _receive_buffer as buffering
from ftpdata.connection._receive_buffer import ReceiveBuffer
from ftpdata.connection.protocol import DTP
from ftpdata.connection.receive_queue import ReceiveQueue
from ftpdata.contracts import PushProducer
from ftpdata.errors import FTPDataError
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.outcome import End, FastPath
from ftpdata.testing import MemoryTransport, check_consumer, tcp_pair
from ftpdata.transfers import receive_file
from tests.harness.connections import connection, peer_task, send_all
from tests.harness.waiting import until

CONTENT = random.Random(3659).randbytes(3_000_017)
HIGH_WATER = buffering.FIRST_BLOCK


async def receive_all(queue: ReceiveQueue) -> bytes:
    """Receive up to the clean end."""

    received = b""
    while data := await queue.receive():
        received += data

    return received


class Wants:
    """A producer that knows whether it is paused."""

    paused = False

    def pause_producing(self) -> None:
        """Record a pause; there was none yet."""

        assert not self.paused
        self.paused = True

    def resume_producing(self) -> None:
        """Record that it goes on."""

        assert self.paused
        self.paused = False

    def stop_producing(self) -> None:
        """Do nothing."""


def read_into(buffer: ReceiveBuffer, data: bytes) -> int:
    """Read as much as there is room for, as a transport does, and return the number of bytes."""

    memory = buffer.get_buffer()
    count = min(len(memory), len(data))
    memory[:count] = data[:count]
    buffer.buffer_updated(count)
    return count


def held(buffer: ReceiveBuffer) -> int:
    """Count its blocks and timers."""

    return sum(it is not None for it in (buffer._block, buffer._other, buffer._timer))


async def test_it_is_a_consumer() -> None:
    """What is written to it is received as from any queue."""

    await check_consumer(
        lambda: ReceiveBuffer(HIGH_WATER),
        data=CONTENT[:1000],
        received=receive_all,
        high_water=HIGH_WATER,
    )


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["read", "write", "receive", "pause", "resume"]),
            st.integers(1, 70_000),
        ),
        max_size=60,
    )
)
async def test_whatever_the_order(steps: list[tuple[str, int]]) -> None:
    """Data read into it or written to it are received in order, and stay valid until the next."""

    producer = Wants()
    buffer = ReceiveBuffer(2 * buffering.FIRST_BLOCK)
    buffer.register_producer(producer, True)
    position = 0
    received = b""
    view: bytes = b""
    copy = b""
    for step, size in steps:
        if step == "read" and not producer.paused:
            assert len(buffer.get_buffer()) >= buffering.SMALLEST_READ
            position += read_into(buffer, CONTENT[position : position + size])
        elif step == "write" and not producer.paused:
            buffer.write(CONTENT[position : position + size])
            position += size
        elif step == "receive" and buffer.size:
            assert bytes(view) == copy
            view = await buffer.receive(size if size % 2 else None)
            copy = bytes(view)
            received += copy
        elif step == "pause":
            buffer.pause()
            assert producer.paused
        elif step == "resume":
            buffer.resume()

        assert bytes(view) == copy
        assert buffer.size == position - len(received)

    buffer.resume()
    while buffer.size:
        received += await buffer.receive()

    assert received == CONTENT[:position]
    assert not producer.paused
    buffer.unregister_producer()


async def test_it_grows_with_the_peer() -> None:
    """A stalled upload holds little; a fast one gets larger blocks, up to the limit."""

    producer = Wants()
    buffer = ReceiveBuffer()
    buffer.register_producer(producer, True)
    sizes = []
    for _ in range(8):
        sizes.append(len(buffer.get_buffer()))
        while not producer.paused:
            read_into(buffer, CONTENT)
        await buffer.receive()

    assert sizes[0] == buffering.FIRST_BLOCK
    assert sizes[-1] == sizes[-2] == buffering.LARGEST_BLOCK
    assert sizes == sorted(sizes)
    buffer.unregister_producer()


async def test_a_stalled_upload_holds_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is freed once all was received and nothing more arrived for a while."""

    monkeypatch.setattr(buffering, "RELEASE_AFTER", 0.01)
    buffer = ReceiveBuffer()
    buffer.register_producer(Wants(), True)
    read_into(buffer, b"first")
    await asyncio.sleep(0.05)
    assert held(buffer)
    view = await buffer.receive()
    await until(lambda: not held(buffer))
    read_into(buffer, b"second")
    assert bytes(view) == b"first"
    assert await buffer.receive() == b"second"
    buffer.unregister_producer()
    assert buffer._timer is None


async def test_a_closed_one_takes_no_more() -> None:
    """Like any queue, it drops further data and does not hold up the peer."""

    producer = Wants()
    buffer = ReceiveBuffer()
    buffer.register_producer(producer, True)
    while not producer.paused:
        read_into(buffer, CONTENT)
    buffer.close()
    assert (producer.paused, buffer.size) == (False, 0)
    read_into(buffer, CONTENT)
    assert buffer.size == 0
    buffer.unregister_producer()


# The DTP


class Broken(ReceiveBuffer):
    """Refuses what was read into it."""

    def buffer_updated(self, nbytes: int) -> None:
        """Fail."""

        raise ValueError("refused")


async def test_a_consumer_that_fails_ends_the_transfer() -> None:
    """It has the same effect as a `write` that fails."""

    async with connection() as (dtp, peer):
        waiter = dtp.register_consumer(Broken())
        peer.send(b"data")
        with pytest.raises(FTPDataError) as caught:
            await waiter
        assert caught.value.end is End.CONSUMER_FAILED
        assert isinstance(caught.value.__cause__, ValueError)


async def test_a_transport_that_reads_while_paused() -> None:
    """The data that it delivers are held, and follow those that were there before."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    buffer = ReceiveBuffer.attach(dtp)
    reader = transport.get_protocol()
    assert isinstance(reader, asyncio.BufferedProtocol)

    def read(data: bytes) -> None:
        memory = memoryview(reader.get_buffer(-1))
        memory[: len(data)] = data
        reader.buffer_updated(len(data))

    read(b"first")
    buffer.pause()
    read(b"second")
    assert buffer.size == 5
    assert dtp.bytes_received == 11
    assert await buffer.receive() == b"first"
    buffer.resume()
    read(b"third")
    transport.feed_eof()
    assert await receive_all(buffer) == b"secondthird"
    assert dtp.bytes_received == 16
    await dtp.wait_closed()


async def test_a_consumer_that_comes_before_the_connection() -> None:
    """Data are still read into its memory."""

    accepted, peer = await tcp_pair()
    buffer = ReceiveBuffer()

    def make() -> DTP:
        dtp = DTP()
        dtp.register_consumer(buffer)
        return dtp

    async with AcceptedEndpoint(accepted, dtp_factory=make) as endpoint:
        dtp = await endpoint.open()
        with peer:
            peer.send(b"data")
        assert await receive_all(buffer) == b"data"
        assert buffer.is_direct
        await dtp.wait_closed()


async def test_a_producer_that_is_not_a_connection() -> None:
    """Such a producer can be paused and resumed; nothing is read directly."""

    buffer = ReceiveBuffer()
    producer: PushProducer = Wants()
    buffer.register_producer(producer, True)
    buffer.write(b"data")
    assert await buffer.receive() == b"data"
    assert not buffer.is_direct


# Transfers


@pytest.mark.parametrize("append", [False, True])
async def test_an_upload(served_directory: Path, append: bool) -> None:
    """The upload has a digest, or is appended: neither can be spliced."""

    path = served_directory / "up"
    async with connection() as (dtp, peer), peer_task(send_all(peer, CONTENT)):
        result = await receive_file(dtp, path, append=append, digest=None if append else "crc32")

    assert result.fast_path is FastPath.BUFFERED
    assert result.bytes == result.file_bytes == len(CONTENT)
    assert path.read_bytes() == CONTENT


async def test_a_target_of_the_callers_own_gets_bytes(served_directory: Path) -> None:
    """The bytes do not change later."""

    kept: list[bytes] = []

    class Target:
        async def write(self, data: bytes) -> None:
            kept.append(data)

        async def commit(self) -> None:
            assert all(type(data) is bytes for data in kept)

        async def discard(self) -> None:
            raise AssertionError

    async with connection() as (dtp, peer), peer_task(send_all(peer, CONTENT)):
        result = await receive_file(dtp, Target())

    assert result.fast_path is FastPath.NONE
    assert b"".join(kept) == CONTENT
