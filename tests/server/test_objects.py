"""A server of an object store: what it can, what it refuses, and that nothing is lost or mixed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
import obstore
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError
from obstore.store import MemoryStore

from examples.server.objects import MARK, ObjectStore, open_object_store
from examples.server.settings import Uploads
from ftpdata.errors import UploadVetoed
from ftpdata.observers import Observer, Transfer, Upload
from tests.harness.obstores import start_runtime
from tests.server.client import Client, Data, reset, serving

CONTENT = bytes(range(256)) * 400

MANY = 100_000
"""Objects of a large directory."""


@pytest.fixture(scope="module", autouse=True)
def runtime() -> None:
    """Let no test be the first to use obstore."""

    start_runtime()


@pytest.fixture
def bucket() -> MemoryStore:
    """Return a store with some objects in it."""

    bucket = MemoryStore()
    obstore.put(bucket, "file", CONTENT)
    obstore.put(bucket, "empty", b"")
    obstore.put(bucket, "sub/inner", b"inner")
    return bucket


def keys(bucket: MemoryStore) -> list[str]:
    """Return the names of all objects, sorted."""

    return sorted(meta["path"] for page in obstore.list(bucket) for meta in page)


def content(bucket: MemoryStore, path: str) -> bytes:
    """Return what an object holds."""

    return bytes(obstore.get(bucket, path).bytes())


# What it can


async def test_retrieve(bucket: MemoryStore) -> None:
    """A file arrives whole, or from where the client wants it, or a range of it."""

    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        assert await client.download("RETR file") == CONTENT
        assert await client.download("RETR empty") == b""
        assert await client.download("RETR sub/inner") == b"inner"
        assert await client.code("CWD sub") == 250
        assert await client.download("RETR inner") == b"inner"
        assert await client.download("RETR ../file") == CONTENT
        assert await client.code("REST 100000") == 350
        assert await client.download("RETR /file") == CONTENT[100_000:]
        assert await client.code(f"REST {len(CONTENT)}") == 350
        assert await client.download("RETR /file") == b""
        assert await client.code(f"REST {len(CONTENT) + 1}") == 350
        assert await client.code("EPSV") == 229
        assert await client.code("RETR /file") == 554
        assert await client.code("RANG 5 9") == 350
        assert await client.download("RETR /file") == CONTENT[5:10]
        for path in ("/missing", "/sub", "/file/x", "/sub/missing", "/a\x01b", "/"):
            assert await client.code(f"RETR {path}") == 550
        await client.quiet()


@pytest.mark.parametrize("size", [0, 1, 5, 50, 100, 300_000])
async def test_store(size: int, bucket: MemoryStore) -> None:
    """An upload is an object when it is whole, in however many parts; directories need not be."""

    data = CONTENT[:size] if size <= len(CONTENT) else CONTENT * 3
    store = ObjectStore(bucket, part_size=50 if size <= 100 else 100_000)
    async with serving(store) as server, server.logged_in() as client:
        for path in ("file", "/new/deep/file", "a b+ü%2F#?*[]"):
            assert (await client.upload(f"STOR {path}", data))[:3] == "226"
            assert content(bucket, path.strip("/")) == data
            assert await client.command(f"SIZE {path}") == f"213 {len(data)}"
            assert await client.download(f"RETR {path}") == data
        await client.command("TYPE A")
        assert (await client.upload("STOR text", b"one\r\ntwo\r\n"))[:3] == "226"
        assert content(bucket, "text") == b"one\ntwo\n"


async def test_store_unique(bucket: MemoryStore) -> None:
    """The reply has the name."""

    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        reply = await client.upload("STOU sub/x.jpg", b"content")
        name = reply.rpartition("FILE: ")[2]
        assert content(bucket, name) == b"content"


async def test_facts(bucket: MemoryStore) -> None:
    """SIZE, MDTM, MLST and HASH tell the truth, and MLST promises nothing that is refused."""

    modified = obstore.head(bucket, "file")["last_modified"]
    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        assert await client.command("SIZE file") == f"213 {len(CONTENT)}"
        assert await client.command("MDTM file") == f"213 {modified:%Y%m%d%H%M%S}"
        line = (await client.command("MLST file")).splitlines()[1]
        assert f"size={len(CONTENT)};modify={modified:%Y%m%d%H%M%S};perm=drw;" in line
        line = (await client.command("MLST sub")).splitlines()[1]
        assert "type=dir;" in line
        assert "perm=cdelmp;" in line
        digest = hashlib.sha256(CONTENT).hexdigest()
        hashed = f"213 SHA-256 0-{len(CONTENT) - 1} {digest} file"
        assert await client.command("HASH file") == hashed
        for path in ("missing", "sub"):
            assert await client.code(f"SIZE {path}") == 550
        assert await client.code("MDTM missing") == 550


async def test_listings(bucket: MemoryStore) -> None:
    """Directories are parts of names; marks and the parts of uploads are nowhere."""

    obstore.put(bucket, f"made/{MARK}", b"")
    obstore.put(bucket, ".ftpdata-x", b"")
    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        nlst = (await client.download("NLST")).decode().split()
        assert sorted(nlst) == ["empty", "file", "made", "sub"]
        lines = (await client.download("LIST")).decode().splitlines()
        assert sorted((line[0], line.split()[-1]) for line in lines) == [
            ("-", "empty"), ("-", "file"), ("d", "made"), ("d", "sub")
        ]
        mlsd = (await client.download("MLSD sub")).decode()
        assert "type=file;size=5;" in mlsd
        assert mlsd.endswith(" inner\r\n")
        assert await client.download("NLST made") == b""
        assert await client.download("NLST fi*") == b"file\r\n"
        assert await client.download("NLST sub/i*") == b"sub/inner\r\n"
        assert (await client.download("LIST file")).endswith(b" file\r\n")
        assert "inner" in await client.command("STAT sub")
        for line, code in (("LIST missing", 550), ("MLSD file", 501), ("NLST a\x01b", 550)):
            assert await client.code("EPSV") == 229
            assert await client.code(line) == code
        await client.quiet()


async def test_directories(bucket: MemoryStore) -> None:
    """Cameras make each level, go in, and upload; what is empty can be removed."""

    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        for path in ("/cam", "/cam/2026", "/cam/2026/11"):
            assert await client.command(f"MKD {path}") == f'257 "{path}" was created.'
            assert await client.code(f"MKD {path}") == 550
            assert await client.code(f"CWD {path}") == 250
        assert (await client.upload("STOR 1.jpg", b"x"))[:3] == "226"
        assert await client.code("RMD /cam/2026/11") == 550
        assert await client.code("RMD /cam/2026/11/1.jpg") == 550
        assert await client.code("DELE 1.jpg") == 250
        assert await client.code("DELE 1.jpg") == 550
        assert await client.download("NLST") == b""
        for path in ("/cam/2026/11", "/cam/2026", "/cam"):
            assert await client.code(f"RMD {path}") == 250
            assert await client.code(f"CWD {path}") == 550
        for path in ("/", "/missing", "/sub"):
            assert await client.code(f"RMD {path}") == 550
        assert keys(bucket) == ["empty", "file", "sub/inner"]


async def test_a_directory_of_another_program_is_not_removed(
    bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mark has a name that ends with a slash, which cannot be said to obstore."""

    async def mark(*_: Any, **__: Any) -> AsyncIterator[list[dict[str, Any]]]:
        yield [{"path": "made", "size": 0, "last_modified": datetime.now(UTC), "e_tag": "1"}]

    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        monkeypatch.setattr(obstore, "list", mark)
        assert await client.code("RMD made") == 550


# What it refuses


async def test_what_an_object_store_cannot_do(bucket: MemoryStore) -> None:
    """The reply says so plainly, and what is there stays."""

    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        for lines, code in (
            (["REST 5", "STOR file"], 554),
            (["RANG 5 9", "STOR file"], 554),
            (["APPE file"], 554),
            (["APPE new"], 554),
            (["MFMT 20260101000000 file"], 502),
            (["RNFR file"], 502),
            (["RNTO new"], 502),
            (["SITE CHMOD 644 file"], 504),
            (["SITE UTIME 20260101000000 file"], 504),
            (["STOR sub"], 553),
            (["STOR file/x"], 553),
            (["STOR file/x/y"], 553),
            (["STOR a\x01b"], 553),
            (["STOR " + "x" * 1025], 553),
            (["STOR sub/.ftpdata-directory"], 553),
            (["MKD file"], 550),
            (["MKD file/x"], 550),
            (["MKD sub"], 550),
            (["MKD " + "x" * 1025], 553),
            (["DELE sub"], 550),
        ):
            *before, line = lines
            assert await client.code("EPSV") == 229
            for each in before:
                assert await client.code(each) == 350
            assert await client.code(line) == code, line
        # REST is good for one command, also for one that is refused.
        assert await client.code("REST 5") == 350
        assert await client.code("APPE file") == 554
        assert await client.download("RETR file") == CONTENT
        features = (await client.command("FEAT")).split()
        assert "MFMT" not in features
        assert {"MDTM", "MLST", "REST", "SIZE", "HASH"} <= set(features)
        commands = (await client.command("HELP")).split()
        assert {"APPE", "MFMT", "RNFR", "RNTO"}.isdisjoint(commands)
        assert "STOR" in commands
        await client.quiet()
    assert keys(bucket) == ["empty", "file", "sub/inner"]


@pytest.mark.parametrize(("prefix", "longest"), [("", 1024), ("pre/fix", 1016)])
async def test_the_longest_name(prefix: str, longest: int, bucket: MemoryStore) -> None:
    """A name has 1,024 bytes with the prefix of the store and the slash after that."""

    store = ObjectStore(bucket)
    store._prefix = prefix
    async with serving(store) as server, server.logged_in() as client:
        assert (await client.upload("STOR " + "x" * longest, b"x"))[:3] == "226"
        assert await client.code("EPSV") == 229
        assert await client.code("STOR " + "x" * (longest + 1)) == 553
    assert keys(bucket) == ["empty", "file", "sub/inner", "x" * longest]


async def test_renames_by_choice(bucket: MemoryStore) -> None:
    """They copy: directories are not renamed, and nothing is lost by renaming a file to itself."""

    store = ObjectStore(bucket, renames=True)
    async with serving(store) as server, server.logged_in() as client:
        for old, new, code in (
            ("file", "sub/new", 250),
            ("sub/new", "sub/new", 250),
            ("sub/new", "sub/inner", 250),
            ("sub", "other", 553),
            ("empty", "sub", 553),
            ("sub/inner", "empty/x", 553),
            ("empty", "a\x01b", 553),
            ("empty", ".ftpdata-x", 553),
        ):
            assert await client.code(f"RNFR {old}") == 350
            assert await client.code(f"RNTO {new}") == code, new
        assert await client.code("RNFR missing") == 550
        assert "perm=adfrw" not in await client.command("MLST empty")
        assert "perm=dfrw" in await client.command("MLST empty")
    assert keys(bucket) == ["empty", "sub/inner"]
    assert content(bucket, "sub/inner") == CONTENT


async def test_a_read_only_server_changes_nothing(bucket: MemoryStore) -> None:
    """Whatever the store could do."""

    async with (
        serving(ObjectStore(bucket, renames=True), writable=False) as server,
        server.logged_in() as client,
    ):
        for line, code in (("STOR file", 553), ("APPE file", 553), ("DELE file", 550),
                           ("MKD x", 550), ("RMD sub", 550), ("RNFR file", 550)):
            assert await client.code(line) == code
        assert await client.code("REST 5") == 350
        assert await client.code("STOR file") == 553
        assert await client.download("RETR file") == CONTENT


# Nothing is lost, and nothing is mixed


class Gate:
    """Lets a call of obstore's wait until it may go on.

    Args:
        monkeypatch: Puts it in the call's place.
        name: The call.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self._real = getattr(obstore, name)
        monkeypatch.setattr(obstore, name, self)

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Wait, then call."""

        self.reached.set()
        await self.go.wait()
        return await self._real(*arguments, **options)


async def begin(client: Client, line: str) -> Data:
    """Begin a transfer; return the data connection after the 150."""

    data = await client.passive()
    client.send(line)
    assert (await client.codes(1))[0] in (125, 150)
    return data


@pytest.mark.parametrize("newer", [b"newer", b"n" * len(CONTENT), None])
async def test_an_object_that_changes_before_it_is_sent_is_not_sent(
    newer: bytes | None, bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client was promised another one: the connection is reset, and the reply is no 226."""

    gate = Gate(monkeypatch, "get_async")
    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        assert await client.code("REST 5") == 350
        data = await begin(client, "RETR file")
        await gate.reached.wait()
        if newer is None:
            obstore.delete(bucket, "file")
        else:
            obstore.put(bucket, "file", newer)
        gate.go.set()
        assert await data.was_reset()
        assert (await client.reply())[:3] == ("550" if newer is None else "451")
        await client.quiet()


@pytest.mark.parametrize("how", ["reset", "abort", "leave"])
async def test_an_upload_that_is_cut_leaves_the_old_object(
    how: str, bucket: MemoryStore
) -> None:
    """And no other name."""

    async with serving(ObjectStore(bucket, part_size=1000)) as server:
        async with server.logged_in() as client:
            data = await begin(client, "STOR file")
            data.writer.write(b"x" * 5000)
            await data.writer.drain()
            if how == "abort":
                client.send("ABOR")
                assert await client.codes(2) == [426, 226]
                assert await data.was_reset()
            elif how == "leave":
                await client.close()
                reset(data.writer)
            else:
                reset(data.writer)
                assert (await client.reply())[:3] == "426"
                await client.quiet()
        await server.all_left()
    assert keys(bucket) == ["empty", "file", "sub/inner"]
    assert content(bucket, "file") == CONTENT


async def test_a_commit_that_has_begun_decides(
    bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ABOR during the commit changes nothing: the object is there, and the reply says so."""

    reached, go = asyncio.Event(), asyncio.Event()
    store = ObjectStore(bucket)
    real = store.open_target

    async def open_target(*arguments: Any, **options: Any) -> Any:
        target = await real(*arguments, **options)
        commit = target.commit

        async def slow() -> None:
            reached.set()
            await go.wait()
            await commit()

        monkeypatch.setattr(target, "commit", slow)
        return target

    monkeypatch.setattr(store, "open_target", open_target)
    async with serving(store) as server:
        async with server.logged_in() as client:
            data = await begin(client, "STOR new")
            await data.send(b"content")
            await reached.wait()
            client.send("ABOR")
            go.set()
            assert await client.codes(2) == [226, 226]
            assert content(bucket, "new") == b"content"
            reached.clear()
            go.clear()
            data = await begin(client, "STOR other")
            await data.send(b"content")
            await reached.wait()
        # The client is gone; the upload has its name nevertheless.
        go.set()
        await server.all_left()
    assert content(bucket, "other") == b"content"


class Lossy:
    """A writer whose store completes the upload, and whose answer is lost."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.write = writer.write

    async def close(self) -> None:
        """Complete it, and lose the answer."""

        await self._writer.close()
        raise GenericError("the connection was lost")

    async def __aexit__(self, *reason: object) -> None:
        """Remove its parts, of which there are none any more."""


async def test_an_answer_to_a_commit_that_is_lost(
    bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply is no 226, and the object is the whole new one, or the whole old one."""

    real = obstore.open_writer_async
    monkeypatch.setattr(obstore, "open_writer_async", lambda *a, **o: Lossy(real(*a, **o)))
    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        assert (await client.upload("STOR file", b"new"))[:3] == "451"
        assert await client.code("MKD new") == 451
        await client.quiet()
    assert content(bucket, "file") == b"new"


async def test_a_server_that_stops_waits_for_a_commit(
    bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that is cancelled meanwhile leaves the object, and nothing half."""

    reached, go = asyncio.Event(), asyncio.Event()
    real = obstore.open_writer_async

    class Slow(Lossy):
        async def close(self) -> None:
            reached.set()
            await go.wait()
            await self._writer.close()

    monkeypatch.setattr(obstore, "open_writer_async", lambda *a, **o: Slow(real(*a, **o)))
    async with serving(ObjectStore(bucket), grace=0.01) as server, server.logged_in() as client:
        data = await begin(client, "STOR file")
        await data.send(b"new")
        await reached.wait()
        server.server.stop()
        # The server waits for it, whose grace is over by then.
        asyncio.get_running_loop().call_later(0.1, go.set)
    assert content(bucket, "file") == b"new"


class Judge(Observer):
    """Vetoes what has a virus."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
        """Read all of it."""

        self.seen.append(await anyio.to_thread.run_sync(os.read, upload.fd, upload.size + 1))
        if b"virus" in self.seen[-1]:
            raise UploadVetoed("a virus", reply_code=552, reply_text="The file has a virus")


async def test_an_upload_may_be_vetoed(bucket: MemoryStore) -> None:
    """It is read before it has its name, in however many parts it has gone up."""

    judge = Judge()
    store = ObjectStore(bucket, part_size=1000)
    async with (
        serving(store, observer=judge, uploads=Uploads.ATOMIC) as server,
        server.logged_in() as client,
    ):
        assert (await client.upload("STOR good", CONTENT))[:3] == "226"
        reply = await client.upload("STOR file", b"virus" * 1000)
        assert reply == "552 The file has a virus."
        await client.quiet()
    assert judge.seen == [CONTENT, b"virus" * 1000]
    assert keys(bucket) == ["empty", "file", "good", "sub/inner"]
    assert content(bucket, "file") == CONTENT


# A store that fails, and one that is large


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GenericError("secret"), 451),
        (TimeoutError("secret"), 451),
        (PermissionDeniedError("secret"), 550),
    ],
)
async def test_a_store_that_fails(
    error: Exception, code: int, bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No reply says that there is no such file, and none quotes the store."""

    async def fail(*_: Any, **__: Any) -> Any:
        raise error

    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        for name in ("head_async", "get_async", "delete_async"):
            monkeypatch.setattr(obstore, name, fail)
        monkeypatch.setattr(obstore, "list", pages(0, error=error))
        for line in ("RETR file", "LIST", "MLSD", "NLST sub", "SIZE file", "CWD sub", "DELE file",
                     "MLST file", "STAT sub", "RMD sub", "MKD new", "STOR new", "STOR sub/new"):
            assert await client.code("EPSV") == 229
            reply = await client.command(line)
            expected = 553 if code == 550 and line.startswith("STOR") else code
            assert reply[:3] == str(expected), line
            assert "secret" not in reply
        await client.quiet()
    monkeypatch.undo()
    assert keys(bucket) == ["empty", "file", "sub/inner"]


def pages(number: int, *, error: Exception | None = None) -> Any:
    """Return what lists objects in pages, made as they are wanted; at last it may fail.

    All of them are at the top.
    """

    now = datetime.now(UTC)

    async def listing(
        _: object, prefix: str | None, *, chunk_size: int, **__: Any
    ) -> AsyncIterator[list[dict[str, Any]]]:
        for start in range(0, 0 if prefix else number, chunk_size):
            yield [
                {"path": f"{n:08d}", "size": 1, "last_modified": now, "e_tag": str(n)}
                for n in range(start, min(start + chunk_size, number))
            ]
        if error is not None:
            raise error

    return listing


def resident() -> int:
    """Return the bytes of memory that this process has."""

    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_large_directory_is_listed_in_bounded_memory(
    bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 objects, and the first lines come at once."""

    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        monkeypatch.setattr(obstore, "list", pages(MANY))
        before = peak = resident()
        data = await begin(client, "MLSD")
        lines = 0
        while piece := await data.reader.read(65536):
            lines += piece.count(b"\n")
            peak = max(peak, resident())
        await data.close()
        assert await client.codes(1) == [226]
        # The first pages have nothing to show.
        assert (await client.download("NLST 000999*")).count(b"\n") == 100
    assert lines == MANY
    assert peak - before < 8 * 1024 * 1024


async def test_a_listing_that_fails_midway_is_not_taken_for_whole(
    bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset and 451; over the control connection, a reply that ends as it began."""

    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        monkeypatch.setattr(obstore, "list", pages(1000, error=GenericError("gone")))
        data = await begin(client, "LIST")
        assert await data.was_reset()
        assert await client.codes(1) == [451]
        reply = (await client.command("STAT .")).splitlines()
        assert reply[0] == "212-Status:"
        assert reply[-1].startswith("212 Incomplete")
        await client.quiet()


async def test_what_is_deleted_while_it_is_listed(bucket: MemoryStore) -> None:
    """The listing goes on without it."""

    for number in range(1000):
        obstore.put(bucket, f"many/{number:04d}/x", b"")
    async with serving(ObjectStore(bucket)) as server, server.logged_in() as client:
        data = await begin(client, "NLST many")
        first = await data.reader.readline()
        obstore.delete(bucket, [f"many/{number:04d}/x" for number in range(1000)])
        rest = await data.read()
        assert await client.codes(1) == [226]
        assert first == b"0000\r\n"
        assert len(set(rest.split())) == len(rest.split()) <= 999


# What is served


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///tmp", "expected s3://"),
        ("/tmp", "expected s3://"),
        ("memory://?endpoint=x", "endpoint"),
        ("s3://bucket?secret_access_key=hidden", "environment"),
        ("s3://bucket?aws_session_token=hidden", "environment"),
        ("s3://user:hidden@bucket", "a bucket"),
        ("s3://bucket?nonsense=x", "nonsense"),
        ("s3://bucket?part_size=x", "part_size"),
        ("memory://?part_size=0", "part_size"),
    ],
)
def test_urls_that_make_no_sense(url: str, why: str) -> None:
    """The error says why, and repeats nothing that was to be secret."""

    with pytest.raises(Exception, match=re.escape(why)) as caught:
        open_object_store(url)
    assert "hidden" not in str(caught.value)


def test_settings_of_a_url() -> None:
    """The size of parts is ours."""

    assert open_object_store("memory://?part_size=10000000")._part_size == 10_000_000
    assert open_object_store("memory://")._part_size == 8 * 1024 * 1024
