"""What listens has in common: bind a port, accept, and learn who is there.

RFC 959 §4.1.2, HAProxy's proxy-protocol.txt. An `Acceptor` owns one listening
socket and takes every connection at once, so that strangers cannot fill its
queue. Behind trusted proxies it lets a `HeaderReader` find out who is there.
It decides nothing: its owner says whose connection it is (`ftpdata.opening.passive`,
`ftpdata.opening.pool`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable

import attrs

from .._kernel import close_socket, look_at, reset_socket, watch_readable
from ..addresses import HostPort
from ..observers._telling import tell
from ..observers.contract import Observer
from ._header_reader import HeaderReader
from .proxy import ProxyHeader, TrustedProxies
from .socket_options import DEFAULT_SOCKET_OPTIONS, SocketOptions, reuse_address

__all__ = ["INHERITS_OPTIONS", "Acceptor", "Arrival", "bind_listener"]

ACCEPT_RETRY = 0.1
"""Seconds to leave a listener alone when the process has no file descriptor left."""

HEADERS_AT_ONCE = 64
"""Connections of one listener whose PROXY header may be awaited at a time."""

NOTES, NOTES_EVERY = 10, 60.0
"""Refused connections of one listener that are logged one by one, in that many seconds."""

INHERITS_OPTIONS = sys.platform == "linux"
"""Whether connections have what was set on their listener, so that it need not be set on each."""

_LOST_IN_QUEUE = frozenset({
    errno.ECONNABORTED, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ENETDOWN,
    errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ETIMEDOUT,
})
"""What became of a connection that waited, not of the listener (accept(2), "Error handling")."""

_LATER = frozenset({
    errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM, errno.EACCES,
})
"""What passes: there are no descriptors or no memory left, or somebody forbids it for now (a
firewall, a security module). The connection still waits, and so does the listener."""


@attrs.frozen
class Arrival:
    """Who has connected.

    Attributes:
        host: The address to be judged: of the peer, or of the client behind the
            trusted proxy.
        number: How many connections the listener had accepted, this one
            included.
        proxied: Address and port of the client behind the proxy; None without one.
        peername: The peer's name according to the socket; None behind a proxy.
    """

    host: str
    number: int
    proxied: HostPort | None = None
    peername: object = None


def bind_listener(
    host: str, port: int, *, backlog: int, options: SocketOptions | None = None
) -> socket.socket:
    """Listen on a port. IPv6 only where the address is one; ``::`` takes IPv4 too.

    A link-local address is followed by its scope: ``fe80::1%eth0``, or the scope's number.

    Raises:
        OSError: What the system says.
    """

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        reuse_address(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))

        if INHERITS_OPTIONS:
            (options or DEFAULT_SOCKET_OPTIONS).set_on(sock)
        elif options is not None:
            options.set_on_listener(sock)

        sock.setblocking(False)
        sock.bind(_spelled_out(host, port))
        # Two processes may both bind the port with SO_REUSEADDR; only one can listen on it.
        sock.listen(backlog)
    except BaseException:
        close_socket(sock)
        raise

    return sock


def _spelled_out(host: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """Make the address that `socket.socket.bind` takes, which reads no scope from a text."""

    bare, _, scope = host.partition("%")
    if not scope:
        return host, port

    try:
        index = int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
    except OSError:
        # Python says in some versions what is missing, and in others an error number.
        raise OSError(errno.ENODEV, f"no network interface is named {scope!r}") from None
    return bare, port, 0, index


class Acceptor:
    """Accepts from one listening socket, for an owner who judges.

    1. The owner gets every connection that says who it is: `deliver` is
       called with a socket that belongs to the owner from then on.
    2. After `close` nothing is delivered.
    3. Without a descriptor to accept with, it rests and tries again: no
       busy loop, no log.
    4. All that are refused are counted, and few are logged: nobody must fill the log by connecting.

    Args:
        listener: A listening, non-blocking socket. Belongs to the acceptor.
        backlog: Connections that may wait in its queue.
        deliver: Takes a connection and who it is.
        fail: Called once, when the listener is broken. It is closed by then.
        proxies: Whose PROXY headers to believe; None where peers connect
            themselves.
        logger: Where refused connections are noted.
        level: On which level.
        observer: Notified of refused connections.

    Attributes:
        address: Where it listens.
        refused: Connections refused so far.
        arrivals: Connections accepted so far.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        backlog: int,
        deliver: Callable[[socket.socket, Arrival], None],
        fail: Callable[[OSError], None],
        proxies: TrustedProxies | None = None,
        logger: logging.Logger,
        level: int = logging.WARNING,
        observer: Observer | None = None,
    ) -> None:
        host, port = listener.getsockname()[:2]
        # A link-local address comes with its zone, which the client must not get.
        self.address: HostPort = HostPort(host.partition("%")[0], port)
        self.refused: int = 0
        self.arrivals: int = 0
        self._backlog = backlog
        self._deliver = deliver
        self._fail = fail
        self._proxies = proxies
        self._logger = logger
        self._level = level
        self._observer = observer
        self._headers: dict[HeaderReader, None] = {}
        self._notes = 0
        self._notes_until = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = listener
        self._may_have_one = look_at(listener)
        self._watches = self._watch()

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""

        return self._listener is not None

    def accept(self) -> None:
        """Take all that waits, as long as nobody closes the acceptor. Never blocks.

        What was in the queue when this was called has been taken when it
        returns, unless descriptors are lacking.
        """

        # The queue holds one connection more than the backlog says (listen(2)). A
        # flood that never ends gets its next turn only when others have had theirs.
        for _ in range(self._backlog + 1):
            if not self._accept_one():
                break

        if self._headers:
            self._read_headers()

    def accept_awaited(self) -> None:
        """Take what waits up to one that is not refused. Never blocks.

        The event loop calls again if another one waits. To find out here that none does would
        take one more system call for every transfer.
        """

        refused = self.refused
        for _ in range(self._backlog + 1):
            if not self._accept_one() or self.refused == refused:
                break

            refused = self.refused

        if self._headers:
            self._read_headers()

    def watch_on(self) -> None:
        """Look again and again, where the event loop cannot watch a socket (Windows)."""

        if not self._watches:
            self._retry_soon()

    def refuse(self, sock: socket.socket, host: str, reason: str) -> None:
        """Reset and count a connection."""

        self.refused += 1
        # It may be that of an owner who comes too late, and who must not see an empty file.
        reset_socket(sock)
        if self._observer is not None:
            tell(self._observer, "stranger", self.address, host, reason)
        now = self._loop.time()
        if now >= self._notes_until:
            self._notes, self._notes_until = NOTES, now + NOTES_EVERY
        if not self._notes:
            return

        self._notes -= 1
        others = "" if self._notes else "; for a while others are only counted"
        self._logger.log(
            self._level,
            "%s refused on port %d: %s%s",
            host,
            self.address.port,
            reason,
            others,
        )

    def close(self) -> None:
        """Stop listening; close what has not said yet who it is. Idempotent."""

        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

        for header in list(self._headers):
            header.close()

        self._headers.clear()
        listener, self._listener = self._listener, None
        if listener is None:
            return

        if self._watches:
            self._loop.remove_reader(listener.fileno())

        close_socket(listener)

    # Private

    def _read_headers(self) -> None:
        for header in list(self._headers):
            header.read()

    def _accept_one(self) -> bool:
        if self._listener is None or not self._may_have_one():
            return False

        try:
            sock, peername = self._listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in _LOST_IN_QUEUE:
                return True

            self._accept_failed(error)
            return False

        self.arrivals += 1
        try:
            sock.setblocking(False)
        except OSError as error:
            self.refuse(sock, peername[0], f"it cannot be used: {error.strerror}")
            return True

        if self._proxies is None:
            self._deliver(sock, Arrival(peername[0], self.arrivals, peername=peername))
        elif not self._proxies.trusts(peername[0]):
            self.refuse(sock, peername[0], "it is not a trusted proxy")
        else:
            if len(self._headers) >= HEADERS_AT_ONCE:
                # The oldest: a proxy sends its header at once.
                oldest = next(iter(self._headers))
                oldest.give_up("too many connections without a PROXY header")
            header = HeaderReader(
                sock, peername[0], self.arrivals, self._proxies, self._header_done
            )
            self._headers[header] = None
            header.read()

        return True

    def _header_done(
        self, header: HeaderReader, parsed: ProxyHeader | None, reason: str
    ) -> None:
        self._headers.pop(header, None)
        sock = header.sock
        if parsed is None:
            self.refuse(sock, header.host, reason)
        elif parsed.source is None:
            # A health check of the proxy's own, or one who hides: nobody's connection.
            close_socket(sock)
        else:
            source = parsed.source
            self._deliver(sock, Arrival(source.host, header.number, source))

    def _accept_failed(self, error: OSError) -> None:
        if error.errno not in _LATER:
            self.close()
            self._fail(error)
            return

        # The connection stays in the queue, so the loop would call again at
        # once and for ever: leave the listener alone for a moment.
        if self._watches and self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._watches = False

        self._retry_soon()

    def _watch(self) -> bool:
        assert self._listener is not None
        return watch_readable(self._loop, self._listener, self.accept_awaited)

    def _retry_soon(self) -> None:
        if self._retry is None and self._listener is not None:
            self._retry = self._loop.call_later(ACCEPT_RETRY, self._accept_again)

    def _accept_again(self) -> None:
        self._retry = None
        if self._listener is None:
            return

        self._watches = self._watch()
        self.accept()
        if not self._watches:
            self._retry_soon()
