"""Checks that an object fulfils its contract of `ftpdata.contracts`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from ..connection.protocol import DTP
from ..contracts import Buffer, Consumer, Producer, PushProducer
from ..errors import FTPDataError
from .cancellation import poll
from .recording import ConformanceError
from .transport import MemoryTransport, connection_reset

__all__ = ["check_consumer", "check_producer"]

C = TypeVar("C", bound=Consumer)


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

    It runs on a connection that takes everything at once, on one that takes next
    to nothing and pauses after each write, and on connections that are lost before
    the first write, after it, and while paused.

    Args:
        start: Makes a new producer and registers it with the connection that it is
            called with. It may be a coroutine function, or return an awaitable, that
            runs as long as the producer does.
        expected: The data that must have been sent in the end. None accepts any data
            that are the same each time.
        max_chunk: The longest write allowed, in bytes.
        patience: Seconds for each run; more is a violation.

    Raises:
        ConformanceError: It does not fulfil the contract; names the run and the rules
            that it broke.

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
            f"sends the expected {len(expected)} bytes, but sent {len(sent)}, or different ones",
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
        ended = await poll(step, patience)
        dtp.watch.demand(ended, f"ends within {patience:g} s")
        if ended:
            await _report_end(dtp)
    finally:
        dtp.abort()
        await _finish_task(started, dtp.watch, patience)

    return bytes(transport.sent)


async def _lose_producer(
    dtp: _DTPForProducer, start: Callable[[DTP], object], *, writes: int, patience: float
) -> None:
    transport = MemoryTransport(dtp)
    started = _ensure_task(start(dtp))
    try:
        if writes:
            await poll(lambda: dtp.writes >= writes or dtp.unregistered > 0, patience)
        elif started is not None:
            await poll(lambda: dtp.watched is not None, patience)

        unregistered = dtp.unregistered
        transport.lose(connection_reset())
        # It takes time to show that nothing happens any more: turns of the loop, and some more
        # for a producer that has a thread.
        await poll(lambda: False, min(0.02, patience))
        dtp.watch.demand(dtp.unregistered <= max(unregistered, 1), "unregistered once at most")
    finally:
        dtp.abort()
        await _finish_task(started, dtp.watch, patience, may_fail=True)


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

    New consumers get the data in one piece, byte by byte, and cut short by a
    reset; one gets only an end of file, and one gets a second producer.

    Args:
        make: Makes a new consumer.
        data: The data to write to it.
        received: Returns the data that a consumer has received, once its producer was
            unregistered; they must equal `data`. None compares nothing.
        high_water: Bytes that it may hold before it has to pause, while it cannot
            pass them on: the loop does not run meanwhile. None for a consumer that
            is done with the data when `write` returns.
        patience: Seconds for each run; more is a violation.

    Raises:
        ConformanceError: It does not fulfil the contract; names the run and the rules
            that it broke.
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
            await poll(lambda: dtp.bytes_received > 0, patience)
            transport.lose(connection_reset())
            # It must not call a producer that is gone, now or a little later.
            await poll(lambda: False, min(0.02, patience))
        else:
            transport.feed_eof()
            ended = await poll(waiter.done, patience)
            watch.demand(
                ended, f"takes it all within {patience:g} s" + ", but paused" * dtp.is_paused
            )
    finally:
        dtp.abort()
        await poll(lambda: transport.is_lost, patience)


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
    transport.lose(connection_reset())
    await asyncio.sleep(0)


def _ensure_task(result: object) -> asyncio.Future[Any] | None:
    return asyncio.ensure_future(result) if isinstance(result, Awaitable) else None


async def _finish_task(
    task: asyncio.Future[Any] | None, watch: _Watch, patience: float, *, may_fail: bool = False
) -> None:
    """Wait for the awaitable that `start` returned; cancel it if it does not end."""

    if task is None:
        return

    await asyncio.wait((task,), timeout=patience)
    if not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=patience)

    if not task.done():
        watch.demand(
            False, f"what start has returned ends within {patience:g} s when it is cancelled"
        )
    elif not may_fail and not task.cancelled():
        task.result()
    elif not task.cancelled():
        task.exception()
