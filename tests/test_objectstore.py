"""Object stores: whole or not at all, from anywhere, and never two versions mixed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import obstore
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from obstore.exceptions import GenericError
from obstore.store import LocalStore, MemoryStore

from ftpdata import End, EntryType, FTPDataError, ListingEntry, receive_file, send_stream
from ftpdata.errors import (
    BadArgument,
    FileNameNotAllowed,
    FileUnavailable,
    LocalError,
    QuotaExceeded,
)
from ftpdata.objectstore import (
    ObjectTarget,
    delete_object,
    move_object,
    object_chunks,
    object_entries,
    object_status,
)
from ftpdata.testing import check_upload_target, reset
from tests.harness.connections import peer_task, receive_all, send_all
from tests.harness.obstores import start_runtime
from tests.harness.waiting import turns
from tests.observers.recorder import Recorder
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
    for size in (None, 0, 80_000_000_000, 600_000_000_000, 600_000_000_001):
        await ObjectTarget(MemoryStore(), "file", expected_size=size).discard()
    assert asked == [8388608, 8388608, 8388608, 60_000_000, 60_000_001]


async def test_parts_do_not_grow_as_a_client_says() -> None:
    """Otherwise ALLO would fill the memory; a host may choose larger ones."""

    size = 10_000 * 64 * 1024 * 1024
    await ObjectTarget(MemoryStore(), "file", expected_size=size).discard()
    with pytest.raises(QuotaExceeded) as caught:
        ObjectTarget(MemoryStore(), "file", expected_size=size + 1)
    assert caught.value.reply_code == 552
    target = ObjectTarget(MemoryStore(), "file", expected_size=size + 1, part_size=2**30)
    assert target.largest_size == 10_000 * 2**30
    await target.discard()


async def test_an_upload_of_more_parts_than_a_store_takes_is_refused() -> None:
    """Its client is told 552, and there is no half of it."""

    store = MemoryStore()
    obstore.put(store, "file", b"old")
    data = LARGE[:10_001]
    for size, is_whole in ((10_000, True), (10_001, False)):
        target = ObjectTarget(store, "file", part_size=1)
        async with accepted(None) as (endpoint, peer), peer_task(send_all(peer, data[:size])):
            if is_whole:
                await receive_file(endpoint, target)
            else:
                with pytest.raises(QuotaExceeded) as caught:
                    await receive_file(endpoint, target)
                assert caught.value.result is not None
                assert (caught.value.reply_code, caught.value.result.end) == (552, End.SIZE_LIMIT)
        assert content(store, "file") == data[:10_000]


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

    def __init__(self, *, closes: bool = False) -> None:
        self.go = asyncio.Event()
        self.calls: list[str] = []
        self.closes = closes

    async def closed(self) -> bool:
        """Return whether it has removed its parts by itself."""

        return self.closes

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
    assert not target.is_published
    if not is_cancelled:
        assert str(caught.value) == "the store is gone"


async def test_a_writer_that_has_removed_its_parts_is_not_asked_to() -> None:
    """It would say that it is closed, as if parts had been left."""

    target, failing = ObjectTarget(MemoryStore(), "file"), Failing(closes=True)
    target._writer = failing  # type: ignore[assignment]
    failing.go.set()
    with pytest.raises(LocalError) as caught:
        await target.commit()
    assert failing.calls == ["close"]
    assert getattr(caught.value.__cause__, "__notes__", []) == []


async def test_an_upload_that_is_published_meanwhile_is_reported_as_clean() -> None:
    """A commit that had begun decides, also in what the observer is told."""

    store, recorder = MemoryStore(), Recorder()
    begun, go = asyncio.Event(), asyncio.Event()

    class Slow(ObjectTarget):
        """Waits before it is closed."""

        async def _publish(self, writer: Any) -> None:
            begun.set()
            await go.wait()
            await super()._publish(writer)

    async with accepted(recorder) as (endpoint, peer), peer_task(send_all(peer, SMALL)):
        work = asyncio.ensure_future(receive_file(endpoint, Slow(store, "file")))
        await begun.wait()
        work.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert content(store, "file") == SMALL
    assert [result.end for result in recorder.results] == [End.CLEAN]


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


class Breaking:
    """A stream that breaks after some pieces."""

    def __init__(self, stream: Any, pieces: int) -> None:
        self._stream, self._left = stream, pieces

    async def __anext__(self) -> Any:
        if not self._left:
            raise GenericError("timed out")
        self._left -= 1
        return await anext(self._stream)


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let each answer to a download break after as many pieces as this list says."""

    pieces: list[int] = []
    real = obstore.get_async

    async def get(*arguments: Any, **options: Any) -> Any:
        result = await real(*arguments, **options)
        return SimpleNamespace(
            meta=result.meta, stream=lambda **how: Breaking(result.stream(**how), pieces.pop(0))
        )

    monkeypatch.setattr(obstore, "get_async", get)
    return pieces


async def test_a_slow_reader_outlives_the_time_out_of_a_request(breaking: list[int]) -> None:
    """What is left is asked for again, of the same version."""

    store, read = MemoryStore(), bytearray()
    obstore.put(store, "file", LARGE)
    breaking += [1, 1, 1, 2]
    async for piece in object_chunks(store, "file", offset=5, length=400, chunk_size=100):
        read += piece
    assert bytes(read) == LARGE[5:405]
    # In memory, the first piece is all there is.
    assert breaking == [1, 1, 2]


class Gated:
    """A stream whose pieces come as the test lets them."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.asked = 0
        self.gates = [asyncio.Event() for _ in range(len(pieces) + 1)]
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        number, self.asked = self.asked, self.asked + 1
        await self.gates[number].wait()
        if number == len(self._pieces):
            raise StopAsyncIteration
        return self._pieces[number]


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> Gated:
    """Answer each download with these pieces."""

    stream = Gated([b"one", b"two", b"three"])

    async def get(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(meta={"e_tag": "1", "size": 11}, stream=lambda **_: stream)

    monkeypatch.setattr(obstore, "get_async", get)
    return stream


async def test_one_piece_is_asked_for_ahead(gated: Gated) -> None:
    """While the peer takes a piece, the store sends the next one, and no more."""

    chunks = object_chunks(MemoryStore(), "file")
    gated.gates[0].set()
    assert bytes(await anext(chunks)) == b"one"
    await turns()
    assert gated.asked == 2
    for gate in gated.gates:
        gate.set()
    await turns()
    assert gated.asked == 2
    assert [piece async for piece in chunks] == [b"two", b"three"]


async def test_what_was_asked_for_is_not_cancelled(gated: Gated) -> None:
    """Who leaves in the middle waits for it, and leaves no task."""

    chunks = object_chunks(MemoryStore(), "file")
    gated.gates[0].set()
    assert bytes(await anext(chunks)) == b"one"
    leaving = asyncio.create_task(chunks.aclose())
    await turns()
    assert not leaving.done()
    gated.gates[1].set()
    await leaving
    assert gated.asked == 2


async def test_what_is_left_of_a_download_is_of_the_same_version(breaking: list[int]) -> None:
    """A version that comes meanwhile is refused; the old one is not mixed with it."""

    store = MemoryStore()
    obstore.put(store, "file", b"1234")
    breaking += [1, 1]
    chunks = object_chunks(store, "file", chunk_size=2)
    assert bytes(await anext(chunks)) == b"1234"
    obstore.put(store, "file", b"56789")
    with pytest.raises(LocalError) as caught:
        await anext(chunks)
    assert caught.value.reply == "451 The file was replaced meanwhile."


async def test_an_answer_that_brings_nothing_is_the_end(breaking: list[int]) -> None:
    """A store that is out of order is not asked for ever."""

    store = MemoryStore()
    obstore.put(store, "file", b"1234")
    breaking += [0, 1]
    with pytest.raises(LocalError, match="timed out"):
        await anext(object_chunks(store, "file"))
    assert breaking == [1]


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


PATHS = st.sets(
    st.lists(st.text("ab.-~é\U0010ffff", min_size=1, max_size=3), min_size=1, max_size=3)
    .filter(lambda parts: not {".", ".."} & set(parts))
    .map("/".join),
    max_size=12,
)


@settings(max_examples=100)
@given(paths=PATHS, page_size=st.integers(1, 4))
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


@pytest.mark.parametrize("order", [str, lambda name: name.replace("/", "\0")], ids=["name", "tree"])
@settings(max_examples=100)
@given(paths=PATHS, page_size=st.integers(1, 4))
@example(paths={"d/1", "d.txt", "d0"}, page_size=1)
@example(paths={"a", "a.b", "d/1", "d/2", "d/e/f", "d.txt", "z"}, page_size=2)
def test_a_store_that_always_lists_from_the_beginning(
    order: Callable[[str], str], paths: set[str], page_size: int
) -> None:
    """Azure's emulator passes over nothing: every entry is in the listing once nevertheless."""

    store = MemoryStore()
    for path in paths:
        obstore.put(store, path, b"x")
    every = sorted(
        (meta for page in obstore.list(store) for meta in page),
        key=lambda meta: order(meta["path"]).encode(),
    )

    async def from_the_beginning(*_: object, chunk_size: int, **__: object) -> Any:
        for start in range(0, len(every), chunk_size):
            yield every[start : start + chunk_size]

    with mock.patch.object(obstore, "list", from_the_beginning):
        entries = asyncio.run(listed(store, page_size=page_size))
    found = sorted((entry.text_name, entry.is_directory) for entry in entries)
    assert found == sorted({(path.partition("/")[0], "/" in path) for path in paths})


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


# Renaming


async def test_an_object_is_moved() -> None:
    """It replaces what has the name, and moving it to itself does not delete it."""

    store = MemoryStore()
    obstore.put(store, "old", b"1")
    obstore.put(store, "new", b"2")
    await move_object(store, "old", "new")
    await move_object(store, "new", "new")
    assert (names(store), content(store, "new")) == (["new"], b"1")
    for old, new in (("old", "new"), ("old", "old")):
        with pytest.raises(FileUnavailable):
            await move_object(store, old, new)
    for old, new in (("new", "a//b"), ("a//b", "new")):
        with pytest.raises(FileNameNotAllowed):
            await move_object(store, old, new)
    assert content(store, "new") == b"1"


async def test_an_object_that_is_replaced_while_it_is_moved_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The newer version was acknowledged to somebody."""

    store, real = MemoryStore(), obstore.copy_async
    obstore.put(store, "old", b"1")

    async def copy(*arguments: Any, **options: Any) -> None:
        await real(*arguments, **options)
        obstore.put(store, "old", b"newer")

    monkeypatch.setattr(obstore, "copy_async", copy)
    with pytest.raises(LocalError) as caught:
        await move_object(store, "old", "new")
    assert caught.value.reply == "451 The file was replaced meanwhile."
    assert (content(store, "old"), content(store, "new")) == (b"newer", b"1")


@pytest.mark.parametrize("step", ["copy_async", "delete_async"])
async def test_a_move_that_fails_or_is_cancelled_loses_nothing(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the names is left at least."""

    store, real = MemoryStore(), getattr(obstore, step)
    obstore.put(store, "old", b"1")
    go, begun = asyncio.Event(), asyncio.Event()

    async def fail(*_: Any, **__: Any) -> None:
        raise OSError("the store is gone")

    async def slow(*arguments: Any, **options: Any) -> None:
        begun.set()
        await go.wait()
        await real(*arguments, **options)

    monkeypatch.setattr(obstore, step, fail)
    with pytest.raises(LocalError):
        await move_object(store, "old", "new")
    assert content(store, "old") == b"1"

    monkeypatch.setattr(obstore, step, slow)
    work = asyncio.ensure_future(move_object(store, "old", "new"))
    await begun.wait()
    work.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert b"1" in (content(store, "old"), content(store, "new"))


# Buckets, as obstore shows them: a name that ends with a slash has lost it


class Bucket:
    """Lists its keys in an order, and knows which of them are objects that can be had."""

    def __init__(self, keys: Iterable[str], order: Callable[[str], Any]) -> None:
        self.keys = sorted(keys, key=order)
        self._order = order
        self.heads: list[str] = []

    def meta(self, key: str) -> dict[str, Any]:
        """Return what is told of a key."""

        size = 0 if key.endswith(("/", "empty")) else 1
        path, modified = key.removesuffix("/"), datetime.now(UTC)
        return {"path": path, "size": size, "last_modified": modified, "e_tag": key}

    async def list(
        self, _: object, prefix: str | None, *, offset: str | None, chunk_size: int
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield pages of what is in a directory, after a key."""

        found = [
            self.meta(key)
            for key in self.keys
            if key.startswith(f"{prefix}/" if prefix else "")
            and (offset is None or self._order(key) > self._order(offset))
        ]
        for start in range(0, len(found), chunk_size):
            yield found[start : start + chunk_size]

    async def head_async(self, _: object, path: str) -> dict[str, Any]:
        """Return what is told of an object."""

        self.heads.append(path)
        if path not in self.keys:
            raise FileNotFoundError(path)
        return self.meta(path)


@pytest.mark.parametrize("page_size", [1, 2, 100])
@pytest.mark.parametrize(
    "order", [str.encode, lambda key: key.replace("/", "\0").encode()], ids=["bytes", "tree"]
)
async def test_a_directory_may_be_marked(
    order: Callable[[str], Any], page_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty object whose name ends with a slash is a directory and not an empty file."""

    keys = ("a-b", "a.txt", "a/", "a/x", "b/", "c.empty", "d/e/", "d/e/x/", "d/f", "d/empty")
    bucket = Bucket(keys, order)
    monkeypatch.setattr(obstore, "list", bucket.list)
    monkeypatch.setattr(obstore, "head_async", bucket.head_async)
    store: Any = None

    async def seen(path: str) -> list[str]:
        entries = [
            entry
            async for page in object_entries(store, path, page_size=page_size)
            for entry in page
        ]
        return sorted(f"{entry.text_name}{'/' * entry.is_directory}" for entry in entries)

    assert await seen("") == ["a-b", "a.txt", "a/", "b/", "c.empty", "d/"]
    assert await seen("a") == ["x"]
    assert await seen("b") == []
    assert await seen("d") == ["e/", "empty", "f"]
    assert await seen("d/e") == ["x/"]
    assert (await object_status(store, "b")).is_directory
    assert (await object_status(store, "d/e/x")).is_directory
    assert not (await object_status(store, "c.empty")).is_directory


async def test_an_empty_object_that_is_gone_is_not_a_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was deleted after the store had listed it."""

    bucket = Bucket(["empty"], str.encode)

    async def head(*_: object) -> None:
        bucket.keys.clear()
        raise FileNotFoundError

    monkeypatch.setattr(obstore, "list", bucket.list)
    monkeypatch.setattr(obstore, "head_async", head)
    store: Any = None
    page = await anext(aiter(object_entries(store)))
    assert [entry.is_directory for entry in page] == [False]
