"""Parts: what came of uploads that were cut, kept so that a resumption can go on with it.

A part lies beside the file that it would have become, under a hidden name that stands for its
owner and that file, and that is reserved (`is_reserved`): hosts refuse it in commands, and the
listings of this package leave it out. Nobody but the owner resumes a part, and nobody else can
read it. A part is locked while an upload writes to it, so that it has one writer among all
processes. If the process is killed, what the kernel has of the part stays, under the same name.

::

    import asyncio
    import tempfile
    from pathlib import Path

    from ftpdata.files import FileTarget, PartStore, WriteMode

    async def main(directory: Path) -> None:
        with PartStore(directory) as store:
            ann = store.owner("ann")
            target = await FileTarget.open(directory / "file", parts=ann)
            await target.write(b"half ")
            await target.keep()
            assert not (directory / "file").exists()

            part = ann.look(directory / "file")
            assert part is not None
            target = await FileTarget.open(
                directory / "file", mode=WriteMode.RESUME, offset=part.size, parts=ann
            )
            await target.write(b"and half")
            await target.commit()
            assert (directory / "file").read_bytes() == b"half and half"

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory)))

The name is on disk from the first write on that is not also the last one, rather than from the
cut on: a process that is killed has no time to give a name. An upload that is whole before it is
written needs no part and pays for none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable
from typing import Self

from .._checks import check_call, check_range
from .._descriptors import let_go
from .._tasks import give_up
from ..errors import FileBusy, error_for_peer
from . import _part_locks as locks
from . import _part_rules as rules
from ._libc import rename_to_new
from ._location import PRIVATE, Location
from ._names import FilePath
from ._part_locks import FileKey, LockHeld
from ._part_rules import KeptPart, PartLimits, PartStatus, RemovedPart, is_reserved
from ._part_sweep import (
    TEMPORARY_AGE,
    Accounts,
    Sweep,
    is_void,
    join,
    real_path,
    remove_if,
    remove_reserved,
)
from ._workers import WorkerCalls

__all__ = [
    "PartLimits",
    "PartOwner",
    "PartStatus",
    "PartStore",
    "RemovedPart",
    "is_reserved",
    "remove_reserved",
]

TAKEOVER_PATIENCE = 5.0
"""Seconds that a resumption waits for the transfer that it takes a part over from."""

TAKEOVER_STEP = 0.02
"""Seconds between two attempts to lock a part: another process does not say when it is done."""

SWEEP_PATIENCE = 600.0
"""Seconds that one look at all directories may take."""


class Holding:
    """The right to write to a part, for as long as an upload runs.

    Args:
        loop: The event loop of the upload.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.key: FileKey | None = None
        self._loop = loop
        self._is_taken = False
        self._on_takeover: Callable[[], None] | None = None

    def watch(self, on_takeover: Callable[[], None]) -> None:
        """Have this called on the event loop when a resumption wants the part."""

        self._on_takeover = on_takeover
        if self._is_taken:
            on_takeover()

    def take_over(self) -> None:
        """Ask the upload to end. From any thread; the first time counts."""

        if not self._is_taken:
            self._is_taken = True
            with contextlib.suppress(RuntimeError):  # its loop is closed
                self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if self._on_takeover is not None:
            self._on_takeover()


class PartStore:
    """The parts beneath one directory.

    Safe to use from several threads and event loops. Several processes may each have one for
    the same directory: locks hold among them. Limits are counted by each one for itself, and
    `clean` brings its account up to date.

    Args:
        directory: The directory, or a descriptor of it, of which a copy is kept.
        limits: Of each owner.
        clock: Returns the time in seconds since 1970 (UTC).

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(
        self,
        directory: FilePath | int,
        *,
        limits: PartLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_call(PartStore.__init__, locals())
        if isinstance(directory, int):
            check_range("directory", directory, 0)
        self.limits: PartLimits = PartLimits() if limits is None else limits
        self._clock = clock
        self._fd: int | None = (
            os.dup(directory)
            if isinstance(directory, int)
            else os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        )
        self._lock = threading.Lock()
        self._holdings: dict[FileKey, Holding] = {}
        self._accounts: Accounts = {}
        # What was kept while a sweep looked at other directories.
        self._kept_meanwhile: set[FileKey] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the directory. Idempotent. Uploads that run are not disturbed."""

        fd, self._fd = self._fd, None
        let_go(fd)

    def owner(self, key: str | bytes) -> PartOwner:
        """Return the parts of one owner.

        Args:
            key: Stands for the owner, the same each time: the name of a user who has logged in.
                An anonymous user has no parts.

        Raises:
            ValueError: The key is empty.
        """

        if not key:
            raise ValueError("expected the key of an owner, not an empty one")

        owner = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
        return PartOwner(self, rules.owner_tag(owner))

    async def clean(
        self,
        *,
        timeout: float = SWEEP_PATIENCE,
        temporary_age: float = TEMPORARY_AGE,
    ) -> list[RemovedPart]:
        """Remove parts that are too old or too many, and what processes that were killed have left.

        Looks at every directory beneath the store's, in a worker thread. Only what it has locked
        is removed. Call it at the start and then every hour.

        Args:
            timeout: Seconds after which it stops where it is. Each time it goes through the
                directories in another order.
            temporary_age: Seconds that nobody may have written to a temporary file without a
                lock, so that it is removed.

        Returns:
            What was removed, also if it was not done in time.

        Raises:
            ValueError: The store is closed.

        Cancellation stops it after the directory that it reads.
        """

        is_cancelled = threading.Event()
        until = time.monotonic() + timeout
        removed: list[RemovedPart] = []

        def is_over() -> bool:
            return is_cancelled.is_set() or time.monotonic() >= until

        task = asyncio.ensure_future(
            WorkerCalls().run(lambda: self._sweep(removed, is_over, temporary_age=temporary_age))
        )
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            is_cancelled.set()
            await give_up(task)
            raise

        task.result()
        return removed

    # For uploads, in worker threads

    def hold(self, key: FileKey, holding: Holding) -> None:
        """Note which upload writes to a part: it is in nobody's account while it is written."""

        holding.key = key
        with self._lock:
            self._holdings[key] = holding
        self.forget(key)

    def forget(self, key: FileKey) -> None:
        """Take a part out of the account of its owner."""

        with self._lock:
            for account in self._accounts.values():
                account.pop(key, None)

    def release(self, holding: Holding) -> None:
        """Note that an upload does not write to its part any longer. Idempotent."""

        key, holding.key = holding.key, None
        if key is not None:
            with self._lock:
                self._holdings.pop(key, None)

    def keep(self, tag: bytes, key: FileKey, part: KeptPart) -> None:
        """Take a part into the account of its owner, and remove what is too much then."""

        with self._lock:
            self._accounts.setdefault(tag, {})[key] = part
            self._kept_meanwhile.add(key)
        self._keep_to_limits(tag)

    def holding(self, key: FileKey) -> Holding | None:
        """Return which upload of this process writes to a part."""

        with self._lock:
            return self._holdings.get(key)

    # The account

    def _keep_to_limits(self, tag: bytes) -> list[RemovedPart]:
        with self._lock:
            account = self._accounts.get(tag, {})
            goes = [
                (key, account.pop(key)) for key in rules.too_many(account.items(), self.limits)
            ]

        removed: list[RemovedPart] = []
        for key, part in goes:
            # What cannot be removed now is found again by the next sweep.
            with contextlib.suppress(OSError, LockHeld):
                if part.path is not None and remove_if(part.path, key, self._fd):
                    removed.append(RemovedPart(part.path, part.size, "its owner has too many"))

        return removed

    def _sweep(
        self,
        removed: list[RemovedPart],
        is_over: Callable[[], bool],
        *,
        temporary_age: float,
    ) -> None:
        if self._fd is None:
            raise ValueError("the store is closed")
        with self._lock:
            self._kept_meanwhile.clear()
        sweep = Sweep(
            self._fd,
            age=self.limits.age,
            temporary_age=temporary_age,
            clock=self._clock,
            is_over=is_over,
        )
        try:
            if sweep.run():
                self._settle_accounts(sweep.found)
        finally:
            removed += sweep.removed
        for tag in sweep.found:
            removed += self._keep_to_limits(tag)

    def _settle_accounts(self, found: Accounts) -> None:
        """Replace the accounts by what was found, and what was kept meanwhile."""

        with self._lock:
            for tag, account in self._accounts.items():
                for key in self._kept_meanwhile & account.keys():
                    found.setdefault(tag, {})[key] = account[key]
            for account in found.values():
                for key in self._holdings.keys() & account.keys():
                    del account[key]
            self._accounts = {tag: account for tag, account in found.items() if account}


class PartOwner:
    """The parts of one owner; made by `PartStore.owner`.

    Methods may block, for a moment: they are for worker threads.
    """

    def __init__(self, store: PartStore, tag: bytes) -> None:
        self._store = store
        self._tag = tag

    def look(self, path: FilePath, *, dir_fd: int | None = None) -> PartStatus | None:
        """Return what is known of the part of a file; None if there is none.

        Args:
            path: The path of the file.
            dir_fd: Directory that a relative path starts from.

        Raises:
            OSError: The system refused.
        """

        name = self.path_of(Location(path, None))
        try:
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

        if not stat.S_ISREG(status.st_mode) or is_void(name, dir_fd, status):
            return None
        return PartStatus(status.st_size, status.st_mtime_ns)

    def remove(
        self, path: FilePath, *, dir_fd: int | None = None, only_stale: bool = False
    ) -> bool:
        """Remove the part of a file, unless an upload writes to it.

        Args:
            path: The path of the file.
            dir_fd: Directory that a relative path starts from.
            only_stale: Whether to remove it only if it is older than the file.

        Returns:
            Whether there was a part, and it is gone.

        Raises:
            OSError: The system refused.
        """

        name = self.path_of(Location(path, None))
        try:
            locked = locks.lock(name, dir_fd)
        except LockHeld:
            return False
        if locked is None:
            return False

        fd, status = locked
        try:
            stays = only_stale and not _is_stale(status, path, dir_fd)
        except BaseException:
            let_go(fd)
            raise
        if stays:
            let_go(fd)
            return False

        self._remove(name, dir_fd, fd, status)
        return True

    # For uploads

    def lock(self, at: Location) -> tuple[int, os.stat_result] | None:
        """Open and lock the part of a file; None if there is none.

        Raises:
            LockHeld: An upload writes to it.
            OSError: The system refused.
        """

        name = self.path_of(at)
        locked = locks.lock(name, at.dir_fd)
        if locked is None:
            return None

        fd, status = locked
        try:
            must_go = is_void(name, at.dir_fd, status)
        except BaseException:
            let_go(fd)
            raise
        if must_go:
            self._remove(name, at.dir_fd, fd, status)
            return None

        return fd, status

    def remove_locked(self, at: Location, fd: int, status: os.stat_result) -> None:
        """Remove a part that `lock` has locked, and release the lock."""

        self._remove(self.path_of(at), at.dir_fd, fd, status)

    def path_of(self, at: Location) -> bytes:
        """Return the path of the part of a file."""

        return at.beside(rules.part_name(self._tag, at.base))

    def begin(self, at: Location, holding: Holding) -> tuple[int, bytes, bool]:
        """Make the hidden file of a new upload, locked, and give it the name of the part.

        An older part of the same name goes: its bytes are those of another upload. If that
        one still runs, it is not disturbed, but its part must not be resumed any longer; then
        the new file has a name that nobody resumes.

        Args:
            at: Where the upload is to appear.
            holding: Of the upload.

        Returns:
            The descriptor and the path of the file, and whether it is locked.

        Raises:
            OSError: The system refused.
        """

        path = at.hidden_name()
        fd = at.open_new(path, PRIVATE)
        try:
            has_locks = locks.lock_new(fd)
            if has_locks and self.take_name(at, path):
                path = self.path_of(at)
            self._store.hold(locks.key_of(os.fstat(fd)), holding)
        except BaseException:
            try:
                # While it is locked: after that the name may be another upload's.
                locks.unlink(path, at.dir_fd)
            finally:
                let_go(fd)
            raise

        return fd, path, has_locks

    def take_name(self, at: Location, path: bytes) -> bool:
        """Give a locked hidden file the name of the part; tell whether it has it now."""

        part = self.path_of(at)
        for _ in range(locks.LOOKS):
            try:
                rename_to_new(path, part, at.dir_fd)
            except FileExistsError:
                pass
            else:
                return True

            try:
                locked = locks.lock(part, at.dir_fd)
            except LockHeld as held:
                self._make_void(at, part, held.key)
                if locks.has_name(held.key, part, at.dir_fd):
                    return False
                # Its upload has ended since, and has looked for the mark before that was made.
                locks.unlink(rules.void_name(part, held.key[1]), at.dir_fd)
                continue
            if locked is None:
                if locks.exists(part, at.dir_fd):
                    # Something that is not ours has the name.
                    return False
                continue
            self._remove(part, at.dir_fd, *locked)

        return False

    def remove_mark(self, at: Location, fd: int) -> None:
        """Remove the mark of a part that is gone."""

        locks.unlink(rules.void_name(self.path_of(at), os.fstat(fd).st_ino), at.dir_fd)

    def is_void(self, at: Location, fd: int) -> bool:
        """Whether a newer upload of the same name has begun since this part was."""

        return is_void(self.path_of(at), at.dir_fd, os.fstat(fd))

    def keep(self, at: Location, status: os.stat_result) -> None:
        """Count a part that was cut and is not locked any more; remove what is too much then."""

        directory = real_directory(at)
        name = os.path.basename(self.path_of(at))  # noqa: PTH119 - bytes
        path = None if directory is None else join(directory, name)
        part = KeptPart(status.st_size, status.st_mtime_ns, path)
        self._store.keep(self._tag, locks.key_of(status), part)

    def release(self, holding: Holding) -> None:
        """Note that an upload does not write to its part any longer. Idempotent."""

        self._store.release(holding)

    def hold(self, fd: int, holding: Holding) -> None:
        """Note which upload writes to a part."""

        self._store.hold(locks.key_of(os.fstat(fd)), holding)

    async def take_over(self, held: LockHeld, until: float) -> None:
        """Make the upload that writes to a part end, and wait for a moment.

        Args:
            held: Says which part it is.
            until: When to give up, in seconds of the event loop's clock.

        Raises:
            FileBusy: It is time to give up. Reply 450.
        """

        holding = self._store.holding(held.key)
        if holding is not None:
            holding.take_over()
        if asyncio.get_running_loop().time() >= until:
            raise error_for_peer(FileBusy, "another upload of this file runs")

        await asyncio.sleep(TAKEOVER_STEP)

    def _remove(self, path: bytes, dir_fd: int | None, fd: int, status: os.stat_result) -> None:
        """Remove a part that is locked, with its mark, and release the lock."""

        try:
            locks.unlink(path, dir_fd)
            locks.unlink(rules.void_name(path, status.st_ino), dir_fd)
            self._store.forget(locks.key_of(status))
        finally:
            let_go(fd)

    def _make_void(self, at: Location, part: bytes, key: FileKey) -> None:
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        let_go(os.open(rules.void_name(part, key[1]), flags, PRIVATE, dir_fd=at.dir_fd))


def real_directory(at: Location) -> bytes | None:
    """Return the path of the directory that an upload is in; None if that is not known."""

    if at.dir_fd is None or at.name.startswith(b"/"):
        return os.path.realpath(at.directory or b".")

    base = real_path(at.dir_fd)
    return None if base is None else join(base, at.directory)


def _is_stale(part: os.stat_result, path: FilePath, dir_fd: int | None) -> bool:
    try:
        file = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False

    # The file goes: to lose a part is better than to keep one that is of an older upload.
    return rules.is_stale(
        PartStatus(part.st_size, part.st_mtime_ns), file.st_ctime_ns, in_doubt=True
    )
