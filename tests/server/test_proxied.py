"""Behind load balancers that say who is there: the PROXY header on control and data connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from examples.server.server import read_proxy_header
from ftpdata import HostPort, TrustedProxies
from ftpdata.errors import InvalidData
from ftpdata.opening import format_proxy_header
from tests.harness.proxies import free_ports
from tests.harness.tls import HOST_NAME, client_context, server_certificate
from tests.server.client import PATIENCE, Client, Data, Serving, serving

CLIENT, FRONT = HostPort("198.51.100.7", 40000), HostPort("203.0.113.1", 21)
VERSIONS = [1, 2]


def header(
    client: str = CLIENT.host, front: str = FRONT.host, *, version: int = 2
) -> bytes:
    """What the proxy sends for a client."""

    return format_proxy_header(HostPort(client, 40000), HostPort(front, 21), version=version)


@contextlib.asynccontextmanager
async def behind_proxy(directory: Path, **settings: Any) -> AsyncIterator[Serving]:
    """Run a server that trusts proxies at 127.0.0.1."""

    settings.setdefault("trusted_proxies", TrustedProxies(["127.0.0.1"]))
    async with serving(directory, **settings) as server:
        yield server


@contextlib.asynccontextmanager
async def logged_in(server: Serving, said: bytes) -> AsyncIterator[Client]:
    """Connect a client through the proxy."""

    async with server.arrived(header=said) as client:
        assert await client.codes(1) == [220]
        await client.login()
        assert await client.code("TYPE I") == 200
        yield client


async def data_connection(client: Client, said: bytes) -> Data:
    """Connect to the passive port through the proxy."""

    data = await client.connect(await client.epsv())
    data.writer.write(said)
    return data


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shared", [False, True])
async def test_client_behind_a_proxy(shared: bool, version: int, served_directory: Path) -> None:
    """It is known by its own address, and PASV tells the one that it has connected to."""

    (served_directory / "file").write_bytes(b"content")
    ports = free_ports(2) if shared else None
    said = header(version=version)
    async with (
        behind_proxy(served_directory, passive_ports=ports) as server,
        logged_in(server, said) as client,
    ):
        assert f"Connected from {CLIENT.host}" in await client.command("STAT")
        assert "(203,0,113,1," in await client.command("PASV")
        data = await data_connection(client, said)
        client.send("RETR file")
        assert (await client.codes(1))[0] in {125, 150}
        assert await data.read() == b"content"
        assert await client.codes(1) == [226]


async def test_header_in_pieces_and_with_more_after_it(served_directory: Path) -> None:
    """The header may come byte by byte, and commands in the same packet are not lost."""

    async with behind_proxy(served_directory) as server:
        async with server.arrived() as client:
            for byte in header(version=1):
                client.send(bytes([byte]))
                await client.writer.drain()
                await asyncio.sleep(0)
            assert await client.codes(1) == [220]
        async with server.arrived(header=header() + b"NOOP\r\nNOOP\r\n") as client:
            assert await client.codes(3) == [220, 200, 200]


async def test_header_before_implicit_tls(served_directory: Path) -> None:
    """Not a byte of the handshake is taken for it."""

    async with (
        behind_proxy(
            served_directory, certificate=server_certificate(), implicit_tls=True
        ) as server,
        server.arrived(header=header()) as client,
    ):
        await client.writer.start_tls(client_context(), server_hostname=HOST_NAME)
        assert await client.codes(1) == [220]
        await client.login()


async def test_connections_past_the_proxy(served_directory: Path) -> None:
    """Control and data connections are closed without a word, whatever header they forge."""

    async with behind_proxy(served_directory) as server:
        for said in (b"", header(), b"USER ann\r\n"):
            async with server.arrived("127.0.0.9", header=said) as client:
                assert await client.is_closed()
        async with logged_in(server, header()) as client:
            port = await client.epsv()
            for source, said in (("127.0.0.9", header()), ("127.0.0.1", header("198.51.100.8"))):
                assert await client.is_refused(port, source, said)
            client.send("NLST")
            assert await client.codes(1) == [150]
            data = await client.connect(port)
            data.writer.write(header())
            assert await data.read() == b""
            assert await client.codes(1) == [226]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"USER ann\r\n", id="none"),
        pytest.param(b"PROXY TCP4 1.2.3.4\r\n", id="broken"),
        pytest.param(b"PROXY " + b"x" * 200, id="too long"),
        pytest.param(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff" + b"x" * 3000, id="too long v2"),
        pytest.param(b"GET / HTTP/1.1\r\n", id="HTTP"),
    ],
)
async def test_bad_header(said: bytes, served_directory: Path) -> None:
    """The client gets no greeting, and nothing is left open."""

    async with behind_proxy(served_directory) as server:
        async with server.arrived(header=said) as client:
            assert await client.is_closed()
        await server.all_left()
        async with logged_in(server, header()):
            pass


async def test_header_that_does_not_come(
    served_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It has its own deadline; until then the connection takes a place, but is no session."""

    caplog.set_level("INFO")
    proxies = TrustedProxies(["127.0.0.1"], timeout=0.1)
    async with (
        behind_proxy(served_directory, trusted_proxies=proxies) as server,
        server.arrived() as silent,
        server.arrived(header=header()[:-1]) as half,
    ):
        assert await silent.is_closed()
        assert await half.is_closed()
        assert sum("no PROXY header within 0.1 s" in line for line in caplog.messages) == 2


async def test_half_headers_have_no_more_places_than_sessions(served_directory: Path) -> None:
    """A flood of them is refused like a flood of sessions, and ends with its deadline."""

    async with (
        behind_proxy(served_directory, max_sessions=3) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        held = [
            await stack.enter_async_context(server.arrived(header=header()[:9])) for _ in range(3)
        ]
        async with server.arrived(header=header()) as refused:
            assert await refused.codes(1) == [421]
        await held.pop().close()
        async with asyncio.timeout(PATIENCE):
            while True:
                async with server.arrived(header=header()) as client:
                    if await client.codes(1) == [220]:
                        break


@pytest.mark.parametrize("version", VERSIONS)
async def test_health_check(version: int, served_directory: Path) -> None:
    """The proxy itself is greeted; it never gets a client's data connection."""

    own = format_proxy_header(None, None, version=version)
    async with behind_proxy(served_directory) as server:
        async with server.arrived(header=own) as client:
            assert await client.codes(1) == [220]
            assert await client.code("QUIT") == 221
        async with logged_in(server, header()) as client:
            data = await data_connection(client, own)
            assert await data.was_reset() or data.reader.at_eof()


async def test_health_checks_take_no_place(served_directory: Path) -> None:
    """A proxy that took a full server for a dead one would end what its clients have."""

    own = format_proxy_header(None, None, version=2)
    async with (
        behind_proxy(served_directory, max_sessions_per_address=1) as server,
        server.arrived(header=own) as one,
        server.arrived(header=own) as other,
    ):
        assert (await one.codes(1), await other.codes(1)) == ([220], [220])


async def test_limits_apply_to_clients_behind_the_proxy(served_directory: Path) -> None:
    """The proxy, from which all connections come, is not limited."""

    async with (
        behind_proxy(
            served_directory, max_sessions_per_address=1, max_failures_per_address=1
        ) as server,
        logged_in(server, header("198.51.100.1")),
        logged_in(server, header("198.51.100.2")),
    ):
        async with server.arrived(header=header("198.51.100.2")) as client:
            assert await client.codes(1) == [421]
        async with server.arrived(header=header("198.51.100.3")) as client:
            assert await client.codes(1) == [220]
            assert await client.code("USER ann") == 331
            assert await client.code("PASS wrong") == 530
        async with server.arrived(header=header("198.51.100.3")) as client:
            assert await client.codes(1) == [421]
        async with logged_in(server, header("198.51.100.4")):
            pass


async def test_active_connections_go_to_the_client_behind_the_proxy(served_directory: Path) -> None:
    """PORT is for the client's address; that of the proxy, or of this machine, is refused."""

    async with (
        behind_proxy(served_directory) as server,
        logged_in(server, header("127.0.0.7")) as client,
    ):
        assert await client.code("PORT 127,0,0,1,100,1") == 504
        assert await client.code("PORT 203,0,113,1,100,1") == 504
        accepted: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            accepted.set_result(writer.get_extra_info("peername")[0])

        async with await asyncio.start_server(accept, "127.0.0.7", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            line = f"PORT 127,0,0,7,{port // 256},{port % 256}"
            assert await client.code(line) == 200
            assert await client.code("NLST") == 150
            assert await client.codes(1) == [226]
            # From no particular address of ours: the client knows only the proxy's.
            assert await accepted


async def test_ipv6_client_before_a_server_of_ipv4(served_directory: Path) -> None:
    """EPSV tells a port; PASV has no address that it could use."""

    said = header("2001:db8::7", "2001:db8::1")
    async with (
        behind_proxy(served_directory, passive_ports=free_ports(1)) as server,
        logged_in(server, said) as client,
    ):
        assert await client.code("PASV") == 502
        assert await client.code("EPSV 1") == 522
        data = await data_connection(client, said)
        client.send("NLST")
        assert (await client.codes(1))[0] in {125, 150}
        assert await data.read() == b""
        assert await client.codes(1) == [226]


async def test_header_is_taken_to_the_byte() -> None:
    """Whatever the sizes of the pieces it comes in, all that follows stays."""

    def said_by_proxy(data: bytes) -> socket.socket:
        ours, proxy = socket.socketpair()
        ours.setblocking(False)
        with proxy:
            proxy.send(data)
        return ours

    proxies = TrustedProxies(["127.0.0.1"])
    for said in (header(), header(version=1)):
        with said_by_proxy(said + b"more") as sock:
            found = await read_proxy_header(sock, proxies)
            assert found.source == CLIENT
            assert sock.recv(100) == b"more"
        with (
            said_by_proxy(said[:-1]) as sock,
            pytest.raises(InvalidData, match="left before the end"),
        ):
            await read_proxy_header(sock, proxies)
    with (
        said_by_proxy(header()) as sock,
        pytest.raises(InvalidData, match="longer than 20 bytes"),
    ):
        await read_proxy_header(sock, TrustedProxies(["127.0.0.1"], size_limit=20))
