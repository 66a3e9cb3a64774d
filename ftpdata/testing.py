"""For tests: a transport in memory, conformance checks, faults, and a cancellation sweep.

Users of ftpdata test their servers, producers and consumers with it; ftpdata
tests itself with it. It needs no test framework, and imports none.

* `MemoryTransport` and `pair`: a connection without sockets, of which a test
  decides when the network takes bytes, delivers some, ends or breaks.
* `check_producer` and `check_consumer`: whether an object fulfils its contract
  of `ftpdata.contracts`. They raise `ConformanceError`.
* `RecordingConsumer`, `RecordingPullProducer`, `RecordingPushProducer`: simple
  parties that note what is asked of them.
* `tcp_pair`, `reset`, `half_close`, `send_then_cut`, `receive_then_cut`: real
  sockets, and the ways in which real peers fail.
* `sweep`: cancels a scenario at each of its suspensions in turn.

A test in full::

    async def test_a_reset_upload_is_not_a_whole_one():
        dtp, consumer = DTP(), RecordingConsumer()
        transport = MemoryTransport(dtp)
        received = dtp.register_consumer(consumer)
        transport.deliver(b"half a fi")
        transport.lose(ConnectionResetError())
        with pytest.raises(ConnectionReset):
            await received
        assert consumer.calls == ["register_producer", "write", "unregister_producer"]
"""

from __future__ import annotations

import asyncio
import enum
import errno
import os
import select
import socket
import ssl
import struct
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from .contracts import Buffer, Consumer, Producer, PushProducer
from .errors import FTPDataError
from .protocol import DTP

__all__ = [
    "ConformanceError",
    "Cut",
    "MemoryTransport",
    "RecordingConsumer",
    "RecordingPullProducer",
    "RecordingPushProducer",
    "check_consumer",
    "check_producer",
    "half_close",
    "pair",
    "receive_then_cut",
    "reset",
    "send_then_cut",
    "sweep",
    "tcp_pair",
]

C = TypeVar("C", bound=Consumer)

READ_SIZE = 64 * 1024
"""Bytes of one read of a `MemoryTransport`, as from a socket."""


class MemoryTransport(asyncio.Transport):
    """A transport whose network is the test.

    What the protocol writes waits in the write buffer until `drain` lets the
    network take it; what `feed` gives waits, as in a kernel, until the
    protocol reads. Pauses, ends and write-buffer limits are those of asyncio's
    own transports, and so are the mistakes that they refuse.

    Args:
        protocol: Gets ``connection_made`` at once.
        auto_drain: Let the network take everything as soon as it is written.
        tls: Behave as a TLS transport: no half-close, and an ``ssl_object``
            that tells whether the peer's end was announced.
        peername: What ``get_extra_info("peername")`` says.
        extra: More of what ``get_extra_info`` says.

    Attributes:
        sent: What the network has taken.
        calls: Names of the methods the protocol has called, in order.
        most_buffered: The most bytes that ever waited to be sent.
        eof_sent: Whether the network has taken the end of file.
        is_lost: Whether ``connection_lost`` was called.
        was_aborted: Whether the connection was cut rather than closed.

    Raises:
        RuntimeError: There is no running event loop.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol,
        *,
        auto_drain: bool = False,
        tls: bool = False,
        peername: tuple[str, int] = ("192.0.2.1", 40000),
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._tls_object = _MemoryTLS() if tls else None
        super().__init__({
            "peername": peername,
            "ssl_object": self._tls_object,
            **(extra or {}),
        })
        self.sent: bytearray = bytearray()
        self.calls: list[str] = []
        self.most_buffered: int = 0
        self.eof_sent: bool = False
        self.is_lost: bool = False
        self.was_aborted: bool = False
        self.auto_drain = auto_drain
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        # Sending.
        self._buffer = bytearray()
        self._high = 64 * 1024
        self._low = self._high // 4
        self._writing_paused = False
        self._eof_written = False
        self._closing = False
        # Receiving: chunks, and None for the end of file.
        self._incoming: deque[bytes | None] = deque()
        self._reading_paused = False
        self._eof_delivered = False
        self._reading_scheduled = False
        self._partner: MemoryTransport | None = None
        protocol.connection_made(self)

    def __repr__(self) -> str:
        state = "lost" if self.is_lost else "closing" if self._closing else "open"
        return (
            f"<MemoryTransport {state} sent={len(self.sent)} buffered={len(self._buffer)} "
            f"incoming={len(self._incoming)} reading={self.is_reading()}>"
        )

    # The network's side, for the test

    def drain(self, nbytes: int | None = None) -> int:
        """Let the network take bytes from the write buffer.

        Args:
            nbytes: How many at most; None takes all there are.

        Returns:
            How many it took.
        """

        taken = bytes(self._buffer[:nbytes])
        del self._buffer[: len(taken)]
        self.sent += taken
        if taken and self._partner is not None:
            self._partner.feed(taken)

        if self._writing_paused and len(self._buffer) <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()

        self._flushed()
        return len(taken)

    def feed(self, *chunks: bytes) -> None:
        """Let bytes arrive; they are delivered in the loop, as far as the protocol reads.

        Each chunk is one read, or several if it is longer than `READ_SIZE`.
        """

        for chunk in chunks:
            self._incoming.extend(
                chunk[start : start + READ_SIZE] for start in range(0, len(chunk), READ_SIZE)
            )

        self._schedule_reading()

    def feed_eof(self, *, close_notify: bool = True) -> None:
        """Let the peer's end of file arrive, behind what was fed.

        Args:
            close_notify: With TLS, whether the end is announced; without the
                announcement the stream may have been cut.
        """

        if self._tls_object is not None:
            self._tls_object.has_close_notify = close_notify

        self._incoming.append(None)
        self._schedule_reading()

    def deliver(self, data: bytes) -> None:
        """Deliver bytes now, even if reading is paused, as a read under way does."""

        self._protocol.data_received(data)

    def lose(self, exc: Exception | None = None) -> None:
        """End the connection now: ``connection_lost(exc)``. What is buffered is gone."""

        if self.is_lost:
            return

        self._closing = True
        self.is_lost = True
        self._buffer.clear()
        self._incoming.clear()
        self._protocol.connection_lost(exc)

    @property
    def buffered(self) -> bytes:
        """What was written and the network has not taken."""

        return bytes(self._buffer)

    @property
    def is_writing_paused(self) -> bool:
        """Whether the protocol was told ``pause_writing`` last."""

        return self._writing_paused

    # asyncio's transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the protocol whose callbacks are called from now on."""

        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""

        return self._protocol

    def is_closing(self) -> bool:
        """Whether the connection is closing or closed."""

        return self._closing

    def close(self) -> None:
        """Close once the network has taken what waits."""

        self.calls.append("close")
        if self._closing:
            return

        self._closing = True
        self._incoming.clear()
        self._flushed()

    def abort(self) -> None:
        """Cut; what waits is gone."""

        self.calls.append("abort")
        self.was_aborted = True
        self._closing = True
        self._buffer.clear()
        self._incoming.clear()
        self._loop.call_soon(self.lose)
        if self._partner is not None:
            self._loop.call_soon(self._partner.lose, _connection_reset())

    def pause_reading(self) -> None:
        """Deliver nothing that is fed until `resume_reading`."""

        self.calls.append("pause_reading")
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Deliver what is fed."""

        self.calls.append("resume_reading")
        if self._closing:
            return

        self._reading_paused = False
        if self._eof_delivered:
            # As on asyncio: who reads on after an end of file gets it again.
            self._incoming.append(None)

        self._schedule_reading()

    def is_reading(self) -> bool:
        """Whether what is fed gets delivered."""

        return not self._reading_paused and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when writing is paused (above `high` bytes) and resumed (`low` or fewer)."""

        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"expected high >= low >= 0, not high={high!r}, low={low!r}")

        self._high, self._low = high, low
        self._pause_if_full()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the limits as (low, high), in bytes."""

        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""

        return len(self._buffer)

    def write(self, data: Buffer) -> None:
        """Take data for the network.

        Raises:
            TypeError: Not bytes.
            RuntimeError: The end of file was written already.
        """

        self.calls.append("write")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        if self._eof_written:
            raise RuntimeError("cannot write after write_eof")
        if self._closing:
            # asyncio's transports drop such data, too; who relies on it has a defect.
            return

        self._buffer += data
        self.most_buffered = max(self.most_buffered, len(self._buffer))
        self._pause_if_full()
        if self.auto_drain:
            self._loop.call_soon(self.drain)

    def can_write_eof(self) -> bool:
        """Whether there is a half-close: not with TLS."""

        return self._tls_object is None

    def write_eof(self) -> None:
        """Send the end of file behind what waits; go on receiving."""

        self.calls.append("write_eof")
        if not self.can_write_eof():
            raise NotImplementedError("TLS has no half-close")

        self._eof_written = True
        self._flushed()

    # Private

    def _pause_if_full(self) -> None:
        if len(self._buffer) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def _flushed(self) -> None:
        """Send the end of file, and close, once nothing waits any more."""

        if self._buffer or self.is_lost:
            return

        if (self._eof_written or self._closing) and not self.eof_sent and not self.was_aborted:
            self.eof_sent = True
            if self._partner is not None:
                self._partner.feed_eof()

        if self._closing:
            self._loop.call_soon(self.lose)

    def _schedule_reading(self) -> None:
        if self._incoming and self.is_reading() and not self._reading_scheduled:
            self._reading_scheduled = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._reading_scheduled = False
        if not self._incoming or not self.is_reading():
            return

        data = self._incoming.popleft()
        if data is None:
            self._eof_delivered = True
            keep_open = self._protocol.eof_received()
            if not keep_open or self._tls_object is not None:
                self.close()
        else:
            self._protocol.data_received(data)
            self._schedule_reading()


def _connection_reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


class _MemoryTLS:
    """What is asked of an `ssl.SSLObject` at the end of a stream."""

    def __init__(self) -> None:
        self.has_close_notify = True

    def read(self, _: int) -> bytes:
        if self.has_close_notify:
            return b""

        raise ssl.SSLWantReadError


def pair(
    first: asyncio.Protocol, second: asyncio.Protocol
) -> tuple[MemoryTransport, MemoryTransport]:
    """Connect two protocols in memory: what one sends, the other receives.

    Each transport takes at once what is written, and delivers as far as its
    protocol reads. Turn `MemoryTransport.auto_drain` off to hold bytes back.
    """

    one = MemoryTransport(first, auto_drain=True)
    two = MemoryTransport(second, auto_drain=True)
    one._partner, two._partner = two, one  # noqa: SLF001 - the same class
    return one, two


# Recording parties


class RecordingConsumer:
    """A consumer that keeps what it gets and notes what is asked of it.

    It insists on the order of its contract: a call that breaks it raises
    `ConformanceError`, and stands in `violations`.

    Args:
        pause_every: Call ``pause_producing`` within every n-th write; the test
            calls ``consumer.producer.resume_producing()``.
        fail_at: Raise `error` within the n-th write, counted from 1.
        error: What to raise then.

    Attributes:
        calls: Names of the methods called, in order.
        chunks: What was written.
        producer: Who is registered, None before and after.
        is_paused: Whether it has paused the producer.
        violations: What broke the contract.
    """

    def __init__(
        self,
        *,
        pause_every: int | None = None,
        fail_at: int | None = None,
        error: Exception | None = None,
    ) -> None:
        self.calls: list[str] = []
        self.chunks: list[bytes] = []
        self.violations: list[str] = []
        self.producer: PushProducer | None = None
        self._pause_every = pause_every
        self._fail_at = fail_at
        self._error = error or RuntimeError("the consumer failed, as it was told to")
        self.is_paused: bool = False
        self._in_call = False

    @property
    def data(self) -> bytes:
        """All that was written."""

        return b"".join(self.chunks)

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Note the producer."""

        with self._noted("register_producer"):
            if self.producer is not None:
                raise RuntimeError("a producer is already registered")

            self._demand(streaming, "streaming is True: a DTP is a push producer")
            self._demand(self.calls == ["register_producer"], "registered once only")
            self.producer = producer

    def unregister_producer(self) -> None:
        """Note that nothing more comes."""

        with self._noted("unregister_producer"):
            self._demand(self.producer is not None, "registered before it is unregistered")
            self.producer = None

    def write(self, data: bytes) -> None:
        """Keep data."""

        with self._noted("write"):
            self._demand(self.producer is not None, "data come between register and unregister")
            self._demand(not self.is_paused, "nothing comes while paused")
            self._demand(type(data) is bytes, "data are bytes")
            self._demand(len(data) > 0, "data are never empty")
            self.chunks.append(data)
            if len(self.chunks) == self._fail_at:
                raise self._error

            if self._pause_every is not None and len(self.chunks) % self._pause_every == 0:
                self.pause()

    def pause(self) -> None:
        """Pause the producer."""

        assert self.producer is not None
        self.is_paused = True
        self.producer.pause_producing()

    def resume(self) -> None:
        """Resume the producer."""

        assert self.producer is not None
        self.is_paused = False
        self.producer.resume_producing()

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        self.calls.append(name)
        self._demand(not self._in_call, "never re-entered")
        self._in_call = True
        try:
            yield
        finally:
            self._in_call = False

    def _demand(self, fulfilled: bool, rule: str) -> None:
        if not fulfilled:
            self.violations.append(f"{self.calls[-1]}: {rule}")
            raise ConformanceError(self.violations[-1])


class _RecordingProducer:
    """What both kinds of recording producers have in common.

    Args:
        consumer: Where to write, usually a `DTP`.
        chunks: What to write.
        fail_at: Raise `error` instead of the n-th chunk, counted from 1.
        error: What to raise then.
    """

    streaming: bool

    def __init__(
        self,
        consumer: DTP,
        chunks: Iterable[bytes],
        *,
        fail_at: int | None = None,
        error: Exception | None = None,
    ) -> None:
        self.calls: list[str] = []
        self.violations: list[str] = []
        self.is_done: bool = False
        self._consumer = consumer
        self._chunks = iter(chunks)
        self._fail_at = fail_at
        self._error = error or RuntimeError("the producer failed, as it was told to")
        self._written = 0
        self._producing = False
        self._stopped = False

    def register(self) -> None:
        """Register with the consumer."""

        self._consumer.register_producer(cast("Producer", self), self.streaming)

    def stop_producing(self) -> None:
        """Note it."""

        self._note("stop_producing")
        self._demand(not self.is_done, "never stopped once it has unregistered")
        self._stopped = True

    def _note(self, name: str) -> None:
        self.calls.append(name)
        self._demand(not self._stopped, "nothing is called after stop_producing")

    def _demand(self, fulfilled: bool, rule: str) -> None:
        if not fulfilled:
            self.violations.append(f"{self.calls[-1]}: {rule}")
            raise ConformanceError(self.violations[-1])

    def _produce_one(self) -> None:
        """Write one chunk, or unregister where there is none left."""

        self._written += 1
        if self._written == self._fail_at:
            raise self._error

        chunk = next(self._chunks, None)
        if chunk is None:
            self.is_done = True
            self._consumer.unregister_producer()
        else:
            self._consumer.write(chunk)


class RecordingPullProducer(_RecordingProducer):
    """A pull producer that writes one chunk each time it is asked, and notes each call.

    It insists on its contract: never asked from within its own write, nor
    after it was stopped or has unregistered.
    """

    streaming = False

    def resume_producing(self) -> None:
        """Write the next chunk, or unregister."""

        self._note("resume_producing")
        self._demand(not self._producing, "never re-entered")
        self._demand(not self.is_done, "never asked once it has unregistered")
        self._producing = True
        try:
            self._produce_one()
        finally:
            self._producing = False


class RecordingPushProducer(_RecordingProducer):
    """A push producer that writes whenever `pump` is called and it is not paused.

    It insists on its contract: paused and resumed strictly in turn.
    """

    streaming = True
    is_paused: bool = False

    def pump(self, limit: int | None = None) -> None:
        """Write chunks until paused, stopped or done; at most `limit` of them."""

        while not (self.is_paused or self._stopped or self.is_done or limit == 0):
            limit = None if limit is None else limit - 1
            self._produce_one()

    def pause_producing(self) -> None:
        """Write nothing until resumed."""

        self._note("pause_producing")
        self._demand(not self.is_paused, "paused and resumed in turn")
        self.is_paused = True

    def resume_producing(self) -> None:
        """Write on, until paused again."""

        self._note("resume_producing")
        self._demand(self.is_paused, "paused and resumed in turn")
        self.is_paused = False
        self.pump()


# Conformance


class ConformanceError(AssertionError):
    """An object does not fulfil its contract of `ftpdata.contracts`."""


class _Watch:
    """The violations of one scenario."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        self.violations: list[str] = []

    def demand(self, fulfilled: bool, rule: str) -> None:
        if not fulfilled and rule not in self.violations:
            self.violations.append(rule)

    def verdict(self) -> None:
        if self.violations:
            raise ConformanceError(f"{self.scenario}: " + "; ".join(self.violations))


class _WatchedProducer:
    """Stands between a DTP and the producer under test."""

    def __init__(self, producer: Producer, streaming: bool, watch: _Watch) -> None:
        self.producer = producer
        self.streaming = streaming
        self.asked = False
        self.paused = False
        self.stopped = False
        self._resuming = False
        self._watch = watch

    @property
    def may_write(self) -> bool:
        return not self.stopped and (not self.paused if self.streaming else self.asked)

    def resume_producing(self) -> None:
        self.paused = False
        self.asked = self._resuming = True
        try:
            self.producer.resume_producing()
        finally:
            self._resuming = False

    def pause_producing(self) -> None:
        self.paused = True
        cast("PushProducer", self.producer).pause_producing()

    def stop_producing(self) -> None:
        self.stopped = True
        try:
            self.producer.stop_producing()
        except Exception as error:  # noqa: BLE001 - the verdict says it
            self._watch.demand(False, f"stop_producing does not raise, but raised {error!r}")

    def has_written(self) -> None:
        # Within one resume_producing a pull producer may write more than once.
        self.asked = self._resuming


class _DTPForProducer(DTP):
    """A DTP that watches its producer."""

    def __init__(self, watch: _Watch, *, high_water: int, max_chunk: int) -> None:
        super().__init__(high_water=high_water, close_timeout=None)
        self.watch = watch
        self.watched: _WatchedProducer | None = None
        self.unregistered = 0
        self.writes = 0
        self._max_chunk = max_chunk

    def register_producer(self, producer: Producer, streaming: bool) -> None:
        if streaming:
            self.watch.demand(
                callable(getattr(producer, "pause_producing", None)),
                "a push producer has pause_producing",
            )

        self.watched = _WatchedProducer(producer, streaming, self.watch)
        super().register_producer(cast("Producer", self.watched), streaming)

    def unregister_producer(self) -> None:
        self.unregistered += 1
        super().unregister_producer()

    def write(self, data: Buffer) -> None:
        demand, watched = self.watch.demand, self.watched
        self.writes += 1
        demand(watched is not None, "write comes after register_producer")
        demand(self.unregistered == 0, "nothing is written after unregister_producer")
        demand(len(data) <= self._max_chunk, f"no write of more than {self._max_chunk} bytes")
        if watched is not None and not self.unregistered:
            demand(not watched.stopped, "nothing is written after stop_producing")
            demand(
                watched.stopped or watched.may_write,
                "nothing is written while paused"
                if watched.streaming
                else "a pull producer writes when it was asked",
            )
            watched.has_written()

        super().write(data)


async def check_producer(
    start: Callable[[DTP], object],
    *,
    expected: bytes | None = None,
    max_chunk: int = 1024 * 1024,
    patience: float = 5.0,
) -> None:
    """Check that a producer fulfils its contract, push or pull.

    It is run on a connection that takes all at once, on one that takes next
    to nothing and pauses after each write, and on ones that are lost before
    the first write, after it, and while paused.

    Args:
        start: Makes a new producer for the connection that it is given and
            registers it there. It may be, or return, an awaitable that runs
            as long as the producer does.
        expected: What must have been sent in the end. None: the same each time.
        max_chunk: The longest write allowed, in bytes.
        patience: Seconds for each run; more is a violation.

    Raises:
        ConformanceError: It does not; says in which run, and what it broke.

    Cancellation aborts the connection, which stops the producer.
    """

    for scenario, high_water, auto_drain in (
        ("a connection that takes all at once", 1024 * 1024, True),
        ("a connection that pauses after each write", 0, False),
    ):
        watch = _Watch(scenario)
        dtp = _DTPForProducer(watch, high_water=high_water, max_chunk=max_chunk)
        sent = await _run_producer(dtp, start, auto_drain=auto_drain, patience=patience)
        watch.demand(dtp.unregistered == 1, "unregister_producer is called once")
        if expected is None:
            expected = sent
        watch.demand(
            sent == expected,
            f"all is sent, but came {len(sent)} bytes of {len(expected)}, or others",
        )
        watch.verdict()

    for scenario, writes in (
        ("a connection lost before the first write", 0),
        ("a connection lost after the first write, while paused", 1),
    ):
        watch = _Watch(scenario)
        dtp = _DTPForProducer(watch, high_water=0, max_chunk=max_chunk)
        await _lose_producer(dtp, start, writes=writes, patience=patience)
        watch.verdict()


async def _run_producer(
    dtp: _DTPForProducer, start: Callable[[DTP], object], *, auto_drain: bool, patience: float
) -> bytes:
    transport = MemoryTransport(dtp, auto_drain=auto_drain)
    started = _ensure_task(start(dtp))
    nibble = True

    def step() -> bool:
        nonlocal nibble
        if transport.eof_sent:
            transport.feed_eof()
        else:
            # A byte, then the rest: a resume comes when the buffer is low, not at each step.
            transport.drain(1 if nibble else None)
            nibble = not nibble

        return transport.is_lost

    try:
        ended = await _poll(step, patience)
        dtp.watch.demand(ended, f"ends within {patience:g} s")
        if ended:
            await _report_end(dtp)
    finally:
        dtp.abort()
        await _finish_task(started, patience)

    return bytes(transport.sent)


async def _lose_producer(
    dtp: _DTPForProducer, start: Callable[[DTP], object], *, writes: int, patience: float
) -> None:
    transport = MemoryTransport(dtp)
    started = _ensure_task(start(dtp))
    try:
        if writes:
            await _poll(lambda: dtp.writes >= writes or dtp.unregistered > 0, patience)
        elif started is not None:
            await _poll(lambda: dtp.watched is not None, patience)

        unregistered = dtp.unregistered
        transport.lose(_connection_reset())
        # That nothing happens any more shows only in time: turns of the loop, and some more
        # for a producer that has a thread.
        await _poll(lambda: False, min(0.02, patience))
        dtp.watch.demand(dtp.unregistered <= max(unregistered, 1), "unregistered once at most")
    finally:
        dtp.abort()
        await _finish_task(started, patience, may_fail=True)


async def _report_end(dtp: _DTPForProducer) -> None:
    try:
        await dtp.wait_closed()
    except FTPDataError as error:
        dtp.watch.demand(False, f"does not fail, but failed: {error} ({error.__cause__!r})")


class _WatchedConsumer:
    """Stands between a DTP and the consumer under test."""

    def __init__(self, consumer: Consumer, watch: _Watch) -> None:
        self.consumer = consumer
        self.is_registered = False
        self._watch = watch

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        self.is_registered = True
        method = self.consumer.register_producer
        self._call(lambda: method(producer, streaming), "register_producer")

    def write(self, data: bytes) -> None:
        self._call(lambda: self.consumer.write(data), "write")

    def unregister_producer(self) -> None:
        self.is_registered = False
        self._call(self.consumer.unregister_producer, "unregister_producer")

    def _call(self, method: Callable[[], None], name: str) -> None:
        try:
            method()
        except Exception as error:
            self._watch.demand(False, f"{name} does not raise, but raised {error!r}")
            raise


class _DTPForConsumer(DTP):
    """A DTP that watches its consumer."""

    def __init__(self, consumer: Consumer, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch
        self.watched = _WatchedConsumer(consumer, watch)
        self.is_paused: bool = False

    def pause_producing(self) -> None:
        self._called("pause_producing")
        self.watch.demand(not self.is_paused, "pauses and resumes in turn, but paused twice")
        self.is_paused = True
        super().pause_producing()

    def resume_producing(self) -> None:
        self._called("resume_producing")
        self.watch.demand(self.is_paused, "pauses and resumes in turn, but resumed unpaused")
        self.is_paused = False
        super().resume_producing()

    def stop_producing(self) -> None:
        self._called("stop_producing")
        self.watch.demand(False, "takes the data, but called stop_producing")
        super().stop_producing()

    def _called(self, name: str) -> None:
        self.watch.demand(
            self.watched.is_registered, f"leaves the producer alone once unregistered, not {name}"
        )


async def check_consumer(
    make: Callable[[], C],
    *,
    data: bytes = b"The quick brown fox\r\njumps over the lazy dog.\r\n\0\xff",
    received: Callable[[C], bytes | Awaitable[bytes]] | None = None,
    high_water: int | None = None,
    patience: float = 5.0,
) -> None:
    """Check that a consumer fulfils its contract.

    New ones are given the data in one piece, byte by byte, and cut short by a
    reset; one gets nothing but an end of file, one a second producer.

    Args:
        make: Makes a new consumer.
        data: What to give it.
        received: Tells what a consumer made of the data, once it was
            unregistered; must equal `data`. None compares nothing.
        high_water: Bytes that it may take before it has to pause, where it
            cannot get rid of them: the loop does not run meanwhile. None for
            a consumer that is done with the data when `write` returns.
        patience: Seconds for each run; more is a violation.

    Raises:
        ConformanceError: It does not; says in which run, and what it broke.
    """

    for scenario, pieces in (
        ("all in one piece", [data]),
        ("byte by byte", [data[i : i + 1] for i in range(len(data))]),
        ("an end of file and nothing else", []),
    ):
        watch = _Watch(scenario)
        consumer = make()
        await _run_consumer(consumer, watch, pieces, patience=patience)
        if received is not None and not watch.violations:
            got = received(consumer)
            got = got if isinstance(got, bytes) else await got
            watch.demand(got == b"".join(pieces), f"the data arrive, but came {got!r:.80}")
        watch.verdict()

    watch = _Watch("a reset after the first byte")
    await _run_consumer(make(), watch, [data[:1]], patience=patience, is_reset=True)
    watch.verdict()

    watch = _Watch("a second producer")
    await _register_twice(make(), watch)
    watch.verdict()

    if high_water is not None:
        watch = _Watch(f"more than {high_water} bytes at once")
        await _flood_consumer(make(), watch, data, high_water)
        watch.verdict()


async def _run_consumer(
    consumer: Consumer,
    watch: _Watch,
    pieces: list[bytes],
    *,
    patience: float,
    is_reset: bool = False,
) -> None:
    dtp = _DTPForConsumer(consumer, watch)
    transport = MemoryTransport(dtp)
    waiter = dtp.register_consumer(dtp.watched)
    transport.feed(*pieces)
    try:
        if is_reset:
            await _poll(lambda: dtp.bytes_received > 0, patience)
            transport.lose(_connection_reset())
            # It must not fall upon a producer that is gone, now or a little later.
            await _poll(lambda: False, min(0.02, patience))
        else:
            transport.feed_eof()
            ended = await _poll(waiter.done, patience)
            watch.demand(
                ended, f"takes it all within {patience:g} s" + ", but paused" * dtp.is_paused
            )
    finally:
        dtp.abort()
        await _poll(lambda: transport.is_lost, patience)


async def _register_twice(consumer: Consumer, watch: _Watch) -> None:
    dtp = _DTPForConsumer(consumer, watch)
    transport = MemoryTransport(dtp)
    dtp.register_consumer(dtp.watched)
    try:
        consumer.register_producer(cast("PushProducer", DTP()), True)
    except RuntimeError:
        pass
    except Exception as error:  # noqa: BLE001 - the verdict says it
        watch.demand(False, f"refuses a second producer with RuntimeError, not {error!r}")
    else:
        watch.demand(False, "refuses a second producer with RuntimeError")
    finally:
        transport.lose()


async def _flood_consumer(consumer: Consumer, watch: _Watch, data: bytes, high_water: int) -> None:
    dtp = _DTPForConsumer(consumer, watch)
    transport = MemoryTransport(dtp)
    dtp.register_consumer(dtp.watched)
    given = 0
    while given <= high_water and not dtp.is_paused and dtp.is_connected:
        transport.deliver(data)
        given += len(data)

    watch.demand(dtp.is_paused, "pauses once it holds too much")
    transport.lose(_connection_reset())
    await asyncio.sleep(0)


async def _poll(condition: Callable[[], bool], patience: float) -> bool:
    """Run the loop until the condition holds, for `patience` seconds at most."""

    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    turns = 0
    while not condition():
        if loop.time() >= deadline:
            return False

        # Whoever needs only the loop gets it; whoever needs a thread gets time.
        turns += 1
        await asyncio.sleep(0 if turns % 64 else 0.001)

    return True


def _ensure_task(result: object) -> asyncio.Future[Any] | None:
    return asyncio.ensure_future(result) if isinstance(result, Awaitable) else None


async def _finish_task(
    task: asyncio.Future[Any] | None, patience: float, *, may_fail: bool = False
) -> None:
    """Wait for what `start` returned; cancel it where it does not end."""

    if task is None:
        return

    await asyncio.wait((task,), timeout=patience)
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))

    if not may_fail and not task.cancelled():
        task.result()
    elif not task.cancelled():
        task.exception()


# Faults of real peers


class Cut(enum.Enum):
    """How a connection is cut."""

    RESET = "reset"
    CLOSE = "close"
    HALF_CLOSE = "half close"


async def tcp_pair(
    host: str = "127.0.0.1",
    *,
    send_buffer: int | None = None,
    receive_buffer: int | None = None,
) -> tuple[socket.socket, socket.socket]:
    """Connect two real TCP sockets, for `AcceptedEndpoint` and a scripted peer.

    Args:
        host: Local address, IPv4 or IPv6.
        send_buffer: SO_SNDBUF of the first, in bytes.
        receive_buffer: SO_RCVBUF of the second, in bytes.

    Returns:
        The accepted socket and the peer's, both non-blocking.
    """

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setblocking(False)
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)

        listener.bind((host, 0))
        listener.listen(1)
        peer = socket.socket(family, socket.SOCK_STREAM)
        try:
            peer.setblocking(False)
            if receive_buffer is not None:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

            await asyncio.get_running_loop().sock_connect(peer, listener.getsockname())
            accepted = await _accept(listener)
        except BaseException:
            peer.close()
            raise

    accepted.setblocking(False)
    return accepted, peer


async def _accept(listener: socket.socket) -> socket.socket:
    """Accept without a future: a cancellation would lose the socket in it."""

    while True:
        try:
            return listener.accept()[0]
        except BlockingIOError:
            await asyncio.sleep(0)


def reset(sock: socket.socket) -> None:
    """Close a socket with a reset (RST), as a peer that crashed or aborted."""

    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half_close(sock: socket.socket) -> None:
    """Send the end of file (FIN), and keep the other direction open."""

    sock.shutdown(socket.SHUT_WR)


async def send_then_cut(sock: socket.socket, data: bytes, how: Cut) -> None:
    """Send data as a peer, then cut."""

    await asyncio.get_running_loop().sock_sendall(sock, data)
    _cut(sock, how)


async def receive_then_cut(sock: socket.socket, nbytes: int, how: Cut) -> bytes:
    """Receive exactly so many bytes as a peer, then cut, in the middle of whatever comes.

    Returns:
        What came; fewer bytes where the end of file came first.
    """

    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < nbytes:
        chunk = await loop.sock_recv(sock, nbytes - len(received))
        if not chunk:
            break
        received += chunk

    _cut(sock, how)
    return received


def _cut(sock: socket.socket, how: Cut) -> None:
    if how is Cut.RESET:
        reset(sock)
    elif how is Cut.CLOSE:
        sock.close()
    else:
        half_close(sock)


# Cancellation


_HIGHEST_WATCHED_DESCRIPTOR = 2048


async def sweep(
    scenario: Callable[[], Coroutine[Any, Any, object]],
    *,
    check: Callable[[], object] | None = None,
    limit: int = 1000,
    patience: float = 5.0,
) -> int:
    """Cancel a scenario at its first suspension, then at its second, and so on.

    It is run once to its end first. Each suspension is cancelled twice over: at
    the moment it begins, and at the moment when what was waited for has come
    but the scenario has not yet gone on, where a result is lost most easily.
    After each run no task and no file descriptor may be left that was not
    there before, and the cancellation must have come through. (Python 3.11's
    `asyncio.wait_for` swallows it at the second of these moments;
    `asyncio.timeout` does not.)

    Args:
        scenario: Makes a coroutine that does it all, from scratch each time.
        check: Called after each run; raises or returns an awaitable that does.
        limit: Suspensions that are too many.
        patience: Seconds for each run, and for what it leaves to go away.

    Returns:
        How many suspensions there were.

    Raises:
        AssertionError: Something is left, the cancellation was swallowed, or
            the run did not end; names the suspension.
    """

    # So that the scenario works; and loops open some descriptors of their own the first time.
    await asyncio.wait_for(scenario(), patience)
    suspensions = 0
    for at_wakeup in (False, True):
        for k in range(1, limit + 2):
            assert k <= limit, f"the scenario is not at its end after {limit} suspensions"
            moment = f"cancelled at suspension {k}" + (", when it was over" if at_wakeup else "")
            if not await _cancel_once(scenario, k, at_wakeup, moment, patience):
                suspensions = max(suspensions, k - 1)
                break

            outcome = check() if check is not None else None
            if isinstance(outcome, Awaitable):
                await outcome

    return suspensions


async def _cancel_once(
    scenario: Callable[[], Coroutine[Any, Any, object]],
    k: int,
    at_wakeup: bool,
    moment: str,
    patience: float,
) -> bool:
    """Run the scenario, cancelled at its k-th suspension; return whether it had one."""

    tasks_before = asyncio.all_tasks()
    descriptors_before = _open_descriptors()
    stepper = _Stepper(scenario(), k, at_wakeup)
    task = asyncio.ensure_future(stepper.run())
    stepper.task = task
    done, _ = await asyncio.wait((task,), timeout=patience)
    if not done:
        task.cancel()
        await asyncio.wait((task,), timeout=patience)
        raise AssertionError(f"{moment}: did not end within {patience:g} s")

    left: set[object] = set()

    def is_clean() -> bool:
        left.clear()
        left.update(asyncio.all_tasks() - tasks_before)
        left.update(f"descriptor {fd}" for fd in _open_descriptors() - descriptors_before)
        return not left

    del done
    if not task.cancelled() and (not stepper.has_cancelled or task.exception() is not None):
        task.result()

    assert task.cancelled() or not stepper.has_cancelled, f"{moment}: swallowed the cancellation"
    assert await _poll(is_clean, patience), f"{moment}: left behind {sorted(map(str, left))}"
    return stepper.has_cancelled


class _Stepper:
    """Drives a coroutine and counts how often it suspends."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], k: int, at_wakeup: bool) -> None:
        self.task: asyncio.Task[object] | None = None
        self.has_cancelled = False
        self._coroutine = coroutine
        self._k = k
        self._at_wakeup = at_wakeup

    async def run(self) -> object:
        return await self._steps()

    @types.coroutine
    def _steps(self) -> Generator[Any, Any, object]:
        send: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                waited_for = send()
            except StopIteration as stop:
                return cast("object", stop.value)

            self._suspended(waited_for)
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 - the coroutine must have it
                send = _throw(self._coroutine, error)
            else:
                send = lambda: self._coroutine.send(None)  # noqa: E731

    def _suspended(self, waited_for: Any) -> None:
        self._k -= 1
        if self._k != 0:
            return

        assert self.task is not None
        if not self._at_wakeup:
            self.has_cancelled = True
            self.task.cancel()
        elif waited_for is None:
            asyncio.get_running_loop().call_soon(self._cancel)
        else:
            # Added before the task's own callback, and so called before it goes on.
            waited_for.add_done_callback(self._cancel)

    def _cancel(self, _: object = None) -> None:
        assert self.task is not None
        if not self.task.done():
            self.has_cancelled = True
            self.task.cancel()


def _throw(coroutine: Coroutine[Any, Any, object], error: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(error)


def _open_descriptors() -> set[int]:
    """Find the open file descriptors with one system call; none where there is no such call."""

    if not hasattr(select, "poll"):
        return set()

    # The system refuses to be asked about more than it would let us open.
    watched = range(min(_HIGHEST_WATCHED_DESCRIPTOR, os.sysconf("SC_OPEN_MAX")))
    poller = select.poll()
    for descriptor in watched:
        poller.register(descriptor, 0)

    closed = {descriptor for descriptor, event in poller.poll(0) if event & select.POLLNVAL}
    return set(watched) - closed
