"""Directories: what is read is what `os.stat` says; blocks are early, bounded, and ahead."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from ftpdata import _descriptors
from ftpdata.files import _status, directories, directory_reader
from ftpdata.files import _workers as workers
from ftpdata.files.directories import DirectoryLister, list_directory
from ftpdata.files.directory_reader import DirectoryReader
from ftpdata.listing.entry import EntryType, ListingEntry
from ftpdata.listing.mlsx import MlsxFormatter
from ftpdata.listing.nlst import NlstFormatter
from ftpdata.listing.table import EntryTable, StatusColumns, TableFormatter
from ftpdata.listing.unix import ListFormatter
from tests.harness.seams import Seams, descriptors

NOW = 1_769_879_045
PATIENCE = 60.0

on_linux = pytest.mark.skipif(_status.statx_call() is None, reason="there is no statx")


@pytest.fixture(params=["statx", "stat"])
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the fast calls, and with the plain ones."""

    if request.param == "stat":
        monkeypatch.setattr(_status, "statx_call", lambda: None)
    elif _status.statx_call() is None:
        pytest.skip("there is no statx")

    return str(request.param)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give a directory with something of every kind, and names of every kind."""

    found = tmp_path / "listed"
    found.mkdir()
    for number, name in enumerate([b"a", b"caf\xe9", "日本".encode(), b"x\r\ny", b" z ", b"-"]):
        path = os.fsencode(found) + b"/" + name
        Path(os.fsdecode(path)).write_bytes(b"x" * number)
        os.utime(path, (0, NOW - number * 40 * 86_400 + 0.25))
    (found / "a").chmod(0o6751)
    (found / "hard").hardlink_to(found / "a")
    (found / "sub").mkdir(mode=0o1777)
    (found / "link").symlink_to("x\r\ny")
    (found / "dangling").symlink_to("nowhere\n")
    (found / "past").touch()
    os.utime(found / "past", ns=(0, -1_500_000_000))
    os.mkfifo(found / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(found / "socket"))

    return found


def read_all(reader: DirectoryReader, count: int = 5) -> list[ListingEntry]:
    """Read a directory to its end, and close it."""

    entries: list[ListingEntry] = []
    with contextlib.closing(reader):
        while not reader.at_end:
            table = reader.read(count)
            assert len(table.names) <= count
            entries += table.entries()

    return entries


# Reading


def test_entries_are_what_stat_says(calls: str, directory: Path) -> None:
    """Entries of every kind come in the directory's order; times are rounded down to seconds."""

    expected = []
    with os.scandir(directory) as scan:
        for found in scan:
            status = found.stat(follow_symlinks=False)
            entry = ListingEntry.from_stat(
                os.fsencode(found.name),
                status,
                target=str(Path(found.path).readlink()) if found.is_symlink() else None,
            )
            assert entry.modified == status.st_mtime
            expected.append((entry, status.st_mtime_ns // 10**9))
    assert {entry.type for entry, _ in expected} >= {
        *(EntryType.FILE, EntryType.DIRECTORY, EntryType.SYMLINK, EntryType.FIFO),
        EntryType.SOCKET,
    }
    read = read_all(DirectoryReader(directory))
    assert [(entry.name, entry.modified) for entry in read] == [
        (entry.text_name, seconds) for entry, seconds in expected
    ]
    for got, (wanted, _) in zip(read, expected, strict=True):
        for fact in ("type", "size", "permissions", "links", "owner", "group", "unique", "uid"):
            assert getattr(got, fact) == getattr(wanted, fact)
        assert (got.gid, got.target) == (wanted.gid, wanted.target)


@on_linux
@pytest.mark.parametrize("path", ["/dev", "/proc/self", "/"])
def test_devices_are_right(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where other file systems are mounted within."""

    def uniques() -> dict[str, str | None]:
        return {entry.text_name: entry.unique for entry in read_all(DirectoryReader(path), 1000)}

    fast = uniques()
    monkeypatch.setattr(_status, "statx_call", lambda: None)
    plain = uniques()
    assert {name: fast[name] for name in fast.keys() & plain} == {
        name: plain[name] for name in fast.keys() & plain
    }
    assert len(fast.keys() & plain) > 3


def test_a_table_stays_what_it_is(calls: str, directory: Path) -> None:
    """It stays the same while the next one is read into the same memory."""

    tables, expected = [], []
    with contextlib.closing(DirectoryReader(directory)) as reader:
        while not reader.at_end:
            tables.append(reader.read(3))
            expected.append([*tables[-1].rows])
    assert len(tables) > 3
    assert [[*table.rows] for table in tables] == expected


@on_linux
def test_columns_are_what_statx_wrote(directory: Path) -> None:
    """The columns are read without a row for each file, in their whole width."""

    with (directory / "large").open("wb") as file:
        file.truncate(2**40 + 1)
    os.utime(directory / "large", (0, 2**33 + 1))
    for path in directory.iterdir():
        if path.is_symlink():
            path.unlink()
    with contextlib.closing(DirectoryReader(directory)) as reader:
        table = reader.read(100)
    assert isinstance(table.rows, StatusColumns)
    row = table.rows[table.names.index("large")]
    status = (directory / "large").stat()
    assert row[:7] == (
        *(status.st_nlink, status.st_uid, status.st_gid, status.st_mode, status.st_ino),
        *(2**40 + 1, 2**33 + 1),
    )


def test_a_descriptor_stays_the_callers(calls: str, directory: Path) -> None:
    """It is read from its beginning, and stays open afterwards."""

    fd = os.open(directory, os.O_RDONLY)
    try:
        expected = {entry.name for entry in read_all(DirectoryReader(directory))}
        assert {entry.name for entry in read_all(DirectoryReader(fd))} == expected
        os.fstat(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_paths_of_every_kind(kind: Any, directory: Path) -> None:
    """A path may be text, bytes or a path object."""

    assert read_all(DirectoryReader(kind(directory)))


def test_without_descriptors(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot open directories, the path is used."""

    expected = read_all(DirectoryReader(directory))
    monkeypatch.setattr(directory_reader, "_HAS_DESCRIPTORS", False)
    assert read_all(DirectoryReader(directory)) == expected
    assert read_all(DirectoryReader(os.fsencode(directory))) == expected


def test_a_large_batch_is_cut(calls: str, tmp_path: Path) -> None:
    """The table of statx has limited room."""

    for number in range(300):
        (tmp_path / str(number)).touch()
    reader = DirectoryReader(tmp_path)
    with contextlib.closing(reader):
        assert len(reader.read(1000).names) == _status.LARGEST_BATCH
        ends = [reader.at_end]
        assert len(reader.read(1000).names) == 300 - _status.LARGEST_BATCH
        assert [*ends, reader.at_end] == [False, True]
        assert reader.read(1000).names == []


def test_what_vanishes_is_left_out(calls: str, directory: Path) -> None:
    """An entry that vanishes before its status is read is left out; the others stay."""

    def vanish(name: str) -> bool:
        if name in ("a", "link"):
            (directory / name).unlink()
        return True

    listed = read_all(DirectoryReader(directory, is_wanted=vanish), 100)
    entries = {entry.name: entry for entry in listed}
    assert entries.keys() == {path.name for path in directory.iterdir()}
    assert entries["hard"].links == 1
    assert entries["dangling"].target == "nowhere\n"


@on_linux
def test_where_statx_is_forbidden(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`os.stat` answers instead, for each name that it says nothing of."""

    expected = read_all(DirectoryReader(directory))
    asked: list[bytes] = []

    def refuse(fd: int, name: bytes, *_: object) -> int:
        asked.append(name)
        return -1

    monkeypatch.setattr(_status, "statx_call", lambda: refuse)
    assert read_all(DirectoryReader(directory)) == expected
    assert len(asked) == len(expected)


def test_names_that_are_not_wanted_are_not_asked_for(calls: str, directory: Path) -> None:
    """They are seen with their UTF-8, whatever the system calls them."""

    seen = []

    def is_wanted(name: str) -> bool:
        seen.append(name)
        return name.startswith("s")

    entries = read_all(DirectoryReader(directory, is_wanted=is_wanted))
    assert {entry.name for entry in entries} == {"sub", "socket"}
    assert {"日本", "caf\udce9"} <= {*seen}


def test_links_are_followed_on_request(calls: str, directory: Path) -> None:
    """Only links are asked about; one that leads nowhere stays a link, without a target."""

    asked = []

    def follow(name: str) -> os.stat_result | None:
        asked.append(name)
        return (directory / name).stat() if (directory / name).exists() else None

    entries = {
        entry.name: entry for entry in read_all(DirectoryReader(directory, follow=follow))
    }
    assert sorted(asked) == ["dangling", "link"]
    assert (entries["link"].type, entries["link"].size) == (EntryType.FILE, 3)
    assert entries["link"].unique == entries["x\r\ny"].unique
    assert (entries["dangling"].type, entries["dangling"].target) == (EntryType.SYMLINK, None)


def test_names_alone(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No status call is made for them."""

    monkeypatch.setattr(_status, "statx_call", lambda: None)
    monkeypatch.setattr(_status.StatCalls, "rows", None)
    entries = read_all(DirectoryReader(directory, with_status=False))
    assert {entry.name for entry in entries} == {path.name for path in directory.iterdir()}


def test_what_is_not_a_directory(directory: Path) -> None:
    """It is an error, and nothing stays open."""

    for path in (directory / "a", directory / "missing"):
        with pytest.raises(OSError):
            DirectoryReader(path)
        with pytest.raises(OSError):
            DirectoryLister(path, NlstFormatter())


@pytest.mark.parametrize(("code", "is_raised"), [(errno.EIO, True), (errno.ENOENT, False)])
def test_a_link_that_cannot_be_read(
    directory: Path, monkeypatch: pytest.MonkeyPatch, code: int, is_raised: bool
) -> None:
    """One that has vanished leads nowhere; a disk that fails is not passed over."""

    def readlink(*_: object, **__: object) -> str:
        raise OSError(code, os.strerror(code))

    Seams(monkeypatch, directory_reader).replace("readlink", readlink)
    reader = DirectoryReader(directory)
    with contextlib.closing(reader):
        if is_raised:
            with pytest.raises(OSError, match=os.strerror(code)):
                reader.read(100)
        else:
            assert len(reader.read(100).names) == len([*directory.iterdir()])


def test_a_status_that_cannot_be_had(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error, not a shorter listing."""

    def refuse(self: _status.StatCalls, status: os.stat_result) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(_status, "statx_call", lambda: None)
    monkeypatch.setattr(_status.StatCalls, "row", refuse)
    with contextlib.closing(DirectoryReader(directory)) as reader, pytest.raises(OSError):
        reader.read(100)


def test_no_memory_for_a_reader(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays open."""

    def refuse(_: int | None) -> None:
        raise MemoryError

    before = descriptors()
    monkeypatch.setattr(directory_reader, "calls_below", refuse)
    with pytest.raises(MemoryError):
        DirectoryReader(directory)
    assert descriptors() == before


async def test_a_directory_whose_close_fails(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was read is lost by it: the listing is given, and nothing stays open."""

    before = descriptors()
    failed = Seams(monkeypatch, _descriptors).fail("close", 1)
    lister = await DirectoryLister.open(
        lambda: os.open(directory, os.O_RDONLY), NlstFormatter()
    )
    assert failed
    assert lister.take_all()
    lister.close()
    assert descriptors() == before


# Making lines

FORMATTERS: list[TableFormatter] = [ListFormatter(now=NOW), MlsxFormatter(), NlstFormatter()]


@pytest.mark.parametrize("formatter", FORMATTERS, ids=lambda it: type(it).__name__)
async def test_lines_are_those_of_the_entries(
    calls: str, formatter: TableFormatter, directory: Path
) -> None:
    """They are the same byte for byte, over several blocks."""

    for number in range(600):
        (directory / f"{number} more").touch()
    expected = formatter.format_block(
        await anyio.to_thread.run_sync(lambda: read_all(DirectoryReader(directory)))
    )
    blocks = [block async for block in list_directory(directory, formatter)]
    assert len(blocks) > 1
    assert b"".join(blocks) == expected
    assert all(block.endswith(b"\r\n") for block in blocks)


async def test_an_empty_directory(tmp_path: Path) -> None:
    """It has no blocks."""

    assert [block async for block in list_directory(tmp_path, NlstFormatter())] == []


async def test_a_small_directory_is_one_visit_to_a_thread(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds comes with its opening."""

    lister = await DirectoryLister.open(directory, ListFormatter(now=NOW))
    with contextlib.closing(lister):
        monkeypatch.setattr(lister._calls, "run", None)
        assert len([block async for block in lister.blocks()]) == 1


async def test_a_directory_that_is_not_there() -> None:
    """The error is the system's."""

    with pytest.raises(FileNotFoundError):
        async for _ in list_directory("/missing", NlstFormatter()):
            pass


class Slow:
    """A formatter that can be held up, in its thread."""

    needs_status = False

    def __init__(self) -> None:
        self.tables: list[EntryTable] = []
        self.gate = threading.Event()
        self.is_waiting = threading.Event()
        self.free_tables = 10**6

    def format_block(self, entries: object) -> bytes:
        """Say nothing."""

        return b""

    def format_table(self, table: EntryTable) -> bytes:
        """Note the table, and wait."""

        if len(self.tables) >= self.free_tables:
            self.is_waiting.set()
            assert self.gate.wait(PATIENCE)
        self.tables.append(table)
        return b"".join(name.encode() + b"\r\n" for name in table.names)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Give a directory of a thousand files."""

    for number in range(1000):
        (tmp_path / str(number)).touch()
    return tmp_path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks of 20 entries at most."""

    for name, size in (("FIRST_BATCH", 2), ("LARGEST_BATCH", 8), ("FIRST_BLOCK", 4)):
        monkeypatch.setattr(directories, name, size)
    monkeypatch.setattr(directories, "LARGEST_BLOCK", 20)


async def wait_for(event: threading.Event) -> None:
    """Wait until a thread has come to some point."""

    assert await asyncio.get_running_loop().run_in_executor(None, event.wait, PATIENCE)


@pytest.mark.usefixtures("small_blocks")
async def test_one_block_is_made_ahead_and_no_more(many: Path) -> None:
    """While the consumer is busy, the next block is made, and the one after it is not."""

    formatter = Slow()
    async with contextlib.aclosing(list_directory(many, formatter)) as blocks:
        first = await anext(blocks)
        assert first.count(b"\n") < 8
        for _ in range(3):
            block = await anext(blocks)
            assert block.count(b"\n") <= 28
        taken = first.count(b"\n") + 3 * 28
        for _ in range(50):
            await asyncio.sleep(0)
            await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.001)
        assert sum(len(table.names) for table in formatter.tables) <= taken + 28


def names(directory: Path) -> list[bytes]:
    """The names in a directory, in order."""

    return sorted(os.fsencode(path.name) for path in directory.iterdir())


async def test_all_lines_of_a_small_directory(tmp_path: Path) -> None:
    """They are there at once, in one block, for whoever takes them first."""

    (tmp_path / "file").touch()
    lister = await DirectoryLister.open(tmp_path, NlstFormatter())
    try:
        assert lister.take_all() == b"file\r\n"
        assert lister.take_all() is None
        assert [block async for block in lister.blocks()] == []
    finally:
        lister.close()


@pytest.mark.usefixtures("small_blocks")
async def test_a_large_directory_is_not_all_there(many: Path) -> None:
    """Its lines come in blocks, and none of them is lost."""

    lister = await DirectoryLister.open(many, NlstFormatter())
    try:
        assert lister.take_all() is None
        lines = b"".join([block async for block in lister.blocks()])
        assert sorted(lines.splitlines()) == names(many)
    finally:
        lister.close()


async def test_a_function_finds_the_directory(many: Path) -> None:
    """It is called in the worker thread; what it gives is closed, even if it is not a directory."""

    before = descriptors()
    found_in: list[threading.Thread] = []

    def find(name: str) -> int:
        found_in.append(threading.current_thread())
        return os.open(many / name, os.O_RDONLY)

    lister = await DirectoryLister.open(lambda: find("."), NlstFormatter())
    try:
        lines = b"".join([block async for block in lister.blocks()])
    finally:
        lister.close()
    assert sorted(lines.splitlines()) == names(many)
    assert found_in[0] is not threading.current_thread()

    with pytest.raises(NotADirectoryError):
        await DirectoryLister.open(lambda: find(os.fsdecode(names(many)[0])), NlstFormatter())
    with pytest.raises(FileNotFoundError):
        await DirectoryLister.open(lambda: find("nothing"), NlstFormatter())
    assert descriptors() == before


@pytest.mark.usefixtures("small_blocks")
async def test_slow_disks_give_what_they_have(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block ends after its time; batches become smaller, not larger."""

    now = 0.0

    def monotonic() -> float:
        nonlocal now
        now += 0.03
        return now

    # Not in the module `time`: the event loop asks it, too.
    monkeypatch.setattr("ftpdata.files.directories.time", SimpleNamespace(monotonic=monotonic))
    formatter = Slow()
    async with contextlib.aclosing(list_directory(many, formatter)) as blocks:
        sizes = [(await anext(blocks)).count(b"\n") for _ in range(5)]
    assert sizes == [4] * 5
    assert {len(table.names) for table in formatter.tables} == {2}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("way", ["task", "scope"])
async def test_cancelled_while_a_thread_reads(way: str, many: Path) -> None:
    """It waits for the thread; then nothing is open (the fixture of all tests would find it)."""

    formatter = Slow()
    formatter.free_tables = 6
    scope = anyio.CancelScope()

    async def consume() -> None:
        with scope:
            async with contextlib.aclosing(list_directory(many, formatter)) as blocks:
                async for _ in blocks:
                    pass

    task = asyncio.create_task(consume())
    await wait_for(formatter.is_waiting)
    if way == "task":
        task.cancel()
    else:
        scope.cancel()
    await asyncio.sleep(0)
    formatter.gate.set()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled() or scope.cancelled_caught


@pytest.mark.usefixtures("small_blocks")
async def test_a_thread_that_does_not_come_back_keeps_the_directory_open(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor could be another file's by then; it closes it when it is done."""

    monkeypatch.setattr(workers, "ABANDON_AFTER", 0.01)
    closed = threading.Event()
    close = DirectoryReader.close

    def watched(self: DirectoryReader) -> None:
        close(self)
        closed.set()

    monkeypatch.setattr(DirectoryReader, "close", watched)
    formatter = Slow()
    formatter.free_tables = 2  # those of the first block
    async with contextlib.aclosing(list_directory(many, formatter)) as blocks:
        await anext(blocks)
        await wait_for(formatter.is_waiting)
    assert not closed.is_set()
    formatter.gate.set()
    await wait_for(closed)


async def test_cancelled_while_it_is_opened(many: Path) -> None:
    """What the thread has opened is closed."""

    formatter = Slow()
    formatter.free_tables = 0
    task = asyncio.create_task(DirectoryLister.open(many, formatter))
    await wait_for(formatter.is_waiting)
    task.cancel()
    await asyncio.sleep(0)
    formatter.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.usefixtures("small_blocks")
async def test_what_fails_ahead_is_reported_in_its_turn(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines that come before the failure are given first."""

    read = DirectoryReader.read
    left = 3

    def failing(self: DirectoryReader, count: int) -> EntryTable:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(5, "Input/output error")
        return read(self, count)

    monkeypatch.setattr(DirectoryReader, "read", failing)
    blocks = list_directory(many, NlstFormatter())
    assert (await anext(blocks)).endswith(b"\r\n")
    with pytest.raises(OSError, match="Input/output"):
        await anext(blocks)


async def test_left_early_after_a_failure_ahead(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is left to hear of it, and nobody complains."""

    monkeypatch.setattr(directories, "FIRST_BLOCK", 1)
    failed = threading.Event()
    read = DirectoryReader.read

    def failing(self: DirectoryReader, count: int) -> EntryTable:
        if threading.current_thread() is threading.main_thread() or not hasattr(self, "was_read"):
            self.was_read = True  # type: ignore[attr-defined]
            return read(self, count)
        failed.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(DirectoryReader, "read", failing)
    async with contextlib.aclosing(list_directory(many, NlstFormatter())) as blocks:
        await anext(blocks)
        await wait_for(failed)


@pytest.fixture(autouse=True)
def _in_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a Unix socket is short."""

    monkeypatch.chdir(tmp_path)
