"""Directories, made into lines in worker threads (LIST, NLST, MLSD).

`DirectoryLister` formats in the same visit to the thread that reads, and gives whole blocks of
lines: the first one early, the others large, one of them ahead of the network. Memory is bounded
by the block, whatever the size of the directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, Self

import anyio

from .._checks import check_call, check_range
from .._descriptors import let_go
from .._tasks import give_up
from ..contracts import require_methods
from ..listing.table import ListingBlock, TableFormatter
from ._names import FilePath
from ._status import LARGEST_BATCH
from ._workers import WorkerCalls
from .directory_reader import DirectoryReader

__all__ = ["DirectoryLister", "list_directory"]

FIRST_BATCH = 16
"""Entries of the first batch, which is read between two looks at the clock."""

BATCH_SECONDS = 0.005
"""Seconds that a batch may take. Where one takes longer, the next one is smaller."""

FIRST_BLOCK, LARGEST_BLOCK = 256, 2048
"""Entries of the first block of lines, and of the later ones."""

BLOCK_SECONDS = 0.05
"""Seconds after which a block is given away as it is: its lines do not wait for a slow disk."""


class DirectoryLister:
    """Makes the lines of one directory.

    Making one blocks: it opens the directory and makes the first lines, all of a small directory.
    `open` does so in a worker thread. `close` it in any case.

    Args:
        directory: A path, or a descriptor, which is duplicated.
        formatter: Makes the lines; it is called in worker threads.
        is_wanted: Says of a name whether the entry is wanted.
        follow: Gives the status of what a symbolic link of a name leads to
            (RFC 3659 §7.5.1.5); or None, and it is listed as a link. May block.
        limiter: Bounds the threads of this directory's store.

    Raises:
        OSError: It cannot be read.
    """

    def __init__(
        self,
        directory: FilePath | int,
        formatter: TableFormatter,
        *,
        is_wanted: Callable[[str], bool] | None = None,
        follow: Callable[[str], os.stat_result | None] | None = None,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> None:
        check_call(DirectoryLister.__init__, locals())
        require_methods(formatter, "a formatter of tables", ("format_table",))
        self._format = formatter.format_table
        self._reader = DirectoryReader(
            directory, is_wanted=is_wanted, follow=follow, with_status=formatter.needs_status
        )
        self._calls = WorkerCalls(limiter)
        self._batch = FIRST_BATCH
        self._block = FIRST_BLOCK
        self._first: ListingBlock | None = None
        try:
            self._first = self._next_block()
        except BaseException:
            self._reader.close()
            raise

    @classmethod
    async def open(
        cls,
        directory: FilePath | int | Callable[[], int],
        formatter: TableFormatter,
        *,
        is_wanted: Callable[[str], bool] | None = None,
        follow: Callable[[str], os.stat_result | None] | None = None,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> Self:
        """Make one in a worker thread. See the class.

        Args:
            directory: See the class, as for all that follows; or a function that
                finds it, in the worker thread: it returns a descriptor, which
                is closed here.
            formatter: Makes the lines.
            is_wanted: Says of a name whether the entry is wanted.
            follow: Gives the status of what a symbolic link leads to.
            limiter: Bounds the threads.

        Raises:
            OSError: It cannot be read.
        """

        check_call(DirectoryLister.open, locals())
        require_methods(formatter, "a formatter of tables", ("format_table",))
        if isinstance(directory, int):
            check_range("directory", directory, 0)
        calls = WorkerCalls(limiter)
        opened: list[Self] = []

        def work() -> None:
            with _found(directory) as place:
                opened.append(
                    cls(place, formatter, is_wanted=is_wanted, follow=follow, limiter=limiter)
                )

        def close() -> None:
            for lister in opened:
                lister.close()

        try:
            await calls.run(work)
        except asyncio.CancelledError:
            if not calls.defer(close):
                close()
            raise

        return opened[0]

    def take_all(self) -> ListingBlock | None:
        """Give all lines, once, if the directory is so small that they are made; None if not."""

        if not self._reader.at_end:
            return None

        block, self._first = self._first, None
        return block

    async def blocks(self) -> AsyncGenerator[ListingBlock, None]:
        """Yield the lines, once, in blocks, made one block ahead of the consumer.

        Raises:
            OSError: The directory cannot be read on.
        """

        ahead: asyncio.Task[ListingBlock] | None = None
        try:
            block, self._first = self._first, None
            while block is not None:
                if not self._reader.at_end:
                    ahead = asyncio.ensure_future(self._calls.run(self._next_block))
                if block:
                    yield block
                block = None
                if ahead is not None:
                    block = await ahead
                    ahead = None
        finally:
            if ahead is not None:
                await give_up(ahead)

    def close(self) -> None:
        """Close the directory, after a thread that still reads it has returned. Idempotent."""

        if not self._calls.defer(self._reader.close):
            self._reader.close()

    def _next_block(self) -> ListingBlock:
        parts: list[bytes] = []
        count = 0
        started_at = now = time.monotonic()
        while count < self._block and not self._reader.at_end:
            parts.append(self._format(self._reader.read(self._batch)))
            count += self._batch
            before, now = now, time.monotonic()
            if now - before > BATCH_SECONDS:
                self._batch = max(self._batch // 2, FIRST_BATCH)
            else:
                self._batch = min(self._batch * 2, LARGEST_BATCH)

            if now - started_at > BLOCK_SECONDS and any(parts):
                break

        self._block = LARGEST_BLOCK
        return ListingBlock(b"".join(parts))


@contextlib.contextmanager
def _found(directory: FilePath | int | Callable[[], int]) -> Iterator[FilePath | int]:
    """Give the directory that a function finds, or the one that is given."""

    if not callable(directory):
        yield directory
        return

    fd = directory()
    try:
        yield fd
    finally:
        # Nothing was written; and what was opened by it stays open.
        let_go(fd)


class DirectoryLines(AsyncGenerator[ListingBlock, None]):
    """The lines of a directory, which can be opened before they are asked for.

    Args:
        opening: Opens the directory. Called at most once.
    """

    def __init__(self, opening: Callable[[], Awaitable[DirectoryLister]]) -> None:
        self._opening = opening
        self._lister: DirectoryLister | None = None
        self._blocks = self._iterate()

    async def open(self) -> Self:
        """Open the directory, unless it is open; not in two tasks at a time.

        Raises:
            OSError: It cannot be read.
        """

        if self._lister is None:
            self._lister = await self._opening()

        return self

    async def _iterate(self) -> AsyncGenerator[ListingBlock, None]:
        await self.open()
        assert self._lister is not None
        try:
            async with contextlib.aclosing(self._lister.blocks()) as blocks:
                async for block in blocks:
                    yield block
        finally:
            self._lister.close()

    async def asend(self, value: None) -> ListingBlock:
        """Return the next block."""

        return await self._blocks.asend(value)

    async def athrow(self, *error: Any) -> ListingBlock:
        """Raise an exception where the lines are made."""

        return await self._blocks.athrow(*error)

    async def aclose(self) -> None:
        """Close the directory, whether a line was asked for or not."""

        try:
            await self._blocks.aclose()
        finally:
            if self._lister is not None:
                self._lister.close()


def list_directory(
    directory: FilePath | int,
    formatter: TableFormatter,
    *,
    is_wanted: Callable[[str], bool] | None = None,
    follow: Callable[[str], os.stat_result | None] | None = None,
    limiter: anyio.CapacityLimiter | None = None,
) -> AsyncGenerator[ListingBlock, None]:
    """Return a generator of the lines of a directory, for `send_listing`.

    ::

        await send_listing(dtp, list_directory(path, ListFormatter(now=time.time())))

    Takes the arguments of `DirectoryLister`, which is for those who must know what is
    wrong with a directory before the data connection is opened. The lines are made in
    worker threads.

    Raises:
        OSError: The directory cannot be read; raised when the first line is asked for.

    Cancelled, or closed early, the generator waits for its thread and leaves nothing open.
    """

    check_call(list_directory, locals())
    require_methods(formatter, "a formatter of tables", ("format_table",))
    if isinstance(directory, int):
        check_range("directory", directory, 0)

    return DirectoryLines(
        functools.partial(
            DirectoryLister.open,
            directory,
            formatter,
            is_wanted=is_wanted,
            follow=follow,
            limiter=limiter,
        )
    )
