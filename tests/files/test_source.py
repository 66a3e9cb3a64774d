"""What is sent: every byte from the offset on, read in worker threads, and nothing left open."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from ftpdata import _memory
from ftpdata.errors import (
    BadArgument,
    FileNameNotAllowed,
    FileUnavailable,
    FTPDataError,
)
from ftpdata.files import _pipe
from ftpdata.files.source import FileSource
from ftpdata.testing import sweep
from tests.harness.seams import Hang, Seams, cancelled, descriptors
from tests.harness.waiting import until

CONTENT = bytes(range(256)) * 40


# Helpers


async def read_source(source: FileSource, count: int = 1000) -> bytes:
    """Read all there is, and close."""

    try:
        content = b""
        while data := await source.read(count):
            content += data
    finally:
        source.close()

    return content


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> Seams:
    """Give the means to let system calls fail or hang."""

    return Seams(monkeypatch)


# What is read


async def test_a_path_is_read_from_the_offset(tmp_path: Path) -> None:
    """Path types, sizes, offsets: exactly the bytes from there to the end."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    for file in (path, str(path), os.fsencode(path)):
        for offset in (0, 1, 999, 1000, len(CONTENT) - 1, len(CONTENT)):
            source = await FileSource.open(file, offset=offset)
            assert source.size == len(CONTENT)
            assert source.position == offset
            assert await read_source(source) == CONTENT[offset:]


@pytest.mark.parametrize("offset", [-1, len(CONTENT) + 1, 1 << 62])
async def test_an_offset_outside_the_file_is_refused(tmp_path: Path, offset: int) -> None:
    """REST beyond the end, or negative: 501, and nothing stays open."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    for file in (path, io.BytesIO(CONTENT)):
        with pytest.raises(BadArgument) as caught:
            await FileSource.open(file, offset=offset)
        assert caught.value.reply_code == 501


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("missing", FileUnavailable, 550),
        (".", FileUnavailable, 550),
        ("file/below", FileUnavailable, 550),
        ("x" * 300, FileNameNotAllowed, 553),
        ("a\0b", FileNameNotAllowed, 553),
        ("\ud800", FileNameNotAllowed, 553),
    ],
)
async def test_a_path_that_cannot_be_read(
    tmp_path: Path, name: str, kind: type[FTPDataError], code: int
) -> None:
    """Each error has its reply code, and no path of the server's in its text."""

    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(kind) as caught:
        await FileSource.open(f"{tmp_path}/{name}")

    assert caught.value.reply_code == code
    assert str(tmp_path) not in str(caught.value)


async def test_dir_fd_is_where_a_relative_path_starts(tmp_path: Path) -> None:
    """The caller's descriptor is used, and stays open."""

    (tmp_path / "file").write_bytes(CONTENT)
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    try:
        source = await FileSource.open("file", dir_fd=dir_fd)
        assert await read_source(source) == CONTENT
        os.fstat(dir_fd)
    finally:
        os.close(dir_fd)


async def test_an_open_descriptor_belongs_to_the_caller(tmp_path: Path) -> None:
    """It is read from the offset, whatever its own position; it stays open, and where it was."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.lseek(fd, 7, os.SEEK_SET)
        source = await FileSource.open(fd, offset=3)
        assert await read_source(source) == CONTENT[3:]
        assert os.lseek(fd, 0, os.SEEK_CUR) == 7
    finally:
        os.close(fd)


@pytest.mark.parametrize("buffering", [0, -1])
async def test_a_file_object_is_read_from_where_it_stands(tmp_path: Path, buffering: int) -> None:
    """FileIO and BufferedReader positioned mid-file; the latter has read ahead already."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    file: BinaryIO
    with path.open("rb", buffering=buffering) as file:
        assert file.read(10) == CONTENT[:10]
        source = await FileSource.open(file, offset=5)
        assert source.fd is not None
        assert await read_source(source) == CONTENT[15:]
        assert file.tell() == 10
        assert file.read(10) == CONTENT[10:20]


async def test_what_a_file_object_has_not_written_yet_is_sent_too(tmp_path: Path) -> None:
    """A file open for both is flushed before it is read past its buffer."""

    with (tmp_path / "file").open("w+b") as file:
        file.write(CONTENT)
        file.seek(0)
        file.write(b"X")
        file.seek(0)
        source = await FileSource.open(file)
        assert await read_source(source) == b"X" + CONTENT[1:]


async def test_objects_without_a_file_behind_them(tmp_path: Path) -> None:
    """BytesIO and gzip: what they give is what is sent, not what their descriptor holds."""

    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(CONTENT))
    memory = io.BytesIO(CONTENT)
    memory.seek(4)
    with gzip.open(path) as packed:
        packed.read(4)
        for file in (memory, packed):
            source = await FileSource.open(file, offset=2)  # type: ignore[arg-type]
            assert source.fd is None
            assert source.size == len(CONTENT)
            assert await read_source(source) == CONTENT[6:]
        assert not packed.closed


async def test_a_subclass_is_read_through_its_own_read(tmp_path: Path) -> None:
    """A FileIO that decrypts, for instance, is not bypassed."""

    class Upper(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return (super().read(size) or b"").upper()

    path = tmp_path / "file"
    path.write_bytes(b"quiet")
    with Upper(path) as file:
        source = await FileSource.open(file)
        assert await read_source(source) == b"QUIET"


async def test_a_pipe_has_no_size_and_no_offset() -> None:
    """It is read as it comes, to its end; an offset into it is refused, not ignored."""

    reading, writing = os.pipe()
    try:
        os.write(writing, b"one")
        with pytest.raises(BadArgument):
            await FileSource.open(reading, offset=1)

        source = await FileSource.open(reading)
        assert source.size is None
        assert await source.read() == b"one"
        os.write(writing, b"two")
        assert await source.read() == b"two"
        os.close(writing)
        writing = -1
        assert await source.read() == b""
        source.close()
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


async def test_a_buffered_pipe_gives_what_it_has_read_already() -> None:
    """What sits in the buffer of a pipe's file object comes first, and comes at once."""

    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as peer:
        peer.write(b"first and")
        assert file.read(5) == b"first"
        source = await FileSource.open(file)
        assert await source.read() == b" and"
        peer.write(b" second")
        assert await source.read() == b" second"
        with pytest.raises(BadArgument):
            await FileSource.open(file, offset=1)
        source.close()


PATHS = ["/proc/version", "/proc/self/cmdline", "/sys/kernel/mm/transparent_hugepage/enabled"]
MADE = {name: Path(name).read_bytes() for name in PATHS if Path(name).exists()}
"""Files that are made for their reader, with what they hold. Not on every system."""


@pytest.mark.skipif(not MADE, reason="this system has no such files")
async def test_files_that_are_made_for_their_reader() -> None:
    """Their size is 0, or a page: they are read to their end, however they are given."""

    for name, expected in MADE.items():
        with io.FileIO(name) as file:
            for given in (name, file, file.fileno()):
                source = await FileSource.open(given)
                assert source.size is None
                assert await read_source(source, 10) == expected
        source = await FileSource.open(name, offset=3)
        assert await read_source(source, 4) == expected[3:]


async def test_a_file_system_that_knows_no_sizes(tmp_path: Path, seams: Seams) -> None:
    """Some in user space say 0 of all files: reading shows more. An empty file has a size."""

    def fstat(original: Callable[..., os.stat_result], fd: int) -> os.stat_result:
        return os.stat_result((*original(fd)[:6], 0, *original(fd)[7:]))

    path = tmp_path / "file"
    seams.replace("fstat", fstat)
    for content, size in ((CONTENT, None), (b"", 0)):
        path.write_bytes(content)
        source = await FileSource.open(path)
        assert source.size == size
        assert await read_source(source) == content


@pytest.mark.parametrize("name", [os.devnull, "/dev/zero", "socket", "."])
async def test_what_is_neither_a_file_nor_a_pipe(tmp_path: Path, name: str) -> None:
    """It is refused, with 550: a device may have no end, and has no content that it was given."""

    before = descriptors()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "socket"))
        with pytest.raises(FTPDataError) as caught:
            await FileSource.open(tmp_path / name)
        assert isinstance(caught.value, FileUnavailable)
        assert caught.value.reply_code == 550
        with pytest.raises(FileUnavailable):
            await FileSource.open(listener.fileno())
    assert descriptors() == before


async def test_a_named_pipe_without_a_writer(tmp_path: Path) -> None:
    """It would pass for an empty file, and opening must not wait: it is refused."""

    before = descriptors()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileUnavailable) as caught:
        await FileSource.open(tmp_path / "pipe")

    assert caught.value.reply_code == 550
    assert descriptors() == before


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_named_pipe_with_a_writer(tmp_path: Path, when: str) -> None:
    """One that has said something already, or waits for its reader: all of it is read."""

    path = tmp_path / "pipe"
    os.mkfifo(path)
    if when == "before":
        # Else the writer would be sent away, as there is no reader yet.
        keeper = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(path, os.O_WRONLY)
        os.write(writer, CONTENT)
        source = await FileSource.open(path)
        os.close(keeper)
        os.close(writer)
    else:

        def write() -> None:
            # A look at the pipe that came too early has let the writer in, and gone.
            with contextlib.suppress(BrokenPipeError):
                path.write_bytes(CONTENT)
                return
            write()

        writing = asyncio.ensure_future(asyncio.to_thread(write))
        while True:
            with contextlib.suppress(FileUnavailable):
                source = await FileSource.open(path)
                break
    assert source.size is None
    assert source.read_now() is None
    assert await read_source(source, 999) == CONTENT
    if when == "after":
        await writing


async def test_a_silent_pipe_keeps_no_thread(
    tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that gives up leaves no thread that reads on, and no descriptor."""

    monkeypatch.setattr(_pipe, "LOOK", 0.01)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    keeper = os.open(path, os.O_RDWR)
    before = descriptors()
    source = await FileSource.open(path)
    reading = asyncio.ensure_future(source.read())
    await until(lambda: not source._calls.defer(lambda: None))
    await until(lambda: source._calls.defer(lambda: None))
    await cancelled(reading)
    source.close()
    await until(lambda: descriptors() == before)
    os.close(keeper)


async def test_close_is_idempotent(tmp_path: Path) -> None:
    """A second close does not close a descriptor that has become somebody else's."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    source = await FileSource.open(path)
    source.close()
    fd = os.open(path, os.O_RDONLY)
    try:
        source.close()
        os.fstat(fd)
    finally:
        os.close(fd)


async def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    """Names are bytes, and any bytes will do."""

    name = os.fsencode(tmp_path) + b"/\xff\xfe\n"
    (tmp_path / os.fsdecode(b"\xff\xfe\n")).write_bytes(CONTENT)
    assert await read_source(await FileSource.open(name)) == CONTENT
    assert await read_source(await FileSource.open(os.fsdecode(name))) == CONTENT


# Every call fails in turn


@pytest.mark.parametrize("seam", ["open", "fstat", "pread"])
@pytest.mark.parametrize(("code", "reply_code"), [(errno.EIO, 451), (errno.EACCES, 550)])
async def test_every_system_call_of_a_download_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seam: str, code: int, reply_code: int
) -> None:
    """The reply code is right, and no descriptor is left."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    before = descriptors()
    for k in range(1, 30):
        with monkeypatch.context() as patch:
            failed = Seams(patch).fail(seam, k, code)
            error: FTPDataError | None = None
            try:
                assert await read_source(await FileSource.open(path), 4096) == CONTENT
            except FTPDataError as caught:
                error = caught
        assert descriptors() == before
        if not failed:
            assert k > 1
            break

        assert error is not None
        assert error.reply_code == reply_code
        assert isinstance(error.__cause__, OSError)


# Cancellation, and threads that hang


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
async def test_cancelling_a_download_at_any_suspension(tmp_path: Path) -> None:
    """No descriptor is left."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)

    async def scenario() -> None:
        source = await FileSource.open(path)
        try:
            await source.read()
        finally:
            source.close()

    assert await sweep(scenario) > 1


async def test_an_open_that_hangs_is_closed_when_it_comes_back(
    tmp_path: Path, seams: Seams, impatient: None
) -> None:
    """A cancelled caller does not wait for it; what it opens late is closed."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    before = descriptors()
    hang = Hang(seams, "fstat")
    task = asyncio.create_task(FileSource.open(path))
    await hang.entered()
    await cancelled(task)
    hang.go_on()
    await until(lambda: descriptors() == before)


async def test_a_read_that_hangs_keeps_its_descriptor(
    tmp_path: Path, seams: Seams, impatient: None
) -> None:
    """It is closed after the read: its number must not become another file's before."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    before = descriptors()
    hang = Hang(seams, "pread")
    source = await FileSource.open(path)
    task = asyncio.create_task(source.read())
    await hang.entered()
    await cancelled(task)
    source.close()
    assert descriptors() != before
    hang.go_on()
    await until(lambda: descriptors() == before)


# Reading without a thread


@pytest.mark.parametrize("counts", [True, False])
async def test_what_is_in_memory_needs_no_thread(
    counts: bool, tmp_path: Path, seams: Seams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes, one read like the other; what nobody has a view of is used again.

    PyPy cannot know that nobody has one.
    """

    counts = counts and _memory._COUNTS_REFERENCES
    monkeypatch.setattr(_memory, "_COUNTS_REFERENCES", counts)
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    source = await FileSource.open(path, offset=1)
    try:
        first = source.read_now(1000)
        if first is None:
            pytest.skip(f"{tmp_path} is on a file system that does not tell")
        assert bytes(first) == CONTENT[1:1001]
        kept, buffer = first[10:20], source._buffer
        del first
        assert bytes(source.read_now(1000) or b"") == CONTENT[1001:2001]
        assert bytes(kept) == CONTENT[11:21]
        assert source._buffer is not buffer
        buffer = source._buffer
        assert bytes(source.read_now(500) or b"") == CONTENT[2001:2501]
        assert (source._buffer is buffer) is counts
        # Memory that is eight times as large stays, and more would be held for a peer that stalls.
        assert bytes(source.read_now(125) or b"") == CONTENT[2501:2626]
        assert (source._buffer is buffer) is counts
        assert bytes(source.read_now(124) or b"") == CONTENT[2626:2750]
        assert len(source._buffer or b"") == 124
        source.position = 2501
        assert await source.read(100) == CONTENT[2501:2601]
        assert bytes(source.read_now(len(CONTENT)) or b"") == CONTENT[2601:]
        assert source.read_now() is None
        assert source.position == len(CONTENT)
    finally:
        source.close()


async def test_what_is_not_a_file_needs_a_thread() -> None:
    """Nobody knows how long it takes."""

    source = await FileSource.open(io.BytesIO(CONTENT))
    assert source.read_now() is None
    assert await source.read(10) == CONTENT[:10]
    source.close()
