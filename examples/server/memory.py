"""What is in memory of the served directory, opened at once on the event loop.

A hop to a worker thread and back takes longer than to open a small file whose
name and bytes the system has in memory. Linux opens it only if no disk is
needed for it (`ftpdata.lowlevel.CachedDirectory`). All else is refused here,
without a reason: the caller takes the usual way, which waits in a thread and
knows the reason.

A server without this module is a little slower, and the same otherwise.
"""

from __future__ import annotations

import os
import stat

from ftpdata.lowlevel import CachedDirectory

__all__ = ["Memory"]


class Memory:
    """Opens what is beneath a directory, if that takes no disk, no link and no wait.

    Paths are bytes, relative to the directory.

    Args:
        directory: Descriptor of the directory; it stays the caller's.
    """

    def __init__(self, directory: int) -> None:
        self._cached = CachedDirectory(directory)

    def open_file(self, path: bytes) -> tuple[int, os.stat_result] | None:
        """Open a regular file for reading; return a descriptor of it, and its status."""

        fd = self._cached.open(path)
        if fd is None:
            return None

        try:
            status = os.fstat(fd)
        except OSError:
            os.close(fd)
            return None
        if stat.S_ISREG(status.st_mode):
            return fd, status

        os.close(fd)
        return None

    def find_target(self, path: bytes) -> tuple[bytes, int] | None:
        """Return the name of a file that may be written, and a descriptor of its directory.

        None if there is a disk at all: writing waits for it.
        """

        directory, _, name = path.rpartition(b"/")
        if not name or not self._cached.lives_in_memory:
            return None

        fd = self._cached.open_directory(directory or b".")
        if fd is None:
            return None

        try:
            is_file = stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            is_file = True
        except (OSError, ValueError):
            is_file = False
        if is_file:
            return name, fd

        os.close(fd)
        return None
