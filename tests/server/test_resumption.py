"""Uploads that are cut and resumed, as clients ask for it: SIZE, REST, STOR and APPE."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from examples.server.accounts import PasswordTable
from examples.server.settings import Uploads
from ftpdata.deadlines import Deadlines
from ftpdata.files import is_reserved
from tests.harness.leaks import hidden_files
from tests.harness.waiting import until
from tests.server.client import Client, Data, Serving, names, reset, serving

OLD = b"what was there before"
NEW = bytes(i * 7 % 251 for i in range(900_000))
SENT = 700_000
TWO_USERS = PasswordTable([("ann", "secret"), ("bob", "secret")], anonymous=True)


def part_in(directory: Path) -> bytes | None:
    """Return what is in the one part of a directory; None if there is none."""

    for path in directory.glob(".ftpdata-part.*"):
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
    return None


def forget_parts(directory: Path) -> None:
    """Remove what a test leaves on purpose."""

    for path in hidden_files(directory):
        path.unlink()


async def begin(
    client: Client, directory: Path, line: str, data: bytes, *, came: int | None = None
) -> Data:
    """Begin an upload; return once this many bytes are in its part."""

    connection = await client.passive()
    client.send(line)
    assert (await client.codes(1))[0] in (125, 150)
    connection.writer.write(data)
    expected = len(data) if came is None else came
    await until(lambda: len(part_in(directory) or b"") == expected)
    return connection


async def cut(
    client: Client, directory: Path, name: str = "file", data: bytes = NEW[:SENT]
) -> None:
    """Upload something, and reset the connection."""

    connection = await begin(client, directory, f"STOR {name}", data)
    reset(connection.writer)
    await connection.close()
    assert await client.codes(1) == [426]


async def resume(client: Client, name: str, content: bytes) -> str:
    """Do as clients do that resume: SIZE, REST, STOR; return the last reply."""

    code, _, size = (await client.command(f"SIZE {name}")).partition(" ")
    assert code == "213"
    assert await client.code(f"REST {size}") == 350
    return await client.upload(f"STOR {name}", content[int(size) :])


async def refused(client: Client, line: str) -> str:
    """Say a transfer command that is refused; return the reply."""

    data = await client.passive()
    try:
        return await client.command(line)
    finally:
        await data.close()


# Resumed


@pytest.mark.parametrize("sent", [1, 2, 1000, SENT, len(NEW)])
async def test_size_rest_stor(served_directory: Path, sent: int) -> None:
    """Clients go on where the server says; one byte is sent again, so that something is."""

    async with serving(served_directory) as server, server.logged_in() as client:
        await cut(client, served_directory, data=NEW[:sent])
        assert not (served_directory / "file").exists()
        assert await client.command("SIZE file") == f"213 {sent - 1}"
        assert (await resume(client, "file", NEW))[:3] == "226"
        assert (served_directory / "file").read_bytes() == NEW
        assert await client.command("SIZE file") == f"213 {len(NEW)}"
        await client.quiet()
    assert hidden_files(served_directory) == []


async def by_abort(client: Client, data: Data, server: Serving) -> None:
    """The client says ABOR."""

    client.send("ABOR")
    assert await client.codes(2) == [426, 226]


async def by_losing_control(client: Client, data: Data, server: Serving) -> None:
    """Both connections are reset."""

    reset(client.writer)
    reset(data.writer)
    await server.all_left()


async def by_silence(client: Client, data: Data, server: Serving) -> None:
    """Nothing comes for a while."""

    assert await client.codes(1) == [426]


async def by_shutdown(client: Client, data: Data, server: Serving) -> None:
    """The server ends."""

    server.server.stop()
    await server.all_left()


CUTS = [by_abort, by_losing_control, by_silence, by_shutdown]


@pytest.mark.parametrize("old", [None, OLD])
@pytest.mark.parametrize("way", CUTS)
async def test_each_cut_keeps_a_part(served_directory: Path, way: Any, old: bytes | None) -> None:
    """It outlives the server; what was there before stays until the new file is whole."""

    path = served_directory / "file"
    if old is not None:
        path.write_bytes(old)
    deadlines = Deadlines(stall=0.2) if way is by_silence else Deadlines()
    async with (
        serving(served_directory, deadlines=deadlines) as server,
        server.logged_in() as client,
    ):
        data = await begin(client, served_directory, "STOR file", NEW[:SENT])
        await way(client, data, server)
        await data.close()
    assert part_in(served_directory) == NEW[:SENT]
    assert (path.read_bytes() if path.exists() else None) == old

    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code(f"REST {SENT}") == 350
        assert (await client.upload("STOR file", NEW[SENT:]))[:3] == "226"
    assert path.read_bytes() == NEW
    assert hidden_files(served_directory) == []


async def test_a_resumption_before_the_server_knows_that_the_client_is_gone(
    served_directory: Path,
) -> None:
    """The upload of the connection that seems to live is aborted."""

    async with serving(served_directory) as server, server.logged_in() as first:
        data = await begin(first, served_directory, "STOR file", NEW[:SENT])
        async with server.logged_in() as second:
            assert (await resume(second, "file", NEW))[:3] == "226"
        assert await first.codes(1) == [426]
        await data.close()
        await first.quiet()
    assert (served_directory / "file").read_bytes() == NEW
    assert hidden_files(served_directory) == []


# Beside a file


async def test_where_a_file_has_the_name(served_directory: Path) -> None:
    """SIZE, MLST and RETR tell of it alone; REST is about the part, and says so if it cannot be."""

    path = served_directory / "file"
    path.write_bytes(bytes(SENT + 500))
    async with serving(served_directory) as server, server.logged_in() as client:
        await cut(client, served_directory)
        assert await client.command("SIZE file") == f"213 {SENT + 500}"
        assert f"size={SENT + 500};" in (await client.command("MLST file")).lower()
        assert await client.download("RETR file") == bytes(SENT + 500)
        # What `lftp put -c` did: the old file with a new tail.
        assert await client.code(f"REST {SENT + 500}") == 350
        reply = await refused(client, "STOR file")
        assert reply[:3] == "554"
        assert "which would go on" in reply
        assert await client.code(f"REST {SENT - 10}") == 350
        assert (await client.upload("STOR file", NEW[SENT - 10 :]))[:3] == "226"
        assert path.read_bytes() == NEW
    assert hidden_files(served_directory) == []


async def test_without_a_part_a_file_is_written_to(served_directory: Path) -> None:
    """As RFC 3659 has it; and so it is if the part is older than the file."""

    path = served_directory / "file"
    path.write_bytes(OLD)
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("REST 5") == 350
        assert (await client.upload("STOR file", b"WAS"))[:3] == "226"
        assert path.read_bytes() == b"what WAS there before"
        await cut(client, served_directory)
        [part] = hidden_files(served_directory)
        os.utime(part, (0, 0))
        assert await client.code("REST 5") == 350
        assert (await client.upload("STOR file", b"was"))[:3] == "226"
        assert path.read_bytes() == OLD
        assert await client.code("REST 100") == 350
        assert (await refused(client, "STOR file"))[:3] == "554"
    assert hidden_files(served_directory) == []


async def test_a_range_repairs_the_file(served_directory: Path) -> None:
    """RANG is about what everybody sees, never about a part."""

    path = served_directory / "file"
    path.write_bytes(OLD)
    async with serving(served_directory) as server, server.logged_in() as client:
        await cut(client, served_directory)
        assert await client.code("RANG 5 7") == 350
        assert (await client.upload("STOR file", b"WAS"))[:3] == "226"
        assert path.read_bytes() == b"what WAS there before"
    forget_parts(served_directory)


async def test_a_new_upload_begins_anew(served_directory: Path) -> None:
    """FileZilla and rclone do so: nothing of the older upload is left in it, or beside it."""

    async with serving(served_directory) as server, server.logged_in() as client:
        await cut(client, served_directory)
        assert (await client.upload("STOR file", OLD))[:3] == "226"
        assert (served_directory / "file").read_bytes() == OLD
        # What a rename or a deletion leaves is no upload that was cut.
        assert await client.code("RNFR file") == 350
        assert await client.code("RNTO other") == 250
        assert await client.code("SIZE file") == 550
        await cut(client, served_directory)
        assert (await client.upload("STOR file", OLD))[:3] == "226"
        assert await client.code("DELE file") == 250
        assert await client.code("SIZE file") == 550
    assert hidden_files(served_directory) == []


# APPE


async def test_appe_after_size(served_directory: Path) -> None:
    """It goes on with the part (curl); without SIZE it makes a file that everybody sees."""

    async with serving(served_directory) as server, server.logged_in() as client:
        await cut(client, served_directory)
        assert await client.command("SIZE file") == f"213 {SENT - 1}"
        assert (await client.upload("APPE file", NEW[SENT - 1 :]))[:3] == "226"
        assert (served_directory / "file").read_bytes() == NEW
        assert hidden_files(served_directory) == []

        await cut(client, served_directory, "log")
        assert (await client.upload("APPE log", b"line\n"))[:3] == "226"
        assert (await client.upload("APPE log", b"line\n"))[:3] == "226"
        assert (served_directory / "log").read_bytes() == b"line\n" * 2
    forget_parts(served_directory)


async def test_a_part_that_is_gone_since_its_size_was_replied(served_directory: Path) -> None:
    """The upload is refused: the client would send only the end of a file."""

    path = served_directory / "file"
    async with serving(served_directory) as server, server.logged_in() as client:
        await cut(client, served_directory)
        assert await client.code("SIZE file") == 213
        forget_parts(served_directory)
        assert (await refused(client, "APPE file"))[:3] == "553"
        assert not path.exists()

        await cut(client, served_directory)
        assert await client.code("SIZE file") == 213
        path.write_bytes(OLD)
        forget_parts(served_directory)
        assert (await refused(client, "APPE file"))[:3] == "450"
        path.unlink()
        await cut(client, served_directory)
        assert await client.code("SIZE file") == 213
        path.write_bytes(OLD)
        forget_parts(served_directory)
        assert await client.code("REST 10") == 350
        assert (await refused(client, "STOR file"))[:3] == "450"
        assert path.read_bytes() == OLD
        # SIZE tells of the file now.
        assert await client.code("SIZE file") == 213
        assert (await client.upload("APPE file", b"!"))[:3] == "226"
        assert path.read_bytes() == OLD + b"!"

        path.unlink()
        await cut(client, served_directory)
        assert await client.code("SIZE file") == 213
        assert await client.code("TYPE A") == 200
        assert (await refused(client, "APPE file"))[:3] == "450"
    forget_parts(served_directory)


# Whose it is


async def test_nobody_else_learns_of_a_part(served_directory: Path) -> None:
    """Neither another user nor an anonymous one sees it; anonymous users leave no parts."""

    async with serving(served_directory, accounts=TWO_USERS) as server:
        async with server.logged_in() as client:
            await cut(client, served_directory)
        async with server.connected() as client:
            for name in ("bob", "anonymous"):
                await client.login(name)
                assert await client.code("TYPE I") == 200
                assert await client.code("SIZE file") == 550
                assert await client.code("DELE file") == 550
                assert await client.code("REST 10") == 350
                assert (await refused(client, "STOR file"))[:3] == "553"
            data = await client.passive()
            client.send("STOR other")
            assert await client.codes(1) == [125]
            data.writer.write(NEW)
            reset(data.writer)
            await data.close()
            assert await client.codes(1) == [426]
            assert part_in(served_directory) == NEW[:SENT]
            assert len(hidden_files(served_directory)) == 1
        # Another login in the same session is another owner.
        async with server.logged_in() as client:
            assert await client.code("SIZE file") == 213
            await client.login("bob")
            assert await client.code("TYPE I") == 200
            assert (await client.upload("APPE file", b"bob's"))[:3] == "226"
            assert (served_directory / "file").read_bytes() == b"bob's"
    forget_parts(served_directory)


async def test_names_of_parts_are_reserved(served_directory: Path) -> None:
    """Every command refuses them, and no listing shows them."""

    (served_directory / "sub").mkdir()
    async with serving(served_directory) as server, server.logged_in() as client:
        await cut(client, served_directory)
        [part] = [path.name for path in hidden_files(served_directory)]
        for name in (part, f"/{part}", f"sub/../{part}", part.upper(), ".ftpdata-x/y"):
            for line in (
                f"SIZE {name}", f"MDTM {name}", f"MLST {name}", f"DELE {name}", f"RNFR {name}",
                f"MKD {name}", f"RMD {name}", f"CWD {name}", f"HASH {name}", f"XCRC {name}",
                f"MFMT 20200101000000 {name}", f"SITE CHMOD 644 {name}", f"STAT {name}",
                f"SITE UTIME 20200101000000 {name}", f"AVBL {name}",
            ):
                assert await client.code(line) == 553, line
            for line in ("RETR", "STOR", "APPE", "STOU", "LIST", "NLST", "MLSD"):
                assert (await refused(client, f"{line} {name}"))[:3] == "553", line
        assert await client.code("RNFR sub") == 350
        assert await client.code(f"RNTO {part}") == 553
        for line in ("LIST", "LIST -a", "NLST", "MLSD"):
            assert b"ftpdata" not in await client.download(line)
        for line in ("LIST .*", "NLST .f*", f"NLST {part[:-1]}?"):
            data = await client.passive()
            client.send(line)
            if (await client.codes(1))[0] in (125, 150):
                assert b"ftpdata" not in await data.read()
                assert await client.codes(1) == [226]
            await data.close()
    assert part_in(served_directory) == NEW[:SENT]
    forget_parts(served_directory)


async def test_directories_with_parts(served_directory: Path) -> None:
    """A directory that holds only parts can be removed; a renamed one keeps its parts."""

    (served_directory / "sub").mkdir()
    async with serving(served_directory) as server, server.logged_in() as client:
        await cut(client, served_directory / "sub", "sub/file")
        assert await client.code("RNFR sub") == 350
        assert await client.code("RNTO moved") == 250
        assert await client.command("SIZE moved/file") == f"213 {SENT - 1}"
        data = await begin(client, served_directory / "moved", "STOR moved/file", NEW[:1000])
        async with server.logged_in() as other:
            assert await other.code("RMD moved") == 550
        reset(data.writer)
        await data.close()
        assert await client.codes(1) == [426]
        assert await client.code("RMD moved") == 250
    assert not names(served_directory)
    assert not hidden_files(served_directory)


async def test_a_part_can_be_deleted(served_directory: Path) -> None:
    """DELE of the file's name deletes it."""

    async with serving(served_directory) as server, server.logged_in() as client:
        await cut(client, served_directory)
        assert await client.code("DELE file") == 250
        assert await client.code("DELE file") == 550
        assert await client.code("SIZE file") == 550
    assert hidden_files(served_directory) == []


async def test_what_rest_could_not_resume_is_not_kept(served_directory: Path) -> None:
    """In TYPE A an offset in the part is not an offset in the client's file."""

    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("TYPE A") == 200
        data = await client.passive()
        client.send("STOR file")
        assert await client.codes(1) == [125]
        data.writer.write(b"line\r\n" * 100_000)
        await until(lambda: hidden_files(served_directory) != [])
        reset(data.writer)
        await data.close()
        assert await client.codes(1) == [426]
    assert hidden_files(served_directory) == []


# The other two ways


@contextlib.asynccontextmanager
async def replacing(path: Path, uploads: Uploads) -> AsyncIterator[tuple[Client, Data]]:
    """Begin an upload over an old file, in one of the server's ways."""

    async with serving(path.parent, uploads=uploads) as server, server.logged_in() as client:
        data = await client.passive()
        client.send(f"STOR {path.name}")
        assert await client.codes(1) == [125]
        yield client, data


async def test_atomic_uploads(served_directory: Path) -> None:
    """An upload that was cut leaves nothing, and REST writes into the file."""

    path = served_directory / "file"
    path.write_bytes(OLD)
    async with replacing(path, Uploads.ATOMIC) as (client, data):
        data.writer.write(NEW)
        await until(lambda: hidden_files(served_directory) != [])
        assert all(is_reserved(name.name) for name in hidden_files(served_directory))
        reset(data.writer)
        await data.close()
        assert await client.codes(1) == [426]
        assert names(served_directory) == ["file"]
        assert path.read_bytes() == OLD
        assert await client.code("REST 5") == 350
        assert (await client.upload("STOR file", b"WAS"))[:3] == "226"
        assert path.read_bytes() == b"what WAS there before"


async def test_uploads_in_place(served_directory: Path) -> None:
    """What came is visible under the file's name, and a resumption continues there."""

    path = served_directory / "file"
    path.write_bytes(OLD)
    async with replacing(path, Uploads.IN_PLACE) as (client, data):
        data.writer.write(NEW[:SENT])
        await until(lambda: path.read_bytes() == NEW[:SENT])
        reset(data.writer)
        await data.close()
        assert await client.codes(1) == [426]
        assert (await resume(client, "file", NEW))[:3] == "226"
        assert path.read_bytes() == NEW
    assert hidden_files(served_directory) == []


# The janitor


async def test_old_parts_are_removed(
    served_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server removes them when it starts and then each hour; the log names them."""

    caplog.set_level("INFO", "ftpdata.examples.server")
    async with serving(served_directory) as server, server.logged_in() as client:
        await cut(client, served_directory)
    [part] = hidden_files(served_directory)
    os.utime(part, (0, 0))
    async with serving(served_directory, clean_interval=0.01):
        await until(lambda: not hidden_files(served_directory))
        await until(lambda: f"removed {part.name}, {SENT} bytes: it is older" in caplog.text)
        again = served_directory / ".ftpdata-temp.0"
        again.touch()
        os.utime(again, (0, 0))
        await until(lambda: not hidden_files(served_directory))

    again.touch()
    os.utime(again, (0, 0))
    async with serving(served_directory, writable=False, clean_interval=0.0):
        await asyncio.sleep(0)
    assert hidden_files(served_directory) == [again]
    again.unlink()
