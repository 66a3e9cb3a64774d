"""Facts about a connection that the system and the TLS layer know, and asyncio does not expose.

Each function takes a transport or a socket, works with asyncio and with uvloop, and returns None
(or does nothing) if the system has no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from typing import Protocol

from .connection._delivery import Sight

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = [
    "RESET_ERRNOS",
    "TCP_NOTSENT_LOWAT",
    "acknowledge_at_once",
    "acknowledged_bytes",
    "acknowledged_on",
    "carries_as_is",
    "close_socket",
    "describe_tls",
    "duplicate_socket",
    "has_close_notify",
    "has_end_of_peer",
    "has_sendfile",
    "is_proactor",
    "limit_unsent",
    "look_at",
    "pending_error",
    "reset_at_loss",
    "reset_on_close",
    "reset_socket",
    "reset_socket_on_close",
    "room_to_send",
    "sendfile_past",
    "sight_of",
    "watch_readable",
    "watch_writable",
]

_LOOPS = frozenset({"asyncio", "uvloop"})
"""The packages whose transports are known."""

LINGER_ZERO = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""``struct linger``: on, for zero seconds."""

NO_ANSWER = (OSError, ValueError, AttributeError)
"""Exceptions for a socket that is already closed, or that is not a TCP socket."""

RESET_ERRNOS = frozenset({
    errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN, errno.ESHUTDOWN
})
"""Errors of a socket whose peer has reset it. ENOTCONN: the reset was reported before."""

LOSS_ERRNOS = RESET_ERRNOS | {
    errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN
}
"""Errors of a socket whose connection is lost."""

CLOSED = 7
FIN_SENT = frozenset({4, 9, 11})
FIN_RECEIVED = frozenset({6, 7, 8, 9, 11})
"""``tcpi_state`` in Linux's numbers: CLOSE; FIN-WAIT-1, LAST-ACK and CLOSING, in which our end of
file is not acknowledged; TIME-WAIT, CLOSE, CLOSE-WAIT, LAST-ACK and CLOSING, in which the peer's
has arrived."""

TCP_INFO_LENGTH = 148
TCP_INFO_RTT = slice(68, 72)
TCP_INFO_BYTES_ACKED = slice(120, 128)
TCP_INFO_NOTSENT_BYTES = slice(144, 148)
"""Where ``tcpi_rtt``, in microseconds, ``tcpi_bytes_acked`` and ``tcpi_notsent_bytes`` lie in
``struct tcp_info`` (linux/tcp.h, since 4.1 and 4.6)."""

FOUR_BYTES = bytes(4)

UNKNOWN = Sight()
"""The answer if the system knows nothing."""

TCP_NOTSENT_LOWAT = 25
"""Its number on Linux. Python's socket module has it since 3.12."""

SO_MEMINFO = 55
MEMINFO = struct.Struct("@12xI4xI")
"""Its words for the size of the send buffer, and for the bytes in it (linux/sock_diag.h)."""


def has_close_notify(tls: ssl.SSLObject) -> bool:
    """Whether the end of this TLS stream was announced (RFC 8446 §6.1)."""

    try:
        return tls.read(1) == b""
    except ssl.SSLZeroReturnError:
        return True
    except (ssl.SSLError, ValueError):
        return False


def has_end_of_peer(sock: socket.socket) -> bool:
    """Whether everything that the peer sends has reached this system, including its end of file.

    Some of it may be unread. False after a reset, which stays to be read, and if the system
    does not know (Linux does).
    """

    if sys.platform != "linux":
        return False

    try:
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except NO_ANSWER:
        return False

    return state in FIN_RECEIVED and state != CLOSED


def describe_tls(tls: ssl.SSLObject | None) -> tuple[str | None, str | None, bool | None]:
    """Return version, cipher, and whether the session was resumed; all None in clear."""

    if tls is None:
        return None, None, None

    return tls.version(), (tls.cipher() or (None,))[0], tls.session_reused


def reset_on_close(transport: asyncio.Transport) -> None:
    """Make the close that follows send a reset (SO_LINGER of zero seconds)."""

    sock = transport.get_extra_info("socket")
    if sock is not None:
        reset_socket_on_close(sock)


def is_proactor(transport: asyncio.BaseTransport) -> bool:
    """Whether a transport is of asyncio's proactor event loop, which is that of Windows."""

    below = getattr(transport, "below", transport)
    return type(below).__module__ == "asyncio.proactor_events"


def reset_at_loss(transport: asyncio.Transport) -> None:
    """Make the close that follows `connection_lost`, which calls this, send a reset.

    The transports of asyncio's proactor event loop shut a socket down before they close it. Its
    peer would see an end of file, and take what it has for a whole file: so it is closed first.
    """

    reset_on_close(transport)
    if is_proactor(transport):
        sock = getattr(transport.get_extra_info("socket"), "_sock", None)
        if sock is not None:
            close_socket(sock)


def reset_socket_on_close(sock: socket.socket) -> None:
    """Do as `reset_on_close` for a socket without a transport."""

    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    except NO_ANSWER:
        # There is nothing left to reset.
        return


def reset_socket(sock: socket.socket) -> None:
    """Close a socket so that its peer sees a reset, and takes no file for complete."""

    reset_socket_on_close(sock)
    close_socket(sock)


def close_socket(sock: socket.socket) -> None:
    """Close a socket.

    One whose close fails is closed all the same (close(2)). Nobody could do anything about it, and
    where it happens there is more to close.
    """

    # Each transfer closes some: a context manager would take longer than the call.
    try:  # noqa: SIM105
        sock.close()
    except OSError:
        pass


def acknowledge_at_once(sock: socket.socket) -> None:
    """Let the kernel acknowledge the next data without delay (Linux: TCP_QUICKACK).

    After a TLS handshake the kernel takes the connection for a dialogue and delays
    acknowledgements: after an upload that fits in one segment, a client that uses
    Nagle's algorithm then holds its close_notify back for 40 ms.
    """

    if sys.platform != "linux" or not _is_tcp(sock):
        return

    with contextlib.suppress(*NO_ANSWER):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def pending_error(transport: asyncio.Transport) -> OSError | None:
    """Return the pending error of the connection, if there is one (SO_ERROR)."""

    sock = transport.get_extra_info("socket")
    if sock is None:
        return None

    try:
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except NO_ANSWER:
        return None

    return OSError(code, os.strerror(code)) if code else None


def sight_of(sock: socket.socket | None) -> Sight:
    """Look at a connection. This takes nothing from it except an error, which is in the answer.

    The answer is empty if the system does not know. (Linux, tcp(7): SIOCOUTQ and SIOCINQ, which
    have the numbers of TIOCOUTQ and FIONREAD, and TCP_INFO.)
    """

    if sock is None or sys.platform != "linux":
        return UNKNOWN

    try:
        fd = sock.fileno()
        # Only TCP answers: to ask Python for the family of the socket takes longer.
        # The state first. What is acknowledged between two calls leaves the queue, and the
        # end of file may be the last of it: a connection that is closed by then has nothing
        # queued, and must not be taken for one that was cut with a byte on its way.
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_LENGTH)
        state = info[0]
        queued = int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, FOUR_BYTES), sys.byteorder)
        unread = int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, FOUR_BYTES), sys.byteorder)
        # The end of file counts as one byte, the last.
        unacknowledged = queued - (queued > 0 and state in FIN_SENT)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if state == CLOSED else 0
    except NO_ANSWER:
        return UNKNOWN

    return Sight(
        unacknowledged,
        _acknowledged_in(info),
        unread,
        state in FIN_RECEIVED,
        state == CLOSED,
        OSError(code, os.strerror(code)) if code else None,
        int.from_bytes(info[TCP_INFO_RTT], sys.byteorder) / 1e6,
        _unsent_in(info),
    )


def room_to_send(transport: asyncio.Transport) -> int | None:
    """Bytes that the system can take at once, after those that wait in the transport.

    A cautious guess: the system counts memory, not bytes. Nothing else fills the
    room, so it stays until it is used. None if the system does not know. (Linux:
    SO_MEMINFO, since 4.12.)
    """

    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return None

    try:
        info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
        most, queued = MEMINFO.unpack(info)
    except (*NO_ANSWER, struct.error):
        return None

    room: int = (most - queued) * 2 // 3 - transport.get_write_buffer_size()
    return max(0, room)


def has_sendfile() -> bool:
    """Whether the system can send bytes of a file over a socket itself (sendfile(2))."""

    return hasattr(os, "sendfile")


def sendfile_past(transport: asyncio.Transport, fd: int, offset: int, count: int) -> int:
    """Let the system send bytes of a file over the connection, past the transport (sendfile(2)).

    This works on any event loop. It never waits for the peer, but for a disk if the
    bytes are not in memory.

    Args:
        transport: The transport, whose write buffer is empty.
        fd: The file; its position does not change.
        offset: Position of the first byte.
        count: How many bytes to send at most.

    Returns:
        How many bytes were sent; 0 at the end of the file.

    Raises:
        BlockingIOError: There is no room for any byte.
        NotImplementedError: There is no socket, or the system cannot send this file
            in this way; to read it will raise the reason.
        OSError: The connection is lost.
    """

    sock = transport.get_extra_info("socket")
    if sock is None or not has_sendfile() or not carries_as_is(transport):
        raise NotImplementedError

    try:
        return os.sendfile(sock.fileno(), fd, offset, count)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in LOSS_ERRNOS:
            raise
        raise NotImplementedError from error


def limit_unsent(transport: asyncio.Transport, nbytes: int) -> int:
    """Limit the unsent bytes that the system holds for a connection (Linux: TCP_NOTSENT_LOWAT).

    Args:
        transport: The transport of the connection.
        nbytes: The limit. 0 restores the system's own, which is some megabytes if
            the network is fast.

    Returns:
        The previous limit.
    """

    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux" or not _is_tcp(sock):
        return 0

    try:
        before: int = sock.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, nbytes)
    except NO_ANSWER:
        return 0

    return before


def acknowledged_bytes(transport: asyncio.Transport) -> int | None:
    """Bytes that the peer's kernel has acknowledged so far, TLS records included."""

    return acknowledged_on(transport.get_extra_info("socket"))


def acknowledged_on(sock: socket.socket | None) -> int | None:
    """Bytes that the peer's kernel has acknowledged so far on a socket."""

    if sock is None or sys.platform != "linux" or not _is_tcp(sock):
        return None

    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_LENGTH)
    except NO_ANSWER:
        return None

    return _acknowledged_in(info)


def duplicate_socket(transport: asyncio.Transport) -> socket.socket | None:
    """Return a second socket for the connection, which outlives the transport's own.

    The transport's end of file is not sent before this socket is closed.
    """

    sock = transport.get_extra_info("socket")
    if sock is None:
        return None

    try:
        return socket.fromfd(sock.fileno(), sock.family, sock.type)
    except NO_ANSWER:
        return None


def carries_as_is(transport: asyncio.Transport) -> bool:
    """Whether the bytes that go through a transport are those that go over its socket.

    A transport that is not the event loop's own may change the bytes, even if it has
    a socket.
    """

    return type(transport).__module__.partition(".")[0] in _LOOPS


def look_at(sock: socket.socket) -> Callable[[], bool]:
    """Return a function that checks, without waiting, whether a socket may be readable.

    For listeners: accept(2) in Linux makes a socket before it finds that no connection
    waits, which takes ten times as long as checking first. Without poll(2), as on
    Windows, the function always returns True.
    """

    if not hasattr(select, "poll"):
        return lambda: True

    poll = select.poll()
    poll.register(sock, select.POLLIN)

    def look() -> bool:
        try:
            return bool(poll.poll(0))
        except OSError:
            # accept() raises the same error, or finds out.
            return True

    return look


class HasFileno(Protocol):
    """A socket, or what else has a descriptor that can be watched."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


def watch_readable(
    loop: asyncio.AbstractEventLoop, sock: HasFileno, callback: Callable[[], object]
) -> bool:
    """Watch a socket; return whether the event loop can.

    asyncio's on Windows cannot, and none can where the system has no memory or no watch left
    (epoll_ctl(2)): then the caller looks at the socket now and then.
    """

    return _watch(loop.add_reader, sock, callback)


def watch_writable(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, callback: Callable[[], object]
) -> bool:
    """Do the same until a full socket has room."""

    return _watch(loop.add_writer, sock, callback)


def _watch(
    add: Callable[..., None], sock: HasFileno, callback: Callable[[], object]
) -> bool:
    try:
        # Pass its number: for a socket asyncio would make a description that it does not use.
        add(sock.fileno(), callback)
    except (NotImplementedError, OSError):
        # The first is what asyncio's proactor event loop says, as on Windows.
        return False

    return True


def _acknowledged_in(info: bytes) -> int | None:
    field = info[TCP_INFO_BYTES_ACKED]
    return int.from_bytes(field, sys.byteorder) if len(field) == 8 else None  # noqa: PLR2004


def _unsent_in(info: bytes) -> int | None:
    field = info[TCP_INFO_NOTSENT_BYTES]
    return int.from_bytes(field, sys.byteorder) if len(field) == 4 else None  # noqa: PLR2004


def _is_tcp(sock: socket.socket | None) -> bool:
    return sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6)
