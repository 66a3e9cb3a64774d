"""The plain way, which works for everything: read, convert, write; receive, convert, store.

Bytes that are in memory are read at once; worker threads read the rest, one piece ahead
of the network.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable

from .._tasks import give_up
from .._views import byte_view
from ..contracts import Buffer, UploadTarget
from ..errors import SizeMismatch
from ..files.source import FileSource
from ._each import each
from ._incoming import Incoming
from ._outgoing import Outgoing
from ._sizes import SizeCheck
from ._splice import ENOUGH_TO_SPLICE, can_splice, splice_upload
from ._supervisor import Supervisor

__all__ = ["send_by_reading", "send_chunks", "shrunk", "store"]


async def send_by_reading(
    transfer: Supervisor, source: FileSource, outgoing: Outgoing, *, until: int | None = None
) -> None:
    """Send a file that this process reads, piece by piece.

    Args:
        transfer: Counts the bytes that were sent.
        source: The file, positioned where the transfer goes on.
        outgoing: Encodes and sends the bytes.
        until: Bytes of the file after which to stop; None sends all of it.

    Raises:
        SizeMismatch: The file has become shorter than it was. Reply 451.
        FTPDataError: The connection has ended, or the file cannot be read.
    """

    ahead: asyncio.Task[bytes] | None = None
    report, pace = transfer.report, transfer.pace
    total = report.total if until is None else until
    try:
        while total is None or report.file_bytes < total:
            size = outgoing.size_of(pace.sending_size())
            left = total - report.file_bytes if total is not None else size
            data: Buffer | None = source.read_now(min(size, left)) if ahead is None else None
            if data is None:
                data = await (ahead if ahead is not None else source.read(min(size, left)))
                ahead = None
                size = outgoing.size_of(pace.sending_size(len(data)))
                left = total - report.file_bytes - len(data) if total is not None else size
                if data and left > 0:
                    ahead = asyncio.ensure_future(source.read(min(size, left)))
            if not data:
                break

            await outgoing.send(data)
            await transfer.note_file_bytes(data)
            # Do not keep the piece while waiting for the next one: the peer may stall.
            del data
    finally:
        if ahead is not None:
            await give_up(ahead)

    # A source without a size may end anywhere.
    if source.size is not None and total is not None and report.file_bytes < total:
        raise shrunk(transfer)


def shrunk(transfer: Supervisor) -> SizeMismatch:
    """Return the error for a file that has fewer bytes than it had at the start."""

    return SizeMismatch(
        f"the file shrank while it was sent: {transfer.report.total} bytes at the start, "
        f"{transfer.report.file_bytes} now"
    )


async def send_chunks(
    transfer: Supervisor, chunks: AsyncIterable[Buffer], outgoing: Outgoing
) -> None:
    """Send the items of an iterable, then the end of the file."""

    async with contextlib.aclosing(each(chunks)) as pieces:
        async for data in pieces:
            if data.__class__ is not bytes:
                data = _lasting(data)  # noqa: PLW2901 - the same bytes
            await outgoing.send(data)
            await transfer.note_file_bytes(data)

    await outgoing.finish()


def _lasting(data: Buffer) -> Buffer:
    """Return bytes that stay as they are, although the transport keeps them for a while.

    Hosts read again and again into one buffer.
    """

    if isinstance(data, memoryview) and data.readonly:
        return byte_view(data)
    return bytes(data) if isinstance(data, (bytearray, memoryview)) else data


async def store(
    transfer: Supervisor,
    incoming: Incoming,
    file: UploadTarget,
    check_size: SizeCheck,
    *,
    may_splice: bool,
) -> None:
    """Write all data of an upload to its target, and check its size.

    Args:
        transfer: Counts the bytes that were received.
        incoming: Yields the data, decoded.
        file: The target for the data.
        check_size: Checks whether the size is acceptable.
        may_splice: Whether the kernel may move the data, without this process.

    Raises:
        FTPDataError: The connection was lost, the target refused, or the size is wrong.
    """

    while data := await incoming.next():
        check_size(transfer.report.file_bytes + len(data), is_last=False)
        if may_splice and len(data) >= ENOUGH_TO_SPLICE and can_splice(transfer.dtp, file):
            incoming.pause()
        if incoming.is_idle:
            await splice_upload(transfer, file, data, check_size.room)
            incoming.resume()
        else:
            await file.write(data)
            await transfer.note_file_bytes(data)

        # Do not keep the piece while waiting for the next one: the peer may stall.
        del data

    check_size(transfer.report.file_bytes, is_last=True)
