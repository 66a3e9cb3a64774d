"""Files that are received, written and published in worker threads (STOR, APPE, STOU).

Cancellation waits for the thread, see `ftpdata.files._workers`. A write that is
no longer waited for closes the file, and removes the hidden one, when it comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import stat
import time
from collections.abc import Callable

import anyio

from ..errors import BadArgument, FileUnavailable, error_for_end, error_for_oserror
from ..outcome import End
from ._cache import lives_in_memory
from ._names import ERRORS_OF_NAMES, FilePath
from ._workers import WorkerCalls
from ._writing import write_all

__all__ = ["FileTarget", "WriteMode"]

SHORT = 64 * 1024
"""Bytes that are copied in less time than a visit to a thread takes."""


class WriteMode(enum.Enum):
    """What an upload does to a file of its name."""

    ATOMIC = "atomic"
    """Write beside it under a hidden name; take its place once all is there (STOR)."""

    IN_PLACE = "in place"
    """Write into it from an offset on; what came stays (REST and STOR)."""

    APPEND = "append"
    """Write behind its end; what came stays (APPE)."""

    EXCLUSIVE = "exclusive"
    """Make it, which must be new; it goes away again if the upload is cut (STOU)."""


class FileTarget:
    """A file that is received. Written and published in worker threads.

    Made by `open`; an `ftpdata.contracts.UploadTarget`. An atomic upload that
    does not end cleanly leaves nothing under the final name, whatever ended
    it; a process that is killed leaves the hidden file,
    ``.NAME.RANDOM.part``, which is made for the first bytes that come.

    Attributes:
        position: Where the next byte goes, in bytes.
        keep_partial: Whether `discard` publishes what came of an atomic or
            exclusive upload. May be set at any time: once a restart marker was
            acknowledged, what is before it is to be there.
        can_splice: Whether splice(2) may write to it: not known to be refused.
    """

    def __init__(
        self,
        *,
        dir_fd: int | None,
        mode: WriteMode,
        permissions: int,
        durable: bool,
        keep_partial: bool,
        calls: WorkerCalls,
    ) -> None:
        self._fd: int | None = None
        self._is_settled = False
        # The name, and where it is divided.
        self._name = self._directory = self._base = b""
        self._partial_name: bytes | None = None
        self._dir_fd = dir_fd
        self._mode = mode
        self._permissions = permissions
        self._replaced: os.stat_result | None = None
        self._durable = durable
        self.keep_partial: bool = keep_partial
        self._calls = calls
        self.position: int = 0
        # What is opened to append has none (splice(2), EINVAL).
        self.can_splice: bool = mode is not WriteMode.APPEND

    @classmethod
    async def open(
        cls,
        path: FilePath | Callable[[], tuple[FilePath, int | None]],
        *,
        dir_fd: int | None = None,
        mode: WriteMode = WriteMode.ATOMIC,
        offset: int = 0,
        permissions: int = 0o666,
        durable: bool = False,
        keep_partial: bool = False,
        limiter: anyio.CapacityLimiter | None = None,
        lives_in_memory: bool = False,
    ) -> FileTarget:
        """Open a file for receiving.

        Args:
            path: Where the upload goes. A symbolic link is replaced by an
                atomic upload, and refused by the others. Or a function that
                finds out, in the worker thread: it returns the path, and the
                directory that it starts from (None for the current one), whose
                descriptor belongs to the target then.
            dir_fd: Directory that a relative path starts from; a copy is kept.
            mode: What happens to a file of that name.
            offset: Where to start, in bytes (REST); needs `WriteMode.IN_PLACE`.
            permissions: Of a new file, before the umask. A file that is
                replaced hands its own permissions on.
            durable: Flush the file and its directory to the disk before
                `commit` returns, so that a power cut loses nothing (fsync).
            keep_partial: Let `discard` publish what came of an atomic or
                exclusive upload, for a client that will go on with REST.
            limiter: Bounds the threads.
            lives_in_memory: Whether the directory is known to have no disk
                (tmpfs): then no thread is needed to open the file.

        Raises:
            FileUnavailable: It may not be written, or is a directory. Reply 550.
            InsufficientStorage: There is no room. Reply 452.
            BadArgument: The offset is behind the end, or the mode has none.
                Reply 501.
            LocalError: The system failed otherwise. Reply 451.
        """

        if offset < 0:
            raise BadArgument(f"an offset is not negative: {offset}")

        if offset and mode is not WriteMode.IN_PLACE:
            raise BadArgument(f"an upload in mode {mode.value!r} cannot start at offset {offset}")

        calls = WorkerCalls(limiter)
        calls.lives_in_memory = lives_in_memory
        opened: list[FileTarget] = []

        def work() -> FileTarget:
            if callable(path):
                found, directory = path()
            else:
                found, directory = path, os.dup(dir_fd) if dir_fd is not None else None

            target = cls(
                dir_fd=directory,
                mode=mode,
                permissions=permissions,
                durable=durable,
                keep_partial=keep_partial,
                calls=calls,
            )
            try:
                target._begin(found, offset)
            except BaseException:
                target._close_directory()
                raise

            opened.append(target)
            return target

        def discard() -> None:
            for target in opened:
                target.discard_now()

        try:
            with ERRORS_OF_NAMES:
                return await calls.run(work, is_short=True)
        except asyncio.CancelledError:
            await calls.clean_up(discard, at_once=True)
            raise

    @property
    def keeps_what_came(self) -> bool:
        """Whether the bytes of an upload that is cut stay where they were written."""

        return self.keep_partial or self._mode in (WriteMode.IN_PLACE, WriteMode.APPEND)

    def begin_in_memory(self) -> bool:
        """Make the hidden file of an atomic upload now, if there is no disk to be waited for.

        It would be made for the first bytes: this is for the time until they come.

        Returns:
            Whether it was made.
        """

        if self._fd is not None or self._is_settled or not self._calls.lives_in_memory:
            return False

        try:
            self._make_hidden()
        except OSError:
            # What is wrong, the first bytes will meet.
            return False

        return True

    async def write(self, data: bytes) -> None:
        """Write bytes behind what was written before. All of them, or it raises.

        Raises:
            InsufficientStorage: The disk is full. Reply 452.
            QuotaExceeded: A quota or the largest file size. Reply 552.
            LocalError: The system failed otherwise. Reply 451.
        """

        self._check_unsettled()
        try:
            await self._calls.run(lambda: write_all(self._open_fd(), data))
        except OSError as error:
            raise error_for_oserror(error) from error

        self.position += len(data)

    async def fill(self, move: Callable[[int], int]) -> None:
        """Let `move` write to the descriptor it is given, in a worker thread.

        Args:
            move: Returns how many bytes it has written.

        Raises:
            FTPDataError: As for `write`, of an `OSError` that `move` raises.
        """

        self._check_unsettled()
        try:
            self.position += await self._calls.run(lambda: move(self._open_fd()))
        except OSError as error:
            raise error_for_oserror(error) from error

    async def commit(self, last: bytes = b"", *, timeout: float | None = None) -> None:
        """Publish the upload under its name. Once, instead of `discard`.

        Args:
            last: What is to be written before that: a small file takes one
                visit to a worker thread.
            timeout: Seconds after which `last` is to be written; what takes
                longer is not published.

        Raises:
            TransferTimeout: It took longer: `End.STALLED`. Reply 426.
            FTPDataError: The system refused; nothing was published, and
                nothing is left of an atomic upload. (Where it is the last
                step of a durable one that failed, to flush the directory, it
                is published, but a power cut may undo that.) Carries the
                reply code.

        Cancellation: it is published whole or not at all.
        """

        self._check_unsettled()
        until = None if timeout is None else time.monotonic() + timeout
        is_published = False

        def work() -> None:
            nonlocal is_published
            self._is_settled = True
            try:
                fd, self._fd = self._open_fd(), None
                try:
                    write_all(fd, last)
                    if self._durable:
                        os.fsync(fd)
                finally:
                    # close may report what write did not (EDQUOT and EIO on network disks).
                    os.close(fd)

                # Else nobody waits for it any more.
                _check_in_time(until)
                if self._partial_name is not None:
                    self._rename()
                is_published = True
                if self._durable:
                    self._sync_directory()
            except BaseException:
                self._unlink()
                raise
            finally:
                self._close_directory()

        # To replace a file gives its memory back, page by page.
        replaced_size = 0 if self._replaced is None else self._replaced.st_size
        is_short = len(last) <= SHORT and replaced_size <= SHORT
        try:
            async with asyncio.timeout(None if self._calls.lives_in_memory else timeout):
                await self._settle(work, is_short=is_short)
        except OSError as error:
            if not isinstance(error, TimeoutError) or error.errno is not None:
                raise error_for_oserror(error) from error
            # Else it was at the last step when the time was over.
            if not is_published:
                text = f"the store took more than {timeout:g} s to write what came"
                raise error_for_end(End.STALLED, text) from error

    async def _settle(self, work: Callable[[], None], *, is_short: bool) -> None:
        try:
            await self._calls.run(work, is_short=is_short)
        except asyncio.CancelledError:
            # Where no thread had begun with it, nothing was published, and is not to be.
            if not self._is_settled:
                await self._calls.clean_up(self.discard_now, at_once=True)
            raise

    async def discard(self) -> None:
        """Let go of a cut upload. Once, instead of `commit`.

        Nothing is left of an atomic or exclusive one, unless `keep_partial`.
        What was written in place or appended stays. A write that still runs
        is waited for, but not here: its thread does the rest.

        Raises:
            FTPDataError: The system refused. Carries the reply code.
        """

        if not self._is_settled:
            try:
                await self._calls.clean_up(self.discard_now)
            except OSError as error:
                raise error_for_oserror(error) from error

    def discard_now(self) -> None:
        """Do what `discard` does, in the calling thread. Idempotent."""

        if self._is_settled:
            return

        self._is_settled = True
        fd, self._fd = self._fd, None
        try:
            if fd is not None:
                os.close(fd)
        except OSError:
            # It is thrown away; what could not be written does not matter.
            pass
        finally:
            try:
                if self.keep_partial and self._partial_name is not None:
                    self._rename()
                elif not self.keep_partial:
                    self._unlink()
            finally:
                self._close_directory()

    def _check_unsettled(self) -> None:
        if self._is_settled:
            raise ValueError("this upload was committed or discarded already")

    # In a worker thread

    def _begin(self, path: FilePath, offset: int) -> None:
        """Open the file; of an atomic upload, find out whether a hidden one may be made."""

        self._name = name = os.fsencode(path)
        self._directory, self._base = os.path.split(name)
        if not self._base:
            raise FileUnavailable("is a directory" if name else "expected a name")

        if self._mode is WriteMode.ATOMIC:
            self._replaced = _status_of_replaced(name, self._dir_fd)
            if not _may_write(self._directory or b".", self._dir_fd):
                # Or so it is said: the system has the last word, and the reason.
                self._make_hidden()
            return

        self._fd = _open_named(
            name, self._dir_fd, self._mode, self._permissions, may_be_new=not offset
        )
        try:
            status = os.fstat(self._fd)
            # A pipe may be anywhere, and make its writer wait.
            is_file = stat.S_ISREG(status.st_mode)
            self._calls.lives_in_memory = is_file and lives_in_memory(self._fd)
            self.position = _start_position(self._fd, status, self._mode, offset)
        except BaseException:
            os.close(self._fd)
            with contextlib.suppress(OSError):
                self._unlink()
            raise

    def _open_fd(self) -> int:
        return self._make_hidden() if self._fd is None else self._fd

    def _make_hidden(self) -> int:
        """Make the hidden file beside the one that an atomic upload replaces."""

        # The hidden name is longer; names end at 255 bytes on nearly every system.
        partial = b".%s.%s.part" % (self._base[:200], os.urandom(8).hex().encode())
        if self._directory:
            partial = os.path.join(self._directory, partial)  # noqa: PTH118 - no bytes in pathlib
        fd = os.open(partial, _NEW, self._permissions, dir_fd=self._dir_fd)
        self._fd, self._partial_name = fd, partial
        if not self._calls.lives_in_memory:
            self._calls.lives_in_memory = lives_in_memory(fd)
        if self._replaced is not None and hasattr(os, "fchmod"):
            with contextlib.suppress(OSError):
                os.fchmod(fd, self._replaced.st_mode & 0o777)

        return fd

    def _rename(self) -> None:
        assert self._partial_name is not None
        os.replace(self._partial_name, self._name, src_dir_fd=self._dir_fd, dst_dir_fd=self._dir_fd)

    def _unlink(self) -> None:
        if self._partial_name is not None:
            doomed = self._partial_name
        elif self._mode is WriteMode.EXCLUSIVE:
            doomed = self._name
        else:
            return

        with contextlib.suppress(FileNotFoundError):
            os.unlink(doomed, dir_fd=self._dir_fd)

    def _sync_directory(self) -> None:
        if not hasattr(os, "O_DIRECTORY"):
            return

        fd = os.open(self._directory or b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._dir_fd)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _close_directory(self) -> None:
        fd, self._dir_fd = self._dir_fd, None
        if fd is not None:
            # Nothing was written through it that could be lost now.
            with contextlib.suppress(OSError):
                os.close(fd)


def _check_in_time(until: float | None) -> None:
    if until is not None and time.monotonic() > until:
        raise TimeoutError


_WRITE = os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = _WRITE | getattr(os, "O_NOFOLLOW", 0)
_NEW = _NO_LINK | os.O_CREAT | os.O_EXCL

_KNOWS_EFFECTIVE = os.access in os.supports_effective_ids


def _open_named(
    name: bytes, dir_fd: int | None, mode: WriteMode, permissions: int, *, may_be_new: bool
) -> int:
    """Open a file to write to it under its own name."""

    if mode is WriteMode.EXCLUSIVE:
        return os.open(name, _NEW, permissions, dir_fd=dir_fd)

    flags = _NO_LINK | getattr(os, "O_NONBLOCK", 0)
    if may_be_new:
        flags |= os.O_CREAT
    if mode is WriteMode.APPEND:
        flags |= os.O_APPEND
    fd = os.open(name, flags, permissions, dir_fd=dir_fd)
    try:
        if hasattr(os, "set_blocking"):
            os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _status_of_replaced(name: bytes, dir_fd: int | None) -> os.stat_result | None:
    """Return what the system says about the file that is to be replaced; None where none is."""

    replaced = _status(name, dir_fd)
    if replaced is None:
        return None
    if stat.S_ISDIR(replaced.st_mode):
        raise FileUnavailable("is a directory")
    if not stat.S_ISREG(replaced.st_mode):
        return None

    # Renaming asks nobody's leave; a file that may not be written is to stay.
    if not _may_write(name, dir_fd):
        raise FileUnavailable("Permission denied")

    return replaced


def _status(name: bytes, dir_fd: int | None) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _may_write(name: bytes, dir_fd: int | None) -> bool:
    return os.access(name, os.W_OK, dir_fd=dir_fd, effective_ids=_KNOWS_EFFECTIVE)


def _start_position(fd: int, status: os.stat_result, mode: WriteMode, offset: int) -> int:
    if mode is WriteMode.APPEND:
        return status.st_size

    if mode is WriteMode.IN_PLACE:
        if not stat.S_ISREG(status.st_mode):
            if offset:
                raise BadArgument("only a regular file can be written from an offset")
            return 0

        if offset > status.st_size:
            raise BadArgument(f"offset {offset} is behind the end of the file, {status.st_size}")

        if offset:
            os.lseek(fd, offset, os.SEEK_SET)
        else:
            os.ftruncate(fd, 0)

    return offset
