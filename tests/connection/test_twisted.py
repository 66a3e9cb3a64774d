"""Tests of `ftpdata.connection.twisted`, with the real Twisted."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer
from twisted.protocols.basic import FileSender as _FileSender
from twisted.protocols.ftp import DTP as _TwistedDTP  # noqa: N811 - a class
from twisted.protocols.ftp import FileConsumer as _FileConsumer
from zope.interface.verify import verifyObject

import ftpdata.connection.twisted as guide
from ftpdata.codecs.representation import AsciiEncoder
from ftpdata.connection import BytesProducer, EncodedProducer
from ftpdata.connection.protocol import DTP
from ftpdata.connection.twisted import (
    ConsumerAdapter,
    ProducerAdapter,
    TwistedConsumer,
    TwistedProducer,
)
from ftpdata.contracts import Consumer, Destination, PushProducer
from ftpdata.errors import ConnectionReset, FTPDataError, LocalError, NotConnected
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.outcome import End
from ftpdata.testing import MemoryTransport, check_consumer, check_producer, tcp_pair
from tests.harness.waiting import turns

# Twisted's types are narrower than its documentation.
FileSender: Any = _FileSender
FileConsumer: Any = _FileConsumer
TwistedDTP: Any = _TwistedDTP

ROOT = Path(__file__).resolve().parents[2]
DATA = bytes(range(256)) * 400


class KeptFile(io.BytesIO):
    """A file that can be read after it was closed."""

    kept = b""

    def close(self) -> None:
        """Keep what was written."""

        if not self.closed:
            self.kept = self.getvalue()
        super().close()


class TwistedPushProducer:
    """A push producer written for Twisted, which sends a generator's chunks from the loop."""

    def __init__(self, consumer: TwistedConsumer, chunks: list[bytes]) -> None:
        self.consumer = consumer
        self.chunks = iter(chunks)
        self.calls: list[str] = []
        self.paused = self.stopped = False
        consumer.registerProducer(self, True)
        self._schedule()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Go on."""

        self.calls.append("resumeProducing")
        self.paused = False
        self._schedule()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Pause."""

        self.calls.append("pauseProducing")
        self.paused = True

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Stop."""

        self.calls.append("stopProducing")
        self.stopped = True

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_soon(self._produce)

    def _produce(self) -> None:
        if self.paused or self.stopped:
            return

        chunk = next(self.chunks, None)
        if chunk is None:
            self.stopped = True
            self.consumer.unregisterProducer()
            return

        self.consumer.write(chunk)
        self._schedule()


class TwistedRecorder:
    """A consumer written for Twisted."""

    def __init__(self) -> None:
        self.producer: TwistedProducer | None = None
        self.calls: list[str] = []
        self.data = b""

    def registerProducer(self, producer: TwistedProducer, streaming: bool) -> None:  # noqa: N802
        """Record the producer; refuse a second one, as Twisted's transports do."""

        if self.calls:
            raise RuntimeError("one is registered")

        self.calls.append(f"registerProducer streaming={streaming}")
        self.producer = producer

    def unregisterProducer(self) -> None:  # noqa: N802 - Twisted's name
        """Record the call."""

        self.calls.append("unregisterProducer")

    def write(self, data: bytes) -> None:
        """Record the data."""

        self.calls.append("write")
        self.data += data


def connect(**options: Any) -> tuple[DTP, MemoryTransport]:
    """Return a DTP on a connection in memory."""

    dtp = DTP(**options)
    return dtp, MemoryTransport(dtp)


def send_file(dtp: DTP, data: bytes) -> Deferred[bytes]:
    """Start Twisted's sender on a DTP, and ignore its failure."""

    sending: Deferred[bytes] = FileSender().beginFileTransfer(
        io.BytesIO(data), TwistedConsumer(dtp)
    )
    return sending


# Sending


async def test_twisteds_file_sender_fulfils_the_contract() -> None:
    """The real `FileSender` passes every case of the shared checks on a DTP."""

    def start(dtp: DTP) -> None:
        send_file(dtp, DATA).addErrback(lambda _: None)

    await check_producer(start, expected=DATA)


async def test_a_twisted_push_producer_fulfils_the_contract() -> None:
    """It is paused and resumed in turn."""
    chunks = [DATA[i : i + 10_000] for i in range(0, len(DATA), 10_000)]

    def start(dtp: DTP) -> None:
        TwistedPushProducer(TwistedConsumer(dtp), chunks)

    await check_producer(start, expected=DATA)


async def test_a_push_producer_is_paused_resumed_and_stopped() -> None:
    """It is called by Twisted's names."""
    dtp, transport = connect(high_water=0)
    producer = TwistedPushProducer(TwistedConsumer(dtp), [b"a", b"b"])
    await turns()
    assert producer.calls == ["pauseProducing"]
    transport.drain()
    await turns()
    assert producer.calls == ["pauseProducing", "resumeProducing", "pauseProducing"]
    transport.lose(ConnectionResetError())
    assert producer.calls[3:] == ["stopProducing"]


async def test_the_deferred_of_the_file_sender_fires() -> None:
    """It fires with the last byte sent, as its documentation says; then the DTP ends cleanly."""
    accepted, peer = await tcp_pair()
    dtp = await AcceptedEndpoint(accepted).open()
    sending = send_file(dtp, DATA)
    received = b""
    with peer:
        while data := await asyncio.get_running_loop().sock_recv(peer, 100_000):
            received += data
        assert await sending.asFuture(asyncio.get_running_loop()) == DATA[-1:]
        await dtp.wait_closed()
    assert received == DATA


async def test_the_deferred_fails_when_the_connection_is_lost() -> None:
    """`stopProducing` reaches the sender."""
    dtp, transport = connect(high_water=0)
    sending = send_file(dtp, DATA)
    await turns()
    transport.lose(ConnectionResetError())
    with pytest.raises(Exception, match="asked us to stop"):
        await sending.asFuture(asyncio.get_running_loop())


async def test_a_twisted_producer_that_raises_ends_the_transfer() -> None:
    """Its error is the cause."""
    error = OSError("broken")

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error

    dtp, transport = connect()
    sending = FileSender().beginFileTransfer(Broken(), TwistedConsumer(dtp))
    sending.addErrback(lambda _: None)
    with pytest.raises(LocalError) as raised:
        await dtp.wait_closed()
    assert raised.value.__cause__ is error
    assert dtp.end is End.PRODUCER_FAILED
    assert transport.was_aborted


async def test_a_connection_that_has_ended_stops_the_producer() -> None:
    """Twisted's transports do the same."""
    dtp, transport = connect()
    transport.lose(ConnectionResetError())
    with pytest.raises(Exception, match="asked us to stop"):
        await send_file(dtp, DATA).asFuture(asyncio.get_running_loop())
    with pytest.raises(NotConnected):
        TwistedConsumer(dtp).write(b"x")


async def test_a_second_producer_is_refused() -> None:
    """It is refused with RuntimeError, as in Twisted."""
    dtp, _ = connect()
    send_file(dtp, DATA).addErrback(lambda _: None)
    with pytest.raises(RuntimeError, match="already registered: ProducerAdapter"):
        TwistedConsumer(dtp).registerProducer(FileSender(), False)
    dtp.abort()
    with pytest.raises(FTPDataError):
        await dtp.wait_closed()


async def test_twisteds_file_sender_goes_through_an_encoder() -> None:
    """An encoder in front of a DTP is a destination, too."""

    class Started(BytesProducer):
        def start(self, destination: Destination) -> None:
            sender = FileSender()
            sending = sender.beginFileTransfer(io.BytesIO(b"a\nb\n"), TwistedConsumer(destination))
            sending.addErrback(lambda _: None)

    await check_producer(
        lambda dtp: EncodedProducer(Started(b""), AsciiEncoder()).start(dtp),
        expected=b"a\r\nb\r\n",
    )


# Receiving


async def test_a_twisted_consumer_fulfils_the_contract() -> None:
    """It passes every case of the shared checks."""
    recorders: dict[int, TwistedRecorder] = {}

    def make() -> ConsumerAdapter:
        recorder = TwistedRecorder()
        adapter = ConsumerAdapter(recorder)
        recorders[id(adapter)] = recorder
        return adapter

    await check_consumer(make, received=lambda adapter: recorders[id(adapter)].data)


async def test_twisteds_file_consumer_receives() -> None:
    """The real `FileConsumer` gets every byte, and closes its file before the awaitable fires."""
    accepted, peer = await tcp_pair()
    dtp = await AcceptedEndpoint(accepted).open()
    file = KeptFile()
    waiter = dtp.register_consumer(ConsumerAdapter(FileConsumer(file)))
    with peer:
        await asyncio.get_running_loop().sock_sendall(peer, DATA)
    await waiter
    assert file.closed
    assert file.kept == DATA
    await dtp.wait_closed()


async def test_twisteds_file_consumer_is_let_go_after_a_cut() -> None:
    """Twisted would take the file for whole; the awaitable raises the reason."""
    dtp, transport = connect()
    file = KeptFile()
    waiter = dtp.register_consumer(ConsumerAdapter(FileConsumer(file)))
    transport.deliver(b"half")
    transport.lose(ConnectionResetError())
    with pytest.raises(ConnectionReset):
        await waiter
    assert file.kept == b"half"


async def test_a_twisted_consumer_pauses_and_stops() -> None:
    """It does so by Twisted's names."""
    dtp, transport = connect()
    consumer = TwistedRecorder()
    waiter = dtp.register_consumer(ConsumerAdapter(consumer))
    assert consumer.producer is not None
    consumer.producer.pauseProducing()
    assert not transport.is_reading()
    consumer.producer.resumeProducing()
    assert transport.is_reading()
    transport.deliver(b"x")
    consumer.producer.stopProducing()
    with pytest.raises(FTPDataError):
        await waiter
    assert dtp.end is End.ABORTED
    assert consumer.calls == ["registerProducer streaming=True", "write", "unregisterProducer"]


# What they are


def test_the_adapters_are_what_twisted_and_ftpdata_want() -> None:
    """They declare the interfaces, and have every method that these require."""
    consumer, producer = TwistedConsumer(DTP()), TwistedProducer(DTP())
    assert verifyObject(IConsumer, consumer)
    assert verifyObject(IPushProducer, producer)
    assert verifyObject(IPullProducer, producer)
    assert isinstance(ConsumerAdapter(TwistedRecorder()), Consumer)
    assert isinstance(ProducerAdapter(FileSender()), PushProducer)


@pytest.mark.parametrize(
    "question",
    [
        "IConsumer.providedBy(TwistedConsumer(DTP()))",
        "IConsumer.implementedBy(TwistedConsumer)",
        "IConsumer.providedBy(type('Sub', (TwistedConsumer,), {})(DTP()))",
        "IConsumer(TwistedConsumer(DTP())) is not None",
        "IPushProducer.providedBy(TwistedProducer(DTP()))",
        "IPullProducer.implementedBy(TwistedProducer)",
        "not IConsumer.providedBy(TwistedProducer(DTP()))",
        "not IPullProducer.providedBy(TwistedConsumer(DTP()))",
    ],
)
def test_whoever_asks_first_learns_the_interfaces(question: str) -> None:
    """Of an instance, of the class or of one beneath it; in a process where nobody has asked."""
    program = (
        "import sys\n"
        "from ftpdata.connection import DTP\n"
        "from ftpdata.connection.twisted import TwistedConsumer, TwistedProducer\n"
        "assert 'zope' not in sys.modules\n"
        "from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer\n"
        f"assert {question}\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


def test_without_twisted_nothing_is_declared() -> None:
    """Even if somebody asks zope.interface, which may be there for something else."""
    program = (
        "import sys\n"
        "sys.modules['twisted'] = sys.modules['twisted.internet'] = None\n"
        "from zope.interface import implementedBy\n"
        "from ftpdata.connection.twisted import TwistedConsumer\n"
        "assert not list(implementedBy(TwistedConsumer))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


@pytest.mark.parametrize(
    "name",
    [
        *("isConnected", "connectionMade", "connectionLost", "sendLine", "sendListResponse"),
        *("registerProducer", "unregisterProducer", "write", "dataReceived", "registerConsumer"),
        *("resumeProducing", "pauseProducing", "stopProducing", "_cons", "_onConnLost", "_buffer"),
        *("_encoding", "_formatOneListResponse", "_conswrite", "_unregConsumer", "factory"),
        *("logPrefix", "connected", "transport", "makeConnection"),
    ],
)
def test_the_guide_tells_of_every_member_of_twisteds_dtp(name: str) -> None:
    """Each has an entry, or a place in one, and is one that Twisted's class has."""
    terms = re.findall(r"^(``.*``)$", guide.__doc__ or "", re.MULTILINE)
    assert f"``{name}``" in ", ".join(terms).split(", ")
    assert hasattr(TwistedDTP(), name)


@pytest.mark.parametrize(
    "adapter",
    [
        ProducerAdapter(FileSender()),
        ConsumerAdapter(TwistedRecorder()),
        TwistedProducer(DTP()),
        TwistedConsumer(DTP()),
    ],
)
def test_an_adapter_says_what_is_in_it(adapter: object) -> None:
    """Its repr is for error messages and debuggers."""
    assert repr(adapter).startswith(f"{type(adapter).__name__}(<")


def test_ftpdata_does_not_import_twisted() -> None:
    """Twisted is not a dependency, not even an optional one."""
    program = (
        "import sys, ftpdata.connection.twisted; "
        "sys.exit(any(name.split('.')[0] in ('twisted', 'zope') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


def test_on_twisteds_asyncio_reactor() -> None:
    """DTPs, Twisted's reactor and Twisted's connections share one event loop."""
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "tests.harness.twisted_on_asyncio"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize("adapter", [ConsumerAdapter, ProducerAdapter])
def test_what_is_not_twisteds_is_refused(adapter: Any) -> None:
    """An object with ftpdata's method names needs no adapter, and would fail later."""
    with pytest.raises(TypeError, match="of Twisted, which has a method re"):
        adapter(DTP())
