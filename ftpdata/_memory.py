"""Blocks of memory that come from the system itself, and go back there.

An allocator keeps memory that was given back to it, if it lies between blocks
that are still in use: a thousand connections that read fast and then stall would
cost as much as if they still read.
"""

from __future__ import annotations

import mmap
import sys

__all__ = ["is_viewed", "new_block"]


def new_block(size: int) -> mmap.mmap:
    """Make a block, which is freed once nobody holds it or a view of it.

    Args:
        size: Bytes, at least one.
    """

    if sys.platform == "win32":
        return mmap.mmap(-1, size)

    # Private: what is shared belongs to a file system in memory, and is slower.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def is_viewed(block: mmap.mmap) -> bool:
    """Whether anybody has a view of a block, where the system can resize one (Linux)."""

    try:
        # Only what nobody looks at can change its size.
        block.resize(len(block))
    except BufferError:
        return True

    return False
