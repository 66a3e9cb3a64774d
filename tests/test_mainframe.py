"""The example of a mainframe's records, against a peer that follows published dumps."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from examples.client.client import Server
from examples.client.replies import ReplyError
from examples.mainframe import forms, get, put
from ftpdata.errors import FTPDataError, TruncatedTransfer

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

# z/OS Communications Server: IP User's Guide and Commands, "MODE B" and "TYPE E": X'80' and two
# bytes of length before each record, X'40' on the last one (RFC 959 §3.4.2 has the codes). The
# texts are EBCDIC: X'C8C5D3D3D6' is HELLO in code page 1047.
SENT = bytes.fromhex("80 0005 C8C5D3D3D6  80 0000  00 0001 12  80 0001 3C  40 0002 C1C2")
RECORDS = ["C8C5D3D3D6", "", "123C", "C1C2"]
# z/OS DFSMS Using Data Sets, "Format-V records": lengths that count their four bytes.
RDW = bytes.fromhex("0009 0000 C8C5D3D3D6  0004 0000  0006 0000 123C  0006 0000 C1C2")
BDW = bytes.fromhex("001D 0000") + RDW


class Peer:
    """Plays z/OS: replies as it does, and sends and takes bytes."""

    def __init__(self, sent: bytes = SENT) -> None:
        self.commands: list[str] = []
        self.received = b""
        self._sent = sent
        self._data: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one control connection."""

        writer.write(b"220-FTPD1 IBM FTP CS V2R5\r\n220 Connection will close if idle.\r\n")
        async with await asyncio.start_server(self._take, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            while line := (await reader.readline()).decode().strip():
                self.commands.append(line)
                writer.write(await self._reply(line, port, writer))

        while not self._data.empty():
            self._data.get_nowait()[1].close()

        writer.close()

    async def _take(self, *streams: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        reader, writer = streams
        assert isinstance(reader, asyncio.StreamReader)
        assert isinstance(writer, asyncio.StreamWriter)
        await self._data.put((reader, writer))

    async def _reply(self, line: str, port: int, writer: asyncio.StreamWriter) -> bytes:
        match line.split(maxsplit=1)[0]:
            case "USER":
                return b"331 Send password please.\r\n"
            case "PASS":
                return b"230 ANNA is logged on.  Working directory is \"ANNA.\".\r\n"
            case "EPSV":
                return b"229 Entering Extended Passive Mode (|||%d|)\r\n" % port
            case "FEAT":
                return b"500 Unknown command FEAT\r\n"
            case "QUIT":
                return b"221 Quit command received. Goodbye.\r\n"
            case "TYPE" | "MODE" | "STRU":
                return b"200 Representation is changed.\r\n"
            case "RETR" if "MISSING" in line:
                return b"550 Data set MISSING not found\r\n"
            case "RETR":
                writer.write(b"125 Sending data set SALES.DATA\r\n")
                _, data = await self._data.get()
                data.write(self._sent)
                await data.drain()
                data.close()
                return b"250 Transfer completed successfully.\r\n"
            case _:
                writer.write(b"125 Storing data set SALES.DATA\r\n")
                incoming, data = await self._data.get()
                try:
                    while piece := await incoming.read(1000):
                        self.received += piece
                except ConnectionResetError:
                    return b"426 Data connection closed\r\n"
                finally:
                    data.close()

                return b"250 Transfer completed successfully.\r\n"


@contextlib.asynccontextmanager
async def playing(peer: Peer) -> AsyncIterator[Server]:
    """Serve; yield where."""

    async with await asyncio.start_server(peer.control, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()[:2]
        yield Server(host, port=port, user="ANNA", password="secret")


def names_in(path: Path) -> list[str]:
    """Return the names in a directory."""

    return [entry.name for entry in path.iterdir()]


@pytest.mark.parametrize(
    ("form", "content"),
    [("rdw", RDW), ("bdw", BDW)],
)
async def test_records_are_fetched_and_sent(tmp_path: Path, form: str, content: bytes) -> None:
    """Their boundaries are in the file, and on the connection."""

    peer, local = Peer(), tmp_path / "sales"
    async with playing(peer) as server:
        assert await get(server, "'SALES.DATA'", local, forms(form, "cp1047")[0]) == len(RECORDS)
        assert local.read_bytes() == content
        assert {"TYPE E", "STRU F", "MODE B", "RETR 'SALES.DATA'"} <= {*peer.commands}

        await put(local, server, "'SALES.DATA'", forms(form, "cp1047")[1])

    assert peer.received == bytes.fromhex(
        "80 0005 C8C5D3D3D6  80 0000  80 0002 123C  80 0002 C1C2  40 0000"
    )
    assert names_in(tmp_path) == ["sales"]


async def test_text_is_fetched_and_sent(tmp_path: Path) -> None:
    """A record is a line, in the code page of the mainframe."""

    sent = bytes.fromhex("80 0005 C8C5D3D3D6  80 0000  40 0003 ADC1BD")
    peer, local = Peer(sent), tmp_path / "text"
    async with playing(peer) as server:
        assert await get(server, "TEXT", local, forms("lines", "cp1047")[0]) == 3
        assert local.read_text("utf-8") == "HELLO\n\n[A]\n"
        await put(local, server, "TEXT", forms("lines", "cp1047")[1])

    assert peer.received == bytes.fromhex("80 0005 C8C5D3D3D6  80 0000  80 0003 ADC1BD  40 0000")


async def test_fixed_records(tmp_path: Path) -> None:
    """Nothing stands between them."""

    peer, local = Peer(bytes.fromhex("80 0002 C1C2  40 0002 C3C4")), tmp_path / "fixed"
    async with playing(peer) as server:
        assert await get(server, "FIXED", local, forms("fixed:2", "")[0]) == 2
        assert local.read_bytes() == bytes.fromhex("C1C2C3C4")
        await put(local, server, "FIXED", forms("fixed:2", "")[1])

    assert peer.received == bytes.fromhex("80 0002 C1C2  80 0002 C3C4  40 0000")


@pytest.mark.parametrize(
    ("sent", "data_set", "error"),
    [(SENT[:-1], "CUT", TruncatedTransfer), (b"", "MISSING", ReplyError)],
)
async def test_nothing_is_left_of_what_failed(
    tmp_path: Path, sent: bytes, data_set: str, error: type[Exception]
) -> None:
    """A data set that was cut is no data set."""

    async with playing(Peer(sent)) as server:
        with pytest.raises(error):
            await get(server, data_set, tmp_path / "x", forms("rdw", "")[0])

    assert names_in(tmp_path) == []


async def test_a_damaged_file_is_not_sent_as_a_whole_one(tmp_path: Path) -> None:
    """The mainframe gets no end of the file."""

    local = tmp_path / "cut"
    local.write_bytes(RDW[:-1])
    peer = Peer()
    async with playing(peer) as server:
        with pytest.raises(FTPDataError, match="within a record"):
            await put(local, server, "CUT", forms("rdw", "")[1])

    assert not peer.received.endswith(b"\x40\x00\x00")


def test_an_unknown_form_is_refused() -> None:
    """With those that there are."""

    with pytest.raises(ValueError, match="expected rdw, bdw"):
        forms("cobol", "cp1047")


def test_a_line_that_does_not_end_is_not_held() -> None:
    """A file that is no text is refused before much of it is in memory."""

    _, reader = forms("lines", "cp037")
    assert list(reader.feed(b"x" * 32_760)) == []
    with pytest.raises(ValueError, match="32760 bytes at most"):
        list(reader.feed(b"x"))


async def test_a_last_line_without_an_end_is_refused(tmp_path: Path) -> None:
    """It may have been cut."""

    local = tmp_path / "text"
    local.write_bytes(b"one\ntwo")
    async with playing(Peer()) as server:
        with pytest.raises(FTPDataError, match="the last line has no end"):
            await put(local, server, "TEXT", forms("lines", "cp1047")[1])


async def test_the_command_line(tmp_path: Path) -> None:
    """As a user runs it: down, and up again."""

    peer, local = Peer(), tmp_path / "sales"
    async with playing(peer) as server:
        url = f"ftp://ANNA:secret@{server.host}:{server.port}"
        for arguments, said in (
            (("get", url, "'SALES.DATA'", str(local)), b"4 records"),
            (("put", str(local), url, "'SALES.DATA'"), b"'SALES.DATA': 24 bytes"),
        ):
            command = [sys.executable, "-m", "examples.mainframe", *arguments, "--as", "bdw"]
            done = await anyio.run_process(command, cwd=ROOT, env=ENVIRONMENT)
            assert said in done.stdout

    assert peer.received.endswith(b"\x40\x00\x00")
