"""`examples.aioftp_server`: what aioftp's own tests say of data connections, and what it gains.

The tests of aioftp that apply are repeated here by what they want, in words of our own. Where
ftpdata wants something else, the test says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import aioftp
import attrs
import pytest

from examples.aioftp_server import Server
from tests.harness.proxies import free_ports
from tests.harness.tls import client_context, server_certificate
from tests.server.client import PATIENCE, Client, names, reset

HOST = "127.0.0.1"
LINES = b"one\ntwo\n"


@attrs.frozen
class Running:
    """A server that runs, with the user ann."""

    server: Server

    @asynccontextmanager
    async def client(self, source: str | None = None, **options: Any) -> AsyncIterator[Client]:
        """Log in a client that does nothing by itself."""

        host, port = self.server.address
        assert host is not None
        reader, writer = await asyncio.open_connection(
            host, port, local_addr=(source, 0) if source else None, **options
        )
        client = Client(reader, writer, host, source)
        try:
            assert (await client.reply())[:3] == "220"
            await client.login()
            assert await client.code("TYPE I") == 200
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def theirs(self, **options: Any) -> AsyncIterator[aioftp.Client]:
        """Log in aioftp's client."""

        layer: Any = aioftp.MemoryPathIO
        client = aioftp.Client(path_io_factory=layer, **options)
        host, port = self.server.address
        assert host is not None
        try:
            await client.connect(host, port)
            await client.login("ann", "secret")
            yield client
            await client.quit()
        finally:
            client.close()


@asynccontextmanager
async def running(
    directory: Path | str = "/", *, host: str = HOST, user: Any = None, **options: Any
) -> AsyncIterator[Running]:
    """Run a server of a directory of the disk, or of none that is in memory."""

    user = user or aioftp.User("ann", "secret", base_path=directory)
    in_memory = directory == "/"
    options.setdefault("path_io_factory", aioftp.MemoryPathIO if in_memory else aioftp.AsyncPathIO)
    server = Server([user], **options)
    before = asyncio.all_tasks()
    await server.start(host)
    try:
        yield Running(server)
        # Those that it cuts off are reported as errors by asyncio's streams of Python 3.11.
        async with asyncio.timeout(PATIENCE):
            while server.connections:  # noqa: ASYNC110 - aioftp has no event for it
                await asyncio.sleep(0.001)
    finally:
        await server.close()
        if left := asyncio.all_tasks() - before:
            await asyncio.wait(left, timeout=PATIENCE)


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Return where the files are: in memory, of which only the layer knows, or on the disk."""

    return "/" if request.param == "memory" else tmp_path


# Files


async def test_files(place: Path | str) -> None:
    """Stored, appended to, replaced, read; an empty one as well."""

    async with running(place) as server, server.theirs() as client:
        for command, data, expected in (
            (client.upload_stream, b"foobar", b"foobar"),
            (client.append_stream, b"baz", b"foobarbaz"),
            (client.upload_stream, b"new", b"new"),
            (client.upload_stream, b"", b""),
            (client.append_stream, b"first", b"first"),
        ):
            async with command("file") as stream:
                await stream.write(data)
            async with client.download_stream("file") as stream:
                assert await stream.read() == expected


@pytest.mark.parametrize("size", [100, 3_000_000])
async def test_trees(place: Path | str, size: int) -> None:
    """A tree is uploaded, listed and downloaded by aioftp's client, with MLSD and with LIST."""

    data = bytes(range(256)) * (size // 256) + b"x"
    paths = ["foo/bar", "foo/baz/deep"]
    async with running(place) as server, server.theirs() as client:
        for path in map(Path, paths):
            await client.path_io.mkdir(path.parent, parents=True, exist_ok=True)
            async with client.path_io.open(path, mode="wb") as file:
                await file.write(data)
        await client.upload("foo", "up", write_into=True)
        raw: Literal["MLSD", "LIST"]
        for raw in ("MLSD", "LIST"):
            listed = await client.list("up", recursive=True, raw_command=raw)
            kinds = {str(path): facts["type"] for path, facts in listed}
            assert kinds == {"up/bar": "file", "up/baz": "dir", "up/baz/deep": "file"}
            sizes = [int(facts["size"]) for _, facts in listed if facts["type"] == "file"]
            assert sizes == [len(data)] * 2
        await client.download("up", "down", write_into=True)
        for path in (Path("down/bar"), Path("down/baz/deep")):
            async with client.path_io.open(path, mode="rb") as file:
                assert await file.read(len(data) + 1) == data


@pytest.mark.parametrize("offset", [0, 3, 6])
async def test_restarted_download(place: Path | str, offset: int) -> None:
    """The rest comes."""

    async with running(place) as server, server.client() as client:
        assert (await client.upload("STOR file", b"foobar"))[:3] == "226"
        data = await client.passive()
        assert await client.code(f"REST {offset}") == 350
        client.send("RETR file")
        assert await data.read() == b"foobar"[offset:]
        assert (await client.codes(2))[1] == 226


@pytest.mark.parametrize("command", ["STOR", "APPE"])
@pytest.mark.parametrize(("offset", "expected"), [(1, b"f123ar"), (6, b"foobar123")])
async def test_restarted_upload(
    place: Path | str, command: str, offset: int, expected: bytes
) -> None:
    """What comes is written there, with either command, as in aioftp."""

    async with running(place) as server, server.client() as client:
        await client.upload("STOR file", b"foobar")
        data = await client.passive()
        assert await client.code(f"REST {offset}") == 350
        client.send(f"{command} file")
        await data.send(b"123")
        assert (await client.codes(2))[1] == 226
        assert await client.download("RETR file") == expected


async def test_an_upload_behind_the_end(tmp_path: Path) -> None:
    """On the disk it is refused: aioftp would fill the gap with zeros, as in memory."""

    async with running() as server, server.theirs() as client:
        async with client.upload_stream("file", offset=2) as stream:
            await stream.write(b"x")
        async with client.download_stream("file") as stream:
            assert await stream.read() == b"\0\0x"
    async with running(tmp_path) as server, server.client() as client:
        await client.upload("STOR file", b"f")
        data = await client.passive()
        assert await client.code("REST 2") == 350
        client.send("STOR file")
        await data.send(b"123")
        assert (await client.codes(2))[1] == 501
        assert await client.download("RETR file") == b"f"


async def test_an_offset_is_for_the_next_command_only() -> None:
    """What comes behind it on the wire takes nothing from it, though, and no bad one is taken."""

    async with running() as server, server.client() as client:
        await client.upload("STOR file", b"foobar")
        await client.code("REST 3")
        assert await client.download("RETR file") == b"foobar"
        data = await client.passive()
        client.send(b"REST 3\r\nRETR file\r\nTYPE I\r\n")
        assert await data.read() == b"bar"
        assert sorted(await client.codes(4)) == [125, 200, 226, 350]
        assert await client.code("REST 3abc") == 501
        await client.code("TYPE A")
        assert await client.code("REST 3") == 501


async def test_type_a_converts(place: Path | str) -> None:
    """Both ways. aioftp says 200, and converts nothing."""

    async with running(place) as server, server.client() as client:
        await client.upload("STOR file", LINES)
        assert await client.code("TYPE A") == 200
        assert await client.download("RETR file") == b"one\r\ntwo\r\n"
        await client.upload("STOR other", b"one\r\ntwo\r\n")
        assert await client.code("TYPE I") == 200
        assert await client.download("RETR other") == LINES
        for line, code in (
            *(("TYPE X", 504), ("STRU F", 200), ("STRU X", 504)),
            *(("MODE S", 200), ("MODE Q", 504), ("TYPE L 8", 200)),
        ):
            assert await client.code(line) == code


# Listings


@pytest.mark.parametrize("command", ["LIST", "LIST -la", "LIST -a -l /", "LIST /", "NLST", "MLSD"])
async def test_listings(place: Path | str, command: str) -> None:
    """Every name is in a line; what a layer does not know of a file is left out."""

    async with running(place) as server, server.client() as client:
        await client.upload("STOR Grüße -l", LINES)
        await client.code("MKD below")
        *lines, last = (await client.download(command)).decode().split("\r\n")
    assert last == ""
    assert len(lines) == 2
    for name in ("below", "Grüße -l"):
        [line] = [line for line in lines if line.endswith(name)]
        assert (command == "NLST") == (line == name)
        assert "none" not in line


async def test_listings_of_one_file(place: Path | str) -> None:
    """LIST and NLST tell of the file, as RFC 959 says; aioftp lists nothing. MLSD refuses it."""

    async with running(place) as server, server.client() as client:
        await client.upload("STOR file", LINES)
        assert await client.download("NLST file") == b"file\r\n"
        line = await client.download("LIST file")
        assert line.startswith(b"-rw")
        assert line.endswith(b" file\r\n")
        await client.epsv()
        assert await client.code("MLSD file") == 550
        for command in ("LIST", "NLST", "MLSD", "RETR"):
            assert await client.code(f"{command} nothing") == 550


async def test_links_are_followed(tmp_path: Path) -> None:
    """As aioftp does: what a link leads to is listed."""

    below = tmp_path / "below"
    below.mkdir()
    (below / "file").write_bytes(LINES)
    (below / "link").symlink_to("file")
    async with running(tmp_path) as server, server.client() as client:
        lines = (await client.download("LIST below")).splitlines()
    assert [line[:4] for line in lines] == [b"-rw-"] * 2


async def test_a_listing_in_another_encoding() -> None:
    """The names of a listing are in the server's encoding, as those of its replies are."""

    async with running(encoding="latin-1") as server, server.client() as client:
        assert (await client.upload("STOR Grüße".encode("latin-1") + b"\r\n", b""))[:3] == "226"  # type: ignore[arg-type]
        assert await client.download("NLST") == "Grüße\r\n".encode("latin-1")


# What goes wrong


class Broken(aioftp.MemoryPathIO):
    """A layer that cannot write, nor list."""

    @aioftp.pathio.universal_exception
    async def write(self, file: Any, buffer: Any) -> int:
        """Fail."""

        raise OSError("the disk is on fire")

    def list(self, path: PurePosixPath) -> Any:
        """Return what fails."""

        raise OSError("the disk is on fire")


async def test_a_layer_that_fails() -> None:
    """It is a 451, without the layer's own words, and the session goes on."""

    async with running(path_io_factory=Broken) as server, server.client() as client:
        reply = await client.upload("STOR file", b"x")
        assert reply[:3] == "451"
        assert "fire" not in reply
        data = await client.passive()
        assert [await client.code("LIST"), *await client.codes(1)] == [125, 451]
        assert await data.was_reset()
        assert await client.code("PWD") == 257


async def test_what_is_not_allowed(place: Path | str) -> None:
    """The conditions of aioftp hold: of the login, of paths and of permissions."""

    user = aioftp.User(
        "ann", "secret", base_path=place, permissions=[aioftp.Permission(writable=False)]
    )
    async with running(place, user=user) as server, server.client() as client:
        await client.epsv()
        for command in ("STOR x", "APPE x", "MKD x", "RETR x", "RETR /", "LIST x", "MLSD x"):
            assert await client.code(command) == 550
        assert await client.code("USER ann") == 331
        for command in ("PASV", "EPSV", "RETR x", "STOR x", "LIST", "NLST", "MLSD", "TYPE I"):
            assert await client.code(command) == 503
    async with running(place) as server, server.client() as client:
        await client.epsv()
        assert await client.code("STOR nowhere/file") == 550


async def test_a_cut_upload_is_no_success(place: Path | str) -> None:
    """It is a 426. On the disk the old file stays; aioftp ends the session, with half a file."""

    async with running(place) as server, server.client() as client:
        await client.upload("STOR file", b"old")
        data = await client.passive()
        client.send("STOR file")
        assert await client.codes(1) == [125]
        data.writer.write(b"new" * 100_000)
        await data.writer.drain()
        reset(data.writer)
        assert await client.codes(1) == [426]
        if place != "/":
            assert await client.download("RETR file") == b"old"
        assert await client.code("PWD") == 257
    if place != "/":
        assert names(Path(place)) == ["file"]


async def test_the_control_connection_is_lost(tmp_path: Path) -> None:
    """The transfer is cut with it, as in aioftp; nothing of the upload is left."""

    async with running(tmp_path) as server:
        async with server.client() as client:
            data = await client.passive()
            client.send("STOR file")
            assert await client.codes(1) == [125]
            data.writer.write(b"new" * 100_000)
            await data.writer.drain()
        assert await data.was_reset()
    assert not names(tmp_path)


# ABOR


class Endless(aioftp.MemoryPathIO):
    """A layer whose files and listings never end."""

    async def read(self, file: Any, size: int | None = -1) -> bytes:
        """Read something."""

        await asyncio.sleep(0)
        return bytes(1000)

    def list(self, path: PurePosixPath) -> Any:
        """List the same for ever."""

        class Lister(aioftp.AbstractAsyncLister[PurePosixPath]):
            async def __anext__(self) -> PurePosixPath:
                await asyncio.sleep(0)
                return PurePosixPath("/file")

        return Lister()


@pytest.mark.parametrize("command", ["RETR file", "STOR file", "MLSD", "LIST", "NLST"])
async def test_abor_in_a_transfer(command: str) -> None:
    """426 for the transfer and 226 for ABOR, once; the session goes on."""

    async with running(path_io_factory=Endless) as server, server.client() as client:
        await client.upload("STOR file", b"")
        data = await client.passive()
        client.send(command)
        assert await client.codes(1) == [125]
        if command[0] == "S":
            data.writer.write(b"x")
        else:
            await data.reader.readexactly(10_000)
        assert [await client.code("ABOR"), *await client.codes(1)] == [426, 226]
        assert await data.was_reset()
        assert await client.code("PWD") == 257


@pytest.mark.parametrize("signals", [b"", b"\xff\xf4\xff\xf2", b"\xff\xf4\xff"])
async def test_abor_on_the_heels_of_its_transfer(signals: bytes) -> None:
    """With Telnet's signals before it or without, in one segment with the command: the same."""

    async with running(path_io_factory=Endless) as server, server.client() as client:
        await client.upload("STOR file", b"")
        for command in (b"RETR file", b"STOR file", b"LIST", b"MLSD"):
            data = await client.passive()
            client.send(command + b"\r\n" + signals + b"ABOR\r\n")
            assert await client.codes(3) == [125, 426, 226]
            assert await data.was_reset()
        data = await client.passive()
        client.send(b"STOR other\r\nQUIT\r\n")
        assert await client.codes(1) == [125]
        await data.send(b"x")
        assert await client.codes(2) == [226, 221]


async def test_abor_before_the_connection() -> None:
    """The same. aioftp #205: no reply at all."""

    async with running() as server, server.client() as client:
        await client.epsv()
        client.send("STOR file")
        assert await client.codes(1) == [150]
        assert [await client.code("ABOR"), *await client.codes(1)] == [426, 226]
        assert await client.code("PWD") == 257


async def test_abor_of_nothing() -> None:
    """226, and what was prepared is closed."""

    async with running() as server, server.client() as client:
        assert await client.code("ABOR") == 226
        data = await client.passive()
        assert await client.code("ABOR") == 226
        assert await data.was_reset()
        assert await client.code("LIST") == 425


async def test_aioftps_client_aborts() -> None:
    """Its `abort` ends either way of transfer, and it goes on."""

    async with running(path_io_factory=Endless) as server, server.theirs() as client:
        async with client.upload_stream("file") as stream:
            await stream.write(b"x")
        stream = await client.upload_stream("file")
        await stream.write(b"x")
        await client.abort()
        stream.close()
        stream = await client.download_stream("file")
        await stream.read(1)
        await client.abort(wait=False)
        with contextlib.suppress(ConnectionResetError):
            while await stream.read(1000):
                pass
        stream.close()
        with pytest.raises(aioftp.StatusCodeError, match="426"):
            await client.command(None, "2xx", "1xx")
        await client.command(None, "226")
        assert await client.get_current_directory() == PurePosixPath("/")


async def test_quit_waits_for_a_transfer() -> None:
    """An upload that runs is ended first (RFC 959 §4.1.1). aioftp cuts it."""

    async with running() as server, server.client() as client:
        data = await client.passive()
        client.send("STOR file")
        assert await client.codes(1) == [125]
        client.send("QUIT")
        await data.send(b"whole")
        assert await client.codes(2) == [226, 221]
        async with server.client() as other:
            assert await other.download("RETR file") == b"whole"


# How the data connection comes


async def test_either_may_come_first() -> None:
    """125 if the connection is there, else 150. aioftp waits for it for one second."""

    async with running() as server, server.client() as client:
        port = await client.epsv()
        client.send("STOR file")
        assert await client.codes(1) == [150]
        await asyncio.sleep(1.1)  # longer than aioftp waits
        await (await client.connect(port)).send(b"data")
        assert await client.codes(1) == [226]
        assert server.server.wait_future_timeout == 30


async def test_nobody_comes() -> None:
    """425 after the time that aioftp's argument says, and no file is made."""

    async with running(wait_future_timeout=0.05) as server, server.client() as client:
        await client.epsv()
        client.send("STOR file")
        assert await client.codes(2) == [150, 425]
        assert await client.code("STOR file") == 425
        assert await client.download("NLST") == b""


async def test_arguments_of_epsv() -> None:
    """Each has its reply. aioftp refuses all of them, and ends the session."""

    async with running() as server, server.client() as client:
        for line, code in (
            *(("EPSV 1", 229), ("EPSV 2", 522), ("EPSV 3", 522), ("EPSV x", 501)),
            *(("EPSV ALL", 200), ("PASV", 503), ("PORT 127,0,0,1,8,8", 503), ("EPSV", 229)),
        ):
            assert await client.code(line) == code
        assert await client.download("NLST") == b""


async def test_ipv6() -> None:
    """PASV is refused, and the session goes on with EPSV. aioftp ends it."""

    async with running(host="::1") as server, server.client() as client:
        assert await client.code("PASV") == 522
        assert await client.code("EPSV 1") == 522
        await client.upload("STOR file", LINES)
        assert await client.download("RETR file") == LINES
    async with running(host="::1") as server, server.theirs() as theirs:
        assert await theirs.list() == []


@pytest.mark.parametrize("command", ["epsv", "pasv"])
async def test_another_passive_replaces_the_first(command: str) -> None:
    """The connection that was made is closed, and so is its port."""

    async with running() as server, server.theirs() as client:
        first, one = await client.get_passive_connection(commands=[command])
        assert one.get_extra_info("peername")[0] == HOST
        _, two = await client.get_passive_connection(commands=[command])
        with pytest.raises(ConnectionResetError):
            await first.read()
        for writer in (one, two):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def test_a_stranger() -> None:
    """Is refused, and the owner still gets in. aioftp sends the stranger everything."""

    async with running() as server, server.client() as client:
        await client.upload("STOR file", b"secret")
        port = await client.epsv()
        assert await client.is_refused(port, "127.0.0.2")
        data = await client.connect(port)
        assert await client.code("RETR file") == 125
        assert await data.read() == b"secret"


async def test_active() -> None:
    """PORT and EPRT, which aioftp has not: to the client, and to nobody else."""

    async with running() as server, server.client() as client:
        await client.upload("STOR file", LINES)
        for line in ("PORT 127,0,0,1,{},{}", "EPRT |1|127.0.0.1|{}|"):
            with contextlib.closing(await _listening()) as listener:
                port = listener.getsockname()[1]
                numbers = divmod(port, 256) if line[0] == "P" else (port,)
                assert await client.code(line.format(*numbers)) == 200
                client.send("RETR file")
                accepted, peer = await asyncio.get_running_loop().sock_accept(listener)
                assert peer[0] == HOST
                reader, writer = await asyncio.open_connection(sock=accepted)
                assert await reader.read() == LINES
                writer.close()
                await writer.wait_closed()
                assert await client.codes(2) == [150, 226]
        for line, code in (
            *(("PORT 127,0,0,2,8,8", 425), ("PORT 127,0,0,1,0,21", 425), ("PORT 1,2", 501)),
            *(("EPRT |1|127.0.0.1|70000|", 501), ("EPRT |3|x|1|", 522)),
        ):
            assert await client.code(line) == code


async def _listening() -> socket.socket:
    listener = socket.create_server((HOST, 0))
    listener.setblocking(False)
    return listener


async def test_data_ports() -> None:
    """Each is one of aioftp's argument, is given back, and is not waited for if none is free.

    aioftp keeps a port until the session ends, and then ends the session of who wants another.
    """

    ports = free_ports(2)
    given = [ports.first, ports.first + 1]
    async with running(data_ports=given) as server:
        left = server.server.available_data_ports
        assert left is not None
        async with server.client() as one, server.client() as two, server.client() as three:
            found = {await one.epsv(), await two.epsv()}
            assert found == {*given}
            assert left.qsize() == 0
            assert await three.code("PASV") == 425
            assert await one.code("ABOR") == 226
            assert left.qsize() == 1
            assert await three.download("NLST") == b""
        async with asyncio.timeout(PATIENCE):
            while left.qsize() < 2:  # noqa: ASYNC110 - aioftp has no event for it
                await asyncio.sleep(0.001)
    async with running(data_ports=[]) as server, server.client() as client:
        assert await client.code("EPSV") == 425


async def test_an_address_for_clients_beyond_nat() -> None:
    """The argument of aioftp is what PASV tells."""

    async with (
        running(ipv4_pasv_forced_response_address="192.0.2.1") as server,
        server.client() as client,
    ):
        assert "(192,0,2,1," in await client.command("PASV")


# Limits


@pytest.mark.parametrize(
    ("limit", "sessions"),
    [
        ("read_speed_limit", 2),
        ("read_speed_limit_per_connection", 1),
        ("user.read_speed_limit", 2),
        ("user.read_speed_limit_per_connection", 1),
        ("write_speed_limit", 2),
    ],
)
async def test_aioftps_limits_hold(limit: str, sessions: int) -> None:
    """Of all, of a user and of a connection; in their direction, however many share one.

    aioftp measures what its sleeps add up to. Here it is the time that the bytes took.
    """

    size, rate = 100_000, 500_000
    options: dict[str, Any] = {limit.removeprefix("user."): rate}
    of_user = limit.startswith("user.")
    user = aioftp.User("ann", "secret", base_path="/", **(options if of_user else {}))
    async with (
        running(user=user, **({} if of_user else options)) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(server.client()) for _ in range(sessions)]
        loop = asyncio.get_running_loop()
        seconds = []
        for is_upload in (True, False):
            begun = loop.time()
            await asyncio.gather(
                *(
                    client.upload(f"STOR {number}", bytes(size))
                    if is_upload
                    else client.download(f"RETR {number}")
                    for number, client in enumerate(clients)
                )
            )
            seconds.append(loop.time() - begun)
        way, other = ("read", "write") if "read" in limit else ("write", "read")
        connection = next(iter(server.server.connections.values()))
        assert server.server._throttle(connection, other) is None
        assert (bucket := server.server._throttle(connection, way)) is not None
        # Less what passes at once at the beginning.
        least = (size * sessions - rate * 0.1) / rate
        assert seconds[0 if way == "read" else 1] >= least * 0.99
        # It may be changed at any time.
        limits = [one for one in server.server._buckets if one.limit]
        for one in limits:
            one.limit = None
        assert server.server._throttle(connection, way) is None
        limits[0].limit = 5
        assert (again := server.server._throttle(connection, way)) is not None
        assert again is bucket
        assert math.isfinite(again.rate or 5)


# TLS


def _context() -> ssl.SSLContext:
    return server_certificate().session_context()


@asynccontextmanager
async def protected(place: Path | str) -> AsyncIterator[tuple[Client, Callable[..., Any]]]:
    """Log in a client by TLS; yield it, and what protects its data connections."""

    context = await asyncio.to_thread(_context)
    theirs = await asyncio.to_thread(client_context)
    options: dict[str, Any] = {"ssl": theirs, "server_hostname": HOST}
    async with running(place, ssl=context) as server, server.client(**options) as client:

        async def passive(**given: Any) -> Any:
            return await client.connect(await client.epsv(), **(given or options))

        yield client, passive


async def test_protected_transfers(place: Path | str) -> None:
    """Data connections are protected as the control connection is, unless the client says C."""

    async with protected(place) as (client, passive):
        for line, code in (("PBSZ 0", 200), ("PROT P", 200), ("PROT E", 504)):
            assert await client.code(line) == code
        data = await passive()
        client.send("STOR file")
        await data.send(LINES)
        assert (await client.codes(2))[1] == 226
        data = await passive()
        client.send("RETR file")
        assert await data.read() == LINES
        assert (await client.codes(2))[1] == 226
        assert await client.code("PROT C") == 200
        assert await client.download("RETR file") == LINES


async def test_aioftps_client_through_tls(place: Path | str) -> None:
    """A file and a listing, with the argument that it has for that."""

    context = await asyncio.to_thread(_context)
    theirs = await asyncio.to_thread(client_context)
    async with (
        running(place, ssl=context) as server,
        server.theirs(ssl=theirs) as client,
    ):
        async with client.upload_stream("file") as stream:
            await stream.write(LINES)
        [(path, _)] = await client.list()
        assert path == PurePosixPath("file")


async def test_an_upload_without_close_notify_is_cut(tmp_path: Path) -> None:
    """426, and no file. aioftp: 226."""

    async with protected(tmp_path) as (client, passive):
        data = await passive()
        client.send("STOR file")
        data.writer.write(LINES)
        await data.writer.drain()
        descriptor = os.dup(data.writer.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as sock:  # uvloop's own has no shutdown
            sock.shutdown(socket.SHUT_WR)
        data.writer.transport.abort()
        assert (await client.codes(2))[1] == 426
    assert not names(tmp_path)


async def test_no_protection_is_promised_in_clear() -> None:
    """503. aioftp: 200."""

    async with running() as server, server.client() as client:
        assert await client.code("PROT P") == 503
