"""Tests of `ftpdata.connection.producers`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpdata.codecs.representation import PIECE_SIZE, AsciiEncoder, IdentityEncoder
from ftpdata.connection.producers import (
    AsyncIterableProducer,
    BytesProducer,
    EncodedProducer,
    FileProducer,
    IterableProducer,
    StartableProducer,
)
from ftpdata.connection.protocol import DTP
from ftpdata.contracts import Buffer, PushProducer
from ftpdata.errors import (
    BadArgument,
    FileUnavailable,
    FTPDataError,
    LocalError,
    NotConnected,
    SizeMismatch,
)
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.outcome import End
from ftpdata.testing import (
    MemoryTransport,
    RecordingPullProducer,
    check_producer,
    reset,
    sweep,
    tcp_pair,
)
from tests.harness.waiting import turns, until

TEXT = b"line\nline\r\nend\r" * 40_000
ENCODED = b"".join(AsciiEncoder().feed(TEXT))

Make = Callable[[], StartableProducer]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a file of two pieces and a bit."""

    path = tmp_path / "file"
    path.write_bytes(TEXT)
    return path


async def each(chunks: Iterable[Buffer]) -> AsyncIterator[Buffer]:
    """Give chunks asynchronously, each a turn later."""

    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


class HoldingEncoder:
    """Keeps all it gets until the end."""

    def __init__(self) -> None:
        self.held = b""

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Keep data."""

        self.held += data
        return ()

    def finish(self) -> Iterable[bytes]:
        """Give all."""

        return (self.held,)


class FailingEncoder:
    """Raises."""

    def __init__(self, method: str, error: Exception) -> None:
        self.method = method
        self.error = error

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Pass data on, or raise."""

        if self.method == "feed":
            raise self.error

        return (bytes(data),)

    def finish(self) -> Iterable[bytes]:
        """Give nothing, or raise."""

        if self.method == "finish":
            raise self.error

        return ()


class OwnFile(io.BytesIO):
    """A file object without a descriptor, that can be told to fail."""

    reads = 0
    fail_at: int | None = None

    def read(self, size: int | None = -1) -> bytes:
        """Read, or fail."""

        self.reads += 1
        if self.reads == self.fail_at:
            raise OSError(errno.EIO, "the disk is broken")

        return super().read(size)


def connect(**options: Any) -> tuple[DTP, MemoryTransport]:
    """Make a DTP on a connection that takes nothing until it is told to."""

    dtp = DTP(**options)
    return dtp, MemoryTransport(dtp)


def cause_of(dtp: DTP) -> BaseException | None:
    """Return what is behind the end of a connection."""

    assert dtp.reason is not None
    return dtp.reason.__cause__ or dtp.reason


# All of them


def producers(path: Path) -> dict[str, tuple[Make, bytes]]:
    """Make one of each kind, and tell what it sends."""

    pieces = [TEXT[:7], b"", TEXT[7:300_000], TEXT[300_000:], b""]
    views: list[Buffer] = [bytearray(TEXT[:5]), memoryview(TEXT)[5:]]
    return {
        "file": (lambda: FileProducer(path), TEXT),
        "file from an offset": (lambda: FileProducer(path, offset=7), TEXT[7:]),
        "part of a file": (lambda: FileProducer(path, offset=1, length=300_001), TEXT[1:300_002]),
        "no part of a file": (lambda: FileProducer(path, offset=len(TEXT)), b""),
        "file object": (lambda: FileProducer(io.BytesIO(TEXT)), TEXT),
        "file object, length 0": (lambda: FileProducer(io.BytesIO(TEXT), length=0), b""),
        "bytes": (lambda: BytesProducer(TEXT), TEXT),
        "no bytes": (lambda: BytesProducer(b""), b""),
        "memoryview of words": (lambda: BytesProducer(memoryview(TEXT).cast("I")), TEXT),
        "iterable": (lambda: IterableProducer(pieces), TEXT),
        "iterable of other buffers": (lambda: IterableProducer(views), TEXT),
        "empty iterable": (lambda: IterableProducer(()), b""),
        "async iterable": (lambda: AsyncIterableProducer(each(pieces)), TEXT),
        "async iterable of other buffers": (lambda: AsyncIterableProducer(each(views)), TEXT),
        "empty async iterable": (lambda: AsyncIterableProducer(each(())), b""),
        "encoded push": (lambda: EncodedProducer(FileProducer(path), AsciiEncoder()), ENCODED),
        "encoded pull": (lambda: EncodedProducer(BytesProducer(TEXT), AsciiEncoder()), ENCODED),
        "held push": (
            lambda: EncodedProducer(AsyncIterableProducer(each(pieces)), HoldingEncoder()),
            TEXT,
        ),
        "held pull": (
            lambda: EncodedProducer(IterableProducer(pieces), HoldingEncoder()),
            TEXT,
        ),
        "twice encoded": (
            lambda: EncodedProducer(
                EncodedProducer(IterableProducer(pieces), AsciiEncoder()), IdentityEncoder()
            ),
            ENCODED,
        ),
    }


KINDS = sorted(producers(Path("unused")))


@pytest.mark.parametrize("kind", KINDS)
async def test_every_producer_fulfils_the_contract(path: Path, kind: str) -> None:
    """Each passes the shared checks: order of calls, pauses, losses, what is sent."""
    make, expected = producers(path)[kind]
    largest = len(TEXT) if "held" in kind else 2 * PIECE_SIZE if "encoded" in kind else PIECE_SIZE
    await check_producer(lambda dtp: make().start(dtp), expected=expected, max_chunk=largest)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_producer_is_for_one_transfer(path: Path, kind: str) -> None:
    """A second start is an error, and disturbs nothing."""
    make, expected = producers(path)[kind]
    dtp, transport = connect()
    transport.auto_drain = True
    producer = make()
    producer.start(dtp)
    with pytest.raises(RuntimeError, match="started before"):
        producer.start(connect()[0])
    await until(lambda: transport.eof_sent)
    transport.feed_eof()
    await dtp.wait_closed()
    assert transport.sent == expected
    await producer.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_producer_can_be_refused(path: Path, kind: str) -> None:
    """A DTP that has its producer, or has ended, refuses; nothing is left running."""
    make, _ = producers(path)[kind]
    dtp, transport = connect()
    RecordingPullProducer(dtp, [b"x"]).register()
    producer = make()
    with pytest.raises(RuntimeError, match="already registered"):
        producer.start(dtp)
    await producer.aclose()

    transport.lose(ConnectionResetError())
    dtp, transport = connect()
    transport.lose(ConnectionResetError())
    with pytest.raises(NotConnected):
        make().start(dtp)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_producer_waits_for_the_connection(path: Path, kind: str) -> None:
    """Started before the connection is made, it sends once it is."""
    make, expected = producers(path)[kind]
    dtp = DTP()
    producer = make()
    producer.start(dtp)
    await turns()
    transport = MemoryTransport(dtp, auto_drain=True)
    await until(lambda: transport.eof_sent)
    transport.feed_eof()
    await dtp.wait_closed()
    assert transport.sent == expected
    await producer.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_producer_is_stopped_by_an_abort(path: Path, kind: str) -> None:
    """An abort in the middle ends it; `aclose` waits until nothing is left."""
    make, _ = producers(path)[kind]
    dtp, _ = connect(high_water=0)
    producer = make()
    producer.start(dtp)
    await turns()
    dtp.abort()
    await producer.aclose()
    await producer.aclose()
    with pytest.raises(FTPDataError):
        await dtp.wait_closed()
    assert dtp.end is End.ABORTED


@pytest.mark.parametrize("kind", ["file", "bytes", "iterable", "async iterable", "encoded push"])
async def test_what_is_in_flight_is_bounded(path: Path, kind: str) -> None:
    """No more waits than the high-water mark and one piece."""
    make, expected = producers(path)[kind]
    high_water = 1000
    dtp, transport = connect(high_water=high_water)
    make().start(dtp)
    while not transport.eof_sent:
        await asyncio.sleep(0.0001)
        transport.drain(400 * 1000)
    transport.feed_eof()
    await dtp.wait_closed()
    assert transport.sent == expected
    factor = 2 if "encoded" in kind else 1
    assert high_water < transport.most_buffered <= high_water + factor * PIECE_SIZE


@pytest.mark.parametrize("kind", ["file", "bytes", "iterable", "async iterable", "encoded pull"])
async def test_sends_through_real_sockets(path: Path, kind: str) -> None:
    """The peer gets every byte and the end of file."""
    make, expected = producers(path)[kind]
    accepted, peer = await tcp_pair()
    dtp = await AcceptedEndpoint(accepted).open()
    make().start(dtp)
    received = bytearray()
    with peer:
        while data := await asyncio.get_running_loop().sock_recv(peer, 100_000):
            received += data
        await dtp.wait_closed()
    assert received == expected
    assert dtp.bytes_sent == len(expected)


@pytest.mark.parametrize("kind", ["file", "async iterable", "encoded push"])
async def test_cancelled_anywhere_nothing_is_left(path: Path, kind: str) -> None:
    """Whoever aborts and waits leaves neither task nor descriptor, wherever it was cancelled."""
    make, _ = producers(path)[kind]

    async def scenario() -> None:
        dtp = DTP(high_water=0)
        transport = MemoryTransport(dtp, auto_drain=True)
        producer = make()
        try:
            producer.start(dtp)
            await until(lambda: transport.eof_sent)
        finally:
            dtp.abort()
            await producer.aclose()

    await sweep(scenario)


async def test_a_piece_is_measured_in_bytes() -> None:
    """Whatever the items of a memoryview are."""
    dtp, transport = connect(high_water=0)
    BytesProducer(memoryview(TEXT).cast("I")).start(dtp)
    await turns()
    assert len(transport.buffered) == PIECE_SIZE
    dtp.abort()


# Files


async def test_a_file_that_is_missing_is_550(tmp_path: Path) -> None:
    """The reason is the system's; the peer gets a reset."""
    dtp, transport = connect()
    FileProducer(tmp_path / "missing").start(dtp)
    with pytest.raises(FileUnavailable) as raised:
        await dtp.wait_closed()
    assert raised.value.reply_code == 550
    assert raised.value.end is dtp.end is End.PRODUCER_FAILED
    assert isinstance(raised.value.__cause__, FileNotFoundError)
    assert transport.was_aborted


async def test_a_read_that_fails_ends_the_transfer() -> None:
    """An error of the disk in the middle is 451 with the error as its cause, and a reset."""
    file = OwnFile(TEXT)
    file.fail_at = 2
    dtp, transport = connect()
    FileProducer(file).start(dtp)
    with pytest.raises(LocalError) as raised:
        await dtp.wait_closed()
    assert raised.value.reply_code == 451
    assert dtp.end is End.PRODUCER_FAILED
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == errno.EIO
    assert transport.was_aborted
    assert not transport.eof_sent
    assert not file.closed


async def test_one_piece_is_read_ahead() -> None:
    """While the connection takes nothing, one piece more is read, and no second one."""
    file = OwnFile(TEXT)
    dtp, _ = connect(high_water=0)
    FileProducer(file).start(dtp)
    await until(lambda: file.reads == 2)
    await asyncio.sleep(0.01)
    assert file.reads == 2
    dtp.abort()


async def test_a_file_that_shrinks_is_an_error(path: Path) -> None:
    """Bytes that were there when it was opened and are gone are a cut, never an end of file."""
    dtp, transport = connect(high_water=0)
    producer = FileProducer(path)
    producer.start(dtp)
    await until(lambda: len(transport.buffered) == PIECE_SIZE)
    os.truncate(path, PIECE_SIZE // 2)
    transport.auto_drain = True
    transport.drain()
    with pytest.raises(SizeMismatch, match="shrank by"):
        await dtp.wait_closed()
    assert dtp.end is End.SIZE_MISMATCH
    assert transport.was_aborted
    await producer.aclose()


async def test_a_file_that_grows_ends_where_it_ended(path: Path) -> None:
    """What is appended while it is sent is not sent."""
    dtp, transport = connect(high_water=0)
    FileProducer(path).start(dtp)
    await until(lambda: len(transport.buffered) == PIECE_SIZE)
    with path.open("ab") as file:
        file.write(b"appended")
    transport.auto_drain = True
    transport.drain()
    await until(lambda: transport.eof_sent)
    assert transport.sent == TEXT
    transport.feed_eof()
    await dtp.wait_closed()


async def test_a_length_beyond_the_end_sends_what_there_is(path: Path) -> None:
    """`length` is a maximum."""
    await check_producer(
        lambda dtp: FileProducer(path, offset=9, length=10**9).start(dtp), expected=TEXT[9:]
    )


async def test_an_offset_behind_the_end_is_501(path: Path) -> None:
    """The error of the file's opening is the reason."""
    dtp, _ = connect()
    FileProducer(path, offset=len(TEXT) + 1).start(dtp)
    with pytest.raises(BadArgument) as raised:
        await dtp.wait_closed()
    assert raised.value.reply_code == 501


def test_a_negative_length_is_an_error(path: Path) -> None:
    """A length is a number of bytes."""
    with pytest.raises(ValueError, match="not negative"):
        FileProducer(path, length=-1)


async def test_descriptors_stay_open(path: Path) -> None:
    """An open descriptor is read from an offset of the file, and belongs to the caller."""
    fd = os.open(path, os.O_RDONLY)
    try:
        await check_producer(
            lambda dtp: FileProducer(fd, offset=3).start(dtp), expected=TEXT[3:]
        )
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    finally:
        os.close(fd)


async def test_a_path_is_taken_from_a_directory(path: Path) -> None:
    """A relative path starts from `dir_fd`."""
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        await check_producer(
            lambda dtp: FileProducer(path.name, dir_fd=fd).start(dtp), expected=TEXT
        )
    finally:
        os.close(fd)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
async def test_a_file_that_does_not_know_its_size_is_read_to_its_end() -> None:
    """Files of Linux's /proc have a size of 0, and are not empty."""
    dtp, transport = connect()
    FileProducer("/proc/self/status").start(dtp)
    await until(lambda: dtp.is_finishing or not dtp.is_connected)
    assert transport.buffered.startswith(b"Name:")
    dtp.abort()


# Iterables


async def test_an_iterable_that_raises_ends_the_transfer() -> None:
    """Its error is the cause; an OSError chooses the reply code."""

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
    """Its `finally` runs at once, not some day."""
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
    """Nobody would ever close it."""
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


# Asynchronous iterables


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
    """An FTPDataError out of the source stands, with its own end."""
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
    """Lost while the source is waiting, or while the producer is: its `finally` runs."""
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
    """Other tasks run between any two chunks, also where the network takes all at once."""
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
    """The end of the connection stands; the error goes to the loop's exception handler."""
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


async def test_a_task_that_somebody_cancels_ends_the_transfer() -> None:
    """A source that is cancelled from within does not leave the peer waiting."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        raise asyncio.CancelledError

    dtp, transport = connect()
    AsyncIterableProducer(chunks()).start(dtp)
    with pytest.raises(FTPDataError):
        await dtp.wait_closed()
    assert dtp.end is End.CANCELLED
    assert transport.was_aborted


async def test_stopped_before_it_began_it_does_nothing() -> None:
    """A connection that is lost in the same turn in which it was started."""
    asked: list[bool] = []

    async def chunks() -> AsyncIterator[bytes]:
        asked.append(True)
        yield b"x"

    dtp, transport = connect()
    producer = AsyncIterableProducer(chunks())
    producer.start(dtp)
    transport.lose(ConnectionResetError())
    await producer.aclose()
    assert asked == []


async def test_stopped_while_it_registers_it_does_nothing() -> None:
    """A destination may stop a producer at once, as Twisted's do."""

    class Refusing(DTP):
        def register_producer(self, producer: Any, streaming: bool) -> None:
            producer.stop_producing()

    asked: list[bool] = []

    async def chunks() -> AsyncIterator[bytes]:
        asked.append(True)
        yield b"x"

    producer = AsyncIterableProducer(chunks())
    producer.start(Refusing())
    await turns()
    assert asked == []
    await producer.aclose()


async def test_an_end_of_file_of_somebody_else_is_a_failure() -> None:
    """Data that can no longer be sent are not lost in silence."""
    dtp, transport = connect(half_open=True)
    more = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        await more.wait()
        yield b"y"

    AsyncIterableProducer(chunks()).start(dtp)
    await turns()
    dtp.write_eof()
    more.set()
    with pytest.raises(FTPDataError):
        await dtp.wait_closed()
    assert isinstance(dtp.reason, NotConnected)
    assert transport.was_aborted


async def test_a_loss_that_is_about_to_be_told_keeps_its_reason() -> None:
    """A transport is closing a turn before it tells why; a write between is no failed producer."""
    dtp, transport = connect()
    more = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        await more.wait()
        yield b"y"

    producer = AsyncIterableProducer(chunks())
    producer.start(dtp)
    await turns()
    more.set()
    transport.abort()
    with pytest.raises(FTPDataError):
        await dtp.wait_closed()
    assert dtp.end is End.LOST
    await producer.aclose()


async def test_a_peer_that_resets_is_a_reset() -> None:
    """Not a failed producer, whatever the write that ran into it said."""
    accepted, peer = await tcp_pair()
    dtp = await AcceptedEndpoint(accepted).open()

    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield TEXT[:1000]

    producer = AsyncIterableProducer(forever())
    producer.start(dtp)
    await until(lambda: dtp.bytes_sent > 0)
    reset(peer)
    with pytest.raises(FTPDataError):
        await dtp.wait_closed()
    assert dtp.end is End.RESET
    await producer.aclose()


# Encoders


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("method", ["feed", "finish"])
async def test_an_encoder_that_raises_ends_the_transfer(method: str, streaming: bool) -> None:
    """Its error is the cause, wherever it raises."""
    error = ValueError("cannot be encoded")
    inner = AsyncIterableProducer(each([b"x"])) if streaming else IterableProducer([b"x"])
    dtp, transport = connect()
    EncodedProducer(inner, FailingEncoder(method, error)).start(dtp)
    with pytest.raises(LocalError):
        await dtp.wait_closed()
    assert dtp.end is End.PRODUCER_FAILED
    assert cause_of(dtp) is error
    assert transport.was_aborted


async def test_a_source_that_fails_while_the_encoder_holds_all_ends_the_transfer() -> None:
    """The error comes when nobody but the wrapper has asked."""

    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise OSError(errno.EIO, "broken")

    dtp, _ = connect()
    EncodedProducer(IterableProducer(chunks()), HoldingEncoder()).start(dtp)
    with pytest.raises(LocalError):
        await dtp.wait_closed()
    assert isinstance(cause_of(dtp), OSError)


async def test_a_wrapper_that_was_stopped_does_not_ask_again() -> None:
    """A loss between what the encoder kept and the next question."""
    asked: list[bytes] = []

    def chunks() -> Iterator[bytes]:
        for chunk in (b"x", b"y", b"z"):
            asked.append(chunk)
            asyncio.get_running_loop().call_soon(transport.lose, ConnectionResetError())
            yield chunk

    dtp, transport = connect()
    EncodedProducer(IterableProducer(chunks()), HoldingEncoder()).start(dtp)
    await turns()
    assert asked == [b"x"]


async def test_a_wrapper_takes_one_producer() -> None:
    """Of two producers the second is refused; to unregister twice is to do nothing."""
    dtp, transport = connect()
    wrapper = EncodedProducer(BytesProducer(b"x"), IdentityEncoder())
    wrapper.start(dtp)
    with pytest.raises(RuntimeError, match="already registered"):
        wrapper.register_producer(RecordingPullProducer(dtp, []), False)
    await turns()
    wrapper.unregister_producer()
    assert transport.calls.count("write_eof") == 1
    dtp.abort()


async def test_pauses_reach_the_producer_within() -> None:
    """A push producer is paused through the wrapper, strictly in turn."""
    calls: list[str] = []

    class Noted(AsyncIterableProducer):
        def pause_producing(self) -> None:
            calls.append("pause")
            super().pause_producing()

        def resume_producing(self) -> None:
            calls.append("resume")
            super().resume_producing()

    dtp, transport = connect(high_water=0)
    wrapper = EncodedProducer(Noted(each([b"a", b"b"])), IdentityEncoder())
    assert isinstance(wrapper, PushProducer)
    wrapper.start(dtp)
    await turns()
    assert calls == ["pause"]
    transport.drain()
    await turns()
    assert calls == ["pause", "resume", "pause"]
    dtp.abort()
    with contextlib.suppress(FTPDataError):
        await dtp.wait_closed()
