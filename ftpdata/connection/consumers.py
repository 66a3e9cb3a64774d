"""Ready-made consumers, to receive from a `DTP`.

Ends of a chain, that keep or hand on what they get: `ReceiveQueue`,
`FileConsumer`, `MemoryConsumer`. Links of one, each with another consumer
behind it: `DecodingConsumer`, `DigestConsumer`, `SizeLimitConsumer`::

    file = FileConsumer("upload.txt")
    await dtp.register_consumer(DecodingConsumer(SizeLimitConsumer(file, 10**6), AsciiDecoder()))
    await file.wait_finished()

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

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, cast, runtime_checkable

import anyio

from ..contracts import Consumer, Decoder, PushProducer, UploadTarget
from ..digests import Digest
from ..errors import (
    FTPDataError,
    LocalError,
    QuotaExceeded,
    error_for_end,
    local_error,
)
from ..files._names import FilePath
from ..files._object_target import FileObjectTarget
from ..files.target import FileTarget, WriteMode
from ..outcome import End
from .protocol import DTP, CloseWaiter

__all__ = [
    "DecodingConsumer",
    "DigestConsumer",
    "FileConsumer",
    "MemoryConsumer",
    "ReceiveQueue",
    "SizeLimitConsumer",
]

DEFAULT_HIGH_WATER = 256 * 1024
"""Bytes that a consumer holds before it pauses its producer."""

DEFAULT_SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes that are kept in memory, where nobody says otherwise."""


class _Consumer:
    """What every consumer here has in common: one producer, once."""

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


class ReceiveQueue(_Consumer):
    """Receives into ``await queue.receive()``, or into ``async for data in queue``.

    ::

        queue = ReceiveQueue.attach(dtp)
        while data := await queue.receive():
            ...

    What came is given out before the end is told, a cut one too. It pauses
    the connection above `high_water` and resumes it at a quarter of that: on
    most event loops each of the two is a system call. It has no task and
    nothing to close; who stops receiving early aborts the connection.

    Args:
        high_water: Bytes that are held before the producer is paused. Held
            are never more than this and one `write`.
    """

    def __init__(self, high_water: int = DEFAULT_HIGH_WATER) -> None:
        self.high_water = high_water
        self._low_water = high_water // 4
        self._chunks: deque[bytes] = deque()
        self._start = 0
        self._size = 0
        self._paused = False
        self._held_back = False
        self._ended = False
        self._closed = False
        self._close_waiter: CloseWaiter | None = None
        self._reason: FTPDataError | None = None
        self._arrival: asyncio.Future[None] | None = None

    @classmethod
    def attach(
        cls,
        dtp: DTP,
        high_water: int = DEFAULT_HIGH_WATER,
        *,
        through: Callable[[Consumer], Consumer] | None = None,
    ) -> ReceiveQueue:
        """Make a queue and register it with a connection.

        Args:
            dtp: Has had no consumer; need not be connected yet.
            high_water: See the class.
            through: Makes the chain that the data go through before they
                reach the queue, such as
                ``lambda queue: DecodingConsumer(queue, decoder)``.

        Raises:
            RuntimeError: The DTP has had its consumer.
        """

        queue = cls(high_water)
        consumer = queue if through is None else through(queue)
        queue._close_waiter = dtp.register_consumer(consumer)
        return queue

    @property
    def size(self) -> int:
        """Bytes that wait to be received."""

        return self._size

    @property
    def is_ready(self) -> bool:
        """Whether `receive` would return, or raise, without suspending."""

        return self._size > 0 or self._ended or self._closed

    def write(self, data: bytes) -> None:
        """Hold data until they are received."""

        if self._closed:
            return

        self._chunks.append(data)
        self._size += len(data)
        if self._size > self.high_water:
            self._pause_producer()

        self._wake()

    def unregister_producer(self) -> None:
        """Take note that nothing more comes."""

        self._ended = True
        # Where nobody has given us the awaitable of the registration, a DTP tells its reason.
        self._reason = _reason_of(self._producer)
        self._wake()

    def pause(self) -> None:
        """Have nothing more delivered until `resume`; what is held can be received."""

        self._held_back = True
        if not self._ended:
            self._pause_producer()

    def resume(self) -> None:
        """Go on as before `pause`."""

        self._held_back = False
        self._resume_below(self._low_water)

    @property
    def is_idle(self) -> bool:
        """Whether it is paused by `pause`, all was received, and the end was not told."""

        return self._held_back and not self.is_ready

    def close(self) -> None:
        """Take no more: drop what is held and all that still comes.

        Who waits in `receive`, or calls it later, gets
        `anyio.ClosedResourceError`. The connection goes on; its owner ends it.
        """

        self._closed = True
        self._chunks.clear()
        self._start = self._size = 0
        if self._paused:
            self._resume()
        self._wake()

    async def receive(self, max_bytes: int | None = None) -> bytes:
        """Wait for data; return all there are, or ``b""`` at the clean end.

        Returns without suspending where there are data. For one task at a
        time. Once the end was told, it is told again.

        Args:
            max_bytes: Bytes to return at most.

        Raises:
            FTPDataError: The connection ended in any way but a clean one; the
                reason, with its `End` and its reply code.
            RuntimeError: Another task waits here already.
            anyio.ClosedResourceError: The queue was closed.

        Cancellation loses nothing.
        """

        while not self._size:
            if self._closed:
                raise anyio.ClosedResourceError

            if self._ended:
                await self._check_end()
                return b""

            await self._wait()

        return self._take(max_bytes)

    def __aiter__(self) -> ReceiveQueue:
        return self

    async def __anext__(self) -> bytes:
        data = await self.receive()
        if not data:
            raise StopAsyncIteration

        return data

    def _take(self, max_bytes: int | None) -> bytes:
        chunks, start = self._chunks, self._start
        if max_bytes is not None and len(chunks[0]) - start > max_bytes:
            # Where the rest begins is noted: to cut it off each time would copy it each time.
            data = chunks[0][start : start + max_bytes]
            self._start = start + max_bytes
        else:
            data = chunks.popleft()[start:]
            self._start = 0
            if chunks and (max_bytes is None or len(data) < max_bytes):
                data = self._join(data, max_bytes)

        self._size -= len(data)
        if not self._held_back:
            self._resume_below(self._low_water)

        return data

    def _pause_producer(self) -> None:
        if not self._paused:
            assert self._producer is not None
            self._paused = True
            self._producer.pause_producing()

    def _resume_below(self, size: int) -> None:
        if self._paused and self._size <= size:
            self._resume()

    def _resume(self) -> None:
        self._paused = False
        if not self._ended:
            assert self._producer is not None
            self._producer.resume_producing()

    def _join(self, first: bytes, max_bytes: int | None) -> bytes:
        """Join all that is held; keep what is more than wanted."""

        data = b"".join((first, *self._chunks))
        self._chunks.clear()
        if max_bytes is None or len(data) <= max_bytes:
            return data

        self._chunks.append(data)
        self._start = max_bytes
        return data[:max_bytes]

    async def _check_end(self) -> None:
        if self._close_waiter is not None:
            await self._close_waiter
        elif self._reason is not None:
            raise self._reason

    async def _wait(self) -> None:
        if self._arrival is not None:
            raise RuntimeError("another task is receiving from this queue already")

        self._arrival = asyncio.get_running_loop().create_future()
        try:
            await self._arrival
        finally:
            self._arrival = None

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class MemoryConsumer(_Consumer):
    """Keeps what comes in memory.

    Args:
        size_limit: Bytes that are accepted; more raise `QuotaExceeded`.
    """

    def __init__(self, size_limit: int = DEFAULT_SIZE_LIMIT) -> None:
        self.size_limit = size_limit
        self._chunks: list[bytes] = []
        self._size = 0

    @property
    def data(self) -> bytes:
        """All that came so far."""

        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]

        return self._chunks[0] if self._chunks else b""

    def write(self, data: bytes) -> None:
        """Keep data.

        Raises:
            QuotaExceeded: It is more than `size_limit`. Reply 552.
        """

        if self._size + len(data) > self.size_limit:
            raise _too_large(self.size_limit)

        self._size += len(data)
        self._chunks.append(data)

    def unregister_producer(self) -> None:
        """Take note that nothing more comes."""


class FileConsumer(_Consumer):
    """Writes what comes to a file, in a worker thread, behind the connection.

    The connection is paused while more than `high_water` bytes wait for the
    disk; as many are being written meanwhile. A write that fails ends the
    transfer. The awaitable of `DTP.register_consumer` tells that all has come;
    `wait_finished` that all is in the file, and both are to be awaited.

    What came stays in the file, however the transfer ended. (Uploads that are
    published whole or not at all: `ftpdata.receive_file`.) The task that
    writes begins with `register_producer` and ends by itself after
    `unregister_producer`, which a connection calls in any case.

    Args:
        file: A path, which is opened when the producer is registered, and
            closed at the end; or a binary file object, which is flushed and
            stays open, and belongs to the caller.
        offset: Where to start in the file of a path, in bytes (REST). What
            stands before stays; without an offset, nothing does.
        append: Write behind the end of the file of a path (APPE).
        dir_fd: Directory that a relative path starts from; must stay open
            until the first byte is written.
        high_water: Bytes that wait to be written before the producer is paused.
        limiter: Bounds the threads; by default the event loop's own for files.
    """

    def __init__(
        self,
        file: FilePath | BinaryIO,
        *,
        offset: int = 0,
        append: bool = False,
        dir_fd: int | None = None,
        high_water: int = DEFAULT_HIGH_WATER,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> None:
        if append and offset:
            raise ValueError(f"an offset ({offset}) means nothing where data are appended")

        self._file = file
        self._offset = offset
        self._mode = WriteMode.APPEND if append else WriteMode.IN_PLACE
        self._dir_fd = dir_fd
        self._limiter = limiter
        self._queue = ReceiveQueue(high_water)
        self._task: asyncio.Task[None] | None = None
        self._error: FTPDataError | None = None
        self._is_told = False

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Take note of who will write, and begin. See `ReceiveQueue.register_producer`."""

        super().register_producer(producer, streaming)
        self._queue.register_producer(producer, streaming)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def write(self, data: bytes) -> None:
        """Hold data until they are written.

        Raises:
            FTPDataError: Earlier data could not be written.
        """

        self._raise_untold()
        self._queue.write(data)

    def unregister_producer(self) -> None:
        """Take note that nothing more comes; `wait_finished` tells when all is written."""

        self._queue.unregister_producer()
        self._raise_untold()

    async def wait_finished(self) -> None:
        """Wait until all that came is in the file, and it is closed or flushed.

        Raises:
            FTPDataError: It could not be written: 452 for a full disk, 552
                for a quota, 550 or 451 otherwise.
            RuntimeError: No producer was registered.

        Cancellation leaves the writing going on.
        """

        if self._task is None:
            raise RuntimeError("nothing was received: no producer was registered")

        await asyncio.wait((self._task,))
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        """Give up, and wait until the file is closed. Idempotent.

        What waits to be written is dropped, and a connection that still
        delivers is aborted. After `wait_finished` there is nothing to do.
        """

        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            if self._task.cancelled():
                # It had not even begun.
                self._fail(_closed_early())

    async def _run(self) -> None:
        try:
            await self._copy()
        except asyncio.CancelledError:
            self._fail(_closed_early())
        except FTPDataError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            self._fail(LocalError(f"{End.CONSUMER_FAILED.value}: {error!r:.200}"), error)

    async def _copy(self) -> None:
        target = await self._open()
        try:
            while data := await self._next():
                await target.write(data)
        except BaseException:
            await target.discard()
            raise

        await target.commit()

    async def _open(self) -> UploadTarget:
        if not isinstance(self._file, (str, bytes, os.PathLike)):
            return FileObjectTarget(self._file, self._limiter)

        return await FileTarget.open(
            self._file,
            dir_fd=self._dir_fd,
            mode=self._mode,
            offset=self._offset,
            limiter=self._limiter,
        )

    async def _next(self) -> bytes:
        try:
            return await self._queue.receive()
        except FTPDataError:
            # Cut. What came stays; the awaitable of the registration tells the reason.
            return b""

    def _fail(self, error: FTPDataError, cause: BaseException | None = None) -> None:
        if cause is not None:
            error.__cause__ = cause

        if error.end is None:
            error.end = End.CONSUMER_FAILED

        self._error = error
        connection = _connection(self._producer)
        if connection is not None:
            self._is_told = True
            connection.abort(error.end, cause=error)

        # Last: it resumes a producer that is paused, which may write at once.
        self._queue.close()

    def _raise_untold(self) -> None:
        if self._error is not None and not self._is_told:
            self._is_told = True
            raise self._error


# Links of a chain


class _Link(_Consumer):
    """A consumer that hands on to another one, which pauses the producer by itself."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Take note of who will write. See `ReceiveQueue.register_producer`."""

        super().register_producer(producer, streaming)
        self._consumer.register_producer(producer, streaming)

    def unregister_producer(self) -> None:
        """Hand on that nothing more comes."""

        self._consumer.unregister_producer()


class DigestConsumer(_Link):
    """Computes a digest of what passes on to another consumer.

    It is computed on the event loop: about a millisecond for a megabyte.
    (`ftpdata.receive_file` uses threads.)

    Args:
        consumer: Gets the data.
        name: Name of the algorithm, as for `Digest`: any of `hashlib`'s, or
            ``crc32``.

    Raises:
        UnsupportedParameter: There is no such algorithm. Reply 504.
    """

    def __init__(self, consumer: Consumer, name: str) -> None:
        super().__init__(consumer)
        self._digest = Digest(name)

    @property
    def name(self) -> str:
        """Name of the algorithm, as `hashlib` spells it, or ``crc32``."""

        return self._digest.name

    def hexdigest(self) -> str:
        """Return the digest of what has passed so far, in lower-case hexadecimal."""

        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Hand data on, and add them to the digest."""

        self._consumer.write(data)
        self._digest.update(data)


class SizeLimitConsumer(_Link):
    """Lets so many bytes pass on to another consumer, and not one more.

    What is handed on until then does not depend on how the network has cut
    the data: the first `size_limit` bytes, exactly.

    Args:
        consumer: Gets the data.
        size_limit: Bytes that may pass.
    """

    def __init__(self, consumer: Consumer, size_limit: int) -> None:
        super().__init__(consumer)
        if size_limit < 0:
            raise ValueError(f"a size limit is not negative: {size_limit}")

        self.size_limit = size_limit
        self._left = size_limit

    def write(self, data: bytes) -> None:
        """Hand data on.

        Raises:
            QuotaExceeded: They are more than may pass. Reply 552.
        """

        fitting = data if len(data) <= self._left else data[: self._left]
        self._left -= len(fitting)
        if fitting:
            self._consumer.write(fitting)

        if len(fitting) < len(data):
            raise _too_large(self.size_limit)


class DecodingConsumer(_Consumer):
    """Decodes what passes on to another consumer.

    Pauses heed the pieces that a decoder makes: a small one on the connection
    that is large in the file is handed on as the consumer behind wants it.
    At the end, what the decoder still holds is handed on in any case; after a
    cut it is dropped. Of MODE C and Z that may be as much as the decoder's
    limits let one read of the connection expand to; `receive_file` and
    `receive_stream` have no such burst.

    It is the producer that the consumer behind knows, and tells `reason` and
    takes `abort` as a `DTP` does.

    Args:
        consumer: Gets the decoded data.
        decoder: A fresh one. What it raises ends the transfer, out of
            `finish` too: the awaitable of `DTP.register_consumer` raises it.
    """

    def __init__(self, consumer: Consumer, decoder: Decoder) -> None:
        self._consumer = consumer
        self._decoder = decoder
        # Not decoded yet: more than one only from a producer that does not heed a pause.
        self._waiting: deque[bytes] = deque()
        self._pieces: Iterator[bytes] = iter(())
        self._paused = False
        self._producer_paused = False
        self._pumping = False
        self._ended = False
        self._failure: FTPDataError | None = None

    # The consumer that the connection knows

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Take note of who will write. See `ReceiveQueue.register_producer`."""

        super().register_producer(producer, streaming)
        self._consumer.register_producer(cast("PushProducer", self), True)

    def write(self, data: bytes) -> None:
        """Decode data and hand on what comes of them.

        Raises:
            InvalidData: They are not what the decoder decodes. Reply 451.
        """

        self._waiting.append(data)
        self._pump()

    def unregister_producer(self) -> None:
        """Hand on what is left, and that nothing more comes.

        Raises:
            TruncatedTransfer: The end mark of the mode is missing. Reply 426.
        """

        # What is handed on from here on cannot be held back any more.
        self._ended = True
        try:
            if self.reason is None:
                self._pump()
                self._finish_decoder()
        finally:
            self._waiting.clear()
            self._pieces = iter(())
            self._consumer.unregister_producer()

    # The producer that the consumer behind knows

    @property
    def reason(self) -> FTPDataError | None:
        """Why the data that were handed on are not whole; None where they are, so far."""

        return self._failure or _reason_of(self._producer)

    def pause_producing(self) -> None:
        """Hand nothing on until `resume_producing`."""

        self._paused = True
        if not self._producer_paused and not self._ended:
            assert self._producer is not None
            self._producer_paused = True
            self._producer.pause_producing()

    def resume_producing(self) -> None:
        """Hand on what was decoded already, then let the producer go on."""

        self._paused = False
        if self._pumping:
            return

        try:
            self._pump()
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            # Our caller is the consumer behind, at any time, and is not to blame.
            self.abort(End.CONSUMER_FAILED, cause=error)

    def stop_producing(self) -> None:
        """Stop the producer: the consumer behind wants no more."""

        if not self._ended:
            assert self._producer is not None
            self._producer.stop_producing()

    def abort(
        self,
        end: End = End.ABORTED,
        message: str | None = None,
        *,
        cause: BaseException | None = None,
    ) -> None:
        """End the transfer for a reason; where the producer takes none, stop it."""

        connection = _connection(self._producer)
        if connection is not None:
            connection.abort(end, message, cause=cause)
        else:
            self._failure = self._failure or error_for_end(end, message)
            self.stop_producing()

    def _pump(self) -> None:
        self._pumping = True
        try:
            while self._ended or not self._paused:
                piece = next(self._pieces, None)
                if piece is not None:
                    self._consumer.write(piece)
                elif self._waiting:
                    self._pieces = iter(self._decoder.feed(self._waiting.popleft()))
                else:
                    break
        except Exception as error:
            self._set_failure(error)
            raise
        finally:
            self._pumping = False

        if self._producer_paused and not self._paused and not self._ended:
            assert self._producer is not None
            self._producer_paused = False
            self._producer.resume_producing()

    def _finish_decoder(self) -> None:
        try:
            self._pieces = iter(self._decoder.finish())
        except Exception as error:
            self._set_failure(error)
            raise

        self._pump()

    def _set_failure(self, error: Exception) -> None:
        # What else is in the decoder is worth nothing any more.
        self._waiting.clear()
        self._pieces = iter(())
        self._failure = local_error(error, End.CONSUMER_FAILED)


@runtime_checkable
class _Connection(Protocol):
    """What a `DTP` tells and takes beyond the contract of a producer."""

    @property
    def reason(self) -> FTPDataError | None: ...

    def abort(
        self, end: End = ..., message: str | None = ..., *, cause: BaseException | None = ...
    ) -> None: ...


def _connection(producer: object) -> _Connection | None:
    return producer if isinstance(producer, _Connection) else None


def _reason_of(producer: object) -> FTPDataError | None:
    return producer.reason if isinstance(producer, _Connection) else None


def _closed_early() -> FTPDataError:
    return error_for_end(End.CANCELLED, "the file was closed before all was written")


def _too_large(size_limit: int) -> QuotaExceeded:
    return QuotaExceeded(f"more than the {size_limit} bytes allowed came", end=End.SIZE_LIMIT)
