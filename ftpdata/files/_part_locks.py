"""Files that are locked by the one who writes or removes them (flock(2)).

A name may be given to another file at any time until its file is locked; then only the holder of
the lock gives it away. So a file is opened, then locked, and trusted only if it still has the name
then. Everything here may block for a moment, but nothing waits for a lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import Final

from .._descriptors import let_go

if sys.platform != "win32":
    import fcntl

__all__ = ["HAS_LOCKS", "FileKey", "LockHeld", "exists", "key_of", "lock", "lock_new", "unlink"]

HAS_LOCKS: Final = sys.platform != "win32"
"""Whether the system has them at all. Where it has none, no upload leaves a part."""

FileKey = tuple[int, int]
"""Device and inode number: what a file is, whatever its name."""

LOOKS = 100
"""How often a name is looked at again because another file has it by now."""

_OPEN = (
    os.O_RDWR
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)
_IS_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
_IS_NO_FILE_OF_OURS = frozenset({
    *(errno.ENOENT, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.EISDIR)
})


class LockHeld(Exception):
    """Another holds the lock.

    Attributes:
        key: The file.
    """

    def __init__(self, key: FileKey) -> None:
        super().__init__("another upload writes to this part")
        self.key = key


def key_of(status: os.stat_result) -> FileKey:
    """Return which file this is."""

    return status.st_dev, status.st_ino


def exists(name: bytes, dir_fd: int | None) -> bool:
    """Whether anything has a name."""

    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False

    return True


def has_name(key: FileKey, name: bytes, dir_fd: int | None) -> bool:
    """Whether it is this file that has a name."""

    try:
        return key_of(os.stat(name, dir_fd=dir_fd, follow_symlinks=False)) == key
    except FileNotFoundError:
        return False


def unlink(name: bytes, dir_fd: int | None) -> None:
    """Remove a file that the caller has locked, if it is still there."""

    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dir_fd)


def lock_new(fd: int) -> bool:
    """Lock a file that the caller has just made; tell whether the file system has locks."""

    if sys.platform == "win32":
        return False

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False

    return True


def lock(
    name: bytes, dir_fd: int | None, *, any_owner: bool = False
) -> tuple[int, os.stat_result] | None:
    """Open and lock the file that has a name.

    Args:
        name: The name.
        dir_fd: Directory that a relative name starts from.
        any_owner: Whether the file may be another user's: to remove it, not to write to it.

    Returns:
        A descriptor, which the caller closes to release the lock, and the status of the file.
        None if nothing has the name, or something that is not a file of ours: a link, a file
        with a second name.

    Raises:
        LockHeld: Another holds the lock.
        OSError: The system refused.
    """

    for _ in range(LOOKS):
        try:
            fd = os.open(name, _OPEN, dir_fd=dir_fd)
        except OSError as error:
            if error.errno in _IS_NO_FILE_OF_OURS:
                return None
            raise

        try:
            if not _is_file(os.fstat(fd), any_owner=any_owner) or not _take_lock(fd):
                let_go(fd)
                return None
            status = os.fstat(fd)
            if has_name(key_of(status), name, dir_fd):
                return fd, status
        except BaseException:
            let_go(fd)
            raise
        # Its last owner has published or removed it since.
        let_go(fd)

    return None


def _take_lock(fd: int) -> bool:
    if sys.platform == "win32":
        return False

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _IS_HELD:
            raise LockHeld(key_of(os.fstat(fd))) from None
        # A part was locked when it was made. Nobody knows now whether another writes to it, and
        # it must not be taken for none: its rest would be written into the old file.
        raise

    return True


def _is_file(status: os.stat_result, *, any_owner: bool) -> bool:
    """Whether this is a file that nobody has put there for us to write to, or to remove."""

    is_ours = any_owner or (hasattr(os, "geteuid") and status.st_uid == os.geteuid())
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and is_ours
