"""A future whose waiter goes on in the same turn of the event loop.

A task that waits for an asyncio future goes on a turn after its result is set:
another look at all connections, and some calls. Where what came is answered in
less than that takes, as a command is, or a small file, it is most of the work.
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

    In everything else, cancellation above all, it is the future it is made from.
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

        For callbacks of the event loop, as the last thing they do: what the
        task does next happens within them. Within a task the waiter has to wait
        for its turn, as ever; and of several waiters all but the last.

        Raises:
            asyncio.InvalidStateError: It is done already.
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
