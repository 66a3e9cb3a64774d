"""Small files are transferred without a transport; whatever else happens takes the plain way."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import io
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from ftpdata.connection import _delivery
from ftpdata.connection._delivery import Sight
from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.errors import FTPDataError, LocalError, QuotaExceeded, SizeMismatch
from ftpdata.files import _workers as workers
from ftpdata.files import source as sources
from ftpdata.files._cache import open_cached
from ftpdata.files._threads import Job
from ftpdata.files.source import FileSource
from ftpdata.files.target import FileTarget, WriteMode
from ftpdata.listing.table import ListingBlock
from ftpdata.opening import _link
from ftpdata.opening._link import Link
from ftpdata.opening.endpoint import AcceptedEndpoint, Endpoint, link_of
from ftpdata.opening.passive import listen_passive
from ftpdata.outcome import Direction, End, FastPath, TransferResult
from ftpdata.parameters import RepresentationType, TransferParameters
from ftpdata.testing import Cut, reset, send_then_cut, sweep, tcp_pair
from ftpdata.throttle import TokenBucket
from ftpdata.tls._channel import TLSChannel
from ftpdata.tls.policy import DataTLS
from ftpdata.transfers import _direct as direct
from ftpdata.transfers import receive_file, send_file, send_listing, send_stream
from ftpdata.transfers._direct import DIRECT_LIMIT, PROTECTED_LIMIT, SENDFILE_LIMIT, UPLOAD_LIMIT
from ftpdata.transfers._pending import PendingFile
from tests.harness.connections import peer_task, read_until_cut, receive_all, send_all
from tests.harness.packages import needs_cryptography, needs_o_path
from tests.harness.seams import Hang, Seams, descriptors, opened_below
from tests.harness.tls import HOST_NAME, RecordWriter, TLSPeer, client_context, server_certificate
from tests.harness.waiting import turns, until

ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do this")

SIZES = [0, 1, 1024, DIRECT_LIMIT - 1, DIRECT_LIMIT]


async def opens_late(pending: PendingFile[Any], timeout: float) -> None:
    """Stand in for `PendingFile.get_soon` where a store takes long to open a file."""




@functools.cache
def content(size: int) -> bytes:
    """Return bytes that differ at every place of the file."""

    return bytes(i * 7 % 251 for i in range(size))


@pytest.fixture
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the shortest way all the time it needs, however busy the machine is."""

    monkeypatch.setattr(direct, "MOMENT", 30.0)
    monkeypatch.setattr(direct, "DELIVERY_MOMENT", 30.0)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A file of `DIRECT_LIMIT` bytes."""

    path = tmp_path / "file"
    path.write_bytes(content(DIRECT_LIMIT))
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def all_in_memory(_: int, count: int, position: int) -> bytes:
    """Return what `read_cached` finds, unless the system is about to write the file to disk."""

    return content(DIRECT_LIMIT)[position : position + count]


def names(directory: Path) -> list[str]:
    """Return the names in a directory."""

    return [path.name for path in directory.iterdir()]


@contextlib.asynccontextmanager
async def pair(**options: Any) -> Any:
    """Yield an endpoint, and its peer's socket."""

    sock, peer = await tcp_pair(**options)
    async with AcceptedEndpoint(sock) as endpoint:
        try:
            yield endpoint, peer
        finally:
            peer.close()


async def test_what_an_endpoint_that_does_not_open_was_to_bring_is_discarded(
    tmp_path: Path,
) -> None:
    """A target is committed or discarded in any case; nothing of it stays open."""

    endpoint = await listen_passive(
        "127.0.0.1", control_peer="127.0.0.1", deadlines=Deadlines(open=0.02)
    )
    target = await FileTarget.open(tmp_path / "new")
    with pytest.raises(FTPDataError):
        await receive_file(endpoint, target)
    assert names(tmp_path) == []


# Sending


@pytest.mark.usefixtures("no_hurry")
@ONLY_LINUX
@pytest.mark.parametrize("size", SIZES)
async def test_a_small_file_takes_the_shortest_way(
    size: int, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer has every byte and the end of file; the result is that of any transfer."""

    # This holds however busy the machine and its disk are.
    monkeypatch.setattr(_link, "sight_of", lambda _: Sight(0))
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


@pytest.mark.usefixtures("no_hurry")
@ONLY_LINUX
async def test_a_range_of_a_file(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A range starts at its offset and has the given length."""

    monkeypatch.setattr(_link, "sight_of", lambda _: Sight(0))
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
    """The plain way sends every byte once, however much the shortest way has already sent."""

    size = DIRECT_LIMIT
    options: dict[str, Any] = {}
    buffers: dict[str, Any] = {}
    if hindrance == "not cached":
        monkeypatch.setattr(direct, "read_cached", lambda *_: None)
    elif hindrance == "not acknowledged":
        monkeypatch.setattr(_link, "sight_of", lambda _: Sight(1))
    elif hindrance == "full buffer":
        # Nothing waits for room in the socket.
        monkeypatch.setattr(direct, "MOMENT", 0.0)
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
    """The error is a reset, as on the plain way."""

    async with pair() as (endpoint, peer):
        reset(peer)
        with pytest.raises(FTPDataError) as caught:
            await send_file(endpoint, file, length=DIRECT_LIMIT)
    assert caught.value.result is not None
    assert caught.value.result.end is End.RESET
    assert caught.value.reply_code == 426


@pytest.mark.parametrize("receiving", [False, True])
async def test_a_connection_that_does_not_come(receiving: bool, file: int, tmp_path: Path) -> None:
    """The error has a result, and the endpoint is closed."""

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


@pytest.mark.usefixtures("no_hurry")
@pytest.mark.parametrize("receiving", [False, True])
async def test_the_time_until_the_peer_connects_is_none_of_the_transfer(
    receiving: bool, file: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time until the peer connects does not count: it says nothing about the rate."""

    monkeypatch.setattr(_link, "sight_of", lambda _: Sight(0))
    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    endpoint = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
    if receiving:
        transfer = receive_file(endpoint, await FileTarget.open(tmp_path / "new"))
    else:
        transfer = send_file(endpoint, file, length=10)
    transferring = asyncio.ensure_future(transfer)
    await asyncio.sleep(0.5)
    with socket.socket() as peer:
        peer.setblocking(False)
        address = (endpoint.address.host, endpoint.address.port)
        await asyncio.get_running_loop().sock_connect(peer, address)
        if receiving:
            peer.send(content(10))
        peer.shutdown(socket.SHUT_WR)
        result = await transferring
    assert result.fast_path is FastPath.DIRECT
    assert result.seconds < 0.4


@pytest.mark.parametrize("moment", ["waiting", "sent", "running"])
async def test_a_download_can_be_aborted_through_its_endpoint(
    moment: str, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be aborted in each of its phases; the given reason is raised; the peer is reset."""

    loop = asyncio.get_running_loop()
    endpoint: Endpoint
    peer = socket.socket()
    peer.setblocking(False)
    endpoint = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
    if moment != "waiting":
        await loop.sock_connect(peer, (endpoint.address.host, endpoint.address.port))
    if moment == "sent":

        def unacknowledged(_: object) -> Sight:
            endpoint.abort(End.ABORTED, "no more")
            return Sight(1)

        monkeypatch.setattr(_link, "sight_of", unacknowledged)
        monkeypatch.setattr(direct, "read_cached", all_in_memory)
    if moment == "running":
        monkeypatch.setattr(direct, "read_cached", lambda *_: None)
        large = TokenBucket(1000, burst=1000, now=loop.time())
        sending = asyncio.ensure_future(
            send_file(endpoint, file, length=DIRECT_LIMIT, throttle=large)
        )
    else:
        sending = asyncio.ensure_future(send_file(endpoint, file, length=DIRECT_LIMIT))
    async with asyncio.timeout(60):
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
    """A download cancelled at any suspension leaves nothing, even if its endpoint is not closed."""

    monkeypatch.setattr(_link, "sight_of", lambda _: Sight(1))
    monkeypatch.setattr(direct, "read_cached", all_in_memory)

    async def scenario() -> None:
        sock, peer = await tcp_pair()
        try:
            await send_file(AcceptedEndpoint(sock), file, length=1000)
        finally:
            peer.close()

    assert await sweep(scenario) >= 3


# Receiving


@pytest.mark.parametrize(
    "size", [*SIZES, DIRECT_LIMIT + 1, UPLOAD_LIMIT - 1, UPLOAD_LIMIT, UPLOAD_LIMIT + 1]
)
@pytest.mark.parametrize("has_come", [False, True])
async def test_uploads_of_every_size(size: int, has_come: bool, tmp_path: Path) -> None:
    """The whole upload is stored, whether it arrives before the transfer begins or later."""

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


@pytest.mark.parametrize("throttled", [False, True])
async def test_the_first_bytes_of_an_upload_are_not_kept(throttled: bool, tmp_path: Path) -> None:
    """They would add up while the peer stalls: only a throttled upload keeps any, and few."""

    options: dict[str, Any] = {}
    if throttled:
        now = asyncio.get_running_loop().time()
        options = {"throttle": TokenBucket(1e9, burst=2**30, now=now)}
    taken: list[int] = []

    class Watched(AcceptedEndpoint):
        async def _hand_over(self, link: Link) -> DTP:
            taken.append(len(link.carried.received))
            return await super()._hand_over(link)

    sock, peer = await tcp_pair()
    async with Watched(sock) as endpoint:
        loop = asyncio.get_running_loop()
        target = await FileTarget.open(tmp_path / "new")
        receiving = asyncio.ensure_future(receive_file(endpoint, target, **options))
        await loop.sock_sendall(peer, content(3 * UPLOAD_LIMIT))
        peer.shutdown(socket.SHUT_WR)
        await receiving
        peer.close()
    assert (tmp_path / "new").read_bytes() == content(3 * UPLOAD_LIMIT)
    assert taken[0] < (2 * DIRECT_LIMIT if throttled else UPLOAD_LIMIT + 2 * DIRECT_LIMIT)


async def test_an_upload_without_a_transport(tmp_path: Path) -> None:
    """An upload whose data and end have both arrived is received without a protocol."""

    made = 0

    class Counted(AcceptedEndpoint):
        async def _hand_over(self, link: Link) -> DTP:
            nonlocal made
            made += 1
            return await super()._hand_over(link)

    sock, peer = await tcp_pair()
    peer.send(b"data")
    peer.close()
    await receive_file(Counted(sock), tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == b"data"
    assert made == 0


@pytest.mark.usefixtures("no_hurry")
@pytest.mark.parametrize("size", SIZES[:-1])
@pytest.mark.parametrize("mode", [WriteMode.ATOMIC, WriteMode.EXCLUSIVE])
async def test_a_small_upload_to_a_target_takes_the_shortest_way(
    size: int, mode: WriteMode, tmp_path: Path
) -> None:
    """It is written and published in one step; its result is that of any transfer."""

    if mode is WriteMode.ATOMIC:
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
    assert (tmp_path / "new").read_bytes() == content(size)
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
    """The error has the result, and nothing is left of the upload."""

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


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.usefixtures("no_hurry")
async def test_a_small_upload_by_its_name_visits_a_thread_once(
    size: int, tmp_path: Path, jobs: list[Job]
) -> None:
    """It is opened, written and published there."""

    (tmp_path / "new").write_bytes(b"old")
    async with pair() as (endpoint, peer):
        peer.sendall(content(size))
        peer.shutdown(socket.SHUT_WR)
        result = await receive_file(endpoint, tmp_path / "new")
    assert (result.end, result.fast_path) == (End.CLEAN, FastPath.DIRECT)
    assert (tmp_path / "new").read_bytes() == content(size)
    assert len(jobs) == 1


@pytest.mark.parametrize(
    ("hindrance", "code"), [("too few", 451), ("directory", 550), ("write", 452)]
)
@pytest.mark.usefixtures("no_hurry")
async def test_a_small_upload_by_its_name_that_is_not_to_be(
    hindrance: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it cannot be opened or not be written: nothing is left, the directory included."""

    if hindrance == "write":
        Seams(monkeypatch).fail("write", 1, errno.ENOSPC)
    name = "missing/new" if hindrance == "directory" else "new"
    directory = os.open(tmp_path, os.O_RDONLY)
    before = descriptors()
    async with pair() as (endpoint, peer):
        peer.send(content(10))
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(FTPDataError) as caught:
            await receive_file(
                endpoint,
                name,
                dir_fd=directory,
                expected_size=11 if hindrance == "too few" else None,
            )
    assert caught.value.reply_code == code
    assert caught.value.result is not None
    assert names(tmp_path) == []
    await until(lambda: descriptors() <= before)
    os.close(directory)


async def test_a_name_that_cannot_be_had_does_not_wait_for_a_peer(tmp_path: Path) -> None:
    """The endpoint is given up although nobody has connected."""

    endpoint = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
    with pytest.raises(FTPDataError) as caught:
        await receive_file(endpoint, tmp_path / "missing" / "new")
    assert caught.value.reply_code == 550


async def test_a_small_upload_with_a_digest(tmp_path: Path) -> None:
    """An upload with a digest takes the plain way, and its result has the digest."""

    async with pair() as (endpoint, peer):
        peer.send(b"123456789")
        peer.shutdown(socket.SHUT_WR)
        target = await FileTarget.open(tmp_path / "new")
        result = await receive_file(endpoint, target, digest="crc32")
    assert result.digest == "cbf43926"
    assert result.fast_path is not FastPath.DIRECT
    assert (tmp_path / "new").read_bytes() == b"123456789"


async def test_an_upload_in_ascii(tmp_path: Path) -> None:
    """An upload in ASCII is converted on this way, too."""

    async with pair() as (endpoint, peer):
        peer.send(b"a\r\nb\r\n")
        peer.shutdown(socket.SHUT_WR)
        await receive_file(
            endpoint, tmp_path / "new", parameters=TransferParameters().with_type("A")
        )
    assert (tmp_path / "new").read_bytes() == b"a\nb\n"


async def test_an_upload_in_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transfer watches a slow peer, and keeps the data that came before."""

    monkeypatch.setattr(direct, "MOMENT", 0.001)
    async with pair() as (endpoint, peer):
        receiving = asyncio.ensure_future(receive_file(endpoint, tmp_path / "new"))
        async with asyncio.timeout(60):
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
    """The upload is cut and nothing is published, although the system reports a reset only once."""

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
    """A stalled upload has the deadlines of any transfer."""

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
    """An upload can be aborted while it waits for its first byte."""

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
    """It is not published, although all of its bytes have arrived."""

    async with pair() as (endpoint, peer):
        peer.send(b"data")
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(error):
            await receive_file(endpoint, tmp_path / "new", **options)
    assert not names(tmp_path)


async def test_an_upload_can_be_cancelled_anywhere(tmp_path: Path) -> None:
    """An upload cancelled at any suspension leaves neither a descriptor nor a hidden file."""

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


# Files given by name, which a worker thread opens first


@contextlib.contextmanager
def named(kind: str, path: Path) -> Iterator[Any]:
    """The ways to name a file whose length is not given."""

    if kind == "descriptor":
        fd = os.open(path, os.O_RDONLY)
        os.lseek(fd, 5, os.SEEK_SET)
        yield fd
        # The caller's descriptor keeps its position.
        assert os.lseek(fd, 0, os.SEEK_CUR) == 5
        os.close(fd)
    elif kind == "object":
        with path.open("rb") as opened:
            yield opened
            assert opened.tell() == 0
    else:
        yield path if kind == "path" else os.fsencode(path)


@ONLY_LINUX
@pytest.mark.parametrize("kind", ["path", "bytes", "descriptor", "object"])
@pytest.mark.parametrize(
    "part",
    [
        (0, 0, None),
        (1024, 0, None),
        (1024, 1000, 24),
        (DIRECT_LIMIT + 1, 0, None),
        (SENDFILE_LIMIT, 0, None),
        (2 * SENDFILE_LIMIT, 2 * SENDFILE_LIMIT - 10, None),
        (2 * SENDFILE_LIMIT, 100, 5),
        (1024, 1024, None),
    ],
)
async def test_a_file_of_which_nobody_says_how_long_it_is(
    kind: str,
    part: tuple[int, int, int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file is opened to find its size; then it takes the shortest way like any other."""

    size, offset, length = part
    # This holds however busy the machine is.
    monkeypatch.setattr(direct, "MOMENT", 30.0)
    monkeypatch.setattr(_link, "sight_of", lambda _: Sight(0))
    path = tmp_path / "file"
    path.write_bytes(content(size))
    expected = content(size)[offset:] if length is None else content(size)[offset:][:length]
    told: list[tuple[int, int | None]] = []
    with named(kind, path) as file:
        async with pair() as (endpoint, peer), asyncio.TaskGroup() as group:
            reading = group.create_task(receive_all(peer))
            result = await send_file(
                endpoint,
                file,
                offset=offset,
                length=length,
                expected_size=len(expected),
                progress=lambda *numbers: told.append(numbers),
            )
    assert reading.result() == expected
    assert (result.end, result.fast_path) == (End.CLEAN, FastPath.DIRECT)
    assert (result.bytes, result.file_bytes) == (len(expected), len(expected))
    assert (result.offset, told) == (offset, [(len(expected), len(expected))])


@pytest.mark.parametrize(
    "hindrance",
    ["long", "no size", "not acknowledged", "not cached", "slow", "ascii", "digest"],
)
async def test_the_way_on_of_a_file_by_its_name(
    hindrance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte is sent once, and the file is opened once."""

    # As where nothing is known of the device yet.
    monkeypatch.setattr(sources, "open_cached", lambda *_: None)

    size = 1024
    options: dict[str, Any] = {}
    path: Any = tmp_path / "file"
    if hindrance == "long":
        size = SENDFILE_LIMIT + 1
    elif hindrance == "not acknowledged":
        monkeypatch.setattr(_link, "sight_of", lambda _: Sight(1))
    elif hindrance == "not cached":
        monkeypatch.setattr(direct, "read_cached", lambda *_: None)
    elif hindrance == "slow":
        monkeypatch.setattr(PendingFile, "get_soon", opens_late)
    elif hindrance == "ascii":
        options = {"parameters": TransferParameters().with_type("A")}
    elif hindrance == "digest":
        options = {"digest": "crc32"}
    path.write_bytes(content(size).replace(b"\n", b"."))
    expected = path.read_bytes()
    if hindrance == "no size":
        path = io.BytesIO(expected)
    opened: list[object] = []

    def note(original: Callable[..., int], name: object, *args: Any, **kwargs: Any) -> int:
        opened.append(name)
        return original(name, *args, **kwargs)

    Seams(monkeypatch).replace("open", note)
    async with pair() as (endpoint, peer), asyncio.TaskGroup() as group:
        reading = group.create_task(receive_all(peer))
        result = await send_file(endpoint, path, **options)
    assert reading.result() == expected
    assert result.end is End.CLEAN
    assert result.fast_path is not FastPath.DIRECT
    assert (result.bytes, result.file_bytes) == (size, size)
    assert opened == ([] if hindrance == "no size" else [path])


@ONLY_LINUX
@needs_o_path
async def test_a_file_on_a_known_device_is_opened_without_a_thread(
    tmp_path: Path, jobs: list[Job]
) -> None:
    """Also from a directory; an empty file, and what is none, need a thread."""

    path = tmp_path / "file"
    path.write_bytes(content(1024))
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    (await FileSource.open(path)).close()
    directory = os.open(tmp_path, os.O_RDONLY)
    files: list[tuple[Path | str, int | None, int]] = [
        (path, None, 0), ("file", directory, 0), (tmp_path / "empty", None, 1),
    ]
    for name, dir_fd, visits in files:
        jobs.clear()
        async with pair() as (endpoint, peer), asyncio.TaskGroup() as group:
            reading = group.create_task(receive_all(peer))
            await send_file(endpoint, name, dir_fd=dir_fd)
        assert reading.result() == (b"" if visits else content(1024))
        assert len(jobs) == visits
    os.close(directory)
    for other in (tmp_path / "pipe", tmp_path, tmp_path / "missing", b"/proc/version", b"/x\0"):
        assert open_cached(other, None, os.O_RDONLY) is None
    assert opened_below(tmp_path) == []


@pytest.mark.parametrize(
    ("wrong", "code", "end"),
    [
        ("missing", 550, End.PRODUCER_FAILED),
        ("a directory", 550, End.PRODUCER_FAILED),
        ("no name", 553, End.PRODUCER_FAILED),
        ("offset", 501, End.PRODUCER_FAILED),
        ("promised", 451, End.SIZE_MISMATCH),
        ("negative", 501, End.PRODUCER_FAILED),
    ],
)
async def test_a_file_by_its_name_that_cannot_be_sent(
    wrong: str, code: int, end: End, tmp_path: Path
) -> None:
    """The error is that of a transfer over a DTP; the peer gets nothing that looks like a file."""

    path: Any = tmp_path / "file"
    path.write_bytes(b"content")
    options: dict[str, Any] = {}
    if wrong == "missing":
        path = tmp_path / "other"
    elif wrong == "a directory":
        path = tmp_path
    elif wrong == "no name":
        path = "a\0b"
    elif wrong == "offset":
        options = {"offset": 8}
    elif wrong == "promised":
        options = {"expected_size": 8}
    else:
        options = {"length": -1}
    results = []
    for is_direct in (True, False):
        async with pair() as (endpoint, peer):
            with pytest.raises(FTPDataError) as caught:
                await send_file(endpoint if is_direct else await endpoint.open(), path, **options)
            assert await read_until_cut(peer) == (b"", True)
        assert caught.value.reply_code == code
        assert caught.value.result is not None
        assert caught.value.result.end is end
        results.append(attrs.evolve(caught.value.result, seconds=0.0, peer=None))
    assert results[0] == results[1]


@pytest.mark.parametrize("way", ["abort", "deadline", "cancel"])
@pytest.mark.parametrize("receiving", [False, True])
async def test_the_direct_way_does_not_wait_for_a_store_that_hangs(
    receiving: bool, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transfer ends as if the file were open; a file that opens later is closed."""

    monkeypatch.setattr(workers, "ABANDON_AFTER", 0.01)
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.setattr(sources, "open_cached", lambda *_: None)
    # The first thing that is asked of a file to send, and of a file to replace.
    hang = Hang(Seams(monkeypatch), "stat" if receiving else "open")
    move: Callable[..., Any] = receive_file if receiving else send_file
    async with pair() as (endpoint, _):
        deadlines = Deadlines(first_byte=0.05 if way == "deadline" else None)
        transfer = asyncio.ensure_future(
            move(endpoint, tmp_path / "file", deadlines=deadlines)
        )
        await hang.entered()
        if way == "abort":
            endpoint.abort(End.ABORTED, "the user said so")
        elif way == "cancel":
            transfer.cancel()
        await asyncio.wait((transfer,))
        hang.go_on()
        if way == "cancel":
            assert transfer.cancelled()
        else:
            with pytest.raises(FTPDataError) as caught:
                transfer.result()
            assert caught.value.result is not None
            assert caught.value.result.end is (
                End.ABORTED if way == "abort" else End.FIRST_BYTE_TIMEOUT
            )
    await until(lambda: not opened_below(tmp_path))
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"content"


async def test_a_download_by_name_can_be_cancelled_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download cancelled at any suspension leaves nothing."""

    monkeypatch.setattr(sources, "open_cached", lambda *_: None)
    (tmp_path / "file").write_bytes(content(1024))

    async def scenario() -> None:
        sock, peer = await tcp_pair()
        try:
            await send_file(AcceptedEndpoint(sock), tmp_path / "file")
        finally:
            peer.close()

    assert await sweep(scenario) >= 2


@pytest.mark.usefixtures("no_hurry")
@pytest.mark.parametrize("size", [0, 1000, UPLOAD_LIMIT - 1])
@pytest.mark.parametrize("is_new", [True, False])
async def test_an_upload_by_its_name_takes_the_shortest_way(
    is_new: bool, size: int, tmp_path: Path
) -> None:
    """The file is opened for the connection that was made, and is published whole."""

    path = tmp_path / "new"
    if not is_new:
        path.write_bytes(b"old")
    async with pair() as (endpoint, peer), asyncio.TaskGroup() as group:
        group.create_task(send_all(peer, content(size)))
        result = await receive_file(endpoint, path)
    assert path.read_bytes() == content(size)
    assert (result.end, result.fast_path) == (End.CLEAN, FastPath.DIRECT)
    assert (result.bytes, result.file_bytes) == (size, size)
    assert names(tmp_path) == ["new"]


@pytest.mark.parametrize("given", ["path", "target"])
@pytest.mark.parametrize("how", ["appended", "from an offset"])
async def test_what_came_of_an_upload_stays(
    how: str, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bytes are collected in memory for the shortest way, since the upload may be cut."""

    monkeypatch.setattr(direct, "MOMENT", 60.0)
    path = tmp_path / "new"
    path.write_bytes(b"old")
    options: dict[str, Any] = {}
    if how == "appended":
        options = {"append": True}
    elif how == "from an offset":
        options = {"offset": 3}
    file: Any = path
    if given == "target":
        modes = {"appended": WriteMode.APPEND, "from an offset": WriteMode.IN_PLACE}
        file = await FileTarget.open(
            path,
            mode=modes[how],
            offset=options.pop("offset", 0),
        )
        options.pop("append", None)
    async with pair() as (endpoint, peer):
        receiving = asyncio.ensure_future(receive_file(endpoint, file, **options))
        await asyncio.get_running_loop().sock_sendall(peer, content(1000))
        await until(lambda: path.stat().st_size == 1003)
        reset(peer)
        with pytest.raises(FTPDataError):
            await receiving
    assert path.read_bytes() == b"old" + content(1000)
    assert names(tmp_path) == ["new"]


async def test_a_store_that_takes_too_long_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upload stalls, as on the plain way, and is not published later."""

    monkeypatch.setattr(workers, "ABANDON_AFTER", 0.01)
    hang = Hang(Seams(monkeypatch), "write")
    async with pair() as (endpoint, peer):
        await send_all(peer, content(1000))
        receiving = asyncio.ensure_future(
            receive_file(endpoint, tmp_path / "new", deadlines=Deadlines(stall=0.05))
        )
        await hang.entered()
        with pytest.raises(FTPDataError) as caught:
            await receiving
    assert (caught.value.end, caught.value.reply_code) == (End.STALLED, 426)
    assert caught.value.result is not None
    assert caught.value.result.bytes == 1000
    hang.go_on()
    await until(lambda: not opened_below(tmp_path))
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["path", "descriptor"])
async def test_progress_that_fails(kind: str, tmp_path: Path) -> None:
    """The transfer fails, and its error has the result."""

    path = tmp_path / "file"
    path.write_bytes(b"content")
    with named(kind, path) as file:
        async with pair() as (endpoint, _):
            with pytest.raises(LocalError) as caught:
                await send_file(endpoint, file, progress=lambda *_: 1 / 0)  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.result is not None
    assert (caught.value.result.end, caught.value.result.bytes) == (End.PRODUCER_FAILED, 7)


async def test_the_offset_of_a_file_object(tmp_path: Path) -> None:
    """The offset counts from the object's position, and the result reports that position."""

    (tmp_path / "file").write_bytes(content(1000))
    results = []
    with (tmp_path / "file").open("rb") as file:
        file.seek(100)
        for is_direct in (True, False):
            async with pair() as (endpoint, peer):
                way = endpoint if is_direct else await endpoint.open()
                async with asyncio.TaskGroup() as group:
                    reading = group.create_task(receive_all(peer))
                    results.append((await send_file(way, file, offset=5)).offset)
                assert reading.result() == content(1000)[105:]
    assert results == [5, 5]


@pytest.mark.parametrize("hindrance", ["slow", "late", "digest", "throttle", "promised", "missing"])
async def test_the_way_on_of_an_upload_by_its_name(
    hindrance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No received data are lost, and a refused upload leaves nothing."""

    path = tmp_path / "new"
    options: dict[str, Any] = {}
    code = 226
    if hindrance == "slow":
        monkeypatch.setattr(PendingFile, "get_soon", opens_late)
    elif hindrance == "late":
        monkeypatch.setattr(direct, "MOMENT", 0.0)
    elif hindrance == "digest":
        options = {"digest": "crc32"}
    elif hindrance == "throttle":
        now = asyncio.get_running_loop().time()
        options = {"throttle": TokenBucket(1e9, now=now)}
    elif hindrance == "promised":
        options, code = {"expected_size": 1001}, 451
    else:
        path, code = tmp_path / "missing" / "new", 550
    async with pair() as (endpoint, peer):
        if hindrance != "late":
            await send_all(peer, content(1000))
        receiving = asyncio.ensure_future(receive_file(endpoint, path, **options))
        if hindrance == "late":
            await until(lambda: endpoint.dtp is not None)
            await send_all(peer, content(1000))
        if code == 226:
            assert (await receiving).file_bytes == 1000
        else:
            with pytest.raises(FTPDataError) as caught:
                await receiving
            assert caught.value.reply_code == code
            assert caught.value.result is not None
    assert names(tmp_path) == (["new"] if code == 226 else [])
    assert code != 226 or path.read_bytes() == content(1000)


# In TLS

VERSIONS = pytest.mark.parametrize(
    "version",
    [
        pytest.param(ssl.TLSVersion.TLSv1_2, id="TLS1.2"),
        pytest.param(ssl.TLSVersion.TLSv1_3, id="TLS1.3"),
    ],
)
ROLES = pytest.mark.parametrize("server_side", [True, False])


class Counted(AcceptedEndpoint):
    """An endpoint that counts the protocols it makes."""

    made = 0

    async def _hand_over(self, link: Link) -> DTP:
        self.made += 1
        return await super()._hand_over(link)


@contextlib.asynccontextmanager
async def protected(
    version: ssl.TLSVersion | None = None,
    *,
    server_side: bool = True,
    strict_close: bool = True,
    deadlines: Deadlines | None = None,
    context: ssl.SSLContext | None = None,
    **buffers: Any,
) -> AsyncIterator[tuple[Counted, TLSPeer]]:
    """Yield a protected endpoint, and a peer that negotiates TLS by itself."""

    server = server_certificate(version).session_context()
    client = context or client_context(version)
    if server_side:
        tls = DataTLS.for_server(server, strict_close=strict_close)
    else:
        tls = DataTLS.for_client(client, session=None, server_hostname=HOST_NAME)
        # As in `DataTLS.for_server`: tickets would be sent ahead of the data.
        server.num_tickets = 0
    sock, there = await tcp_pair(**buffers)
    with there:
        peer = TLSPeer(there, client if server_side else server, server_side=not server_side)
        async with Counted(sock, tls=tls, deadlines=deadlines) as endpoint:
            yield endpoint, peer


async def take_and_answer(peer: TLSPeer) -> bytes:
    """Act as the peer of a download."""

    await peer.handshake()
    data = await peer.receive_all()
    await peer.put(peer.close_notify())
    return data


def without_tls(result: TransferResult) -> TransferResult:
    """Return the part of a result that is the same on every way."""

    return attrs.evolve(
        result, tls_version=None, tls_cipher=None, tls_resumed=None, seconds=0.0, peer=None
    )


@pytest.mark.usefixtures("no_hurry")
@ONLY_LINUX
@VERSIONS
@ROLES
@pytest.mark.parametrize("size", SIZES)
async def test_a_small_file_in_tls_takes_the_shortest_way(
    version: ssl.TLSVersion,
    server_side: bool,
    size: int,
    file: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In both roles, the peer gets every byte and the announced end; the result is as in clear."""

    monkeypatch.setattr(_link, "sight_of", lambda _: Sight(0))
    monkeypatch.setattr(TLSChannel, "undelivered", lambda *_: 0)
    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    monkeypatch.setattr(_delivery, "ANSWER_PATIENCE", 30)
    async with protected(version, server_side=server_side) as (endpoint, peer):
        taking = asyncio.ensure_future(take_and_answer(peer))
        result = await send_file(endpoint, file, length=size)
        assert await taking == content(size)
        # No reset follows the announced end.
        assert await asyncio.get_running_loop().sock_recv(peer.sock, 1) == b""
        assert endpoint.made == 0
    async with pair() as (endpoint, plain):
        in_clear = await send_file(endpoint, file, length=size)
        assert await receive_all(plain) == content(size)
    assert result.fast_path is FastPath.DIRECT
    assert without_tls(result) == without_tls(in_clear)
    assert result.tls_version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    assert result.tls_cipher
    assert result.tls_resumed is False
    assert result.peer is not None


@pytest.mark.usefixtures("no_hurry")
@VERSIONS
@ROLES
@pytest.mark.parametrize("size", [0, 1, 1024, DIRECT_LIMIT - 1])
@pytest.mark.parametrize("goodbye", [Cut.CLOSE, Cut.HALF_CLOSE, None])
async def test_a_small_upload_in_tls_needs_no_transport(
    version: ssl.TLSVersion, server_side: bool, size: int, goodbye: Cut | None, tmp_path: Path
) -> None:
    """In both roles, an announced end is answered, whether an end of file follows it or not."""

    async with protected(version, server_side=server_side) as (endpoint, peer):
        async with peer_task(peer.handshake()) as handshake:
            await link_of(endpoint)
            await handshake
        wire = (peer.record(content(size)) if size else b"") + peer.close_notify()
        if goodbye is None:
            await peer.put(wire)
        else:
            await send_then_cut(peer.sock, wire, goodbye)
        result = await receive_file(endpoint, tmp_path / "new")
        if goodbye is not Cut.CLOSE:
            assert await peer.receive() == b""
        assert endpoint.made == 0
    async with pair() as (clear, plain):
        plain.send(content(size))
        plain.shutdown(socket.SHUT_WR)
        in_clear = await receive_file(clear, tmp_path / "other")
    assert (tmp_path / "new").read_bytes() == content(size)
    assert without_tls(result) == without_tls(in_clear)
    assert result.tls_version
    assert result.tls_cipher
    assert result.tls_resumed is False


def socket_of(endpoint: Endpoint) -> socket.socket:
    """Return the socket of an endpoint."""

    assert endpoint._link is not None
    return endpoint._link.sock


@VERSIONS
@pytest.mark.parametrize(
    "hindrance", ["not cached", "not acknowledged", "full buffer", "almost full", "throttle"]
)
async def test_the_way_on_in_tls(
    version: ssl.TLSVersion,
    hindrance: str,
    file: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every byte and the announced end are sent once, however much was already sent."""

    monkeypatch.setattr(_delivery, "ANSWER_PATIENCE", 30)
    options: dict[str, Any] = {}
    buffers: dict[str, Any] = {}
    if hindrance == "not cached":
        monkeypatch.setattr(direct, "read_cached", lambda *_: None)
    elif hindrance == "not acknowledged":
        monkeypatch.setattr(direct, "_await_delivery", refuse)
    elif hindrance == "full buffer":
        # Nothing waits for room in the socket.
        monkeypatch.setattr(direct, "MOMENT", 0.0)
        buffers = {"send_buffer": 4096, "receive_buffer": 4096}
    elif hindrance == "almost full":
        # There is room for all data, but not for the announced end.
        monkeypatch.setattr(direct._Sending, "_push", push_nearly_all)
        monkeypatch.setattr(direct, "read_cached", all_in_memory)
    else:
        now = asyncio.get_running_loop().time()
        options = {"throttle": TokenBucket(10 * DIRECT_LIMIT, burst=DIRECT_LIMIT // 2, now=now)}
    async with protected(version, **buffers) as (endpoint, peer):
        taking = asyncio.ensure_future(take_and_answer(peer))
        async with asyncio.timeout(60):
            result = await send_file(endpoint, file, length=DIRECT_LIMIT, **options)
        assert await taking == content(DIRECT_LIMIT)
        assert endpoint.made == 1
    assert result.end is End.CLEAN
    assert result.fast_path is not FastPath.DIRECT
    assert (result.bytes, result.file_bytes) == (DIRECT_LIMIT, DIRECT_LIMIT)
    assert result.tls_version


async def push_nearly_all(self: Any, data: bytes, *, is_end: bool) -> int:
    """Stand in for a socket that has no room for the last bytes, and no time to wait for room."""

    assert is_end
    # On the second call only the last bytes are left.
    return int(self._link.sock.send(data[:-5])) if len(data) > 5 else 0


async def refuse(*_: object) -> None:
    """Stand in for a check that has seen no acknowledgement."""


def look_that_waits_for(monkeypatch: pytest.MonkeyPatch, what: Callable[[], Any]) -> None:
    """Wait for something to happen before the shortest way is left without an acknowledgement."""

    async def look(*_: object) -> None:
        await what()

    monkeypatch.setattr(direct, "_await_delivery", look)
    monkeypatch.setattr(direct, "read_cached", all_in_memory)


@ONLY_LINUX
@VERSIONS
@pytest.mark.parametrize("goodbye", ["close_notify", "end of file", "close"])
async def test_a_peer_that_has_all_may_leave_before_the_way_on_begins(
    version: ssl.TLSVersion, goodbye: str, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a peer has every byte: the download is complete, with or without its announced end."""

    async with protected(version) as (endpoint, peer):

        async def leave() -> None:
            assert await peer.receive_all() == content(1000)
            if goodbye == "close_notify":
                await peer.put(peer.close_notify())
            elif goodbye == "end of file":
                peer.sock.shutdown(socket.SHUT_WR)
            else:
                peer.sock.close()

        look_that_waits_for(monkeypatch, leave)
        async with peer_task(peer.handshake()):
            result = await send_file(endpoint, file, length=1000)
    assert (result.end, result.bytes) == (End.CLEAN, 1000)


@ONLY_LINUX
@VERSIONS
@pytest.mark.parametrize("goodbye", ["close_notify", "end of file", "reset"])
async def test_a_peer_that_leaves_before_it_has_all_has_no_whole_file(
    version: ssl.TLSVersion, goodbye: str, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds even if it announces its end before the plain way begins.

    Who has only ended its own direction may still read, so it is a stall that ends the transfer.
    """

    buffers: dict[str, Any] = {"send_buffer": 1 << 20, "receive_buffer": 4096}
    deadlines = Deadlines(close=0.2, stall=0.3)
    async with protected(version, deadlines=deadlines, **buffers) as (endpoint, peer):

        async def leave() -> None:
            await handshake
            if goodbye == "close_notify":
                await peer.put(peer.close_notify())
            elif goodbye == "end of file":
                peer.sock.shutdown(socket.SHUT_WR)
            else:
                reset(peer.sock)

        look_that_waits_for(monkeypatch, leave)
        async with peer_task(peer.handshake()) as handshake:
            with pytest.raises(FTPDataError) as caught:
                await send_file(endpoint, file, length=DIRECT_LIMIT, deadlines=deadlines)
    assert caught.value.reply_code == 426
    assert caught.value.end is (End.RESET if goodbye == "reset" else End.STALLED)


@pytest.mark.usefixtures("no_hurry")
@ONLY_LINUX
@VERSIONS
async def test_a_reset_after_a_complete_download(
    version: ssl.TLSVersion, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download is complete, since the peer has its file."""

    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    delivered = direct._await_delivery
    async with protected(version) as (endpoint, peer):

        async def is_delivered(*arguments: Any) -> bool:
            while not await delivered(*arguments):
                pass
            reset(peer.sock)
            return True

        monkeypatch.setattr(direct, "_await_delivery", is_delivered)
        async with peer_task(peer.handshake()):
            result = await send_file(endpoint, file, length=1000)
    assert (result.end, result.fast_path) == (End.CLEAN, FastPath.DIRECT)


# Larger files, which are sent for as long as the peer takes them at once

LARGE = [DIRECT_LIMIT + 1, 5 * DIRECT_LIMIT + 3, SENDFILE_LIMIT]


def read_large(_: int, count: int, position: int) -> bytes:
    """Return what is at a place of the file."""

    return content(SENDFILE_LIMIT)[position : position + count]


@pytest.fixture
def large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Return a file of `SENDFILE_LIMIT` bytes, which is in memory, however busy the machine is."""

    monkeypatch.setattr(direct, "is_in_memory", lambda *_, **__: True)
    monkeypatch.setattr(direct, "read_cached", read_large)
    monkeypatch.setattr(direct, "MOMENT", 10.0)
    path = tmp_path / "large"
    path.write_bytes(content(SENDFILE_LIMIT))
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.usefixtures("no_hurry")
@ONLY_LINUX
@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("buffers", [{}, {"send_buffer": 4096, "receive_buffer": 4096}])
async def test_a_larger_file_needs_no_transport(
    size: int, buffers: dict[str, int], large_file: int
) -> None:
    """The transfer waits for room for as long as room soon appears."""

    async with pair(**buffers) as (endpoint, peer), asyncio.timeout(60):
        reading = asyncio.ensure_future(receive_all(peer))
        result = await send_file(
            endpoint, large_file, offset=SENDFILE_LIMIT - size, length=size
        )
        assert await reading == content(SENDFILE_LIMIT)[-size:]
    assert (result.end, result.fast_path) == (End.CLEAN, FastPath.DIRECT)
    assert (result.bytes, result.file_bytes) == (size, size)
    assert result.offset == SENDFILE_LIMIT - size


@pytest.mark.usefixtures("no_hurry")
@ONLY_LINUX
@VERSIONS
@pytest.mark.parametrize("buffers", [{}, {"send_buffer": 4096, "receive_buffer": 4096}])
async def test_a_larger_file_in_tls_needs_no_transport(
    version: ssl.TLSVersion, buffers: dict[str, Any], large_file: int
) -> None:
    """The file goes out in pieces, with one announced end after the last."""

    size = PROTECTED_LIMIT
    async with protected(version, **buffers) as (endpoint, peer), asyncio.timeout(60):
        taking = asyncio.ensure_future(take_and_answer(peer))
        result = await send_file(endpoint, large_file, length=size)
        assert await taking == content(size)
        assert endpoint.made == 0
    assert (result.end, result.fast_path) == (End.CLEAN, FastPath.DIRECT)
    assert (result.bytes, result.file_bytes) == (size, size)


@ONLY_LINUX
@pytest.mark.parametrize("hindrance", ["slow peer", "on a disk", "throttle", "too large"])
@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_way_on_of_a_larger_file(
    version: ssl.TLSVersion | None,
    hindrance: str,
    large_file: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every byte is sent once, whatever was already sent."""

    size = SENDFILE_LIMIT if version is None else PROTECTED_LIMIT
    options: dict[str, Any] = {}
    buffers: dict[str, Any] = {"send_buffer": 32 * 1024, "receive_buffer": 4096}
    if hindrance == "slow peer":
        monkeypatch.setattr(direct, "MOMENT", 0.01)
    elif hindrance == "on a disk":
        monkeypatch.setattr(direct, "is_in_memory", lambda *_, **__: False)
    elif hindrance == "throttle":
        now = asyncio.get_running_loop().time()
        options = {"throttle": TokenBucket(20 * size, burst=size // 2, now=now)}
    else:
        monkeypatch.setattr(direct, "SENDFILE_LIMIT", size - 1)
        monkeypatch.setattr(direct, "PROTECTED_LIMIT", size - 1)

    async def be_slow() -> None:
        if hindrance == "slow peer":
            # Wait until everything that was sent at once has been received.
            await asyncio.sleep(0.1)

    async def take(peer: socket.socket) -> bytes:
        await be_slow()
        return await receive_all(peer)

    async def take_protected(peer: TLSPeer) -> bytes:
        await peer.handshake()
        await be_slow()
        data = await peer.receive_all()
        await peer.put(peer.close_notify())
        return data

    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(60))
        endpoint: AcceptedEndpoint
        if version is None:
            endpoint, plain = await stack.enter_async_context(pair(**buffers))
            taking = asyncio.ensure_future(take(plain))
        else:
            endpoint, peer = await stack.enter_async_context(protected(version, **buffers))
            taking = asyncio.ensure_future(take_protected(peer))
        result = await send_file(endpoint, large_file, length=size, **options)
        assert await taking == content(size)
    assert result.end is End.CLEAN
    assert result.fast_path is not FastPath.DIRECT
    assert (result.bytes, result.file_bytes) == (size, size)


@ONLY_LINUX
@pytest.mark.parametrize("pieces", [0, 1, 2])
async def test_a_file_that_leaves_memory_goes_on_in_tls(
    pieces: int, large_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pieces that were in memory are sent first; the rest follows on the plain way."""

    left = pieces

    def read(fd: int, count: int, position: int) -> bytes | None:
        nonlocal left
        left -= 1
        return read_large(fd, count, position) if left >= 0 else None

    monkeypatch.setattr(direct, "read_cached", read)
    async with protected() as (endpoint, peer), asyncio.timeout(60):
        taking = asyncio.ensure_future(take_and_answer(peer))
        result = await send_file(endpoint, large_file, length=PROTECTED_LIMIT)
        assert await taking == content(PROTECTED_LIMIT)
        assert endpoint.made == 1
    assert (result.end, result.bytes, result.file_bytes) == (
        *(End.CLEAN, PROTECTED_LIMIT),
        PROTECTED_LIMIT,
    )


@ONLY_LINUX
async def test_a_larger_file_that_shrinks(large_file: int) -> None:
    """If the file shrinks while it is sent, the peer sees no end of file."""

    async with pair(send_buffer=4096, receive_buffer=4096) as (endpoint, peer):
        sending = asyncio.ensure_future(
            send_file(endpoint, large_file, length=SENDFILE_LIMIT, expected_size=SENDFILE_LIMIT)
        )
        await asyncio.get_running_loop().sock_recv(peer, 1)
        path = f"/proc/self/fd/{large_file}"
        os.truncate(path, SENDFILE_LIMIT // 2)
        reading = asyncio.ensure_future(read_until_cut(peer))
        with pytest.raises(FTPDataError) as caught:
            await sending
        assert (await reading)[1]
    assert caught.value.end is End.SIZE_MISMATCH


async def test_what_was_promised_is_checked(file: int) -> None:
    """The promised size is checked before anything is sent, on every way."""

    async with pair() as (endpoint, peer):
        with pytest.raises(SizeMismatch):
            await send_file(endpoint, file, length=10, expected_size=20)
        assert (await read_until_cut(peer)) == (b"", True)
    async with pair() as (endpoint, peer):
        result = await send_file(endpoint, file, length=10, expected_size=10)
        assert await receive_all(peer) == content(10)
    assert result.bytes == 10


@ONLY_LINUX
@pytest.mark.parametrize("moment", ["reset", "aborted"])
async def test_a_larger_file_that_is_cut(moment: str, large_file: int) -> None:
    """Either side may cut it while there is no room; unsent bytes go back to the throttle."""

    now = asyncio.get_running_loop().time()
    throttle = TokenBucket(1.0, burst=SENDFILE_LIMIT, now=now)
    async with pair(send_buffer=4096, receive_buffer=4096) as (endpoint, peer):
        sending = asyncio.ensure_future(
            send_file(endpoint, large_file, length=SENDFILE_LIMIT, throttle=throttle)
        )
        await asyncio.get_running_loop().sock_recv(peer, 1)
        await turns()
        if moment == "reset":
            reset(peer)
        else:
            endpoint.abort(End.ABORTED, "no more")
        async with asyncio.timeout(60):
            with pytest.raises(FTPDataError) as caught:
                await sending
    assert caught.value.end is (End.RESET if moment == "reset" else End.ABORTED)
    assert caught.value.reply_code == 426
    result = caught.value.result
    assert result is not None
    assert 0 < result.bytes < SENDFILE_LIMIT
    assert throttle.reserve(SENDFILE_LIMIT - result.bytes - 4096, now) == 0


@ONLY_LINUX
async def test_a_larger_download_can_be_cancelled_anywhere(large_file: int) -> None:
    """A download can also be cancelled while it waits for room."""

    async def scenario() -> None:
        sock, peer = await tcp_pair(send_buffer=4096, receive_buffer=4096)
        reading = asyncio.ensure_future(receive_all(peer))
        try:
            await send_file(AcceptedEndpoint(sock), large_file, length=2 * DIRECT_LIMIT)
        finally:
            reading.cancel()
            try:
                await asyncio.wait((reading,))
            finally:
                peer.close()

    assert await sweep(scenario) >= 3


@pytest.mark.usefixtures("no_hurry")
@ONLY_LINUX
@pytest.mark.usefixtures("no_hurry")
async def test_nobody_waits_for_a_peer_that_closes_after_the_reply(
    large_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transfer checks repeatedly until the peer's kernel has everything."""

    monkeypatch.setattr(direct, "DELIVERY_MOMENT", 30.0)
    looks: list[object] = []

    def unacknowledged(sock: object) -> Sight:
        looks.append(sock)
        return Sight(1 if len(looks) < 4 else 0)

    monkeypatch.setattr(_link, "sight_of", unacknowledged)
    async with pair() as (endpoint, peer), asyncio.timeout(60):
        reading = asyncio.ensure_future(receive_all(peer))
        result = await send_file(endpoint, large_file, length=2 * DIRECT_LIMIT)
        await reading
    assert result.fast_path is FastPath.DIRECT
    assert len(looks) == 4


@pytest.mark.usefixtures("no_hurry")
async def test_nobody_waits_for_an_answer(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transfer is over once the peer has everything, whether it ever ends TLS or not."""

    monkeypatch.setattr(_delivery, "ANSWER_PATIENCE", 3600.0)
    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    monkeypatch.setattr(TLSChannel, "undelivered", lambda *_: 0)
    async with (
        protected(deadlines=Deadlines(close=None)) as (endpoint, peer),
        peer_task(peer.handshake()),
        asyncio.timeout(60),
    ):
        result = await send_file(endpoint, file, length=1000)
        assert endpoint.is_lingering
    assert (result.end, result.fast_path) == (End.CLEAN, FastPath.DIRECT)


@ONLY_LINUX
@pytest.mark.parametrize("closes", [True, False])
async def test_a_tiny_file_is_acknowledged_late(
    closes: bool, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer's kernel acknowledges a tiny file late, and the transfer waits for that."""

    has_closed = False

    def unacknowledged(_: object) -> Sight:
        return Sight(0 if has_closed else 11)

    async def take(peer: socket.socket) -> bytes:
        nonlocal has_closed
        data = await asyncio.get_running_loop().sock_recv(peer, 100)
        if closes:
            has_closed = True
            peer.close()
        return data

    monkeypatch.setattr(_link, "sight_of", unacknowledged)
    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    async with pair() as (endpoint, peer):
        taking = asyncio.ensure_future(take(peer))
        result = await send_file(endpoint, file, length=10)
        assert await taking == content(10)
    assert result.fast_path is (FastPath.DIRECT if closes else FastPath.NONE)
    assert (result.end, result.bytes) == (End.CLEAN, 10)


# Whole listings


def lines_of(size: int) -> ListingBlock:
    """Return a listing of the given number of bytes."""

    return ListingBlock((b"a line of a listing\r\n" * (size // 20 + 1))[:size])


@pytest.mark.usefixtures("no_hurry")
@ONLY_LINUX
@pytest.mark.parametrize("protect", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1024, DIRECT_LIMIT])
async def test_a_whole_listing_takes_the_shortest_way(
    size: int, protect: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result and what the peer receives are those of the plain way."""

    monkeypatch.setattr(_link, "sight_of", lambda _: Sight(0))
    monkeypatch.setattr(TLSChannel, "undelivered", lambda *_: 0)
    told: list[tuple[int, int | None]] = []
    lines = lines_of(size)
    if protect:
        async with protected() as (endpoint, tls_peer):
            taking = asyncio.ensure_future(take_and_answer(tls_peer))
            result = await send_listing(endpoint, lines, progress=lambda *how: told.append(how))
            assert await taking == lines
            assert endpoint.made == 0
    else:
        async with pair() as (endpoint, peer):
            result = await send_listing(endpoint, lines, progress=lambda *how: told.append(how))
            assert await receive_all(peer) == lines
    assert told == [(size, None)]
    async with pair() as (endpoint, peer):
        plain = await send_listing(endpoint, [lines])
        assert await receive_all(peer) == lines
    assert result.fast_path is FastPath.DIRECT
    expected = attrs.evolve(without_tls(plain), fast_path=FastPath.DIRECT)
    assert without_tls(result) == expected


@pytest.mark.parametrize("hindrance", ["late", "full buffer", "too long", "EBCDIC", "a DTP"])
async def test_a_whole_listing_on_the_plain_way(
    hindrance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte is sent once, whatever was already sent."""

    monkeypatch.setattr(direct, "_await_delivery", refuse)
    size = DIRECT_LIMIT + (hindrance == "too long")
    lines = lines_of(size)
    parameters = TransferParameters()
    buffers: dict[str, Any] = {}
    if hindrance == "full buffer":
        buffers = {"send_buffer": 4096, "receive_buffer": 4096}
    elif hindrance == "EBCDIC":
        parameters = TransferParameters(type=RepresentationType.EBCDIC)
    async with pair(**buffers) as (endpoint, peer):
        taking = asyncio.ensure_future(receive_all(peer))
        connection = await endpoint.open() if hindrance == "a DTP" else endpoint
        result = await send_listing(connection, lines, parameters=parameters)
        received = await taking
    if hindrance == "EBCDIC":
        assert received != lines
    else:
        assert received == lines
        assert result.bytes == size
    assert (result.end, result.file_bytes, result.fast_path) == (End.CLEAN, size, FastPath.NONE)


# Connections that linger


async def lingering(
    endpoint: Endpoint, peer: TLSPeer, file: int, monkeypatch: pytest.MonkeyPatch
) -> TransferResult:
    """Send a small file to a peer that reads it, and sends nothing."""

    monkeypatch.setattr(TLSChannel, "undelivered", lambda *_: 0)
    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    async with peer_task(peer.handshake()):
        result = await send_file(endpoint, file, length=1000)
    assert (result.end, result.fast_path) == (End.CLEAN, FastPath.DIRECT)
    assert result.tls_version
    assert endpoint.is_lingering
    return result


async def turn_until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until a condition holds, a bounded number of times."""

    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - no event reports it
            await asyncio.sleep(0)


@pytest.mark.usefixtures("no_hurry")
@VERSIONS
async def test_a_peer_may_end_tls_after_the_result(
    version: ssl.TLSVersion, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer may send its close_notify until the endpoint is closed, and sees no reset."""

    async with protected(version) as (endpoint, peer):
        await lingering(endpoint, peer, file, monkeypatch)
        sock = socket_of(endpoint)
        assert await peer.receive_all() == content(1000)
        await peer.put(peer.close_notify())
        await endpoint.aclose()
        await turn_until(lambda: sock.fileno() == -1)
        assert not endpoint.is_lingering
        assert await asyncio.get_running_loop().sock_recv(peer.sock, 1) == b""
        await endpoint.aclose()


@pytest.mark.usefixtures("no_hurry")
async def test_it_does_not_linger_for_long(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lingering connection closes by itself when its time is over."""

    monkeypatch.setattr(_delivery, "ANSWER_PATIENCE", 0.02)
    async with protected() as (endpoint, peer):
        await lingering(endpoint, peer, file, monkeypatch)
        sock = socket_of(endpoint)
        await turn_until(lambda: sock.fileno() == -1)
        assert not endpoint.is_lingering


@pytest.mark.usefixtures("no_hurry")
async def test_what_lingers_may_be_aborted(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An aborted connection closes at once; the peer has the announced end, then an end of file."""

    async with protected() as (endpoint, peer):
        await lingering(endpoint, peer, file, monkeypatch)
        sock = socket_of(endpoint)
        endpoint.abort()
        assert sock.fileno() == -1
        assert not endpoint.is_lingering
        assert await peer.receive_all() == content(1000)


@pytest.mark.usefixtures("no_hurry")
async def test_what_is_not_delivered_does_not_linger(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transfer waits for the delivery; a peer's answer acknowledges it, but is not needed."""

    has_arrived = False

    def undelivered(*_: object) -> int:
        return 0 if has_arrived else 1

    monkeypatch.setattr(TLSChannel, "undelivered", undelivered)
    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    monkeypatch.setattr(direct, "DELIVERY_MOMENT", 30.0)
    async with protected() as (endpoint, peer):
        async with peer_task(peer.handshake()) as handshake:
            sending = asyncio.ensure_future(send_file(endpoint, file, length=1000))
            await handshake
            assert await peer.receive_all() == content(1000)
            await turns()
            assert not sending.done()
            has_arrived = True
            assert (await sending).fast_path is FastPath.DIRECT
        assert endpoint.is_lingering


async def test_nothing_lingers_in_clear(file: int) -> None:
    """In clear there is no close_notify to wait for."""

    async with pair() as (endpoint, peer):
        await send_file(endpoint, file, length=1000)
        assert await receive_all(peer) == content(1000)
        assert not endpoint.is_lingering


@needs_cryptography
async def test_records_without_data_take_no_turns(tmp_path: Path) -> None:
    """Repeated key updates are not data: each check reads only once."""

    context = client_context(ssl.TLSVersion.TLSv1_3)
    context.keylog_filename = str(tmp_path / "keys")
    async with protected(context=context) as (endpoint, peer):
        async with peer_task(peer.handshake()) as handshake:
            link = await link_of(endpoint)
            await handshake
        writer = RecordWriter(tmp_path / "keys")
        updates = b"".join(writer.key_update(requested=True) for _ in range(5000))
        await peer.put(updates + writer.data(b"data"))
        looks = 0
        while True:
            try:
                data, has_ended = link.receive()
            except BlockingIOError:
                looks += 1
                await link.wait_readable(5)
            else:
                break
        assert (data, has_ended) == (b"data", False)
        assert looks >= len(updates) // DIRECT_LIMIT


@VERSIONS
@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("size", [0, 1000, DIRECT_LIMIT + 1])
async def test_an_upload_without_an_announced_end_is_cut(
    version: ssl.TLSVersion, cut: Cut, size: int, tmp_path: Path
) -> None:
    """The upload ends with 426, and nothing of it is published."""

    async with protected(version) as (endpoint, peer):

        async def sending() -> None:
            await peer.handshake()
            await send_then_cut(peer.sock, peer.record(content(size)) if size else b"", cut)

        async with peer_task(sending()):
            with pytest.raises(FTPDataError) as caught:
                await receive_file(endpoint, tmp_path / "new")
    assert caught.value.reply_code == 426
    assert caught.value.end is (End.RESET if cut is Cut.RESET else End.TLS_TRUNCATED)
    assert not names(tmp_path)


async def test_an_upload_without_an_announced_end_where_the_host_allows_it(tmp_path: Path) -> None:
    """The upload is complete."""

    async with protected(strict_close=False) as (endpoint, peer):

        async def sending() -> None:
            await peer.handshake()
            await send_then_cut(peer.sock, peer.record(content(1000)), Cut.CLOSE)

        async with peer_task(sending()):
            result = await receive_file(endpoint, tmp_path / "new")
    assert result.end is End.CLEAN
    assert (tmp_path / "new").read_bytes() == content(1000)


@VERSIONS
async def test_an_upload_with_a_bad_record(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """The upload is cut, however much valid data came before the bad record."""

    async with protected(version) as (endpoint, peer):

        async def sending() -> None:
            await peer.handshake()
            await peer.put(peer.record(b"good") + b"\x17\x03\x03\x00\x20" + bytes(32))

        async with peer_task(sending()):
            # The wording depends on the version of OpenSSL.
            words = r"(?i)bad record mac|record layer failure"
            with pytest.raises(FTPDataError, match=words) as caught:
                await receive_file(endpoint, tmp_path / "new")
    assert caught.value.reply_code == 426
    assert caught.value.end is End.LOST
    assert not names(tmp_path)


@VERSIONS
@pytest.mark.parametrize("size", [DIRECT_LIMIT, DIRECT_LIMIT + 1, 5 * DIRECT_LIMIT])
async def test_a_larger_upload_in_tls(version: ssl.TLSVersion, size: int, tmp_path: Path) -> None:
    """A larger upload goes on in the ordinary way."""

    async with protected(version) as (endpoint, peer):

        async def sending() -> None:
            await peer.handshake()
            await peer.put(peer.record(content(size)) + peer.close_notify())

        async with peer_task(sending()):
            result = await receive_file(endpoint, tmp_path / "new")
    assert (result.end, result.bytes) == (End.CLEAN, size)
    assert result.tls_version
    assert (tmp_path / "new").read_bytes() == content(size)


@pytest.mark.parametrize(
    ("cut_at", "end"),
    [(0, End.FIRST_BYTE_TIMEOUT), (500, End.FIRST_BYTE_TIMEOUT), (-1, End.STALLED)],
)
async def test_an_upload_in_tls_that_stalls(cut_at: int, end: End, tmp_path: Path) -> None:
    """Whether it stalls between two records or within one, it has the deadlines of any transfer."""

    async with protected() as (endpoint, peer):

        async def sending() -> None:
            await peer.handshake()
            record = peer.record(content(1000))
            await peer.put(record[:cut_at] if cut_at >= 0 else record)

        async with peer_task(sending()):
            with pytest.raises(FTPDataError) as caught:
                await receive_file(
                    endpoint, tmp_path / "new", deadlines=Deadlines(first_byte=0.05, stall=0.05)
                )
    assert caught.value.end is end
    assert not names(tmp_path)


async def test_a_download_in_tls_that_stalls(file: int) -> None:
    """A download is given up when its peer has read nothing for as long as the deadline allows."""

    limits = Deadlines(close=30, stall=0.1)
    buffers: dict[str, Any] = {"send_buffer": 4096, "receive_buffer": 4096}
    async with (
        protected(deadlines=limits, **buffers) as (endpoint, peer),
        peer_task(peer.handshake()),
    ):
        with pytest.raises(FTPDataError) as caught:
            await send_file(endpoint, file, length=DIRECT_LIMIT, deadlines=limits)
    assert caught.value.end is End.STALLED
    assert caught.value.reply_code == 426


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("directly", [True, False])
async def test_a_download_in_tls_can_be_cancelled_anywhere(
    answers: bool, directly: bool, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cancelled at each suspension: in the handshake and on both ways."""

    monkeypatch.setattr(_delivery, "ANSWER_PATIENCE", 0.02)
    monkeypatch.setattr(_delivery, "ANSWER_PATIENCE", 0.02)
    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    if directly:
        monkeypatch.setattr(TLSChannel, "undelivered", lambda *_: 0)
    else:
        monkeypatch.setattr(direct, "_await_delivery", refuse)
    server = DataTLS.for_server(server_certificate().session_context())
    client = client_context()

    async def scenario() -> None:
        sock, there = await tcp_pair()
        with there:
            peer = TLSPeer(there, client)
            async with peer_task(take_and_answer(peer) if answers else peer.handshake()):
                await send_file(AcceptedEndpoint(sock, tls=server), file, length=1000)

    assert await sweep(scenario) >= 4


@pytest.mark.parametrize("size", [1000, 2 * DIRECT_LIMIT])
async def test_an_upload_in_tls_can_be_cancelled_anywhere(size: int, tmp_path: Path) -> None:
    """An upload cancelled at any suspension leaves neither a descriptor nor a hidden file."""

    server = DataTLS.for_server(server_certificate().session_context())
    client = client_context()

    async def scenario() -> None:
        sock, there = await tcp_pair()
        with there:
            peer = TLSPeer(there, client)

            async def sending() -> None:
                await peer.handshake()
                await peer.put(peer.record(content(size)) + peer.close_notify())

            async with peer_task(sending()):
                await receive_file(AcceptedEndpoint(sock, tls=server), tmp_path / "new")

    async def nothing_hidden() -> None:
        assert set(await asyncio.to_thread(names, tmp_path)) <= {"new"}

    assert await sweep(scenario, check=nothing_hidden) >= 3


@pytest.mark.parametrize("moment", ["handshake", "sent"])
async def test_a_download_in_tls_can_be_aborted_through_its_endpoint(
    moment: str, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be aborted in each of its phases, and the error is the given reason."""

    monkeypatch.setattr(direct, "read_cached", all_in_memory)
    reached = asyncio.Event()
    async with protected() as (endpoint, peer):

        def undelivered(*_: object) -> int:
            reached.set()
            if moment == "sent":
                endpoint.abort(End.ABORTED, "no more")
            return moment == "sent"

        monkeypatch.setattr(TLSChannel, "undelivered", undelivered)
        sending = asyncio.ensure_future(send_file(endpoint, file, length=1000))
        for _ in range(3):
            await asyncio.sleep(0)
        if moment != "handshake":
            await peer.handshake()
            await peer.receive_all()
        if moment == "sent":
            await reached.wait()
        else:
            for _ in range(3):
                await asyncio.sleep(0)
            endpoint.abort(End.ABORTED, "no more")
        with pytest.raises(FTPDataError, match="no more") as caught:
            await sending
        assert caught.value.result is not None
        assert caught.value.result.end is End.ABORTED
        assert endpoint.made == 0


@pytest.mark.parametrize("moment", ["handshake", "waiting", "running"])
async def test_an_upload_in_tls_can_be_aborted_through_its_endpoint(
    moment: str, tmp_path: Path
) -> None:
    """It can be aborted in each of its phases; nothing is published."""

    async with protected() as (endpoint, peer):
        receiving = asyncio.ensure_future(receive_file(endpoint, tmp_path / "new"))
        for _ in range(3):
            await asyncio.sleep(0)
        if moment != "handshake":
            await peer.handshake()
            await peer.send(b"data")
            while moment == "running" and not endpoint.made:  # noqa: ASYNC110 - no event reports it
                await asyncio.sleep(0.001)
            for _ in range(3):
                await asyncio.sleep(0)
        endpoint.abort(End.ABORTED, "no more")
        with pytest.raises(FTPDataError, match="no more") as caught:
            await receiving
        assert caught.value.result is not None
        assert caught.value.result.end is End.ABORTED
    assert not names(tmp_path)


# Peers that leave while the store is slow


@ONLY_LINUX
@pytest.mark.parametrize("protect", [False, True])
@pytest.mark.parametrize("what", ["stream", "listing"])
@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_slow_store_works_on_for_nobody(what: str, has_begun: bool, protect: bool) -> None:
    """Its generator is closed and the transfer fails, although the store never writes again."""

    is_closed = False
    is_waiting = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        nonlocal is_closed
        try:
            if has_begun:
                yield b"data"
            is_waiting.set()
            await asyncio.Event().wait()
            yield b"never"
        finally:
            is_closed = True

    send = send_stream if what == "stream" else send_listing
    async with contextlib.AsyncExitStack() as stack:
        if protect:
            endpoint, tls_peer = await stack.enter_async_context(protected())
            sock = tls_peer.sock
            await stack.enter_async_context(peer_task(tls_peer.handshake()))
        else:
            endpoint, sock = await stack.enter_async_context(pair())
        sending = asyncio.ensure_future(send(endpoint, slow()))
        await is_waiting.wait()
        sock.shutdown(socket.SHUT_WR)
        await turns(50)
        assert not sending.done()
        reset(sock)
        async with asyncio.timeout(60):
            with pytest.raises(FTPDataError) as caught:
                await sending
    assert caught.value.end is End.RESET
    assert caught.value.reply_code == 426
    assert is_closed
