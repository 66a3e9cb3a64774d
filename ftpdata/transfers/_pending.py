"""A file that is opened while its data connection comes, by whichever way is first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from .._tasks import give_up

__all__ = ["PendingFile"]

T = TypeVar("T")


class PendingFile(Generic[T]):
    """A file that is opened for the direct way, or else for the plain one, which can wait.

    A store may hang, and only the plain way is watched meanwhile.

    Args:
        opening: Opens it. Called once, if at all.

    Attributes:
        file: The file, once it is open; it belongs to the caller.
        failure: What the opening raised, where it began ahead.
        on_failure: Called where it began ahead and has failed: what is waited for
            meanwhile is of no use any more.
    """

    def __init__(self, opening: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.file: T | None = None
        self.failure: Exception | None = None
        self.on_failure: Callable[[], None] | None = None
        self._opening = opening
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        """Open it ahead, while something else is waited for."""

        def done(task: asyncio.Task[T]) -> None:
            if not task.cancelled() and isinstance(error := task.exception(), Exception):
                self.failure = error
                if self.on_failure is not None:
                    self.on_failure()

        self._task = asyncio.ensure_future(self._open())
        self._task.add_done_callback(done)

    async def get_soon(self, timeout: float) -> T | None:
        """Open it; None where that takes longer, or fails, as `get` then tells.

        Args:
            timeout: Seconds that the opening may take.
        """

        if self.file is None:
            if self._task is None:
                self._task = asyncio.ensure_future(self._open())
            await asyncio.wait((self._task,), timeout=timeout)

        return self.file

    async def get(self) -> T:
        """Open it, or wait until it is open.

        Raises:
            Whatever the opening raises.
        """

        if self.file is not None:
            return self.file

        return await (self._open() if self._task is None else self._task)

    async def _open(self) -> T:
        self.file = await self._opening()
        return self.file

    async def settle(self) -> None:
        """Cancel the opening if it still runs: nobody waits for the file any more."""

        if self._task is not None and self.file is None:
            await give_up(self._task)
