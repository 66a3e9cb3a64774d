"""Tests of `ftpdata.opening.passive`: ports, strangers, both orders, and deadlines."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import socket
import sys
import time
from typing import Any

import pytest

from ftpdata.addresses import HostPort, PeerPolicy
from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.errors import (
    DataConnectionError,
    FTPDataError,
    OpenTimeout,
    PortsExhausted,
    TransferAborted,
)
from ftpdata.opening import _acceptor as listener_module
from ftpdata.opening import _link as link_module
from ftpdata.opening import passive
from ftpdata.opening.passive import PassiveEndpoint, PassiveListener, listen_passive
from ftpdata.opening.socket_options import SocketOptions
from ftpdata.outcome import End
from ftpdata.testing import RecordingConsumer, reset, sweep
from ftpdata.testing.cancellation import open_descriptors
from ftpdata.tls.policy import DataTLS
from tests.benchmarks.theft import races
from tests.harness.listeners import make_faulty
from tests.harness.proxies import connect_from, free_ports
from tests.harness.tls import server_certificate
from tests.harness.waiting import turns, until

HOST = "127.0.0.1"


async def connect(endpoint: PassiveEndpoint, source: str = HOST) -> socket.socket:
    """Connect to the endpoint from this address."""

    return await connect_from(source, endpoint.address)


async def is_closed_by_peer(sock: socket.socket) -> bool:
    """Wait until the peer has closed or reset the connection."""

    try:
        return await asyncio.get_running_loop().sock_recv(sock, 1) == b""
    except ConnectionResetError:
        return True


# Ports in use


async def test_a_range_that_is_used_up_is_refused_at_once() -> None:
    """`PortsExhausted`, with reply 425, is raised at once. A port given back can be used again."""

    ports = free_ports(3)
    held = [await listen_passive(HOST, control_peer=HOST, ports=ports) for _ in range(3)]
    assert {endpoint.address.port for endpoint in held} == set(
        range(ports.first, ports.last + 1)
    )
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(PortsExhausted) as caught:
        await listen_passive(HOST, control_peer=HOST, ports=ports)
    assert loop.time() - started < 1
    assert caught.value.reply_code == 425
    assert caught.value.end is End.PORTS_EXHAUSTED
    await held[1].aclose()
    again = await listen_passive(HOST, control_peer=HOST, ports=ports)
    assert again.address == held[1].address
    for endpoint in (*held, again):
        await endpoint.aclose()


@pytest.mark.parametrize("listens", [False, True])
async def test_a_port_of_somebody_else_is_passed_over(listens: bool) -> None:
    """A port that is bound or listened on elsewhere is skipped; the rest of the range is used."""

    ports = free_ports(2)
    with socket.socket() as other:
        if listens:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((HOST, ports.first))
        if listens:
            other.listen(1)

        endpoint = await listen_passive(HOST, control_peer=HOST, ports=ports)
        assert endpoint.address.port == ports.last
        with pytest.raises(PortsExhausted):
            await listen_passive(HOST, control_peer=HOST, ports=ports)
        await endpoint.aclose()


async def test_a_port_that_another_process_listens_on_first() -> None:
    """Both processes may bind the port; the one that listens second takes another one."""

    ports = free_ports(2)
    real_bind = listener_module.bind_listener
    thieves: list[socket.socket] = []

    def bind(host: str, port: int, **options: Any) -> socket.socket:
        # The other process listens after our choice of the port, and before our listen.
        if not thieves:
            thief = socket.socket()
            thieves.append(thief)
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind((host, port))
            thief.listen(1)

        return real_bind(host, port, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passive, "bind_listener", bind)
        endpoint = await listen_passive(HOST, control_peer=HOST, ports=ports)

    assert endpoint.address.port != thieves[0].getsockname()[1]
    thieves[0].close()
    await endpoint.aclose()


async def test_an_address_that_is_not_ours() -> None:
    """There is one clear error, not one for each port of the range."""

    with pytest.raises(DataConnectionError) as caught:
        await listen_passive("192.0.2.1", control_peer=HOST)
    assert caught.value.end is End.OPEN_FAILED
    assert caught.value.reply_code == 425


async def test_a_policy_that_compares_needs_something_to_compare_with() -> None:
    """A forgotten control peer is an error, and does not let strangers in."""

    with pytest.raises(ValueError, match="control_peer"):
        await listen_passive(HOST)
    endpoint = await listen_passive(HOST, policy=PeerPolicy.any())
    await endpoint.aclose()


async def test_ten_thousand_cycles_leak_nothing() -> None:
    """A client that sends PASV and leaves costs no port and no descriptor."""

    ports = free_ports(4)
    before = open_descriptors()
    for cycle in range(10_000):
        endpoint = await listen_passive(HOST, control_peer=HOST, ports=ports)
        if cycle % 2:
            endpoint.abort()
        else:
            await endpoint.aclose()

    assert passive._in_use == set()
    assert open_descriptors() == before


# Opening


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("order", ["connection first", "command first"])
async def test_command_and_connection_come_in_either_order(host: str, order: str) -> None:
    """`open` returns the owner's connection in both orders, and the port is free again."""

    endpoint = await listen_passive(host, control_peer=host)
    assert endpoint.address.host == host
    opening: asyncio.Future[DTP] | None = None
    if order == "command first":
        opening = asyncio.ensure_future(endpoint.open())
        await turns()

    peer = await connect(endpoint, host)
    if opening is None:
        assert endpoint.is_ready
        opening = asyncio.ensure_future(endpoint.open())

    dtp = await opening
    assert passive._in_use == set()
    assert dtp.peer is not None
    assert (dtp.peer.host, dtp.peer.port) == peer.getsockname()[:2]
    consumer = RecordingConsumer()
    waiter = dtp.register_consumer(consumer)
    await asyncio.get_running_loop().sock_sendall(peer, b"data")
    peer.close()
    await waiter
    await dtp.wait_closed()
    assert consumer.data == b"data"
    assert "closed" in repr(endpoint)


async def test_what_came_before_open_is_not_lost() -> None:
    """A client may connect, send, and leave before the command is served."""

    endpoint = await listen_passive(HOST, control_peer=HOST)
    peer = await connect(endpoint)
    await asyncio.get_running_loop().sock_sendall(peer, b"early")
    peer.close()
    await turns()
    dtp = await endpoint.open()
    consumer = RecordingConsumer()
    await dtp.register_consumer(consumer)
    assert consumer.data == b"early"
    await dtp.wait_closed()


@pytest.mark.parametrize("opened_first", [False, True])
async def test_strangers_are_dropped_and_the_owner_still_gets_in(
    opened_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Each stranger is closed and counted, and the listener still waits for the owner."""

    endpoint = await listen_passive(HOST, control_peer=HOST)
    opening = asyncio.ensure_future(endpoint.open()) if opened_first else None
    strangers = []
    with caplog.at_level(logging.WARNING, "ftpdata.opening.passive"):
        for source in ("127.0.0.2", "127.0.0.3"):
            stranger = await connect(endpoint, source)
            strangers.append(stranger)
            assert await is_closed_by_peer(stranger)

    assert endpoint.strangers == 2
    assert [record.getMessage().split()[0] for record in caplog.records] == [
        "127.0.0.2",
        "127.0.0.3",
    ]
    assert not endpoint.is_ready
    owner = await connect(endpoint)
    dtp = await (opening or endpoint.open())
    assert dtp.peer is not None
    assert dtp.peer.port == owner.getsockname()[1]
    dtp.abort()
    for sock in (owner, *strangers):
        sock.close()

    await turns()


async def test_strangers_cannot_keep_the_owner_out() -> None:
    """The owner gets in after more strangers than the queue holds, even before `open`."""

    endpoint = await listen_passive(HOST, control_peer=HOST)
    sockets = [await connect(endpoint, "127.0.0.2") for _ in range(3 * passive.BACKLOG)]
    sockets.append(await connect(endpoint))
    dtp = await endpoint.open()
    assert endpoint.strangers == 3 * passive.BACKLOG
    dtp.abort()
    for sock in sockets:
        sock.close()

    await turns()


@pytest.mark.parametrize(
    ("policy", "source", "accepted"),
    [
        (PeerPolicy.exact(), "127.0.0.2", False),
        (PeerPolicy.same_network(), "127.0.0.2", True),
        (PeerPolicy.same_network(), "127.0.1.2", False),
        (PeerPolicy.allow(["127.0.1.0/24"]), "127.0.1.2", True),
        (PeerPolicy.allow(["127.0.1.0/24"]), "127.0.2.2", False),
        (PeerPolicy.any(), "127.9.9.9", True),
    ],
)
async def test_the_policy_decides(policy: PeerPolicy, source: str, accepted: bool) -> None:
    """Only a peer that the policy accepts becomes the data connection."""

    endpoint = await listen_passive(HOST, control_peer=HOST, policy=policy)
    peer = await connect(endpoint, source)
    assert endpoint.is_ready is accepted
    assert endpoint.strangers == (not accepted)
    await endpoint.aclose()
    assert await is_closed_by_peer(peer)
    peer.close()


async def test_a_second_connection_of_the_owner_is_refused() -> None:
    """The port is closed as soon as the owner has connected."""

    endpoint = await listen_passive(HOST, control_peer=HOST)
    peer = await connect(endpoint)
    await turns()
    assert endpoint.is_ready
    with pytest.raises(ConnectionRefusedError):
        await connect(endpoint)
    await endpoint.aclose()
    peer.close()


async def test_a_peer_that_resets_in_the_queue_does_no_harm() -> None:
    """A reset before the accept is reported later, by an error of ftpdata."""

    endpoint = await listen_passive(HOST, control_peer=HOST)
    reset(await connect(endpoint))
    try:
        dtp = await endpoint.open()
    except DataConnectionError:
        return

    with pytest.raises(TransferAborted):
        await dtp.register_consumer(RecordingConsumer())


async def test_theft_races(caplog: pytest.LogCaptureFixture) -> None:
    """Strangers always come first; nothing is stolen, and every owner gets its data.

    ``python -m tests.benchmarks.theft`` runs 10,000 of them.
    """

    with caplog.at_level(logging.CRITICAL, "ftpdata.opening.passive"):
        outcome = await races("listener", 200)
    assert (outcome.stolen, outcome.served) == (0, 200)
    assert outcome.strangers > 300
    assert passive._in_use == set()


async def test_nobody_comes() -> None:
    """`OpenTimeout`, with reply 425, gives the port back. No stranger extends the deadline."""

    endpoint = await listen_passive(HOST, control_peer=HOST, deadlines=Deadlines(open=0.05))
    stranger = await connect(endpoint, "127.0.0.2")
    with pytest.raises(OpenTimeout) as caught:
        await endpoint.open()
    assert caught.value.end is End.ACCEPT_TIMEOUT
    assert caught.value.reply_code == 425
    assert passive._in_use == set()
    with pytest.raises(ConnectionRefusedError):
        await connect(endpoint)
    stranger.close()


async def test_without_a_deadline_it_waits_on() -> None:
    """None waits for ever, and takes a connection that comes late."""

    endpoint = await listen_passive(HOST, control_peer=HOST, deadlines=Deadlines(open=None))
    opening = asyncio.ensure_future(endpoint.open())
    await turns(20)
    assert not opening.done()
    peer = await connect(endpoint)
    (await opening).abort()
    peer.close()
    await turns()


async def test_an_abort_wakes_the_waiter() -> None:
    """If ABOR comes while the server waits for the client, `open` raises the reason at once."""

    endpoint = await listen_passive(HOST, control_peer=HOST)
    opening = asyncio.ensure_future(endpoint.open())
    await turns()
    endpoint.abort(End.ABORTED, "ABOR")
    with pytest.raises(DataConnectionError, match="ABOR"):
        await opening
    assert passive._in_use == set()


async def test_a_connection_that_nobody_took_is_closed() -> None:
    """Leaving the endpoint, as for a new PASV, closes a connection that was not opened."""

    async with await listen_passive(HOST, control_peer=HOST) as endpoint:
        assert isinstance(endpoint, PassiveEndpoint)
        peer = await connect(endpoint)
        await turns()
        assert endpoint.is_ready

    assert await is_closed_by_peer(peer)
    peer.close()


@pytest.mark.parametrize("connected", [False, True])
async def test_opening_can_be_cancelled_anywhere(connected: bool) -> None:
    """Cancelled at any suspension, it leaves no port, socket, or task behind."""

    async def scenario() -> None:
        peer: socket.socket | None = None
        dtp: DTP | None = None
        endpoint = await listen_passive(HOST, control_peer=HOST)
        try:
            if connected:
                peer = await connect(endpoint)
                dtp = await endpoint.open()
            else:
                opening = asyncio.ensure_future(connect(endpoint))
                try:
                    dtp = await endpoint.open()
                    peer = await opening
                except BaseException:
                    await asyncio.wait((opening,))
                    peer = opening.result() if not opening.exception() else None
                    raise
            dtp.write(b"data")
            await dtp.finish()
        finally:
            await endpoint.aclose()
            if dtp is not None:
                dtp.abort()
            if peer is not None:
                peer.close()

    def nothing_in_use() -> None:
        assert passive._in_use == set()

    assert await sweep(scenario, check=nothing_in_use) >= 2


# Listeners made elsewhere


@pytest.mark.parametrize("kind", ["bound", "listening", "descriptor"])
async def test_a_listener_from_outside(kind: str) -> None:
    """A bound or listening socket, or its descriptor, replaces a port of the range."""

    sock = socket.socket()
    sock.bind((HOST, 0))
    if kind == "listening":
        sock.listen(1)

    port = sock.getsockname()[1]
    endpoint = await listen_passive(
        HOST, control_peer=HOST, sock=sock.detach() if kind == "descriptor" else sock
    )
    assert endpoint.address.port == port
    peer = await connect(endpoint)
    dtp = await endpoint.open()
    assert dtp.is_connected
    assert passive._in_use == set()
    dtp.abort()
    peer.close()
    await turns()


async def test_a_socket_that_cannot_listen() -> None:
    """A datagram socket is refused with an error of ftpdata, and closed."""

    sock = socket.socket(type=socket.SOCK_DGRAM)
    with pytest.raises(DataConnectionError, match="cannot listen"):
        await listen_passive(HOST, control_peer=HOST, sock=sock)
    assert sock.fileno() == -1


async def test_a_number_that_is_not_a_descriptor() -> None:
    """It is refused like a socket that cannot listen."""

    with pytest.raises(DataConnectionError, match="cannot listen") as caught:
        await listen_passive(HOST, control_peer=HOST, sock=9999)
    assert caught.value.reply_code == 425


# Faults of accept


@pytest.mark.parametrize(
    "error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM, errno.EACCES]
)
async def test_without_descriptors_the_listener_rests_and_recovers(
    error: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener does not spin or fill the log. The owner gets in with the next descriptor."""

    monkeypatch.setattr(listener_module, "ACCEPT_RETRY", 0.5)
    endpoint = await listen_passive(HOST, control_peer=HOST)
    listener = make_faulty(endpoint._acceptor, error)
    peer = await connect(endpoint)
    opening = asyncio.ensure_future(endpoint.open())
    began = time.monotonic()
    await turns(200)
    assert listener.accepts <= 3 + (time.monotonic() - began) / 0.5
    assert not opening.done()
    listener.error = None
    dtp = await asyncio.wait_for(opening, 60)
    assert dtp.is_connected
    assert len(caplog.records) <= 1
    dtp.abort()
    peer.close()
    await turns()


@pytest.mark.parametrize("error", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN])
async def test_a_connection_that_broke_in_the_queue_is_passed_over(error: int) -> None:
    """An error of one connection, perhaps a stranger's, does not end the listener (accept(2))."""

    endpoint = await listen_passive(HOST, control_peer=HOST)
    listener = make_faulty(endpoint._acceptor, error)
    listener.once = True
    peer = await connect(endpoint)
    dtp = await endpoint.open()
    assert dtp.is_connected
    assert listener.accepts == 2
    dtp.abort()
    peer.close()
    await turns()


async def test_a_connection_that_cannot_be_used_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is reset, and the next one is taken."""

    setblocking = socket.socket.setblocking
    failed: list[socket.socket] = []

    def failing(sock: socket.socket, flag: bool) -> None:
        if sock.family == socket.AF_INET and not failed and sock.getsockname() == here:
            failed.append(sock)
            raise OSError(errno.ENOMEM, "no memory")
        setblocking(sock, flag)

    endpoint = await listen_passive(HOST, control_peer=HOST)
    here = (HOST, endpoint.address.port)
    monkeypatch.setattr(socket.socket, "setblocking", failing)
    first = await connect(endpoint)
    opening = asyncio.ensure_future(endpoint.open())
    await until(lambda: bool(failed))
    second = await connect(endpoint)
    dtp = await opening
    assert dtp.peer == HostPort(*second.getsockname()[:2])
    assert await is_closed_by_peer(first)
    dtp.abort()
    first.close()
    second.close()
    await turns()


async def test_a_listener_that_is_broken_gives_up() -> None:
    """Any other error of accept ends the endpoint, with its reason."""

    endpoint = await listen_passive(HOST, control_peer=HOST)
    listener = endpoint._acceptor._listener
    assert listener is not None
    # From now on accept(2) fails (EINVAL).
    listener.shutdown(socket.SHUT_RDWR)
    with pytest.raises(DataConnectionError, match="accept failed"):
        await endpoint.open()
    assert listener.fileno() == -1
    assert passive._in_use == set()


async def test_a_loop_without_add_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a loop cannot watch sockets (Windows), the endpoint polls the listener."""

    monkeypatch.setattr(listener_module, "ACCEPT_RETRY", 0.01)
    monkeypatch.setattr(listener_module, "watch_readable", lambda *args: False)
    endpoint = await listen_passive(HOST, control_peer=HOST)
    opening = asyncio.ensure_future(endpoint.open())
    await turns()
    peer = await connect(endpoint)
    dtp = await asyncio.wait_for(opening, 60)
    assert dtp.is_connected
    dtp.abort()
    peer.close()
    await turns()


async def test_an_early_handshake_on_a_loop_without_add_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The endpoint polls for its connection before `open`, too."""

    monkeypatch.setattr(listener_module, "ACCEPT_RETRY", 0.01)
    for module in (listener_module, link_module):
        monkeypatch.setattr(module, "watch_readable", lambda *args: False)
    tls = DataTLS.for_server(server_certificate().session_context())
    async with await listen_passive(HOST, control_peer=HOST, tls=tls) as endpoint:
        with await connect(endpoint):
            async with asyncio.timeout(60):
                while not endpoint.is_open:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.001)


# A listener for several connections, one after the other


async def _used(listener: PassiveListener, source: str = HOST) -> PassiveEndpoint:
    """Use the listener for one connection, from its reservation to its end."""

    endpoint = listener.reserve()
    peer = await connect(endpoint, source)
    dtp = await endpoint.open()
    dtp.abort()
    peer.close()
    with pytest.raises(FTPDataError):
        await dtp.wait_closed()
    return endpoint


async def test_connections_in_quick_succession_share_a_port() -> None:
    """Each connection has its own endpoint, and all of them have the same port."""

    listener = PassiveListener(HOST, control_peer=HOST, lifetime=100)
    ports = {(await _used(listener)).address.port for _ in range(5)}
    assert len(ports) == 1
    assert len(passive._in_use) == 1
    listener.close()
    listener.close()
    assert passive._in_use == set()


async def test_connections_of_a_kept_listener_have_the_socket_options() -> None:
    """Accepted connections inherit the options of the listener."""

    options = SocketOptions(keepalive_idle=77, receive_buffer=50_000)
    listener = PassiveListener(HOST, control_peer=HOST, socket_options=options)
    endpoint = listener.reserve()
    peer = await connect(endpoint)
    dtp = await endpoint.open()
    sock = dtp.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if sys.platform == "linux":
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
    dtp.abort()
    peer.close()
    listener.close()


async def test_a_connection_awaited_in_vain_ends_the_port() -> None:
    """The port changes, because the late connection must not be taken for the next one."""

    listener = PassiveListener(HOST, control_peer=HOST, lifetime=100)
    first = listener.reserve()
    await first.aclose()
    late = socket.socket()
    late.setblocking(False)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.get_running_loop().sock_connect(late, (HOST, first.address.port))
    late.close()
    second = listener.reserve()
    assert second.address != first.address
    await second.aclose()
    listener.close()
    assert passive._in_use == set()


@pytest.mark.parametrize(
    ("source", "during"), [(HOST, False), ("127.0.0.2", False), ("127.0.0.2", True)]
)
async def test_a_port_that_somebody_has_found_is_given_up(source: str, during: bool) -> None:
    """The port changes after a stranger, or any peer that was not expected, has connected."""

    listener = PassiveListener(HOST, control_peer=HOST, lifetime=100)
    first = await _used(listener)
    if during:
        second = listener.reserve()
        assert second.address == first.address
        probe = await connect(second, source)
        assert await is_closed_by_peer(probe)
        peer = await connect(second)
        dtp = await second.open()
        dtp.abort()
        peer.close()
    else:
        probe = await connect(first, source)
        third = listener.reserve()
        assert await is_closed_by_peer(probe)
        assert third.address != first.address
        await third.aclose()
    last = listener.reserve()
    assert last.address != first.address
    await last.aclose()
    probe.close()
    listener.close()
    assert passive._in_use == set()


async def test_a_port_is_kept_for_a_moment() -> None:
    """After its lifetime it is closed at once, or once the expected client has come."""

    listener = PassiveListener(HOST, control_peer=HOST, lifetime=0.01)
    async with asyncio.timeout(60):
        await _used(listener)
        while passive._in_use:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        endpoint = listener.reserve()
        while listener._listener is not None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        peer = await connect(endpoint)
        dtp = await endpoint.open()
    assert passive._in_use == set()
    dtp.abort()
    peer.close()
    listener.close()


async def test_a_port_is_kept_for_a_second_by_default() -> None:
    """The second begins when the port begins to listen, and no use makes it longer."""

    listener = PassiveListener(HOST, control_peer=HOST)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    endpoint = listener.reserve()
    timer = listener._timer
    assert timer is not None
    # The clock of uvloop has milliseconds.
    assert began_at + 0.999 <= timer.when() <= loop.time() + 1.001
    peer = await connect(endpoint)
    dtp = await endpoint.open()
    assert listener._timer is timer
    dtp.abort()
    peer.close()
    listener.close()


async def test_one_connection_at_a_time() -> None:
    """A second reservation while the first one waits is a programming error."""

    listener = PassiveListener(HOST, control_peer=HOST)
    endpoint = listener.reserve()
    with pytest.raises(RuntimeError, match="one connection at a time"):
        listener.reserve()
    await endpoint.aclose()
    listener.close()


@pytest.mark.parametrize(
    "options", [{}, {"control_peer": HOST, "lifetime": 0}, {"control_peer": HOST, "lifetime": -1}]
)
async def test_what_is_not_a_listener(options: dict[str, Any]) -> None:
    """The policy needs a control peer to compare with, and the lifetime must be positive."""

    with pytest.raises(ValueError, match=r"control_peer|positive"):
        PassiveListener(HOST, **options)


async def test_a_kept_listener_whose_accept_fails() -> None:
    """The waiting task gets the error, and the next reservation gets another port."""

    listener = PassiveListener(HOST, control_peer=HOST, lifetime=100)
    endpoint = listener.reserve()
    assert listener._listener is not None
    opening = asyncio.ensure_future(endpoint.open())
    await turns()
    listener._listener.acceptor._accept_failed(OSError(errno.EINVAL, "broken"))
    with pytest.raises(DataConnectionError, match="accept failed"):
        await opening
    other = listener.reserve()
    assert other.address != endpoint.address
    await other.aclose()
    listener.close()
    assert passive._in_use == set()


# Wrong arguments


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (TypeError, {"control_peer": ("127.0.0.1", 555)}),
        (TypeError, {"control_peer": 2130706433}),
        (ValueError, {"control_peer": "nonsense"}),
        (ValueError, {"control_peer": ""}),
        (TypeError, {"tls": server_certificate().session_context()}),
        (TypeError, {"tls": True}),
        (TypeError, {"ports": (5, 6)}),
        (TypeError, {"ports": 2121}),
    ],
)
async def test_wrong_arguments_are_refused_at_the_call(
    error: type[Exception], options: dict[str, Any]
) -> None:
    """Wrong arguments raise one clear error before anything listens."""

    before = open_descriptors()
    given = {"control_peer": HOST, **options}
    with pytest.raises(error):
        await listen_passive(HOST, **given)
    if "tls" not in options:
        with pytest.raises(error):
            PassiveListener(HOST, **given)
    assert open_descriptors() == before


# Endpoints that are forgotten


def forget(held: list[PassiveEndpoint]) -> None:
    """Drop the only references to these endpoints, and collect them on any Python."""

    held.clear()
    gc.collect()


async def test_an_endpoint_that_is_forgotten_while_it_listens_warns() -> None:
    """Its port is given back, and the callbacks of `on_release` are called."""

    ports = free_ports(1)
    released: list[str] = []
    held = [await listen_passive(HOST, control_peer=HOST, ports=ports)]
    held[0].on_release(lambda: released.append("released"))
    text = rf"unclosed endpoint <PassiveEndpoint.*:{ports.first}"
    with pytest.warns(ResourceWarning, match=text):
        forget(held)
    assert released == ["released"]
    async with await listen_passive(HOST, control_peer=HOST, ports=ports) as endpoint:
        assert endpoint.address.port == ports.first


async def test_an_endpoint_of_a_session_that_is_forgotten_lets_the_next_one_listen() -> None:
    """The listener leaves the forgotten port, whose connection may still be on its way."""

    listener = PassiveListener(HOST, control_peer=HOST)
    held = [listener.reserve()]
    address = held[0].address
    with pytest.warns(ResourceWarning, match="unclosed endpoint"):
        forget(held)
    with pytest.raises(ConnectionRefusedError):
        await connect_from(HOST, address)
    async with listener.reserve() as endpoint:
        assert "listening" in repr(endpoint)
    listener.close()


@pytest.mark.parametrize("where", ["another thread", "after its loop"])
def test_an_endpoint_may_be_forgotten_anywhere(where: str) -> None:
    """Its event loop gives the port back. After a closed loop, that is done at once."""

    ports = free_ports(1)
    held: list[PassiveEndpoint] = []

    async def listen() -> None:
        held.append(await listen_passive(HOST, control_peer=HOST, ports=ports))
        if where == "another thread":
            await asyncio.to_thread(forget, held)
            async with await listen_passive(HOST, control_peer=HOST, ports=ports):
                pass

    def listen_and_forget() -> None:
        asyncio.run(listen())
        forget(held)

    with pytest.warns(ResourceWarning, match="unclosed endpoint"):
        listen_and_forget()

    async def listen_again() -> None:
        async with await listen_passive(HOST, control_peer=HOST, ports=ports):
            pass

    asyncio.run(listen_again())


@pytest.mark.parametrize("how", ["aclose", "abort", "open", "cancel"])
async def test_an_endpoint_that_is_over_may_be_forgotten(how: str) -> None:
    """An endpoint that is over gives no warning when it is forgotten."""

    endpoint = await listen_passive(HOST, control_peer=HOST)
    if how == "open":
        with await connect(endpoint) as client:
            dtp = await endpoint.open()
            dtp.abort()
            assert await is_closed_by_peer(client)
    elif how == "cancel":
        opening = asyncio.ensure_future(endpoint.open())
        await turns()
        opening.cancel()
        await asyncio.wait((opening,))
        del opening
    elif how == "abort":
        endpoint.abort()
    else:
        await endpoint.aclose()
    del endpoint
    gc.collect()


async def test_a_waiter_keeps_the_endpoint() -> None:
    """The task in `open` alone keeps its endpoint alive."""

    endpoint = await listen_passive(HOST, control_peer=HOST)
    address = endpoint.address
    opening = asyncio.ensure_future(endpoint.open())
    del endpoint
    await turns()
    gc.collect()
    with await connect_from(HOST, address) as client:
        dtp = await opening
        dtp.abort()
        assert await is_closed_by_peer(client)
