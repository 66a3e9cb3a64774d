"""Transmission modes by tables, at every split, cut at every place, and against hostile peers."""

from __future__ import annotations

import contextlib
import itertools
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftpdata.block_mode import BlockDecoder, BlockEncoder
from ftpdata.compressed_mode import CompressedDecoder, CompressedEncoder
from ftpdata.contracts import Buffer, Decoder, Encoder
from ftpdata.deflate_mode import DeflateDecoder, DeflateEncoder, parse_deflate_level
from ftpdata.errors import (
    BadArgument,
    FTPDataError,
    InvalidData,
    QuotaExceeded,
    TruncatedTransfer,
)
from ftpdata.restart import RestartMarker, SuspectData, format_mark_reply, parse_mark_reply
from ftpdata.stream_mode import StreamRecordDecoder, StreamRecordEncoder
from ftpdata.transmission import MAX_PIECE, CodecLimits, Records

LINES = Records(end=b"\n")
OPEN_LINES = Records(end=b"\n", close_last=False)
ONE = Records()
DEFAULT = CodecLimits()
MarkedDecoder = BlockDecoder | CompressedDecoder | DeflateDecoder | StreamRecordDecoder

# By name: how to make the encoder and the decoder for records, or for file structure (None).
MODES: dict[str, tuple[Callable[[Records | None], Encoder], Callable[..., MarkedDecoder]]] = {
    "stream": (
        lambda records: StreamRecordEncoder(records or ONE),
        lambda records, limits=DEFAULT: StreamRecordDecoder(records or ONE, limits=limits),
    ),
    "block": (
        lambda records: BlockEncoder(records=records),
        lambda records, limits=DEFAULT: BlockDecoder(records=records, limits=limits),
    ),
    "compressed": (
        lambda records: CompressedEncoder(0x20, records=records),
        lambda records, limits=DEFAULT: CompressedDecoder(
            0x20, records=records, limits=limits
        ),
    ),
    "deflate": (
        lambda _: DeflateEncoder(),
        lambda _, limits=DEFAULT: DeflateDecoder(limits=limits),
    ),
}
every_mode = pytest.mark.parametrize("mode", MODES)


def run(stage: Encoder | Decoder, parts: Iterable[Buffer]) -> bytes:
    """Feed each part, then finish; check every piece on the way against the rules."""

    limit = MAX_PIECE if hasattr(stage, "complete") else 2 * MAX_PIECE
    out: list[bytes] = []
    for part in parts:
        out += stage.feed(part)

    out += stage.finish()
    assert all(type(piece) is bytes and 0 < len(piece) <= limit for piece in out)
    return b"".join(out)


def drain(decoder: MarkedDecoder, parts: Iterable[bytes]) -> tuple[bytes, FTPDataError | None]:
    """Feed parts until one is an error; return what came out before it, and the error."""

    out = bytearray()
    for part in parts:
        try:
            for piece in decoder.feed(part):
                assert 0 < len(piece) <= MAX_PIECE
                out += piece
        except FTPDataError as error:
            return bytes(out), error

    return bytes(out), None


def each_byte(data: bytes) -> list[bytes]:
    """Split data into single bytes."""

    return [data[i : i + 1] for i in range(len(data))]


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Yield `data` whole, byte by byte, and at every single split."""

    yield [data]
    yield each_byte(data)
    for i in range(len(data) + 1):
        yield [data[:i], data[i:]]


# RFC 959 §3.4.1: "The first byte of the control code will be all ones … value 1 for EOR and value
# 2 for EOF … (i.e., the value 3). If a byte of all ones was intended to be sent as data, it
# should be repeated". Records, the file, what is sent.
STREAM = [
    (LINES, b"", b"\xff\2"),
    (LINES, b"\n", b"\xff\1\xff\2"),
    (LINES, b"a\nbc\n", b"a\xff\1bc\xff\1\xff\2"),
    (LINES, b"a\n\nb", b"a\xff\1\xff\1b\xff\3"),
    (LINES, b"\xff\n\xff\xff\n", b"\xff\xff\xff\1\xff\xff\xff\xff\xff\1\xff\2"),
    (LINES, b"\xff\1\xff\2\n", b"\xff\xff\1\xff\xff\2\xff\1\xff\2"),
    (OPEN_LINES, b"a\nb", b"a\xff\1b\xff\2"),
    (OPEN_LINES, b"a\n", b"a\xff\1\xff\2"),
    (Records(end=b"\x15"), b"\xc1\x15\xc2\x15", b"\xc1\xff\1\xc2\xff\1\xff\2"),
    (ONE, b"", b"\xff\2"),
    (ONE, b"a\nb", b"a\nb\xff\3"),
    (ONE, b"\xff", b"\xff\xff\xff\3"),
]


@pytest.mark.parametrize(("records", "file", "sent"), STREAM)
def test_stream_records(records: Records, file: bytes, sent: bytes) -> None:
    """Stream mode with record structure gives what the table says, both ways, at every split."""

    closed = file + b"\n" if records == LINES and file[-1:] not in (b"", b"\n") else file
    for parts in splits(file):
        assert run(StreamRecordEncoder(records), parts) == sent
    for parts in splits(sent):
        assert run(StreamRecordDecoder(records), parts) == closed


def test_stream_records_of_others() -> None:
    """An end-of-record with the end-of-file ends a record of nothing, if none is open."""

    assert run(StreamRecordDecoder(LINES), [b"a\xff\1\xff\3"]) == b"a\n\n"
    assert run(StreamRecordDecoder(Records(end=b"\r\n")), [b"a\xff\1\xff\3"]) == b"a\r\n\r\n"


# RFC 959 §3.4.2: descriptor (128 EOR, 64 EOF, 32 suspect, 16 marker) and 16 bits of count.
# Records, the file, what is sent of the file in one piece.
BLOCKS = [
    (None, b"", "40 0000"),
    (None, b"abc", "00 0003 616263  40 0000"),
    (None, b"a\nb\n", "00 0004 610a620a  40 0000"),
    (LINES, b"", "40 0000"),
    (LINES, b"a\nbc\n", "80 0001 61  80 0002 6263  40 0000"),
    (LINES, b"\n\n", "80 0000  80 0000  40 0000"),
    (LINES, b"a\nb", "80 0001 61  00 0001 62  c0 0000"),
    (OPEN_LINES, b"a\nb", "80 0001 61  00 0001 62  40 0000"),
    (ONE, b"a\nb", "00 0003 610a62  c0 0000"),
    (Records(length=2), b"abcde", "80 0002 6162  80 0002 6364  00 0001 65  c0 0000"),
    (Records(length=2), b"abcd", "80 0002 6162  80 0002 6364  40 0000"),
]


@pytest.mark.parametrize(("records", "file", "sent"), BLOCKS)
def test_blocks(records: Records | None, file: bytes, sent: str) -> None:
    """Block mode gives what the table says; any split of it, and of the file, is the same file."""

    assert run(BlockEncoder(records=records), [file]) == bytes.fromhex(sent)
    closed = file + b"\n" if records == LINES and file[-1:] not in (b"", b"\n") else file
    for parts in splits(bytes.fromhex(sent)):
        assert run(BlockDecoder(records=records), parts) == closed
    for parts in splits(file):
        again = run(BlockEncoder(records=records), parts)
        assert run(BlockDecoder(records=records), [again]) == closed


# What other senders make of it: flags on blocks with data, several on one block.
BLOCKS_OF_OTHERS = [
    (None, "40 0003 616263", b"abc"),
    (LINES, "c0 0003 616263", b"abc\n"),
    (LINES, "00 0001 61 00 0000 80 0001 62 c0 0000", b"ab\n\n"),
    (LINES, "40 0001 61", b"a"),
    (None, "80 0001 61 c0 0001 62", b"ab"),  # file structure has no records
    (Records(end=b"\r\n"), "80 0001 61 c0 0001 62", b"a\r\nb\r\n"),
    (None, "60 0001 61", b"a"),
    (LINES, "90 0001 61 40 0000", b"\n"),  # a marker, and the end of a record
    (None, "50 0001 61", b""),  # a marker, and the end of the file
]


@pytest.mark.parametrize(("records", "sent", "file"), BLOCKS_OF_OTHERS)
def test_blocks_of_others(records: Records | None, sent: str, file: bytes) -> None:
    """Any combination of descriptor codes is understood, at every split."""

    for parts in splits(bytes.fromhex(sent)):
        decoder = BlockDecoder(records=records)
        assert run(decoder, parts) == file
        assert decoder.complete


# RFC 959 §3.4.3: byte string 0nnnnnnn, replicated byte 10nnnnnn, filler 11nnnnnn, escape
# 00000000 and a descriptor. What is sent of the file in one piece, with space as filler.
STRINGS = [
    (None, b"", "0040 c0"),
    (None, b"abc", "03 616263  0040 c0"),
    (None, b"aaaa", "84 61  0040 c0"),
    (None, b"aaa", "03 616161  0040 c0"),  # nothing to gain
    (None, b"x    y", "01 78  c4  01 79  0040 c0"),
    (None, b"a" * 63, "bf 61  0040 c0"),
    (None, b"a" * 64, "bf 61  81 61  0040 c0"),
    (None, b" " * 63, "ff  0040 c0"),
    (None, b" " * 130, "ff ff c4  0040 c0"),
    (None, b"\0" * 5, "85 00  0040 c0"),
    (None, bytes(range(33, 33 + 128)), f"7f {bytes(range(33, 160)).hex()} 01 a0 0040 c0"),
    (LINES, b"a\nbc\n", "01 61  0080 c0  02 6263  0080 c0  0040 c0"),
    (LINES, b"\n", "0080 c0  0040 c0"),
    (LINES, b"a\nb", "01 61  0080 c0  01 62  00c0 c0"),
    (OPEN_LINES, b"a\nb", "01 61  0080 c0  01 62  0040 c0"),
    (ONE, b"a\nb", "03 610a62  00c0 c0"),
]


@pytest.mark.parametrize(("records", "file", "sent"), STRINGS)
def test_strings(records: Records | None, file: bytes, sent: str) -> None:
    """Compressed mode gives what the table says; any split of it, and of the file, is the same."""

    assert run(CompressedEncoder(0x20, records=records), [file]) == bytes.fromhex(sent)
    closed = file + b"\n" if records == LINES and file[-1:] not in (b"", b"\n") else file
    for parts in splits(bytes.fromhex(sent)):
        assert run(CompressedDecoder(0x20, records=records), parts) == closed
    for parts in splits(file):
        again = run(CompressedEncoder(0x20, records=records), parts)
        assert run(CompressedDecoder(0x20, records=records), [again]) == closed


# An escape "appl[ies] to the succeeding string of bytes"; and what senders make of that.
STRINGS_OF_OTHERS = [
    (None, "02 6162  0040 01 63", b"abc"),  # before the last string, as the RFC says
    (None, "0040 03 616263", b"abc"),
    (None, "0040 83 61", b"aaa"),
    (None, "0040 c3", b"   "),
    (None, "03 616263  0040", b"abc"),  # alone at the end
    (None, "0040", b""),
    (None, "80 61  c0  01 62  0040", b"b"),  # strings of nothing
    (LINES, "0080 01 61  00c0 02 6263", b"a\nbc\n"),
    (LINES, "01 61  0080 01 62  0040", b"ab\n"),
    (LINES, "01 61  0080 0040", b"a\n"),  # both alone at the end
    (LINES, "0080 01 61  00c0", b"a\n"),  # no record is open
    (LINES, "0080 01 61  00c0 c0", b"a\n\n"),  # an empty record
    (LINES, "01 61 0040", b"a"),
    (None, "0080 01 61  00c0 01 62", b"ab"),  # file structure has no records
    (None, "0010 02 6d31  01 61  0040", b"a"),  # a marker
    (None, "0010 82 6d  0050 01 6d", b""),  # replicated; with the end of the file
    (LINES, "0090 01 6d  0040 c0", b"\n"),
    (None, "0020 01 61  0020 82 62  0060 c1", b"abb "),
]


@pytest.mark.parametrize(("records", "sent", "file"), STRINGS_OF_OTHERS)
def test_strings_of_others(records: Records | None, sent: str, file: bytes) -> None:
    """Any combination of escapes is understood, at every split."""

    for parts in splits(bytes.fromhex(sent)):
        decoder = CompressedDecoder(0x20, records=records)
        assert run(decoder, parts) == file
        assert decoder.complete


def test_a_lone_end_of_file_escape_is_the_end_when_the_connection_is() -> None:
    """Until the connection ends, a last string may come; then the lone escape is the end mark."""

    decoder = CompressedDecoder(0)
    assert b"".join(decoder.feed(b"\1a\0\x40")) == b"a"
    assert not decoder.complete
    assert list(decoder.finish()) == []
    assert decoder.complete


@pytest.mark.parametrize(("filler", "name"), [(0x20, "A"), (0x40, "E"), (0, "I")])
def test_filler_byte_is_that_of_the_type(filler: int, name: str) -> None:
    """A run of the filler takes one byte; it is another byte for each type."""

    run_of_five = bytes([filler]) * 5
    sent = run(CompressedEncoder(filler), [run_of_five])
    assert sent == b"\xc5\0\x40\xc0", name
    assert run(CompressedDecoder(filler), [sent]) == run_of_five


# A zlib stream of RFC 1950 by hand: header 78 9c; a stored block of RFC 1951, last; Adler-32.
HELLO = bytes.fromhex("789c  01 0500 faff 68656c6c6f  062c0215")


def test_deflate_is_zlib_by_its_bytes() -> None:
    """MODE Z is a zlib stream, not raw deflate, at every split."""

    for parts in splits(HELLO):
        assert run(DeflateDecoder(), parts) == b"hello"
    for level in range(10):
        sent = run(DeflateEncoder(level=level), [b"hello" * 100])
        assert zlib.decompress(sent) == b"hello" * 100
        assert sent[0] == 0x78
        assert run(DeflateDecoder(), each_byte(sent)) == b"hello" * 100
    assert len(run(DeflateEncoder(level=0), [b"a" * 500])) > 500
    assert run(DeflateEncoder(), []) == zlib.compress(b"")


@pytest.mark.parametrize("size", [4095, 4096, 4097, 8192, MAX_PIECE - 1, MAX_PIECE, MAX_PIECE + 1])
def test_garbage_behind_deflate_is_seen_wherever_the_stream_ends(size: int) -> None:
    """One byte too many is an error, at the edges of what is read at once too."""

    # What level 0 adds to a file is the same for all of about this length.
    added = len(zlib.compress(bytes(size - 20), 0)) - (size - 20)
    file = bytes(size - added)
    sent = zlib.compress(file, 0)
    assert len(sent) == size
    assert run(DeflateDecoder(), [sent]) == file
    with pytest.raises(InvalidData, match="behind the end"):
        list(DeflateDecoder().feed(sent + b"x"))


@pytest.mark.parametrize("level", [-2, -1, 10])
def test_levels_of_deflate_are_0_to_9(level: int) -> None:
    """Another level is refused."""

    with pytest.raises(ValueError, match="0 to 9"):
        DeflateEncoder(level=level)


any_file = st.lists(
    st.sampled_from([b"\n", b"\xff", b"\xff\1", b"\xff\xff\2", b"\0\x40", b"   ", b"\n\n"])
    | st.builds(lambda byte, n: bytes([byte]) * n, st.integers(0, 255), st.integers(1, 300))
    | st.binary(max_size=100),
    max_size=10,
).map(b"".join)


@every_mode
@pytest.mark.parametrize("records", [None, OPEN_LINES, ONE, Records(length=5)], ids=repr)
@settings(max_examples=60)
@given(data=any_file, cuts=st.lists(st.integers(0, 500), max_size=5))
@example(data=b"", cuts=[])
def test_round_trip(mode: str, records: Records | None, data: bytes, cuts: list[int]) -> None:
    """Any file comes back, however it was cut and whatever the records."""

    make_encoder, make_decoder = MODES[mode]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    sent = run(make_encoder(records), [data[a:b] for a, b in itertools.pairwise(edges)])
    for parts in ([sent], each_byte(sent)):
        decoder = make_decoder(records)
        assert run(decoder, parts) == data
        assert decoder.complete


@every_mode
def test_large_data_come_in_bounded_pieces(mode: str) -> None:
    """However much is fed at once, pieces stay small; what is fed may be any buffer."""

    make_encoder, make_decoder = MODES[mode]
    for file in (b"\n" * 300_000, b"\xff" * 200_001, bytes(range(256)) * 1000, b"ab\n" * 70_000):
        for records in (None, OPEN_LINES):
            sent = run(make_encoder(records), [memoryview(bytearray(file))])
            assert run(make_decoder(records), [bytearray(sent)]) == file


@every_mode
def test_a_decoder_is_lazy(mode: str) -> None:
    """`feed` decodes only as far as it is read."""

    make_encoder, make_decoder = MODES[mode]
    file = random.Random(959).randbytes(300_000)
    sent = bytearray(run(make_encoder(None), [file]))
    pieces = iter(make_decoder(None).feed(sent))
    out = next(pieces)
    assert file.startswith(out)
    sent[200_000] ^= 1
    with contextlib.suppress(FTPDataError):
        for piece in pieces:
            out += piece

    assert out != file


@every_mode
@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b"")])
def test_empty_data_yield_nothing(mode: str, empty: Buffer) -> None:
    """Nothing comes of nothing but the end mark."""

    make_encoder, make_decoder = MODES[mode]
    assert list(make_encoder(LINES).feed(empty)) == []
    decoder = make_decoder(LINES)
    assert list(decoder.feed(empty)) == []
    with pytest.raises(TruncatedTransfer):
        list(decoder.finish())


# Data that are in no mode.
INVALID: list[tuple[str, bytes, str]] = [
    ("stream", b"a\xff\0", "no control code: X'FF00'"),
    ("stream", b"\xff\4", "no control code: X'FF04'"),
    ("stream", b"a\xff\xff\xff\xfe", "no control code: X'FFFE'"),
    ("stream", b"\xff\2a", "behind the end"),
    ("block", b"\1\0\0", "no descriptor: 1"),
    ("block", b"\x88\0\1a", "no descriptor: 136"),
    ("block", b"GET / HTTP/1.1\r\n", "no descriptor: 71"),
    ("block", b"\x10\0\0", "no restart marker: b''"),
    ("block", b"\x10\0\3a b", "no restart marker: b'a b'"),
    ("block", b"\x10\0\1\xe9", "no restart marker"),
    ("block", b"\x10\1\0", "a restart marker of 256 bytes"),
    ("block", b"\x40\0\0a", "behind the end"),
    ("compressed", b"\0\0", "no descriptor: 0"),
    ("compressed", b"\0\1", "no descriptor: 1"),
    ("compressed", b"\0\x10\1 ", "no restart marker"),
    ("compressed", b"\0\x10\xc0", "no restart marker"),
    ("compressed", b"\0\x40\1ab", "behind the end"),
    ("deflate", b"\x79\x9c", "incorrect header check"),
    ("deflate", b"\x78\xbb\0\0\0\1", "need dictionary|Error 2"),
    ("deflate", zlib.compress(b"abc", wbits=-15), "MODE Z: Error"),
    ("deflate", HELLO[:-1] + b"\0", "incorrect data check"),
    ("deflate", HELLO + b"x", "behind the end"),
    ("deflate", HELLO + HELLO, "behind the end"),
]


@pytest.mark.parametrize(("mode", "data", "text"), INVALID)
def test_invalid_data(mode: str, data: bytes, text: str) -> None:
    """What cannot be meant is an error, at every split, and says what came."""

    for parts in splits(data):
        with pytest.raises(InvalidData, match=text) as caught:
            run(MODES[mode][1](LINES), parts)

        assert caught.value.reply_code == 451


@pytest.mark.parametrize(
    ("mode", "bad"),
    [("stream", b"abc\xff\0"), ("block", b"\0\0\3abc\7"), ("compressed", b"\3abc\0\7")],
)
def test_what_is_good_comes_out_before_the_error(mode: str, bad: bytes) -> None:
    """The data before a defect are given out, split or not."""

    for parts in splits(bad + b"\0\0"):
        out, error = drain(MODES[mode][1](None), parts)
        assert isinstance(error, InvalidData)
        assert out == b"abc"


@every_mode
def test_nothing_is_taken_after_the_end(mode: str) -> None:
    """A decoder that is complete takes no more data."""

    make_encoder, make_decoder = MODES[mode]
    decoder = make_decoder(LINES)
    list(decoder.feed(run(make_encoder(LINES), [b"a\n"])))
    assert decoder.complete
    assert list(decoder.feed(b"")) == []
    with pytest.raises(InvalidData, match="behind the end"):
        list(decoder.feed(b"a"))


def test_what_follows_in_a_large_read_is_kept() -> None:
    """The remainder is all that came behind the end mark, however much it is."""

    decoder = BlockDecoder()
    following = bytes(range(256)) * 1000
    assert b"".join(decoder.feed(b"\x40\0\1a" + following)) == b"a"
    assert decoder.remainder == following
    with pytest.raises(InvalidData, match="behind the end"):
        list(decoder.finish())
    assert decoder.take_remainder() == following
    assert decoder.take_remainder() == b""
    assert list(decoder.finish()) == []


@pytest.mark.parametrize(
    "sent",
    [b"\0\x80", b"\0\x10", b"\0\x50", b"\0", b"\x81", b"\0\x40\3ab", b"\0\x40\x81", b"\0\x40\0"],
)
def test_compressed_data_that_lack_what_was_announced_are_truncated(sent: bytes) -> None:
    """An escape of anything but the end of the file, or half a string, is no end."""

    for parts in splits(sent):
        with pytest.raises(TruncatedTransfer) as caught:
            run(CompressedDecoder(0, records=LINES), parts)

        assert caught.value.reply_code == 426


# Restart markers


def test_six_character_marker_of_rfc_959() -> None:
    """RFC 959 §3.4.2: "to transmit a six-character marker, the following would be sent"."""

    assert b"".join(BlockEncoder().marker("MARKER")) == b"\x10\0\6MARKER"
    assert b"".join(CompressedEncoder(0).marker("MARKER")) == b"\0\x10\6MARKER"


@pytest.mark.parametrize("make", [BlockEncoder, lambda: CompressedEncoder(0x20)])
@pytest.mark.parametrize("text", ["", "a b", " ", "a\n", "\x7f", "é", "\0"])
def test_markers_that_are_none_are_not_sent(
    make: Callable[[], BlockEncoder | CompressedEncoder], text: str
) -> None:
    """A marker is printable ASCII without spaces."""

    with pytest.raises(ValueError, match="printable"):
        list(make().marker(text))


def test_markers_of_compressed_mode_fit_a_string() -> None:
    """A string of compressed mode has 127 bytes."""

    marker = b"".join(CompressedEncoder(0).marker("m" * 127))
    assert len(marker) == 130
    with pytest.raises(ValueError, match="127"):
        list(CompressedEncoder(0).marker("m" * 128))


@pytest.mark.parametrize("mode", ["block", "compressed"])
def test_markers_are_told_when_all_before_them_was_taken(mode: str) -> None:
    """A marker's offset counts the file's bytes before it, which the reader has by then."""

    encoder = MODES[mode][0](LINES)
    assert isinstance(encoder, BlockEncoder | CompressedEncoder)
    sent = b"".join((
        *encoder.marker("start"),
        *encoder.feed(b"abc\nd"),
        *encoder.marker("1"),
        *encoder.feed(b"\n"),
        *encoder.marker("2"),
        *encoder.finish(),
    ))
    for parts in splits(sent):
        taken = b""
        told: list[tuple[RestartMarker, bytes]] = []

        def note(marker: RestartMarker) -> None:
            told.append((marker, taken))  # noqa: B023 - called within this turn

        decoder = MODES[mode][1](LINES)
        decoder.on_marker = note
        for part in parts:
            for piece in decoder.feed(part):
                taken += piece

        assert taken == b"abc\nd\n"
        assert told == [
            (RestartMarker("start", 0), b""),
            (RestartMarker("1", 5), b"abc\nd"),
            (RestartMarker("2", 6), b"abc\nd\n"),
        ]


@pytest.mark.parametrize("mode", ["block", "compressed"])
def test_markers_longer_than_allowed_are_refused(mode: str) -> None:
    """The longest marker is a limit of the host's, at every split."""

    encoder = MODES[mode][0](None)
    assert isinstance(encoder, BlockEncoder | CompressedEncoder)
    limits = CodecLimits(marker=5)
    good = b"".join((*encoder.marker("12345"), *encoder.finish()))
    assert run(MODES[mode][1](None, limits), [good]) == b""
    for parts in splits(b"".join(encoder.marker("123456"))):
        with pytest.raises(InvalidData, match="a restart marker of 6 bytes"):
            run(MODES[mode][1](None, limits), parts)


def test_what_a_callback_raises_ends_the_transfer() -> None:
    """An error of the host's comes out where the decoder is read; data before it came out."""

    def refuse(_: object) -> None:
        raise QuotaExceeded("enough")

    decoder = BlockDecoder()
    decoder.on_marker = refuse
    pieces = iter(decoder.feed(b"\0\0\1a" + b"\x10\0\1m"))
    assert next(pieces) == b"a"
    with pytest.raises(QuotaExceeded, match="enough"):
        next(pieces)


def test_mark_reply_is_to_the_letter() -> None:
    """RFC 959 §4.2.1: "the text is exact … MARK yyyy = mmmm"."""

    assert format_mark_reply(RestartMarker("yyyy", 4096)) == "110 MARK yyyy = 4096"
    assert format_mark_reply(RestartMarker("yyyy", 0), own="mmmm") == "110 MARK yyyy = mmmm"
    for own in ("", "a b", "a\r\n226 Done"):
        with pytest.raises(ValueError, match="printable"):
            format_mark_reply(RestartMarker("yyyy", 0), own=own)

    for text in ("110 MARK yyyy = mmmm", "110-MARK yyyy = mmmm", "MARK yyyy = mmmm\r\n"):
        assert parse_mark_reply(text) == ("yyyy", "mmmm")
    for text in ("", "110 MARK a=b", "110 MARK a = ", "111 MARK a = b", "110 MARK a b = c"):
        with pytest.raises(BadArgument) as caught:
            parse_mark_reply(text)
        assert caught.value.reply_code == 501


@pytest.mark.parametrize(
    ("argument", "level"),
    [
        ("MODE Z LEVEL 6", 6),
        ("mode z level 0", 0),
        ("Z LEVEL 9", 9),
        (" MODE  Z  ENGINE ZLIB  LEVEL  1 ", 1),
    ],
)
def test_deflate_level(argument: str, level: int) -> None:
    """OPTS MODE Z LEVEL n, as lftp sends it and ProFTPD documents it."""

    assert parse_deflate_level(argument) == level


@pytest.mark.parametrize(
    "argument", ["", "MODE Z", "MODE Z LEVEL", "MODE Z LEVEL 10", "Z LEVEL -1", "Z LEVEL \u0663"]
)
def test_deflate_levels_that_are_none(argument: str) -> None:
    """Anything else is a bad argument."""

    with pytest.raises(BadArgument) as caught:
        parse_deflate_level(argument)

    assert caught.value.reply_code == 501


# Suspect data


@pytest.mark.parametrize("mode", ["block", "compressed"])
@pytest.mark.parametrize("records", [None, LINES])
def test_suspect_data_are_marked_and_delivered(mode: str, records: Records | None) -> None:
    """Data sent as suspect arrive, counted and told ahead; the rest is not suspect."""

    encoder = MODES[mode][0](records)
    assert isinstance(encoder, BlockEncoder | CompressedEncoder)
    sent = b"".join((
        *encoder.feed(b"good\n"),
        *encoder.feed(b"b d\nbaaaad", suspect=True),
        *encoder.feed(b"good\n"),
        *encoder.finish(),
    ))
    for parts in splits(sent):
        told: list[SuspectData] = []
        decoder = MODES[mode][1](records)
        decoder.on_suspect = told.append
        assert run(decoder, parts) == b"good\nb d\nbaaaadgood\n"
        assert decoder.suspect_bytes == sum(it.size for it in told)
        assert decoder.suspect_bytes == (10 if records is None else 9)
        assert told[0].offset == 5


def test_suspect_pieces_are_bounded() -> None:
    """Compressed mode needs an escape for each suspect string; pieces stay small."""

    encoder = CompressedEncoder(0x20, records=LINES)
    pieces = list(encoder.feed(b"\n" * 100_000, suspect=True))
    assert max(map(len, pieces)) <= MAX_PIECE
    data = b"".join((*pieces, *encoder.finish()))
    assert run(CompressedDecoder(0x20, records=LINES), [data]) == b"\n" * 100_000


# Limits


# Data that expand as much as each mode lets them.
BOMBS = [
    ("deflate", zlib.compress(bytes(8 << 20), 9)),
    ("compressed", b"\xff" * ((8 << 20) // 63)),
    ("compressed", b"\xbf\0" * ((8 << 20) // 63)),
]
BOMB_NAMES = ["deflate", "filler", "replicated"]


@pytest.mark.parametrize(("mode", "bomb"), BOMBS, ids=BOMB_NAMES)
@pytest.mark.parametrize("size", [7, 1000, 1 << 30])
def test_bombs_are_stopped_at_the_ratio(mode: str, bomb: bytes, size: int) -> None:
    """Data that expand too much end the transfer, in little memory, however they are split."""

    limits = CodecLimits(ratio=20, ratio_from=1 << 20)
    decoder = MODES[mode][1](None, limits)
    parts = (bomb[start : start + size] for start in range(0, len(bomb), size))
    out = 0
    error = None
    tracemalloc.start()
    try:
        for part in parts:
            for piece in decoder.feed(part):
                out += len(piece)
                assert len(piece) <= MAX_PIECE
    except FTPDataError as raised:
        error = raised
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert isinstance(error, InvalidData)
    assert "more than 20 times" in error.message
    assert error.reply_code == 451
    assert out <= max(1 << 20, 20 * len(bomb))
    assert peak < 1 << 20


@pytest.mark.parametrize(("mode", "bomb"), BOMBS, ids=BOMB_NAMES)
def test_bombs_are_stopped_at_the_size_limit(mode: str, bomb: bytes) -> None:
    """No more than the size limit is ever given out. Reply 552."""

    out, error = drain(MODES[mode][1](None, CodecLimits(output=1 << 20, ratio=None)), [bomb])
    assert isinstance(error, QuotaExceeded)
    assert error.reply_code == 552
    assert (1 << 20) - MAX_PIECE <= len(out) <= 1 << 20


def test_the_default_ratio_stops_a_bomb_and_no_text() -> None:
    """By default a bomb of zeros ends early, and the same line over and over does not."""

    lines = b"2026-01-01 00:00:00 INFO nothing happened, all is well, still here\n" * 1_200_000
    sent = zlib.compress(lines, 9)
    assert len(lines) > CodecLimits().ratio_from
    decoder = DeflateDecoder()
    assert sum(map(len, decoder.feed(sent))) == len(lines)
    assert decoder.complete

    deflater = zlib.compressobj(9)
    bomb = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(80))
    out, error = drain(DeflateDecoder(), [bomb])
    assert isinstance(error, InvalidData)
    assert len(out) <= CodecLimits().ratio_from + MAX_PIECE


def test_data_of_no_bytes_are_no_hang() -> None:
    """Headers without data, over and over, give nothing and hold nothing."""

    for decoder, data in (
        (BlockDecoder(), b"\0\0\0" * 100_000),
        (CompressedDecoder(0), b"\xc0" * 100_000),
        (DeflateDecoder(), b"\x78\x9c" + b"\0\0\0\xff\xff" * 50_000),
    ):
        assert list(decoder.feed(data)) == []
        assert not decoder.complete


@pytest.mark.parametrize("mode", ["stream", "block", "compressed"])
def test_records_have_a_longest_length(mode: str) -> None:
    """Counted from end to end of a record, over any split; the exact limit is allowed."""

    make_encoder, make_decoder = MODES[mode]
    limits = CodecLimits(record=4)
    good = run(make_encoder(LINES), [b"abcd\n\n\xff\xff\xff\xff\nab"])
    bad = run(make_encoder(LINES), [b"abcd\n\xff\xff\xff\xff\xff\na"])
    for parts in splits(good):
        assert run(make_decoder(LINES, limits), parts) == b"abcd\n\n\xff\xff\xff\xff\nab\n"
    for parts in splits(bad):
        with pytest.raises(InvalidData, match="a record of more than 4 bytes"):
            run(make_decoder(LINES, limits), parts)

    for records in (None, ONE):
        sent = run(make_encoder(records), [b"abcdefgh"])
        assert run(make_decoder(records, limits), [sent]) == b"abcdefgh"


@pytest.mark.parametrize("name", ["record", "marker", "output", "ratio"])
def test_limits_are_checked(name: str) -> None:
    """A limit of nothing is none."""

    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        CodecLimits(**{name: 0})


def test_records_are_checked() -> None:
    """A record has an end, or a length, or neither; one that is sent ends in one byte."""

    for wrong in ({"end": b""}, {"end": b"abc"}, {"end": b"\n", "length": 1}, {"length": 0}):
        with pytest.raises(ValueError, match=r"either|at least 1"):
            Records(**wrong)

    for make in (
        StreamRecordEncoder,
        lambda records: BlockEncoder(records=records),
        lambda records: CompressedEncoder(0, records=records),
    ):
        with pytest.raises(ValueError, match="one byte"):
            make(Records(end=b"\r\n"))
