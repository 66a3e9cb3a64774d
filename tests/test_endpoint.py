"""What all endpoints have in common, and the endpoint of a socket accepted elsewhere."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from ftpdata.deadlines import Deadlines
from ftpdata.endpoint import AcceptedEndpoint
from ftpdata.errors import DataConnectionError, TransferAborted
from ftpdata.outcome import End
from ftpdata.protocol import DTP
from ftpdata.testing import RecordingConsumer, reset, sweep, tcp_pair


async def turns(count: int = 5) -> None:
    """Let the loop run everything that is ready, and what that makes ready."""

    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("as_descriptor", [False, True])
async def test_an_accepted_socket_becomes_a_connection(host: str, as_descriptor: bool) -> None:
    """A socket, or its descriptor, gives a connected DTP that knows its peer."""

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
    """TCP's options are only set where they exist; such a peer has no address."""

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
    """A short last line does not wait for a delayed acknowledgement."""

    sock, peer = await tcp_pair()
    dtp = await AcceptedEndpoint(sock).open()
    option = dtp.transport.get_extra_info("socket").getsockopt
    assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    peer.close()
    dtp.abort()
    await turns()


async def test_a_socket_that_is_not_connected_is_refused() -> None:
    """With 425, and it stays the caller's."""

    with (
        socket.socket() as sock,
        pytest.raises(DataConnectionError, match="connected socket") as caught,
    ):
        AcceptedEndpoint(sock)
    assert caught.value.reply_code == 425


async def test_an_endpoint_is_opened_once() -> None:
    """A second open() is a programming error, with a message that says so."""

    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    dtp = await endpoint.open()
    with pytest.raises(RuntimeError, match="one connection"):
        await endpoint.open()
    assert dtp.is_connected
    dtp.abort()
    peer.close()
    await turns()


async def test_leaving_the_context_closes_what_was_not_opened() -> None:
    """The peer of a connection that nobody took sees its end."""

    sock, peer = await tcp_pair()
    async with AcceptedEndpoint(sock) as endpoint:
        ready = [endpoint.is_ready]

    ready.append(endpoint.is_ready)
    assert ready == [True, False]
    assert sock.fileno() == -1
    assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
    with pytest.raises(TransferAborted):
        await endpoint.open()
    peer.close()


async def test_leaving_the_context_keeps_what_was_opened() -> None:
    """The DTP belongs to who opened it."""

    sock, peer = await tcp_pair()
    async with AcceptedEndpoint(sock) as endpoint:
        dtp = await endpoint.open()

    assert dtp.is_connected
    dtp.abort()
    peer.close()
    await turns()


async def test_an_endpoint_given_up_tells_why() -> None:
    """open() after abort() raises the reason that was given, also the second one's not."""

    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    endpoint.abort(End.OPEN_FAILED, "ABOR came first")
    endpoint.abort(End.ABORTED, "and again")
    with pytest.raises(DataConnectionError, match="ABOR came first"):
        await endpoint.open()
    peer.close()


async def test_an_abort_while_the_protocol_is_made() -> None:
    """The connection that was nearly there is cut, and open() raises."""

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
    """Its exception comes through, the socket is closed."""

    sock, peer = await tcp_pair()

    def factory() -> DTP:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await AcceptedEndpoint(sock, dtp_factory=factory).open()
    assert sock.fileno() == -1
    peer.close()


async def test_a_connection_reset_before_it_is_opened() -> None:
    """It opens or it is a DataConnectionError; either way the reset is told, in our words."""

    sock, peer = await tcp_pair()
    endpoint = AcceptedEndpoint(sock)
    reset(peer)
    try:
        dtp = await endpoint.open()
    except DataConnectionError:
        return

    with pytest.raises(TransferAborted):
        await dtp.register_consumer(RecordingConsumer())


async def test_the_close_deadline_reaches_the_dtp() -> None:
    """`Deadlines.close` is what finish() takes where it is given nothing."""

    sock, peer = await tcp_pair(receive_buffer=4096)
    dtp = await AcceptedEndpoint(sock, deadlines=Deadlines(close=0.02)).open()
    assert dtp.close_timeout == 0.02
    dtp.write(os.urandom(5_000_000))
    with pytest.raises(TransferAborted) as caught:
        await dtp.finish()
    assert caught.value.end is End.CLOSE_TIMEOUT
    peer.close()


async def test_opening_can_be_cancelled_anywhere() -> None:
    """At each suspension of open, use and close: nothing is left."""

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
