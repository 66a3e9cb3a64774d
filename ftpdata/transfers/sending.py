"""Transfers that send: `send_file` (RETR), `send_listing` (LIST, NLST, MLSD), `send_stream`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable
from typing import BinaryIO

import anyio

from ..codecs.options import DEFAULT_OPTIONS, CodecOptions
from ..codecs.selection import encoder_for, listing_encoder_for
from ..connection.protocol import DTP
from ..contracts import Buffer, Encoder, ProgressCallback, SentCallback
from ..deadlines import DEFAULT_DEADLINES, Deadlines
from ..errors import FTPDataError
from ..files._names import PATH_TYPES, FilePath
from ..files.directories import DirectoryLines
from ..files.source import FileSource, source_at_once
from ..listing.table import ListingBlock
from ..opening.endpoint import Endpoint
from ..outcome import Direction, TransferResult
from ..parameters import DEFAULT_PARAMETERS, TransferParameters
from ..throttle import TokenBucket
from ._direct import DIRECT_LIMIT, send_directly, send_file_directly
from ._door import AtTheDoor, check_arguments, check_chunks, check_lines, check_source
from ._each import closing_generator
from ._lines import Formatter, Lines, batches, is_plain_text
from ._opened import Connection, Opening, dtp_of, opened, report_on
from ._outgoing import Outgoing
from ._pending import PendingFile
from ._plain import send_by_reading, send_chunks
from ._report import Report
from ._sendfile import send_by_sendfile
from ._sizes import check_promise, total_of
from ._supervisor import Supervisor
from ._ways import NOTHING_SENT, Done
from .reuse import ReusableConnection

__all__ = ["send_file", "send_listing", "send_stream"]


async def send_file(
    connection: Connection,
    file: FilePath | int | BinaryIO,
    *,
    dir_fd: int | None = None,
    parameters: TransferParameters = DEFAULT_PARAMETERS,
    options: CodecOptions = DEFAULT_OPTIONS,
    offset: int = 0,
    length: int | None = None,
    expected_size: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    on_sent: SentCallback | None = None,
    digest: str | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    limiter: anyio.CapacityLimiter | None = None,
) -> TransferResult:
    """Send a file (RETR), and make sure that the peer has it.

    The transfer sends the bytes that the file had when it began. Bytes that are
    appended meanwhile are not sent, and a file that shrinks is an error.

    Args:
        connection: A connected `DTP`, or an endpoint that is opened here; it is
            closed in any case. A `ReusableConnection` stays open after a clean
            end in MODE B and C.
        file: A path; or an open descriptor or binary file object, which stays
            open and belongs to the caller. A file without a size, such as a pipe,
            is sent to its end.
        dir_fd: Directory that a relative path starts from.
        parameters: TYPE, STRU and MODE.
        options: The host's choices about them.
        offset: Where to start, in bytes of the file as it is stored (REST).
        length: Bytes of the file to send at most; None sends up to its end.
        expected_size: Bytes of the file that were promised to the peer, from
            `offset` on.
        throttle: Limits the rate of bytes on the connection.
        progress: Called with the bytes of the file sent so far, and their total.
        on_sent: Called once, when everything has left this system, the end of file included:
            before this function knows that the peer has it. What it raises is logged.
        digest: Digest to compute over the bytes of the file: a `hashlib` name
            or ``crc32``.
        deadlines: When to give up.
        limiter: Limits the threads of this file's store.

    Raises:
        FTPDataError: The transfer is not complete; carries the result and the
            reply code: 426 if the peer or a deadline cut it, 451 if the file
            did (`SizeMismatch` if it shrank), 550 if it cannot be read, whether
            a peer has connected or not; 425 or 522 if an endpoint does not open.

    Cancellation resets the connection, and leaves nothing open.
    """

    with AtTheDoor(Direction.SENT, connection):
        check_arguments(locals())
        check_source(file)

    with report_on(
        connection, Direction.SENT, offset=offset, digest=digest, on_sent=on_sent
    ) as report:

        report.name_path(file)
        pending = _pending_source(
            file,
            dir_fd=dir_fd,
            offset=offset,
            length=length,
            expected_size=expected_size,
            limiter=limiter,
        )
        try:
            sent = NOTHING_SENT
            if isinstance(connection, Endpoint):
                with Opening(connection, report, pending):
                    if isinstance(file, PATH_TYPES):
                        pending.begin()
                    if parameters.is_identity and digest is None:
                        way = await send_file_directly(
                            connection,
                            file,
                            pending,
                            length=length,
                            expected_size=expected_size,
                            report=report,
                            offset=offset,
                            throttle=throttle,
                            progress=progress,
                        )
                        if isinstance(way, Done):
                            return way.result
                        sent = way

                    connection = await connection.open(keep=True)
                report.restart_clock()

            transfer = Supervisor(
                dtp_of(connection),
                report,
                deadlines=deadlines,
                throttle=throttle,
                progress=progress,
            )
            to_peer = connection

            async def body() -> None:
                outgoing = _outgoing(transfer, to_peer, parameters, options, offset)
                source = await pending.get()
                report.total = total_of(source, length)
                source.position += sent.sent
                may_sendfile = parameters.is_identity and digest is None
                await _send_rest(transfer, source, outgoing, length, may_sendfile=may_sendfile)
                check_promise(expected_size, report.file_bytes)
                await outgoing.finish()

            # The DTP already counts the bytes that passed over the link.
            report.file_bytes = sent.sent
            return await transfer.run(body)
        finally:
            await pending.settle()
            if pending.file is not None:
                pending.file.close()


def _pending_source(
    file: FilePath | int | BinaryIO,
    *,
    dir_fd: int | None,
    offset: int,
    length: int | None,
    expected_size: int | None,
    limiter: anyio.CapacityLimiter | None,
) -> PendingFile[FileSource]:
    """Return the source of a download, which is opened while its connection is made."""

    def promising(source: FileSource) -> FileSource:
        try:
            # A file that cannot keep the promise does not wait for its peer.
            check_promise(expected_size, total_of(source, length))
        except BaseException:
            source.close()
            raise

        return source

    async def open_source() -> FileSource:
        return promising(
            await FileSource.open(file, dir_fd=dir_fd, offset=offset, limiter=limiter)
        )

    def open_at_once() -> FileSource | None:
        if not isinstance(file, PATH_TYPES):
            return None

        source = source_at_once(file, dir_fd=dir_fd, offset=offset, limiter=limiter)
        try:
            return None if source is None else promising(source)
        except FTPDataError:
            # The opening will say so.
            return None

    return PendingFile(open_source, at_once=open_at_once)


async def _send_rest(
    transfer: Supervisor,
    source: FileSource,
    outgoing: Outgoing,
    length: int | None,
    *,
    may_sendfile: bool,
) -> None:
    """Send the rest of a file, through the kernel as far as possible."""

    report = transfer.report
    if (
        may_sendfile
        and source.fd is not None
        and report.total is not None
        and transfer.dtp.tls is None
    ):
        await send_by_sendfile(transfer, source, outgoing)

    if report.total is None:
        await send_by_reading(transfer, source, outgoing, until=length)
    elif report.file_bytes != report.total:
        await send_by_reading(transfer, source, outgoing)


async def send_listing(
    connection: Connection,
    lines: ListingBlock | Lines,
    *,
    formatter: Formatter | None = None,
    parameters: TransferParameters = DEFAULT_PARAMETERS,
    options: CodecOptions = DEFAULT_OPTIONS,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    on_sent: SentCallback | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> TransferResult:
    """Send the lines of a directory (LIST, NLST, MLSD), each followed by CR LF.

    Lines are sent as they arrive, in bounded memory: the first one does not wait
    for the last.

    Args:
        connection: A connected `DTP`, or an endpoint that is opened here; it is
            closed in any case. A `ReusableConnection` stays open after a clean
            end in MODE B and C.
        lines: An iterable of lines without their line ends, of entries that `formatter`
            turns into lines, or of lists of either, which is faster. Fastest are
            blocks of whole lines (`ListingBlock`), which are sent as they are;
            `list_directory` makes them. A single block may stand for the whole
            listing. A generator is closed in any case.
        formatter: A callable such as ``ListFormatter(now=…).format``; an entry for
            which it returns None is left out.
        parameters: TYPE, STRU and MODE. A listing is text whatever TYPE says:
            EBCDIC with TYPE E, otherwise ASCII (RFC 959 §4.1.3).
        options: The host's choices about them.
        throttle: Limits the rate of bytes on the connection.
        progress: Called with the bytes of the listing sent so far, before
            encoding; the total is None.
        on_sent: Called once, when everything has left this system, the end of file included:
            before this function knows that the peer has it. What it raises is logged.
        deadlines: When to give up.

    Raises:
        FTPDataError: The listing is not complete; carries the result and the
            reply code: 426 if the peer or a deadline cut it, 451 if `lines`
            raised (550 if it is an `OSError` about the name), or if an entry came
            without a `formatter`; 504 if no encoder supports the parameters. The
            directory of `list_directory` is opened while the connection is made: if it
            cannot be read, the error does not wait for a peer to connect.

    Cancellation resets the connection, and closes a generator.
    """

    async with closing_generator(lines):
        with AtTheDoor(Direction.SENT, connection):
            check_arguments(locals())
            check_lines(lines)

        with report_on(connection, Direction.SENT, on_sent=on_sent) as report:
            # A directory that cannot be read does not wait for its peer.
            pending = PendingFile(lines.open) if isinstance(lines, DirectoryLines) else None
            try:
                return await _send_lines(
                    connection,
                    lines,
                    pending,
                    formatter=formatter,
                    parameters=parameters,
                    options=options,
                    throttle=throttle,
                    progress=progress,
                    deadlines=deadlines,
                    report=report,
                )
            finally:
                if pending is not None:
                    await pending.settle()


async def _send_lines(
    connection: Connection,
    lines: ListingBlock | Lines,
    pending: PendingFile[DirectoryLines] | None,
    *,
    formatter: Formatter | None,
    parameters: TransferParameters,
    options: CodecOptions,
    throttle: TokenBucket | None,
    progress: ProgressCallback | None,
    deadlines: Deadlines,
    report: Report,
) -> TransferResult:
    sent = NOTHING_SENT
    if isinstance(connection, Endpoint):
        is_small = isinstance(lines, ListingBlock) and len(lines) <= DIRECT_LIMIT
        if is_small and is_plain_text(parameters):
            assert isinstance(lines, ListingBlock)
            with Opening(connection, report):
                way = await send_directly(
                    connection,
                    lines,
                    length=len(lines),
                    report=report,
                    throttle=throttle,
                    progress=None if progress is None else _without_total(progress),
                )
            if isinstance(way, Done):
                return way.result
            sent = way

    to_peer = await opened(connection, report, pending)
    transfer = Supervisor(
        dtp_of(to_peer), report, deadlines=deadlines, throttle=throttle, progress=progress
    )

    async def body() -> None:
        encoder: Encoder | None = None
        if not is_plain_text(parameters):
            encoder = listing_encoder_for(parameters, options=options)

        if pending is not None:
            await pending.get()
        left: Lines = _rest_of(lines, sent.sent) if isinstance(lines, ListingBlock) else lines
        outgoing = Outgoing(transfer, to_peer, encoder, parameters.mode)
        async with contextlib.aclosing(batches(left, formatter, transfer.pace)) as gathered:
            await send_chunks(transfer, gathered, outgoing)

    # The DTP already counts the bytes that passed over the link.
    report.file_bytes = sent.sent
    return await transfer.run(body)


async def send_stream(
    connection: Connection,
    chunks: AsyncIterable[Buffer],
    *,
    parameters: TransferParameters = DEFAULT_PARAMETERS,
    options: CodecOptions = DEFAULT_OPTIONS,
    offset: int = 0,
    expected_size: int | None = None,
    throttle: TokenBucket | None = None,
    progress: ProgressCallback | None = None,
    on_sent: SentCallback | None = None,
    digest: str | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
) -> TransferResult:
    """Send the bytes of an asynchronous iterable: an object store, a pipe, a generator.

    Args:
        connection: A connected `DTP`, or an endpoint that is opened here; it is
            closed in any case. A `ReusableConnection` stays open after a clean
            end in MODE B and C.
        chunks: The bytes of the file. What can be changed, such as a `bytearray`, is
            copied. An asynchronous generator is closed in any case.
        parameters: TYPE, STRU and MODE.
        options: The host's choices about them.
        offset: Where in the file its first byte belongs, in bytes (REST).
        expected_size: Bytes of the file that were promised to the peer: more
            or fewer are an error.
        throttle: Limits the rate of bytes on the connection.
        progress: Called with the bytes of the file sent so far, and `expected_size`.
        on_sent: Called once, when everything has left this system, the end of file included:
            before this function knows that the peer has it. What it raises is logged.
        digest: Digest to compute over the bytes of the file.
        deadlines: When to give up.

    Raises:
        FTPDataError: The transfer is not complete; carries the result and the
            reply code: 426 if the peer or a deadline cut it, 451 if `chunks`
            raised.

    Cancellation resets the connection, and closes a generator.
    """

    async with closing_generator(chunks):
        with AtTheDoor(Direction.SENT, connection):
            check_arguments(locals())
            check_chunks(chunks)

        with report_on(
            connection, Direction.SENT, offset=offset, digest=digest, on_sent=on_sent
        ) as report:
            report.total = expected_size
            to_peer = await opened(connection, report)
            transfer = Supervisor(
                dtp_of(to_peer), report, deadlines=deadlines, throttle=throttle, progress=progress
            )

            async def body() -> None:
                outgoing = _outgoing(transfer, to_peer, parameters, options, offset)
                await send_chunks(transfer, chunks, outgoing)
                check_promise(expected_size, report.file_bytes)

            return await transfer.run(body)


def _outgoing(
    transfer: Supervisor,
    connection: DTP | ReusableConnection,
    parameters: TransferParameters,
    options: CodecOptions,
    offset: int,
) -> Outgoing:
    encoder: Encoder | None = None
    if not parameters.is_identity:
        encoder = encoder_for(parameters, options=options, offset=offset)

    return Outgoing(transfer, connection, encoder, parameters.mode)


def _rest_of(block: ListingBlock, sent: int) -> tuple[ListingBlock, ...]:
    # Do not copy all of it if nothing was sent: the peer may stall.
    rest = ListingBlock(block[sent:]) if sent else block
    return (rest,) if rest else ()


def _without_total(progress: ProgressCallback) -> ProgressCallback:
    return lambda size, _: progress(size, None)
