"""Ready-made producers, to send through a `DTP`.

Each is started on the connection that it is to feed, which registers it
there::

    FileProducer("report.txt").start(dtp)
    await dtp.wait_closed()

It ends the transfer by ``unregister_producer``, as in Twisted, or, where its
source fails, by an abort with `End.PRODUCER_FAILED` (or what the error says)
and the error as its cause. The rules of every producer here:

1. No write is longer than 256 KiB, whatever the source gives (an encoder may
   double it): in flight are the high-water mark and one piece, never more.
2. A producer is for one transfer.
3. What runs, ends: a producer that has a task owns it. It ends with the
   source, or by `stop_producing`, which the connection calls when it is lost.
   So aborting the connection ends it all; `aclose` waits until the producer
   holds nothing any more.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import BinaryIO, ClassVar, Protocol, cast

import anyio

from ..codecs.representation import PIECE_SIZE
from ..contracts import Buffer, Encoder, Producer, PushProducer
from ..errors import FTPDataError, NotConnected, SizeMismatch
from ..files._names import FilePath
from ..files.source import FileSource
from ..outcome import End

__all__ = [
    "AsyncIterableProducer",
    "BytesProducer",
    "Destination",
    "EncodedProducer",
    "FileProducer",
    "IterableProducer",
    "StartableProducer",
]

LOSS_TURNS = 8
"""Turns of the event loop after which a connection that is being lost has said so."""


class Destination(Protocol):
    """What a producer is started on: a `DTP`, or what stands before one."""

    def register_producer(self, producer: Producer, streaming: bool) -> None:
        """Learn who will write, and how it wants to be asked."""

    def unregister_producer(self) -> None:
        """Take note that all is written: end the transfer."""

    def write(self, data: Buffer) -> None:
        """Send data."""

    def abort(
        self, end: End = ..., message: str | None = ..., *, cause: BaseException | None = ...
    ) -> None:
        """End the transfer at once, for a reason."""


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


class _Producer(abc.ABC):
    """What every producer here has in common."""

    streaming: ClassVar[bool]
    _destination: Destination | None = None

    def start(self, destination: Destination) -> None:
        """Register with a connection, and produce when it wants data.

        Args:
            destination: The `DTP`; need not be connected yet.

        Raises:
            RuntimeError: The producer was started before, or the DTP has had
                its producer.
            NotConnected: The connection has ended. Reply 425.
        """

        if self._destination is not None:
            raise RuntimeError(f"{type(self).__name__} is for one transfer, and was started before")

        self._destination = destination
        try:
            destination.register_producer(cast("Producer", self), self.streaming)
        except BaseException:
            # Refused: nobody will ever call us.
            self.stop_producing()
            raise

    @abc.abstractmethod
    def stop_producing(self) -> None:
        """Stop for good, and let go of the source. Idempotent."""

    async def aclose(self) -> None:
        """Stop for good, and wait until nothing is held. Idempotent."""

        self.stop_producing()


# Pull producers


class BytesProducer(_Producer):
    """Sends what is in memory. A pull producer; has no task.

    Args:
        data: Not copied; must not be changed until it is sent.
    """

    streaming = False

    def __init__(self, data: Buffer) -> None:
        self._pieces = _slices(data)
        self._piece = next(self._pieces, None)

    def resume_producing(self) -> None:
        """Write the next piece; with the last one, end."""

        assert self._destination is not None
        piece, self._piece = self._piece, next(self._pieces, None)
        if piece is not None:
            self._destination.write(piece)

        if self._piece is None:
            self._destination.unregister_producer()

    def stop_producing(self) -> None:
        """Let go of the data."""

        self._piece, self._pieces = None, iter(())


class IterableProducer(_Producer):
    """Sends what an iterable gives, at the pace of the connection. A pull producer; has no task.

    The iterable is asked on the event loop and must not block: what reads a
    file is a matter for `FileProducer`. A generator is closed in any case.

    Args:
        chunks: Pieces of any size, which must not be changed afterwards. An
            `OSError` out of it chooses the reply code, as that of a file.
    """

    streaming = False

    def __init__(self, chunks: Iterable[Buffer]) -> None:
        self._chunks: Iterator[Buffer] = iter(chunks)
        self._pieces: Iterator[Buffer] = iter(())

    def resume_producing(self) -> None:
        """Write the next piece, or end."""

        assert self._destination is not None
        while True:
            piece = next(self._pieces, None)
            if piece is not None:
                self._destination.write(piece)
                return

            chunk = next(self._chunks, None)
            if chunk is None:
                self._destination.unregister_producer()
                return

            self._pieces = _slices(chunk)

    def stop_producing(self) -> None:
        """Close the iterable, if it is a generator, and let go of it."""

        chunks, self._chunks = self._chunks, iter(())
        self._pieces = iter(())
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


# Push producers, each with a task


class _TaskProducer(_Producer):
    """A push producer that runs `_produce` in a task of its own."""

    streaming = True

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._paused = False
        self._stopped = False
        self._resumption: asyncio.Future[None] | None = None

    def start(self, destination: Destination) -> None:
        """Register with a connection, and begin. See `_Producer.start`."""

        super().start(destination)
        # Registering may have paused or even stopped us; the task sees that when it begins.
        self._task = asyncio.get_running_loop().create_task(self._run(destination))

    def pause_producing(self) -> None:
        """Write nothing until `resume_producing`; one piece is made ready meanwhile."""

        self._paused = True

    def resume_producing(self) -> None:
        """Write on."""

        self._paused = False
        if self._resumption is not None and not self._resumption.done():
            self._resumption.set_result(None)

    def stop_producing(self) -> None:
        """Stop the task, which then lets go of the source. Idempotent, returns at once."""

        self._stopped = True
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def aclose(self) -> None:
        """Stop, and wait until the source was let go of. Idempotent.

        Cancellation leaves the task ending by itself.
        """

        self.stop_producing()
        if self._task is not None:
            await asyncio.wait((self._task,))

    @abc.abstractmethod
    async def _produce(self) -> None:
        """Produce all, by `_write`."""

    async def _write(self, piece: Buffer) -> None:
        """Write a piece once it is wanted."""

        while self._paused:
            self._resumption = asyncio.get_running_loop().create_future()
            try:
                await self._resumption
            finally:
                self._resumption = None

        assert self._destination is not None
        try:
            self._destination.write(piece)
        except NotConnected:
            # A connection that is lost stops us on its next turn, and has the reason. Where it
            # does not, somebody has sent the end of file before ours: the transfer is cut.
            for _ in range(LOSS_TURNS):
                await asyncio.sleep(0)
            raise

        # A source that is always ready, and a peer as fast, must leave room for others.
        await asyncio.sleep(0)

    async def _run(self, destination: Destination) -> None:
        try:
            if self._stopped:
                return

            await self._produce()
            destination.unregister_producer()
        except asyncio.CancelledError:
            if not self._stopped:
                # Somebody else has cancelled the task; the transfer is not to hang.
                destination.abort(End.CANCELLED)
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            self._fail(destination, error)
        finally:
            self._stopped = True

    def _fail(self, destination: Destination, error: Exception) -> None:
        if not self._stopped:
            _abort(destination, error)
            return

        # The transfer has ended before, and nobody waits for its source any more.
        asyncio.get_running_loop().call_exception_handler({
            "message": f"the source of {type(self).__name__} failed when it was closed",
            "exception": error,
            # Not "task": from Python 3.12 on the handler would run in the
            # context of that task, which is the one that runs here.
            "producer": self,
        })


class FileProducer(_TaskProducer):
    """Sends a file. A push producer; reads in worker threads, one piece ahead.

    What is sent is what the file held when it was opened: bytes appended
    since are not, and a file that has shrunk fails with `SizeMismatch`.

    Args:
        file: A path, which is opened when the producer is started; or an open
            descriptor or binary file object, which stays open and belongs to
            the caller.
        offset: Where to start, in bytes (REST). From the beginning of the
            file; for a file object from where it stands.
        length: Bytes to send at most; None sends up to the end.
        dir_fd: Directory that a relative path starts from; must stay open.
        limiter: Bounds the threads; by default the event loop's own for files.
    """

    def __init__(
        self,
        file: FilePath | int | BinaryIO,
        *,
        offset: int = 0,
        length: int | None = None,
        dir_fd: int | None = None,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> None:
        super().__init__()
        if length is not None and length < 0:
            raise ValueError(f"a length is not negative: {length}")

        self._file = file
        self._offset = offset
        self._length = length
        self._dir_fd = dir_fd
        self._limiter = limiter

    async def _produce(self) -> None:
        source = await FileSource.open(
            self._file, dir_fd=self._dir_fd, offset=self._offset, limiter=self._limiter
        )
        try:
            # A size of 0 may mean that nobody knows it: files of Linux's /proc.
            size = source.size - source.position if source.size else None
            wanted = self._length
            if size is not None:
                wanted = size if wanted is None else min(size, wanted)

            missing = await self._copy(source, wanted)
            if size is not None and missing:
                raise SizeMismatch(
                    f"the file had {wanted} bytes to send, and shrank by {missing}",
                    end=End.SIZE_MISMATCH,
                )
        finally:
            source.close()

    async def _copy(self, source: FileSource, wanted: int | None) -> int | None:
        """Send `wanted` bytes, or up to the end of the file; return how many were missing."""

        while wanted is None or wanted > 0:
            # Read before it is wanted: the disk and the network work at the same time.
            data = await source.read(PIECE_SIZE if wanted is None else min(PIECE_SIZE, wanted))
            if not data:
                break

            if wanted is not None:
                wanted -= len(data)
            await self._write(data)

        return wanted


class AsyncIterableProducer(_TaskProducer):
    """Sends what an asynchronous iterable gives, at the pace of the connection.

    A push producer; its task asks for one chunk ahead. An asynchronous
    generator is closed in any case.

    Args:
        chunks: Pieces of any size, which must not be changed afterwards.
    """

    def __init__(self, chunks: AsyncIterable[Buffer]) -> None:
        super().__init__()
        self._chunks = chunks

    async def _produce(self) -> None:
        chunks: AsyncIterator[Buffer] = aiter(self._chunks)
        try:
            async for chunk in chunks:
                for piece in _slices(chunk):
                    await self._write(piece)
        finally:
            aclose = getattr(chunks, "aclose", None)
            if aclose is not None:
                await aclose()


# Wrapper


class EncodedProducer:
    """Sends what another producer gives through an encoder, push or pull as that one is.

    Such as a file as TYPE A::

        EncodedProducer(FileProducer(path), AsciiEncoder()).start(dtp)

    It is a destination to that producer and a producer to its own. An encoder
    that raises ends the transfer as a producer does.

    Args:
        producer: Not started yet. It is stopped and closed with this one.
        encoder: A fresh one.
    """

    def __init__(self, producer: StartableProducer, encoder: Encoder) -> None:
        self._inner = producer
        self._encoder = encoder
        self._destination: Destination | None = None
        self._registered: Producer | None = None
        # A pull producer was asked, and nothing has come out of the encoder yet.
        self._owes = False

    @property
    def streaming(self) -> bool:
        """Whether the producer within is a push producer."""

        return self._inner.streaming

    def start(self, destination: Destination) -> None:
        """Start the producer within; registers with the connection. See `FileProducer.start`."""

        if self._destination is not None:
            raise RuntimeError("EncodedProducer is for one transfer, and was started before")

        self._destination = destination
        self._inner.start(self)

    # The producer that the connection knows

    def resume_producing(self) -> None:
        """Ask the producer within."""

        assert self._registered is not None
        self._owes = not self.streaming
        self._registered.resume_producing()

    def pause_producing(self) -> None:
        """Pause the producer within."""

        cast("PushProducer", self._registered).pause_producing()

    def stop_producing(self) -> None:
        """Stop the producer within. Idempotent."""

        producer, self._registered = self._registered, None
        if producer is not None:
            producer.stop_producing()

    async def aclose(self) -> None:
        """Stop the producer within, and wait until it holds nothing. Idempotent."""

        self.stop_producing()
        await self._inner.aclose()

    # The destination that the producer within knows

    def register_producer(self, producer: Producer, streaming: bool) -> None:
        """Register with the connection, in its place."""

        if self._registered is not None:
            raise RuntimeError(f"a producer is already registered: {self._registered!r}")

        assert self._destination is not None
        self._registered = producer
        self._destination.register_producer(cast("Producer", self), streaming)

    def unregister_producer(self) -> None:
        """Send what the encoder still holds, and end."""

        if self._registered is None:
            return

        assert self._destination is not None
        for piece in self._encoder.finish():
            self._destination.write(piece)

        self._registered = None
        self._destination.unregister_producer()

    def write(self, data: Buffer) -> None:
        """Encode data and send what comes of it."""

        assert self._destination is not None
        for piece in self._encoder.feed(data):
            self._owes = False
            self._destination.write(piece)

        if self._owes:
            # The encoder keeps it all for later, so nobody would ask again.
            asyncio.get_running_loop().call_soon(self._ask_again)

    def abort(
        self,
        end: End = End.ABORTED,
        message: str | None = None,
        *,
        cause: BaseException | None = None,
    ) -> None:
        """Abort the connection."""

        assert self._destination is not None
        self._destination.abort(end, message, cause=cause)

    def _ask_again(self) -> None:
        if not self._owes or self._registered is None:
            return

        try:
            self._registered.resume_producing()
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            _abort(self, error)


def _abort(destination: Destination, error: Exception) -> None:
    end = error.end if isinstance(error, FTPDataError) else None
    destination.abort(end or End.PRODUCER_FAILED, cause=error)


def _slices(data: Buffer) -> Iterator[Buffer]:
    """Cut data into non-empty pieces of at most `PIECE_SIZE`, without a copy."""

    if len(data) <= PIECE_SIZE and not isinstance(data, memoryview):
        if data:
            yield data

        return

    view = memoryview(data).cast("B")
    for start in range(0, len(view), PIECE_SIZE):
        yield view[start : start + PIECE_SIZE]
