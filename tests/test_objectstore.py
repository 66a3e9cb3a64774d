"""Object stores: whole or not at all, from anywhere, and never two versions mixed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from obstore.store import LocalStore, MemoryStore

from ftpdata import End, EntryType, FTPDataError, ListingEntry, receive_file, send_stream
from ftpdata.errors import BadArgument, FileNameNotAllowed, FileUnavailable, LocalError
from ftpdata.objectstore import (
    ObjectTarget,
    delete_object,
    object_chunks,
    object_entries,
    object_status,
)
from ftpdata.testing import check_upload_target, reset
from tests.harness.connections import peer_task, receive_all, send_all
from tests.harness.obstores import start_runtime
from tests.observers.test_events import LARGE, SMALL, accepted


@pytest.fixture(scope="module", autouse=True)
def runtime() -> None:
    """Let no test be the first to use obstore."""

    start_runtime()


def content(store: MemoryStore, path: str) -> bytes | None:
    """Return what an object holds; None if there is none."""

    try:
        return bytes(obstore.get(store, path).bytes())
    except FileNotFoundError:
        return None


def names(store: MemoryStore) -> list[str]:
    """Return the names of all objects."""

    return [meta["path"] for page in obstore.list(store) for meta in page]


# Uploads


async def test_the_contract_of_a_target() -> None:
    """It passes the check that every target of an upload passes."""

    store = MemoryStore()

    async def make() -> ObjectTarget:
        return ObjectTarget(store, "a/file", part_size=10)

    async def read() -> bytes | None:
        return content(store, "a/file")

    await check_upload_target(make, published=read)


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_an_upload_becomes_an_object(data: bytes) -> None:
    """Whatever its size: one request, or parts."""

    store = MemoryStore()
    async with accepted(None) as (endpoint, peer), peer_task(send_all(peer, data)):
        result = await receive_file(
            endpoint, ObjectTarget(store, "a/file", part_size=256 * 1024), digest="sha256"
        )
    assert (result.end, result.file_bytes) == (End.CLEAN, len(data))
    assert content(store, "a/file") == data


async def test_an_upload_that_is_cut_leaves_the_old_object() -> None:
    """There is no other name in the store, either."""

    store = MemoryStore()
    obstore.put(store, "file", b"old")
    async with accepted(None) as (endpoint, peer):
        work = asyncio.ensure_future(receive_file(endpoint, ObjectTarget(store, "file")))
        await asyncio.get_running_loop().sock_sendall(peer, SMALL)
        reset(peer)
        with pytest.raises(FTPDataError):
            await work
    assert names(store) == ["file"]
    assert content(store, "file") == b"old"


async def test_an_upload_cannot_begin_in_the_middle() -> None:
    """An offset would need bytes that the store has no name for."""

    store = MemoryStore()
    async with accepted(None) as (endpoint, _):
        with pytest.raises(BadArgument):
            await receive_file(endpoint, ObjectTarget(store, "file"), append=True)
    assert names(store) == []


async def test_a_target_is_settled_once() -> None:
    """Its context discards what nobody has settled."""

    store = MemoryStore()
    async with ObjectTarget(store, "file") as target:
        await target.write(b"x")
    assert names(store) == []
    async with ObjectTarget(store, "file") as target:
        await target.write(b"x")
        await target.commit()
        with pytest.raises(ValueError, match="already"):
            await target.commit()
        with pytest.raises(ValueError, match="already"):
            await target.write(b"y")
        await target.discard()
    assert content(store, "file") == b"x"


@pytest.mark.parametrize(
    "path", ["", "/x", "x/", "a//b", ".", "a/../b", "a\nb", "a\0", "\x7f", "\udc80"]
)
async def test_names_that_no_object_has(path: str) -> None:
    """They are refused before anything is sent, whatever is asked about them."""

    store = MemoryStore()
    asked: list[Callable[[], Any]] = [
        lambda: anext(object_chunks(store, path)),
        lambda: delete_object(store, path),
    ]
    if path:
        asked += [
            lambda: object_status(store, path),
            lambda: anext(aiter(object_entries(store, path))),
        ]
    with pytest.raises(FileNameNotAllowed):
        ObjectTarget(store, path)
    for ask in asked:
        with pytest.raises(FileNameNotAllowed):
            await ask()


async def test_every_other_name_is_taken() -> None:
    """Our check and that of obstore agree."""

    for code in (*range(0x100), 0x2028, 0xFFFF, 0x10FFFF):
        store, path = MemoryStore(), f"a{chr(code)}b"
        try:
            target = ObjectTarget(store, path)
        except FileNameNotAllowed:
            with pytest.raises(ValueError, match="parse"):
                obstore.put(store, path, b"")
        else:
            await target.commit()
            assert names(store) == [path]


@pytest.mark.parametrize(
    "options", [{"expected_size": -1}, {"part_size": 0}, {"concurrency": 0}, {"part_size": "5"}]
)
async def test_numbers_that_make_no_sense(options: dict[str, Any]) -> None:
    """The error says what was expected."""

    with pytest.raises((ValueError, TypeError)):
        ObjectTarget(MemoryStore(), "file", **options)


async def test_parts_are_as_large_as_they_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store takes 10,000 parts."""

    asked: list[int] = []
    real = obstore.open_writer_async

    def note(*arguments: Any, **options: Any) -> Any:
        asked.append(options["buffer_size"])
        return real(*arguments, **options)

    monkeypatch.setattr(obstore, "open_writer_async", note)
    for size in (None, 0, 80_000_000_000, 1_000_000_000_000, 1_000_000_000_001):
        await ObjectTarget(MemoryStore(), "file", expected_size=size).discard()
    assert asked == [8388608, 8388608, 8388608, 100_000_000, 100_000_001]


async def test_a_cancelled_upload_waits_for_the_store() -> None:
    """No await of the store's is cancelled midway, however often the transfer is."""

    class Slow:
        """A writer that takes its time."""

        def __init__(self) -> None:
            self.go = asyncio.Event()
            self.calls: list[str] = []

        async def write(self, _: bytes) -> int:
            """Take it, in time."""
            self.calls.append("write")
            await self.go.wait()
            self.calls.append("written")
            return 1

        async def __aexit__(self, *_: object) -> None:
            self.calls.append("aborted")

    target, slow = ObjectTarget(MemoryStore(), "file"), Slow()
    target._writer = slow  # type: ignore[assignment]
    work = asyncio.ensure_future(target.write(b"x"))
    await asyncio.sleep(0)
    for _ in range(3):
        work.cancel()
        await asyncio.sleep(0)
        assert not work.done()
    slow.go.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    await target.discard()
    assert slow.calls == ["write", "written", "aborted"]


class Failing:
    """A writer that takes everything, and fails in the end."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.calls: list[str] = []

    async def close(self) -> None:
        """Fail, in time."""

        self.calls.append("close")
        await self.go.wait()
        raise OSError("the store is gone")

    async def __aexit__(self, *_: object) -> None:
        self.calls.append("aborted")
        raise OSError("and stays so")


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_an_upload_that_cannot_be_committed_leaves_no_parts(is_cancelled: bool) -> None:
    """They are removed even if the transfer was cancelled meanwhile."""

    target, failing = ObjectTarget(MemoryStore(), "file"), Failing()
    target._writer = failing  # type: ignore[assignment]
    work = asyncio.ensure_future(target.commit())
    await asyncio.sleep(0)
    if is_cancelled:
        work.cancel()
    failing.go.set()
    with pytest.raises(asyncio.CancelledError if is_cancelled else LocalError) as caught:
        await work
    assert failing.calls == ["close", "aborted"]
    if not is_cancelled:
        assert str(caught.value) == "the store is gone"


# Downloads


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, None, LARGE), (5, None, LARGE[5:]), (0, 0, b""), (7, 9, LARGE[7:16]), (0, 1, LARGE[:1])],
)
async def test_a_download_of_any_part(
    offset: int, length: int | None, expected: bytes
) -> None:
    """What the client gets is that part, to the byte."""

    store = MemoryStore()
    obstore.put(store, "file", LARGE)
    async with accepted(None) as (endpoint, peer), peer_task(receive_all(peer)) as received:
        chunks = object_chunks(store, "file", offset=offset, length=length)
        result = await send_stream(endpoint, chunks, offset=offset)
        assert await received == expected
    assert result.end is End.CLEAN


@pytest.mark.parametrize(("data", "length"), [(b"12345", None), (b"12345", 3), (b"", 3)])
async def test_a_download_that_begins_at_the_end_is_empty(
    data: bytes, length: int | None
) -> None:
    """A client that has everything asks for the rest, too."""

    store = MemoryStore()
    obstore.put(store, "file", data)
    etag = (await object_status(store, "file")).unique
    chunks = object_chunks(store, "file", offset=len(data), length=length, etag=etag)
    assert [piece async for piece in chunks] == []


async def test_an_offset_beyond_the_end() -> None:
    """It is the client's mistake, as for a file."""

    store = MemoryStore()
    obstore.put(store, "file", b"12345")
    with pytest.raises(BadArgument, match="beyond the end of the object, 5") as caught:
        await anext(object_chunks(store, "file", offset=6))
    assert caught.value.reply_code == 501
    etag = (await object_status(store, "file")).unique
    obstore.put(store, "file", b"1")
    with pytest.raises(LocalError):
        await anext(object_chunks(store, "file", offset=1, etag=etag))


async def test_pieces_are_of_a_bounded_size() -> None:
    """A store may send everything at once."""

    store = MemoryStore()
    obstore.put(store, "file", LARGE)
    pieces = [piece async for piece in object_chunks(store, "file", chunk_size=1000)]
    assert b"".join(pieces) == LARGE
    assert max(map(len, pieces)) <= 2000


async def test_another_version_is_not_what_was_meant() -> None:
    """A client that goes on with a download gets no bytes of a newer object."""

    store = MemoryStore()
    obstore.put(store, "file", b"old")
    etag = (await object_status(store, "file")).unique
    assert etag is not None
    assert [piece async for piece in object_chunks(store, "file", etag=etag)] == [b"old"]
    obstore.put(store, "file", b"new")
    with pytest.raises(LocalError) as caught:
        await anext(object_chunks(store, "file", offset=1, etag=etag))
    assert caught.value.reply == "451 The file was replaced meanwhile."


async def test_what_is_not_there() -> None:
    """The reply is 550, and quotes neither the store nor its address."""

    store = MemoryStore()
    for work in (
        lambda: anext(object_chunks(store, "secret/file")),
        lambda: object_status(store, "secret/file"),
        lambda: delete_object(store, "secret/file"),
    ):
        with pytest.raises(FileUnavailable) as caught:
            await work()
        assert caught.value.reply == "550 No such file or directory."


# Listings


async def listed(
    store: LocalStore | MemoryStore, path: str = "", page_size: int = 3
) -> list[ListingEntry]:
    """Return all entries of a directory."""

    found: list[ListingEntry] = []
    async for page in object_entries(store, path, page_size=page_size):
        assert 0 < len(page) <= page_size
        found += page
    return found


async def test_a_directory_is_a_part_of_names() -> None:
    """Objects have their size and time, directories their name."""

    store = MemoryStore()
    for name in ("a", "d/1", "d/2", "d/deep/er/x", "d.txt", "e/1"):
        obstore.put(store, name, b"12345")
    assert [(entry.name, entry.type, entry.size) for entry in await listed(store)] == [
        ("a", EntryType.FILE, 5),
        ("d.txt", EntryType.FILE, 5),
        ("d", EntryType.DIRECTORY, 0),
        ("e", EntryType.DIRECTORY, 0),
    ]
    assert [entry.name for entry in await listed(store, "d")] == ["1", "2", "deep"]
    assert [entry.name for entry in await listed(store, "d/deep")] == ["er"]
    assert await listed(store, "nothing") == []
    assert (await object_status(store, "d/deep")).type is EntryType.DIRECTORY
    assert (await object_status(store, "")).type is EntryType.DIRECTORY
    file = await object_status(store, "d/1")
    assert (file.name, file.size, file.type) == ("1", 5, EntryType.FILE)
    assert file.modified is not None


@settings(max_examples=100)
@given(
    paths=st.sets(
        st.lists(st.text("ab.-~é\U0010ffff", min_size=1, max_size=3), min_size=1, max_size=3)
        .filter(lambda parts: not {".", ".."} & set(parts))
        .map("/".join),
        max_size=12,
    ),
    page_size=st.integers(1, 4),
)
@example(paths={"a/\U0010ffffb", "a/\U0010ffffc/d", "b"}, page_size=1)
def test_every_entry_is_listed_once(paths: set[str], page_size: int) -> None:
    """Whatever the names and the size of pages."""

    store = MemoryStore()
    for path in paths:
        obstore.put(store, path, b"")
    entries = asyncio.run(listed(store, page_size=page_size))
    found = sorted((entry.text_name, entry.is_directory) for entry in entries)
    assert found == sorted({(path.partition("/")[0], "/" in path) for path in paths})


async def test_many_objects_are_passed_over_by_few_questions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is in a directory of the listed one is not read."""

    store = MemoryStore()
    for number in range(500):
        obstore.put(store, f"dir{number % 2}/{number}", b"")
    obstore.put(store, "last", b"")
    asked = 0
    real = obstore.list

    def count(*arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        return real(*arguments, **options)

    monkeypatch.setattr(obstore, "list", count)
    assert [entry.name for entry in await listed(store, page_size=10)] == ["dir0", "dir1", "last"]
    assert asked == 3


async def test_a_store_without_order_is_not_listed(tmp_path: Path) -> None:
    """Some objects would be missing otherwise."""

    store = LocalStore(tmp_path)
    for number in range(100):
        obstore.put(store, f"{number * 37 % 100}/file", b"")
    with pytest.raises(LocalError, match="order"):
        await listed(store)


async def test_a_listing_leaves_no_generator_behind() -> None:
    """What passes over directories is closed by its owner, not by the garbage collector."""

    store = MemoryStore()
    for number in range(10):
        obstore.put(store, f"{number}/file", b"")
    left: list[Any] = []
    before = sys.get_asyncgen_hooks()
    try:
        sys.set_asyncgen_hooks(finalizer=left.append)
        assert len(await listed(store)) == 10
        await object_status(store, "1")
    finally:
        sys.set_asyncgen_hooks(*before)
    assert left == []


async def test_an_object_is_deleted() -> None:
    """Once."""

    store = MemoryStore()
    obstore.put(store, "file", b"")
    await delete_object(store, "file")
    assert names(store) == []
