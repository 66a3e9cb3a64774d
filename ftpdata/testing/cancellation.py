"""Cancels a scenario at each of its suspensions in turn."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import itertools
import os
import select
import socket
import stat
import threading
import types
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator
from pathlib import Path
from typing import Any, cast

import attrs

__all__ = [
    "POOLED_THREADS",
    "describe_descriptors",
    "describe_task",
    "matches",
    "open_descriptors",
    "poll",
    "sweep",
]


_HIGHEST_WATCHED_DESCRIPTOR = 2048

_FAST_TURNS = 64

POOLED_THREADS = (
    *("thread AnyIO worker thread*", "thread asyncio_*", "thread uvloop_*"),
    "thread ftpdata worker*",
)
"""What every sweep may leave: threads that wait for more work, and end with the loop or later."""


async def sweep(
    scenario: Callable[[], Coroutine[Any, Any, object]],
    *,
    check: Callable[[], object] | None = None,
    limit: int = 1000,
    patience: float = 5.0,
    twice: bool = False,
    disturb: Callable[[], object] | None = None,
    directories: Collection[str | os.PathLike[str]] = (),
    may_leave: Collection[str] = (),
) -> int:
    """Cancel a scenario at its first suspension, then at its second, and so on.

    The scenario first runs once to its end. Each suspension is then cancelled in two
    ways: at the moment it begins, and at the moment when its result is there but the
    scenario has not yet gone on, where a result is lost most easily. After each run
    no new task, file descriptor, thread or file may be left, and the cancellation must
    have come through. (Python 3.11's `asyncio.wait_for` swallows it at the second of
    these moments; `asyncio.timeout` does not.)

    What is left has one line each, by which it is also allowed::

        task NAME: COROUTINE
        descriptor NUMBER: TARGET
        thread NAME
        file PATH

    TARGET is what ``/proc/self/fd`` tells, where there is that, and the addresses of a
    socket. To allow ``.part`` files, say ``may_leave=["file *.part"]``.

    Args:
        scenario: Makes a coroutine that runs the whole scenario from scratch.
        check: Called after each run; raises, or returns an awaitable that does.
        limit: Number of suspensions at which the sweep gives up.
        patience: Seconds for each run, and for what it leaves to go away.
        twice: Whether a run that is cancelled at one suspension is also cancelled a second
            time, at each suspension that it has after that: where it cleans up.
        disturb: Called just before each cancellation, in the same turn of the loop: to let
            a peer reset its connection at that moment, say.
        directories: Directories in which no run may leave a new file, at any depth. What
            the first run has left there may stay.
        may_leave: Patterns of what a run may leave on purpose, as `fnmatch` has them. The
            `POOLED_THREADS` are allowed in any case.

    Returns:
        How many suspensions there were.

    Raises:
        AssertionError: Something is left, the cancellation was swallowed, or the run did
            not end; names the suspension, and everything that is left.
    """

    await asyncio.wait_for(_listen_once(), patience)
    # This shows that the scenario works.
    await asyncio.wait_for(scenario(), patience)
    roots = [Path(directory) for directory in directories]
    allowed = (*POOLED_THREADS, *may_leave)
    suspensions = 0

    async def run(cancellations: tuple[int, ...], *, at_wakeup: bool) -> int:
        # No `assert` here and below: pytest would add words of its own.
        if max(cancellations) > limit:
            raise AssertionError(f"the scenario is not at its end after {limit} suspensions")

        held = await _Holdings.now(roots)
        stepper = _Stepper(scenario(), cancellations, at_wakeup=at_wakeup, disturb=disturb)
        moment = f"cancelled at suspension {cancellations[0]}"
        moment += "".join(f", again {later} later" for later in cancellations[1:])
        moment += ", when it was over" if at_wakeup else ""
        await _run(stepper, moment, patience)
        left = await held.left(patience, allowed)
        if left:
            raise AssertionError(f"{moment}: left behind\n" + "\n".join(left))
        if stepper.cancelled:
            outcome = check() if check is not None else None
            if isinstance(outcome, Awaitable):
                await outcome
        return stepper.cancelled

    for at_wakeup in (False, True):
        for k in itertools.count(1):
            if not await run((k,), at_wakeup=at_wakeup):
                suspensions = max(suspensions, k - 1)
                break

            if twice:
                again = itertools.count(1)
                while await run((k, next(again)), at_wakeup=at_wakeup) > 1:
                    pass

    return suspensions


async def _listen_once() -> None:
    """Listen, and stop it: with its first stream, a loop may open descriptors of its own.

    uvloop keeps one of ``/dev/null`` in reserve. Which run of a scenario has the first stream
    depends on the moment.
    """

    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    server.close()
    await server.wait_closed()


async def _run(stepper: _Stepper, moment: str, patience: float) -> None:
    """Run a scenario to its end, and check that the cancellation came through."""

    task = asyncio.ensure_future(stepper.run())
    done, _ = await asyncio.wait((task,), timeout=patience)
    if not done:
        task.cancel()
        await asyncio.wait((task,), timeout=patience)
        raise AssertionError(f"{moment}: did not end within {patience:g} s")

    if not task.cancelled() and (not stepper.cancelled or task.exception() is not None):
        task.result()

    if stepper.cancelled and not task.cancelled():
        raise AssertionError(f"{moment}: swallowed the cancellation")


class _Stepper:
    """Drives a coroutine, and cancels its task when it suspends.

    Args:
        coroutine: What to drive.
        cancellations: At which suspension; then how many suspensions later, and so on.
        at_wakeup: Whether the cancellation comes when the coroutine has what it waits for.
        disturb: Called before each cancellation.

    Attributes:
        cancelled: How often the task was cancelled.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, object],
        cancellations: tuple[int, ...],
        *,
        at_wakeup: bool,
        disturb: Callable[[], object] | None,
    ) -> None:
        self.cancelled = 0
        self._task: asyncio.Task[object] | None = None
        self._coroutine = coroutine
        self._next, *self._later = cancellations
        self._at_wakeup = at_wakeup
        self._disturb = disturb

    async def run(self) -> object:
        # An eager task runs before whoever has made it can tell which it is.
        self._task = asyncio.current_task()
        return await self._steps()

    @types.coroutine
    def _steps(self) -> Generator[Any, Any, object]:
        send: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                waited_for = send()
            except StopIteration as stop:
                return cast("object", stop.value)

            self._suspended(waited_for)
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 - the coroutine must have it
                send = _throw(self._coroutine, error)
            else:
                send = lambda: self._coroutine.send(None)  # noqa: E731

    def _suspended(self, waited_for: Any) -> None:
        self._next -= 1
        if self._next != 0:
            return

        if self._later:
            self._next = self._later.pop(0)
        if not self._at_wakeup:
            self._cancel()
        elif waited_for is None:
            asyncio.get_running_loop().call_soon(self._cancel)
        else:
            # It is added before the task's own callback, and so called before the task goes on.
            waited_for.add_done_callback(self._cancel)

    def _cancel(self, _: object = None) -> None:
        assert self._task is not None
        if not self._task.done():
            self.cancelled += 1
            if self._disturb is not None:
                self._disturb()
            self._task.cancel()


def _throw(coroutine: Coroutine[Any, Any, object], error: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(error)


@attrs.frozen
class _Holdings:
    """What there is at one moment, of what may be left."""

    roots: list[Path]
    tasks: set[asyncio.Task[Any]]
    descriptors: set[int]
    threads: set[threading.Thread]
    files: set[Path]

    @classmethod
    async def now(cls, roots: list[Path]) -> _Holdings:
        """Look at what there is now."""

        files = await asyncio.to_thread(_files, roots) if roots else set()
        threads = set(threading.enumerate())
        return cls(roots, asyncio.all_tasks(), open_descriptors(), threads, files)

    async def left(self, patience: float, allowed: Collection[str]) -> list[str]:
        """Wait until nothing is new but what is allowed; else describe it, one line each."""

        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        for turn in itertools.count():
            left = [line for line in await self._new() if not matches(line, allowed)]
            if not left or loop.time() >= deadline:
                return sorted(left)
            # First run the loop, for what needs only that; then sleep, for what needs a thread.
            await asyncio.sleep(0 if turn < _FAST_TURNS else 0.001)

        raise AssertionError("unreachable")

    async def _new(self) -> list[str]:
        """Describe everything that was not there before."""

        new = [describe_task(task) for task in asyncio.all_tasks() - self.tasks]
        threads = set(threading.enumerate()) - self.threads
        new += [f"thread {thread.name}" for thread in threads if thread.is_alive()]
        if descriptors := open_descriptors() - self.descriptors:
            new += await asyncio.to_thread(describe_descriptors, descriptors)
        if self.roots:
            files = await asyncio.to_thread(_files, self.roots)
            new += [f"file {path}" for path in files - self.files]

        return new


def matches(line: str, patterns: Collection[str]) -> bool:
    """Whether one of the patterns allows what a line describes."""

    return any(fnmatch.fnmatchcase(line, pattern) for pattern in patterns)


def describe_task(task: asyncio.Task[Any]) -> str:
    """Describe a task in a line, for `matches`."""

    coroutine = task.get_coro()
    return f"task {task.get_name()}: {getattr(coroutine, '__qualname__', coroutine)}"


def describe_descriptors(descriptors: set[int]) -> list[str]:
    """Describe descriptors in a line each, for `matches`."""

    return [f"descriptor {number}: {_target(number)}" for number in sorted(descriptors)]


def _target(descriptor: int) -> str:
    """Describe what a descriptor is of; a socket with its addresses, to find who has opened it."""

    target = "unknown"
    with contextlib.suppress(OSError):
        target = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            with socket.socket(fileno=os.dup(descriptor)) as copy:
                target += f", bound to {copy.getsockname()}"
                target += f", connected to {copy.getpeername()}"

    return target


def _files(roots: list[Path]) -> set[Path]:
    return {
        Path(directory, name)
        for root in roots
        for directory, directories, files in os.walk(root)
        for name in (*directories, *files)
    }


def open_descriptors() -> set[int]:
    """Find the open file descriptors with one system call; none if the system has no such call."""

    if not hasattr(select, "poll"):
        return set()

    # The system refuses to answer for more descriptors than it would let us open.
    watched = range(min(_HIGHEST_WATCHED_DESCRIPTOR, os.sysconf("SC_OPEN_MAX")))
    poller = select.poll()
    for descriptor in watched:
        poller.register(descriptor, 0)

    closed = {descriptor for descriptor, event in poller.poll(0) if event & select.POLLNVAL}
    return set(watched) - closed


async def poll(condition: Callable[[], bool], patience: float) -> bool:
    """Run the loop until the condition holds, for `patience` seconds at most."""

    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    turns = 0
    while not condition():
        if loop.time() >= deadline:
            return False

        # Most turns only run the loop; now and then one sleeps, for conditions that need a thread.
        turns += 1
        await asyncio.sleep(0 if turns % _FAST_TURNS else 0.001)

    return True
