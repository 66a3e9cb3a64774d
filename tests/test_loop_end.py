"""A function that is called at the end of an event loop, or some time before."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

import pytest

from ftpdata._loop_end import LastCall
from tests.harness.leaks import collect
from tests.harness.loops import LOOP_FACTORIES, factory_of

LOOPS = pytest.mark.parametrize("runs_on", LOOP_FACTORIES)


def run(runs_on: str, main: Callable[[], object]) -> None:
    """Run a function in a new event loop, which is ended in order."""

    async def work() -> None:
        main()
        await asyncio.sleep(0)

    with asyncio.Runner(debug=True, loop_factory=factory_of(runs_on)) as runner:
        runner.run(work())


@LOOPS
def test_it_is_called_as_the_loop_ends(runs_on: str) -> None:
    """Once; what the function schedules for the next turn is done, too."""

    calls: list[str] = []
    kept: list[LastCall] = []

    def call() -> None:
        calls.append("call")
        asyncio.get_running_loop().call_soon(calls.append, "next turn")

    run(runs_on, lambda: kept.append(LastCall(call)))
    assert calls == ["call", "next turn"]
    kept[0].cancel()
    assert calls == ["call", "next turn"]


@LOOPS
@pytest.mark.parametrize("after", [None, 300.0])
def test_it_can_be_cancelled(runs_on: str, after: float | None) -> None:
    """As often as one likes, also in the function itself."""

    calls: list[str] = []
    kept: list[LastCall] = []

    def main() -> None:
        kept.append(LastCall(lambda: calls.append("cancelled"), after=after))
        kept[0].cancel()
        kept[0].cancel()
        kept.append(LastCall(call, after=after))

    def call() -> None:
        calls.append("called")
        kept[1].cancel()

    run(runs_on, main)
    assert calls == ["called"]


async def test_it_is_called_after_its_time() -> None:
    """And not once more at the end."""

    called = asyncio.Event()
    last = LastCall(called.set, after=0)
    await called.wait()
    called.clear()
    last.cancel()
    assert not called.is_set()


@LOOPS
def test_a_loop_that_is_only_closed_calls_nobody_and_is_not_kept(runs_on: str) -> None:
    """Nothing but the object itself holds what it is to call."""

    calls: list[str] = []
    loop = factory_of(runs_on)()

    async def main() -> LastCall:
        return LastCall(lambda: calls.append("call"), after=300)

    last = loop.run_until_complete(main())
    loop.close()
    known = weakref.ref(last)
    gone = weakref.ref(loop)
    del last, loop
    collect()
    assert known() is None
    assert gone() is None
    assert calls == []
