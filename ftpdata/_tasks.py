"""Waits for tasks to end before their owner goes on, however often the owner is cancelled.

`call_in_loop` makes the calls of objects that are deleted, in any thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

__all__ = ["call_in_loop", "finish_despite_cancellation", "give_up", "whole"]

T = TypeVar("T")


async def finish_despite_cancellation(work: Awaitable[None], timeout: float | None) -> None:
    """Do the last work of a transfer, even if its task is cancelled meanwhile.

    Args:
        work: The work, which is awaited once.
        timeout: Seconds after which the work is cancelled.

    Raises:
        CancelledError: The task was cancelled meanwhile; the work was done first.
    """

    task = asyncio.ensure_future(work)
    cancelled = await _end(task, timeout=timeout)
    if cancelled is not None:
        raise cancelled

    if not task.cancelled():
        task.result()


async def give_up(*tasks: asyncio.Task[T]) -> None:
    """Cancel tasks whose results are not needed, one at least; wait for the end of all of them.

    They have ended afterwards, and nobody gets what they raised, even if this is cancelled.
    """

    for task in tasks:
        task.cancel()
    cancelled = await _end(*tasks)
    if cancelled is not None:
        raise cancelled


async def whole(work: Awaitable[T]) -> T:
    """Await something that must not be cancelled midway, and return its result.

    Raises:
        CancelledError: The task was cancelled meanwhile; the work was done first.
    """

    task = asyncio.ensure_future(work)
    cancelled = await _end(task)
    if cancelled is not None:
        raise cancelled

    return task.result()


def call_in_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call this in the event loop's thread, where nothing else is at work meanwhile.

    Objects are deleted in any thread. The loop may be closed as well by then: it calls
    nobody any more.
    """

    try:
        is_here = asyncio.get_running_loop() is loop
    except RuntimeError:
        is_here = False
    if is_here or loop.is_closed():
        callback()
    else:
        loop.call_soon_threadsafe(callback)


async def _end(
    *tasks: asyncio.Future[T], timeout: float | None = None
) -> asyncio.CancelledError | None:
    """Wait for the end of tasks, and cancel them after a time; nobody need look at what they raise.

    Returns:
        The last cancellation of the running task meanwhile, which is to be raised.
    """

    cancelled: asyncio.CancelledError | None = None
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    # anyio would cancel the wait again at every turn of the loop.
    with anyio.CancelScope(shield=True):
        while not all(task.done() for task in tasks):
            left = None if deadline is None else max(0.0, deadline - loop.time())
            try:
                _, pending = await asyncio.wait(tasks, timeout=left)
            except asyncio.CancelledError as error:
                cancelled = error
            else:
                for task in pending:
                    task.cancel()
                    deadline = None

    for task in tasks:
        if not task.cancelled():
            task.exception()
    return cancelled
