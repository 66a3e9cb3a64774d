"""A file that is opened while a transfer begins, by whichever of its ways is first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from .._tasks import give_up

__all__ = ["PendingFile"]

T = TypeVar("T")


class PendingFile(Generic[T]):
    """A file that is opened for the direct way, or else for the ordinary one, which can wait.

    A store may hang, and only the ordinary way is watched meanwhile.

    Args:
        opening: Opens it. Called once, if at all.

    Attributes:
        file: The file, once it is open; it belongs to the caller.
    """

    def __init__(self, opening: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.file: T | None = None
        self._opening = opening
        self._task: asyncio.Task[T] | None = None

    async def get_soon(self, timeout: float) -> T | None:
        """Open it; None where that takes so many seconds, or fails, as `get` then tells."""

        if self.file is None:
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
