"""Access control and directories."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from examples.server.accounts import Account, PasswordTable
from tests.server.client import PATIENCE, names, reset, serving


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
    """Anonymous users may log in with any password, and with none."""

    async with serving(served_directory) as server:
        for line in ("PASS me@example.org", "PASS ", "PASS"):
            async with server.connected() as client:
                assert await client.code("USER anonymous") == 331
                assert await client.code(line) == 230


async def test_wrong_passwords_are_limited(served_directory: Path) -> None:
    """The session ends with 421 at once, even if the passwords were for several names."""

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


async def test_wrong_passwords_of_an_address_are_counted_over_its_sessions(
    served_directory: Path,
) -> None:
    """The address gets 421 on open connections and new ones; nobody else is refused."""

    async with (
        serving(served_directory, max_login_failures=100, max_failures_per_address=4) as server,
        server.connected("127.0.0.8") as waiting,
        server.logged_in("127.0.0.8") as inside,
    ):
        for _ in range(2):
            async with server.connected("127.0.0.8") as guessing:
                for _ in range(2):
                    assert await guessing.code("USER ann") == 331
                    assert await guessing.code("PASS wrong") == 530
        async with server.arrived("127.0.0.8") as refused:
            assert await refused.command("") == "421 Too many wrong passwords, try later."
            assert await refused.is_closed()
        # Even the right password is not tried any more.
        assert await waiting.code("USER ann") == 331
        assert await waiting.code("PASS secret") == 421
        assert await waiting.is_closed()
        assert await inside.code("PWD") == 257
        async with server.logged_in("127.0.0.9"):
            pass


async def test_a_right_password_forgives_no_wrong_ones(served_directory: Path) -> None:
    """Otherwise somebody with an account could guess the passwords of others for ever."""

    async with serving(
        served_directory, max_login_failures=100, max_failures_per_address=3
    ) as server, server.connected() as client:
        for _ in range(2):
            assert await client.code("USER ann") == 331
            assert await client.code("PASS wrong") == 530
            await client.login("ftp")
        assert await client.code("USER ann") == 331
        assert await client.code("PASS wrong") == 530
        assert await client.code("USER ann") == 331
        assert await client.code("PASS secret") == 421


async def test_wrong_passwords_are_forgotten(served_directory: Path) -> None:
    """They are forgotten one by one, each after a time."""

    async with serving(
        served_directory, max_failures_per_address=1, failure_window=1.0
    ) as server:
        async with server.connected() as client:
            assert await client.code("USER ann") == 331
            assert await client.code("PASS wrong") == 530
        async with server.arrived() as refused:
            assert await refused.codes(1) == [421]
        async with asyncio.timeout(PATIENCE):
            while True:
                async with server.arrived() as client:
                    if await client.codes(1) == [220]:
                        await client.login()
                        return


async def test_guessing_in_parallel(served_directory: Path) -> None:
    """Many sessions at the same moment have no more guesses than one session."""

    tried = 0

    class Counting(PasswordTable):
        async def check(self, name: str, password: str, *, peer: str) -> Account | None:
            nonlocal tried
            tried += 1
            return await super().check(name, password, peer=peer)

    accounts = Counting([("ann", "secret")])
    async with (
        serving(
            served_directory, accounts=accounts, max_failures_per_address=5, login_delay=0.05
        ) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(server.connected()) for _ in range(20)]
        for client in clients:
            client.send(b"USER ann\r\nPASS wrong\r\n")
        codes = sorted([(await client.codes(2))[1] for client in clients])
        assert codes == [421] * 15 + [530] * 5
        assert tried == 5


async def test_wrong_password_is_answered_late(served_directory: Path) -> None:
    """The right password is answered at once; a client that leaves meanwhile is forgotten."""

    loop = asyncio.get_running_loop()
    async with serving(served_directory, login_delay=0.2) as server:
        async with server.connected() as client:
            began = loop.time()
            assert await client.code("USER ann") == 331
            assert await client.code("PASS wrong") == 530
            assert loop.time() - began >= 0.2
        async with server.connected() as client:
            client.send(b"USER ann\r\nPASS wrong\r\n")
            assert await client.codes(1) == [331]
            reset(client.writer)
        await server.all_left()


async def test_a_client_that_does_not_log_in_is_sent_away(served_directory: Path) -> None:
    """Commands now and then do not help; a client that has logged in has the usual time."""

    async with serving(served_directory, login_timeout=2.0) as server, server.logged_in() as inside:
        async with server.connected() as client:
            # More than it has time for: there is always something to be done.
            client.send(b"NOOP\r\n" * 1_000_000)
            while (code := int((await client.reply())[:3])) == 200:
                pass
            assert code == 421
        assert await inside.code("NOOP") == 200
        assert await inside.code("REIN") == 220
        await inside.login()


async def test_the_time_to_log_in_does_not_wait_for_silence(served_directory: Path) -> None:
    """Once the time is over, no command is run, not even one that has come already."""

    async with serving(served_directory) as server, server.connected() as client:
        (session,) = server.server._sessions
        session.login.until = asyncio.get_running_loop().time()
        assert await client.command("NOOP") == "421 Nobody has logged in."
        assert await client.is_closed()


async def test_second_user_command_logs_out(served_directory: Path) -> None:
    """Nothing of the first user remains."""

    async with serving(served_directory) as server, server.logged_in() as client:
        assert await client.code("MKD sub") == 257
        assert await client.code("CWD sub") == 250
        assert await client.code("USER ann") == 331
        assert await client.code("PWD") == 530
        assert await client.code("PASS secret") == 230
        assert await client.command("PWD") == '257 "/" is the current directory.'


async def test_reinitialize(served_directory: Path) -> None:
    """All parameters are as at the start; the data connection is closed (RFC 959 §4.1.1)."""

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
    """The reply is 221, and the connection ends."""

    async with serving(served_directory) as server, server.connected() as client:
        assert await client.code("QUIT") == 221
        assert await client.is_closed()


@pytest.mark.parametrize("x", ["", "X"])
async def test_directories(served_directory: Path, x: str) -> None:
    """The commands work under their names and under those of RFC 1123."""

    change, up = ("XCWD", "XCUP") if x else ("CWD", "CDUP")
    async with serving(served_directory) as server, server.logged_in() as client:
        made = await client.command(f'{x}MKD a "b" c')
        assert made == '257 "/a ""b"" c" was created.'
        assert await client.code(f"{x}MKD a \"b\" c") == 550
        assert await client.code(f'{change} a "b" c') == 250
        assert await client.command(f"{x}PWD") == '257 "/a ""b"" c" is the current directory.'
        # PHP takes only the code of CWD.
        assert await client.code(up) == 250
        assert await client.code(up) == 250
        assert (await client.command(f"{x}PWD"))[:7] == '257 "/"'
        assert await client.code(f'{x}RMD a "b" c') == 250
        assert await client.code(f'{x}RMD a "b" c') == 550
        assert await client.code(f"{change} missing") == 550


async def test_what_is_not_a_directory_is_refused(served_directory: Path) -> None:
    """A file is no directory to change to; a directory that is not empty is not removed."""

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
    """Every command that could change something is refused before anything else."""

    (served_directory / "file").write_bytes(b"x")
    (served_directory / "sub").mkdir()
    before = (served_directory / "file").stat()
    async with serving(served_directory, writable=False) as server, server.logged_in() as client:
        await client.epsv()
        assert await client.code(line) == code
    assert (served_directory / "file").stat().st_mtime == before.st_mtime
    assert names(served_directory) == ["file", "sub"]
