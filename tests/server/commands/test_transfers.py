"""RETR, STOR, APPE, STOU, and the listings, over the wire."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from pathlib import Path

import pytest

from examples.server.disk import DiskStore
from ftpdata import FileTarget
from tests.server.client import make_file, names, reset, serving

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def directory(served_directory: Path) -> Path:
    """Give the served directory with some files in it."""

    (served_directory / "file").write_bytes(CONTENT)
    (served_directory / "empty").touch()
    (served_directory / "sub").mkdir()
    (served_directory / "sub" / "inner").write_bytes(b"inner")
    return served_directory


# RETR


async def test_retrieve(directory: Path) -> None:
    """A file arrives whole: also an empty one, one in a directory, and one by an absolute path."""

    async with serving(directory) as server, server.logged_in() as client:
        assert await client.download("RETR file") == CONTENT
        assert await client.download("RETR empty") == b""
        assert await client.download("RETR sub/inner") == b"inner"
        assert await client.code("CWD sub") == 250
        assert await client.download("RETR inner") == b"inner"
        assert await client.download("RETR /file") == CONTENT
        assert await client.download("RETR ../file") == CONTENT


async def test_preliminary_reply_tells_the_bytes_to_come(directory: Path) -> None:
    """It has the form that clients look for; in TYPE A the number is unknown and left out."""

    async with serving(directory) as server, server.logged_in() as client:
        for lines, shown in (
            (["REST 400"], f"({len(CONTENT) - 400} bytes)"),
            (["RANG 5 9"], "(5 bytes)"),
            ([], f"({len(CONTENT)} bytes)"),
            (["TYPE A"], ""),
        ):
            for line in lines:
                await client.command(line)
            data = await client.passive()
            preliminary = await client.command("RETR file")
            assert (shown in preliminary) if shown else ("bytes)" not in preliminary)
            await data.read()
            assert await client.codes(1) == [226]


@pytest.mark.parametrize(
    ("line", "code"),
    [("RETR missing", 550), ("RETR sub", 550), ("RETR missing/x", 550), ("RETR file/x", 550),
     ("RETR", 501), ("RETR a\0b", 550), ("LIST missing", 550), ("NLST missing", 550),
     ("MLSD missing", 550), ("MLSD file", 501), ("STOR sub", 553), ("STOR missing/x", 553),
     ("STOR", 501), ("STOR /", 553), ("APPE sub", 553), ("STOU missing/x", 553),
     ("STOR " + "x" * 256, 553), ("STOR a\r\0b", 553)],
)
async def test_what_is_refused_is_refused_before_the_data_connection(
    line: str, code: int, directory: Path
) -> None:
    """There is one reply, without a 1xx before it."""

    async with serving(directory) as server, server.logged_in() as client:
        data = await client.passive()
        assert await client.code(line) == code
        await client.quiet()
        await data.close()
    assert names(directory) == ["empty", "file", "sub"]


async def test_restart(directory: Path) -> None:
    """The transfer begins at the offset, which serves one command, successful or not."""

    async with serving(directory) as server, server.logged_in() as client:
        for offset in (1, len(CONTENT) - 1, len(CONTENT)):
            assert await client.code(f"REST {offset}") == 350
            assert await client.download("RETR file") == CONTENT[offset:]
        assert await client.download("RETR file") == CONTENT
        assert await client.code(f"REST {len(CONTENT) + 1}") == 350
        assert await client.code("RETR file") == 554
        assert await client.download("RETR file") == CONTENT
        assert await client.code("REST 7") == 350
        assert await client.code("RETR missing") == 550
        assert await client.download("RETR file") == CONTENT
        assert await client.code("REST 9223372036854775807") == 350
        assert await client.code("RETR file") == 554


async def test_restart_is_for_binary_types(directory: Path) -> None:
    """In TYPE A it is refused, whenever it comes, except in block and compressed mode."""

    async with serving(directory) as server, server.logged_in() as client:
        assert await client.code("REST 7") == 350
        assert await client.code("TYPE A") == 200
        for line in ("RETR file", "REST 7"):
            assert await client.code(line) == 501
        assert await client.code("REST 0") == 350
        assert len(await client.download("RETR empty")) == 0


async def test_range(directory: Path) -> None:
    """Both ends belong to it; beyond the file it is empty (draft-bryan-ftp-range §4.3)."""

    async with serving(directory) as server, server.logged_in() as client:
        for start, end, expected in (
            (0, 0, CONTENT[:1]),
            (5, 9, CONTENT[5:10]),
            (5, 10**9, CONTENT[5:]),
            (len(CONTENT), 10**9, b""),
            (10**9, 10**9 + 5, b""),
        ):
            assert await client.code(f"RANG {start} {end}") == 350
            assert await client.download("RETR file") == expected
        assert await client.download("RETR file") == CONTENT
        assert await client.code("RANG 5 9") == 350
        assert await client.code("RANG 1 0") == 350
        assert await client.download("RETR file") == CONTENT
        assert await client.code("TYPE A") == 200
        assert await client.code("RANG 5 9") == 551
        assert await client.code("TYPE I") == 200
        assert await client.code("MODE Z") == 200
        assert await client.code("RANG 5 9") == 551


async def test_range_of_an_upload(directory: Path) -> None:
    """It repairs a part of a file in place; with another number of bytes it is not complete."""

    async with serving(directory) as server, server.logged_in() as client:
        for content, codes in ((b"12345", (226,)), (b"123", (426, 451)), (b"1234567", (451, 552))):
            assert await client.code("RANG 5 9") == 350
            assert int((await client.upload("STOR file", content))[:3]) in codes
            repaired = content[:5].ljust(5, b"?")
            stored = (directory / "file").read_bytes()
            assert stored[:5] + stored[10:] == CONTENT[:5] + CONTENT[10:]
            assert all(a == b for a, b in zip(repaired, stored[5:10], strict=True) if a != 0x3F)
        assert await client.code("RANG 5 9") == 350
        assert await client.code("STOR missing") == 553
        assert await client.code(f"RANG {len(CONTENT) + 1} {len(CONTENT) + 9}") == 350
        assert await client.code("STOR file") == 554
        for line, code in (("APPE file", 450), ("STOU", 450)):
            assert await client.code("RANG 5 9") == 350
            assert await client.code(line) == code


async def test_last_byte_of_a_large_sparse_file(directory: Path) -> None:
    """Offsets beyond 4 GiB work."""

    size = 5 * 2**30
    with (directory / "large").open("wb") as file:
        file.truncate(size - 1)
        file.seek(size - 1)
        file.write(b"!")
    async with serving(directory) as server, server.logged_in() as client:
        assert await client.command("SIZE large") == f"213 {size}"
        assert await client.code(f"REST {size - 1}") == 350
        assert await client.download("RETR large") == b"!"


async def test_file_that_shrinks_is_never_complete(directory: Path) -> None:
    """The reply is 451 or 426, and the connection has no clean end of file."""

    size = 32 * 1024 * 1024
    with (directory / "shrinking").open("wb") as file:
        file.truncate(size)
    async with serving(directory) as server, server.logged_in() as client:
        data = await client.slow_passive()
        client.send("RETR shrinking")
        assert await client.codes(1) == [125]
        await data.reader.readexactly(1000)
        os.truncate(directory / "shrinking", 2 * 1024 * 1024)
        assert await data.was_reset()
        assert (await client.codes(1))[0] in (426, 451)
        await client.quiet()


async def test_rate_is_limited(directory: Path) -> None:
    """A transfer takes the time that the rate gives it."""

    async with (
        serving(directory, rate=400_000) as server,
        server.logged_in() as client,
    ):
        started = asyncio.get_running_loop().time()
        assert await client.download("RETR file") == CONTENT
        assert asyncio.get_running_loop().time() - started > 0.1


# STOR, APPE, STOU


async def test_store(directory: Path) -> None:
    """An upload makes or replaces a file: also an empty one, and one in a directory."""

    async with serving(directory) as server, server.logged_in() as client:
        for name, content in (("new", CONTENT), ("file", b"x"), ("none", b""), ("sub/y", b"y")):
            assert (await client.upload(f"STOR {name}", content))[:3] == "226"
            assert (directory / name).read_bytes() == content


async def test_new_names_are_any_bytes_but_line_ends(served_directory: Path) -> None:
    """They need not be UTF-8; this holds for files, directories and renamed files."""

    made = ["caf\udce9", "日本", " lead", "trail ", "-la", "a;b", '"', "\u202e", "\udcff\udcfe",
            "a\x1bb", "a\x7fb", "a\x85b", "a\u2028b", "a\tb"]
    async with serving(served_directory) as server, server.logged_in() as client:
        for name in made:
            assert (await client.upload(f"STOR {name}", b"x"))[:3] == "226"
            assert await client.download(f"RETR {name}") == b"x"
            assert await client.code(f"MKD {name}.d") == 257
            assert await client.code(f"RNFR {name}") == 350
            assert await client.code(f"RNTO {name}.r") == 250
        assert names(served_directory) == sorted(
            name + end for name in made for end in (".d", ".r")
        )
        assert await client.code("STOR a\r\0b") == 553
        assert await client.code("MKD a\r\0b") == 550
        assert await client.code(f"RNFR {made[0]}.d") == 350
        assert await client.code("RNTO a\r\0b") == 553


async def test_upload_takes_its_name_when_it_is_whole(directory: Path) -> None:
    """Until then others get the old file."""

    async with serving(directory) as server, server.logged_in() as client:
        data = await client.passive()
        client.send("STOR file")
        assert await client.codes(1) == [125]
        data.writer.write(b"new")
        async with server.logged_in() as other:
            assert await other.download("RETR file") == CONTENT
        await data.close()
        assert await client.codes(1) == [226]
        assert (directory / "file").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["new", "file"])
async def test_upload_that_is_reset_leaves_nothing(name: str, directory: Path) -> None:
    """The reply is 426, and the final name has its old content."""

    async with serving(directory) as server, server.logged_in() as client:
        data = await client.passive()
        client.send(f"STOR {name}")
        assert await client.codes(1) == [125]
        data.writer.write(b"x" * 100_000)
        await data.writer.drain()
        reset(data.writer)
        assert await client.codes(1) == [426]
        await client.quiet()
    assert (directory / "file").read_bytes() == CONTENT
    assert names(directory) == ["empty", "file", "sub"]


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, 452), (errno.EDQUOT, 552), (errno.EIO, 451), (errno.EFBIG, 552)],
)
async def test_disk_that_fails(
    number: int, code: int, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply says what failed; nothing is left, and the session goes on."""

    async def write(self: FileTarget, data: bytes) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FileTarget, "write", write)
    async with serving(directory) as server, server.logged_in() as client:
        data = await client.passive()
        client.send("STOR new")
        assert await client.codes(1) == [125]
        data.writer.write(CONTENT)
        assert await client.codes(1) == [code]
        await data.close()
        await client.quiet()
    assert names(directory) == ["empty", "file", "sub"]


async def test_resumed_upload_is_written_in_place(directory: Path) -> None:
    """The upload starts at the offset, not after the end."""

    async with serving(directory) as server, server.logged_in() as client:
        assert await client.code("REST 100") == 350
        assert (await client.upload("STOR file", b"new"))[:3] == "226"
        assert (directory / "file").read_bytes() == CONTENT[:100] + b"new" + CONTENT[103:]
        assert await client.code(f"REST {len(CONTENT) + 1}") == 350
        assert await client.code("STOR file") == 554
        assert await client.code("REST 1") == 350
        assert await client.code("STOR missing") == 553
        assert names(directory) == ["empty", "file", "sub"]


async def test_append(directory: Path) -> None:
    """APPE adds to the end or makes the file; it cannot be combined with REST."""

    async with serving(directory) as server, server.logged_in() as client:
        assert (await client.upload("APPE file", b"more"))[:3] == "226"
        assert (directory / "file").read_bytes() == CONTENT + b"more"
        assert (await client.upload("APPE new", b"first"))[:3] == "226"
        assert (directory / "new").read_bytes() == b"first"
        for line in ("APPE file", "STOU"):
            assert await client.code("REST 5") == 350
            assert await client.code(line) == 450


async def test_store_unique(directory: Path) -> None:
    """Each upload gets a new name, which the 1xx and the final reply have (RFC 1123 §4.1.2.9)."""

    async with serving(directory) as server, server.logged_in() as client:
        given = set()
        for line in ("STOU", "STOU", "STOU file", "STOU sub/x"):
            data = await client.passive()
            preliminary = await client.command(line)
            found = re.fullmatch(r"1[25][05] FILE: (\S+)", preliminary)
            assert found
            await data.send(line.encode())
            last = await client.reply()
            assert last[:3] == "226"
            assert f"FILE: {found[1]}" in last
            assert (directory / found[1]).read_bytes() == line.encode()
            given.add(found[1])
        assert len(given) == 4
        assert (directory / "file").read_bytes() == CONTENT
        data = await client.passive()
        client.send("STOU")
        assert await client.codes(1) == [125]
        reset(data.writer)
        assert await client.codes(1) == [426]
        assert len(names(directory)) == 6


async def test_links_are_not_a_way_out_for_uploads(directory: Path, tmp_path: Path) -> None:
    """Neither a link at the end of the path nor one within it leads out."""

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"untouched")
    (directory / "link").symlink_to(outside / "victim")
    (directory / "out").symlink_to(outside)
    async with serving(directory) as server, server.logged_in() as client:
        for line in ("STOR link", "APPE link", "STOR out/new", "STOU out/x", "STOR out/victim"):
            assert await client.code(line) in (550, 553)
        assert await client.code("RETR link") == 550
    assert (outside / "victim").read_bytes() == b"untouched"
    assert names(outside) == ["victim"]


# LIST, NLST, MLSD


async def test_listings_of_directories(directory: Path) -> None:
    """Each entry has a line of its own, in all three forms."""

    async with serving(directory) as server, server.logged_in() as client:
        there = [os.fsencode(name) for name in names(directory)]
        assert sorted((await client.download("NLST")).split(b"\r\n")[:-1]) == there
        lines = (await client.download("LIST")).split(b"\r\n")[:-1]
        assert sorted(line.rpartition(b" ")[2] for line in lines) == there
        assert sorted(line[:1] for line in lines) == [b"-", b"-", b"d"]
        lines = (await client.download("MLSD")).split(b"\r\n")[:-1]
        assert sorted(line.partition(b"; ")[2] for line in lines) == there
        for line in ("LIST sub", "LIST /sub/", "LIST -la sub", "LIST -a -l sub"):
            (only,) = (await client.download(line)).split(b"\r\n")[:-1]
            assert only.endswith(b" inner")
        (directory / "none").mkdir()
        for line in ("LIST none", "NLST none", "MLSD none"):
            assert await client.download(line) == b""


async def test_listings_of_files(directory: Path) -> None:
    """LIST and NLST show the file by the name that the client gave."""

    async with serving(directory) as server, server.logged_in() as client:
        assert await client.download("NLST file") == b"file\r\n"
        assert await client.download("NLST sub/inner") == b"sub/inner\r\n"
        assert (await client.download("LIST file")).endswith(b" file\r\n")


@pytest.mark.parametrize("options", ["-a", "-l", "-al", "-la", "-L", "-1", "-aL", "-l -a", "-ltr"])
async def test_list_options_are_not_paths(options: str, directory: Path) -> None:
    """This holds even if there is such a file: the client can give its path."""

    async with serving(directory) as server, server.logged_in() as client:
        assert (await client.download(f"LIST {options}")).count(b"\r\n") == 3
        assert (await client.download(f"NLST {options} sub")) == b"inner\r\n"
        (directory / options).write_bytes(b"x")
        assert (await client.download(f"NLST {options}")).count(b"\r\n") == 4
        assert (await client.download(f"NLST ./{options}")) == f"./{options}\r\n".encode()


async def test_patterns(directory: Path) -> None:
    """The last name may be a pattern, for clients that leave patterns to the server."""

    (directory / "[x]").touch()
    async with serving(directory) as server, server.logged_in() as client:
        assert sorted((await client.download("NLST *e*")).split()) == [b"empty", b"file"]
        assert await client.download("NLST sub/i????") == b"sub/inner\r\n"
        assert await client.download("NLST [x]") == b"[x]\r\n"
        assert await client.download("NLST *.txt") == b""
        assert await client.code("NLST missing/*") == 550


async def test_hostile_names_forge_no_entries(served_directory: Path) -> None:
    """Each entry is one line without control characters; other bytes are sent as they are."""

    names = [
        b"a\r\n-rw-r--r-- 1 0 0 1 Jan  1  1970 forged", b"type=dir;size=1; x", b"caf\xe9",
        b"\x1b[2J", b" lead", b"trail ", b"a\nb", b"\x7f", b"tab\t", "日本".encode(), b"x" * 255,
        b"-la", b"%0a", b"a;b", b"\xe2\x80\xae", b"\\",
    ]
    for name in names:
        make_file(served_directory, name)
    async with serving(served_directory) as server, server.logged_in() as client:
        for verb in ("LIST", "NLST", "MLSD"):
            data = await client.download(verb)
            lines = data.split(b"\r\n")
            assert len(lines) == len(names) + 1
            assert not [byte for line in lines for byte in line if byte < 32 or byte == 127]
            assert any(line.endswith(b"caf\xe9") for line in lines)
        status = await client.command("STAT /")
        assert len(status.split("\n")) == len(names) + 2
        for name in (b"caf\xe9", b" lead", b"trail ", b"tab\t", b"-la", b"\x1b[2J"):
            assert await client.download(f"RETR {os.fsdecode(name)}") == b""


async def test_directory_that_cannot_be_read_is_known_before_the_150(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply is 550, and no data connection is opened."""

    def refuse(self: DiskStore, path: str) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(DiskStore, "_open_directory", refuse)
    async with serving(directory) as server, server.logged_in() as client:
        await client.epsv()
        for line in ("LIST", "NLST", "MLSD"):
            assert await client.code(line) == 550
        await client.quiet()


async def test_fifty_transfers_on_one_control_connection(directory: Path) -> None:
    """All of them arrive whole."""

    async with serving(directory) as server, server.logged_in() as client:
        for number in range(25):
            assert await client.download("RETR file") == CONTENT
            assert (await client.upload("STOR new", CONTENT[:number]))[:3] == "226"
