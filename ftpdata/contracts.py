"""The contracts between ftpdata and the code around it, as typing Protocols.

Pure. Names are Twisted's in snake case (`twisted.internet.interfaces`):
`register_producer` is its ``registerProducer``, and so on. Nothing here needs
to be inherited from; an object that has the methods fulfils the contract.
`ftpdata.testing` has checks that prove it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

__all__ = [
    "Buffer",
    "BufferedConsumer",
    "Consumer",
    "Decoder",
    "Encoder",
    "Producer",
    "ProgressCallback",
    "PullProducer",
    "PushProducer",
    "UploadTarget",
]

Buffer = bytes | bytearray | memoryview
"""What is accepted wherever bytes are written. What is returned is `bytes`."""


@runtime_checkable
class PullProducer(Protocol):
    """A producer that writes when it is asked, once for each time it is asked.

    Registered with ``register_producer(producer, streaming=False)``.
    """

    def resume_producing(self) -> None:
        """Produce once: at least one `write` to the consumer, now or later, or the end.

        The end is ``consumer.unregister_producer()``. An exception from here
        ends the transfer.
        """

    def stop_producing(self) -> None:
        """Stop for good: the consumer takes no more. Release what is held."""


@runtime_checkable
class PushProducer(PullProducer, Protocol):
    """A producer that writes at will, between `resume_producing` and `pause_producing`.

    Registered with ``register_producer(producer, streaming=True)``; starts
    un-paused.
    """

    def pause_producing(self) -> None:
        """Write nothing more until `resume_producing`."""


Producer = PullProducer
"""Either kind: a push producer has all that a pull producer has."""


@runtime_checkable
class Consumer(Protocol):
    """Takes what a producer writes.

    The order is always ``register_producer``, any number of ``write``,
    ``unregister_producer``; the last exactly once, whatever happened.
    """

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Learn who will write, to be able to pause it.

        Raises:
            RuntimeError: A producer is registered already.
        """

    def unregister_producer(self) -> None:
        """Take note that the producer will write no more."""

    def write(self, data: bytes) -> None:
        """Take data. May call ``producer.pause_producing()``; must not block."""


class BufferedConsumer(Consumer, Protocol):
    """A consumer that offers memory of its own to be read into.

    Between `register_producer` and `unregister_producer`, each
    `buffer_updated` follows a `get_buffer`. What could not be read there comes
    by `write` all the same.
    """

    def get_buffer(self) -> memoryview:
        """Give memory to read into; not empty unless the producer was paused."""

    def buffer_updated(self, nbytes: int) -> None:
        """Take note that so many bytes were read into it. As for `write`."""


class Encoder(Protocol):
    """Turns the bytes of a file into the bytes of the data connection, step by step.

    `feed` may be lazy: exhaust what it returns before the next call, and leave
    the data unchanged until then. No piece is empty.
    """

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Encode data; yields pieces, each of bounded size, in order."""

    def finish(self) -> Iterable[bytes]:
        """Yield what is still held, and the end mark if there is one. Called once, last."""


class Decoder(Protocol):
    """Turns the bytes of the data connection into the bytes of a file, step by step.

    As lazy as `Encoder`.
    """

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Decode data; yields pieces, each of bounded size, in order.

        Raises:
            InvalidData: The data cannot be what the peer meant. Reply 451.
        """

    def finish(self) -> Iterable[bytes]:
        """Yield what is still held. Called once, after the end of file.

        Raises:
            TruncatedTransfer: The end mark of the mode is missing. Reply 426.
            InvalidData: What is held cannot be the end of anything. Reply 451.
        """


class ProgressCallback(Protocol):
    """Told how far a transfer is. Called on the event loop; must not block."""

    def __call__(self, transferred: int, total: int | None, /) -> None:
        """Take note: `transferred` bytes of the file so far, `total` if known."""


class UploadTarget(Protocol):
    """Where an upload goes: a file, an object store, anything that can commit.

    Either `commit` or `discard` is called, once, also on cancellation; a
    `commit` that raises has cleaned up after itself.
    """

    async def write(self, data: bytes) -> None:
        """Take data, in order. Back-pressure is to return late."""

    async def commit(self) -> None:
        """Publish: the upload ended cleanly."""

    async def discard(self) -> None:
        """Throw away, or keep as partial: the upload was cut."""
