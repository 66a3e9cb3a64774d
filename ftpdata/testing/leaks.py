"""Finds what a test leaves behind: descriptors, threads, tasks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator

from .cancellation import (
    POOLED_THREADS,
    describe_descriptors,
    describe_task,
    matches,
    open_descriptors,
)

__all__ = ["LeakCheck"]

PATIENCE = 5.0
"""Seconds in which what a test has left may go away by itself."""


class LeakCheck:
    """Compares what there is now with what there was when this was made.

    What is left has one line each, by which it is also allowed::

        descriptor NUMBER: TARGET
        thread NAME
        task NAME: COROUTINE

    TARGET is what ``/proc/self/fd`` tells, where there is that, and the addresses of a socket.
    Threads that wait for more work, as pools have them, are allowed in any case.

    Args:
        allowed: Patterns of what may be left, as `fnmatch` has them.
    """

    def __init__(self, *allowed: str) -> None:
        self._allowed = [*POOLED_THREADS, *allowed]
        self._descriptors = open_descriptors()
        self._threads = set(threading.enumerate())

    def allow(self, *patterns: str) -> None:
        """Allow more: ``allow("descriptor * /var/log/*", "thread watcher-*")``."""

        self._allowed += patterns

    def left(self, patience: float | None = None) -> list[str]:
        """Wait until nothing is new but what is allowed; blocks the thread.

        Args:
            patience: Seconds for that; `PATIENCE` by default.

        Returns:
            What is still left, one line each.
        """

        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        pause = 0.001
        while True:
            left = [line for line in self._new() if not matches(line, self._allowed)]
            if not left or time.monotonic() >= deadline:
                return sorted(left)
            # What only waits for the collector is closed by it.
            gc.collect()
            time.sleep(pause)
            pause = min(2 * pause, 0.25)

    def _new(self) -> list[str]:
        threads = set(threading.enumerate()) - self._threads
        new = [f"thread {thread.name}" for thread in threads if thread.is_alive()]
        return new + describe_descriptors(open_descriptors() - self._descriptors)

    @contextlib.asynccontextmanager
    async def tasks(self) -> AsyncIterator[None]:
        """Check that the block leaves no task behind.

        Raises:
            AssertionError: It does; names them. Not raised if the block itself raises.
        """

        before = asyncio.all_tasks()
        yield
        # Tasks that are over but for their last step have it now.
        await asyncio.sleep(0)
        new = [describe_task(task) for task in asyncio.all_tasks() - before]
        left = sorted(line for line in new if not matches(line, self._allowed))
        if left:
            raise AssertionError("\n".join(["tasks were left behind", *left]))
