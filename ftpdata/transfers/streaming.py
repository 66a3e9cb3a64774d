"""The transfer of bytes that are received into an ``async for``: `receive_stream`."""

from __future__ import annotations

import asyncio
import functools
import warnings
from collections.abc import Awaitable, Callable
from typing import Self

from .._tasks import call_in_loop
from ..codecs.options import DEFAULT_OPTIONS, CodecOptions
from ..codecs.transfer import TransferDecoder
from ..contracts import ProgressCallback
from ..deadlines import DEFAULT_DEADLINES, Deadlines
from ..errors import FTPDataError, error_for_end
from ..opening.endpoint import Endpoint
from ..outcome import Direction, End, TransferResult
from ..parameters import DEFAULT_PARAMETERS, TransferParameters
from ..throttle import TokenBucket
from ._door import AtTheDoor, check_arguments
from ._incoming import Incoming, MarkerHandler, SuspectHandler
from ._opened import Connection, abort_connection, dtp_of, opened, report_on
from ._report import Report
from ._sizes import SizeCheck
from ._supervisor import Supervisor

__all__ = ["ReceivedStream", "receive_stream"]


def receive_stream(
    connection: Connection,
    *,
    parameters: TransferParameters = DEFAULT_PARAMETERS,
    options: CodecOptions = DEFAULT_OPTIONS,
    offset: int = 0,
    expected_size: int | None = None,
    size_limit: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    on_marker: MarkerHandler | None = None,
    on_suspect: SuspectHandler | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> ReceivedStream:
    """Receive into an ``async for``.

    ::

        async with receive_stream(connection) as stream:
            async for data in stream:
                ...
        print(stream.result)

    The loop ends only on a clean end. The peer is slowed down to the pace of
    the loop; time that the loop takes does not count against the peer.

    Args:
        connection: A connected `DTP`, or an endpoint that is opened when the first
            piece is asked for; it is closed in any case. A `ReusableConnection`
            stays open after a clean end in MODE B and C.
        parameters: TYPE, STRU and MODE.
        options: The host's choices about them.
        offset: Where in the file its first byte belongs, in bytes (REST).
        expected_size: Bytes of the file that were promised (ALLO).
        size_limit: Bytes of the file that are accepted.
        throttle: Limits the rate of bytes on the connection.
        progress: Called with the bytes of the file received so far, and
            `expected_size`.
        digest: Digest to compute over the bytes of the file.
        on_marker: For MODE B and C: awaited for each restart marker, once
            the loop has asked for what follows it.
        on_suspect: For MODE B and C: called before data that their sender
            marked as suspect, which are yielded like any other.
        deadlines: When to give up.

    Raises:
        FTPDataError: Raised from the loop, for any end that is not clean;
            carries the result and the reply code.
    """

    with AtTheDoor(Direction.RECEIVED, connection):
        check_arguments(locals())

    return received_stream(
        connection,
        parameters=parameters,
        options=options,
        offset=offset,
        expected_size=expected_size,
        size_limit=size_limit,
        throttle=throttle,
        progress=progress,
        digest=digest,
        on_marker=on_marker,
        on_suspect=on_suspect,
        deadlines=deadlines,
    )


def received_stream(
    connection: Connection,
    *,
    parameters: TransferParameters,
    options: CodecOptions,
    offset: int = 0,
    expected_size: int | None = None,
    size_limit: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    on_marker: MarkerHandler | None = None,
    on_suspect: SuspectHandler | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    decoder: TransferDecoder | None = None,
) -> ReceivedStream:
    """Do as `receive_stream`, with arguments that were checked.

    With `decoder`, the data are decoded by it instead of what the parameters call for.
    """

    report = report_on(connection, Direction.RECEIVED, offset=offset, digest=digest)
    report.total = expected_size

    async def begin() -> tuple[Supervisor, Incoming]:
        from_peer = await opened(connection, report)
        transfer = Supervisor(
            dtp_of(from_peer), report, deadlines=deadlines, throttle=throttle, progress=progress
        )
        incoming = Incoming(
            transfer,
            from_peer,
            parameters,
            options=options,
            offset=offset,
            on_marker=on_marker,
            on_suspect=on_suspect,
            decoder=decoder,
        )
        return transfer, incoming

    return ReceivedStream(connection, report, begin, SizeCheck(expected_size, size_limit))


class ReceivedStream:
    """An asynchronous iterator over received data, with the result of the transfer.

    Leaving its ``async with`` before the end resets the connection. One that has begun, and is
    forgotten without `aclose`, does so as well, with a `ResourceWarning`.

    Attributes:
        result: The result, once the transfer has ended in any way.
    """

    def __init__(
        self,
        connection: Connection,
        report: Report,
        begin: Callable[[], Awaitable[tuple[Supervisor, Incoming]]],
        check_size: SizeCheck,
    ) -> None:
        self.result: TransferResult | None = None
        self._connection = connection
        self._report = report
        self._begin = begin
        self._check_size = check_size
        self._transfer: Supervisor | None = None
        self._incoming: Incoming | None = None
        self._failure: FTPDataError | None = None
        self._loop = asyncio.get_running_loop()
        self._has_begun = False

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if not self._has_begun or self.result is not None:
            return

        _warn(f"unclosed stream {self!r}", ResourceWarning, source=self)
        # Not a method of this object, which is being deleted.
        end = functools.partial(
            _end_forgotten, self._loop, self._connection, self._transfer, self._report
        )
        call_in_loop(self._loop, end)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self.aclose()

    def __aiter__(self) -> ReceivedStream:
        return self

    async def __anext__(self) -> bytes:
        if self._failure is not None:
            # Stopping quietly now would look like a clean end.
            raise self._failure

        if self.result is not None:
            if self.result.end is not End.CLEAN:
                # A loop that goes on after a cancellation must not end quietly, either.
                raise error_for_end(self.result.end, result=self.result)
            raise StopAsyncIteration

        self._has_begun = True
        self._report.start()
        try:
            data = await self._advance()
        except BaseException as error:
            self._report.end(error)
            raise

        if data:
            return data

        self._report.end(None)
        raise StopAsyncIteration

    async def _advance(self) -> bytes:
        """Return the next piece; none after a clean end, which makes the result."""

        try:
            if self._transfer is None:
                self._transfer, self._incoming = await self._begin()
            # While the caller is busy, the peer is not watched and cannot be blamed.
            data = await self._transfer.supervise(self._next)
            if data:
                return data

            await self._transfer.finish()
        except asyncio.CancelledError:
            await self._end(End.CANCELLED)
            raise
        except Exception as error:
            self._failure = await self._fail(error)
            self.result = self._failure.result
            if self._failure is error:
                raise
            raise self._failure from self._failure.__cause__

        self.result = self._transfer.result(End.CLEAN)
        return b""

    async def _next(self) -> bytes:
        assert self._transfer is not None
        assert self._incoming is not None
        data = await self._incoming.next()
        self._check_size(self._report.file_bytes + len(data), is_last=not data)
        if data:
            await self._transfer.note_file_bytes(data)

        return data

    async def aclose(self) -> None:
        """Reset the connection unless the transfer has ended. Idempotent."""

        if self.result is None:
            try:
                await self._end(End.ABORTED)
            finally:
                self._report.end(None)

    async def _fail(self, error: Exception) -> FTPDataError:
        if self._transfer is not None:
            return await self._transfer.fail(error)

        abort_connection(self._connection, End.OPEN_FAILED)
        return self._report.failure(error, 0)

    async def _end(self, end: End) -> None:
        if self._transfer is None and not isinstance(self._connection, Endpoint):
            self._transfer, self._incoming = await self._begin()

        if self._transfer is None:
            abort_connection(self._connection, end)
            self.result = self._report.result(end, 0)
        else:
            self.result = self._transfer.result(end)
            await self._transfer.close(end, None)


def _end_forgotten(
    loop: asyncio.AbstractEventLoop,
    connection: Connection,
    transfer: Supervisor | None,
    report: Report,
) -> None:
    """Reset the connection of a stream that nobody reads any more, and tell its observer."""

    if transfer is None:
        report.result(End.ABORTED, 0)
    else:
        transfer.result(End.ABORTED)
    if not loop.is_closed():
        abort_connection(connection, End.ABORTED)
    report.end(None)
