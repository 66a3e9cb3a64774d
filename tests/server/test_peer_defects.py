"""What other FTP servers get wrong on the data connection, and this one must not.

Each name says the right behaviour; the docstring says who was seen to fail.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import re
import socket
import stat
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from examples.server.disk import DiskStore
from ftpdata import Deadlines, DirectoryLister, FileTarget, ListingBlock, PortRange
from ftpdata.files import DirectoryReader, directory_reader
from ftpdata.listing import EntryTable
from tests.server.client import PATIENCE, Serving, make_file, names, reset, serving

# Opening the data connection


async def test_pasv_over_ipv6_does_not_end_the_session(served_directory: Path) -> None:
    """aioftp: 503 and the end."""

    async with serving(served_directory, host="::1") as server, server.logged_in() as client:
        assert await client.code("PASV") == 502
        await client.quiet()


@pytest.mark.parametrize("argument", ["1", "2", "3", "x", "all"])
async def test_epsv_with_an_argument_does_not_end_the_session(
    argument: str, served_directory: Path
) -> None:
    """aioftp: 522 and the end."""

    async with serving(served_directory) as server, server.logged_in() as client:
        await client.command(f"EPSV {argument}")
        await client.quiet()


async def test_epsv_2_listens_on_ipv6(served_directory: Path) -> None:
    """Twisted: on IPv4, since a number is compared with text."""

    async with serving(served_directory, host="::1") as server, server.logged_in() as client:
        found = re.search(r"\|\|\|(\d+)\|", await client.command("EPSV 2"))
        assert found
        data = await client.connect(int(found[1]))
        assert await client.code("ABOR") == 226
        await data.close()


async def test_server_on_all_addresses_tells_the_one_that_the_client_uses(
    served_directory: Path,
) -> None:
    """aioftp: 0.0.0.0."""

    async with serving(served_directory, host="0.0.0.0") as server:
        server.host = "127.0.0.3"
        async with server.logged_in() as client:
            assert "(127,0,0,3," in await client.command("PASV")


async def test_malformed_port_commands_are_501_and_not_an_internal_error(
    served_directory: Path,
) -> None:
    """Twisted: 550 internal server error; and ports above 65535 accepted."""

    async with serving(served_directory) as server, server.logged_in() as client:
        for argument in ("", " ", " x", " 1,2,3", " 1,2,3,4,5,x", " 127,0,0,1,256,1"):
            assert await client.code(f"PORT{argument}") == 501
        for argument in (" ||", " |1|127.0.0.1|99999|", " |1|x|5000|", " |1|127.0.0.1|5000"):
            assert await client.code(f"EPRT{argument}") == 501


async def test_nothing_is_connected_to_before_the_transfer_command(
    served_directory: Path,
) -> None:
    """libunftp: at PORT, without a timeout."""

    async with serving(served_directory) as server, server.logged_in() as client:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            line = f"PORT 127,0,0,1,{port // 256},{port % 256}"
            assert await client.code(line) == 200
            await client.quiet()
            with pytest.raises(BlockingIOError):
                listener.accept()


async def test_bounce_is_refused_before_any_connect(served_directory: Path) -> None:
    """Twisted: connects to whatever is named. libunftp: connects first, then looks."""

    async with serving(served_directory) as server, server.logged_in() as client:
        with socket.create_server(("127.0.0.5", 0)) as listener:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            line = f"PORT 127,0,0,5,{port // 256},{port % 256}"
            assert await client.code(line) == 504
            assert await client.code("LIST") == 425
            with pytest.raises(BlockingIOError):
                listener.accept()


async def test_stranger_does_not_use_up_the_one_accept(served_directory: Path) -> None:
    """libunftp, ftpserverlib: the owner loses it. Twisted, aioftp: the stranger gets it."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        port = await client.epsv()
        for _ in range(5):
            assert await client.is_refused(port, "127.0.0.9")
        owner = await client.connect(port)
        client.send("RETR file")
        assert await owner.read() == b"content"
        assert await client.codes(2) == [125, 226]


async def test_command_before_the_connection_and_connection_before_the_command(
    served_directory: Path,
) -> None:
    """Twisted: a client that sends the command first deadlocks. ftpserverlib: no 150 before."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        port = await client.epsv()
        assert await client.code("RETR file") == 150
        assert await (await client.connect(port)).read() == b"content"
        assert await client.codes(1) == [226]
        data = await client.passive()
        assert await client.code("RETR file") == 125
        assert await data.read() == b"content"
        assert await client.codes(1) == [226]


async def test_client_may_take_its_time_to_connect(served_directory: Path) -> None:
    """aioftp: one second."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        port = await client.epsv()
        assert await client.code("RETR file") == 150
        await asyncio.sleep(1.2)
        assert await (await client.connect(port)).read() == b"content"
        assert await client.codes(1) == [226]


async def test_control_connection_is_not_blocked_between_pasv_and_connect(
    served_directory: Path,
) -> None:
    """Twisted: REST, ABOR, NOOP, QUIT wait."""

    async with serving(served_directory) as server, server.logged_in() as client:
        await client.epsv()
        for line, code in (("NOOP", 200), ("REST 1", 350), ("STAT", 211), ("ABOR", 226)):
            assert await client.code(line) == code
        await client.epsv()
        assert await client.code("QUIT") == 221


async def test_passive_port_nobody_comes_to_causes_no_reply_of_its_own(
    served_directory: Path,
) -> None:
    """Twisted: an unsolicited 550 internal server error. libunftp: 150, and then nothing."""

    (served_directory / "file").touch()
    deadlines = Deadlines(open=0.05)
    async with (
        serving(served_directory, deadlines=deadlines) as server,
        server.logged_in() as client,
    ):
        await client.epsv()
        await asyncio.sleep(0.2)
        await client.quiet()
        client.send("RETR file")
        assert await client.codes(2) == [150, 425]
        await client.quiet()


async def test_passive_ports_come_back(served_directory: Path) -> None:
    """Leaks of listeners, ports out of the range, a range of one port, its last port."""

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory, passive_ports=PortRange(port, port)) as server:
        for _ in range(20):
            async with server.logged_in() as client:
                for _ in range(10):
                    assert await client.epsv() == port
                assert await client.download("RETR file") == b"content"
            await server.all_left()


async def test_data_connection_without_a_transfer_is_closed_with_the_session(
    served_directory: Path,
) -> None:
    """Twisted: the listener only."""

    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        assert await client.code("QUIT") == 221
        async with asyncio.timeout(PATIENCE):
            assert await data.was_reset() or data.reader.at_eof()


async def test_second_transfer_without_a_new_data_connection_is_one_reply(
    served_directory: Path,
) -> None:
    """Twisted: 150, then 426; for LIST 503."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.download("RETR file") == b"content"
        assert await client.code("RETR file") == 425
        assert await client.code("LIST") == 425
        await client.quiet()


# When an upload is a success


async def test_reset_upload_is_426_and_the_session_goes_on(served_directory: Path) -> None:
    """Twisted, pyftpdlib: 226. aioftp: the session ends, without a reply."""

    async with serving(served_directory) as server, server.logged_in() as client:
        for content in (b"", b"x", b"x" * 1_000_000):
            data = await client.passive()
            assert await client.code("STOR new") == 125
            data.writer.write(content)
            await data.writer.drain()
            reset(data.writer)
            assert await client.codes(1) == [426]
            await client.quiet()
            assert names(served_directory) == []


async def test_upload_of_a_client_that_is_gone_is_not_kept(served_directory: Path) -> None:
    """Twisted: data go on to be stored. pyftpdlib: kept if the end of the data is seen first.

    This is RFC 959 §4.1.1 to the letter, for hosts that want it.
    """

    async with serving(served_directory, cut_with_control=True) as server:
        async with server.logged_in() as client:
            data = await client.passive()
            assert await client.code("STOR new") == 125
            data.writer.write(b"half")
            await data.writer.drain()
            await client.close()
            await server.all_left()
        await data.close()
    assert names(served_directory) == []


async def test_failing_disk_closes_the_data_connection(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twisted: it stays open. aioftp: the session ends."""

    async def write(self: FileTarget, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileTarget, "write", write)
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        assert await client.code("STOR new") == 125
        data.writer.write(b"x" * 1000)
        assert await client.codes(1) == [452]
        assert await data.was_reset()
        await client.quiet()
    assert names(served_directory) == []


async def test_data_connection_that_never_opens_leaves_no_empty_file(
    served_directory: Path,
) -> None:
    """ftpserverlib: a file of 0 bytes, and what was there before is gone."""

    (served_directory / "old").write_bytes(b"old")
    deadlines = Deadlines(open=0.05)
    async with (
        serving(served_directory, deadlines=deadlines) as server,
        server.logged_in() as client,
    ):
        for line in ("STOR new", "STOR old", "STOU", "APPE new", "APPE old"):
            await client.epsv()
            client.send(line)
            assert await client.codes(2) == [150, 425]
    assert names(served_directory) == ["old"]
    assert (served_directory / "old").read_bytes() == b"old"


async def test_bytes_sent_before_the_command_are_neither_lost_nor_piled_up(
    served_directory: Path,
) -> None:
    """Twisted: kept in memory without a bound."""

    content = os.urandom(1024) * 16 * 1024
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        data.writer.write(content)
        await client.quiet()
        assert data.writer.transport.get_write_buffer_size() > 0
        assert await client.code("STOR new") == 125
        await data.close()
        assert await client.codes(1) == [226]
    assert (served_directory / "new").read_bytes() == content


# Replies


@pytest.mark.parametrize("verb", ["RETR medium", "LIST", "NLST", "MLSD"])
async def test_226_comes_when_the_client_has_it_all_and_once(
    verb: str, served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twisted, pyftpdlib: before it was flushed. aioftp: MLSD ends with 200. Others: twice."""

    async def blocks(self: DirectoryLister) -> AsyncGenerator[ListingBlock, None]:
        for _ in range(100):
            yield ListingBlock((b"x" * 200 + b"\r\n") * 10)

    with (served_directory / "medium").open("wb") as file:
        file.truncate(200_000)
    monkeypatch.setattr(DirectoryLister, "take_all", lambda _: None)
    monkeypatch.setattr(DirectoryLister, "blocks", blocks)
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.slow_passive()
        assert await client.code(verb) == 125
        for _ in range(20):
            await client.quiet()
        assert len(await data.read()) >= 200_000
        assert await client.codes(1) == [226]
        await client.quiet()


async def test_status_of_a_file_shows_the_file(served_directory: Path) -> None:
    """ftpserverlib: a literal %s."""

    (served_directory / "file").write_bytes(b"12345")
    async with serving(served_directory) as server, server.logged_in() as client:
        status = await client.command("STAT file")
        assert re.search(r" 5 .* file\n213 ", status)
        assert "%" not in status


async def test_digest_is_that_of_the_file_in_the_current_directory(
    served_directory: Path,
) -> None:
    """ftpserverlib: of the file of that name in the top directory."""

    (served_directory / "sub").mkdir()
    (served_directory / "file").write_bytes(b"wrong")
    (served_directory / "sub" / "file").write_bytes(b"")
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("CWD sub") == 250
        assert await client.command("XMD5 file") == "250 d41d8cd98f00b204e9800998ecf8427e"


async def test_errors_of_opening_are_told_apart(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twisted: all are 550, no such file."""

    def refuse(number: int) -> object:
        def call(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        return call

    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.command("RETR missing") == "550 No such file or directory."
        monkeypatch.setattr(DiskStore, "_open_file", refuse(errno.EACCES))
        assert await client.command("RETR file") == "550 Permission denied."
        monkeypatch.setattr(DiskStore, "_open_file", refuse(errno.EIO))
        assert await client.command("RETR file") == "451 Local error in processing."


async def test_restart_is_good_for_one_transfer_and_survives_no_failure(
    served_directory: Path,
) -> None:
    """libunftp: kept when the transfer fails. aioftp: beyond the end accepted."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("REST 3") == 350
        data = await client.passive()
        assert await client.code("RETR file") == 125
        await data.close()
        await client.reply()
        assert await client.download("RETR file") == b"content"
        for refused in ("RETR", "APPE", "HASH"):
            assert await client.code("REST 3") == 350
            assert await client.code(refused) == 501
            assert await client.download("RETR file") == b"content"
        assert await client.code("REST 8") == 350
        assert await client.code("RETR file") == 554


async def test_every_transfer_command_during_a_transfer_waits_its_turn(
    served_directory: Path,
) -> None:
    """libunftp: the session is locked. Others: replies mixed."""

    (served_directory / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        await client.epsv()
        client.send(b"RETR file\r\nSIZE file\r\nEPSV\r\nNLST\r\nABOR\r\n")
        assert await client.codes(5) == [450, 450, 229, 450, 226]
        await client.quiet()
        data = await client.passive()
        client.send(b"RETR file\r\nSIZE file\r\nEPSV\r\nPWD\r\n")
        assert await data.read() == b"content"
        assert await client.codes(5) == [125, 226, 213, 229, 257]


# TYPE A


@pytest.mark.parametrize(
    "content",
    [b"\nabc\r", b"abc\r", b"\r", b"\n", b"\r\n", b"\n\n\r\r", b"a\rb\n", b"\r" * 100_000],
)
async def test_ascii_is_converted_right_at_the_edges(
    content: bytes, served_directory: Path
) -> None:
    """pyftpdlib: a final CR is lost, a first LF stays bare. Twisted: fails. aioftp: as it is."""

    (served_directory / "file").write_bytes(content)
    expected = re.sub(rb"\r\n|\n", b"\r\n", content)
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("TYPE A") == 200
        assert await client.download("RETR file") == expected
        assert (await client.upload("STOR new", expected))[:3] == "226"
        assert (served_directory / "new").read_bytes() == expected.replace(b"\r\n", b"\n")
        assert await client.command("SIZE file") == f"213 {len(expected)}"


# Listings


async def test_many_hard_links_do_not_touch_the_permissions(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twisted: from 10,000 on."""

    line = await _line(served_directory, monkeypatch, links=12345)
    assert re.match(rb"-[rwx-]{9} +12345 ", line)


async def test_dates_in_the_future_show_their_year(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyftpdlib, proftpd, pure-ftpd: a time of day."""

    future = time.time() + 40 * 86400
    line = await _line(served_directory, monkeypatch, modified=int(future))
    assert time.strftime(" %Y x", time.gmtime(future)).encode() in line


async def test_29_february_is_listed(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aioftp: fails."""

    line = await _line(served_directory, monkeypatch, modified=951_782_400)
    assert b" Feb 29  2000 x" in line


async def _line(
    directory: Path, patch: pytest.MonkeyPatch, *, links: int = 1, modified: int = 0
) -> bytes:
    def read(self: DirectoryReader, count: int) -> EntryTable:
        self.at_end = True
        return EntryTable(["x"], [(links, 0, 0, stat.S_IFREG | 0o644, 1, 0, modified, 1)])

    patch.setattr(DirectoryReader, "read", read)
    async with serving(directory) as server, server.logged_in() as client:
        return await client.download("LIST")


async def test_one_name_that_is_not_utf8_ends_neither_listing_nor_session(
    served_directory: Path,
) -> None:
    """aioftp: both. pyftpdlib: the name cannot be fetched."""

    name = b"caf\xe9"
    make_file(served_directory, name, b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.download("NLST") == name + b"\r\n"
        assert await client.download(f"RETR {os.fsdecode(name)}") == b"content"
        assert await client.code(f"DELE {os.fsdecode(name)}") == 250


async def test_list_options_are_not_taken_for_paths(served_directory: Path) -> None:
    """aioftp: 451. Twisted: all but four of them."""

    (served_directory / "file").touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        for options in ("-a", "-la", "-L", "-lR", "-aF"):
            assert b" file\r\n" in await client.download(f"LIST {options}")


async def test_nlst_of_nothing_is_550_and_of_a_file_its_name(served_directory: Path) -> None:
    """Twisted: an empty list, and 226 without a 150 before it."""

    (served_directory / "file").touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.download("NLST file") == b"file\r\n"
        await client.epsv()
        assert await client.code("NLST missing") == 550


async def test_entry_that_vanishes_while_listed_is_left_out(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several: the listing fails."""

    for name in ("one", "two"):
        (served_directory / name).touch()

    def read_names(*arguments: object) -> list[object]:
        found = list(itertools.islice(*arguments))  # type: ignore[call-overload]
        (served_directory / "two").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(directory_reader, "islice", read_names)
    async with serving(served_directory) as server, server.logged_in() as client:
        lines = (await client.download("LIST /")).split(b"\r\n")
        assert len(lines) == 2
        assert lines[0].endswith(b" one")


# Leaks


@pytest.mark.parametrize("line", ["RETR big", "STOR new", "LIST"])
async def test_nothing_is_left_around_a_quit(line: str, served_directory: Path) -> None:
    """pyftpdlib, swftp: sockets, and descriptors that others reuse."""

    with (served_directory / "big").open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    async with serving(served_directory) as server:
        for _ in range(5):
            await _quit_and_leave(server, line)
        await server.all_left()


async def _quit_and_leave(server: Serving, line: str) -> None:
    async with server.logged_in() as client:
        data = await client.slow_passive()
        client.send(line)
        client.send("QUIT")
        assert await client.codes(1) == [125]
        reset(data.writer)
        assert (await client.codes(2))[1] == 221


async def test_control_idle_timeout_does_not_kill_long_transfers(served_directory: Path) -> None:
    """ftpserverlib, ftp-srv, basic-ftp."""

    async with (
        serving(served_directory, idle_timeout=0.1) as server,
        server.logged_in() as client,
    ):
        data = await client.passive()
        assert await client.code("STOR new") == 125
        await asyncio.sleep(0.3)
        await data.send(b"content")
        assert await client.codes(1) == [226]
