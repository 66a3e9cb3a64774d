"""Cancels a scenario at each of its suspensions in turn."""

from __future__ import annotations

import asyncio
import os
import select
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, cast

__all__ = ["open_descriptors", "poll", "sweep"]


_HIGHEST_WATCHED_DESCRIPTOR = 2048


async def sweep(
    scenario: Callable[[], Coroutine[Any, Any, object]],
    *,
    check: Callable[[], object] | None = None,
    limit: int = 1000,
    patience: float = 5.0,
) -> int:
    """Cancel a scenario at its first suspension, then at its second, and so on.

    The scenario first runs once to its end. Each suspension is then cancelled in two
    ways: at the moment it begins, and at the moment when its result is there but the
    scenario has not yet gone on, where a result is lost most easily. After each run
    no new task or file descriptor may be left, and the cancellation must have come
    through. (Python 3.11's `asyncio.wait_for` swallows it at the second of these
    moments; `asyncio.timeout` does not.)

    Args:
        scenario: Makes a coroutine that runs the whole scenario from scratch.
        check: Called after each run; raises, or returns an awaitable that does.
        limit: Number of suspensions at which the sweep gives up.
        patience: Seconds for each run, and for its tasks and descriptors to go away.

    Returns:
        How many suspensions there were.

    Raises:
        AssertionError: A task or descriptor is left, the cancellation was swallowed,
            or the run did not end; names the suspension.
    """

    # This shows that the scenario works, and lets the loop open descriptors of its own.
    await asyncio.wait_for(scenario(), patience)
    suspensions = 0
    for at_wakeup in (False, True):
        for k in range(1, limit + 2):
            assert k <= limit, f"the scenario is not at its end after {limit} suspensions"
            moment = f"cancelled at suspension {k}" + (", when it was over" if at_wakeup else "")
            if not await _cancel_once(scenario, k, at_wakeup, moment, patience):
                suspensions = max(suspensions, k - 1)
                break

            outcome = check() if check is not None else None
            if isinstance(outcome, Awaitable):
                await outcome

    return suspensions


async def _cancel_once(
    scenario: Callable[[], Coroutine[Any, Any, object]],
    k: int,
    at_wakeup: bool,
    moment: str,
    patience: float,
) -> bool:
    """Run the scenario, cancelled at its k-th suspension; return whether it had one."""

    tasks_before = asyncio.all_tasks()
    descriptors_before = open_descriptors()
    stepper = _Stepper(scenario(), k, at_wakeup)
    task = asyncio.ensure_future(stepper.run())
    stepper.task = task
    done, _ = await asyncio.wait((task,), timeout=patience)
    if not done:
        task.cancel()
        await asyncio.wait((task,), timeout=patience)
        raise AssertionError(f"{moment}: did not end within {patience:g} s")

    left: set[object] = set()

    def is_clean() -> bool:
        left.clear()
        left.update(asyncio.all_tasks() - tasks_before)
        left.update(f"descriptor {fd}" for fd in open_descriptors() - descriptors_before)
        return not left

    del done
    if not task.cancelled() and (not stepper.has_cancelled or task.exception() is not None):
        task.result()

    assert task.cancelled() or not stepper.has_cancelled, f"{moment}: swallowed the cancellation"
    assert await poll(is_clean, patience), f"{moment}: left behind {sorted(map(str, left))}"
    return stepper.has_cancelled


class _Stepper:
    """Drives a coroutine and counts how often it suspends."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], k: int, at_wakeup: bool) -> None:
        self.task: asyncio.Task[object] | None = None
        self.has_cancelled = False
        self._coroutine = coroutine
        self._k = k
        self._at_wakeup = at_wakeup

    async def run(self) -> object:
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
        self._k -= 1
        if self._k != 0:
            return

        assert self.task is not None
        if not self._at_wakeup:
            self.has_cancelled = True
            self.task.cancel()
        elif waited_for is None:
            asyncio.get_running_loop().call_soon(self._cancel)
        else:
            # It is added before the task's own callback, and so called before the task goes on.
            waited_for.add_done_callback(self._cancel)

    def _cancel(self, _: object = None) -> None:
        assert self.task is not None
        if not self.task.done():
            self.has_cancelled = True
            self.task.cancel()


def _throw(coroutine: Coroutine[Any, Any, object], error: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(error)


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

        # First run the loop for conditions that need only that; then sleep for those that
        # need a thread.
        turns += 1
        await asyncio.sleep(0 if turns % 64 else 0.001)

    return True
