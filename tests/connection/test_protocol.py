"""The DTP: the ten rules of its contract (design §3), and flow control both ways.

Most tests script a `MemoryTransport`; those on real sockets are about what only a kernel knows.
Rule 3 is tested in test_intake.py, rule 5 in test_feed.py, the graceful end of rule 8 in
test_ending.py.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.connection.protocol import DTP
from ftpdata.errors import (
    ConnectionReset,
    FTPDataError,
    InsufficientStorage,
    InvalidData,
    LocalError,
    NotConnected,
    QuotaExceeded,
    TransferAborted,
    TransferTimeout,
    TruncatedTransfer,
)
from ftpdata.outcome import End
from ftpdata.testing import (
    Cut,
    MemoryTransport,
    RecordingConsumer,
    RecordingPullProducer,
    RecordingPushProducer,
    half_close,
    pair,
    receive_then_cut,
    reset,
    send_then_cut,
)
from tests.harness.connections import connection, receive_all
from tests.harness.dtps import RESET, WHOLE, only_linux, real, receiving
from tests.harness.waiting import turns

# Rule 1: reading waits for a consumer


async def test_reading_is_paused_from_the_first_moment() -> None:
    """Nothing is read before a consumer is registered; everything is read afterwards."""

    dtp, consumer = DTP(), RecordingConsumer()
    transport = MemoryTransport(dtp)
    transport.feed(b"early")
    await turns()
    assert not transport.is_reading()
    assert dtp.bytes_received == 0

    dtp.register_consumer(consumer)
    await turns()
    assert transport.is_reading()
    assert consumer.data == b"early"
    dtp.abort()
    await turns()


async def test_a_read_under_way_is_held_and_replayed_first() -> None:
    """What a transport delivers although it is paused comes first, in order."""

    dtp, consumer = DTP(), RecordingConsumer()
    transport = MemoryTransport(dtp)
    transport.deliver(b"one")
    transport.deliver(b"two")
    transport.feed(b"three")
    transport.feed_eof()
    await dtp.register_consumer(consumer)
    assert consumer.chunks == [b"one", b"two", b"three"]
    await dtp.wait_closed()


async def test_the_replay_honours_a_pause() -> None:
    """A consumer that pauses within the replay gets nothing more until it resumes."""

    dtp, consumer = DTP(), RecordingConsumer(pause_every=1)
    transport = MemoryTransport(dtp)
    for chunk in (b"one", b"two", b"three"):
        transport.deliver(chunk)

    waiter = dtp.register_consumer(consumer)
    assert consumer.chunks == [b"one"]
    consumer.resume()
    assert consumer.chunks == [b"one", b"two"]
    assert not transport.is_reading()
    consumer.resume()
    consumer.resume()
    assert transport.is_reading()
    transport.feed_eof()
    await waiter
    assert consumer.violations == []


async def test_a_consumer_may_pause_when_it_is_registered() -> None:
    """A pause from within register_producer holds back the replay as well."""

    class Reluctant(RecordingConsumer):
        def register_producer(self, producer: Any, streaming: bool) -> None:
            super().register_producer(producer, streaming)
            self.pause()

    dtp, consumer = DTP(), Reluctant()
    transport = MemoryTransport(dtp)
    transport.deliver(b"early")
    waiter = dtp.register_consumer(consumer)
    transport.feed_eof()
    await turns()
    assert consumer.calls == ["register_producer"]
    consumer.resume()
    await waiter
    assert consumer.calls == WHOLE


async def test_a_consumer_may_resume_from_within_write() -> None:
    """Pausing and resuming within one write neither nests deliveries nor stops them."""

    class Flickering(RecordingConsumer):
        def write(self, data: bytes) -> None:
            super().write(data)
            self.pause()
            self.resume()

    dtp, consumer = DTP(), Flickering()
    transport = MemoryTransport(dtp)
    transport.deliver(b"one")
    transport.deliver(b"two")
    waiter = dtp.register_consumer(consumer)
    transport.feed(b"three")
    transport.feed_eof()
    await waiter
    assert consumer.chunks == [b"one", b"two", b"three"]
    assert consumer.violations == []


@given(
    schedule=st.lists(
        st.sampled_from(["feed", "turn", "pause", "resume", "deliver"]), max_size=40
    ),
    size=st.sampled_from([1, 7, 100]),
)
@settings(max_examples=60)
async def test_received_data_in_flight_are_bounded(schedule: list[str], size: int) -> None:
    """However pauses fall, order is kept, nothing arrives while paused, one read is held."""

    dtp, transport, consumer, waiter = receiving()
    fed = bytearray()
    paused = False
    under_way = 0
    for step in schedule:
        if step == "feed" and not under_way:
            chunk = os.urandom(size)
            fed += chunk
            transport.feed(chunk)
        elif step == "deliver" and paused and not under_way and dtp.bytes_received == len(fed):
            # This is the one read that was under way when the pause came.
            chunk = os.urandom(size)
            fed += chunk
            transport.deliver(chunk)
            under_way = size
        elif step == "turn":
            await asyncio.sleep(0)
        elif step == "pause" and not paused:
            paused = True
            consumer.pause()
        elif step == "resume" and paused:
            paused = False
            under_way = 0
            consumer.resume()

        assert dtp.bytes_received - len(consumer.data) <= size
        assert fed.startswith(consumer.data)

    if paused:
        consumer.resume()

    transport.feed_eof()
    async with asyncio.timeout(60):
        await waiter

    assert consumer.data == fed
    assert consumer.violations == []


@pytest.mark.parametrize("producer_class", [RecordingPullProducer, RecordingPushProducer])
@given(
    schedule=st.lists(st.integers(0, 64), max_size=40),
    chunk=st.sampled_from([1, 7, 64]),
    high_water=st.sampled_from([0, 1, 16, 100]),
)
@settings(max_examples=60)
async def test_sent_data_in_flight_are_bounded(
    producer_class: Any, schedule: list[int], chunk: int, high_water: int
) -> None:
    """However the network drains, never more than the high-water mark and one chunk wait."""

    data = os.urandom(300)
    dtp = DTP(high_water=high_water)
    transport = MemoryTransport(dtp)
    producer = producer_class(dtp, [data[i : i + chunk] for i in range(0, len(data), chunk)])
    producer.register()
    if producer.streaming:
        producer.pump()

    for nbytes in schedule:
        transport.drain(nbytes)
        await asyncio.sleep(0)
        assert dtp.bytes_sent == len(transport.sent)

    for _ in range(2 * len(data)):
        transport.drain()
        await asyncio.sleep(0)
        if transport.eof_sent:
            break

    assert transport.eof_sent
    assert transport.most_buffered <= high_water + chunk
    assert transport.sent == data
    assert producer.violations == []
    transport.feed_eof()
    async with asyncio.timeout(60):
        await dtp.wait_closed()

    assert dtp.bytes_sent == len(data)


async def test_drain_waits_for_room() -> None:
    """drain() returns at once if there is room, or when the network has taken enough."""

    dtp = DTP(high_water=4)
    transport = MemoryTransport(dtp)
    await dtp.drain()
    dtp.write(b"12345")
    waiting = [asyncio.ensure_future(dtp.drain()) for _ in range(3)]
    await turns()
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    await turns()
    transport.drain()
    await asyncio.wait(waiting)
    assert waiting[0].cancelled()
    assert [task.exception() for task in waiting[1:]] == [None, None]
    dtp.abort()
    with pytest.raises(NotConnected):
        await dtp.drain()


async def test_drain_raises_when_the_connection_ends() -> None:
    """A task that waits for room on a lost connection gets the reason."""

    dtp = DTP(high_water=0)
    transport = MemoryTransport(dtp)
    dtp.write(b"x")
    waiting = asyncio.ensure_future(dtp.drain())
    await turns()
    transport.lose(RESET)
    with pytest.raises(NotConnected) as caught:
        await waiting
    assert isinstance(caught.value.__cause__, ConnectionReset)


# Rule 2: how it ended is never dropped


ENDS: list[tuple[str, Callable[[DTP, MemoryTransport], object], End, type[FTPDataError] | None]] = [
    ("end of file", lambda d, t: t.feed_eof(), End.CLEAN, None),
    ("reset", lambda d, t: t.lose(RESET), End.RESET, ConnectionReset),
    ("broken pipe", lambda d, t: t.lose(BrokenPipeError(32, "")), End.RESET, ConnectionReset),
    (
        "keepalive",
        lambda d, t: t.lose(TimeoutError(errno.ETIMEDOUT, "")),
        End.LOST,
        TransferAborted,
    ),
    ("no reason", lambda d, t: t.lose(), End.ABORTED, TransferAborted),
    ("abort", lambda d, t: d.abort(), End.ABORTED, TransferAborted),
    ("stall", lambda d, t: d.abort(End.STALLED), End.STALLED, TransferTimeout),
    ("stop_producing", lambda d, t: d.stop_producing(), End.ABORTED, TransferAborted),
]


@pytest.mark.parametrize(
    ("how", "end", "error"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS]
)
async def test_each_end_is_told_apart(
    how: Callable[[DTP, MemoryTransport], object], end: End, error: type[FTPDataError] | None
) -> None:
    """`end`, `closed` and the consumer's awaitable agree on how the connection really ended."""

    dtp, transport, consumer, waiter = receiving()
    transport.feed(b"data")
    await turns()
    how(dtp, transport)
    if error is None:
        await waiter
        await dtp.wait_closed()
        await dtp.closed
        assert dtp.reason is None
    else:
        for awaitable in (waiter, dtp.wait_closed(), dtp.closed):
            with pytest.raises(error) as caught:
                await awaitable
            assert caught.value.end is end
            assert caught.value is dtp.reason

    assert dtp.end is end
    assert not dtp.is_connected
    assert consumer.calls == WHOLE


@pytest.mark.parametrize(
    ("close_notify", "end"), [(True, End.CLEAN), (False, End.TLS_TRUNCATED)]
)
async def test_a_tls_cut_is_not_an_end_of_file(close_notify: bool, end: End) -> None:
    """With TLS only an announced end is clean (RFC 8446 §6.1)."""

    dtp, transport, consumer, waiter = receiving(tls=True)
    transport.feed(b"data")
    transport.feed_eof(close_notify=close_notify)
    if end is End.CLEAN:
        await waiter
    else:
        with pytest.raises(TruncatedTransfer):
            await waiter

    await asyncio.wait((dtp.closed,))
    assert dtp.end is end
    assert consumer.calls == WHOLE


async def test_the_first_end_stands() -> None:
    """A failure that follows from an end does not replace it."""

    dtp, transport, _, waiter = receiving()
    dtp.abort(End.STALLED, "no progress")
    dtp.abort(End.ABORTED)
    transport.lose(RESET)
    with pytest.raises(TransferTimeout, match="no progress"):
        await waiter
    assert dtp.end is End.STALLED


async def test_a_peer_that_leaves_before_our_end_of_file_is_a_loss() -> None:
    """A download whose connection closes before all was sent is not complete."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    dtp.write(b"half of it")
    transport.lose(None)
    assert dtp.end is End.LOST
    with pytest.raises(TransferAborted):
        await dtp.wait_closed()


async def test_a_transport_that_cannot_read_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event loop may have no memory to watch a socket; nobody waits for what never comes."""

    def fail(_: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    dtp, consumer = DTP(), RecordingConsumer()
    transport = MemoryTransport(dtp)
    monkeypatch.setattr(MemoryTransport, "resume_reading", fail)
    waiter = dtp.register_consumer(consumer)
    with pytest.raises(FTPDataError) as caught:
        await waiter
    assert caught.value.end is dtp.end is End.LOST
    assert transport.was_aborted

    # What some event loops do again by themselves is not for their exception handler.
    other = DTP()
    transport = MemoryTransport(other)
    other._pause_again()
    assert other.end is End.LOST
    await asyncio.wait((other.closed,))


async def test_the_bytes_are_counted_up_to_the_cut() -> None:
    """`bytes_received` and `bytes_sent` are what passed, also after the end."""

    dtp, transport, _, waiter = receiving()
    transport.feed(b"12345")
    await turns()
    dtp.write(b"123")
    transport.drain(2)
    assert (dtp.bytes_received, dtp.bytes_sent) == (5, 2)
    dtp.abort()
    with pytest.raises(TransferAborted):
        await waiter
    assert (dtp.bytes_received, dtp.bytes_sent) == (5, 2)


def test_an_abort_is_never_clean() -> None:
    """An abort cannot claim to be a clean end."""

    with pytest.raises(ValueError, match="clean"):
        DTP().abort(End.CLEAN)


# Rule 4: whoever raises ends the transfer


class Refusal(Exception):
    """What a party raises in these tests."""


@pytest.mark.parametrize("when", ["live", "replay", "replay after the end", "unregister"])
async def test_a_consumer_that_raises_ends_the_transfer(when: str) -> None:
    """The connection is aborted, nothing more is delivered, and its exception is the cause."""

    error = Refusal("disk on fire")

    class Closing(RecordingConsumer):
        def unregister_producer(self) -> None:
            super().unregister_producer()
            if when == "unregister":
                raise error

    consumer = Closing(fail_at=None if when == "unregister" else 1, error=error)
    dtp = DTP()
    transport = MemoryTransport(dtp)
    if when.startswith("replay"):
        transport.deliver(b"one")
        transport.deliver(b"two")
    if when == "replay after the end":
        dtp.eof_received()
        transport.lose()

    waiter = dtp.register_consumer(consumer)
    if when in {"live", "unregister"}:
        transport.feed(b"one", b"two")
        transport.feed_eof()

    with pytest.raises(LocalError) as caught:
        await waiter

    assert caught.value.__cause__ is error
    assert caught.value.end is dtp.end is End.CONSUMER_FAILED
    assert caught.value.reply_code == 451
    assert consumer.calls.count("unregister_producer") == 1
    assert len(consumer.chunks) == (2 if when == "unregister" else 1)
    assert consumer.violations == []
    assert transport.was_aborted or when == "replay after the end"
    await turns()


@pytest.mark.parametrize(
    ("known", "told"), [(None, End.SIZE_LIMIT), (End.CONSUMER_FAILED, End.CONSUMER_FAILED)]
)
async def test_an_error_that_knows_its_end_is_the_end(known: End | None, told: End) -> None:
    """The connection and the reason have the same end: that of the consumer's own error."""

    error = QuotaExceeded("too much", end=known)
    dtp, transport, _, waiter = receiving(RecordingConsumer(fail_at=1, error=error))
    transport.feed(b"one")
    with pytest.raises(QuotaExceeded) as caught:
        await waiter

    assert caught.value is error
    assert error.end is dtp.end is told
    await turns()


async def test_a_consumer_without_memory_ends_the_transfer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it raises is no affair of the event loop's, and no byte is lost in silence."""

    class NoMemory(RecordingConsumer):
        def get_buffer(self) -> memoryview:
            raise OSError(errno.ENOMEM, "no memory")

        def buffer_updated(self, nbytes: int) -> None:
            raise AssertionError

    async with connection() as (dtp, peer):
        await dtp.connected
        waiter = dtp.register_consumer(NoMemory())
        await asyncio.get_running_loop().sock_sendall(peer, b"data")
        half_close(peer)
        with pytest.raises(LocalError) as caught:
            await waiter
        assert caught.value.end is dtp.end is End.CONSUMER_FAILED
    assert not caplog.records


async def test_a_consumer_that_refuses_to_be_registered_ends_the_transfer() -> None:
    """The caller gets the exception itself, and no unusable connection stays open."""

    class Refusing(RecordingConsumer):
        def register_producer(self, producer: Any, streaming: bool) -> None:
            raise Refusal

    dtp = DTP()
    transport = MemoryTransport(dtp)
    with pytest.raises(Refusal):
        dtp.register_consumer(Refusing())
    assert transport.was_aborted
    with pytest.raises(LocalError):
        await dtp.wait_closed()


@pytest.mark.parametrize(
    ("error", "kind", "reply_code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), InsufficientStorage, 452),
        (OSError(errno.EIO, "Input/output error"), LocalError, 451),
        (InvalidData("not a line", end=End.BAD_DATA), InvalidData, 451),
        (Refusal(), LocalError, 451),
    ],
)
async def test_the_failure_chooses_the_reply_code(
    error: Exception, kind: type[FTPDataError], reply_code: int
) -> None:
    """A full disk is a 452, not a 426; an ftpdata error is passed on as it is."""

    _, transport, _, waiter = receiving(RecordingConsumer(fail_at=1, error=error))
    transport.feed(b"x")
    with pytest.raises(kind) as caught:
        await waiter
    assert caught.value.reply_code == reply_code
    assert caught.value is error or caught.value.__cause__ is error
    await turns()


@pytest.mark.parametrize("producer_class", [RecordingPullProducer, RecordingPushProducer])
async def test_a_producer_that_raises_ends_the_transfer(producer_class: Any) -> None:
    """The connection is aborted, so that no peer takes a part for the whole."""

    error = Refusal("bad sector")
    dtp = DTP(high_water=0)
    transport = MemoryTransport(dtp)
    producer = producer_class(dtp, [b"one", b"two"], fail_at=2, error=error)
    producer.register()
    if producer.streaming:
        producer.pump(1)

    await turns()
    transport.drain()
    with pytest.raises(LocalError) as caught:
        await dtp.wait_closed()
    assert caught.value.__cause__ is error
    assert caught.value.end is dtp.end is End.PRODUCER_FAILED
    assert transport.was_aborted
    assert not transport.eof_sent
    assert producer.calls[-1] == "stop_producing"
    assert producer.violations == []


async def test_a_failure_on_a_loss_does_not_replace_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reset stays the reason; an error of unregister_producer after it is only reported."""

    class Closing(RecordingConsumer):
        def unregister_producer(self) -> None:
            super().unregister_producer()
            raise Refusal("in the end")

    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    dtp, transport, _, waiter = receiving(Closing())
    transport.lose(RESET)
    with pytest.raises(ConnectionReset):
        await waiter
    assert dtp.end is End.RESET
    assert [type(report["exception"]) for report in reports] == [Refusal]


# Rule 6: unregistering ends the transfer


async def test_unregistering_flushes_then_ends() -> None:
    """What was written goes out before the end of file; the connection closes after both."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    RecordingPullProducer(dtp, [b"all of it"]).register()
    await turns()
    assert transport.calls[-1] == "resume_reading"
    assert "write_eof" in transport.calls
    ends = [transport.eof_sent]
    for nbytes in (3, None):
        transport.drain(nbytes)
        ends.append(transport.eof_sent)

    assert ends == [False, False, True]
    assert transport.sent == b"all of it"
    assert dtp.is_connected
    transport.feed_eof()
    await dtp.wait_closed()
    assert not transport.was_aborted
    assert dtp.end is End.CLEAN


def test_unregistering_nobody_does_nothing() -> None:
    """As in Twisted, this is harmless; but it ends nothing, either."""

    DTP().unregister_producer()


async def test_tls_ends_by_closing() -> None:
    """Without a half-close, closing announces the end, after the data."""

    dtp = DTP()
    transport = MemoryTransport(dtp, tls=True)
    RecordingPullProducer(dtp, [b"all"]).register()
    await turns()
    assert "close" in transport.calls
    assert "write_eof" not in transport.calls
    transport.drain()
    await dtp.wait_closed()
    assert transport.sent == b"all"


# Rule 7: no data are lost silently


async def test_writing_needs_an_open_connection() -> None:
    """Before a connection, after an abort, a loss or the end of file, it is an ftpdata error."""

    dtp = DTP()

    def refused(reply_code: int) -> None:
        calls: list[tuple[Callable[..., None], tuple[bytes, ...]]] = [
            (dtp.write, (b"x",)),
            (dtp.send_line, (b"x",)),
            (dtp.write_eof, ()),
        ]
        for method, arguments in calls:
            with pytest.raises(NotConnected) as caught:
                method(*arguments)
            assert caught.value.reply_code == reply_code

    refused(425)
    transport = MemoryTransport(dtp)
    dtp.write_eof()
    refused(426)
    dtp.abort()
    refused(426)
    await turns()
    assert transport.is_lost
    refused(426)
    assert transport.calls.count("write") == 0


async def test_writing_to_a_closing_connection_is_refused() -> None:
    """A closing transport drops what is written, so the DTP refuses it."""

    dtp, transport, _, waiter = receiving()
    dtp.eof_received()
    assert transport.is_closing()
    assert dtp.end is None
    with pytest.raises(NotConnected):
        dtp.write(b"too late")
    await waiter
    await dtp.wait_closed()


async def test_a_loss_that_a_producer_runs_into_is_still_a_loss() -> None:
    """A producer that writes to a failing transport does not count as failed itself."""

    dtp = DTP(high_water=4)
    transport = MemoryTransport(dtp)
    producer = RecordingPushProducer(dtp, [b"12345"] * 5)
    producer.register()
    producer.pump()
    transport._closing = True
    transport.drain()
    assert dtp.end is None
    transport.lose(RESET)
    assert dtp.end is End.RESET


async def test_lines_and_list_lines() -> None:
    """send_line adds CR LF and nothing else."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    dtp.send_line(b"line content")
    dtp.send_line(b"")
    assert transport.buffered == b"line content\r\n\r\n"
    dtp.abort()
    await turns()


@pytest.mark.parametrize("buffer", [b"abcd", bytearray(b"abcd"), memoryview(b"abcd")])
async def test_all_kinds_of_buffers_are_taken(buffer: Any) -> None:
    """bytes, bytearray and memoryview are accepted, and counted in bytes."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    dtp.write(buffer)
    if isinstance(buffer, memoryview):
        dtp.write(memoryview(b"efgh").cast("I"))

    transport.drain()
    assert dtp.bytes_sent == len(transport.sent)
    dtp.abort()
    await turns()


# Rule 8: ending is truthful


@pytest.mark.parametrize("how", [Cut.RESET, Cut.CLOSE])
@pytest.mark.parametrize("nbytes", [0, 1, 65535, 65536, 100_000])
async def test_a_download_that_the_peer_cuts_is_not_a_success(how: Cut, nbytes: int) -> None:
    """If the peer leaves in the middle, politely or not, the transfer fails.

    If the peer closes with data unread or still to come, its kernel answers with a reset.
    """

    dtp, peer = await real(receive_buffer=8192, high_water=65536)
    producer = RecordingPullProducer(dtp, [bytes(65536)] * 100)
    producer.register()
    assert len(await receive_then_cut(peer, nbytes, how)) == nbytes
    with pytest.raises(ConnectionReset):
        await dtp.wait_closed()
    assert producer.calls[-1] == "stop_producing" or producer.is_done


@pytest.mark.parametrize("how", list(Cut))
@pytest.mark.parametrize("size", [0, 1, 100_000])
async def test_an_upload_is_complete_only_with_an_end_of_file(how: Cut, size: int) -> None:
    """An end of file completes an upload, a reset does not; the count is exact."""

    dtp, peer = await real()
    consumer = RecordingConsumer()
    waiter = dtp.register_consumer(consumer)
    data = os.urandom(size)
    await send_then_cut(peer, data, how)
    if how is Cut.RESET:
        with pytest.raises(ConnectionReset):
            await waiter
        assert data.startswith(consumer.data)
    else:
        await waiter
        assert consumer.data == data
        assert dtp.bytes_received == size
        await dtp.wait_closed()

    peer.close()


async def test_an_abort_reaches_the_peer_as_a_reset() -> None:
    """A cut download can never be taken for a whole one."""

    dtp, peer = await real()
    dtp.write(b"half of it")
    dtp.abort(End.ABORTED, "ABOR")
    with pytest.raises(TransferAborted, match="ABOR"):
        await dtp.wait_closed()
    with pytest.raises(ConnectionResetError):
        await receive_all(peer)
    peer.close()


async def test_reading_does_not_run_ahead_of_a_paused_consumer() -> None:
    """On a real connection a pause fills the kernels' buffers, not ours."""

    dtp, peer = await real()
    consumer = RecordingConsumer(pause_every=1)
    waiter = dtp.register_consumer(consumer)
    sending = asyncio.ensure_future(send_then_cut(peer, bytes(2_000_000), Cut.CLOSE))
    while not waiter.done():
        await turns(3)
        assert dtp.bytes_received - len(consumer.data) <= 256 * 1024
        if consumer.is_paused:
            consumer.resume()

    await sending
    await waiter
    assert len(consumer.data) == 2_000_000
    assert consumer.violations == []
    await dtp.wait_closed()


async def test_a_two_way_stream_goes_on_after_the_peers_end_of_file() -> None:
    """With `half_open` the peer's end of file leaves our side open."""

    dtp, peer = await real(half_open=True)
    consumer = RecordingConsumer()
    waiter = dtp.register_consumer(consumer)
    await send_then_cut(peer, b"question", Cut.HALF_CLOSE)
    await waiter
    assert dtp.is_connected
    dtp.write(b"answer")
    finishing = asyncio.ensure_future(dtp.finish())
    assert await receive_all(peer) == b"answer"
    peer.close()
    await finishing
    assert consumer.data == b"question"


# Rule 9: awaitables are shielded


async def test_one_cancelled_waiter_disturbs_nobody() -> None:
    """Cancel one of each kind of waiter: the transfer and the other waiters go on."""

    dtp, transport, consumer, waiter = receiving()

    async def wait() -> None:
        await waiter

    cancelled = [
        asyncio.ensure_future(wait()),
        asyncio.ensure_future(dtp.wait_closed()),
        dtp.closed,
    ]
    kept = [asyncio.ensure_future(wait()), asyncio.ensure_future(dtp.wait_closed()), dtp.closed]
    await turns()
    for future in cancelled:
        future.cancel()

    await turns()
    assert dtp.is_connected
    assert not any(future.done() for future in kept)
    transport.feed(b"data")
    transport.feed_eof()
    await asyncio.wait(kept)
    assert [future.exception() for future in kept] == [None] * 3
    assert consumer.calls == WHOLE


async def test_one_cancelled_waiter_for_the_connection_disturbs_nobody() -> None:
    """This also holds before the connection is made."""

    dtp = DTP()
    cancelled = [asyncio.ensure_future(dtp.wait_connected()), dtp.connected]
    kept = [asyncio.ensure_future(dtp.wait_connected()), dtp.connected]
    await turns()
    for future in cancelled:
        future.cancel()

    await turns()
    MemoryTransport(dtp)
    await asyncio.wait(kept)
    assert [future.exception() for future in kept] == [None] * 2
    await dtp.wait_connected()
    await dtp.connected
    dtp.abort()
    await turns()


async def test_reasons_that_nobody_asks_for_make_no_noise() -> None:
    """Futures that are handed out and dropped cause no 'exception was never retrieved'."""

    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    dtp, transport, _, _ = receiving()
    futures = [dtp.closed, dtp.closed, dtp.connected]
    futures[0].cancel()
    transport.lose(RESET)
    await turns()
    late = DTP()
    futures += [late.connected, late.closed]
    late.abort()
    futures += [late.connected, late.closed]
    await turns()
    dropped = weakref.ref(dtp)
    del dtp, late, futures, transport
    gc.collect()
    await turns()
    gc.collect()
    assert reports == []
    assert dropped() is None


async def test_a_connection_given_up_before_it_was_made() -> None:
    """Waiters get the reason at once; a connection that is made later is cut."""

    dtp = DTP()
    waiting = asyncio.ensure_future(dtp.wait_connected())
    await turns()
    dtp.abort(End.ACCEPT_TIMEOUT, "nobody came")
    for awaitable in (waiting, dtp.wait_closed(), dtp.connected, dtp.wait_connected()):
        with pytest.raises(FTPDataError, match="nobody came"):
            await awaitable

    transport = MemoryTransport(dtp)
    await turns()
    assert transport.was_aborted
    assert dtp.end is End.ACCEPT_TIMEOUT


# Rule 10: for one transfer


async def test_a_second_registration_is_a_clear_error() -> None:
    """It is an error while the first consumer is registered, and after it is gone."""

    dtp, transport, first, waiter = receiving()
    second = RecordingConsumer()
    with pytest.raises(RuntimeError, match="already registered"):
        dtp.register_consumer(second)
    transport.feed_eof()
    await waiter
    with pytest.raises(RuntimeError, match="for one transfer"):
        dtp.register_consumer(second)
    await dtp.wait_closed()
    with pytest.raises(RuntimeError, match="for one transfer"):
        dtp.register_consumer(second)
    assert second.calls == []
    assert first.calls == ["register_producer", "unregister_producer"]


async def test_a_second_producer_after_the_first_is_a_clear_error() -> None:
    """A producer that comes after the transfer is refused, and so is one after the end."""

    dtp = DTP()
    transport = MemoryTransport(dtp)
    RecordingPullProducer(dtp, []).register()
    await turns()
    with pytest.raises(RuntimeError, match="for one transfer"):
        RecordingPullProducer(dtp, []).register()
    transport.feed_eof()
    await dtp.wait_closed()
    ended = DTP()
    ended.abort()
    with pytest.raises(NotConnected):
        RecordingPullProducer(ended, []).register()


# What Twisted's DTP does wrong


async def test_a_consumer_can_be_registered_as_soon_as_connected_fires() -> None:
    """The callback of `connected` finds a DTP that is ready (Twisted: TypeError)."""

    dtp, consumer = DTP(), RecordingConsumer()
    waiters: list[Any] = []
    dtp.connected.add_done_callback(lambda _: waiters.append(dtp.register_consumer(consumer)))
    transport = MemoryTransport(dtp)
    transport.feed(b"data")
    transport.feed_eof()
    await turns(10)
    await waiters[0]
    assert consumer.calls == WHOLE


async def test_data_after_a_consumer_failed_are_discarded() -> None:
    """Twisted raises AttributeError from dataReceived here, and leaves the connection open."""

    dtp, transport, consumer, waiter = receiving(RecordingConsumer(fail_at=1))
    transport.deliver(b"one")
    transport.deliver(b"two")
    dtp.eof_received()
    with pytest.raises(LocalError):
        await waiter
    assert consumer.chunks == [b"one"]
    assert transport.was_aborted


async def test_data_after_the_end_are_discarded() -> None:
    """A transport that calls back once more does no harm (Twisted: AttributeError)."""

    dtp, transport, consumer, waiter = receiving()
    transport.lose(RESET)
    dtp.data_received(b"more")
    dtp.eof_received()
    dtp.connection_lost(None)
    with pytest.raises(ConnectionReset):
        await waiter
    assert consumer.chunks == []


# A relay, and appearance


async def test_two_dtps_back_to_back() -> None:
    """A DTP is a producer for the other's producer side: one data connection onto another."""

    source, sink, end = DTP(), DTP(high_water=10), DTP()
    transport = MemoryTransport(source)
    pair(sink, end)

    class Forward:
        """Registers the source as the sink's push producer."""

        def register_producer(self, producer: Any, streaming: bool) -> None:
            sink.register_producer(producer, streaming)

        def write(self, data: bytes) -> None:
            sink.write(data)

        def unregister_producer(self) -> None:
            sink.unregister_producer()

    consumer = RecordingConsumer()
    arrived = end.register_consumer(consumer)
    passed = source.register_consumer(cast("Any", Forward()))
    transport.feed(*[bytes([i]) * 20 for i in range(30)])
    transport.feed_eof()
    await passed
    await arrived
    assert consumer.data == b"".join(bytes([i]) * 20 for i in range(30))
    assert "pause_reading" in transport.calls[1:]
    for dtp in (source, sink, end):
        await dtp.wait_closed()


async def test_what_a_dtp_says_of_itself() -> None:
    """The repr has the state and the peer, which is an address or nothing."""

    dtp = DTP()
    assert repr(dtp) == "<DTP not connected peer=None sent=0 received=0>"
    with pytest.raises(NotConnected):
        _ = dtp.transport
    transport = MemoryTransport(dtp)
    assert dtp.transport is transport
    assert dtp.peer is not None
    assert (dtp.peer.host, dtp.peer.port) == ("192.0.2.1", 40000)
    assert "connected" in repr(dtp)
    dtp.write_eof()
    assert dtp.is_finishing
    dtp.abort(End.STALLED)
    await turns()
    assert "ended: stalled" in repr(dtp)
    other = DTP()
    MemoryTransport(other, peername=("", 0))
    assert other.peer is None
    other.abort()
    await turns()


async def test_a_list_response_is_one_line() -> None:
    """send_list_response sends the line of the listing module, with CR LF."""

    from ftpdata import EntryType, ListingEntry, Permissions, format_list_line

    now = datetime(2026, 7, 1, tzinfo=UTC)
    entry = ListingEntry(
        name="file.txt",
        size=5,
        type=EntryType.FILE,
        permissions=Permissions(0o644),
        links=1,
        modified=0,
        owner="user",
        group="group",
    )
    dtp = DTP()
    transport = MemoryTransport(dtp)
    dtp.send_list_response(entry, now=now)
    line = format_list_line(entry, now=now)
    assert line is not None
    assert transport.buffered == line + b"\r\n"
    dtp.abort()
    await turns()


# A sender that has nothing to send just now


@only_linux
@pytest.mark.parametrize("is_half_closed", [False, True])
@pytest.mark.parametrize("has_written", [False, True])
async def test_an_idle_producer_is_stopped_when_its_peer_is_gone(
    is_half_closed: bool, has_written: bool
) -> None:
    """Nothing reads or writes then; a peer that has only closed its own direction is not gone."""

    dtp, peer = await real()
    producer = RecordingPushProducer(dtp, [])
    dtp.register_producer(producer, True)
    if has_written:
        dtp.write(b"data")
    if is_half_closed:
        half_close(peer)
    await turns(50)
    assert dtp.is_connected
    assert "stop_producing" not in producer.calls
    reset(peer)
    async with asyncio.timeout(60):
        with pytest.raises(ConnectionReset):
            await dtp.wait_closed()
    assert producer.calls.count("stop_producing") == 1
    assert dtp.end is End.RESET


@only_linux
async def test_a_peer_that_is_gone_before_anybody_sends() -> None:
    """A host may still be looking for the file then; the transfer that it begins fails at once."""

    dtp, peer = await real()
    reset(peer)
    async with asyncio.timeout(60):
        with pytest.raises(ConnectionReset):
            await dtp.wait_closed()


@pytest.mark.parametrize("code", [errno.ENOBUFS, errno.ENOMEM, errno.EIO])
async def test_an_error_of_the_system_is_a_reset_for_the_peer(code: int) -> None:
    """The file is cut, although an event loop closes a failed socket with an end of file.

    asyncio and uvloop do this when `send` fails: they report the error, and close.
    """

    dtp, peer = await real()
    try:
        dtp.write(b"the beginning of a large file")
        dtp.connection_lost(OSError(code, os.strerror(code)))
        dtp.transport.close()
        with pytest.raises(ConnectionResetError):
            await receive_all(peer)
        assert dtp.end is End.LOST
        with pytest.raises(TransferAborted):
            await dtp.wait_closed()
    finally:
        peer.close()


