"""A future whose waiter goes on in the same turn of the event loop.

A task that waits for an asyncio future goes on one turn after its result is set:
the loop polls all connections once more, and makes some calls. That takes longer
than the work itself if the work is as short as the answer to a command or a small file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, TypeVar

__all__ = ["PromptFuture"]

T = TypeVar("T")


class PromptFuture(asyncio.Future[T]):
    """A future for one waiter, which may be woken at once.

    In all other respects, above all in cancellation, it behaves as `asyncio.Future`.
    """

    _waiter: tuple[Callable[[Any], object], Context] | None = None

    def add_done_callback(
        self, fn: Callable[[Any], object], /, *, context: Context | None = None
    ) -> None:
        """Register the waiter; see `asyncio.Future.add_done_callback`."""

        context = context if context is not None else copy_context()
        self._waiter = fn, context
        super().add_done_callback(fn, context=context)

    def set_prompt_result(self, result: T) -> None:
        """Set the result, and let the task that waits go on before this returns.

        Call this in callbacks of the event loop, as their last step: the next step of
        the task runs within the callback. If it is called within a task, the waiter waits
        for its turn as usual; of several waiters, all except the last one do.

        Raises:
            asyncio.InvalidStateError: The future is already done.
        """

        waiter = self._waiter
        # Where it is no callback any more, it waits no longer.
        is_due = (
            waiter is not None
            and asyncio.current_task(self.get_loop()) is None
            and self.remove_done_callback(waiter[0]) > 0
        )
        self.set_result(result)
        if waiter is not None and is_due:
            fn, context = waiter
            context.run(fn, self)
