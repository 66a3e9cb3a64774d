"""Files that are received, written and published in worker threads (STOR, APPE, STOU).

`FileTarget` is what a transfer sees; `ftpdata.files._places` decides where the bytes are until the
upload is whole, and publishes it.

Cancellation waits for the thread, see `ftpdata.files._workers`. A write that nobody waits for
any longer lets go of the upload when it comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import os
import time
from collections.abc import Callable

import anyio
import attrs

from .._checks import check_call, check_range
from .._descriptors import let_go, write_all
from ..errors import BadArgument, error_for_end, error_for_oserror, error_for_peer
from ..outcome import End
from ._cache import keeps_in_memory
from ._cache import lives_in_memory as on_memory
from ._finding import place_for_new, place_for_replacing, place_for_resuming
from ._location import Location
from ._names import ERRORS_OF_NAMES, FilePath
from ._part_locks import LockHeld
from ._part_place import Keeping, PartPlace
from ._places import HiddenPlace, NamedPlace, Place
from ._workers import WorkerCalls
from .parts import TAKEOVER_PATIENCE, Holding, PartOwner

__all__ = ["FileTarget", "WriteMode"]

SHORT = 64 * 1024
"""Bytes that are copied in less time than a visit to a thread takes."""


class WriteMode(enum.Enum):
    """What an upload does to a file of its name."""

    ATOMIC = "atomic"
    """Write to a hidden file beside it, which takes its place once it is whole (STOR)."""

    IN_PLACE = "in place"
    """Write into it from an offset on; what came stays (REST and STOR)."""

    APPEND = "append"
    """Write to its end, wherever that is when the bytes come; what came stays (APPE)."""

    RESUME = "resume"
    """Go on at an offset with what came of an upload that was cut (REST and STOR), which takes the
    place of the file once it is whole. Where there is no such part, or it is older than the file,
    do as `IN_PLACE`."""

    EXCLUSIVE = "exclusive"
    """Write to a hidden file, which takes the name once it is whole, if the name is still free
    (STOU)."""


class FileTarget:
    """A file that is received. Written and published in worker threads.

    Made by `open`; an `ftpdata.contracts.ResumableTarget`. An atomic or exclusive upload that
    does not end cleanly leaves nothing under the final name, whatever ended it. A process that
    is killed leaves a hidden file, whose name is reserved (`ftpdata.files.is_reserved`), and
    which is made for the first bytes that come; `ftpdata.files.PartStore.clean` removes it. No
    file is made or changed before then in any mode.

    With an owner of parts, what came of an atomic upload that is cut stays hidden, and an upload
    in mode `WriteMode.RESUME` goes on with it; see `ftpdata.files.parts`.

    What replaces a file keeps its owner, group, permissions, user attributes and access list
    (ACL), as far as the system allows it, but never setuid and setgid. A file that may be
    written but not replaced (its directory is read-only, or sticky and of another owner) is
    *spooled*: the upload waits in a hidden file elsewhere until it is whole, and is then copied
    into the file, which readers may see half new while that lasts.

    Attributes:
        position: Where the next byte goes, in bytes; of what is appended, where it would go if
            nobody else wrote.
        can_splice: Whether splice(2) may write to it: not known to be refused.
        is_published: Whether the upload has its name.
    """

    def __init__(
        self,
        way: _Way,
        wish: _Wish,
        *,
        durable: bool,
        calls: WorkerCalls,
    ) -> None:
        self._way = way
        self._wish = wish
        self._place: Place | None = None
        self._is_settled = False
        self._durable = durable
        self._calls = calls
        self._is_store_known = False
        self.position: int = 0
        # What is opened to append has none (splice(2), EINVAL).
        self.can_splice: bool = wish.mode is not WriteMode.APPEND
        self.is_published: bool = False

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
        parts: PartOwner | None = None,
        part_only: bool = False,
        atomic_only: bool = False,
        spool_directory: FilePath | None = None,
        limiter: anyio.CapacityLimiter | None = None,
        lives_in_memory: bool = False,
    ) -> FileTarget:
        """Open a file for receiving.

        Args:
            path: Where the upload goes. A symbolic link is replaced by an atomic upload, and
                refused by the others. Or a function that finds the path, in the worker thread:
                it returns the path and the directory that it starts from (None for the current
                one), whose descriptor belongs to the target then.
            dir_fd: Directory that a relative path starts from; a copy is kept.
            mode: What happens to a file of that name.
            offset: Where to start, in bytes (REST); needs `WriteMode.RESUME` or
                `WriteMode.IN_PLACE`.
            permissions: Of a new file, before the umask. A file that is replaced hands its own
                permissions on.
            durable: Flush the file and its directory to the disk before `commit` returns, so
                that a power cut loses nothing (fsync).
            parts: Whose part is left if an atomic upload is cut, and gone on with in
                `WriteMode.RESUME`, which needs it. None for nobody's: then nothing is left. Where
                the file cannot be replaced (see the class), nothing is left in any case.
            part_only: In `WriteMode.RESUME`, go on with a part or not at all.
            atomic_only: Refuse a file that may be written but not replaced, instead of
                spooling the upload.
            spool_directory: Where uploads are spooled; None for the system's directory for
                temporary files (`tempfile.gettempdir`).
            limiter: Bounds the threads.
            lives_in_memory: Whether the directory is known to have no disk (tmpfs): then no
                thread is needed to open the file.

        Raises:
            FileUnavailable: It may not be written, is not a regular file, or is to be new and
                exists. Reply 550.
            FileNameNotAllowed: The system can have no such name, or the upload cannot be atomic,
                with `atomic_only`. Reply 553.
            FileBusy: Another upload writes to the part, and has not ended, though it was aborted
                if it is one of this process; or there is a file but no part, with `part_only`.
                Reply 450.
            InsufficientStorage: There is no room. Reply 452.
            BadArgument: The offset is beyond the end, or the mode has none, or lacks an owner of
                parts. Reply 501.
            LocalError: The system failed otherwise. Reply 451.

        Cancellation leaves nothing but the part that was there.
        """

        check_call(FileTarget.open, locals())
        check_range("dir_fd", dir_fd, 0)
        check_range("permissions", permissions, 0, 0o7777)
        keeping = None
        if parts is not None and mode in (WriteMode.ATOMIC, WriteMode.RESUME):
            keeping = Keeping(parts, Holding(asyncio.get_running_loop()))
        wish = _Wish(
            mode=mode,
            offset=offset,
            permissions=permissions,
            atomic_only=atomic_only,
            spool_directory=spool_directory,
            part_only=part_only,
            keeping=keeping,
        )
        calls = WorkerCalls(limiter)
        calls.lives_in_memory = lives_in_memory
        target = cls(_Way(path, dir_fd), wish, durable=durable, calls=calls)
        await target._find_place(parts)
        return target

    async def _find_place(self, parts: PartOwner | None) -> None:
        """Open the target; wait for another upload to give up the part that it wants."""

        is_taken_over = False
        until = asyncio.get_running_loop().time() + TAKEOVER_PATIENCE
        try:
            while self._place is None:
                find = functools.partial(self._find, is_taken_over=is_taken_over)
                try:
                    await self._calls.run(find, is_short=True)
                except LockHeld as held:
                    assert parts is not None
                    is_taken_over = True
                    await parts.take_over(held, until)
        except asyncio.CancelledError:
            await self._calls.clean_up(self.keep_now, at_once=True)
            raise
        finally:
            self._way.close()

    @property
    def is_spooled(self) -> bool:
        """Whether the upload is copied into its file once it is whole, and not renamed.

        Known when the target is open, except where the system refuses a rename that should
        have been possible: then it is known after `commit`.
        """

        return self._place is not None and self._place.is_spooled

    @property
    def keeps_what_came(self) -> bool:
        """Whether the bytes of an upload that is cut stay where they were written."""

        return isinstance(self._place, NamedPlace)

    @property
    def leaves_part(self) -> bool:
        """Whether `keep` keeps what came, hidden, for a resumption."""

        return isinstance(self._place, PartPlace)

    @property
    def resumed_bytes(self) -> int:
        """How many bytes earlier transfers brought of an upload that was resumed."""

        return self._place.position if isinstance(self._place, HiddenPlace) else 0

    def watch_takeover(self, on_takeover: Callable[[], None]) -> None:
        """Be called when a resumption wants to go on with the part of this upload.

        Args:
            on_takeover: Called once, on the event loop; it ends this upload. `receive_file` does
                this by itself.
        """

        if self._wish.keeping is not None:
            self._wish.keeping.holding.watch(on_takeover)

    def begin_in_memory(self) -> bool:
        """Make the hidden file now, if that cannot wait for a disk.

        It would be made for the first bytes: this is for the time until they come.

        Returns:
            Whether it was made.
        """

        place = self._place
        if (
            not self._calls.lives_in_memory
            or self._is_settled
            or not isinstance(place, HiddenPlace)
            or place.fd is not None
        ):
            return False

        try:
            place.begin()
        except OSError:
            # The first bytes will meet the same error.
            return False

        return True

    async def write(self, data: bytes) -> None:
        """Write bytes after those that were written before. All of them, or it raises.

        Raises:
            InsufficientStorage: The disk is full. Reply 452.
            QuotaExceeded: A quota, or the largest size of a file, is exceeded. Reply 552.
            LocalError: The system failed otherwise. Reply 451.
        """

        self._check_unsettled()
        try:
            await self._calls.run(lambda: write_all(self._open(), data))
        except OSError as error:
            raise error_for_oserror(error) from error

        self.position += len(data)

    async def fill(self, move: Callable[[int], int]) -> None:
        """Let `move` write to the descriptor that it is given, in a worker thread.

        Args:
            move: Returns the number of bytes that it has written.

        Raises:
            FTPDataError: As for `write`, for an `OSError` that `move` raises.
        """

        self._check_unsettled()
        try:
            self.position += await self._calls.run(lambda: move(self._open()))
        except OSError as error:
            raise error_for_oserror(error) from error

    async def open_to_read(self) -> int:
        """Open what was written so far, for somebody who judges it before `commit`.

        Returns:
            A descriptor for reading, at the first byte; it belongs to the caller.

        Raises:
            BadArgument: Everybody can see it: it is written in place, or appended. Reply 501.
            FTPDataError: The system refused. Carries the reply code.

        Cancellation leaves nothing open.
        """

        self._check_unsettled()
        opened: list[int] = []

        def work() -> int:
            self._open()
            assert self._place is not None
            opened.append(self._place.open_to_read())
            return opened[0]

        def close() -> None:
            while opened:
                os.close(opened.pop())

        try:
            return await self._calls.run(work, is_short=True)
        except asyncio.CancelledError:
            await self._calls.clean_up(close, at_once=True)
            raise
        except OSError as error:
            raise error_for_oserror(error) from error

    async def commit(self, last: bytes = b"", *, timeout: float | None = None) -> None:
        """Publish the upload under its name. Once, instead of `discard`.

        Args:
            last: Bytes to write before that: a small file takes one visit to a worker thread.
            timeout: Seconds that writing `last` may take; what takes longer is not published.

        Raises:
            TransferTimeout: It took longer: `End.STALLED`. Reply 426.
            FileUnavailable: An exclusive upload, whose name another file has taken. Reply 550.
            FTPDataError: The system refused; nothing was published, and nothing is left of an
                atomic upload. (Where the last step of a durable one fails, to flush the
                directory, it is published, but a power cut may undo that.) Of a spooled upload
                that the disk fails to copy, some may be in the file. Carries the reply code.

        Cancellation: it is published whole or not at all; `is_published` tells.
        """

        self._check_unsettled()
        until = None if timeout is None else time.monotonic() + timeout

        def work() -> None:
            self._is_settled = True
            place = self._find()
            try:
                if not self._is_store_known:
                    # The next upload to this directory may need no thread.
                    with contextlib.suppress(OSError):  # publishing meets it again
                        self._look_at_store(place.begin())
                place.publish(
                    last, is_durable=self._durable, before=lambda: _check_in_time(until)
                )
                self.is_published = True
                if self._durable:
                    place.sync_directory()
            finally:
                place.close()

        try:
            is_short = self._is_short(len(last))
            async with asyncio.timeout(None if self._calls.lives_in_memory else timeout):
                await self._settle(work, is_short=is_short)
        except OSError as error:
            if not isinstance(error, TimeoutError) or error.errno is not None:
                raise error_for_oserror(error) from error
            # Otherwise it was at the last step when the time was over.
            if not self.is_published:
                text = f"the store took more than {timeout:g} s to write what came"
                raise error_for_end(End.STALLED, text) from error

    def _is_short(self, count: int) -> bool:
        """Whether all that publishing could wait for is a disk, with `count` bytes to write."""

        if self._place is None and not self._calls.lives_in_memory:
            return False

        place = self._find()
        # Replacing a file frees its memory, page by page.
        return max(self.position - place.position + count, place.replaced_size) <= SHORT

    async def _settle(self, work: Callable[[], None], *, is_short: bool) -> None:
        try:
            await self._calls.run(work, is_short=is_short)
        except asyncio.CancelledError:
            # Where no thread had begun with it, nothing was published, and nothing will be.
            if not self._is_settled:
                await self._calls.clean_up(self.keep_now, at_once=True)
            raise

    async def discard(self) -> None:
        """Let go of an upload that was refused. Once, instead of `commit`.

        Nothing is left of an atomic or exclusive one. What was written in place or appended
        stays. This does not wait for a write that still runs: its thread does the rest.

        Raises:
            FTPDataError: The system refused. Carries the reply code.
        """

        await self._let_go(self.discard_now)

    async def keep(self) -> None:
        """Let go of an upload that was cut. Once, instead of `commit` or `discard`.

        What came of an atomic one stays as the part of its owner, if it has one; otherwise this
        does what `discard` does.

        Raises:
            FTPDataError: The system refused. Carries the reply code.
        """

        await self._let_go(self.keep_now)

    async def _let_go(self, work: Callable[[], None]) -> None:
        if not self._is_settled:
            try:
                await self._calls.clean_up(work)
            except OSError as error:
                raise error_for_oserror(error) from error

    def discard_now(self) -> None:
        """Do what `discard` does, in the calling thread. Idempotent."""

        self._settle_place(is_kept=False)

    def keep_now(self) -> None:
        """Do what `keep` does, in the calling thread. Idempotent."""

        self._settle_place(is_kept=True)

    def _settle_place(self, *, is_kept: bool) -> None:
        if self._is_settled:
            return

        self._is_settled = True
        place = self._place
        if place is None:
            return

        try:
            if is_kept:
                place.keep()
            else:
                place.discard()
        finally:
            place.close()

    def _check_unsettled(self) -> None:
        if self._is_settled:
            raise ValueError("this upload was committed or discarded already")

    # In a worker thread

    def _find(self, *, is_taken_over: bool = False) -> Place:
        """Return the place of the upload; find it first, if nobody has."""

        place = self._place
        if place is not None:
            return place

        with ERRORS_OF_NAMES:
            place = self._place = self._way.find(self._wish, is_taken_over=is_taken_over)
        # A spooled upload is copied, however long that takes.
        self._calls.lives_in_memory &= not place.is_spooled
        # In a directory in memory there may be a single file that is mounted from elsewhere.
        self._is_store_known = place.is_spooled or (
            self._calls.lives_in_memory and isinstance(place, HiddenPlace)
        )
        if not self._is_store_known and place.fd is not None:
            self._look_at_store(place.fd)
        self.position = place.position
        return place

    def _open(self) -> int:
        fd = self._find().open()
        if not self._is_store_known:
            self._look_at_store(fd)
        return fd

    def _look_at_store(self, fd: int) -> None:
        """Find out whether the calls can wait for a disk."""

        self._is_store_known = True
        self._calls.lives_in_memory = on_memory(fd)


class _Way:
    """The way to a file, found once, however often it is tried to open what is there.

    Args:
        path: See `FileTarget.open`.
        dir_fd: See `FileTarget.open`.
    """

    def __init__(
        self, path: FilePath | Callable[[], tuple[FilePath, int | None]], dir_fd: int | None
    ) -> None:
        self._path = path
        self._dir_fd = dir_fd
        self._found: tuple[FilePath, int | None] | None = None

    def _take(self) -> tuple[FilePath, int | None]:
        """Return the path and the descriptor that it starts from, which is the caller's."""

        found, self._found = self._found, None
        if found is not None:
            return found
        if callable(self._path):
            return self._path()

        return self._path, None if self._dir_fd is None else os.dup(self._dir_fd)

    def find(self, wish: _Wish, *, is_taken_over: bool) -> Place:
        """Find the place at its end; see `_Wish.place`.

        Raises:
            LockHeld: Another upload writes to the part. The way stays found.
        """

        found, directory = self._take()
        try:
            return wish.place(Location(found, directory), is_taken_over=is_taken_over)
        except LockHeld:
            self._found = found, directory
            raise
        except BaseException:
            let_go(directory)
            raise

    def close(self) -> None:
        """Let go of what was found and is not used."""

        found, self._found = self._found, None
        if found is not None:
            let_go(found[1])


@attrs.frozen(kw_only=True)
class _Wish:
    """What the caller of `FileTarget.open` wants; see there."""

    mode: WriteMode
    offset: int
    permissions: int
    atomic_only: bool
    spool_directory: FilePath | None
    part_only: bool
    keeping: Keeping | None

    def __attrs_post_init__(self) -> None:
        if self.offset < 0:
            raise error_for_peer(BadArgument, f"an offset is not negative: {self.offset}")

        if self.offset and self.mode not in (WriteMode.IN_PLACE, WriteMode.RESUME):
            raise error_for_peer(
                BadArgument,
                f"an upload in mode {self.mode.value!r} cannot start at offset {self.offset}",
            )

        if self.mode is WriteMode.RESUME and self.keeping is None:
            raise error_for_peer(BadArgument, "expected an owner of parts, to resume an upload")

    def place(self, at: Location, *, is_taken_over: bool) -> Place:
        """Find the place. Runs in a worker thread.

        Args:
            at: Where the upload is to appear.
            is_taken_over: Whether another upload wrote to the part just now. If that one has
                published it, there is nothing left to do in the file.
        """

        if self.mode is WriteMode.RESUME and self.offset:
            assert self.keeping is not None
            return place_for_resuming(
                at,
                self.keeping,
                offset=self.offset,
                permissions=self.permissions,
                atomic_only=self.atomic_only,
                part_only=self.part_only or is_taken_over,
            )
        if self.mode in (WriteMode.ATOMIC, WriteMode.RESUME):
            return place_for_replacing(
                at,
                permissions=self.permissions,
                atomic_only=self.atomic_only,
                spool_directory=self.spool_directory,
                keeping=self.keeping,
            )
        if self.mode is WriteMode.EXCLUSIVE:
            return place_for_new(at, permissions=self.permissions)

        return NamedPlace(
            at,
            permissions=self.permissions,
            appends=self.mode is WriteMode.APPEND,
            offset=self.offset,
        )


_ATOMIC = _Wish(
    mode=WriteMode.ATOMIC,
    offset=0,
    permissions=0o666,
    atomic_only=False,
    spool_directory=None,
    part_only=False,
    keeping=None,
)


def unopened(
    path: FilePath, *, dir_fd: int | None = None, limiter: anyio.CapacityLimiter | None = None
) -> FileTarget:
    """Make the target of an atomic upload that is opened when its first bytes are written.

    If they are its last as well, `FileTarget.commit` opens, writes and publishes it in one visit to
    a worker thread. In a directory that is known to be in memory alone, it takes none. What
    `FileTarget.open` raises is raised by that call.

    Args:
        path: See `FileTarget.open`, as for all that follows.
        dir_fd: Directory that a relative path starts from; it must stay open until then.
        limiter: Bounds the threads.
    """

    calls = WorkerCalls(limiter)
    calls.lives_in_memory = keeps_in_memory(path, dir_fd)
    return FileTarget(_Way(path, dir_fd), _ATOMIC, durable=False, calls=calls)


def _check_in_time(until: float | None) -> None:
    if until is not None and time.monotonic() > until:
        # Nobody waits for it any longer.
        raise TimeoutError
