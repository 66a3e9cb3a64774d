"""Real sockets, and the ways in which real peers fail."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct

__all__ = ["Cut", "half_close", "receive_then_cut", "reset", "send_then_cut", "tcp_pair"]


class Cut(enum.Enum):
    """How a connection is cut."""

    RESET = "reset"
    CLOSE = "close"
    HALF_CLOSE = "half close"


async def tcp_pair(
    host: str = "127.0.0.1",
    *,
    send_buffer: int | None = None,
    receive_buffer: int | None = None,
) -> tuple[socket.socket, socket.socket]:
    """Connect two real TCP sockets, for `AcceptedEndpoint` and a scripted peer.

    Args:
        host: Local address, IPv4 or IPv6.
        send_buffer: SO_SNDBUF of the first, in bytes.
        receive_buffer: SO_RCVBUF of the second, in bytes.

    Returns:
        The accepted socket and the peer's, both non-blocking.
    """

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setblocking(False)
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)

        listener.bind((host, 0))
        listener.listen(1)
        peer = socket.socket(family, socket.SOCK_STREAM)
        try:
            peer.setblocking(False)
            if receive_buffer is not None:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

            await asyncio.get_running_loop().sock_connect(peer, listener.getsockname())
            accepted = await _accept(listener)
        except BaseException:
            peer.close()
            raise

    accepted.setblocking(False)
    return accepted, peer


async def _accept(listener: socket.socket) -> socket.socket:
    """Accept without a future: a cancellation would lose the socket in it."""

    while True:
        try:
            return listener.accept()[0]
        except BlockingIOError:
            await asyncio.sleep(0)


def reset(sock: socket.socket) -> None:
    """Close a socket with a reset (RST), as a peer that crashed or aborted."""

    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half_close(sock: socket.socket) -> None:
    """Send the end of file (FIN), and keep the other direction open."""

    sock.shutdown(socket.SHUT_WR)


async def send_then_cut(sock: socket.socket, data: bytes, how: Cut) -> None:
    """Send data as a peer, then cut."""

    await asyncio.get_running_loop().sock_sendall(sock, data)
    cut(sock, how)


async def receive_then_cut(sock: socket.socket, nbytes: int, how: Cut) -> bytes:
    """Receive exactly that many bytes as a peer, then cut, in the middle of the data.

    Returns:
        The received data; fewer bytes if the end of file came first.
    """

    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < nbytes:
        chunk = await loop.sock_recv(sock, nbytes - len(received))
        if not chunk:
            break
        received += chunk

    cut(sock, how)
    return received


def cut(sock: socket.socket, how: Cut) -> None:
    """Cut a connection in this way."""

    if how is Cut.RESET:
        reset(sock)
    elif how is Cut.CLOSE:
        sock.close()
    else:
        half_close(sock)
