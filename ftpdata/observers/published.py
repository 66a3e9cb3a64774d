"""A coroutine function that is called after every upload that was published."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.abc

from .._checks import check_call, check_range
from ..outcome import TransferResult
from ._telling import note_failure
from .contract import Observer, Transfer

__all__ = ["PublishedObserver"]


class PublishedObserver(Observer):
    """Calls a coroutine function after every upload that has got its name.

    Without a task group it is awaited before the transfer ends, so that the client's reply
    comes after it. With a task group it runs there, and the reply does not wait, unless
    `limit` calls run already. What it raises is logged, and changes nothing: the file is there.

    Args:
        callback: Called with the transfer and its result.
        tasks: Where the calls run; None runs them in the transfer.
        limit: Calls that run in the task group at a time.
    """

    def __init__(
        self,
        callback: Callable[[Transfer, TransferResult], Awaitable[None]],
        *,
        tasks: anyio.abc.TaskGroup | None = None,
        limit: int = 100,
    ) -> None:
        check_call(PublishedObserver.__init__, locals())
        check_range("limit", limit, 1)
        self._callback = callback
        self._tasks = tasks
        self._limiter = anyio.Semaphore(limit)

    async def published(self, transfer: Transfer, result: TransferResult) -> None:
        """Call it, or have it called."""

        if self._tasks is None:
            await self._callback(transfer, result)
            return

        await self._limiter.acquire()
        try:
            self._tasks.start_soon(self._call, transfer, result)
        except BaseException:
            # The task group is over.
            self._limiter.release()
            raise

    async def _call(self, transfer: Transfer, result: TransferResult) -> None:
        try:
            await self._callback(transfer, result)
        except Exception as error:  # noqa: BLE001 - it is not the task group's concern
            note_failure(self, "published", error)
        finally:
            self._limiter.release()
