"""Tests of `ftpdata.opening.active`: policies, faults, deadlines, and local addresses."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

import pytest

from ftpdata.addresses import HostPort, PeerPolicy
from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.errors import DataConnectionError, OpenTimeout, PeerRejected, TransferAborted
from ftpdata.opening.active import connect_active
from ftpdata.opening.endpoint import link_of
from ftpdata.outcome import End
from ftpdata.testing import RecordingConsumer, sweep
from tests.benchmarks.targets import attempts
from tests.harness.waiting import turns

HOST = "127.0.0.1"


def listening(host: str = HOST, backlog: int = 8) -> tuple[socket.socket, HostPort]:
    """Listen as a client does after PORT."""

    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setblocking(False)
    sock.bind((host, 0))
    sock.listen(backlog)
    return sock, HostPort(host, sock.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_it_connects_to_the_client(host: str) -> None:
    """`open` returns a connected DTP whose peer is the target."""

    listener, target = listening(host)
    endpoint = connect_active(target, control_peer=host)
    assert not endpoint.is_ready
    assert str(target.port) in repr(endpoint)
    loop = asyncio.get_running_loop()
    dtp, (peer, _) = await asyncio.gather(endpoint.open(), loop.sock_accept(listener))
    assert dtp.peer == target
    dtp.write(b"data")
    finishing = asyncio.ensure_future(dtp.finish())
    assert await loop.sock_recv(peer, 10) == b"data"
    peer.close()
    await finishing
    listener.close()


@pytest.mark.parametrize(
    ("target", "control_peer", "policy"),
    [
        (HostPort("192.0.2.7", 5000), "192.0.2.8", None),
        (HostPort("192.0.2.7", 25), "192.0.2.7", None),
        (HostPort("127.0.0.1", 5000), "192.0.2.7", None),
        (HostPort("127.0.0.1", 5000), "192.0.2.7", PeerPolicy.any()),
        (HostPort("10.0.0.1", 5000), "192.0.2.7", PeerPolicy.any()),
        (HostPort("192.0.2.9", 1023), None, PeerPolicy.any()),
        (HostPort("2001:db8::1", 5000), "192.0.2.7", None),
    ],
)
def test_a_refused_target_is_never_connected_to(
    target: HostPort,
    control_peer: str | None,
    policy: PeerPolicy | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A target that the policy forbids is refused before a socket is made."""

    def no_socket(*_: Any, **__: Any) -> None:
        pytest.fail("a socket was made for a refused target")

    monkeypatch.setattr(socket, "socket", no_socket)
    with pytest.raises(PeerRejected) as caught:
        connect_active(target, control_peer=control_peer, policy=policy)
    assert caught.value.end is End.PEER_REJECTED
    assert caught.value.reply_code == 425


async def test_generated_arguments_lead_nowhere_else() -> None:
    """No generated PORT or EPRT makes it connect to a foreign, special, or privileged address.

    ``python -m tests.benchmarks.targets`` tries 100,000 of them.
    """

    outcome = await attempts(3000)
    assert outcome.examples == []
    assert (outcome.foreign, outcome.privileged) == (0, 0)
    assert outcome.connects == outcome.permitted > 100


def test_a_policy_that_compares_needs_something_to_compare_with() -> None:
    """A forgotten control peer is an error, and does not make an open relay."""

    with pytest.raises(ValueError, match="control_peer"):
        connect_active(HostPort(HOST, 5000))


async def test_nobody_listens() -> None:
    """A refused connection is a `DataConnectionError` with reply 425 and the system's text."""

    listener, target = listening()
    listener.close()
    with pytest.raises(DataConnectionError, match="refused") as caught:
        await connect_active(target, control_peer=HOST).open()
    assert caught.value.end is End.OPEN_FAILED
    assert caught.value.reply_code == 425
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


class Unanswered:
    """A listener on loopback that answers nobody, because its queue is full."""

    def __init__(self) -> None:
        self.listener, self.target = listening(backlog=0)
        self.fillers: list[socket.socket] = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((self.target.host, self.target.port))
            self.fillers.append(filler)

    def close(self) -> None:
        """Close everything."""

        for sock in (self.listener, *self.fillers):
            sock.close()


async def test_nobody_answers() -> None:
    """After the deadline `open` raises `OpenTimeout`, with reply 425."""

    unanswered = Unanswered()
    endpoint = connect_active(
        unanswered.target, control_peer=HOST, deadlines=Deadlines(open=0.05)
    )
    with pytest.raises(OpenTimeout) as caught:
        await endpoint.open()
    assert caught.value.end is End.CONNECT_TIMEOUT
    assert caught.value.reply_code == 425
    unanswered.close()


async def test_an_abort_wakes_the_waiter() -> None:
    """If ABOR comes while the server connects, `open` raises the reason at once."""

    unanswered = Unanswered()
    endpoint = connect_active(unanswered.target, control_peer=HOST)
    opening = asyncio.ensure_future(endpoint.open())
    await turns()
    endpoint.abort(End.ABORTED, "ABOR")
    with pytest.raises(DataConnectionError, match="ABOR"):
        await opening
    unanswered.close()


async def test_opening_can_be_cancelled_while_nobody_answers() -> None:
    """A cancelled `open` closes its socket, which is still connecting."""

    unanswered = Unanswered()
    opening = asyncio.ensure_future(connect_active(unanswered.target, control_peer=HOST).open())
    await turns()
    opening.cancel()
    await asyncio.wait((opening,))
    assert opening.cancelled()
    unanswered.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers at once")
async def test_within_one_machine_no_turn_is_needed() -> None:
    """The connection is there before the task waits for anything."""

    listener, target = listening()
    endpoint = connect_active(target, control_peer=HOST)
    connecting = link_of(endpoint)
    with listener, pytest.raises(StopIteration) as ended:
        connecting.send(None)
    assert ended.value.value.peer == target
    await endpoint.aclose()


@pytest.mark.parametrize("how", ["cancel", "abort", "aclose"])
async def test_a_client_that_has_accepted_sees_a_reset(how: str) -> None:
    """The client would take an end of file for an empty file."""

    listener, target = listening()
    endpoint = connect_active(target, control_peer=HOST)
    opening = asyncio.ensure_future(endpoint.open())
    while not opening.done():
        await asyncio.sleep(0)
        try:
            peer, _ = listener.accept()
        except BlockingIOError:
            continue
        break
    if how == "cancel":
        opening.cancel()
    elif how == "abort":
        endpoint.abort()
    else:
        await endpoint.aclose()
    with listener, peer:
        with pytest.raises((asyncio.CancelledError, DataConnectionError, TransferAborted)):
            await opening
        peer.setblocking(False)
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(peer, 1)


async def test_it_connects_from_a_given_address() -> None:
    """Some clients expect the server's address, or port 20, and refuse others."""

    listener, target = listening()
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        port = probe.getsockname()[1]

    endpoint = connect_active(target, control_peer=HOST, local_address=("127.0.0.2", port))
    loop = asyncio.get_running_loop()
    dtp, (peer, address) = await asyncio.gather(endpoint.open(), loop.sock_accept(listener))
    assert address == ("127.0.0.2", port)
    dtp.abort()
    peer.close()
    listener.close()
    await turns()


async def test_a_local_address_that_is_not_ours() -> None:
    """The error is one of ftpdata, and no socket is left behind."""

    listener, target = listening()
    endpoint = connect_active(target, control_peer=HOST, local_address=("192.0.2.1", 0))
    with pytest.raises(DataConnectionError, match="cannot connect"):
        await endpoint.open()
    listener.close()


async def test_an_endpoint_that_is_left_connects_to_nobody() -> None:
    """Without `open` it does not connect; a later `open` raises."""

    listener, target = listening()
    async with connect_active(target, control_peer=HOST) as endpoint:
        pass

    with pytest.raises(DataConnectionError, match="given up"):
        await endpoint.open()
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()


async def test_an_upload_over_an_active_connection() -> None:
    """The DTP receives as one of a passive endpoint does."""

    listener, target = listening()
    loop = asyncio.get_running_loop()
    endpoint = connect_active(target, control_peer=HOST)
    dtp, (peer, _) = await asyncio.gather(endpoint.open(), loop.sock_accept(listener))
    data = os.urandom(10_000)
    await loop.sock_sendall(peer, data)
    peer.close()
    listener.close()
    consumer = RecordingConsumer()
    await dtp.register_consumer(consumer)
    assert consumer.data == data
    await dtp.wait_closed()


async def test_opening_can_be_cancelled_anywhere() -> None:
    """Cancelled at any suspension of `open` and `finish`, it leaves no socket or task behind."""

    listener, target = listening()

    async def scenario() -> None:
        dtp: DTP | None = None
        try:
            dtp = await connect_active(target, control_peer=HOST).open()
            dtp.write(b"data")
            await dtp.finish()
        finally:
            if dtp is not None:
                dtp.abort()

    def empty_the_queue() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except BlockingIOError:
                return
            peer.close()

    assert await sweep(scenario, check=empty_the_queue) >= 2
    empty_the_queue()
    listener.close()
