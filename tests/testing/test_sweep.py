"""A sweep cancels at every suspension, and finds what is left."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpdata.testing import sweep
from tests.harness.loops import EAGER_TASKS, start_tasks_eagerly
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


async def test_what_a_loop_opens_with_its_first_stream_is_not_left_by_a_scenario() -> None:
    """Which run has the first one depends on the moment; uvloop then opens a reserve."""

    runs = 0

    async def scenario() -> None:
        nonlocal runs
        runs += 1
        if runs > 1:
            ours, theirs = socket.socketpair()
            with theirs:
                _, writer = await asyncio.open_connection(sock=ours)
                writer.close()
                await asyncio.sleep(0)
        await asyncio.sleep(0)

    await sweep(scenario, patience=2.0)


async def _leaves_a_task(left: list[Any]) -> None:
    left.append(asyncio.ensure_future(asyncio.sleep(3600)))
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
        (_leaves_a_task, "suspension 1: left behind\ntask Task-[0-9]+: sleep$"),
        (_leaves_a_socket, r"suspension 1: left behind\ndescriptor \d+: .*\('0.0.0.0', 0\)$"),
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


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
async def test_a_sweep_finds_threads_and_files_and_names_them(tmp_path: Path) -> None:
    """At any depth; not those that were there before."""

    (tmp_path / "old").mkdir()
    is_over = threading.Event()
    runs = 0

    async def scenario() -> None:
        nonlocal runs
        runs += 1
        thread = threading.Thread(target=is_over.wait, name="the thread")
        if runs > 1:
            (tmp_path / "old" / "the file").touch()
            thread.start()
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="suspension 1: left behind") as failed:
        await sweep(scenario, patience=0.2, directories=[tmp_path])
    is_over.set()
    assert str(failed.value).splitlines()[1:] == [
        f"file {tmp_path / 'old' / 'the file'}", "thread the thread",
    ]


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
async def test_what_is_allowed_may_be_left(tmp_path: Path) -> None:
    """Each kind by its own pattern, and nothing beside it."""

    sockets: list[socket.socket] = []
    is_over, is_done = threading.Event(), asyncio.Event()

    async def scenario() -> None:
        sockets.append(socket.socket())
        (tmp_path / f"part {len(sockets)}").touch()
        threading.Thread(target=is_over.wait, name="mine").start()
        task = asyncio.get_running_loop().create_task(is_done.wait(), name="background")
        assert task is not None
        await asyncio.sleep(0)

    everything = ["task background: *", "descriptor *", "thread mine", f"file {tmp_path}/part *"]
    try:
        assert await sweep(scenario, directories=[tmp_path], may_leave=everything) == 1
        for missing in everything:
            allowed = [pattern for pattern in everything if pattern != missing]
            with pytest.raises(AssertionError, match="left behind") as failed:
                await sweep(scenario, patience=0.2, directories=[tmp_path], may_leave=allowed)
            kinds = {line.split()[0] for line in str(failed.value).splitlines()[1:]}
            assert kinds == {missing.split()[0]}
    finally:
        is_over.set()
        is_done.set()
        for opened in sockets:
            opened.close()
        await turns()


async def test_a_sweep_cancels_a_second_time_where_the_scenario_cleans_up() -> None:
    """A cleaning that the second cancellation interrupts is found; one that holds is not."""

    left: list[socket.socket] = []

    async def scenario(*, holds: bool) -> None:
        opened = socket.socket()
        left.append(opened)
        try:
            await asyncio.sleep(0)
        finally:
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if holds:
                    opened.close()
                raise
            opened.close()

    assert await sweep(lambda: scenario(holds=True), twice=True) == 3
    with pytest.raises(AssertionError, match="suspension 1, again 1 later: left behind"):
        await sweep(lambda: scenario(holds=False), twice=True, patience=0.05)
    for opened in left:
        opened.close()


async def test_a_sweep_disturbs_in_the_turn_of_each_cancellation() -> None:
    """Before it; once for each cancellation."""

    events: list[str] = []

    async def scenario() -> None:
        events.append("run")
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    assert await sweep(scenario, disturb=lambda: events.append("disturbed")) == 1
    cancelled = ["run", "disturbed", "cancelled"]
    assert events == ["run", *cancelled, "run", *cancelled, "run"]


@pytest.mark.skipif(not EAGER_TASKS, reason="tasks are eager from Python 3.12 on")
async def test_a_sweep_of_eager_tasks() -> None:
    """The first suspension comes before there is a task to hand out."""

    start_tasks_eagerly()
    cancelled = 0

    async def scenario() -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            cancelled += 1
            raise

    assert await sweep(scenario) == 2
    assert cancelled == 4


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
