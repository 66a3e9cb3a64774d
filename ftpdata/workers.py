"""Calls that may wait for a disk, in worker threads: the event loop goes on meanwhile.

Threads come from anyio and end with the event loop; a `CapacityLimiter` bounds
their number, so that one slow store, given a limiter of its own, cannot starve
another.

Cancellation waits for the call that runs in the thread, so that nothing is
left behind; after `ABANDON_AFTER` seconds it waits no longer, and what is to be
cleaned up is done in the thread when it comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar, cast

import anyio
import anyio.lowlevel
import anyio.to_thread

__all__ = ["WorkerCalls", "default_limiter"]

T = TypeVar("T")

ABANDON_AFTER = 1.0
"""Seconds that a cancelled caller waits for its thread."""

DEFAULT_THREADS = 64
"""Threads for file calls in one event loop, where no limiter is given."""

_default_limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar(
    "ftpdata.workers.limiter"
)


def default_limiter() -> anyio.CapacityLimiter:
    """Return the event loop's own limiter of threads for file calls."""

    try:
        return _default_limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(DEFAULT_THREADS)
        _default_limiter.set(limiter)
        return limiter


class _Call:
    """One call in a thread, and the knowledge how far it is."""

    def __init__(self, func: Callable[[], object], lock: threading.Lock) -> None:
        self.result: object = None
        self.cleanups: list[Callable[[], None]] = []
        self.is_running = False
        self.is_over = False
        self._func = func
        self._lock = lock
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> None:
        with self._lock:
            if self.is_over:
                # Withdrawn before a thread was free.
                return
            self.is_running = True

        try:
            self.result = self._func()
        finally:
            self._end()

    def run_alone(self) -> None:
        """Run in a thread of its own, where nobody can be told of an error."""

        with contextlib.suppress(OSError):
            self()

    def _end(self) -> None:
        with self._lock:
            self.is_running = False
            self.is_over = True
            cleanups, self.cleanups = self.cleanups, []

        try:
            for cleanup in cleanups:
                # Nobody waits any more who could be told of an error.
                with contextlib.suppress(OSError):
                    cleanup()
        finally:
            if self._waiter is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def settle(self) -> None:
        """Withdraw it, or wait until the thread is done with it, at most `ABANDON_AFTER`."""

        with self._lock:
            if not self.is_running:
                self.is_over = True
                return

            self._waiter = self._loop.create_future()

        deadline = self._loop.time() + ABANDON_AFTER
        # A second cancellation does not make the thread any faster; anyio's come at every turn.
        with anyio.CancelScope(shield=True):
            while not self._waiter.done() and (left := deadline - self._loop.time()) > 0:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait((self._waiter,), timeout=left)


class WorkerCalls:
    """Runs blocking calls in worker threads, one at a time, and knows which one still runs.

    Args:
        limiter: Bounds the threads; by default the event loop's own.

    Attributes:
        lives_in_memory: Whether the files have no disk that could be waited for.
    """

    def __init__(self, limiter: anyio.CapacityLimiter | None = None) -> None:
        self.lives_in_memory: bool = False
        self._limiter = limiter
        self._last: _Call | None = None
        self._lock = threading.Lock()

    async def run(self, func: Callable[[], T], *, is_short: bool = False) -> T:
        """Run `func` in a thread.

        Args:
            func: What is to be done.
            is_short: Whether all that it could wait for is a disk. Without one, it
                takes less time than a thread.

        Raises:
            Whatever `func` raises.

        Cancellation waits for the thread, see the module. Where no thread was
        free yet, `func` does not run at all.
        """

        if is_short and self.lives_in_memory:
            return func()

        call = self._last = _Call(func, self._lock)
        try:
            # Else a cancel scope of anyio would wait for the thread for ever.
            await anyio.to_thread.run_sync(
                call, abandon_on_cancel=True, limiter=self._limiter or default_limiter()
            )
        except asyncio.CancelledError:
            await call.settle()
            raise

        if self._last is call:
            # What it has read or written is not to be kept as long as a peer stalls.
            self._last = None

        return cast("T", call.result)

    def defer(self, cleanup: Callable[[], None]) -> bool:
        """Let the call that still runs do the cleaning up behind itself.

        Returns:
            False where none runs: the caller has to do it.
        """

        with self._lock:
            if self._last is None or not self._last.is_running:
                return False

            self._last.cleanups.append(cleanup)
            return True

    async def clean_up(self, cleanup: Callable[[], None], *, at_once: bool = False) -> None:
        """Run `cleanup` in a thread, in any case: now, or behind the call that still runs.

        Args:
            cleanup: What is to be done. Idempotent.
            at_once: Do not wait for a free thread: for who was cancelled.

        Raises:
            Whatever `cleanup` raises, but not `at_once`.

        Cancellation does not keep it from running; it waits for it as usual.
        """

        if self.defer(cleanup):
            return

        has_begun = False

        def work() -> None:
            nonlocal has_begun
            has_begun = True
            cleanup()

        try:
            if not at_once:
                await self.run(work)
        finally:
            # Nobody can wait for a free thread any more: it gets one of its own.
            if not has_begun:
                call = self._last = _Call(cleanup, self._lock)
                call.is_running = True
                threading.Thread(target=call.run_alone, name="ftpdata clean-up").start()
                await call.settle()
