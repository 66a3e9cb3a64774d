"""Transfers in every TYPE, STRU and MODE, over real sockets."""

from __future__ import annotations

import asyncio
import io
import socket
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from ftpdata.codecs.limits import CodecLimits
from ftpdata.codecs.options import CodecOptions
from ftpdata.codecs.restart import RestartMarker, SuspectData, format_mark_reply
from ftpdata.deadlines import Deadlines
from ftpdata.errors import (
    FTPDataError,
    InvalidData,
    LocalError,
    QuotaExceeded,
    TruncatedTransfer,
    UnsupportedParameter,
)
from ftpdata.files import PartOwner
from ftpdata.outcome import End, TransferResult
from ftpdata.parameters import RepresentationType, Structure, TransferParameters, TransmissionMode
from ftpdata.testing import half_close
from ftpdata.throttle import TokenBucket
from ftpdata.transfers import (
    receive_file,
    receive_stream,
    send_file,
    send_listing,
    send_stream,
)
from tests.harness.connections import connection, peer_task, send_all
from tests.harness.modes import EVERY, EXACT, decoded, dtp_pair, encoded, name_of
from tests.harness.outcomes import failed, finished
from tests.harness.waiting import until

LINES = b"".join(b"line %d of \xff\xff a text\0\0\0   \n" % n for n in range(600))
TEXT = LINES + b"\n\r\n\r\xff\1"
BLOCK = TransferParameters(mode=TransmissionMode.BLOCK)
COMPRESSED = TransferParameters(mode=TransmissionMode.COMPRESSED)
DEFLATE = TransferParameters(mode=TransmissionMode.DEFLATE)

every = pytest.mark.parametrize("parameters", EVERY, ids=name_of)
marking = pytest.mark.parametrize("parameters", [BLOCK, COMPRESSED], ids=name_of)


async def chunks(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """Yield content in chunks."""

    for start in range(0, len(content), size):
        yield content[start : start + size]


async def send_in_parts(peer: socket.socket, data: bytes) -> None:
    """Send as a peer whose data arrive in parts of every small size, then close."""

    loop = asyncio.get_running_loop()
    start = size = 0
    while start < len(data):
        size += 1
        await loop.sock_sendall(peer, data[start : start + size])
        start += size
        await asyncio.sleep(0)

    peer.close()


class Target:
    """Keeps an upload in memory, and records what happened in order."""

    def __init__(self) -> None:
        self.data = b""
        self.log: list[object] = []

    async def write(self, data: bytes) -> None:
        """Take data, after other tasks had a turn."""

        await asyncio.sleep(0)
        self.data += data
        self.log.append(len(self.data))

    async def commit(self) -> None:
        """Publish."""

        self.log.append("commit")

    async def discard(self) -> None:
        """Discard the upload."""

        self.log.append("discard")


# Every combination


@every
async def test_every_combination_round_trips_from_file_to_file(
    parameters: TransferParameters, tmp_path: Path
) -> None:
    """What one end sends from a file, the other end stores byte for byte; the digests agree."""

    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(TEXT)
    async with dtp_pair() as (here, there):
        result, received = await asyncio.gather(
            send_file(here, source, parameters=parameters, options=EXACT, digest="crc32"),
            receive_file(there, target, parameters=parameters, options=EXACT, digest="crc32"),
        )

    assert target.read_bytes() == TEXT
    assert result.file_bytes == received.file_bytes == len(TEXT)
    assert result.bytes == received.bytes
    assert result.digest == received.digest == f"{zlib.crc32(TEXT):08x}"


@every
async def test_every_combination_round_trips_as_a_stream(parameters: TransferParameters) -> None:
    """Data sent in parts of any size are received whole; chunks are sent the same way."""

    content = TEXT[-2000:]
    async with connection() as (dtp, peer):
        work = send_stream(dtp, chunks(content, 701), parameters=parameters, options=EXACT)
        on_the_wire = await finished(work, peer)

    assert decoded(parameters, on_the_wire) == content
    async with (
        connection() as (dtp, peer),
        peer_task(send_in_parts(peer, on_the_wire)),
        receive_stream(dtp, parameters=parameters, options=EXACT) as stream,
    ):
        received = [data async for data in stream]

    assert b"".join(received) == content
    assert stream.result is not None
    assert stream.result.is_complete
    assert stream.result.bytes == len(on_the_wire)


@every
async def test_an_empty_file_is_its_end_mark(parameters: TransferParameters) -> None:
    """An empty file is sent as its end mark if its mode has one; no bytes would mean a cut file."""

    async with connection() as (dtp, peer):
        received = await finished(send_file(dtp, io.BytesIO(), parameters=parameters), peer)

    assert received == encoded(parameters, b"")


@every
async def test_an_upload_without_its_end_mark_is_cut(
    parameters: TransferParameters, tmp_path: Path
) -> None:
    """A clean end of the connection does not end the file: 426, and nothing is published."""

    target = tmp_path / "target"
    cut = encoded(parameters, TEXT)[:-2]
    has_no_mark = (
        parameters.structure is Structure.FILE and parameters.mode is TransmissionMode.STREAM
    )
    async with connection() as (dtp, peer), peer_task(send_all(peer, cut)):
        work = receive_file(dtp, target, parameters=parameters)
        if has_no_mark:
            assert (await work).end is End.CLEAN
            return

        result = await failed(work, TruncatedTransfer, End.INCOMPLETE)

    assert result.reply_code == 426
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


@pytest.mark.parametrize("structure", [Structure.FILE, Structure.RECORD])
@pytest.mark.parametrize("mode", TransmissionMode)
async def test_modes_inside_tls(
    mode: TransmissionMode, structure: Structure, tmp_path: Path
) -> None:
    """MODE applies inside TLS: the bytes are the same, and an end mark ends the file there, too."""

    parameters = TransferParameters(structure=structure, mode=mode)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(TEXT * 20)
    async with dtp_pair(tls=True) as (here, there):
        result, received = await asyncio.gather(
            receive_file(here, target, parameters=parameters),
            send_file(there, source, parameters=parameters),
        )

    assert target.read_bytes() == TEXT * 20
    assert result.tls_version == received.tls_version is not None
    assert result.bytes == received.bytes


# Options


async def test_options_reach_the_encoders(tmp_path: Path) -> None:
    """The level of deflate, the line end, the character set and the record length take effect."""

    path = tmp_path / "file"
    path.write_bytes(TEXT)
    ebcdic = TransferParameters(type=RepresentationType.EBCDIC, encoding="cp1047")
    records = attrs.evolve(BLOCK, structure=Structure.RECORD)
    for parameters, options in [
        (DEFLATE, attrs.evolve(EXACT, deflate_level=0)),
        (DEFLATE, attrs.evolve(EXACT, deflate_level=9)),
        (ebcdic, attrs.evolve(EXACT, file_encoding="cp850")),
        (records, attrs.evolve(EXACT, record_length=80)),
    ]:
        expected = encoded(parameters, TEXT, options=options)
        assert expected != encoded(parameters, TEXT)
        async with connection() as (dtp, peer):
            work = send_file(dtp, path, parameters=parameters, options=options)
            assert len(await finished(work, peer)) == pytest.approx(len(expected), abs=10)
        async with connection() as (dtp, peer):
            work = send_stream(dtp, chunks(TEXT), parameters=parameters, options=options)
            # A stream is compressed chunk by chunk, so its bytes differ, but the file is the same.
            assert decoded(parameters, await finished(work, peer), options=options) == TEXT


async def test_options_reach_the_decoders() -> None:
    """The line end and the limits take effect in a file and in a stream."""

    ascii_type = TransferParameters(type=RepresentationType.ASCII, mode=TransmissionMode.BLOCK)
    crlf = CodecOptions(line_end=b"\r\n")
    async with connection() as (dtp, peer):
        data = encoded(ascii_type, b"a\nb\n")
        async with peer_task(send_all(peer, data)):
            target = Target()
            await receive_file(dtp, target, parameters=ascii_type, options=crlf)
            assert target.data == b"a\r\nb\r\n"

    strict = CodecOptions(limits=CodecLimits(output=3))
    async with connection() as (dtp, peer), peer_task(send_all(peer, encoded(BLOCK, b"abcd"))):
        target = Target()
        work = receive_file(dtp, target, parameters=BLOCK, options=strict)
        result = await failed(work, QuotaExceeded, End.SIZE_LIMIT)
        assert result.reply_code == 552
        assert target.log == ["discard"]

    async with (
        connection() as (dtp, peer),
        peer_task(send_all(peer, encoded(BLOCK, b"abcd"))),
        receive_stream(dtp, parameters=BLOCK, options=strict) as stream,
    ):
        await failed(anext(stream), QuotaExceeded, End.SIZE_LIMIT)


@pytest.mark.parametrize("direction", ["send", "receive"])
async def test_what_there_is_no_codec_for_is_refused(direction: str, tmp_path: Path) -> None:
    """Every function refuses STRU P with 504; the connection is reset, and nothing is published."""

    pages = TransferParameters(structure=Structure.PAGE)
    path = tmp_path / "file"
    async with connection() as (dtp, _):
        if direction == "send":
            path.write_bytes(b"x")
            await failed(
                send_file(dtp, path, parameters=pages), UnsupportedParameter, End.PRODUCER_FAILED
            )
        else:
            work = receive_file(dtp, path, parameters=pages)
            await failed(work, UnsupportedParameter, End.CONSUMER_FAILED)
            assert not path.exists()


# Restart


@marking
async def test_a_marker_is_reported_once_all_before_it_is_stored(
    parameters: TransferParameters,
) -> None:
    """The handler runs after what came before the marker is written, and before the rest is."""

    options = CodecOptions(marker_interval=1000)
    target = Target()
    replies: list[str] = []

    async def note(marker: RestartMarker) -> None:
        await asyncio.sleep(0)
        assert len(target.data) == marker.offset
        target.log.append("marker")
        replies.append(format_mark_reply(marker))

    content = bytes(5000)
    data = encoded(parameters, content, options=options)
    async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
        await receive_file(dtp, target, parameters=parameters, on_marker=note)

    assert target.data == content
    assert target.log == [x for n in range(1, 6) for x in (n * 1000, "marker")] + ["commit"]
    assert replies == [f"110 MARK {n * 1000} = {n * 1000}" for n in range(1, 6)]


@marking
async def test_a_cut_upload_goes_on_from_its_last_marker(
    parameters: TransferParameters, tmp_path: Path, ann: PartOwner
) -> None:
    """Both sides go on from the pair of the last 110: the file is whole, in TYPE A, too."""

    parameters = attrs.evolve(parameters, type=RepresentationType.ASCII)
    options = CodecOptions(marker_interval=700)
    source, target = tmp_path / "source", tmp_path / "target"
    content = TEXT.replace(b"\r", b"")
    source.write_bytes(content)
    markers: list[RestartMarker] = []

    async def note(marker: RestartMarker) -> None:
        markers.append(marker)

    data = encoded(parameters, content, options=options)
    async with connection() as (dtp, peer), peer_task(send_all(peer, data[: len(data) // 2])):
        work = receive_file(dtp, target, parameters=parameters, resume=ann, on_marker=note)
        await failed(work, TruncatedTransfer, End.INCOMPLETE)

    [part] = {*tmp_path.iterdir()} - {source}  # noqa: ASYNC240 - nothing else runs
    stored = part.stat().st_size
    last = markers.pop()
    assert 0 < last.offset <= stored < len(content)
    markers.clear()
    async with dtp_pair() as (here, there):
        result, received = await asyncio.gather(
            send_file(
                here, source, parameters=parameters, options=options, offset=int(last.text)
            ),
            receive_file(
                there,
                target,
                parameters=parameters,
                offset=last.offset,
                resume=ann,
                on_marker=note,
            ),
        )

    assert target.read_bytes() == content
    assert result.offset == received.offset == last.offset
    assert markers[0].offset > last.offset
    assert all(int(marker.text) == marker.offset for marker in markers)


async def test_markers_of_streams_count_from_their_offset() -> None:
    """A stream that begins within the file marks places of the file, and so does the receiver."""

    markers: list[RestartMarker] = []

    async def note(marker: RestartMarker) -> None:
        markers.append(marker)

    options = CodecOptions(marker_interval=10)
    async with dtp_pair() as (here, there):
        sending = send_stream(
            here, chunks(bytes(25), 5), parameters=BLOCK, options=options, offset=100
        )
        async with peer_task(sending) as task:
            async with receive_stream(
                there, parameters=BLOCK, offset=1000, on_marker=note
            ) as stream:
                received = [data async for data in stream]
            result = await task

    assert b"".join(received) == bytes(25)
    assert markers == [RestartMarker("110", 1010), RestartMarker("120", 1020)]
    assert isinstance(result, TransferResult)
    assert result.offset == 100
    assert stream.result is not None
    assert stream.result.offset == 1000


async def test_markers_of_an_appended_file_are_places_in_it(tmp_path: Path) -> None:
    """After APPE, the receiver's side of a marker counts what the file had before."""

    path = tmp_path / "file"
    path.write_bytes(b"before")
    markers: list[RestartMarker] = []

    async def note(marker: RestartMarker) -> None:
        markers.append(marker)

    data = encoded(BLOCK, b"behind", options=CodecOptions(marker_interval=3))
    async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
        await receive_file(dtp, path, append=True, parameters=BLOCK, on_marker=note)

    assert path.read_bytes() == b"beforebehind"
    assert markers == [RestartMarker("3", 9), RestartMarker("6", 12)]


async def test_a_marker_that_cannot_be_reported_ends_the_upload() -> None:
    """The transfer fails with the exception of the handler."""

    async def fail(_: RestartMarker) -> None:
        raise ValueError("the control connection is gone")

    data = encoded(BLOCK, bytes(20), options=CodecOptions(marker_interval=10))
    async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
        target = Target()
        work = receive_file(dtp, target, parameters=BLOCK, on_marker=fail)
        await failed(work, LocalError, End.CONSUMER_FAILED)
        assert target.log == [10, "discard"]


async def test_suspect_data_are_stored_and_reported() -> None:
    """Data that their sender marked as suspect are reported to the host, and are not an error."""

    told: list[SuspectData] = []
    data = b"\0\0\3abc" + b"\x20\0\2de" + b"\x40\0\0"
    async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
        target = Target()
        await receive_file(dtp, target, parameters=BLOCK, on_suspect=told.append)

    assert target.data == b"abcde"
    assert told == [SuspectData(3, 2)]


async def test_rest_and_type_a_mean_bytes_of_the_file_as_it_is_stored(tmp_path: Path) -> None:
    """In TYPE A and in records, the offset of RETR and STOR is a place in the stored file."""

    path = tmp_path / "file"
    text = TransferParameters(type=RepresentationType.ASCII)
    for parameters in (text, attrs.evolve(text, structure=Structure.RECORD)):
        path.write_bytes(b"one\ntwo\nthree\n")
        async with connection() as (dtp, peer):
            data = await finished(send_file(dtp, path, parameters=parameters, offset=4), peer)
            assert data == encoded(parameters, b"two\nthree\n")

        async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
            await receive_file(dtp, path, parameters=parameters, offset=4)
            assert path.read_bytes() == b"one\ntwo\nthree\n"

        # Where the offset is within a line or a record, the data begin there.
        async with connection() as (dtp, peer):
            data = await finished(send_file(dtp, path, parameters=parameters, offset=5), peer)
            assert data == encoded(parameters, b"wo\nthree\n")


# The end of the file and that of the connection


@marking
async def test_the_file_is_over_with_its_mark(parameters: TransferParameters) -> None:
    """The transfer does not wait for a peer that keeps the connection open after the end mark."""

    async with connection() as (dtp, peer):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, encoded(parameters, TEXT))
        target = Target()
        result = await receive_file(dtp, target, parameters=parameters)
        assert result.end is End.CLEAN
        assert result.reply_code == 226
        assert target.data == TEXT
        assert await loop.sock_recv(peer, 1) == b""


async def test_a_file_after_the_end_of_a_file_is_an_error() -> None:
    """A peer that sends two files instead of one causes an error."""

    data = encoded(BLOCK, b"one") + encoded(BLOCK, b"two")
    async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
        target = Target()
        work = receive_file(dtp, target, parameters=BLOCK)
        result = await failed(work, InvalidData, End.BAD_DATA)
        assert result.reply_code == 451
        assert target.log[-1] == "discard"


async def test_deflate_is_over_with_the_connection() -> None:
    """MODE Z allows one file per connection, and only the connection's end completes it."""

    async with connection() as (dtp, peer):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, encoded(DEFLATE, TEXT))
        target = Target()
        work = receive_file(dtp, target, parameters=DEFLATE)
        async with peer_task(work) as receiving:
            await until(lambda: target.data == TEXT)
            assert not receiving.done()
            half_close(peer)
            result = await receiving

    assert isinstance(result, TransferResult)
    assert result.is_complete


# Hostile peers


def bomb(size: int) -> bytes:
    """Return the given number of zeros, deflated."""

    return zlib.compress(bytes(size), 9)


async def test_a_deflate_bomb_is_stopped_at_the_limit() -> None:
    """It is stopped at the ratio limit, the decoder's size limit or the transfer's; never later."""

    mib = 1 << 20
    for limits, size_limit, kind in [
        (CodecLimits(ratio=100, ratio_from=mib), None, InvalidData),
        (CodecLimits(ratio=None, output=mib), None, QuotaExceeded),
        (CodecLimits(ratio=None), mib, QuotaExceeded),
    ]:
        target = Target()
        options = CodecOptions(limits=limits)
        async with connection() as (dtp, peer), peer_task(send_all(peer, bomb(1 << 23))):
            with pytest.raises(kind):
                await receive_file(
                    dtp, target, parameters=DEFLATE, options=options, size_limit=size_limit
                )

        assert len(target.data) <= mib
        assert target.log[-1] == "discard"


async def test_other_transfers_run_beside_a_bomb() -> None:
    """While a bomb is being decoded, the event loop turns and another transfer gets its turns."""

    turns = 0
    is_over = False

    async def turn() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            await asyncio.sleep(0)

    class Sink(Target):
        async def write(self, data: bytes) -> None:
            """Take data without a pause."""

    data = bomb(1 << 24)
    options = CodecOptions(limits=CodecLimits(ratio=None))
    async with connection() as (dtp, peer), peer_task(send_all(peer, data)), peer_task(turn()):
        await receive_file(dtp, Sink(), parameters=DEFLATE, options=options)
        is_over = True

    # Decoding 16 MiB takes tens of milliseconds at the very least.
    assert turns >= 10


async def test_throttles_and_deadlines_hold_for_what_is_on_the_connection() -> None:
    """A rate limits the compressed bytes, and a peer that stalls within a block is cut."""

    bucket = TokenBucket(20_000.0, burst=1000, now=asyncio.get_running_loop().time())
    data = encoded(DEFLATE, bytes(1 << 20))
    async with connection() as (dtp, peer), peer_task(send_all(peer, data)):
        result = await receive_file(dtp, Target(), parameters=DEFLATE, throttle=bucket)
        assert result.seconds >= (len(data) - 1000) / 20_000 * 0.9

    async with connection() as (dtp, peer):
        await asyncio.get_running_loop().sock_sendall(peer, encoded(BLOCK, TEXT)[:100])
        await failed(
            receive_file(dtp, Target(), parameters=BLOCK, deadlines=Deadlines(stall=0.05)),
            FTPDataError,
            End.STALLED,
        )


# Listings


def as_text(parameters: TransferParameters) -> TransferParameters:
    """Return the parameters with which a listing is sent: it is always text."""

    kind = parameters.type
    if kind is not RepresentationType.EBCDIC:
        kind = RepresentationType.ASCII

    return attrs.evolve(parameters, type=kind)


@every
async def test_a_listing_is_text_in_the_structure_and_mode_in_effect(
    parameters: TransferParameters,
) -> None:
    """Its lines can be decoded as TYPE A or E, whatever TYPE applies to files."""

    lines = [b"one", b"", b"two words", b"t" * 300]
    async with connection() as (dtp, peer):
        received = await finished(send_listing(dtp, lines, parameters=parameters), peer)

    text = decoded(as_text(parameters), received, options=CodecOptions())
    assert text == b"".join(line + b"\n" for line in lines)


async def test_a_listing_of_pages_is_refused() -> None:
    """A listing has no page structure: 504, and the connection is reset."""

    async with connection() as (dtp, _):
        pages = TransferParameters(structure=Structure.PAGE)
        work = send_listing(dtp, [b"x"], parameters=pages)
        result = await failed(work, UnsupportedParameter, End.PRODUCER_FAILED)

    assert result.reply_code == 504
