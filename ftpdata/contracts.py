"""The contracts between ftpdata and the code around it, as typing Protocols.

Pure. The names are Twisted's in snake case (`twisted.internet.interfaces`):
`register_producer` is its ``registerProducer``, and so on. There is no need to
inherit from these classes: an object that has the methods fulfils the contract.
The ``require_`` functions refuse an object that lacks a method as soon as it is
passed in; `ftpdata.testing` checks what the methods do.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from .outcome import End, TransferResult

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
    "ReadableTarget",
    "ResumableTarget",
    "SentCallback",
    "StartableProducer",
    "UploadTarget",
    "require_binary_file",
    "require_consumer",
    "require_methods",
    "require_producer",
]

Buffer = bytes | bytearray | memoryview
"""Accepted wherever bytes are written. Functions return `bytes`."""


@runtime_checkable
class PullProducer(Protocol):
    """A producer that writes once each time it is asked.

    Registered with ``register_producer(producer, streaming=False)``.
    """

    def resume_producing(self) -> None:
        """Produce once: at least one `write` to the consumer, now or later, or the end.

        The end is ``consumer.unregister_producer()``. An exception from here
        ends the transfer.
        """

    def stop_producing(self) -> None:
        """Stop for good: the consumer accepts no more data. Release all resources."""


@runtime_checkable
class PushProducer(PullProducer, Protocol):
    """A producer that writes at will, between `resume_producing` and `pause_producing`.

    Registered with ``register_producer(producer, streaming=True)``; starts
    un-paused.
    """

    def pause_producing(self) -> None:
        """Write nothing more until `resume_producing`."""


Producer = PullProducer
"""Either kind: a push producer has all methods of a pull producer."""


@runtime_checkable
class Consumer(Protocol):
    """Receives the data that a producer writes.

    The order is always ``register_producer``, any number of ``write``, then
    ``unregister_producer`` exactly once, whatever happened.
    """

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Remember the producer that will write, in order to pause it.

        Raises:
            RuntimeError: A producer is registered already.
        """

    def unregister_producer(self) -> None:
        """Note that the producer will write no more."""

    def write(self, data: bytes) -> None:
        """Receive data. May call ``producer.pause_producing()``; must not block."""


class BufferedConsumer(Consumer, Protocol):
    """A consumer that offers memory of its own to be read into.

    Between `register_producer` and `unregister_producer`, each
    `buffer_updated` follows a `get_buffer`. Data that could not be read into
    that memory are passed to `write`.
    """

    def get_buffer(self) -> memoryview:
        """Return memory to read into; not empty unless the producer was paused."""

    def buffer_updated(self, nbytes: int) -> None:
        """Note that this number of bytes was read into it. The rules of `write` apply."""


class Destination(Protocol):
    """The object that a producer is started on: a `DTP`, or a wrapper in front of one."""

    def register_producer(self, producer: Producer, streaming: bool) -> None:
        """Remember the producer that will write, and whether it is a push producer."""

    def unregister_producer(self) -> None:
        """Note that everything is written: end the transfer."""

    def write(self, data: Buffer) -> None:
        """Send data."""

    def abort(
        self, end: End = ..., message: str | None = ..., *, cause: BaseException | None = ...
    ) -> None:
        """End the transfer at once, for a reason. An `FTPDataError` as the cause chooses `end`."""


class StartableProducer(Protocol):
    """A producer that registers itself with the object that it is started on."""

    @property
    def streaming(self) -> bool:
        """Whether it is a push producer."""
        ...

    def start(self, destination: Destination) -> None:
        """Register with the destination, once, and produce when it wants data."""

    async def aclose(self) -> None:
        """Stop for good, and wait until all resources are released."""


class Encoder(Protocol):
    """Turns the bytes of a file into the bytes of the data connection, step by step.

    `feed` may be lazy: exhaust what it returns before the next call, and leave
    the data unchanged until then. No piece is empty.
    """

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Encode data; yields pieces, each of bounded size, in order."""

    def finish(self) -> Iterable[bytes]:
        """Yield the data still held, and the end mark if there is one. Called once, last."""


class Decoder(Protocol):
    """Turns the bytes of the data connection into the bytes of a file, step by step.

    It may be as lazy as an `Encoder`.
    """

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Decode data; yields pieces, each of bounded size, in order.

        Raises:
            InvalidData: The data are not valid in the encoding. Reply 451.
        """

    def finish(self) -> Iterable[bytes]:
        """Yield the data still held. Called once, after the end of file.

        Raises:
            TruncatedTransfer: The end mark of the mode is missing. Reply 426.
            InvalidData: The held data are not a valid end. Reply 451.
        """


class ProgressCallback(Protocol):
    """Receives the progress of a transfer. Called on the event loop; must not block."""

    def __call__(self, transferred: int, total: int | None, /) -> None:
        """Note the progress: `transferred` bytes of the file so far, of `total` if known."""


class SentCallback(Protocol):
    """Learns that all of a download has left this system. Called on the event loop; no blocking.

    A server that says 226 now, and not when the peer has everything, saves a round trip. What it
    says may turn out to be wrong: the transfer function still returns, or raises, what is true.
    """

    def __call__(self, result: TransferResult, /) -> None:
        """Note it: `result` is what the transfer will return if nothing is lost on the way."""


class UploadTarget(Protocol):
    """The target of an upload: a file, an object store, anything that can commit.

    Either `commit` or `discard` is called, exactly once, also on cancellation. A
    `commit` that raises must have cleaned up after itself. Nothing that came stays if
    the upload is cut; a `ResumableTarget` keeps it.

    A target whose `commit` goes on to its end when the transfer is cancelled may have an
    attribute `is_published`, a bool: observers then learn how that upload really ended.
    """

    async def write(self, data: bytes) -> None:
        """Receive data, in order. To slow the sender down, return late."""

    async def commit(self) -> None:
        """Publish: the upload ended cleanly."""

    async def discard(self) -> None:
        """Discard the data: the upload was refused, or it was cut and the target has no `keep`."""


class ResumableTarget(UploadTarget, Protocol):
    """A target that keeps what came of an upload that was cut, so that another one goes on with it.

    Of one that is open, exactly one of `commit`, `discard` and `keep` is called. What is kept
    belongs to one name and one owner, nobody sees it under that name, and the next target of
    that name and owner begins after it, with a `position` that its store and its host have
    agreed upon. `commit` publishes the whole: what was kept, up to that position, and what was
    written since. `discard` leaves neither.
    """

    @property
    def position(self) -> int:
        """Where the next byte goes, in bytes; before the first `write`, where the upload begins."""
        ...

    async def keep(self) -> None:
        """Keep what came, the bytes before the first position included: the upload was cut."""


class ReadableTarget(UploadTarget, Protocol):
    """A target that can be read before its commit, so that an observer may veto the upload.

    Nobody else sees what was written until then. `ftpdata.files.SpooledTarget` makes one of any
    target, and `ftpdata.files.FileTarget` is one unless it writes in place.
    """

    @property
    def position(self) -> int:
        """Where the next byte goes, in bytes: what there is to read, once all is written."""
        ...

    async def open_to_read(self) -> int:
        """Open what was written; return a descriptor at the first byte, which is the caller's."""
        ...


# Whether an object can fulfil its contract


def require_methods(thing: object, kind: str, methods: tuple[str, ...]) -> None:
    """Refuse an object that lacks a method, or has a coroutine function in its place.

    Args:
        thing: The object that was passed in.
        kind: What it should be, for the error message.
        methods: Names of the methods that will be called, and not awaited.

    Raises:
        TypeError: It lacks one of them, or one is a coroutine function, which
            would be called and never run.
    """

    for name in methods:
        method = getattr(thing, name, None)
        if not callable(method):
            raise TypeError(f"expected {kind}, which has a method {name}, not {thing!r:.80}")
        if inspect.iscoroutinefunction(method):
            raise TypeError(f"expected {name} of {kind} not to be async: {thing!r:.80}")


def require_producer(producer: object, *, streaming: bool) -> None:
    """Refuse an object that is not a `PushProducer`; without `streaming`, not a `PullProducer`.

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
        file: The object that was passed in.
        ability: The ability that it needs: ``readable`` or ``writable``.

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
