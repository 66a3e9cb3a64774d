"""Where passive data connections come from: shared ports, NAT, and the limits of both."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
from pathlib import Path

import pytest

from ftpdata import AddressTable, DataConnectionError, Endpoint, PortRange, SocketOptions
from ftpdata.limits import Limits
from ftpdata.transfers import _direct as direct
from tests.harness.proxies import free_ports
from tests.server.client import Client, Serving, reset, serving


def _numbers(reply: str) -> tuple[str, int]:
    found = re.search(r"\((\d+),(\d+),(\d+),(\d+),(\d+),(\d+)\)", reply)
    assert found, reply
    return ".".join(found.groups()[:4]), int(found[5]) * 256 + int(found[6])


async def _all_files(server: Serving, clients: int, files: int) -> None:
    """Let this many clients, each with its own address, download at once."""

    async def one(number: int) -> None:
        async with server.logged_in(f"127.0.1.{number}") as client:
            for _ in range(files):
                assert await client.download("RETR file") == b"content"

    async with asyncio.TaskGroup() as tasks:
        for number in range(1, clients + 1):
            tasks.create_task(one(number))


async def test_few_ports_for_many_clients(served_directory: Path) -> None:
    """Clients of different addresses share two ports, and all get their files."""

    (served_directory / "file").write_bytes(b"content")
    ports = free_ports(2)
    async with serving(served_directory, passive_ports=ports) as server:
        await _all_files(server, clients=20, files=3)
        metrics = server.server.passive_metrics
        assert metrics is not None
        assert (metrics.ports, metrics.matched, metrics.in_use) == (2, 60, 0)


async def test_all_wait_at_once_on_one_port(served_directory: Path) -> None:
    """Twenty reservations on one port; each client gets its own connection, in any order."""

    port = free_ports(1)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            serving(served_directory, passive_ports=port)
        )
        clients = [
            await stack.enter_async_context(server.logged_in(f"127.0.1.{number}"))
            for number in range(1, 21)
        ]
        for client in clients:
            assert await client.epsv() == port.first
        for number, client in reversed(list(enumerate(clients))):
            client.send(f"STOR {number}")
            assert await client.codes(1) == [150]
            data = await client.connect(port.first, local_addr=(client.source, 0))
            await data.send(str(number).encode())
            assert await client.codes(1) == [226]
    for number in range(20):
        assert (served_directory / str(number)).read_bytes() == str(number).encode()


async def test_pasv_and_leave_leaks_no_port(served_directory: Path) -> None:
    """Many clients that say PASV and leave; nothing is left of them, nobody is refused."""

    ports = free_ports(2)
    async with serving(served_directory, passive_ports=ports) as server:
        for number in range(100):
            async with server.connected(f"127.0.1.{number + 1}") as client:
                await client.login("ftp")
                assert await client.code("PASV") == 227
                reset(client.writer)
        await server.all_left()
        metrics = server.server.passive_metrics
        assert metrics is not None
        assert (metrics.in_use, metrics.waiting, metrics.reserved) == (0, 0, 100)
        assert not server.server.usage.listeners
        (served_directory / "file").write_bytes(b"content")
        await _all_files(server, clients=2, files=1)


async def test_pasv_again_and_again_holds_one_port(served_directory: Path) -> None:
    """A port given up rests for its own session; others of the address have the rest."""

    ports = free_ports(2)
    async with (
        serving(served_directory, passive_ports=ports) as server,
        server.logged_in() as client,
        server.logged_in() as other,
    ):
        for _ in range(100):
            assert await client.code("PASV") == 227
        assert server.server.usage.listeners == 1
        # Whatever comes late is not the other's, which has the second port.
        port = await client.epsv()
        assert await other.epsv() == ports.first + ports.last - port
        async with server.logged_in("127.0.0.9") as stranger:
            assert await stranger.code("PASV") == 227


async def test_stranger_on_a_shared_port(served_directory: Path) -> None:
    """A stranger is reset and counted, and STAT shows it; the owner gets its file."""

    (served_directory / "file").write_bytes(b"content")
    ports = free_ports(1)
    async with serving(served_directory, passive_ports=ports) as server:
        async with server.logged_in() as client:
            port = await client.epsv()
            assert await client.is_refused(port, "127.0.0.66")
            client.send("RETR file")
            assert await client.codes(1) == [150]
            owner = await client.connect(port)
            assert await owner.read() == b"content"
            assert await client.codes(1) == [226]
            status = await client.command("STAT")
        assert "1 passive ports: 0 in use, 0 waiting" in status
        assert "So far: 1 strangers, 0 reservations refused, 0 expired" in status


async def test_own_ports_are_not_in_the_status(served_directory: Path) -> None:
    """Where nothing is shared there is nothing to tell."""

    async with serving(served_directory) as server, server.logged_in() as client:
        assert "passive ports" not in await client.command("STAT")
        assert server.server.passive_metrics is None


async def test_shared_ports_with_third_parties(served_directory: Path) -> None:
    """FXP gets a port of the range for itself: nobody knows who will come."""

    (served_directory / "file").write_bytes(b"content")
    ports = free_ports(4)
    async with (
        serving(served_directory, passive_ports=ports, allow_fxp=True) as server,
        server.logged_in() as client,
    ):
        port = await client.epsv()
        assert port in ports
        client.send("RETR file")
        assert await client.codes(1) == [150]
        data = await client.connect(port, local_addr=("127.0.0.66", 0))
        assert await data.read() == b"content"
        assert await client.codes(1) == [226]


async def test_large_range_is_not_held(served_directory: Path) -> None:
    """It would take all descriptors; a port of the range works as always."""

    (served_directory / "file").write_bytes(b"content")
    async with (
        serving(served_directory, passive_ports=PortRange(20000, 60000)) as server,
        server.logged_in() as client,
    ):
        assert server.server.passive_metrics is None
        assert 20000 <= await client.epsv() <= 60000
        assert await client.download("RETR file") == b"content"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_shared_ports_on_every_address(address: str, served_directory: Path) -> None:
    """The server on ``::`` serves IPv4 and IPv6, on the same shared ports."""

    (served_directory / "file").write_bytes(b"content")
    ports = free_ports(1)
    async with serving(served_directory, host="::", passive_ports=ports) as server:
        reader, writer = await asyncio.open_connection(address, server.port)
        client = Client(reader, writer, address)
        assert await client.codes(1) == [220]
        await client.login()
        assert await client.code("TYPE I") == 200
        assert f"Connected from {address}" in await client.command("STAT")
        if address == "::1":
            assert await client.code("PASV") == 502
            assert await client.code("EPSV 1") == 522
        else:
            told = _numbers(await client.command("PASV"))
            assert told == ("127.0.0.1", ports.first)
        assert await client.download("RETR file") == b"content"
        await client.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_own_ports_on_every_address(address: str, served_directory: Path) -> None:
    """The same without a range of ports: the listener is where the client is."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory, host="::") as server:
        reader, writer = await asyncio.open_connection(address, server.port)
        client = Client(reader, writer, address)
        assert await client.codes(1) == [220]
        await client.login()
        assert await client.code("TYPE I") == 200
        assert await client.download("RETR file") == b"content"
        await client.close()


def _link_local() -> str | None:
    """Find a link-local address of this machine, with its scope."""

    try:
        lines = Path("/proc/net/if_inet6").read_text().split("\n")
    except OSError:
        return None

    for line in lines:
        if line.startswith("fe80"):
            words = line.split()
            return f"{ipaddress.IPv6Address(int(words[0], 16))}%{words[5]}"

    return None


@pytest.mark.skipif(_link_local() is None, reason="no link-local address here")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("everywhere", [False, True])
async def test_link_local_address(shared: bool, everywhere: bool, served_directory: Path) -> None:
    """Its scope is a part of it, also of that of the listener."""

    address = _link_local()
    assert address is not None
    (served_directory / "file").write_bytes(b"content")
    async with serving(
        served_directory,
        host="::" if everywhere else address,
        passive_ports=free_ports(1) if shared else None,
    ) as server:
        reader, writer = await asyncio.open_connection(address, server.port)
        client = Client(reader, writer, address)
        assert await client.codes(1) == [220]
        await client.login()
        assert await client.code("TYPE I") == 200
        assert await client.download("RETR file") == b"content"
        await client.close()


async def test_shared_ports_that_others_use(served_directory: Path) -> None:
    """The server does not start, says why, and leaves nothing open."""

    ports = free_ports(1)
    with (
        socket.create_server(("127.0.0.1", ports.first)),
        pytest.RaisesGroup(pytest.RaisesExc(DataConnectionError)),
    ):
        async with serving(served_directory, passive_ports=ports):
            raise AssertionError("it runs")


# The advertised address


async def test_advertised_address_by_network(served_directory: Path) -> None:
    """It comes from a table, a name or a callable; a private address causes a warning."""

    table = AddressTable({"127.0.0.8/32": "192.0.2.7"}, default="localhost")
    async with serving(served_directory, advertise=table) as server:
        async with server.logged_in("127.0.0.8") as client:
            assert _numbers(await client.command("PASV"))[0] == "192.0.2.7"
        async with server.logged_in("127.0.0.9") as client:
            assert _numbers(await client.command("PASV"))[0] == "127.0.0.1"


async def test_address_that_nobody_can_reach(
    served_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server sends it as the administrator said, and the log warns once."""

    async with (
        serving(served_directory, advertise="2001:db8::1") as server,
        server.logged_in() as client,
    ):
        # 227 has no room for it.
        assert await client.code("PASV") == 522
        assert not server.server.usage.listeners

    async with (
        serving(served_directory, advertise="0.0.0.0") as server,
        server.logged_in() as client,
    ):
        for _ in range(3):
            assert await client.code("PASV") == 227
    warnings = [record for record in caplog.records if record.name == "ftpdata.opening.nat"]
    assert len([record for record in warnings if "every address" in record.message]) == 1


async def test_a_name_that_cannot_be_resolved(served_directory: Path) -> None:
    """PASV gets 425 and holds no port; EPSV needs no name."""

    async def fail(_: str) -> str:
        raise OSError

    async with (
        serving(served_directory, advertise=fail) as server,
        server.logged_in() as client,
    ):
        assert await client.code("PASV") == 425
        assert not server.server.usage.listeners
        assert await client.code("EPSV") == 229


async def test_exposed_ports(served_directory: Path) -> None:
    """PASV and EPSV name the exposed port, not the one that the server listens on."""

    ports = free_ports(1)
    async with (
        serving(served_directory, passive_ports=ports, exposed_port=1000) as server,
        server.logged_in() as client,
    ):
        assert _numbers(await client.command("PASV"))[1] == ports.first + 1000
        assert await client.epsv() == ports.first + 1000
        data = await client.connect(ports.first)
        client.send("NLST")
        assert await client.codes(2) == [125, 226]
        assert await data.read() == b""


async def test_epsv_only(served_directory: Path) -> None:
    """PASV is refused, and holds nothing."""

    async with (
        serving(served_directory, epsv_only=True) as server,
        server.logged_in() as client,
    ):
        assert await client.code("PASV") == 522
        assert not server.server.usage.listeners
        assert await client.download("NLST") == b""


async def test_socket_options_of_data_connections(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of the settings, on every kind of data connection."""

    # Nothing is late for the shortest way, which leaves the socket to the endpoint.
    monkeypatch.setattr(direct, "MOMENT", 30.0)
    ports = free_ports(1)
    options = SocketOptions(dscp=8)
    for given in (None, ports):
        async with (
            serving(served_directory, passive_ports=given, socket_options=options) as server,
            server.logged_in() as client,
        ):
            data = await client.passive()
            client.send("STOR new")
            assert await client.codes(1) == [125]
            await client.quiet()
            (session,) = server.server._sessions
            assert session.operation is not None
            endpoint = session.operation.connection
            assert isinstance(endpoint, Endpoint)
            assert endpoint._link is not None
            assert endpoint._link.sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 8 << 2
            await data.send(b"")
            assert await client.codes(1) == [226]


# Limits


async def test_listeners_of_one_address(served_directory: Path) -> None:
    """One too many gets 425; those that were used, closed or abandoned count no more."""

    limits = Limits(listeners_per_address=2)
    async with (
        serving(served_directory, limits=limits) as server,
        server.logged_in() as one,
        server.logged_in() as two,
        server.logged_in() as three,
        server.logged_in("127.0.0.9") as elsewhere,
    ):
        assert await one.code("EPSV") == 229
        assert await two.code("EPSV") == 229
        assert await two.code("EPSV") == 229
        assert await three.code("EPSV") == 425
        assert await three.code("PASV") == 425
        assert await elsewhere.code("EPSV") == 229
        # Used up by a transfer, while that goes on.
        data = await one.passive()
        one.send("STOR new")
        assert await one.codes(1) == [125]
        assert await three.code("EPSV") == 229
        assert await three.code("ABOR") == 226
        assert server.server.usage.listeners == 2
        await data.send(b"x")
        assert await one.codes(1) == [226]
        assert await two.code("PORT 127,0,0,1,100,100") == 200
        assert await elsewhere.code("REIN") == 220
        assert server.server.usage.listeners == 0


async def test_expired_reservation_gives_its_place_back(served_directory: Path) -> None:
    """A client that waits and does nothing holds its place as long as its session, no longer."""

    async with serving(served_directory, limits=Limits(listeners=1)) as server:
        async with server.logged_in() as client:
            assert await client.code("EPSV") == 229
        await server.all_left()
        async with server.logged_in() as client:
            assert await client.code("EPSV") == 229


async def test_data_connections_of_one_address(served_directory: Path) -> None:
    """One too many gets 425 without a 1xx; the prepared connection can still be used later."""

    (served_directory / "empty").mkdir()
    limits = Limits(connections_per_address=1)
    async with (
        serving(served_directory, limits=limits) as server,
        server.logged_in() as one,
        server.logged_in() as two,
        server.logged_in("127.0.0.9") as elsewhere,
    ):
        data = await one.passive()
        one.send("STOR new")
        assert await one.codes(1) == [125]
        later = await two.passive()
        assert await two.command("NLST") == (
            "425 Too many data connections of one address, at most 1 at a time."
        )
        assert await elsewhere.download("MLSD /empty") == b""
        await data.send(b"x")
        assert await one.codes(1) == [226]
        two.send("NLST")
        assert await two.codes(2) == [125, 226]
        assert sorted((await later.read()).split()) == [b"empty", b"new"]
        assert server.server.usage.connections == 0


async def test_transfers_of_one_user(served_directory: Path) -> None:
    """One too many gets 450; anonymous users count as one user for each address."""

    limits = Limits(transfers_per_user=1, transfers=3)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(served_directory, limits=limits))

        async def begin(name: str, source: str) -> int:
            client = await stack.enter_async_context(server.connected(source))
            await client.login(name)
            assert await client.code("TYPE I") == 200
            data = await client.passive()
            stack.push_async_callback(data.close)
            return await client.code(f"STOR {source}{name}")

        assert await begin("ann", "127.0.0.1") == 125
        assert await begin("ann", "127.0.0.2") == 450
        assert await begin("ftp", "127.0.0.1") == 125
        assert await begin("ftp", "127.0.0.1") == 450
        assert await begin("ftp", "127.0.0.2") == 125
        # The limit of all.
        assert await begin("ftp", "127.0.0.3") == 450
        assert server.server.usage.transfers == 3


@pytest.mark.parametrize("line", ["RETR missing", "STOR no/where", "NLST", "RETR file"])
async def test_failed_transfers_give_back_what_they_took(
    line: str, served_directory: Path
) -> None:
    """Nothing stays counted, whether the file, the connection or the client is missing."""

    (served_directory / "file").write_bytes(b"x" * 100_000)
    async with serving(served_directory, limits=Limits(transfers=1, connections=1)) as server:
        async with server.logged_in() as client:
            for _ in range(3):
                assert await client.code(line) in (425, 550, 553)
            data = await client.passive()
            client.send(line)
            reset(client.writer)
            await data.close()
        await server.all_left()
        usage = server.server.usage
        assert (usage.transfers, usage.connections, usage.listeners) == (0, 0, 0)
