"""Directories, read a batch at a time with the status of every entry.

What a large listing costs is one status call for each file: `ftpdata.files._status` makes them.

1. A reader blocks; it is for worker threads, and for one of them at a time.
2. Memory is bounded by the batch, whatever the size of the directory.
3. A symbolic link is listed as a link, unless `follow` says otherwise.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from itertools import islice
from typing import Final

import attrs

from .._checks import check_call, check_range
from .._descriptors import let_go
from ..listing.table import EntryTable, folded
from ._names import FilePath
from ._part_rules import is_reserved
from ._status import LARGEST_BATCH, calls_below

__all__ = ["DirectoryReader"]

_HAS_DESCRIPTORS: Final = os.scandir in os.supports_fd
"""Whether a directory can be opened: not on Windows, which takes paths only."""

_ABOUT_THE_NAME = frozenset({
    *(errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.EACCES, errno.EPERM, errno.ELOOP)
})
"""Errors of readlink that say something about the link. The others say that the system fails."""


class DirectoryReader:
    """Reads a directory, in its own order, a batch at a time. Every method may block.

    Args:
        directory: A path, or a descriptor, which is duplicated.
        is_wanted: Says of a name whether the entry is wanted.
        follow: Gives the status of what a symbolic link of a name leads to;
            or None, and it is listed as the link that it is.
        with_status: Whether more than names is wanted.

    Attributes:
        at_end: Whether there is nothing more to read.

    Raises:
        OSError: It cannot be read.
    """

    def __init__(
        self,
        directory: FilePath | int,
        *,
        is_wanted: Callable[[str], bool] | None = None,
        follow: Callable[[str], os.stat_result | None] | None = None,
        with_status: bool = True,
    ) -> None:
        check_call(DirectoryReader.__init__, locals())
        if isinstance(directory, int):
            check_range("directory", directory, 0)
        self.at_end: bool = False
        self._is_wanted = is_wanted
        self._follow = follow
        self._with_status = with_status
        self._fd = _open_directory(directory)
        try:
            if self._fd is not None:
                self._scan = os.scandir(self._fd)
            else:
                assert not isinstance(directory, int)
                self._scan = os.scandir(os.fsdecode(directory))
        except BaseException:
            self._close_fd()
            raise

        try:
            self._calls = calls_below(self._fd)
        except BaseException:
            self.close()
            raise

    def read(self, count: int) -> EntryTable:
        """Read entries, at most `count`, and at most 256.

        Those that are not wanted, or have vanished, are left out, and those whose names are
        reserved for parts of uploads (`ftpdata.files.is_reserved`).

        Raises:
            OSError: The directory, or the status of an entry, cannot be read.
        """

        count = min(count, LARGEST_BATCH)
        found = list(islice(self._scan, count))
        self.at_end = len(found) < count
        # Parts of uploads are nobody's business.
        found = [e for e in found if e.name[0] != "." or not is_reserved(e.name)]
        if self._is_wanted is not None:
            found = [entry for entry in found if self._is_wanted(_text(entry.name))]

        if not found:
            return EntryTable([])

        # No name has a NUL: one call converts them all.
        names = [entry.name for entry in found]
        joined = "\0".join(names)
        raw = os.fsencode(joined)
        if (text := raw.decode("utf-8", "surrogateescape")) != joined:
            names = text.split("\0")

        if not self._with_status:
            return EntryTable(names)

        rows, gone = self._calls.rows(found, raw.split(b"\0"))
        for place in reversed(gone):
            del found[place], names[place]

        table = EntryTable(names, rows, device_number=self._calls.device_number)
        (modes,), _ = folded(table.columns[3])
        if any(map(stat.S_ISLNK, {*modes})):
            return self._with_links(table, found)

        return table

    def _with_links(self, table: EntryTable, found: list[os.DirEntry[str]]) -> EntryTable:
        """Replace links by what they lead to, or say where they lead."""

        rows = [*table.rows]
        for place, row in enumerate(rows):
            if not stat.S_ISLNK(row[3]):
                continue

            if self._follow is not None:
                status = self._follow(table.names[place])
                if status is not None:
                    rows[place] = self._calls.row(status)
                continue

            target = self._target(found[place].path)
            if target is not None:
                table.targets[place] = _text(target)

        return attrs.evolve(table, rows=rows)

    def _target(self, path: str) -> str | None:
        """Return where a link leads; None where it is gone, no link any more, or may not be read.

        Raises:
            OSError: The system failed.
        """

        try:
            return os.readlink(path, dir_fd=self._fd)
        except OSError as error:
            if error.errno not in _ABOUT_THE_NAME:
                raise

        return None

    def close(self) -> None:
        """Close the directory. Idempotent."""

        try:
            self._scan.close()
        finally:
            self._close_fd()

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, None
        let_go(fd)


def _open_directory(directory: FilePath | int) -> int | None:
    """Return a descriptor; None where the system has none for directories."""

    if not _HAS_DESCRIPTORS:
        return None

    if isinstance(directory, int):
        return os.dup(directory)

    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "surrogateescape")
