"""The report of one transfer: the only place where its result and its error are made.

It tells the observer of its connection (`ftpdata.observers`) when the transfer starts and how
it ends. It also logs each failed transfer once, to the logger ``ftpdata.transfers``, unless
the observer does: as an error with its traceback if this side has failed, and as
information if the peer has. The peer gets `FTPDataError.reply`, which says less.

Every way that a transfer can take, direct or through a `DTP`, counts its bytes here. It
gets the `TransferResult` of a clean end from here, or the `FTPDataError` of any other end,
which carries the same result.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
from types import TracebackType
from typing import Protocol, Self

import anyio.to_thread

from .._kernel import describe_tls
from .._running import Abort, Activity
from ..addresses import HostPort
from ..contracts import Buffer, SentCallback
from ..digests import Digest
from ..errors import FTPDataError, in_words, local_error
from ..files._names import PATH_TYPES
from ..observers._telling import tell, tell_published
from ..observers.contract import Observer, Subject
from ..observers.log import log_end, logger
from ..outcome import Direction, End, FastPath, TransferResult

__all__ = ["Report", "Wire"]

_numbers = itertools.count(1)

INLINE_DIGEST = 16 * 1024
"""Bytes that are digested at once; larger pieces go to a thread."""

FILE_DONE = 250
"""Reply code of a complete transfer whose data connection stays open (RFC 959 §4.2)."""


class Wire(Protocol):
    """The facts that a report needs from a connection: a `DTP`, or the link of an endpoint."""

    @property
    def peer(self) -> HostPort | None:
        """Address of the peer, as far as it is known."""

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS object, which knows how the connection is protected; None in clear."""


class Report:
    """The facts about one transfer so far; for its observer, an `ftpdata.observers.Transfer`.

    A context manager around the transfer, from its call to its end: the observer hears of
    both there, whatever happens between them.

    Args:
        direction: The direction of the bytes.
        offset: Where in the file the transfer starts, in bytes.
        digest: Name of a digest to compute over the bytes of the file.
        observer: Notified of the transfer.
        subject: What the host has said of it.
        activity: Knows that the transfer runs; that of its connection.
        cut: Aborts its connection.
        on_sent: Called when everything has left this system.

    Attributes:
        number: Counts the transfers of this process.
        direction: As above.
        offset: As above.
        subject: As above.
        observer: As above, until it has heard of the end.
        path: The path of the file on this side, if there is one.
        peer: Address and port of the peer, as far as they are known.
        file_bytes: Bytes of the file that have passed.
        total: Bytes of the file that will pass, if known.
        fast_path: Which fast path ran.
        foreign_bytes: Bytes on the connection that belong to other transfers.
        keep_open: Whether the connection stays open after a clean end.
        on_sent: As above, until it is called.
    """

    def __init__(
        self,
        direction: Direction,
        *,
        offset: int = 0,
        digest: str | None = None,
        observer: Observer | None = None,
        subject: Subject | None = None,
        activity: Activity | None = None,
        cut: Abort | None = None,
        on_sent: SentCallback | None = None,
    ) -> None:
        self.number: int = next(_numbers)
        self.direction = direction
        self.offset = offset
        self.subject = subject
        self.path: str | None = None
        self.peer: HostPort | None = None
        self.file_bytes: int = 0
        self.total: int | None = None
        self.fast_path: FastPath = FastPath.NONE
        self.foreign_bytes: int = 0
        self.keep_open: bool = False
        self.observer = observer
        self.on_sent = on_sent
        self._activity = activity
        self._abort = cut
        self._has_started = False
        self._last: TransferResult | None = None
        self._published: TransferResult | None = None
        self._digest: Digest | None = None
        self._digest_name = digest
        self._tls: ssl.SSLObject | None = None
        self._is_logged = False
        self._clock = asyncio.get_running_loop().time
        self._started_at = self._clock()

    def __repr__(self) -> str:
        what = "" if self.path is None else f" of {self.path!r}"
        return f"<transfer {self.direction.value} {self.file_bytes} bytes{what} peer={self.peer}>"

    # The observer

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(exc)

    def start(self) -> None:
        """Tell the observer that the transfer was called for. Idempotent."""

        if self._has_started:
            return

        self._has_started = True
        if self._activity is not None:
            self._activity.begin(self.cut)
        if self.observer is not None:
            tell(self.observer, "started", self)

    def cut(self, end: End, message: str) -> None:
        """Abort the connection of the transfer."""

        if self._abort is not None:
            self._abort(end, message)

    def end(self, error: BaseException | None) -> None:
        """Tell the observer how the transfer has ended. Once.

        Args:
            error: The exception that the transfer raises; None after a clean end.
        """

        observer, self.observer = self.observer, None
        activity, self._activity = self._activity, None
        if not self._has_started:
            return

        if activity is not None:
            activity.end(self.cut)
        if observer is not None:
            tell(observer, "ended", self, self._final(error), error)

    def _final(self, error: BaseException | None) -> TransferResult:
        """Return the result of the transfer, which has ended."""

        if self._published is not None:
            return self._published
        if isinstance(error, FTPDataError) and error.result is not None:
            return error.result

        last = self._last
        if error is None and last is not None:
            return last
        # The exception has come past all that makes results: a cancellation, or a caller's mistake.
        end = End.CANCELLED if isinstance(error, asyncio.CancelledError) else self.failed_side
        if last is not None and last.end is end:
            return last
        return self.result(end, self.foreign_bytes + self.file_bytes)

    def note_published(self, result: TransferResult) -> None:
        """Record that an upload has its name: whatever comes now, it ends with this result."""

        self._published = result

    async def publish(self, result: TransferResult) -> None:
        """Tell the observer of an upload that has its name; it is complete from now on.

        Args:
            result: Its result.
        """

        self.note_published(result)
        if self.observer is not None and self.observer.wants_published:
            await tell_published(self.observer, self, result)

    @property
    def wants_progress(self) -> bool:
        """Whether the observer does anything with `report_progress`."""

        return self.observer is not None and self.observer.wants_progress

    def note_sent(self, wire_bytes: int) -> None:
        """Tell who wants to know that everything has left this system. Idempotent.

        Args:
            wire_bytes: Bytes that passed over the connection.
        """

        on_sent, self.on_sent = self.on_sent, None
        if on_sent is not None:
            try:
                on_sent(self.result(End.CLEAN, wire_bytes))
            except Exception:  # noqa: BLE001 - the transfer has not failed
                logger.exception("on_sent failed")

    def report_progress(self) -> None:
        """Tell the observer that bytes have passed."""

        if self.observer is not None:
            tell(self.observer, "progressed", self)

    def name_path(self, file: object) -> None:
        """Record the path of the file, if it is given by one, for the observer and the log."""

        if isinstance(file, PATH_TYPES):
            self.path = os.fsdecode(file)

    # The connection and the bytes

    def meet(self, wire: Wire) -> None:
        """Record the peer, and how the connection is protected."""

        self.peer, self._tls = wire.peer, wire.tls

    def note_direct(self, wire: Wire, nbytes: int) -> None:
        """Record a connection without a `DTP`, and the bytes of the file that it carried."""

        self.meet(wire)
        self.file_bytes = nbytes
        self.fast_path = FastPath.DIRECT

    def restart_clock(self) -> float:
        """Count the seconds of the transfer from now on: its connection is made.

        Returns:
            The time now, in seconds of the event loop's clock.
        """

        self._started_at = self._clock()
        return self._started_at

    def begin_digest(self) -> None:
        """Begin to compute the digest, if one was asked for. Idempotent.

        Raises:
            UnsupportedParameter: There is no such digest. Reply 504.
        """

        if self._digest is None and self._digest_name is not None:
            self._digest = Digest(self._digest_name)

    async def count(self, data: Buffer) -> None:
        """Count bytes of the file that have passed, and digest them."""

        if self._digest is not None:
            if len(data) <= INLINE_DIGEST:
                self._digest.update(data)
            else:
                await anyio.to_thread.run_sync(self._digest.update, data)

        self.file_bytes += len(data)

    @property
    def seconds(self) -> float:
        """Seconds since the connection was made, or the transfer called for before that."""

        return self._clock() - self._started_at

    @property
    def failed_side(self) -> End:
        """The end for an exception on this side that implies no more precise end."""

        is_sent = self.direction is Direction.SENT
        return End.PRODUCER_FAILED if is_sent else End.CONSUMER_FAILED

    def result(
        self,
        end: End,
        wire_bytes: int,
        *,
        reason: str | None = None,
        reply_code: int | None = None,
    ) -> TransferResult:
        """Describe the transfer as it is now.

        Args:
            end: How it ended.
            wire_bytes: Bytes that passed over the connection, in the transfer's direction.
            reason: Why it ended, if the end alone does not say so.
            reply_code: A more precise reply code than that of the end.
        """

        version, cipher, resumed = describe_tls(self._tls)
        digest = self._digest
        self._last = TransferResult(
            direction=self.direction,
            end=end,
            bytes=max(0, wire_bytes - self.foreign_bytes),
            file_bytes=self.file_bytes,
            seconds=self.seconds,
            offset=self.offset,
            digest=None if digest is None else digest.hexdigest(),
            digest_name=None if digest is None else digest.name,
            fast_path=self.fast_path,
            peer=None if self.peer is None else str(self.peer),
            reason=reason,
            tls_version=version,
            tls_cipher=cipher,
            tls_resumed=resumed,
            reply_code=reply_code or self._reply_code(end),
        )
        return self._last

    def failure(self, error: Exception, wire_bytes: int) -> FTPDataError:
        """Turn an exception into the transfer's error, with its result.

        Only the first failure of a transfer is logged.

        Args:
            error: The exception that was raised, here or by the connection.
            wire_bytes: Bytes that passed over the connection, in the transfer's direction.
        """

        failure = local_error(error, self.failed_side)
        assert failure.end is not None
        failure.result = self.result(
            failure.end, wire_bytes, reason=in_words(str, failure), reply_code=failure.reply_code
        )
        if not self._is_logged:
            # What fails afterwards is a consequence of it.
            self._is_logged = True
            if self.observer is None or not self.observer.logs_failures:
                log_end(failure.result, failure, transfer=self)
        return failure

    def _reply_code(self, end: End) -> int:
        # RFC 959 §4.2: 226 is for "closing data connection".
        return FILE_DONE if end is End.CLEAN and self.keep_open else end.reply_code
