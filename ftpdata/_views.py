"""Views of data as bytes, whole and in slices.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from .contracts import Buffer

__all__ = ["byte_view", "byte_views"]


def byte_view(data: Buffer) -> memoryview:
    """Return a view of the bytes of the data, of whatever items they are.

    Raises:
        TypeError: They do not lie one after the other.
    """

    view = memoryview(data)
    # PyPy reads a view that was cast byte by byte.
    is_plain = view.format == "B" and view.ndim == 1 and view.c_contiguous
    return view if is_plain else view.cast("B")


def byte_views(data: Buffer, size: int) -> Iterator[memoryview]:
    """Cut data into views of at most `size` bytes, without copying them.

    Raises:
        TypeError: See `byte_view`.
    """

    view = byte_view(data)
    for start in range(0, len(view), size):
        yield view[start : start + size]
