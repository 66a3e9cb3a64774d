"""Converts data in steps, none of which holds the event loop for much longer than `LONGEST_STEP`.

This is so whatever the data are, and wherever they come from. An encoder gets little at once; a
decoder gets less at a time when it is slow, and more when it is fast.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator

__all__ = ["INLINE_DEFLATE", "Steps"]

LONGEST_STEP = 0.001
"""Seconds after which other tasks have their turn."""

SMALLEST_PART = 1024
FIRST_PART = 16 * 1024

INLINE_DEFLATE = 4 * 1024
"""Bytes that deflate converts in negligible time; more go to a worker thread.

Deflate is the slowest of all codecs, and releases the interpreter's lock."""


class Steps:
    """Decides how much to decode at once, and when other tasks have their turn.

    Args:
        most: Upper bound for the bytes to decode at once.

    Attributes:
        size: Bytes to decode at once.
    """

    def __init__(self, most: int) -> None:
        self.size: int = min(FIRST_PART, most)
        self._most = most
        self._worked = 0.0
        # Not the loop's clock: uvloop's does not advance within a step.
        self._now = time.perf_counter

    def each(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what a codec makes of one part, and measure how long each step takes."""

        iterator = iter(pieces)
        longest = 0.0
        while True:
            started_at = self._now()
            piece = next(iterator, None)
            step = self._now() - started_at
            self._worked += step
            longest = max(longest, step)
            if piece is None:
                break

            yield piece

        if longest > LONGEST_STEP:
            self.size = max(self.size // 2, SMALLEST_PART)
        elif longest < LONGEST_STEP / 4:
            self.size = min(self.size * 2, self._most)

    async def rest(self) -> None:
        """Let other tasks run if it is time to."""

        if self._worked >= LONGEST_STEP:
            self._worked = 0.0
            await asyncio.sleep(0)
