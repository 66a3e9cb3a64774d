"""Uploads into a file object of the caller's."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import BinaryIO

import anyio

from ..errors import error_for_oserror
from ._workers import WorkerCalls

__all__ = ["FileObjectTarget"]


class FileObjectTarget:
    """A binary file object of the caller's as an `UploadTarget`: flushed, never closed."""

    def __init__(self, file: BinaryIO, limiter: anyio.CapacityLimiter | None) -> None:
        self._file = file
        self._calls = WorkerCalls(limiter, calls_back=True)

    async def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            FTPDataError: The system refused; carries the reply code.
        """

        def work() -> None:
            view = memoryview(data)
            while view:
                # Raw files may write less than all; buffered ones write everything.
                written = self._file.write(view)
                if not written:
                    raise BlockingIOError(errno.EAGAIN, "the file took nothing")

                view = view[written:]

        await self._run(work)

    async def commit(self) -> None:
        """Flush it. Raises as `write` does."""

        await self._run(self._file.flush)

    async def discard(self) -> None:
        """Leave it to the caller, whose file it is."""

    async def _run(self, work: Callable[[], None]) -> None:
        try:
            await self._calls.run(work)
        except OSError as error:
            raise error_for_oserror(error) from error
