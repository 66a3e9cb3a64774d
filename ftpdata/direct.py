"""Small files straight between the file and the socket, without a transport.

What fits into a socket's buffer needs no flow control, no protocol and no turn
of the event loop; their making costs more than the transfer. Both functions here
do nothing but the good case, in which everything goes through at once, in clear
or in TLS. Where it does not, the transfer goes on in the ordinary way from where
they came to: that knows all about waiting, deadlines and failures.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from .contracts import ProgressCallback
from .endpoint import Endpoint
from .files import FileTarget
from .kernel import acknowledge_at_once, describe_tls, has_unread, unacknowledged_on
from .outcome import Direction, End, FastPath, TransferResult
from .page_cache import read_cached
from .protocol import ANSWER_PATIENCE, DTP
from .throttle import TokenBucket
from .tls_transport import TLSChannel

__all__ = ["DIRECT_LIMIT", "receive_directly", "send_directly"]

DIRECT_LIMIT = 64 * 1024
"""Bytes of a file that is small."""

READ_EARLY = 8 * 1024
"""Bytes that are read before the connection is there, and stay while the peer does nothing."""

MSG_MORE: int = getattr(socket, "MSG_MORE", 0)

MOMENT = 0.02
"""Seconds that a small upload, or the end of a small download, is waited for."""


async def send_directly(
    endpoint: Endpoint,
    source: int | bytes,
    *,
    offset: int = 0,
    length: int,
    throttle: TokenBucket | None,
    progress: ProgressCallback | None,
) -> TransferResult | int | None:
    """Send a small file that is in memory, and close the connection.

    Args:
        endpoint: What to send it over.
        source: The descriptor of the file; or all bytes that are to be sent.
        offset: Where to start in the file, in bytes.
        length: Bytes to send, at most `DIRECT_LIMIT`; the file must have them.
        throttle: Bounds the rate.
        progress: Told once.

    Returns:
        The result of a clean end: the peer's kernel has acknowledged all. Or
        the bytes that the socket took, where that is not so (yet), with the end
        of file behind them if it took all; None if nothing was sent. The
        endpoint is then to be opened, and the transfer to be gone on with.

    Raises:
        FTPDataError: The connection did not come; see `Endpoint.connect`.
    """

    loop = asyncio.get_running_loop()
    # Where TLS is to be negotiated, the peer is at work now. And may be for long.
    data = _read(source, length, offset) if length <= READ_EARLY else None
    sock = await endpoint.connect()
    started_at = loop.time()
    if data is None:
        data = _read(source, length, offset)
    if data is None:
        return None

    if throttle is not None and throttle.reserve(length, loop.time()) > 0:
        throttle.unused(length)
        return None

    channel = endpoint.channel
    unsent = b""
    if channel is None:
        sent = _push(sock, data)
    else:
        channel.write(data)
        channel.announce_end()
        records = channel.take()
        # What the socket does not take now, it will take from the transport.
        unsent = records[_push(sock, records) or 0 :]
        endpoint.leave_unsent(unsent, length)
        sent = length

    if throttle is not None:
        throttle.unused(length - (sent or 0))
    if unsent:
        # Nor is there an answer to what is not sent, be it the announced end alone.
        return sent

    lingers = channel is not None and endpoint.lingers and _is_delivered(sock, channel)
    if channel is not None and not lingers:
        await _await_answer(endpoint, sock, channel)
    if sent != length or not (lingers or await _is_delivered_soon(endpoint, sock, channel)):
        return sent

    result = _clean_end(endpoint, Direction.SENT, length, started_at, offset)
    if lingers:
        endpoint.linger(_answer_patience(endpoint))
    else:
        endpoint.finish()
    if progress is not None:
        progress(length, length)

    return result


def _read(source: int | bytes, length: int, offset: int) -> bytes | None:
    return source if isinstance(source, bytes) else read_cached(source, length, offset)


def _clean_end(
    endpoint: Endpoint, direction: Direction, size: int, started_at: float, offset: int
) -> TransferResult:
    """Describe a transfer that has ended as it should."""

    channel, peer = endpoint.channel, endpoint.peer
    version, cipher, resumed = describe_tls(None if channel is None else channel.object)
    return TransferResult(
        direction=direction,
        end=End.CLEAN,
        bytes=size,
        file_bytes=size,
        seconds=asyncio.get_running_loop().time() - started_at,
        offset=offset,
        fast_path=FastPath.DIRECT,
        peer=None if peer is None else str(peer),
        tls_version=version,
        tls_cipher=cipher,
        tls_resumed=resumed,
    )


def _push(sock: socket.socket, data: bytes) -> int | None:
    """Send data, and the end of file behind all of it; return the bytes taken."""

    try:
        # The end of file, which comes at once, goes into the same packet.
        sent = sock.send(data, MSG_MORE) if data else 0
    except OSError:
        # Full, or lost: who goes on will meet it again, and knows what to do.
        return None

    if sent == len(data):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)

    return sent


def _is_delivered(sock: socket.socket, channel: TLSChannel | None) -> bool:
    """Whether the peer's kernel has it all, by now."""

    if channel is not None:
        return channel.undelivered(sock) == 0

    return unacknowledged_on(sock) == 0 and not has_unread(sock)


async def _is_delivered_soon(
    endpoint: Endpoint, sock: socket.socket, channel: TLSChannel | None
) -> bool:
    """Whether the peer's kernel has it all, now or once the peer has closed its side.

    What is smaller than a segment it acknowledges only then, or after 40 ms.
    """

    if _is_delivered(sock, channel):
        return True

    await endpoint.wait_readable(MOMENT)
    return _is_delivered(sock, channel)


async def _await_answer(endpoint: Endpoint, sock: socket.socket, channel: TLSChannel) -> None:
    """Wait until the peer has announced its own end, or closed, for as long as is polite.

    To close before its announcement comes would reset the connection under it. It
    also brings the acknowledgement, which the peer's kernel delays in a dialogue.
    """

    loop = asyncio.get_running_loop()
    until = loop.time() + _answer_patience(endpoint)
    with contextlib.suppress(OSError, EOFError):
        while (patience := until - loop.time()) > 0:
            with contextlib.suppress(BlockingIOError):
                if _receive(sock, channel)[1]:
                    return
            # Nothing is said behind our end.
            channel.take()
            # Others get their turn, however much it sends.
            await endpoint.wait_readable(patience)


def _answer_patience(endpoint: Endpoint) -> float:
    """Return for how many seconds it is polite to wait for the peer's own end of TLS."""

    limit = endpoint.deadlines.close
    return ANSWER_PATIENCE if limit is None else min(ANSWER_PATIENCE, limit / 2)


async def receive_directly(
    endpoint: Endpoint, target: FileTarget | None, *, offset: int
) -> tuple[bytes, TransferResult] | DTP:
    """Open an endpoint for an upload; where it is small, receive it right away.

    Args:
        endpoint: What it comes over.
        target: The file that is to hold just what comes; None for any other.
        offset: Where in the file the transfer starts, for the result.

    Returns:
        The bytes of the file and the result, where a small file and its clean
        end came within a moment; nothing is written yet. In any other case the
        DTP, which holds what has come for its consumer. Without a target it is
        the DTP also of a connection that has ended.

    Raises:
        FTPDataError: The connection did not come, see `Endpoint.connect`.
    """

    data, ending, started_at = await _take(endpoint, target)
    if ending is not True:
        dtp = await endpoint.open(keep=True, ahead=data)
        if isinstance(ending, OSError):
            # The system tells of it once only.
            dtp.lost_by(ending)
        return dtp

    if target is None:
        return endpoint.received(data)

    result = _clean_end(endpoint, Direction.RECEIVED, len(data), started_at, offset)
    endpoint.finish()
    return data, result


async def _take(
    endpoint: Endpoint, target: FileTarget | None
) -> tuple[bytes, OSError | bool, float]:
    """Take what comes soon; tell whether it ended cleanly, or the error, and when it began."""

    sock = await endpoint.connect()
    channel = endpoint.channel
    if channel is not None:
        acknowledge_at_once(sock)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    deadline = started_at + MOMENT
    data = b""
    while len(data) < DIRECT_LIMIT:
        try:
            piece, has_ended = _receive(sock, channel)
        except BlockingIOError:
            if target is not None and target.begin_in_memory():
                # It may have come meanwhile.
                continue

            patience = deadline - loop.time()
            if patience <= 0:
                break

            await endpoint.wait_readable(patience)
        except EOFError:
            # The transport will find the same, and who has it says what it means.
            break
        except OSError as error:
            return data, error, started_at
        else:
            data += piece
            if not has_ended:
                continue
            if channel is not None:
                channel.announce_end()
                _push(sock, channel.take())
            return data, True, started_at

    return data, False, started_at


def _receive(sock: socket.socket, channel: TLSChannel | None) -> tuple[bytes, bool]:
    """Receive what there is; tell whether it is followed by a clean end.

    Raises:
        EOFError: By one that was not announced, as TLS wants it.
        OSError: As the system says, or TLS; BlockingIOError where there is nothing (yet).
    """

    if channel is None:
        data = sock.recv(DIRECT_LIMIT)
        return data, not data

    data, has_announced = channel.read()
    if not (data or has_announced):
        records = sock.recv(DIRECT_LIMIT)
        if not records:
            raise EOFError
        channel.feed(records)
        data, has_announced = channel.read()
        if not (data or has_announced):
            raise BlockingIOError

    return data, has_announced
