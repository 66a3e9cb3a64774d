"""Several files on one data connection: what stays open, what is counted, what ends it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from ftpdata.codecs.options import CodecOptions
from ftpdata.codecs.restart import RestartMarker
from ftpdata.connection._bypass import Bypass
from ftpdata.connection._delivery import Sight
from ftpdata.connection._delivery_watch import DeliveryWatch
from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.errors import (
    FTPDataError,
    LocalError,
    NotConnected,
    TransferAborted,
    TransferTimeout,
    TruncatedTransfer,
)
from ftpdata.outcome import End, TransferResult
from ftpdata.parameters import Structure, TransferParameters, TransmissionMode
from ftpdata.testing import half_close, reset, sweep
from ftpdata.transfers import (
    receive_file,
    receive_stream,
    send_file,
    send_listing,
    send_stream,
)
from ftpdata.transfers.reuse import ReusableConnection
from tests.harness.connections import connection, peer_task, receive_all, send_all
from tests.harness.modes import decoded, dtp_pair, encoded
from tests.harness.waiting import until

BLOCK = TransferParameters(mode=TransmissionMode.BLOCK)
COMPRESSED = TransferParameters(mode=TransmissionMode.COMPRESSED)
FILES = [b"one", b"", bytes(200_000), bytes(range(256)) * 300, b"the last\n"]

marking = pytest.mark.parametrize("mode", [TransmissionMode.BLOCK, TransmissionMode.COMPRESSED])
secured = pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])


class Target:
    """Keeps an upload in memory."""

    def __init__(self, *, is_full: bool = False) -> None:
        self.data = b""
        self.is_full = is_full

    async def write(self, data: bytes) -> None:
        """Take data."""

        self.data += data

    async def commit(self) -> None:
        """Publish, if there is room."""

        if self.is_full:
            raise ValueError("no room")

    async def discard(self) -> None:
        """Discard the upload."""


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    """Yield content in chunks."""

    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


# Files one after the other


@marking
@secured
@pytest.mark.parametrize("structure", [Structure.FILE, Structure.RECORD])
async def test_several_files_go_over_one_connection(
    mode: TransmissionMode, structure: Structure, tls: bool, tmp_path: Path
) -> None:
    """Each file ends with 250, counts its own bytes, and is whole; then the connection ends."""

    parameters = TransferParameters(mode=mode, structure=structure)
    paths = [tmp_path / str(n) for n in range(len(FILES))]
    for path, content in zip(paths, FILES, strict=True):
        path.write_bytes(content)

    async def send(dtp: DTP) -> list[TransferResult]:
        async with ReusableConnection(dtp) as connection:
            results = [await send_file(connection, path, parameters=parameters) for path in paths]
            assert connection.is_open

        assert dtp.end is End.CLEAN
        return results

    async def receive(dtp: DTP) -> list[TransferResult]:
        results = []
        async with ReusableConnection(dtp) as connection:
            for path in paths:
                target = path.with_suffix(".received")
                results.append(await receive_file(connection, target, parameters=parameters))

        return results

    async with dtp_pair(tls=tls) as (here, there):
        sent, received = await asyncio.gather(send(here), receive(there))
        assert sum(result.bytes for result in sent) == here.bytes_sent

    for result, other, path, content in zip(sent, received, paths, FILES, strict=True):
        assert path.with_suffix(".received").read_bytes() == content
        assert result.end is other.end is End.CLEAN
        assert result.reply_code == 250
        # The sender may have closed after the last file.
        assert other.reply_code == 250 or path is paths[-1]
        assert result.bytes == other.bytes
        assert result.file_bytes == other.file_bytes == len(content)


@marking
async def test_files_that_come_at_once_are_told_apart(mode: TransmissionMode) -> None:
    """Data after the end of a file, in the same piece, belong to the next file."""

    parameters = TransferParameters(mode=mode)
    data = b"".join(encoded(parameters, content) for content in FILES)
    async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
        reusable = ReusableConnection(dtp)
        for content in FILES:
            assert reusable.is_open
            target = Target()
            result = await receive_file(reusable, target, parameters=parameters)
            assert target.data == content
            assert result.file_bytes == len(content)
            assert result.bytes == len(encoded(parameters, content))
            is_last = content is FILES[-1]
            assert result.reply_code == 250 or is_last

        await until(lambda: not reusable.is_open)
        await reusable.finish()


async def test_every_split_of_two_files() -> None:
    """Wherever the data are split, each file gets its own bytes."""

    first, second = encoded(BLOCK, b"first"), encoded(BLOCK, b"second")
    data = first + second
    for cut in range(1, len(data)):
        async with connection() as (dtp, peer):
            loop = asyncio.get_running_loop()
            reusable = ReusableConnection(dtp)
            await loop.sock_sendall(peer, data[:cut])
            await until(lambda: True)
            targets = Target(), Target()
            async with peer_task(receive_file(reusable, targets[0], parameters=BLOCK)) as receiving:
                await asyncio.sleep(0)
                await loop.sock_sendall(peer, data[cut:])
                result = await receiving

            assert isinstance(result, TransferResult)
            assert result.bytes == len(first)
            await receive_file(reusable, targets[1], parameters=BLOCK)
            assert [target.data for target in targets] == [b"first", b"second"]
            await reusable.finish()


async def test_streams_and_listings_share_a_connection_with_files() -> None:
    """Every function takes the connection and leaves it open, in both directions."""

    text = BLOCK.with_type("A")

    async def serve(server: ReusableConnection) -> list[TransferResult]:
        return [
            await send_listing(server, [b"line"], parameters=BLOCK),
            await receive_file(server, Target(), parameters=BLOCK),
            await send_stream(server, chunks(bytes(5000)), parameters=COMPRESSED),
        ]

    async def read(client: ReusableConnection, parameters: TransferParameters) -> bytes:
        async with receive_stream(client, parameters=parameters) as stream:
            data = b"".join([data async for data in stream])

        assert stream.result is not None
        assert stream.result.reply_code == 250
        return data

    async with dtp_pair() as (here, there):
        server, client = ReusableConnection(here), ReusableConnection(there)
        async with peer_task(serve(server)) as serving:
            assert await read(client, text) == b"line\n"
            await send_stream(client, chunks(b"upload"), parameters=BLOCK)
            assert await read(client, COMPRESSED) == bytes(5000)
            results = await serving

        assert isinstance(results, list)
        assert [result.reply_code for result in results] == [250, 250, 250]
        assert [result.direction.value for result in results] == ["sent", "received", "sent"]
        assert results[1].file_bytes == 6
        assert results[2].bytes < 1000
        await asyncio.gather(server.finish(), client.finish())


@pytest.mark.parametrize("mode", [TransmissionMode.STREAM, TransmissionMode.DEFLATE])
async def test_other_modes_close_the_connection(mode: TransmissionMode, tmp_path: Path) -> None:
    """A file in stream mode or MODE Z is the last one: 226, even after files in block mode."""

    parameters = TransferParameters(mode=mode)
    path = tmp_path / "file"
    path.write_bytes(b"content")
    async with dtp_pair() as (here, there):
        sender, receiver = ReusableConnection(here), ReusableConnection(there)
        for used, code in [(BLOCK, 250), (parameters, 226)]:
            target = Target()
            results = await asyncio.gather(
                send_file(sender, path, parameters=used),
                receive_file(receiver, target, parameters=used),
            )
            assert target.data == b"content"
            assert [result.reply_code for result in results] == [code, code]

        assert not sender.is_open
        assert not receiver.is_open
        await sender.finish()
        await receiver.finish()


async def test_markers_of_the_next_file_begin_anew() -> None:
    """Each file has its own encoder and decoder."""

    markers: list[RestartMarker] = []

    async def note(marker: RestartMarker) -> None:
        markers.append(marker)

    options = CodecOptions(marker_interval=2)
    async with dtp_pair() as (here, there):
        sender, receiver = ReusableConnection(here), ReusableConnection(there)
        for _ in range(2):
            await asyncio.gather(
                send_stream(sender, chunks(b"abc"), parameters=BLOCK, options=options),
                receive_file(receiver, Target(), parameters=BLOCK, on_marker=note),
            )

    assert markers == [RestartMarker("2", 2)] * 2


# What the peer does


async def test_a_peer_that_closes_after_a_file_ends_the_connection() -> None:
    """Sender and receiver notice it; nothing was lost, and `finish` raises nothing."""

    async with connection() as (dtp, peer):
        reusable = ReusableConnection(dtp)
        await send_stream(reusable, chunks(b"abc"), parameters=BLOCK)
        assert reusable.is_open
        half_close(peer)
        await until(lambda: not reusable.is_open)
        await reusable.finish()

    async with connection() as (dtp, peer):
        reusable = ReusableConnection(dtp)
        await asyncio.get_running_loop().sock_sendall(peer, encoded(BLOCK, b"abc"))
        result = await receive_file(reusable, Target(), parameters=BLOCK)
        assert result.reply_code == 250
        reset(peer)
        await until(lambda: not reusable.is_open)
        await reusable.finish()
        with pytest.raises(TransferAborted):
            await receive_file(reusable, Target(), parameters=BLOCK)


async def test_a_next_file_that_does_not_come_is_cut() -> None:
    """In block mode, an end of file of the connection does not end a file: 426."""

    data = encoded(BLOCK, b"one") + encoded(BLOCK, b"two")[:4]
    async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
        reusable = ReusableConnection(dtp)
        await receive_file(reusable, Target(), parameters=BLOCK)
        with pytest.raises(TruncatedTransfer) as caught:
            await receive_file(reusable, Target(), parameters=BLOCK)

        assert caught.value.result is not None
        assert caught.value.result.bytes == 4
        assert caught.value.end is End.INCOMPLETE


async def test_a_failed_file_resets_the_connection(tmp_path: Path) -> None:
    """After a cut file, nobody knows where the next one begins."""

    async with connection() as (dtp, _):
        reusable = ReusableConnection(dtp)
        with pytest.raises(FTPDataError) as caught:
            await send_file(reusable, tmp_path / "none", parameters=BLOCK)

        assert caught.value.reply_code == 550
        assert not reusable.is_open
        with pytest.raises(FTPDataError):
            await send_file(reusable, tmp_path / "none", parameters=BLOCK)


async def test_an_upload_that_cannot_be_published_leaves_the_connection_open() -> None:
    """All of its data have arrived, so the next file can be stored."""

    data = encoded(BLOCK, b"one") + encoded(BLOCK, b"two")
    async with connection() as (dtp, peer):
        await asyncio.get_running_loop().sock_sendall(peer, data)
        reusable = ReusableConnection(dtp)
        with pytest.raises(LocalError) as caught:
            await receive_file(reusable, Target(is_full=True), parameters=BLOCK)

        assert caught.value.reply_code == 451
        target = Target()
        await receive_file(reusable, target, parameters=BLOCK)
        assert target.data == b"two"
        assert reusable.is_open


@secured
async def test_a_file_is_done_once_the_peer_has_it(tls: bool) -> None:
    """250 does not come earlier; a peer that reads nothing is given up at the deadline."""

    content = bytes(range(256)) * 40_000
    deadlines = Deadlines(close=0.2)
    async with dtp_pair(tls=tls) as (here, there):
        there.transport.pause_reading()
        reusable = ReusableConnection(here)
        with pytest.raises(TransferTimeout) as caught:
            await send_stream(
                reusable, chunks(content), parameters=BLOCK,
                deadlines=attrs.evolve(deadlines, stall=0.2),
            )

        assert caught.value.end in {End.STALLED, End.CLOSE_TIMEOUT}
        assert not reusable.is_open


async def test_a_transfer_waits_for_a_peer_that_takes_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The transfer waits as long as the bytes in flight become fewer; then it fails with 426."""

    async with connection() as (dtp, _):
        steps = iter([5, 4, 3, 2, 1, 0])
        monkeypatch.setattr(DeliveryWatch, "sight", lambda _: Sight(next(steps)))
        reusable = ReusableConnection(dtp)
        result = await send_stream(reusable, chunks(b"abc"), parameters=BLOCK)
        assert result.reply_code == 250
        assert list(steps) == []

    async with connection() as (dtp, _):
        monkeypatch.setattr(DeliveryWatch, "sight", lambda _: Sight(7))
        with pytest.raises(TransferTimeout) as caught:
            await send_stream(
                ReusableConnection(dtp),
                chunks(b"abc"),
                parameters=BLOCK,
                deadlines=Deadlines(stall=0.05, close=30),
            )

        assert caught.value.end is End.STALLED


async def test_where_the_system_does_not_tell_the_end_of_the_connection_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reset after the file may then have cost a part of it, and `finish` raises."""

    async def unknown(_: Bypass, stall: float | None) -> bool:
        assert stall is not None
        return False

    monkeypatch.setattr(Bypass, "wait_delivered", unknown)
    async with connection() as (dtp, peer):
        reusable = ReusableConnection(dtp)
        await send_stream(reusable, chunks(b"abc"), parameters=BLOCK)
        assert decoded(BLOCK, await asyncio.get_running_loop().sock_recv(peer, 99)) == b"abc"
        await reusable.finish()

    async with connection() as (dtp, peer):
        reusable = ReusableConnection(dtp)
        await send_stream(reusable, chunks(b"abc"), parameters=BLOCK)
        reset(peer)
        with pytest.raises(TransferAborted):
            await reusable.finish()
        with pytest.raises(TransferAborted):
            await reusable.finish()


# One at a time


async def test_two_transfers_at_once_are_refused() -> None:
    """A data connection runs one transfer at a time; `finish` is refused during a transfer, too."""

    async with connection() as (dtp, peer):
        reusable = ReusableConnection(dtp)
        target = Target()
        async with peer_task(receive_file(reusable, target, parameters=BLOCK)) as receiving:
            await asyncio.get_running_loop().sock_sendall(peer, encoded(BLOCK, b"abc")[:4])
            await until(lambda: dtp.bytes_received > 0)
            with pytest.raises(RuntimeError, match="running"):
                await reusable.finish()

            dtp.abort()
            with pytest.raises(TransferAborted):
                await receiving

        await reusable.aclose()


async def test_a_connection_that_was_never_made_is_refused() -> None:
    """A connected data connection is required, as everywhere."""

    reusable = ReusableConnection(DTP())
    assert not reusable.is_open
    with pytest.raises(NotConnected):
        await reusable.finish()


async def test_leaving_the_block_by_an_error_resets_the_connection() -> None:
    """A file that was under way must not look as if it had ended."""

    async with connection() as (dtp, peer):
        with contextlib.suppress(KeyError):
            async with ReusableConnection(dtp):
                raise KeyError

        assert dtp.end is End.ABORTED
        with pytest.raises(ConnectionResetError):
            await receive_all(peer)


async def test_the_deadlines_of_a_file_are_its_own() -> None:
    """The deadline for the first byte begins anew with the second file."""

    async with connection() as (dtp, peer):
        await asyncio.get_running_loop().sock_sendall(peer, encoded(BLOCK, b"one"))
        reusable = ReusableConnection(dtp)
        await receive_file(reusable, Target(), parameters=BLOCK)
        with pytest.raises(TransferTimeout) as caught:
            await receive_file(
                reusable, Target(), parameters=BLOCK, deadlines=Deadlines(first_byte=0.05)
            )

        assert caught.value.end is End.FIRST_BYTE_TIMEOUT


async def test_cancellation_leaves_nothing_behind() -> None:
    """Two transfers leave nothing at whichever await they are cancelled."""

    data = encoded(BLOCK, b"one") + encoded(BLOCK, b"two")

    async def talk(peer: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(peer, data)
        await receive_all(peer)

    async def scenario() -> None:
        async with (
            connection() as (dtp, peer),
            peer_task(talk(peer)),
            ReusableConnection(dtp) as reusable,
        ):
            for _ in range(2):
                await receive_file(reusable, Target(), parameters=BLOCK)
            await send_stream(reusable, chunks(b"three"), parameters=BLOCK)

    await sweep(scenario)
