"""Tests of `ftpdata.connection.file_producer`."""

from __future__ import annotations

import asyncio
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from ftpdata.codecs.representation import PIECE_SIZE
from ftpdata.connection import (
    FileProducer,
)
from ftpdata.errors import (
    BadArgument,
    FileUnavailable,
    LocalError,
    SizeMismatch,
)
from ftpdata.outcome import End
from ftpdata.testing import (
    check_producer,
)
from tests.harness.pipes import connect
from tests.harness.waiting import until

TEXT = b"line\nline\r\nend\r" * 40_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of a little more than two pieces."""

    path = tmp_path / "file"
    path.write_bytes(TEXT)
    return path


class OwnFile(io.BytesIO):
    """A file object without a descriptor, which fails on demand."""

    reads = 0
    fail_at: int | None = None

    def read(self, size: int | None = -1) -> bytes:
        """Read, or fail."""

        self.reads += 1
        if self.reads == self.fail_at:
            raise OSError(errno.EIO, "the disk is broken")

        return super().read(size)


async def test_a_file_that_is_missing_is_550(tmp_path: Path) -> None:
    """The reason is the system's error; the peer gets a reset."""
    dtp, transport = connect()
    FileProducer(tmp_path / "missing").start(dtp)
    with pytest.raises(FileUnavailable) as raised:
        await dtp.wait_closed()
    assert raised.value.reply_code == 550
    assert raised.value.end is dtp.end is End.PRODUCER_FAILED
    assert isinstance(raised.value.__cause__, FileNotFoundError)
    assert transport.was_aborted


async def test_a_read_that_fails_ends_the_transfer() -> None:
    """A disk error in the middle is a 451 with the error as its cause, and a reset."""
    file = OwnFile(TEXT)
    file.fail_at = 2
    dtp, transport = connect()
    FileProducer(file).start(dtp)
    with pytest.raises(LocalError) as raised:
        await dtp.wait_closed()
    assert raised.value.reply_code == 451
    assert dtp.end is End.PRODUCER_FAILED
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == errno.EIO
    assert transport.was_aborted
    assert not transport.eof_sent
    assert not file.closed


async def test_one_piece_is_read_ahead() -> None:
    """While the connection takes nothing, one more piece is read ahead, but not a second one."""
    file = OwnFile(TEXT)
    dtp, _ = connect(high_water=0)
    FileProducer(file).start(dtp)
    await until(lambda: file.reads == 2)
    await asyncio.sleep(0.01)
    assert file.reads == 2
    dtp.abort()


async def test_a_file_that_shrinks_is_an_error(path: Path) -> None:
    """Bytes that vanish after the file was opened are a cut, never an end of file."""
    dtp, transport = connect(high_water=0)
    producer = FileProducer(path)
    producer.start(dtp)
    await until(lambda: len(transport.buffered) == PIECE_SIZE)
    os.truncate(path, PIECE_SIZE // 2)
    transport.auto_drain = True
    transport.drain()
    with pytest.raises(SizeMismatch, match="shrank by"):
        await dtp.wait_closed()
    assert dtp.end is End.SIZE_MISMATCH
    assert transport.was_aborted
    await producer.aclose()


async def test_a_file_that_grows_ends_where_it_ended(path: Path) -> None:
    """What is appended while it is sent is not sent."""
    dtp, transport = connect(high_water=0)
    FileProducer(path).start(dtp)
    await until(lambda: len(transport.buffered) == PIECE_SIZE)
    with path.open("ab") as file:
        file.write(b"appended")
    transport.auto_drain = True
    transport.drain()
    await until(lambda: transport.eof_sent)
    assert transport.sent == TEXT
    transport.feed_eof()
    await dtp.wait_closed()


async def test_a_length_beyond_the_end_sends_what_there_is(path: Path) -> None:
    """`length` is a maximum."""
    await check_producer(
        lambda dtp: FileProducer(path, offset=9, length=10**9).start(dtp), expected=TEXT[9:]
    )


async def test_an_offset_after_the_end_is_501(path: Path) -> None:
    """The error of opening the file is the reason."""
    dtp, _ = connect()
    FileProducer(path, offset=len(TEXT) + 1).start(dtp)
    with pytest.raises(BadArgument) as raised:
        await dtp.wait_closed()
    assert raised.value.reply_code == 501


def test_a_negative_length_is_an_error(path: Path) -> None:
    """A length is a number of bytes."""
    with pytest.raises(ValueError, match="not negative"):
        FileProducer(path, length=-1)


async def test_descriptors_stay_open(path: Path) -> None:
    """An open descriptor is read from an offset of the file, and belongs to the caller."""
    fd = os.open(path, os.O_RDONLY)
    try:
        await check_producer(lambda dtp: FileProducer(fd, offset=3).start(dtp), expected=TEXT[3:])
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    finally:
        os.close(fd)


async def test_a_path_is_taken_from_a_directory(path: Path) -> None:
    """A relative path starts from `dir_fd`."""
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        await check_producer(
            lambda dtp: FileProducer(path.name, dir_fd=fd).start(dtp), expected=TEXT
        )
    finally:
        os.close(fd)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
async def test_a_file_that_does_not_know_its_size_is_read_to_its_end() -> None:
    """Files of Linux's /proc have a size of 0, and are not empty."""
    dtp, transport = connect()
    FileProducer("/proc/self/status").start(dtp)
    await until(lambda: dtp.is_finishing or not dtp.is_connected)
    assert transport.buffered.startswith(b"Name:")
    dtp.abort()


@pytest.mark.parametrize("wrong", [None, 1.5, [b"x"], io.StringIO("text")])
def test_what_is_not_a_file_is_refused_at_the_call(wrong: Any) -> None:
    """It is refused at the call, not after the transfer has begun."""
    with pytest.raises(TypeError, match="binary file"):
        FileProducer(wrong)


def test_a_file_that_cannot_be_sent_is_refused_at_the_call(path: Path) -> None:
    """A closed file, a file opened for writing and a negative offset are refused."""
    with path.open("ab") as file, pytest.raises(ValueError, match="expected a readable file"):
        FileProducer(file)
    with pytest.raises(ValueError, match="closed"):
        FileProducer(file)
    with pytest.raises(ValueError, match="not negative: -1"):
        FileProducer(path, offset=-1)
