"""What the system and the TLS layer know about a connection, and asyncio does not tell.

Each function takes a transport, works on asyncio's and uvloop's alike, and
answers None (or does nothing) where the system has no answer.
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

from .connection._delivery import Sight

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = [
    "RESET_ERRNOS",
    "acknowledge_at_once",
    "acknowledged_bytes",
    "acknowledged_on",
    "carries_as_is",
    "describe_tls",
    "duplicate_socket",
    "has_close_notify",
    "has_end_of_peer",
    "limit_unsent",
    "look_at",
    "pending_error",
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
"""``struct linger``: on, for no seconds."""

NO_ANSWER = (OSError, ValueError, AttributeError)
"""What is raised for a socket that is closed already, or that is none of TCP."""

RESET_ERRNOS = frozenset({
    errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN, errno.ESHUTDOWN
})
"""What a socket says of a reset. ENOTCONN: of one that has been told of before."""

LOSS_ERRNOS = RESET_ERRNOS | {
    errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN
}
"""What it says of a connection that is lost."""

CLOSED = 7
FIN_SENT = frozenset({4, 9, 11})
FIN_RECEIVED = frozenset({6, 7, 8, 9, 11})
"""``tcpi_state`` in Linux's numbers: CLOSE; FIN-WAIT-1, LAST-ACK and CLOSING, in which our end of
file is not acknowledged; TIME-WAIT, CLOSE, CLOSE-WAIT, LAST-ACK and CLOSING, in which the peer's
has come."""

TCP_INFO_LENGTH = 128
TCP_INFO_RTT = slice(68, 72)
TCP_INFO_BYTES_ACKED = slice(120, 128)
"""Where ``tcpi_rtt``, in microseconds, and ``tcpi_bytes_acked`` lie in ``struct tcp_info``
(linux/tcp.h, since 4.1)."""

FOUR_BYTES = bytes(4)

UNKNOWN = Sight()
"""What a system says that does not tell."""

TCP_NOTSENT_LOWAT = 25
"""Python's socket module knows it from 3.12 on."""

SO_MEMINFO = 55
MEMINFO = struct.Struct("@12xI4xI")
"""Of its words: the size of the send buffer, and what is in it (linux/sock_diag.h)."""


def has_close_notify(tls: ssl.SSLObject) -> bool:
    """Whether the end of this TLS stream was announced (RFC 8446 §6.1)."""

    try:
        return tls.read(1) == b""
    except ssl.SSLZeroReturnError:
        return True
    except (ssl.SSLError, ValueError):
        return False


def has_end_of_peer(sock: socket.socket) -> bool:
    """Whether all that the peer has sent is in this system, its end of file included.

    Some of it may be unread. False after a reset, which stays for whoever reads it, and if
    the system does not know (Linux does).
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
    """Make the close that follows a reset (SO_LINGER of zero seconds)."""

    sock = transport.get_extra_info("socket")
    if sock is not None:
        reset_socket_on_close(sock)


def reset_socket_on_close(sock: socket.socket) -> None:
    """Do the same for a socket without a transport."""

    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    except NO_ANSWER:
        # There is nothing left to reset.
        return


def reset_socket(sock: socket.socket) -> None:
    """Close a socket so that its peer sees a reset, and takes nothing for whole."""

    reset_socket_on_close(sock)
    sock.close()


def acknowledge_at_once(sock: socket.socket) -> None:
    """Let the kernel acknowledge what comes next without delay (Linux: TCP_QUICKACK).

    After a TLS handshake it takes the connection for a dialogue and delays:
    a client that has Nagle's algorithm on then holds its close_notify back for
    40 ms, behind an upload that fits in one segment.
    """

    if sys.platform != "linux" or not _is_tcp(sock):
        return

    with contextlib.suppress(*NO_ANSWER):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def pending_error(transport: asyncio.Transport) -> OSError | None:
    """Return the error that the kernel has noted about the connection, if there is one."""

    sock = transport.get_extra_info("socket")
    if sock is None:
        return None

    try:
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except NO_ANSWER:
        return None

    return OSError(code, os.strerror(code)) if code else None


def sight_of(sock: socket.socket | None) -> Sight:
    """Look at a connection without taking anything from it but an error, which is in the answer.

    Empty where the system does not tell. (Linux, tcp(7): SIOCOUTQ and SIOCINQ, which have the
    numbers of TIOCOUTQ and FIONREAD, and TCP_INFO.)
    """

    if sock is None or sys.platform != "linux" or not _is_tcp(sock):
        return UNKNOWN

    try:
        fd = sock.fileno()
        queued = int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, FOUR_BYTES), sys.byteorder)
        unread = int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, FOUR_BYTES), sys.byteorder)
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_LENGTH)
        state = info[0]
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
    )


def room_to_send(transport: asyncio.Transport) -> int | None:
    """Bytes that the system can take at once, behind what waits in the transport.

    A cautious guess: the system counts memory, not bytes. Nobody else fills
    the room, so it is there until it is used. None where the system does not
    tell. (Linux: SO_MEMINFO, since 4.12.)
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


def sendfile_past(transport: asyncio.Transport, fd: int, offset: int, count: int) -> int:
    """Let the system send bytes of a file over the connection, past the transport (sendfile(2)).

    On any event loop. Waits for no peer, but for a disk, if they are not in memory.

    Args:
        transport: It has nothing to send of its own now.
        fd: The file; it stays where it stands.
        offset: The first of the bytes.
        count: How many at most.

    Returns:
        How many were sent; 0 at the end of the file.

    Raises:
        BlockingIOError: There is no room for any.
        NotImplementedError: There is no socket, or the system does not send this
            file so: to read it will tell why.
        OSError: The connection is lost.
    """

    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(os, "sendfile") or not carries_as_is(transport):
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
    """Let the system hold so many bytes that it has not sent yet (Linux: TCP_NOTSENT_LOWAT).

    Args:
        transport: Of the connection.
        nbytes: Above these it takes no more. 0 for its own limit, which is
            some megabytes where the network is fast.

    Returns:
        What the limit was before.
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
    """Give a second socket for the connection, which outlives the transport's own.

    The end of file of the transport's is not sent before this one is closed.
    """

    sock = transport.get_extra_info("socket")
    if sock is None:
        return None

    try:
        return socket.fromfd(sock.fileno(), sock.family, sock.type)
    except NO_ANSWER:
        return None


def carries_as_is(transport: asyncio.Transport) -> bool:
    """Whether what goes through a transport is what goes over its socket.

    One that is not the event loop's own may do with the bytes what it likes, and name
    a socket all the same.
    """

    return type(transport).__module__.partition(".")[0] in _LOOPS


def look_at(sock: socket.socket) -> Callable[[], bool]:
    """Return a function that looks whether a socket may be worth a call, without any wait.

    For listeners: Linux makes a socket before it finds that accept(2) has none to give,
    which takes ten times as long as to look first. Where there is no poll(2), as on
    Windows, the call itself is the look.
    """

    if not hasattr(select, "poll"):
        return lambda: True

    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return lambda: bool(poll.poll(0))


def watch_readable(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, callback: Callable[[], object]
) -> bool:
    """Watch a socket; return whether the event loop can (asyncio's on Windows cannot)."""

    return _watch(loop.add_reader, sock, callback)


def watch_writable(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, callback: Callable[[], object]
) -> bool:
    """Do the same for a socket that is full."""

    return _watch(loop.add_writer, sock, callback)


def _watch(
    add: Callable[..., None], sock: socket.socket, callback: Callable[[], object]
) -> bool:
    try:
        # Its number: asyncio would ask the socket for its description, to throw it away.
        add(sock.fileno(), callback)
    except NotImplementedError:
        # asyncio's proactor event loop, the one of Windows.
        return False

    return True


def _acknowledged_in(info: bytes) -> int | None:
    field = info[TCP_INFO_BYTES_ACKED]
    return int.from_bytes(field, sys.byteorder) if len(field) == 8 else None  # noqa: PLR2004


def _is_tcp(sock: socket.socket | None) -> bool:
    return sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6)
