"""Tests of `ftpdata.tls._transport`: the transport around a TLS channel."""

from __future__ import annotations

import array
import asyncio
import contextlib
import re
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata._kernel import acknowledged_on
from ftpdata.connection import _delivery
from ftpdata.connection._delivery import Sight, Verdict
from ftpdata.connection._delivery_watch import DeliveryWatch
from ftpdata.connection.memory_consumer import MemoryConsumer
from ftpdata.connection.protocol import DTP
from ftpdata.contracts import Buffer
from ftpdata.errors import FTPDataError
from ftpdata.outcome import End
from ftpdata.testing import Cut, MemoryTransport, reset, send_then_cut, tcp_pair
from ftpdata.tls._channel import TLSChannel
from ftpdata.tls._transport import PIECE, TLSTransport
from tests.harness.waiting import turns

from ..harness.channels import BAD_RECORD, channels, for_client, for_server, shake_hands
from ..harness.connections import peer_task
from ..harness.packages import errors_stay, needs_cryptography
from ..harness.tls import RecordWriter, TLSPeer, client_context, server_certificate

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = pytest.mark.parametrize(
    "version", [pytest.param(TLS_1_2, id="TLS1.2"), pytest.param(TLS_1_3, id="TLS1.3")]
)
ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what Linux alone can tell")

CONTENT = bytes(i * 7 % 251 for i in range(100_000))
SMALL: dict[str, Any] = {"send_buffer": 4096, "receive_buffer": 4096}


class Recorder(asyncio.Protocol):
    """A protocol that records every call and all data."""

    keeps_open = False
    pauses = False

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.data = bytearray()
        self.calls: list[str] = []
        self.ended: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[Exception | None] = loop.create_future()
        self.came = asyncio.Event()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""

        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep the data."""

        assert not self.ended.done()
        assert type(data) is bytes
        self.take(data)

    def take(self, data: bytes) -> None:
        """Keep data, and pause reading if `pauses` is set."""

        self.data += data
        self.came.set()
        if self.pauses:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Record the end of file, which must come only once."""

        self.ended.set_result(None)
        return self.keeps_open

    def pause_writing(self) -> None:
        """Record the call."""

        self.calls.append("pause")

    def resume_writing(self) -> None:
        """Record the call."""

        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        """Record the loss, which must come only once."""

        self.lost.set_result(exc)


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    """A recorder that provides the memory to read into.

    Args:
        size: Size of the memory in bytes.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.memory = bytearray(size)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the memory."""

        return self.memory

    def buffer_updated(self, nbytes: int) -> None:
        """Keep the data in the memory."""

        assert not self.ended.done()
        assert nbytes
        self.take(bytes(self.memory[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Fail: a buffered protocol never gets this call."""

        raise AssertionError


def recorder(size: int | None) -> Recorder:
    """Make a recorder; with a size, a buffered one with that much memory."""

    return Recorder() if size is None else BufferedRecorder(size)


async def negotiate(sock: socket.socket, channel: TLSChannel) -> None:
    """Do the handshake of a channel over a socket."""

    loop = asyncio.get_running_loop()
    while not channel.handshake():
        await loop.sock_sendall(sock, channel.take())
        channel.feed(await loop.sock_recv(sock, 1 << 16))
    await loop.sock_sendall(sock, channel.take())


@contextlib.asynccontextmanager
async def connected(
    protocol: asyncio.BaseProtocol,
    version: ssl.TLSVersion | None = None,
    *,
    context: ssl.SSLContext | None = None,
    options: dict[str, Any] | None = None,
    **buffers: Any,
) -> AsyncIterator[tuple[TLSTransport, TLSPeer]]:
    """Provide the transport of a protocol, and its peer."""

    loop = asyncio.get_running_loop()
    sock, there = await tcp_pair(**buffers)
    with there:
        channel = TLSChannel(for_server(version))
        channel.acknowledged_before = acknowledged_on(sock)
        peer = TLSPeer(there, context or client_context(version))
        async with peer_task(peer.handshake()) as handshake:
            await negotiate(sock, channel)
            await handshake
        lower: Any = None
        try:
            lower, transport = await loop.connect_accepted_socket(
                lambda: TLSTransport(channel, protocol, **(options or {})), sock
            )
            yield transport, peer
        finally:
            if lower is not None:
                lower.abort()
            # Wait until the socket is closed.
            for _ in range(3):
                await asyncio.sleep(0)


SIZES = pytest.mark.parametrize("size", [None, 1, 5000, 16384, 50_000, len(CONTENT), 1 << 20])


@VERSIONS
@SIZES
async def test_data_and_their_end_at_one_blow(version: ssl.TLSVersion, size: int | None) -> None:
    """No data are lost, even if the end comes while the memory is full. It is reported once."""

    protocol = recorder(size)
    async with connected(protocol, version) as (_, peer):
        pieces = [peer.record(CONTENT[i : i + 10_000]) for i in range(0, len(CONTENT), 10_000)]
        await send_then_cut(peer.sock, b"".join(pieces) + peer.close_notify(), Cut.CLOSE)
        await protocol.ended
        assert await protocol.lost is None
    assert protocol.data == CONTENT


@VERSIONS
@pytest.mark.parametrize("size", [None, 5000, 1 << 20])
@pytest.mark.parametrize("closes", [True, False])
async def test_whoever_pauses_in_the_middle_gets_the_rest_when_it_resumes(
    version: ssl.TLSVersion, size: int | None, closes: bool
) -> None:
    """The end comes once, after all data, even if it came with the last data and without a FIN."""

    protocol = recorder(size)
    protocol.pauses = True
    async with connected(protocol, version) as (transport, peer):
        pieces = [peer.record(CONTENT[i : i + 10_000]) for i in range(0, len(CONTENT), 10_000)]
        wire = b"".join(pieces) + peer.close_notify()
        async with peer_task(
            send_then_cut(peer.sock, wire, Cut.CLOSE) if closes else peer.put(wire)
        ):
            while not protocol.ended.done():
                if protocol.came.is_set():
                    protocol.came.clear()
                    assert not transport.is_reading()
                    before = len(protocol.data)
                    await turns()
                    assert len(protocol.data) == before
                    assert not protocol.ended.done()
                    transport.resume_reading()
                    transport.resume_reading()
                    assert transport.is_reading()
                await asyncio.wait(
                    (protocol.ended, waiting := asyncio.ensure_future(protocol.came.wait())),
                    return_when=asyncio.FIRST_COMPLETED,
                    timeout=10,
                )
                waiting.cancel()
        assert protocol.data == CONTENT
        if not closes:
            assert await peer.receive() == b""
            peer.sock.close()
        assert await protocol.lost is None


@VERSIONS
async def test_an_end_that_comes_while_reading_is_paused(version: ssl.TLSVersion) -> None:
    """The protocol gets the end after the data, once it has resumed reading."""

    protocol = Recorder()
    async with connected(protocol, version) as (transport, peer):
        transport.pause_reading()
        transport.pause_reading()
        await send_then_cut(peer.sock, peer.record(b"data") + peer.close_notify(), Cut.CLOSE)
        await turns()
        assert not protocol.data
        assert not protocol.ended.done()
        transport.resume_reading()
        await protocol.ended
        assert protocol.data == b"data"
        assert await protocol.lost is None


async def test_a_transport_that_reads_once_more_although_it_is_paused() -> None:
    """The transport of uvloop does so. The data are kept for later, and so is the end."""

    protocol = Recorder()
    async with connected(protocol) as (transport, peer):
        transport.pause_reading()
        for record in (peer.record(b"first"), peer.record(b"second") + peer.close_notify()):
            transport.get_buffer(-1)[: len(record)] = record
            transport.buffer_updated(len(record))
        assert transport.eof_received()
        assert protocol.data == b""
        transport.resume_reading()
        await protocol.ended
        assert protocol.data == b"firstsecond"
        assert await protocol.lost is None


@VERSIONS
async def test_data_that_came_with_the_last_message_of_the_handshake(
    version: ssl.TLSVersion,
) -> None:
    """The data are delivered, although nothing more comes from the socket."""

    protocol = Recorder()
    server, client = channels(version)
    client.write(b"early")
    server.feed(client.take())
    sock, peer = await tcp_pair()
    with peer:
        lower, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: TLSTransport(server, protocol), sock
        )
        await protocol.came.wait()
        assert protocol.data == b"early"
        lower.abort()
        await protocol.lost


async def test_a_failure_that_was_met_before_the_transport() -> None:
    """The transport reports the failure to its protocol."""

    protocol = Recorder()
    server, client = channels()
    client.write(b"good")
    server.feed(client.take() + BAD_RECORD)
    assert server.read() == (b"good", False)
    sock, peer = await tcp_pair()
    with peer:
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: TLSTransport(server, protocol), sock
        )
        assert isinstance(await protocol.lost, ssl.SSLError)


@VERSIONS
async def test_an_end_of_file_that_was_not_announced(version: ssl.TLSVersion) -> None:
    """The transport reports it like any end of file; the DTP knows the difference."""

    protocol = Recorder()
    async with connected(protocol, version) as (_, peer):
        await send_then_cut(peer.sock, peer.record(b"data"), Cut.CLOSE)
        await protocol.ended
        assert protocol.data == b"data"
        assert await protocol.lost is None

    dtp = DTP()
    async with connected(dtp, version) as (_, peer):
        received = dtp.register_consumer(MemoryConsumer())
        await send_then_cut(peer.sock, peer.record(b"data"), Cut.CLOSE)
        with pytest.raises(FTPDataError) as caught:
            await received
        assert caught.value.end is End.TLS_TRUNCATED


async def test_a_reset() -> None:
    """The transport reports a reset as a `ConnectionResetError`, and not as an end."""

    protocol = Recorder()
    async with connected(protocol) as (_, peer):
        reset(peer.sock)
        assert isinstance(await protocol.lost, ConnectionResetError)
        assert not protocol.ended.done()


async def test_a_protocol_may_stay_open_after_the_end() -> None:
    """The protocol may still send. Data that the peer sends after its end are dropped."""

    protocol = Recorder()
    protocol.keeps_open = True
    async with connected(protocol) as (transport, peer):
        await peer.put(peer.close_notify())
        await protocol.ended
        transport.write(b"answer")
        assert await peer.receive() == b"answer"
        loop = asyncio.get_running_loop()
        sent = transport.channel._incoming.pending
        await loop.sock_sendall(peer.sock, b"\x17" * 100_000)
        await turns()
        assert transport.channel._incoming.pending == sent == 0
        transport.close()
        assert await peer.receive() == b""
        assert await protocol.lost is None


# The handshake of two channels is the same each time: the examples share their contexts.
SERVER_TLS, CLIENT_TLS = for_server(), for_client()


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["feed", "pause", "resume", "turn"]), st.integers(1, 40_000)),
        max_size=40,
    ),
    size=st.one_of(st.none(), st.integers(1, 50_000)),
    records=st.lists(st.integers(1, 20_000), max_size=8),
    ending=st.sampled_from(["announced", "announced and closed", "closed"]),
)
async def test_whatever_the_order(
    steps: list[tuple[str, int]], size: int | None, records: list[int], ending: str
) -> None:
    """In any order of data and pauses, all data are delivered, and then the end, once."""

    server, client = TLSChannel(SERVER_TLS), TLSChannel(CLIENT_TLS)
    shake_hands(server, client)
    for length in records:
        client.write(CONTENT[:length])
    if ending != "closed":
        client.announce_end()
    wire = client.take()
    expected = b"".join(CONTENT[:length] for length in records)

    protocol = recorder(size)
    transport = TLSTransport(server, protocol)
    lower = MemoryTransport(asyncio.Protocol())
    transport.connection_made(lower)

    def feed(count: int) -> None:
        nonlocal wire
        piece, wire = wire[:count], wire[count:]
        if piece:
            transport.get_buffer(-1)[: len(piece)] = piece
            transport.buffer_updated(len(piece))

    for step, count in steps:
        before = bytes(protocol.data)
        is_paused = not transport.is_reading()
        if step == "feed":
            feed(count)
        elif step == "pause":
            transport.pause_reading()
        elif step == "resume":
            transport.resume_reading()
        else:
            await asyncio.sleep(0)
        if is_paused:
            assert protocol.data == before
        assert expected.startswith(protocol.data)
        assert not protocol.ended.done() or protocol.data == expected

    if not transport.is_closing():
        feed(len(wire))
        if ending != "announced":
            transport.eof_received()
        transport.resume_reading()
    await protocol.ended
    assert protocol.data == expected
    assert lower.is_closing()
    transport.connection_lost(None)


# Its end


@VERSIONS
@pytest.mark.parametrize("size", [0, 10, 1_000_000])
async def test_closing_announces_the_end_after_everything(
    version: ssl.TLSVersion, size: int
) -> None:
    """The end of file follows. The transport then waits until the peer announces its own end."""

    protocol = Recorder()
    async with connected(protocol, version) as (transport, peer):
        transport.write(bytes(size))
        transport.close()
        transport.close()
        assert transport.is_closing()
        transport.write(b"nothing is sent any more")
        assert await peer.receive_all() == bytes(size)
        assert await asyncio.get_running_loop().sock_recv(peer.sock, 1) == b""
        await turns()
        assert not protocol.lost.done()
        await peer.put(peer.close_notify())
        assert await protocol.lost is None


@VERSIONS
@pytest.mark.parametrize("paused", [True, False])
async def test_closing_over_what_the_peer_sends(version: ssl.TLSVersion, paused: bool) -> None:
    """The peer's data are read and dropped until it ends: a reset would cost it our data."""

    protocol = Recorder()
    async with connected(protocol, version) as (transport, peer):
        if paused:
            transport.pause_reading()
            record = peer.record(b"unread")
            transport.get_buffer(-1)[: len(record)] = record
            transport.buffer_updated(len(record))
        transport.write(CONTENT)
        transport.close()
        for _ in range(10):
            await peer.send(CONTENT)
            await asyncio.sleep(0)
        assert await peer.receive_all() == CONTENT
        assert not protocol.lost.done()
        assert protocol.data == b""
        await peer.put(peer.close_notify())
        assert await protocol.lost is None


@pytest.mark.parametrize("how", ["close", "garbage"])
async def test_a_peer_that_ends_otherwise_after_our_end(how: str) -> None:
    """Any end of the peer counts then, also without a close_notify."""

    protocol = Recorder()
    async with connected(protocol) as (transport, peer):
        transport.close()
        assert await peer.receive() == b""
        if how == "garbage":
            await peer.put(BAD_RECORD)
        else:
            peer.sock.shutdown(socket.SHUT_WR)
        assert await protocol.lost is None


async def test_closing_after_the_end_of_the_peer() -> None:
    """The transport closes at once, because there is nothing to wait for."""

    protocol = Recorder()
    protocol.keeps_open = True
    async with connected(protocol) as (transport, peer):
        peer.sock.shutdown(socket.SHUT_WR)
        await protocol.ended
        transport.write(b"data")
        transport.close()
        assert await peer.receive_all() == b"data"
        assert await protocol.lost is None


@VERSIONS
@pytest.mark.parametrize("answers_first", [True, False])
@pytest.mark.parametrize("has_closed", [True, False])
async def test_an_owner_keeps_it_open_after_both_ends(
    version: ssl.TLSVersion, answers_first: bool, has_closed: bool
) -> None:
    """The end of file is sent nevertheless; what the peer goes on to send is dropped."""

    protocol = Recorder()
    async with connected(protocol, version, **SMALL) as (transport, peer):
        transport.keep_open()
        if answers_first:
            transport.pause_reading()
            await peer.put(peer.close_notify())
        transport.write(CONTENT)
        transport.close()
        assert await peer.receive_all() == CONTENT
        assert await asyncio.get_running_loop().sock_recv(peer.sock, 1) == b""
        if not answers_first:
            await peer.put(peer.close_notify())
        if has_closed:
            peer.sock.shutdown(socket.SHUT_WR)
        await turns()
        held = transport.channel._incoming.pending
        if not has_closed:
            await peer.put(CONTENT)
            await turns()
        assert not protocol.lost.done()
        assert transport.channel._incoming.pending == held
        transport.release()
        transport.release()
        assert await protocol.lost is None
        assert not protocol.ended.done()


async def test_an_owner_that_keeps_it_open_no_more_before_the_peer_has_ended() -> None:
    """It waits for the peer's end then."""

    protocol = Recorder()
    async with connected(protocol) as (transport, peer):
        transport.keep_open()
        transport.close()
        transport.release()
        assert await peer.receive_all() == b""
        await turns()
        assert not protocol.lost.done()
        await peer.put(peer.close_notify())
        assert await protocol.lost is None


@ONLY_LINUX
async def test_a_peer_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The DTP waits for a moment only, whatever the peer sends meanwhile."""

    monkeypatch.setattr(_delivery, "ANSWER_PATIENCE", 0.05)
    dtp = DTP()
    async with connected(dtp) as (_, peer):

        async def sending() -> None:
            with contextlib.suppress(OSError):
                while True:
                    await peer.send(b"and another thing")
                    await asyncio.sleep(0)

        async with peer_task(sending()), asyncio.timeout(60):
            await dtp.finish()
    assert dtp.end is End.CLEAN


async def test_abort() -> None:
    """An abort ends the connection at once, and later calls do nothing."""

    protocol = Recorder()
    async with connected(protocol) as (transport, peer):
        transport.abort()
        transport.abort()
        transport.close()
        transport.write(b"data")
        transport.pause_reading()
        transport.resume_reading()
        assert transport.is_closing()
        assert not transport.is_reading()
        assert await protocol.lost is None
        # TLS has announced nothing, so the peer does not take it for an end.
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.get_running_loop().sock_recv(peer.sock, 1) == b""


async def test_a_transport_whose_connection_is_gone_is_closing() -> None:
    """It is closing even before the loss is reported: data written now would be lost."""

    protocol = Recorder()
    async with connected(protocol) as (transport, _):
        transport._lower.abort()
        assert transport.is_closing()
        assert not transport.is_reading()
        transport.write(b"data")
        for call in (transport.close, transport.pause_reading, transport.resume_reading):
            call()
        assert await protocol.lost is None


@errors_stay
@VERSIONS
@pytest.mark.parametrize("good", [b"", b"good"])
async def test_a_bad_record(version: ssl.TLSVersion, good: bytes) -> None:
    """The protocol gets the good data and then the reason; the peer gets an alert."""

    protocol = Recorder()
    async with connected(protocol, version) as (_, peer):
        await peer.put((peer.record(good) if good else b"") + BAD_RECORD)
        error = await protocol.lost
        assert isinstance(error, ssl.SSLError)
        # The second name is that of OpenSSL 3.6.
        assert re.search("bad record mac|record layer failure", str(error), re.IGNORECASE)
        assert protocol.data == good
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            await peer.receive()


async def test_a_protocol_that_fails_ends_the_connection() -> None:
    """An exception of the protocol does so even where the event loop would only log it."""

    class Failing(Recorder):
        def take(self, data: bytes) -> None:
            raise ZeroDivisionError

    protocol = Failing()
    async with connected(protocol) as (transport, peer):
        transport.pause_reading()
        record = peer.record(b"data")
        transport.get_buffer(-1)[: len(record)] = record
        transport.buffer_updated(len(record))
        transport.resume_reading()
        assert isinstance(await protocol.lost, ZeroDivisionError)


async def test_a_protocol_without_memory_ends_the_connection() -> None:
    """As in asyncio, no memory is an error: otherwise the data would wait for ever."""

    protocol = BufferedRecorder(0)
    async with connected(protocol) as (_, peer):
        await send_then_cut(peer.sock, peer.record(b"data") + peer.close_notify(), Cut.CLOSE)
        assert isinstance(await protocol.lost, RuntimeError)
        assert not protocol.ended.done()


# New keys and tickets


@contextlib.asynccontextmanager
async def with_writer(
    protocol: asyncio.BaseProtocol, keys: Path, **options: Any
) -> AsyncIterator[tuple[TLSTransport, TLSPeer, RecordWriter]]:
    """Provide a transport, its peer, and a writer of the peer's records."""

    context = client_context(TLS_1_3)
    context.keylog_filename = str(keys)
    async with connected(protocol, context=context, **options) as (transport, peer):
        yield transport, peer, RecordWriter(keys)


@needs_cryptography
@pytest.mark.parametrize("requested", [True, False])
async def test_new_keys(requested: bool, tmp_path: Path) -> None:
    """The peer may change its keys at any time, and may request that we change ours."""

    protocol = Recorder()
    async with with_writer(protocol, tmp_path / "keys") as (transport, peer, writer):
        wire = writer.data(b"a")
        for _ in range(10):
            wire += writer.key_update(requested=requested) + writer.data(b"")
        await peer.put(wire + writer.data(b"b"))
        while protocol.data != b"ab":
            await protocol.came.wait()
            protocol.came.clear()
        transport.write(b"data")
        assert await peer.receive() == b"data"


@needs_cryptography
@pytest.mark.parametrize("closing", [True, False])
async def test_a_peer_that_asks_for_keys_without_an_end(closing: bool, tmp_path: Path) -> None:
    """It is cut before unread answers fill the memory. After our end it gets no answer at all."""

    protocol = Recorder()
    async with with_writer(protocol, tmp_path / "keys", **SMALL) as (transport, peer, writer):
        if closing:
            transport.close()

        async def asking(rounds: int) -> None:
            for _ in range(rounds):
                await peer.put(b"".join(writer.key_update(requested=True) for _ in range(50)))
                assert closing or transport.get_write_buffer_size() < 100_000

        if closing:
            await asking(200)
            await turns()
            assert transport.channel._outgoing.pending < 2000
            assert not protocol.lost.done()
        else:
            with pytest.raises(OSError, match=r"(?i)reset|pipe"):
                await asking(20_000)
            error = await protocol.lost
            assert isinstance(error, ssl.SSLError)
            assert "answers" in str(error)


async def test_a_client_takes_tickets() -> None:
    """A client reads tickets, which come before the data, and delivers nothing for them."""

    context = server_certificate(TLS_1_3).session_context()
    protocol = Recorder()
    sock, there = await tcp_pair()
    with there:
        channel = TLSChannel(for_client(TLS_1_3))
        peer = TLSPeer(there, context, server_side=True)
        async with peer_task(peer.handshake()) as handshake:
            await negotiate(sock, channel)
            await handshake
        lower, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: TLSTransport(channel, protocol), sock
        )
        await turns()
        assert protocol.data == b""
        await peer.send(b"data")
        await protocol.came.wait()
        assert protocol.data == b"data"
        assert channel.object.session is not None
        assert channel.object.session.has_ticket
        lower.abort()
        await protocol.lost


# The rest of a transport


@VERSIONS
async def test_what_it_tells_of_itself(version: ssl.TLSVersion) -> None:
    """It has the information of asyncio's TLS transports and of the transport below."""

    protocol = Recorder()
    async with connected(protocol, version) as (transport, peer):
        told = transport.get_extra_info
        tls = told("ssl_object")
        assert tls.version() == {TLS_1_2: "TLSv1.2", TLS_1_3: "TLSv1.3"}[version]
        assert told("cipher") == tls.cipher()
        assert told("sslcontext") is tls.context
        assert told("peercert") == tls.getpeercert()
        assert told("compression") is None
        assert told("peername") == peer.sock.getsockname()
        assert told("socket").fileno() >= 0
        assert told("nothing", 7) == 7
        assert not transport.can_write_eof()
    above_nothing = TLSTransport(TLSChannel(for_server()), protocol)
    assert above_nothing.get_extra_info("peername", 7) == 7
    assert not above_nothing.is_closing()


async def test_the_protocol_can_be_another() -> None:
    """The next event goes to the new protocol, even in the middle of a delivery."""

    second = BufferedRecorder(100)

    class First(Recorder):
        def take(self, data: bytes) -> None:
            super().take(data)
            self.transport.set_protocol(second)

    first = First()
    async with connected(first) as (transport, peer):
        assert transport.get_protocol() is first
        await peer.send(b"first")
        await first.came.wait()
        assert transport.get_protocol() is second
        await send_then_cut(peer.sock, peer.record(b"second") + peer.close_notify(), Cut.CLOSE)
        await second.ended
        assert await second.lost is None
        assert first.data == b"first"
        assert second.data == b"second"
        assert not first.lost.done()


async def test_what_is_written_at_once_is_encrypted_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenSSL keeps the memory for the largest piece; the bytes and their order are the same."""

    content = array.array("I", range(100_000))
    async with connected(Recorder()) as (transport, peer):
        sizes: list[int] = []
        write = transport.channel.write

        def counted(data: Buffer) -> None:
            sizes.append(len(data))
            write(data)

        monkeypatch.setattr(transport.channel, "write", counted)
        async with peer_task(peer.receive_all()) as received:
            transport.write(memoryview(content))
            transport.close()
            assert await received == content.tobytes()
        assert max(sizes) == PIECE
        assert sum(sizes) == 400_000


async def test_writers_are_paused_and_resumed() -> None:
    """The limits are those of the transport below, in bytes of TLS."""

    protocol = Recorder()
    async with connected(protocol, **SMALL) as (transport, peer):
        transport.set_write_buffer_limits(high=50_000, low=10_000)
        assert transport.get_write_buffer_limits() == (10_000, 50_000)
        assert transport.get_write_buffer_size() == 0
        size = 0
        while not protocol.calls:
            transport.write(bytes(10_000))
            size += 10_000
        assert transport.get_write_buffer_size() > 50_000
        transport.close()
        assert await peer.receive_all() == bytes(size)
        assert protocol.calls == ["pause", "resume"]


@VERSIONS
@pytest.mark.parametrize("taken", [0, 1000, None])
async def test_the_rest_of_what_a_channel_gave(version: ssl.TLSVersion, taken: int | None) -> None:
    """The transport sends the rest, including the announced end, and waits for the peer's end.

    If there is no rest, the end of file was already sent, too.
    """

    protocol = Recorder()
    loop = asyncio.get_running_loop()
    sock, there = await tcp_pair(send_buffer=4096, receive_buffer=4096)
    with there:
        channel = TLSChannel(for_server(version))
        peer = TLSPeer(there, client_context(version))
        async with peer_task(peer.handshake()) as handshake:
            await negotiate(sock, channel)
            await handshake
        channel.write(b"data" * 300)
        channel.announce_end()
        records = channel.take()
        await loop.sock_sendall(sock, records[:taken])
        unsent = b"" if taken is None else records[taken:]
        if not unsent:
            sock.shutdown(socket.SHUT_WR)
        _, transport = await loop.connect_accepted_socket(
            lambda: TLSTransport(channel, protocol, unsent=unsent, is_ending=True), sock
        )
        assert transport.is_closing()
        transport.write(b"nothing is sent any more")
        transport.close()
        assert await peer.receive_all() == b"data" * 300
        assert await loop.sock_recv(there, 1) == b""
        assert not protocol.lost.done()
        await peer.put(peer.close_notify())
        assert await protocol.lost is None


async def test_a_protocol_that_aborts_when_it_is_connected() -> None:
    """The transport does nothing more then, whether or not there are bytes left to send."""

    class Aborting(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, TLSTransport)
            transport.abort()

    for options in ({}, {"unsent": b"rest", "is_ending": True}):
        protocol = Aborting()
        async with connected(protocol, options=options):
            assert await protocol.lost is None


async def test_an_end_that_is_lost_in_the_transport_below_is_not_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The peer has acknowledged all before it; without it, it takes the file for cut."""

    server, _ = channels()
    server.acknowledged_before = 0
    transport = TLSTransport(server, asyncio.Protocol())
    below = MemoryTransport(asyncio.Protocol())
    transport.connection_made(below)
    monkeypatch.setattr(server, "sight_of", lambda _: Sight(unacknowledged=0))
    watch = DeliveryWatch(transport, channel=server, is_protected=True, stall=None, close=10.0)
    assert watch.judge()[0] is Verdict.DELIVERED
    monkeypatch.setattr(below, "is_closing", lambda: True)
    assert watch.judge()[0] is Verdict.PENDING
    watch.stop()
    transport.abort()
    # This was wanted, and there is nothing to wait for.
    assert not transport.is_broken
    await turns()
