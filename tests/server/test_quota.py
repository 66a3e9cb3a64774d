"""How much a user may store, and how fast."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, cast

import pytest

from examples.server import quota as module
from examples.server.accounts import Account, Rights
from examples.server.settings import Uploads
from examples.server.store import Store
from ftpdata.files import PartStatus
from ftpdata.observers import Observer, Transfer, Upload
from tests.harness.obstores import memory_store, start_runtime
from tests.harness.waiting import until
from tests.server.client import PATIENCE, Client, Data, serving
from tests.server.test_homes import Anybody

QUOTA = 1000
ACCOUNTS = Anybody.of(Account("ann", home="/ann", quota=QUOTA), Account("host"))


@pytest.fixture(scope="module", autouse=True)
def runtime() -> None:
    """Let no test be the first to use obstore."""

    start_runtime()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with 400 bytes in it."""

    home = tmp_path / "ann"
    (home / "sub").mkdir(parents=True)
    (home / "sub" / "file").write_bytes(bytes(300))
    (home / "file").write_bytes(bytes(100))
    (home / "link").symlink_to("sub")
    return home


def files_in(home: Path) -> int:
    """Return the bytes of the files in a directory."""

    return sum(file.stat().st_size for file in home.iterdir() if file.is_file())


async def login(client: Client) -> None:
    """Log in, for binary files."""

    await client.login("ann")
    assert await client.code("TYPE I") == 200


async def left(client: Client) -> int:
    """Return how many bytes AVBL tells."""

    reply = await client.command("AVBL")
    assert reply[:4] == "213 "
    return int(reply[4:])


async def begin(client: Client, line: str) -> Data:
    """Begin an upload."""

    data = await client.passive()
    client.send(line)
    assert (await client.codes(1))[0] in (125, 150)
    return data


async def send(client: Client, data: Data, count: int) -> None:
    """Send bytes, and wait until they are counted."""

    before = await left_of_another(client)
    data.writer.write(bytes(count))
    async with asyncio.timeout(PATIENCE):
        while await left_of_another(client) != before - count:
            pass


async def left_of_another(client: Client) -> int:
    """Return how many bytes another session of the user has left."""

    port = client.writer.get_extra_info("peername")[1]
    reader, writer = await asyncio.open_connection(client.host, port)
    other = Client(reader, writer, client.host)
    try:
        assert await other.codes(1) == [220]
        await login(other)
        return await left(other)
    finally:
        await other.close()


@pytest.mark.parametrize("uploads", Uploads)
async def test_what_is_there_counts(home: Path, uploads: Uploads) -> None:
    """Files, wherever they are; links and directories are nothing."""

    async with (
        serving(home.parent, accounts=ACCOUNTS, uploads=uploads) as server,
        server.connected() as client,
    ):
        await login(client)
        assert await left(client) == 600
        assert await client.code("ALLO 600") == 200
        assert await client.command("ALLO 601") == "552 Your quota is exceeded."
        assert (await client.upload("STOR new", bytes(600)))[:3] == "226"
        assert await left(client) == 0
        # At the door, without a data connection.
        for line in ("STOR other", "STOU", "APPE file"):
            assert await client.code(line) == 552
        assert await client.code("DELE sub/file") == 250
        assert await left(client) == 300
        assert (await client.upload("APPE file", bytes(300)))[:3] == "226"
        assert await client.code("DELE link") == 250
        assert await left(client) == 0


@pytest.mark.parametrize("uploads", Uploads)
async def test_upload_that_is_too_large_ends_with_552(home: Path, uploads: Uploads) -> None:
    """In the middle; what is kept of it counts, and can be deleted."""

    async with (
        serving(home.parent, accounts=ACCOUNTS, uploads=uploads) as server,
        server.connected() as client,
    ):
        await login(client)
        data = await begin(client, "STOR new")
        await send(client, data, 500)
        data.writer.write(bytes(101))
        assert await client.codes(1) == [552]
        await data.close()
        assert await left(client) == (600 if uploads is Uploads.ATOMIC else 100)
        if uploads is not Uploads.ATOMIC:
            assert await client.code("DELE new") == 250
        assert await left(client) == 600
        assert files_in(home) == 100


async def test_part_is_resumed_within_the_quota(home: Path) -> None:
    """Its bytes count once, as a part and as the file; so does what a larger quota lets in."""

    async with serving(home.parent, accounts=ACCOUNTS) as server, server.connected() as client:
        await login(client)
        data = await begin(client, "STOR new")
        await send(client, data, 500)
        # They are counted before they are written.
        await until(lambda: files_in(home) == 600)
        client.send("ABOR")
        assert await client.codes(2) == [426, 226]
        await data.close()
        assert await left(client) == 100
        size = int((await client.command("SIZE new"))[4:])
        assert await client.code(f"REST {size}") == 350
        assert (await client.upload("STOR new", bytes(600 - size)))[:3] == "226"
        assert await left(client) == 0
    assert (home / "new").stat().st_size == 600


@pytest.mark.parametrize("written", [0, 50])
async def test_write_that_was_cut_counts_as_far_as_it_went(written: int) -> None:
    """It may have been cut before a thread had begun with it."""

    class CutUpload:
        keeps_what_came, leaves_part, position = False, True, 0

        def watch_takeover(self, on_takeover: object) -> None:
            pass

        async def write(self, data: bytes) -> None:
            raise asyncio.CancelledError

        async def keep(self) -> None:
            pass

    class Home:
        async def used_space(self, most: int) -> int:
            return 0

        async def part_status(self, path: str, owner: str) -> PartStatus | None:
            return PartStatus(written, 0) if written else None

    async def opening() -> Any:
        return CutUpload()

    quota = module.Quota(1000, module.HomeUsage(), cast("Store", Home()))
    upload: Any = await quota.open("/new", "ann", opening)
    with pytest.raises(asyncio.CancelledError):
        await upload.write(bytes(500))
    assert await quota.left() == 500
    await upload.keep()
    assert await quota.left() == 1000 - written


async def test_several_sessions_cannot_exceed_it_together(home: Path) -> None:
    """What each has written so far counts for all of them."""

    async with (
        serving(home.parent, accounts=ACCOUNTS, uploads=Uploads.ATOMIC) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(server.connected()) for _ in range(4)]
        for client in clients:
            await login(client)
        datas = [await begin(client, f"STOR new{n}") for n, client in enumerate(clients)]
        for client, data in zip(clients[:3], datas[:3], strict=True):
            await send(client, data, 200)
        datas[3].writer.write(b"1")
        assert await clients[3].codes(1) == [552]
        for client, data in zip(clients[:3], datas[:3], strict=True):
            await data.close()
            assert await client.codes(1) == [226]
        await datas[3].close()
        assert await left(clients[3]) == 0
    assert files_in(home) == 700


@pytest.mark.parametrize("uploads", [Uploads.RESUMABLE, Uploads.ATOMIC])
async def test_what_is_replaced_gives_its_bytes_back(home: Path, uploads: Uploads) -> None:
    """Also by a rename; but not a file that is renamed to itself, by whatever path."""

    os.link(home / "file", home / "linked")
    async with (
        serving(home.parent, accounts=ACCOUNTS, uploads=uploads) as server,
        server.connected() as client,
    ):
        await login(client)
        assert await left(client) == 500
        assert (await client.upload("STOR sub/file", bytes(350)))[:3] == "226"
        assert await left(client) == 450
        for old, new in {
            "file": "file", "/file": "./file", "linked": "file", "link/file": "sub/file",
        }.items():
            assert await client.code(f"RNFR {old}") == 350
            await client.command(f"RNTO {new}")
            assert await left(client) == 450, old
        assert await client.code("RNFR file") == 350
        assert await client.code("RNTO sub/file") == 250
        assert await left(client) == 800


async def test_deleting_what_is_being_replaced_gives_it_back_once(home: Path) -> None:
    """Whichever comes first."""

    async with (
        serving(home.parent, accounts=ACCOUNTS) as server,
        server.connected() as client,
        server.connected() as other,
    ):
        await login(client)
        await login(other)
        data = await begin(client, "STOR sub/file")
        await send(client, data, 50)
        assert await other.code("DELE sub/file") == 250
        assert await left(other) == 850
        await data.close()
        assert await client.codes(1) == [226]
        assert await left(client) == 850


async def test_in_place_counts_what_is_new(home: Path) -> None:
    """Writing over what is there costs nothing until its end."""

    async with (
        serving(home.parent, accounts=ACCOUNTS, uploads=Uploads.IN_PLACE) as server,
        server.connected() as client,
    ):
        await login(client)
        assert await client.code("REST 250") == 350
        assert (await client.upload("STOR sub/file", bytes(100)))[:3] == "226"
        assert await left(client) == 550
        assert (home / "sub" / "file").stat().st_size == 350


async def test_what_others_change_is_seen_before_a_refusal(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The home is counted again, unless that was a moment ago."""

    monkeypatch.setattr(module, "GOOD_FOR_REFUSAL", -1.0)
    async with serving(home.parent, accounts=ACCOUNTS) as server, server.connected() as client:
        await login(client)
        assert (await client.upload("STOR new", bytes(600)))[:3] == "226"
        assert await client.code("STOR other") == 552
        await client.login("host")
        assert await client.code("DELE ann/new") == 250
        await login(client)
        assert (await client.upload("STOR other", bytes(600)))[:3] == "226"


async def test_home_that_is_too_large_to_be_counted_refuses_uploads(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a code that says that it is the server's fault."""

    monkeypatch.setattr(module, "MOST_ENTRIES", 3)
    async with serving(home.parent, accounts=ACCOUNTS) as server, server.connected() as client:
        await login(client)
        for line in ("AVBL", "ALLO 1", "STOR new"):
            assert await client.code(line) == 451, line
        assert await client.download("RETR file") == bytes(100)


async def test_deep_home_is_counted(home: Path) -> None:
    """However deep somebody makes it."""

    async with serving(home.parent, accounts=ACCOUNTS) as server, server.connected() as client:
        await login(client)
        for _ in range(1200):
            client.send(b"MKD d\r\nCWD d\r\n")
            assert await client.codes(2) == [257, 250]
        assert await left(client) == 600
        for _ in range(1200):
            client.send(b"CDUP\r\nRMD d\r\n")
            assert await client.codes(2) == [250, 250]


async def test_quota_in_a_bucket() -> None:
    """The objects of the home count; an upload that is refused leaves none."""

    from examples.server.objects import ObjectStore

    bucket = memory_store()
    bucket.put("ann/file", bytes(100))
    bucket.put("annex", bytes(5000))
    async with (
        serving(ObjectStore(bucket, renames=True), accounts=ACCOUNTS) as server,
        server.connected() as client,
    ):
        await login(client)
        assert await left(client) == 900
        data = await begin(client, "STOR new")
        data.writer.write(bytes(901))
        assert await client.codes(1) == [552]
        await data.close()
        assert await left(client) == 900
        assert (await client.upload("STOR new", bytes(900)))[:3] == "226"
        assert await client.code("STOR other") == 552
        assert await client.code("RNFR new") == 350
        assert await client.code("RNTO file") == 250
        assert await left(client) == 100
        assert await client.code("DELE file") == 250
        assert await left(client) == QUOTA


async def test_upload_is_judged_within_a_quota(home: Path) -> None:
    """An observer reads it as it does any other."""

    seen: list[int] = []

    class Judge(Observer):
        wants_uploads = True

        async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
            seen.append(upload.size)

    async with (
        serving(home.parent, accounts=ACCOUNTS, observer=Judge()) as server,
        server.connected() as client,
    ):
        await login(client)
        assert (await client.upload("STOR new", bytes(600)))[:3] == "226"
        assert await client.code("STOR other") == 552
    assert seen == [600]


async def test_available_space(home: Path) -> None:
    """Without a quota it is that of the disk; a path must be a directory."""

    async with serving(home.parent, accounts=ACCOUNTS) as server, server.connected() as client:
        assert await client.code("AVBL") == 530
        await client.login("host")
        assert await left(client) > QUOTA
        await login(client)
        assert await client.command("AVBL sub") == "213 600"
        for path in ("file", "nowhere", "../.."):
            assert await client.code(f"AVBL {path}") == (213 if path == "../.." else 550)
        assert " AVBL\n" in await client.command("FEAT")
        assert await client.command("HELP AVBL") == "214 Syntax: AVBL [path]"


# Rates


async def test_rate_is_of_all_sessions_of_a_user(home: Path) -> None:
    """Two sessions together take as long as one would for both files."""

    rate = 200_000
    accounts = Anybody.of(
        Account("ann", home="/ann", rate=rate, rights=Rights.ALL), Account("host")
    )
    content = os.urandom(60_000)
    (home / "large").write_bytes(content)
    loop = asyncio.get_running_loop()
    async with (
        serving(home.parent, accounts=accounts) as server,
        server.connected() as one,
        server.connected() as two,
    ):
        await login(one)
        await login(two)
        began = loop.time()
        got = await asyncio.gather(one.download("RETR large"), two.upload("STOR new", content))
        # The first tenth of a second is a burst.
        assert loop.time() - began >= 2 * len(content) / rate - 0.1
        assert got[0] == content
        assert got[1][:3] == "226"


async def test_rate_of_the_session_stays(home: Path) -> None:
    """A user without a rate has that of the server; one who is faster, too."""

    accounts = Anybody.of(Account("ann", home="/ann", rate=1e9), Account("host", home="/ann"))
    content = os.urandom(40_000)
    (home / "large").write_bytes(content)
    loop = asyncio.get_running_loop()
    async with (
        serving(home.parent, accounts=accounts, rate=100_000) as server,
        server.connected() as client,
    ):
        for name in ("ann", "host"):
            await client.login(name)
            await client.code("TYPE I")
            began = loop.time()
            assert await client.download("RETR large") == content
            assert loop.time() - began >= 0.25
