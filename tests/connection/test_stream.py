"""Tests of `ftpdata.connection.stream`, modelled on Trio's stream conformance checks."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute

from ftpdata.connection.protocol import DTP
from ftpdata.connection.stream import DTPStream
from ftpdata.errors import ConnectionReset, NotConnected, TransferAborted, TransferTimeout
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.outcome import End
from ftpdata.testing import MemoryTransport, reset, sweep, tcp_pair
from tests.harness.waiting import turns

BIG = bytes(range(256)) * 4 * 1024 * 4  # More than the kernel's small buffers and the marks hold.


def connect(**options: Any) -> tuple[DTPStream, MemoryTransport]:
    """Return a stream on a connection that takes nothing until it is allowed to."""

    dtp = DTP(**options)
    transport = MemoryTransport(dtp)
    return DTPStream(dtp), transport


async def open_stream(sock: socket.socket, **options: Any) -> DTPStream:
    """Return a stream on a connected socket."""

    endpoint = AcceptedEndpoint(sock, dtp_factory=lambda: DTP(**options))
    return DTPStream(await endpoint.open())


@contextlib.asynccontextmanager
async def both(
    *, small: bool = False, **options: Any
) -> AsyncIterator[tuple[DTPStream, DTPStream]]:
    """Connect two streams by real sockets, and close both forcefully at the end."""

    size = 8192 if small else None
    streams: list[DTPStream] = []
    sockets = await tcp_pair(send_buffer=size, receive_buffer=size)
    try:
        for sock in sockets:
            streams.append(await open_stream(sock, **options))  # noqa: PERF401 - closed if cut
        yield streams[0], streams[1]
    finally:
        for stream in streams:
            stream.dtp.abort()
            with contextlib.suppress(anyio.BrokenResourceError):
                await stream.aclose()
        for sock in sockets:
            sock.close()


async def send_for_ever(stream: ByteStream) -> None:
    """Send until the stream ends."""

    while True:
        await stream.send(BIG)


async def drain(stream: ByteStream) -> bytes:
    """Receive up to the end of file."""

    return b"".join([data async for data in stream])


# Both directions


async def test_bytes_and_ends_pass_both_ways() -> None:
    """What is sent is received; the end of one direction leaves the other one open."""
    async with both() as (one, two):
        await one.send(b"there")
        assert await two.receive() == b"there"
        await one.send_eof()
        with pytest.raises(anyio.EndOfStream):
            await two.receive()
        await two.send(b"and back")
        assert await one.receive() == b"and back"
        await two.send_eof()
        with pytest.raises(anyio.EndOfStream):
            await one.receive()
        await one.aclose()
        await two.aclose()
        assert (one.dtp.end, two.dtp.end) == (End.CLEAN, End.CLEAN)


async def test_much_passes_both_ways_at_once() -> None:
    """Senders and receivers in both directions do not wait for each other."""
    async with both(small=True) as (one, two):
        received: dict[str, bytes] = {}

        async def receive(name: str, stream: DTPStream) -> None:
            received[name] = await drain(stream)

        async def send(stream: DTPStream) -> None:
            for start in range(0, len(BIG), 30_000):
                await stream.send(BIG[start : start + 30_000])
            await stream.send_eof()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive, "one", one)
            tasks.start_soon(receive, "two", two)
            tasks.start_soon(send, one)
            tasks.start_soon(send, two)
        assert received == {"one": BIG, "two": BIG}


async def test_an_end_that_came_before_the_stream_was_made() -> None:
    """A stream can be made of a connection whose peer has already sent its end of file."""
    one, two = await tcp_pair()
    dtp = await AcceptedEndpoint(one).open()
    with two:
        two.sendall(b"early")
        two.shutdown(socket.SHUT_WR)
        await turns()
        stream = DTPStream(dtp)
        assert await drain(stream) == b"early"
        await stream.send(b"late")
        await stream.aclose()
        assert two.recv(10) == b"late"


# Receiving


async def test_receive_gives_at_most_what_is_asked_for() -> None:
    """The rest stays for the next call."""
    stream, transport = connect()
    transport.deliver(b"abcdef")
    assert await stream.receive(4) == b"abcd"
    assert await stream.receive(4) == b"ef"
    stream.dtp.abort()


@pytest.mark.parametrize("max_bytes", [0, -1])
async def test_receive_of_nothing_is_an_error(max_bytes: int) -> None:
    """The result would look like an end of file."""
    stream, _ = connect()
    with pytest.raises(ValueError, match="positive"):
        await stream.receive(max_bytes)
    stream.dtp.abort()


async def test_an_end_of_stream_stays_one() -> None:
    """It is reported as often as it is asked for."""
    stream, transport = connect()
    transport.feed_eof()
    for _ in range(3):
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
    stream.dtp.abort()


async def test_a_cut_stream_is_broken_after_what_came_before() -> None:
    """The reason is the cause; a cut never looks like an end of file."""
    stream, transport = connect()
    transport.deliver(b"half")
    transport.lose(ConnectionResetError())
    assert await stream.receive() == b"half"
    for _ in range(2):
        with pytest.raises(anyio.BrokenResourceError) as raised:
            await stream.receive()
        assert isinstance(raised.value.__cause__, ConnectionReset)
    await stream.aclose()


async def test_tls_without_close_notify_is_broken() -> None:
    """Under TLS an attacker may have caused a bare end of file."""
    dtp = DTP()
    transport = MemoryTransport(dtp, tls=True)
    stream = DTPStream(dtp)
    transport.feed(b"half")
    transport.feed_eof(close_notify=False)
    assert await stream.receive() == b"half"
    with pytest.raises(anyio.BrokenResourceError) as raised:
        await stream.receive()
    assert dtp.end is End.TLS_TRUNCATED
    assert raised.value.__cause__ is dtp.reason


async def test_receiving_holds_no_more_than_its_bound() -> None:
    """A program that does not receive slows down the peer."""
    dtp = DTP()
    transport = MemoryTransport(dtp)
    stream = DTPStream(dtp, high_water=1000)
    transport.deliver(b"x" * 1000)
    assert transport.is_reading()
    transport.deliver(b"x")
    assert not transport.is_reading()
    assert len(await stream.receive()) == 1001
    assert transport.is_reading()
    dtp.abort()


async def test_a_cancelled_receive_loses_nothing() -> None:
    """The next call gets the data."""
    stream, transport = connect()
    with anyio.move_on_after(0.001):
        await stream.receive()
    transport.deliver(b"x")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stream.receive()
    assert await stream.receive() == b"x"
    stream.dtp.abort()


# Sending


async def test_send_returns_once_there_is_room() -> None:
    """No more than the high-water mark and one item are in flight."""
    stream, transport = connect(high_water=100)
    await stream.send(b"x" * 100)
    sending = asyncio.ensure_future(stream.send(b"y"))
    await turns()
    assert not sending.done()
    transport.drain()
    await sending
    assert transport.sent == b"x" * 100 + b"y"
    stream.dtp.abort()


async def test_sending_nothing_sends_nothing() -> None:
    """Sending no bytes is not an error."""
    stream, transport = connect()
    await stream.send(b"")
    assert transport.buffered == b""
    stream.dtp.abort()


async def test_a_cancelled_send_that_has_not_begun_sends_nothing() -> None:
    """The checkpoint comes before the first byte."""
    stream, transport = connect()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stream.send(b"x")
    assert scope.cancelled_caught
    assert transport.buffered == b""
    stream.dtp.abort()


async def test_sending_to_a_peer_that_is_gone_is_broken() -> None:
    """It fails at once, or while it waits for room; the reason is the cause."""
    stream, transport = connect(high_water=0)
    sending = asyncio.ensure_future(stream.send(b"x"))
    await turns()
    transport.lose(ConnectionResetError())
    with pytest.raises(anyio.BrokenResourceError) as raised:
        await sending
    assert isinstance(raised.value.__cause__, ConnectionReset)
    with pytest.raises(anyio.BrokenResourceError) as raised:
        await stream.send(b"x")
    assert isinstance(raised.value.__cause__, ConnectionReset)
    with pytest.raises(anyio.BrokenResourceError):
        await stream.send_eof()
    await stream.aclose()


async def test_a_peer_that_resets_breaks_a_blocked_send() -> None:
    """This holds for real sockets, and for both directions."""
    sock, peer = await tcp_pair(send_buffer=8192, receive_buffer=8192)
    stream = await open_stream(sock)
    sending = asyncio.ensure_future(stream.send(BIG))
    receiving = asyncio.ensure_future(stream.receive())
    await turns()
    reset(peer)
    for task in (sending, receiving):
        with pytest.raises(anyio.BrokenResourceError):
            await task
    assert stream.dtp.end is End.RESET
    await stream.aclose()


async def test_an_abort_from_anywhere_breaks_the_stream() -> None:
    """The stream's error has the reason of `DTP.abort`."""
    stream, _ = connect()
    receiving = asyncio.ensure_future(stream.receive())
    await turns()
    stream.dtp.abort(End.STALLED, "too long")
    with pytest.raises(anyio.BrokenResourceError) as raised:
        await receiving
    assert isinstance(raised.value.__cause__, TransferTimeout)
    await stream.aclose()


# The end of file


async def test_send_eof_comes_after_the_data_and_is_idempotent() -> None:
    """A second call does nothing; nothing can be sent any more."""
    stream, transport = connect()
    await stream.send(b"x")
    await stream.send_eof()
    await stream.send_eof()
    assert not transport.eof_sent
    transport.drain()
    assert (bytes(transport.sent), transport.eof_sent) == (b"x", True)
    with pytest.raises(anyio.ClosedResourceError):
        await stream.send(b"y")
    transport.deliver(b"still comes")
    assert await stream.receive() == b"still comes"
    stream.dtp.abort()


async def test_tls_has_no_half_close() -> None:
    """The call raises, and the stream stays usable."""
    dtp = DTP()
    transport = MemoryTransport(dtp, tls=True)
    stream = DTPStream(dtp)
    with pytest.raises(NotImplementedError):
        await stream.send_eof()
    await stream.send(b"x")
    assert transport.buffered == b"x"
    dtp.abort()


# Concurrent use


async def test_two_tasks_in_one_direction_are_an_error() -> None:
    """The first task goes on undisturbed."""
    stream, transport = connect(high_water=0)
    receiving = asyncio.ensure_future(stream.receive())
    sending = asyncio.ensure_future(stream.send(b"x"))
    await turns()
    with pytest.raises(anyio.BusyResourceError):
        await stream.receive()
    for again in (stream.send(b"y"), stream.send_eof()):
        with pytest.raises(anyio.BusyResourceError):
            await again
    transport.drain()
    transport.deliver(b"z")
    await sending
    assert await receiving == b"z"
    assert transport.sent == b"x"
    stream.dtp.abort()


# Checkpoints


@pytest.mark.parametrize(
    "operation",
    [
        lambda stream: stream.receive(),
        lambda stream: stream.send(b"x"),
        lambda stream: stream.send_eof(),
        lambda stream: stream.aclose(),
    ],
)
async def test_every_operation_is_a_checkpoint(
    operation: Callable[[DTPStream], Awaitable[object]],
) -> None:
    """It lets other tasks run, even if it has nothing to wait for."""
    stream, transport = connect()
    transport.deliver(b"x")
    ran = False

    def note() -> None:
        nonlocal ran
        ran = True

    asyncio.get_running_loop().call_soon(note)
    transport.auto_drain = True
    transport.feed_eof()
    await operation(stream)
    assert ran
    stream.dtp.abort()


# Closing


async def test_a_closed_stream_is_closed() -> None:
    """Every operation says so; closing again does nothing."""
    async with both() as (one, _):
        await one.aclose()
        await one.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await one.send(b"x")
        with pytest.raises(anyio.ClosedResourceError):
            await one.receive()
        with pytest.raises(anyio.ClosedResourceError):
            await one.send_eof()


async def test_closing_is_graceful() -> None:
    """It returns when the peer has everything, and not before."""
    stream, transport = connect()
    await stream.send(b"x")
    closing = asyncio.ensure_future(stream.aclose())
    await turns()
    assert not closing.done()
    transport.drain()
    transport.feed_eof()
    await closing
    assert (bytes(transport.sent), transport.eof_sent) == (b"x", True)
    assert stream.dtp.end is End.CLEAN
    assert not transport.was_aborted


async def test_closing_sends_all_to_a_slow_peer() -> None:
    """The `async with` block ends when the last byte has arrived."""
    async with both(small=True) as (one, two):

        async def send() -> None:
            async with one:
                await one.send(BIG)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            assert await drain(two) == BIG
        assert one.dtp.end is End.CLEAN


async def test_closing_drops_what_nobody_receives() -> None:
    """A peer that has sent much does not delay the close."""
    async with both(small=True) as (one, two):
        sending = asyncio.ensure_future(send_for_ever(two))
        await one.receive()
        await one.aclose()
        assert one.dtp.end is End.CLEAN
        with pytest.raises(anyio.BrokenResourceError):
            await sending


async def test_closing_wakes_the_receiver_and_the_sender() -> None:
    """Both tasks get `ClosedResourceError`."""
    stream, transport = connect(high_water=0)
    receiving = asyncio.ensure_future(stream.receive())
    sending = asyncio.ensure_future(stream.send(b"x"))
    await turns()
    closing = asyncio.ensure_future(stream.aclose())
    with pytest.raises(anyio.ClosedResourceError):
        await receiving
    transport.drain()
    with pytest.raises(anyio.ClosedResourceError):
        await sending
    transport.feed_eof()
    await closing


async def test_a_closing_that_fails_says_so() -> None:
    """If a peer never takes the rest, it is broken after `stall_timeout`, with a reset."""
    stream, transport = connect(stall_timeout=0.01)
    await stream.send(b"x")
    with pytest.raises(anyio.BrokenResourceError) as raised:
        await stream.aclose()
    assert isinstance(raised.value.__cause__, TransferTimeout)
    assert stream.dtp.end is End.STALLED
    assert transport.was_aborted


async def test_a_cancelled_close_still_closes() -> None:
    """It closes at once and with a reset, as `anyio.aclose_forcefully` requires."""
    stream, transport = connect()
    await stream.send(b"x")
    receiving = asyncio.ensure_future(stream.receive())
    await turns()
    await anyio.aclose_forcefully(stream)
    assert transport.is_lost
    assert transport.was_aborted
    assert stream.dtp.end is End.CANCELLED
    with pytest.raises(anyio.ClosedResourceError):
        await receiving
    with pytest.raises(anyio.ClosedResourceError):
        await stream.send(b"y")


async def test_a_close_cancelled_while_it_waits_closes() -> None:
    """It may be cancelled natively or by a scope; other tasks that close return, too."""
    stream, transport = connect()
    await stream.send(b"x")
    first = asyncio.ensure_future(stream.aclose())
    second = asyncio.ensure_future(stream.aclose())
    await turns()
    assert not second.done()
    first.cancel()
    await asyncio.wait((first, second))
    assert first.cancelled()
    assert second.exception() is None
    assert transport.is_lost


async def test_a_forced_close_wakes_a_blocked_sender() -> None:
    """This holds for real sockets."""
    async with both(small=True) as (one, _):
        sending = asyncio.ensure_future(one.send(BIG))
        await turns()
        await anyio.aclose_forcefully(one)
        with pytest.raises(anyio.ClosedResourceError):
            await sending


async def test_an_error_in_the_block_resets_the_connection() -> None:
    """The peer must not take what was sent until then for a whole file."""
    async with both() as (one, two):

        async def send_half() -> None:
            async with one:
                await one.send(b"half")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await send_half()
        assert one.dtp.end is End.ABORTED
        with pytest.raises(anyio.BrokenResourceError):
            await drain(two)


async def test_a_cancelled_block_resets_the_connection() -> None:
    """A cancelled block is not a finished one."""
    async with both() as (one, two):
        with anyio.CancelScope() as scope:
            async with one:
                await one.send(b"half")
                scope.cancel()
                await anyio.sleep_forever()
        assert one.dtp.end is End.CANCELLED
        with pytest.raises(anyio.BrokenResourceError):
            await drain(two)


async def test_closing_a_broken_stream_only_lets_go() -> None:
    """The error was raised already."""
    stream, transport = connect()
    await stream.send(b"x")
    transport.lose(ConnectionResetError())
    await stream.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await stream.receive()


async def test_cancelled_anywhere_nothing_is_left() -> None:
    """Neither a task nor a descriptor is left, whatever the stream was doing."""

    async def scenario() -> None:
        async with both() as (one, two), one, two:
            await one.send(b"x")
            await two.receive()
            await two.send(b"y")
            await two.send_eof()
            await drain(one)
            await one.aclose()

    await sweep(scenario)


# Making one


async def test_a_stream_needs_a_connection() -> None:
    """A DTP that is not connected yet cannot have one."""
    with pytest.raises(NotConnected):
        DTPStream(DTP())


async def test_a_stream_needs_a_fresh_dtp() -> None:
    """A DTP that has a consumer cannot have another."""
    stream, _ = connect()
    with pytest.raises(RuntimeError, match="already registered"):
        DTPStream(stream.dtp)
    stream.dtp.abort()


async def test_a_stream_of_a_connection_that_is_lost_is_broken() -> None:
    """The stream can be made, and raises the reason."""
    dtp = DTP()
    MemoryTransport(dtp)
    dtp.abort()
    await turns()
    stream = DTPStream(dtp)
    with pytest.raises(anyio.BrokenResourceError) as raised:
        await stream.receive()
    assert isinstance(raised.value.__cause__, TransferAborted)
    await stream.aclose()


# What a stream reports


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_socket_attributes(host: str) -> None:
    """They are the same as those of anyio's own streams."""
    sock, peer = await tcp_pair(host)
    local, remote = sock.getsockname(), sock.getpeername()
    stream = await open_stream(sock)
    with peer:
        assert stream.extra(SocketAttribute.family) == peer.family
        assert stream.extra(SocketAttribute.local_address) == local[:2]
        assert stream.extra(SocketAttribute.local_port) == local[1]
        assert stream.extra(SocketAttribute.remote_address) == remote[:2]
        assert stream.extra(SocketAttribute.remote_port) == remote[1]
        assert stream.extra(SocketAttribute.raw_socket).getsockname() == local
        assert stream.extra(TLSAttribute.ssl_object, None) is None
        await anyio.aclose_forcefully(stream)


async def test_attributes_of_a_unix_socket() -> None:
    """Its address is a path, and it has no ports."""
    one, two = socket.socketpair()
    dtp = await AcceptedEndpoint(one).open()
    stream = DTPStream(dtp)
    with two:
        assert stream.extra(SocketAttribute.family) == socket.AF_UNIX
        assert stream.extra(SocketAttribute.remote_address, None) in {"", None}
        assert stream.extra(SocketAttribute.remote_port, None) is None
        await anyio.aclose_forcefully(stream)


async def test_attributes_that_are_not_known_are_left_out() -> None:
    """A transport without a socket has no such attributes."""
    stream, _ = connect()
    assert stream.extra(SocketAttribute.raw_socket, None) is None
    assert stream.extra(SocketAttribute.local_port, None) is None
    assert stream.extra(SocketAttribute.remote_port) == 40000
    stream.dtp.abort()


async def test_tls_attributes() -> None:
    """They are those of anyio's own TLS streams."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    dtp = DTP()
    transport = MemoryTransport(dtp, extra={"ssl_object": tls})
    stream = DTPStream(dtp)
    assert stream.extra(TLSAttribute.ssl_object) is tls
    assert stream.extra(TLSAttribute.server_side) is False
    assert stream.extra(TLSAttribute.standard_compatible) is True
    assert stream.extra(TLSAttribute.shared_ciphers) is None
    assert stream.extra(TLSAttribute.cipher) is None
    assert stream.extra(TLSAttribute.alpn_protocol) is None
    documented = inspect.get_annotations(TLSAttribute)
    assert all(getattr(TLSAttribute, name) in stream.extra_attributes for name in documented)
    transport.lose()
