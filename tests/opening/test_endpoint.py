"""Tests of `ftpdata.opening.endpoint`: what all endpoints share, and `AcceptedEndpoint`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftpdata import _descriptors
from ftpdata.addresses import HostPort
from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.errors import DataConnectionError, FTPDataError, QuotaExceeded, TransferAborted
from ftpdata.opening import endpoint as endpoint_module
from ftpdata.opening.active import connect_active
from ftpdata.opening.endpoint import AcceptedEndpoint, Endpoint, link_of
from ftpdata.opening.passive import PassiveEndpoint, PassiveListener, listen_passive
from ftpdata.opening.pool import ListenerPool, PooledEndpoint
from ftpdata.outcome import End
from ftpdata.testing import RecordingConsumer, reset, sweep, tcp_pair
from ftpdata.tls.policy import DataTLS
from ftpdata.transfers import receive_file, send_stream
from tests.harness.seams import Seams
from tests.harness.waiting import turns, until

from ..harness.connections import peer_task
from ..harness.proxies import connect_from, free_ports
from ..harness.tls import HOST_NAME, TLSPeer, client_context, server_certificate

HOST = "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("as_descriptor", [False, True])
async def test_an_accepted_socket_becomes_a_connection(host: str, as_descriptor: bool) -> None:
    """A socket or its descriptor becomes a connected DTP that knows its peer."""

    sock, peer = await tcp_pair(host)
    name = peer.getsockname()
    endpoint = AcceptedEndpoint(sock.detach() if as_descriptor else sock)
    ready = [endpoint.is_ready]
    dtp = await endpoint.open()
    ready.append(endpoint.is_ready)
    assert ready == [True, False]
    assert dtp.is_connected
    assert dtp.peer is not None
    assert (dtp.peer.host, dtp.peer.port) == name[:2]
    await dtp.wait_connected()
    consumer = RecordingConsumer()
    waiter = dtp.register_consumer(consumer)
    await asyncio.get_running_loop().sock_sendall(peer, b"data")
    peer.close()
    await waiter
    await dtp.wait_closed()
    assert consumer.data == b"data"


async def test_a_unix_socket_is_a_connection_too() -> None:
    """A UNIX socket has no options of TCP, and its peer has no address."""

    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    dtp = await AcceptedEndpoint(ours).open()
    assert dtp.peer is None
    dtp.write(b"data")
    finishing = asyncio.ensure_future(dtp.finish())
    loop = asyncio.get_running_loop()
    assert await loop.sock_recv(theirs, 10) == b"data"
    assert await loop.sock_recv(theirs, 10) == b""
    theirs.close()
    await finishing


async def test_socket_options_are_set() -> None:
    """TCP_NODELAY and the keepalive are set on every connection."""

    sock, peer = await tcp_pair()
    dtp = await AcceptedEndpoint(sock).open()
    option = dtp.transport.get_extra_info("socket").getsockopt
    assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    peer.close()
    dtp.abort()
    await turns()


async def test_a_socket_that_is_not_connected_is_refused() -> None:
    """It is refused with reply 425, and still belongs to the caller."""

    with (
        socket.socket() as sock,
        pytest.raises(DataConnectionError, match="connected socket") as caught,
    ):
        AcceptedEndpoint(sock)
    assert caught.value.reply_code == 425


async def test_a_descriptor_that_is_not_connected_is_refused() -> None:
    """It still belongs to the caller, too: it stays open."""

    with socket.socket() as sock:
        with pytest.raises(DataConnectionError, match="connected socket"):
            AcceptedEndpoint(sock.fileno())
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


async def test_a_number_that_is_not_a_descriptor_is_refused() -> None:
    """It is refused like a socket that is not connected."""

    with pytest.raises(DataConnectionError, match="connected socket"):
        AcceptedEndpoint(9999)


async def test_an_endpoint_is_opened_once() -> None:
    """A second `open` is a programming error, with a message that says so."""

    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    dtp = await endpoint.open()
    with pytest.raises(RuntimeError, match="one connection"):
        await endpoint.open()
    assert dtp.is_connected
    dtp.abort()
    peer.close()
    await turns()


async def test_leaving_the_context_resets_what_was_not_opened() -> None:
    """The peer sees a reset, and not an empty file, if nobody took its connection."""

    sock, peer = await tcp_pair()
    async with AcceptedEndpoint(sock) as endpoint:
        ready = [endpoint.is_ready]

    ready.append(endpoint.is_ready)
    assert ready == [True, False]
    assert sock.fileno() == -1
    with peer:
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(peer, 1)
        with pytest.raises(DataConnectionError, match="given up") as caught:
            await endpoint.open()
    assert (caught.value.reply_code, caught.value.end) == (425, End.ABORTED)


@contextlib.asynccontextmanager
async def one_that_has_come(
    kind: str, **options: Any
) -> AsyncIterator[tuple[Endpoint, socket.socket]]:
    """Provide an endpoint of this kind, and the socket of a peer that has connected to it."""

    async with contextlib.AsyncExitStack() as stack:
        if kind == "accepted":
            sock, peer = await tcp_pair()
            yield AcceptedEndpoint(sock, **options), stack.enter_context(peer)
            return

        endpoint: PassiveEndpoint | PooledEndpoint
        if kind == "passive":
            endpoint = await listen_passive(HOST, control_peer=HOST, **options)
        elif kind == "kept":
            listener = PassiveListener(HOST, control_peer=HOST)
            stack.callback(listener.close)
            endpoint = listener.reserve(**options)
        else:
            pool = await stack.enter_async_context(ListenerPool(HOST, free_ports(1)))
            endpoint = pool.reserve(control_peer=HOST, **options)
        peer = stack.enter_context(await connect_from(HOST, endpoint.address))
        await until(lambda: endpoint.is_ready)
        yield endpoint, peer


@pytest.mark.parametrize("kind", ["accepted", "passive", "kept", "pooled"])
@pytest.mark.parametrize("how", ["abort", "aclose", "factory", "cancel", "cancel in TLS"])
async def test_a_peer_that_has_come_in_vain_sees_a_reset(kind: str, how: str) -> None:
    """Whatever gives it up, the peer sees a reset: an end of file would be an empty file."""

    def factory() -> DTP:
        if how == "cancel":
            opening.cancel()
        elif how == "factory":
            raise ZeroDivisionError
        return DTP()

    options: dict[str, Any] = {"dtp_factory": factory}
    if how == "cancel in TLS":
        options["tls"] = DataTLS.for_server(server_certificate().session_context())
    async with one_that_has_come(kind, **options) as (endpoint, peer):
        if how in {"abort", "aclose"}:
            if how == "abort":
                endpoint.abort()
            else:
                await endpoint.aclose()
        else:
            opening = asyncio.ensure_future(endpoint.open())
            if how == "cancel in TLS":
                await turns()
                opening.cancel()
            with pytest.raises((asyncio.CancelledError, ZeroDivisionError)):
                await opening
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(peer, 1)


async def test_a_peer_that_comes_after_a_reservation_sees_a_reset() -> None:
    """A late peer may be the client of the reservation, and must not see an empty file."""

    async with ListenerPool(HOST, free_ports(1)) as pool:
        endpoint = pool.reserve(control_peer=HOST)
        await endpoint.aclose()
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setblocking(False)
            with pytest.raises(ConnectionResetError):  # noqa: PT012 - at once, or when it reads
                await loop.sock_connect(peer, (HOST, endpoint.address.port))
                await loop.sock_recv(peer, 1)


async def test_leaving_the_context_keeps_what_was_opened() -> None:
    """The DTP belongs to the caller that opened it, and stays open."""

    sock, peer = await tcp_pair()
    async with AcceptedEndpoint(sock) as endpoint:
        dtp = await endpoint.open()

    assert dtp.is_connected
    dtp.abort()
    peer.close()
    await turns()


async def test_an_endpoint_given_up_tells_why() -> None:
    """`open` after `abort` raises the reason of the first `abort`."""

    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    endpoint.abort(End.OPEN_FAILED, "ABOR came first")
    endpoint.abort(End.ABORTED, "and again")
    with pytest.raises(DataConnectionError, match="ABOR came first"):
        await endpoint.open()
    peer.close()


@contextlib.asynccontextmanager
async def endpoint_of(kind: str) -> AsyncIterator[tuple[Endpoint, socket.socket]]:
    """Provide an endpoint of this kind, and the socket of its peer: a client or a listener."""

    async with contextlib.AsyncExitStack() as stack:
        if kind == "accepted":
            sock, peer = await tcp_pair()
            stack.enter_context(peer)
            yield AcceptedEndpoint(sock), peer
            return

        peer = stack.enter_context(socket.socket())
        peer.setblocking(False)
        endpoint: Endpoint
        if kind == "active":
            peer.bind((HOST, 0))
            peer.listen()
            endpoint = connect_active(HostPort(HOST, peer.getsockname()[1]), control_peer=HOST)
        elif kind == "pooled":
            pool = await stack.enter_async_context(ListenerPool(HOST, free_ports(1)))
            endpoint = pool.reserve(control_peer=HOST)
        else:
            endpoint = await listen_passive(HOST, control_peer=HOST)
        yield endpoint, peer
        await endpoint.aclose()


KINDS = ["passive", "pooled", "active", "accepted"]
THE_USER = "the user said so"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [End.ABORTED, End.CANCELLED, End.STALLED, End.OPEN_FAILED])
async def test_what_is_given_up_before_it_is_open_is_a_425(kind: str, end: End) -> None:
    """The error has the reason in its message, whether or not a task waits in `open`."""

    async with endpoint_of(kind) as (endpoint, _):
        endpoint.abort(end, THE_USER)
        with pytest.raises(DataConnectionError, match=THE_USER) as caught:
            await endpoint.open()
        assert (caught.value.reply_code, caught.value.end) == (425, end)

    if kind in ("passive", "pooled"):
        async with endpoint_of(kind) as (endpoint, _):
            opening = asyncio.ensure_future(endpoint.open())
            await turns()
            endpoint.abort(end, THE_USER)
            with pytest.raises(DataConnectionError, match=THE_USER):
                await opening


@pytest.mark.parametrize("kind", KINDS)
async def test_an_abort_without_a_reason_is_a_425_too(kind: str) -> None:
    """Without a reason, the message says that the endpoint was given up."""

    async with endpoint_of(kind) as (endpoint, _):
        endpoint.abort()
        with pytest.raises(DataConnectionError, match="given up") as caught:
            await endpoint.open()
        assert (caught.value.reply_code, caught.value.end) == (425, End.ABORTED)


async def test_an_end_with_a_class_of_its_own_keeps_it() -> None:
    """A limit keeps its error and reply, even if nobody has connected."""

    async with endpoint_of("passive") as (endpoint, _):
        endpoint.abort(End.SIZE_LIMIT, THE_USER)
        with pytest.raises(QuotaExceeded):
            await endpoint.open()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_given_up_once_it_is_open_is_a_426(kind: str) -> None:
    """Once the connection is open, an abort is that of a transfer."""

    async with endpoint_of(kind) as (endpoint, peer):
        if isinstance(endpoint, PassiveEndpoint | PooledEndpoint):
            peer.connect_ex((HOST, endpoint.address.port))
        dtp = await endpoint.open(keep=True)
        endpoint.abort(End.ABORTED, THE_USER)
        with pytest.raises(TransferAborted, match=THE_USER) as caught:
            await dtp.wait_closed()
        assert (caught.value.reply_code, caught.value.end) == (426, End.ABORTED)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_transfer_whose_endpoint_is_given_up_is_a_425(kind: str) -> None:
    """The error, its reply, and its result agree."""

    async with endpoint_of(kind) as (endpoint, _):
        endpoint.abort(End.ABORTED, THE_USER)

        async def chunks() -> AsyncIterator[bytes]:
            yield b"data"

        with pytest.raises(DataConnectionError, match=THE_USER) as caught:
            await send_stream(endpoint, chunks())
        result = caught.value.result
        assert result is not None
        assert (result.reply_code, result.end) == (425, End.ABORTED)
        assert caught.value.reply == "425 Aborted by this side."


async def test_an_abort_while_the_protocol_is_made() -> None:
    """The connection is cut, and `open` raises the reason."""

    sock, peer = await tcp_pair()
    made: list[DTP] = []

    def factory() -> DTP:
        made.append(DTP())
        endpoint.abort(End.ABORTED, "ABOR")
        return made[0]

    endpoint = AcceptedEndpoint(sock, dtp_factory=factory)
    with pytest.raises(TransferAborted, match="ABOR"):
        await endpoint.open()
    await turns()
    assert made[0].end is End.ABORTED
    with pytest.raises(ConnectionResetError):
        await asyncio.get_running_loop().sock_recv(peer, 1)
    peer.close()


async def test_a_factory_that_raises_leaves_no_socket() -> None:
    """`open` raises the exception of the factory, and closes the socket."""

    sock, peer = await tcp_pair()

    def factory() -> DTP:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await AcceptedEndpoint(sock, dtp_factory=factory).open()
    assert sock.fileno() == -1
    peer.close()


async def test_a_spare_descriptor_whose_close_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is as good as without it (uvloop's transports need one)."""

    seams = Seams(monkeypatch, _descriptors, endpoint_module)
    ours, peer = await tcp_pair()
    failed = seams.fail("close", 1)
    async with AcceptedEndpoint(ours) as endpoint:
        dtp = await endpoint.open()
    assert dtp.is_connected
    assert bool(failed) is not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    dtp.abort()
    peer.close()
    await turns()


async def test_a_connection_reset_before_it_is_opened() -> None:
    """`open` or the transfer reports the reset, with an error of ftpdata."""

    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    reset(peer)
    try:
        dtp = await endpoint.open()
    except DataConnectionError:
        return

    with pytest.raises(TransferAborted):
        await dtp.register_consumer(RecordingConsumer())


@pytest.mark.parametrize("kind", ["accepted", "passive", "kept", "pooled"])
@pytest.mark.parametrize("what", ["stream", "upload"])
async def test_a_peer_that_has_reset_is_named_all_the_same(
    kind: str, what: str, tmp_path: Path
) -> None:
    """The system has forgotten its address when the transfer begins, and a log needs it."""

    async with one_that_has_come(kind) as (endpoint, peer):
        host, port = peer.getsockname()
        reset(peer)
        with pytest.raises(FTPDataError) as caught:
            await (
                receive_file(endpoint, tmp_path / "new")
                if what == "upload"
                else send_stream(endpoint, chunks_without_end())
            )
        assert caught.value.result is not None
        assert caught.value.result.peer == f"{host}:{port}"


async def test_a_peer_that_resets_as_soon_as_it_is_reached_is_named(tmp_path: Path) -> None:
    """An active connection, too, has a peer that is known."""

    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)
        address = HostPort(*listener.getsockname())
        endpoint = connect_active(address, control_peer=HOST)
        link = await link_of(endpoint)
        peer, _ = await asyncio.get_running_loop().sock_accept(listener)
        reset(peer)
        with pytest.raises(FTPDataError) as caught:
            await receive_file(endpoint, tmp_path / "new")
        assert link.peer == address
        assert caught.value.result is not None
        assert caught.value.result.peer == str(address)


async def chunks_without_end() -> AsyncIterator[bytes]:
    """Yield more than any connection takes that nobody reads."""

    while True:
        yield bytes(64 * 1024)


async def test_the_deadlines_reach_the_dtp() -> None:
    """`finish` uses `Deadlines.stall` and `close`, unless it is given others."""

    sock, peer = await tcp_pair(receive_buffer=4096)
    dtp = await AcceptedEndpoint(sock, deadlines=Deadlines(close=5, stall=0.02)).open()
    assert (dtp.close_timeout, dtp.stall_timeout) == (5, 0.02)
    dtp.write(os.urandom(5_000_000))
    with pytest.raises(TransferAborted) as caught:
        await dtp.finish()
    assert caught.value.end is End.STALLED
    peer.close()


async def test_opening_can_be_cancelled_anywhere() -> None:
    """Cancelled at any suspension, `open` and `finish` leave nothing behind."""

    async def scenario() -> None:
        sock, peer = await tcp_pair()
        dtp: Any = None
        try:
            dtp = await AcceptedEndpoint(sock).open()
            dtp.write(b"data")
            finishing = dtp.finish()
            await finishing
        finally:
            peer.close()
            sock.close()
            if dtp is not None:
                dtp.abort()

    assert await sweep(scenario) >= 2


# A handshake before `open`


@contextlib.asynccontextmanager
async def negotiating(
    deadlines: Deadlines | None = None, *, expiry: float | None = None
) -> AsyncIterator[tuple[PassiveEndpoint | PooledEndpoint, ssl.SSLContext]]:
    """Provide a passive endpoint with TLS, pooled if it has an expiry, and a client's context."""

    tls = DataTLS.for_server(server_certificate().session_context())
    options: dict[str, Any] = {"control_peer": HOST, "deadlines": deadlines, "tls": tls}
    async with contextlib.AsyncExitStack() as stack:
        endpoint: PassiveEndpoint | PooledEndpoint
        if expiry is None:
            endpoint = await listen_passive(HOST, **options)
        else:
            pool = ListenerPool(HOST, free_ports(1), expiry=expiry)
            endpoint = (await stack.enter_async_context(pool)).reserve(**options)
        await stack.enter_async_context(endpoint)
        yield endpoint, client_context()


@contextlib.asynccontextmanager
async def protected_peer(
    endpoint: PassiveEndpoint | PooledEndpoint, context: ssl.SSLContext
) -> AsyncIterator[TLSPeer]:
    """Connect a TLS client to an endpoint."""

    with socket.socket() as sock:
        sock.setblocking(False)
        address = (endpoint.address.host, endpoint.address.port)
        await asyncio.get_running_loop().sock_connect(sock, address)
        yield TLSPeer(sock, context)


@pytest.mark.parametrize("expiry", [None, 5.0])
async def test_a_client_may_negotiate_before_it_is_called_for(expiry: float | None) -> None:
    """`open` returns the negotiated connection, with the data that came over it meanwhile."""

    async with negotiating(expiry=expiry) as (endpoint, context):
        ready = [endpoint.is_ready]
        async with protected_peer(endpoint, context) as peer:
            await peer.handshake()
            await peer.send(b"early")
            await turns()
            ready.append(endpoint.is_ready)
            assert ready == [False, True]
            dtp = await endpoint.open()
            with pytest.raises(RuntimeError):
                await endpoint.open()
            consumer = RecordingConsumer()
            received = dtp.register_consumer(consumer)
            await peer.put(peer.close_notify())
            await received
            assert consumer.data == b"early"
            await dtp.wait_closed()


@pytest.mark.parametrize("expiry", [None, 5.0])
async def test_a_client_may_negotiate_when_it_is_called_for(expiry: float | None) -> None:
    """Most clients wait for the reply. No deadline begins before `open`."""

    # Long enough for the handshake on a busy machine; the waits before it are longer still.
    limits = Deadlines(open=0.4, handshake=0.4)
    async with negotiating(limits, expiry=expiry) as (endpoint, context):
        await asyncio.sleep(0.5)
        async with protected_peer(endpoint, context) as peer:
            await asyncio.sleep(0.5)
            opening = asyncio.ensure_future(endpoint.open())
            await peer.handshake()
            dtp = await opening
            assert dtp.is_connected
            dtp.abort()
            with pytest.raises(TransferAborted):
                await dtp.wait_closed()


@pytest.mark.parametrize("expiry", [None, 5.0])
@pytest.mark.parametrize("connects", [False, True])
async def test_deadlines_begin_when_it_is_called_for(
    expiry: float | None, connects: bool
) -> None:
    """A client that does not connect or negotiate in time after `open` is given up."""

    limits = Deadlines(open=0.1, handshake=0.1)
    async with (
        negotiating(limits, expiry=expiry) as (endpoint, context),
        contextlib.AsyncExitStack() as stack,
    ):
        if connects:
            await stack.enter_async_context(protected_peer(endpoint, context))
        await turns()
        started_at = asyncio.get_running_loop().time()
        with pytest.raises(FTPDataError) as caught:
            await endpoint.open()
        assert 0.09 <= asyncio.get_running_loop().time() - started_at < 60
        assert caught.value.end is (End.HANDSHAKE_TIMEOUT if connects else End.ACCEPT_TIMEOUT)


@pytest.mark.parametrize("when", ["listening", "connected", "negotiated"])
async def test_what_negotiates_in_a_pool_expires_all_the_same(when: str) -> None:
    """A client that sends PASV and no transfer command does not hold its reservation for ever."""

    async with (
        negotiating(expiry=0.5) as (endpoint, context),
        contextlib.AsyncExitStack() as stack,
    ):
        if when != "listening":
            peer = await stack.enter_async_context(protected_peer(endpoint, context))
            if when == "negotiated":
                await peer.handshake()
        async with asyncio.timeout(60):
            while endpoint._wait.given_up is None:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        with pytest.raises(FTPDataError) as caught:
            await endpoint.open()
        assert caught.value.end is End.ACCEPT_TIMEOUT
        if when == "negotiated":
            with pytest.raises(ConnectionResetError):
                await peer.receive()


async def test_what_has_negotiated_is_given_up_with_its_pool() -> None:
    """The pool closes a connection that was never opened, because nobody else would."""

    tls = DataTLS.for_server(server_certificate().session_context())
    async with contextlib.AsyncExitStack() as stack:
        async with ListenerPool(HOST, free_ports(1)) as pool:
            endpoint = pool.reserve(control_peer=HOST, tls=tls)
            context = client_context()
            peer = await stack.enter_async_context(protected_peer(endpoint, context))
            await peer.handshake()
            assert pool.metrics.in_use == 1
        with pytest.raises(ConnectionResetError):
            await peer.receive()
        with pytest.raises(DataConnectionError, match="pool"):
            await endpoint.open()


async def test_a_client_side_does_not_negotiate_by_itself() -> None:
    """The FTP client is the TLS client, whoever connects, and sends first (RFC 4217 §7)."""

    tls = DataTLS(context=client_context(), server_side=False, server_hostname=HOST_NAME)
    async with await listen_passive(HOST, control_peer=HOST, tls=tls) as endpoint:
        with await connect_from(HOST, endpoint.address, b"what for?"):
            await until(lambda: endpoint.is_ready)
            await turns()
            assert endpoint._begun is None


def test_a_socket_may_be_given_before_there_is_an_event_loop() -> None:
    """Without an event loop the endpoint does not negotiate before `open`."""

    tls = DataTLS.for_server(server_certificate().session_context())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert AcceptedEndpoint(ours, tls=tls).is_ready


@pytest.mark.parametrize("when", ["at once", "listening", "connected", "negotiated"])
@pytest.mark.parametrize("how", ["abort", "aclose", "cancel"])
async def test_what_negotiates_is_given_up(when: str, how: str) -> None:
    """Whatever gives it up, and whenever, the peer sees an end, and nothing is left behind."""

    async with negotiating() as (endpoint, context), contextlib.AsyncExitStack() as stack:
        peer = None
        if when != "at once":
            await turns()
        if when in {"connected", "negotiated"}:
            peer = await stack.enter_async_context(protected_peer(endpoint, context))
            await turns()
        if when == "negotiated" and peer is not None:
            await peer.handshake()
            await turns()
        if how == "cancel":
            opening = asyncio.ensure_future(endpoint.open())
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        elif how == "abort":
            endpoint.abort(End.ABORTED, "the user said so")
        await endpoint.aclose()
        with pytest.raises((DataConnectionError, RuntimeError)):
            await endpoint.open()
        if peer is not None:
            with pytest.raises(OSError, match=r"reset|EOF|closed"):
                await peer.handshake() if when == "connected" else await peer.receive()


async def test_an_early_handshake_that_fails_is_reported_when_it_is_called_for() -> None:
    """`open` raises the error, with reply 522, and nothing raises it before."""

    async with negotiating() as (endpoint, context), protected_peer(endpoint, context) as peer:
        await peer.put(b"this is no ClientHello")
        # The peer gets an alert or a reset; both are an OSError.
        with contextlib.suppress(OSError):
            await peer.receive()
        with pytest.raises(FTPDataError) as caught:
            await endpoint.open()
        assert caught.value.reply_code == 522


async def test_to_cancel_open_when_the_handshake_is_just_over_closes_the_connection() -> None:
    """Nobody else owns the link of an early handshake, so the cancelled `open` resets it."""

    async with negotiating() as (endpoint, context), protected_peer(endpoint, context) as peer:
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        await peer.flush()
        await until(lambda: endpoint._begun is not None)
        begun = endpoint._begun
        assert begun is not None
        opening: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # This is called before the opening task resumes.
        begun.add_done_callback(lambda _: opening.cancel())
        opening = asyncio.ensure_future(endpoint.open())
        await peer.handshake()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert begun.exception() is None
        assert not endpoint.is_open
        with pytest.raises(ConnectionResetError):
            await peer.receive()


async def test_opening_what_negotiates_can_be_cancelled_anywhere() -> None:
    """Cancelled at any suspension, `open` leaves no task, socket, or port behind."""

    async def scenario() -> None:
        async with (
            negotiating() as (endpoint, context),
            protected_peer(endpoint, context) as peer,
            peer_task(peer.handshake()),
        ):
            dtp = await endpoint.open()
            dtp.abort()
            with contextlib.suppress(FTPDataError):
                await dtp.wait_closed()

    assert await sweep(scenario) >= 2


@pytest.mark.parametrize("before", ["handshake", "connect", "handshake, connect"])
@pytest.mark.parametrize("how", ["open", "abort", "aclose", "cancel"])
async def test_every_order_of_handshake_connect_and_open(before: str, how: str) -> None:
    """There is one connection. Given up at any point, it leaves nothing behind."""

    tls = DataTLS.for_server(server_certificate().session_context())
    sock, there = await tcp_pair()
    with there:
        peer = TLSPeer(there, client_context())
        async with (
            AcceptedEndpoint(sock, tls=tls) as endpoint,
            peer_task(peer.handshake()) as handshake,
        ):
            if "handshake" in before:
                await handshake
            if "connect" in before:
                assert (await link_of(endpoint)).sock is sock
                assert endpoint.is_open
                assert (await link_of(endpoint)).sock is sock
            await handshake
            if how == "open":
                dtp = await endpoint.open()
                assert dtp.is_connected
                with pytest.raises(RuntimeError, match="one connection"):
                    await link_of(endpoint)
                await peer.put(peer.close_notify())
                await dtp.register_consumer(RecordingConsumer())
                await dtp.wait_closed()
                return

            if how == "cancel":
                opening = asyncio.ensure_future(endpoint.open())
                opening.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await opening
            elif how == "abort":
                endpoint.abort(End.ABORTED, "the user said so")
            else:
                await endpoint.aclose()
            if how != "cancel":
                is_open = "connect" in before
                with pytest.raises(TransferAborted if is_open else DataConnectionError):
                    await endpoint.open()
        assert sock.fileno() == -1


async def test_a_second_open_does_not_take_the_socket_of_a_handshake() -> None:
    """A second `open` is a programming error, and the first one goes on."""

    tls = DataTLS.for_server(server_certificate().session_context())
    sock, there = await tcp_pair()
    with there:
        endpoint, peer = AcceptedEndpoint(sock, tls=tls), TLSPeer(there, client_context())
        opening = asyncio.ensure_future(endpoint.open())
        await turns()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="one connection"):
                await endpoint.open()
        await peer.handshake()
        dtp = await opening
        assert dtp.is_connected
        dtp.abort()
        with pytest.raises(TransferAborted):
            await dtp.wait_closed()


async def test_a_dtp_whose_connection_is_lost_while_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All tasks that wait for the DTP get the reason, as does the task in `open`."""

    async def connect(*_: Any) -> Any:
        raise ConnectionResetError(104, "it was reset")

    dtp = DTP()
    received = dtp.register_consumer(RecordingConsumer())
    sock, there = await tcp_pair()
    loop = asyncio.get_running_loop()

    class Loop:
        def __getattr__(self, name: str) -> Any:
            return connect if name == "connect_accepted_socket" else getattr(loop, name)

    with there:
        endpoint = AcceptedEndpoint(sock, dtp_factory=lambda: dtp)
        monkeypatch.setattr("ftpdata.opening.endpoint.asyncio.get_running_loop", Loop)
        with pytest.raises(DataConnectionError, match="it was reset"):
            await endpoint.open()
        monkeypatch.undo()
        with pytest.raises(FTPDataError, match="it was reset"):
            await received
    assert dtp.end is End.OPEN_FAILED


async def test_a_dtp_that_is_connected_when_its_open_is_cancelled() -> None:
    """On every event loop the DTP learns that it has lost its connection."""

    made: list[DTP] = []

    class Telling(DTP):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            opening.cancel()

    def factory() -> DTP:
        made.append(Telling())
        return made[0]

    sock, there = await tcp_pair()
    with there:
        opening = asyncio.ensure_future(AcceptedEndpoint(sock, dtp_factory=factory).open())
        with pytest.raises(asyncio.CancelledError):
            await opening
        with pytest.raises(FTPDataError):
            await made[0].wait_closed()
    assert made[0].end is End.CANCELLED
