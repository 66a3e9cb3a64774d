"""What all transmission modes have in common: any split, any cut, hostile peers."""

from __future__ import annotations

import contextlib
import itertools
import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftpdata.codecs._pieces import MAX_PIECE
from ftpdata.codecs.block import BlockDecoder, BlockEncoder
from ftpdata.codecs.compressed import CompressedDecoder, CompressedEncoder
from ftpdata.codecs.deflate import DeflateDecoder, DeflateEncoder
from ftpdata.codecs.limits import CodecLimits
from ftpdata.codecs.records import Records
from ftpdata.codecs.restart import RestartMarker, SuspectData
from ftpdata.codecs.stream import StreamRecordDecoder, StreamRecordEncoder
from ftpdata.contracts import Buffer, Encoder
from ftpdata.errors import FTPDataError, InvalidData, QuotaExceeded, TruncatedTransfer
from tests.harness.codecs import (
    LINES,
    ONE,
    OPEN_LINES,
    MarkedDecoder,
    drain,
    each_byte,
    run,
    splits,
)

DEFAULT = CodecLimits()

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

# A zlib stream of RFC 1950 by hand: header 78 9c; a stored block of RFC 1951, last; Adler-32.
HELLO = bytes.fromhex("789c  01 0500 faff 68656c6c6f  062c0215")
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
    """Any file comes back, however it was split and whatever its records."""

    make_encoder, make_decoder = MODES[mode]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    sent = run(make_encoder(records), [data[a:b] for a, b in itertools.pairwise(edges)])
    for parts in ([sent], each_byte(sent)):
        decoder = make_decoder(records)
        assert run(decoder, parts) == data
        assert decoder.complete


@every_mode
def test_large_data_come_in_bounded_pieces(mode: str) -> None:
    """However much is fed at once, pieces stay small; any buffer can be fed."""

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
    """No data yield nothing but the end mark."""

    make_encoder, make_decoder = MODES[mode]
    assert list(make_encoder(LINES).feed(empty)) == []
    decoder = make_decoder(LINES)
    assert list(decoder.feed(empty)) == []
    with pytest.raises(TruncatedTransfer):
        list(decoder.finish())


# Data that are invalid in every mode.
INVALID: list[tuple[str, bytes, str]] = [
    ("stream", b"a\xff\0", "not a control code: X'FF00'"),
    ("stream", b"\xff\4", "not a control code: X'FF04'"),
    ("stream", b"a\xff\xff\xff\xfe", "not a control code: X'FFFE'"),
    ("stream", b"\xff\2a", "after the end"),
    ("block", b"\1\0\0", "not a descriptor code: 1"),
    ("block", b"\x88\0\1a", "not a descriptor code: 136"),
    ("block", b"GET / HTTP/1.1\r\n", "not a descriptor code: 71"),
    ("block", b"\x10\0\0", "not a restart marker: b''"),
    ("block", b"\x10\0\3a b", "not a restart marker: b'a b'"),
    ("block", b"\x10\0\1\xe9", "not a restart marker"),
    ("block", b"\x10\1\0", "a restart marker of 256 bytes"),
    ("block", b"\x40\0\0a", "after the end"),
    ("compressed", b"\0\0", "not a descriptor code: 0"),
    ("compressed", b"\0\1", "not a descriptor code: 1"),
    ("compressed", b"\0\x10\1 ", "not a restart marker"),
    ("compressed", b"\0\x10\xc0", "not a restart marker"),
    ("compressed", b"\0\x40\1ab", "after the end"),
    ("deflate", b"\x79\x9c", "incorrect header check"),
    ("deflate", b"\x78\xbb\0\0\0\1", "need dictionary|Error 2"),
    ("deflate", zlib.compress(b"abc", wbits=-15), "MODE Z: Error"),
    ("deflate", HELLO[:-1] + b"\0", "incorrect data check"),
    ("deflate", HELLO + b"x", "after the end"),
    ("deflate", HELLO + HELLO, "after the end"),
]


@pytest.mark.parametrize(("mode", "data", "text"), INVALID)
def test_invalid_data(mode: str, data: bytes, text: str) -> None:
    """Invalid data are an error that quotes them, at every split."""

    for parts in splits(data):
        with pytest.raises(InvalidData, match=text) as caught:
            run(MODES[mode][1](LINES), parts)

        assert caught.value.reply_code == 451


@pytest.mark.parametrize(
    ("mode", "bad"),
    [("stream", b"abc\xff\0"), ("block", b"\0\0\3abc\7"), ("compressed", b"\3abc\0\7")],
)
def test_what_is_good_comes_out_before_the_error(mode: str, bad: bytes) -> None:
    """The data before a defect are given out, however they are split."""

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
    with pytest.raises(InvalidData, match="after the end"):
        list(decoder.feed(b"a"))


# Restart markers and suspect data


@pytest.mark.parametrize("mode", ["block", "compressed"])
def test_markers_are_reported_when_all_before_them_was_taken(mode: str) -> None:
    """A marker's offset counts the file's bytes before it, all of which the reader has by then."""

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
    """The host limits the length of a marker; the limit holds at every split."""

    encoder = MODES[mode][0](None)
    assert isinstance(encoder, BlockEncoder | CompressedEncoder)
    limits = CodecLimits(marker=5)
    good = b"".join((*encoder.marker("12345"), *encoder.finish()))
    assert run(MODES[mode][1](None, limits), [good]) == b""
    for parts in splits(b"".join(encoder.marker("123456"))):
        with pytest.raises(InvalidData, match="a restart marker of 6 bytes"):
            run(MODES[mode][1](None, limits), parts)


def test_what_a_callback_raises_ends_the_transfer() -> None:
    """The host's error is raised where the decoder is read, after the data before it."""

    def refuse(_: object) -> None:
        raise QuotaExceeded("enough")

    decoder = BlockDecoder()
    decoder.on_marker = refuse
    pieces = iter(decoder.feed(b"\0\0\1a" + b"\x10\0\1m"))
    assert next(pieces) == b"a"
    with pytest.raises(QuotaExceeded, match="enough"):
        next(pieces)


@pytest.mark.parametrize("mode", ["block", "compressed"])
@pytest.mark.parametrize("records", [None, LINES])
def test_suspect_data_are_marked_and_delivered(mode: str, records: Records | None) -> None:
    """Suspect data arrive, are counted and reported first; the other data are not suspect."""

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


@pytest.mark.parametrize("mode", ["block", "compressed"])
def test_data_are_cut_only_where_somebody_asks(mode: str) -> None:
    """Each piece costs its reader something, so a peer cannot make every byte a piece."""

    units = {"block": b"\x20\0\x01x\x10\0\x01m", "compressed": b"\0\x20\x01x\0\x10\x01m"}
    decoder = MODES[mode][1](None)
    assert list(decoder.feed(units[mode] * 1000)) == [b"x" * 1000]
    assert decoder.suspect_bytes == 1000
    told: list[object] = []
    decoder = MODES[mode][1](None)
    decoder.on_marker = decoder.on_suspect = told.append
    assert list(decoder.feed(units[mode] * 3)) == [b"x"] * 3
    assert len(told) == 6


# Limits

# Data that expand as much as each mode permits.
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

    import tracemalloc

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
                assert len(piece) <= 64 * 1024
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
    """No more than the size limit is ever given out; the reply is 552."""

    out, error = drain(MODES[mode][1](None, CodecLimits(output=1 << 20, ratio=None)), [bomb])
    assert isinstance(error, QuotaExceeded)
    assert error.reply_code == 552
    assert (1 << 20) - MAX_PIECE <= len(out) <= 1 << 20


def test_the_default_ratio_stops_a_bomb_and_no_text() -> None:
    """By default a bomb of zeros is stopped early, but one line repeated many times is not."""

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
    assert "more than 500 times" in error.message
    assert len(out) <= 64 * 1024 * 1024 + MAX_PIECE


def test_data_of_no_bytes_are_no_hang() -> None:
    """Headers without data, repeated for ever, yield nothing and hold nothing."""

    for decoder, data in (
        (BlockDecoder(), b"\0\0\0" * 100_000),
        (CompressedDecoder(0), b"\xc0" * 100_000),
        (DeflateDecoder(), b"\x78\x9c" + b"\0\0\0\xff\xff" * 50_000),
    ):
        assert list(decoder.feed(data)) == []
        assert not decoder.complete


@pytest.mark.parametrize("mode", ["stream", "block", "compressed"])
def test_a_record_has_16_mebibytes_at_most_by_default(mode: str) -> None:
    """A line of exactly that length is allowed."""

    make_encoder, make_decoder = MODES[mode]
    line = bytes(range(33, 97)) * (16 * 1024 * 1024 // 64)
    good = run(make_encoder(LINES), [line + b"\n"])
    assert run(make_decoder(LINES), [good]) == line + b"\n"
    bad = run(make_encoder(LINES), [line + b"x\n"])
    with pytest.raises(InvalidData, match="a record of more than 16777216 bytes"):
        run(make_decoder(LINES), [bad])


@pytest.mark.parametrize("mode", ["stream", "block", "compressed"])
def test_records_have_a_longest_length(mode: str) -> None:
    """The length counts from end to end of a record, at any split; exactly the limit is allowed."""

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
