"""What all transfers have in common: deadlines, abort, throttle, progress, digest, result.

A `Supervisor` watches one transfer on one or two `DTP`s. It ends the transfer
when a deadline passes, interrupts its coroutine the moment its connection is
cut, whatever that coroutine waits for, and turns every way of failing into one
`FTPDataError` that carries the `TransferResult`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from .._kernel import describe_tls, limit_unsent, room_to_send
from ..connection.protocol import DTP
from ..contracts import Buffer, ProgressCallback
from ..deadlines import Deadlines, ProgressWatch, shared_moment
from ..digests import Digest
from ..errors import FTPDataError, NotConnected, local_error
from ..outcome import Direction, End, FastPath, TransferResult
from ..throttle import TokenBucket

__all__ = ["Supervisor", "failed_side"]

T = TypeVar("T")

PROGRESS_INTERVAL = 0.1
"""Seconds between two calls of a progress callback, but for the last."""

THROTTLE_INTERVAL = 0.1
"""Seconds that one throttled piece lasts: short enough to look steady."""

SMALLEST_PIECE = 1024
LARGEST_PIECE = 256 * 1024

FIRST_PIECES = 64 * 1024
"""Bytes that a system takes of any connection, whatever its peer does."""

UNREAD = 128 * 1024
"""Bytes that a peer's system may acknowledge although the peer reads nothing."""

STALLED_PIECE = 8 * 1024
STALLED_TLS_PIECE = 32 * 1024
"""Bytes of a piece that the system has no room for: it stays here as long as the peer stalls.

In TLS, asyncio keeps 64 KiB of records in any case, which are not to be made of many pieces."""

INLINE_DIGEST = 16 * 1024
"""Bytes up to which a digest is computed at once; larger pieces go to a thread."""


BYTES_PER_TURN = 1024 * 1024
"""Bytes after which a sender that never had to wait lets others run."""

SMALLEST_TURN = 4096
"""Bytes that a smaller piece counts for: what is passed in the time that it takes."""

FILE_DONE = 250
"""Reply code of a complete transfer whose data connection stays open (RFC 959 §4.2)."""

LOSS_TURNS = 3
"""Turns of the loop within which a transport tells why it has closed itself."""


class Supervisor:
    """Watches one transfer.

    Args:
        dtp: The connection whose bytes count.
        direction: Which way they go.
        others: Further connections that live and die with this transfer.
        deadlines: When to give up.
        throttle: Bounds the rate, in bytes on the connection.
        progress: Told about bytes of the file.
        digest: Name of a digest to compute over the bytes of the file.
        offset: Where in the file the transfer starts, for the result.

    Attributes:
        file_bytes: Bytes of the file that have passed.
        total: Bytes of the file that will pass, if known.
        fast_path: Which fast path runs.
        foreign_bytes: Bytes on the connection that are other transfers'.
        keep_open: Whether the connection stays open behind a clean end; for
            `body` to say.
    """

    def __init__(
        self,
        dtp: DTP,
        direction: Direction,
        *,
        others: tuple[DTP, ...] = (),
        deadlines: Deadlines,
        throttle: TokenBucket | None = None,
        progress: ProgressCallback | None = None,
        digest: str | None = None,
        offset: int = 0,
    ) -> None:
        self.dtp = dtp
        self.direction = direction
        self.deadlines = deadlines
        self.file_bytes: int = 0
        self.total: int | None = None
        self.fast_path = FastPath.NONE
        self.foreign_bytes: int = 0
        self.keep_open: bool = False
        self.throttle = throttle
        self._others = others
        self._progress = progress
        # Not 0.0: the loop's clock starts with the machine, perhaps less than an interval ago.
        self._progress_at = -math.inf
        self._digest: Digest | None = None
        self._digest_name = digest
        self._offset = offset
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._watch = ProgressWatch(deadlines, self._started_at)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._interrupted = False
        self._since_turn = 0
        self._moved_before = 0
        # What the system had room for when it was asked, less what was sent since. What another
        # connection has brought is in memory already: the system may have all of it.
        self._room = sys.maxsize if others else 0
        self._least_size = STALLED_PIECE
        # Whether the peer is known to take what is sent; until then, the limit of the connection.
        self._moves = False
        self._unsent_limit: int | None = None

    # The life of a transfer

    async def run(self, body: Callable[[], Awaitable[None]]) -> TransferResult:
        """Run the transfer: `body` moves the bytes; then, if sending, finish.

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
            raise
        except Exception as error:
            failure = await self.fail(error)
            if failure is error:
                raise
            raise failure from error

        return self.result(End.CLEAN)

    async def supervise(self, body: Callable[[], Awaitable[T]]) -> T:
        """Run `body` within the deadlines, and interrupt it when a connection is cut.

        Returns:
            What `body` returns.

        Raises:
            FTPDataError: A connection was cut; the reason, itself.
            Whatever `body` raises.
        """

        if self._digest is None and self._digest_name is not None:
            self._digest = Digest(self._digest_name)

        task = asyncio.current_task()
        assert task is not None
        self._task = task
        cancelling = task.cancelling()
        for dtp in (self.dtp, *self._others):
            dtp.on_cut(self._interrupt)

        self.start_watch()
        was_cancelled = False
        try:
            return await body()
        except asyncio.CancelledError:
            was_cancelled = True
            # Where somebody else has cancelled as well, it is for them to hear of it.
            if not self._interrupted or not self._take_back_interruption(cancelling):
                raise
            reason = self._cut_reason()
            raise reason from reason.__cause__
        except Exception as error:
            # What fails behind a cut is a consequence of it.
            if not self._interrupted:
                raise
            reason = self._cut_reason()
            raise reason from reason.__cause__ or error
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
        """Take back our own cancellation; tell whether there was no other."""

        task = asyncio.current_task()
        assert task is not None
        return task.uncancel() <= cancelling

    async def _outlive_interruption(self, cancelling: int) -> None:
        """Let our own cancellation strike where it came when nothing was left to wait for.

        Raises:
            CancelledError: Somebody else has cancelled as well.
        """

        self._take_back_interruption(cancelling)
        try:
            # Before Python 3.13, what was taken back strikes all the same.
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            if task.cancelling() > cancelling:
                raise

    def _cut_reason(self) -> FTPDataError:
        for dtp in (self.dtp, *self._others):
            if dtp.reason is not None:
                return dtp.reason

        raise AssertionError("interrupted without a reason")

    def _let_go(self) -> None:
        self.stop_watch()
        for dtp in (self.dtp, *self._others):
            dtp.on_cut(None)

    async def finish(self) -> None:
        """End the connection in peace, unless it is to be kept open; report the last progress.

        Raises:
            FTPDataError: The peer has not taken everything; or the transfer
                was aborted at the last moment.
        """

        try:
            if not self.keep_open:
                stall = self.deadlines.stall
                await self.dtp.finish(
                    self.deadlines.close, stall=math.inf if stall is None else stall
                )
        except FTPDataError:
            # Everything has come; what the peer does to the empty connection is no matter.
            if self.direction is Direction.SENT or self.dtp.end not in _HARMLESS_WHEN_RECEIVED:
                raise

        self.report_progress(last=True)

    async def fail(self, error: Exception) -> FTPDataError:
        """Reset what is still open; return the transfer's error, with its result."""

        if isinstance(error, NotConnected) and error.__cause__ is None:
            error = await self._await_loss() or error

        failure = self.failure(error)
        await self.close(failure.end or End.ABORTED, failure)
        return failure

    async def _await_loss(self) -> FTPDataError | None:
        """Wait for the reason of a loss that only the transport knows of, as yet.

        A transport that failed to send closes at once, and tells why on the
        next turn of the loop: too late for who writes on without a pause.
        """

        for _ in range(LOSS_TURNS):
            if not self.dtp.has_been_connected or self.dtp.end is not None:
                break

            await asyncio.sleep(0)

        return self.dtp.reason

    async def close(self, end: End, cause: BaseException | None) -> None:
        """Reset what is still open, and wait until it is closed."""

        self._let_go()
        for dtp in (self.dtp, *self._others):
            dtp.abort(end, cause=cause)

        # abort has told the transport to close on the next turn of the loop.
        # anyio cancels anew at every turn, and shall not keep us from seeing it.
        with anyio.CancelScope(shield=True):
            for dtp in (self.dtp, *self._others):
                with contextlib.suppress(FTPDataError):
                    await dtp.wait_closed()

    def failure(self, error: Exception) -> FTPDataError:
        """Turn what was raised into the transfer's error, with its result."""

        reason = self._find_cut(error)
        if reason is None:
            reason = local_error(error, failed_side(self.direction))

        assert reason.end is not None
        reason.result = self.result(reason.end, str(reason), reply_code=reason.reply_code)
        return reason

    def _find_cut(self, error: BaseException | None) -> FTPDataError | None:
        """Find the reason of a lost connection, where the error is its consequence."""

        reasons = [dtp.reason for dtp in (self.dtp, *self._others) if dtp.reason is not None]
        while error is not None:
            for reason in reasons:
                if error is reason:
                    return reason
            error = error.__cause__

        return None

    def result(
        self, end: End, reason: str | None = None, *, reply_code: int | None = None
    ) -> TransferResult:
        """Describe the transfer as it is now."""

        dtp = self.dtp
        version, cipher, resumed = describe_tls(dtp.tls)
        return TransferResult(
            direction=self.direction,
            end=end,
            bytes=max(0, self._passed() - self.foreign_bytes),
            file_bytes=self.file_bytes,
            seconds=self._loop.time() - self._started_at,
            offset=self._offset,
            digest=self._digest.hexdigest() if self._digest is not None else None,
            digest_name=self._digest.name if self._digest is not None else None,
            fast_path=self.fast_path,
            peer=str(dtp.peer) if dtp.peer is not None else None,
            reason=reason,
            tls_version=version,
            tls_cipher=cipher,
            tls_resumed=resumed,
            reply_code=reply_code or self._reply_code(end),
        )

    def _reply_code(self, end: End) -> int:
        # RFC 959 §4.2: 226 is for "closing data connection".
        return FILE_DONE if end is End.CLEAN and self.keep_open else end.reply_code

    def _passed(self) -> int:
        dtp = self.dtp
        return dtp.bytes_sent if self.direction is Direction.SENT else dtp.bytes_received

    def count_from(self, foreign_bytes: int) -> None:
        """Count from here on: the connection has carried other files before.

        Args:
            foreign_bytes: Bytes that it has carried for them.
        """

        self.foreign_bytes = foreign_bytes
        is_sent = self.direction is Direction.SENT
        self._moved_before = self._moved() if is_sent else foreign_bytes
        self._watch = ProgressWatch(self.deadlines, self._loop.time())
        self.stop_watch()
        self.start_watch()

    # Deadlines

    def start_watch(self) -> None:
        """Watch the deadlines from now on."""

        self._watch.excuse(self._loop.time())
        self._check_deadlines()

    def stop_watch(self) -> None:
        """Stop to watch them."""

        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_deadlines(self) -> None:
        self._timer = None
        now = self._loop.time()
        end = self._watch.check(now, self._moved() - self._moved_before)
        if end is not None:
            self.dtp.abort(end)
            return

        at = self._watch.next_check_at()
        if at is not None:
            self._timer = self._loop.call_at(shared_moment(at, now), self._check_deadlines)

    def _moved(self) -> int:
        if self.direction is Direction.RECEIVED:
            return self.dtp.bytes_received

        # What the peer has taken counts: the kernel's buffers would hide a
        # peer that has stopped, and a long sendfile one that goes on.
        acknowledged = self.dtp.bytes_acknowledged
        return self.dtp.bytes_sent if acknowledged is None else acknowledged

    # What happens to every piece

    @property
    def piece_size(self) -> int:
        """Bytes to move at a time: fewer where a throttle wants a steady rate."""

        return self.piece_up_to(LARGEST_PIECE)

    def piece_up_to(self, largest: int) -> int:
        """Bytes to move at a time where a fast path can move so many."""

        rate = _lowest_rate(self.throttle)
        if rate is None:
            return largest

        return max(SMALLEST_PIECE, min(largest, int(rate * THROTTLE_INTERVAL)))

    async def send(self, data: Buffer) -> None:
        """Send data at the pace of the throttle and of the peer, piece by piece.

        Raises:
            FTPDataError: The connection has ended.
        """

        if len(data) <= self.piece_up_to(self.sending_size()):
            await self._send_piece(data)
            return

        view = memoryview(data)
        while view:
            size = self.piece_up_to(self.sending_size())
            await self._send_piece(view[:size])
            view = view[size:]

    async def _send_piece(self, data: Buffer) -> None:
        await self.wait_for_turn(len(data))
        self.dtp.write(data)
        self._room -= len(data)
        await self.dtp.drain()

    def sending_size(self, behind: int = 0) -> int:
        """Say how many bytes to make ready for `send`: as many as the system has room for.

        So what is read, converted or made goes on its way at once, in large
        pieces, and little is held where the peer has stopped to take any.

        Args:
            behind: Bytes that are ready already, and will be sent before.
        """

        if self._room - behind < self._least_size:
            self._find_room()

        return max(self._least_size, min(self._room - behind, LARGEST_PIECE))

    def bound_unsent(self) -> bool:
        """Let the system hold little for a peer that may take nothing; tell whether it may.

        It may have stalled from the beginning, as thousands at a time do. Together they
        would use up all that the system has for sending, and then there is no room.
        """

        if self._moves:
            return False

        acknowledged = self.dtp.bytes_acknowledged
        self._moves = acknowledged is None or acknowledged > UNREAD
        if not self._moves and self._unsent_limit is None:
            self._unsent_limit = limit_unsent(self.dtp.transport, FIRST_PIECES)
        elif self._moves and self._unsent_limit is not None:
            limit_unsent(self.dtp.transport, self._unsent_limit)
            self._unsent_limit = None

        return not self._moves

    def _find_room(self) -> None:
        transport = self.dtp.transport
        room = room_to_send(transport)
        if room is None:
            self._room = sys.maxsize
            return

        if self.bound_unsent():
            moved = self.dtp.bytes_acknowledged or 0
            room = min(room, FIRST_PIECES - (self.dtp.bytes_sent - moved))

        self._room = room
        if self.dtp.tls is not None:
            self._least_size = STALLED_TLS_PIECE
        self.dtp.limit_waiting(self._least_size)

    async def wait_for_turn(self, nbytes: int) -> None:
        """Wait until the throttle lets so many bytes pass, and others had their turn.

        The time that the throttle takes is not held against the peer.
        """

        if self._since_turn >= BYTES_PER_TURN:
            self._since_turn = 0
            await asyncio.sleep(0)

        # Many small pieces take as long as a few large ones.
        self._since_turn += max(nbytes, SMALLEST_TURN)
        if self.throttle is not None:
            delay = self.throttle.reserve(nbytes, self._loop.time())
            if delay > 0:
                await self._sleep_throttled(nbytes, delay)

    async def _sleep_throttled(self, nbytes: int, delay: float) -> None:
        self._since_turn = 0
        self.stop_watch()
        try:
            await asyncio.sleep(delay)
        except BaseException:
            # Others share the buckets above; they must not pay for this.
            self.give_back(nbytes)
            raise

        self.start_watch()

    def give_back(self, nbytes: int) -> None:
        """Give bytes back to the throttle that had their turn and did not pass."""

        if self.throttle is not None and nbytes:
            self.throttle.unused(nbytes)

    async def note_file_bytes(self, data: Buffer) -> None:
        """Count bytes of the file, digest them, report progress."""

        if self._digest is not None:
            if len(data) <= INLINE_DIGEST:
                self._digest.update(data)
            else:
                await anyio.to_thread.run_sync(self._digest.update, data)

        self.file_bytes += len(data)
        self.report_progress()

    def report_progress(self, *, last: bool = False) -> None:
        """Call the progress callback, now and then."""

        if self._progress is None:
            return

        now = self._loop.time()
        if last or now - self._progress_at >= PROGRESS_INTERVAL:
            self._progress_at = now
            self._progress(self.file_bytes, self.total)


def _lowest_rate(bucket: TokenBucket | None) -> float | None:
    lowest: float | None = None
    while bucket is not None:
        if bucket.rate is not None and (lowest is None or bucket.rate < lowest):
            lowest = bucket.rate
        bucket = bucket.parent

    return lowest


_HARMLESS_WHEN_RECEIVED = frozenset({End.RESET, End.LOST, End.CLOSE_TIMEOUT})
"""What may become of a connection whose every byte and end of file have come."""


def failed_side(direction: Direction) -> End:
    """Say who has failed, where an exception says nothing more precise."""

    return End.PRODUCER_FAILED if direction is Direction.SENT else End.CONSUMER_FAILED
