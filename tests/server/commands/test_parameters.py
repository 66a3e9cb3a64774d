"""What the next transfer will be like."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from examples.server.commands.parameters import parse_offset
from ftpdata import HostPort, PortRange
from ftpdata.addresses import format_eprt, format_port
from tests.server.client import PATIENCE, Data, serving


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("007", 7), ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None), ("18446744073709551616", None), ("1" * 20, None),
        ("-1", None), ("+1", None), ("1_000", None), (" 1", None), ("1 ", None), ("", None),
        ("１", None), ("٣", None), ("1.0", None), ("0x1", None), ("1e3", None), ("1\n", None),
    ],
)
def test_offsets_are_ascii_digits_below_2_to_the_63(text: str, expected: int | None) -> None:
    """Anything else is not an offset."""

    assert parse_offset(text) == expected


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("TYPE I", 200), ("TYPE A", 200), ("TYPE A N", 200), ("TYPE AN", 200), ("TYPE a t", 200),
        ("TYPE A C", 200), ("TYPE A X", 504), ("TYPE E", 200), ("TYPE E N", 200),
        ("TYPE E T", 200), ("type ec", 200), ("TYPE E X", 504), ("TYPE I N", 504),
        ("type l 8", 200), ("TYPE L8", 200), ("TYPE L 7", 504), ("TYPE L 36", 504),
        ("TYPE L", 504), ("TYPE X", 504), ("TYPE", 501),
        ("STRU F", 200), ("stru r", 200), ("STRU P", 504), ("STRU X", 504), ("STRU", 501),
        ("MODE S", 200), ("MODE B", 200), ("mode c", 200), ("MODE Z", 200), ("MODE X", 504),
        ("MODE", 501),
        ("ALLO 1", 200), ("ALLO 1 R 1", 200), ("ALLO x", 501), ("ALLO", 501),
        ("ALLO 9223372036854775807", 452), ("ALLO -1", 501),
        ("REST 0", 350), ("REST 9223372036854775807", 350), ("REST 9223372036854775808", 501),
        ("REST -1", 501), ("REST x", 501), ("REST １", 501), ("REST", 501),
        ("RANG 0 0", 350), ("RANG 5 4", 501), ("RANG 1 0", 350), ("RANG 1", 501),
        ("RANG -1 5", 501),
        ("PORT 127,0,0,1,0", 501), ("PORT 127,0,0,1,300,1", 501), ("PORT 127,0,0,1,0,0", 501),
        ("EPRT |1|127.0.0.1|99999|", 501), ("EPRT |3|127.0.0.1|5000|", 522),
        ("EPRT |2|::1|5000|", 522), ("EPRT x", 501),
        ("EPSV 2", 522), ("EPSV 3", 522), ("EPSV x", 501), ("EPSV 1", 229), ("PASV x", 501),
    ],
)
async def test_replies(line: str, code: int, served_directory: Path) -> None:
    """Each command gets one reply with the right code."""

    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code(line) == code
        await client.quiet()


async def test_parameter_that_is_refused_changes_nothing(served_directory: Path) -> None:
    """The previous parameter stays in effect."""

    async with serving(served_directory) as server, server.logged_in() as client:
        for line in ("TYPE E", "STRU R", "MODE Z"):
            assert await client.code(line) == 200
        for line in ("TYPE L 7", "TYPE A X", "STRU P", "MODE X"):
            assert await client.code(line) == 504
        assert "TYPE E, STRU R, MODE Z" in await client.command("STAT")


async def test_refusal_says_what_there_is(served_directory: Path) -> None:
    """The reply lists the byte sizes of TYPE L, or the structures."""

    async with serving(served_directory) as server, server.logged_in() as client:
        assert "L 8" in await client.command("TYPE L 36")
        assert "supported: F, R" in await client.command("STRU P")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        (("TYPE I", "STRU F", "MODE S"), 350), (("TYPE L 8", "STRU F", "MODE S"), 350),
        (("TYPE I", "STRU F", "MODE Z"), 350), (("TYPE A", "STRU F", "MODE S"), 501),
        (("TYPE E", "STRU F", "MODE S"), 501), (("TYPE A", "STRU F", "MODE Z"), 501),
        (("TYPE I", "STRU R", "MODE S"), 501), (("TYPE I", "STRU R", "MODE Z"), 501),
        (("TYPE A", "STRU F", "MODE B"), 350), (("TYPE E", "STRU R", "MODE B"), 350),
        (("TYPE I", "STRU R", "MODE B"), 350), (("TYPE A", "STRU R", "MODE C"), 350),
    ],
)  # fmt: skip
async def test_where_a_transfer_can_restart(
    parameters: tuple[str, ...], code: int, served_directory: Path
) -> None:
    """It can where a number says which byte of the file is meant; 0 is the beginning anywhere."""

    async with serving(served_directory) as server, server.logged_in() as client:
        for line in parameters:
            assert await client.code(line) == 200
        assert await client.code("REST 7") == code
        assert await client.code("REST 0") == 350
        assert await client.code("REST marker") == 501


async def test_ascii_is_the_default(served_directory: Path) -> None:
    """RFC 959 §5.1 says so; lines end with CRLF in this type."""

    (served_directory / "file").write_bytes(b"a\nb\n")
    async with serving(served_directory) as server, server.connected() as client:
        await client.login()
        assert await client.download("RETR file") == b"a\r\nb\r\n"
        assert (await client.upload("STOR new", b"c\r\nd\r\n"))[:3] == "226"
        assert (served_directory / "new").read_bytes() == b"c\nd\n"


@pytest.mark.parametrize("command", ["PORT", "EPRT"])
async def test_active_connections(command: str, served_directory: Path) -> None:
    """The server sends 150, then connects from the address that the client knows."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        for _ in range(3):
            line, accepting = await listen("127.0.0.1", command)
            assert await client.code(line) == 200
            client.send("RETR file")
            assert await client.codes(1) == [150]
            data = await accepting
            assert data.writer.get_extra_info("peername")[0] == "127.0.0.1"
            assert await data.read() == b"content"
            assert await client.codes(1) == [226]


async def test_port_replaces_a_passive_listener(served_directory: Path) -> None:
    """A connection that the listener had accepted is closed, too."""

    async with serving(served_directory) as server, server.logged_in() as client:
        passive = await client.epsv()
        line, accepting = await listen("127.0.0.1", "PORT")
        assert await client.code(line) == 200
        with pytest.raises(ConnectionRefusedError):
            await client.connect(passive)
        client.send("NLST")
        assert await (await accepting).read() == b""
        assert await client.codes(2) == [150, 226]


async def test_active_connection_that_is_refused(served_directory: Path) -> None:
    """The client gets 150 and then 425, once each."""

    (served_directory / "file").write_bytes(b"content")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("PORT " + format_port(HostPort("127.0.0.1", port))) == 200
        client.send("RETR file")
        assert await client.codes(2) == [150, 425]
        await client.quiet()


@pytest.mark.parametrize(
    "line",
    [
        "PORT 127,0,0,1,0,25", "PORT 127,0,0,2,100,1", "PORT 10,0,0,1,100,1",
        "PORT 0,0,0,0,100,1", "PORT 224,0,0,1,100,1", "PORT 255,255,255,255,100,1",
        "EPRT |1|127.0.0.2|25600|", "EPRT |1|127.0.0.1|1023|", "EPRT |1|169.254.0.1|5000|",
    ],
)
async def test_nobody_bounces(line: str, served_directory: Path) -> None:
    """Foreign addresses and privileged ports get 504, and no connection is made (RFC 2577 §3)."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code(line) == 504
        assert await client.code("RETR file") == 425


async def test_site_to_site_only_where_it_is_allowed(served_directory: Path) -> None:
    """With the option, a third party may be named, and may connect."""

    (served_directory / "file").write_bytes(b"content")
    async with (
        serving(served_directory, allow_fxp=True) as server,
        server.logged_in() as client,
    ):
        line, accepting = await listen("127.0.0.2", "PORT")
        assert await client.code(line) == 200
        client.send("RETR file")
        assert await client.codes(1) == [150]
        assert await (await accepting).read() == b"content"
        assert await client.codes(1) == [226]
        data = await client.connect(await client.epsv(), local_addr=("127.0.0.2", 0))
        client.send("RETR file")
        assert await data.read() == b"content"
        assert (await client.codes(2))[1] == 226


async def test_stranger_gets_nothing_and_the_owner_gets_its_file(served_directory: Path) -> None:
    """This holds on the passive port before and after the command, for downloads and uploads."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        for before in (True, False):
            for line in ("RETR file", "STOR new"):
                port = await client.epsv()
                if not before:
                    client.send(line)
                    assert await client.codes(1) == [150]
                assert await client.is_refused(port, "127.0.0.2", b"forged")
                owner = await client.connect(port)
                if before:
                    client.send(line)
                    assert await client.codes(1) == [125]
                if line == "RETR file":
                    assert await owner.read() == b"content"
                else:
                    await owner.send(b"real")
                assert await client.codes(1) == [226]
        assert (served_directory / "new").read_bytes() == b"real"


async def test_epsv_all(served_directory: Path) -> None:
    """Everything but EPSV is refused from then on (RFC 2428 §4)."""

    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("EPSV ALL") == 200
        for line in ("PASV", "PORT 127,0,0,1,100,1", "EPRT |1|127.0.0.1|5000|"):
            assert await client.code(line) == 503
        assert await client.code("EPSV") == 229
        assert await client.download("NLST") == b""


async def test_pasv_tells_the_address_to_connect_to(served_directory: Path) -> None:
    """It is the server's own address or the advertised one; the port is in the range."""

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with (
        serving(
            served_directory, advertise="192.0.2.7", passive_ports=PortRange(port, port)
        ) as server,
        server.logged_in() as client,
    ):
        expected = f"227 Entering Passive Mode (192,0,2,7,{port // 256},{port % 256})."
        assert await client.command("PASV") == expected


async def test_full_range_of_ports_is_said_at_once(served_directory: Path) -> None:
    """A second client behind the same address gets 425 until the first one has used the port."""

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with (
        serving(served_directory, passive_ports=PortRange(port, port)) as server,
        server.logged_in() as one,
        server.logged_in() as two,
    ):
        assert await one.code("PASV") == 227
        assert await one.code("PASV") == 227
        assert await two.code("PASV") == 425
        assert await two.code("EPSV") == 425
        assert await one.download("NLST") == b""
        assert await two.code("EPSV") == 229


async def test_ipv6(served_directory: Path) -> None:
    """EPSV and EPRT work; PASV says what to use."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory, host="::1") as server, server.logged_in() as client:
        assert await client.code("PASV") == 502
        assert await client.code("EPSV 1") == 522
        assert await client.code("EPSV 2") == 229
        assert await client.download("RETR file") == b"content"
        line, accepting = await listen("::1", "EPRT")
        assert await client.code(line) == 200
        client.send("RETR file")
        assert await client.codes(1) == [150]
        assert await (await accepting).read() == b"content"
        assert await client.codes(1) == [226]
        await client.quiet()


async def listen(host: str, command: str) -> tuple[str, asyncio.Future[Data]]:
    """Listen for one connection; return the command that says where, and the connection."""

    accepted: asyncio.Future[Data] = asyncio.get_running_loop().create_future()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.close()
        accepted.set_result(Data(reader, writer))

    listener = await asyncio.start_server(accept, host, 0)
    address = HostPort(host, listener.sockets[0].getsockname()[1])
    argument = format_port(address) if command == "PORT" else format_eprt(address)
    return f"{command} {argument}", asyncio.ensure_future(asyncio.wait_for(accepted, PATIENCE))
