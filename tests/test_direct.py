"""Small files without a transport: the good case, and the way on from everything else."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpdata import direct
from ftpdata.deadlines import Deadlines
from ftpdata.direct import DIRECT_LIMIT
from ftpdata.endpoint import AcceptedEndpoint, Endpoint
from ftpdata.errors import FTPDataError, QuotaExceeded, SizeMismatch
from ftpdata.files import FileTarget, WriteMode
from ftpdata.outcome import Direction, End, FastPath
from ftpdata.parameters import TransferParameters
from ftpdata.passive import listen_passive
from ftpdata.testing import reset, sweep, tcp_pair
from ftpdata.throttle import TokenBucket
from ftpdata.transfers import receive_file, send_file
from tests.harness.connections import read_until_cut, receive_all
from tests.harness.seams import Seams

ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what Linux alone can do")

SIZES = [0, 1, 1024, DIRECT_LIMIT - 1, DIRECT_LIMIT]


def content(size: int) -> bytes:
    """Bytes that no other place of the file has."""

    return bytes(i * 7 % 251 for i in range(size))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A file of `DIRECT_LIMIT` bytes."""

    path = tmp_path / "file"
    path.write_bytes(content(DIRECT_LIMIT))
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def all_in_memory(_: int, count: int, position: int) -> bytes:
    """What `read_cached` gives of the file, unless the system is about to write it to the disk."""

    return content(DIRECT_LIMIT)[position : position + count]


def names(directory: Path) -> list[str]:
    """Names in a directory."""

    return [path.name for path in directory.iterdir()]


@contextlib.asynccontextmanager
async def pair(**options: Any) -> Any:
    """An endpoint, and its peer's socket."""

    sock, peer = await tcp_pair(**options)
    async with AcceptedEndpoint(sock) as endpoint:
        try:
            yield endpoint, peer
        finally:
            peer.close()


async def test_what_an_endpoint_that_does_not_open_was_to_bring_is_discarded(
    tmp_path: Path,
) -> None:
    """A target is committed or discarded in any case; nothing is left of it."""

    endpoint = await listen_passive(
        "127.0.0.1", control_peer="127.0.0.1", deadlines=Deadlines(open=0.02)
    )
    target = await FileTarget.open(tmp_path / "new")
    with pytest.raises(FTPDataError):
        await receive_file(endpoint, target)
    assert names(tmp_path) == []


# Sending


@ONLY_LINUX
@pytest.mark.parametrize("size", SIZES)
async def test_a_small_file_takes_the_shortest_way(
    size: int, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer has every byte and the end of file; the result is that of any transfer."""

    # However busy the machine and its disk are.
    monkeypatch.setattr(direct, "unacknowledged_on", lambda _: 0)
    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    told: list[tuple[int, int | None]] = []
    async with pair() as (endpoint, peer):
        result = await send_file(
            endpoint, file, length=size, progress=lambda *numbers: told.append(numbers)
        )
        assert await receive_all(peer) == content(size)
    assert (result.end, result.direction, result.fast_path) == (
        *(End.CLEAN, Direction.SENT),
        FastPath.DIRECT,
    )
    assert (result.bytes, result.file_bytes, result.reply_code) == (size, size, 226)
    assert result.peer is not None
    assert told == [(size, size)]


@ONLY_LINUX
async def test_a_range_of_a_file(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an offset on, as long as was said."""

    monkeypatch.setattr(direct, "unacknowledged_on", lambda _: 0)
    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    async with pair() as (endpoint, peer):
        result = await send_file(endpoint, file, offset=1000, length=24)
        assert await receive_all(peer) == content(2000)[1000:1024]
    assert (result.offset, result.bytes, result.fast_path) == (1000, 24, FastPath.DIRECT)


@pytest.mark.parametrize(
    "hindrance",
    ["not cached", "not acknowledged", "full buffer", "talking peer", "throttle", "shrunk"],
)
async def test_the_way_on_from_everything_else(
    hindrance: str, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte comes once, whatever the shortest way has sent already."""

    size = DIRECT_LIMIT
    options: dict[str, Any] = {}
    buffers: dict[str, Any] = {}
    if hindrance == "not cached":
        monkeypatch.setattr(direct, "read_cached", lambda *_: None)
    elif hindrance == "not acknowledged":
        monkeypatch.setattr(direct, "unacknowledged_on", lambda _: 1)
    elif hindrance == "full buffer":
        buffers = {"send_buffer": 4096, "receive_buffer": 4096}
    elif hindrance == "throttle":
        now = asyncio.get_running_loop().time()
        options = {"throttle": TokenBucket(10 * size, burst=size // 2, now=now)}
    elif hindrance == "shrunk":
        size += 1
    async with pair(**buffers) as (endpoint, peer):
        if hindrance == "talking peer":
            peer.send(b"what for?")
        reading = asyncio.ensure_future(receive_all(peer))
        result = await send_file(endpoint, file, length=size, **options)
        assert await reading == content(DIRECT_LIMIT)
    assert result.end is End.CLEAN
    assert result.fast_path is not FastPath.DIRECT
    assert (result.bytes, result.file_bytes) == (DIRECT_LIMIT, DIRECT_LIMIT)


async def test_a_peer_that_is_gone(file: int) -> None:
    """It is a reset, as it is on the long way."""

    async with pair() as (endpoint, peer):
        reset(peer)
        with pytest.raises(FTPDataError) as caught:
            await send_file(endpoint, file, length=DIRECT_LIMIT)
    assert caught.value.result is not None
    assert caught.value.result.end is End.RESET
    assert caught.value.reply_code == 426


@pytest.mark.parametrize("receiving", [False, True])
async def test_a_connection_that_does_not_come(receiving: bool, file: int, tmp_path: Path) -> None:
    """The error has a result, too, and the endpoint is closed."""

    endpoint = await listen_passive(
        "127.0.0.1", control_peer="127.0.0.1", deadlines=Deadlines(open=0.02)
    )
    if receiving:
        transfer = receive_file(endpoint, tmp_path / "new")
    else:
        transfer = send_file(endpoint, file, length=10)
    with pytest.raises(FTPDataError) as caught:
        await transfer
    assert caught.value.reply_code == 425
    assert caught.value.result is not None
    assert caught.value.result.end is End.ACCEPT_TIMEOUT
    assert caught.value.result.direction is (Direction.RECEIVED if receiving else Direction.SENT)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("moment", ["waiting", "sent", "running"])
async def test_a_download_can_be_aborted_through_its_endpoint(
    moment: str, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each of its phases, with the reason that was given; the peer sees a reset."""

    loop = asyncio.get_running_loop()
    endpoint: Endpoint
    peer = socket.socket()
    peer.setblocking(False)
    endpoint = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
    if moment != "waiting":
        await loop.sock_connect(peer, (endpoint.address.host, endpoint.address.port))
    if moment == "sent":

        def unacknowledged(_: object) -> int:
            endpoint.abort(End.ABORTED, "no more")
            return 1

        monkeypatch.setattr(direct, "unacknowledged_on", unacknowledged)
        monkeypatch.setattr(direct, "read_cached", all_in_memory)
    if moment == "running":
        monkeypatch.setattr(direct, "read_cached", lambda *_: None)
        large = TokenBucket(1000, burst=1000, now=loop.time())
        sending = asyncio.ensure_future(
            send_file(endpoint, file, length=DIRECT_LIMIT, throttle=large)
        )
    else:
        sending = asyncio.ensure_future(send_file(endpoint, file, length=DIRECT_LIMIT))
    async with asyncio.timeout(10):
        for _ in range(20):
            await asyncio.sleep(0)
        if moment != "sent":
            endpoint.abort(End.ABORTED, "no more")
        with pytest.raises(FTPDataError, match="no more") as caught:
            await sending
        assert caught.value.result is not None
        assert caught.value.result.end is End.ABORTED
        if moment == "running":
            assert (await read_until_cut(peer))[1]
    peer.close()


async def test_a_download_can_be_cancelled_anywhere(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each suspension: nothing is left, also without a context around the endpoint."""

    monkeypatch.setattr(direct, "unacknowledged_on", lambda _: 1)
    monkeypatch.setattr(direct, "read_cached", all_in_memory)

    async def scenario() -> None:
        sock, peer = await tcp_pair()
        try:
            await send_file(AcceptedEndpoint(sock), file, length=1000)
        finally:
            peer.close()

    assert await sweep(scenario) >= 3


# Receiving


@pytest.mark.parametrize("size", [*SIZES, DIRECT_LIMIT + 1, 3 * DIRECT_LIMIT])
@pytest.mark.parametrize("has_come", [False, True])
async def test_uploads_of_every_size(size: int, has_come: bool, tmp_path: Path) -> None:
    """All of it is stored, whether it came before the transfer, or after it had begun."""

    async with pair() as (endpoint, peer):
        loop = asyncio.get_running_loop()

        async def sending() -> None:
            await loop.sock_sendall(peer, content(size))
            peer.shutdown(socket.SHUT_WR)

        work = asyncio.ensure_future(sending())
        if has_come and size <= DIRECT_LIMIT:
            await work
        result = await receive_file(endpoint, tmp_path / "new", digest="crc32")
        await work
    assert (tmp_path / "new").read_bytes() == content(size)
    assert (result.end, result.bytes, result.file_bytes) == (End.CLEAN, size, size)
    assert result.peer is not None


async def test_an_upload_without_a_transport(tmp_path: Path) -> None:
    """What comes with its end is received before there is a protocol."""

    made = 0

    class Counted(AcceptedEndpoint):
        async def _connect_protocol(self, sock: socket.socket) -> Any:
            nonlocal made
            made += 1
            return await super()._connect_protocol(sock)

    sock, peer = await tcp_pair()
    peer.send(b"data")
    peer.close()
    await receive_file(Counted(sock), tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == b"data"
    assert made == 0


@pytest.mark.parametrize("size", SIZES[:-1])
@pytest.mark.parametrize("mode", [WriteMode.ATOMIC, WriteMode.APPEND])
async def test_a_small_upload_to_a_target_takes_the_shortest_way(
    size: int, mode: WriteMode, tmp_path: Path
) -> None:
    """It is written and published in one step; the result is that of any transfer."""

    (tmp_path / "new").write_bytes(b"old")
    told: list[tuple[int, int | None]] = []
    async with pair() as (endpoint, peer):
        peer.sendall(content(size))
        peer.shutdown(socket.SHUT_WR)
        result = await receive_file(
            endpoint,
            await FileTarget.open(tmp_path / "new", mode=mode),
            expected_size=size,
            progress=lambda *numbers: told.append(numbers),
        )
    before = b"old" if mode is WriteMode.APPEND else b""
    assert (tmp_path / "new").read_bytes() == before + content(size)
    assert (result.end, result.direction, result.fast_path) == (
        *(End.CLEAN, Direction.RECEIVED),
        FastPath.DIRECT,
    )
    assert (result.bytes, result.file_bytes, result.reply_code) == (size, size, 226)
    assert result.peer is not None
    assert told == [(size, size)]


@pytest.mark.parametrize(
    ("hindrance", "code"),
    [("too few", 451), ("too many", 552), ("progress", 451), ("commit", 452)],
)
async def test_a_small_upload_that_is_not_to_be(
    hindrance: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the result, and nothing is left."""

    options: dict[str, Any] = {}
    if hindrance == "too few":
        options = {"expected_size": 11}
    elif hindrance == "too many":
        options = {"size_limit": 9}
    elif hindrance == "progress":
        options = {"progress": lambda *_: 1 / 0}
    else:
        Seams(monkeypatch).fail("write", 1, errno.ENOSPC)
    async with pair() as (endpoint, peer):
        peer.send(content(10))
        peer.shutdown(socket.SHUT_WR)
        target = await FileTarget.open(tmp_path / "new")
        with pytest.raises(FTPDataError) as caught:
            await receive_file(endpoint, target, **options)
    assert caught.value.reply_code == code
    assert caught.value.result is not None
    assert (caught.value.result.bytes, caught.value.result.file_bytes) == (10, 10)
    assert caught.value.result.direction is Direction.RECEIVED
    assert names(tmp_path) == []


async def test_a_small_upload_with_a_digest(tmp_path: Path) -> None:
    """It takes the long way, and has it."""

    async with pair() as (endpoint, peer):
        peer.send(b"123456789")
        peer.shutdown(socket.SHUT_WR)
        target = await FileTarget.open(tmp_path / "new")
        result = await receive_file(endpoint, target, digest="crc32")
    assert result.digest == "cbf43926"
    assert result.fast_path is not FastPath.DIRECT
    assert (tmp_path / "new").read_bytes() == b"123456789"


async def test_an_upload_in_ascii(tmp_path: Path) -> None:
    """It is converted as any other."""

    async with pair() as (endpoint, peer):
        peer.send(b"a\r\nb\r\n")
        peer.shutdown(socket.SHUT_WR)
        await receive_file(
            endpoint, tmp_path / "new", parameters=TransferParameters().with_type("A")
        )
    assert (tmp_path / "new").read_bytes() == b"a\nb\n"


async def test_an_upload_in_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that is slow is watched by the transfer, which has what came before."""

    monkeypatch.setattr(direct, "MOMENT", 0.001)
    async with pair() as (endpoint, peer):
        receiving = asyncio.ensure_future(receive_file(endpoint, tmp_path / "new"))
        async with asyncio.timeout(10):
            for i in range(7):
                peer.send(b"%d" % i)
                for _ in range(20):
                    await asyncio.sleep(0.0002)
            peer.shutdown(socket.SHUT_WR)
            result = await receiving
    assert (tmp_path / "new").read_bytes() == b"0123456"
    assert result.bytes == 7


@pytest.mark.parametrize("data", [b"", b"some"])
async def test_an_upload_that_is_reset(data: bytes, tmp_path: Path) -> None:
    """It is cut, and nothing of it is published: the system tells of a reset only once."""

    async with pair() as (endpoint, peer):
        receiving = asyncio.ensure_future(receive_file(endpoint, tmp_path / "new"))
        for _ in range(5):
            await asyncio.sleep(0)
        if data:
            peer.send(data)
            for _ in range(20):
                await asyncio.sleep(0)
        reset(peer)
        with pytest.raises(FTPDataError) as caught:
            await receiving
    assert caught.value.result is not None
    assert caught.value.result.end is End.RESET
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("data", "end"), [(b"", End.FIRST_BYTE_TIMEOUT), (b"some", End.STALLED)]
)
async def test_an_upload_that_stalls(data: bytes, end: End, tmp_path: Path) -> None:
    """Its deadlines are those of any transfer."""

    async with pair() as (endpoint, peer):
        if data:
            peer.send(data)
        with pytest.raises(FTPDataError) as caught:
            await receive_file(
                endpoint, tmp_path / "new", deadlines=Deadlines(first_byte=0.02, stall=0.02)
            )
        assert (await read_until_cut(peer))[1]
    assert caught.value.result is not None
    assert caught.value.result.end is end
    assert caught.value.reply_code == 426
    assert not names(tmp_path)


async def test_an_upload_can_be_aborted_through_its_endpoint(tmp_path: Path) -> None:
    """While it waits for its first byte."""

    async with pair() as (endpoint, peer):
        receiving = asyncio.ensure_future(receive_file(endpoint, tmp_path / "new"))
        for _ in range(5):
            await asyncio.sleep(0)
        endpoint.abort(End.ABORTED, "no more")
        with pytest.raises(FTPDataError, match="no more") as caught:
            await receiving
        assert (await read_until_cut(peer))[1]
    assert caught.value.result is not None
    assert caught.value.result.end is End.ABORTED
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"size_limit": 3}, QuotaExceeded),
        ({"expected_size": 5}, SizeMismatch),
        ({"expected_size": 3}, SizeMismatch),
    ],
)
async def test_a_small_upload_of_the_wrong_size(
    options: dict[str, Any], error: type[FTPDataError], tmp_path: Path
) -> None:
    """It is not published, although all of it is here."""

    async with pair() as (endpoint, peer):
        peer.send(b"data")
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(error):
            await receive_file(endpoint, tmp_path / "new", **options)
    assert not names(tmp_path)


async def test_an_upload_can_be_cancelled_anywhere(tmp_path: Path) -> None:
    """At each suspension: nothing is left, neither descriptor nor hidden file."""

    async def scenario() -> None:
        sock, peer = await tcp_pair()
        try:
            receiving = asyncio.ensure_future(
                receive_file(AcceptedEndpoint(sock), tmp_path / "new")
            )
            try:
                await asyncio.sleep(0)
                peer.send(b"data")
                peer.shutdown(socket.SHUT_WR)
                await receiving
            finally:
                receiving.cancel()
                await asyncio.wait((receiving,))
        finally:
            peer.close()

    async def nothing_hidden() -> None:
        assert set(await asyncio.to_thread(names, tmp_path)) <= {"new"}

    assert await sweep(scenario, check=nothing_hidden) >= 2
