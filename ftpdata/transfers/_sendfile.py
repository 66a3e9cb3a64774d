"""Downloads that the kernel moves: file to socket, past the transport, by sendfile(2).

On any event loop. It moves what is in memory; a stretch of the file that is on a
disk goes the plain way.
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
"""Bytes that a peer that takes all at once gets before others have their turn. The more it has
had, the more: many files of a few MiB are best sent side by side, a large one in one go."""

TOKEN = 512
"""Bytes that wait for room in the transport, which tells when there is some."""


async def send_by_sendfile(
    transfer: Supervisor, source: FileSource, outgoing: Outgoing
) -> None:
    """Let the kernel move the file, piece by piece.

    It reads on the event loop's own thread, so a stretch of the file that is
    not in memory goes through worker threads instead. Returns without having
    sent everything where the system or the file cannot: the caller goes on
    from `source.position`.
    """

    dtp, report, pace = transfer.dtp, transfer.report, transfer.pace
    total = report.total
    assert total is not None
    piece = FIRST_SENDFILE_PIECE
    try:
        while report.file_bytes < total:
            # The rate of a throttle may be changed at any time.
            most = pace.piece_up_to(piece)
            count = min(most, total - report.file_bytes)
            if not source.is_in_memory(count):
                until = min(report.file_bytes + LARGEST_SENDFILE_PIECE, total)
                await send_by_reading(transfer, source, outgoing, until=until)
                continue

            # What waits would come too late.
            dtp.limit_waiting(0)
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
        dtp.limit_waiting(dtp.high_water)


async def _sendfile_some(transfer: Supervisor, source: FileSource, count: int) -> int:
    """Send some bytes of a file, at least one, once there is room; return how many.

    Raises:
        NotImplementedError: It cannot be done.
        FTPDataError: The connection was lost, or the file has shrunk, or cannot be read.
    """

    assert source.fd is not None
    dtp = transfer.dtp
    if dtp.end is not None or dtp.transport.is_closing():
        # It raises the reason.
        dtp.write(b"")

    try:
        sent = sendfile_past(dtp.transport, source.fd, source.position, count)
    except BlockingIOError:
        # Forgotten since, it takes a thread.
        size = min(count, TOKEN)
        token = read_cached(source.fd, size, source.position)
        if token is None:
            token = await source.read(size)
            source.position -= len(token)
        sent = len(token)
        dtp.write(token)
        # Where there is room by now, a peer that goes on so would keep others from their turn.
        await (dtp.drain() if dtp.transport.get_write_buffer_size() else asyncio.sleep(0))
    except OSError as error:
        # It came past the transport, which does not know yet.
        raise dtp.lost_by(error) from error
    else:
        dtp.account_sent(sent)
        transfer.report.fast_path = FastPath.SENDFILE

    if not sent:
        raise shrunk(transfer)
    source.position += sent
    return sent
