# ruff: noqa: N802 - the names are Twisted's
"""Twisted's producers and consumers on a `DTP`, and a `DTP` in their place.

Twisted's contract is that of ftpdata in camel case
(`twisted.internet.interfaces`), so an adapter only translates names. Twisted
itself is not imported.

================== ============================ ==================================
What there is      What is wanted               How
================== ============================ ==================================
Twisted's consumer `DTP.register_consumer`      ``ConsumerAdapter(consumer)``
Twisted's producer `DTP.register_producer`      ``ProducerAdapter(producer)``
a `DTP`, to send   an ``IConsumer``             ``TwistedConsumer(dtp)``
a `DTP`, received  an ``IPushProducer``         ``TwistedProducer(dtp)``
================== ============================ ==================================

So Twisted's own sender sends a file::

    FileSender().beginFileTransfer(file, TwistedConsumer(dtp))
    await dtp.wait_closed()

and its consumer receives one::

    await dtp.register_consumer(ConsumerAdapter(FileConsumer(file)))

Objects that call Twisted's reactor need one that runs on the same event loop:
``AsyncioSelectorReactor``.
"""

from __future__ import annotations

from typing import Protocol, cast

from ..contracts import (
    Buffer,
    Destination,
    Producer,
    PullProducer,
    PushProducer,
    require_methods,
)
from ..errors import NotConnected

__all__ = [
    "ConsumerAdapter",
    "ConsumerOfTwisted",
    "ProducerAdapter",
    "ProducerOfTwisted",
    "TwistedConsumer",
    "TwistedProducer",
]


class ProducerOfTwisted(Protocol):
    """What Twisted calls ``IPullProducer``; an ``IPushProducer`` has ``pauseProducing`` too."""

    def resumeProducing(self) -> object:
        """Produce."""

    def stopProducing(self) -> object:
        """Stop for good."""


class ConsumerOfTwisted(Protocol):
    """What Twisted calls ``IConsumer``."""

    def registerProducer(self, producer: TwistedProducer, streaming: bool, /) -> object:
        """Learn who will write."""

    def unregisterProducer(self) -> object:
        """Take note that the producer has finished."""

    def write(self, data: bytes, /) -> object:
        """Take data."""


# Twisted's objects for ftpdata


class ProducerAdapter:
    """One of Twisted's producers, for `DTP.register_producer`.

    Args:
        producer: Push or pull, as it is registered.

    Raises:
        TypeError: It is not one of Twisted's producers.
    """

    def __init__(self, producer: ProducerOfTwisted) -> None:
        methods = ("resumeProducing", "stopProducing")
        require_methods(producer, "a producer of Twisted", methods)
        self._producer = producer

    def __repr__(self) -> str:
        return f"ProducerAdapter({self._producer!r})"

    def resume_producing(self) -> None:
        """Call ``resumeProducing``."""

        self._producer.resumeProducing()

    def pause_producing(self) -> None:
        """Call ``pauseProducing``; never called for a pull producer, which need not have it."""

        cast("TwistedProducer", self._producer).pauseProducing()

    def stop_producing(self) -> None:
        """Call ``stopProducing``."""

        self._producer.stopProducing()


class ConsumerAdapter:
    """One of Twisted's consumers, for `DTP.register_consumer`.

    Args:
        consumer: Gets a `TwistedProducer` as its producer.

    Raises:
        TypeError: It is not one of Twisted's consumers.
    """

    def __init__(self, consumer: ConsumerOfTwisted) -> None:
        methods = ("registerProducer", "unregisterProducer", "write")
        require_methods(consumer, "a consumer of Twisted", methods)
        self._consumer = consumer

    def __repr__(self) -> str:
        return f"ConsumerAdapter({self._consumer!r})"

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Call ``registerProducer``."""

        self._consumer.registerProducer(TwistedProducer(producer), streaming)

    def unregister_producer(self) -> None:
        """Call ``unregisterProducer``."""

        self._consumer.unregisterProducer()

    def write(self, data: bytes) -> None:
        """Call ``write``."""

        self._consumer.write(data)


# ftpdata's objects for Twisted


class TwistedProducer:
    """A producer, such as a `DTP` that receives, with the methods of ``IPushProducer``.

    Args:
        producer: What to call.
    """

    def __init__(self, producer: PullProducer | PushProducer) -> None:
        self._producer = producer

    def __repr__(self) -> str:
        return f"TwistedProducer({self._producer!r})"

    def resumeProducing(self) -> None:
        """Call ``resume_producing``."""

        self._producer.resume_producing()

    def pauseProducing(self) -> None:
        """Call ``pause_producing``."""

        cast("PushProducer", self._producer).pause_producing()

    def stopProducing(self) -> None:
        """Call ``stop_producing``."""

        self._producer.stop_producing()


class TwistedConsumer:
    """A `DTP` that sends, or what stands before one, with the methods of ``IConsumer``.

    Args:
        destination: What to call.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def __repr__(self) -> str:
        return f"TwistedConsumer({self._destination!r})"

    def registerProducer(self, producer: ProducerOfTwisted, streaming: bool) -> None:
        """Call ``register_producer``.

        A connection that has ended stops the producer at once, as Twisted's
        transports do.

        Raises:
            RuntimeError: The DTP has or has had its producer.
        """

        try:
            self._destination.register_producer(
                cast("Producer", ProducerAdapter(producer)), streaming
            )
        except NotConnected:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """Call ``unregister_producer``, which ends the transfer."""

        self._destination.unregister_producer()

    def write(self, data: Buffer) -> None:
        """Call ``write``.

        Raises:
            NotConnected: The connection is not open. Twisted's transports
                drop the data instead. Reply 425.
        """

        self._destination.write(data)
