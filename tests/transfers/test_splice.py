"""Uploads that the kernel moves end exactly as others do: same bytes, same result."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpdata import _descriptors
from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.errors import (
    ConnectionReset,
    InsufficientStorage,
    QuotaExceeded,
    SizeMismatch,
    TransferAborted,
    TransferTimeout,
)
from ftpdata.files import _workers as workers
from ftpdata.files.target import FileTarget, WriteMode
from ftpdata.outcome import End, FastPath, TransferResult
from ftpdata.testing import half_close, reset, sweep
from ftpdata.throttle import TokenBucket
from ftpdata.transfers import _plain, receive_file
from ftpdata.transfers import _splice as splicing
from tests.harness.connections import connection, peer_task, read_until_cut, send_all
from tests.harness.outcomes import failed
from tests.harness.seams import Hang, Seams, descriptors
from tests.harness.waiting import until

pytestmark = pytest.mark.skipif(
    not splicing.has_splice(), reason="splice is Linux's, and not every Python calls it"
)

MIB = 1 << 20
CONTENT = random.Random(959).randbytes(3 * MIB + 17)
PROMPT = Deadlines(close=10.0)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splice after every piece, however small."""

    monkeypatch.setattr(_plain, "ENOUGH_TO_SPLICE", 1)


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> Seams:
    """Yield the means to let the calls of the splicing thread fail or hang."""

    return Seams(monkeypatch, splicing)


def plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable splice."""

    monkeypatch.setattr(_plain, "can_splice", lambda *_: False)


async def upload(
    target: Any, data: bytes, *, bulk: bool = True, **options: Any
) -> TransferResult:
    """Upload data, all of which is in the socket before the transfer begins, if it fits."""

    async with (
        connection(receive_buffer=8 * MIB, send_buffer=8 * MIB) as (dtp, peer),
        peer_task(send_all(peer, data)) as sending,
    ):
        if bulk:
            await asyncio.wait((sending,), timeout=0.05)
        return await receive_file(dtp, target, **options)


def names(directory: Path) -> list[str]:
    """Return the names of the files in a directory, including hidden ones."""

    return sorted(path.name for path in directory.iterdir())


async def stalled_peer(dtp: DTP, peer: socket.socket) -> None:
    """Send what is spliced, and then nothing more."""

    await asyncio.get_running_loop().sock_sendall(peer, CONTENT)
    await until(lambda: dtp.bytes_received == len(CONTENT))


# The same bytes


async def test_a_python_without_splice_does_without(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    """PyPy is one."""

    monkeypatch.delattr(os, "splice")
    result = await upload(served_directory / "file", CONTENT)
    assert result.fast_path is FastPath.BUFFERED
    assert (served_directory / "file").read_bytes() == CONTENT


SIZES = [0, 1, 65_536, splicing.ENOUGH_TO_SPLICE, MIB - 1, MIB, MIB + 1, len(CONTENT)]


@pytest.mark.parametrize("size", SIZES)
async def test_both_ways_give_the_same(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, eager: None, size: int
) -> None:
    """The file, the counts and the end are equal; the result says which way was taken."""

    fast = await upload(served_directory / "fast", CONTENT[:size])
    plainly(monkeypatch)
    plain = await upload(served_directory / "plain", CONTENT[:size])

    assert (served_directory / "fast").read_bytes() == CONTENT[:size]
    assert (served_directory / "plain").read_bytes() == CONTENT[:size]
    assert (fast.bytes, fast.file_bytes, fast.end) == (size, size, End.CLEAN)
    assert (plain.bytes, plain.file_bytes, plain.end) == (size, size, End.CLEAN)
    assert plain.fast_path is not FastPath.SPLICE
    if size > MIB:
        assert fast.fast_path is FastPath.SPLICE


async def test_a_small_file_does_not_pay_for_it(served_directory: Path, seams: Seams) -> None:
    """A small file opens neither a pipe nor a second socket."""

    opened = seams.fail("pipe2", 1)
    result = await upload(served_directory / "up", CONTENT[: splicing.ENOUGH_TO_SPLICE - 1])
    assert not opened
    assert result.fast_path is not FastPath.SPLICE


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("step", ["whole", "size"])
def test_a_pipe_whose_close_fails(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, step: str, k: int
) -> None:
    """Both of its ends are closed all the same, and no descriptor is closed twice."""

    closed: list[int] = []

    def close(original: Callable[[int], None], fd: int) -> None:
        closed.append(fd)
        original(fd)
        if len(closed) == k:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    before = descriptors()
    Seams(monkeypatch, _descriptors).replace("close", close)
    burst = splicing._Burst(None, b"data")
    if step == "size":
        monkeypatch.setattr("fcntl.fcntl", refuse)
    with (served_directory / "file").open("wb") as file:
        assert burst.move(file.fileno()) == 4
    assert len(closed) == len({*closed}) == 2
    assert descriptors() == before


async def test_a_large_file_takes_it_by_itself(served_directory: Path) -> None:
    """Splicing needs no preparation; the peer only has to send fast enough."""

    content = CONTENT * 8
    result = await upload(served_directory / "up", content)
    assert result.fast_path is FastPath.SPLICE
    assert (served_directory / "up").read_bytes() == content
    assert result.bytes == result.file_bytes == len(content)


@pytest.mark.parametrize("seed", range(3))
async def test_a_peer_that_sends_in_bits(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, eager: None, seed: int
) -> None:
    """The way changes with every pause of the peer, and within bursts; the order does not."""

    monkeypatch.setattr(splicing, "LONGEST_BURST", 0.0)
    monkeypatch.setattr(splicing, "PIPE_SIZE", 65_536)
    chance = random.Random(seed)

    async def send(peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        position = 0
        while position < len(CONTENT):
            size = chance.choice([1, 100, 5_000, 70_000, 400_000])
            await loop.sock_sendall(peer, CONTENT[position : position + size])
            position += size
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        half_close(peer)

    async with connection() as (dtp, peer), peer_task(send(peer)):
        result = await receive_file(dtp, served_directory / "up")

    assert (served_directory / "up").read_bytes() == CONTENT
    assert result.fast_path is FastPath.SPLICE
    assert result.bytes == result.file_bytes == len(CONTENT)


async def test_where_it_begins(served_directory: Path, eager: None) -> None:
    """A splice begins at an offset or in a new file, but never in append mode, which forbids it."""

    path = served_directory / "file"
    path.write_bytes(b"0123456789")
    result = await upload(path, CONTENT, offset=5)
    assert path.read_bytes() == b"01234" + CONTENT
    assert (result.offset, result.fast_path) == (5, FastPath.SPLICE)

    path.write_bytes(b"0123456789")
    result = await upload(path, CONTENT, append=True)
    assert path.read_bytes() == b"0123456789" + CONTENT
    assert result.fast_path is not FastPath.SPLICE

    target = await FileTarget.open(served_directory / "new", mode=WriteMode.EXCLUSIVE)
    await upload(target, CONTENT)
    assert (served_directory / "new").read_bytes() == CONTENT
    assert target.position == len(CONTENT)


async def test_what_must_see_the_bytes_takes_the_other_way(
    served_directory: Path, eager: None
) -> None:
    """This holds for a digest, and for a target of the caller's own."""

    result = await upload(served_directory / "up", CONTENT, digest="crc32")
    assert result.fast_path is not FastPath.SPLICE
    with (served_directory / "raw").open("wb", buffering=0) as raw:
        result = await upload(raw, CONTENT)
    assert result.fast_path is not FastPath.SPLICE
    assert (served_directory / "raw").read_bytes() == CONTENT


async def test_urgent_data_are_left_out_on_both_ways(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    """A splice stops before urgent data and does not go on; the transport does."""

    async def send(peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, CONTENT[:MIB])
        peer.send(b"!", socket.MSG_OOB)
        await send_all(peer, CONTENT[MIB:])

    for way in ("fast", "plain"):
        if way == "plain":
            plainly(monkeypatch)
        async with connection() as (dtp, peer), peer_task(send(peer)), asyncio.timeout(60):
            await receive_file(dtp, served_directory / way)

        assert (served_directory / way).read_bytes() == CONTENT


# Where the system has no splice


async def refused_by_the_file(served_directory: Path) -> TransferResult:
    """Splice to a file that was opened to append: the kernel does refuse this."""

    target = await FileTarget.open(served_directory / "up", mode=WriteMode.APPEND)
    target.can_splice = True
    result = await upload(target, CONTENT)
    assert not target.can_splice
    return result


async def test_a_file_that_refuses(served_directory: Path, eager: None) -> None:
    """The bytes that are already in the pipe are not lost."""

    await refused_by_the_file(served_directory)
    assert (served_directory / "up").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "code"),
    [("pipe2", errno.EMFILE), ("splice", errno.ENOSYS), ("splice", errno.EINVAL)],
)
async def test_a_system_that_refuses(
    served_directory: Path, eager: None, seams: Seams, name: str, code: int
) -> None:
    """The upload goes on the other way."""

    def refuse(_: Callable[..., Any], *__: Any, **___: Any) -> None:
        raise OSError(code, os.strerror(code))

    seams.replace(name, refuse)
    result = await upload(served_directory / "up", CONTENT)
    assert result.fast_path is not FastPath.SPLICE
    assert (served_directory / "up").read_bytes() == CONTENT


async def test_a_user_with_too_many_pipes(
    served_directory: Path, monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    """Small pipes are not worth using."""

    monkeypatch.setattr(splicing, "PIPE_SIZE", 1 << 31)
    result = await upload(served_directory / "up", CONTENT)
    assert result.fast_path is not FastPath.SPLICE
    assert (served_directory / "up").read_bytes() == CONTENT


# Bounds


@pytest.mark.parametrize("name", ["size_limit", "expected_size"])
async def test_a_bound_is_held_to_the_byte(
    served_directory: Path, eager: None, name: str
) -> None:
    """Exactly the limit is accepted; with one byte more, nothing beyond the limit is written."""

    options: dict[str, Any] = {name: 2 * MIB}
    kind, end = (
        (QuotaExceeded, End.SIZE_LIMIT)
        if name == "size_limit"
        else (SizeMismatch, End.SIZE_MISMATCH)
    )
    path = served_directory / "up"
    result = await upload(path, CONTENT[: 2 * MIB], **options)
    assert result.file_bytes == path.stat().st_size == 2 * MIB
    assert result.fast_path is FastPath.SPLICE

    for extra in (1, MIB):
        path.write_bytes(b"")
        target = await FileTarget.open(path, mode=WriteMode.IN_PLACE)
        result = await failed(upload(target, CONTENT[: 2 * MIB + extra], **options), kind, end)
        assert result.file_bytes <= path.stat().st_size <= 2 * MIB
        assert CONTENT.startswith(path.read_bytes())


async def test_too_few_bytes(served_directory: Path, eager: None) -> None:
    """A clean end that comes early is noticed if the size was promised."""

    await failed(
        upload(served_directory / "up", CONTENT, expected_size=len(CONTENT) + 1),
        SizeMismatch,
        End.SIZE_MISMATCH,
    )
    assert names(served_directory) == []


async def test_throttle_and_progress(served_directory: Path, eager: None) -> None:
    """The throttle and the progress callback see every byte, in pieces of a tenth of a second."""

    loop = asyncio.get_running_loop()
    told: list[tuple[int, int | None]] = []
    result = await upload(
        served_directory / "up",
        CONTENT,
        throttle=TokenBucket(10_000_000, now=loop.time()),
        progress=lambda done, total: told.append((done, total)),
    )
    assert result.fast_path is FastPath.SPLICE
    assert told[-1] == (len(CONTENT), None)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    # The burst of a tenth of a second is added.
    assert result.seconds >= len(CONTENT) / 10_000_000 - 0.15
    assert (served_directory / "up").read_bytes() == CONTENT


# Other ends


async def test_a_reset_is_a_reset(served_directory: Path, eager: None) -> None:
    """Wherever the reset comes, nothing is published."""

    for sent in (1, MIB, len(CONTENT)):
        async with connection() as (dtp, peer):

            async def cut(peer: socket.socket = peer, sent: int = sent, dtp: DTP = dtp) -> None:
                await asyncio.get_running_loop().sock_sendall(peer, CONTENT[:sent])
                await until(lambda: dtp.bytes_received > 0)
                reset(peer)

            async with peer_task(cut()):
                result = await failed(
                    receive_file(dtp, served_directory / "up"), ConnectionReset, End.RESET
                )
            assert result.reply_code == 426
            assert dtp.end is End.RESET
        assert names(served_directory) == []


async def test_a_reset_that_the_splice_finds(
    served_directory: Path, eager: None, seams: Seams
) -> None:
    """The transport would see a clean end: the system reports the error only to the splice."""

    peers: list[socket.socket] = []
    calls = 0

    def reset_first(splice: Callable[..., int], *args: Any, **kwargs: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            reset(peers[0])
        return splice(*args, **kwargs)

    seams.replace("splice", reset_first)
    async with connection(receive_buffer=8 * MIB) as (dtp, peer):
        peers.append(peer)
        await asyncio.get_running_loop().sock_sendall(peer, CONTENT)
        await failed(receive_file(dtp, served_directory / "up"), ConnectionReset, End.RESET)

    assert names(served_directory) == []


async def test_an_abort(served_directory: Path, eager: None) -> None:
    """An abort from anywhere raises its reason, and resets the peer."""

    async with connection() as (dtp, peer):
        task = asyncio.ensure_future(receive_file(dtp, served_directory / "up"))
        await stalled_peer(dtp, peer)
        dtp.abort(End.ABORTED, "ABOR")
        result = await failed(task, TransferAborted, End.ABORTED)
        assert result.fast_path is FastPath.SPLICE
        assert result.bytes == len(CONTENT)
        assert (await read_until_cut(peer))[1]

    assert names(served_directory) == []


async def test_a_peer_that_stalls(served_directory: Path, eager: None) -> None:
    """The stall deadline ends the transfer."""

    async with connection() as (dtp, peer):
        task = asyncio.ensure_future(
            receive_file(dtp, served_directory / "up", deadlines=Deadlines(stall=0.2))
        )
        await stalled_peer(dtp, peer)
        await failed(task, TransferTimeout, End.STALLED)


async def test_a_full_disk(served_directory: Path, eager: None, seams: Seams) -> None:
    """The error says so, and has the count of the bytes that arrived."""

    def refuse(splice: Callable[..., int], source: int, target: int, *args: Any, **kw: Any) -> int:
        if kw["flags"] & os.SPLICE_F_NONBLOCK:
            return splice(source, target, *args, **kw)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    seams.replace("splice", refuse)
    result = await failed(
        upload(served_directory / "up", CONTENT), InsufficientStorage, End.CONSUMER_FAILED
    )
    assert result.reply_code == 452
    assert result.bytes > result.file_bytes
    assert names(served_directory) == []


@pytest.mark.parametrize("how", ["cancel", "abort"])
async def test_a_disk_that_hangs(
    served_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    eager: None,
    seams: Seams,
    how: str,
) -> None:
    """The peer is reset while the thread still hangs; nothing is left once the thread returns."""

    monkeypatch.setattr(workers, "ABANDON_AFTER", 0.01)
    hang = Hang(seams, "splice", 2)
    try:
        async with connection(receive_buffer=8 * MIB, send_buffer=8 * MIB) as (dtp, peer):
            await asyncio.get_running_loop().sock_sendall(peer, CONTENT)
            task = asyncio.ensure_future(receive_file(dtp, served_directory / "up"))
            await hang.entered()
            if how == "cancel":
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                dtp.abort(End.ABORTED, "ABOR")
                await failed(task, TransferAborted, End.ABORTED)
            assert (await read_until_cut(peer))[1]
    finally:
        hang.go_on()

    await until(lambda: names(served_directory) == [])


@pytest.mark.blocking_allowed("the sweep runs the test's own file calls")
async def test_cancelling_at_any_suspension(served_directory: Path, eager: None) -> None:
    """Either nothing is left of the upload, or all of it is stored."""

    content = CONTENT[: MIB + 5]

    async def scenario() -> None:
        async with connection(receive_buffer=8 * MIB, send_buffer=8 * MIB) as (dtp, peer):
            peer.send(content)
            half_close(peer)
            await receive_file(dtp, served_directory / "up", deadlines=PROMPT)

    def check() -> None:
        assert {path.name for path in served_directory.iterdir()} <= {"up"}
        if (served_directory / "up").exists():
            assert (served_directory / "up").read_bytes() == content

    assert await sweep(scenario, check=check) > 5


async def test_many_at_once(served_directory: Path, eager: None) -> None:
    """More uploads run than there are threads, and each gets its own bytes."""

    async def one(number: int) -> None:
        content = CONTENT[number : number + MIB]
        await upload(served_directory / str(number), content, bulk=False)
        assert (served_directory / str(number)).read_bytes() == content

    await asyncio.gather(*(one(number) for number in range(workers.DEFAULT_THREADS + 6)))
