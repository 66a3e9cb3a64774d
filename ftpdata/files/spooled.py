"""Uploads that can be read before they are committed, whatever their target is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

import anyio

from .._checks import check_call, wrong_type
from .._descriptors import let_go, write_all
from ..contracts import UploadTarget
from ..errors import error_for_oserror
from ._nameless import open_nameless_twice
from ._workers import WorkerCalls

__all__ = ["SpooledTarget"]

T = TypeVar("T")


class SpooledTarget:
    """A target with a copy on the disk, from which an observer judges the upload.

    A `ftpdata.contracts.ReadableTarget`: with one, `ftpdata.observers.Observer.before_publish`
    works for a target that cannot be read before it is committed, such as an object of a store.
    The copy has no name, and is gone with the upload.

    Args:
        target: What receives the upload, as an `UploadTarget`.
        directory: Where the copy is, as a path; None for where temporary files are.
        limiter: Bounds the threads of the copy.
    """

    def __init__(
        self,
        target: UploadTarget,
        *,
        directory: str | os.PathLike[str] | None = None,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> None:
        check_call(SpooledTarget.__init__, locals())
        if not all(hasattr(target, name) for name in ("write", "commit", "discard")):
            raise wrong_type("target", "an UploadTarget", target)
        self.position: int = 0
        """Bytes that were written."""

        self._target = target
        self._directory = directory
        self._calls = WorkerCalls(limiter)
        self._writing = self._reading = -1

    @property
    def is_published(self) -> bool:
        """Whether the target says that it is published."""

        return getattr(self._target, "is_published", False) is True

    async def write(self, data: bytes) -> None:
        """Write bytes to the copy, and to the target.

        Raises:
            InsufficientStorage: There is no room for the copy. Reply 452.
            FTPDataError: Either of them failed. Carries the reply code.
        """

        def work() -> None:
            self._open()
            write_all(self._writing, data)

        await self._run(work)
        self.position += len(data)
        await self._target.write(data)

    async def open_to_read(self) -> int:
        """Open the copy, for somebody who judges it before `commit`.

        Returns:
            A descriptor for reading, at the first byte; it belongs to the caller.

        Raises:
            FTPDataError: The system refused. Carries the reply code.

        Cancellation leaves nothing open.
        """

        opened: list[int] = []

        def work() -> int:
            self._open()
            # Nobody else uses this one, whose offset it shares.
            opened.append(os.dup(self._reading))
            os.lseek(opened[0], 0, os.SEEK_SET)
            return opened[0]

        def close() -> None:
            while opened:
                os.close(opened.pop())

        try:
            return await self._run(work)
        except asyncio.CancelledError:
            await self._calls.clean_up(close, at_once=True)
            raise

    async def commit(self) -> None:
        """Commit the target."""

        try:
            await self._target.commit()
        finally:
            await self._calls.clean_up(self._close)

    async def discard(self) -> None:
        """Discard the target."""

        try:
            await self._target.discard()
        finally:
            await self._calls.clean_up(self._close)

    def _open(self) -> None:
        if self._writing >= 0:
            return

        self._writing, self._reading = open_nameless_twice(self._directory)

    def _close(self) -> None:
        fds = [fd for fd in (self._writing, self._reading) if fd >= 0]
        self._writing = self._reading = -1
        let_go(*fds)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await self._calls.run(work)
        except OSError as error:
            raise error_for_oserror(error) from error
