"""Real object stores: uploads through ftpdata are whole or nothing, however they end."""

from __future__ import annotations

import asyncio
import ftplib
import io
import os
import random
import time
from pathlib import Path

import obstore
import pytest

from ftpdata import FTPDataError, receive_file, send_stream
from ftpdata.errors import FileUnavailable
from ftpdata.objectstore import (
    ObjectTarget,
    delete_object,
    object_chunks,
    object_entries,
    object_status,
)
from ftpdata.testing import reset
from tests.harness.connections import peer_task, receive_all, send_all
from tests.harness.waiting import until
from tests.interop.stores import StoreServer
from tests.observers.test_events import accepted
from tests.test_examples import run, running

pytestmark = [
    pytest.mark.interop,
    pytest.mark.leaks_allowed("obstore keeps connections to a store for its next request"),
]

PART = 5 * 1024 * 1024
"""The smallest part that S3 takes."""

DATA = random.Random(5).randbytes(2 * PART + 12345)


def small_upload(server: StoreServer) -> tuple[bytes, int]:
    """Return data that are sent in little time, and the size of their parts."""

    if server.name == "seaweedfs":
        # It takes no smaller parts.
        return DATA, PART
    size = 256 * 1024
    return DATA[: 12 * size + 12345], size


async def upload(server: StoreServer, path: str, data: bytes, part_size: int) -> None:
    """Upload data, in parts."""

    async with accepted(None) as (endpoint, peer), peer_task(send_all(peer, data)):
        target = ObjectTarget(server.store, path, part_size=part_size)
        result = await receive_file(endpoint, target)
    assert result.file_bytes == len(data)


async def test_an_object_goes_up_and_down(store_server: StoreServer) -> None:
    """In parts; a download begins where it is to, and is never of another version."""

    store, path = store_server.store, "dir/a b+ü"
    await upload(store_server, path, DATA, PART)
    status = await object_status(store, path)
    assert (status.size, status.unique is not None) == (len(DATA), True)
    for offset in (0, PART - 1, len(DATA)):
        async with accepted(None) as (to, peer), peer_task(receive_all(peer)) as received:
            chunks = object_chunks(store, path, offset=offset, etag=status.unique)
            await send_stream(to, chunks, offset=offset)
            assert await received == DATA[offset:]
    assert [entry.name async for page in object_entries(store, "dir") for entry in page] == [
        "a b+ü"
    ]

    await store.put_async(path, b"new")
    with pytest.raises(FTPDataError) as caught:
        await anext(object_chunks(store, path, offset=1, etag=status.unique))
    assert caught.value.reply_code == 451
    await delete_object(store, path)
    for work in (lambda: object_status(store, path), lambda: delete_object(store, path)):
        with pytest.raises(FileUnavailable):
            await work()


async def test_entries_are_listed_in_pages(store_server: StoreServer) -> None:
    """A directory of it is one entry, and what is in it is passed over."""

    store = store_server.store
    names = [f"many/{number}" for number in range(12)]
    await asyncio.gather(
        *(store.put_async(name, b"") for name in [*names, *(f"many/dir/{name}" for name in names)])
    )
    pages = [page async for page in object_entries(store, "many", page_size=5)]
    found = [entry.text_name for page in pages for entry in page]
    assert sorted(found) == sorted([*(name.removeprefix("many/") for name in names), "dir"])
    assert all(len(page) <= 5 for page in pages)


async def test_what_is_left_can_be_seen(store_server: StoreServer) -> None:
    """Parts of an upload that nobody ends are found by the next test, until they are removed."""

    writer = obstore.open_writer_async(store_server.store, "left", buffer_size=PART)
    await writer.write(bytes(2 * PART + 1))
    await until(lambda: store_server.unfinished() == ["left"])
    await writer.__aexit__(RuntimeError, RuntimeError(), None)
    if store_server.keeps_parts:
        assert store_server.unfinished() == ["left"]
        await upload(store_server, "left", DATA, PART)
    assert store_server.unfinished() == []


@pytest.mark.parametrize("how", ["cancel", "reset"])
async def test_nothing_is_left_of_uploads_that_end_at_any_instant(
    how: str, store_server: StoreServer, request: pytest.FixtureRequest
) -> None:
    """The object is whole or the old one, and the store has no parts that nobody sees."""

    store, dice = store_server.store, random.Random(f"20261130 {how} {store_server.name}")
    attempts = request.config.getoption("--attempts")
    data, part_size = small_upload(store_server)
    began = time.monotonic()
    await upload(store_server, "file", data, part_size)
    longest = time.monotonic() - began
    completed = published = with_parts = 0
    for _ in range(attempts):
        await store.put_async("file", b"old")
        async with accepted(None) as (to, peer):
            target = ObjectTarget(store, "file", part_size=part_size)
            work = asyncio.ensure_future(receive_file(to, target))
            started = time.monotonic()
            if how == "cancel":
                async with peer_task(send_all(peer, data)):
                    await asyncio.sleep(dice.random() * 1.2 * longest)
                    work.cancel()
            else:
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(peer, data[: dice.randrange(len(data))])
                await asyncio.sleep(dice.random() * longest / 4)
                reset(peer)
            (ended,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(ended, BaseException):
            assert isinstance(ended, FTPDataError | asyncio.CancelledError)
            published += target.is_published
        else:
            completed += 1
            longest = min(longest, time.monotonic() - started)
            assert target.is_published
        found = bytes(await (await store.get_async("file")).bytes_async())
        # A commit that had begun decides, even if the transfer was cancelled by then.
        assert found == (data if target.is_published else b"old")
        with_parts += store_server.unfinished() != []
    print(  # noqa: T201 - figures, for pytest -rP
        f"{store_server.name}: {attempts} times {how}, {completed} complete, "
        f"{published} published although they ended, {with_parts} with parts left, "
        f"{time.monotonic() - began:.0f} s"
    )
    assert completed < attempts
    if how == "reset":
        assert (completed, published) == (0, 0)
    if store_server.keeps_parts:
        await upload(store_server, "file", data, part_size)
    else:
        assert with_parts == 0
    assert store_server.unfinished() == []


def test_the_examples(store_server: StoreServer, tmp_path: Path) -> None:
    """A picture and a server's files become objects, with credentials of the environment."""

    name, files = "dir/für alle", {"small": b"small", "dir/für alle": DATA, "empty": b""}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
        # An object must be younger than its file, and stores tell whole seconds.
        os.utime(tmp_path / path, (1_700_000_000, 1_700_000_000))
    with (
        running(
            *("camera_gateway", f"{store_server.address}/cameras", "--port", "0"),
            *("--user", "gate:p"),
            environment=store_server.environment,
        ) as (host, port),
        ftplib.FTP(timeout=60, encoding="utf-8") as ftp,
    ):
        ftp.connect(host, int(port))
        ftp.login("gate", "p")
        ftp.storbinary(f"STOR /{name}", io.BytesIO(DATA))
        assert ftp.size(f"/{name}") == len(DATA)
    with running("server", str(tmp_path), "--port", "0", "--anonymous") as (host, port):
        for copied in (len(files), 0):
            target = f"{store_server.address}/mirror"
            printed = run(
                *("mirror_to_store", f"ftp://{host}:{port}/", target),
                environment=store_server.environment,
            )
            assert printed.splitlines()[-1] == f"{copied} files copied"
    found = {
        meta["path"]: bytes(obstore.get(store_server.store, meta["path"]).bytes())
        for prefix in ("cameras", "mirror")
        for page in obstore.list(store_server.store, prefix)
        for meta in page
    }
    expected = {f"mirror/{path}": content for path, content in files.items()}
    assert found == {f"cameras/gate/{name}": DATA, **expected}
    assert store_server.unfinished() == []
