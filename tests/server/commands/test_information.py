"""What the server says about itself."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from examples.server.commands import COMMANDS
from examples.server.hosts import VirtualHost
from tests.harness.tls import server_certificate
from tests.server.client import serving

WANTED = """
USER PASS REIN QUIT NOOP SYST FEAT OPTS HELP STAT SITE PWD CWD CDUP MKD RMD TYPE STRU MODE PORT
EPRT PASV EPSV RETR STOR APPE STOU REST RANG ALLO ABOR LIST NLST MLSD MLST SIZE MDTM MFMT DELE RNFR
RNTO HASH AVBL XCRC XMD5 XSHA1 XSHA256 XPWD XCWD XCUP XMKD XRMD
AUTH PBSZ PROT CCC HOST
"""


def test_every_command_is_there() -> None:
    """The server has the commands that it promises, and no others."""

    assert set(COMMANDS) == set(WANTED.split())


async def test_help_names_every_command(served_directory: Path) -> None:
    """It does so before the login, too, and has the syntax of each; TLS commands need TLS."""

    async with (
        serving(
            served_directory,
            certificate=server_certificate(),
            hosts={"ftp.example": VirtualHost()},
        ) as server,
        server.connected() as client,
    ):
        listed = (await client.command("HELP")).split("\n")
        assert {word for line in listed[1:-1] for word in line.split()} == set(COMMANDS)

    async with serving(served_directory) as server, server.connected() as client:
        assert not {"AUTH", "CCC", "HOST"} & set((await client.command("HELP")).split())
        assert await client.command("HELP retr") == "214 Syntax: RETR path"
        assert await client.command("HELP LIST") == "214 Syntax: LIST [path]"
        assert await client.code("HELP XYZ") == 501


@pytest.mark.parametrize("verb", sorted(set(COMMANDS) - {"QUIT", "PASS", "USER"}))
async def test_each_command_gives_one_reply(verb: str, served_directory: Path) -> None:
    """This holds before and after the login, without an argument and with a wrong one."""

    async with serving(served_directory) as server, server.connected() as client:
        code = await client.code(verb)
        assert (code == 530) is COMMANDS[verb].needs_login
        await client.quiet()
        await client.login()
        for line in (verb, f"{verb} \x01", verb.lower()):
            await client.command(line)
            await client.quiet()


async def test_features(served_directory: Path) -> None:
    """There is one on each line, with a blank in front (RFC 2389 §3.2)."""

    async with serving(served_directory) as server, server.connected() as client:
        lines = (await client.command("FEAT")).split("\n")
        assert (lines[0][:4], lines[-1][:4]) == ("211-", "211 ")
        assert all(line[0] == " " and line[1] != " " for line in lines[1:-1])
        named = {line.split()[0] for line in lines[1:-1]}
        assert {"EPRT", "EPSV", "MLST", "SIZE", "MDTM", "MFMT", "REST", "RANG", "UTF8"} <= named
        assert {" MODE Z", " REST STREAM", " RANG STREAM"} <= set(lines)
        assert not {"AUTH", "PBSZ", "PROT"} & named


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("OPTS UTF8 ON", 200), ("OPTS utf8 on", 200), ("OPTS UTF8 OFF", 501), ("OPTS", 501),
        ("OPTS XYZ", 501), ("OPTS HASH SHA-512", 200), ("OPTS HASH x", 501),
        ("OPTS MODE Z", 200), ("OPTS MODE Z LEVEL 9", 200), ("opts mode z level 0", 200),
        ("OPTS MODE Z ENGINE ZLIB LEVEL 1", 200), ("OPTS MODE Z LEVEL 10", 501),
        ("OPTS MODE Z LEVEL", 501), ("OPTS MODE Z LEVEL -1", 501), ("OPTS MODE Z LEVEL ٣", 501),
        ("OPTS MODE Z BLOCKSIZE 1", 501), ("OPTS MODE", 501), ("OPTS MODE B", 501),
        ("OPTS MLST type;size;", 200), ("SYST", 215), ("NOOP", 200), ("NOOP x", 200),
        ("SITE HELP", 214), ("SITE XYZ", 501), ("SITE", 501),
        ("ACCT x", 502), ("AUTH TLS", 502), ("XYZ", 500), ("", 500), (" NOOP", 500),
    ],
)
async def test_replies(line: str, code: int, served_directory: Path) -> None:
    """Each command gets one reply with the right code."""

    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code(line) == code
        await client.quiet()


async def test_status_of_the_session(served_directory: Path) -> None:
    """STAT says who the user is, from where, and with which parameters."""

    async with serving(served_directory) as server, server.logged_in() as client:
        status = await client.command("STAT")
        assert status.startswith("211-")
        for text in ("127.0.0.1", "ann", "TYPE I, STRU F, MODE S", "Nothing is being"):
            assert text in status
        assert "secret" not in status


async def test_status_lists_over_the_control_connection(served_directory: Path) -> None:
    """A directory gets 212, a file 213, and a missing name 550 (RFC 959 §5.4)."""

    for number in range(1500):
        (served_directory / f"211 {number}").touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        lines = (await client.command("STAT /")).split("\n")
        assert (lines[0][:4], lines[-1][:4], len(lines)) == ("212-", "212 ", 1502)
        assert all(line[0] == " " for line in lines[1:-1])
        lines = (await client.command("STAT 211 7")).split("\n")
        assert (lines[0][:4], lines[-1][:4], len(lines)) == ("213-", "213 ", 3)
        assert len((await client.command("STAT -la /")).split("\n")) == 1502
        assert await client.code("STAT missing") == 550


async def test_site_commands(served_directory: Path) -> None:
    """CHMOD and UTIME."""

    (served_directory / "a file").touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("SITE CHMOD 640 a file") == 200
        assert await client.code("SITE UTIME 20020717210715 a file") == 200
        status = (served_directory / "a file").stat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o640, 1026940035)
        for mode in ("4755", "9", "", "64", "1777", "-640"):
            assert await client.code(f"SITE CHMOD {mode} a file") == 501
        assert await client.code("SITE CHMOD 640 missing") == 550
        assert await client.code("SITE UTIME x a file") == 501
