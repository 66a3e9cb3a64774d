"""A `DTP` on a connection in memory, and simple producers and consumers for its ends."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterable
from typing import Any

from ftpdata.connection import DTP, CloseWaiter, ReceiveQueue
from ftpdata.contracts import Buffer, Consumer
from ftpdata.errors import InvalidData, TruncatedTransfer
from ftpdata.testing import MemoryTransport

__all__ = [
    "BrokenFile",
    "HoldingEncoder",
    "PlainProducer",
    "Strict",
    "connect",
    "each",
    "receive_all",
    "receive_into",
]


def connect(**options: Any) -> tuple[DTP, MemoryTransport]:
    """Return a DTP on a connection in memory."""

    dtp = DTP(**options)
    return dtp, MemoryTransport(dtp)


async def receive_into(
    consumer: Consumer, *pieces: bytes
) -> tuple[DTP, MemoryTransport, CloseWaiter]:
    """Deliver pieces to a consumer, without an end."""

    dtp, transport = connect()
    waiter = dtp.register_consumer(consumer)
    for piece in pieces:
        transport.deliver(piece)
    return dtp, transport, waiter


async def receive_all(queue: ReceiveQueue) -> bytes:
    """Receive up to the clean end."""

    return b"".join([data async for data in queue])


class PlainProducer:
    """A push producer that is not a connection: it has no `reason` and takes no `abort`."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_producing(self) -> None:
        """Record the call."""

        self.calls.append("pause")

    def resume_producing(self) -> None:
        """Record the call."""

        self.calls.append("resume")

    def stop_producing(self) -> None:
        """Record the call."""

        self.calls.append("stop")


class BrokenFile(io.BytesIO):
    """A file object whose disk fails, and whose calls can be delayed."""

    def __init__(self, error: Exception | None = None, *, at: str = "write") -> None:
        super().__init__()
        self.error = error
        self.at = at
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.flushed = 0

    def write(self, data: Buffer, /) -> int:  # type: ignore[override]
        """Write at most 100 bytes, as a raw file may, or fail."""

        self.entered.set()
        self.gate.wait(60)
        if self.error is not None and self.at == "write":
            raise self.error

        return super().write(bytes(data)[:100])

    def flush(self) -> None:
        """Flush, or fail."""

        self.flushed += 1
        if self.error is not None and self.at == "flush":
            raise self.error


class Strict:
    """A decoder that requires an ``x`` first and an ``END`` last."""

    def __init__(self) -> None:
        self.seen = b""

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Pass data on, or raise."""

        self.seen += data
        if not self.seen.startswith(b"x"):
            raise InvalidData("expected an x")
        yield bytes(data)

    def finish(self) -> Iterable[bytes]:
        """Return nothing, or raise."""

        if not self.seen.endswith(b"END"):
            raise TruncatedTransfer("expected END")
        return ()


class HoldingEncoder:
    """An encoder that keeps all data until the end."""

    def __init__(self) -> None:
        self.held = b""

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Keep data."""

        self.held += data
        return ()

    def finish(self) -> Iterable[bytes]:
        """Yield all data."""

        return (self.held,)


async def each(chunks: Iterable[Buffer]) -> AsyncIterator[Buffer]:
    """Yield chunks asynchronously, each one a turn later."""

    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk
