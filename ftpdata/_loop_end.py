"""Calls for the end of an event loop, for which asyncio has none.

A loop that is ended in order, by `asyncio.run`, `anyio.run` or the like, closes its asynchronous
generators, and then turns once more. So one generator stands for each call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

__all__ = ["LastCall"]


class LastCall:
    """Calls a function once: when the running event loop begins to end, or some time before.

    A loop that is closed without being ended in order calls nobody. Whoever makes this keeps it
    until it has called, or is cancelled.

    Args:
        call: The function. What it schedules for the next turn of the loop is still done.
        after: Seconds after which it is called in any case.
    """

    def __init__(self, call: Callable[[], object], *, after: float | None = None) -> None:
        self._call = call
        self._timer: asyncio.TimerHandle | None = None
        self._generator: AsyncGenerator[None, None] | None = self._wait()
        # The generator is at its first yield then, and the loop knows it.
        _step(self._generator.__anext__())
        if after is not None:
            self._timer = asyncio.get_running_loop().call_later(after, self._fire)

    def cancel(self) -> None:
        """Do not call any more. Idempotent."""

        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        generator, self._generator = self._generator, None
        if generator is not None:
            _step(generator.asend(None))

    def _fire(self) -> None:
        self.cancel()
        self._call()

    async def _wait(self) -> AsyncGenerator[None, None]:
        try:
            yield
        except GeneratorExit:
            self._generator = None
            self._fire()
            raise


def _step(awaitable: Any) -> None:
    """Let a generator that awaits nothing do its next step."""

    with contextlib.suppress(StopIteration, StopAsyncIteration):
        awaitable.send(None)
