"""How a connection ended is reported to each waiter separately."""

from __future__ import annotations

import asyncio
import logging

import pytest

from ftpdata.connection._fate import CloseWaiter, Fate, stand_in
from ftpdata.errors import FTPDataError, QuotaExceeded, TransferAborted
from ftpdata.outcome import End
from tests.harness.waiting import turns


async def test_a_waiter_ends_as_the_future_does() -> None:
    """It ends with the result, exception or cancellation of the future, done or not."""

    loop = asyncio.get_running_loop()
    for is_done in (False, True):
        results = [loop.create_future() for _ in range(3)]

        def end(futures: list[asyncio.Future[None]] = results) -> None:
            futures[0].set_result(None)
            futures[1].set_exception(ValueError("no"))
            futures[2].cancel()

        if is_done:
            end()
        waiters = [stand_in(future) for future in results]
        if not is_done:
            end()
            await turns(2)
        assert waiters[0].result() is None
        with pytest.raises(ValueError, match="no"):
            waiters[1].result()
        assert waiters[2].cancelled()
        with pytest.raises(ValueError, match="no"):
            results[1].result()


async def test_a_cancelled_waiter_disturbs_nobody_and_is_not_mentioned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """This includes a later failure, which `asyncio.shield` logs on Python 3.14."""

    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    future: asyncio.Future[None] = loop.create_future()
    waiter = CloseWaiter(future)

    async def wait() -> None:
        await waiter

    first, second = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
    await turns(2)
    first.cancel()
    await turns(2)
    assert first.cancelled()
    assert not waiter.done()
    assert not future.cancelled()
    future.set_exception(TransferAborted("gone", end=End.LOST))
    with pytest.raises(TransferAborted):
        await second
    assert waiter.done()
    with pytest.raises(TransferAborted):
        await waiter
    assert not complaints
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_cancelled_waiter_leaves_no_callback_behind() -> None:
    """Cancelled waiters do not add up on a connection."""

    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    called: list[object] = []
    for _ in range(5):
        stand_in(future).cancel()
    await turns(2)
    future.add_done_callback(called.append)
    assert future.remove_done_callback(called.append) == 1
    callbacks = getattr(future, "_callbacks", None)
    assert not callbacks
    future.cancel()


async def test_an_end_is_decided_at_once_and_announced_later() -> None:
    """The current transfer is notified first, and once."""

    fate = Fate()
    heard: list[End | None] = []
    fate.on_cut(lambda: heard.append(fate.end))
    connected, closed = stand_in(fate.connected()), stand_in(fate.closed())
    fate.make()
    fate.decide(End.STALLED, "too long", None)
    assert (heard, bool(fate.is_watched)) == ([End.STALLED], False)
    await turns(2)
    assert connected.done()
    assert not closed.done()
    fate.is_over = True
    fate.announce()
    fate.announce()
    with pytest.raises(FTPDataError, match="too long") as caught:
        await closed
    assert caught.value is fate.reason


async def test_a_late_waiter_hears_it_as_well() -> None:
    """This holds for a connection that was made, one that was given up before, and a clean end."""

    fate = Fate()
    fate.make()
    fate.end, fate.is_over = End.CLEAN, True
    await stand_in(fate.connected())
    await stand_in(fate.closed())
    given_up = Fate()
    given_up.decide(End.ABORTED, None, None)
    given_up.is_over = True
    for future in (given_up.connected(), given_up.closed()):
        with pytest.raises(TransferAborted):
            await stand_in(future)


@pytest.mark.parametrize(
    ("end", "cause", "decided", "reply"),
    [
        (End.CONSUMER_FAILED, QuotaExceeded("too much"), End.SIZE_LIMIT, 552),
        (End.CONSUMER_FAILED, OSError(28, "full"), End.CONSUMER_FAILED, 452),
        (End.PRODUCER_FAILED, ValueError("no"), End.PRODUCER_FAILED, 451),
        (End.LOST, OSError(113, "no route"), End.LOST, 426),
    ],
)
def test_the_cause_says_more_than_the_end(
    end: End, cause: Exception, decided: End, reply: int
) -> None:
    """The reason carries the cause, with the end and the reply code that belong to it."""

    fate = Fate()
    fate.decide(end, None, cause)
    assert fate.end is decided
    assert fate.reason is not None
    assert fate.reason.reply_code == reply
    assert cause in (fate.reason, fate.reason.__cause__)
