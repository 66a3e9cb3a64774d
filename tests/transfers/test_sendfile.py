"""Every byte of a file is sent once, in order, whatever the system supports and has in memory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, cast

import pytest

from ftpdata._kernel import sendfile_past, sight_of
from ftpdata.connection.protocol import DTP
from ftpdata.errors import FTPDataError, SizeMismatch
from ftpdata.files.source import FileSource
from ftpdata.outcome import End, FastPath
from ftpdata.testing import reset
from ftpdata.throttle import TokenBucket
from ftpdata.transfers import _sendfile as sending
from ftpdata.transfers import send_file
from tests.harness.connections import connection, peer_task, read_until_cut, receive_all
from tests.harness.outcomes import failed, finished
from tests.harness.waiting import until

BIG = 8 * 1024 * 1024
"""Bytes that no buffers between two sockets can hold."""


async def test_a_file_that_loses_its_sendfile_half_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest goes the other way, from where sendfile stopped."""

    content = os.urandom(3 * 1024 * 1024)
    big = tmp_path / "big"
    big.write_bytes(content)
    calls = 0

    def once(transport: asyncio.Transport, fd: int, offset: int, count: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise NotImplementedError
        return sendfile_past(transport, fd, offset, min(count, 100_000))

    monkeypatch.setattr(sending, "sendfile_past", once)
    async with connection() as (dtp, peer):
        assert await finished(send_file(dtp, big), peer) == content

    assert calls == 2


@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="there is no sendfile")
@pytest.mark.parametrize("place", ["memory", "disk", "nowhere"])
async def test_a_socket_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The transport waits for room with a few bytes of the file, wherever they come from."""

    content = os.urandom(BIG)
    big = tmp_path / "big"
    big.write_bytes(content)
    shrinks = place == "nowhere"
    read = FileSource.read

    async def read_late(source: FileSource, count: int) -> bytes:
        if shrinks:
            await asyncio.to_thread(os.truncate, big, 0)
        return await read(source, count)

    if place != "memory":
        monkeypatch.setattr(sending, "read_cached", lambda *_: None)
        monkeypatch.setattr(FileSource, "read", read_late)
    full = 0

    def watched(transport: asyncio.Transport, *arguments: int) -> int:
        nonlocal full
        # Data that overtook the transport's must not arrive too early.
        assert transport.get_write_buffer_size() == 0
        try:
            return sendfile_past(transport, *arguments)
        except BlockingIOError:
            full += 1
            raise

    monkeypatch.setattr(sending, "sendfile_past", watched)
    async with connection(send_buffer=1 << 16, receive_buffer=1 << 16) as (dtp, peer):
        task = asyncio.ensure_future(send_file(dtp, big))
        async with peer_task(read_until_cut(peer)) as reading:
            if shrinks:
                await failed(task, SizeMismatch, End.SIZE_MISMATCH)
            else:
                result = await task
                assert (result.bytes, result.file_bytes) == (BIG, BIG)
                assert result.fast_path is FastPath.SENDFILE
            received, was_reset = cast("tuple[bytes, bool]", await reading)
    assert full == 1 if shrinks else full > 1
    assert was_reset is shrinks
    assert received == content[: len(received)]
    assert shrinks or len(received) == BIG


@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="there is no sendfile")
@pytest.mark.parametrize("there", ["", "0", "01", "101", "0101"])
async def test_what_is_not_in_memory_is_read_by_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    """The event loop only moves what is in memory: a disk would hold up every other transfer."""

    content = os.urandom(20 * 1024 * 1024)
    big = tmp_path / "big"
    big.write_bytes(content)
    answers = iter(there)
    look = FileSource.is_in_memory
    is_there = False

    def is_in_memory(source: FileSource, count: int) -> bool:
        nonlocal is_there
        look(source, count)
        is_there = next(answers, "0") == "1"
        return is_there

    def watched(*arguments: Any) -> int:
        assert is_there
        return sendfile_past(*arguments)

    monkeypatch.setattr(FileSource, "is_in_memory", is_in_memory)
    monkeypatch.setattr(sending, "sendfile_past", watched)
    async with connection() as (dtp, peer), peer_task(receive_all(peer)) as receiving:
        result = await send_file(dtp, big)
        assert await receiving == content

    assert result.bytes == len(content)
    assert result.fast_path is (FastPath.SENDFILE if "1" in there else FastPath.NONE)


async def test_a_peer_that_takes_a_little_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tasks get a turn between any two of its pieces."""

    def full(*_: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(sending, "sendfile_past", full)
    content = os.urandom(100 * sending.TOKEN + 1)
    (tmp_path / "file").write_bytes(content)
    monkeypatch.setattr(sending, "read_cached", lambda _, size, at: content[at : at + size])
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with connection() as (dtp, peer), peer_task(count()):
        assert await finished(send_file(dtp, tmp_path / "file"), peer) == content
    assert turns >= 100


@pytest.mark.parametrize("how", ["abort", "reset"])
async def test_what_was_sent_is_counted(tmp_path: Path, how: str) -> None:
    """At every end, the count has each byte that the system accepted, and none that still waits."""

    (tmp_path / "file").write_bytes(bytes(BIG))
    async with connection(receive_buffer=1 << 16) as (dtp, peer):
        task = asyncio.ensure_future(send_file(dtp, tmp_path / "file"))
        await until(lambda: dtp.transport.get_write_buffer_size() > 0)
        sent = None
        if how == "abort":
            sent = dtp.bytes_sent
            dtp.abort()
        else:
            reset(peer)
        with pytest.raises(FTPDataError) as caught:
            await task
    assert caught.value.result is not None
    assert caught.value.result.bytes == caught.value.result.file_bytes > 0
    assert sent in (None, caught.value.result.bytes)


async def test_a_peer_that_never_reads_has_little_kept_for_it(tmp_path: Path) -> None:
    """The system only has room for some thousand such peers."""

    (tmp_path / "file").write_bytes(bytes(BIG))
    async with connection() as (dtp, peer):
        task = asyncio.ensure_future(send_file(dtp, tmp_path / "file"))
        await until(lambda: dtp.transport.get_write_buffer_size() > 0)
        unsent = sight_of(dtp.transport.get_extra_info("socket")).unacknowledged
        assert unsent is None or unsent < 512 * 1024
        # A peer that reads gets as much as the network takes.
        assert len(await receive_all(peer)) == BIG
        result = await task
    assert result.fast_path is FastPath.SENDFILE


class Counting(TokenBucket):
    """Lets everything pass, and counts what was reserved and not given back."""

    def __init__(self) -> None:
        super().__init__(None, now=0.0)
        self.taken = 0

    def reserve(self, nbytes: int, now: float) -> float:
        """Count the bytes."""

        self.taken += nbytes
        return super().reserve(nbytes, now)

    def unused(self, nbytes: int) -> None:
        """Subtract the bytes."""

        self.taken -= nbytes


@pytest.mark.parametrize("ahead", [True, False])
async def test_what_is_not_sent_is_given_back_to_the_throttle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: bool
) -> None:
    """This holds wherever the transfer is aborted: before a piece, or within one."""

    (tmp_path / "file").write_bytes(bytes(BIG))
    waits = 0
    drain = DTP.drain

    async def abort_and_drain(dtp: DTP) -> None:
        nonlocal waits
        waits += 1
        if waits == (1 if ahead else 2):
            dtp.abort()
        await drain(dtp)

    monkeypatch.setattr(DTP, "drain", abort_and_drain)
    bucket = Counting()
    async with connection() as (dtp, _):
        with pytest.raises(FTPDataError) as caught:
            await send_file(dtp, tmp_path / "file", throttle=bucket)
    assert waits == (1 if ahead else 2)
    assert caught.value.result is not None
    assert bucket.taken == caught.value.result.file_bytes
    assert (bucket.taken == 0) is ahead
