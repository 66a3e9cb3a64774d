"""Some tasks end before their owner goes on, however often the owner is cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from ftpdata._tasks import finish_despite_cancellation, give_up


def own_task() -> asyncio.Task[Any]:
    """Return the task of the test."""

    task = asyncio.current_task()
    assert task is not None
    return task


async def _note(log: list[str], *, gate: asyncio.Event | None = None) -> None:
    if gate is not None:
        await gate.wait()
    log.append("done")


async def test_the_last_thing_is_done_although_cancelled() -> None:
    """It is done even if its owner is cancelled twice; then the cancellation is raised."""

    log: list[str] = []
    gate = asyncio.Event()
    task = asyncio.create_task(finish_despite_cancellation(_note(log, gate=gate), 10.0))
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()

    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert log == ["done"]


async def test_the_last_thing_is_given_up_in_the_end() -> None:
    """It is cancelled when its time is over, and that is not an error."""

    log: list[str] = []
    await finish_despite_cancellation(_note(log, gate=asyncio.Event()), 0.01)
    assert log == []


@pytest.mark.parametrize("cancel", [True, False])
async def test_the_last_thing_fails(cancel: bool) -> None:
    """Its error is raised, unless the owner was cancelled: then the cancellation is."""

    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        raise KeyError("failed")

    task = asyncio.create_task(finish_despite_cancellation(work(), None))
    await asyncio.sleep(0)
    if cancel:
        task.cancel()
        await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError if cancel else KeyError):
        await task


async def test_the_last_thing_in_a_cancelled_scope_of_anyio() -> None:
    """It is done although anyio cancels again at every turn, and the loop is not kept busy."""

    log: list[str] = []
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    turns = 0

    def open_gate() -> None:
        nonlocal turns
        turns = steps
        gate.set()

    steps = 0

    async def count() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0.001)

    counter = asyncio.create_task(count())
    with anyio.CancelScope() as scope:
        scope.cancel()
        loop.call_later(0.02, open_gate)
        await finish_despite_cancellation(_note(log, gate=gate), None)

    counter.cancel()
    assert log == ["done"]
    assert turns


async def test_tasks_that_are_given_up_end_together() -> None:
    """All of them have ended, and nobody is told of what they raise, although this is cancelled."""

    gate = asyncio.Event()

    async def fail() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await gate.wait()
            raise ValueError("nobody's")

    tasks = [asyncio.create_task(fail()) for _ in range(3)]
    await asyncio.sleep(0)
    owner = asyncio.create_task(give_up(*tasks))
    await asyncio.sleep(0)
    owner.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert all(task.done() for task in tasks)
