"""Accounts in a file of SQLite, with slow password hashes.

::

    python -m examples.accounts_sqlite accounts.db ann --home /ann --rights list,read,write
    python -m examples.server DIRECTORY --writable --accounts sqlite:accounts.db

The first command makes or changes an account, and reads its password from the standard input.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import hashlib
import hmac
import os
import sqlite3
import sys
from pathlib import Path

import aiosqlite

from .server.accounts import Account, Rights, Waiting

__all__ = ["SQLiteAccounts", "add_account"]

TABLE = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY, salt BLOB NOT NULL, digest BLOB NOT NULL,
    home TEXT NOT NULL, rights TEXT NOT NULL, rate REAL, quota INTEGER
)
"""

QUERY = "SELECT salt, digest, home, rights, rate, quota FROM accounts"

SALT = 16
"""Bytes."""


class SQLiteAccounts:
    """The accounts in a file.

    Args:
        file: Its path.

    Raises:
        OSError: It cannot be read.
        sqlite3.Error: It has no accounts.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self._uri = f"{Path(file).resolve(strict=True).as_uri()}?mode=ro"
        self._waiting = Waiting()
        self._nobody = os.urandom(SALT), b"", "/", "", None, None
        with contextlib.closing(sqlite3.connect(self._uri, uri=True)) as database:
            database.execute(f"{QUERY} LIMIT 0")

    async def check(self, name: str, password: str, *, peer: str) -> Account | None:
        """See `examples.server.accounts.Accounts`."""

        # SQLite takes no surrogates, and no account has such a name.
        found = await self._waiting.run(lambda: self._find(name)) if name.isprintable() else None
        # Somebody's password or nobody's: it takes the same time.
        salt, digest, home, rights, rate, quota = found or self._nobody
        computed = await self._waiting.run_in_thread(digest_of, password, salt)
        if not hmac.compare_digest(computed, digest):
            return None

        return Account(name, home=home, rights=Rights.parse(rights), rate=rate, quota=quota)

    async def _find(
        self, name: str
    ) -> tuple[bytes, bytes, str, str, float | None, int | None] | None:
        async with (
            aiosqlite.connect(self._uri, uri=True) as database,
            database.execute(f"{QUERY} WHERE name = ?", (name,)) as rows,
        ):
            row = await rows.fetchone()
        return None if row is None else (row[0], row[1], row[2], row[3], row[4], row[5])


def digest_of(password: str, salt: bytes) -> bytes:
    """Return what is kept of a password: a guess costs 16 MiB of memory and some 50 ms."""

    data = password.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(data, salt=salt, n=2**14, r=8, p=1)


def add_account(
    file: str | os.PathLike[str],
    name: str,
    password: str,
    *,
    home: str = "/",
    rights: str = "all",
    rate: float | None = None,
    quota: int | None = None,
) -> None:
    """Make an account, or replace it.

    Raises:
        ValueError: A value makes no sense.
        sqlite3.Error: The file cannot be written.
    """

    account = Account(name, home=home, rights=Rights.parse(rights), rate=rate, quota=quota)
    salt = os.urandom(SALT)
    row = name, salt, digest_of(password, salt), account.home, rights, rate, quota
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute(TABLE)
        database.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def main() -> None:
    """Make an account, as the command line says."""

    parser = argparse.ArgumentParser(prog="python -m examples.accounts_sqlite")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--home", default="/")
    parser.add_argument("--rights", default="all")
    parser.add_argument("--rate", type=float, metavar="BYTES_PER_SECOND")
    parser.add_argument("--quota", type=int, metavar="BYTES")
    options = vars(parser.parse_args())
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not password:
        # Anybody could log in with it.
        parser.error("expected a password on the standard input, not an empty line")
    try:
        add_account(password=password, **options)
    except (ValueError, sqlite3.Error) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
