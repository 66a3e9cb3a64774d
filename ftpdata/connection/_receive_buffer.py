"""Receive into memory that is used again and again.

A `ReceiveQueue` gives bytes that are made for each read, and joined: to take and
return that memory costs as much as to fill it. A `ReceiveBuffer` has two blocks:
one is filled while what came in the other is written.
"""

from __future__ import annotations

import asyncio
from typing import cast

from .._memory import new_block
from .receive_queue import ReceiveQueue

__all__ = ["LARGEST_BLOCK", "ReceiveBuffer"]

FIRST_BLOCK = 32 * 1024
LARGEST_BLOCK = 1024 * 1024
"""Bytes of a block. It grows while the peer fills it, so that one that stalls holds little."""

SMALLEST_READ = 16 * 1024
"""Bytes that are worth a read; those of one TLS record (RFC 8446 §5.1)."""

RELEASE_AFTER = 1.0
"""Seconds without a read after which an upload that waits for its peer holds no memory."""


class ReceiveBuffer(ReceiveQueue):
    """A `ReceiveQueue` that the transport reads into; see `DTP.register_consumer`.

    What `receive` returns may be a view of its memory, which is valid until
    `receive` is called again.

    Args:
        high_water: Bytes of one of its two blocks at most.

    Attributes:
        is_direct: Whether a transport has read into it.
    """

    def __init__(self, high_water: int = LARGEST_BLOCK) -> None:
        super().__init__(high_water)
        self.is_direct: bool = False
        self._block: memoryview | None = None
        self._other: memoryview | None = None
        self._block_size = FIRST_BLOCK
        self._was_read = False
        self._timer: asyncio.TimerHandle | None = None
        # Where in the block the next byte goes, and where the next one to be received is.
        self._filled = 0
        self._taken = 0

    def get_buffer(self) -> memoryview:
        """Give the memory to read into; never empty unless it has paused."""

        if self._block is None:
            self._block = memoryview(new_block(self._block_size))
            if self._timer is None:
                self._watch()

        return self._block[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take note that this number of bytes was read into it."""

        self.is_direct = self._was_read = True
        if self._closed:
            return

        self._filled += nbytes
        self._size += nbytes
        if not self._has_room:
            self._pause_producer()

        self._wake()

    def write(self, data: bytes) -> None:
        """Hold data that were not read into it, after those that were."""

        if self._block is not None and self._taken < self._filled:
            # What came in the block comes first, and must not be written over.
            self._chunks.append(bytes(self._block[self._taken : self._filled]))
            self._taken = self._filled

        super().write(data)

    def close(self) -> None:
        """Take no more; see `ReceiveQueue.close`."""

        self._taken = self._filled = 0
        self._release()
        super().close()

    def unregister_producer(self) -> None:
        """Take note that nothing more comes."""

        self._stop_watch()
        super().unregister_producer()

    def _take(self, max_bytes: int | None) -> bytes:
        if self._chunks or self._block is None:
            return super()._take(max_bytes)

        end = self._filled
        if max_bytes is not None:
            end = min(end, self._taken + max_bytes)

        data = self._block[self._taken : end]
        self._taken = end
        self._size -= len(data)
        if end == self._filled:
            self._turn_over()
            if not self._held_back:
                self._resume_below(self._low_water)

        # A `ReceiveBuffer` is given only to what takes any buffer.
        return cast("bytes", data)

    @property
    def _has_room(self) -> bool:
        return self._block is None or self._filled + SMALLEST_READ <= len(self._block)

    def _resume_below(self, size: int) -> None:
        if self._has_room:
            super()._resume_below(size)

    def _turn_over(self) -> None:
        """Fill the other block; nobody needs its old content any more."""

        if not self._has_room:
            self._block_size = min(2 * self._block_size, self.high_water)

        self._block, self._other = self._other, self._block
        if self._block is not None and len(self._block) < self._block_size:
            self._block = None

        self._filled = self._taken = 0

    def _watch(self) -> None:
        """Let go of the memory after a while, unless it is read into."""

        loop = asyncio.get_running_loop()
        self._was_read = False
        self._timer = loop.call_later(RELEASE_AFTER, self._check_use)

    def _stop_watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_use(self) -> None:
        if self._was_read or self._taken < self._filled:
            self._watch()
        else:
            self._release()

    def _release(self) -> None:
        # A view that somebody still holds keeps its memory.
        self._stop_watch()
        self._block = self._other = None
        self._block_size = FIRST_BLOCK
        self._filled = self._taken = 0
