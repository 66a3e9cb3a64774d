"""Tests of `ftpdata.opening.pool`: a few ports serve many clients, each its own connection."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import secrets
import socket
import time
from collections import Counter
from typing import Any

import pytest

from ftpdata._kernel import watch_readable
from ftpdata.addresses import HostPort
from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.errors import (
    BadAddress,
    DataConnectionError,
    OpenTimeout,
    PortsExhausted,
    TransferAborted,
)
from ftpdata.opening import _acceptor as listener_module
from ftpdata.opening import pool as pool_module
from ftpdata.opening.pool import ListenerPool, PooledEndpoint, PoolMetrics
from ftpdata.opening.ports import PortRange
from ftpdata.opening.proxy import TrustedProxies
from ftpdata.outcome import End
from ftpdata.testing import RecordingConsumer, reset, sweep
from ftpdata.testing.cancellation import open_descriptors
from tests.benchmarks.theft import races
from tests.harness.listeners import make_faulty
from tests.harness.proxies import abandon, connect_from, free_ports, is_cut
from tests.harness.waiting import turns, until

HOST = "127.0.0.1"
ME = "127.0.0.7"
YOU = "127.0.0.8"


def source(number: int) -> str:
    """Return the address of one of many clients."""

    return f"127.1.{number >> 8}.{number & 255}"


async def first_bytes(dtp: DTP) -> bytes:
    """Receive everything up to the end."""

    consumer = RecordingConsumer()
    await dtp.register_consumer(consumer)
    await dtp.wait_closed()
    return bytes(consumer.data)


# Matching


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("order", ["connection first", "command first"])
async def test_command_and_connection_come_in_either_order(host: str, order: str) -> None:
    """`open` returns the owner's connection in both orders, with the data that came early."""

    async with ListenerPool(host, free_ports(2, host)) as pool:
        endpoint = pool.reserve(control_peer=host)
        assert endpoint.address.host == host
        assert endpoint.address.port in pool.ports
        opening = asyncio.ensure_future(endpoint.open()) if order == "command first" else None
        await turns()
        peer = await connect_from(host, endpoint.address, b"early")
        if opening is None:
            assert endpoint.is_ready
            assert "connected" in repr(endpoint)
            assert pool.metrics.in_use == 1
            assert pool.metrics.waiting == 0
        dtp = await (opening or endpoint.open())
        assert dtp.peer is not None
        assert (dtp.peer.host, dtp.peer.port) == peer.getsockname()[:2]
        peer.close()
        assert await first_bytes(dtp) == b"early"
        assert "over" in repr(endpoint)
        assert pool.metrics.in_use == 0

    assert "closed" in repr(pool)


async def test_a_pool_of_both_families() -> None:
    """A pool has one range of ports on an address of each family; `::` serves both families."""

    ports = free_ports(2)
    async with ListenerPool([HOST, "::1"], ports) as pool:
        assert pool.metrics.ports == 4
        assert pool.reserve(control_peer=ME).address.host == HOST
        assert pool.reserve(control_peer=f"::ffff:{YOU}").address.host == HOST
        assert pool.reserve(control_peer="::1").address.host == "::1"
        assert pool.reserve(control_peer="::1", host="::1").address.host == "::1"
        with pytest.raises(DataConnectionError, match="does not listen on"):
            pool.reserve(control_peer=ME, host="127.0.0.9")

    async with ListenerPool("::", free_ports(1, "::")) as pool:
        endpoint = pool.reserve(control_peer=ME)
        peer = await connect_from(ME, HostPort(HOST, endpoint.address.port))
        dtp = await endpoint.open()
        assert dtp.is_connected
        await abandon(peer, dtp)

    async with ListenerPool(HOST, ports) as pool:
        with pytest.raises(DataConnectionError, match="no address that ::1 can connect to"):
            pool.reserve(control_peer="::1")
        with pytest.raises(BadAddress):
            pool.reserve(control_peer="localhost")

    async with ListenerPool(HOST, ports, trusted_proxies=TrustedProxies([HOST])) as pool:
        # The proxy connects over its own family, whatever that of the client is.
        assert pool.reserve(control_peer="2001:db8::1").address.host == HOST


async def test_a_link_local_peer_is_known_with_its_scope() -> None:
    """The same link-local address on another link is another machine."""

    assert pool_module._peer_key("fe80::1%eth0") == "fe80::1%eth0"
    assert pool_module._peer_key("::ffff:127.0.0.1") == "127.0.0.1"
    assert pool_module._peer_key("2001:DB8:0::1") == "2001:db8::1"


async def test_two_clients_on_one_port() -> None:
    """The address of a peer tells whose connection it is, in whatever order they come."""

    async with ListenerPool(HOST, free_ports(1)) as pool:
        mine, yours = pool.reserve(control_peer=ME), pool.reserve(control_peer=YOU)
        assert mine.address == yours.address
        their = await connect_from(YOU, yours.address, b"yours")
        my = await connect_from(ME, mine.address, b"mine")
        for peer in (their, my):
            peer.close()
        assert await first_bytes(await mine.open()) == b"mine"
        assert await first_bytes(await yours.open()) == b"yours"


async def test_one_address_gets_different_ports_and_then_none() -> None:
    """Two clients of one address never share a port. Clients of other addresses may."""

    ports = free_ports(10)
    async with ListenerPool(HOST, ports) as pool:
        mine = [pool.reserve(control_peer=ME) for _ in range(10)]
        assert {endpoint.address.port for endpoint in mine} == set(
            range(ports.first, ports.last + 1)
        )
        with pytest.raises(PortsExhausted) as caught:
            pool.reserve(control_peer=ME)
        assert caught.value.end is End.PORTS_EXHAUSTED
        assert caught.value.reply_code == 425
        pool.reserve(control_peer=YOU)
        assert pool.metrics == PoolMetrics(
            ports=10,
            in_use=11,
            waiting=11,
            running=0,
            resting=0,
            reserved=11,
            matched=0,
            strangers=0,
            expired=0,
            exhausted=1,
        )

        order = list(mine)
        secrets.SystemRandom().shuffle(order)
        for endpoint in order:
            peer = await connect_from(ME, endpoint.address, str(endpoint.address.port).encode())
            peer.close()
        for endpoint in mine:
            data = await first_bytes(await endpoint.open())
            assert data == str(endpoint.address.port).encode()

        # A port whose connection has come is free for the next client at once.
        assert pool.reserve(control_peer=ME).address.port in ports


async def test_a_thousand_clients_on_ten_ports() -> None:
    """Of a thousand clients with their own addresses, each gets its own connection."""

    clients = 1000
    async with ListenerPool(HOST, free_ports(10)) as pool:
        endpoints = {source(number): pool.reserve(control_peer=source(number))
                     for number in range(clients)}
        by_port = Counter(endpoint.address.port for endpoint in endpoints.values())
        assert len(by_port) == 10
        assert min(by_port.values()) > 40
        assert pool.metrics.in_use == pool.metrics.waiting == clients

        gate = asyncio.Semaphore(200)

        async def serve(client: str, endpoint: PooledEndpoint) -> None:
            async with gate:
                peer = await connect_from(client, endpoint.address, client.encode())
                peer.close()
                dtp = await endpoint.open()
                assert dtp.peer is not None
                assert dtp.peer.host == client
                assert await first_bytes(dtp) == client.encode()

        everybody = list(endpoints.items())
        secrets.SystemRandom().shuffle(everybody)
        await asyncio.gather(*(serve(client, endpoint) for client, endpoint in everybody))
        metrics = pool.metrics
        assert (metrics.matched, metrics.strangers, metrics.in_use) == (clients, 0, 0)


async def test_ports_cannot_be_guessed() -> None:
    """The choice among the ports is uniform (chi-square, 9 degrees of freedom)."""

    async with ListenerPool(HOST, free_ports(10), rest=0.0) as pool:
        seen: Counter[int] = Counter()
        for _ in range(5000):
            endpoint = pool.reserve(control_peer=ME)
            seen[endpoint.address.port] += 1
            endpoint.abort()

        # A false alarm comes once in ten million runs.
        assert sum((count - 500) ** 2 / 500 for count in seen.values()) < 52


# Strangers


async def test_strangers_are_closed_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger and an owner on a wrong port are closed, counted, and logged on level INFO."""

    ports = free_ports(2)
    async with ListenerPool(HOST, ports) as pool:
        endpoint = pool.reserve(control_peer=ME)
        other = next(p for p in (ports.first, ports.last) if p != endpoint.address.port)
        with caplog.at_level(logging.INFO, "ftpdata.opening.pool"):
            assert await is_cut(await connect_from(YOU, endpoint.address))
            assert await is_cut(await connect_from(ME, HostPort(HOST, other)))
        assert pool.metrics.strangers == 2
        assert [record.levelno for record in caplog.records] == [logging.INFO] * 2
        assert not endpoint.is_ready
        peer = await connect_from(ME, endpoint.address)
        dtp = await endpoint.open()
        await abandon(dtp, peer)

    assert pool.metrics.strangers == 2


async def test_a_second_connection_is_a_strangers() -> None:
    """A reservation is good for one connection; a second one is a stranger."""

    async with ListenerPool(HOST, free_ports(1)) as pool:
        endpoint = pool.reserve(control_peer=ME)
        peer = await connect_from(ME, endpoint.address)
        assert await is_cut(await connect_from(ME, endpoint.address))
        dtp = await endpoint.open()
        assert dtp.peer is not None
        assert dtp.peer.port == peer.getsockname()[1]
        await abandon(dtp, peer)


async def test_theft_races() -> None:
    """Strangers always come first; nothing is stolen, and every owner gets its data.

    ``python -m tests.benchmarks.theft`` runs 10,000 of them.
    """

    outcome = await races("pool", 300)
    assert (outcome.stolen, outcome.served) == (0, 300)
    assert outcome.strangers > 500


async def test_races_behind_one_address() -> None:
    """Clients of one address connect or give up in any order, and none gets another's data.

    Only the port tells them apart here. A client that gives up may still connect later.
    """

    random = secrets.SystemRandom()
    async with ListenerPool(HOST, free_ports(6), rest=1000.0) as pool:
        late: list[HostPort] = []
        strays: list[socket.socket] = []
        races = 0

        async def come_late() -> None:
            for address in late:
                strays.append(await connect_from(ME, address, b"stray"))
                strays[-1].close()
            late.clear()

        while races < 200:
            try:
                endpoint = pool.reserve(control_peer=ME)
            except PortsExhausted:
                # All late connections have come and were refused, so the ports need no rest.
                await come_late()
                await until(lambda: pool.metrics.strangers == len(strays))
                pool._resting.clear()
                continue

            await come_late()
            if random.random() < 0.4:
                # As after PASV and ABOR; the connection comes nevertheless, a little later.
                late.append(endpoint.address)
                endpoint.abort()
                continue

            races += 1
            owner = await connect_from(ME, endpoint.address, b"%d" % races)
            owner.close()
            assert await first_bytes(await endpoint.open()) == b"%d" % races

        assert len(strays) > 20


async def test_what_came_before_the_reservation_is_not_its_own() -> None:
    """A connection that is in the queue already cannot be that of a new reservation."""

    async with ListenerPool(HOST, free_ports(1), rest=0.0) as pool:
        port = pool.ports.first
        with contextlib.closing(socket.socket()) as early:
            # The loop makes no turn between this connect and the reservation.
            early.bind((ME, 0))
            early.connect((HOST, port))
            endpoint = pool.reserve(control_peer=ME)
            await turns()
            assert (pool.metrics.strangers, pool.metrics.waiting) == (1, 1)
            peer = await connect_from(ME, endpoint.address)
            assert endpoint.is_ready
            peer.close()


async def test_what_came_through_a_proxy_before_is_not_its_own() -> None:
    """A connection accepted before the reservation is a stranger, even if its header is late."""

    proxies = TrustedProxies([HOST])
    async with ListenerPool(HOST, free_ports(1), trusted_proxies=proxies) as pool:
        address = HostPort(HOST, pool.ports.first)
        early = await connect_from(HOST, address, b"PROXY TCP4 127.0.0.7 ")
        await turns()
        endpoint = pool.reserve(control_peer=ME)
        await asyncio.get_running_loop().sock_sendall(early, b"127.0.0.1 1000 21\r\n")
        assert await is_cut(early)
        assert not endpoint.is_ready
        assert pool.metrics.strangers == 1


# The end of reservations


async def test_a_port_rests_after_a_reservation_without_a_connection() -> None:
    """It rests for other sessions of the address, but not for its own or for other addresses."""

    session = object()
    async with ListenerPool(HOST, free_ports(1), rest=0.03) as pool:
        pool.reserve(control_peer=ME, owner=session).abort()
        assert pool.metrics.resting == 1
        with pytest.raises(PortsExhausted):
            pool.reserve(control_peer=ME)
        with pytest.raises(PortsExhausted):
            pool.reserve(control_peer=ME, owner=object())
        await pool.reserve(control_peer=YOU).aclose()
        await pool.reserve(control_peer=ME, owner=session).aclose()
        with pytest.raises(PortsExhausted):
            pool.reserve(control_peer=ME)
        await until(lambda: pool.metrics.resting == 0)
        pool.reserve(control_peer=ME).abort()


async def test_a_client_that_asks_again_locks_nobody_out() -> None:
    """A session that asks again gets its own port again; others of its address have the rest."""

    one, another = object(), object()
    async with ListenerPool(HOST, free_ports(3), rest=60.0) as pool:
        ports = set()
        for _ in range(30):
            endpoint = pool.reserve(control_peer=ME, owner=one)
            ports.add(endpoint.address.port)
            await endpoint.aclose()
        assert len(ports) == pool.metrics.resting == 1
        others = [pool.reserve(control_peer=ME, owner=another) for _ in range(2)]
        assert not ports & {endpoint.address.port for endpoint in others}
        # A port that rests for another session or address is not its own.
        with pytest.raises(PortsExhausted):
            pool.reserve(control_peer=ME, owner=another)
        assert pool.reserve(control_peer=YOU, owner=one).address.port
        assert pool.reserve(control_peer=ME, owner=one).address.port in ports


async def test_no_rest_after_a_connection_that_came() -> None:
    """A port whose connection came does not rest, so a busy client is not slowed down."""

    async with ListenerPool(HOST, free_ports(1)) as pool:
        for _ in range(20):
            endpoint = pool.reserve(control_peer=ME)
            peer = await connect_from(ME, endpoint.address)
            await abandon(await endpoint.open(), peer)
        assert pool.metrics.resting == 0


async def test_reservations_expire() -> None:
    """Its port is free, its connection is closed, and a late `open` raises `OpenTimeout`."""

    async with ListenerPool(HOST, free_ports(2), expiry=0.03, rest=0.0) as pool:
        empty, connected = pool.reserve(control_peer=ME), pool.reserve(control_peer=ME)
        peer = await connect_from(ME, connected.address)
        await until(lambda: pool.metrics.expired == 2)
        assert await is_cut(peer)
        assert pool.metrics.in_use == pool.metrics.waiting == 0
        for endpoint in (empty, connected):
            assert not endpoint.is_ready
            with pytest.raises(OpenTimeout, match="expired") as caught:
                await endpoint.open()
            assert caught.value.end is End.ACCEPT_TIMEOUT
        assert await is_cut(await connect_from(ME, empty.address))


async def test_nobody_comes() -> None:
    """The deadline begins with `open`. A reservation that misses it counts as expired."""

    deadlines = Deadlines(open=0.03)
    async with ListenerPool(HOST, free_ports(1), rest=0.0) as pool:
        endpoint = pool.reserve(control_peer=ME, deadlines=deadlines)
        stranger = await connect_from(YOU, endpoint.address)
        with pytest.raises(OpenTimeout) as caught:
            await endpoint.open()
        assert caught.value.reply_code == 425
        assert (pool.metrics.expired, pool.metrics.in_use) == (1, 0)
        stranger.close()


async def test_a_reservation_that_is_being_opened_does_not_expire() -> None:
    """During `open` only the deadline counts, and here there is none."""

    deadlines = Deadlines(open=None)
    async with ListenerPool(HOST, free_ports(1), expiry=0.02) as pool:
        opening = asyncio.ensure_future(pool.reserve(control_peer=ME, deadlines=deadlines).open())
        await asyncio.sleep(0.05)
        assert not opening.done()
        peer = await connect_from(ME, HostPort(HOST, pool.ports.first))
        await abandon(await opening, peer)


async def test_an_abort_wakes_the_waiter() -> None:
    """If ABOR comes while the server waits for the client, `open` raises the reason at once."""

    async with ListenerPool(HOST, free_ports(1)) as pool:
        endpoint = pool.reserve(control_peer=ME)
        opening = asyncio.ensure_future(endpoint.open())
        await turns()
        endpoint.abort(End.ABORTED, "ABOR")
        with pytest.raises(DataConnectionError, match="ABOR"):
            await opening
        assert pool.metrics.in_use == 0


async def test_closing_the_pool_gives_up_what_waits_and_spares_what_runs() -> None:
    """Reservations end with a reason, and their connections are closed; opened ones stay."""

    ports = free_ports(3)
    async with ListenerPool(HOST, ports) as pool:
        running = pool.reserve(control_peer=ME)
        mine = await connect_from(ME, running.address)
        dtp = await running.open()
        held = pool.reserve(control_peer=ME)
        yours = await connect_from(ME, held.address)
        assert held.is_ready
        waiting = asyncio.ensure_future(pool.reserve(control_peer=YOU).open())
        await turns()

    with pytest.raises(DataConnectionError, match="pool"):
        await waiting
    assert await is_cut(yours)
    assert dtp.is_connected
    await abandon(dtp, mine)
    assert pool.metrics.in_use == pool.metrics.ports == pool.metrics.resting == 0
    with pytest.raises(DataConnectionError, match="not open"):
        pool.reserve(control_peer=ME)
    with pytest.raises(ConnectionRefusedError):
        await connect_from(ME, HostPort(HOST, ports.first))
    await pool.aclose()
    with pytest.raises(RuntimeError, match="once"):
        await pool.__aenter__()


async def test_a_thousand_clients_that_leave_leak_nothing() -> None:
    """Clients that send PASV and leave cost no port, no descriptor, and no memory."""

    async with ListenerPool(HOST, free_ports(10), rest=0.0) as pool:
        before = open_descriptors()
        for cycle in range(10_000):
            endpoint = pool.reserve(control_peer=ME if cycle % 2 else source(cycle % 1000))
            if cycle % 3:
                endpoint.abort()
            else:
                await endpoint.aclose()

        assert open_descriptors() == before
        assert pool.metrics.in_use == pool.metrics.waiting == pool.metrics.resting == 0
        assert all(not listener.waiting for listener in pool._listeners.values())


@pytest.mark.parametrize("connected", [False, True])
async def test_opening_can_be_cancelled_anywhere(connected: bool) -> None:
    """Cancelled at any suspension, it leaves no reservation, socket, or task behind."""

    ports = free_ports(2)
    metrics: list[PoolMetrics] = []

    async def scenario() -> None:
        peer: socket.socket | None = None
        dtp: DTP | None = None
        async with ListenerPool(HOST, ports) as pool:
            endpoint = pool.reserve(control_peer=ME)
            try:
                if connected:
                    peer = await connect_from(ME, endpoint.address)
                    dtp = await endpoint.open()
                else:
                    opening = asyncio.ensure_future(connect_from(ME, endpoint.address))
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
                metrics.append(pool.metrics)
                if dtp is not None:
                    dtp.abort()
                if peer is not None:
                    peer.close()

    assert await sweep(scenario) >= 2
    assert {(found.in_use, found.waiting) for found in metrics} == {(0, 0)}


async def test_a_peer_that_resets_in_the_queue_does_no_harm() -> None:
    """A reset before the accept is reported later, by an error of ftpdata."""

    async with ListenerPool(HOST, free_ports(1)) as pool:
        endpoint = pool.reserve(control_peer=ME)
        reset(await connect_from(ME, endpoint.address))
        try:
            dtp = await endpoint.open()
        except DataConnectionError:
            return

        with pytest.raises(TransferAborted):
            await dtp.register_consumer(RecordingConsumer())


# Ports and faults


async def test_ports_that_are_taken_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The pool uses the other ports, and logs which are missing. Without any it does not open."""

    ports = free_ports(2)
    with socket.create_server((HOST, ports.first)):
        async with ListenerPool(HOST, ports) as pool:
            assert pool.metrics.ports == 1
            assert pool.reserve(control_peer=ME).address.port == ports.last
            with pytest.raises(PortsExhausted):
                pool.reserve(control_peer=ME)
        assert str(ports.first) in caplog.text
        with pytest.raises(PortsExhausted):
            await ListenerPool(HOST, PortRange(ports.first, ports.first)).__aenter__()


async def test_an_address_that_is_not_ours() -> None:
    """There is one clear error, and no port stays bound."""

    ports = free_ports(2)
    with pytest.raises(DataConnectionError, match=r"192\.0\.2\.1") as caught:
        await ListenerPool([HOST, "192.0.2.1"], ports).__aenter__()
    assert caught.value.end is End.OPEN_FAILED
    async with ListenerPool(HOST, ports):
        pass


async def test_a_loop_that_watches_no_more_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one clear error, and no port stays bound (epoll_ctl(2): ENOSPC)."""

    ports = free_ports(2)
    watched = itertools.count()

    def watch(*arguments: Any) -> bool:
        if next(watched):
            raise OSError(errno.ENOSPC, "too many are watched")
        return watch_readable(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(listener_module, "watch_readable", watch)
        with pytest.raises(DataConnectionError, match="too many are watched") as caught:
            await ListenerPool(HOST, ports).__aenter__()
    assert caught.value.end is End.OPEN_FAILED
    async with ListenerPool(HOST, ports):
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"hosts": []},
        {"expiry": 0.0},
        {"expiry": float("inf")},
        {"rest": -1.0},
        {"rest": float("nan")},
    ],
)
def test_what_is_not_a_pool(wrong: dict[str, Any]) -> None:
    """Wrong arguments are refused before anything is bound."""

    arguments: dict[str, Any] = {"hosts": HOST, "ports": PortRange(50000, 50001)}
    with pytest.raises(ValueError, match=r"needs an address|positive"):
        ListenerPool(**(arguments | wrong))


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_descriptors_the_pool_rests_and_recovers(
    error: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool does not spin or fill the log. The owner gets in with the next descriptor."""

    monkeypatch.setattr(listener_module, "ACCEPT_RETRY", 0.3)
    async with ListenerPool(HOST, free_ports(1)) as pool:
        endpoint = pool.reserve(control_peer=ME)
        listener = make_faulty(next(iter(pool._listeners.values())).acceptor, error)
        peer = await connect_from(ME, endpoint.address)
        opening = asyncio.ensure_future(endpoint.open())
        began = time.monotonic()
        await turns(200)
        assert listener.accepts <= 3 + (time.monotonic() - began) / 0.3
        assert not opening.done()
        listener.error = None
        dtp = await asyncio.wait_for(opening, 60)
        assert len(caplog.records) <= 1
        await abandon(dtp, peer)


async def test_a_port_that_breaks_is_lost_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Waiting tasks get the error, which is logged once, and no client gets this port again."""

    async with ListenerPool(HOST, free_ports(2)) as pool:
        mine = [pool.reserve(control_peer=ME) for _ in range(2)]
        listener = next(iter(pool._listeners.values())).acceptor._listener
        assert listener is not None
        # From now on accept(2) fails (EINVAL).
        listener.shutdown(socket.SHUT_RDWR)
        broken = next(e for e in mine if e.address.port == pool.ports.first)
        with pytest.raises(DataConnectionError, match="accept failed"):
            await broken.open()
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        for number in range(20):
            assert pool.reserve(control_peer=source(number)).address.port == pool.ports.last


async def test_a_loop_without_add_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a loop cannot watch sockets (Windows), the pool polls its listeners."""

    monkeypatch.setattr(listener_module, "ACCEPT_RETRY", 0.01)
    monkeypatch.setattr(listener_module, "watch_readable", lambda *args: False)
    async with ListenerPool(HOST, free_ports(1)) as pool:
        endpoint = pool.reserve(control_peer=ME)
        opening = asyncio.ensure_future(endpoint.open())
        await turns()
        peer = await connect_from(ME, endpoint.address)
        await abandon(await asyncio.wait_for(opening, 60), peer)
