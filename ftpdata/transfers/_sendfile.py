"""Downloads that the kernel moves: from file to socket by sendfile(2), without the transport.

This works on any event loop. The kernel moves the parts of the file that are in memory;
the parts that are only on a disk go the plain way.
"""

from __future__ import annotations

import asyncio

from .._kernel import sendfile_past
from ..files._cache import read_cached
from ..files.source import FileSource
from ..outcome import FastPath
from ._outgoing import Outgoing
from ._plain import send_by_reading, shrunk
from ._supervisor import Supervisor

__all__ = ["send_by_sendfile"]

FIRST_SENDFILE_PIECE = 1024 * 1024
LARGEST_SENDFILE_PIECE = 8 * 1024 * 1024
"""Bytes that a fast peer gets before other tasks have their turn. The piece grows with the bytes
that the peer has had: many files of a few MiB are best sent side by side, a large one in one go."""

TOKEN = 512
"""Bytes that wait in the transport for room in the socket: the transport reports when there is."""


async def send_by_sendfile(
    transfer: Supervisor, source: FileSource, outgoing: Outgoing
) -> None:
    """Let the kernel move the file, piece by piece.

    The kernel reads on the event loop's own thread, so a part of the file that is
    not in memory goes through worker threads instead. Where the system or the file
    does not support sendfile, the function returns before everything is sent, and
    the caller goes on from `source.position`.
    """

    dtp, report, pace = transfer.dtp, transfer.report, transfer.pace
    bypass = dtp.bypass
    total = report.total
    assert total is not None
    piece = FIRST_SENDFILE_PIECE
    try:
        while report.file_bytes < total:
            # The rate of a throttle may change at any time.
            most = pace.piece_up_to(piece)
            count = min(most, total - report.file_bytes)
            if not source.is_in_memory(count):
                until = min(report.file_bytes + LARGEST_SENDFILE_PIECE, total)
                await send_by_reading(transfer, source, outgoing, until=until)
                continue

            # Bytes that still wait in the transport must go first.
            bypass.limit_waiting(0)
            await dtp.drain()
            await pace.wait_for_turn(count)
            left = count
            try:
                while left:
                    pace.bound_unsent()
                    sent = await _sendfile_some(transfer, source, left)
                    left -= sent
                    report.file_bytes += sent
                    transfer.report_progress()
            except NotImplementedError:
                return
            finally:
                pace.give_back(left)
            piece = min(piece * 2, LARGEST_SENDFILE_PIECE)
    finally:
        bypass.limit_waiting(dtp.high_water)


async def _sendfile_some(transfer: Supervisor, source: FileSource, count: int) -> int:
    """Send some bytes of a file, at least one, once there is room; return how many.

    Raises:
        NotImplementedError: The system or the file does not support sendfile.
        FTPDataError: The connection was lost, or the file has shrunk, or it cannot be read.
    """

    assert source.fd is not None
    dtp = transfer.dtp
    if dtp.end is not None or dtp.transport.is_closing():
        # This raises the reason.
        dtp.write(b"")

    try:
        sent = sendfile_past(dtp.transport, source.fd, source.position, count)
    except BlockingIOError:
        # If the system has dropped the bytes from memory since, a thread reads them.
        size = min(count, TOKEN)
        token = read_cached(source.fd, size, source.position)
        if token is None:
            token = await source.read(size)
            source.position -= len(token)
        sent = len(token)
        dtp.write(token)
        # If there is room by now, yield: such a fast peer would keep other tasks waiting.
        await (dtp.drain() if dtp.transport.get_write_buffer_size() else asyncio.sleep(0))
    except OSError as error:
        # The error did not go through the transport, which does not know of it yet.
        raise dtp.bypass.lost_by(error) from error
    else:
        dtp.bypass.account_sent(sent)
        transfer.report.fast_path = FastPath.SENDFILE

    if not sent:
        raise shrunk(transfer)
    source.position += sent
    return sent
