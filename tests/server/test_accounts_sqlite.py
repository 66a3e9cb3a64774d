"""Accounts in a file of SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import accounts_sqlite
from examples.accounts_sqlite import SQLiteAccounts, add_account
from examples.server.accounts import Account, Rights
from tests.server.client import serving
from tests.server.launched import ROOT, started


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with one account."""

    made = tmp_path / "accounts of ?#.db"
    add_account(made, "ann", "secret", home="/ann", rights="list,read", rate=1e6)
    return made


@pytest.fixture
def accounts(file: Path) -> SQLiteAccounts:
    """Return what is in the file."""

    return SQLiteAccounts(file)


async def test_right_password_logs_in(accounts: SQLiteAccounts) -> None:
    """The account is what was stored; a wrong password or name is nobody."""

    account = Account("ann", home="/ann", rights=Rights.READ_ONLY, rate=1e6)
    assert await accounts.check("ann", "secret", peer="192.0.2.1") == account
    for name, password in {
        "ann": "Secret", "ANN": "secret", "bob": "secret", "": "", "' OR 1 --": "secret",
        "ann\udcff": "secret", "ann\0": "secret",
    }.items():
        assert await accounts.check(name, password, peer="192.0.2.1") is None


@pytest.mark.blocking_allowed("the test makes accounts, as a program of its own does")
async def test_account_is_replaced(file: Path, accounts: SQLiteAccounts) -> None:
    """The next login has the new password, without a restart."""

    add_account(file, "ann", "p\udcffä")
    assert await accounts.check("ann", "secret", peer="") is None
    assert await accounts.check("ann", "p\udcffä", peer="") == Account("ann")


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_unknown_names_cost_the_same(
    accounts: SQLiteAccounts, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slow hash, whether the name exists or not."""

    hashed: list[tuple[str, int]] = []

    def digest_of(password: str, salt: bytes) -> bytes:
        hashed.append((password, len(salt)))
        return b"something"

    monkeypatch.setattr(accounts_sqlite, "digest_of", digest_of)
    assert await accounts.check(name, "wrong", peer="") is None
    assert hashed == [("wrong", accounts_sqlite.SALT)]


def test_file_without_accounts_is_refused(tmp_path: Path) -> None:
    """When the server starts, not when the first user comes."""

    with pytest.raises(FileNotFoundError):
        SQLiteAccounts(tmp_path / "none")
    (tmp_path / "other").write_bytes(b"no database, but long enough to look at")
    with pytest.raises(sqlite3.Error):
        SQLiteAccounts(tmp_path / "other")


@pytest.mark.blocking_allowed("the test has a lock on the database")
async def test_database_that_is_locked_is_no_wrong_password(
    file: Path, accounts: SQLiteAccounts, tmp_path: Path
) -> None:
    """The check ends at its deadline, and the thread that waits for SQLite later."""

    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("BEGIN EXCLUSIVE")
        async with (
            serving(tmp_path, accounts=accounts, check_timeout=0.05) as server,
            server.connected() as client,
        ):
            assert await client.code("USER ann") == 331
            assert await client.code("PASS secret") == 421
        database.rollback()
    # The place of the check that was given up is free again after that.
    assert await accounts.check("ann", "secret", peer="") is not None
    while accounts._waiting._running:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)


@contextlib.contextmanager
def logged_in(host: str, port: int) -> Iterator[ftplib.FTP]:
    """Log in as ann."""

    with ftplib.FTP() as ftp:
        ftp.connect(host, port, timeout=60)
        ftp.login("ann", "other")
        yield ftp


def test_command_line(tmp_path: Path) -> None:
    """An account is made by one program, and serves in the other."""

    served, file = tmp_path / "served", tmp_path / "accounts.db"
    (served / "ann").mkdir(parents=True)
    (served / "ann" / "file").touch()
    subprocess.run(
        [sys.executable, "-m", "examples.accounts_sqlite", file, "ann",
         "--home", "ann", "--rights", "list", "--rate", "1e6"],
        cwd=ROOT, input="other\n", text=True, check=True,
    )
    with started(str(served), "--port", "0", "--writable", "--accounts", f"sqlite:{file}") as (
        _, host, port,
    ), logged_in(host, port) as ftp:
        assert ftp.nlst() == ["file"]
        with pytest.raises(ftplib.error_perm, match="550 You may not"):
            ftp.delete("file")


def test_an_empty_password_is_refused(tmp_path: Path) -> None:
    """Also the one of a standard input that has ended: no account is made."""

    file = tmp_path / "accounts.db"
    for said in ("", "\n"):
        done = subprocess.run(
            [sys.executable, "-m", "examples.accounts_sqlite", file, "ann"],
            cwd=ROOT, input=said, text=True, stderr=subprocess.PIPE, check=False,
        )
        assert done.returncode == 2
        assert "expected a password" in done.stderr
    assert not file.exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:/nowhere/accounts.db", "cannot use the accounts: .*No such file"),
        ("oracle:x", "expected sqlite:FILE or an LDAP URL"),
    ],
)
def test_wrong_url_is_refused(url: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a sentence, before anything listens."""

    from examples.server.__main__ import main

    with pytest.raises(SystemExit):
        main(["/", "--accounts", url])
    assert re.search(message, capsys.readouterr().err)
    with pytest.raises(SystemExit):
        main(["/", "--accounts", url, "--anonymous"])
    assert "give no --anonymous" in capsys.readouterr().err
