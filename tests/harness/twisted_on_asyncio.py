"""A program that runs Twisted's `FileSender` and `FileConsumer` on its asyncio reactor, over DTPs.

``tests/connection/test_twisted.py`` runs it in a process of its own, since a reactor is installed
once and for good. Twisted's reactor, Twisted servers as the peers, and DTPs of ftpdata share one
event loop. The exit code is 0 if a file was sent and received unchanged.

Usage: python -m tests.harness.twisted_on_asyncio
"""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Callable
from typing import Any

from twisted.internet import asyncioreactor

_loop = asyncio.new_event_loop()
_loop.slow_callback_duration = math.inf  # on a busy machine, any callback may be slow
asyncio.set_event_loop(_loop)
_install: Any = asyncioreactor.install
_install(_loop)

# The reactor is installed first; and Twisted's types say less than its documentation.
import twisted.internet.reactor as _reactor  # noqa: E402
from twisted.internet.protocol import Factory, Protocol  # noqa: E402
from twisted.protocols.basic import FileSender as _FileSender  # noqa: E402
from twisted.protocols.ftp import FileConsumer as _FileConsumer  # noqa: E402

from ftpdata.addresses import HostPort  # noqa: E402
from ftpdata.connection.protocol import DTP  # noqa: E402
from ftpdata.connection.twisted import ConsumerAdapter, TwistedConsumer  # noqa: E402
from ftpdata.opening.active import connect_active  # noqa: E402

reactor: Any = _reactor
FileSender: Any = _FileSender
FileConsumer: Any = _FileConsumer

DATA = bytes(range(256)) * 20_000
PATIENCE = 60


class KeptFile(io.BytesIO):
    """A file that can be read after it was closed."""

    kept = b""

    def close(self) -> None:
        """Keep what was written."""

        self.kept = self.kept or self.getvalue()
        super().close()


class Sender(Protocol):
    """A Twisted peer that sends the data and closes."""

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Send the data, and close."""

        transport: Any = self.transport
        sending = FileSender().beginFileTransfer(io.BytesIO(DATA), transport)
        sending.addCallback(lambda _: transport.loseConnection())


class Receiver(Protocol):
    """A Twisted peer that keeps what it gets."""

    def __init__(self, lost: asyncio.Future[bytes]) -> None:
        self.received = b""
        self.lost = lost

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep data."""

        self.received += data

    def connectionLost(self, reason: object = None) -> None:  # noqa: N802 - Twisted's name
        """Return what was received."""

        self.lost.set_result(self.received)


class Peers(Factory):
    """Makes the peer of a connection."""

    def __init__(self, make: Callable[[], Protocol]) -> None:
        self.make = make

    def buildProtocol(self, addr: object) -> Protocol:  # noqa: N802 - Twisted's name
        """Return the peer."""

        return self.make()


async def connect(port: Any) -> DTP:
    """Connect a DTP to a port of Twisted's."""

    target = HostPort("127.0.0.1", port.getHost().port)
    return await connect_active(target, control_peer="127.0.0.1").open()


async def send() -> None:
    """Send with `FileSender` through a DTP to a Twisted peer."""

    lost: asyncio.Future[bytes] = _loop.create_future()
    port = reactor.listenTCP(0, Peers(lambda: Receiver(lost)), interface="127.0.0.1")
    dtp = await connect(port)
    sending = FileSender().beginFileTransfer(io.BytesIO(DATA), TwistedConsumer(dtp))
    assert await sending.asFuture(_loop) == DATA[-1:]
    await dtp.wait_closed()
    assert await lost == DATA
    await port.stopListening().asFuture(_loop)


async def receive() -> None:
    """Receive with `FileConsumer` through a DTP from a Twisted peer."""

    port = reactor.listenTCP(0, Peers(Sender), interface="127.0.0.1")
    dtp = await connect(port)
    file = KeptFile()
    await dtp.register_consumer(ConsumerAdapter(FileConsumer(file)))
    await dtp.wait_closed()
    assert file.kept == DATA
    await port.stopListening().asFuture(_loop)


async def main() -> None:
    """Send and receive, then stop the reactor."""

    try:
        async with asyncio.timeout(PATIENCE):
            await send()
            await receive()
    finally:
        reactor.stop()


if __name__ == "__main__":
    task = _loop.create_task(main())
    reactor.run()
    task.result()
