"""Pieces of data: how much a codec handles and gives out at a time.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from .._views import byte_views
from ..contracts import Buffer

__all__ = ["MAX_PIECE", "cut_pieces"]

MAX_PIECE = 64 * 1024
"""Bytes of the largest piece that the decoder of a transmission mode gives."""


def cut_pieces(data: Buffer, size: int) -> Iterator[bytes]:
    """Cut data into non-empty pieces of at most `size` bytes; copy only what must be."""

    if isinstance(data, bytes) and len(data) <= size:
        if data:
            yield data

        return

    for view in byte_views(data, size):
        yield bytes(view)
