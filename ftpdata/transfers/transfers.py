"""Whole transfers over a `DTP`, or over an endpoint: files, listings, streams, relays.

Every function here ends the connection, truthfully: it returns a
`TransferResult` once the peer has everything (sending) or has announced the end
of file and all is stored (receiving), and raises an `FTPDataError` that carries
the same result and the reply code for any other end. `DTP.abort` ends a
transfer from anywhere, with a reason. Cancelling a transfer resets the
connection and leaves no task, socket, file, thread or temporary file behind.

What stands in RFC 959 about representation and transmission holds for all of
them, by the same rules:

1. In MODE B, C and Z, and with STRU R, a mark ends the file. An upload without
   it was cut, even where the connection ended politely: `TruncatedTransfer`,
   426, `End.INCOMPLETE`. In MODE S with STRU F there is no way to know (but
   `expected_size`).
2. In MODE B and C the file is over with its mark, and the connection is closed
   then, whether the peer has or not; a `ReusableConnection` stays open (250).
3. An `offset` is a place in the file as it is stored, in bytes, whatever TYPE,
   STRU and MODE are. In TYPE I that is what REST has in stream mode; where
   bytes on the connection are others than those of the file, RFC 3659 §5.3
   would have them counted, which nobody can without the whole file, and this
   is what other servers do as well. A restart within a line or a record goes
   on within it: what is sent begins there, as a line or a record of its own.
4. Restart markers (RFC 959 §3.5) are such offsets, in decimal: those that are
   sent every `CodecOptions.marker_interval` bytes in MODE B and C, and the
   receiver's side of those that come. `format_mark_reply` makes the reply 110.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Generator,
    Iterable,
)
from types import TracebackType
from typing import BinaryIO, Self, TypeVar, cast

import anyio

from .._tasks import finish_despite_cancellation
from ..codecs.selection import CodecOptions, encoder_for, listing_encoder_for
from ..connection.consumers import ReceiveQueue
from ..connection.protocol import DTP
from ..contracts import Encoder, ProgressCallback, UploadTarget
from ..deadlines import Deadlines
from ..errors import BadArgument, FTPDataError, QuotaExceeded, SizeMismatch
from ..files._names import FilePath
from ..files._object_target import FileObjectTarget
from ..files.source import FileSource
from ..files.target import FileTarget, WriteMode
from ..listing.entry import ListingEntry
from ..listing.table import ListingBlock
from ..opening.endpoint import Endpoint
from ..outcome import Direction, End, TransferResult
from ..parameters import RepresentationType, Structure, TransferParameters, TransmissionMode
from ..throttle import TokenBucket
from ._conversion import DEFAULT_OPTIONS, Incoming, MarkerHandler, Outgoing, SuspectHandler
from ._direct import (
    DIRECT_LIMIT,
    MOMENT,
    SENDFILE_LIMIT,
    SentAhead,
    failure_of,
    receive_directly,
    send_directly,
)
from ._pending import PendingFile
from ._sendfile import send_by_reading, send_by_sendfile
from ._splice import ENOUGH_TO_SPLICE, can_splice, splice_upload
from ._supervisor import Supervisor
from .reuse import ReusableConnection

__all__ = [
    "ReceivedStream",
    "receive_file",
    "receive_stream",
    "relay",
    "send_file",
    "send_listing",
    "send_stream",
]

T = TypeVar("T")

LISTING_BATCH = 64 * 1024
"""Bytes of lines that are gathered before they are written."""

STREAM, DEFAULT_DEADLINES = TransferParameters(), Deadlines()


async def send_file(
    dtp: DTP | Endpoint | ReusableConnection,
    file: FilePath | int | BinaryIO,
    *,
    dir_fd: int | None = None,
    parameters: TransferParameters = STREAM,
    options: CodecOptions = DEFAULT_OPTIONS,
    offset: int = 0,
    length: int | None = None,
    expected_size: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    limiter: anyio.CapacityLimiter | None = None,
) -> TransferResult:
    """Send a file (RETR), and make sure that the peer has it.

    What is sent is what the file held when the transfer began: bytes that are
    appended meanwhile are not, and a file that shrinks is an error.

    Args:
        dtp: A connected data connection, or an endpoint that is opened here; it
            is closed in any case. A `ReusableConnection` stays open behind a
            clean end in MODE B and C.
        file: A path; or an open descriptor or binary file object, which stays
            open and belongs to the caller.
        dir_fd: Directory that a relative path starts from.
        parameters: TYPE, STRU and MODE.
        options: What the host chooses about them.
        offset: Where to start, in bytes of the file as it is stored (REST).
        length: Bytes of the file to send at most; None sends up to its end.
        expected_size: Bytes of the file that were promised to the peer, from
            `offset` on.
        throttle: Bounds the rate of bytes on the connection.
        progress: Called with bytes of the file sent, and their total.
        digest: Digest to compute over the bytes of the file: a `hashlib` name
            or ``crc32``.
        deadlines: When to give up.
        limiter: Bounds the threads of this file's store.

    Raises:
        FTPDataError: The transfer is not complete; carries the result and the
            reply code: 426 if the peer or a deadline cut it, 451 if the file
            did (`SizeMismatch` if it shrank), 550 if it cannot be read; 425 or
            522 if an endpoint could not be opened.
    """

    pending = PendingFile(
        lambda: FileSource.open(file, dir_fd=dir_fd, offset=offset, limiter=limiter)
    )
    try:
        ahead: SentAhead | None = None
        if isinstance(dtp, Endpoint):
            if parameters.is_identity and digest is None:
                with _Opening(dtp, Direction.SENT):
                    done = await _send_file_directly(
                        dtp,
                        file,
                        pending,
                        offset=offset,
                        length=length,
                        expected_size=expected_size,
                        throttle=throttle,
                        progress=progress,
                    )
                if isinstance(done, TransferResult):
                    return done
                ahead = done

            dtp = await _open(dtp)

        connection = dtp
        transfer = Supervisor(
            _dtp_of(dtp),
            Direction.SENT,
            deadlines=deadlines,
            throttle=throttle,
            progress=progress,
            digest=digest,
            offset=offset,
        )

        async def body() -> None:
            if length is not None and length < 0:
                raise BadArgument(f"a length is not negative: {length}")

            outgoing = _outgoing(transfer, connection, parameters, options, offset)
            source = await pending.get()
            try:
                total = _total_of(source, length)
                if expected_size is not None and total is not None and total != expected_size:
                    raise SizeMismatch(
                        f"{expected_size} bytes were promised, the file has {total}"
                    )

                transfer.total = total
                _note_ahead(transfer, ahead)
                source.position += transfer.file_bytes

                can_sendfile = parameters.is_identity and digest is None and source.fd is not None
                if can_sendfile and total is not None and transfer.dtp.tls is None:
                    await send_by_sendfile(transfer, source, outgoing)

                if transfer.file_bytes != total:
                    await send_by_reading(transfer, source, outgoing)

                await outgoing.finish()
            finally:
                source.close()

        return await transfer.run(body)
    finally:
        await pending.settle()
        if pending.file is not None:
            pending.file.close()


async def receive_file(
    dtp: DTP | Endpoint | ReusableConnection,
    target: FilePath | BinaryIO | UploadTarget,
    *,
    dir_fd: int | None = None,
    parameters: TransferParameters = STREAM,
    options: CodecOptions = DEFAULT_OPTIONS,
    offset: int = 0,
    append: bool = False,
    expected_size: int | None = None,
    size_limit: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    on_marker: MarkerHandler | None = None,
    on_suspect: SuspectHandler | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    limiter: anyio.CapacityLimiter | None = None,
) -> TransferResult:
    """Receive a file (STOR, APPE), and publish it only if all of it came.

    A path without `offset` and `append` is written atomically: beside the
    target under a hidden name, renamed on a clean end (see `WriteMode`). An
    upload that was cut leaves nothing under the final name.

    Args:
        dtp: A connected data connection, or an endpoint that is opened here; it
            is closed in any case. A `ReusableConnection` stays open behind a
            clean end in MODE B and C.
        target: A path; a binary file object, which stays open and belongs to
            the caller; or an `UploadTarget` such as `FileTarget`, of which
            `commit` or `discard` is called exactly once.
        dir_fd: Directory that a relative path starts from.
        parameters: TYPE, STRU and MODE.
        options: What the host chooses about them.
        offset: Where to write a path's first byte, in bytes (REST); in place.
        append: Write behind a path's end (APPE); in place.
        expected_size: Bytes of the file that were promised (ALLO): more or
            fewer are an error. In stream mode this is the one way to know an
            upload that was cut politely.
        size_limit: Bytes of the file that are accepted.
        throttle: Bounds the rate of bytes on the connection.
        progress: Called with bytes of the file received, and `expected_size`.
        digest: Digest to compute over the bytes of the file: a `hashlib` name
            or ``crc32``.
        on_marker: For MODE B and C: awaited for each restart marker, once
            everything before it was written to the target. What it raises
            ends the transfer.
        on_suspect: For MODE B and C: called ahead of data that their sender
            marked as suspect, which are stored as any other.
        deadlines: When to give up.
        limiter: Bounds the threads of this file's store.

    Raises:
        FTPDataError: The upload is not complete, and was not published;
            carries the result and the reply code: 426 if it was cut, 451,
            452 or 550 if it could not be stored, 552 beyond `size_limit`.
    """

    async def open_target() -> UploadTarget:
        if not isinstance(target, (str, bytes, os.PathLike)):
            return _as_upload_target(target, limiter)

        mode = WriteMode.IN_PLACE if offset else WriteMode.ATOMIC
        return await FileTarget.open(
            target,
            dir_fd=dir_fd,
            mode=WriteMode.APPEND if append else mode,
            offset=offset,
            limiter=limiter,
        )

    async def body() -> None:
        file = await pending.get()
        incoming = Incoming(
            transfer,
            connection,
            parameters,
            options=options,
            offset=_position(file, offset),
            on_marker=on_marker,
            on_suspect=on_suspect,
            in_place=isinstance(file, FileTarget),
        )
        await _store(transfer, incoming, file, check_size, may_splice=digest is None)

    check_size = _SizeCheck(expected_size, size_limit)
    pending = PendingFile(open_target)
    keeps_what_came = bool(offset or append)
    if not isinstance(target, (str, bytes, os.PathLike)):
        # In any case it is committed or discarded.
        given = await pending.get()
        keeps_what_came = isinstance(given, FileTarget) and given.keeps_what_came
    try:
        if isinstance(dtp, Endpoint):
            is_plain = parameters.is_identity and digest is None and throttle is None
            # The file may be over before the connection is; and of what is to stay
            # if the upload is cut, no byte may be lost on a shorter way.
            is_whole = _is_over_with_connection(parameters) and not keeps_what_came
            with _Opening(dtp, Direction.RECEIVED):
                arrived: tuple[FileTarget, bytes, TransferResult] | DTP
                if is_whole:
                    arrived = await _open_for_upload(dtp, pending if is_plain else None, offset)
                else:
                    arrived = await dtp.open(keep=True)
            if isinstance(arrived, tuple):
                return await _store_whole(
                    *arrived, check_size, progress=progress, timeout=deadlines.stall
                )
            dtp = arrived

        connection = dtp
        transfer = Supervisor(
            _dtp_of(dtp),
            Direction.RECEIVED,
            deadlines=deadlines,
            throttle=throttle,
            progress=progress,
            digest=digest,
            offset=offset,
        )
        transfer.total = expected_size
        result = await transfer.run(body)
    except BaseException as error:
        await pending.settle()
        if pending.file is not None:
            await _discard(pending.file, error, deadlines.close)
        raise

    file = pending.file
    assert file is not None
    try:
        await file.commit()
    except Exception as error:
        failure = transfer.failure(error)
        if failure is error:
            raise
        raise failure from error

    return result


async def _discard(target: UploadTarget, failure: BaseException, timeout: float | None) -> None:
    """Discard an upload; what fails now is no reason to conceal why it was cut."""

    try:
        await finish_despite_cancellation(target.discard(), timeout)
    except Exception as error:  # noqa: BLE001 - whatever it was, it is told of
        failure.add_note(f"what came of the upload could not be discarded: {error!r}")


async def send_listing(
    dtp: DTP | Endpoint | ReusableConnection,
    lines: ListingBlock | Iterable[ListingItem] | AsyncIterable[ListingItem],
    *,
    formatter: Callable[[ListingEntry], bytes | None] | None = None,
    parameters: TransferParameters = STREAM,
    options: CodecOptions = DEFAULT_OPTIONS,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> TransferResult:
    """Send the lines of a directory (LIST, NLST, MLSD), one CR LF behind each.

    Lines go out as they come, in bounded memory: the first one does not wait
    for the last.

    Args:
        dtp: A connected data connection, or an endpoint that is opened here; it
            is closed in any case. A `ReusableConnection` stays open behind a
            clean end in MODE B and C.
        lines: Lines without their end, or entries that `formatter` makes
            lines of; or lists of either, which is faster. Fastest are blocks
            of whole lines (`ListingBlock`), which are sent as they are:
            `list_directory` makes them. Or one such block, which is all there is.
        formatter: Such as ``ListFormatter(now=…).format``; an entry for which
            it returns None is left out.
        parameters: TYPE, STRU and MODE. A listing is text whatever TYPE says:
            EBCDIC with TYPE E, else ASCII (RFC 959 §4.1.3).
        options: What the host chooses about them.
        throttle: Bounds the rate of bytes on the connection.
        progress: Called with bytes of the listing sent, before encoding; the
            total is None.
        deadlines: When to give up.

    Raises:
        FTPDataError: The listing is not complete; carries the result and the
            reply code: 426 if the peer or a deadline cut it, 451 if `lines`
            raised (550 for an `OSError` that says so), or if an entry came
            and there is no `formatter`; 504 for parameters that there is no
            encoder for.
    """

    ahead: SentAhead | None = None
    if isinstance(dtp, Endpoint):
        if (
            isinstance(lines, ListingBlock)
            and len(lines) <= DIRECT_LIMIT
            and _is_plain_text(parameters)
        ):
            with _Opening(dtp, Direction.SENT):
                done = await send_directly(
                    dtp,
                    lines,
                    length=len(lines),
                    throttle=throttle,
                    progress=None if progress is None else lambda size, _: progress(size, None),
                )
            if isinstance(done, TransferResult):
                return done
            ahead = done

        dtp = await _open(dtp)

    connection = dtp
    transfer = Supervisor(
        _dtp_of(dtp), Direction.SENT, deadlines=deadlines, throttle=throttle, progress=progress
    )

    async def body() -> None:
        encoder: Encoder | None = None
        if not _is_plain_text(parameters):
            encoder = listing_encoder_for(parameters, options=options)

        left: Iterable[ListingItem] | AsyncIterable[ListingItem]
        if isinstance(lines, ListingBlock):
            _note_ahead(transfer, ahead)
            # Not a copy of all of it, where nothing was sent: the peer may stall.
            rest = lines if ahead is None else ListingBlock(lines[ahead.size :])
            left = (rest,) if rest else ()
        else:
            left = lines

        outgoing = Outgoing(transfer, connection, encoder, parameters.mode)
        async with contextlib.aclosing(_batches(left, formatter, transfer)) as batches:
            await _send_chunks(transfer, batches, outgoing)

    return await transfer.run(body)


async def send_stream(
    dtp: DTP | Endpoint | ReusableConnection,
    chunks: AsyncIterable[bytes],
    *,
    parameters: TransferParameters = STREAM,
    options: CodecOptions = DEFAULT_OPTIONS,
    offset: int = 0,
    expected_size: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> TransferResult:
    """Send what an asynchronous iterable gives: an object store, a pipe, a generator.

    Args:
        dtp: A connected data connection, or an endpoint that is opened here; it
            is closed in any case. A `ReusableConnection` stays open behind a
            clean end in MODE B and C.
        chunks: The bytes of the file. An asynchronous generator is closed in
            any case.
        parameters: TYPE, STRU and MODE.
        options: What the host chooses about them.
        offset: Where in the file its first byte stands, in bytes (REST).
        expected_size: Bytes of the file that were promised to the peer: more
            or fewer are an error.
        throttle: Bounds the rate of bytes on the connection.
        progress: Called with bytes of the file sent, and `expected_size`.
        digest: Digest to compute over the bytes of the file.
        deadlines: When to give up.

    Raises:
        FTPDataError: The transfer is not complete; carries the result and the
            reply code: 426 if the peer or a deadline cut it, 451 if `chunks`
            raised.
    """

    if isinstance(dtp, Endpoint):
        dtp = await _open(dtp)

    connection = dtp
    transfer = Supervisor(
        _dtp_of(dtp),
        Direction.SENT,
        deadlines=deadlines,
        throttle=throttle,
        progress=progress,
        digest=digest,
        offset=offset,
    )
    transfer.total = expected_size

    async def body() -> None:
        outgoing = _outgoing(transfer, connection, parameters, options, offset)
        await _send_chunks(transfer, chunks, outgoing)
        if expected_size is not None and transfer.file_bytes != expected_size:
            raise SizeMismatch(f"{expected_size} bytes were promised, {transfer.file_bytes} sent")

    return await transfer.run(body)


def receive_stream(
    dtp: DTP | ReusableConnection,
    *,
    parameters: TransferParameters = STREAM,
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

        async with receive_stream(dtp) as stream:
            async for data in stream:
                ...
        print(stream.result)

    The loop ends on a clean end only. The peer is slowed down to the pace of
    the loop; time that the loop takes is not held against it.

    Args:
        dtp: A connected data connection; it is closed in any case. A
            `ReusableConnection` stays open behind a clean end in MODE B and C.
        parameters: TYPE, STRU and MODE.
        options: What the host chooses about them.
        offset: Where in the file its first byte belongs, in bytes (REST).
        expected_size: Bytes of the file that were promised (ALLO).
        size_limit: Bytes of the file that are accepted.
        throttle: Bounds the rate of bytes on the connection.
        progress: Called with bytes of the file received, and `expected_size`.
        digest: Digest to compute over the bytes of the file.
        on_marker: For MODE B and C: awaited for each restart marker, once
            the loop has asked for what comes behind it.
        on_suspect: For MODE B and C: called ahead of data that their sender
            marked as suspect, which are given out as any other.
        deadlines: When to give up.

    Raises:
        FTPDataError: Out of the loop, on any end that is not clean; carries
            the result and the reply code.
    """

    transfer = Supervisor(
        _dtp_of(dtp),
        Direction.RECEIVED,
        deadlines=deadlines,
        throttle=throttle,
        progress=progress,
        digest=digest,
        offset=offset,
    )
    transfer.total = expected_size
    incoming = Incoming(
        transfer,
        dtp,
        parameters,
        options=options,
        offset=offset,
        on_marker=on_marker,
        on_suspect=on_suspect,
    )
    return ReceivedStream(transfer, incoming, _SizeCheck(expected_size, size_limit))


async def relay(
    source: DTP,
    destination: DTP,
    *,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> TransferResult:
    """Send on to one connection what another one brings, at the slower one's pace.

    The destination gets an end of file only if the source had a clean one; a
    cut on either side is a reset on the other.

    Args:
        source: Where the bytes come from; it is closed in any case.
        destination: Where they go; it is closed in any case.
        throttle: Bounds the rate.
        progress: Called with the bytes relayed; the total is None.
        digest: Digest to compute over the bytes.
        deadlines: When to give up, on either side.

    Returns:
        The result of the destination, whose bytes are the source's.

    Raises:
        FTPDataError: Either side was cut; carries the result and the reply code.
    """

    transfer = Supervisor(
        destination,
        Direction.SENT,
        others=(source,),
        deadlines=deadlines,
        throttle=throttle,
        progress=progress,
        digest=digest,
    )

    async def body() -> None:
        queue = ReceiveQueue.attach(source)
        while data := await queue.receive():
            await transfer.send(data)
            await transfer.note_file_bytes(data)
            del data

        with contextlib.suppress(FTPDataError):
            await source.finish(deadlines.close)

    return await transfer.run(body)


class _SizeCheck:
    """Holds an upload to the size that was promised, and to the one that is allowed."""

    def __init__(self, expected: int | None, limit: int | None) -> None:
        self.expected = expected
        self._limit = limit

    def room(self, size: int) -> int | None:
        """How many bytes more there may be, behind so many; None for any number."""

        bounds = [bound for bound in (self.expected, self._limit) if bound is not None]
        return min(bounds) - size if bounds else None

    def __call__(self, size: int, *, is_last: bool) -> None:
        if self._limit is not None and size > self._limit:
            raise QuotaExceeded(f"the upload has more than the {self._limit} bytes allowed")

        expected = self.expected
        if expected is not None and (size > expected or (is_last and size < expected)):
            raise SizeMismatch(
                f"{expected} bytes were promised, {size}{'' if is_last else ' or more'} came"
            )


class ReceivedStream:
    """What `receive_stream` returns: an asynchronous iterator, and its result.

    Leaving its ``async with`` before the end resets the connection.

    Attributes:
        result: The result, once the transfer has ended, however it did.
    """

    def __init__(
        self,
        transfer: Supervisor,
        incoming: Incoming,
        check_size: _SizeCheck,
    ) -> None:
        self.result: TransferResult | None = None
        self._transfer = transfer
        self._incoming = incoming
        self._check_size = check_size
        self._failure: FTPDataError | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> ReceivedStream:
        return self

    async def __anext__(self) -> bytes:
        if self._failure is not None:
            # To stop quietly now would look like a clean end.
            raise self._failure

        if self.result is not None:
            raise StopAsyncIteration

        transfer = self._transfer
        try:
            # While the caller is busy, the peer is not watched and cannot be blamed.
            data = await transfer.supervise(self._next)
            if data:
                return data

            await transfer.finish()
        except asyncio.CancelledError:
            await self._end(End.CANCELLED)
            raise
        except Exception as error:
            self._failure = await transfer.fail(error)
            self.result = self._failure.result
            if self._failure is error:
                raise
            raise self._failure from error

        self.result = transfer.result(End.CLEAN)
        raise StopAsyncIteration

    async def _next(self) -> bytes:
        data = await self._incoming.next()
        self._check_size(self._transfer.file_bytes + len(data), is_last=not data)
        if data:
            await self._transfer.note_file_bytes(data)

        return data

    async def aclose(self) -> None:
        """Reset the connection unless the transfer has ended. Idempotent."""

        if self.result is None:
            await self._end(End.ABORTED)

    async def _end(self, end: End) -> None:
        self.result = self._transfer.result(end)
        await self._transfer.close(end, None)


ListingItem = ListingBlock | bytes | ListingEntry | list[bytes] | list[ListingEntry]


# Both ways


async def _open(endpoint: Endpoint) -> DTP:
    with _Opening(endpoint, Direction.SENT):
        return await endpoint.open(keep=True)


def _is_over_with_connection(parameters: TransferParameters) -> bool:
    return (
        parameters.mode is TransmissionMode.STREAM and parameters.structure is Structure.FILE
    )


async def _open_for_upload(
    endpoint: Endpoint, pending: PendingFile[UploadTarget] | None, offset: int
) -> tuple[FileTarget, bytes, TransferResult] | DTP:
    """Open an endpoint; where a small upload came with it, give that instead.

    Args:
        endpoint: What it comes over.
        pending: The file that is to hold just what comes; None for any other.
        offset: Where in the file the transfer starts, for the result.
    """

    file: UploadTarget | None = None
    if pending is not None:
        await endpoint.connect()
        file = await pending.get_soon(MOMENT)

    target = file if isinstance(file, FileTarget) else None
    arrived = await receive_directly(endpoint, target, offset=offset)
    if isinstance(arrived, tuple):
        assert target is not None
        return target, *arrived
    return arrived


class _Opening:
    """Closes what does not open, and gives its error the result that every error has."""

    def __init__(self, endpoint: Endpoint, direction: Direction) -> None:
        self._endpoint = endpoint
        self._direction = direction

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            return

        end = End.CANCELLED
        if isinstance(error, FTPDataError):
            end = error.end or End.OPEN_FAILED
            if error.result is None:
                error.result = TransferResult(
                    direction=self._direction,
                    end=end,
                    reason=str(error),
                    reply_code=error.reply_code,
                )

        self._endpoint.abort(end)


def _dtp_of(connection: DTP | ReusableConnection) -> DTP:
    return connection if isinstance(connection, DTP) else connection.dtp


# Sending


def _outgoing(
    transfer: Supervisor,
    dtp: DTP | ReusableConnection,
    parameters: TransferParameters,
    options: CodecOptions,
    offset: int,
) -> Outgoing:
    encoder: Encoder | None = None
    if not parameters.is_identity:
        encoder = encoder_for(parameters, options=options, offset=offset)

    return Outgoing(transfer, dtp, encoder, parameters.mode)


async def _send_file_directly(
    endpoint: Endpoint,
    file: FilePath | int | BinaryIO,
    pending: PendingFile[FileSource],
    *,
    offset: int,
    length: int | None,
    expected_size: int | None,
    throttle: TokenBucket | None,
    progress: ProgressCallback | None,
) -> TransferResult | SentAhead | None:
    """Send a small file as it is, without a DTP; see `send_directly`, and `send_file`."""

    if isinstance(file, int) and length is not None:
        # Nobody has to look how long it is.
        fd, start, total = file, offset, length
    else:
        await endpoint.connect()
        source = await pending.get_soon(MOMENT)
        size = None if source is None else _total_of(source, length)
        if source is None or source.fd is None or size is None:
            return None
        fd, start, total = source.fd, source.position, size

    if expected_size not in (None, total) or not 0 <= total <= SENDFILE_LIMIT:
        return None

    return await send_directly(
        endpoint,
        fd,
        start=start,
        length=total,
        offset=offset,
        throttle=throttle,
        progress=progress,
    )


def _total_of(source: FileSource, length: int | None) -> int | None:
    """Return how many bytes of a file are to be sent; None where its end is to tell."""

    if source.size is None:
        return length

    left = source.size - source.position
    return left if length is None else min(left, length)


def _note_ahead(transfer: Supervisor, ahead: SentAhead | None) -> None:
    """Take note of what was sent before there was a DTP."""

    if ahead is not None:
        if not transfer.dtp.is_finishing:
            transfer.dtp.account_sent(ahead.size, eof=ahead.is_end)
        transfer.file_bytes = ahead.size


async def _send_chunks(
    transfer: Supervisor, chunks: AsyncIterable[bytes], outgoing: Outgoing
) -> None:
    async with contextlib.aclosing(_each(chunks)) as pieces:
        async for data in pieces:
            await outgoing.send(data)
            await transfer.note_file_bytes(data)

    await outgoing.finish()


def _is_plain_text(parameters: TransferParameters) -> bool:
    """Whether lines that end in CRLF are what goes on the connection for a listing."""

    return (
        parameters.type is not RepresentationType.EBCDIC
        and parameters.structure is Structure.FILE
        and parameters.mode is TransmissionMode.STREAM
    )


async def _batches(
    lines: Iterable[ListingItem] | AsyncIterable[ListingItem],
    formatter: Callable[[ListingEntry], bytes | None] | None,
    transfer: Supervisor,
) -> AsyncGenerator[bytes, None]:
    """Gather lines into writes of some size; the first goes out at once."""

    batch: list[bytes] = []
    size = 0
    wanted = 1
    most = min(LISTING_BATCH, transfer.sending_size())
    async with contextlib.aclosing(_each(lines)) as items:
        async for item in items:
            if isinstance(item, ListingBlock):
                if batch:
                    yield _joined(batch)
                    size = 0
                yield item
                wanted = most = min(LISTING_BATCH, transfer.sending_size())
                continue

            for entry in item if isinstance(item, list) else (item,):
                line = _line(entry, formatter)
                if line is None:
                    continue

                batch.append(line)
                size += len(line) + 2
                if size >= most:
                    yield _joined(batch)
                    size = 0
                    wanted = most = min(LISTING_BATCH, transfer.sending_size())

            if size >= wanted:
                yield _joined(batch)
                size = 0
                wanted = most = min(LISTING_BATCH, transfer.sending_size())

    if batch:
        yield _joined(batch)


def _line(
    item: bytes | ListingEntry, formatter: Callable[[ListingEntry], bytes | None] | None
) -> bytes | None:
    if isinstance(item, bytes):
        return item

    if formatter is None:
        raise TypeError(f"expected lines of bytes, or a formatter for {item!r:.80}")

    return formatter(item)


def _joined(batch: list[bytes]) -> bytes:
    batch.append(b"")
    data = b"\r\n".join(batch)
    batch.clear()
    return data


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """Give the items one by one; close the generator that they come from, in any case.

    Left to the collector, an asynchronous one would get a task of its own.
    What is no generator belongs to the caller.
    """

    if isinstance(items, AsyncIterable):
        source = aiter(items)
        try:
            async for item in source:
                yield item
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()
        return

    iterator = iter(items)
    try:
        for item in iterator:
            yield item
    finally:
        if isinstance(iterator, Generator):
            iterator.close()


# Receiving


async def _store_whole(
    file: FileTarget,
    data: bytes,
    result: TransferResult,
    check_size: _SizeCheck,
    *,
    progress: ProgressCallback | None,
    timeout: float | None,
) -> TransferResult:
    """Store a small upload, all of which has come; return its result.

    Args:
        file: Where.
        data: All of it.
        result: How it came.
        check_size: Says whether so many bytes are acceptable.
        progress: Told once.
        timeout: Seconds that the store may take to write.
    """

    try:
        check_size(len(data), is_last=True)
        if progress is not None:
            progress(len(data), check_size.expected)
        await file.commit(data, timeout=timeout)
    except Exception as error:
        failure = failure_of(error, result)
        if failure is error:
            raise
        raise failure from error

    return result


async def _store(
    transfer: Supervisor,
    incoming: Incoming,
    file: UploadTarget,
    check_size: _SizeCheck,
    *,
    may_splice: bool,
) -> None:
    while data := await incoming.next():
        check_size(transfer.file_bytes + len(data), is_last=False)
        if may_splice and len(data) >= ENOUGH_TO_SPLICE and can_splice(transfer.dtp, file):
            incoming.pause()
        if incoming.is_idle:
            await splice_upload(transfer, file, data, check_size.room)
            incoming.resume()
        else:
            await file.write(data)
            await transfer.note_file_bytes(data)

        # Not to be kept while the next is waited for: the peer may stall.
        del data

    check_size(transfer.file_bytes, is_last=True)


def _position(target: UploadTarget, offset: int) -> int:
    """Return where the first byte goes, which is not `offset` where data are appended."""

    return target.position if isinstance(target, FileTarget) else offset


def _as_upload_target(
    target: BinaryIO | UploadTarget, limiter: anyio.CapacityLimiter | None
) -> UploadTarget:
    if hasattr(target, "commit") and hasattr(target, "discard"):
        return cast("UploadTarget", target)

    return FileObjectTarget(target, limiter)
