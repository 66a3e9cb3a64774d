"""A look at all directories beneath one: what is left of uploads is counted, or removed.

Only what was locked is removed, and only under a name that is reserved. Everything here may
block.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable

from .._checks import check_call, check_range
from .._descriptors import let_go
from . import _part_locks as locks
from . import _part_rules as rules
from ._part_locks import FileKey, LockHeld
from ._part_rules import KeptPart, Kind, RemovedPart, is_reserved

__all__ = [
    "TEMPORARY_AGE",
    "Accounts",
    "Sweep",
    "is_void",
    "join",
    "real_path",
    "remove_if",
    "remove_reserved",
]

Accounts = dict[bytes, dict[FileKey, KeptPart]]
"""The parts of each owner, by the letters that stand for the owner in their names."""

TEMPORARY_AGE = 600.0
"""Seconds after which a temporary file without a lock belongs to a process that is gone: whoever
writes for longer than a moment holds a lock."""

_OPEN_DIRECTORY = (
    os.O_RDONLY
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class Sweep:
    """Looks at every directory beneath one, and does not follow links.

    Args:
        top: Descriptor of the directory, of which a copy is kept until `run` is over.
        age: Seconds after which a part is removed.
        temporary_age: Seconds after which a temporary file is removed.
        clock: Returns the time in seconds since 1970 (UTC).
        is_over: Whether to stop, asked before each directory.

    Attributes:
        found: The parts that stay, with their real paths, or with paths beneath the directory
            if the system does not say where that is.
        removed: What was removed, with paths beneath the directory.
    """

    def __init__(
        self,
        top: int,
        *,
        age: float,
        temporary_age: float,
        clock: Callable[[], float],
        is_over: Callable[[], bool],
    ) -> None:
        self.found: Accounts = {}
        self.removed: list[RemovedPart] = []
        self._top = os.dup(top)
        self._base = real_path(top) or b""
        self._ages = {Kind.PART: age, Kind.TEMPORARY: temporary_age}
        self._clock = clock
        self._is_over = is_over

    def run(self) -> bool:
        """Look at everything, once; tell whether there was time for that."""

        pending = [b"."]
        try:
            while pending and not self._is_over():
                # What cannot be read now may be read the next time.
                with contextlib.suppress(OSError):
                    pending += self._look_at_directory(pending.pop())
        finally:
            let_go(self._top)

        return not pending

    def _look_at_directory(self, directory: bytes) -> list[bytes]:
        """Look at one directory; return those in it."""

        fd = os.open(directory, _OPEN_DIRECTORY, dir_fd=self._top)
        below: list[bytes] = []
        reserved: list[bytes] = []
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if is_reserved(entry.name):
                        reserved.append(os.fsencode(entry.name))
                    elif entry.is_dir(follow_symlinks=False):
                        below.append(join(directory, os.fsencode(entry.name)))

            for name in reserved:
                with contextlib.suppress(OSError, LockHeld):
                    self._look_at_file(fd, name, join(directory, name))
        finally:
            let_go(fd)

        # If there is not enough time for all, each has its turn one day.
        random.shuffle(below)
        return below

    def _look_at_file(self, dir_fd: int, name: bytes, path: bytes) -> None:
        """Count a file, or remove it if its time has come.

        Args:
            dir_fd: Its directory.
            name: Its name there.
            path: Its path beneath the directory that everything is in.
        """

        kind = rules.kind_of(name)
        if kind is Kind.VOID and _remove_mark(name, dir_fd):
            self.removed.append(RemovedPart(path, 0, "its part is gone"))
        if kind not in self._ages:
            return

        locked = locks.lock(name, dir_fd, any_owner=True)
        if locked is None:
            return

        fd, status = locked
        try:
            reason = self._reason_to_remove(kind, name, dir_fd, status)
            if reason is not None:
                locks.unlink(name, dir_fd)
                self.removed.append(RemovedPart(path, status.st_size, reason))
            elif kind is Kind.PART:
                part = KeptPart(status.st_size, status.st_mtime_ns, join(self._base, path))
                self.found.setdefault(rules.tag_of(name), {})[locks.key_of(status)] = part
        finally:
            let_go(fd)

    def _reason_to_remove(
        self, kind: Kind, name: bytes, dir_fd: int, status: os.stat_result
    ) -> str | None:
        if kind is Kind.PART and is_void(name, dir_fd, status):
            return "a newer upload has begun"

        age = self._ages[kind]
        is_old = rules.is_expired(status.st_mtime_ns, self._clock(), age)
        return f"it is older than {age:g} s" if is_old else None


def remove_reserved(directory: int) -> bool:
    """Remove all parts in a directory, whoever owns them, if it holds nothing else.

    A directory that shows no file can be removed then. If an upload writes to one of them,
    nothing is removed.

    Args:
        directory: Descriptor of the directory.

    Returns:
        Whether it is empty now.

    Raises:
        OSError: The system refused.
    """

    check_call(remove_reserved, locals())
    check_range("directory", directory, 0)
    names: list[bytes] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if not is_reserved(entry.name):
                return False
            names.append(os.fsencode(entry.name))

    return all(_is_left(directory, name, removes=False) for name in names) and all(
        _is_left(directory, name, removes=True) for name in names
    )


def _is_left(directory: int, name: bytes, *, removes: bool) -> bool:
    """Whether nobody writes to a file with a reserved name; remove it then, if that is wanted."""

    kind = rules.kind_of(name)
    if kind is Kind.VOID:
        if removes:
            locks.unlink(name, directory)
        return True

    try:
        locked = locks.lock(name, directory, any_owner=True)
    except LockHeld:
        return False
    if locked is None:
        return False

    fd, status = locked
    try:
        # The upload of a temporary file may be about to publish it, and holds no lock for so
        # short a time.
        is_left = kind is not Kind.TEMPORARY or rules.is_expired(
            status.st_mtime_ns, time.time(), TEMPORARY_AGE
        )
        if is_left and removes:
            locks.unlink(name, directory)
    finally:
        let_go(fd)

    return is_left


def remove_if(path: bytes, key: FileKey, dir_fd: int | None) -> bool:
    """Remove the part at a path, if it is still this one.

    Args:
        path: The path.
        key: The part.
        dir_fd: Directory that a relative path starts from.

    Raises:
        LockHeld: An upload writes to it.
        OSError: The system refused.
    """

    locked = locks.lock(path, dir_fd)
    if locked is None:
        return False

    fd, status = locked
    try:
        if locks.key_of(status) != key:
            return False
        locks.unlink(path, dir_fd)
    finally:
        let_go(fd)

    return True


def is_void(part: bytes, dir_fd: int | None, status: os.stat_result) -> bool:
    """Whether there is a mark that says that a part must not be resumed."""

    return locks.exists(rules.void_name(part, status.st_ino), dir_fd)


def real_path(fd: int) -> bytes | None:
    """Return the path of an open directory; None if the system does not say it."""

    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)  # noqa: PTH115 - bytes
    except OSError:
        return None


def join(directory: bytes, name: bytes) -> bytes:
    """Return the path of a name in a directory; either may be empty."""

    if directory in (b"", b"."):
        return name
    return os.path.join(directory, name) if name else directory  # noqa: PTH118 - bytes


def _remove_mark(mark: bytes, dir_fd: int) -> bool:
    """Remove the mark of a part that is gone."""

    part, inode = rules.part_of_void(mark)
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(part, dir_fd=dir_fd, follow_symlinks=False)
        if b"%x" % status.st_ino == inode:
            return False

    locks.unlink(mark, dir_fd)
    return True
