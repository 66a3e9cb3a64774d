"""What users test with: it must find each defect that it claims to find."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ftpdata.contracts import Consumer
from ftpdata.protocol import DTP
from ftpdata.testing import (
    ConformanceError,
    Cut,
    MemoryTransport,
    RecordingConsumer,
    RecordingPullProducer,
    RecordingPushProducer,
    check_consumer,
    check_producer,
    half_close,
    pair,
    receive_then_cut,
    reset,
    send_then_cut,
    sweep,
    tcp_pair,
)

CHUNKS = [b"one", b"two", b"three"]
WHOLE = b"".join(CHUNKS)


class Script(asyncio.Protocol):
    """A protocol that notes what the transport tells it."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.calls: list[Any] = []
        self.keep_open = keep_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note it."""
        self.calls.append("made")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note it."""
        self.calls.append(exc or "lost")

    def data_received(self, data: bytes) -> None:
        """Note it."""
        self.calls.append(data)

    def eof_received(self) -> bool:
        """Note it."""
        self.calls.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        """Note it."""
        self.calls.append("pause")

    def resume_writing(self) -> None:
        """Note it."""
        self.calls.append("resume")


async def turns(count: int = 5) -> None:
    """Let the loop run everything that is ready, and what that makes ready."""

    for _ in range(count):
        await asyncio.sleep(0)


async def receive_all(sock: socket.socket) -> None:
    """Receive until the end of file."""

    while await asyncio.get_running_loop().sock_recv(sock, 10):
        pass


# The memory transport


async def test_the_network_takes_what_the_test_lets_it() -> None:
    """Writing pauses above the high-water mark and resumes at the low one."""

    script = Script()
    transport = MemoryTransport(script)
    assert transport.get_protocol() is script
    transport.set_write_buffer_limits(high=4, low=2)
    assert transport.get_write_buffer_limits() == (2, 4)
    transport.write(b"1234")
    assert not transport.is_writing_paused
    transport.write(memoryview(b"5"))
    assert script.calls == ["made", "pause"]
    assert transport.drain(2) == 2
    assert script.calls == ["made", "pause"]
    transport.drain(1)
    assert script.calls == ["made", "pause", "resume"]
    transport.write_eof()
    ends = [transport.eof_sent]
    assert bytes(transport.sent) + transport.buffered == b"12345"
    with pytest.raises(RuntimeError):
        transport.write(b"6")
    transport.drain()
    ends.append(transport.eof_sent)
    assert ends == [False, True]
    assert transport.sent == b"12345"
    assert transport.most_buffered == 5
    transport.lose()
    transport.lose()
    assert script.calls == ["made", "pause", "resume", "lost"]
    assert transport.calls == ["write", "write", "write_eof", "write"]


async def test_what_is_fed_waits_until_it_is_read() -> None:
    """As in a kernel: in order, while reading, the end of file last."""

    script = Script(keep_open=True)
    transport = MemoryTransport(script)
    transport.pause_reading()
    transport.feed(b"one", b"two")
    transport.feed_eof()
    await turns()
    assert script.calls == ["made"]
    transport.deliver(b"zero")
    transport.resume_reading()
    await turns()
    assert script.calls == ["made", b"zero", b"one", b"two", "eof"]
    assert not transport.is_closing()
    transport.abort()
    await turns()
    assert script.calls[-1] == "lost"
    assert transport.was_aborted


async def test_an_end_of_file_closes_unless_kept_open() -> None:
    """As on asyncio: closed behind what waits; TLS closes in any case."""

    for tls, keep_open, closes in (
        (False, False, True),
        (False, True, False),
        (True, True, True),
    ):
        script = Script(keep_open=keep_open)
        transport = MemoryTransport(script, tls=tls)
        transport.write(b"rest")
        transport.feed_eof()
        await turns()
        assert transport.is_closing() is closes
        assert not transport.is_lost
        transport.drain()
        transport.close()
        await turns()
        assert transport.sent == b"rest"
        assert script.calls[-1] == "lost"


async def test_tls_has_no_half_close_and_tells_of_a_cut() -> None:
    """No write_eof; the ssl_object says whether the end was announced."""

    transport = MemoryTransport(Script(), tls=True)
    assert not transport.can_write_eof()
    with pytest.raises(NotImplementedError):
        transport.write_eof()
    tls = transport.get_extra_info("ssl_object")
    assert tls.read(1) == b""
    transport.feed_eof(close_notify=False)
    with pytest.raises(OSError, match=r".*"):
        tls.read(1)
    transport.lose()


async def test_a_pair_is_one_connection() -> None:
    """What one sends the other receives; an abort is a reset for the other."""

    first, second = Script(keep_open=True), Script(keep_open=True)
    one, two = pair(first, second)
    one.write(b"there")
    two.write(b"back")
    one.write_eof()
    await turns()
    assert second.calls == ["made", b"there", "eof"]
    assert first.calls == ["made", b"back"]
    two.abort()
    await turns()
    assert isinstance(first.calls[-1], ConnectionResetError)
    assert second.calls[-1] == "lost"
    assert one.is_lost
    assert two.is_lost


# Producers


def started(producer_class: Any, **options: Any) -> Callable[[DTP], object]:
    """Make what check_producer starts."""

    def start(dtp: DTP) -> object:
        producer = producer_class(dtp, CHUNKS, **options)
        producer.register()
        if producer.streaming:
            producer.pump()

        return None

    return start


@pytest.mark.parametrize("producer_class", [RecordingPullProducer, RecordingPushProducer])
async def test_a_good_producer_passes(producer_class: Any) -> None:
    """Push and pull."""

    await check_producer(started(producer_class), expected=WHOLE)
    await check_producer(started(producer_class))


async def test_a_producer_with_a_task_passes() -> None:
    """What `start` returns may run as long as the producer does."""

    async def start(dtp: DTP) -> None:
        await asyncio.sleep(0)
        started(RecordingPullProducer)(dtp)

    await check_producer(start, expected=WHOLE)


class Deaf(RecordingPushProducer):
    """Writes on though paused."""

    def pump(self, limit: int | None = None) -> None:
        """Write all."""
        while not self.is_done:
            self._produce_one()


class Zombie(RecordingPullProducer):
    """Writes after it was stopped."""

    def stop_producing(self) -> None:
        """Write, later."""
        asyncio.get_running_loop().call_soon(self._late)

    def _late(self) -> None:
        try:
            self._consumer.write(b"late")
        except Exception:  # noqa: BLE001 - as careless as can be
            return


class Eager(RecordingPullProducer):
    """A pull producer that writes unasked."""

    def register(self) -> None:
        """Register and write."""
        super().register()
        self._consumer.write(b"")


class Endless(RecordingPullProducer):
    """Never unregisters."""

    def _produce_one(self) -> None:
        self._consumer.write(next(self._chunks, b"x"))


class Clumsy(RecordingPullProducer):
    """Raises when it is stopped."""

    def stop_producing(self) -> None:
        """Fail."""
        raise ZeroDivisionError


class Twice(RecordingPullProducer):
    """Unregisters twice."""

    def _produce_one(self) -> None:
        super()._produce_one()
        if self.is_done:
            self._consumer.unregister_producer()


class Short(RecordingPullProducer):
    """Leaves out the last chunk."""

    def __init__(self, consumer: DTP, chunks: list[bytes], **options: Any) -> None:
        super().__init__(consumer, chunks[:-1], **options)


class Silent(RecordingPullProducer):
    """Asked, it does nothing."""

    def resume_producing(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("producer_class", "options", "complaint"),
    [
        (Deaf, {}, "while paused"),
        (Zombie, {}, "after stop_producing"),
        (Eager, {}, "when it was asked"),
        (Endless, {}, "ends within"),
        (Clumsy, {}, "stop_producing does not raise"),
        (Twice, {}, "unregister_producer is called once"),
        (Short, {}, "all is sent"),
        (Silent, {}, "ends within"),
        (RecordingPullProducer, {"fail_at": 2}, "does not fail"),
    ],
)
async def test_a_bad_producer_is_caught(
    producer_class: Any, options: dict[str, Any], complaint: str
) -> None:
    """Each defect has its name in the verdict."""

    with pytest.raises(ConformanceError, match=complaint):
        await check_producer(started(producer_class, **options), expected=WHOLE, patience=0.1)


async def test_a_chunk_without_bound_is_caught() -> None:
    """What a producer writes at once has a limit."""

    with pytest.raises(ConformanceError, match="more than 2 bytes"):
        await check_producer(started(RecordingPullProducer), expected=WHOLE, max_chunk=2)


# Consumers


def data_of(consumer: RecordingConsumer) -> bytes:
    """Tell what came."""
    return consumer.data


class Resuming(RecordingConsumer):
    """Pauses at each write and resumes from the loop, as one with a thread."""

    def write(self, data: bytes) -> None:
        """Keep, pause."""
        super().write(data)
        self.pause()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self.producer is not None:
            self.resume()


async def test_a_good_consumer_passes() -> None:
    """One that takes all at once, and one that pauses; sync and async comparison."""

    async def data_later(consumer: RecordingConsumer) -> bytes:
        await asyncio.sleep(0)
        return consumer.data

    await check_consumer(RecordingConsumer, received=data_of)
    await check_consumer(Resuming, received=data_later, high_water=100)


class Losing(RecordingConsumer):
    """Loses the last byte of each write."""

    def write(self, data: bytes) -> None:
        """Keep the rest."""
        super().write(data)
        self.chunks[-1] = data[:-1]


class Stuck(RecordingConsumer):
    """Pauses for ever."""

    def __init__(self) -> None:
        super().__init__(pause_every=1)


class PausingTwice(RecordingConsumer):
    """Pauses twice in a row."""

    def write(self, data: bytes) -> None:
        """Pause, pause, resume."""
        assert self.producer is not None
        self.producer.pause_producing()
        self.producer.pause_producing()
        self.producer.resume_producing()


class ResumingUnpaused(RecordingConsumer):
    """Resumes what is not paused."""

    def write(self, data: bytes) -> None:
        """Resume."""
        assert self.producer is not None
        self.producer.resume_producing()


class Stopping(RecordingConsumer):
    """Stops the transfer."""

    def write(self, data: bytes) -> None:
        """Stop."""
        assert self.producer is not None
        self.producer.stop_producing()


class Clinging(RecordingConsumer):
    """Calls its producer after it was unregistered."""

    def unregister_producer(self) -> None:
        """Pause once more."""
        producer = self.producer
        super().unregister_producer()
        assert producer is not None
        producer.pause_producing()


class Promiscuous:
    """Takes any number of producers."""

    def register_producer(self, producer: Any, streaming: bool) -> None:
        """Take it."""

    def write(self, data: bytes) -> None:
        """Take it."""

    def unregister_producer(self) -> None:
        """Take note."""


class FailingToClose(RecordingConsumer):
    """Raises in the end."""

    def unregister_producer(self) -> None:
        """Fail."""
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("make", "received", "options", "complaint"),
    [
        (Losing, data_of, {}, "the data arrive"),
        (Stuck, None, {}, "takes it all within .*but paused"),
        (PausingTwice, None, {}, "paused twice"),
        (ResumingUnpaused, None, {}, "resumed unpaused"),
        (Stopping, None, {}, "called stop_producing"),
        (Clinging, None, {}, "leaves the producer alone"),
        (Promiscuous, None, {}, "refuses a second producer"),
        (FailingToClose, None, {}, "unregister_producer does not raise"),
        (lambda: RecordingConsumer(fail_at=2), None, {}, "write does not raise"),
        (RecordingConsumer, None, {"high_water": 100}, "pauses once it holds too much"),
    ],
)
async def test_a_bad_consumer_is_caught(
    make: Callable[[], Consumer],
    received: Callable[[Any], bytes | Awaitable[bytes]] | None,
    options: dict[str, Any],
    complaint: str,
) -> None:
    """Each defect has its name in the verdict."""

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    with pytest.raises(ConformanceError, match=complaint):
        await check_consumer(make, received=received, patience=0.1, **options)


def test_recording_parties_insist_on_their_contracts() -> None:
    """Misused, they raise and remember."""

    consumer = RecordingConsumer()
    with pytest.raises(ConformanceError):
        consumer.write(b"unregistered")
    with pytest.raises(ConformanceError):
        consumer.unregister_producer()
    with pytest.raises(ConformanceError):
        consumer.register_producer(DTP(), True)
    assert len(consumer.violations) == 3

    pull = RecordingPullProducer(DTP(), [])
    pull.stop_producing()
    with pytest.raises(ConformanceError, match="after stop_producing"):
        pull.resume_producing()

    push = RecordingPushProducer(DTP(), [])
    push.pause_producing()
    with pytest.raises(ConformanceError, match="in turn"):
        push.pause_producing()


# Faults of real peers


async def test_each_cut_is_what_it_says() -> None:
    """A reset resets, a close and a half-close end; only the half-close goes on receiving."""

    loop = asyncio.get_running_loop()
    for how in Cut:
        ours, peer = await tcp_pair()
        await send_then_cut(peer, b"data", how)
        if how is Cut.RESET:
            with pytest.raises(ConnectionResetError):
                await receive_all(ours)
        else:
            assert await loop.sock_recv(ours, 10) == b"data"
            assert await loop.sock_recv(ours, 10) == b""
        if how is Cut.HALF_CLOSE:
            await loop.sock_sendall(ours, b"answer")
            assert await loop.sock_recv(peer, 10) == b"answer"

        ours.close()
        peer.close()


@pytest.mark.parametrize("nbytes", [0, 3, 10])
async def test_a_peer_cuts_after_exactly_so_many_bytes(nbytes: int) -> None:
    """In the middle of what comes, or at the end of file if that is first."""

    ours, peer = await tcp_pair("::1", send_buffer=8192, receive_buffer=8192)
    ours.send(b"12345")
    half_close(ours)
    assert await receive_then_cut(peer, nbytes, Cut.CLOSE) == b"12345"[:nbytes]
    assert peer.fileno() == -1
    reset(ours)


# The sweep


async def test_a_sweep_counts_the_suspensions() -> None:
    """A scenario that is right passes, at each of them."""

    runs = 0
    ended: list[bool] = []

    async def scenario() -> None:
        nonlocal runs
        runs += 1
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            async with asyncio.timeout(5):
                await asyncio.sleep(0.001)
        finally:
            ended.append(True)

    assert await sweep(scenario, check=lambda: ended.append(False)) == 3
    # Once undisturbed, then for each kind three that are cancelled and one that is not.
    assert runs == 1 + 2 * 4
    assert ended.count(True) == runs


async def _leaves_a_task(left: list[Any]) -> None:
    left.append(asyncio.ensure_future(asyncio.sleep(0.2)))
    await asyncio.sleep(0.001)
    left.pop().cancel()


async def _leaves_a_socket(left: list[Any]) -> None:
    left.append(socket.socket())
    await asyncio.sleep(0)
    left.pop().close()


async def _swallows(left: list[Any]) -> None:
    try:
        await asyncio.sleep(0.001)
    except asyncio.CancelledError:
        return


async def _hangs(left: list[Any]) -> None:
    try:
        await asyncio.sleep(0.001)
    except asyncio.CancelledError:
        await asyncio.sleep(1)
        raise


async def _fails(left: list[Any]) -> None:
    try:
        await asyncio.sleep(0.001)
    finally:
        if asyncio.current_task().cancelling():  # type: ignore[union-attr]
            raise AssertionError("a failure of its own")


@pytest.mark.parametrize(
    ("scenario", "complaint"),
    [
        (_leaves_a_task, "suspension 1: left behind"),
        (_leaves_a_socket, "suspension 1: left behind .*descriptor"),
        (_swallows, "suspension 1: swallowed"),
        (_hangs, "suspension 1: did not end"),
        (_fails, "a failure of its own"),
    ],
)
async def test_a_sweep_finds_what_is_wrong(
    scenario: Callable[[list[Any]], Any], complaint: str
) -> None:
    """Tasks, sockets, a swallowed cancellation, a hang, another exception: named with the place."""

    left: list[Any] = []
    with pytest.raises(AssertionError, match=complaint):
        await sweep(lambda: scenario(left), patience=0.05)
    for thing in left:
        if isinstance(thing, socket.socket):
            thing.close()
        else:
            thing.cancel()

    await turns()


async def test_a_sweep_finds_a_result_that_is_lost_on_the_way() -> None:
    """Cancelled between the completion and the resumption: what was made is forgotten."""

    left: list[socket.socket] = []

    async def scenario() -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def complete() -> None:
            if not ready.cancelled():
                left.append(socket.socket())
                ready.set_result(None)

        asyncio.get_running_loop().call_soon(complete)
        await ready
        left.pop().close()

    with pytest.raises(AssertionError, match="suspension 1, when it was over: left behind"):
        await sweep(scenario, patience=0.05)
    left.pop().close()


async def test_a_sweep_has_a_limit_and_checks() -> None:
    """A scenario without an end, and a check that fails, are told."""

    async def long() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="after 5 suspensions"):
        await sweep(long, limit=5)

    async def check() -> None:
        raise AssertionError("file left")

    with pytest.raises(AssertionError, match="file left"):
        await sweep(long, check=check)
