"""Tests of `ftpdata.connection.consumers`."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.codecs.representation import AsciiDecoder, IdentityDecoder
from ftpdata.connection.consumers import (
    DecodingConsumer,
    DigestConsumer,
    FileConsumer,
    MemoryConsumer,
    ReceiveQueue,
    SizeLimitConsumer,
)
from ftpdata.connection.protocol import DTP, CloseWaiter
from ftpdata.contracts import Buffer, Consumer, PushProducer
from ftpdata.errors import (
    BadArgument,
    ConnectionReset,
    FileUnavailable,
    FTPDataError,
    InsufficientStorage,
    InvalidData,
    LocalError,
    QuotaExceeded,
    TransferAborted,
    TruncatedTransfer,
    UnsupportedParameter,
)
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.outcome import End
from ftpdata.testing import MemoryTransport, RecordingConsumer, check_consumer, sweep, tcp_pair
from tests.harness.waiting import turns, until

DATA = bytes(range(256)) * 4
HIGH_WATER = 2000


class Expanding:
    """Makes ten pieces of each byte, and holds the last one until the end."""

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
        """Give the last piece."""

        if self.held:
            yield self.held


class Strict:
    """Wants an ``x`` first and an ``END`` last."""

    def __init__(self) -> None:
        self.seen = b""

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Pass data on, or raise."""

        self.seen += data
        if not self.seen.startswith(b"x"):
            raise InvalidData("expected an x")
        yield bytes(data)

    def finish(self) -> Iterable[bytes]:
        """Give nothing, or raise."""

        if not self.seen.endswith(b"END"):
            raise TruncatedTransfer("expected END")
        return ()


class PlainProducer:
    """A push producer that is no connection: it has no `reason` and takes no `abort`."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_producing(self) -> None:
        """Note it."""

        self.calls.append("pause")

    def resume_producing(self) -> None:
        """Note it."""

        self.calls.append("resume")

    def stop_producing(self) -> None:
        """Note it."""

        self.calls.append("stop")


class BrokenFile(io.BytesIO):
    """A file object whose disk fails, and that can be held up."""

    def __init__(self, error: Exception | None = None, *, at: str = "write") -> None:
        super().__init__()
        self.error = error
        self.at = at
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.flushed = 0

    def write(self, data: Buffer, /) -> int:  # type: ignore[override]
        """Write at most 100 bytes at once, as a raw file may, or fail."""

        self.entered.set()
        self.gate.wait(10)
        if self.error is not None and self.at == "write":
            raise self.error

        return super().write(bytes(data)[:100])

    def flush(self) -> None:
        """Flush, or fail."""

        self.flushed += 1
        if self.error is not None and self.at == "flush":
            raise self.error


def connect(**options: Any) -> tuple[DTP, MemoryTransport]:
    """Make a DTP on a connection in memory."""

    dtp = DTP(**options)
    return dtp, MemoryTransport(dtp)


async def receive_all(queue: ReceiveQueue) -> bytes:
    """Receive up to the clean end."""

    return b"".join([data async for data in queue])


def cause_of(error: BaseException | None) -> BaseException | None:
    """Return what is behind a reason."""

    assert error is not None
    return error.__cause__ or error


# All of them


Received = Callable[[Any], bytes | Awaitable[bytes]]


async def written(consumer: FileConsumer) -> bytes:
    """Wait for a file, and read it."""

    await consumer.wait_finished()
    file = consumer._file
    if isinstance(file, io.BytesIO):
        return file.getvalue()

    return await anyio.Path(cast("Path", file)).read_bytes()


def consumers(path: Path) -> dict[str, tuple[Callable[[], Consumer], Received, int | None]]:
    """Make one of each kind; tell what it received, and how much it holds."""

    return {
        "queue": (lambda: ReceiveQueue(HIGH_WATER), receive_all, HIGH_WATER),
        "memory": (MemoryConsumer, lambda consumer: consumer.data, None),
        "file": (lambda: FileConsumer(path, high_water=HIGH_WATER), written, HIGH_WATER),
        "file object": (
            lambda: FileConsumer(io.BytesIO(), high_water=HIGH_WATER),
            written,
            HIGH_WATER,
        ),
        "digest": (
            lambda: DigestConsumer(ReceiveQueue(HIGH_WATER), "md5"),
            lambda consumer: receive_all(consumer._consumer),
            HIGH_WATER,
        ),
        "limit": (
            lambda: SizeLimitConsumer(ReceiveQueue(HIGH_WATER), 10**6),
            lambda consumer: receive_all(consumer._consumer),
            HIGH_WATER,
        ),
        "decoder": (
            lambda: DecodingConsumer(ReceiveQueue(HIGH_WATER), IdentityDecoder()),
            lambda consumer: receive_all(consumer._consumer),
            HIGH_WATER,
        ),
        "all links": (
            lambda: DigestConsumer(
                DecodingConsumer(
                    SizeLimitConsumer(ReceiveQueue(HIGH_WATER), 10**6), IdentityDecoder()
                ),
                "crc32",
            ),
            lambda consumer: receive_all(consumer._consumer._consumer._consumer),
            HIGH_WATER,
        ),
    }


KINDS = sorted(consumers(Path("unused")))


@pytest.mark.parametrize("kind", KINDS)
async def test_every_consumer_fulfils_the_contract(tmp_path: Path, kind: str) -> None:
    """Each passes the shared checks: order of calls, pauses, a reset, what it received."""
    make, received, high_water = consumers(tmp_path / "file")[kind]
    made: list[Consumer] = []

    def make_and_note() -> Consumer:
        made.append(make())
        return made[-1]

    await check_consumer(make_and_note, data=DATA, received=received, high_water=high_water)
    for consumer in made:
        if isinstance(consumer, FileConsumer):
            await consumer.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_consumer_wants_a_push_producer(tmp_path: Path, kind: str) -> None:
    """A pull producer would never be asked."""
    make, _, _ = consumers(tmp_path / "file")[kind]
    with pytest.raises(ValueError, match="push producer"):
        make().register_producer(PlainProducer(), False)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_consumer_receives_from_real_sockets(tmp_path: Path, kind: str) -> None:
    """Every byte comes through, at the pace of the consumer."""
    make, received, _ = consumers(tmp_path / "file")[kind]
    accepted, peer = await tcp_pair()
    dtp = await AcceptedEndpoint(accepted).open()
    consumer = make()
    waiter = dtp.register_consumer(consumer)
    result = received(consumer)
    receiving = None if isinstance(result, bytes) else asyncio.ensure_future(result)
    with peer:
        await asyncio.get_running_loop().sock_sendall(peer, DATA * 500)
    await waiter
    got = received(consumer) if receiving is None else await receiving
    assert got == DATA * 500


# ReceiveQueue


async def test_a_queue_gives_all_there_is_then_the_end() -> None:
    """`receive` joins what came; the clean end is told as often as it is asked for."""
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


async def test_a_queue_wakes_who_waits() -> None:
    """For data, and for the end."""
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
    """However data come and are asked for, they are the same, and none are held back."""
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
    """What is held can be received, which does not resume it; it is idle without data and end."""
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
    """Data are given out first; then the reason raises, each time."""
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
    """``async for`` ends on a clean end only."""
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
    """Finishing here before the peer's end of file is no clean end for a receiver."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp)
    finishing = asyncio.ensure_future(dtp.finish())
    await turns()
    transport.lose()
    await finishing
    with pytest.raises(TransferAborted):
        await queue.receive()


async def test_a_queue_registered_by_hand_tells_a_cut_too() -> None:
    """Without `attach` the DTP is asked for its reason."""
    dtp, transport = connect()
    queue = ReceiveQueue()
    dtp.register_consumer(queue)
    transport.lose(ConnectionResetError())
    with pytest.raises(ConnectionReset):
        await queue.receive()


async def test_a_queue_pauses_above_high_water_and_resumes_at_a_quarter() -> None:
    """Each of the two is a system call: they come seldom, and in turn."""
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
    """What was held is received after the end without a resume."""
    producer = PlainProducer()
    queue = ReceiveQueue(10)
    queue.register_producer(producer, True)
    queue.write(b"x" * 11)
    queue.unregister_producer()
    assert await queue.receive() == b"x" * 11
    assert await queue.receive() == b""
    assert producer.calls == ["pause"]


async def test_only_one_task_receives_from_a_queue() -> None:
    """Two would get a part each."""
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
    """Also where the data came in the same turn."""
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
    """The producer is resumed, what comes is dropped, and who receives is told."""
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


async def test_closing_a_queue_wakes_who_waits() -> None:
    """It gets the same exception."""
    dtp, _ = connect()
    queue = ReceiveQueue.attach(dtp)
    waiting = asyncio.ensure_future(queue.receive())
    await turns()
    queue.close()
    with pytest.raises(anyio.ClosedResourceError):
        await waiting
    dtp.abort()


async def test_a_queue_behind_a_decoder_tells_what_the_decoder_says() -> None:
    """An end mark that is missing is no clean end."""
    dtp, transport = connect()
    queue = ReceiveQueue.attach(dtp, through=lambda queue: DecodingConsumer(queue, Strict()))
    transport.deliver(b"x but no end")
    transport.feed_eof()
    assert await queue.receive() == b"x but no end"
    with pytest.raises(TruncatedTransfer):
        await queue.receive()
    assert dtp.reason is not None


async def test_a_queue_behind_a_decoder_by_hand_tells_it_too() -> None:
    """The decoder tells its reason as a DTP does."""
    dtp, transport = connect()
    queue = ReceiveQueue()
    dtp.register_consumer(DecodingConsumer(queue, Strict()))
    transport.feed_eof()
    with pytest.raises(TruncatedTransfer):
        await queue.receive()


# MemoryConsumer


async def test_memory_has_a_limit() -> None:
    """One byte more than allowed is 552, and ends the transfer."""
    dtp, transport = connect()
    consumer = MemoryConsumer(10)
    waiter = dtp.register_consumer(consumer)
    transport.deliver(b"x" * 10)
    assert consumer.data == b"x" * 10
    transport.deliver(b"y")
    with pytest.raises(QuotaExceeded) as raised:
        await waiter
    assert raised.value.reply_code == 552
    assert raised.value.end is End.SIZE_LIMIT
    assert consumer.data == b"x" * 10
    assert transport.was_aborted


# FileConsumer


async def receive_into(
    consumer: Consumer, *pieces: bytes
) -> tuple[DTP, MemoryTransport, CloseWaiter]:
    """Deliver pieces to a consumer, and no end."""

    dtp, transport = connect()
    waiter = dtp.register_consumer(consumer)
    for piece in pieces:
        transport.deliver(piece)
    return dtp, transport, waiter


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, b"new"),
        ({"append": True}, b"old contentnew"),
        ({"offset": 2}, b"olnewontent"),
        ({"offset": 11}, b"old contentnew"),
    ],
)
async def test_where_a_file_is_written(
    tmp_path: Path, options: dict[str, Any], expected: bytes
) -> None:
    """Over it, behind it, or from an offset on."""
    path = tmp_path / "file"
    path.write_bytes(b"old content")
    consumer = FileConsumer(path, **options)
    _, transport, waiter = await receive_into(consumer, b"n", b"ew")
    transport.feed_eof()
    await waiter
    await consumer.wait_finished()
    assert path.read_bytes() == expected


def test_an_offset_is_not_for_appending(tmp_path: Path) -> None:
    """The two contradict each other."""
    with pytest.raises(ValueError, match="offset"):
        FileConsumer(tmp_path / "file", offset=1, append=True)


async def test_a_path_is_taken_from_a_directory(tmp_path: Path) -> None:
    """A relative path starts from `dir_fd`."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        consumer = FileConsumer("file", dir_fd=fd)
        _, transport, waiter = await receive_into(consumer, DATA)
        transport.feed_eof()
        await waiter
        await consumer.wait_finished()
    finally:
        os.close(fd)
    assert (tmp_path / "file").read_bytes() == DATA


async def test_a_file_object_is_flushed_and_stays_open() -> None:
    """It belongs to the caller. One that writes a part at a time gets all the same."""
    file = BrokenFile()
    consumer = FileConsumer(file)
    _, transport, waiter = await receive_into(consumer, DATA, DATA)
    transport.feed_eof()
    await waiter
    await consumer.wait_finished()
    assert file.getvalue() == DATA + DATA
    assert file.flushed == 1
    assert not file.closed


async def test_what_came_before_a_cut_stays_in_the_file(tmp_path: Path) -> None:
    """The awaitable of the registration tells the reason; the file has no complaint."""
    path = tmp_path / "file"
    consumer = FileConsumer(path)
    _, transport, waiter = await receive_into(consumer, b"half")
    transport.lose(ConnectionResetError())
    with pytest.raises(ConnectionReset):
        await waiter
    await consumer.wait_finished()
    assert path.read_bytes() == b"half"


async def test_a_slow_disk_pauses_the_connection() -> None:
    """While a write is under way, no more than the high-water mark and one write waits."""
    file = BrokenFile()
    file.gate.clear()
    consumer = FileConsumer(file, high_water=HIGH_WATER)
    _, transport, waiter = await receive_into(consumer, b"first")
    await until(file.entered.is_set)
    transport.deliver(b"x" * HIGH_WATER)
    assert transport.is_reading()
    transport.deliver(b"y")
    assert not transport.is_reading()
    file.gate.set()
    await until(transport.is_reading)
    transport.feed_eof()
    await waiter
    await consumer.wait_finished()
    assert file.getvalue() == b"first" + b"x" * HIGH_WATER + b"y"


@pytest.mark.parametrize(
    ("error", "expected", "reply_code"),
    [
        (OSError(errno.ENOSPC, "No space left"), InsufficientStorage, 452),
        (OSError(errno.EIO, "broken"), LocalError, 451),
        (PermissionError(errno.EACCES, "not yours"), FileUnavailable, 550),
        (ValueError("write to closed file"), LocalError, 451),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
async def test_a_write_that_fails_ends_the_transfer(
    error: Exception, expected: type[FTPDataError], reply_code: int, paused: bool
) -> None:
    """At once, with the error as the cause, also while nothing more can come."""
    file = BrokenFile(error)
    file.gate.clear()
    consumer = FileConsumer(file, high_water=HIGH_WATER)
    dtp, transport, waiter = await receive_into(consumer, b"first")
    await until(file.entered.is_set)
    if paused:
        transport.deliver(b"x" * (HIGH_WATER + 1))
    file.gate.set()
    for awaitable in (waiter, consumer.wait_finished()):
        with pytest.raises(expected) as raised:
            await awaitable
        assert raised.value.reply_code == reply_code
        assert raised.value.end is End.CONSUMER_FAILED
        assert raised.value.__cause__ is error
    assert dtp.end is End.CONSUMER_FAILED
    assert transport.was_aborted


@pytest.mark.parametrize("at", ["write", "flush"])
async def test_what_fails_behind_the_end_is_told_by_wait_finished(at: str) -> None:
    """All has come; but it is not all in the file."""
    file = BrokenFile(OSError(errno.ENOSPC, "No space left"), at=at)
    file.gate.clear()
    consumer = FileConsumer(file)
    _, transport, waiter = await receive_into(consumer, b"data")
    transport.feed_eof()
    await waiter
    file.gate.set()
    for _ in range(2):
        with pytest.raises(InsufficientStorage) as raised:
            await consumer.wait_finished()
        assert raised.value.reply_code == 452


async def test_a_file_that_takes_nothing_is_an_error() -> None:
    """It would otherwise be asked for ever."""

    class Full(io.BytesIO):
        def write(self, data: Buffer, /) -> int:  # type: ignore[override]
            return 0

    consumer = FileConsumer(Full())
    _, _, waiter = await receive_into(consumer, b"data")
    with pytest.raises(LocalError):
        await waiter
    with pytest.raises(LocalError):
        await consumer.wait_finished()


async def test_a_file_that_cannot_be_opened_ends_the_transfer(tmp_path: Path) -> None:
    """Before a byte has come."""
    consumer = FileConsumer(tmp_path / "missing" / "file")
    _, _, waiter = await receive_into(consumer)
    with pytest.raises(FileUnavailable) as raised:
        await waiter
    assert raised.value.reply_code == 550
    assert isinstance(cause_of(raised.value), FileNotFoundError)
    with pytest.raises(FileUnavailable):
        await consumer.wait_finished()


async def test_an_offset_behind_the_end_is_501(tmp_path: Path) -> None:
    """The error of the file's opening is the reason."""
    (tmp_path / "file").touch()
    _, _, waiter = await receive_into(FileConsumer(tmp_path / "file", offset=1))
    with pytest.raises(BadArgument):
        await waiter


async def test_a_plain_producer_is_told_a_failure_by_the_next_call() -> None:
    """One that takes no `abort` gets the error out of `write`, or out of the end."""
    for last in ("write", "unregister_producer"):
        file = BrokenFile(OSError(errno.ENOSPC, "No space left"))
        consumer = FileConsumer(file)
        consumer.register_producer(PlainProducer(), True)
        consumer.write(b"data")
        with pytest.raises(InsufficientStorage):
            await consumer.wait_finished()
        with pytest.raises(InsufficientStorage):
            consumer.write(b"more") if last == "write" else consumer.unregister_producer()


async def test_a_plain_producer_that_is_paused_is_resumed_to_be_told() -> None:
    """It would otherwise never write again."""
    file = BrokenFile(OSError(errno.ENOSPC, "No space left"))
    file.gate.clear()
    consumer = FileConsumer(file, high_water=HIGH_WATER)
    producer = PlainProducer()
    consumer.register_producer(producer, True)
    consumer.write(b"first")
    await until(file.entered.is_set)
    consumer.write(b"x" * (HIGH_WATER + 1))
    assert producer.calls == ["pause"]
    file.gate.set()
    with pytest.raises(InsufficientStorage):
        await consumer.wait_finished()
    assert producer.calls == ["pause", "resume"]


async def test_waiting_for_a_file_can_be_cancelled() -> None:
    """The writing goes on."""
    file = BrokenFile()
    file.gate.clear()
    consumer = FileConsumer(file)
    _, transport, waiter = await receive_into(consumer, b"data")
    transport.feed_eof()
    await waiter
    waiting = asyncio.ensure_future(consumer.wait_finished())
    await turns()
    waiting.cancel()
    await asyncio.wait((waiting,))
    file.gate.set()
    await consumer.wait_finished()
    assert file.getvalue() == b"data"


async def test_waiting_for_a_file_nobody_writes_is_an_error() -> None:
    """It would never end."""
    with pytest.raises(RuntimeError, match="no producer"):
        await FileConsumer(io.BytesIO()).wait_finished()
    await FileConsumer(io.BytesIO()).aclose()


@pytest.mark.parametrize("begun", [False, True])
async def test_a_file_can_be_given_up(tmp_path: Path, begun: bool) -> None:
    """The connection that still delivers is aborted, the file is closed, nobody hangs."""
    consumer = FileConsumer(tmp_path / "file")
    dtp, transport, waiter = await receive_into(consumer, b"data")
    if begun:
        await until(lambda: consumer._queue.size == 0)
    await consumer.aclose()
    await consumer.aclose()
    for awaitable in (waiter, consumer.wait_finished()):
        with pytest.raises(TransferAborted):
            await awaitable
    assert dtp.end is End.CANCELLED
    assert transport.was_aborted


async def test_closing_a_finished_file_changes_nothing(tmp_path: Path) -> None:
    """`aclose` may always be called."""
    consumer = FileConsumer(tmp_path / "file")
    _, transport, waiter = await receive_into(consumer, b"data")
    transport.feed_eof()
    await waiter
    await consumer.wait_finished()
    await consumer.aclose()
    await consumer.wait_finished()
    assert (tmp_path / "file").read_bytes() == b"data"


async def test_cancelled_anywhere_no_file_stays_open(tmp_path: Path) -> None:
    """Whoever aborts and closes leaves neither task nor descriptor."""

    async def scenario() -> None:
        dtp, transport = connect()
        consumer = FileConsumer(tmp_path / "file")
        waiter = dtp.register_consumer(consumer)
        try:
            for _ in range(3):
                transport.feed(b"data")
                await asyncio.sleep(0.001)
            transport.feed_eof()
            await waiter
            await consumer.wait_finished()
        finally:
            dtp.abort()
            await consumer.aclose()

    await sweep(scenario)


# DigestConsumer


@pytest.mark.parametrize("name", ["md5", "SHA-256", "crc32", "sha3_256"])
async def test_a_digest_of_what_passes(name: str) -> None:
    """Computed over exactly what the consumer behind got."""
    memory = MemoryConsumer()
    consumer = DigestConsumer(memory, name)
    _, transport, waiter = await receive_into(consumer, *(DATA[i : i + 1] for i in range(500)))
    transport.feed_eof()
    await waiter
    assert memory.data == DATA[:500]
    if name == "crc32":
        assert consumer.hexdigest() == f"{zlib.crc32(DATA[:500]):08x}"
    else:
        assert consumer.hexdigest() == hashlib.new(consumer.name, DATA[:500]).hexdigest()


def test_an_unknown_digest_is_504() -> None:
    """There is no such algorithm."""
    with pytest.raises(UnsupportedParameter) as raised:
        DigestConsumer(MemoryConsumer(), "md17")
    assert raised.value.reply_code == 504


# SizeLimitConsumer


@pytest.mark.parametrize("piece", [1, 3, 10, 11, 12])
@pytest.mark.parametrize("size", [0, 9, 10, 11, 30])
async def test_a_size_limit_is_exact(size: int, piece: int) -> None:
    """As many bytes as allowed pass, in whatever pieces; one more is 552."""
    memory = MemoryConsumer()
    data = DATA[:size]
    dtp, transport = connect()
    waiter = dtp.register_consumer(SizeLimitConsumer(memory, 10))
    for start in range(0, size, piece):
        transport.deliver(data[start : start + piece])

    transport.feed_eof()
    if size <= 10:
        await waiter
    else:
        with pytest.raises(QuotaExceeded) as raised:
            await waiter
        assert raised.value.reply_code == 552
        assert raised.value.end is End.SIZE_LIMIT
        assert transport.was_aborted
    assert memory.data == data[:10]


async def test_nothing_may_pass_a_limit_of_zero() -> None:
    """The consumer behind is not bothered with nothing."""
    behind = RecordingConsumer()
    _, _, waiter = await receive_into(SizeLimitConsumer(behind, 0), b"x")
    with pytest.raises(QuotaExceeded):
        await waiter
    assert behind.calls == ["register_producer", "unregister_producer"]


def test_a_negative_size_limit_is_an_error() -> None:
    """A limit is a number of bytes."""
    with pytest.raises(ValueError, match="not negative"):
        SizeLimitConsumer(MemoryConsumer(), -1)


# DecodingConsumer


async def test_a_decoder_at_work() -> None:
    """What is held until the end comes too, before the awaitable fires."""
    memory = MemoryConsumer()
    consumer = DecodingConsumer(memory, AsciiDecoder())
    _, transport, waiter = await receive_into(consumer, b"a\r", b"\nb\r")
    transport.feed_eof()
    await waiter
    assert memory.data == b"a\nb\r"


@pytest.mark.parametrize("every", [1, 2, 7])
async def test_a_decoder_heeds_pauses_between_its_pieces(every: int) -> None:
    """A piece that is large in the file is handed on as it is wanted, and decoded no sooner."""
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
    """From within its own write."""

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
    """The error is the reason, wherever the decoder was asked from."""

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
    """What `finish` raises surfaces out of the awaitable; the consumer behind is let go."""
    behind = RecordingConsumer()
    _, transport, waiter = await receive_into(DecodingConsumer(behind, Strict()), b"x")
    transport.feed_eof()
    with pytest.raises(TruncatedTransfer) as raised:
        await waiter
    assert raised.value.end is End.INCOMPLETE
    assert raised.value.reply_code == 426
    assert behind.calls == ["register_producer", "write", "unregister_producer"]


async def test_a_cut_is_not_finished() -> None:
    """The decoder's complaint would hide the reason; what it holds is worth nothing."""
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
    """An exception that is none of ours is 451, and the cause."""
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
    """A consumer that raises behind it is the same as one that stands alone."""
    dtp, transport = connect()
    waiter = dtp.register_consumer(
        DecodingConsumer(SizeLimitConsumer(MemoryConsumer(), 3), AsciiDecoder())
    )
    transport.deliver(b"abcdef")
    with pytest.raises(QuotaExceeded):
        await waiter


async def test_a_file_behind_a_decoder_aborts_through_it() -> None:
    """A disk that fails is the reason of the connection's end."""
    consumer = FileConsumer(BrokenFile(OSError(errno.ENOSPC, "No space left")))
    dtp, _, waiter = await receive_into(DecodingConsumer(consumer, IdentityDecoder()), b"x")
    with pytest.raises(InsufficientStorage):
        await waiter
    assert isinstance(dtp.reason, InsufficientStorage)


async def test_a_stop_passes_through_a_decoder() -> None:
    """The consumer behind may want no more."""
    behind = RecordingConsumer()
    dtp, _, waiter = await receive_into(DecodingConsumer(behind, IdentityDecoder()), b"x")
    assert behind.producer is not None
    behind.producer.stop_producing()
    with pytest.raises(TransferAborted):
        await waiter
    assert dtp.end is End.ABORTED


async def test_a_decoder_stops_a_producer_that_takes_no_abort() -> None:
    """And tells the reason to whom stands behind it."""
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
    """What it writes all the same waits for its turn; at the end nothing waits."""
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
    """What comes out at the end may pause and resume the decoder, not who fed it."""

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


def test_what_stands_in_the_contract() -> None:
    """A decoder is a push producer to the consumer behind it."""
    assert isinstance(DecodingConsumer(MemoryConsumer(), IdentityDecoder()), PushProducer)


def test_file_objects_are_binary_files() -> None:
    """The scripted file has the type that a consumer takes."""
    file: BinaryIO = BrokenFile()
    assert file.writable()
