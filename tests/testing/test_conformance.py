"""The conformance checks pass good parties, and find each way to break a contract."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ftpdata.connection.protocol import DTP
from ftpdata.contracts import Consumer
from ftpdata.testing import (
    ConformanceError,
    RecordingConsumer,
    RecordingPullProducer,
    RecordingPushProducer,
    check_consumer,
    check_producer,
)

CHUNKS = [b"one", b"two", b"three"]
WHOLE = b"".join(CHUNKS)


# Producers


def started(producer_class: Any, **options: Any) -> Callable[[DTP], object]:
    """Return what check_producer starts."""

    def start(dtp: DTP) -> object:
        producer = producer_class(dtp, CHUNKS, **options)
        producer.register()
        if producer.streaming:
            producer.pump()

        return None

    return start


@pytest.mark.parametrize("producer_class", [RecordingPullProducer, RecordingPushProducer])
async def test_a_good_producer_passes(producer_class: Any) -> None:
    """Push and pull producers pass."""

    await check_producer(started(producer_class), expected=WHOLE)
    await check_producer(started(producer_class))


async def test_a_producer_with_a_task_passes() -> None:
    """What `start` returns may run as long as the producer does."""

    async def start(dtp: DTP) -> None:
        await asyncio.sleep(0)
        started(RecordingPullProducer)(dtp)

    await check_producer(start, expected=WHOLE)


class Deaf(RecordingPushProducer):
    """A producer that writes while it is paused."""

    def pump(self, limit: int | None = None) -> None:
        """Write everything."""
        while not self.is_done:
            self._produce_one()


class Zombie(RecordingPullProducer):
    """A producer that writes after it was stopped."""

    def stop_producing(self) -> None:
        """Write later."""
        asyncio.get_running_loop().call_soon(self._late)

    def _late(self) -> None:
        try:
            self._consumer.write(b"late")
        except Exception:  # noqa: BLE001 - as careless as can be
            return


class Eager(RecordingPullProducer):
    """A pull producer that writes before it is asked."""

    def register(self) -> None:
        """Register and write."""
        super().register()
        self._consumer.write(b"")


class Endless(RecordingPullProducer):
    """A producer that never unregisters."""

    def _produce_one(self) -> None:
        self._consumer.write(next(self._chunks, b"x"))


class Clumsy(RecordingPullProducer):
    """A producer that raises when it is stopped."""

    def stop_producing(self) -> None:
        """Raise an error."""
        raise ZeroDivisionError


class Twice(RecordingPullProducer):
    """A producer that unregisters twice."""

    def _produce_one(self) -> None:
        super()._produce_one()
        if self.is_done:
            self._consumer.unregister_producer()


class Short(RecordingPullProducer):
    """A producer that leaves out the last chunk."""

    def __init__(self, consumer: DTP, chunks: list[bytes], **options: Any) -> None:
        super().__init__(consumer, chunks[:-1], **options)


class Silent(RecordingPullProducer):
    """A pull producer that does nothing when it is asked."""

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
        (Short, {}, "sends the expected"),
        (Silent, {}, "ends within"),
        (RecordingPullProducer, {"fail_at": 2}, "does not fail"),
    ],
)
async def test_a_bad_producer_is_caught(
    producer_class: Any, options: dict[str, Any], complaint: str
) -> None:
    """The verdict names each defect."""

    # Only those that never end cost a wait.
    patience = 0.1 if complaint == "ends within" else 30.0
    producer = started(producer_class, **options)
    with pytest.raises(ConformanceError, match=complaint):
        await check_producer(producer, expected=WHOLE, patience=patience)


async def test_a_producer_that_swallows_its_cancellation_is_caught() -> None:
    """The check does not wait for it longer than it has patience."""

    is_over = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def start(dtp: DTP) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        started(RecordingPullProducer)(dtp)
        while not is_over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await is_over.wait()

    try:
        async with asyncio.timeout(5):
            with pytest.raises(ConformanceError, match=r"ends within 0.1 s when it is cancelled"):
                await check_producer(start, patience=0.1)
    finally:
        is_over.set()
        await asyncio.wait(tasks)


async def test_a_chunk_without_bound_is_caught() -> None:
    """What a producer writes at once has a limit."""

    with pytest.raises(ConformanceError, match="more than 2 bytes"):
        await check_producer(started(RecordingPullProducer), expected=WHOLE, max_chunk=2)


# Consumers


def data_of(consumer: RecordingConsumer) -> bytes:
    """Return what a consumer got."""
    return consumer.data


class Resuming(RecordingConsumer):
    """A consumer that pauses at each write and resumes from the loop, like one with a thread."""

    def write(self, data: bytes) -> None:
        """Keep the data, and pause."""
        super().write(data)
        self.pause()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self.producer is not None:
            self.resume()


async def test_a_good_consumer_passes() -> None:
    """Consumers that take everything at once, or pause, pass; results are compared in both ways."""

    async def data_later(consumer: RecordingConsumer) -> bytes:
        await asyncio.sleep(0)
        return consumer.data

    await check_consumer(RecordingConsumer, received=data_of)
    await check_consumer(Resuming, received=data_later, high_water=100)


class Losing(RecordingConsumer):
    """A consumer that loses the last byte of each write."""

    def write(self, data: bytes) -> None:
        """Keep all but the last byte."""
        super().write(data)
        self.chunks[-1] = data[:-1]


class Stuck(RecordingConsumer):
    """A consumer that pauses for ever."""

    def __init__(self) -> None:
        super().__init__(pause_every=1)


class PausingTwice(RecordingConsumer):
    """A consumer that pauses twice in a row."""

    def write(self, data: bytes) -> None:
        """Pause twice, then resume."""
        assert self.producer is not None
        self.producer.pause_producing()
        self.producer.pause_producing()
        self.producer.resume_producing()


class ResumingUnpaused(RecordingConsumer):
    """A consumer that resumes a producer that is not paused."""

    def write(self, data: bytes) -> None:
        """Resume the producer."""
        assert self.producer is not None
        self.producer.resume_producing()


class Stopping(RecordingConsumer):
    """A consumer that stops the transfer."""

    def write(self, data: bytes) -> None:
        """Stop the producer."""
        assert self.producer is not None
        self.producer.stop_producing()


class Clinging(RecordingConsumer):
    """A consumer that calls its producer after it was unregistered."""

    def unregister_producer(self) -> None:
        """Pause once more."""
        producer = self.producer
        super().unregister_producer()
        assert producer is not None
        producer.pause_producing()


class Promiscuous:
    """A consumer that accepts any number of producers."""

    def register_producer(self, producer: Any, streaming: bool) -> None:
        """Accept the producer."""

    def write(self, data: bytes) -> None:
        """Keep the data."""

    def unregister_producer(self) -> None:
        """Record the call."""


class FailingToClose(RecordingConsumer):
    """A consumer that raises at the end."""

    def unregister_producer(self) -> None:
        """Raise an error."""
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
    """The verdict names each defect."""

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    # Only the one that never resumes costs a wait.
    patience = 0.1 if make is Stuck else 30.0
    with pytest.raises(ConformanceError, match=complaint):
        await check_consumer(make, received=received, patience=patience, **options)
