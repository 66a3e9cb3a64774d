"""`examples.twisted_shell`: what Twisted's own tests say of its server's data connections.

They are repeated by what they want (``twisted.test.test_ftp``), over each way to open a data
connection, and each difference is said. The server is a program, as its reactor is for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from tests.server.client import Client, Data, reset

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
WAYS = ("PASV", "EPSV", "PORT", "EPRT")


@attrs.frozen
class Server:
    """A server that runs, and the directory that it serves."""

    port: int
    directory: Path

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Log in a client that does nothing by itself."""

        client = Client(*await asyncio.open_connection(HOST, self.port), HOST)
        try:
            assert await client.codes(1) == [220]
            await client.login()
            yield client
        finally:
            await client.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Run the example; nothing that it has to complain of is in its log."""

    directory = tmp_path / "served"
    directory.mkdir()
    command = [sys.executable, "-W", "error", "-m", "examples.twisted_shell", str(directory)]
    command += ["--port", "0", "--user", "ann:secret"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith(b"listening on "), (tmp_path / "log").read_text()
            yield Server(int(line.rpartition(b":")[2]), directory)
        finally:
            process.terminate()
            process.wait(60)
    logged = (tmp_path / "log").read_text()
    for sign in ("never retrieved", "Exception ignored", "Unhandled", "Unexpected"):
        assert sign not in logged, logged


async def download(client: Client, way: str, command: str) -> tuple[bytes, int]:
    """Run a command that sends, over a connection of this way; return what came, and the end."""

    if way in {"PASV", "EPSV"}:
        found = re.search(r"(\d+),(\d+)\)|\|\|\|(\d+)\|", await client.command(way))
        assert found
        port = int(found[3] or 0) or int(found[1]) * 256 + int(found[2])
        data = await client.connect(port)
        client.send(command)
    else:
        with contextlib.closing(socket.create_server((HOST, 0))) as listener:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            where = f"127,0,0,1,{port >> 8},{port & 255}" if way == "PORT" else f"|1|{HOST}|{port}|"
            assert await client.code(f"{way} {where}") == 200
            client.send(command)
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
        data = Data(*await asyncio.open_connection(sock=accepted))
    content = await data.read()
    codes = await client.codes(2)
    assert codes[0] in {125, 150}
    return content, codes[1]


@pytest.mark.parametrize("way", WAYS)
async def test_listings(server: Server, way: str) -> None:
    """Empty ones; with options of ls; of a directory below; of names in any encoding."""

    async with server.client() as client:
        assert await download(client, way, "LIST") == (b"", 226)
        assert await download(client, way, "NLST") == (b"", 226)
        (server.directory / "foo").mkdir()
        (server.directory / "foo" / "my résumé").mkdir()
        for command in ("LIST", "LIST -aL", "LIST -la"):
            listed, _ = await download(client, way, command)
            assert re.fullmatch(rb"drwx.* foo\r\n", listed)
        # Twisted pads the day of the month with 0, and ftpdata with a blank, as ls does.
        line = rb"drwxr-xr-x +\d+ \S+ +\S+ +\d+ \w{3} [ \d]\d \d\d:\d\d my r\xc3\xa9sum\xc3\xa9\r\n"
        assert re.fullmatch(line, (await download(client, way, "LIST foo"))[0])
        assert await client.code("CWD foo") == 250
        assert re.fullmatch(line, (await download(client, way, "LIST"))[0])
        assert await download(client, way, "NLST") == ("my résumé\r\n".encode(), 226)


@pytest.mark.parametrize("way", WAYS)
async def test_names(server: Server, way: str) -> None:
    """Of a file, its name; of a pattern, what matches.

    Of nothing, RFC 959 has 450 or 550; Twisted sends nothing, and says 226.
    """

    for name in ("test.txt", "ceva.txt", "no.match"):
        (server.directory / name).touch()
    async with server.client() as client:
        assert await download(client, way, "NLST test.txt") == (b"test.txt\r\n", 226)
        matching, _ = await download(client, way, "NLST *.txt")
        assert sorted(matching.split()) == [b"ceva.txt", b"test.txt"]
        await client.epsv()
        assert await client.code("NLST nothing") == 550


@pytest.mark.parametrize("way", WAYS)
async def test_many_large_downloads(server: Server, way: str) -> None:
    """Twenty in one session; in TYPE A as well, for which Twisted's wrapper fails on Python 3."""

    async with server.client() as client:
        for size in range(100_000, 110_000, 500):
            content = b"x" * (size - 1) + b"\n"
            (server.directory / str(size)).write_bytes(content)
            assert await download(client, way, f"RETR {size}") == (content, 226)
        assert await client.code("TYPE A") == 200
        content, _ = await download(client, way, "RETR 100000")
        assert content == b"x" * 99_999 + b"\r\n"


async def test_what_cannot_be_had(server: Server) -> None:
    """A directory is no file; a file that is not there; a command without its data connection.

    Twisted says 503 for the last, which is for a wrong order; RFC 959 has 425.
    """

    (server.directory / "foo").mkdir()
    async with server.client() as client:
        await client.epsv()
        assert (await client.command("RETR foo")).startswith("550")
        assert await client.code("RETR nothing") == 550
        assert await client.code("STOR nowhere/file") == 550
        assert await client.code("STOR foo") == 550
    async with server.client() as client:
        for command in ("STOR x", "RETR x", "LIST", "NLST"):
            assert await client.code(command) == 425
        assert not (server.directory / "x").exists()


async def test_opening(server: Server) -> None:
    """What is refused, and with which code.

    PORT and EPRT connect when a transfer needs it, so that a closed port is a 425 then; Twisted
    connects at once, to anybody.
    """

    with contextlib.closing(socket.create_server((HOST, 0))) as listener:
        port = listener.getsockname()[1]
    async with server.client() as client:
        for line, code in (
            *(("EPSV", 229), ("EPSV 1", 229), ("EPSV 2", 522), ("EPSV x", 501), ("EPSV 99", 522)),
            *(("EPRT invalid", 501), (f"EPRT |256|{HOST}|1|", 522), ("EPRT |2|::1|2000|", 425)),
            *(("PORT 1,2,3", 501), ("PORT 127,0,0,2,9,9", 425), ("PORT 127,0,0,1,0,21", 425)),
        ):
            assert await client.code(line) == code, line
        assert await client.code(f"EPRT |1|{HOST}|{port}|") == 200
        client.send("LIST")
        assert await client.codes(2) == [150, 425]
        assert await client.code("EPSV ALL") == 200
        for line in ("PASV", "PORT 127,0,0,1,9,9", f"EPRT |1|{HOST}|2000|"):
            assert await client.code(line) == 503
        assert await download(client, "EPSV", "LIST") == (b"", 226)


async def test_uploads(server: Server) -> None:
    """The file is closed before the 226; in TYPE A it is converted in the right direction.

    One that is reset is a 426: Twisted ignores the reason, and says 226.
    """

    async with server.client() as client:
        assert (await client.upload("STOR file", b"x" * 300_000))[:3] == "226"
        assert (server.directory / "file").read_bytes() == b"x" * 300_000
        assert await client.code("TYPE A") == 200
        assert (await client.upload("STOR lines", b"a\r\nb\r\n"))[:3] == "226"
        assert (server.directory / "lines").read_bytes() == b"a\nb\n"
        data = await client.passive()
        client.send("STOR cut")
        assert await client.codes(1) == [125]
        data.writer.write(b"x" * 100_000)
        await data.writer.drain()
        reset(data.writer)
        assert await client.codes(1) == [426]
        assert await client.code("PWD") == 257


async def test_abor_and_what_comes_in_between(server: Server) -> None:
    """Commands are answered during a transfer; Twisted holds them back, and has no ABOR."""

    (server.directory / "big").write_bytes(bytes(30_000_000))
    async with server.client() as client:
        data = await client.slow_passive()
        client.send("RETR big")
        assert await client.codes(1) == [125]
        assert await client.code("PWD") == 257
        assert [await client.code("ABOR"), *await client.codes(1)] == [426, 226]
        assert await data.was_reset()
        assert await client.code("ABOR") == 226
        data = await client.passive()
        client.send("STOR file")
        assert await client.codes(1) == [125]
        client.send("QUIT")
        await data.send(b"whole")
        assert await client.codes(2) == [226, 221]
    assert (server.directory / "file").read_bytes() == b"whole"


async def test_a_client_that_leaves(server: Server) -> None:
    """Its transfer is cut with it; Twisted's goes on."""

    (server.directory / "big").write_bytes(bytes(30_000_000))
    async with server.client() as client:
        data = await client.slow_passive()
        client.send("RETR big")
        assert await client.codes(1) == [125]
        waiting = await client.epsv()
    assert await data.was_reset()
    with pytest.raises(ConnectionError):
        await client.connect(waiting)
