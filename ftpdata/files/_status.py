"""The status of many files at a time, as cheap as Python can have it.

On Linux, statx(2) fills a table for a whole batch of names, and a listing takes its columns out of
it. Elsewhere, and for a batch in which statx has no answer for a name, `os.stat` is asked.

A name that has vanished is left out. Any other error is raised: what the system could not tell
must not look like a directory with fewer names.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Sequence
from itertools import repeat, starmap
from typing import Final, Literal, cast

from ..listing.table import StatusColumns, StatusRow
from ._libc import STATX_SIZE, libc

__all__ = ["LARGEST_BATCH", "StatCalls", "calls_below", "statx_call"]

LARGEST_BATCH: Final = 256
"""Names that one call can ask about at most."""


class StatCalls:
    """Asks for the status of entries as `os.stat` does."""

    def rows(
        self, found: list[os.DirEntry[str]], _names: list[bytes]
    ) -> tuple[Sequence[StatusRow], list[int]]:
        """Return what the system says about entries, and the places of those that have vanished.

        Raises:
            OSError: The system failed to tell about one.
        """

        rows, gone = [], []
        for place, entry in enumerate(found):
            try:
                rows.append(self.row(entry.stat(follow_symlinks=False)))
            except FileNotFoundError:
                gone.append(place)

        return rows, gone

    def row(self, status: os.stat_result) -> StatusRow:
        """Make a row of what `os.stat` says."""

        mode, inode, device, links, uid, gid, size, _, modified, _ = status
        return links, uid, gid, mode, inode, size, int(modified), device

    def device_number(self, device: int) -> int:
        """Return the device number for the device of a row."""

        return device


def calls_below(fd: int | None) -> StatCalls:
    """Return the fastest way to ask about the names of a directory.

    Args:
        fd: The directory; None where the system has no descriptors of directories.
    """

    statx = statx_call()
    return StatCalls() if fd is None or statx is None else _StatxCalls(fd, statx)


def statx_call() -> Callable[..., int] | None:
    """Return the statx of the C library; None where there is none."""

    return libc().statx if sys.platform == "linux" else None


_STATX_MASK: Final = 0x35F
"""Type, mode, links, uid, gid, modification, inode, size. To ask for no more saves a round trip on
network file systems."""

_STATX_FLAGS: Final = 0x100 | 0x800
"""AT_SYMLINK_NOFOLLOW; AT_NO_AUTOMOUNT, as in `os.stat`: a listing must not mount what it lists."""

_STATX_COLUMNS: Final[tuple[tuple[Literal["H", "I", "Q", "q"], int], ...]] = (
    *(("I", 4), ("I", 5), ("I", 6), ("H", 14), ("Q", 4), ("Q", 5), ("q", 14), ("Q", 17)),
)
"""Where ``struct statx`` (linux/stat.h, the same on every machine) has the fields of a `StatusRow`,
each with its type, in items of that type. Major and minor number of the device are one number here:
there is one device, and a call for each file costs."""

_PAIR, _ONE = struct.Struct("=II"), struct.Struct("=Q")


class _StatxCalls(StatCalls):
    """Asks statx, which writes into a table; `os.stat` where it fails for one of many.

    Args:
        fd: The directory.
        statx: The function of the C library.
    """

    def __init__(self, fd: int, statx: Callable[..., int]) -> None:
        self._fd = fd
        self._statx = statx
        self._memory = bytearray(LARGEST_BATCH * STATX_SIZE)
        self._places: list[object] = []

    def rows(
        self, found: list[os.DirEntry[str]], names: list[bytes]
    ) -> tuple[Sequence[StatusRow], list[int]]:
        """Return what the system says about entries, and the places of those that have vanished."""

        if len(self._places) < len(names):
            self._make_places(len(names))

        # One loop in C, without tuples of its own: the calls are short, and a loop in Python would
        # be half of the time.
        flags, mask = repeat(_STATX_FLAGS), repeat(_STATX_MASK)
        calls = zip(repeat(self._fd), names, flags, mask, self._places)
        if any([*starmap(self._statx, calls)]):
            return super().rows(found, names)

        # A copy: a table stays what it is when the next one is read.
        filled = memoryview(memoryview(self._memory)[: len(names) * STATX_SIZE].tobytes())
        return StatusColumns([
            filled.cast(form)[start :: STATX_SIZE // struct.calcsize(form)]
            for form, start in _STATX_COLUMNS
        ]), []

    def row(self, status: os.stat_result) -> StatusRow:
        """Make a row of what `os.stat` says."""

        *others, device = super().row(status)
        pair = _PAIR.pack(os.major(device), os.minor(device))
        return cast("StatusRow", (*others, *_ONE.unpack(pair)))

    def device_number(self, device: int) -> int:
        """Return the device number for the device of a row."""

        return os.makedev(*_PAIR.unpack(_ONE.pack(device)))

    def _make_places(self, count: int) -> None:
        memory = (ctypes.c_char * len(self._memory)).from_buffer(self._memory)
        self._places = [ctypes.byref(memory, place * STATX_SIZE) for place in range(count)]
