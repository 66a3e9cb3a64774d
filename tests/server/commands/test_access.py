"""Access control and directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.client import names, serving


async def test_login(served_directory: Path) -> None:
    """331 for any name, 230 for the right password, 530 for a wrong one."""

    async with serving(served_directory) as server, server.connected() as client:
        assert await client.code("USER nobody") == 331
        assert await client.code("PASS secret") == 530
        assert await client.code("USER ann") == 331
        assert await client.code("PASS wrong") == 530
        assert await client.code("PWD") == 530
        assert await client.code("PASS secret") == 503
        await client.login()
        assert await client.code("PWD") == 257


async def test_anonymous_login(served_directory: Path) -> None:
    """With any password, and with none."""

    async with serving(served_directory) as server:
        for line in ("PASS me@example.org", "PASS ", "PASS"):
            async with server.connected() as client:
                assert await client.code("USER anonymous") == 331
                assert await client.code(line) == 230


async def test_wrong_passwords_are_limited(served_directory: Path) -> None:
    """421 at once, also over several names, and the end."""

    async with (
        serving(served_directory, max_login_failures=3) as server,
        server.connected() as client,
    ):
        for name in ("ann", "bob"):
            assert await client.code(f"USER {name}") == 331
            assert await client.code("PASS wrong") == 530
        assert await client.code("USER ann") == 331
        assert await client.code("PASS wrong") == 421
        assert await client.is_closed()


async def test_second_user_command_logs_out(served_directory: Path) -> None:
    """Nothing of the first user is left."""

    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("MKD sub") == 257
        assert await client.code("CWD sub") == 250
        assert await client.code("USER ann") == 331
        assert await client.code("PWD") == 530
        assert await client.code("PASS secret") == 230
        assert await client.command("PWD") == '257 "/" is the current directory.'


async def test_reinitialize(served_directory: Path) -> None:
    """All parameters as at the start; the data connection is closed (RFC 959 §4.1.1)."""

    (served_directory / "sub").mkdir()
    async with serving(served_directory) as server, server.logged_in() as client:
        for line in ("CWD sub", "EPSV ALL", "OPTS HASH MD5", "REST 5"):
            await client.command(line)
        port = await client.epsv()
        assert await client.code("REIN") == 220
        with pytest.raises(ConnectionRefusedError):
            await client.connect(port)
        assert await client.code("PWD") == 530
        await client.login()
        assert '"/"' in await client.command("PWD")
        assert "TYPE A" in await client.command("STAT")
        assert await client.code("PASV") == 227
        assert await client.command("OPTS HASH") == "200 SHA-256"


async def test_quit(served_directory: Path) -> None:
    """221, and the end."""

    async with serving(served_directory) as server, server.connected() as client:
        assert await client.code("QUIT") == 221
        assert await client.is_closed()


@pytest.mark.parametrize("x", ["", "X"])
async def test_directories(served_directory: Path, x: str) -> None:
    """Under their names, and those of RFC 1123."""

    change, up = ("XCWD", "XCUP") if x else ("CWD", "CDUP")
    async with serving(served_directory) as server, server.logged_in() as client:
        made = await client.command(f'{x}MKD a "b" c')
        assert made == '257 "/a ""b"" c" was created.'
        assert await client.code(f"{x}MKD a \"b\" c") == 550
        assert await client.code(f'{change} a "b" c') == 250
        assert await client.command(f"{x}PWD") == '257 "/a ""b"" c" is the current directory.'
        assert await client.code(up) == 200
        assert await client.code(up) == 200
        assert (await client.command(f"{x}PWD"))[:7] == '257 "/"'
        assert await client.code(f'{x}RMD a "b" c') == 250
        assert await client.code(f'{x}RMD a "b" c') == 550
        assert await client.code(f"{change} missing") == 550


async def test_directory_that_is_none(served_directory: Path) -> None:
    """A file, and a directory that is not empty."""

    (served_directory / "file").touch()
    (served_directory / "sub").mkdir()
    (served_directory / "sub" / "file").touch()
    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("CWD file") == 550
        assert await client.code("RMD file") == 550
        assert await client.code("RMD sub") == 550
        assert await client.code("RMD /") == 550


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("MKD x", 550), ("RMD sub", 550), ("DELE file", 550), ("RNFR file", 550),
        ("RNTO x", 553), ("STOR x", 553), ("APPE file", 553), ("STOU", 553),
        ("MFMT 20200101000000 file", 550), ("SITE CHMOD 777 file", 550),
        ("SITE UTIME 20200101000000 file", 550), ("XMKD x", 550), ("XRMD sub", 550),
    ],
)
async def test_read_only_server_changes_nothing(
    line: str, code: int, served_directory: Path
) -> None:
    """Every command that could is refused, before anything else."""

    (served_directory / "file").write_bytes(b"x")
    (served_directory / "sub").mkdir()
    before = (served_directory / "file").stat()
    async with serving(served_directory, writable=False) as server, server.logged_in() as client:
        await client.epsv()
        assert await client.code(line) == code
    assert (served_directory / "file").stat().st_mtime == before.st_mtime
    assert names(served_directory) == ["file", "sub"]
