"""Tests of `ftpdata.connection.decoding`."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from ftpdata.codecs.representation import AsciiDecoder, IdentityDecoder
from ftpdata.connection import (
    DecodingConsumer,
    FileConsumer,
    MemoryConsumer,
    ReceiveQueue,
    SizeLimitConsumer,
)
from ftpdata.contracts import Buffer
from ftpdata.errors import (
    ConnectionReset,
    FTPDataError,
    InsufficientStorage,
    InvalidData,
    LocalError,
    QuotaExceeded,
    TransferAborted,
    TruncatedTransfer,
)
from ftpdata.outcome import End
from ftpdata.testing import RecordingConsumer
from tests.harness.pipes import (
    BrokenFile,
    PlainProducer,
    Strict,
    connect,
    receive_all,
    receive_into,
)
from tests.harness.waiting import turns


class Expanding:
    """Makes ten pieces of each byte, and holds the last piece until the end."""

    def __init__(self) -> None:
        self.held = b""
        self.fed = 0

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Expand data, lazily."""

        for byte in bytes(data):
            for _ in range(10):
                if self.held:
                    yield self.held
                self.held = bytes((byte,))
                self.fed += 1

    def finish(self) -> Iterable[bytes]:
        """Yield the last piece."""

        if self.held:
            yield self.held


async def test_a_decoder_at_work() -> None:
    """Data held until the end are delivered, too, before the awaitable fires."""
    memory = MemoryConsumer()
    consumer = DecodingConsumer(memory, AsciiDecoder())
    _, transport, waiter = await receive_into(consumer, b"a\r", b"\nb\r")
    transport.feed_eof()
    await waiter
    assert memory.data == b"a\nb\r"


@pytest.mark.parametrize("every", [1, 2, 7])
async def test_a_decoder_heeds_pauses_between_its_pieces(every: int) -> None:
    """Data that expand are decoded and delivered only as the consumer wants them."""
    behind = RecordingConsumer(pause_every=every)
    decoder = Expanding()
    consumer = DecodingConsumer(behind, decoder)
    dtp, transport = connect()
    waiter = dtp.register_consumer(consumer)
    transport.feed(b"ab", b"cd")
    transport.feed_eof()
    expected = b"".join(bytes((byte,)) * 10 for byte in b"abcd")
    while not waiter.done():
        await turns()
        if behind.is_paused and behind.producer is not None:
            assert not transport.is_reading()
            assert decoder.fed <= len(behind.chunks) + 1
            behind.resume()
    await waiter
    assert behind.data == expected
    assert behind.violations == []


async def test_a_consumer_that_pauses_and_resumes_at_once_goes_on() -> None:
    """A consumer may do so within its own write."""

    class Nervous(MemoryConsumer):
        is_writing = False

        def write(self, data: bytes) -> None:
            assert not self.is_writing, "re-entered"
            self.is_writing = True
            super().write(data)
            assert self._producer is not None
            self._producer.pause_producing()
            self._producer.resume_producing()
            self.is_writing = False

    nervous = Nervous()
    _, transport, waiter = await receive_into(DecodingConsumer(nervous, Expanding()), b"ab")
    assert transport.is_reading()
    transport.feed_eof()
    await waiter
    assert nervous.data == b"a" * 10 + b"b" * 10


@pytest.mark.parametrize("behind_pause", [False, True])
async def test_data_that_are_not_valid_end_the_transfer(behind_pause: bool) -> None:
    """The error is the reason, wherever the decoder was asked for data."""

    class Late(Strict):
        def feed(self, data: Buffer) -> Iterable[bytes]:
            yield b"ok"
            yield from super().feed(data)

    behind = RecordingConsumer(pause_every=1 if behind_pause else None)
    _, transport, waiter = await receive_into(DecodingConsumer(behind, Late()), b"bad")
    if behind_pause:
        assert not waiter.done()
        behind.resume()
    with pytest.raises(InvalidData) as raised:
        await waiter
    assert raised.value.end is End.BAD_DATA
    assert raised.value.reply_code == 451
    assert behind.calls == ["register_producer", "write", "unregister_producer"]
    assert transport.was_aborted


async def test_an_end_mark_that_is_missing_is_426() -> None:
    """The awaitable raises what `finish` raises, and the consumer is unregistered."""
    behind = RecordingConsumer()
    _, transport, waiter = await receive_into(DecodingConsumer(behind, Strict()), b"x")
    transport.feed_eof()
    with pytest.raises(TruncatedTransfer) as raised:
        await waiter
    assert raised.value.end is End.INCOMPLETE
    assert raised.value.reply_code == 426
    assert behind.calls == ["register_producer", "write", "unregister_producer"]


async def test_a_cut_is_not_finished() -> None:
    """The decoder's complaint would hide the reason; the data it holds are worthless."""
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    behind = RecordingConsumer()
    consumer = DecodingConsumer(behind, Strict())
    _, transport, waiter = await receive_into(consumer, b"x")
    transport.lose(ConnectionResetError())
    with pytest.raises(ConnectionReset):
        await waiter
    assert isinstance(consumer.reason, ConnectionReset)
    assert behind.calls == ["register_producer", "write", "unregister_producer"]
    assert contexts == []


async def test_a_decoder_that_breaks_is_a_failed_consumer() -> None:
    """An exception that is not an ftpdata error becomes a 451, with the exception as its cause."""
    error = ZeroDivisionError("a bug")

    class Buggy(Strict):
        def finish(self) -> Iterable[bytes]:
            raise error

    queue = ReceiveQueue()
    _, transport, waiter = await receive_into(DecodingConsumer(queue, Buggy()), b"x")
    transport.feed_eof()
    with pytest.raises(LocalError) as raised:
        await waiter
    assert raised.value.__cause__ is error
    assert await queue.receive() == b"x"
    with pytest.raises(LocalError):
        await queue.receive()


async def test_what_fails_behind_a_decoder_ends_the_transfer() -> None:
    """An error of a consumer has the same effect with a decoder as without one."""
    dtp, transport = connect()
    waiter = dtp.register_consumer(
        DecodingConsumer(SizeLimitConsumer(MemoryConsumer(), 3), AsciiDecoder())
    )
    transport.deliver(b"abcdef")
    with pytest.raises(QuotaExceeded):
        await waiter


async def test_a_file_behind_a_decoder_aborts_through_it() -> None:
    """A disk error becomes the reason for the connection's end."""
    consumer = FileConsumer(BrokenFile(OSError(errno.ENOSPC, "No space left")))
    dtp, _, waiter = await receive_into(DecodingConsumer(consumer, IdentityDecoder()), b"x")
    with pytest.raises(InsufficientStorage):
        await waiter
    assert isinstance(dtp.reason, InsufficientStorage)


async def test_a_stop_passes_through_a_decoder() -> None:
    """The consumer behind the decoder may stop the producer."""
    behind = RecordingConsumer()
    dtp, _, waiter = await receive_into(DecodingConsumer(behind, IdentityDecoder()), b"x")
    assert behind.producer is not None
    behind.producer.stop_producing()
    with pytest.raises(TransferAborted):
        await waiter
    assert dtp.end is End.ABORTED


async def test_a_decoder_stops_a_producer_that_takes_no_abort() -> None:
    """The consumer gets the reason."""
    producer = PlainProducer()
    queue = ReceiveQueue()
    consumer = DecodingConsumer(queue, IdentityDecoder())
    consumer.register_producer(producer, True)
    consumer.abort(End.STALLED)
    assert producer.calls == ["stop"]
    consumer.unregister_producer()
    consumer.stop_producing()
    assert producer.calls == ["stop"]
    with pytest.raises(FTPDataError) as raised:
        await queue.receive()
    assert raised.value.end is End.STALLED


async def test_a_producer_that_does_not_heed_a_pause_loses_nothing() -> None:
    """Data that such a producer writes wait for their turn; none are left waiting at the end."""
    producer = PlainProducer()
    queue = ReceiveQueue(3)
    consumer = DecodingConsumer(queue, Expanding())
    consumer.register_producer(producer, True)
    consumer.write(b"a")
    consumer.write(b"b")
    assert producer.calls == ["pause"]
    assert await queue.receive() == b"aaaa"
    consumer.unregister_producer()
    assert await receive_all(queue) == b"a" * 6 + b"b" * 10
    assert producer.calls == ["pause"]


async def test_a_decoder_leaves_a_producer_alone_that_is_gone() -> None:
    """The last data may pause and resume the decoder, but not the producer."""

    class Holding(IdentityDecoder):
        def feed(self, data: Buffer) -> Iterator[bytes]:
            return iter(())

        def finish(self) -> Iterator[bytes]:
            return iter((b"held", b"back"))

    producer = PlainProducer()
    queue = ReceiveQueue(3)
    consumer = DecodingConsumer(queue, Holding())
    consumer.register_producer(producer, True)
    consumer.write(b"a")
    consumer.unregister_producer()
    assert await receive_all(queue) == b"heldback"
    assert producer.calls == []

    consumer = DecodingConsumer(MemoryConsumer(), IdentityDecoder())
    consumer.register_producer(producer, True)
    consumer.pause_producing()
    consumer.unregister_producer()
    consumer.resume_producing()
    assert producer.calls == ["pause"]
