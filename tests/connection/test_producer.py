"""Tests of what the producers of `ftpdata.connection` have in common (`_producer`)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ftpdata.codecs.representation import PIECE_SIZE, AsciiEncoder, IdentityEncoder
from ftpdata.connection import (
    AsyncIterableProducer,
    BytesProducer,
    EncodedProducer,
    FileProducer,
    IterableProducer,
)
from ftpdata.connection.protocol import DTP
from ftpdata.contracts import Buffer, StartableProducer
from ftpdata.errors import (
    FTPDataError,
    NotConnected,
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
from tests.harness.pipes import HoldingEncoder, connect, each
from tests.harness.waiting import turns, until

TEXT = b"line\nline\r\nend\r" * 40_000


ENCODED = b"".join(AsciiEncoder().feed(TEXT))


Make = Callable[[], StartableProducer]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of a little more than two pieces."""

    path = tmp_path / "file"
    path.write_bytes(TEXT)
    return path


def producers(path: Path) -> dict[str, tuple[Make, bytes]]:
    """Yield one producer of each kind, with what it sends."""

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
    """Each producer passes the shared checks: order of calls, pauses, losses, what is sent."""
    make, expected = producers(path)[kind]
    largest = len(TEXT) if "held" in kind else 2 * PIECE_SIZE if "encoded" in kind else PIECE_SIZE
    await check_producer(lambda dtp: make().start(dtp), expected=expected, max_chunk=largest)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_producer_is_for_one_transfer(path: Path, kind: str) -> None:
    """A second start is an error, and changes nothing."""
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
    """A DTP that has a producer, or has ended, refuses another; nothing is left running."""
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
    """A producer that is started before the connection is made sends once it is."""
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
    """No more than the high-water mark and one piece wait."""
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
    """Aborting and waiting leaves neither a task nor a descriptor, wherever it was cancelled."""
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
    """This holds whatever the items of a memoryview are."""
    dtp, transport = connect(high_water=0)
    BytesProducer(memoryview(TEXT).cast("I")).start(dtp)
    await turns()
    assert len(transport.buffered) == PIECE_SIZE
    dtp.abort()


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
    """The connection is lost in the same turn in which the producer was started."""
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
    """Data that can no longer be sent are not lost silently."""
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


async def test_a_loss_that_is_about_to_be_reported_keeps_its_reason() -> None:
    """A transport closes one turn before it reports why; a write in between is not a failure."""
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
    """The reset is the reason, whatever the failing write reported."""
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


async def test_what_lacks_a_method_of_a_producer_is_refused() -> None:
    """It is refused when it is registered, and the connection takes another one."""

    class Pull:
        def resume_producing(self) -> None:
            raise AssertionError

        def stop_producing(self) -> None:
            raise AssertionError

    class Waits(Pull):
        async def pause_producing(self) -> None:
            raise AssertionError

    dtp, _ = connect()
    for wrong in (None, Pull(), Waits()):
        with pytest.raises(TypeError, match="push producer"):
            dtp.register_producer(cast("Any", wrong), True)
    with pytest.raises(TypeError, match="pull producer"):
        dtp.register_producer(cast("Any", object()), False)
    BytesProducer(b"x").start(dtp)
    dtp.abort()


def test_what_cannot_be_encoded_is_refused() -> None:
    """A source instead of a producer is refused, and so is something that is not an encoder."""
    with pytest.raises(TypeError, match="a producer to start"):
        EncodedProducer(cast("Any", b"x"), AsciiEncoder())
    with pytest.raises(TypeError, match="an encoder, which has a method feed"):
        EncodedProducer(BytesProducer(b"x"), cast("Any", "ascii"))
