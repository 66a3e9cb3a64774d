"""Tests of `ftpdata.connection.iterable_producers`."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

from ftpdata.connection import AsyncIterableProducer, BytesProducer, IterableProducer
from ftpdata.connection.protocol import DTP
from ftpdata.errors import (
    FileUnavailable,
    LocalError,
    NotConnected,
    SizeMismatch,
)
from ftpdata.outcome import End
from tests.harness.pipes import connect
from tests.harness.waiting import turns


def cause_of(dtp: DTP) -> BaseException | None:
    """Return the cause of the end of a connection."""

    assert dtp.reason is not None
    return dtp.reason.__cause__ or dtp.reason


async def test_an_iterable_that_raises_ends_the_transfer() -> None:
    """Its error is the cause; an OSError determines the reply code."""

    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise PermissionError(errno.EACCES, "not yours")

    dtp, transport = connect()
    IterableProducer(chunks()).start(dtp)
    with pytest.raises(FileUnavailable):
        await dtp.wait_closed()
    assert isinstance(cause_of(dtp), PermissionError)
    assert transport.was_aborted


async def test_a_generator_is_closed_when_the_connection_is_lost() -> None:
    """Its `finally` runs at once, not at some later time."""
    closed: list[bool] = []

    def chunks() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    dtp, transport = connect(high_water=0)
    source = chunks()
    IterableProducer(source).start(dtp)
    await turns()
    transport.lose(ConnectionResetError())
    assert closed == [True]
    assert dtp.end is End.RESET


async def test_a_source_is_let_go_where_the_producer_is_refused() -> None:
    """Otherwise it would never be closed."""
    closed: list[bool] = []

    class Source:
        def __iter__(self) -> Source:
            return self

        def __next__(self) -> bytes:
            raise StopIteration

        def close(self) -> None:
            closed.append(True)

    dtp, _ = connect()
    dtp.abort()
    with pytest.raises(NotConnected):
        IterableProducer(Source()).start(dtp)
    assert closed == [True]


async def test_an_async_iterable_that_raises_ends_the_transfer() -> None:
    """Its error is the cause, and the peer gets a reset."""
    error = ValueError("no more")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        raise error

    dtp, transport = connect()
    AsyncIterableProducer(chunks()).start(dtp)
    with pytest.raises(LocalError):
        await dtp.wait_closed()
    assert dtp.end is End.PRODUCER_FAILED
    assert cause_of(dtp) is error
    assert transport.was_aborted


async def test_an_error_of_ours_is_the_reason_itself() -> None:
    """An FTPDataError from the source is raised as it is, with its own end."""
    error = SizeMismatch("too few", end=End.SIZE_MISMATCH)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        raise error

    dtp, _ = connect()
    AsyncIterableProducer(chunks()).start(dtp)
    with pytest.raises(SizeMismatch):
        await dtp.wait_closed()
    assert dtp.reason is error
    assert dtp.end is End.SIZE_MISMATCH


@pytest.mark.parametrize("paused", [False, True])
async def test_an_async_generator_is_closed_wherever_it_is(paused: bool) -> None:
    """Whether the source or the producer is waiting at the loss, the `finally` runs."""
    closed: list[bool] = []

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            yield b"y"
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    dtp, transport = connect(high_water=0 if paused else 1000)
    producer = AsyncIterableProducer(chunks())
    producer.start(dtp)
    await turns()
    assert transport.buffered == (b"x" if paused else b"xy")
    transport.lose(ConnectionResetError())
    await producer.aclose()
    assert closed == [True]


async def test_an_async_iterator_without_aclose_will_do() -> None:
    """Only generators have `aclose`."""

    class Countdown:
        left = 3

        def __aiter__(self) -> Countdown:
            return self

        async def __anext__(self) -> bytes:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return b"%d" % self.left

    dtp, transport = connect()
    AsyncIterableProducer(Countdown()).start(dtp)
    await turns()
    transport.drain()
    assert (bytes(transport.sent), transport.eof_sent) == (b"210", True)
    transport.feed_eof()
    await dtp.wait_closed()


async def test_a_source_that_is_always_ready_leaves_room_for_others() -> None:
    """Other tasks run between any two chunks, even if the network takes everything at once."""
    seen: list[int] = []
    produced = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal produced
        for _ in range(10):
            produced += 1
            yield b"x"

    async def other() -> None:
        while produced < 10:
            seen.append(produced)
            await asyncio.sleep(0)

    dtp, _ = connect()
    AsyncIterableProducer(chunks()).start(dtp)
    await other()
    assert len(set(seen)) > 5
    dtp.abort()


async def test_a_source_that_fails_when_it_is_closed_is_reported() -> None:
    """The end of the connection is kept; the error goes to the loop's exception handler."""
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            await asyncio.get_running_loop().create_future()
        finally:
            raise ValueError("cannot close")

    dtp, transport = connect()
    producer = AsyncIterableProducer(chunks())
    producer.start(dtp)
    await turns()
    transport.lose(ConnectionResetError())
    await producer.aclose()
    assert dtp.end is End.RESET
    assert [str(context["exception"]) for context in contexts] == ["cannot close"]


async def test_what_is_not_an_iterable_of_bytes_is_refused_at_the_call() -> None:
    """Text, bytes and numbers are refused; an error that comes later would be a puzzle."""
    for kind, wrongs in (
        (IterableProducer, ("text", b"bytes", bytearray(b"x"), memoryview(b"x"), 5, None)),
        (BytesProducer, ("text", 5, None, [b"a list"])),
        (AsyncIterableProducer, ("text", b"bytes", [b"a list"], None)),
    ):
        for wrong in wrongs:
            with pytest.raises(TypeError):
                kind(cast("Any", wrong))


async def test_a_chunk_that_is_not_bytes_ends_the_transfer() -> None:
    """The error says what the chunk was."""

    async def texts() -> AsyncIterator[Any]:
        yield "text"

    for producer in (IterableProducer(cast("Any", ["text"])), AsyncIterableProducer(texts())):
        dtp, transport = connect()
        producer.start(dtp)
        with pytest.raises(LocalError, match="expected bytes to send, not str: 'text'"):
            await dtp.wait_closed()
        assert transport.was_aborted
        await producer.aclose()


class OpenedSource:
    """An asynchronous iterator that records whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def __aiter__(self) -> OpenedSource:
        return self

    async def __anext__(self) -> bytes:
        """Wait for ever."""

        await asyncio.Event().wait()
        return b""

    async def aclose(self) -> None:
        """Record the call."""

        self.is_closed = True


async def test_a_source_is_closed_in_every_case() -> None:
    """This holds for a producer that is refused, stopped early, never started, or at work."""
    taken, _ = connect()
    BytesProducer(b"x").start(taken)
    source = OpenedSource()
    producer = AsyncIterableProducer(source)
    with pytest.raises(RuntimeError, match="already registered"):
        producer.start(taken)
    await turns()
    assert source.is_closed
    await producer.aclose()
    taken.abort()

    for turns_before in (0, 1, 3):
        source, (dtp, _) = OpenedSource(), connect()
        producer = AsyncIterableProducer(source)
        producer.start(dtp)
        await turns(turns_before)
        dtp.abort()
        await turns()
        assert source.is_closed
        await producer.aclose()

    source, (dtp, _) = OpenedSource(), connect()
    producer = AsyncIterableProducer(source)
    producer.start(dtp)
    producer.stop_producing()
    await turns()
    assert source.is_closed
    dtp.abort()

    source = OpenedSource()
    await AsyncIterableProducer(source).aclose()
    assert source.is_closed


async def test_a_generator_that_has_begun_is_closed_although_the_producer_is_refused() -> None:
    """A generator that has begun may hold resources."""
    steps: list[str] = []

    async def generator() -> AsyncIterator[bytes]:
        try:
            yield b"first"
        finally:
            steps.append("closed")

    source = generator()
    assert await anext(source) == b"first"
    dtp, _ = connect()
    dtp.abort()
    producer = AsyncIterableProducer(source)
    with pytest.raises(NotConnected):
        producer.start(dtp)
    await producer.aclose()
    assert steps == ["closed"]
