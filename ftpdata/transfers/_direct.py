"""The direct way: files go straight between memory and the socket, without a transport.

A file of up to a MiB is sent in less time than it takes to make a transport, a protocol
and a supervisor. The functions here handle only the good case, in which everything is
transferred within a moment, in clear or in TLS. In any other case the plain way goes on from
the point that they have reached: it handles waiting, deadlines and failures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable
from typing import BinaryIO

from .._kernel import acknowledge_at_once, has_sendfile
from ..connection._delivery import Delivery, Verdict, answer_patience
from ..connection._loss import end_of_loss
from ..contracts import ProgressCallback, UploadTarget
from ..errors import error_for_end
from ..files._cache import is_in_memory, lives_in_memory, read_cached
from ..files._names import FilePath
from ..files.source import FileSource
from ..files.target import FileTarget
from ..opening._link import Carried, Link
from ..opening.endpoint import Endpoint, link_of
from ..outcome import End
from ..throttle import TokenBucket
from ..tls._channel import TLSChannel
from ._pending import PendingFile
from ._report import Report
from ._sizes import total_of
from ._ways import NOTHING_SENT, Arrived, Done, HandOver

__all__ = [
    "DIRECT_LIMIT",
    "MOMENT",
    "PROTECTED_LIMIT",
    "SENDFILE_LIMIT",
    "UPLOAD_LIMIT",
    "receive_directly",
    "send_directly",
    "send_file_directly",
]

DIRECT_LIMIT = 64 * 1024
"""Bytes of a small file, which is read into memory."""

SENDFILE_LIMIT = 1024 * 1024
"""Bytes of a file that the kernel may send straight from memory."""

PROTECTED_LIMIT = 256 * 1024
"""Bytes of a file that may be sent through TLS, in pieces of `DIRECT_LIMIT`."""

UPLOAD_LIMIT = 512 * 1024
"""Bytes of an upload that are received into memory, where they stay for a moment."""

READ_EARLY = 8 * 1024
"""Bytes that are read before the connection is made, and stay while the peer does nothing."""

MOMENT = 0.02
"""Seconds for a file to open, for an upload to arrive, for the peer to read a download."""

DELIVERY_MOMENT = 0.1
"""Seconds for the peer to acknowledge everything: kernels delay that by 40 ms."""


async def send_file_directly(
    endpoint: Endpoint,
    file: FilePath | int | BinaryIO,
    pending: PendingFile[FileSource],
    *,
    length: int | None,
    expected_size: int | None,
    report: Report,
    offset: int,
    throttle: TokenBucket | None,
    progress: ProgressCallback | None,
) -> Done | HandOver:
    """Send a file as `send_directly` does, after finding out how long it is.

    Args:
        endpoint: The endpoint to send it over.
        file: See `send_file`.
        pending: The file, which is being opened.
        length: Bytes to send at most.
        expected_size: Bytes that were promised.
        report: See `send_directly`.
        offset: Where to start in a file that is given as a descriptor.
        throttle: See `send_directly`.
        progress: See `send_directly`.
    """

    if isinstance(file, int) and length is not None:
        # The caller knows the size.
        fd, start, total = file, offset, length
    else:
        await link_of(endpoint)
        source = await pending.get_soon(MOMENT)
        size = None if source is None else total_of(source, length)
        if source is None or source.fd is None or size is None:
            return NOTHING_SENT
        fd, start, total = source.fd, source.position, size

    if expected_size not in (None, total) or not 0 <= total <= SENDFILE_LIMIT:
        return NOTHING_SENT

    return await send_directly(
        endpoint,
        fd,
        start=start,
        length=total,
        report=report,
        throttle=throttle,
        progress=progress,
    )


async def send_directly(
    endpoint: Endpoint,
    source: int | bytes,
    *,
    start: int = 0,
    length: int,
    report: Report,
    throttle: TokenBucket | None,
    progress: ProgressCallback | None,
) -> Done | HandOver:
    """Send a file that is in memory to a peer that reads it at once, and close the connection.

    Args:
        endpoint: The endpoint to send it over.
        source: The descriptor of the file, or all bytes to send.
        start: Where to start in the file, in bytes.
        length: Bytes to send, at most `SENDFILE_LIMIT`; the file must have that many.
        report: Counts the bytes, and makes the result or the error.
        throttle: Limits the rate.
        progress: Called once.

    Returns:
        `Done` after a clean end: the peer's kernel has acknowledged everything.
        Otherwise `HandOver`, with the bytes that the socket has taken so far.

    Raises:
        FTPDataError: The connection was not made (see `Endpoint.open`), it was aborted, or
            `progress` failed; carries the result.
    """

    # The peer may be busy with the TLS handshake now, so this is a good time to read a small
    # file. A larger one is not read yet: the peer may take long.
    data: int | bytes | None = None
    if length <= READ_EARLY:
        data = _at_hand(source, start, length, most=READ_EARLY)
    link = await link_of(endpoint)
    started_at = report.restart_clock()
    if data is None:
        most = SENDFILE_LIMIT if link.channel is None else PROTECTED_LIMIT
        data = _at_hand(source, start, length, most=most)
    if data is None:
        return NOTHING_SENT

    if throttle is not None and throttle.reserve(length, started_at) > 0:
        throttle.unused(length)
        return NOTHING_SENT

    sending = _Sending(link, started_at + MOMENT)
    try:
        on_sent = _sent_callback(report, link, length)
        lingers = await sending.deliver(data, start, length, on_sent)
        if lingers is None:
            return HandOver(sending.sent, end_is_sent=sending.sent == length)

        report.note_direct(link, length)
        if progress is not None:
            progress(length, length)
    except BaseException as error:
        report.note_direct(link, sending.sent)
        failure = report.failure(error, sending.sent) if isinstance(error, Exception) else error
        if failure is error:
            raise
        raise failure from error
    finally:
        if throttle is not None:
            throttle.unused(length - sending.sent)

    result = report.result(End.CLEAN, length)
    if lingers:
        link.linger(answer_patience(endpoint.deadlines.close))
    else:
        link.finish()

    return Done(result)


def _sent_callback(report: Report, link: Link, length: int) -> Callable[[], object] | None:
    """Return what tells the host that a file has left this system; None if it need not know."""

    if report.on_sent is None:
        return None

    def note_sent() -> None:
        report.meet(link)
        report.file_bytes = length
        report.note_sent(length)

    return note_sent


def _at_hand(
    source: int | bytes, offset: int, length: int, *, most: int
) -> int | bytes | None:
    """Return the bytes of a small file, or the descriptor of a larger one; None if it is on disk.

    Args:
        source: The descriptor, or all bytes, which are in memory.
        offset: Where to start in the file.
        length: Bytes to send.
        most: Bytes of the largest file that may be returned.
    """

    if isinstance(source, bytes):
        return source
    if length <= DIRECT_LIMIT:
        return read_cached(source, length, offset)
    if length > most or not has_sendfile():
        return None

    is_there = is_in_memory(source, offset, length, otherwise=lives_in_memory(source))
    return source if is_there else None


class _Sending:
    """Sends as long as the peer reads at once, then the end of file after everything.

    It ignores errors of the connection: the plain way meets them again, and handles them.

    Args:
        link: The link that it sends over.
        until: Time after which the peer counts as slow.

    Attributes:
        sent: Bytes that the socket took; in TLS, that the channel took.
        is_left: Whether the transport has to send bytes that the socket has not taken.
    """

    def __init__(self, link: Link, until: float) -> None:
        self.sent = 0
        self.is_left = False
        self._link = link
        self._until = until

    async def deliver(
        self,
        data: int | bytes,
        offset: int,
        length: int,
        on_sent: Callable[[], object] | None,
    ) -> bool | None:
        """Send the data, and wait until the peer has them.

        Args:
            data: The data, or the descriptor of the file.
            offset: Where to start in the file, in bytes.
            length: How many bytes to send.
            on_sent: Called once everything has left this system.

        Returns:
            Whether the peer's end of TLS may still come; None if not everything was
            sent and acknowledged soon.

        Raises:
            FTPDataError: The reason given to `Endpoint.abort`; or the connection was reset.
        """

        await self._send(data, offset, length)
        if self._link.channel is None:
            self._link.carried = Carried(sent=self.sent, is_end=self.sent == length)
        if self.is_left or self.sent != length:
            # The peer does not answer while anything is unsent, even if only the announced end is.
            return None

        return await _await_delivery(self._link, on_sent)

    async def _send(self, data: int | bytes, offset: int, length: int) -> None:
        if self._link.channel is not None:
            await self._send_protected(self._link.channel, data, offset, length)
        elif isinstance(data, bytes):
            await self._send_bytes(data)
        else:
            await self._send_file(data, offset, length)

    async def _send_bytes(self, data: bytes) -> None:
        while self.sent < len(data):
            rest = data[self.sent :] if self.sent else data
            taken = await self._push(rest, is_end=True)
            self.sent += taken
            if not taken:
                return

        self._link.send_end()

    async def _send_file(self, fd: int, offset: int, length: int) -> None:
        """Let the kernel send a file straight from memory."""

        while self.sent < length:
            try:
                count = os.sendfile(
                    self._link.sock.fileno(), fd, offset + self.sent, length - self.sent
                )
            except BlockingIOError:
                if not await self._has_room():
                    return
            except OSError:
                return
            else:
                if not count:
                    # The file has shrunk.
                    return
                self.sent += count

        self._link.send_end()

    async def _send_protected(
        self, channel: TLSChannel, data: int | bytes, offset: int, length: int
    ) -> None:
        """Send through TLS, in pieces, with the announced end after the last piece."""

        unsent = b""
        while not (unsent or channel.has_announced_end):
            piece: bytes | None
            if isinstance(data, bytes):
                piece = data
            else:
                size = min(DIRECT_LIMIT, length - self.sent)
                piece = read_cached(data, size, offset + self.sent)
            if piece is None:
                # The system has dropped it from memory in the meantime.
                break

            channel.write(piece)
            self.sent += len(piece)
            if self.sent == length:
                channel.announce_end()
            unsent = await self.push_records(channel)

        self._link.carried = Carried(
            sent=self.sent, unsent=unsent, is_end=channel.has_announced_end
        )
        self.is_left = bool(unsent)

    async def push_records(self, channel: TLSChannel) -> bytes:
        """Send a channel's records, and the end of file after an announced end; return the rest."""

        records = channel.take()
        while records:
            taken = await self._push(records, is_end=channel.has_announced_end)
            if not taken:
                return records
            records = records[taken:]

        if channel.has_announced_end:
            self._link.send_end()
        return b""

    async def _push(self, data: bytes, *, is_end: bool) -> int:
        """Send some data once there is room; return how many bytes, 0 if there is no room soon.

        Args:
            data: The data to send.
            is_end: Whether the end of file follows, which goes into the same packet.
        """

        while True:
            try:
                return self._link.send(data, is_end=is_end)
            except BlockingIOError:
                if not await self._has_room():
                    return 0
            except OSError:
                return 0

    async def _has_room(self) -> bool:
        """Wait until a full socket has room; return whether it soon had."""

        patience = self._until - asyncio.get_running_loop().time()
        return patience > 0 and await self._link.wait_writable(patience)


async def _await_delivery(link: Link, on_sent: Callable[[], object] | None) -> bool | None:
    """Wait until the peer has everything.

    Args:
        link: The connection, on which all was sent.
        on_sent: Called once everything has left this system.

    Returns:
        Whether its end of TLS may still come; None if it does not have everything soon, or
        if data that it has sent must be read first.

    Raises:
        FTPDataError: The connection is gone; or the reason given to `Endpoint.abort`.
    """

    loop = asyncio.get_running_loop()
    is_protected = link.channel is not None
    now = started_at = loop.time()
    delivery = Delivery(
        started_at, is_protected=is_protected, hurries=on_sent is not None
    )
    has_news = False
    while True:
        sight = link.sight()
        verdict = delivery.check(sight, now)
        if on_sent is not None and delivery.has_left:
            on_sent()
            on_sent = None
        if verdict is Verdict.DELIVERED:
            if is_protected:
                return not sight.has_peer_ended
            return None if sight.unread else False

        if verdict is Verdict.LOST:
            raise error_for_end(end_of_loss(sight.error)) from sight.error

        patience = min(delivery.next_look_at, started_at + DELIVERY_MOMENT) - now
        if has_news or patience <= 0:
            # Unread data would end each further wait at once.
            return None
        has_news = await link.wait_readable(patience)
        now = loop.time()


async def receive_directly(
    endpoint: Endpoint,
    pending: PendingFile[UploadTarget] | None,
    report: Report,
    early: list[bytes],
) -> Arrived | HandOver:
    """Receive a small upload as soon as its connection is made.

    Args:
        endpoint: The endpoint that it arrives at.
        pending: The file, which is being opened, if it is to hold exactly the bytes of
            the connection; None if they are converted, digested or throttled.
        report: Counts the bytes, and makes the result or the error.
        early: Receives the pieces that have arrived, even if this function is cancelled.

    Returns:
        `Arrived` with the bytes of the file, if all of them and a clean end arrived
        within a moment. Otherwise `HandOver`; the endpoint keeps the received bytes
        for the `DTP` that it opens.

    Raises:
        FTPDataError: The connection was not made, see `Endpoint.open`.
    """

    is_kept_whole = pending is not None and pending.may_be_unopened
    if pending is not None and is_kept_whole:
        # What arrives whole by then is opened, written and published in one step.
        pending.begin_after(MOMENT)
    link = await link_of(endpoint)
    target: FileTarget | None = None
    if pending is not None and not is_kept_whole:
        file = await pending.get_soon(MOMENT)
        target = file if isinstance(file, FileTarget) else None
        is_kept_whole = target is not None
    report.restart_clock()
    # Data that are throttled or converted must not arrive in large pieces.
    most = UPLOAD_LIMIT if is_kept_whole else DIRECT_LIMIT
    data, ending = await _take(link, target, early, most)
    if ending is True and is_kept_whole:
        report.note_direct(link, len(data))
        link.finish()
        return Arrived(data)

    link.carried = Carried(received=data, has_ended=ending is True)
    return HandOver(failure=ending if isinstance(ending, OSError) else None)


async def _take(
    link: Link, target: FileTarget | None, pieces: list[bytes], most: int
) -> tuple[bytes, OSError | bool]:
    """Receive the bytes that arrive soon; return whether they ended cleanly, or the error."""

    channel = link.channel
    if channel is not None:
        acknowledge_at_once(link.sock)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    deadline = started_at + MOMENT
    size = 0
    while size < most:
        try:
            piece, has_ended = link.receive()
        except BlockingIOError:
            if target is not None and target.begin_in_memory():
                # More data may have arrived in the meantime.
                continue

            patience = deadline - loop.time()
            if patience <= 0:
                break

            await link.wait_readable(patience)
        except EOFError:
            # The transport will meet the same end, and its protocol decides what it means.
            break
        except OSError as error:
            return b"".join(pieces), error
        else:
            pieces.append(piece)
            size += len(piece)
            if not has_ended:
                continue
            if channel is not None:
                # The peer has announced its own end: it waits for nothing.
                with contextlib.suppress(ssl.SSLError):
                    channel.announce_end()
                await _Sending(link, deadline).push_records(channel)
            return b"".join(pieces), True

    return b"".join(pieces), False
