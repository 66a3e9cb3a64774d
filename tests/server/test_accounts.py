"""Who may log in: the table of passwords, and how any accounts are asked."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import threading
from pathlib import Path

import attrs
import pytest

from examples.server import accounts
from examples.server.accounts import Account, Accounts, PasswordTable, Rights, Waiting
from tests.server.client import PATIENCE, serving


async def check(accounts: Accounts, name: str, password: str) -> Account | None:
    """Ask whether a password is right."""

    return await accounts.check(name, password, peer="192.0.2.1")


async def test_right_password_logs_in() -> None:
    """A known name with its password is a user."""

    assert await check(PasswordTable([("ann", "secret")]), "ann", "secret") == Account("ann")


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", ""),
        ("ann", "Secret"),
        ("ann", "secre"),
        ("ann", "secrets"),
        ("bob", "secret"),
        ("", ""),
        ("ann", "secret\udcff"),
        ("ANN", "secret"),
        ("anonymous", "me@"),
    ],
)
async def test_anything_else_does_not(name: str, password: str) -> None:
    """A wrong password or an unknown name is nobody."""

    assert await check(PasswordTable([("ann", "secret")]), name, password) is None


async def test_password_of_any_bytes_is_compared() -> None:
    """Passwords that are not UTF-8 or not ASCII work."""

    accounts = PasswordTable([("ann", "p\udcffä")])
    assert await check(accounts, "ann", "p\udcffä")
    assert not await check(accounts, "ann", "p\udcfeä")


@pytest.mark.parametrize("name", ["anonymous", "ftp", "Anonymous"])
async def test_anonymous_takes_any_password(name: str) -> None:
    """Anonymous users say any password, if they are let in at all."""

    let_in, refused = PasswordTable(anonymous=True), PasswordTable(anonymous=False)
    assert await check(let_in, name, "me@example.org") == Account(name.lower(), True)
    assert await check(refused, name, "me@example.org") is None


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_passwords_are_compared_in_constant_time_also_for_unknown_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comparison of equal length happens, whether the name exists or not."""

    lengths: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        lengths.append((len(a), len(b)))
        return hmac.compare_digest(a, b)

    checked = PasswordTable([("ann", "secret")])
    with monkeypatch.context() as patch:
        patch.setattr(accounts, "hmac", _Hmac(compare))
        await check(checked, name, "a wrong password of another length")

    assert lengths == [(32, 32)]


class _Hmac:
    def __init__(self, compare: object) -> None:
        self.compare_digest = compare
        self.digest = hmac.digest


def test_argument_is_parsed() -> None:
    """NAME:PASSWORD; the password may hold colons and may be empty."""

    assert PasswordTable.parse("ann:a:b") == ("ann", "a:b")
    assert PasswordTable.parse("ann:") == ("ann", "")
    for wrong in ("ann", ":secret", ""):
        with pytest.raises(ValueError, match="NAME:PASSWORD"):
            PasswordTable.parse(wrong)


def test_rights_are_parsed() -> None:
    """Names between commas or blanks."""

    assert Rights.parse("list, READ") == Rights.READ_ONLY == Rights.parse("read-only")
    assert Rights.parse("") is Rights.NONE
    assert Rights.parse("all") == Rights.ALL
    with pytest.raises(ValueError, match="not 'fly'"):
        Rights.parse("read fly")


def test_account_is_checked() -> None:
    """A home is a path from the top; a rate lets something pass."""

    assert Account("ann", home="ann/../bob").home == "/bob"
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive rate"):
            Account("ann", rate=rate)


@attrs.define
class Slow:
    """Accounts that answer when they are told to."""

    answer: Account | Exception | None = None
    asked: int = 0
    go: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def check(self, name: str, password: str, *, peer: str) -> Account | None:
        """Wait, and answer."""

        self.asked += 1
        await self.go.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_accounts_that_do_not_answer_are_given_up(
    served_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is to try later: it may have been right."""

    async with serving(
        served_directory, accounts=Slow(), check_timeout=0.05, max_failures_per_address=1
    ) as server:
        for _ in range(2):
            # It counts as no wrong password.
            async with server.connected() as client:
                assert await client.code("USER ann") == 331
                assert await client.code("PASS secret") == 421
                assert await client.is_closed()
    assert "nobody said within 0.05 s whether ann may log in" in caplog.text


async def test_accounts_that_fail_are_no_refusal(
    served_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the traceback, the client nothing of it."""

    accounts = Slow(ConnectionError("the database of secrets is away"))
    accounts.go.set()
    async with (
        serving(served_directory, accounts=accounts) as server,
        server.connected() as client,
    ):
        assert await client.code("USER ann") == 331
        reply = await client.command("PASS secret")
        assert reply == "421 Nobody can log in at this time, try later."
        assert await client.is_closed()
    assert "the database of secrets is away" in caplog.text


async def test_accounts_that_block_let_others_work(served_directory: Path) -> None:
    """A thread that hangs keeps its place, and hangs no session; the others are still asked."""

    hanging, waiting = threading.Event(), Waiting(1)
    table = PasswordTable([("ann", "secret")])
    begun = 0

    def hang() -> None:
        nonlocal begun
        begun += 1
        hanging.wait()

    class Blocking:
        async def check(self, name: str, password: str, *, peer: str) -> Account | None:
            if name == "bob":
                await waiting.run_in_thread(hang)
            return await table.check(name, password, peer=peer)

    try:
        async with serving(served_directory, accounts=Blocking(), check_timeout=0.05) as server:
            for _ in range(3):
                async with server.connected() as client:
                    assert await client.code("USER bob") == 331
                    assert await client.code("PASS secret") == 421
            async with server.logged_in():
                pass
        # The others never had a thread.
        assert begun == 1
    finally:
        hanging.set()
    # The place is free again.
    assert await waiting.run_in_thread(lambda: "done") == "done"


async def test_guesses_at_the_same_moment_are_no_more_than_others(served_directory: Path) -> None:
    """However long the check takes."""

    accounts = Slow()
    async with (
        serving(served_directory, accounts=accounts, max_failures_per_address=3) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(server.connected()) for _ in range(8)]
        for client in clients:
            client.send(b"USER ann\r\nPASS guess\r\n")
            assert await client.codes(1) == [331]
        async with asyncio.timeout(PATIENCE):
            while accounts.asked < 3:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)
        accounts.go.set()
        codes = sorted([(await client.codes(1))[0] for client in clients])
        assert codes == [421] * 5 + [530] * 3
        assert accounts.asked == 3


async def test_session_that_is_cancelled_while_it_asks_leaves_nothing(
    served_directory: Path,
) -> None:
    """The server ends although nobody answers."""

    accounts = Slow()
    async with (
        serving(served_directory, accounts=accounts, grace=0.01) as server,
        server.connected() as client,
    ):
        client.send(b"USER ann\r\nPASS secret\r\n")
        assert await client.codes(1) == [331]
        async with asyncio.timeout(PATIENCE):
            while not accounts.asked:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)
        server.server.stop()
        assert await client.is_closed()
