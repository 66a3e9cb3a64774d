"""Data connections over real loopback sockets, with a peer that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from ftpdata.connection.protocol import DTP
from ftpdata.errors import FTPDataError
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.testing import tcp_pair

__all__ = ["connection", "peer_task", "read_until_cut", "receive_all", "send_all"]


@contextlib.asynccontextmanager
async def connection(
    *,
    send_buffer: int | None = None,
    receive_buffer: int | None = None,
    dtp_factory: Callable[[], DTP] | None = None,
) -> AsyncIterator[tuple[DTP, socket.socket]]:
    """Yield a connected `DTP` and its peer's socket; close both at the end."""

    accepted, peer = await tcp_pair(send_buffer=send_buffer, receive_buffer=receive_buffer)
    try:
        async with AcceptedEndpoint(accepted, dtp_factory=dtp_factory) as endpoint:
            dtp = await endpoint.open()
            try:
                yield dtp, peer
            finally:
                dtp.abort()
                with contextlib.suppress(FTPDataError):
                    await dtp.wait_closed()
    finally:
        peer.close()


async def receive_all(peer: socket.socket) -> bytes:
    """Receive up to the end of file. Raises ConnectionResetError if the connection was cut."""

    loop = asyncio.get_running_loop()
    received = bytearray()
    while data := await loop.sock_recv(peer, 1 << 18):
        received += data

    return bytes(received)


async def read_until_cut(peer: socket.socket) -> tuple[bytes, bool]:
    """Receive everything; return whether it ended with a reset rather than an end of file."""

    loop = asyncio.get_running_loop()
    received = bytearray()
    try:
        while data := await loop.sock_recv(peer, 1 << 18):
            received += data
    except ConnectionResetError:
        return bytes(received), True

    return bytes(received), False


async def send_all(peer: socket.socket, data: bytes) -> None:
    """Send data and close, as a peer that uploads."""

    await asyncio.get_running_loop().sock_sendall(peer, data)
    peer.close()


@contextlib.asynccontextmanager
async def peer_task(work: Awaitable[object]) -> AsyncIterator[asyncio.Future[object]]:
    """Run a coroutine of the peer beside the test, and end it with the block."""

    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()
