"""Supervises transfers through a `DTP`: deadlines, aborts, progress, and the end.

A `Supervisor` watches one transfer on one or two `DTP`s. It ends the transfer
when a deadline passes. It interrupts the transfer's coroutine as soon as its
connection is cut, whatever that coroutine waits for. It turns every failure
into one `FTPDataError` that carries the `TransferResult`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from ..connection._loss import LOSS_TURNS
from ..connection.protocol import DTP
from ..contracts import Buffer, ProgressCallback
from ..deadlines import Deadlines
from ..errors import FTPDataError, NotConnected
from ..outcome import Direction, End, TransferResult
from ..throttle import TokenBucket
from ._pace import Pace
from ._report import Report
from ._watch import Watch

__all__ = ["Supervisor", "causes"]

T = TypeVar("T")

PROGRESS_INTERVAL = 0.1
"""Seconds between two calls of a progress callback, except for the last call."""

HARMLESS_WHEN_RECEIVED = frozenset({End.RESET, End.LOST, End.CLOSE_TIMEOUT})
"""Ends that do no harm to a connection whose bytes and end of file have all arrived."""


def causes(error: BaseException | None) -> list[BaseException]:
    """Return an error, its cause, and so on, each of them once, even if they form a circle."""

    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__

    return found


class Supervisor:
    """Watches one transfer.

    Args:
        dtp: The connection whose bytes count.
        report: Counts the bytes, and makes the result or the error.
        others: Further connections that end with this transfer.
        deadlines: When to give up.
        throttle: Limits the rate, in bytes on the connection.
        progress: Called with the bytes of the file so far, and their total.

    Attributes:
        pace: How much to move at a time, and when.
    """

    def __init__(
        self,
        dtp: DTP,
        report: Report,
        *,
        others: tuple[DTP, ...] = (),
        deadlines: Deadlines,
        throttle: TokenBucket | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        self.dtp = dtp
        self.report = report
        self.deadlines = deadlines
        self._watch = Watch(dtp, report.direction, deadlines)
        self.pace: Pace = Pace(dtp, self._watch, throttle, is_relayed=bool(others))
        self._all = (dtp, *others)
        self._progress = progress
        self._tells_progress = progress is not None or report.wants_progress
        # Not 0.0: the clock starts with the machine, perhaps less than an interval ago.
        self._progress_at = -math.inf
        self._clock = asyncio.get_running_loop().time
        self._task: asyncio.Task[object] | None = None
        self._interrupted = False

    # The life of a transfer

    async def run(self, body: Callable[[], Awaitable[None]]) -> TransferResult:
        """Run the transfer: `body` moves the bytes, and then the connection is finished.

        Returns:
            The result of a clean end.

        Raises:
            FTPDataError: Any other end; carries the result. The connections
                are closed.

        Cancellation resets the connections and leaves nothing behind.
        """

        try:
            self._check_uncut()
            await self.supervise(body)
            await self.finish()
        except asyncio.CancelledError:
            await self.close(End.CANCELLED, None)
            self.result(End.CANCELLED)
            raise
        except Exception as error:
            failure = await self.fail(error)
            if failure is error:
                raise
            # Do not raise it from that error, which may be a consequence of the failure: each would
            # then be the other's cause.
            raise failure from failure.__cause__

        return self.result(End.CLEAN)

    async def supervise(self, body: Callable[[], Awaitable[T]]) -> T:
        """Run `body` within the deadlines, and interrupt it when a connection is cut.

        Returns:
            What `body` returns.

        Raises:
            FTPDataError: A connection was cut; this is its reason itself.
            Exception: Whatever `body` raises.
        """

        self.report.begin_digest()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        cancelling = task.cancelling()
        for dtp in self._all:
            dtp.bypass.on_cut(self._interrupt)

        self._watch.start()
        was_cancelled = False
        try:
            return await body()
        except asyncio.CancelledError:
            was_cancelled = True
            # If somebody else has cancelled the task as well, the cancellation must go on.
            if not self._interrupted or not self._take_back_interruption(cancelling):
                raise
            reason = self._cut_reason()
            raise reason from reason.__cause__
        except Exception as error:
            # An error after a cut is a consequence of the cut.
            if not self._interrupted:
                raise
            reason = self._cut_reason()
            cause = error if reason not in causes(error) else None
            raise reason from reason.__cause__ or cause
        finally:
            self._let_go()
            self._task = None
            if self._interrupted and not was_cancelled:
                await self._outlive_interruption(cancelling)

            self._interrupted = False

    def _check_uncut(self) -> None:
        if self.dtp.reason is not None:
            raise self.dtp.reason

    def _interrupt(self) -> None:
        if not self._interrupted and self._task is not None:
            self._interrupted = True
            self._task.cancel()

    @staticmethod
    def _take_back_interruption(cancelling: int) -> bool:
        """Take back our own cancellation; return whether it was the only one."""

        task = asyncio.current_task()
        assert task is not None
        return task.uncancel() <= cancelling

    async def _outlive_interruption(self, cancelling: int) -> None:
        """Absorb our own cancellation if `body` ended before it could be delivered.

        Raises:
            CancelledError: Somebody else has cancelled as well.
        """

        self._take_back_interruption(cancelling)
        try:
            # Before Python 3.13, a cancellation that was taken back is delivered all the same.
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            if task.cancelling() > cancelling:
                raise

    def _cut_reason(self) -> FTPDataError:
        for dtp in self._all:
            if dtp.reason is not None:
                return dtp.reason

        raise AssertionError("interrupted without a reason")

    def _let_go(self) -> None:
        self._watch.stop()
        for dtp in self._all:
            dtp.bypass.on_cut(None)

    async def finish(self) -> None:
        """End the connection gracefully, unless it is to stay open; report the last progress.

        Raises:
            FTPDataError: The peer has not taken everything; or the transfer
                was aborted at the last moment.
        """

        try:
            if not self.report.keep_open:
                stall = self.deadlines.stall
                await self.dtp.finish(
                    self.deadlines.close,
                    stall=math.inf if stall is None else stall,
                    on_sent=self._note_sent if self.report.on_sent is not None else None,
                )
        except FTPDataError:
            # Everything has arrived; it does not matter what the peer does to the connection.
            is_sent = self.report.direction is Direction.SENT
            if is_sent or self.dtp.end not in HARMLESS_WHEN_RECEIVED:
                raise

        self.report_progress(last=True)
        if self.report.on_sent is not None:
            # The connection stays open: only the peer could say that it has everything.
            self._note_sent()

    def _note_sent(self) -> None:
        self.report.meet(self.dtp)
        self.report.note_sent(self._passed())

    async def fail(self, error: Exception) -> FTPDataError:
        """Reset what is still open; return the transfer's error, with its result."""

        if isinstance(error, NotConnected) and error.__cause__ is None:
            error = await self._await_loss() or error

        failure = self.failure(error)
        await self.close(failure.end or End.ABORTED, failure)
        return failure

    async def _await_loss(self) -> FTPDataError | None:
        """Wait for the reason of a loss that so far only the transport knows.

        A transport that failed to send closes at once, and reports why on the next turn
        of the loop: too late for a sender that writes on without a pause.
        """

        for _ in range(LOSS_TURNS):
            if not self.dtp.has_been_connected or self.dtp.end is not None:
                break

            await asyncio.sleep(0)

        return self.dtp.reason

    async def close(self, end: End, cause: BaseException | None) -> None:
        """Reset what is still open, and wait until it is closed."""

        self._let_go()
        for dtp in self._all:
            dtp.abort(end, cause=cause)

        # `abort` makes the transport close on the next turn of the loop. anyio would cancel
        # this wait again at every turn.
        with anyio.CancelScope(shield=True):
            for dtp in self._all:
                with contextlib.suppress(FTPDataError):
                    await dtp.wait_closed()

    def failure(self, error: Exception) -> FTPDataError:
        """Turn an exception into the transfer's error, with its result."""

        self.report.meet(self.dtp)
        return self.report.failure(self._find_cut(error) or error, self._passed())

    def _find_cut(self, error: BaseException | None) -> FTPDataError | None:
        """Return the reason of a lost connection if the error is a consequence of it."""

        reasons = [dtp.reason for dtp in self._all if dtp.reason is not None]
        for cause in causes(error):
            for reason in reasons:
                if cause is reason:
                    return reason

        return None

    def result(self, end: End) -> TransferResult:
        """Describe the transfer as it is now."""

        self.report.meet(self.dtp)
        return self.report.result(end, self._passed())

    def _passed(self) -> int:
        dtp = self.dtp
        return dtp.bytes_sent if self.report.direction is Direction.SENT else dtp.bytes_received

    def begin_next_file(self, received_before: int) -> None:
        """Count from here on: the connection has carried other files before this one.

        Args:
            received_before: Bytes that earlier files took of what was received.
        """

        is_sent = self.report.direction is Direction.SENT
        self.report.foreign_bytes = self.dtp.bytes_sent if is_sent else received_before
        self._watch.start_anew(received_before)

    # What happens to every piece

    async def note_file_bytes(self, data: Buffer) -> None:
        """Count bytes of the file, digest them, report progress."""

        await self.report.count(data)
        self.report_progress()

    def report_progress(self, *, last: bool = False) -> None:
        """Tell the progress callback and the observer, if the last time was long enough ago."""

        if not self._tells_progress:
            return

        now = self._clock()
        if last or now - self._progress_at >= PROGRESS_INTERVAL:
            self._progress_at = now
            self.report.report_progress()
            if self._progress is not None:
                self._progress(self.report.file_bytes, self.report.total)
