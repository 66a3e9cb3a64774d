"""Blocks of memory that come directly from the system, and go back to it.

An allocator keeps memory that was given back to it, if it lies between blocks
that are still in use: a thousand connections that read fast and then stall would
cost as much as if they still read.
"""

from __future__ import annotations

import errno
import mmap
import platform
import sys

__all__ = ["Block", "is_viewed", "new_block"]

Block = mmap.mmap | bytearray

_COUNTS_REFERENCES = platform.python_implementation() == "CPython"
"""Whether Python knows at once that nobody holds an object or a view of it; PyPy learns it late."""


def new_block(size: int) -> Block:
    """Make a block, which is freed once nobody holds it or a view of it.

    Args:
        size: Bytes, at least one.

    Raises:
        OSError: There is no memory (ENOMEM).
    """

    if not _COUNTS_REFERENCES:
        # What mappings take does not let a garbage collector begin.
        return bytearray(size)

    try:
        if sys.platform == "win32":
            return mmap.mmap(-1, size)

        # A shared mapping would belong to a file system in memory, which is slower.
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except BlockingIOError as error:
        # Too much memory is locked (EAGAIN): nobody is to wait for what could be read.
        raise OSError(errno.ENOMEM, error.strerror) from error


def is_viewed(block: Block) -> bool:
    """Whether there may be a view of a block. The system must be able to resize one (Linux).

    PyPy, which cannot tell, says that there may always be one.
    """

    if not isinstance(block, mmap.mmap):
        return True

    try:
        # Python refuses to resize a block of which there is a view.
        block.resize(len(block))
    except BufferError:
        return True

    return False
