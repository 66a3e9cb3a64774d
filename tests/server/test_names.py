"""What an argument names: options, patterns, ranges, escapes, and names that are made up."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import zlib
from pathlib import Path

import pytest

from tests.server.client import make_file, names, serving


def _lines(listing: bytes) -> set[bytes]:
    return set(listing.splitlines())


@pytest.mark.parametrize("prefix", ["", "dir/", "/dir/", "./dir/", "dir/../dir/"])
@pytest.mark.parametrize("pattern", ["*.txt", "?.txt", "[ab].txt"])
async def test_names_of_a_pattern_say_where_they_are(
    prefix: str, pattern: str, served_directory: Path
) -> None:
    """A single file's name does so, too: mget uses each as the argument of RETR."""

    for directory in (served_directory, served_directory / "dir"):
        directory.mkdir(exist_ok=True)
        for name in ("a.txt", "b.txt", "c.bin"):
            (directory / name).write_bytes(name.encode())
    async with serving(served_directory) as server, server.logged_in() as client:
        listed = _lines(await client.download(f"NLST {prefix}{pattern}"))
        expected = {f"{prefix}{name}.txt".encode() for name in "ab"}
        assert listed == expected
        assert _lines(await client.download(f"NLST {prefix}a.txt")) == {f"{prefix}a.txt".encode()}
        for path in listed:
            assert path.endswith(await client.download(f"RETR {path.decode()}"))


async def test_a_pattern_of_the_long_listing_shows_names(served_directory: Path) -> None:
    """They stand in a directory that the client has named."""

    (served_directory / "dir").mkdir()
    (served_directory / "dir" / "a.txt").touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        assert (await client.download("LIST dir/*.txt")).endswith(b" a.txt\r\n")


@pytest.mark.parametrize("verb", ["LIST", "NLST"])
@pytest.mark.parametrize("argument", ["-a", "-la", "-a -l", "-1"])
async def test_options_are_options(verb: str, argument: str, served_directory: Path) -> None:
    """The directory is listed even if a file has such a name; the client can give its path."""

    for name in ("-a", "-la", "-1", "other"):
        (served_directory / name).touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        assert (await client.download(f"{verb} {argument}")).count(b"\r\n") == 4
        assert (await client.download(f"{verb} ./-a")).endswith(b"./-a\r\n")


@pytest.mark.parametrize(
    ("argument", "found", "numbers"),
    [
        ("file", "file", (0, None)),
        ("file 1", "file 1", (0, None)),
        ('"file 1"', "file 1", (0, None)),
        ('"q"', '"q"', (0, None)),
        ("file 2", "file", (2, None)),
        ("file 2 3", "file", (2, 3)),
        ("file 1 2", "file 1", (2, None)),
        ("file 1 2 4", "file 1", (2, 4)),
        ('"file 1" 2', "file 1", (2, None)),
        ('"file 1" 2 4', "file 1", (2, 4)),
    ],
)
@pytest.mark.parametrize("verb", ["XCRC", "XSHA256"])
async def test_the_whole_name_comes_before_a_range(
    verb: str, argument: str, found: str, numbers: tuple[int, int | None], served_directory: Path
) -> None:
    """A name may end like a range, and quotation marks may be a part of it."""

    for name in ("file", "file 1", '"q"', "q"):
        (served_directory / name).write_bytes(name.encode() * 3)
    content = found.encode() * 3
    content = content[slice(*numbers)]
    expected = hashlib.sha256(content).hexdigest()
    if verb == "XCRC":
        expected = f"{zlib.crc32(content):08X}"
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.command(f"{verb} {argument}") == f"250 {expected}"


async def test_a_name_is_found_as_it_is_shown(served_directory: Path) -> None:
    """Control characters are shown as escapes, and each command takes these."""

    (served_directory / "d\tir").mkdir()
    make_file(served_directory, b"d\tir/f\tile", b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.download("NLST") == b"d\\011ir\r\n"
        assert await client.download("NLST d\\011ir") == b"f\\011ile\r\n"
        shown = "d\\011ir/f\\011ile"
        assert await client.download(f"NLST {shown}") == f"{shown}\r\n".encode()
        assert await client.download(f"RETR {shown}") == b"content"
        assert await client.download("RETR d\tir/f\tile") == b"content"
        assert await client.command(f"SIZE {shown}") == "213 7"
        for line in (f"MDTM {shown}", f"MLST {shown}", f"HASH {shown}", f"XCRC {shown}"):
            assert (await client.command(line))[0] == "2", line
        assert await client.command("CWD d\\011ir") == '250 "/d\\011ir" is the current directory.'
        assert await client.command("CWD /d\\011ir") == '250 "/d\\011ir" is the current directory.'
        assert await client.upload("STOR f\\011ile", b"new")
        assert names(served_directory / "d\tir") == ["f\tile"]
        assert await client.code("RNFR f\\011ile") == 350
        assert await client.code("RNTO plain") == 250
        assert await client.code("CWD /") == 250
        assert await client.code("DELE d\\011ir/plain") == 250
        assert await client.code("RMD d\\011ir") == 250
    assert names(served_directory) == []


async def test_the_literal_name_comes_first(served_directory: Path) -> None:
    """A backslash in a name is shown as an escape, too, if it would read as one."""

    make_file(served_directory, b"a\tb", b"tab")
    make_file(served_directory, b"a\\011b", b"backslash")
    async with serving(served_directory) as server, server.logged_in() as client:
        assert _lines(await client.download("NLST")) == {b"a\\011b", b"a\\134011b"}
        assert await client.download("RETR a\\011b") == b"backslash"
        assert await client.download("RETR a\\134011b") == b"backslash"
        assert await client.code("DELE a\\134011b") == 250
        assert await client.download("RETR a\\011b") == b"tab"


@pytest.mark.parametrize("name", ["\\056\\056", "\\057etc", "a\\000b", "..\\057x", "sub\\057file"])
async def test_an_escape_leads_nowhere_else(name: str, served_directory: Path) -> None:
    """It is decoded after the path was split, and never to a slash, a dot or NUL."""

    (served_directory / "sub").mkdir()
    (served_directory / "sub" / "file").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        await client.command("CWD sub")
        assert await client.code(f"CWD {name}") == 550
        assert await client.code(f"SIZE {name}") == 550


async def test_new_names_have_any_character_but_line_ends(served_directory: Path) -> None:
    """They may have TAB, escape, and bytes that are not UTF-8."""

    new = [b"a\tb", b"\x1b[2J", b"caf\xe9", "\u2028".encode(), b"\x7f"]
    async with serving(served_directory) as server, server.logged_in() as client:
        for name in new:
            text = name.decode("utf-8", "surrogateescape")
            assert (await client.upload(f"STOR {text}", b"content"))[:3] == "226"
        assert sorted(map(os.fsencode, names(served_directory))) == sorted(new)
        # RFC 2640 §3.1: CR NUL is a CR of the path.
        refused = {b"MKD x\r\0y\r\n": 550, b"STOU x\r\0y\r\n": 553, b"STOR a\0\r\n": 553}
        for line, code in refused.items():
            assert await client.code(line) == code
        assert await client.code("RNFR a\tb") == 350
        assert await client.code(b"RNTO x\r\0y\r\n") == 553


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("", r"ftp\.[0-9a-f]{16}"),
        ("prefix", r"prefix\.[0-9a-f]{16}"),
        ("report.tar.gz", r"report\.tar\.[0-9a-f]{16}\.gz"),
        ("dir/", r"dir/ftp\.[0-9a-f]{16}"),
        ("dir/report.txt", r"dir/report\.[0-9a-f]{16}\.txt"),
        ("/dir/report.txt", r"/dir/report\.[0-9a-f]{16}\.txt"),
    ],
)
async def test_a_unique_name_has_its_directory_and_extension(
    argument: str, expected: str, served_directory: Path
) -> None:
    """The name in both replies is an argument for RETR."""

    (served_directory / "dir").mkdir()
    async with serving(served_directory) as server, server.logged_in() as client:
        data = await client.passive()
        client.send(f"STOU {argument}".rstrip())
        announced = (await client.reply()).partition("FILE: ")[2]
        await data.send(b"content")
        assert (await client.reply()).partition("FILE: ")[2] == announced
        assert re.fullmatch(expected, announced)
        assert await client.download(f"RETR {announced}") == b"content"


async def test_the_log_has_the_name_as_it_is(
    served_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log keeps even a blank at its end."""

    caplog.set_level(logging.INFO, logger="ftpdata.examples.server")
    (served_directory / "file ").write_bytes(b"content")
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.download("RETR file ") == b"content"
        assert await client.download("LIST")
    messages = [record.getMessage() for record in caplog.records]
    assert any("RETR file : 7 bytes" in message for message in messages)
    assert any(": LIST: " in message for message in messages)
