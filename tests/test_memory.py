"""Blocks of memory have the requested size, and return to the system when no view is left."""

from __future__ import annotations

import errno
import platform
import resource
import sys
from pathlib import Path

import pytest

from ftpdata._memory import is_viewed, new_block

linux_only = pytest.mark.skipif(
    sys.platform != "linux" or platform.python_implementation() != "CPython",
    reason="only CPython on Linux frees blocks",
)


@linux_only
def test_a_view_is_known() -> None:
    """Views of parts, and views of views, are known, too."""

    block = new_block(5000)
    assert len(block) == 5000
    assert not is_viewed(block)
    view = memoryview(block)[:10]
    view[:2] = b"ab"
    part = view[1:]
    view.release()
    assert is_viewed(block)
    assert bytes(part[:1]) == b"b"
    part.release()
    assert not is_viewed(block)
    assert block[:2] == b"ab"


def test_where_views_are_not_counted_there_may_always_be_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PyPy resizes what has views, and learns late that memory has none any more."""

    monkeypatch.setattr("ftpdata._memory._COUNTS_REFERENCES", False)
    block = new_block(5000)
    assert len(block) == 5000
    assert is_viewed(block)
    # Its garbage collector begins in time for what it counts, which mappings are not.
    assert isinstance(block, bytearray)


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EAGAIN])
def test_no_memory_is_nothing_to_wait_for(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """EAGAIN of mmap(2) is no news of a socket or a file."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr("ftpdata._memory._COUNTS_REFERENCES", True)
    monkeypatch.setattr("mmap.mmap", fail)
    with pytest.raises(OSError, match="no") as caught:
        new_block(5000)
    assert caught.value.errno == errno.ENOMEM
    assert not isinstance(caught.value, BlockingIOError)


@linux_only
def test_what_is_given_up_is_no_longer_resident() -> None:
    """A block is freed although a later one stays; an allocator would keep the hole."""

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    before = resident()
    blocks = [new_block(16 * 1024) for _ in range(1024)]
    for block in blocks:
        block[:] = b"x" * len(block)
    full = resident()
    assert full - before > 12 * 1024 * 1024
    del blocks[::2]
    assert full - resident() > 6 * 1024 * 1024
