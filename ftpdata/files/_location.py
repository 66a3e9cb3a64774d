"""Where an upload is to appear: a name in a directory, looked at and opened."""

from __future__ import annotations

import os
import stat

from .._descriptors import let_go
from ..errors import FileUnavailable
from ._libc import may_write
from ._names import FilePath
from ._part_locks import LOOKS, key_of
from ._part_rules import temporary_name

__all__ = ["PRIVATE", "Location"]

PRIVATE = 0o600
"""Permissions of what nobody but its owner reads."""

WRITE = os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# This neither follows a link nor waits for a FIFO that was put there just now.
_WRITE_NAMED = WRITE | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_WRITE_NEW = WRITE | getattr(os, "O_NOFOLLOW", 0) | os.O_CREAT | os.O_EXCL


class Location:
    """A name in a directory. Every method may block.

    Args:
        path: The path.
        directory: Descriptor of the directory that a relative path starts from, which belongs
            to the location; None for the current one.

    Attributes:
        name: The path.
        directory: The path without its last name; it may be empty.
        base: Its last name.

    Raises:
        FileUnavailable: The path has no last name, as that of a directory may.
    """

    def __init__(self, path: FilePath, directory: int | None) -> None:
        self.name: bytes = os.fsencode(path)
        self.dir_fd: int | None = directory
        self.directory: bytes
        self.base: bytes
        self.directory, self.base = os.path.split(self.name)
        if not self.base:
            raise FileUnavailable("is a directory" if self.name else "expected a name")

    def close(self) -> None:
        """Close the directory. Idempotent."""

        fd, self.dir_fd = self.dir_fd, None
        let_go(fd)

    # Looking

    def status(self) -> os.stat_result | None:
        """Return what the system says about what has the name; None where nothing has it."""

        try:
            return os.stat(self.name, dir_fd=self.dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def status_of_writable(self) -> os.stat_result | None:
        """Return what the system says about a file that may be written, or a symbolic link.

        Returns:
            The status; None where nothing has the name.

        Raises:
            FileUnavailable: It may not be written, or is neither a file nor a link.
        """

        for _ in range(LOOKS):
            status = self.status()
            if status is None or stat.S_ISLNK(status.st_mode):
                return status

            require_file(status)
            # Renaming needs no permission on the file, but one that may not be written must stay.
            if self._may_write(self.name):
                return status

            # access(2) also says no where there is no file any more.
            again = self.status()
            if again is not None and key_of(again) == key_of(status):
                break

        raise FileUnavailable("Permission denied")

    def may_make_files(self) -> bool:
        """Whether files may be made in the directory. The system has the last word."""

        return self._may_write(self.directory or b".")

    def keeps_file(self, status: os.stat_result) -> bool:
        """Whether the directory is sticky, so that a file of another user's stays in it."""

        if not hasattr(os, "geteuid") or os.geteuid() in (0, status.st_uid):
            return False

        directory = os.stat(self.directory or b".", dir_fd=self.dir_fd)
        return bool(directory.st_mode & stat.S_ISVTX) and directory.st_uid != os.geteuid()

    def _may_write(self, name: bytes) -> bool:
        return may_write(name, self.dir_fd)

    # Names

    def hidden_name(self) -> bytes:
        """Return the path of a hidden name in the same directory, which nothing has."""

        return self.beside(temporary_name(os.urandom(8)))

    def beside(self, name: bytes) -> bytes:
        """Return the path of another name in the same directory."""

        # pathlib has no names of bytes.
        return os.path.join(self.directory, name) if self.directory else name  # noqa: PTH118

    def path_for_attributes(self) -> bytes:
        """Return a path for those system calls that take no descriptor of a directory (Linux)."""

        if self.dir_fd is None or self.name.startswith(b"/"):
            return self.name

        return b"/proc/self/fd/%d/%s" % (self.dir_fd, self.name)

    # Opening

    def open_named(self, *, flags: int = 0, permissions: int = 0o666) -> int:
        """Open the file that has the name, to write to it.

        Args:
            flags: More flags of open(2).
            permissions: Those of a file that is made.

        Raises:
            FileUnavailable: It is not a file.
            OSError: The system refused.
        """

        fd = os.open(self.name, _WRITE_NAMED | flags, permissions, dir_fd=self.dir_fd)
        try:
            require_file(os.fstat(fd))
        except BaseException:
            let_go(fd)
            raise

        return fd

    def open_new(self, name: bytes, permissions: int) -> int:
        """Make a file under another name in the directory, to write to it."""

        return os.open(name, _WRITE_NEW, permissions, dir_fd=self.dir_fd)

    def sync_directory(self) -> None:
        """Flush the directory to the disk, and with it what was renamed in it."""

        if not hasattr(os, "O_DIRECTORY"):
            return

        fd = os.open(self.directory or b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.dir_fd)
        try:
            os.fsync(fd)
        finally:
            let_go(fd)


def require_file(status: os.stat_result) -> None:
    """Refuse what is not a regular file.

    Others may make their writer wait (FIFO), do something (device), or belong to a program
    (socket). To write to one, open it and pass the file object.

    Raises:
        FileUnavailable: It is not such a file.
    """

    if stat.S_ISDIR(status.st_mode):
        raise FileUnavailable("is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise FileUnavailable("is not a regular file")
