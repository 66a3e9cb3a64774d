"""Sessions in event loops whose ready queue is shuffled: what is said does not depend on the order.

Each order has a seed, and is named by it: ``--seeds 100`` tries more of them, and
``--first-seed 4711`` begins with another one.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.harness.shuffled import ShuffledLoop
from tests.sweeps.sessions import CASES, staged


def run_shuffled(seed: int, work: Coroutine[Any, Any, None]) -> int:
    """Run in a loop that shuffles; return how many turns it has changed."""

    loop = ShuffledLoop(seed)
    with asyncio.Runner(debug=True, loop_factory=lambda: loop) as runner:
        loop.slow_callback_duration = math.inf
        runner.run(work)
    return loop.exchanged


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each case under each seed."""

    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("first_seed")
        metafunc.parametrize("seed", range(first, first + metafunc.config.getoption("seeds")))


@pytest.mark.parametrize("name", CASES)
def test_a_session_in_any_order(served_directory: Path, name: str, seed: int) -> None:
    """It goes as it does in the usual order, and leaves nothing."""

    async def play() -> None:
        async with staged(CASES[name], served_directory) as stage:
            await stage.play_undisturbed()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_shuffled(seed, play())


def _note(log: list[str], what: str, _: object) -> None:
    log.append(what)


def _log(seed: int) -> list[str]:
    """Let tasks, callbacks of a future and calls take turns; return what ran."""

    log: list[str] = []

    async def turn(name: str) -> None:
        for _ in range(3):
            log.append(name)
            await asyncio.sleep(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        for number in range(3):
            future.add_done_callback(functools.partial(_note, log, f"callback {number}"))
            loop.call_soon(log.append, f"call {number}")
        tasks = [asyncio.create_task(turn(f"task {number}")) for number in range(3)]
        future.set_result(None)
        await asyncio.gather(*tasks)

    run_shuffled(seed, main())
    return log


def test_a_shuffled_loop_keeps_what_asyncio_promises() -> None:
    """Orders differ from seed to seed, and are the same for one; callbacks keep theirs."""

    logs = [_log(seed) for seed in range(10)]
    assert len({tuple(log) for log in logs}) > 5
    assert [_log(seed) for seed in range(10)] == logs
    for log in logs:
        for kind in ("callback", "call "):
            kept = [line for line in log if line.startswith(kind)]
            assert len(kept) >= 3
            assert kept == sorted(kept)


def test_a_shuffled_loop_finds_a_race() -> None:
    """Two tasks of which one counts on being the first."""

    async def race() -> None:
        made: list[int] = []

        async def first() -> None:
            made.append(1)

        async def second() -> None:
            made[0] += 1

        await asyncio.gather(first(), second())

    found = 0
    for seed in range(20):
        try:
            run_shuffled(seed, race())
        except IndexError:
            found += 1
    assert 0 < found < 20
