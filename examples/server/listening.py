"""The sockets that clients connect to: the server's own, or made elsewhere and given to it.

A server that ends refuses nobody if another one goes on with its listening socket: ``--fd NUMBER``
takes one, as systemd hands it over (``examples/deploy/ftpdata.socket``), and who connects between
two servers waits. After SIGTERM the server lets nobody in and ends idle sessions with 421; running
transfers have ``--grace SECONDS`` to end, and what is late is cut and logged. In a program,
``Server.run(listener=…)`` takes a socket or a listener of anyio.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

import anyio
import anyio.abc
from anyio.abc import SocketAttribute

__all__ = ["Listener", "check_listener", "listening"]

Listener = socket.socket | list[socket.socket] | anyio.abc.Listener[anyio.abc.SocketStream]
"""Where clients come from, if that was made elsewhere (by systemd, gunicorn, a test)."""


@contextlib.asynccontextmanager
async def listening(
    host: str | None, port: int, listener: Listener | None
) -> AsyncIterator[Sequence[socket.socket]]:
    """Listen on an address, or go on with a listener that is there; yield the sockets.

    A given listener stays its owner's: it is not closed, and what connects to it afterwards
    waits for the next process that accepts.

    Args:
        host: The address, if there is no listener; ``::`` for all of this machine.
        port: The port, if there is no listener.
        listener: What listens already.

    Raises:
        OSError: It cannot listen there.
        TypeError: There is both an address and a listener, or neither; or it is no listener.
        ValueError: The socket does not listen, or not for TCP.
    """

    if (host is None) == (listener is None):
        raise TypeError("expected either a host or a listener")
    if listener is not None:
        yield [check_listener(sock) for sock in _sockets_of(listener)]
        return

    # anyio takes "::" for IPv6 alone.
    async with await anyio.create_tcp_listener(
        local_host=None if host == "::" else host, local_port=port
    ) as own:
        yield _sockets_of(own)


def check_listener(sock: socket.socket) -> socket.socket:
    """Return a socket that listens for TCP, non-blocking.

    Raises:
        ValueError: It does not.
    """

    is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type is socket.SOCK_STREAM
    if not (is_tcp and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)):
        raise ValueError(f"expected a socket that listens for TCP, not {sock}")

    sock.setblocking(False)
    return sock


def _sockets_of(listener: object) -> Sequence[socket.socket]:
    if isinstance(listener, socket.socket):
        return [listener]
    if isinstance(listener, anyio.abc.SocketListener):
        sock: socket.socket = listener.extra(SocketAttribute.raw_socket)
        return [sock]

    several = listener if isinstance(listener, list) else getattr(listener, "listeners", None)
    if not several:
        raise TypeError(f"expected sockets or a listener of anyio, not {listener!r:.80}")

    return [sock for each in several for sock in _sockets_of(each)]
