"""Tests of `ftpdata.connection.receive_queue`."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.connection import (
    DecodingConsumer,
    ReceiveQueue,
)
from ftpdata.errors import (
    ConnectionReset,
    FTPDataError,
    TransferAborted,
    TruncatedTransfer,
)
from ftpdata.outcome import End
from tests.harness.pipes import PlainProducer, Strict, connect
from tests.harness.waiting import turns


async def test_a_queue_gives_all_there_is_then_the_end() -> None:
    """`receive` joins what arrived; the clean end is reported as often as it is asked for."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp)
    transport.deliver(b"ab")
    transport.deliver(b"cd")
    assert (queue.size, queue.is_ready) == (4, True)
    assert await queue.receive() == b"abcd"
    assert (queue.size, queue.is_ready) == (0, False)
    transport.feed_eof()
    assert await queue.receive() == b""
    assert await queue.receive() == b""
    await dtp.wait_closed()


async def test_a_queue_wakes_the_waiter() -> None:
    """A waiting task is woken by data, and by the end."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp)
    waiting = asyncio.ensure_future(queue.receive())
    await turns()
    transport.deliver(b"x")
    transport.deliver(b"y")
    assert await waiting == b"xy"
    waiting = asyncio.ensure_future(queue.receive())
    await turns()
    transport.feed_eof()
    assert await waiting == b""


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=20),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=10),
)
@settings(max_examples=60)
async def test_a_queue_gives_at_most_what_is_asked_for(
    chunks: list[bytes], sizes: list[int]
) -> None:
    """However data arrive and are asked for, they are the same, and none are held back."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp, 10**6)
    for chunk in chunks:
        transport.deliver(chunk)

    left = sum(map(len, chunks))
    received = b""
    transport.feed_eof()
    for turn in range(10**6):
        size = sizes[turn % len(sizes)]
        data = await queue.receive(size)
        assert len(data) == min(size, left)
        left -= len(data)
        assert queue.size == left
        received += data
        if not data:
            break

    assert received == b"".join(chunks)


async def test_a_queue_that_is_paused() -> None:
    """Held data can be received without resuming it; it is idle without data and at the end."""
    producer = PlainProducer()
    queue = ReceiveQueue(100)
    queue.register_producer(producer, True)
    queue.write(b"x" * 101)
    queue.pause()
    queue.pause()
    assert producer.calls == ["pause"]
    assert await queue.receive() == b"x" * 101
    idle = queue.is_idle
    assert idle
    assert producer.calls == ["pause"]
    queue.resume()
    queue.resume()
    assert producer.calls == ["pause", "resume"]

    queue.pause()
    queue.write(b"y" * 30)
    queue.resume()
    assert producer.calls == ["pause", "resume", "pause"], "it holds more than a quarter"
    await queue.receive()
    assert producer.calls[3:] == ["resume"]

    queue.unregister_producer()
    queue.pause()
    assert not queue.is_idle
    assert producer.calls[4:] == []


async def test_a_queue_tells_a_cut_after_what_came_before() -> None:
    """Data are given out first; then every call raises the reason."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp)
    transport.deliver(b"half")
    transport.lose(ConnectionResetError())
    assert await queue.receive() == b"half"
    for _ in range(2):
        with pytest.raises(ConnectionReset) as raised:
            await queue.receive()
        assert raised.value is dtp.reason
        assert raised.value.end is End.RESET


async def test_a_cut_raises_out_of_the_loop_over_a_queue() -> None:
    """``async for`` ends only on a clean end."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp)
    seen = []

    async def loop() -> None:
        async for data in queue:
            seen.append(data)  # noqa: PERF401 - what came before the error counts

    task = asyncio.ensure_future(loop())
    transport.deliver(b"half")
    await turns()
    dtp.abort(End.STALLED)
    with pytest.raises(FTPDataError) as raised:
        await task
    assert raised.value.end is End.STALLED
    assert seen == [b"half"]


async def test_a_queue_knows_an_end_that_was_only_ours() -> None:
    """If this side finishes before the peer's end of file, a receiver gets no clean end."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp)
    finishing = asyncio.ensure_future(dtp.finish())
    await turns()
    transport.lose()
    await finishing
    with pytest.raises(TransferAborted):
        await queue.receive()


async def test_a_queue_registered_by_hand_tells_a_cut_too() -> None:
    """Without `attach`, the reason comes from the DTP."""
    dtp, transport = connect()
    queue = ReceiveQueue()
    dtp.register_consumer(queue)
    transport.lose(ConnectionResetError())
    with pytest.raises(ConnectionReset):
        await queue.receive()


async def test_a_queue_pauses_above_high_water_and_resumes_at_a_quarter() -> None:
    """Each of the two is a system call: they are rare, and alternate."""
    producer = PlainProducer()
    queue = ReceiveQueue(100)
    queue.register_producer(producer, True)
    queue.write(b"x" * 100)
    assert producer.calls == []
    queue.write(b"x")
    queue.write(b"x" * 50)
    assert producer.calls == ["pause"]
    await queue.receive(125)
    assert queue.size == 26
    assert producer.calls == ["pause"]
    await queue.receive(1)
    assert producer.calls == ["pause", "resume"]
    queue.write(b"x" * 100)
    await queue.receive()
    assert producer.calls == ["pause", "resume", "pause", "resume"]


async def test_a_queue_leaves_the_producer_alone_once_it_is_gone() -> None:
    """What was held is received after the end, without a resume."""
    producer = PlainProducer()
    queue = ReceiveQueue(10)
    queue.register_producer(producer, True)
    queue.write(b"x" * 11)
    queue.unregister_producer()
    assert await queue.receive() == b"x" * 11
    assert await queue.receive() == b""
    assert producer.calls == ["pause"]


async def test_only_one_task_receives_from_a_queue() -> None:
    """Two tasks would each get a part."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp)
    first = asyncio.ensure_future(queue.receive())
    await turns()
    with pytest.raises(RuntimeError, match="another task"):
        await queue.receive()
    transport.deliver(b"x")
    assert await first == b"x"
    dtp.abort()


async def test_a_cancelled_receive_loses_nothing() -> None:
    """This holds even if the data arrived in the same turn."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp)
    first = asyncio.ensure_future(queue.receive())
    await turns()
    transport.deliver(b"x")
    first.cancel()
    await asyncio.wait((first,))
    assert first.cancelled()
    assert await queue.receive() == b"x"
    dtp.abort()


async def test_a_closed_queue_takes_no_more_and_holds_nobody_up() -> None:
    """The producer is resumed, further data are dropped, and a receiving task gets the error."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp, 10)
    transport.deliver(b"x" * 11)
    assert not transport.is_reading()
    queue.close()
    assert transport.is_reading()
    transport.deliver(b"y" * 100)
    assert queue.size == 0
    with pytest.raises(anyio.ClosedResourceError):
        await queue.receive()
    dtp.abort()


async def test_closing_a_queue_wakes_the_waiter() -> None:
    """It gets the same exception."""
    dtp, _ = connect()
    queue = ReceiveQueue.attach(dtp)
    waiting = asyncio.ensure_future(queue.receive())
    await turns()
    queue.close()
    with pytest.raises(anyio.ClosedResourceError):
        await waiting
    dtp.abort()


async def test_a_queue_behind_a_decoder_reports_what_the_decoder_raises() -> None:
    """A missing end mark is not a clean end."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp, through=lambda queue: DecodingConsumer(queue, Strict()))
    transport.deliver(b"x but no end")
    transport.feed_eof()
    assert await queue.receive() == b"x but no end"
    with pytest.raises(TruncatedTransfer):
        await queue.receive()
    assert dtp.reason is not None


async def test_a_queue_behind_a_decoder_by_hand_reports_it_too() -> None:
    """The decoder reports its reason as a DTP does."""
    dtp, transport = connect()
    queue = ReceiveQueue()
    dtp.register_consumer(DecodingConsumer(queue, Strict()))
    transport.feed_eof()
    with pytest.raises(TruncatedTransfer):
        await queue.receive()
