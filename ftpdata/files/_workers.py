"""Calls that may wait for a disk, in worker threads: the event loop goes on meanwhile.

Threads are those of `ftpdata.files._threads`, or of anyio for file objects of the caller,
which may want to call back (`anyio.from_thread`). A `CapacityLimiter`
bounds their number, so that one slow store, given a limiter of its own, cannot
starve another.

Cancellation waits for the call that runs in the thread, so that nothing is
left behind; after `ABANDON_AFTER` seconds it waits no longer, and the thread cleans up when it
comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar, cast

import anyio
import anyio.lowlevel
import anyio.to_thread

from ._threads import Job, WorkerThreads

__all__ = ["WorkerCalls", "default_limiter"]

T = TypeVar("T")

ABANDON_AFTER = 1.0
"""Seconds that a cancelled caller waits for its thread."""

DEFAULT_THREADS = 64
"""Threads for file calls in one event loop, where no limiter is given."""

_default_limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar(
    "ftpdata.files._workers.limiter"
)


def default_limiter() -> anyio.CapacityLimiter:
    """Return the event loop's own limiter of threads for file calls."""

    try:
        return _default_limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(DEFAULT_THREADS)
        _default_limiter.set(limiter)
        return limiter


class _Call(Job):
    """One call in a thread, and how far it has come.

    Args:
        func: What is called.
        lock: Guards what the thread and the event loop both look at.
        is_alone: Whether nobody waits for what it returns or raises.
    """

    def __init__(
        self, func: Callable[[], object], lock: threading.Lock, *, is_alone: bool = False
    ) -> None:
        self.cleanups: list[Callable[[], None]] = []
        self.is_running = is_alone
        self._is_over = False
        self._is_alone = is_alone
        self._result: object = None
        self._error: BaseException | None = None
        self._func = func
        self._lock = lock
        self._waiter: asyncio.Future[None] | None = None

    def take_result(self) -> object:
        """Return what was returned, or raise what was raised. Once."""

        error, self._error = self._error, None
        if error is None:
            return self._result

        try:
            raise error
        finally:
            # Its traceback holds this frame.
            del error

    def withdraw(self) -> bool:
        """Keep it from beginning; tell whether it had not begun."""

        with self._lock:
            if self.is_running:
                return False
            self._is_over = True
            return True

    async def wait(self) -> None:
        """Wait until `finished` is called."""

        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    async def settle(self) -> None:
        """Withdraw it, or wait until the thread is done with it, at most `ABANDON_AFTER`."""

        self._is_alone = True
        if not self.withdraw():
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            deadline = loop.time() + ABANDON_AFTER
            # A second cancellation does not make the thread faster; anyio cancels at every turn.
            with anyio.CancelScope(shield=True):
                while not waiter.done() and (left := deadline - loop.time()) > 0:
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait((waiter,), timeout=left)

        self._forget()

    def work(self) -> None:
        """Call it, in the thread, and clean up after it."""

        with self._lock:
            if self._is_over:
                # Withdrawn before a thread was free.
                return
            self.is_running = True

        try:
            self._result = self._func()
        except BaseException as error:  # noqa: BLE001 - it is raised where the call is waited for
            self._error = error

        with self._lock:
            self.is_running = False
            self._is_over = True
            cleanups, self.cleanups = self.cleanups, []

        for cleanup in cleanups:
            # No waiter is left to get an error.
            with contextlib.suppress(OSError):
                cleanup()

    def finished(self) -> None:
        """Wake up the waiter."""

        if self._is_alone:
            self._forget()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _forget(self) -> None:
        """Keep nothing of what nobody waits for: it may be large, and an error is a cycle."""

        self._result = self._error = None


def _reported(cleanup: Callable[[], None]) -> Callable[[], None]:
    """Report to `threading.excepthook` what is not an error of the system: nobody else is left."""

    def run() -> None:
        try:
            cleanup()
        except OSError:
            pass
        except BaseException as error:  # noqa: BLE001 - it is told
            threading.excepthook(
                threading.ExceptHookArgs((
                    type(error), error, error.__traceback__, threading.current_thread()
                ))
            )

    return run


class WorkerCalls:
    """Runs blocking calls in worker threads, one at a time, and knows which one still runs.

    Args:
        limiter: Bounds the threads; by default the event loop's own.
        calls_back: Whether what runs is a file object of the caller's, which may
            call back into the event loop (`anyio.from_thread`).

    Attributes:
        lives_in_memory: Whether no call on the files can wait for a disk.
    """

    def __init__(
        self, limiter: anyio.CapacityLimiter | None = None, *, calls_back: bool = False
    ) -> None:
        self.lives_in_memory: bool = False
        self._limiter = limiter
        self._calls_back = calls_back
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

        if self._calls_back:
            call = self._last = _Call(func, self._lock)
            await self._run_in_anyio_thread(call)
        else:
            call = self._last = _Call(functools.partial(copy_context().run, func), self._lock)
            await self._run_in_thread(call)

        result = cast("T", call.take_result())
        if self._last is call:
            # Do not keep what it has read or written as long as a peer stalls.
            self._last = None
        return result

    async def _run_in_thread(self, call: _Call) -> None:
        threads = WorkerThreads.of_running_loop()
        limiter = self._limiter or default_limiter()
        try:
            limiter.acquire_on_behalf_of_nowait(call)
        except anyio.WouldBlock:
            await limiter.acquire_on_behalf_of(call)

        try:
            threads.start(call)
            await call.wait()
        except asyncio.CancelledError:
            await call.settle()
            raise
        finally:
            limiter.release_on_behalf_of(call)

    async def _run_in_anyio_thread(self, call: _Call) -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            call.work()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(call.finished)

        try:
            # Else a cancel scope of anyio would wait for the thread for ever.
            await anyio.to_thread.run_sync(
                work, abandon_on_cancel=True, limiter=self._limiter or default_limiter()
            )
        except asyncio.CancelledError:
            await call.settle()
            raise

    def defer(self, cleanup: Callable[[], None]) -> bool:
        """Let the call that still runs clean up after itself.

        Returns:
            False where none runs: the caller has to do it.
        """

        with self._lock:
            if self._last is None or not self._last.is_running:
                return False

            self._last.cleanups.append(cleanup)
            return True

    async def clean_up(self, cleanup: Callable[[], None], *, at_once: bool = False) -> None:
        """Run `cleanup` in a thread, in any case: now, or after the call that still runs.

        Args:
            cleanup: What is to be done. Idempotent.
            at_once: Do not wait for a free thread: for a caller that was cancelled.

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
            # Nobody can wait any more until the limiter has a thread free.
            if not has_begun:
                call = self._last = _Call(_reported(cleanup), self._lock, is_alone=True)
                WorkerThreads.of_running_loop().start(call)
                await call.settle()
