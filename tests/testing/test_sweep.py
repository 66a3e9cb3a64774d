"""A sweep cancels at every suspension, and finds what is left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from ftpdata.testing import sweep
from tests.harness.waiting import turns


async def test_a_sweep_counts_the_suspensions() -> None:
    """A correct scenario passes at each suspension."""

    runs = 0
    ended: list[bool] = []

    async def scenario() -> None:
        nonlocal runs
        runs += 1
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            async with asyncio.timeout(60):
                await asyncio.sleep(0.001)
        finally:
            ended.append(True)

    assert await sweep(scenario, check=lambda: ended.append(False)) == 3
    # One run is undisturbed; then for each kind three are cancelled and one is not.
    assert runs == 1 + 2 * 4
    assert ended.count(True) == runs


async def _leaves_a_task(left: list[Any]) -> None:
    left.append(asyncio.ensure_future(asyncio.sleep(0.2)))
    await asyncio.sleep(0.001)
    left.pop().cancel()


async def _leaves_a_socket(left: list[Any]) -> None:
    left.append(socket.socket())
    await asyncio.sleep(0)
    left.pop().close()


async def _swallows(left: list[Any]) -> None:
    try:
        await asyncio.sleep(0.001)
    except asyncio.CancelledError:
        return


async def _hangs(left: list[Any]) -> None:
    try:
        await asyncio.sleep(0.001)
    except asyncio.CancelledError:
        await asyncio.sleep(1)
        raise


async def _fails(left: list[Any]) -> None:
    try:
        await asyncio.sleep(0.001)
    finally:
        if asyncio.current_task().cancelling():  # type: ignore[union-attr]
            raise AssertionError("a failure of its own")


@pytest.mark.parametrize(
    ("scenario", "complaint"),
    [
        (_leaves_a_task, "suspension 1: left behind"),
        (_leaves_a_socket, "suspension 1: left behind .*descriptor"),
        (_swallows, "suspension 1: swallowed"),
        (_hangs, "suspension 1: did not end"),
        (_fails, "a failure of its own"),
    ],
)
async def test_a_sweep_finds_what_is_wrong(
    scenario: Callable[[list[Any]], Any], complaint: str
) -> None:
    """It names tasks, sockets, a swallowed cancellation, a hang or an error, with the place."""

    left: list[Any] = []
    with pytest.raises(AssertionError, match=complaint):
        await sweep(lambda: scenario(left), patience=0.05)
    for thing in left:
        if isinstance(thing, socket.socket):
            thing.close()
        else:
            thing.cancel()

    await turns()


async def test_a_sweep_finds_a_result_that_is_lost_on_the_way() -> None:
    """A cancellation between completion and resumption forgets what was made."""

    left: list[socket.socket] = []

    async def scenario() -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def complete() -> None:
            if not ready.cancelled():
                left.append(socket.socket())
                ready.set_result(None)

        asyncio.get_running_loop().call_soon(complete)
        await ready
        left.pop().close()

    with pytest.raises(AssertionError, match="suspension 1, when it was over: left behind"):
        await sweep(scenario, patience=0.05)
    left.pop().close()


async def test_a_sweep_has_a_limit_and_checks() -> None:
    """A scenario without an end is reported, and so is a check that fails."""

    async def long() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="after 5 suspensions"):
        await sweep(long, limit=5)

    async def check() -> None:
        raise AssertionError("file left")

    with pytest.raises(AssertionError, match="file left"):
        await sweep(long, check=check)
