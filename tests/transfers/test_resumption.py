"""Uploads are cut in every way and resumed: what arrived stays, and old and new never mix."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from ftpdata.deadlines import Deadlines
from ftpdata.errors import BadArgument, FTPDataError
from ftpdata.files import PartOwner
from ftpdata.opening._link import Link
from ftpdata.opening.endpoint import AcceptedEndpoint, Endpoint
from ftpdata.outcome import End
from ftpdata.parameters import TransferParameters
from ftpdata.testing import half_close, reset, tcp_pair
from ftpdata.tls.policy import DataTLS
from ftpdata.transfers import _direct as direct
from ftpdata.transfers import receive_file
from tests.harness.connections import send_all
from tests.harness.seams import Seams
from tests.harness.tls import TLSPeer, client_context, server_certificate
from tests.harness.waiting import until

OLD = b"what was there before"
NEW = bytes(i * 7 % 251 for i in range(1_500_000))


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[Endpoint, socket.socket]]:
    """Yield an endpoint, and its peer's socket."""

    sock, peer = await tcp_pair()
    async with AcceptedEndpoint(sock) as endpoint:
        try:
            yield endpoint, peer
        finally:
            peer.close()


def names(directory: Path) -> list[str]:
    """Return the names of the files in a directory, including hidden ones."""

    return sorted(path.name for path in directory.iterdir())


def part_in(directory: Path) -> bytes | None:
    """Return the content of the only part in a directory, or None if there is no part."""

    for path in directory.glob(".ftpdata-part.*"):
        # The part may be published at this very moment.
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
    return None


@attrs.frozen
class Upload:
    """An upload that is running."""

    endpoint: Endpoint
    peer: socket.socket
    task: asyncio.Task[Any]
    directory: Path

    async def send(self, data: bytes) -> None:
        """Send more data."""

        await asyncio.get_running_loop().sock_sendall(self.peer, data)

    async def arrived(self, size: int) -> None:
        """Wait until the part has that many bytes."""

        await until(lambda: len(part_in(self.directory) or b"") >= size)


async def by_reset(upload: Upload) -> None:
    """Have the peer reset the connection."""

    reset(upload.peer)


async def by_abort(upload: Upload) -> None:
    """Have the host abort the transfer."""

    upload.endpoint.abort(End.ABORTED, "ABOR")


async def by_cancellation(upload: Upload) -> None:
    """Have the host cancel the task."""

    upload.task.cancel()


async def by_silence(upload: Upload) -> None:
    """Do nothing: the deadline of the upload is short."""


CUTS = [by_reset, by_abort, by_cancellation, by_silence]


@contextlib.asynccontextmanager
async def uploading(directory: Path, ann: PartOwner, **options: Any) -> AsyncIterator[Upload]:
    """Run an upload."""

    async with pair() as (endpoint, peer):
        task = asyncio.ensure_future(
            receive_file(endpoint, directory / "file", resume=ann, **options)
        )
        try:
            yield Upload(endpoint, peer, task, directory)
        finally:
            task.cancel()
            with contextlib.suppress(FTPDataError, asyncio.CancelledError):
                await task


@pytest.mark.parametrize("size", [1, 100_000, 700_000, 1_400_000])
@pytest.mark.parametrize("old", [None, OLD])
@pytest.mark.parametrize("cut", CUTS)
async def test_what_came_is_gone_on_with(
    tmp_path: Path,
    ann: PartOwner,
    cut: Callable[[Upload], Awaitable[None]],
    *,
    old: bytes | None,
    size: int,
) -> None:
    """However the upload was cut, the rest completes it, and the old file stays until then."""

    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    deadlines = Deadlines(stall=0.2) if cut is by_silence else Deadlines()
    async with uploading(tmp_path, ann, deadlines=deadlines) as upload:
        await upload.send(NEW[:size])
        await upload.arrived(size)
        await cut(upload)
        with pytest.raises((FTPDataError, asyncio.CancelledError)):
            await upload.task

    assert (path.read_bytes() if path.exists() else None) == old
    assert part_in(tmp_path) == NEW[:size]
    offset = size - 1
    async with uploading(tmp_path, ann, offset=offset) as upload:
        await send_all(upload.peer, NEW[offset:])
        result = await upload.task
    assert (result.offset, result.file_bytes) == (offset, len(NEW) - offset)
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["file"]


async def test_an_end_that_tls_has_not_announced(tmp_path: Path, ann: PartOwner) -> None:
    """Without a close_notify the connection was cut, and what came is kept."""

    sock, there = await tcp_pair()
    tls = DataTLS.for_server(server_certificate().session_context())
    async with AcceptedEndpoint(sock, tls=tls) as endpoint:
        task = asyncio.ensure_future(receive_file(endpoint, tmp_path / "file", resume=ann))
        peer = TLSPeer(there, client_context())
        await peer.handshake()
        await peer.send(NEW[:1000])
        await until(lambda: part_in(tmp_path) == NEW[:1000])
        half_close(there)
        with pytest.raises(FTPDataError) as caught:
            await task
    there.close()
    assert caught.value.end is End.TLS_TRUNCATED
    assert part_in(tmp_path) == NEW[:1000]


async def test_what_is_reset_at_once_is_kept(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that the direct way received before a reset are written."""

    received: list[bytes] = []
    real = Link.receive

    def receive(link: Link) -> tuple[bytes, bool]:
        data, has_ended = real(link)
        received.append(data)
        return data, has_ended

    monkeypatch.setattr(direct, "MOMENT", 60.0)
    monkeypatch.setattr(Link, "receive", receive)
    async with uploading(tmp_path, ann) as upload:
        await upload.send(NEW[:1000])
        await until(lambda: received == [NEW[:1000]])
        reset(upload.peer)
        with pytest.raises(FTPDataError) as caught:
            await upload.task
    assert caught.value.end is End.RESET
    assert part_in(tmp_path) == NEW[:1000]


async def test_a_disk_that_is_full(
    tmp_path: Path, ann: PartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is good, and stays."""

    async with uploading(tmp_path, ann) as upload:
        await upload.send(NEW[:1000])
        await upload.arrived(1000)
        failed = Seams(monkeypatch).fail("write", 1, errno.ENOSPC)
        await upload.send(NEW[1000:2000])
        with pytest.raises(FTPDataError) as caught:
            await upload.task
    assert failed
    assert caught.value.reply_code == 452
    assert part_in(tmp_path) == NEW[:1000]


async def test_fewer_bytes_than_were_promised(tmp_path: Path, ann: PartOwner) -> None:
    """A clean but early end is a cut; more bytes than were promised are another file."""

    async with uploading(tmp_path, ann, expected_size=2000) as upload:
        await upload.send(NEW[:1000])
        await upload.arrived(1000)
        upload.peer.close()
        with pytest.raises(FTPDataError):
            await upload.task
    assert part_in(tmp_path) == NEW[:1000]

    async with uploading(tmp_path, ann, expected_size=500, offset=1000) as upload:
        await send_all(upload.peer, NEW[1000:2000])
        with pytest.raises(FTPDataError):
            await upload.task
    assert names(tmp_path) == []


async def test_the_limit_counts_what_came_before(tmp_path: Path, ann: PartOwner) -> None:
    """A file that is too large cannot be brought in pieces, and a refused one leaves nothing."""

    async with uploading(tmp_path, ann, size_limit=1500) as upload:
        await upload.send(NEW[:1000])
        await upload.arrived(1000)
        reset(upload.peer)
        with pytest.raises(FTPDataError):
            await upload.task
    assert part_in(tmp_path) == NEW[:1000]
    async with uploading(tmp_path, ann, size_limit=1500, offset=1000) as upload:
        await send_all(upload.peer, NEW[1000:1501])
        with pytest.raises(FTPDataError) as caught:
            await upload.task
    assert caught.value.reply_code == 552
    assert names(tmp_path) == []


def block(kind: int, data: bytes) -> bytes:
    """Return a block of MODE B."""

    return bytes((kind,)) + len(data).to_bytes(2, "big") + data


@pytest.mark.parametrize(
    ("end", "kept"), [(b"", b"one"), (b"\x07\0\x01x", None), (b"\xff\xff", b"one")]
)
async def test_block_mode(tmp_path: Path, ann: PartOwner, end: bytes, kept: bytes | None) -> None:
    """A missing end mark is a cut; data that are not a block are refused."""

    parameters = TransferParameters().with_type("I").with_mode("B")
    async with uploading(tmp_path, ann, parameters=parameters) as upload:
        await send_all(upload.peer, block(0, b"one") + end)
        with pytest.raises(FTPDataError) as caught:
            await upload.task
    assert part_in(tmp_path) == kept, caught.value


async def test_what_the_host_refuses(tmp_path: Path, ann: PartOwner) -> None:
    """An error of a callback is not a cut."""

    def refuse(*_: object) -> None:
        raise RuntimeError("not this one")

    async with uploading(tmp_path, ann, progress=refuse) as upload:
        await upload.send(NEW[:1000])
        with pytest.raises(FTPDataError):
            await upload.task
    assert names(tmp_path) == []


async def test_a_resumption_takes_over_a_connection_that_is_half_open(
    tmp_path: Path, ann: PartOwner
) -> None:
    """The transfer that holds the part is aborted, and its error says why."""

    async with uploading(tmp_path, ann) as first:
        await first.send(NEW[:1000])
        await first.arrived(1000)
        async with uploading(tmp_path, ann, offset=900) as second:
            await send_all(second.peer, NEW[900:])
            await second.task
        with pytest.raises(FTPDataError, match="resumed elsewhere") as caught:
            await first.task
    assert caught.value.end is End.ABORTED
    assert (tmp_path / "file").read_bytes() == NEW
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("can_keep", [True, False])
async def test_a_target_that_cannot_let_go(can_keep: bool) -> None:
    """A note says what has failed: to keep what came, or to discard it."""

    class Target:
        position = 0
        has_begun = False

        async def write(self, _: bytes) -> None:
            self.has_begun = True

        async def commit(self) -> None:
            raise AssertionError

        async def discard(self) -> None:
            raise OSError(errno.EIO, "no disk")

    class KeepingTarget(Target):
        async def keep(self) -> None:
            raise OSError(errno.EIO, "no disk")

    target = KeepingTarget() if can_keep else Target()
    async with pair() as (endpoint, peer):
        work = asyncio.ensure_future(receive_file(endpoint, target))
        await asyncio.get_running_loop().sock_sendall(peer, b"some")
        await until(lambda: target.has_begun)
        reset(peer)
        with pytest.raises(FTPDataError) as caught:
            await work
    [note] = caught.value.__notes__
    assert f"could not be {'kept' if can_keep else 'discarded'}: OSError" in note


async def test_targets_of_others(ann: PartOwner, tmp_path: Path) -> None:
    """A target that has `keep` is asked to keep a cut upload, and must stand at the offset."""

    @attrs.define
    class Target:
        position: int
        calls: list[str] = attrs.field(factory=list)

        async def write(self, data: bytes) -> None:
            self.calls.append(f"write {len(data)}")

        async def commit(self) -> None:
            self.calls.append("commit")

        async def discard(self) -> None:
            self.calls.append("discard")

        async def keep(self) -> None:
            self.calls.append("keep")

    target = Target(10)
    async with pair() as (endpoint, peer):
        await send_all(peer, b"rest")
        await receive_file(endpoint, target, offset=10)
    assert target.calls == ["write 4", "commit"]

    target = Target(10)
    async with pair() as (endpoint, peer):
        work = asyncio.ensure_future(receive_file(endpoint, target, offset=10))
        await asyncio.get_running_loop().sock_sendall(peer, b"rest")
        await until(lambda: bool(target.calls))
        reset(peer)
        with pytest.raises(FTPDataError):
            await work
    assert target.calls == ["write 4", "keep"]

    target = Target(10)
    async with pair() as (endpoint, peer):
        await send_all(peer, b"rest")
        with pytest.raises(FTPDataError):
            await receive_file(endpoint, target, offset=10, size_limit=13)
    assert target.calls == ["discard"]

    target = Target(10)
    async with pair() as (endpoint, _):
        with pytest.raises(BadArgument, match="offset 9"):
            await receive_file(endpoint, target, offset=9)
    assert target.calls == ["keep"]

    bad: Any = Target(0)
    bad.position = "0"
    async with pair() as (endpoint, _):
        with pytest.raises(TypeError, match="position"):
            await receive_file(endpoint, bad)
    async with pair() as (endpoint, _):
        with pytest.raises(BadArgument, match="path only"):
            await receive_file(endpoint, Target(0), resume=ann)
    async with pair() as (endpoint, _):
        with pytest.raises(TypeError, match="PartOwner"):
            await receive_file(endpoint, tmp_path / "file", resume="ann")  # type: ignore[arg-type]
