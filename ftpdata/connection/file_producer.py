"""Send a file through a `DTP`."""

from __future__ import annotations

from typing import BinaryIO

import anyio

from ..codecs.representation import PIECE_SIZE
from ..contracts import require_binary_file
from ..errors import SizeMismatch
from ..files._names import PATH_TYPES, FilePath
from ..files.source import FileSource
from ..outcome import End
from ._producer import TaskProducer

__all__ = ["FileProducer"]


class FileProducer(TaskProducer):
    """Sends a file. A push producer; reads in worker threads, one piece ahead.

    It sends what the file holds when it is opened: bytes that are appended
    later are not sent, and a file that shrinks fails with `SizeMismatch`.

    Args:
        file: A path, which is opened when the producer is started; or an open
            descriptor or binary file object, which stays open and belongs to
            the caller.
        offset: Where to start, in bytes (REST), from the beginning of the file.
            For a file object, from where it stands.
        length: Bytes to send at most; None sends up to the end.
        dir_fd: Directory that a relative path starts from; must stay open.
        limiter: Bounds the threads; by default the event loop's own for files.

    Raises:
        TypeError: `file` is none of these.
        ValueError: `offset` or `length` is negative, or the file object is
            closed or cannot be read.
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
        if not isinstance(file, (int, *PATH_TYPES)):
            require_binary_file(file, "readable")
        if offset < 0:
            raise ValueError(f"an offset is not negative: {offset}")
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
            size = None if source.size is None else source.size - source.position
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
