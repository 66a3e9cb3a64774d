"""What all transfers have in common: interruptions, cancellations, deadlines and turns."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import sys
from typing import Any

import anyio
import pytest

from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.errors import (
    BadArgument,
    FileUnavailable,
    FTPDataError,
    InvalidData,
    LocalError,
    NotConnected,
    QuotaExceeded,
    SizeMismatch,
    TransferAborted,
    TruncatedTransfer,
    UnsupportedParameter,
)
from ftpdata.outcome import Direction, End
from ftpdata.testing import MemoryTransport, sweep
from ftpdata.throttle import TokenBucket
from ftpdata.transfers._report import Report
from ftpdata.transfers._supervisor import Supervisor, causes

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports this")


def supervised(
    direction: Direction = Direction.SENT,
    *,
    others: tuple[DTP, ...] = (),
    ends: bool = True,
    **options: Any,
) -> Supervisor:
    """Return a supervisor of a connection in memory, whose peer reads, and closes if it `ends`."""

    dtp = DTP()
    transport = MemoryTransport(dtp, auto_drain=True)
    if ends:
        transport.feed_eof()
    report = Report(direction, digest=options.pop("digest", None))
    options.setdefault("deadlines", Deadlines(close=5.0))
    return Supervisor(dtp, report, others=others, **options)


async def forever() -> None:
    """Wait for something that never happens."""

    await asyncio.get_running_loop().create_future()


async def nothing() -> None:
    """Do nothing."""


def own_task() -> asyncio.Task[Any]:
    """Return the task of the test."""

    task = asyncio.current_task()
    assert task is not None
    return task


# Interruptions


async def test_an_abort_interrupts_any_wait() -> None:
    """The reason itself is raised, with its cause; the task is not left cancelled."""

    transfer = supervised()
    cause = ValueError("why")
    asyncio.get_running_loop().call_soon(
        lambda: transfer.dtp.abort(End.ABORTED, "stopped by hand", cause=cause)
    )
    with pytest.raises(TransferAborted, match="stopped by hand") as caught:
        await transfer.run(forever)

    assert caught.value is transfer.dtp.reason
    assert caught.value.__cause__ is cause
    assert caught.value.result is not None
    assert caught.value.result.end is End.ABORTED
    assert caught.value.result.reply_code == 426
    assert own_task().cancelling() == 0


@pytest.mark.parametrize("abort_first", [True, False])
async def test_cancel_and_abort_at_the_same_tick(abort_first: bool) -> None:
    """The caller gets the cancellation, which is counted once."""

    transfer = supervised()
    task = asyncio.create_task(transfer.run(forever))
    await asyncio.sleep(0)
    for is_abort in (abort_first, not abort_first):
        if is_abort:
            transfer.dtp.abort()
        else:
            task.cancel()

    await asyncio.wait((task,))
    assert task.cancelled()
    assert task.cancelling() == 1
    assert transfer.dtp.end is End.ABORTED


async def test_an_abort_while_the_task_is_about_to_go_on() -> None:
    """The task's wait is over, but it has not run yet: the abort wins."""

    transfer = supervised()
    future = asyncio.get_running_loop().create_future()

    async def body() -> None:
        await future
        await asyncio.sleep(0)
        pytest.fail("the body went on")

    task = asyncio.create_task(transfer.run(body))
    await asyncio.sleep(0)
    future.set_result(None)
    transfer.dtp.abort()
    with pytest.raises(TransferAborted):
        await task

    assert task.cancelling() == 0


async def test_an_abort_from_within_the_transfer() -> None:
    """If the transfer's own task aborts it, it ends at its next wait, or else at its end."""

    for waits in (True, False):
        transfer = supervised()

        async def body(transfer: Supervisor = transfer, waits: bool = waits) -> None:
            transfer.dtp.abort(End.ABORTED, "from within")
            if waits:
                await forever()

        with pytest.raises(TransferAborted, match="from within"):
            await transfer.run(body)

        assert own_task().cancelling() == 0
        # Nothing is left that would interrupt the caller's next wait.
        await asyncio.sleep(0)


async def test_an_abort_from_the_progress_callback() -> None:
    """The abort also comes first if the callback raises because of it."""

    dtps: list[DTP] = []
    for error in (None, RuntimeError("and that")):

        def progress(_: int, __: int | None, error: Exception | None = error) -> None:
            dtps[-1].abort(End.ABORTED, "enough")
            if error is not None:
                raise error

        transfer = supervised(progress=progress)
        dtps.append(transfer.dtp)
        with pytest.raises(TransferAborted, match="enough") as caught:
            await transfer.run(lambda transfer=transfer: transfer.note_file_bytes(b"x"))  # type: ignore[misc]

        assert caught.value.result is not None
        assert caught.value.result.end is End.ABORTED
        await asyncio.sleep(0)


@pytest.mark.parametrize("levels", [0, 1, 2])
async def test_an_abort_within_a_task_that_is_being_cancelled(levels: int) -> None:
    """A transfer behaves the same while its task cleans up after a cancellation."""

    async def cleaning_up() -> None:
        for _ in range(levels):
            own_task().cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)

        transfer = supervised()
        asyncio.get_running_loop().call_soon(transfer.dtp.abort)
        with pytest.raises(TransferAborted):
            await transfer.run(forever)

        transfer = supervised()

        async def body() -> None:
            transfer.dtp.abort()

        with pytest.raises(TransferAborted):
            await transfer.run(body)

        assert own_task().cancelling() == levels
        await asyncio.sleep(0)

    await asyncio.create_task(cleaning_up())


async def test_a_cancellation_that_comes_while_an_interruption_is_absorbed() -> None:
    """After an abort with nothing left to wait for, a later cancellation is raised."""

    transfer = supervised()

    async def body() -> None:
        transfer.dtp.abort()
        asyncio.get_running_loop().call_soon(task.cancel)

    task = asyncio.create_task(transfer.run(body))
    await asyncio.wait((task,))
    assert task.cancelled()
    assert task.cancelling() == 1


async def test_a_body_that_turns_the_interruption_into_something_else() -> None:
    """An exception that a source raises when it is cancelled is a consequence of the abort."""

    transfer = supervised()

    async def body() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise KeyError("my own") from None

    asyncio.get_running_loop().call_soon(transfer.dtp.abort)
    with pytest.raises(TransferAborted) as caught:
        await transfer.run(body)

    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_body_that_swallows_the_interruption() -> None:
    """The connection is cut all the same, and the cut is raised."""

    transfer = supervised()

    async def body() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()

    asyncio.get_running_loop().call_soon(transfer.dtp.abort)
    with pytest.raises(TransferAborted):
        await transfer.run(body)

    assert own_task().cancelling() == 0


async def test_a_timeout_around_a_transfer() -> None:
    """asyncio.timeout raises its TimeoutError, and the transfer ends as CANCELLED."""

    transfer = supervised()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await transfer.run(forever)

    assert transfer.dtp.end is End.CANCELLED
    assert own_task().cancelling() == 0


async def test_a_timeout_around_a_transfer_that_is_aborted() -> None:
    """The reason passes through nested timeouts that have not expired."""

    transfer = supervised()
    asyncio.get_running_loop().call_soon(transfer.dtp.abort)
    with pytest.raises(TransferAborted):
        async with asyncio.timeout(30), asyncio.timeout(60):
            await transfer.run(forever)

    assert own_task().cancelling() == 0


@pytest.mark.parametrize("abort_first", [True, False])
async def test_a_timeout_and_an_abort_at_the_same_tick(abort_first: bool) -> None:
    """The inner timeout is a TimeoutError, and the outer one is not disturbed."""

    transfer = supervised()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30) as outer:
        with pytest.raises(TimeoutError):  # noqa: PT012
            async with asyncio.timeout(None) as inner:

                def strike() -> None:
                    if abort_first:
                        transfer.dtp.abort()
                    # This is what the timeout does when it expires.
                    inner._on_timeout()  # type: ignore[attr-defined]
                    if not abort_first:
                        transfer.dtp.abort()

                loop.call_soon(strike)
                await transfer.run(forever)

        assert own_task().cancelling() == 0
        await asyncio.sleep(0)

    assert not outer.expired()


async def test_a_timeout_within_the_body() -> None:
    """A source's own timeout is a failure of the source, not a cancellation."""

    transfer = supervised()

    async def body() -> None:
        async with asyncio.timeout(0.001):
            await forever()

    with pytest.raises(LocalError) as caught:
        await transfer.run(body)

    assert caught.value.end is End.PRODUCER_FAILED


async def test_a_sibling_that_fails_in_a_task_group() -> None:
    """The transfer is cancelled, and the group raises only the sibling's error."""

    transfer = supervised()

    async def sibling() -> None:
        raise KeyError("sibling")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            group.create_task(transfer.run(forever))
            group.create_task(sibling())

    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert transfer.dtp.end is End.CANCELLED


async def test_an_abort_in_a_task_group() -> None:
    """The error of the transfer cancels its siblings, as any error does."""

    transfer = supervised()
    asyncio.get_running_loop().call_soon(transfer.dtp.abort)
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            group.create_task(transfer.run(forever))
            group.create_task(forever())

    assert [type(error) for error in caught.value.exceptions] == [TransferAborted]


@pytest.mark.parametrize("abort", [False, True])
async def test_a_cancel_scope_of_anyio_around_a_transfer(abort: bool) -> None:
    """It ends the transfer, also with an abort at the same tick, and nothing leaks out of it."""

    transfer = supervised()
    with anyio.CancelScope() as scope:

        def strike() -> None:
            scope.cancel()
            if abort:
                transfer.dtp.abort()

        asyncio.get_running_loop().call_soon(strike)
        await transfer.run(forever)

    assert scope.cancelled_caught
    assert not transfer.dtp.is_connected
    assert own_task().cancelling() == 0
    await asyncio.sleep(0)


async def test_any_of_several_connections_interrupts() -> None:
    """A relay ends when either of its connections is cut, and cuts the other."""

    for first in (True, False):
        other = DTP()
        MemoryTransport(other)
        transfer = supervised(others=(other,))
        doomed = transfer.dtp if first else other
        asyncio.get_running_loop().call_soon(doomed.abort, End.ABORTED, "either")
        with pytest.raises(TransferAborted, match="either"):
            await transfer.run(forever)

        assert not other.is_connected
        assert not transfer.dtp.is_connected


async def test_a_connection_that_was_cut_before() -> None:
    """The reason is raised before anything begins."""

    transfer = supervised()
    transfer.dtp.abort(End.ABORTED, "before")
    with pytest.raises(TransferAborted, match="before"):
        await transfer.run(lambda: pytest.fail("it began"))


async def test_an_upload_aborted_at_the_last_moment() -> None:
    """An abort counts even if everything has arrived and only a part is not yet stored."""

    transfer = supervised(Direction.RECEIVED)
    dtp = transfer.dtp

    async def body() -> None:
        loop = asyncio.get_running_loop()
        dtp.eof_received()
        dtp.connection_lost(None)
        loop.call_soon(dtp.abort, End.ABORTED, "ABOR")
        await forever()

    with pytest.raises(TransferAborted, match="ABOR") as caught:
        await transfer.run(body)

    assert caught.value.result is not None
    assert caught.value.result.end is End.ABORTED


@pytest.mark.parametrize("direction", list(Direction))
async def test_an_abort_while_finishing(direction: Direction) -> None:
    """In both directions, an abort by this side is never a clean end."""

    transfer = supervised(direction, ends=False)
    asyncio.get_running_loop().call_soon(transfer.dtp.abort, End.ABORTED, "so late")
    with pytest.raises(TransferAborted, match="so late"):
        await transfer.run(nothing)


async def test_cancelling_at_any_suspension() -> None:
    """A transfer of several steps leaves nothing, wherever it is cancelled."""

    async def scenario() -> None:
        transfer = supervised(
            throttle=TokenBucket(1e6, burst=1.0, now=asyncio.get_running_loop().time()),
            digest="sha256",
        )

        async def body() -> None:
            for _ in range(3):
                await transfer.pace.wait_for_turn(1000)
                transfer.dtp.write(b"x" * 20_000)
                await transfer.note_file_bytes(b"x" * 20_000)

        async with asyncio.timeout(60):
            task = asyncio.ensure_future(transfer.run(body))
            try:
                await asyncio.wait((task,), timeout=0)
            finally:
                task.cancel()
                await asyncio.wait((task,))

    assert await sweep(scenario) > 0


# Errors


@pytest.mark.parametrize(
    ("error", "end", "reply_code"),
    [
        (ValueError("x"), None, 451),
        (PermissionError(13, "Permission denied"), None, 550),
        (OSError(28, "No space left on device"), None, 452),
        (FileUnavailable("gone"), None, 550),
        (BadArgument("no"), None, 501),
        (SizeMismatch("fewer"), End.SIZE_MISMATCH, 451),
        (QuotaExceeded("more"), End.SIZE_LIMIT, 552),
        (InvalidData("bad"), End.BAD_DATA, 451),
        (TruncatedTransfer("cut"), End.INCOMPLETE, 426),
        (ExceptionGroup("several", [ValueError("x")]), None, 451),
    ],
)
@pytest.mark.parametrize("direction", list(Direction))
async def test_every_failure_is_one_error_with_the_result(
    direction: Direction, error: Exception, end: End | None, reply_code: int
) -> None:
    """An ftpdata error is raised as it is; any other exception becomes its cause."""

    error = copy.copy(error)
    transfer = supervised(direction)

    async def body() -> None:
        raise error

    with pytest.raises(FTPDataError) as caught:
        await transfer.run(body)

    local = End.PRODUCER_FAILED if direction is Direction.SENT else End.CONSUMER_FAILED
    failure = caught.value
    assert failure is error or failure.__cause__ is error
    assert failure.reply_code == reply_code
    assert failure.result is not None
    assert failure.result.reply_code == reply_code
    assert failure.result.end is failure.end is (end or local)
    assert transfer.dtp.end is failure.end
    assert not isinstance(transfer.dtp.transport, MemoryTransport) or (
        transfer.dtp.transport.was_aborted
    )


async def test_a_connection_that_was_never_made() -> None:
    """There is no connection to send through: 425."""

    transfer = Supervisor(DTP(), Report(Direction.SENT), deadlines=Deadlines())

    async def body() -> None:
        transfer.dtp.write(b"x")

    with pytest.raises(NotConnected) as caught:
        await transfer.run(body)

    assert caught.value.reply_code == 425
    assert caught.value.result is not None


async def test_an_unknown_digest_closes_the_connection() -> None:
    """It fails like any other error: 504, with the result."""

    transfer = supervised(digest="nonsense")
    with pytest.raises(UnsupportedParameter) as caught:
        await transfer.run(nothing)

    assert caught.value.reply_code == 504
    assert caught.value.result is not None
    assert not transfer.dtp.is_connected


# Progress


async def test_progress_is_called_now_and_then_and_at_the_end() -> None:
    """Progress is not reported for each of a thousand pieces; the last call has the total."""

    calls: list[tuple[int, int | None]] = []
    transfer = supervised(progress=lambda done, total: calls.append((done, total)))
    transfer.report.total = 1000

    async def body() -> None:
        for _ in range(1000):
            await transfer.note_file_bytes(b"x")

    await transfer.run(body)
    assert calls == sorted(calls)
    assert calls[-1] == (1000, 1000)
    assert len(calls) < 500


async def test_a_last_progress_that_fails() -> None:
    """An exception in the last call fails the transfer like any other, with an ftpdata error."""

    def progress(_: int, __: int | None) -> None:
        raise RuntimeError("no")

    transfer = supervised(progress=progress)
    with pytest.raises(LocalError) as caught:
        await transfer.run(nothing)

    assert caught.value.reply_code == 451
    assert caught.value.result is not None


# Deadlines


@pytest.mark.parametrize(
    ("deadlines", "begins", "end"),
    [
        (Deadlines(first_byte=0.02), False, End.FIRST_BYTE_TIMEOUT),
        (Deadlines(first_byte=None, stall=0.02), False, End.STALLED),
        (Deadlines(stall=0.02), True, End.STALLED),
        (Deadlines(minimum_rate=1e6, rate_window=0.02), True, End.TOO_SLOW),
    ],
)
async def test_each_deadline_has_its_own_end(deadlines: Deadlines, begins: bool, end: End) -> None:
    """The body is interrupted, and the end names the deadline that passed."""

    transfer = supervised(Direction.RECEIVED, deadlines=deadlines)

    async def body() -> None:
        if begins:
            transfer.dtp.data_received(b"x")
            await asyncio.sleep(0.001)
        await forever()

    async with asyncio.timeout(60):
        with pytest.raises(FTPDataError) as caught:
            await transfer.run(body)

    assert caught.value.end is end
    assert caught.value.reply_code == 426


@pytest.mark.parametrize(
    ("takes_all", "limits", "end"),
    [
        (False, Deadlines(stall=0.02, close=30), End.STALLED),
        (True, Deadlines(stall=30, close=0.02), End.CLOSE_TIMEOUT),
    ],
)
async def test_the_deadlines_of_the_end(takes_all: bool, limits: Deadlines, end: End) -> None:
    """A peer that does not take the rest has stalled; one that has everything may stay open.

    Where the system does not report acknowledgements, the peer's close takes their place.
    """

    dtp = DTP()
    transport = MemoryTransport(dtp)
    transfer = Supervisor(dtp, Report(Direction.SENT), deadlines=limits)

    async def body() -> None:
        dtp.write(b"x")
        if takes_all:
            transport.drain()

    with pytest.raises(FTPDataError) as caught:
        await transfer.run(body)

    assert caught.value.end is end


async def test_no_deadline_at_all_sets_no_timer() -> None:
    """Without deadlines, nothing is watched."""

    transfer = supervised(
        Direction.RECEIVED, deadlines=Deadlines(first_byte=None, stall=None, close=None)
    )

    async def body() -> None:
        assert transfer._watch._timer is None

    await transfer.run(body)


async def test_the_time_that_a_throttle_takes_is_not_held_against_the_peer() -> None:
    """A transfer goes on even if its throttle is slower than every deadline."""

    now = asyncio.get_running_loop().time()
    transfer = supervised(
        Direction.RECEIVED,
        deadlines=Deadlines(first_byte=0.01, stall=0.01, minimum_rate=1e9, rate_window=0.01),
        throttle=TokenBucket(1000.0, burst=1.0, now=now),
    )

    async def body() -> None:
        transfer.dtp.data_received(b"x" * 100)
        await transfer.pace.wait_for_turn(100)

    await transfer.run(body)


# Throttle and turns


class Recorder(TokenBucket):
    """Records what is reserved and given back, and returns the given waits."""

    def __init__(self, delay: float = 0.0, rate: float | None = None) -> None:
        super().__init__(rate, now=0.0)
        self.calls: list[tuple[str, int]] = []
        self._delay = delay

    def reserve(self, nbytes: int, now: float) -> float:
        """Record the bytes, and return the wait."""

        self.calls.append(("reserve", nbytes))
        return self._delay

    def unused(self, nbytes: int) -> None:
        """Record the bytes."""

        self.calls.append(("unused", nbytes))


async def test_what_a_cut_transfer_reserved_is_given_back() -> None:
    """A transfer that is cut during its throttled sleep does not make others wait."""

    for cancel in (True, False):
        bucket = Recorder(delay=1000.0)
        transfer = supervised(throttle=bucket)
        task = asyncio.create_task(
            transfer.run(lambda transfer=transfer: transfer.pace.wait_for_turn(7))  # type: ignore[misc]
        )
        await asyncio.sleep(0)
        if cancel:
            task.cancel()
        else:
            transfer.dtp.abort()
        with pytest.raises((asyncio.CancelledError, TransferAborted)):
            await task

        assert bucket.calls == [("reserve", 7), ("unused", 7)]


@pytest.mark.parametrize(
    ("rates", "size"),
    [
        ([None], 256 * 1024),
        ([1e9], 256 * 1024),
        ([1e6], 100_000),
        ([1e6, 2e5], 20_000),
        ([2e5, None, 1e6], 20_000),
        ([10.0], 1024),
    ],
)
async def test_pieces_are_a_tenth_of_a_second(rates: list[float | None], size: int) -> None:
    """The tenth is that of the lowest rate in the tree, within bounds."""

    bucket: TokenBucket | None = None
    for rate in rates:
        bucket = TokenBucket(rate, parent=bucket, now=0.0)

    assert supervised(throttle=bucket).pace.piece_size == size


async def test_a_transfer_that_never_waits_lets_others_run() -> None:
    """It gives up a turn of the loop after a fixed number of bytes."""

    transfer = supervised()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def body() -> None:
        for _ in range(64):
            await transfer.pace.wait_for_turn(256 * 1024)

    task = asyncio.create_task(other())
    await transfer.run(body)
    task.cancel()
    assert turns >= 16


async def test_a_transfer_has_no_task_of_its_own() -> None:
    """It runs in the caller's task: context variables and cancel scopes are the caller's."""

    seen: list[object] = []

    async def body() -> None:
        seen.append(asyncio.current_task())

    await supervised().run(body)
    assert seen == [own_task()]


@pytest.mark.parametrize("leads_on", [False, True])
async def test_no_error_is_the_cause_of_its_own_cause(leads_on: bool) -> None:
    """Code that follows the causes would otherwise never end."""

    transfer = supervised()

    async def body() -> None:
        transfer.dtp.abort(End.ABORTED, "the user said so")
        try:
            transfer.dtp.write(b"more")
        except NotConnected as error:
            if leads_on:
                raise RuntimeError("what the host makes of it") from error
            raise

    with pytest.raises(TransferAborted, match="the user said so") as caught:
        await transfer.run(body)
    assert causes(caught.value) == [caught.value]


async def test_causes_that_go_round_in_a_circle() -> None:
    """A host's causes may be circular: each is found once, and a transfer that has them ends."""

    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert causes(first) == [first, second]
    assert causes(None) == []

    async def body() -> None:
        raise first

    with pytest.raises(LocalError) as caught:
        await supervised().run(body)
    assert caught.value.__cause__ is first
