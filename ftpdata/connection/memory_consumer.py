"""Receive from a `DTP` into memory."""

from __future__ import annotations

from .._checks import check_call, check_range
from ._consumer import OneProducer, too_large

__all__ = ["MemoryConsumer"]

DEFAULT_SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes that are kept by default."""


class MemoryConsumer(OneProducer):
    """Keeps what comes in memory.

    Args:
        size_limit: Bytes that are accepted; more raise `QuotaExceeded`.

    Raises:
        ValueError: `size_limit` is negative.
    """

    def __init__(self, size_limit: int = DEFAULT_SIZE_LIMIT) -> None:
        check_call(MemoryConsumer.__init__, locals())
        check_range("size_limit", size_limit, 0)
        self.size_limit = size_limit
        self._chunks: list[bytes] = []
        self._size = 0

    @property
    def data(self) -> bytes:
        """Everything that has come so far."""

        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]

        return self._chunks[0] if self._chunks else b""

    def write(self, data: bytes) -> None:
        """Keep data.

        Raises:
            QuotaExceeded: There are more than `size_limit` bytes. Reply 552.
        """

        if self._size + len(data) > self.size_limit:
            raise too_large(self.size_limit)

        self._size += len(data)
        self._chunks.append(data)

    def unregister_producer(self) -> None:
        """Take note that nothing more comes."""
