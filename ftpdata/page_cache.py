"""Whether bytes of a file are in memory, so that the event loop may touch them without a wait.

`loop.sendfile` reads the file on the loop's own thread: a page that a disk or a
network file system has to bring first holds up every other transfer. Linux
tells before: a read with RWF_NOWAIT gives a page that is there, and fails at
once for one that is not (preadv2(2)). Other systems tell nothing; there, files
count as being in memory.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import sys
from pathlib import Path

__all__ = ["is_in_memory", "lives_in_memory", "read_from_memory"]

PROBE_STEP = 1024 * 1024
"""Bytes from one page that is looked at to the next.

The system reads ahead, and forgets, in longer stretches than a page; to look at
every page would cost more than to send it.
"""

_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""File systems that are memory, and so do not care for RWF_NOWAIT (before Linux 6.x)."""

_DO_NOT_KNOW = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def is_in_memory(fd: int, start: int, count: int, *, otherwise: bool) -> bool:
    """Look whether bytes of a file are in memory; a sample, without any wait.

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
    """Read bytes of a file that are in memory, without any wait.

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


def lives_in_memory(status: os.stat_result) -> bool:
    """Whether a file is on a file system that has no other place than memory.

    Reads a file of the kernel's the first time: for worker threads.

    Args:
        status: Of the file.
    """

    return sys.platform == "linux" and _is_memory(status.st_dev) and stat.S_ISREG(status.st_mode)


@functools.lru_cache(maxsize=64)
def _is_memory(device: int) -> bool:
    """Find a device among the mounts of this process (proc(5), mountinfo)."""

    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
            before, _, behind = line.partition(" - ")
            if before.split(" ", 3)[2] == number:
                return behind.partition(" ")[0] in _MEMORY

    return False
