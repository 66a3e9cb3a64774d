"""Bounded waits for conditions that no event reports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["turns", "until", "wait_until"]

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


def wait_until(
    condition: Callable[[], object],
    what: str = "what the test waits for",
    *,
    patience: float = PATIENCE,
) -> None:
    """Wait for a condition where no event loop runs, which another process brings about.

    Args:
        condition: Looks once, and may raise what ends the wait.
        what: What does not come, for the error.
        patience: In seconds.
    """

    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"it does not come: {what}"
        time.sleep(0.02)
