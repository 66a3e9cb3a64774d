"""A file is opened once while a transfer begins, and is never left open."""

from __future__ import annotations

import asyncio

import pytest

from ftpdata.transfers._pending import PendingFile
from tests.harness.waiting import turns, until


class Store:
    """Opens one file, and hangs until it is allowed to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.cancelled = 0
        self.answers = asyncio.Event()
        self._error = error

    async def open(self) -> str:
        """Open the file."""

        self.calls += 1
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            # Cancellation does not end this wait, as it would not end the wait for a thread.
            await asyncio.sleep(0)
            raise
        if self._error is not None:
            raise self._error
        return "file"


async def test_it_is_opened_once_by_whoever_is_first() -> None:
    """The file is opened once, by `get_soon`, by `get`, or by both."""

    for ways in (["soon", "get", "get"], ["get", "soon"], ["soon", "soon"]):
        store = Store()
        store.answers.set()
        pending = PendingFile(store.open)
        for way in ways:
            assert await (pending.get_soon(10.0) if way == "soon" else pending.get()) == "file"
        await pending.settle()
        assert (pending.file, store.calls, store.cancelled) == ("file", 1, 0)


async def test_only_the_plain_way_waits_for_what_takes_long() -> None:
    """A caller that cannot wait gets nothing, and the opening goes on meanwhile."""

    store = Store()
    pending = PendingFile(store.open)
    assert await pending.get_soon(0.001) is None
    store.answers.set()
    assert await pending.get() == "file"
    assert (store.calls, store.cancelled) == (1, 0)


@pytest.mark.parametrize("is_got", [True, False])
async def test_a_failure_goes_to_the_way_that_can_report_it(is_got: bool) -> None:
    """A failure that no caller asks for any more is not reported as an error of its own."""

    error = OSError("no")
    store = Store(error)
    store.answers.set()
    pending = PendingFile(store.open)
    assert await pending.get_soon(10.0) is None
    if is_got:
        with pytest.raises(OSError, match="no") as caught:
            await pending.get()
        assert caught.value is error
    await pending.settle()
    assert (pending.file, store.calls) == (None, 1)


@pytest.mark.parametrize("waits", ["soon", "get", "soon and get", "not"])
async def test_nothing_is_opened_for_a_caller_that_has_gone(waits: str) -> None:
    """The opening is cancelled and waited for, however often its owner is cancelled."""

    store = Store()
    pending = PendingFile(store.open)

    async def transfer() -> None:
        try:
            if "soon" in waits:
                await pending.get_soon(0.001 if "get" in waits else 10.0)
            if "get" in waits:
                await pending.get()
        finally:
            await pending.settle()

    task = asyncio.ensure_future(transfer())
    await turns()
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled() or waits == "not"
    assert (pending.file, store.cancelled) == (None, store.calls)


async def test_what_is_had_in_time_need_not_be_opened() -> None:
    """A file that is taken unopened is not opened by the timer, either."""

    store = Store()
    pending = PendingFile(store.open, unopened=lambda: "unopened")
    pending.begin_after(0.001)
    assert await pending.get_unopened() == "unopened"
    assert await pending.get() == "unopened"
    await asyncio.sleep(0.01)
    await pending.settle()
    assert (pending.file, store.calls) == ("unopened", 0)


async def test_what_takes_longer_is_opened_once() -> None:
    """The timer begins to open it, and everybody gets that file."""

    store = Store()
    pending = PendingFile(store.open, unopened=lambda: "unopened")
    pending.begin_after(0.0)
    await until(lambda: store.calls == 1)
    store.answers.set()
    assert await pending.get_unopened() == "file"
    pending.begin()
    assert await pending.get() == "file"
    await pending.settle()
    assert store.calls == 1


@pytest.mark.parametrize("how", ["get", "begin", "settle"])
async def test_the_timer_opens_nothing_a_second_time(how: str) -> None:
    """Whoever opens the file, or needs it no more, stops the timer."""

    store = Store()
    pending = PendingFile(store.open, unopened=lambda: "unopened")
    pending.begin_after(0.001)
    if how == "get":
        waiting = asyncio.ensure_future(pending.get())
        await turns()
    elif how == "begin":
        pending.begin()
    else:
        await pending.settle()
    await asyncio.sleep(0.01)
    assert store.calls == (how != "settle")
    store.answers.set()
    if how == "get":
        assert await waiting == "file"
    await pending.settle()
