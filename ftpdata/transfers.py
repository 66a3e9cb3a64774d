"""Whole transfers over a connected `DTP`: files, listings, streams, relays.

Every function here ends the connection, truthfully: it returns a
`TransferResult` once the peer has everything (sending) or has announced the end
of file and all is stored (receiving), and raises an `FTPDataError` that carries
the same result and the reply code for any other end. `DTP.abort` ends a
transfer from anywhere, with a reason. Cancelling a transfer resets the
connection and leaves no task, socket, file, thread or temporary file behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from types import TracebackType
from typing import BinaryIO

import anyio

from .consumers import ReceiveQueue
from .contracts import Buffer, Decoder, Encoder, ProgressCallback, UploadTarget
from .deadlines import Deadlines
from .errors import FTPDataError, QuotaExceeded, SizeMismatch, error_for_oserror
from .files import CHUNK, FilePath, FileSource, FileTarget, WorkerCalls, WriteMode
from .listing import ListingEntry
from .outcome import Direction, End, FastPath, TransferResult
from .parameters import TransferParameters
from .protocol import DTP
from .representation import decoder_for, encoder_for
from .supervision import Supervisor, finish_despite_cancellation
from .throttle import TokenBucket

__all__ = [
    "ReceivedStream",
    "receive_file",
    "receive_stream",
    "relay",
    "send_file",
    "send_listing",
    "send_stream",
]

LISTING_BATCH = 64 * 1024
"""Bytes of lines that are gathered before they are written."""

FIRST_SENDFILE_PIECE = 1024 * 1024
LARGEST_SENDFILE_PIECE = 8 * 1024 * 1024
SENDFILE_PIECE_SECONDS = 0.25
"""How long one piece should take: `loop.sendfile` reports nothing while it runs."""

BYTES_PER_TURN = 1024 * 1024
"""Bytes after which a sender that never had to wait lets others run."""

STREAM, DEFAULT_DEADLINES = TransferParameters(), Deadlines()


async def send_file(
    dtp: DTP,
    file: FilePath | int | BinaryIO,
    *,
    dir_fd: int | None = None,
    parameters: TransferParameters = STREAM,
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
        dtp: A connected data connection; it is closed in any case.
        file: A path; or an open descriptor or binary file object, which stays
            open and belongs to the caller.
        dir_fd: Directory that a relative path starts from.
        parameters: TYPE, STRU and MODE.
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
            did (`SizeMismatch` if it shrank), 550 if it cannot be read.
    """

    encoder = None if parameters.is_identity else encoder_for(parameters)
    transfer = Supervisor(
        dtp,
        Direction.SENT,
        deadlines=deadlines,
        throttle=throttle,
        progress=progress,
        digest=digest,
        offset=offset,
    )

    async def body() -> None:
        source = await FileSource.open(file, dir_fd=dir_fd, offset=offset, limiter=limiter)
        try:
            total = length
            if source.size is not None:
                left = source.size - source.position
                total = left if length is None else min(left, length)

            if expected_size is not None and total is not None and total != expected_size:
                raise SizeMismatch(f"{expected_size} bytes were promised, the file has {total}")

            transfer.total = total
            can_sendfile = encoder is None and digest is None and source.raw is not None
            if can_sendfile and total is not None and _is_clear(dtp):
                await _send_by_sendfile(transfer, source)

            if transfer.file_bytes != total:
                await _send_by_reading(transfer, source, encoder)
        finally:
            source.close()

    return await transfer.run(body)


async def receive_file(
    dtp: DTP,
    target: FilePath | BinaryIO | UploadTarget,
    *,
    dir_fd: int | None = None,
    parameters: TransferParameters = STREAM,
    offset: int = 0,
    append: bool = False,
    expected_size: int | None = None,
    size_limit: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    limiter: anyio.CapacityLimiter | None = None,
) -> TransferResult:
    """Receive a file (STOR, APPE), and publish it only if all of it came.

    A path without `offset` and `append` is written atomically: beside the
    target under a hidden name, renamed on a clean end (see `WriteMode`). An
    upload that was cut leaves nothing under the final name.

    Args:
        dtp: A connected data connection; it is closed in any case.
        target: A path; a binary file object, which stays open and belongs to
            the caller; or an `UploadTarget` such as `FileTarget`, of which
            `commit` or `discard` is called exactly once.
        dir_fd: Directory that a relative path starts from.
        parameters: TYPE, STRU and MODE.
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
        deadlines: When to give up.
        limiter: Bounds the threads of this file's store.

    Raises:
        FTPDataError: The upload is not complete, and was not published;
            carries the result and the reply code: 426 if it was cut, 451,
            452 or 550 if it could not be stored, 552 beyond `size_limit`.
    """

    decoder = None if parameters.is_identity else decoder_for(parameters)
    transfer = Supervisor(
        dtp,
        Direction.RECEIVED,
        deadlines=deadlines,
        throttle=throttle,
        progress=progress,
        digest=digest,
        offset=offset,
    )
    transfer.total = expected_size
    opened: list[UploadTarget] = []

    async def store(data: bytes) -> None:
        size = transfer.file_bytes + len(data)
        if size_limit is not None and size > size_limit:
            raise QuotaExceeded(f"the upload has more than the {size_limit} bytes allowed")
        if expected_size is not None and size > expected_size:
            raise SizeMismatch(f"the upload has more than the {expected_size} bytes promised")

        await opened[0].write(data)
        await transfer.note_file_bytes(data)

    async def body() -> None:
        if isinstance(target, (str, bytes, os.PathLike)):
            mode = WriteMode.ATOMIC
            if append:
                mode = WriteMode.APPEND
            elif offset:
                mode = WriteMode.IN_PLACE
            opened.append(
                await FileTarget.open(
                    target, dir_fd=dir_fd, mode=mode, offset=offset, limiter=limiter
                )
            )

        receiver = _Receiver(transfer, decoder)
        while data := await receiver.next():
            await store(data)

        if expected_size is not None and transfer.file_bytes != expected_size:
            raise SizeMismatch(
                f"{expected_size} bytes were promised, {transfer.file_bytes} came"
            )

    if not isinstance(target, (str, bytes, os.PathLike)):
        is_target = hasattr(target, "commit") and hasattr(target, "discard")
        opened.append(target if is_target else _FileObjectTarget(target, limiter))  # type: ignore[arg-type]

    try:
        result = await transfer.run(body)
    except BaseException:
        if opened:
            await finish_despite_cancellation(opened[0].discard(), deadlines.close)
        raise

    try:
        await opened[0].commit()
    except Exception as error:
        failure = transfer.failure(error)
        if failure is error:
            raise
        raise failure from error

    return result


async def send_listing(
    dtp: DTP,
    lines: Iterable[ListingItem] | AsyncIterable[ListingItem],
    *,
    formatter: Callable[[ListingEntry], bytes | None] | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> TransferResult:
    """Send the lines of a directory (LIST, NLST, MLSD), one CR LF behind each.

    Lines go out as they come, in bounded memory: the first one does not wait
    for the last.

    Args:
        dtp: A connected data connection; it is closed in any case.
        lines: Lines without their end, or entries that `formatter` makes
            lines of; or lists of either, which is faster.
        formatter: Such as ``ListFormatter(now=…).format``; an entry for which
            it returns None is left out.
        throttle: Bounds the rate.
        progress: Called with bytes of the listing sent; the total is None.
        deadlines: When to give up.

    Raises:
        FTPDataError: The listing is not complete; carries the result and the
            reply code: 426 if the peer or a deadline cut it, 451 if `lines`
            raised (550 for an `OSError` that says so).
        TypeError: An entry came, and there is no `formatter`.
    """

    transfer = Supervisor(
        dtp, Direction.SENT, deadlines=deadlines, throttle=throttle, progress=progress
    )

    async def body() -> None:
        async with contextlib.aclosing(_batches(lines, formatter)) as batches:
            await _send_chunks(transfer, batches, encoder=None)

    return await transfer.run(body)


async def send_stream(
    dtp: DTP,
    chunks: AsyncIterable[bytes],
    *,
    parameters: TransferParameters = STREAM,
    expected_size: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> TransferResult:
    """Send what an asynchronous iterable gives: an object store, a pipe, a generator.

    Args:
        dtp: A connected data connection; it is closed in any case.
        chunks: The bytes of the file. An asynchronous generator is closed in
            any case.
        parameters: TYPE, STRU and MODE.
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

    encoder = None if parameters.is_identity else encoder_for(parameters)
    transfer = Supervisor(
        dtp,
        Direction.SENT,
        deadlines=deadlines,
        throttle=throttle,
        progress=progress,
        digest=digest,
    )
    transfer.total = expected_size

    async def body() -> None:
        await _send_chunks(transfer, chunks, encoder)
        if expected_size is not None and transfer.file_bytes != expected_size:
            raise SizeMismatch(f"{expected_size} bytes were promised, {transfer.file_bytes} sent")

    try:
        return await transfer.run(body)
    finally:
        await finish_despite_cancellation(_close_iterable(chunks), deadlines.close)


def receive_stream(
    dtp: DTP,
    *,
    parameters: TransferParameters = STREAM,
    expected_size: int | None = None,
    size_limit: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    digest: str | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> ReceivedStream:
    """Receive into an ``async for``::

        async with receive_stream(dtp) as stream:
            async for data in stream:
                ...
        print(stream.result)

    The loop ends on a clean end only. The peer is slowed down to the pace of
    the loop; time that the loop takes is not held against it.

    Args:
        dtp: A connected data connection; it is closed in any case.
        parameters: TYPE, STRU and MODE.
        expected_size: Bytes of the file that were promised (ALLO).
        size_limit: Bytes of the file that are accepted.
        throttle: Bounds the rate of bytes on the connection.
        progress: Called with bytes of the file received, and `expected_size`.
        digest: Digest to compute over the bytes of the file.
        deadlines: When to give up.

    Raises:
        FTPDataError: Out of the loop, on any end that is not clean; carries
            the result and the reply code.
    """

    decoder = None if parameters.is_identity else decoder_for(parameters)
    transfer = Supervisor(
        dtp,
        Direction.RECEIVED,
        deadlines=deadlines,
        throttle=throttle,
        progress=progress,
        digest=digest,
    )
    transfer.total = expected_size
    return ReceivedStream(transfer, decoder, expected_size, size_limit)


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
            await _send_piece(transfer, data)
            await transfer.note_file_bytes(data)

        with contextlib.suppress(FTPDataError):
            await source.finish(deadlines.close)

    return await transfer.run(body)


class ReceivedStream:
    """What `receive_stream` returns: an asynchronous iterator, and its result.

    Leaving its ``async with`` before the end resets the connection.

    Attributes:
        result: The result, once the transfer has ended, however it did.
    """

    def __init__(
        self,
        transfer: Supervisor,
        decoder: Decoder | None,
        expected_size: int | None,
        size_limit: int | None,
    ) -> None:
        self.result: TransferResult | None = None
        self._transfer = transfer
        self._expected_size = expected_size
        self._size_limit = size_limit
        self._receiver = _Receiver(transfer, decoder)

    async def __aenter__(self) -> ReceivedStream:
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
        if self.result is not None:
            raise StopAsyncIteration

        transfer = self._transfer
        transfer.start_watch()
        try:
            data = await self._receiver.next()
            self._check_size(len(data), is_last=not data)
            if data:
                await transfer.note_file_bytes(data)
                return data
        except asyncio.CancelledError:
            await self._end(End.CANCELLED, None)
            raise
        except Exception as error:
            failure = transfer.failure(error)
            await self._end(failure.end or End.ABORTED, failure)
            if failure is error:
                raise
            raise failure from error
        finally:
            # While the caller is busy, the peer cannot be blamed.
            transfer.stop_watch()

        with contextlib.suppress(FTPDataError):
            await transfer.dtp.finish(transfer.deadlines.close)
        transfer.report_progress(last=True)
        self.result = transfer.result(End.CLEAN)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Reset the connection unless the transfer has ended. Idempotent."""

        if self.result is None:
            await self._end(End.ABORTED, None)

    async def _end(self, end: End, failure: FTPDataError | None) -> None:
        self.result = failure.result if failure is not None else self._transfer.result(end)
        await self._transfer.close(end, failure)

    def _check_size(self, nbytes: int, *, is_last: bool) -> None:
        size = self._transfer.file_bytes + nbytes
        if self._size_limit is not None and size > self._size_limit:
            raise QuotaExceeded(f"the upload has more than the {self._size_limit} bytes allowed")

        expected = self._expected_size
        if expected is not None and (size > expected or (is_last and size < expected)):
            raise SizeMismatch(f"{expected} bytes were promised, {size} came")


ListingItem = bytes | ListingEntry | list[bytes] | list[ListingEntry]


# Sending


def _is_clear(dtp: DTP) -> bool:
    return dtp.transport.get_extra_info("ssl_object") is None


async def _send_by_sendfile(transfer: Supervisor, source: FileSource) -> None:
    """Let the kernel move the file, piece by piece.

    Returns without having sent everything where the event loop or the file
    cannot: the caller goes on from `source.position`.
    """

    assert source.raw is not None
    assert transfer.total is not None
    dtp = transfer.dtp
    loop = asyncio.get_running_loop()
    piece = min(FIRST_SENDFILE_PIECE, transfer.piece_size if transfer.throttle else 1 << 62)
    while transfer.file_bytes < transfer.total:
        count = min(piece, transfer.total - transfer.file_bytes)
        await transfer.wait_for_turn(count)
        started_at = loop.time()
        try:
            sent = await loop.sendfile(
                dtp.transport, source.raw, source.position, count, fallback=False
            )
        except (asyncio.SendfileNotAvailableError, NotImplementedError, AttributeError):
            return
        except ConnectionError as error:
            # It came past the transport, which does not know yet.
            dtp.on_cut(None)
            dtp.abort(End.RESET, cause=error)
            assert dtp.reason is not None
            raise dtp.reason from error

        transfer.fast_path = FastPath.SENDFILE
        dtp.account_sent(sent)
        source.position += sent
        transfer.file_bytes += sent
        transfer.report_progress()
        if sent < count:
            raise _shrunk(transfer)

        if transfer.throttle is None:
            seconds = loop.time() - started_at
            if seconds < SENDFILE_PIECE_SECONDS:
                piece = min(piece * 2, LARGEST_SENDFILE_PIECE)
            elif seconds > 2 * SENDFILE_PIECE_SECONDS:
                piece = max(piece // 2, CHUNK)


async def _send_by_reading(
    transfer: Supervisor, source: FileSource, encoder: Encoder | None
) -> None:
    """Read in worker threads, one piece ahead of the network."""

    ahead: asyncio.Task[bytes] | None = None
    total = transfer.total
    try:
        while total is None or transfer.file_bytes < total:
            left = total - transfer.file_bytes if total is not None else CHUNK
            data = await (ahead if ahead is not None else source.read(min(CHUNK, left)))
            ahead = None
            if not data:
                break

            left = total - transfer.file_bytes - len(data) if total is not None else CHUNK
            if left > 0:
                ahead = asyncio.ensure_future(source.read(min(CHUNK, left)))

            await _send_encoded(transfer, data, encoder)
            await transfer.note_file_bytes(data)
    finally:
        if ahead is not None:
            ahead.cancel()
            with contextlib.suppress(asyncio.CancelledError, FTPDataError):
                await finish_despite_cancellation(_outcome(ahead), None)

    if total is not None and transfer.file_bytes < total:
        raise _shrunk(transfer)

    await _send_last(transfer, encoder)


async def _outcome(task: asyncio.Task[bytes]) -> None:
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


def _shrunk(transfer: Supervisor) -> SizeMismatch:
    return SizeMismatch(
        f"the file shrank while it was sent: {transfer.total} bytes at the start, "
        f"{transfer.file_bytes} now"
    )


async def _send_chunks(
    transfer: Supervisor, chunks: AsyncIterable[bytes], encoder: Encoder | None
) -> None:
    since_turn = 0
    async for data in chunks:
        await _send_encoded(transfer, data, encoder)
        await transfer.note_file_bytes(data)
        since_turn += len(data)
        if since_turn >= BYTES_PER_TURN:
            since_turn = 0
            await asyncio.sleep(0)

    await _send_last(transfer, encoder)


async def _send_encoded(transfer: Supervisor, data: Buffer, encoder: Encoder | None) -> None:
    if encoder is None:
        await _send_piece(transfer, data)
    else:
        for piece in encoder.feed(data):
            await _send_piece(transfer, piece)


async def _send_last(transfer: Supervisor, encoder: Encoder | None) -> None:
    if encoder is not None:
        for piece in encoder.finish():
            await _send_piece(transfer, piece)


async def _send_piece(transfer: Supervisor, data: Buffer) -> None:
    """Write at the pace of the throttle and of the peer."""

    dtp = transfer.dtp
    size = transfer.piece_size
    if len(data) <= size:
        await transfer.wait_for_turn(len(data))
        dtp.write(data)
        await dtp.drain()
        return

    view = memoryview(data)
    for start in range(0, len(view), size):
        piece = view[start : start + size]
        await transfer.wait_for_turn(len(piece))
        dtp.write(piece)
        await dtp.drain()


async def _batches(
    lines: Iterable[ListingItem] | AsyncIterable[ListingItem],
    formatter: Callable[[ListingEntry], bytes | None] | None,
) -> AsyncGenerator[bytes, None]:
    """Gather lines into writes of some size; the first goes out at once."""

    batch: list[bytes] = []
    size = 0
    wanted = 1
    async with contextlib.aclosing(_as_generator(lines)) as items:
        async for item in items:
            for entry in item if isinstance(item, list) else (item,):
                line = _line(entry, formatter)
                if line is None:
                    continue

                batch.append(line)
                size += len(line) + 2
                if size >= LISTING_BATCH:
                    yield _joined(batch)
                    size = 0

            if size >= wanted:
                yield _joined(batch)
                size = 0
                wanted = LISTING_BATCH

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


async def _as_generator(
    items: Iterable[ListingItem] | AsyncIterable[ListingItem],
) -> AsyncGenerator[ListingItem, None]:
    if not isinstance(items, AsyncIterable):
        for item in items:
            yield item
        return

    try:
        async for item in items:
            yield item
    finally:
        await _close_iterable(items)


async def _close_iterable(items: object) -> None:
    """Close an asynchronous generator now: left to the collector, it would get a task of its own."""

    aclose = getattr(items, "aclose", None)
    if aclose is not None:
        await aclose()


# Receiving


class _Receiver:
    """The bytes of the file that is received, decoded, piece by piece."""

    def __init__(self, transfer: Supervisor, decoder: Decoder | None) -> None:
        self._transfer = transfer
        self._decoder = decoder
        self._queue: ReceiveQueue | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._at_end = False

    async def next(self) -> bytes:
        """Return the next piece; ``b""`` behind a clean end."""

        if self._queue is None:
            self._queue = ReceiveQueue.attach(self._transfer.dtp)

        while True:
            for piece in self._pieces:
                if piece:
                    return piece

            if self._at_end:
                return b""

            data = await self._queue.receive()
            self._at_end = not data
            await self._transfer.wait_for_turn(len(data))
            if self._decoder is None:
                return data

            self._pieces = iter(self._decoder.feed(data) if data else self._decoder.finish())


class _FileObjectTarget:
    """A binary file object of the caller's as an `UploadTarget`: flushed, never closed."""

    def __init__(self, file: BinaryIO, limiter: anyio.CapacityLimiter | None) -> None:
        self._file = file
        self._calls = WorkerCalls(limiter)

    async def write(self, data: bytes) -> None:
        def work() -> None:
            view = memoryview(data)
            while view:
                # Raw files write what they like; buffered ones everything.
                written = self._file.write(view)
                if not written:
                    raise BlockingIOError("the file took nothing")
                view = view[written:]

        await self._run(work)

    async def commit(self) -> None:
        await self._run(self._file.flush)

    async def discard(self) -> None:
        """Leave it to the caller, whose file it is."""

    async def _run(self, work: Callable[[], None]) -> None:
        try:
            await self._calls.run(work)
        except OSError as error:
            raise error_for_oserror(error) from error
