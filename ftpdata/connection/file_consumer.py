"""Receive from a `DTP` into a file."""

from __future__ import annotations

import asyncio
from typing import BinaryIO

import anyio

from ..contracts import PushProducer, UploadTarget, require_binary_file
from ..errors import FTPDataError, error_for_end, local_error
from ..files._names import PATH_TYPES, FilePath
from ..files._object_target import FileObjectTarget
from ..files.target import FileTarget, WriteMode
from ..outcome import End
from ._consumer import DEFAULT_HIGH_WATER, OneProducer, connection_of
from .receive_queue import ReceiveQueue

__all__ = ["FileConsumer"]


class FileConsumer(OneProducer):
    """Writes what comes to a file, in a worker thread.

    The connection is paused while more than `high_water` bytes wait for the
    disk; up to the same number are being written at that time. A write that
    fails ends the transfer. Await both: the awaitable of
    `DTP.register_consumer`, which says that everything has come, and
    `wait_finished`, which says that everything is in the file.

    What has come stays in the file, however the transfer ends. (For uploads that
    are published whole or not at all, use `ftpdata.receive_file`.) The task that
    writes begins with `register_producer` and ends by itself after
    `unregister_producer`, which a connection always calls.

    Args:
        file: A path, which is opened when the producer is registered, and
            closed at the end; or a binary file object, which is flushed and
            stays open, and belongs to the caller.
        offset: Where to start in the file, in bytes (REST); for a path only.
            What stands before it stays; without an offset the old content goes.
        append: Write after the end of the file (APPE); for a path only.
        dir_fd: Directory that a relative path starts from; must stay open
            until the first byte is written.
        high_water: Bytes that wait to be written before the producer is paused.
        limiter: Bounds the threads; by default the event loop's own for files.

    Raises:
        TypeError: `file` is neither a path nor a binary file object.
        ValueError: `offset` or `high_water` is negative, or `offset` comes with
            `append`; or the file object is closed or cannot be written.
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
        if not isinstance(file, PATH_TYPES):
            require_binary_file(file, "writable")
        if offset < 0:
            raise ValueError(f"an offset is not negative: {offset}")
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
        self._was_raised = False

    def register_producer(self, producer: PushProducer, streaming: bool) -> None:
        """Take note of who will write, and begin. See `OneProducer.register_producer`."""

        super().register_producer(producer, streaming)
        self._queue.register_producer(producer, streaming)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def write(self, data: bytes) -> None:
        """Hold data until they are written.

        Raises:
            FTPDataError: Earlier data could not be written.
        """

        self._raise_once()
        self._queue.write(data)

    def unregister_producer(self) -> None:
        """Take note that nothing more comes; `wait_finished` waits until all is written."""

        self._queue.unregister_producer()
        self._raise_once()

    async def wait_finished(self) -> None:
        """Wait until everything that came is in the file, and the file is closed or flushed.

        Raises:
            FTPDataError: It could not be written: 452 for a full disk, 552
                for a quota, 550 or 451 otherwise.
            RuntimeError: No producer was registered.

        Cancellation does not disturb the writing.
        """

        if self._task is None:
            raise RuntimeError("nothing was received: no producer was registered")

        await asyncio.wait((self._task,))
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        """Give up, and wait until the file is closed. Idempotent.

        What waits to be written is dropped, and a connection that still
        delivers is aborted. Does nothing after `wait_finished`.
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
        except Exception as error:  # noqa: BLE001 - whatever it was, it ends the transfer
            self._fail(local_error(error, End.CONSUMER_FAILED))

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
        if not isinstance(self._file, PATH_TYPES):
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
            # It was cut. What came stays; the awaitable of the registration has the reason.
            return b""

    def _fail(self, error: FTPDataError) -> None:
        self._error = error
        connection = connection_of(self._producer)
        if connection is not None:
            self._was_raised = True
            connection.abort(End.CONSUMER_FAILED, cause=error)

        # Last: it resumes a producer that is paused, which may write at once.
        self._queue.close()

    def _raise_once(self) -> None:
        if self._error is not None and not self._was_raised:
            self._was_raised = True
            raise self._error


def _closed_early() -> FTPDataError:
    return error_for_end(End.CANCELLED, "the file was closed before all was written")
