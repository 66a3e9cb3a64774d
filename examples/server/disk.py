"""The served directory: every access to the file system.

Rules of this file:

1. No path leaves the served directory: `ftpdata.files.open_beneath` and
   `locate_beneath` find what a path means. Nobody gains anything by exchanging a
   directory for a link meanwhile.
2. A symbolic link is followed. One that is absolute, or that climbs above the served
   directory, is refused.
3. Every call that touches the disk runs in a worker thread, and this store
   limits its threads: a slow disk stops neither the event loop nor another store.
   `memory` opens what is known not to touch the disk.
4. Names are bytes on the disk, and text with surrogate escapes everywhere else.

Needs a system with directory descriptors (`os.open` with ``dir_fd``): Linux,
macOS, the BSDs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import stat
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from typing import ParamSpec, Self, TypeVar

import anyio
import anyio.to_thread

from ftpdata import DirectoryLister, FileTarget, ListingEntry, WriteMode
from ftpdata.files import (
    PartLimits,
    PartStatus,
    PartStore,
    RemovedPart,
    locate_beneath,
    open_beneath,
    remove_reserved,
)
from ftpdata.listing import TableFormatter

from .memory import Memory
from .paths import join
from .reply import Reply
from .store import is_about_name, system_error

__all__ = ["DiskReader", "DiskStore"]

MAX_THREADS = 16
"""Calls that may wait for the disk at one time."""

CHUNK = 1024 * 1024
"""Bytes that one visit to a worker thread reads."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _to_disk(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _from_disk(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


class DiskReader:
    """A regular file, open for reading; see `store.Reader`.

    Args:
        store: The store that the file is in.
        fd: Its descriptor, which is closed by `release`.
        size: Bytes in the file when it was opened.
    """

    def __init__(self, store: DiskStore, fd: int, size: int) -> None:
        self.fd: int | None = fd
        self.size: int = size
        self._store = store
        self._fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    async def chunks(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `start` to `end`, or to where the file ends."""

        while end is None or start < end:
            size = CHUNK if end is None else min(CHUNK, end - start)
            data = await self._store.run(os.pread, self._fd, size, start)
            if not data:
                return

            yield data
            start += len(data)

    def release(self) -> None:
        """Close it. Once."""

        _close(self._fd)


class DiskStore:
    """The files beneath one directory; see `store.Store`.

    A cancelled call waits for its worker thread.

    Args:
        root: The served directory; or a descriptor of it, which then belongs to the store.
        part_limits: How much is kept of the uploads of one user that were cut.
        above: The store that the directory is in, which does what is done for all of it.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | int,
        *,
        part_limits: PartLimits | None = None,
        above: DiskStore | None = None,
    ) -> None:
        self.refused: Mapping[str, Reply] = {}
        self._root = (
            root
            if isinstance(root, int)
            else os.open(root, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        )
        self._above = above
        self._parts: PartStore = (
            PartStore(self._root, limits=part_limits) if above is None else above._parts  # noqa: SLF001 - of the same class
        )
        self._memory = Memory(self._root)
        self._limiter: anyio.CapacityLimiter | None = None

    def close(self) -> None:
        """Release the served directory. Calls that run keep what they have open."""

        if self._above is None:
            self._parts.close()
        os.close(self._root)

    async def at(self, directory: str) -> DiskStore:
        """Return a store of what is beneath a directory, from which no path leads out."""

        return await self.run(self._at_directory, directory)

    # Looking

    async def status(self, path: str, *, follow: bool = True) -> ListingEntry:
        """Return what the system says about a file or directory."""

        return await self.run(self._status, path, follow)

    async def open_reader(self, path: str) -> DiskReader:
        """Open a regular file for reading."""

        found = self._memory.open_file(_to_disk(path.lstrip("/")))
        if found is not None:
            fd, status = found
            return DiskReader(self, fd, status.st_size)

        return await self.run(self._open_file, path)

    @contextlib.asynccontextmanager
    async def open_listing(
        self,
        path: str,
        formatter: TableFormatter,
        *,
        is_wanted: Callable[[str], bool] | None = None,
        follow: bool = False,
    ) -> AsyncIterator[DirectoryLister]:
        """Open a directory for listing, as a context manager.

        One visit to a worker thread finds it and makes the first lines: for a
        small directory, all of them.
        """

        lister = await DirectoryLister.open(
            functools.partial(self._open_directory, path),
            formatter,
            is_wanted=is_wanted,
            follow=functools.partial(self._linked, path) if follow else None,
            limiter=self._threads(),
        )
        try:
            yield lister
        finally:
            lister.close()

    async def free_space(self) -> int:
        """Return the bytes that an unprivileged process may still write."""

        status = await self.run(os.fstatvfs, self._root)
        return status.f_bavail * status.f_frsize

    async def used_space(self, most: int) -> int:
        """Return the bytes of all files, those of parts included. Cancellation stops it soon."""

        is_over = threading.Event()
        task = asyncio.ensure_future(self.run(self._used_space, most, is_over))
        try:
            await asyncio.wait({task})
        finally:
            is_over.set()
            if not task.done():
                with anyio.CancelScope(shield=True):
                    await asyncio.wait({task})
        return task.result()

    # Changing

    async def open_target(
        self,
        path: str,
        mode: WriteMode,
        offset: int,
        *,
        owner: str | None = None,
        part_only: bool = False,
        is_judged: bool = False,
    ) -> FileTarget:
        """Open a file for an upload: the one that a symbolic link at the end of `path` leads to."""

        if offset and mode is not WriteMode.RESUME:
            # A file that is not there cannot be continued, and must not be made.
            await self.status(path)
        # Without a part, the file itself would be written to, where it can be seen.
        part_only = part_only or is_judged
        found = self._memory.find_target(_to_disk(path.lstrip("/")))
        find = functools.partial(self._find_target, path) if found is None else lambda: found
        return await FileTarget.open(
            find,
            mode=mode,
            offset=offset,
            parts=None if owner is None else self._parts.owner(owner),
            part_only=part_only,
            lives_in_memory=found is not None,
        )

    async def part_status(self, path: str, owner: str) -> PartStatus | None:
        """Return what came of an upload of this name and owner that was cut; None if nothing."""

        return await self.run(self._part_status, path, owner)

    async def remove_part(self, path: str, owner: str, *, only_stale: bool = False) -> bool:
        """Remove what came of an upload that was cut; tell whether there was something."""

        return await self.run(self._remove_part, path, owner, only_stale=only_stale)

    async def clean(self) -> list[RemovedPart]:
        """Remove parts that are too old or too many, and what killed processes have left."""

        return await self._parts.clean()

    async def make_directory(self, path: str) -> None:
        """Make a directory."""

        await self.run(self._at, path, os.mkdir)

    async def remove_directory(self, path: str) -> None:
        """Remove a directory that is empty, or holds only parts that nobody writes to."""

        await self.run(self._at, path, _remove_directory)

    async def remove_file(self, path: str) -> None:
        """Remove a file, or a symbolic link and not what it leads to."""

        await self.run(self._at, path, os.unlink)

    async def rename(self, old: str, new: str) -> None:
        """Rename a file, directory or link; what has the new name is replaced."""

        await self.run(self._rename, old, new)

    async def set_modified(self, path: str, seconds: float) -> None:
        """Set the modification time, in seconds since 1970 (UTC)."""

        await self.run(self._set_modified, path, seconds)

    async def set_mode(self, path: str, mode: int) -> None:
        """Set the permission bits of a file or directory."""

        await self.run(self._set_mode, path, mode)

    # Threads

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a call that may block in a worker thread of this store."""

        return await anyio.to_thread.run_sync(
            functools.partial(call, *args, **kwargs), limiter=self._threads()
        )

    def _threads(self) -> anyio.CapacityLimiter:
        if self._above is not None:
            return self._above._threads()  # noqa: SLF001 - of the same class
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(MAX_THREADS)

        return self._limiter

    # Everything below runs in a worker thread

    def _locate(
        self, path: str, *, follow: bool = True
    ) -> AbstractContextManager[tuple[int, bytes]]:
        """Find the directory that holds the last name of `path`, which may be a link.

        Links are followed within the served directory, and one that has the last name if `follow`.
        """

        return locate_beneath(self._root, _to_disk(path), follow=True, resolve_last=follow)

    def _at(self, path: str, call: Callable[..., None]) -> None:
        with self._locate(path, follow=False) as (fd, name):
            if name == b".":
                raise system_error(errno.EPERM)
            call(name, dir_fd=fd)

    def _status(self, path: str, follow: bool) -> ListingEntry:
        with self._locate(path, follow=follow) as (fd, name):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            target = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(status.st_mode) else None
            return ListingEntry.from_stat(
                _from_disk(name), status, target=None if target is None else _from_disk(target)
            )

    def _open_file(self, path: str) -> DiskReader:
        file = open_beneath(self._root, _to_disk(path), follow=True)
        try:
            return DiskReader(self, file, os.fstat(file).st_size)
        except BaseException:
            _close(file)
            raise

    def _open_directory(self, path: str) -> int:
        return open_beneath(self._root, _to_disk(path), is_directory=True, follow=True)

    def _used_space(self, most: int, is_over: threading.Event) -> int:
        used = seen = 0
        # Names only: whole paths of many directories would take much memory.
        stack: list[tuple[bytes, list[bytes]]] = [(b"", [b"."])]
        while stack and not is_over.is_set():
            above, names = stack[-1]
            if not names:
                stack.pop()
                continue

            path = above + b"/" + names.pop()
            inner: list[bytes] = []
            try:
                fd = open_beneath(self._root, path, is_directory=True)
            except OSError as error:
                if is_about_name(error):
                    # It has gone, or is nobody's to look at.
                    continue
                raise
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        seen += 1
                        if entry.is_dir(follow_symlinks=False):
                            inner.append(os.fsencode(entry.name))
                        elif entry.is_file(follow_symlinks=False):
                            used += _size(entry)
            finally:
                _close(fd)
            if seen > most:
                raise system_error(errno.E2BIG)
            stack.append((path, inner))

        return used

    def _at_directory(self, path: str) -> DiskStore:
        fd = self._open_directory(path)
        try:
            return DiskStore(fd, above=self)
        except BaseException:
            _close(fd)
            raise

    def _linked(self, directory: str, name: str) -> os.stat_result | None:
        """Return the status of what a link leads to; None if it leads nowhere or out."""

        try:
            with self._locate(join(directory, name)) as (fd, last):
                return os.stat(last, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if is_about_name(error):
                return None
            raise

    def _find_target(self, path: str) -> tuple[bytes, int]:
        """Return the name of a file to be written, and a descriptor of the directory it is in."""

        with self._locate(path) as (fd, name):
            with contextlib.suppress(FileNotFoundError):
                _require_file(os.stat(name, dir_fd=fd, follow_symlinks=False))
            return name, os.dup(fd)

    def _part_status(self, path: str, owner: str) -> PartStatus | None:
        with self._locate(path) as (fd, name):
            return self._parts.owner(owner).look(name, dir_fd=fd)

    def _remove_part(self, path: str, owner: str, *, only_stale: bool) -> bool:
        with self._locate(path) as (fd, name):
            return self._parts.owner(owner).remove(name, dir_fd=fd, only_stale=only_stale)

    def _rename(self, old: str, new: str) -> None:
        with (
            self._locate(old, follow=False) as (old_fd, old_name),
            self._locate(new, follow=False) as (new_fd, new_name),
        ):
            if b"." in (old_name, new_name):
                raise system_error(errno.EPERM)
            os.rename(old_name, new_name, src_dir_fd=old_fd, dst_dir_fd=new_fd)

    def _set_modified(self, path: str, seconds: float) -> None:
        with self._locate(path) as (fd, name):
            accessed = os.stat(name, dir_fd=fd, follow_symlinks=False).st_atime
            os.utime(name, (accessed, seconds), dir_fd=fd, follow_symlinks=False)

    def _set_mode(self, path: str, mode: int) -> None:
        with self._locate(path) as (fd, name):
            # A FIFO that nobody writes to must not hold a worker thread for ever.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
            file = os.open(name, flags, dir_fd=fd)
        try:
            os.fchmod(file, mode)
        finally:
            _close(file)


def _remove_directory(name: bytes, *, dir_fd: int) -> None:
    """Remove a directory, with the parts in it: to clients it looks empty."""

    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        fd = open_beneath(dir_fd, name, is_directory=True)
        try:
            if not remove_reserved(fd):
                raise
        finally:
            _close(fd)
        os.rmdir(name, dir_fd=dir_fd)


def _close(fd: int) -> None:
    """Close a descriptor that nothing was written to, so that no error could mean a loss.

    Even if it fails, the number is free, and may be another's: it is closed once.
    """

    try:  # noqa: SIM105 - a context manager would take longer than the call
        os.close(fd)
    except OSError:
        pass


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _require_file(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise system_error(errno.EISDIR)
    if not stat.S_ISREG(status.st_mode):
        raise system_error(errno.EPERM)
