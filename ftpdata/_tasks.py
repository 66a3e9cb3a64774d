"""Waits for tasks to end before their owner goes on, however often the owner is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from typing import TypeVar

import anyio

__all__ = ["finish_despite_cancellation", "give_up", "whole"]

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
    cancelled: asyncio.CancelledError | None = None
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    # anyio would cancel the wait again at every turn of the loop.
    with anyio.CancelScope(shield=True):
        while not task.done():
            left = None if deadline is None else max(0.0, deadline - loop.time())
            try:
                _, pending = await asyncio.wait((task,), timeout=left)
            except asyncio.CancelledError as error:
                cancelled = error
            else:
                if pending:
                    task.cancel()
                    deadline = None

    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled

    if not task.cancelled():
        task.result()


async def give_up(*tasks: asyncio.Task[T]) -> None:
    """Cancel tasks whose results are not needed, one at least; wait for the end of all of them.

    They have ended, and what they raise is nobody's, even if this is cancelled meanwhile.
    """

    for task in tasks:
        task.cancel()
    await finish_despite_cancellation(_outcome(tasks), None)


async def whole(work: Awaitable[T]) -> T:
    """Await something that must not be cancelled midway, and return its result.

    Raises:
        CancelledError: The task was cancelled meanwhile; the work was done first.
    """

    task = asyncio.ensure_future(work)
    await finish_despite_cancellation(_outcome((task,)), None)
    return task.result()


async def _outcome(tasks: Collection[asyncio.Future[T]]) -> None:
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
