"""Files that are sent, read in worker threads (RETR).

Cancellation waits for the thread, see `ftpdata.files._workers`. A read that nobody waits for any
longer closes the file when it comes back.
"""

from __future__ import annotations

import asyncio
import functools
import io
import os
import stat
import sys
from collections.abc import Callable
from typing import BinaryIO, cast

import anyio

from .._checks import check_call, check_range
from .._descriptors import let_go
from .._memory import Block, is_viewed, new_block
from ..contracts import require_methods
from ..errors import BadArgument, FTPDataError, error_for_oserror, error_for_peer
from ._cache import Store, is_in_memory, open_cached, read_from_memory
from ._location import require_file
from ._names import ERRORS_OF_NAMES, PATH_TYPES, FilePath
from ._pipe import PipeReader
from ._workers import WorkerCalls

__all__ = ["FileSource"]

CHUNK = 256 * 1024
"""Bytes of one read. For fewer, the hop to the thread costs more than the copy."""

MOST_SPARE = 8
"""How many times as large as a read the memory may be that it goes to.

A new block of memory costs more than the copy, since the system clears each of its pages."""


class FileSource:
    """A file that is sent. Reads forward from an offset, in worker threads.

    Made by `open`. Closes only what it opened itself.

    Attributes:
        size: Size of the file in bytes when it was opened. None where only the end can tell:
            of a pipe, an object that cannot be sought, and a file that is made for its reader
            (of /proc or /sys). Such a source is read to its end.
        fd: The descriptor of the regular file behind the source; None where there is none, or
            where it has no size.
        position: Where the next byte comes from, in bytes.
    """

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        *,
        calls: WorkerCalls,
        size: int | None = None,
        position: int = 0,
        fd: int | None = None,
        owned: int | None = None,
        give_up: Callable[[], None] | None = None,
    ) -> None:
        self._read = read
        self._calls = calls
        self._owned = owned
        self._give_up = give_up
        self._buffer: Block | None = None
        self.size = size
        self.position: int = position
        self.fd = fd

    @classmethod
    async def open(
        cls,
        file: FilePath | int | BinaryIO,
        *,
        dir_fd: int | None = None,
        offset: int = 0,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> FileSource:
        """Open a file for sending.

        Regular files and pipes can be sent. A named pipe must have a writer already, which may
        still wait for its reader: this method waits for nobody, and a pipe without a writer would
        pass for an empty file.

        Args:
            file: A path; or an open file descriptor or binary file object, which stays open and
                belongs to the caller.
            dir_fd: Directory that a relative path starts from.
            offset: Where to start, in bytes (REST). From the beginning of the file; for a file
                object from where it stands.
            limiter: Bounds the threads.

        Raises:
            FileUnavailable: It cannot be read, is neither a file nor a pipe, or is a named pipe
                without a writer. Reply 550.
            FileNameNotAllowed: The system can have no such name. Reply 553.
            BadArgument: The offset is beyond the end. Reply 501.
            LocalError: The system failed otherwise. Reply 451.

        Cancellation leaves nothing open.
        """

        check_call(FileSource.open, locals())
        check_range("dir_fd", dir_fd, 0)
        is_callers = not isinstance(file, (int, *PATH_TYPES))
        if is_callers or isinstance(file, bool):
            require_methods(file, "a path, a descriptor or a binary file", ("read",))
        elif isinstance(file, int):
            check_range("file", file, 0)
        calls = WorkerCalls(limiter, calls_back=is_callers)
        opened: list[FileSource] = []

        def work() -> FileSource:
            source = cls._open(file, dir_fd, offset, calls)
            opened.append(source)
            return source

        def close() -> None:
            for source in opened:
                source.close_now()

        try:
            with ERRORS_OF_NAMES:
                return await calls.run(work)
        except asyncio.CancelledError:
            if not calls.defer(close):
                close()
            raise

    @classmethod
    def _open(
        cls, file: FilePath | int | BinaryIO, dir_fd: int | None, offset: int, calls: WorkerCalls
    ) -> FileSource:
        if offset < 0:
            raise error_for_peer(BadArgument, f"an offset is not negative: {offset}")

        if isinstance(file, int):
            return cls._from_descriptor(file, offset, calls)

        if isinstance(file, PATH_TYPES):
            fd = os.open(file, _READ, dir_fd=dir_fd)
            try:
                return cls._from_descriptor(fd, offset, calls, is_owned=True)
            except BaseException:
                let_go(fd)
                raise

        descriptor = _descriptor(file)
        if descriptor is None:
            return cls._from_object(file, offset, calls)

        if isinstance(file, io.BufferedRandom):
            file.flush()

        return cls._from_descriptor(descriptor, file.tell() + offset, calls)

    @classmethod
    def _from_descriptor(
        cls, fd: int, start: int, calls: WorkerCalls, *, is_owned: bool = False
    ) -> FileSource:
        owned = fd if is_owned else None
        status = os.fstat(fd)
        if stat.S_ISFIFO(status.st_mode):
            if start:
                raise error_for_peer(
                    BadArgument, "only a file that can be sought can be sent from an offset"
                )
            pipe = PipeReader(fd, must_have_writer=is_owned)
            return cls(pipe.read, calls=calls, owned=owned, give_up=pipe.give_up)

        require_file(status)
        store = Store(fd)
        calls.lives_in_memory = store.is_memory
        size = _length_of(fd, status, store)
        if size is not None and start > size:
            raise error_for_peer(
                BadArgument, f"offset {start} is beyond the end of the file, {size}"
            )

        return cls(
            functools.partial(_read_at, fd),
            calls=calls,
            size=size,
            position=start,
            # Only `read` can handle a source without a size.
            fd=None if size is None else fd,
            owned=owned,
        )

    @classmethod
    def _from_object(cls, file: BinaryIO, offset: int, calls: WorkerCalls) -> FileSource:
        size: int | None = None
        position = offset
        if getattr(file, "seekable", lambda: False)():
            here = file.tell()
            size = file.seek(0, os.SEEK_END)
            position = here + offset
            if position > size:
                raise error_for_peer(
                    BadArgument, f"offset {position} is beyond the end of the file, {size}"
                )
            file.seek(position)
        elif offset:
            raise error_for_peer(BadArgument, "this file cannot start at an offset")

        # read waits for as much as was asked for; read1 gives what a pipe has.
        read = file.read if size is not None else getattr(file, "read1", file.read)
        return cls(
            lambda count, _position: cast("bytes", read(count)),
            calls=calls,
            size=size,
            position=position,
        )

    async def read(self, count: int = CHUNK) -> bytes:
        """Read the next bytes, at most `count`; ``b""`` at the end of the file.

        Raises:
            FTPDataError: The system refused; carries the reply code.
        """

        position = self.position
        try:
            data = await self._calls.run(lambda: self._read(count, position))
        except OSError as error:
            raise error_for_oserror(error) from error

        self.position += len(data)
        return data

    def read_now(self, count: int = CHUNK) -> memoryview | None:
        """Read the next bytes without a thread, if they are in memory.

        Returns:
            At most `count` of them, in memory that is used again once nobody
            has a view of it. None if only `read` can tell: they are not there, this is the end, or
            nobody knows.
        """

        if self.fd is None or sys.platform != "linux":
            return None

        buffer = self._buffer
        if buffer is None or not count <= len(buffer) <= MOST_SPARE * count or is_viewed(buffer):
            # Not a much larger one either: it stays as long as a peer stalls.
            buffer = self._buffer = new_block(count)

        data = memoryview(buffer)[:count]
        size = read_from_memory(
            self.fd, self.position, data, lives_there=self._calls.lives_in_memory
        )
        self.position += size
        return data[:size] if size else None

    def is_in_memory(self, count: int) -> bool:
        """Look whether the next bytes can be had without waiting for a disk or a network.

        This takes a sample, if the system can tell at all, in too little time to need a thread.
        """

        return self.fd is None or is_in_memory(
            self.fd, self.position, count, otherwise=self._calls.lives_in_memory
        )

    def close(self) -> None:
        """Close what was opened here. Idempotent; a read that still runs does it at its end."""

        if self._give_up is not None:
            self._give_up()
        if not self._calls.defer(self.close_now):
            self.close_now()

    def close_now(self) -> None:
        """Do what `close` does, in the calling thread. Idempotent."""

        # Its number may be another's soon.
        self.fd = None
        fd, self._owned = self._owned, None
        let_go(fd)


_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Do not wait for the writer of a named pipe; do not make a terminal the program's own.
_READ |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


def _length_of(fd: int, status: os.stat_result, store: Store) -> int | None:
    """Return the size of a regular file; None if only reading to its end can tell."""

    if not store.has_sizes:
        return None

    # Some file systems in user space know no sizes either, and say 0.
    if status.st_size == 0 and _read_at(fd, 1, 0):
        return None

    return status.st_size


def _read_at(fd: int, count: int, position: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, count, position)

    # The position of the caller's file must not change.
    here = os.lseek(fd, 0, os.SEEK_CUR)
    os.lseek(fd, position, os.SEEK_SET)
    try:
        return os.read(fd, count)
    finally:
        os.lseek(fd, here, os.SEEK_SET)


def source_at_once(
    path: FilePath,
    *,
    dir_fd: int | None = None,
    offset: int = 0,
    limiter: anyio.CapacityLimiter | None = None,
) -> FileSource | None:
    """Do what `FileSource.open` does with the path of a file, if that waits for nothing.

    Returns:
        None if `FileSource.open` is to do it, or to say why nobody can.
    """

    try:
        fd = open_cached(path, dir_fd, _READ)
        if fd is None:
            return None
        try:
            # No method, so that users do not see it.
            return FileSource._from_descriptor(  # noqa: SLF001
                fd, offset, WorkerCalls(limiter), is_owned=True
            )
        except BaseException:
            let_go(fd)
            raise
    except (OSError, ValueError, FTPDataError):
        return None


_BUFFERED = (io.BufferedReader, io.BufferedRandom)


def _descriptor(file: BinaryIO) -> int | None:
    """Return the descriptor of a file object that reads its file as it is.

    Others may have one that means something else: that of a `gzip.GzipFile`
    is the compressed file's.
    """

    # Not isinstance: a subclass may read something else than its file.
    raw = getattr(file, "raw", None) if type(file) in _BUFFERED else file
    # And one that cannot seek may have read more already than it has given out.
    return raw.fileno() if type(raw) is io.FileIO and raw.seekable() else None
