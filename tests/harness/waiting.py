"""Bounded waits for conditions that no event reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["turns", "until"]

PATIENCE = 60.0


async def turns(count: int = 20) -> None:
    """Let the loop run everything that is ready, and everything that becomes ready by it."""

    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that a thread or the system brings about in its own time."""

    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - who brings it about knows nothing of the test
            await asyncio.sleep(0.001)
