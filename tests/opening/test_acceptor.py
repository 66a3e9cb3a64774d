"""Tests of `ftpdata.opening._acceptor`: strangers, and connections through trusted proxies.

Both kinds of passive endpoints share the acceptor, and run through the same tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ftpdata.addresses import HostPort, PeerPolicy
from ftpdata.deadlines import Deadlines
from ftpdata.errors import OpenTimeout
from ftpdata.opening import _acceptor as listener_module
from ftpdata.opening import _header_reader as header_module
from ftpdata.opening.passive import PassiveEndpoint, listen_passive
from ftpdata.opening.pool import ListenerPool, PooledEndpoint
from ftpdata.opening.proxy import TrustedProxies, format_proxy_header
from ftpdata.testing import RecordingConsumer, reset
from ftpdata.tls.policy import DataTLS, SessionReuse
from tests.harness.authority import CA
from tests.harness.proxies import abandon, connect_from, free_ports, is_cut
from tests.harness.waiting import turns, until

HOST = "127.0.0.1"
PROXY = "127.0.0.9"
CLIENT = "192.0.2.7"
PROXIES = TrustedProxies([PROXY], timeout=30.0)
SOURCE = HostPort(CLIENT, 40000)
SERVER = HostPort("203.0.113.1", 50000)

kinds = pytest.mark.parametrize("kind", ["passive", "pool"])
versions = pytest.mark.parametrize("version", [1, 2])


@contextlib.asynccontextmanager
async def expecting(
    kind: str, proxies: TrustedProxies | None = PROXIES, client: str = CLIENT, **options: Any
) -> AsyncIterator[PassiveEndpoint | PooledEndpoint]:
    """Provide an endpoint of this kind that expects a client, by default one behind a proxy."""

    if kind == "passive":
        async with await listen_passive(
            HOST, control_peer=client, trusted_proxies=proxies, **options
        ) as endpoint:
            assert isinstance(endpoint, PassiveEndpoint)
            yield endpoint
    else:
        pool = ListenerPool(HOST, free_ports(1), trusted_proxies=proxies)
        async with pool, pool.reserve(control_peer=client, **options) as endpoint:
            assert isinstance(endpoint, PooledEndpoint)
            yield endpoint


def strangers(endpoint: PassiveEndpoint | PooledEndpoint) -> int:
    """Return how many strangers an endpoint has refused."""

    if isinstance(endpoint, PassiveEndpoint):
        return endpoint.strangers

    return endpoint._pool.metrics.strangers


@kinds
async def test_many_strangers_do_not_fill_the_log(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """All strangers are counted. A few are logged, and later a few again."""

    caplog.set_level(logging.INFO)
    async with expecting(kind, None, client="127.0.0.5") as endpoint:
        for times in (1, 2):
            for _ in range(25):
                assert await is_cut(await connect_from("127.0.0.6", endpoint.address))
            assert strangers(endpoint) == 25 * times
            notes = [line for line in caplog.messages if "refused" in line]
            assert len(notes) == 10 * times
            assert [line.endswith("only counted") for line in notes[-10:]] == [False] * 9 + [True]
            endpoint_acceptor(endpoint)._notes_until = 0.0


@kinds
async def test_strangers_in_the_queue_do_not_hold_the_owner_up(kind: str) -> None:
    """One turn of the loop takes all connections up to the owner's, without a further call."""

    async with expecting(kind, None, client="127.0.0.5") as endpoint:
        acceptor = endpoint_acceptor(endpoint)
        assert acceptor._listener is not None
        asyncio.get_running_loop().remove_reader(acceptor._listener.fileno())
        others = [await connect_from("127.0.0.6", endpoint.address) for _ in range(5)]
        owner = await connect_from("127.0.0.5", endpoint.address)
        acceptor.accept_awaited()
        assert acceptor.arrivals == 6
        assert strangers(endpoint) == 5
        assert endpoint.is_ready
        acceptor._watches = False
        for sock in (*others, owner):
            sock.close()


def endpoint_acceptor(endpoint: PassiveEndpoint | PooledEndpoint) -> listener_module.Acceptor:
    """Return the acceptor of an endpoint."""

    if isinstance(endpoint, PassiveEndpoint):
        return endpoint._acceptor

    return endpoint._listener.acceptor


async def receive(dtp: Any) -> bytes:
    """Receive everything up to the end."""

    consumer = RecordingConsumer()
    await dtp.register_consumer(consumer)
    await dtp.wait_closed()
    return bytes(consumer.data)


@kinds
@versions
@pytest.mark.parametrize("order", ["command first", "connection first"])
async def test_the_client_behind_the_proxy_gets_its_connection(
    kind: str, version: int, order: str
) -> None:
    """The header is removed, the bytes after it are the data, and the peer is the client."""

    async with expecting(kind) as endpoint:
        header = format_proxy_header(SOURCE, SERVER, version=version)
        opening = asyncio.ensure_future(endpoint.open()) if order == "command first" else None
        await turns()
        peer = await connect_from(PROXY, endpoint.address, header + b"data\r\n\r\nmore")
        if opening is None:
            assert endpoint.is_ready
        dtp = await (opening or endpoint.open())
        assert dtp.peer == SOURCE
        peer.close()
        assert await receive(dtp) == b"data\r\n\r\nmore"
        assert strangers(endpoint) == 0


@kinds
@versions
async def test_a_header_may_come_in_pieces(kind: str, version: int) -> None:
    """Even byte by byte, the header is removed, and the first byte after it is data."""

    async with expecting(kind) as endpoint:
        header = format_proxy_header(SOURCE, SERVER, version=version)
        opening = asyncio.ensure_future(endpoint.open())
        peer = await connect_from(PROXY, endpoint.address)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(header)):
            await asyncio.get_running_loop().sock_sendall(peer, header[at : at + 1])
            await turns(2)
        await asyncio.get_running_loop().sock_sendall(peer, b"x")
        dtp = await opening
        peer.close()
        assert await receive(dtp) == b"x"


@kinds
async def test_half_a_header_costs_no_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bytes are taken from the socket, so the loop does not call again and again."""

    parsed: list[bytes] = []
    monkeypatch.setattr(header_module, "parse_proxy_header", parsed.append)
    async with expecting(kind) as endpoint:
        header = format_proxy_header(SOURCE, SERVER)
        peer = await connect_from(PROXY, endpoint.address, header[:10])
        await until(lambda: parsed[-1:] == [header[:10]])
        await asyncio.sleep(0.02)
        assert parsed[-1] == header[:10]
        assert len(parsed) <= 3
    peer.close()


@kinds
async def test_before_tls(kind: str) -> None:
    """The header comes in clear, and the handshake begins with the byte after it."""

    authority = CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("ftp.example.org").configure_cert(context)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client_context)
    async with expecting(kind, tls=DataTLS.for_server(context, reuse=SessionReuse.OFF)) as endpoint:
        opening = asyncio.ensure_future(endpoint.open())
        header = format_proxy_header(SOURCE, SERVER)
        peer = await connect_from(PROXY, endpoint.address, header)
        reader, writer = await asyncio.open_connection(
            sock=peer, ssl=client_context, server_hostname="ftp.example.org"
        )
        dtp = await opening
        assert dtp.peer == SOURCE
        dtp.write(b"secret")
        finishing = asyncio.ensure_future(dtp.finish())
        assert await reader.read() == b"secret"
        writer.close()
        await writer.wait_closed()
        await finishing


WRONG = {
    "another client": format_proxy_header(HostPort("192.0.2.8", 1), SERVER),
    "the server's own network": format_proxy_header(HostPort(HOST, 1), SERVER),
    "no header": b"GET / HTTP/1.0\r\n\r\n",
    "a broken header": b"PROXY TCP4 x y 1 2\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a header without an end": b"PROXY " + b"x" * 200,
}


@kinds
@pytest.mark.parametrize("what", WRONG)
async def test_whoever_is_not_the_client_is_a_stranger(kind: str, what: str) -> None:
    """A stranger is closed and counted, and the client still gets in."""

    async with expecting(kind) as endpoint:
        stranger = await connect_from(PROXY, endpoint.address, WRONG[what])
        assert await is_cut(stranger)
        assert strangers(endpoint) == 1
        assert not endpoint.is_ready
        peer = await connect_from(PROXY, endpoint.address, format_proxy_header(SOURCE, SERVER))
        dtp = await endpoint.open()
        assert dtp.peer == SOURCE
        await abandon(dtp, peer)


@kinds
async def test_a_header_from_elsewhere_is_not_believed(kind: str) -> None:
    """A peer that is not a trusted proxy is a stranger, even with the address of the owner."""

    async with expecting(kind, client="127.0.0.7") as endpoint:
        header = format_proxy_header(HostPort("127.0.0.7", 1), SERVER)
        for source in ("127.0.0.8", "127.0.0.7"):
            assert await is_cut(await connect_from(source, endpoint.address, header))
        assert strangers(endpoint) == 2
        assert not endpoint.is_ready


@kinds
async def test_without_trusted_proxies_a_header_is_data(kind: str) -> None:
    """Without trusted proxies, a header cannot claim another address."""

    async with expecting(kind, None, client="127.0.0.7") as endpoint:
        header = format_proxy_header(HostPort("127.0.0.7", 1), SERVER)
        assert await is_cut(await connect_from("127.0.0.8", endpoint.address, header))
        assert strangers(endpoint) == 1


@kinds
@versions
async def test_health_checks_are_closed_without_a_word(kind: str, version: int) -> None:
    """A connection with LOCAL or UNKNOWN is closed, and not counted as a stranger."""

    async with expecting(kind) as endpoint:
        check = format_proxy_header(None, None, version=version)
        assert await is_cut(await connect_from(PROXY, endpoint.address, check))
        assert strangers(endpoint) == 0
        assert not endpoint.is_ready


@kinds
@pytest.mark.parametrize("ending", ["closed", "reset", "late"])
async def test_a_header_that_never_comes(kind: str, ending: str) -> None:
    """A connection without a whole header is a stranger when it ends, or after its deadline."""

    proxies = TrustedProxies([PROXY], timeout=0.02 if ending == "late" else 30.0)
    async with expecting(kind, proxies) as endpoint:
        peer = await connect_from(PROXY, endpoint.address, b"PROXY TCP4")
        await turns()
        if ending == "late":
            assert await is_cut(peer)
        else:
            (reset if ending == "reset" else socket.socket.close)(peer)
            await until(lambda: strangers(endpoint) == 1)
        assert strangers(endpoint) == 1


@kinds
async def test_a_long_header_is_refused(kind: str) -> None:
    """A header may be as long as the limit. With one more byte, its sender is a stranger."""

    header = format_proxy_header(SOURCE, SERVER)
    async with expecting(kind, TrustedProxies([PROXY], size_limit=len(header) - 1)) as endpoint:
        assert await is_cut(await connect_from(PROXY, endpoint.address, header))
        assert strangers(endpoint) == 1
    async with expecting(kind, TrustedProxies([PROXY], size_limit=len(header))) as endpoint:
        peer = await connect_from(PROXY, endpoint.address, header)
        dtp = await endpoint.open()
        await abandon(peer, dtp)


@pytest.mark.parametrize("scope", ["%1", "%lo", ""])
def test_address_with_a_scope(scope: str) -> None:
    """An address may have a scope, as a number or a name, even where it needs none."""

    with contextlib.closing(listener_module.bind_listener(f"::1{scope}", 0, backlog=1)) as sock:
        assert sock.getsockname()[0] == "::1"


def test_scope_that_is_not_valid() -> None:
    """An interface that does not exist is named."""

    with pytest.raises(OSError, match="no network interface is named 'none'") as caught:
        listener_module.bind_listener("fe80::1%none", 0, backlog=1)
    assert caught.value.errno == errno.ENODEV


@kinds
async def test_connections_without_a_header_are_bounded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood costs a bounded number of descriptors, and does not keep the owner out."""

    monkeypatch.setattr(listener_module, "HEADERS_AT_ONCE", 3)
    async with expecting(kind) as endpoint:
        peers = [await connect_from(PROXY, endpoint.address) for _ in range(3)]
        await turns()
        assert strangers(endpoint) == 0
        peers.append(await connect_from(PROXY, endpoint.address))
        # The oldest one has had its time.
        assert await is_cut(peers.pop(0))
        assert strangers(endpoint) == 1
        owner = await connect_from(PROXY, endpoint.address, format_proxy_header(SOURCE, SERVER))
        dtp = await endpoint.open()
        assert strangers(endpoint) == 2
        await abandon(dtp, owner)

    for peer in peers:
        assert await is_cut(peer)


@kinds
async def test_the_deadline_for_the_owner_holds_behind_a_proxy(kind: str) -> None:
    """A silent connection does not extend the deadline, and is closed with the listener."""

    async with expecting(kind, deadlines=Deadlines(open=0.03)) as endpoint:
        peer = await connect_from(PROXY, endpoint.address, b"PROXY ")
        with pytest.raises(OpenTimeout):
            await endpoint.open()
        if kind == "passive":
            assert await is_cut(peer)
    peer.close()


@kinds
async def test_a_loop_without_add_reader(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a loop cannot watch sockets (Windows), listener and header are polled."""

    monkeypatch.setattr(listener_module, "ACCEPT_RETRY", 0.005)
    monkeypatch.setattr(header_module, "READ_RETRY", 0.005)
    for module in (listener_module, header_module):
        monkeypatch.setattr(module, "watch_readable", lambda *args: False)
    async with expecting(kind) as endpoint:
        opening = asyncio.ensure_future(endpoint.open())
        header = format_proxy_header(SOURCE, SERVER)
        peer = await connect_from(PROXY, endpoint.address, header[:7])
        await asyncio.sleep(0.02)
        await asyncio.get_running_loop().sock_sendall(peer, header[7:])
        dtp = await opening
        assert dtp.peer == SOURCE
        await abandon(peer, dtp)


@kinds
async def test_a_header_that_is_there_at_once_on_a_loop_without_add_reader(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The acceptor forgets a connection that it has delivered, and cuts it at no later time."""

    for module in (listener_module, header_module):
        monkeypatch.setattr(module, "watch_readable", lambda *args: False)
    async with expecting(kind) as endpoint:
        acceptor = endpoint_acceptor(endpoint)
        peer = await connect_from(PROXY, endpoint.address, format_proxy_header(SOURCE, SERVER))
        assert endpoint.is_ready
        assert not acceptor._headers
        acceptor.close()
        dtp = await endpoint.open()
        assert dtp.is_connected
        await abandon(peer, dtp)


async def test_the_policy_judges_the_client_behind_the_proxy() -> None:
    """The policy judges the client: allowing the network of the proxy does not let it in."""

    endpoint = await listen_passive(
        HOST,
        control_peer=CLIENT,
        policy=PeerPolicy.allow(["127.0.0.0/8"]),
        trusted_proxies=PROXIES,
    )
    header = format_proxy_header(HostPort("192.0.2.8", 1), SERVER)
    assert await is_cut(await connect_from(PROXY, endpoint.address, header))
    assert endpoint.strangers == 1
    await endpoint.aclose()


@pytest.mark.parametrize(
    ("networks", "options", "error"),
    [
        ("127.0.0.0/8", {}, TypeError),
        (["127.0.0.1/8"], {}, ValueError),
        ([PROXY], {"timeout": 0.0}, ValueError),
        ([PROXY], {"timeout": float("inf")}, ValueError),
        ([PROXY], {"size_limit": 0}, ValueError),
        ([PROXY], {"size_limit": 2049}, ValueError),
    ],
)
def test_what_are_not_trusted_proxies(
    networks: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    """Wrong arguments are refused when the proxies are configured."""

    with pytest.raises(error):
        TrustedProxies(networks, **options)


def test_which_proxies_are_trusted() -> None:
    """They trust networks and addresses, and IPv4 addresses mapped into IPv6, too."""

    proxies = TrustedProxies(["10.0.0.0/8", "2001:db8::1"])
    for host, trusted in {
        "10.1.2.3": True,
        "::ffff:10.1.2.3": True,
        "2001:db8::1": True,
        "2001:db8::2": False,
        "11.0.0.1": False,
    }.items():
        assert proxies.trusts(host) is trusted
    assert not TrustedProxies([]).trusts("10.1.2.3")
