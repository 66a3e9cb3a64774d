"""Tests of `ftpdata.connection.file_consumer`."""

from __future__ import annotations

import asyncio
import errno
import io
import os
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from ftpdata.connection import (
    FileConsumer,
)
from ftpdata.contracts import Buffer
from ftpdata.errors import (
    BadArgument,
    ConnectionReset,
    FileUnavailable,
    FTPDataError,
    InsufficientStorage,
    LocalError,
    TransferAborted,
)
from ftpdata.outcome import End
from ftpdata.testing import sweep
from tests.harness.pipes import BrokenFile, PlainProducer, connect, receive_into
from tests.harness.waiting import turns, until

DATA = bytes(range(256)) * 4


HIGH_WATER = 2000


def cause_of(error: BaseException | None) -> BaseException | None:
    """Return the cause of a reason."""

    assert error is not None
    return error.__cause__ or error


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, b"new"),
        ({"append": True}, b"old contentnew"),
        ({"offset": 2}, b"olnewontent"),
        ({"offset": 11}, b"old contentnew"),
    ],
)
async def test_where_a_file_is_written(
    tmp_path: Path, options: dict[str, Any], expected: bytes
) -> None:
    """A file is written over the old content, after it, or from an offset on."""
    path = tmp_path / "file"
    path.write_bytes(b"old content")
    consumer = FileConsumer(path, **options)
    _, transport, waiter = await receive_into(consumer, b"n", b"ew")
    transport.feed_eof()
    await waiter
    await consumer.wait_finished()
    assert path.read_bytes() == expected


def test_an_offset_is_not_for_appending(tmp_path: Path) -> None:
    """The two contradict each other."""
    with pytest.raises(ValueError, match="offset"):
        FileConsumer(tmp_path / "file", offset=1, append=True)


async def test_a_path_is_taken_from_a_directory(tmp_path: Path) -> None:
    """A relative path starts from `dir_fd`."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        consumer = FileConsumer("file", dir_fd=fd)
        _, transport, waiter = await receive_into(consumer, DATA)
        transport.feed_eof()
        await waiter
        await consumer.wait_finished()
    finally:
        os.close(fd)
    assert (tmp_path / "file").read_bytes() == DATA


async def test_a_file_object_is_flushed_and_stays_open() -> None:
    """It belongs to the caller; one that writes only a part at a time gets everything, too."""
    file = BrokenFile()
    consumer = FileConsumer(file)
    _, transport, waiter = await receive_into(consumer, DATA, DATA)
    transport.feed_eof()
    await waiter
    await consumer.wait_finished()
    assert file.getvalue() == DATA + DATA
    assert file.flushed == 1
    assert not file.closed


async def test_what_came_before_a_cut_stays_in_the_file(tmp_path: Path) -> None:
    """The awaitable of the registration raises the reason; the file has no error of its own."""
    path = tmp_path / "file"
    consumer = FileConsumer(path)
    _, transport, waiter = await receive_into(consumer, b"half")
    transport.lose(ConnectionResetError())
    with pytest.raises(ConnectionReset):
        await waiter
    await consumer.wait_finished()
    assert path.read_bytes() == b"half"


async def test_a_slow_disk_pauses_the_connection() -> None:
    """During a write, no more than the high-water mark and one write wait."""
    file = BrokenFile()
    file.gate.clear()
    consumer = FileConsumer(file, high_water=HIGH_WATER)
    _, transport, waiter = await receive_into(consumer, b"first")
    await until(file.entered.is_set)
    transport.deliver(b"x" * HIGH_WATER)
    assert transport.is_reading()
    transport.deliver(b"y")
    assert not transport.is_reading()
    file.gate.set()
    await until(transport.is_reading)
    transport.feed_eof()
    await waiter
    await consumer.wait_finished()
    assert file.getvalue() == b"first" + b"x" * HIGH_WATER + b"y"


@pytest.mark.parametrize(
    ("error", "expected", "reply_code"),
    [
        (OSError(errno.ENOSPC, "No space left"), InsufficientStorage, 452),
        (OSError(errno.EIO, "broken"), LocalError, 451),
        (PermissionError(errno.EACCES, "not yours"), FileUnavailable, 550),
        (ValueError("write to closed file"), LocalError, 451),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
async def test_a_write_that_fails_ends_the_transfer(
    error: Exception, expected: type[FTPDataError], reply_code: int, paused: bool
) -> None:
    """The transfer ends at once, with the error as the cause, even if no more data can come."""
    file = BrokenFile(error)
    file.gate.clear()
    consumer = FileConsumer(file, high_water=HIGH_WATER)
    dtp, transport, waiter = await receive_into(consumer, b"first")
    await until(file.entered.is_set)
    if paused:
        transport.deliver(b"x" * (HIGH_WATER + 1))
    file.gate.set()
    for awaitable in (waiter, consumer.wait_finished()):
        with pytest.raises(expected) as raised:
            await awaitable
        assert raised.value.reply_code == reply_code
        assert raised.value.end is End.CONSUMER_FAILED
        assert raised.value.__cause__ is error
    assert dtp.end is End.CONSUMER_FAILED
    assert transport.was_aborted


@pytest.mark.parametrize("at", ["write", "flush"])
async def test_what_fails_after_the_end_is_raised_by_wait_finished(at: str) -> None:
    """All data have arrived, but not all are in the file."""
    file = BrokenFile(OSError(errno.ENOSPC, "No space left"), at=at)
    file.gate.clear()
    consumer = FileConsumer(file)
    _, transport, waiter = await receive_into(consumer, b"data")
    transport.feed_eof()
    await waiter
    file.gate.set()
    for _ in range(2):
        with pytest.raises(InsufficientStorage) as raised:
            await consumer.wait_finished()
        assert raised.value.reply_code == 452


async def test_a_file_that_takes_nothing_is_an_error() -> None:
    """Otherwise the write would be repeated for ever."""

    class Full(io.BytesIO):
        def write(self, data: Buffer, /) -> int:  # type: ignore[override]
            return 0

    consumer = FileConsumer(Full())
    _, _, waiter = await receive_into(consumer, b"data")
    with pytest.raises(LocalError):
        await waiter
    with pytest.raises(LocalError):
        await consumer.wait_finished()


async def test_a_file_that_cannot_be_opened_ends_the_transfer(tmp_path: Path) -> None:
    """The transfer ends before a byte has arrived."""
    consumer = FileConsumer(tmp_path / "missing" / "file")
    _, _, waiter = await receive_into(consumer)
    with pytest.raises(FileUnavailable) as raised:
        await waiter
    assert raised.value.reply_code == 550
    assert isinstance(cause_of(raised.value), FileNotFoundError)
    with pytest.raises(FileUnavailable):
        await consumer.wait_finished()


async def test_an_offset_after_the_end_is_501(tmp_path: Path) -> None:
    """The error of opening the file is the reason."""
    (tmp_path / "file").touch()
    _, _, waiter = await receive_into(FileConsumer(tmp_path / "file", offset=1))
    with pytest.raises(BadArgument):
        await waiter


async def test_a_plain_producer_gets_a_failure_from_the_next_call() -> None:
    """A producer without `abort` gets the error from `write`, or from the end."""
    for last in ("write", "unregister_producer"):
        file = BrokenFile(OSError(errno.ENOSPC, "No space left"))
        consumer = FileConsumer(file)
        consumer.register_producer(PlainProducer(), True)
        consumer.write(b"data")
        with pytest.raises(InsufficientStorage):
            await consumer.wait_finished()
        with pytest.raises(InsufficientStorage):
            consumer.write(b"more") if last == "write" else consumer.unregister_producer()


async def test_a_plain_producer_that_is_paused_is_resumed_to_get_a_failure() -> None:
    """Otherwise it would never write again."""
    file = BrokenFile(OSError(errno.ENOSPC, "No space left"))
    file.gate.clear()
    consumer = FileConsumer(file, high_water=HIGH_WATER)
    producer = PlainProducer()
    consumer.register_producer(producer, True)
    consumer.write(b"first")
    await until(file.entered.is_set)
    consumer.write(b"x" * (HIGH_WATER + 1))
    assert producer.calls == ["pause"]
    file.gate.set()
    with pytest.raises(InsufficientStorage):
        await consumer.wait_finished()
    assert producer.calls == ["pause", "resume"]


async def test_waiting_for_a_file_can_be_cancelled() -> None:
    """The writing goes on."""
    file = BrokenFile()
    file.gate.clear()
    consumer = FileConsumer(file)
    _, transport, waiter = await receive_into(consumer, b"data")
    transport.feed_eof()
    await waiter
    waiting = asyncio.ensure_future(consumer.wait_finished())
    await turns()
    waiting.cancel()
    await asyncio.wait((waiting,))
    file.gate.set()
    await consumer.wait_finished()
    assert file.getvalue() == b"data"


async def test_waiting_for_a_file_nobody_writes_is_an_error() -> None:
    """The wait would never end."""
    with pytest.raises(RuntimeError, match="no producer"):
        await FileConsumer(io.BytesIO()).wait_finished()
    await FileConsumer(io.BytesIO()).aclose()


@pytest.mark.parametrize("begun", [False, True])
async def test_a_file_can_be_given_up(tmp_path: Path, begun: bool) -> None:
    """The connection that still delivers is aborted, the file is closed, and no task hangs."""
    consumer = FileConsumer(tmp_path / "file")
    dtp, transport, waiter = await receive_into(consumer, b"data")
    if begun:
        await until(lambda: consumer._queue.size == 0)
    await consumer.aclose()
    await consumer.aclose()
    for awaitable in (waiter, consumer.wait_finished()):
        with pytest.raises(TransferAborted):
            await awaitable
    assert dtp.end is End.CANCELLED
    assert transport.was_aborted


async def test_closing_a_finished_file_changes_nothing(tmp_path: Path) -> None:
    """`aclose` may always be called."""
    consumer = FileConsumer(tmp_path / "file")
    _, transport, waiter = await receive_into(consumer, b"data")
    transport.feed_eof()
    await waiter
    await consumer.wait_finished()
    await consumer.aclose()
    await consumer.wait_finished()
    assert (tmp_path / "file").read_bytes() == b"data"


async def test_cancelled_anywhere_no_file_stays_open(tmp_path: Path) -> None:
    """Aborting and closing leaves neither a task nor a descriptor, wherever it is cancelled."""

    async def scenario() -> None:
        dtp, transport = connect()
        consumer = FileConsumer(tmp_path / "file")
        waiter = dtp.register_consumer(consumer)
        try:
            for _ in range(3):
                transport.feed(b"data")
                await asyncio.sleep(0.001)
            transport.feed_eof()
            await waiter
            await consumer.wait_finished()
        finally:
            dtp.abort()
            await consumer.aclose()

    await sweep(scenario)


def test_file_objects_are_binary_files() -> None:
    """The scripted file has the type that a consumer accepts."""
    file: BinaryIO = BrokenFile()
    assert file.writable()


@pytest.mark.parametrize("wrong", [None, 1, [b"x"], io.StringIO("text")])
def test_what_is_not_a_file_is_refused_at_the_call(wrong: Any) -> None:
    """It is refused at the call, not after the transfer has begun."""
    with pytest.raises(TypeError, match="binary file"):
        FileConsumer(wrong)


def test_a_file_that_cannot_be_written_is_refused_at_the_call(tmp_path: Path) -> None:
    """A closed file, a file opened for reading and negative numbers are refused."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    with path.open("rb") as file, pytest.raises(ValueError, match="expected a writable file"):
        FileConsumer(file)
    with pytest.raises(ValueError, match="closed"):
        FileConsumer(file)
    with pytest.raises(ValueError, match="not negative: -1"):
        FileConsumer(path, offset=-1)
    with pytest.raises(ValueError, match="at least 0, not -1"):
        FileConsumer(path, high_water=-1)
