"""How a file goes out: by sendfile(2), or read in worker threads.

What is in memory the kernel moves, past the transport, on any event loop. What is
on a disk, is to be converted or goes through TLS is read and written, one piece
ahead of the network.
"""

from __future__ import annotations

import asyncio

from .._kernel import sendfile_past
from .._tasks import give_up
from ..contracts import Buffer
from ..errors import SizeMismatch
from ..files._cache import read_cached
from ..files.source import FileSource
from ..outcome import FastPath
from ._conversion import Outgoing
from ._supervisor import Supervisor

__all__ = ["send_by_reading", "send_by_sendfile"]

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

    assert transfer.total is not None
    dtp = transfer.dtp
    piece = FIRST_SENDFILE_PIECE
    try:
        while transfer.file_bytes < transfer.total:
            # The rate of a throttle may be changed at any time.
            most = transfer.piece_up_to(piece)
            count = min(most, transfer.total - transfer.file_bytes)
            if not source.is_in_memory(count):
                until = min(transfer.file_bytes + LARGEST_SENDFILE_PIECE, transfer.total)
                await send_by_reading(transfer, source, outgoing, until=until)
                continue

            # What waits would come too late.
            dtp.limit_waiting(0)
            await dtp.drain()
            await transfer.wait_for_turn(count)
            left = count
            try:
                while left:
                    transfer.bound_unsent()
                    sent = await _sendfile_some(transfer, source, left)
                    left -= sent
                    transfer.file_bytes += sent
                    transfer.report_progress()
            except NotImplementedError:
                return
            finally:
                transfer.give_back(left)
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
        transfer.fast_path = FastPath.SENDFILE

    if not sent:
        raise _shrunk(transfer)
    source.position += sent
    return sent


async def send_by_reading(
    transfer: Supervisor, source: FileSource, outgoing: Outgoing, *, until: int | None = None
) -> None:
    """Read what is in memory; else in worker threads, one piece ahead of the network.

    To the end, or so many bytes.
    """

    ahead: asyncio.Task[bytes] | None = None
    total = transfer.total if until is None else until
    try:
        while total is None or transfer.file_bytes < total:
            size = outgoing.size_of(transfer.sending_size())
            left = total - transfer.file_bytes if total is not None else size
            data: Buffer | None = source.read_now(min(size, left)) if ahead is None else None
            if data is None:
                data = await (ahead if ahead is not None else source.read(min(size, left)))
                ahead = None
                size = outgoing.size_of(transfer.sending_size(len(data)))
                left = total - transfer.file_bytes - len(data) if total is not None else size
                if data and left > 0:
                    ahead = asyncio.ensure_future(source.read(min(size, left)))
            if not data:
                break

            await outgoing.send(data)
            await transfer.note_file_bytes(data)
            del data
    finally:
        if ahead is not None:
            await give_up(ahead)

    if total is not None and transfer.file_bytes < total:
        raise _shrunk(transfer)


def _shrunk(transfer: Supervisor) -> SizeMismatch:
    return SizeMismatch(
        f"the file shrank while it was sent: {transfer.total} bytes at the start, "
        f"{transfer.file_bytes} now"
    )
