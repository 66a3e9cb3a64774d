"""What is in memory of files: looked at, opened and read without a thread or a wait.

The event loop must not wait for a disk or a network file system, and a hop to a
worker thread and back takes longer than to open and to read a small file that
is in memory. Linux can be asked for just that: openat2(2) with RESOLVE_CACHED
and preadv2(2) with RWF_NOWAIT do what they can do at once, and say so where they
cannot. Other systems do not say.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import sys
from typing import Final

from .._descriptors import let_go
from ._libc import AT_FDCWD, BENEATH, STATX_SIZE, file_system, libc, open_resolved
from ._names import FilePath

__all__ = [
    "CachedDirectory",
    "is_in_memory",
    "keeps_in_memory",
    "lives_in_memory",
    "open_cached",
    "read_cached",
    "read_from_memory",
]

PROBE_STEP = 1024 * 1024
"""Bytes from one page that is looked at to the next.

The system reads ahead, and forgets, in longer stretches than a page; to look at
every page would cost more than to send it.
"""

_DO_NOT_KNOW = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})

_PATH: Final[int | None] = getattr(os, "O_PATH", None)
"""The flag of a descriptor that only names a file (open(2)); None if Python has it not: PyPy."""

_RESOLVE_CACHED = 0x20
"""Wait for nothing (linux/openat2.h)."""

_RESOLVE = BENEATH | 0x01 | _RESOLVE_CACHED
"""Those of `BENEATH` and the one above, and RESOLVE_NO_XDEV, which stays on this mount."""

# linux/magic.h
_IN_MEMORY = frozenset({0x01021994, 0x858458F6})
"""tmpfs and ramfs: they have no disk, and do not know RWF_NOWAIT."""

_LOCAL = _IN_MEMORY | {0xEF53, 0x58465342, 0x9123683E, 0xF2F52010}
"""Those, and ext2 to ext4, xfs, btrfs, f2fs: opening what is cached there asks no other machine."""


_WITHOUT_SIZES = frozenset({
    *(0x9FA0, 0x62656572, 0x27E0EB, 0x63677270, 0x64626720),
    *(0x74726163, 0x73636673, 0x62656570, 0xF97CFF8C),
})
"""proc, sysfs, cgroup, cgroup2, debugfs; tracefs, securityfs, configfs, selinuxfs: what is read is
made for the reader, and the size is 0, or a page."""


def is_in_memory(fd: int, start: int, count: int, *, otherwise: bool) -> bool:
    """Tell whether bytes of a file are in memory: a sample, without waiting.

    A look at a page that is not there may ask the system to bring it.

    Args:
        fd: The file.
        start: The first of the bytes.
        count: How many.
        otherwise: The answer for a file system that does not know RWF_NOWAIT;
            see `lives_in_memory`.
    """

    if sys.platform != "linux" or count <= 0:
        return True

    byte = [bytearray(1)]
    try:
        for position in (*range(start, start + count - 1, PROBE_STEP), start + count - 1):
            os.preadv(fd, byte, position, os.RWF_NOWAIT)
    except OSError as error:
        # Anything but EAGAIN is no answer either: the read that follows says what is wrong.
        return otherwise and error.errno in _DO_NOT_KNOW

    return True


def read_from_memory(fd: int, start: int, into: memoryview, *, lives_there: bool) -> int:
    """Read bytes of a file that are in memory, without waiting.

    Args:
        fd: The file.
        start: The first of the bytes.
        into: Where they go.
        lives_there: Whether they can be nowhere else; see `lives_in_memory`.

    Returns:
        How many there are; 0 where the first is not, at the end of the file,
        and where the system does not tell: a thread is to read.
    """

    if sys.platform != "linux":
        return 0

    for flags in (os.RWF_NOWAIT, 0) if lives_there else (os.RWF_NOWAIT,):
        try:
            return os.preadv(fd, [into], start, flags)
        except OSError as error:
            if error.errno not in _DO_NOT_KNOW:
                return 0

    return 0


def lives_in_memory(fd: int) -> bool:
    """Whether a file is on a file system that has no other place than memory.

    Args:
        fd: The file.
    """

    try:
        known = _local_devices.get(os.fstat(fd).st_dev)
    except OSError:
        return False
    # For a device, too, it is found out once: each read of a small file asks.
    return Store(fd).is_memory if known is None else known


class Store:
    """What can be known of the file system that a file is on.

    Args:
        fd: The file.

    Attributes:
        is_memory: Whether it has no other place than memory.
        is_local: Whether what is known of an open file can be had without asking anybody.
        has_sizes: Whether the size of a file says how much can be read from it.
    """

    def __init__(self, fd: int) -> None:
        kind = file_system(fd)
        self.is_memory: bool = kind in _IN_MEMORY
        if kind in _LOCAL:
            # Whoever asks has a file to use, or to close: this remembers only how to be faster.
            with contextlib.suppress(OSError):
                _local_devices[os.fstat(fd).st_dev] = self.is_memory
        self.is_local: bool = kind in _LOCAL
        self.has_sizes: bool = kind not in _WITHOUT_SIZES


class CachedDirectory:
    """Opens what is beneath a directory and can be opened at once.

    Args:
        directory: Descriptor of the directory; it stays the caller's.

    Attributes:
        is_available: Whether this system and its file system can do it.
        lives_in_memory: Whether there is no disk: what was opened can be changed
            at once, too.
    """

    def __init__(self, directory: int) -> None:
        self._directory = directory
        kind = file_system(directory)
        self.is_available: bool = kind in _LOCAL
        self.lives_in_memory: bool = kind in _IN_MEMORY

    def open(self, path: bytes) -> int | None:
        """Open a file for reading, if that needs no disk.

        The call does not wait for the writer of a FIFO; a caller that wants a regular file checks.

        Args:
            path: Its path from the directory on. One that leads out of it,
                over a symbolic link or to another file system is not opened.

        Returns:
            A descriptor that belongs to the caller; None where it cannot be
            opened at once, for whatever reason.
        """

        return self._open(
            path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
        )

    def open_directory(self, path: bytes) -> int | None:
        """Open a directory to walk on from, under the same rules as `open`."""

        flags = _PATH if _PATH is not None else os.O_RDONLY
        return self._open(path, flags | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _open(self, path: bytes, flags: int) -> int | None:
        if not self.is_available or b"\0" in path:
            return None

        try:
            return open_resolved(self._directory, path, flags, _RESOLVE)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
                # An old kernel, or a sandbox that does not know the call.
                self.is_available = False

        return None


_local_devices: dict[int, bool] = {}
"""The devices of local file systems that worker threads have met; whether each is only memory.

A network file system may take long to say what it is. Which device a path leads to is known without
asking anybody (AT_STATX_DONT_SYNC)."""

_STATX_FLAGS = 0x1000 | 0x800 | 0x4000
"""AT_EMPTY_PATH, AT_NO_AUTOMOUNT and AT_STATX_DONT_SYNC."""

_STATX_MASK = 0x01 | 0x200
"""STATX_TYPE and STATX_SIZE."""

_STATX_FIELDS = struct.Struct("=28xH10xQ88xII")
"""``stx_mode``, ``stx_size``, ``stx_dev_major``, ``stx_dev_minor`` (linux/stat.h)."""


def _status(fd: int) -> tuple[int, int, int] | None:
    """Return the mode, the size and the device of what an O_PATH descriptor names, if known."""

    statx = libc().statx
    status = ctypes.create_string_buffer(STATX_SIZE)
    if statx is None or statx(fd, b"", _STATX_FLAGS, _STATX_MASK, status) != 0:
        return None

    mode, size, major, minor = _STATX_FIELDS.unpack_from(status.raw)
    return mode, size, os.makedev(major, minor)


def _is_local_file(fd: int) -> bool:
    """Whether an O_PATH descriptor is of a file with a size, on a device known to be local.

    An empty file may be made for its reader: only a read can tell.
    """

    status = _status(fd)
    if status is None:
        return False

    mode, size, device = status
    return stat.S_ISREG(mode) and size > 0 and device in _local_devices


def open_cached(path: FilePath, dir_fd: int | None, flags: int) -> int | None:
    """Open a regular file with bytes in it for reading, if that waits for nothing.

    Args:
        path: Its path.
        dir_fd: Directory that a relative path starts from.
        flags: Those of open(2).

    Returns:
        A descriptor that belongs to the caller; None where a thread is to open it, or to find
        out why it cannot be opened.
    """

    if sys.platform != "linux" or not _local_devices:
        return None

    found: int | None = None
    try:
        found = _find(path, dir_fd, 0)
        if _is_local_file(found):
            return open_resolved(AT_FDCWD, b"/proc/self/fd/%d" % found, flags, 0)
    except (OSError, ValueError):
        # A thread will meet the reason.
        pass
    finally:
        let_go(found)

    return None


def keeps_in_memory(path: FilePath, dir_fd: int | None) -> bool:
    """Whether the directory of a path is known to have no disk, which is found out at once.

    Args:
        path: The path of something in it, which need not exist.
        dir_fd: Directory that a relative path starts from.
    """

    if sys.platform != "linux" or True not in _local_devices.values():
        return False

    found: int | None = None
    try:
        found = _find(os.path.dirname(path) or os.curdir, dir_fd, os.O_DIRECTORY)  # noqa: PTH120
        status = _status(found)
        return status is not None and _local_devices.get(status[2], False)
    except (OSError, ValueError):
        return False
    finally:
        let_go(found)


def _find(path: FilePath, dir_fd: int | None, flags: int) -> int:
    """Return an O_PATH descriptor of what has a name, if no file system need be asked for it."""

    if _PATH is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    # A NUL ends no name here.
    here = AT_FDCWD if dir_fd is None else dir_fd
    return open_resolved(
        here, _without_nul(path), _PATH | os.O_CLOEXEC | flags, _RESOLVE_CACHED
    )


def _without_nul(path: FilePath) -> bytes:
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte")

    return name


def read_cached(fd: int, count: int, position: int) -> bytes | None:
    """Read bytes of a file, if all of them are there and in memory.

    Args:
        fd: The file.
        count: How many.
        position: The first of them.

    Returns:
        The bytes; None where a thread is to read, or the file is shorter.
    """

    if sys.platform != "linux" or count == 0:
        return None if count else b""

    buffer = bytearray(count)
    try:
        size = os.preadv(fd, (buffer,), position, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno not in _DO_NOT_KNOW or not lives_in_memory(fd):
            return None
        size = os.preadv(fd, (buffer,), position)

    return bytes(buffer) if size == count else None
