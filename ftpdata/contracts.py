"""The contracts between ftpdata and the code around it, as typing Protocols.

Pure. Names are Twisted's in snake case (`twisted.internet.interfaces`):
`register_producer` is its ``registerProducer``, and so on. Nothing here needs
to be inherited from: an object that has the methods fulfils the contract. The
``require_`` functions refuse one that lacks a method, where it is handed over;
`ftpdata.testing` has checks of what the methods do.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from .outcome import End

__all__ = [
    "Buffer",
    "BufferedConsumer",
    "Consumer",
    "Decoder",
    "Destination",
    "Encoder",
    "Producer",
    "ProgressCallback",
    "PullProducer",
    "PushProducer",
    "StartableProducer",
    "UploadTarget",
    "require_binary_file",
    "require_consumer",
    "require_methods",
    "require_producer",
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
    `buffer_updated` follows a `get_buffer`. Data that could not be read into it
    come by `write`.
    """

    def get_buffer(self) -> memoryview:
        """Give memory to read into; not empty unless the producer was paused."""

    def buffer_updated(self, nbytes: int) -> None:
        """Take note that this number of bytes was read into it. As for `write`."""


class Destination(Protocol):
    """What a producer is started on: a `DTP`, or what stands before one."""

    def register_producer(self, producer: Producer, streaming: bool) -> None:
        """Learn who will write, and how it wants to be asked."""

    def unregister_producer(self) -> None:
        """Take note that everything is written: end the transfer."""

    def write(self, data: Buffer) -> None:
        """Send data."""

    def abort(
        self, end: End = ..., message: str | None = ..., *, cause: BaseException | None = ...
    ) -> None:
        """End the transfer at once, for a reason. An `FTPDataError` as the cause chooses `end`."""


class StartableProducer(Protocol):
    """A producer that registers itself where it is started."""

    @property
    def streaming(self) -> bool:
        """Whether it is a push producer."""
        ...

    def start(self, destination: Destination) -> None:
        """Register with the destination, once, and produce when it wants data."""

    async def aclose(self) -> None:
        """Stop for good, and wait until nothing is held."""


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


# Whether an object can fulfil its contract


def require_methods(thing: object, kind: str, methods: tuple[str, ...]) -> None:
    """Refuse an object that lacks a method, or whose methods would have to be awaited.

    Args:
        thing: What was handed over.
        kind: What it should be, for the error.
        methods: Names of the methods that will be called, none of them a coroutine.

    Raises:
        TypeError: It lacks one of them, or one is a coroutine function: it would
            be called and never run.
    """

    for name in methods:
        method = getattr(thing, name, None)
        if not callable(method):
            raise TypeError(f"expected {kind}, which has a method {name}, not {thing!r:.80}")
        if inspect.iscoroutinefunction(method):
            raise TypeError(f"the method {name} of {kind} is not awaited: {thing!r:.80}")


def require_producer(producer: object, *, streaming: bool) -> None:
    """Refuse an object that is not a `PushProducer`, or a `PullProducer` where not `streaming`.

    Raises:
        TypeError: See `require_methods`.
    """

    if streaming:
        methods = ("resume_producing", "stop_producing", "pause_producing")
        require_methods(producer, "a push producer", methods)
    else:
        require_methods(producer, "a pull producer", ("resume_producing", "stop_producing"))


def require_consumer(consumer: object) -> None:
    """Refuse an object that is not a `Consumer`.

    Raises:
        TypeError: See `require_methods`.
    """

    methods = ("register_producer", "unregister_producer", "write")
    require_methods(consumer, "a consumer", methods)


def require_binary_file(file: object, ability: str) -> None:
    """Refuse an object that is not an open binary file.

    Args:
        file: What was handed over.
        ability: ``readable`` or ``writable``: what it has to be.

    Raises:
        TypeError: It has no ``read`` or ``write``, or is a text file.
        ValueError: It is closed, or was not opened for this.
    """

    method = {"readable": "read", "writable": "write"}[ability]
    require_methods(file, f"a {ability} binary file", (method,))
    if hasattr(file, "encoding"):
        raise TypeError(f"expected a binary file, not a text file: {file!r:.80}")
    if getattr(file, "closed", False):
        raise ValueError(f"expected an open file, not a closed one: {file!r:.80}")

    is_able = getattr(file, ability, None)
    if is_able is not None and not is_able():
        raise ValueError(f"expected a {ability} file: {file!r:.80}")
