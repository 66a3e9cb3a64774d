"""What the consumers of this package have in common.

The rules of every consumer here:

1. It pauses its producer rather than hold more than its bound and one `write`.
2. A consumer is for one transfer: a second producer is a RuntimeError.
3. What fails in it raises out of `write` or `unregister_producer`, which ends
   the transfer with that error as the reason; what fails in a thread aborts
   the connection itself, with the same outcome.
4. What runs, ends: a task, where there is one, is the consumer's own, and
   ends once `unregister_producer` was called and all is done.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..contracts import Consumer, PushProducer, require_consumer
from ..errors import FTPDataError, QuotaExceeded
from ..outcome import End

__all__ = [
    "DEFAULT_HIGH_WATER",
    "ConsumerLink",
    "OneProducer",
    "connection_of",
    "reason_of",
    "too_large",
]

DEFAULT_HIGH_WATER = 256 * 1024
"""Bytes that a consumer holds before it pauses its producer."""


class OneProducer:
    """A consumer that takes one producer, once."""

    _producer: PushProducer | None = None
    _had_producer = False

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Take note of who will write.

        Raises:
            RuntimeError: A producer is or has been registered.
            ValueError: It is not a push producer, as a `DTP` is one.
        """

        if self._had_producer:
            raise RuntimeError(
                f"{type(self).__name__} is for one producer, and has had {self._producer!r}"
            )

        if not streaming:
            raise ValueError("expected a push producer: nobody here would ask a pull producer")

        self._had_producer = True
        self._producer = producer


class ConsumerLink(OneProducer):
    """A consumer that hands on to another one, which pauses the producer itself."""

    def __init__(self, consumer: Consumer) -> None:
        require_consumer(consumer)
        self._consumer = consumer

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Take note of who will write. See `OneProducer.register_producer`."""

        super().register_producer(producer, streaming)
        self._consumer.register_producer(producer, streaming)

    def unregister_producer(self) -> None:
        """Hand on that nothing more comes."""

        self._consumer.unregister_producer()


@runtime_checkable
class _Connection(Protocol):
    """What a `DTP` has beyond the contract of a producer."""

    @property
    def reason(self) -> FTPDataError | None: ...

    def abort(
        self, end: End = ..., message: str | None = ..., *, cause: BaseException | None = ...
    ) -> None: ...


def connection_of(producer: object) -> _Connection | None:
    """Return the producer if it can be aborted for a reason, as a `DTP` can."""

    return producer if isinstance(producer, _Connection) else None


def reason_of(producer: object) -> FTPDataError | None:
    """Return why what the producer wrote is not whole; None if it is, or if nobody knows."""

    return producer.reason if isinstance(producer, _Connection) else None


def too_large(size_limit: int) -> QuotaExceeded:
    """Make the error of a transfer that has more bytes than are allowed."""

    return QuotaExceeded(f"more than the {size_limit} bytes allowed came", end=End.SIZE_LIMIT)
