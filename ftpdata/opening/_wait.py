"""How an endpoint and its link wait: for one thing at a time, until the host gives them up."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from .._prompt import PromptFuture
from ..errors import FTPDataError, error_for_end
from ..outcome import End

__all__ = ["Wait"]

T = TypeVar("T")


class Wait:
    """Lets one task wait for one thing at a time.

    1. The task goes on when `wake` is called, or the deadline passes, whichever is first.
    2. After `give_up` every wait raises its reason, the one that goes on included.
    3. Deadlines that are held back begin when `start_deadlines` is called.

    Attributes:
        given_up: The reason of `give_up`; None before.
        deadlines_from: When deadlines begin at the earliest, by the event loop's
            clock; None while they are held back.
    """

    # The state before anything has happened; most of it stays so.
    given_up: FTPDataError | None = None
    deadlines_from: float | None = 0.0
    _waiter: PromptFuture[bool] | None = None
    _timeout: float | None = None
    _deadline: asyncio.TimerHandle | None = None

    def check(self) -> None:
        """Raise the reason of `give_up`, if it was called."""

        if self.given_up is not None:
            raise self.given_up

    def give_up(self, reason: FTPDataError) -> None:
        """Let the task that waits raise this, and every later wait."""

        self.given_up = reason
        self.wake()

    def hold_deadlines(self) -> None:
        """Let no deadline pass until `start_deadlines`."""

        self.deadlines_from = None

    def start_deadlines(self) -> None:
        """Let deadlines begin, that of the wait that goes on included."""

        self.deadlines_from = asyncio.get_running_loop().time()
        if self._waiter is not None:
            self._start_deadline()

    def wake(self, cause: object = True) -> None:
        """Let the task that waits go on; a callback of a future or of a timer (None), too."""

        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(cause is not None)

    def wake_promptly(self) -> bool:
        """Let the task that waits go on before this returns; tell whether one waits.

        For callbacks of the event loop, as the last thing they do.
        """

        if self._waiter is None or self._waiter.done():
            return False

        self._waiter.set_prompt_result(True)
        return True

    async def sleep(self, timeout: float | None) -> bool:
        """Wait until `wake` is called.

        Args:
            timeout: Seconds after which it returns in any case; None for none.

        Returns:
            False if the time has passed.

        Raises:
            FTPDataError: The reason given to `give_up`.
        """

        # What the caller has just looked at may have been the end of it.
        self.check()
        waiter: PromptFuture[bool] = PromptFuture(loop=asyncio.get_running_loop())
        self._waiter = waiter
        self._timeout = timeout
        if self.deadlines_from is not None:
            self._start_deadline()
        try:
            is_in_time = await waiter
            self.check()
            return is_in_time
        finally:
            self._waiter = None
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    async def until_woken(self, timeout: float | None, timeout_end: End) -> None:
        """Wait until `wake` is called, and no longer than it may take.

        Raises:
            OpenTimeout: The deadline passed. Reply 425.
            FTPDataError: The reason given to `give_up`.
        """

        if not await self.sleep(timeout):
            raise error_for_end(timeout_end, f"{timeout_end.value} ({timeout:g} s)")

    async def until_done(
        self, future: asyncio.Future[T], timeout: float | None, timeout_end: End
    ) -> T:
        """Wait for a future, as for `wake`; it is cancelled if it is not done by then.

        Raises:
            OpenTimeout: The deadline passed. Reply 425.
            FTPDataError: The reason given to `give_up`.
        """

        future.add_done_callback(self.wake)
        try:
            await self.until_woken(timeout, timeout_end)
            return future.result()
        finally:
            future.cancel()

    def _start_deadline(self) -> None:
        if self._timeout is not None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._timeout, self.wake, None)
