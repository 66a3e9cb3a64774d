"""Directories, read and made into lines in worker threads (LIST, NLST, MLSD).

What a large listing costs is one status call for each file. `DirectoryReader`
makes them as cheap as Python can: on Linux, statx fills a table for many files
at a time, and what a listing shows is taken out of it at once; elsewhere, and
for every name that statx has no answer for, it is `os.stat`. `DirectoryLister`
formats in the same visit to the thread, and gives whole blocks of lines: the
first one early, the others large, one of them ahead of the network.

Rules:

1. A reader blocks; it is for worker threads, and for one of them at a time.
2. Memory is bounded by the block, whatever the size of the directory.
3. A symbolic link is listed as a link, unless `follow` says otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import struct
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice, repeat, starmap
from typing import Final, Literal, Self, cast

import anyio
import attrs

from .._tasks import give_up
from ..listing.table import (
    EntryTable,
    ListingBlock,
    StatusColumns,
    StatusRow,
    TableFormatter,
    folded,
)
from ._names import FilePath
from ._workers import WorkerCalls

__all__ = ["DirectoryLister", "DirectoryReader", "list_directory"]

FIRST_BATCH, LARGEST_BATCH = 16, 256
"""Entries that are read between two looks at the clock."""

BATCH_SECONDS = 0.005
"""What a batch may take; where it takes longer, the next one is smaller."""

FIRST_BLOCK, LARGEST_BLOCK = 256, 2048
"""Entries of the first block of lines, and of the later ones."""

BLOCK_SECONDS = 0.05
"""When a block is given away as it is: lines that are there do not wait for a slow disk."""

_HAS_DESCRIPTORS: Final = os.scandir in os.supports_fd
"""Whether a directory can be opened: not on Windows, where only paths are taken."""


# Reading


class DirectoryReader:
    """Reads a directory, in its own order, a batch at a time. Every method may block.

    Args:
        directory: A path, or a descriptor, which is duplicated.
        is_wanted: Says of a name whether the entry is wanted.
        follow: Gives the status of what a symbolic link of a name leads to;
            or None, and it is listed as the link that it is.
        with_status: Whether more than names is wanted.

    Attributes:
        at_end: Whether there is nothing more to read.

    Raises:
        OSError: It cannot be read.
    """

    def __init__(
        self,
        directory: FilePath | int,
        *,
        is_wanted: Callable[[str], bool] | None = None,
        follow: Callable[[str], os.stat_result | None] | None = None,
        with_status: bool = True,
    ) -> None:
        self.at_end: bool = False
        self._is_wanted = is_wanted
        self._follow = follow
        self._with_status = with_status
        self._fd = _open_directory(directory)
        try:
            if self._fd is not None:
                self._scan = os.scandir(self._fd)
            else:
                assert not isinstance(directory, int)
                self._scan = os.scandir(os.fsdecode(directory))
        except BaseException:
            self._close_fd()
            raise

        self._calls = _StatCalls()
        if self._fd is not None and (statx := _statx()) is not None:
            self._calls = _StatxCalls(self._fd, statx)

    def read(self, count: int) -> EntryTable:
        """Read so many entries at most; fewer where some are not wanted, or have vanished.

        And never more than `LARGEST_BATCH`.

        Raises:
            OSError: The directory, or the status of an entry, cannot be read.
        """

        count = min(count, LARGEST_BATCH)
        found = list(islice(self._scan, count))
        self.at_end = len(found) < count
        if self._is_wanted is not None:
            found = [entry for entry in found if self._is_wanted(_text(entry.name))]

        if not found:
            return EntryTable([])

        # No name has a NUL: one call converts them all.
        names = [entry.name for entry in found]
        joined = "\0".join(names)
        raw = os.fsencode(joined)
        if (text := raw.decode("utf-8", "surrogateescape")) != joined:
            names = text.split("\0")

        if not self._with_status:
            return EntryTable(names)

        rows, gone = self._calls.rows(found, raw.split(b"\0"))
        for place in reversed(gone):
            del found[place], names[place]

        table = EntryTable(names, rows, device_number=self._calls.device_number)
        (modes,), _ = folded(table.columns[3])
        if any(map(stat.S_ISLNK, {*modes})):
            return self._with_links(table, found)

        return table

    def _with_links(self, table: EntryTable, found: list[os.DirEntry[str]]) -> EntryTable:
        """Replace links by what they lead to, or say where they lead."""

        rows = [*table.rows]
        for place, row in enumerate(rows):
            if not stat.S_ISLNK(row[3]):
                continue

            if self._follow is not None:
                status = self._follow(table.names[place])
                if status is not None:
                    rows[place] = self._calls.row(status)
                continue

            with contextlib.suppress(OSError):
                target = os.readlink(found[place].path, dir_fd=self._fd)
                table.targets[place] = _text(target)

        return attrs.evolve(table, rows=rows)

    def close(self) -> None:
        """Close the directory. Idempotent."""

        self._scan.close()
        self._close_fd()

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


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
        os.close(fd)


def _open_directory(directory: FilePath | int) -> int | None:
    """Return a descriptor; None where the system has none for directories."""

    if not _HAS_DESCRIPTORS:
        return None

    if isinstance(directory, int):
        return os.dup(directory)

    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "surrogateescape")


# Status


class _StatCalls:
    """Asks for the status of entries as `os.stat` does."""

    def rows(
        self, found: list[os.DirEntry[str]], _names: list[bytes]
    ) -> tuple[Sequence[StatusRow], list[int]]:
        """Return what the system says of entries, and the places of those that have vanished."""

        rows, gone = [], []
        for place, entry in enumerate(found):
            try:
                rows.append(self.row(entry.stat(follow_symlinks=False)))
            except FileNotFoundError:
                gone.append(place)

        return rows, gone

    def row(self, status: os.stat_result) -> StatusRow:
        """Make a row of what `os.stat` says."""

        mode, inode, device, links, uid, gid, size, _, modified, _ = status
        return links, uid, gid, mode, inode, size, int(modified), device

    def device_number(self, device: int) -> int:
        """Return the device number of what a row has for its device."""

        return device


@lru_cache(maxsize=1)
def _statx() -> Callable[..., int] | None:
    """Return the statx of the C library; None where there is none.

    Prototypes (``argtypes``) are left out on purpose: to check and to convert
    arguments takes as long as the call, and what is passed is right already.
    """

    if sys.platform != "linux":
        return None

    import ctypes  # noqa: PLC0415 - slow to import, and not for everybody

    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), "statx", None)
    return function


_STATX_SIZE: Final = 256
_STATX_MASK: Final = 0x35F
"""Type, mode, links, uid, gid, modification, inode, size. To be asked for no more spares network
file systems a round trip."""

_STATX_FLAGS: Final = 0x100 | 0x800
"""AT_SYMLINK_NOFOLLOW; AT_NO_AUTOMOUNT, as in `os.stat`: a listing must not mount what it lists."""

_STATX_COLUMNS: Final[tuple[tuple[Literal["H", "I", "Q", "q"], int], ...]] = (
    *(("I", 4), ("I", 5), ("I", 6), ("H", 14), ("Q", 4), ("Q", 5), ("q", 14), ("Q", 17)),
)
"""Where ``struct statx`` (linux/stat.h, the same on every machine) has the fields of a `StatusRow`,
each with its type, in items of that type. Major and minor number of the device are one number here:
there is one device, and a call for each file costs."""

_PAIR, _ONE = struct.Struct("=II"), struct.Struct("=Q")


class _StatxCalls(_StatCalls):
    """Asks statx, which writes into a table of its own; `os.stat` where that fails for one of many.

    Args:
        fd: The directory.
        statx: The function of the C library.
    """

    def __init__(self, fd: int, statx: Callable[..., int]) -> None:
        self._fd = fd
        self._statx = statx
        self._memory = bytearray(LARGEST_BATCH * _STATX_SIZE)
        self._places: list[object] = []

    def rows(
        self, found: list[os.DirEntry[str]], names: list[bytes]
    ) -> tuple[Sequence[StatusRow], list[int]]:
        """Return what the system says of entries, and the places of those that have vanished."""

        if len(self._places) < len(names):
            self._make_places(len(names))

        # One loop in C, without tuples of its own: the calls are short, and Python's loop would be
        # half of the time.
        flags, mask = repeat(_STATX_FLAGS), repeat(_STATX_MASK)
        calls = zip(repeat(self._fd), names, flags, mask, self._places)
        if any([*starmap(self._statx, calls)]):
            return super().rows(found, names)

        # A copy: a table stays what it is when the next one is read.
        filled = memoryview(memoryview(self._memory)[: len(names) * _STATX_SIZE].tobytes())
        return StatusColumns([
            filled.cast(form)[start :: _STATX_SIZE // struct.calcsize(form)]
            for form, start in _STATX_COLUMNS
        ]), []

    def row(self, status: os.stat_result) -> StatusRow:
        """Make a row of what `os.stat` says."""

        *others, device = super().row(status)
        pair = _PAIR.pack(os.major(device), os.minor(device))
        return cast("StatusRow", (*others, *_ONE.unpack(pair)))

    def device_number(self, device: int) -> int:
        """Return the device number of what a row has for its device."""

        return os.makedev(*_PAIR.unpack(_ONE.pack(device)))

    def _make_places(self, count: int) -> None:
        import ctypes  # noqa: PLC0415 - see _statx

        memory = (ctypes.c_char * len(self._memory)).from_buffer(self._memory)
        self._places = [ctypes.byref(memory, place * _STATX_SIZE) for place in range(count)]


# Making lines


class DirectoryLister:
    """Makes the lines of one directory.

    To make one blocks: it opens the directory and makes the first lines, all of
    a small directory. `open` does it in a worker thread. `close` it in any case.

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
        """Close the directory. Idempotent; behind a thread that still reads."""

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


async def list_directory(
    directory: FilePath | int,
    formatter: TableFormatter,
    *,
    is_wanted: Callable[[str], bool] | None = None,
    follow: Callable[[str], os.stat_result | None] | None = None,
    limiter: anyio.CapacityLimiter | None = None,
) -> AsyncGenerator[ListingBlock, None]:
    """Yield the lines of a directory, for `send_listing`, made in worker threads.

    ::

        await send_listing(dtp, list_directory(path, ListFormatter(now=time.time())))

    Takes the arguments of `DirectoryLister`, which is for who must know what is
    wrong with a directory before the data connection is opened.

    Raises:
        OSError: It cannot be read.

    Cancelled, or closed early, it waits for its thread and leaves nothing open.
    """

    lister = await DirectoryLister.open(
        directory, formatter, is_wanted=is_wanted, follow=follow, limiter=limiter
    )
    try:
        async with contextlib.aclosing(lister.blocks()) as blocks:
            async for block in blocks:
                yield block
    finally:
        lister.close()
