"""Clients on loopback addresses, with or without a PROXY header, for the passive listeners."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket

from ftpdata.addresses import HostPort
from ftpdata.connection.protocol import DTP
from ftpdata.opening.ports import PortRange
from tests.harness.waiting import turns

__all__ = ["abandon", "connect_from", "free_ports", "is_cut"]


LARGEST_RANGE = 10
"""Most ports that a test asks for."""


async def connect_from(source: str, target: HostPort, data: bytes = b"") -> socket.socket:
    """Connect as a client with this address, and send data.

    A client that is refused may notice it at once, or when it reads.
    """

    sock = socket.socket(socket.AF_INET6 if target.is_ipv6 else socket.AF_INET)
    try:
        sock.setblocking(False)
        sock.bind((source, 0))
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            await loop.sock_connect(sock, (target.host, target.port))
            await loop.sock_sendall(sock, data)
    except BaseException:
        sock.close()
        raise

    return sock


async def is_cut(sock: socket.socket) -> bool:
    """Wait for the end of a connection, and close it."""

    try:
        return await asyncio.get_running_loop().sock_recv(sock, 1) == b""
    except ConnectionResetError:
        return True
    finally:
        sock.close()


async def abandon(*things: DTP | socket.socket) -> None:
    """Close sockets and end connections."""

    for thing in things:
        if isinstance(thing, DTP):
            thing.abort()
        else:
            thing.close()

    await turns()


_asked = itertools.count()


def free_ports(size: int, host: str = "127.0.0.1") -> PortRange:
    """Return adjacent ports that are free now: different ones each time, and in each process.

    They are not those of the previous test, which may be in TIME_WAIT. They lie below those that
    the kernel assigns to clients, which could be taken again at once.
    """

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    width = 10_000 // workers
    for _ in range(width // LARGEST_RANGE):
        first = 20_000 + worker * width + next(_asked) * LARGEST_RANGE % (width - LARGEST_RANGE)
        sockets = []
        try:
            for port in range(first, first + size):
                sock = socket.socket(family)
                sockets.append(sock)
                sock.bind((host, port))
                sock.listen(1)
        except OSError:
            continue
        else:
            return PortRange(first, first + size - 1)
        finally:
            for sock in sockets:
                sock.close()

    raise AssertionError("no free ports")
