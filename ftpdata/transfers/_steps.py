"""The steps in which data are converted, so that no step holds the event loop for long.

No step holds it for much longer than `LONGEST_STEP`, whatever the data are and
whoever made them: encoders are given little at once; a decoder is given less at a
time where it takes long, and more where it does not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator

__all__ = ["INLINE_DEFLATE", "Steps"]

LONGEST_STEP = 0.001
"""Seconds after which others have their turn."""

SMALLEST_PART = 1024
FIRST_PART = 16 * 1024

INLINE_DEFLATE = 4 * 1024
"""Bytes up to which deflate takes no time to speak of; more go to a worker thread.

It takes longest of all codecs, and lets go of the interpreter's lock."""


class Steps:
    """Finds how much to decode at once, and when others are to have their turn.

    Args:
        most: Bytes to decode at once, at most.

    Attributes:
        size: Bytes to decode at once.
    """

    def __init__(self, most: int) -> None:
        self.size: int = min(FIRST_PART, most)
        self._most = most
        self._worked = 0.0
        # Not the loop's time: uvloop's stands still within a step.
        self._now = time.perf_counter

    def each(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Give what a codec makes of one part; learn how long each step takes."""

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
        """Let others run, where it is time to."""

        if self._worked >= LONGEST_STEP:
            self._worked = 0.0
            await asyncio.sleep(0)
