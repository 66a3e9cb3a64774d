"""Runs one async test in a new event loop, and fails it if it leaves tasks on the loop."""

from __future__ import annotations

import asyncio
import math
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

try:
    import uvloop
except ImportError:  # Windows, and Python implementations other than CPython.
    UVLOOP_FACTORY = None
else:
    UVLOOP_FACTORY = uvloop.new_event_loop

__all__ = [
    "EAGER_TASKS",
    "LOOP_FACTORIES",
    "factory_of",
    "run_in_new_loop",
    "start_tasks_eagerly",
    "warm_up",
]

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

LOOP_FACTORIES: dict[str, LoopFactory | None] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": UVLOOP_FACTORY,
}
"""The value is None if a loop is not installed."""


def factory_of(name: str) -> LoopFactory:
    """Return what makes an event loop; skip the test if it is not installed."""

    factory = LOOP_FACTORIES[name]
    if factory is None:
        pytest.skip(f"{name} is not installed")
    return factory


EAGER_TASKS = sys.version_info >= (3, 12)
"""Whether this Python has tasks that run until their first wait where they are made."""


def start_tasks_eagerly() -> None:
    """Let every task that is made from now on, in the loop that runs, start at once."""

    def make(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        # uvloop passes what `asyncio.eager_task_factory` of some versions of Python does not take.
        return asyncio.Task(coroutine, loop=loop, **{**options, "eager_start": True})

    factory: Any = make
    asyncio.get_running_loop().set_task_factory(factory)


_MISREADS_FRAMES = sys.version_info >= (3, 13)
"""Whether uvloop, in debug mode, may crash while it records where a callback was made: at the
finalizer of an asynchronous generator (its issues 715 and 730); and, since `sys._getframe` of
Python 3.15 gives a thread that runs no Python a frame without code, in `call_soon_threadsafe` from
such a thread, so that what it was to tell is lost."""

# A transport or task that was closed or cancelled ends within a few rounds of the loop.
_SETTLING_ROUNDS = 10


async def _run_and_settle(test: Coroutine[Any, Any, object]) -> None:
    """Run the test; fail if it leaves tasks that do not end by themselves."""

    await test
    for _ in range(_SETTLING_ROUNDS):
        if len(asyncio.all_tasks()) == 1:
            return

        await asyncio.sleep(0)

    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        pytest.fail("the test left tasks behind:\n" + "\n".join(f"  {task!r}" for task in left))


def run_in_new_loop(loop_name: str, test: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine to its end in a new loop, in debug mode if that works.

    Args:
        loop_name: A key of `LOOP_FACTORIES`.
        test: The coroutine.
    """

    debug = loop_name == "asyncio" or not _MISREADS_FRAMES
    runner = asyncio.Runner(debug=debug, loop_factory=LOOP_FACTORIES[loop_name])
    loop = runner.get_loop()
    # On a busy machine any callback may be slow: a warning of that must not appear in the log.
    loop.slow_callback_duration = math.inf
    main: asyncio.Task[None] | None = None
    stopped_by: list[BaseException] = []

    def on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # The timeout of a test is raised wherever Python code runs, perhaps in a callback, whose
        # exceptions asyncio catches. It must end the test all the same.
        exception = context.get("exception")
        if isinstance(exception, pytest.fail.Exception) and main is not None:
            stopped_by.append(exception)
            main.cancel()
        else:
            loop.default_exception_handler(context)

    async def main_coroutine() -> None:
        nonlocal main
        main = asyncio.current_task()
        await _run_and_settle(test)

    loop.set_exception_handler(on_exception)
    try:
        runner.run(main_coroutine())
    except asyncio.CancelledError:
        if stopped_by:
            raise stopped_by[0] from None
        raise
    finally:
        # uvloop warns of open handles while it closes. As an exception, the warning would keep it
        # from closing them, and it would wait for them for ever.
        with warnings.catch_warnings(record=True) as unclosed:
            warnings.simplefilter("always")
            runner.close()

    if unclosed:
        pytest.fail("\n".join(str(warning.message) for warning in unclosed))


def warm_up() -> None:
    """Make every loop once: with the first loop, libuv opens a pipe that it never closes."""

    for make in LOOP_FACTORIES.values():
        if make is not None:
            make().close()
