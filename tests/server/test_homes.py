"""What a user sees, and what a user may do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest

from examples.server.accounts import Account, Rights
from ftpdata import TransferResult
from ftpdata.observers import Observer, Transfer
from tests.harness.obstores import memory_store, start_runtime
from tests.server.client import PATIENCE, names, serving


@attrs.define
class Anybody:
    """Accounts of users who need no password."""

    users: dict[str, Account]

    @classmethod
    def of(cls, *users: Account) -> Anybody:
        """Make the accounts of some users."""

        return cls({user.name: user for user in users})

    async def check(self, name: str, password: str, *, peer: str) -> Account | None:
        """See `examples.server.accounts.Accounts`."""

        return self.users.get(name)


HOMES = Anybody.of(Account("ann", home="/ann"), Account("bob", home="/bob"), Account("host"))


@pytest.fixture(scope="module", autouse=True)
def runtime() -> None:
    """Let no test be the first to use obstore."""

    start_runtime()


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    """Return a directory with two homes."""

    for name in ("ann", "bob"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "whose").write_text(name)
    (tmp_path / "secret").write_text("of the host")
    return tmp_path


async def test_home_is_the_top(homes: Path) -> None:
    """A user sees his own files, and the next one who logs in his."""

    async with serving(homes, accounts=HOMES) as server, server.connected() as client:
        for name in ("ann", "bob"):
            await client.login(name)
            assert await client.command("PWD") == '257 "/" is the current directory.'
            assert await client.download("NLST") == b"whose\r\n"
            assert await client.download("RETR /whose") == name.encode()
            assert (await client.upload(f"STOR ../../of-{name}", b"new"))[:3] == "226"
            assert names(homes / name) == [f"of-{name}", "whose"]
            await client.command("MKD sub")
            assert await client.code("CWD sub") == 250
        await client.login("host")
        assert await client.command("PWD") == '257 "/" is the current directory.'
        listed = await client.download("NLST")
        assert sorted(listed.split()) == [b"ann", b"bob", b"secret"]


@pytest.mark.parametrize(
    "command",
    ["RETR ../secret", "RETR /../secret", "RETR up/secret", "RETR out", "CWD up", "MLST up/secret",
     "SIZE /bob/whose", "RNFR ../bob/whose", "DELE up/secret", "RMD up/bob"],
)
async def test_nothing_leads_out_of_a_home(homes: Path, command: str) -> None:
    """Neither a path nor a link, which leads to what the server serves, but not this user."""

    (homes / "ann" / "up").symlink_to("..")
    (homes / "ann" / "out").symlink_to("../secret")
    async with serving(homes, accounts=HOMES) as server, server.connected() as client:
        await client.login("ann")
        data = await client.passive()
        assert await client.code(command) == 550
        assert await client.code("STOR up/new") == 553
        await data.close()
    assert names(homes) == ["ann", "bob", "secret"]


async def test_user_without_a_home_is_not_let_in(
    homes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The host reads why; another user may log in on the same connection."""

    accounts = Anybody.of(Account("eve", home="/eve\x1b"), Account("ann", home="/ann"))
    async with serving(homes, accounts=accounts) as server, server.connected() as client:
        assert await client.code("USER eve") == 331
        assert await client.command("PASS x") == "530 Your directory is not there."
        assert await client.code("PWD") == 530
        assert r"eve has no home /eve\x1b" in caplog.text
        await client.login("ann")


async def test_parts_are_resumed_at_home(homes: Path) -> None:
    """What was cut in one session goes on in the next; another user has no such part."""

    async with serving(homes, accounts=HOMES) as server:
        async with server.connected() as client:
            await client.login("ann")
            await client.code("TYPE I")
            data = await client.passive()
            client.send("STOR file")
            assert (await client.codes(1))[0] in (125, 150)
            data.writer.write(b"half ")
            async with asyncio.timeout(PATIENCE):
                while " 5 bytes" not in await client.command("STAT"):
                    pass
            client.send("ABOR")
            assert await client.codes(2) == [426, 226]
            await data.close()
            size = int((await client.command("SIZE file")).removeprefix("213 "))
            assert 0 < size <= 5
        async with server.connected() as client:
            await client.login("bob")
            await client.code("TYPE I")
            assert await client.code("SIZE file") == 550
            await client.login("ann")
            await client.code("TYPE I")
            assert await client.code(f"REST {size}") == 350
            reply = await client.upload("STOR file", b"half and half"[size:])
            assert reply[:3] == "226"
    assert (homes / "ann" / "file").read_bytes() == b"half and half"


async def test_observers_are_told_which_file_of_the_store_it_is(homes: Path) -> None:
    """Two users' files of one name are two files."""

    told: list[tuple[str | None, str | None]] = []

    class Told(Observer):
        def ended(
            self, transfer: Transfer, result: TransferResult, error: BaseException | None
        ) -> None:
            assert transfer.subject is not None
            told.append((transfer.subject.user, transfer.subject.name))

    async with (
        serving(homes, accounts=HOMES, observer=Told()) as server,
        server.connected() as client,
    ):
        for name in ("ann", "bob", "host"):
            await client.login(name)
            await client.upload("STOR new", b"")
            await client.download("NLST")
    assert told == [
        ("ann", "/ann/new"), ("ann", "/ann"), ("bob", "/bob/new"), ("bob", "/bob"),
        ("host", "/new"), ("host", "/"),
    ]


async def test_homes_leave_no_descriptors(homes: Path) -> None:
    """However a session ends, and however often a user logs in (the fixtures count)."""

    async with serving(homes, accounts=HOMES) as server:
        for line in (b"QUIT\r\n", b"USER bob\r\nPASS x\r\nREIN\r\n", b"USER bob\r\n"):
            async with server.connected() as client:
                await client.login("ann")
                client.send(line)
        await server.all_left()


async def test_home_in_a_bucket() -> None:
    """A prefix that nobody has made is there, and cannot be removed or hidden by an object."""

    from examples.server.objects import ObjectStore

    store = ObjectStore(memory_store(), renames=True)
    async with serving(store, accounts=HOMES) as server, server.connected() as client:
        await client.login("ann")
        await client.code("TYPE I")
        assert await client.download("NLST") == b""
        assert (await client.upload("STOR file", b"of ann"))[:3] == "226"
        assert await client.code("RNFR file") == 350
        for command, code in {"RNTO /": 553, "RMD /": 550, "MKD /": 550, "DELE /": 550}.items():
            assert await client.code(command) == code, command
        data = await client.passive()
        assert await client.code("STOR /") == 553
        await data.close()
        assert await client.code("MKD sub") == 257
        assert (await client.upload("STOR sub/file", b"of ann"))[:3] == "226"
        assert await client.code("RNFR sub/file") == 350
        assert await client.code("RNTO new") == 250
        await client.login("bob")
        assert await client.download("NLST") == b""
        assert await client.code("SIZE ../ann/file") == 550
        await client.login("host")
        assert await client.download("NLST ann") == b"file\r\nnew\r\nsub\r\n"


# Rights

EACH = {
    Rights.LIST: ["NLST", "LIST", "MLSD", "MLST file", "STAT file"],
    Rights.READ: ["RETR file", "HASH file", "XCRC file", "XMD5 file", "XSHA1 file", "XSHA256 file"],
    Rights.WRITE: ["STOR new", "STOU", "STOR file"],
    Rights.APPEND: ["APPE file"],
    Rights.DELETE: ["DELE file", "RMD sub"],
    Rights.RENAME: ["RNFR file", "RNTO other"],
    Rights.MKDIR: ["MKD new"],
    Rights.CHANGE: ["MFMT 20260101000000 file", "SITE CHMOD 644 file",
                    "SITE UTIME 20260101000000 file"],
}
REFUSED = "550 You may not do that here."


@pytest.mark.parametrize("right", EACH)
async def test_without_a_right_its_commands_are_refused(homes: Path, right: Rights) -> None:
    """With nothing changed, and no data connection used; all others are not refused for it."""

    (homes / "ann" / "file").write_bytes(b"content")
    (homes / "ann" / "sub").mkdir()
    accounts = Anybody.of(
        Account("ann", home="/ann", rights=Rights.ALL & ~right),
        Account("only", home="/ann", rights=right),
    )
    async with serving(homes, accounts=accounts) as server, server.connected() as client:
        await client.login("ann")
        for command in EACH[right]:
            assert await client.command(command) == REFUSED, command
        assert names(homes / "ann") == ["file", "sub", "whose"]

        await client.login("only")
        for other, commands in EACH.items():
            for command in commands:
                # Without a data connection, that is what is missing.
                is_refused = await client.command(command) == REFUSED
                assert is_refused == (other is not right), command
        for command in ("PWD", "CWD /", "CDUP", "NOOP", "STAT", "TYPE I", "PASV", "HELP"):
            assert await client.command(command) != REFUSED


async def test_rights_are_what_mlst_shows(homes: Path) -> None:
    """The perm fact is what the user may do (RFC 3659 §7.5.5)."""

    accounts = Anybody.of(
        Account("ann", rights=Rights.READ_ONLY),
        Account("bob", rights=Rights.LIST | Rights.WRITE | Rights.MKDIR),
        Account("host"),
    )
    expected = {"ann": ("r", "el"), "bob": ("w", "celm"), "host": ("adfrw", "cdeflmp")}
    async with serving(homes, accounts=accounts) as server, server.connected() as client:
        for name, (of_file, of_directory) in expected.items():
            await client.login(name)
            assert f"perm={of_file};" in (await client.command("MLST secret")).lower()
            assert f"perm={of_directory};" in (await client.command("MLST ann")).lower()


async def test_offset_is_good_for_one_transfer_also_if_that_is_not_allowed(homes: Path) -> None:
    """Otherwise the next upload would begin there."""

    accounts = Anybody.of(Account("ann", home="/ann", rights=Rights.LIST | Rights.WRITE))
    async with serving(homes, accounts=accounts) as server, server.connected() as client:
        await client.login("ann")
        await client.code("TYPE I")
        assert await client.code("REST 2") == 350
        assert await client.command("RETR whose") == REFUSED
        assert (await client.upload("STOR whose", b"new"))[:3] == "226"
    assert (homes / "ann" / "whose").read_bytes() == b"new"
