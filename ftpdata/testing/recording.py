"""Producers and consumers that record the calls they get, and insist on their contracts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

from ..connection.protocol import DTP
from ..contracts import Producer, PushProducer

__all__ = [
    "ConformanceError",
    "RecordingConsumer",
    "RecordingPullProducer",
    "RecordingPushProducer",
]


class ConformanceError(AssertionError):
    """An object does not fulfil its contract of `ftpdata.contracts`."""


class RecordingConsumer:
    """A consumer that keeps its data and records the calls it gets.

    It insists on the order of its contract: a call that breaks it raises
    `ConformanceError`, and is listed in `violations`.

    Args:
        pause_every: Call ``pause_producing`` within every n-th write; the test
            calls ``consumer.producer.resume_producing()``.
        fail_at: Raise `error` within the n-th write, counted from 1.
        error: The exception to raise then.

    Attributes:
        calls: Names of the methods called, in order.
        chunks: The data of each write.
        producer: The registered producer; None before and after.
        is_paused: Whether it has paused the producer.
        violations: The rules of the contract that were broken.
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
        self._error = error or RuntimeError("the consumer failed, as the test asked")
        self.is_paused: bool = False
        self._in_call = False

    @property
    def data(self) -> bytes:
        """All data that were written."""

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
    """Base of both kinds of recording producers.

    Args:
        consumer: The consumer to write to, usually a `DTP`.
        chunks: The data to write.
        fail_at: Raise `error` instead of the n-th chunk, counted from 1.
        error: The exception to raise then.
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
        self._error = error or RuntimeError("the producer failed, as the test asked")
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
        """Write one chunk, or unregister if there is none left."""

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
    """A pull producer that writes one chunk each time it is asked, and records each call.

    It insists on its contract: it is never asked from within its own write, nor
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

    It insists on its contract: it is paused and resumed strictly in turn.
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
