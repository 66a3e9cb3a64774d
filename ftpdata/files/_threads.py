"""The worker threads of one event loop: calls go in, and their ends come back in order.

For a small file on a disk, the way to a thread and back is most of the work, and anyio's way takes
two turns of the event loop and some thirty operations on locks. Here the thread that was used last
gets the next call, and threads that are done at the same time wake the event loop once.

Threads are made as they are needed: the code that starts calls bounds their number. They
end with the event loop, where that is run by `asyncio.run`, `anyio.run` or anything
else that ends it in order, and otherwise when they have had nothing to do for
`IDLE` seconds.
"""

from __future__ import annotations

import abc
import asyncio
import collections
import contextlib
import importlib
import queue
import threading
import weakref

import anyio.lowlevel

from .._loop_end import LastCall

__all__ = ["Job", "WorkerThreads"]

# anyio imports its backend when it is first needed, which would be in the event loop, during the
# first transfer; it has no public name for it.
with contextlib.suppress(ImportError):
    importlib.import_module("anyio._backends._asyncio")

IDLE = 2.0
"""Seconds after which a thread that has nothing to do ends."""


class Job(abc.ABC):
    """Work for a thread."""

    @abc.abstractmethod
    def work(self) -> None:
        """Run in the thread. An exception ends the thread, and goes to `threading.excepthook`."""

    @abc.abstractmethod
    def finished(self) -> None:
        """Take note of its end, in the event loop."""


Inbox = queue.SimpleQueue[Job | None]
"""Where a thread gets its jobs from; None is the end."""


class WorkerThreads:
    """Threads that wait for jobs.

    Not made by hand: `of_running_loop` gives those of the event loop.
    """

    def __init__(self) -> None:
        # A RunVar has these as long as there is the loop, which they must not keep.
        self._loop = weakref.ref(asyncio.get_running_loop())
        # Whoever takes an inbox from the list decides over its thread: the event loop, which
        # has a job, or the thread itself, which has waited long enough.
        self._idle: list[Inbox] = []
        self._finished: collections.deque[Job] = collections.deque()
        self._is_awaited = False
        self._is_closed = False
        self._end: LastCall | None = None

    @classmethod
    def of_running_loop(cls) -> WorkerThreads:
        """Return the threads of the running event loop."""

        try:
            return _threads.get()
        except LookupError:
            threads = cls()
            threads._end = LastCall(threads._close)
            _threads.set(threads)
            return threads

    def start(self, job: Job) -> None:
        """Give a job to a thread that has nothing else to do.

        Raises:
            RuntimeError: The system has no thread left.
        """

        if self._idle:
            with contextlib.suppress(IndexError):  # its thread has given up just now
                self._idle.pop().put(job)
                return

        # First the job: an interruption in between leaves no thread that waits for ever.
        inbox = Inbox()
        inbox.put(job)
        threading.Thread(target=self._run, args=(inbox,), name="ftpdata worker").start()

    def _run(self, inbox: Inbox) -> None:
        while True:
            try:
                job = inbox.get(timeout=IDLE)
            except queue.Empty:
                is_over = self._is_over()
                if self._withdraw(inbox) or is_over:
                    return
                continue

            if job is None:
                return

            try:
                job.work()
                self._idle.append(inbox)
            finally:
                self._finished.append(job)
                # Not to be kept: it may hold a block of a file.
                del job
                self._call_for_collection()

            if self._is_closed and self._withdraw(inbox):
                return

    def _call_for_collection(self) -> None:
        if not self._is_awaited:
            self._is_awaited = True
            loop = self._loop()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                if loop is not None:
                    loop.call_soon_threadsafe(self._collect)

    def _is_over(self) -> bool:
        """Whether the event loop has ended, in order or not. It is kept no longer then."""

        loop = self._loop()
        if loop is None or loop.is_closed():
            self._is_closed = True
            self._end = None
        return self._is_closed

    def _withdraw(self, inbox: Inbox) -> bool:
        """Take an inbox back; tell whether nothing was put into it."""

        try:
            self._idle.remove(inbox)
        except ValueError:
            return False
        return True

    def _collect(self) -> None:
        """Report what is finished, in the event loop."""

        # First: a thread that finishes from now on calls again.
        self._is_awaited = False
        try:
            while self._finished:
                self._finished.popleft().finished()
        finally:
            if self._finished:
                # The one that was woken up has ended the run of the event loop (KeyboardInterrupt).
                asyncio.get_running_loop().call_soon(self._collect)

    def _close(self) -> None:
        """End the threads that have nothing to do, and all others once they have done it."""

        self._is_closed = True
        # It holds the event loop.
        self._end = None
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().put(None)


_threads: anyio.lowlevel.RunVar[WorkerThreads] = anyio.lowlevel.RunVar("ftpdata.files._threads")
