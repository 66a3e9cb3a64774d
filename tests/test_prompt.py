"""A future can wake its waiter within the call that sets its result, on asyncio and uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

import anyio
import pytest

from ftpdata.lowlevel import PromptFuture

who: ContextVar[str] = ContextVar("who", default="nobody")


async def in_callback(call: Callable[[], object]) -> None:
    """Run a function as the event loop does, in a turn of its own outside of any task."""

    over = asyncio.get_running_loop().create_future()

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - it is the test's
            over.set_exception(error)
        else:
            over.set_result(None)

    asyncio.get_running_loop().call_soon(run)
    await over


async def test_the_waiter_goes_on_within_the_call() -> None:
    """The waiter's next step is done when the call returns, in its own context and task."""

    future: PromptFuture[str] = PromptFuture()
    seen: list[object] = []

    async def wait() -> None:
        who.set("waiter")
        seen.append(await future)
        seen.extend((who.get(), asyncio.current_task()))

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)

    def answer() -> None:
        future.set_prompt_result("now")
        assert seen == ["now", "waiter", task]
        assert asyncio.current_task() is None

    await in_callback(answer)
    await task


async def test_one_after_the_other() -> None:
    """A waiter that then waits for another future is woken by that one as promptly."""

    futures: list[PromptFuture[int]] = [PromptFuture() for _ in range(3)]
    seen: list[int] = []

    async def wait() -> None:
        for future in futures:
            number = await future
            seen.append(number)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)

    def answer() -> None:
        for number, future in enumerate(futures):
            future.set_prompt_result(number)
            assert len(seen) == number + 1

    await in_callback(answer)
    await task


async def test_within_a_task_it_is_a_future() -> None:
    """One task cannot run within another; the waiter has its turn later."""

    future: PromptFuture[int] = PromptFuture()
    seen: list[int] = []

    async def wait() -> None:
        seen.append(await future)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    future.set_prompt_result(1)
    assert seen == []
    await task
    assert seen == [1]


async def test_nobody_waits_yet() -> None:
    """The result stays available for a later waiter."""

    future: PromptFuture[int] = PromptFuture()
    await in_callback(lambda: future.set_prompt_result(7))
    assert await future == 7
    with pytest.raises(asyncio.InvalidStateError):
        future.set_prompt_result(8)


@pytest.mark.parametrize("how", ["task", "scope", "future", "timeout"])
async def test_it_is_cancelled_as_any_other(how: str) -> None:
    """However it is cancelled, the waiter notices, and a result that comes too late is refused."""

    future: PromptFuture[None] = PromptFuture()
    scope = anyio.CancelScope()
    ended: list[type[BaseException]] = []

    async def wait() -> None:
        try:
            with scope:
                async with asyncio.timeout(0.01 if how == "timeout" else None):
                    await future
        except BaseException as error:
            ended.append(type(error))
            raise

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    if how == "task":
        task.cancel()
    elif how == "scope":
        scope.cancel()
    elif how == "future":
        future.cancel()

    await asyncio.wait((task,))
    assert future.cancelled()
    expected = {"scope": [], "timeout": [TimeoutError]}.get(how, [asyncio.CancelledError])
    assert ended == expected
    assert task.cancelled() is (how in ("task", "future"))
    if not task.cancelled():
        task.exception()
    with pytest.raises(asyncio.InvalidStateError):
        await in_callback(lambda: future.set_prompt_result(None))


async def test_an_error_of_the_waiter_is_its_own() -> None:
    """The caller that sets the result does not see what the task raises."""

    future: PromptFuture[None] = PromptFuture()

    async def wait() -> None:
        await future
        raise ValueError("mine")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await in_callback(lambda: future.set_prompt_result(None))
    with pytest.raises(ValueError, match="mine"):
        await task


async def test_several_wait() -> None:
    """It is made for one waiter; of several, the last goes on at once, the others a turn later."""

    future: PromptFuture[int] = PromptFuture()
    seen: list[str] = []

    async def wait(name: str) -> None:
        await future
        seen.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in ("first", "last")]
    await asyncio.sleep(0)

    def answer() -> None:
        future.set_prompt_result(1)
        assert seen == ["last"]

    await in_callback(answer)
    await asyncio.gather(*tasks)
    assert seen == ["last", "first"]


async def test_a_task_that_waits_no_longer_is_not_woken() -> None:
    """A callback that was removed is not called."""

    future: PromptFuture[int] = PromptFuture()
    called: list[object] = []
    future.add_done_callback(called.append)
    assert future.remove_done_callback(called.append) == 1
    await in_callback(lambda: future.set_prompt_result(1))
    assert called == []
