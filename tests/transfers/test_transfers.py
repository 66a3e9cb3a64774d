"""Whole transfers over real sockets: what arrives, what is published, and how each one ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from ftpdata.connection.protocol import DTP
from ftpdata.connection.receive_queue import ReceiveQueue
from ftpdata.deadlines import Deadlines
from ftpdata.errors import (
    BadArgument,
    ConnectionReset,
    FileUnavailable,
    FTPDataError,
    InsufficientStorage,
    LocalError,
    NotConnected,
    QuotaExceeded,
    SizeMismatch,
    TransferAborted,
    TransferTimeout,
    UnsupportedParameter,
)
from ftpdata.files import source as files_source
from ftpdata.files.source import CHUNK
from ftpdata.files.target import FileTarget, WriteMode
from ftpdata.listing.table import ListingBlock
from ftpdata.opening.endpoint import AcceptedEndpoint
from ftpdata.outcome import Direction, End, FastPath, TransferResult
from ftpdata.parameters import RepresentationType, Structure, TransferParameters
from ftpdata.testing import half_close, reset, sweep, tcp_pair
from ftpdata.throttle import TokenBucket
from ftpdata.transfers import (
    _pace,
    _plain,
    receive_file,
    receive_stream,
    relay,
    send_file,
    send_listing,
    send_stream,
)
from ftpdata.transfers import _supervisor as supervision
from tests.harness.connections import (
    connection,
    peer_task,
    read_until_cut,
    receive_all,
    send_all,
)
from tests.harness.outcomes import failed, finished, no_sendfile
from tests.harness.seams import Hang, Seams, descriptors
from tests.harness.waiting import turns, until

CONTENT = bytes(range(256)) * 4 * 300
BIG = 8 * 1024 * 1024
ASCII = TransferParameters(type=RepresentationType.ASCII)
PROMPT = Deadlines(close=10.0)

# Helpers


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> Seams:
    """Yield the means to let system calls fail or hang."""

    return Seams(monkeypatch)


@pytest.fixture
def from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every file out of memory, so that worker threads read it."""

    monkeypatch.setattr(files_source, "read_from_memory", lambda *_, **__: 0)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Return a file that is too large for the buffers between two sockets."""

    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(BIG)

    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of `CONTENT`."""

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def ways(*starts: Callable[..., Awaitable[Any]]) -> tuple[Callable[..., Awaitable[Any]], ...]:
    """Return the ways to start a transfer."""

    return starts


async def chunked(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """Yield content in chunks."""

    for start in range(0, len(content), size):
        yield content[start : start + size]


async def descriptors_of_loop() -> set[str]:
    """Return the open descriptors, including those that uvloop opens with its first connection."""

    async with connection():
        pass

    return descriptors()


def names(directory: Path) -> list[str]:
    """Return the names of the files in a directory, including hidden ones."""

    return sorted(path.name for path in directory.iterdir())


# Clean ends


EDGES = [0, 1, 2, 255, CHUNK - 1, CHUNK, CHUNK + 1, len(CONTENT)]


@pytest.mark.parametrize("fallback", [False, True])
async def test_every_size_offset_and_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fallback: bool
) -> None:
    """The fast path and the other one send the same bytes, and the result says which it was."""

    if fallback:
        no_sendfile(monkeypatch)

    path = tmp_path / "file"
    for size in EDGES:
        path.write_bytes(CONTENT[:size])
        for offset, length in [(0, None), (1, None), (size, None), (0, 1), (1, size), (0, 1 << 40)]:
            if offset > size:
                continue

            expected = CONTENT[offset:size][:length]
            async with connection() as (dtp, peer):
                task = asyncio.ensure_future(send_file(dtp, path, offset=offset, length=length))

                assert await finished(task, peer) == expected
                result = task.result()
                fast = expected and not fallback and hasattr(os, "sendfile")
                assert result.fast_path is (FastPath.SENDFILE if fast else FastPath.NONE)
                assert result.file_bytes == len(expected)
                assert result.offset == offset
                assert result.direction is Direction.SENT


@pytest.mark.parametrize("name", ["sha256", "md5", "crc32", "SHA-1"])
async def test_digests_on_every_path(file: Path, name: str) -> None:
    """On every path the digest is that of the file, sent or received, in any TYPE."""

    content = b"a line\nand another\r\n" * 3000
    file.write_bytes(content)  # noqa: ASYNC240
    algorithm = name.lower().replace("-", "")
    expected = (
        f"{zlib.crc32(content):08x}"
        if algorithm == "crc32"
        else hashlib.new(algorithm, content).hexdigest()
    )
    results = []
    for parameters in (TransferParameters(), ASCII):
        for start in ways(
            lambda dtp, p: send_file(dtp, file, parameters=p, digest=name),
            lambda dtp, p: send_stream(dtp, chunked(content), parameters=p, digest=name),
        ):
            async with connection() as (dtp, peer), peer_task(receive_all(peer)):
                results.append(await start(dtp, parameters))

    async with connection() as (dtp, peer), peer_task(send_all(peer, content)):
        results.append(await receive_file(dtp, file.parent / "up", digest=name))

    async with connection() as (dtp, peer), peer_task(send_all(peer, content)):
        async with receive_stream(dtp, digest=name) as stream:
            assert b"".join([data async for data in stream]) == content
        assert stream.result is not None
        results.append(stream.result)

    async with (
        connection() as (source, sender),
        connection() as (target, receiver),
        peer_task(send_all(sender, content)),
        peer_task(receive_all(receiver)),
    ):
        results.append(await relay(source, target, digest=name))

    assert {result.digest for result in results} == {expected}
    assert {result.digest_name for result in results} == {algorithm}


async def test_file_like_objects(file: Path) -> None:
    """They may be in memory, packed, unbuffered, positioned mid-file, a pipe or a descriptor."""

    packed = file.with_name("packed")
    packed.write_bytes(gzip.compress(CONTENT))
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    with contextlib.ExitStack() as stack:
        mid = stack.enter_context(file.open("rb"))
        mid.seek(100)
        mid.read(3)
        fd = os.open(file, os.O_RDONLY)
        stack.callback(os.close, fd)
        stack.callback(os.close, reading)
        cases: list[tuple[Any, bytes]] = [
            (io.BytesIO(CONTENT), CONTENT),
            (stack.enter_context(gzip.open(packed)), CONTENT),
            (stack.enter_context(file.open("rb", buffering=0)), CONTENT),
            (mid, CONTENT[103:]),
            (reading, b"through a pipe"),
            (fd, CONTENT),
        ]
        for source, expected in cases:
            async with connection() as (dtp, peer):
                assert await finished(send_file(dtp, source), peer) == expected
        assert mid.read(10) == CONTENT[103:113]
        # Whatever sendfile did to it, a caller's descriptor keeps its position.
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0


async def test_ascii_both_ways(tmp_path: Path) -> None:
    """Line ends are converted on the wire, and sizes are counted on both sides of it."""

    path = tmp_path / "text"
    path.write_bytes(b"one\ntwo\n" * 50_000)
    async with connection() as (dtp, peer), peer_task(receive_all(peer)) as receiving:
        result = await send_file(dtp, path, parameters=ASCII)
        wire = await receiving
    assert wire == b"one\r\ntwo\r\n" * 50_000
    assert (result.bytes, result.file_bytes) == (len(wire), path.stat().st_size)
    assert result.fast_path is FastPath.NONE

    async with connection() as (dtp, peer), peer_task(send_all(peer, wire)):
        result = await receive_file(
            dtp, tmp_path / "back", parameters=ASCII, expected_size=path.stat().st_size
        )
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    assert (result.bytes, result.file_bytes) == (len(wire), path.stat().st_size)


async def test_where_an_upload_goes(served_directory: Path) -> None:
    """Into a path, at an offset, appended, under a directory's descriptor, or exclusively."""

    dir_fd = os.open(served_directory, os.O_RDONLY)
    path = served_directory / "file"

    async def up(target: Any, data: bytes, **options: Any) -> TransferResult:
        async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
            return await receive_file(dtp, target, **options)

    try:
        result = await up(path, CONTENT)
        assert path.read_bytes() == CONTENT
        assert (result.bytes, result.file_bytes, result.end) == (
            len(CONTENT),
            len(CONTENT),
            End.CLEAN,
        )
        assert (await up("file", b"ab", dir_fd=dir_fd, offset=3)).offset == 3
        assert path.read_bytes() == CONTENT[:3] + b"ab" + CONTENT[5:]
        await up("file", b"new", dir_fd=dir_fd)
        await up(path, b"er", append=True)
        assert path.read_bytes() == b"newer"
        await up(path, b"")
        assert path.read_bytes() == b""
        target = await FileTarget.open(served_directory / "unique", mode=WriteMode.EXCLUSIVE)
        await up(target, b"unique")
        assert (served_directory / "unique").read_bytes() == b"unique"
        memory = io.BytesIO()
        await up(memory, CONTENT)
        assert memory.getvalue() == CONTENT
        with (served_directory / "raw").open("wb", buffering=0) as raw:
            await up(raw, CONTENT)
            assert not raw.closed
        assert (served_directory / "raw").read_bytes() == CONTENT
    finally:
        os.close(dir_fd)


async def test_listings() -> None:
    """Lines may come from lists or generators of both kinds; CR LF follows each."""

    async def slow() -> AsyncIterator[bytes]:
        for line in (b"a", b"b"):
            await asyncio.sleep(0)
            yield line

    many = [b"%d" % number for number in range(20_000)]
    cases: list[tuple[Any, bytes]] = [
        ([], b""),
        ([b""], b"\r\n"),
        ([b"a", b"b"], b"a\r\nb\r\n"),
        ([[b"a", b"b"], [], [b"c"]], b"a\r\nb\r\nc\r\n"),
        ((line for line in (b"a", b"b")), b"a\r\nb\r\n"),
        (slow(), b"a\r\nb\r\n"),
        (many, b"".join(line + b"\r\n" for line in many)),
        ([many], b"".join(line + b"\r\n" for line in many)),
        ([ListingBlock(b"a\r\nb\r\n"), ListingBlock(b"c\r\n")], b"a\r\nb\r\nc\r\n"),
        ([b"a", b"b", ListingBlock(b"c\r\n"), b"d"], b"a\r\nb\r\nc\r\nd\r\n"),
        ([ListingBlock(b"a\r\n"), [b"b", b"c"], ListingBlock()], b"a\r\nb\r\nc\r\n"),
    ]
    for lines, expected in cases:
        async with connection() as (dtp, peer):
            assert await finished(send_listing(dtp, lines), peer) == expected


async def test_the_first_line_does_not_wait_for_the_last() -> None:
    """The first line arrives while the directory is still being read."""

    gate = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b"first"
        await gate.wait()
        yield b"last"

    async with connection() as (dtp, peer):
        task = asyncio.create_task(send_listing(dtp, lines()))
        assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"first\r\n"
        gate.set()
        assert await receive_all(peer) == b"last\r\n"
        await task


async def test_a_listing_entry_without_a_formatter() -> None:
    """This is an error of the caller, reported like any failure of the lines."""

    async with connection() as (dtp, _):
        await failed(send_listing(dtp, [object()]), LocalError, End.PRODUCER_FAILED)  # type: ignore[list-item]


async def test_a_listing_with_a_formatter() -> None:
    """An entry that the formatter turns into None is left out."""

    entries: Any = [1, 2, 3]
    async with connection() as (dtp, peer):
        work = send_listing(
            dtp, entries, formatter=lambda entry: {1: b"1", 3: b"3"}.get(cast("Any", entry))
        )
        assert await finished(work, peer) == b"1\r\n3\r\n"


async def test_one_huge_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent piece by piece, with never much more than the high-water mark in flight."""

    most = 0
    content = os.urandom(2 * 1024 * 1024)
    async with connection(send_buffer=1 << 14) as (dtp, peer):
        write = dtp.write

        def watched(data: Any) -> None:
            nonlocal most
            write(data)
            most = max(most, dtp.transport.get_write_buffer_size())

        monkeypatch.setattr(dtp, "write", watched)
        assert await finished(send_stream(dtp, chunked(content, len(content))), peer) == content
        assert most <= dtp.high_water + _pace.LARGEST_PIECE


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_a_buffer_that_is_filled_again(kind: Callable[[bytearray], Any]) -> None:
    """What the system has no room for yet is as it was given, whatever the host does with it."""

    buffer = bytearray(100_000)

    async def chunks() -> AsyncIterator[Any]:
        for number in range(50):
            buffer[:] = bytes([number]) * len(buffer)
            yield kind(buffer)

    async with connection(send_buffer=1 << 14) as (dtp, peer):
        data = await finished(send_stream(dtp, chunks()), peer)
    assert data == b"".join(bytes([number]) * len(buffer) for number in range(50))


async def test_items_of_several_bytes() -> None:
    """A view of them counts as the bytes that it has."""

    async def chunks() -> AsyncIterator[Any]:
        yield memoryview(b"1234" * 1000).cast("I")

    async with connection() as (dtp, peer), peer_task(receive_all(peer)) as received:
        result = await send_stream(dtp, chunks())
        assert await received == b"1234" * 1000
    assert result.bytes == result.file_bytes == 4000


async def test_a_stream_of_what_is_not_a_generator() -> None:
    """It may have a generator as `__aiter__`, or an `aclose` that is not ftpdata's to call."""

    closed: list[str] = []

    class Rows:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x"
            finally:
                closed.append("rows")

    class Channel:
        def __aiter__(self) -> Channel:
            return self

        async def __anext__(self) -> bytes:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            closed.append("channel")

    async with connection() as (dtp, peer), peer_task(receive_all(peer)):
        await send_stream(dtp, Channel())

    async with connection() as (dtp, _):
        asyncio.get_running_loop().call_later(0.01, dtp.abort)
        await failed(send_stream(dtp, Rows()), TransferAborted, End.ABORTED)

    assert closed == ["rows"]


async def test_generators_are_closed_in_the_task_that_ran_them() -> None:
    """Cancel scopes and timeouts that are open within them end in the task where they began."""

    seen: list[asyncio.Task[Any] | None] = []

    async def rows() -> AsyncIterator[bytes]:
        seen.append(asyncio.current_task())
        try:
            async with asyncio.timeout(60):
                while True:
                    yield b"x" * 100_000
        finally:
            seen.append(asyncio.current_task())

    for start in (send_stream, send_listing):
        seen.clear()
        async with connection() as (dtp, peer):
            task = asyncio.create_task(start(dtp, rows()))
            await asyncio.get_running_loop().sock_recv(peer, 10)
            dtp.abort()
            with pytest.raises(TransferAborted):
                await task
            assert seen == [task, task]


async def test_relay() -> None:
    """A relay passes every byte from one connection to the other."""

    content = os.urandom(3_000_000)
    async with connection() as (source, sender), connection() as (target, receiver):
        async with peer_task(send_all(sender, content)):
            assert await finished(relay(source, target), receiver) == content
        assert source.end is target.end is End.CLEAN


# Progress


async def test_progress_is_monotone_and_ends_with_the_total(
    big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds on every path, and the total is reported where it is known."""

    monkeypatch.setattr(supervision, "PROGRESS_INTERVAL", 0.0)
    data = bytes(BIG)
    starts: list[tuple[Callable[..., Awaitable[Any]], bool]] = [
        (lambda dtp, progress: send_file(dtp, big, progress=progress), True),
        (lambda dtp, progress: send_file(dtp, big, progress=progress, digest="crc32"), True),
        (
            lambda dtp, progress: send_stream(
                dtp, chunked(data, 500_000), progress=progress, expected_size=BIG
            ),
            True,
        ),
        (lambda dtp, progress: send_stream(dtp, chunked(data), progress=progress), False),
    ]
    for start, knows_total in starts:
        calls: list[tuple[int, int | None]] = []
        async with connection() as (dtp, peer), peer_task(receive_all(peer)):
            await start(dtp, lambda *call, calls=calls: calls.append(call))
        assert calls == sorted(calls, key=lambda call: call[0])
        assert calls[-1] == (BIG, BIG if knows_total else None)
        assert {total for _, total in calls} == {BIG if knows_total else None}
        assert len(calls) > 2

    calls = []
    async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
        await receive_file(
            dtp, big.with_name("up"), expected_size=BIG, progress=lambda *call: calls.append(call)
        )
    assert calls == sorted(calls)
    assert calls[-1] == (BIG, BIG)


@pytest.mark.parametrize("k", [1, 2])
async def test_a_progress_callback_that_raises(
    file: Path, served_directory: Path, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    """It fails the transfer, at the first call or the last, and nothing is published."""

    # The interval is longer than the machine's uptime: the first call must not depend on it.
    monkeypatch.setattr(supervision, "PROGRESS_INTERVAL", 1e12 if k == 2 else 0.0)

    def progress(*_: object) -> None:
        calls.append(1)
        if len(calls) == k:
            raise KeyError("progress")

    starts: list[tuple[Callable[[DTP], Awaitable[Any]], End]] = [
        (lambda dtp: send_file(dtp, file, progress=progress), End.PRODUCER_FAILED),
        (lambda dtp: send_file(dtp, file, progress=progress, digest="md5"), End.PRODUCER_FAILED),
        (
            lambda dtp: receive_file(dtp, served_directory / "up", progress=progress),
            End.CONSUMER_FAILED,
        ),
    ]
    for start, end in starts:
        calls: list[int] = []
        async with connection() as (dtp, peer):
            receives = end is End.CONSUMER_FAILED
            work = send_all(peer, b"x") if receives else read_until_cut(peer)
            async with peer_task(work):
                result = await failed(start(dtp), LocalError, end)
            assert result.reply_code == 451

    assert names(served_directory) == []


# Truthfulness: uploads


async def test_an_upload_that_is_reset_in_the_middle(served_directory: Path) -> None:
    """It ends with 426; the old file stays, and nothing else is left beside it."""

    old = served_directory / "old"
    old.write_bytes(b"old")
    for path in (served_directory / "new", old):
        async with connection() as (dtp, peer):
            task = asyncio.create_task(receive_file(dtp, path))
            await asyncio.get_running_loop().sock_sendall(peer, CONTENT)
            await until(lambda dtp=dtp: dtp.bytes_received == len(CONTENT))  # type: ignore[misc]
            reset(peer)
            result = await failed(task, ConnectionReset, End.RESET)
            assert result.reply_code == 426
            assert result.bytes == len(CONTENT)

    assert names(served_directory) == ["old"]
    assert old.read_bytes() == b"old"


@pytest.mark.parametrize("options", [{"offset": 3}, {"append": True}])
async def test_what_came_stays_where_it_was_asked_for(tmp_path: Path, options: Any) -> None:
    """REST and APPE write in place, so a cut upload leaves what was written."""

    path = tmp_path / "file"
    path.write_bytes(b"old")
    async with connection() as (dtp, peer):
        task = asyncio.create_task(receive_file(dtp, path, **options))
        await asyncio.get_running_loop().sock_sendall(peer, b"more")
        await until(lambda: path.read_bytes() == b"oldmore")
        reset(peer)
        await failed(task, ConnectionReset, End.RESET)

    assert path.read_bytes() == b"oldmore"


@pytest.mark.parametrize("how", ["close", "half close"])
@pytest.mark.parametrize("sent", [b"", b"half a fi", b"half a file and more"])
async def test_an_upload_of_the_wrong_size(served_directory: Path, sent: bytes, how: str) -> None:
    """A clean end proves nothing: fewer or more bytes than promised are not the file."""

    for receive in ways(
        lambda dtp: receive_file(dtp, served_directory / "up", expected_size=11),
        lambda dtp: _collect(receive_stream(dtp, expected_size=11)),
    ):
        async with connection() as (dtp, peer):
            await asyncio.get_running_loop().sock_sendall(peer, sent)
            half_close(peer)
            if how == "close":
                peer.close()
            result = await failed(receive(dtp), SizeMismatch, End.SIZE_MISMATCH)
            assert result.reply_code == 451

    assert names(served_directory) == []


async def _collect(stream: Any) -> bytes:
    async with stream:
        return b"".join([data async for data in stream])


async def test_an_upload_above_the_limit(served_directory: Path) -> None:
    """The first byte above the limit causes a 552; exactly the limit is allowed."""

    for size in (11, 12, 100_000):
        for receive in ways(
            lambda dtp: receive_file(dtp, served_directory / "up", size_limit=11),
            lambda dtp: _collect(receive_stream(dtp, size_limit=11)),
        ):
            async with connection() as (dtp, peer):
                await asyncio.get_running_loop().sock_sendall(peer, bytes(size))
                half_close(peer)
                if size == 11:
                    await receive(dtp)
                else:
                    result = await failed(receive(dtp), QuotaExceeded, End.SIZE_LIMIT)
                    assert result.reply_code == 552

    assert names(served_directory) == ["up"]


@pytest.mark.parametrize("k", range(1, 5))
async def test_a_disk_that_is_full(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, seams: Seams, k: int
) -> None:
    """Whichever write fails, the error is a 452, the peer sees a reset, and nothing is left."""

    # There are fewer splices; `test_splice.py` has the corresponding test.
    monkeypatch.setattr(_plain, "can_splice", lambda *_: False)
    failures = seams.fail("write", k, errno.ENOSPC)
    async with connection() as (dtp, peer):

        async def feed() -> bool:
            # The peer sees the reset at the latest when it reads.
            try:
                for _ in range(1000):
                    await asyncio.get_running_loop().sock_sendall(peer, bytes(100_000))
            except OSError:
                return True
            return (await read_until_cut(peer))[1]

        async with peer_task(feed()) as feeding:
            result = await failed(
                receive_file(dtp, served_directory / "up"),
                InsufficientStorage,
                End.CONSUMER_FAILED,
            )
            assert await feeding

    assert failures == [k]
    assert result.reply_code == 452
    assert names(served_directory) == []


@pytest.mark.parametrize(("seam", "code"), [("close", 451), ("replace", 451), ("fsync", 451)])
async def test_a_commit_that_fails(
    served_directory: Path, seams: Seams, seam: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything has arrived but is not stored: this is never a 226."""

    # A splice would close its pipe first, and that failure loses nothing.
    monkeypatch.setattr(_plain, "can_splice", lambda *_: False)
    target = await FileTarget.open(served_directory / "up", durable=True)
    async with connection() as (dtp, peer), peer_task(send_all(peer, CONTENT)):
        # Nor does this concern what opening the connection has closed.
        seams.fail(seam, 1, errno.EIO)
        result = await failed(receive_file(dtp, target), LocalError, End.CONSUMER_FAILED)

    assert result.reply_code == code
    assert result.bytes == len(CONTENT)
    assert names(served_directory) == []


async def test_a_discard_that_fails_conceals_nothing(tmp_path: Path, seams: Seams) -> None:
    """The error says why the upload was cut; a note says that it could not be removed."""

    seams.fail("unlink", 1, errno.EACCES)
    async with connection() as (dtp, peer):
        task = asyncio.create_task(receive_file(dtp, tmp_path / "up"))
        await asyncio.get_running_loop().sock_sendall(peer, b"x")
        await until(lambda: any(path.stat().st_size for path in tmp_path.iterdir()))
        reset(peer)
        with pytest.raises(ConnectionReset) as caught:
            await task

    assert "Permission denied" in "".join(caught.value.__notes__)


async def test_commit_or_discard_exactly_once() -> None:
    """This holds for any target, whatever happens, also where the transfer never begins."""

    class Target:
        def __init__(self, fails: str = "") -> None:
            self.calls: list[str] = []
            self.fails = fails

        async def _call(self, name: str) -> None:
            self.calls.append(name)
            await asyncio.sleep(0)
            if name == self.fails:
                raise OSError(errno.EIO, "no")

        async def write(self, data: bytes) -> None:
            await self._call("write")

        async def commit(self) -> None:
            await self._call("commit")

        async def discard(self) -> None:
            await self._call("discard")

    cases: list[tuple[str, dict[str, Any], list[str]]] = [
        ("", {}, ["write", "commit"]),
        ("write", {}, ["write", "discard"]),
        ("commit", {}, ["write", "commit"]),
        ("", {"expected_size": 2}, ["write", "discard"]),
        ("", {"digest": "nonsense"}, ["discard"]),
        ("", {"parameters": TransferParameters(structure=Structure.PAGE)}, ["discard"]),
    ]
    for fails, options, calls in cases:
        target = Target(fails)
        async with connection() as (dtp, peer):
            await asyncio.get_running_loop().sock_sendall(peer, b"x")
            half_close(peer)
            if calls[-1] == "commit" and not fails:
                await receive_file(dtp, target, **options)
            else:
                with pytest.raises(FTPDataError) as caught:
                    await receive_file(dtp, target, **options)
                assert caught.value.result is not None
            assert not dtp.is_connected
        assert target.calls == calls


KILLED = """
import asyncio, sys
from ftpdata.opening import AcceptedEndpoint
from ftpdata.transfers import receive_file

async def main():
    async with AcceptedEndpoint(int(sys.argv[1])) as endpoint:
        await receive_file(await endpoint.open(), sys.argv[2])

asyncio.run(main())
"""


@pytest.mark.parametrize("sent", [1, 300_000, 2_000_000])
def test_a_process_that_is_killed_leaves_no_half_file(tmp_path: Path, sent: int) -> None:
    """At any moment, the final name has the old file."""

    path = tmp_path / "file"
    path.write_bytes(b"old")
    ours, theirs = socket.socketpair()
    with ours, socket.create_server(("127.0.0.1", 0)) as server:
        theirs.close()
        with socket.create_connection(server.getsockname()) as peer:
            accepted, _ = server.accept()
            with accepted:
                process = subprocess.Popen(
                    [sys.executable, "-c", KILLED, str(accepted.fileno()), str(path)],
                    pass_fds=[accepted.fileno()],
                    cwd=Path(__file__).parents[2],
                )
            try:
                peer.sendall(bytes(sent))
                # The process is known to be at work once its hidden file has the data that arrived.
                while not any(hidden.stat().st_size == sent for hidden in tmp_path.glob(".ftp*")):
                    assert process.poll() is None
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()

    assert path.read_bytes() == b"old"


# Truthfulness: downloads


@pytest.mark.parametrize("fallback", [False, True])
async def test_a_file_that_shrinks(
    big: Path, monkeypatch: pytest.MonkeyPatch, fallback: bool
) -> None:
    """The error is a 451 with a reset; no loop spins, and no short file passes for a whole one."""

    if fallback:
        no_sendfile(monkeypatch)

    async with connection(send_buffer=1 << 16, receive_buffer=1 << 16) as (dtp, peer):
        task = asyncio.create_task(send_file(dtp, big))
        received = await asyncio.get_running_loop().sock_recv(peer, 1)
        os.truncate(big, BIG // 2)
        async with peer_task(read_until_cut(peer)) as reading:
            result = await failed(task, SizeMismatch, End.SIZE_MISMATCH)
            rest, was_reset = cast("tuple[bytes, bool]", await reading)

    assert result.reply_code == 451
    assert was_reset
    assert len(received) + len(rest) <= BIG // 2


@pytest.mark.parametrize("fallback", [False, True])
async def test_a_file_that_grows(
    big: Path, monkeypatch: pytest.MonkeyPatch, fallback: bool
) -> None:
    """Only what the file had when the transfer began is sent."""

    if fallback:
        no_sendfile(monkeypatch)

    async with connection(send_buffer=1 << 16, receive_buffer=1 << 16) as (dtp, peer):
        task = asyncio.create_task(send_file(dtp, big))
        first = await asyncio.get_running_loop().sock_recv(peer, 1)
        with big.open("ab") as file:
            file.write(bytes(BIG))
        assert len(first + await receive_all(peer)) == BIG
        assert (await task).file_bytes == BIG


async def test_a_file_of_another_size_than_promised(file: Path) -> None:
    """A file is not begun; a stream is not ended cleanly."""

    for size in (len(CONTENT) - 1, len(CONTENT) + 1):
        for start in ways(
            lambda dtp, size=size: send_file(dtp, file, expected_size=size),
            lambda dtp, size=size: send_stream(dtp, chunked(CONTENT), expected_size=size),
        ):
            async with connection() as (dtp, peer), peer_task(read_until_cut(peer)) as reading:
                await failed(start(dtp), SizeMismatch, End.SIZE_MISMATCH)
                assert (await reading)[1]  # type: ignore[index]

    async with connection() as (dtp, peer):
        work = send_file(dtp, file, offset=10, length=5, expected_size=5)
        assert await finished(work, peer) == CONTENT[10:15]


@pytest.mark.parametrize("path", ["sendfile", "reading", "stream", "listing", "relay"])
async def test_a_peer_that_resets_a_download(
    big: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Every path reports it as the peer's reset, 426."""

    if path == "reading":
        no_sendfile(monkeypatch)

    for nbytes in (0, 1, 1_000_000):
        async with connection() as (dtp, peer), connection() as (source, sender):
            starts: dict[str, Callable[[], Awaitable[Any]]] = {
                "stream": partial(send_stream, dtp, chunked(bytes(BIG), 50_000)),
                "listing": partial(send_listing, dtp, [bytes(50_000)] * 200),
                "relay": partial(relay, source, dtp),
            }
            start = starts.get(path, partial(send_file, dtp, big))
            async with peer_task(send_all(sender, bytes(BIG))):
                task = asyncio.ensure_future(start())
                received = 0
                while received < nbytes:
                    received += len(await asyncio.get_running_loop().sock_recv(peer, 65536))
                reset(peer)
                result = await failed(task, ConnectionReset, End.RESET)
                assert result.reply_code == 426
                assert not source.is_connected or path != "relay"


async def test_a_peer_that_vanishes_before_it_takes_the_rest(file: Path) -> None:
    """The peer takes nothing more: it is given up as stalled, 426."""

    # The system has accepted everything, but the peer has not received it.
    os.truncate(file, 50_000)
    async with connection(receive_buffer=4096) as (dtp, _):
        result = await failed(
            send_file(dtp, file, deadlines=Deadlines(stall=0.05)),
            TransferTimeout,
            End.STALLED,
        )
        assert result.reply_code == 426


async def test_a_peer_that_closes_without_reading_to_the_end(file: Path) -> None:
    """The peer's kernel resets: that is not a clean end, however little was left."""

    async with connection() as (dtp, peer):
        task = asyncio.create_task(send_file(dtp, file))
        await asyncio.get_running_loop().sock_recv(peer, 1)
        peer.close()
        await failed(task, ConnectionReset, End.RESET)


async def test_a_source_that_fails(file: Path, seams: Seams, from_disk: None) -> None:
    """A read error in the middle is a 451, with a reset for the peer."""

    seams.fail("pread", 2, errno.EIO)
    async with connection() as (dtp, peer), peer_task(read_until_cut(peer)) as reading:
        result = await failed(send_file(dtp, file, digest="md5"), LocalError, End.PRODUCER_FAILED)
        assert (await reading)[1]  # type: ignore[index]

    assert result.reply_code == 451


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [(KeyError("x"), LocalError, 451), (PermissionError(13, "no"), FileUnavailable, 550)],
)
async def test_an_iterable_that_fails(
    error: Exception, kind: type[FTPDataError], code: int
) -> None:
    """Its error is the cause, and the peer sees a reset."""

    async def rows() -> AsyncIterator[bytes]:
        yield b"x"
        raise error

    def lines() -> Iterator[bytes]:
        yield b"x"
        raise error

    for start in ways(
        lambda dtp: send_stream(dtp, rows()),
        lambda dtp: send_listing(dtp, rows()),
        lambda dtp: send_listing(dtp, lines()),
    ):
        async with connection() as (dtp, peer), peer_task(read_until_cut(peer)) as reading:
            result = await failed(start(dtp), kind, End.PRODUCER_FAILED)
            assert result.reply_code == code
            assert (await reading)[1]  # type: ignore[index]


@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        ({"offset": len(CONTENT) + 1}, BadArgument, 501),
        ({"offset": -1}, BadArgument, 501),
        ({"length": -1}, BadArgument, 501),
        ({"digest": "nonsense"}, UnsupportedParameter, 504),
        ({"parameters": TransferParameters(structure=Structure.PAGE)}, UnsupportedParameter, 504),
    ],
)
async def test_arguments_that_cannot_be(
    file: Path, options: Any, kind: type[FTPDataError], code: int
) -> None:
    """The connection is reset in any case, since an empty file was not meant."""

    async with connection() as (dtp, peer):
        result = await failed(send_file(dtp, file, **options), kind, End.PRODUCER_FAILED)
        assert result.reply_code == code
        assert (await read_until_cut(peer))[1]


@pytest.mark.parametrize("start", [send_file, receive_file])
async def test_a_file_that_is_not_there(tmp_path: Path, start: Any) -> None:
    """The error is a 550, and the connection is reset."""

    async with connection() as (dtp, peer):
        with pytest.raises(FileUnavailable) as caught:
            await start(dtp, tmp_path / "missing" / "file")
        assert caught.value.result is not None
        assert caught.value.reply_code == 550
        assert (await read_until_cut(peer))[1]


async def test_a_connection_is_for_one_transfer(file: Path) -> None:
    """A second one fails with a reply code, and does no harm."""

    async with connection() as (dtp, peer):
        assert await finished(send_file(dtp, file), peer) == CONTENT
        for work in (send_file(dtp, file), send_stream(dtp, chunked(b"x"))):
            with pytest.raises(NotConnected) as caught:
                await work
            assert caught.value.reply_code == 426


# Streams


async def test_leaving_a_stream_early_resets_it() -> None:
    """The receiver does not have the whole file, and the peer must notice."""

    async with connection() as (dtp, peer):
        await asyncio.get_running_loop().sock_sendall(peer, b"some")
        async with receive_stream(dtp) as stream:
            async for data in stream:
                assert data == b"some"
                break
        assert stream.result is not None
        assert stream.result.end is End.ABORTED
        assert (await read_until_cut(peer))[1]
        await stream.aclose()


async def test_a_stream_that_failed_fails_again() -> None:
    """A second loop over it does not look like a clean end."""

    async with connection() as (dtp, peer):
        async with receive_stream(dtp) as stream:
            reset(peer)
            for _ in range(2):
                await failed(stream.__anext__(), ConnectionReset, End.RESET)
        assert stream.result is not None
        assert stream.result.end is End.RESET


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_a_stream_that_was_cut_here_does_not_end_quietly(how: str) -> None:
    """Otherwise a host that continues the loop would take half a file for a whole one."""

    async with connection() as (dtp, peer):
        await asyncio.get_running_loop().sock_sendall(peer, b"half of")
        stream = receive_stream(dtp)
        assert await anext(stream) == b"half of"
        if how == "cancelled":
            waiting = asyncio.ensure_future(stream.__anext__())
            await turns()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        else:
            await stream.aclose()
        end = End.CANCELLED if how == "cancelled" else End.ABORTED
        for _ in range(2):
            with pytest.raises(TransferAborted) as caught:
                await anext(stream)
            assert caught.value.result is stream.result is not None
            assert caught.value.end is stream.result.end is end


async def test_a_stream_ends_once_and_stays_ended() -> None:
    """After the clean end nothing more comes."""

    async with connection() as (dtp, peer):
        await send_all(peer, b"all")
        async with receive_stream(dtp) as stream:
            assert [data async for data in stream] == [b"all"]
            assert [data async for data in stream] == []
        assert stream.result is not None
        assert stream.result.end is End.CLEAN


async def test_what_came_before_a_cut_is_given_out() -> None:
    """The cut is raised after that."""

    got = []
    async with connection() as (dtp, peer), receive_stream(dtp) as stream:
        await asyncio.get_running_loop().sock_sendall(peer, b"some")
        got.append(await stream.__anext__())
        reset(peer)
        await failed(stream.__anext__(), ConnectionReset, End.RESET)

    assert got == [b"some"]


async def test_the_time_a_loop_takes_is_not_held_against_the_peer() -> None:
    """The peer is watched only while the transfer waits for it."""

    deadlines = Deadlines(first_byte=0.05, stall=0.05)
    async with connection() as (dtp, peer):
        await asyncio.get_running_loop().sock_sendall(peer, b"some")
        async with receive_stream(dtp, deadlines=deadlines) as stream:
            async for _ in stream:
                assert stream._transfer is not None
                if not stream._transfer._watch._timer:
                    break
        assert stream.result is not None
        assert stream.result.end is End.ABORTED


async def test_a_stream_is_aborted_while_its_throttle_sleeps() -> None:
    """It ends at once, not when the sleep is over."""

    bucket = TokenBucket(1.0, burst=1.0, now=asyncio.get_running_loop().time())
    async with connection() as (dtp, peer):
        await asyncio.get_running_loop().sock_sendall(peer, bytes(1000))
        async with receive_stream(dtp, throttle=bucket) as stream:
            task = asyncio.ensure_future(stream.__anext__())
            await until(lambda: dtp.bytes_received == 1000)
            dtp.abort(End.ABORTED, "now")
            await failed(task, TransferAborted, End.ABORTED)


# Abort from anywhere


async def test_abort_at_each_stage_of_a_download(
    big: Path, seams: Seams, impatient: None, from_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends while the source is opened, hangs in a read, is sent, and finishes."""

    before = await descriptors_of_loop()
    for seam, k in (("fstat", 1), ("pread", 1), ("pread", 3)):
        with pytest.MonkeyPatch.context() as patch:
            hang = Hang(Seams(patch), seam, k)
            async with connection() as (dtp, peer), peer_task(read_until_cut(peer)) as reading:
                task = asyncio.create_task(send_file(dtp, big, digest="md5"))
                await hang.entered()
                dtp.abort(End.ABORTED, "ABOR")
                result = await failed(task, TransferAborted, End.ABORTED)
                assert result.reason == "ABOR"
                assert (await reading)[1]  # type: ignore[index]
            hang.go_on()
            await until(lambda: descriptors() == before)

    for fallback in (False, True):
        if fallback:
            no_sendfile(monkeypatch)
        async with connection() as (dtp, peer):
            task = asyncio.create_task(send_file(dtp, big))
            await asyncio.get_running_loop().sock_recv(peer, 1)
            dtp.abort(End.ABORTED, "ABOR")
            await failed(task, TransferAborted, End.ABORTED)

    async with connection(receive_buffer=4096) as (dtp, peer):
        task = asyncio.create_task(send_stream(dtp, chunked(bytes(60_000))))
        await until(lambda: dtp.is_finishing)
        dtp.abort(End.ABORTED, "ABOR")
        await failed(task, TransferAborted, End.ABORTED)

    assert descriptors() == before


async def test_abort_at_each_stage_of_an_upload(tmp_path: Path, impatient: None) -> None:
    """It ends while the target opens, the peer is awaited, a write hangs, and at the end."""

    before = await descriptors_of_loop()
    for seam, content in (("access", b""), ("write", b"x"), ("write", b"x" * 1_000_000)):
        for ends in (False, True):
            with pytest.MonkeyPatch.context() as patch:
                hang = Hang(Seams(patch), seam)
                async with connection() as (dtp, peer):
                    task = asyncio.create_task(receive_file(dtp, tmp_path / "up"))
                    async with peer_task(asyncio.get_running_loop().sock_sendall(peer, content)):
                        await hang.entered()
                        if ends and len(content) == 1:
                            # Everything has arrived and the connection is closed, but it is not
                            # stored.
                            peer.close()
                            await until(lambda dtp=dtp: dtp.end is End.CLEAN)  # type: ignore[misc]
                        dtp.abort(End.ABORTED, "ABOR")
                        await failed(task, TransferAborted, End.ABORTED)
                hang.go_on()
                await until(lambda: descriptors() == before and names(tmp_path) == [])

    async with connection() as (dtp, peer):
        task = asyncio.create_task(receive_file(dtp, tmp_path / "up"))
        await asyncio.get_running_loop().sock_sendall(peer, b"some")
        await until(lambda: len(names(tmp_path)) == 1)
        dtp.abort(End.ABORTED, "ABOR")
        await failed(task, TransferAborted, End.ABORTED)
        assert names(tmp_path) == []


async def test_an_abort_during_the_commit_comes_too_late(
    served_directory: Path, seams: Seams
) -> None:
    """The peer's part is over: the upload is published, and 226 is true."""

    hang = Hang(seams, "replace")
    async with connection() as (dtp, peer):
        task = asyncio.create_task(receive_file(dtp, served_directory / "up"))
        await send_all(peer, CONTENT)
        await hang.entered()
        dtp.abort(End.ABORTED, "ABOR")
        hang.go_on()
        assert (await task).end is End.CLEAN

    assert (served_directory / "up").read_bytes() == CONTENT


async def test_abort_of_an_iterable_that_never_yields() -> None:
    """The iterable is interrupted where it waits, and cleans up after itself."""

    cleaned: list[str] = []

    async def never() -> AsyncIterator[bytes]:
        try:
            await asyncio.get_running_loop().create_future()
            yield b""
        finally:
            cleaned.append("up")

    for start in (send_stream, send_listing):
        async with connection() as (dtp, _):
            asyncio.get_running_loop().call_soon(dtp.abort)
            await failed(start(dtp, never()), TransferAborted, End.ABORTED)

    assert cleaned == ["up", "up"]


@pytest.mark.parametrize("path", ["sendfile", "reading", "upload", "relay"])
async def test_abort_while_the_throttle_sleeps(
    big: Path, served_directory: Path, path: str
) -> None:
    """The transfer ends at once, and gives back what it had reserved."""

    class Sleepy(TokenBucket):
        reserved = 0

        def reserve(self, nbytes: int, now: float) -> float:
            self.reserved += nbytes
            asyncio.get_running_loop().call_soon(dtp.abort, End.ABORTED, "ABOR")
            return 1000.0

        def unused(self, nbytes: int) -> None:
            self.reserved -= nbytes

    bucket = Sleepy(1e6, now=0.0)
    async with connection() as (dtp, peer), connection() as (source, sender):
        for socket_ in (peer, sender):
            await asyncio.get_running_loop().sock_sendall(socket_, bytes(1000))
        starts: dict[str, Callable[[], Awaitable[Any]]] = {
            "sendfile": lambda: send_file(dtp, big, throttle=bucket),
            "reading": lambda: send_file(dtp, big, throttle=bucket, digest="md5"),
            "upload": lambda: receive_file(dtp, served_directory / "up", throttle=bucket),
            "relay": lambda: relay(source, dtp, throttle=bucket),
        }
        await failed(starts[path](), TransferAborted, End.ABORTED)

    assert bucket.reserved == 0


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("how", ["reset", "abort"])
async def test_a_relay_cut_on_either_side_is_reset_on_the_other(side: str, how: str) -> None:
    """The destination never gets an end of file if the source had none."""

    end = End.RESET if how == "reset" else End.ABORTED
    async with connection() as (source, sender), connection() as (target, receiver):
        task = asyncio.create_task(relay(source, target))
        await asyncio.get_running_loop().sock_sendall(sender, b"some")
        assert await asyncio.get_running_loop().sock_recv(receiver, 100) == b"some"
        if how == "abort":
            (source if side == "source" else target).abort()
        elif side == "source":
            reset(sender)
        else:
            # A relay that sends nothing can only notice it when it next sends.
            reset(receiver)
            await asyncio.get_running_loop().sock_sendall(sender, bytes(1_000_000))
        result = await failed(task, TransferAborted, end)
        assert result.reply_code == 426
        if side == "source":
            assert (await read_until_cut(receiver))[1]
        elif how == "abort":
            assert (await read_until_cut(sender))[1]
        assert not source.is_connected
        assert not target.is_connected


# Deadlines


@pytest.mark.parametrize(
    ("deadlines", "begins", "end"),
    [
        (Deadlines(first_byte=0.05), False, End.FIRST_BYTE_TIMEOUT),
        (Deadlines(stall=0.05), True, End.STALLED),
        (Deadlines(minimum_rate=1e9, rate_window=0.05), True, End.TOO_SLOW),
    ],
)
async def test_deadlines_of_an_upload(
    served_directory: Path, deadlines: Deadlines, begins: bool, end: End
) -> None:
    """Each deadline has its own end, and nothing is left."""

    for receive in ways(
        lambda dtp: receive_file(dtp, served_directory / "up", deadlines=deadlines),
        lambda dtp: _collect(receive_stream(dtp, deadlines=deadlines)),
    ):
        async with connection() as (dtp, peer):
            if begins:
                await asyncio.get_running_loop().sock_sendall(peer, b"x")
            result = await failed(receive(dtp), TransferTimeout, end)
            assert result.reply_code == 426

    assert names(served_directory) == []


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize(
    ("deadlines", "end"),
    [
        (Deadlines(stall=0.05), End.STALLED),
        (Deadlines(minimum_rate=1e12, rate_window=0.05), End.TOO_SLOW),
    ],
)
async def test_deadlines_of_a_download(
    big: Path, monkeypatch: pytest.MonkeyPatch, deadlines: Deadlines, end: End, fallback: bool
) -> None:
    """The bytes that the peer has acknowledged count, not those that the kernel holds."""

    if fallback:
        no_sendfile(monkeypatch)

    async with connection(send_buffer=1 << 16, receive_buffer=1 << 16) as (dtp, _):
        await failed(send_file(dtp, big, deadlines=deadlines), TransferTimeout, end)


@pytest.mark.parametrize("kind", ["file", "relay"])
async def test_a_peer_that_stalls_has_nothing_held_for_it(kind: str, tmp_path: Path) -> None:
    """Its data are dropped at once, not with the next piece: thousands of peers may stall."""

    import tracemalloc

    def traced() -> int:
        return tracemalloc.get_traced_memory()[0]

    async with connection() as (dtp, _), connection() as (other, _):
        work = receive_file(dtp, tmp_path / "up") if kind == "file" else relay(dtp, other)
        tracemalloc.start()
        try:
            async with peer_task(work):
                await until(lambda: dtp._wire.is_reading)
                before = traced()
                for _ in range(2):
                    dtp.data_received(bytes(100_000))
                    await until(lambda: traced() < before + 50_000)
        finally:
            tracemalloc.stop()


async def test_an_iterable_that_gives_nothing_misses_the_first_byte() -> None:
    """The deadline interrupts the iterable wherever it waits."""

    async def never() -> AsyncIterator[bytes]:
        await asyncio.get_running_loop().create_future()
        yield b""

    async with connection() as (dtp, _):
        await failed(
            send_stream(dtp, never(), deadlines=Deadlines(first_byte=0.05)),
            TransferTimeout,
            End.FIRST_BYTE_TIMEOUT,
        )


async def test_a_disk_that_hangs_at_the_very_end_of_an_upload(
    tmp_path: Path, seams: Seams, impatient: None
) -> None:
    """Everything has arrived and the connection is closed; the stall deadline still holds."""

    hang = Hang(seams, "write")
    async with connection() as (dtp, peer):
        await send_all(peer, b"all of it")
        await failed(
            receive_file(dtp, tmp_path / "up", deadlines=Deadlines(stall=0.05)),
            TransferTimeout,
            End.STALLED,
        )
    hang.go_on()
    await until(lambda: names(tmp_path) == [])


async def test_a_slow_but_steady_peer_is_not_given_up() -> None:
    """While it takes the rest piece by piece, the deadline begins anew with each piece."""

    for limit in (0.5, 2.0, 8.0):
        if await _is_patient_with_a_slow_peer(limit):
            return

    pytest.fail("this machine is too busy for a steady peer")


async def _is_patient_with_a_slow_peer(limit: float) -> bool:
    """Take a file piece by piece, for longer than the close deadline.

    Returns:
        False if the machine kept the peer from reading for long. The sender may then give up,
        which proves nothing.
    """

    loop = asyncio.get_running_loop()
    # The system accepts all of it at once, and takes long to send it.
    content = bytes(60_000)
    async with connection(receive_buffer=4096) as (dtp, peer):
        deadlines = Deadlines(close=limit, stall=limit)
        sending = send_stream(dtp, chunked(content), deadlines=deadlines)
        async with peer_task(sending) as task:
            await until(lambda: dtp.is_finishing)
            taken_at = loop.time()
            enough_at = taken_at + 1.6 * limit
            received = 0
            while taken_at < enough_at:
                await asyncio.sleep(0.01)
                pause, taken_at = loop.time() - taken_at, loop.time()
                if pause > limit / 8:
                    return False
                received += len(await loop.sock_recv(peer, int(200 / limit)))

            assert not task.done()
            received += len(await receive_all(peer))
            assert received == len(content)
            assert cast("TransferResult", await task).end is End.CLEAN

    return True


# Throttle


class Recorder(TokenBucket):
    """Records what is reserved, and never makes anyone wait."""

    def __init__(self, rate: float | None) -> None:
        super().__init__(rate, now=0.0)
        self.sizes: list[int] = []

    def reserve(self, nbytes: int, now: float) -> float:
        """Record the bytes."""

        self.sizes.append(nbytes)
        return 0.0

    def unused(self, nbytes: int) -> None:
        """Record the bytes."""

        assert self.sizes.pop() == nbytes


@pytest.mark.parametrize("fallback", [False, True])
async def test_every_byte_has_its_turn(
    file: Path, served_directory: Path, monkeypatch: pytest.MonkeyPatch, fallback: bool
) -> None:
    """On every path the throttle sees exactly what passes, in pieces of its own rate."""

    if fallback:
        no_sendfile(monkeypatch)

    async def up(dtp: DTP, peer: socket.socket, bucket: TokenBucket) -> None:
        async with peer_task(send_all(peer, CONTENT)):
            await receive_file(dtp, served_directory / "up", throttle=bucket)

    async def stream(dtp: DTP, peer: socket.socket, bucket: TokenBucket) -> None:
        async with peer_task(send_all(peer, CONTENT)):
            assert await _collect(receive_stream(dtp, throttle=bucket)) == CONTENT

    async def down(dtp: DTP, peer: socket.socket, bucket: TokenBucket) -> None:
        assert await finished(send_file(dtp, file, throttle=bucket), peer) == CONTENT

    async def chunks(dtp: DTP, peer: socket.socket, bucket: TokenBucket) -> None:
        work = send_stream(dtp, chunked(CONTENT, 100_000), throttle=bucket)
        assert await finished(work, peer) == CONTENT

    for scenario in (up, stream, down, chunks):
        for rate, largest in ((300_000.0, 30_000), (10.0, 1024), (None, len(CONTENT))):
            bucket = Recorder(rate)
            async with connection() as (dtp, peer):
                await scenario(dtp, peer, bucket)
            assert sum(bucket.sizes) == len(CONTENT)
            assert max(bucket.sizes) <= largest


async def test_the_rate_in_the_long_run(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket, on a clock of its own, lets pass its rate after the first burst."""

    slept = 0.0
    original = asyncio.sleep

    async def sleep(delay: float, result: object = None) -> None:
        nonlocal slept
        slept += delay
        await original(0)

    class Clocked(TokenBucket):
        def reserve(self, nbytes: int, now: float) -> float:
            return super().reserve(nbytes, slept)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for digest in (None, "md5"):
        slept = 0.0
        bucket = Clocked(50_000.0, now=0.0)
        async with connection() as (dtp, peer):
            work = send_file(dtp, file, throttle=bucket, digest=digest)
            assert await finished(work, peer) == CONTENT
        assert slept == pytest.approx((len(CONTENT) - 5000) / 50_000, rel=0.02)


@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="the first piece is one of sendfile")
async def test_a_throttle_whose_rate_changes(big: Path) -> None:
    """The next piece is of the new rate."""

    class Changing(Recorder):
        def reserve(self, nbytes: int, now: float) -> float:
            self.rate = 1e6
            return super().reserve(nbytes, now)

    bucket = Changing(20_000.0)
    async with connection() as (dtp, peer):
        await finished(send_file(dtp, big, length=500_000, throttle=bucket), peer)

    assert bucket.sizes == [2000, 100_000, 100_000, 100_000, 100_000, 98_000]


# Memory and fairness


async def test_a_disk_that_hangs_bounds_what_is_held(
    tmp_path: Path, seams: Seams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer is stopped: no more than the high-water mark and one read is held."""

    queues: list[ReceiveQueue] = []
    register = ReceiveQueue.register_producer

    def registered(queue: ReceiveQueue, *arguments: Any) -> None:
        queues.append(queue)
        register(queue, *arguments)

    monkeypatch.setattr(ReceiveQueue, "register_producer", registered)
    hang = Hang(seams, "write")
    async with connection() as (dtp, peer), peer_task(send_all(peer, bytes(64 * BIG))) as sending:
        task = asyncio.create_task(receive_file(dtp, tmp_path / "up"))
        await hang.entered()
        held = -1
        while held != dtp.bytes_received:
            # The peer sends as much as it can. If the size stops growing for many turns, it has
            # stopped.
            held = dtp.bytes_received
            for _ in range(100):
                await asyncio.sleep(0)
        assert not sending.done()
        assert queues[0].size <= queues[0].high_water + 256 * 1024
        hang.go_on()
        dtp.abort()
        with pytest.raises(TransferAborted):
            await task


async def test_a_sender_that_never_waits_lets_others_run() -> None:
    """Other tasks run although everything it writes is taken at once."""

    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    class Sink(DTP):
        def write(self, data: Any) -> None:
            """Take all data at once."""

    for chunks in (chunked(bytes(BIG), BIG), chunked(bytes(BIG), 10_000)):
        turns = 0
        async with connection(dtp_factory=Sink) as (dtp, peer), peer_task(other()):
            await finished_quietly(send_stream(dtp, chunks), peer)
            assert turns >= BIG // _pace.BYTES_PER_TURN


async def finished_quietly(work: Awaitable[Any], peer: socket.socket) -> None:
    """Run a transfer of which nothing may arrive."""

    async with peer_task(receive_all(peer)):
        await work


# Cancellation


SWEPT: dict[str, Callable[[Path, DTP, socket.socket], Awaitable[object]]] = {
    "send_file": lambda path, dtp, peer: send_file(dtp, path / "file"),
    "send_file, digest": lambda path, dtp, peer: send_file(dtp, path / "file", digest="md5"),
    "send_file, ascii": lambda path, dtp, peer: send_file(dtp, path / "file", parameters=ASCII),
    "send_stream": lambda path, dtp, peer: send_stream(dtp, chunked(CONTENT[:5000])),
    "send_listing": lambda path, dtp, peer: send_listing(dtp, chunked(CONTENT[:5000])),
    "receive_file": lambda path, dtp, peer: receive_file(dtp, path / "up", digest="md5"),
    "receive_file, in place": lambda path, dtp, peer: receive_file(dtp, path / "up", append=True),
    "receive_file, object": lambda path, dtp, peer: receive_file(dtp, io.BytesIO()),
    "receive_stream": lambda path, dtp, peer: _collect(receive_stream(dtp)),
}


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
@pytest.mark.parametrize("name", SWEPT)
async def test_cancelling_at_any_suspension(tmp_path: Path, name: str) -> None:
    """No task, socket, descriptor or hidden file is left, and the cancellation is raised."""

    (tmp_path / "file").write_bytes(CONTENT[:30_000])

    async def scenario() -> None:
        (tmp_path / "up").unlink(missing_ok=True)
        async with connection() as (dtp, peer):
            if "receive" in name:
                peer.send(CONTENT[:30_000])
                half_close(peer)
            await SWEPT[name](tmp_path, dtp, peer)

    def check() -> None:
        assert set(names(tmp_path)) <= {"file", "up"}
        if name == "receive_file" and (tmp_path / "up").exists():
            assert (tmp_path / "up").read_bytes() == CONTENT[:30_000]

    assert await sweep(scenario, check=check) > 2


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
async def test_cancelling_a_relay_at_any_suspension() -> None:
    """Both connections are gone."""

    async def scenario() -> None:
        async with connection() as (source, sender), connection() as (target, _):
            sender.send(b"some")
            half_close(sender)
            await relay(source, target)

    assert await sweep(scenario) > 2


async def test_a_cancelled_transfer_is_reset_for_the_peer(
    big: Path, served_directory: Path
) -> None:
    """The peer must not take half a file for a whole one."""

    for start in ways(
        lambda dtp: send_file(dtp, big),
        lambda dtp: receive_file(dtp, served_directory / "up"),
    ):
        async with connection() as (dtp, peer):
            await asyncio.get_running_loop().sock_sendall(peer, b"x")
            task = asyncio.ensure_future(start(dtp))
            await until(lambda dtp=dtp: dtp.bytes_sent + dtp.bytes_received > 0)  # type: ignore[misc]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert dtp.end is End.CANCELLED
            assert (await read_until_cut(peer))[1]

    assert names(served_directory) == []


async def test_a_cancellation_while_a_failed_transfer_cleans_up(
    big: Path, impatient: None, seams: Seams, from_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not swallowed, however much has failed already."""

    hang = Hang(seams, "pread", 2)

    def progress(*_: object) -> None:
        # The first piece is sent and the next one hangs: from here on it cleans up.
        asyncio.get_running_loop().call_soon(task.cancel)
        raise KeyError("progress")

    async with connection() as (dtp, peer), peer_task(read_until_cut(peer)):
        # The first piece is not finished until the second one is being read.
        monkeypatch.setattr(dtp, "drain", hang.entered)
        task = asyncio.create_task(send_file(dtp, big, digest="md5", progress=progress))
        with pytest.raises((asyncio.CancelledError, FTPDataError)):
            await task
        assert task.cancelled()
        hang.go_on()


@pytest.mark.parametrize("size", [5, 3 * 1024 * 1024])
@pytest.mark.parametrize("is_spooled", [False, True])
async def test_the_result_says_how_an_upload_was_published(
    size: int, is_spooled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that may be written but not replaced was copied into: others may have seen a part."""

    monkeypatch.setattr(FileTarget, "is_spooled", property(lambda _: is_spooled))
    for opens in (True, False):
        accepted, peer = await tcp_pair()
        endpoint = AcceptedEndpoint(accepted)
        async with peer_task(send_all(peer, bytes(size))):
            result = await receive_file(
                endpoint if opens else await endpoint.open(), tmp_path / "new"
            )
        assert (result.bytes, result.spooled) == (size, is_spooled)
