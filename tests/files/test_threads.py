"""Worker threads: which one gets a job, how its end is reported, and when threads end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from ftpdata.files import _threads as threads
from ftpdata.files._threads import Job, WorkerThreads
from tests.harness.leaks import collect
from tests.harness.loops import LOOP_FACTORIES
from tests.harness.seams import Gate
from tests.harness.waiting import until

PATIENCE = 30.0


class Recorded(Job):
    """Keeps which thread has done it, and whether its end was reported."""

    def __init__(self, work: Callable[[], object] = lambda: None) -> None:
        self._work = work
        self.thread: threading.Thread | None = None
        self.told = asyncio.Event()

    def work(self) -> None:
        """Do it."""

        self.thread = threading.current_thread()
        self._work()

    def finished(self) -> None:
        """Take note."""

        self.told.set()


class Held(Recorded):
    """Is at work until it is let go."""

    def __init__(self) -> None:
        self._gate = Gate()
        super().__init__(self._gate)

    async def begun(self) -> None:
        """Wait until a thread is at it."""

        await self._gate.entered()

    def let_go(self) -> None:
        """Let it end."""

        self._gate.open()


@contextlib.asynccontextmanager
async def held(workers: WorkerThreads, count: int) -> AsyncIterator[list[Held]]:
    """Keep this many threads at work."""

    jobs = [Held() for _ in range(count)]
    try:
        for job in jobs:
            workers.start(job)
            await job.begun()
        yield jobs
    finally:
        for job in jobs:
            job.let_go()
        for job in jobs:
            await job.told.wait()


async def done(workers: WorkerThreads) -> threading.Thread:
    """Return the thread that has done a job."""

    job = Recorded()
    workers.start(job)
    await job.told.wait()
    assert job.thread is not None
    return job.thread


async def test_jobs_are_done_in_threads() -> None:
    """The event loop has one set of threads."""

    workers = WorkerThreads.of_running_loop()
    assert workers is WorkerThreads.of_running_loop()
    assert await done(workers) not in (threading.current_thread(), threading.main_thread())


async def test_the_thread_that_was_used_last_gets_the_next_job() -> None:
    """A new thread is made only when all are at work."""

    workers = WorkerThreads.of_running_loop()
    async with held(workers, 3) as jobs:
        busy = {job.thread for job in jobs}
        another = await done(workers)
        assert another not in busy
        assert await done(workers) is another
    assert await done(workers) in busy


async def test_threads_that_finish_while_the_loop_is_busy_wake_it_once() -> None:
    """The first thread that finishes wakes it."""

    workers = WorkerThreads.of_running_loop()
    calls: list[Callable[[], None]] = []

    class Busy:
        """An event loop that does not come to it yet."""

        def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
            calls.append(callback)

    jobs = [Recorded(), Recorded(), Recorded()]
    loop: Any = Busy()
    workers._loop = lambda: loop  # type: ignore[assignment]
    for count, job in enumerate(jobs, 1):
        workers.start(job)
        await until(lambda count=count: len(workers._finished) == count)  # type: ignore[misc]
    await until(lambda: len(calls) == 1)
    assert not any(job.told.is_set() for job in jobs)
    workers._collect()
    assert all(job.told.is_set() for job in jobs)

    workers.start(jobs[0])
    await until(lambda: len(calls) == 2)


async def test_a_callback_that_fails_keeps_the_news_from_nobody() -> None:
    """Jobs that end after it are reported in the next turn."""

    workers = WorkerThreads.of_running_loop()
    loop = asyncio.get_running_loop()
    failures: list[object] = []

    class Failing(Recorded):
        def finished(self) -> None:
            raise ArithmeticError

    jobs = [Failing(), Recorded()]
    workers._finished.extend(jobs)
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    try:
        loop.call_soon(workers._collect)
        async with asyncio.timeout(PATIENCE):
            await jobs[1].told.wait()
    finally:
        loop.set_exception_handler(handler)
    assert [type(failure) for failure in failures] == [ArithmeticError]


async def test_the_end_of_a_job_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread ends with a word about it; the next job gets another one."""

    failures: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    workers = WorkerThreads.of_running_loop()

    def fail() -> None:
        raise ArithmeticError

    job = Recorded(fail)
    workers.start(job)
    await job.told.wait()
    assert job.thread is not None
    await until(lambda: job.thread is not None and not job.thread.is_alive())
    assert failures[0].exc_type is ArithmeticError
    failures.clear()
    assert await done(workers) is not job.thread


async def test_a_thread_without_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends after a while; then another one is made."""

    monkeypatch.setattr(threads, "IDLE", 0.01)
    workers = WorkerThreads.of_running_loop()
    thread = await done(workers)
    await until(lambda: not thread.is_alive())
    assert await done(workers) is not thread


async def test_a_thread_that_gives_up_too_late_gets_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has waited long enough, and was chosen for a job in that moment."""

    class Chosen(list[Any]):
        def append(self, inbox: Any) -> None:
            chosen.append(inbox)

    monkeypatch.setattr(threads, "IDLE", 0.01)
    workers = WorkerThreads.of_running_loop()
    chosen: list[Any] = []
    monkeypatch.setattr(workers, "_idle", Chosen())
    async with held(workers, 1) as jobs:
        jobs[0].let_go()
        await until(lambda: bool(chosen))
        # Long enough for it to find that it is in the list no more.
        await asyncio.sleep(0.05)
        job = Recorded()
        chosen.pop().put(job)
        await job.told.wait()
        assert job.thread is jobs[0].thread


async def test_all_threads_may_have_given_up_at_the_last_moment() -> None:
    """Then a new one is made."""

    class Emptied(list[Any]):
        def __bool__(self) -> bool:
            return True

    workers = WorkerThreads.of_running_loop()
    workers._idle = Emptied()
    await done(workers)


@pytest.mark.parametrize("runs_on", [name for name in LOOP_FACTORIES if LOOP_FACTORIES[name]])
@pytest.mark.parametrize("runner", ["asyncio", "anyio"])
def test_threads_end_with_the_event_loop(
    runner: str, runs_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those without work at once, the others when they have done it."""

    monkeypatch.setattr(threads, "IDLE", 300.0)
    late: list[Held] = []
    idle: list[threading.Thread] = []
    kept: list[WorkerThreads] = []

    async def main() -> None:
        workers = WorkerThreads.of_running_loop()
        kept.append(workers)
        for _ in range(2):
            job = Held()
            late.append(job)
            workers.start(job)
            await job.begun()
        idle.append(await done(workers))

    if runner == "anyio":
        anyio.run(main, backend_options={"use_uvloop": runs_on == "uvloop"})
    else:
        with asyncio.Runner(loop_factory=LOOP_FACTORIES[runs_on]) as it:
            it.run(main())

    try:
        # `IDLE` is not over so soon.
        idle[0].join(PATIENCE)
        assert not idle[0].is_alive()
        assert all(job.thread is not None and job.thread.is_alive() for job in late)
        for job in late:
            job.let_go()
        for job in late:
            assert job.thread is not None
            job.thread.join(PATIENCE)
            assert not job.thread.is_alive()
    finally:
        for job in late:
            job.let_go()
        # One that has not ended would keep the process of the tests until `IDLE` is over.
        for each in kept:
            each._close()
        assert not job.told.is_set()


async def test_a_job_after_the_end_of_its_loop_is_done() -> None:
    """A thread that ends with the job does it."""

    workers = WorkerThreads.of_running_loop()
    await asyncio.get_running_loop().shutdown_asyncgens()
    thread = await done(workers)
    await until(lambda: not thread.is_alive())


def test_threads_of_a_loop_that_is_only_closed_end_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing reports their end, and nobody is left who could hear of it."""

    monkeypatch.setattr(threads, "IDLE", 0.05)
    loop = asyncio.new_event_loop()

    async def main() -> Held:
        workers = WorkerThreads.of_running_loop()
        job = Held()
        workers.start(job)
        await job.begun()
        return job

    job = loop.run_until_complete(main())
    loop.close()
    job.let_go()
    assert job.thread is not None
    job.thread.join(PATIENCE)
    assert not job.thread.is_alive()
    kept = weakref.ref(loop)
    del loop
    collect()
    assert kept() is None


@pytest.mark.parametrize("runs_on", [name for name in LOOP_FACTORIES if LOOP_FACTORIES[name]])
def test_an_event_loop_is_not_kept(runs_on: str) -> None:
    """Nothing refers to it once it is over, whatever its threads have done."""

    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        await done(WorkerThreads.of_running_loop())
        return weakref.ref(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=LOOP_FACTORIES[runs_on]) as runner:
        kept = runner.run(main())
    del runner
    for _ in range(100):
        gc.collect()
        if kept() is None:
            break
        # Its thread is about to end.
        time.sleep(0.01)
    assert kept() is None


async def test_a_thread_whose_job_never_came_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that had taken its inbox was interrupted; the thread ends with the event loop."""

    monkeypatch.setattr(threads, "IDLE", 0.01)
    workers = WorkerThreads.of_running_loop()
    thread = await done(workers)
    workers._idle.clear()
    await asyncio.sleep(0.05)
    assert thread.is_alive()
    await asyncio.get_running_loop().shutdown_asyncgens()
    await until(lambda: not thread.is_alive())
