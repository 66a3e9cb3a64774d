"""Files and their facts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import zlib
from pathlib import Path

import pytest

from examples.server.disk import DiskReader
from tests.server.client import serving

CONTENT = b"line\nCRLF\r\nno end"


@pytest.fixture
def directory(served_directory: Path) -> Path:
    """Give the served directory with a file and a directory in it."""

    (served_directory / "file").write_bytes(CONTENT)
    (served_directory / "with blank").write_bytes(CONTENT)
    (served_directory / "empty").touch()
    (served_directory / "sub").mkdir()
    os.utime(served_directory / "file", (0, 1_000_000_000))
    return served_directory


async def test_delete(directory: Path) -> None:
    """DELE deletes a file, and refuses a directory or a name that does not exist."""

    async with serving(directory) as server, server.logged_in() as client:
        assert await client.code("DELE file") == 250
        assert await client.code("DELE file") == 550
        assert await client.code("DELE sub") == 550
        assert not (directory / "file").exists()


async def test_rename(directory: Path) -> None:
    """RNTO is accepted right after RNFR, and only there."""

    async with serving(directory) as server, server.logged_in() as client:
        assert await client.code("RNTO x") == 503
        assert await client.code("RNFR missing") == 550
        assert await client.code("RNTO x") == 503
        assert await client.code("RNFR file") == 350
        assert await client.code("PWD") == 257
        assert await client.code("RNTO x") == 503
        assert await client.code("RNFR file") == 350
        assert await client.code("RNTO missing/x") == 553
        assert await client.code("RNTO x") == 503
        assert await client.code("RNFR file") == 350
        assert await client.code("RNTO sub/x") == 250
        assert (directory / "sub" / "x").read_bytes() == CONTENT


async def test_a_directory_does_not_move_into_itself(directory: Path) -> None:
    """That will not be possible later, either: 553, not 451."""

    async with serving(directory) as server, server.logged_in() as client:
        for name in ("sub/x", "sub/x/y"):
            assert await client.code("RNFR sub") == 350
            assert await client.code(f"RNTO {name}") == 553
        assert await client.code("CWD sub") == 250


async def test_size(directory: Path) -> None:
    """What RETR would send, in both types (RFC 3659 §4)."""

    async with serving(directory) as server, server.logged_in() as client:
        assert await client.command("SIZE file") == f"213 {len(CONTENT)}"
        assert await client.command("SIZE empty") == "213 0"
        assert await client.code("TYPE A") == 200
        sent = await client.download("RETR file")
        assert await client.command("SIZE file") == f"213 {len(sent)}"
        assert len(sent) != len(CONTENT)
        for name in ("missing", "sub", "/"):
            assert await client.code(f"SIZE {name}") == 550


async def test_size_in_ascii_is_bounded(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file is not read to find its size in TYPE A."""

    monkeypatch.setattr("examples.server.commands.files.MAX_COUNTED", len(CONTENT) - 1)
    async with serving(directory) as server, server.logged_in() as client:
        assert await client.code("TYPE A") == 200
        assert await client.code("SIZE file") == 550
        assert await client.code("TYPE I") == 200
        assert await client.code("SIZE file") == 213


async def test_modification_time(directory: Path) -> None:
    """The time is in UTC, and can be set (RFC 3659 §3, draft-somers-ftp-mfxx)."""

    async with serving(directory) as server, server.logged_in() as client:
        assert await client.command("MDTM file") == "213 20010909014640"
        assert await client.code("MDTM missing") == 550
        expected = "213 Modify=20020717210715; with blank"
        assert await client.command("MFMT 20020717210715 with blank") == expected
        assert await client.command("MDTM with blank") == "213 20020717210715"
        assert (directory / "with blank").stat().st_mtime == 1026940035
        for line in ("MFMT 2002 file", "MFMT 20021317210715 file", "MFMT 20020717210715", "MFMT x"):
            assert await client.code(line) == 501
        assert await client.code("MFMT 20020717210715 missing") == 550


async def test_facts_of_one_file(directory: Path) -> None:
    """MLST sends one line over the control connection, with the full path (RFC 3659 §7)."""

    async with serving(directory) as server, server.logged_in() as client:
        first, line, last = (await client.command("MLST file")).split("\n")
        assert (first[:4], last[:4]) == ("250-", "250 ")
        facts, name = line.lower().split("; ", 1)
        assert name == "/file"
        assert line[0] == " "
        assert {"type=file", f"size={len(CONTENT)}", "modify=20010909014640"} <= set(
            facts.strip().split(";")
        )
        assert "type=dir" in (await client.command("MLST")).lower().replace("cdir", "dir")
        assert await client.code("MLST missing") == 550


async def test_hash(directory: Path) -> None:
    """HASH takes a file or a range; the algorithm can be chosen (draft-bryan-ftpext-hash)."""

    expected = hashlib.sha256(CONTENT).hexdigest()
    async with serving(directory) as server, server.logged_in() as client:
        reply = f"213 SHA-256 0-{len(CONTENT) - 1} {expected} file"
        assert await client.command("HASH file") == reply
        assert await client.command("OPTS HASH") == "200 SHA-256"
        assert await client.command("OPTS HASH sha-1") == "200 SHA-1"
        assert await client.code("OPTS HASH CRC-37") == 501
        assert await client.command("OPTS HASH") == "200 SHA-1"
        assert "HASH SHA-256;SHA-512;SHA-1*;MD5;CRC32;" in await client.command("FEAT")
        assert await client.code("RANG 2 4") == 350
        part = hashlib.sha1(CONTENT[2:5]).hexdigest()
        assert await client.command("HASH file") == f"213 SHA-1 2-4 {part} file"
        whole = hashlib.sha1(CONTENT).hexdigest()
        assert f"0-{len(CONTENT) - 1} {whole}" in await client.command("HASH file")
        nothing = hashlib.sha1(b"").hexdigest()
        assert await client.command("HASH empty") == f"213 SHA-1 0-0 {nothing} empty"
        assert await client.code("HASH missing") == 550
        assert await client.code("HASH sub") == 553


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("XMD5 file", hashlib.md5(CONTENT).hexdigest()),
        ("XSHA1 file", hashlib.sha1(CONTENT).hexdigest()),
        ("XSHA256 file", hashlib.sha256(CONTENT).hexdigest()),
        ("XCRC file", f"{zlib.crc32(CONTENT):08X}"),
        ("XCRC with blank", f"{zlib.crc32(CONTENT):08X}"),
        ('XCRC "with blank" 3', f"{zlib.crc32(CONTENT[3:]):08X}"),
        ('XCRC "with blank" 3 7', f"{zlib.crc32(CONTENT[3:7]):08X}"),
        ("XCRC file 3 999", f"{zlib.crc32(CONTENT[3:]):08X}"),
        ("XCRC file 999", "00000000"),
        ("XMD5 empty", hashlib.md5(b"").hexdigest()),
    ],
)
async def test_digests(line: str, expected: str, directory: Path) -> None:
    """The digest is of the whole file, or of a part of it."""

    async with serving(directory) as server, server.logged_in() as client:
        assert await client.command(line) == f"250 {expected}"


@pytest.mark.parametrize(
    ("line", "code"),
    [("XCRC missing", 550), ("XMD5 sub", 550), ("XCRC file 5 3", 501), ("XCRC", 501),
     ("XCRC file 99999999999999999999", 501)],
)
async def test_digests_that_cannot_be_computed(line: str, code: int, directory: Path) -> None:
    """There is one reply with the right code."""

    async with serving(directory) as server, server.logged_in() as client:
        assert await client.code(line) == code


@pytest.mark.parametrize("line", ["HASH file", "XSHA256 file"])
async def test_digest_is_ended_by_abor(
    line: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest gets 450 and ABOR gets 226; NOOP and STAT are answered meanwhile."""

    begun = asyncio.Event()

    async def chunks(*_: object) -> object:
        begun.set()
        await asyncio.Event().wait()
        yield b""

    async with serving(directory) as server, server.logged_in() as client:
        monkeypatch.setattr(DiskReader, "chunks", chunks)
        client.send(line)
        await begun.wait()
        assert await client.code("NOOP") == 200
        assert line.split(maxsplit=1)[0] in await client.command("STAT")
        client.send("ABOR")
        assert await client.codes(2) == [450, 226]
        await client.quiet()
