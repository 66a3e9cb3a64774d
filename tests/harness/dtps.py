"""Data connections without an endpoint: over a `MemoryTransport`, or over a bare socket."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Awaitable
from typing import Any

import pytest

from ftpdata.connection.protocol import DTP
from ftpdata.testing import MemoryTransport, RecordingConsumer, tcp_pair

__all__ = ["RESET", "WHOLE", "only_linux", "real", "receiving"]

WHOLE = ["register_producer", "write", "unregister_producer"]
"""The calls of a consumer that has had one chunk."""

RESET = ConnectionResetError(errno.ECONNRESET, "reset")
"""The reason that a transport has when its peer has reset the connection."""

only_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="the system does not report what was acknowledged"
)


def receiving(
    consumer: RecordingConsumer | None = None, **options: Any
) -> tuple[DTP, MemoryTransport, RecordingConsumer, Awaitable[None]]:
    """Return a connected DTP with a consumer."""

    consumer = consumer or RecordingConsumer()
    dtp = DTP()
    transport = MemoryTransport(dtp, **options)
    return dtp, transport, consumer, dtp.register_consumer(consumer)


async def real(
    *,
    host: str = "127.0.0.1",
    send_buffer: int | None = None,
    receive_buffer: int | None = None,
    **options: Any,
) -> tuple[DTP, socket.socket]:
    """Return a DTP on a real connection, and the peer's socket."""

    sock, peer = await tcp_pair(host, send_buffer=send_buffer, receive_buffer=receive_buffer)
    loop = asyncio.get_running_loop()
    _, dtp = await loop.connect_accepted_socket(lambda: DTP(**options), sock)
    return dtp, peer
