"""The C library, where Python's own modules leave something out (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import struct
import sys
from collections.abc import Callable
from typing import Any

__all__ = [
    "AT_FDCWD",
    "BENEATH",
    "STATX_SIZE",
    "file_system",
    "has_renameat2",
    "libc",
    "may_write",
    "open_resolved",
    "rename_to_new",
    "reserve",
]

AT_FDCWD = -100
"""In place of a directory's descriptor: the current directory (linux/fcntl.h)."""

BENEATH = 0x02 | 0x04 | 0x08
"""RESOLVE_NO_MAGICLINKS, _NO_SYMLINKS and _BENEATH (linux/openat2.h)."""

_OPENAT2 = 437
"""The number of the system call, on every architecture (Linux 5.6)."""

_OPEN_HOW = struct.Struct("=QQQ")

_STATFS_SIZE = 256
"""Bytes: more than a ``struct statfs`` has. Its first word is the kind of file system."""

STATX_SIZE = 256
"""Bytes of a ``struct statx``, the same on every machine (linux/stat.h)."""

_NO_REPLACE, _KEEP_SIZE = 0x1, 0x1
"""RENAME_NOREPLACE (linux/fs.h) and FALLOC_FL_KEEP_SIZE (linux/falloc.h)."""

_NOT_KNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""What the system says where it, its file system or its sandbox lacks a call."""


class _Library:
    """The functions, each with its prototype."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self.errno = ctypes.get_errno
        self.syscall: Any = library.syscall
        self.syscall.restype = ctypes.c_long
        self.syscall.argtypes = (
            *(ctypes.c_long, ctypes.c_int),
            *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t),
        )
        self.fstatfs: Any = library.fstatfs
        self.fstatfs.argtypes = (ctypes.c_int, ctypes.c_char_p)
        self.renameat2: Any = getattr(library, "renameat2", None)
        if self.renameat2 is not None:
            self.renameat2.argtypes = (
                *(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint),
            )
        # glibc has the one with 64 bits on every machine under this name, and musl under the other.
        self.fallocate: Any = getattr(library, "fallocate64", None) or library.fallocate
        self.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        self.faccessat: Any = library.faccessat
        self.faccessat.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_int)
        # It has no prototype on purpose: checking and converting its arguments takes as long as the
        # call itself, and its callers pass what is right already.
        self.statx: Callable[..., int] | None = getattr(library, "statx", None)


libc = functools.lru_cache(maxsize=1)(_Library)
"""Return the functions. Only on Linux."""


def file_system(fd: int) -> int | None:
    """Return the kind of file system that a descriptor is on; None where nobody can say so."""

    if sys.platform != "linux":
        return None

    status = ctypes.create_string_buffer(_STATFS_SIZE)
    if libc().fstatfs(fd, status) != 0:
        return None

    # It is signed on some machines, and the constants of linux/magic.h are not.
    return int(struct.unpack_from("@l", status.raw)[0]) & 0xFFFF_FFFF


def open_resolved(directory: int, path: bytes, flags: int, resolve: int) -> int:
    """Open a path as openat2(2) does, which the kernel resolves under rules. Only on Linux.

    Args:
        directory: Descriptor of the directory that the path starts from.
        path: The path, without NUL.
        flags: Those of open(2).
        resolve: The rules, such as `BENEATH`.

    Raises:
        OSError: The system refused, or does not know the call.
    """

    how = _OPEN_HOW.pack(flags, 0, resolve)
    fd: int = libc().syscall(_OPENAT2, directory, path, how, len(how))
    if fd < 0:
        code = libc().errno()
        raise OSError(code, os.strerror(code))

    return fd


def has_renameat2() -> bool:
    """Whether the system renames a file only to a name that nothing has (renameat2(2))."""

    return sys.platform == "linux" and libc().renameat2 is not None


def rename_to_new(old: bytes, new: bytes, dir_fd: int | None) -> None:
    """Rename a file to a name that nothing may have yet.

    Args:
        old: Its name.
        new: The new one, in the same directory.
        dir_fd: Directory that relative names start from.

    Raises:
        FileExistsError: Something has the new name.
        OSError: The system refused.
    """

    if sys.platform == "win32":
        # Here, this is how a file is renamed.
        os.rename(old, new)  # noqa: PTH104 - bytes
        return

    if has_renameat2():
        here = AT_FDCWD if dir_fd is None else dir_fd
        if libc().renameat2(here, old, here, new, _NO_REPLACE) == 0:
            return
        code = libc().errno()
        if code not in _NOT_KNOWN:
            raise OSError(code, os.strerror(code))

    # NFS has no such way to rename, but may give a file a second name, if that is new.
    os.link(old, new, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
    # Everybody can see the new name by now. A hidden one that stays takes no room.
    with contextlib.suppress(OSError):
        os.unlink(old, dir_fd=dir_fd)


_AT_EACCESS = 0x200

_KNOWS_EFFECTIVE = os.access in os.supports_effective_ids

_NOT_ALLOWED = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ELOOP,
    errno.ENAMETOOLONG, errno.ETXTBSY,
})
"""Errors of a name, or of the caller's permissions; the others are failures of the system."""


def may_write(path: bytes, dir_fd: int | None) -> bool:
    """Whether a file may be written, or files made in a directory; False if it does not exist.

    Args:
        path: Its name.
        dir_fd: Directory that a relative name starts from.

    Raises:
        OSError: The system failed. `os.access` does not tell that from a refusal.
    """

    if sys.platform == "linux":
        here = AT_FDCWD if dir_fd is None else dir_fd
        if libc().faccessat(here, path, os.W_OK, _AT_EACCESS) == 0:
            return True
        code = libc().errno()
        if code in _NOT_ALLOWED:
            return False
        if code not in _NOT_KNOWN:
            raise OSError(code, os.strerror(code))

    return os.access(path, os.W_OK, dir_fd=dir_fd, effective_ids=_KNOWS_EFFECTIVE)


def reserve(fd: int, start: int, size: int) -> None:
    """Reserve room on the disk for bytes of a file, which keeps its size.

    Where the file system cannot do so, it does nothing.

    Args:
        fd: The file.
        start: The first of the bytes.
        size: How many.

    Raises:
        OSError: There is not that much room.
    """

    if sys.platform != "linux" or size <= 0:
        return

    if libc().fallocate(fd, _KEEP_SIZE, start, size) != 0:
        code = libc().errno()
        if code not in _NOT_KNOWN:
            raise OSError(code, os.strerror(code))
