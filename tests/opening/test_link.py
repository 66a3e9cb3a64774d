"""Tests of `ftpdata.opening._link`: how it waits, and how it is protected."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ftpdata.deadlines import Deadlines
from ftpdata.errors import DataConnectionError, FTPDataError, TransferAborted
from ftpdata.opening._link import Link
from ftpdata.opening.endpoint import AcceptedEndpoint, link_of
from ftpdata.outcome import End
from ftpdata.testing import tcp_pair
from ftpdata.tls.policy import DataTLS
from tests.harness.loops import LOOP_FACTORIES, factory_of
from tests.harness.waiting import turns, until

from ..harness.connections import peer_task
from ..harness.tls import TLSPeer, client_context, server_certificate

# Waiting


@contextlib.asynccontextmanager
async def full() -> AsyncIterator[tuple[AcceptedEndpoint, Link, socket.socket]]:
    """Provide an endpoint, its link, whose socket takes no more, and the peer's socket."""

    sock, peer = await tcp_pair(send_buffer=4096, receive_buffer=4096)
    with peer:
        async with AcceptedEndpoint(sock) as endpoint:
            link = await link_of(endpoint)
            with contextlib.suppress(BlockingIOError):
                while True:
                    link.send(bytes(4096), is_end=False)
            yield endpoint, link, peer


@pytest.mark.parametrize("can_watch", [True, False])
async def test_a_link_waits_for_room(can_watch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends when there is room or after its limit; the socket is then no longer watched."""

    if not can_watch:
        monkeypatch.setattr("ftpdata.opening._link.watch_writable", lambda *_: False)
        # This is longer than a busy machine takes for a few turns of the loop.
        monkeypatch.setattr("ftpdata.opening._link.UNWATCHED_POLL", 0.5)
    async with full() as (_, link, peer), asyncio.timeout(60):
        number = link.sock.fileno()
        assert not await link.wait_writable(0.001)
        # Incoming data do not end a wait for room.
        peer.send(b"talk")
        waiting = asyncio.ensure_future(link.wait_writable(None))
        await turns()
        assert not waiting.done()
        while can_watch and not waiting.done():
            peer.recv(4096)
            await turns()
        assert await waiting
        assert not can_watch or link.send(b"x", is_end=False)
        assert not asyncio.get_running_loop().remove_writer(number)


@pytest.mark.parametrize("way", ["abort", "close", "cancel"])
async def test_a_wait_for_room_can_be_aborted(way: str) -> None:
    """The wait ends at once, because the socket's number may soon belong to another socket."""

    loop = asyncio.get_running_loop()
    async with full() as (endpoint, link, _), asyncio.timeout(60):
        number = link.sock.fileno()
        waiting = asyncio.ensure_future(link.wait_writable(None))
        await turns()
        assert not waiting.done()
        if way == "cancel":
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not loop.remove_writer(number)
        else:
            if way == "abort":
                endpoint.abort(End.ABORTED, "no more")
            else:
                await endpoint.aclose()
            with socket.socket() as other:
                os.dup2(other.fileno(), number)
                try:
                    calls: list[None] = []
                    loop.add_writer(number, calls.append, None)
                    with pytest.raises(FTPDataError):
                        await waiting
                    calls.clear()
                    await until(lambda: bool(calls))
                    loop.remove_writer(number)
                finally:
                    os.close(number)


# The handshake


@contextlib.asynccontextmanager
async def negotiating(
    deadlines: Deadlines | None = None, *, is_full: bool = False
) -> AsyncIterator[tuple[AcceptedEndpoint, TLSPeer]]:
    """Provide an endpoint and its peer before the handshake, perhaps without room to send."""

    tls = DataTLS.for_server(server_certificate().session_context())
    sock, there = await tcp_pair(send_buffer=4096, receive_buffer=4096)
    with there:
        if is_full:
            await fill(sock)
        async with AcceptedEndpoint(sock, tls=tls, deadlines=deadlines) as endpoint:
            yield endpoint, TLSPeer(there, client_context())


async def fill(sock: socket.socket) -> None:
    """Send until the peer's system takes no more either, which is a moment later."""

    idle = 0
    while idle < 10:
        idle += 1
        with contextlib.suppress(BlockingIOError):
            while sock.send(bytes(4096)):
                idle = 0
        await asyncio.sleep(0.005)


def hello(peer: TLSPeer) -> bytes:
    """Return a peer's ClientHello."""

    with contextlib.suppress(ssl.SSLWantReadError):
        peer.tls.do_handshake()

    return peer.outgoing.read()


@pytest.mark.parametrize("is_early", [True, False])
async def test_a_handshake_in_drops_has_no_more_time(is_early: bool) -> None:
    """A peer that sends a byte now and then has no more time than a silent one."""

    loop = asyncio.get_running_loop()
    async with negotiating(Deadlines(handshake=1)) as (endpoint, peer):
        message = hello(peer)

        async def sending() -> None:
            for i in range(len(message) - 1):
                await peer.put(message[i : i + 1])
                await asyncio.sleep(0.03)

        async with peer_task(sending()):
            if is_early:
                await asyncio.sleep(0.1)
            started_at = loop.time()
            with pytest.raises(FTPDataError) as caught:
                await endpoint.open()
            assert 0.99 <= loop.time() - started_at < 1.9
    assert caught.value.end is End.HANDSHAKE_TIMEOUT
    assert caught.value.reply_code == 522


@pytest.mark.parametrize("is_watched", [True, False])
@pytest.mark.parametrize("is_full", [True, False])
async def test_a_handshake_waits_for_whatever_it_needs(
    is_watched: bool, is_full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for room, too, on loops that cannot watch sockets, and before `open` is called."""

    if not is_watched:
        monkeypatch.setattr("ftpdata.opening._link.watch_readable", lambda *_: False)
    loop = asyncio.get_running_loop()
    async with negotiating(is_full=is_full) as (endpoint, peer):
        await turns()
        message = hello(peer)
        await peer.put(message[:50])
        await turns()
        await peer.put(message[50:])
        if is_full:
            await asyncio.sleep(0.05)
            received = b""
            async with asyncio.timeout(60):
                # Receive up to a handshake record (RFC 8446 §5.1).
                while b"\x16\x03" not in received:
                    received += await loop.sock_recv(peer.sock, 1 << 16)
            # The first record of the answer is lost in the filling, so the handshake fails.
            peer.sock.close()
            with pytest.raises(FTPDataError) as caught:
                await endpoint.open()
            assert caught.value.reply_code == 522
            return

        async with asyncio.timeout(60):
            await peer.handshake()
        dtp = await endpoint.open()
        dtp.write(b"data")
        assert await peer.receive() == b"data"
        dtp.abort()
        with pytest.raises(TransferAborted):
            await dtp.wait_closed()


@pytest.mark.parametrize("how", ["deadline", "abort", "aclose", "cancel"])
async def test_a_handshake_without_room_is_given_up(how: str) -> None:
    """It can be given up as any handshake can, and the loop watches no closed socket then."""

    limit = Deadlines(handshake=0.1 if how == "deadline" else None)
    async with negotiating(limit, is_full=True) as (endpoint, peer):
        await peer.put(hello(peer))
        opening = asyncio.ensure_future(endpoint.open())
        await turns()
        if how == "abort":
            endpoint.abort(End.ABORTED, "the user said so")
        elif how == "aclose":
            await endpoint.aclose()
        elif how == "cancel":
            opening.cancel()
        async with asyncio.timeout(60):
            with pytest.raises((FTPDataError, asyncio.CancelledError)) as caught:
                await opening
        if how == "deadline":
            assert isinstance(caught.value, FTPDataError)
            assert caught.value.end is End.HANDSHAKE_TIMEOUT
        other, another = socket.socketpair()
        with other, another:
            # One of these may have the number of the closed socket.
            other.setblocking(False)
            another.setblocking(False)
            receiving = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(other, 10))
            await asyncio.get_running_loop().sock_sendall(another, b"data")
            assert await receiving == b"data"


async def test_a_handshake_without_room_takes_no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop does not spin, even if its peer has sent more, which stays unread meanwhile."""

    waits = 0
    original = Link._wait_a_moment

    async def counted(self: Link, timeout: float | None) -> bool:
        nonlocal waits
        waits += 1
        return await original(self, timeout)

    monkeypatch.setattr(Link, "_wait_a_moment", counted)
    async with negotiating(is_full=True) as (endpoint, peer):
        opening = asyncio.ensure_future(endpoint.open())
        message = hello(peer)
        await peer.put(message[:50])
        await turns()
        await peer.put(message[50:])
        async with asyncio.timeout(60):
            while not waits:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)
        await peer.put(b"more")
        await asyncio.sleep(0.2)
        assert waits < 30
        endpoint.abort()
        with pytest.raises(DataConnectionError):
            await opening


async def test_bytes_that_nobody_reads_take_no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data after an early handshake wait in the socket until they are read."""

    looks = 0
    original = Link._readable

    def counted(self: Link) -> None:
        nonlocal looks
        looks += 1
        original(self)

    monkeypatch.setattr(Link, "_readable", counted)
    async with negotiating() as (endpoint, peer):
        async with asyncio.timeout(60):
            await peer.handshake()
            link = endpoint._link
            assert link is not None
            while link.channel is None:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
        looks = 0
        await peer.send(b"data")
        async with asyncio.timeout(60):
            while not looks:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)
        await turns(50)
        assert looks == 1
        dtp = await endpoint.open()
        dtp.abort()
        with pytest.raises(TransferAborted):
            await dtp.wait_closed()


async def test_why_a_handshake_has_failed_although_the_alert_goes_nowhere() -> None:
    """The error gives the reason of TLS, not that of the socket."""

    class Broken(socket.socket):
        def send(self, *_: Any) -> int:
            raise BrokenPipeError

    sock, there = await tcp_pair()
    tls = DataTLS.for_server(server_certificate().session_context())
    with there:
        there.send(b"GET / HTTP/1.1\r\n\r\n")
        broken = Broken(fileno=sock.detach())
        async with AcceptedEndpoint(broken, tls=tls) as endpoint:
            with pytest.raises(FTPDataError, match=r"(?i)http.request") as caught:
                await endpoint.open()
    assert caught.value.reply_code == 522


@pytest.mark.parametrize("runs_on", LOOP_FACTORIES)
def test_what_lingers_is_closed_as_the_loop_ends(runs_on: str) -> None:
    """A program may end right after its transfer: it leaves no open socket."""

    async def work() -> tuple[Link, socket.socket]:
        sock, peer = await tcp_pair()
        link = await link_of(AcceptedEndpoint(sock))
        link.linger(300)
        assert link.is_lingering
        return link, peer

    with asyncio.Runner(loop_factory=factory_of(runs_on)) as runner:
        link, peer = runner.run(work())
    with peer:
        assert not link.is_lingering
        assert link.sock.fileno() == -1
