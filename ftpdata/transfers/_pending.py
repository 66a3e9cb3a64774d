"""A file that is opened while its data connection is made, for the way that needs it first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from .._tasks import give_up

__all__ = ["PendingFile"]

T = TypeVar("T")


class PendingFile(Generic[T]):
    """A file that is opened for the direct way, or for the plain way, which can wait longer.

    A store may hang, and only the plain way has deadlines while it waits.

    Args:
        opening: Opens the file. Called at most once.
        at_once: Opens the file without a wait, if it can; otherwise `opening` does it.
        unopened: Makes the file so that its first use opens it; None if that is not possible.

    Attributes:
        file: The file, once it is open; it belongs to the caller.
        failure: The exception that `opening` raised, if `begin` had started it.
        on_failure: Called when an opening that `begin` had started fails: waiting for the
            connection is then pointless.
    """

    def __init__(
        self,
        opening: Callable[[], Coroutine[Any, Any, T]],
        *,
        at_once: Callable[[], T | None] = lambda: None,
        unopened: Callable[[], T] | None = None,
    ) -> None:
        self.file: T | None = None
        self.failure: Exception | None = None
        self.on_failure: Callable[[], None] | None = None
        self._opening = opening
        self._at_once = at_once
        self._unopened = unopened
        self._task: asyncio.Task[T] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def may_be_unopened(self) -> bool:
        """Whether `get_unopened` may do without an opening."""

        return self._unopened is not None

    def begin_after(self, delay: float) -> None:
        """Do what `begin` does once so many seconds have passed, unless the file is had before."""

        self._timer = asyncio.get_running_loop().call_later(delay, self.begin)

    def begin(self) -> None:
        """Start to open the file while the caller waits for something else. Idempotent."""

        if not self._is_untouched():
            return

        self.file = self._at_once()
        if self.file is not None:
            return

        def done(task: asyncio.Task[T]) -> None:
            if not task.cancelled() and isinstance(error := task.exception(), Exception):
                self.failure = error
                if self.on_failure is not None:
                    self.on_failure()

        self._task = asyncio.ensure_future(self._open())
        self._task.add_done_callback(done)

    async def get_soon(self, timeout: float) -> T | None:
        """Open the file; return None if that takes longer or fails. `get` then raises the error.

        Args:
            timeout: Seconds that the opening may take.
        """

        if self.file is None:
            if self._task is None:
                self._task = asyncio.ensure_future(self._open())
            await asyncio.wait((self._task,), timeout=timeout)

        return self.file

    async def get(self) -> T:
        """Open the file, or wait until it is open.

        Raises:
            Exception: Whatever the opening raises.
        """

        self._stop_timer()
        if self.file is not None:
            return self.file

        return await (self._open() if self._task is None else self._task)

    async def get_unopened(self) -> T:
        """Return the file: open, if that has begun; otherwise its first use will open it.

        Raises:
            Exception: Whatever the opening raises.
        """

        if self.may_be_unopened and self._is_untouched():
            assert self._unopened is not None
            self.file = self._unopened()
            return self.file

        return await self.get()

    async def _open(self) -> T:
        self.file = await self._opening()
        return self.file

    async def settle(self) -> None:
        """Cancel the opening if it still runs: nobody needs the file any more."""

        self._stop_timer()
        if self._task is not None and self.file is None:
            await give_up(self._task)

    def _is_untouched(self) -> bool:
        """Return whether nobody has begun to open the file; the timer will not begin it either."""

        self._stop_timer()
        return self._task is None and self.file is None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
