"""Calls in worker threads: what a caller waits for, what is withdrawn, who cleans up."""

from __future__ import annotations

import asyncio
import contextvars
import io
import threading
from typing import BinaryIO

import anyio
import anyio.from_thread
import pytest

from ftpdata.files import _workers as workers
from ftpdata.files._object_target import FileObjectTarget
from ftpdata.files._workers import WorkerCalls, default_limiter
from ftpdata.files.source import FileSource
from tests.harness.seams import Gate, cancelled
from tests.harness.waiting import until


async def test_a_call_runs_in_a_thread() -> None:
    """Its result comes back, and so does its error."""

    calls = WorkerCalls()
    assert await calls.run(threading.current_thread) is not threading.current_thread()
    with pytest.raises(FileNotFoundError):
        await calls.run(lambda: open("/nonexistent"))  # noqa: PTH123, SIM115


@pytest.mark.parametrize("calls_back", [False, True])
async def test_a_call_has_the_context_of_its_caller(calls_back: bool) -> None:
    """It sees the variables of its caller; what it sets stays its own."""

    variable = contextvars.ContextVar("variable", default="nobody's")
    variable.set("caller's")

    def work() -> str:
        value = variable.get()
        variable.set("thread's")
        return value

    assert await WorkerCalls(calls_back=calls_back).run(work) == "caller's"
    assert variable.get() == "caller's"


async def test_code_of_the_caller_may_call_back_into_the_event_loop() -> None:
    """This is for file objects above all, whose other side may be anything asynchronous."""

    loop = asyncio.get_running_loop()

    async def where() -> object:
        return asyncio.get_running_loop()

    calls = WorkerCalls(calls_back=True)
    assert await calls.run(lambda: anyio.from_thread.run(where)) is loop

    taken: list[bytes] = []

    async def give(count: int) -> bytes:
        return bytes(count)

    async def take(data: bytes) -> None:
        taken.append(data)

    class Bridge(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            return anyio.from_thread.run(give, size)

        def write(self, data: object, /) -> int:
            block = bytes(data)  # type: ignore[call-overload]
            anyio.from_thread.run(take, block)
            return len(block)

    bridge: BinaryIO = Bridge()  # type: ignore[assignment]
    source = await FileSource.open(bridge)
    assert await source.read(3) == bytes(3)
    source.close()
    await FileObjectTarget(bridge, None).write(b"abc")
    assert taken == [b"abc"]


async def test_what_is_short_needs_no_thread_without_a_disk() -> None:
    """Both conditions must hold."""

    calls = WorkerCalls()
    here = threading.current_thread()
    assert await calls.run(threading.current_thread, is_short=True) is not here
    calls.lives_in_memory = True
    assert await calls.run(threading.current_thread, is_short=True) is here
    assert await calls.run(threading.current_thread) is not here


async def test_a_store_with_a_limiter_of_its_own_starves_nobody() -> None:
    """While every thread of one store hangs, another goes on."""

    slow, gate = anyio.CapacityLimiter(1), Gate()
    task = asyncio.create_task(WorkerCalls(slow).run(gate))
    await gate.entered()
    assert await WorkerCalls().run(lambda: 1) == 1
    assert slow.borrowed_tokens == 1
    gate.open()
    assert await task == "done"


async def test_there_is_one_limiter_for_those_without_their_own() -> None:
    """Of the event loop: the threads of all stores together are bounded."""

    assert default_limiter() is default_limiter()
    assert default_limiter().total_tokens == workers.DEFAULT_THREADS
    gate = Gate()
    task = asyncio.create_task(WorkerCalls().run(gate))
    await gate.entered()
    assert default_limiter().borrowed_tokens == 1
    gate.open()
    await task


async def test_cancellation_waits_for_the_thread() -> None:
    """A second cancellation waits, too."""

    gate = Gate()
    task = asyncio.create_task(WorkerCalls().run(gate))
    await gate.entered()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gate.is_over


async def test_a_call_without_a_thread_is_withdrawn() -> None:
    """Once its caller is cancelled it does not run, not even later."""

    limiter, done = anyio.CapacityLimiter(1), list[int]()
    calls = WorkerCalls(limiter)
    async with limiter:
        task = asyncio.create_task(calls.run(lambda: done.append(1)))
        await until(lambda: limiter.statistics().tasks_waiting == 1)
        await cancelled(task)
        assert not calls.defer(lambda: done.append(2))
    await calls.run(lambda: None)
    assert not done


async def test_a_thread_that_hangs_cleans_up_after_itself(impatient: None) -> None:
    """Nobody waits for it, and nothing is cleaned up under it. An error there is nobody's."""

    calls, gate, order = WorkerCalls(), Gate(), list[object]()

    def clean_up(number: int) -> None:
        order.append((number, gate.is_over))
        raise OSError

    task = asyncio.create_task(calls.run(gate))
    await gate.entered()
    await cancelled(task)
    assert calls.defer(lambda: clean_up(1))
    await calls.clean_up(lambda: clean_up(2))
    assert not order
    gate.open()
    await until(lambda: order == [(1, True), (2, True)])


async def test_who_cleans_up_when_nothing_runs() -> None:
    """The caller cleans up, or a thread, which logs an error."""

    calls = WorkerCalls()
    await calls.run(lambda: None)
    assert not calls.defer(lambda: None)

    def fail() -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        await calls.clean_up(fail)


@pytest.mark.parametrize("at_once", [False, True])
async def test_cleaning_up_does_not_depend_on_a_free_thread(at_once: bool) -> None:
    """After a cancellation it is done in a thread of its own, once, and somebody waits for it."""

    limiter, done = anyio.CapacityLimiter(1), list[threading.Thread]()
    calls = WorkerCalls(limiter)

    def clean_up() -> None:
        done.append(threading.current_thread())

    async with limiter:
        if at_once:
            await calls.clean_up(clean_up, at_once=True)
        else:
            task = asyncio.create_task(calls.clean_up(clean_up))
            await until(lambda: limiter.statistics().tasks_waiting == 1)
            await cancelled(task)
        assert len(done) == 1
        assert done[0] is not threading.current_thread()


async def test_what_a_call_has_made_is_not_kept() -> None:
    """It may be large, and a peer may stall."""

    calls = WorkerCalls()
    await calls.run(lambda: bytes(1000))
    assert calls._last is None
