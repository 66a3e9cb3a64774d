"""Records as such: byte tables by hand, every split, and what a peer cannot mean."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.codecs.framing import RecordDecoder, record_decoder_for, record_encoder_for
from ftpdata.codecs.limits import CodecLimits
from ftpdata.errors import InvalidData, TruncatedTransfer, UnsupportedParameter
from ftpdata.parameters import TransferParameters

BLOCK = TransferParameters().with_mode("B")
STREAM = TransferParameters().with_structure("R")
TYPES = [
    parameters.with_type(kind)
    for parameters in (BLOCK, STREAM, BLOCK.with_structure("R"))
    for kind in ("A", "E", "I", "L 8")
]


def decoded(
    parameters: TransferParameters, *parts: bytes, limits: CodecLimits | None = None
) -> list[bytes]:
    """Return the records in parts of what is received."""

    decoder = record_decoder_for(parameters, limits=limits or CodecLimits())
    records = [record for part in parts for record in decoder.feed(part)]
    decoder.finish()
    assert decoder.complete
    return records


def collect(decoder: RecordDecoder, parts: list[bytes], found: list[bytes]) -> None:
    """Append records to those found; what came before an error is there."""

    for part in parts:
        for record in decoder.feed(part):
            found.append(record)  # noqa: PERF402


# Block mode: RFC 959 §3.4.2. A descriptor byte (128: end of record, 64: end of file, 32: suspect,
# 16: restart marker), two bytes with the number of bytes of data, then the data. The data are
# EBCDIC: X'C1' is A, X'C2' is B. That z/OS sends 128 on each record under STRU F, and 64 on the
# last one: z/OS Communications Server: IP User's Guide and Commands, "MODE B", as the dumps of its
# transfers show.
BLOCKS = [
    ("80 0002 C1C2  80 0001 C1  40 0000", ["C1C2", "C1"]),  # as RFC 959 asks
    ("80 0002 C1C2  40 0001 C1", ["C1C2", "C1"]),  # as z/OS ends
    ("80 0002 C1C2  C0 0001 C1", ["C1C2", "C1"]),  # the last end of record said as well
    ("40 0000", []),  # no record
    ("C0 0000", [""]),  # one that is empty
    ("80 0000  80 0000  40 0000", ["", ""]),
    ("80 0000  C0 0000", ["", ""]),
    ("00 0001 C1  00 0001 C2  80 0001 C1  40 0000", ["C1C2C1"]),  # a record over three blocks
    ("00 0001 C1  80 0000  40 0000", ["C1"]),  # its end in a block of its own
    ("00 0001 C1  40 0000", ["C1"]),  # no end of record before that of the file
    ("00 0001 C1  40 0001 C2", ["C1C2"]),
    ("00 0000  40 0000", []),  # a block of nothing begins no record
    ("10 0002 F1F2  80 0001 C1  10 0001 F3  40 0000", ["C1"]),  # markers are no data
    ("00 0001 C1  10 0001 F3  80 0001 C2  40 0000", ["C1C2"]),
    ("A0 0001 C1  40 0000", ["C1"]),  # suspect
    ("80 0006 123CFF010D25  40 0000", ["123CFF010D25"]),  # packed decimals
]

# Stream mode with record structure: RFC 959 §3.4.1. X'FF01' ends a record, X'FF02' the file,
# X'FF03' both; X'FF' in the data is doubled.
STREAMS = [
    ("C1C2 FF01 C1 FF01 FF02", ["C1C2", "C1"]),
    ("C1C2 FF01 C1 FF03", ["C1C2", "C1"]),
    ("C1C2 FF01 C1 FF02", ["C1C2", "C1"]),
    ("FF02", []),
    ("FF03", [""]),
    ("FF01 FF01 FF02", ["", ""]),
    ("FF01 FF03", ["", ""]),
    ("FFFF FF01 C1FFFF01 FF01 FFFFFFFF FF03", ["FF", "C1FF01", "FFFF"]),
    ("FFFF02 FF01 FF02", ["FF02"]),
]


def in_hex(table: list[tuple[str, list[str]]]) -> list[tuple[bytes, list[bytes]]]:
    """Return a table whose bytes are in hexadecimal digits."""

    return [
        (bytes.fromhex(sent), [bytes.fromhex(record) for record in records])
        for sent, records in table
    ]


TABLE = [
    *((BLOCK, *row) for row in in_hex(BLOCKS)),
    *((STREAM, *row) for row in in_hex(STREAMS)),
]


@pytest.mark.parametrize(("parameters", "sent", "records"), TABLE)
def test_what_arrives(parameters: TransferParameters, sent: bytes, records: list[bytes]) -> None:
    """The boundaries are exact, whole, cut once at any place, and byte by byte."""

    assert decoded(parameters, sent) == records
    assert decoded(parameters, *(sent[at : at + 1] for at in range(len(sent)))) == records
    for at in range(len(sent) + 1):
        assert decoded(parameters, sent[:at], sent[at:]) == records


@pytest.mark.parametrize(
    ("parameters", "records", "sent"),
    [
        (BLOCK, [], "40 0000"),
        (BLOCK, [b"\xc1\xc2", b"", b"\xc1"], "80 0002 C1C2  80 0000  80 0001 C1  40 0000"),
        (BLOCK, [b"\xff\x01"], "80 0002 FF01  40 0000"),
        (STREAM, [], "FF02"),
        (STREAM, [b"\xc1\xc2", b"", b"\xff"], "C1C2 FF01  FF01  FFFF FF01  FF02"),
    ],
)
def test_what_is_sent(parameters: TransferParameters, records: list[bytes], sent: str) -> None:
    """The bytes are those of RFC 959, for bytes of any kind."""

    for kind in (bytes, bytearray, memoryview):
        encoder = record_encoder_for(parameters)
        made = encoder.feed([kind(record) for record in records]) + encoder.finish()
        assert made == bytes.fromhex(sent)


@pytest.mark.parametrize(
    ("size", "headers"),
    [
        (65535, [(0, b"\x80\xff\xff")]),
        (65536, [(0, b"\x00\xff\xff"), (65538, b"\x80\x00\x01")]),
        (131070, [(0, b"\x00\xff\xff"), (65538, b"\x80\xff\xff")]),
    ],
)
def test_a_long_record_spans_blocks(size: int, headers: list[tuple[int, bytes]]) -> None:
    """A block has at most 65535 bytes, and only the last one ends the record."""

    record = bytes(range(1, 256)) * (size // 255 + 1)
    record = record[:size]
    encoder = record_encoder_for(BLOCK)
    sent = encoder.feed([record, b"x"]) + encoder.finish()
    for at, header in headers:
        assert sent[at : at + 3] == header

    assert decoded(BLOCK, sent) == [record, b"x"]
    assert decoded(BLOCK, *(sent[at : at + 1000] for at in range(0, len(sent), 1000))) == [
        record,
        b"x",
    ]


@given(
    st.sampled_from(TYPES),
    st.lists(st.binary(max_size=9) | st.text("\xff\x01\x02", max_size=5).map(
        lambda text: text.encode("latin-1"))),
    st.lists(st.integers(1, 12)),
)  # fmt: skip
def test_records_come_back(
    parameters: TransferParameters, records: list[bytes], cuts: list[int]
) -> None:
    """Whatever they hold, and wherever the data are split."""

    encoder = record_encoder_for(parameters)
    sent = b"".join([*(encoder.feed([record]) for record in records), encoder.finish()])
    parts = []
    for cut in cuts:
        parts.append(sent[:cut])
        sent = sent[cut:]

    assert decoded(parameters, *parts, sent) == records


@pytest.mark.parametrize(("parameters", "sent", "records"), TABLE)
def test_a_cut_is_an_error_after_the_whole_records(
    parameters: TransferParameters, sent: bytes, records: list[bytes]
) -> None:
    """At every byte: what was whole has been given, the rest is not, and the end is missed."""

    for at in range(len(sent)):
        decoder = record_decoder_for(parameters)
        found = [*decoder.feed(sent[:at])]
        assert found == records[: len(found)]
        assert not decoder.complete
        with pytest.raises(TruncatedTransfer, match="the end of the file is missing") as caught:
            decoder.finish()
        assert caught.value.reply_code == 426


@pytest.mark.parametrize(
    ("parameters", "sent", "where"),
    [
        (BLOCK, b"\x80\x00\x01A", "between records"),
        (BLOCK, b"\x80\x00\x01A\x80", "within a record"),
        (BLOCK, b"\x80\x00\x01A\x00\x00\x01B", "within a record"),
        (BLOCK, b"\x80\x00\x02A", "within a record"),
        (STREAM, b"A\xff\x01", "between records"),
        (STREAM, b"A\xff\x01B", "within a record"),
        (STREAM, b"A\xff\x01\xff", "within a record"),
    ],
)
def test_a_cut_says_where_it_is(parameters: TransferParameters, sent: bytes, where: str) -> None:
    """It tells lost data from a lost end."""

    decoder = record_decoder_for(parameters)
    assert [*decoder.feed(sent)] == [b"A"] * (sent != b"\x80\x00\x02A")
    with pytest.raises(TruncatedTransfer, match=where):
        decoder.finish()


@pytest.mark.parametrize(
    ("parameters", "sent", "message"),
    [
        (BLOCK, b"\x80\x00\x01A\x81\x00\x01B", "not a descriptor code: 129"),
        (BLOCK, b"\x80\x00\x01A\x08\x00\x00", "not a descriptor code: 8"),
        (BLOCK, b"\x80\x00\x01A\x10\x01\x00" + bytes(256), "a restart marker of 256 bytes"),
        (BLOCK, b"\x80\x00\x01A\x80\x00\x06" + bytes(6), "a record of more than 5 bytes"),
        (BLOCK, b"\x80\x00\x01A" + b"\x00\x00\x03abc" * 2, "a record of more than 5 bytes"),
        (STREAM, b"A\xff\x01\xff\x04", "not a control code: X'FF04'"),
        (STREAM, b"A\xff\x01abcdef", "a record of more than 5 bytes"),
        (STREAM, b"A\xff\x01abcdef\xff\x01", "a record of more than 5 bytes"),
        (STREAM, b"A\xff\x01abc\xff\xffdef\xff\x01", "a record of more than 5 bytes"),
        (STREAM, b"A\xff\x03B", "data after the end of the file"),
    ],
)
def test_what_a_peer_cannot_mean(
    parameters: TransferParameters, sent: bytes, message: str
) -> None:
    """It is an error, after the record that precedes it."""

    limits = CodecLimits(record=5)
    for parts in ([sent], [sent[at : at + 1] for at in range(len(sent))]):
        decoder = record_decoder_for(parameters, limits=limits)
        found: list[bytes] = []
        with pytest.raises(InvalidData, match=message) as caught:
            collect(decoder, parts, found)
        assert found == [b"A"]
        assert caught.value.reply_code == 451


def test_records_without_a_limit() -> None:
    """None allows any length."""

    sent = b"\x00\xff\xff" + bytes(65535) + b"\x80\x00\x01A" + b"\x40\x00\x00"
    assert decoded(BLOCK, sent, limits=CodecLimits(record=None)) == [bytes(65535) + b"A"]
    assert decoded(BLOCK, b"\x80\x00\x01A\x40\x00\x00", limits=CodecLimits(record=None)) == [b"A"]


def test_what_follows_the_file_in_block_mode() -> None:
    """It is the beginning of the next file, which somebody must take (RFC 959 §3.3)."""

    decoder = record_decoder_for(BLOCK)
    assert decoder.several_files
    assert [*decoder.feed(b"\x80\x00\x01A\x40\x00\x00\x80\x00")] == [b"A"]
    assert decoder.remainder == b"\x80\x00"
    with pytest.raises(InvalidData, match="after the end"):
        decoder.finish()
    assert decoder.take_remainder() == b"\x80\x00"
    decoder.finish()
    assert [*decoder.feed(b"")] == []
    with pytest.raises(InvalidData, match="after the end"):
        [*decoder.feed(b"x")]

    assert not record_decoder_for(STREAM).several_files


@pytest.mark.parametrize(
    "parameters",
    [
        TransferParameters(),
        TransferParameters().with_mode("C"),
        TransferParameters().with_mode("Z").with_structure("R"),
    ],
)
def test_what_keeps_no_boundaries_is_refused(parameters: TransferParameters) -> None:
    """Records that would be joined are not taken at all."""

    for make in (record_encoder_for, record_decoder_for):
        with pytest.raises(UnsupportedParameter, match="records need MODE B") as caught:
            make(parameters)
        assert caught.value.reply_code == 504


@pytest.mark.parametrize("parameters", [BLOCK, STREAM])
@pytest.mark.parametrize("record", ["x", 5, None])
def test_a_record_is_bytes(parameters: TransferParameters, record: object) -> None:
    """Anything else is refused by name."""

    with pytest.raises(TypeError, match=r"^record must be bytes, not"):
        record_encoder_for(parameters).feed([record])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        (BLOCK, b"\x00\xff\xff" + bytes(65535)),
        (BLOCK, b"\x00\x00\x01a" * 16384),
        (STREAM, b"\xff\xff" * 32768),
        (STREAM, b"a" * 65536),
    ],
)
def test_single_bytes_take_linear_time(parameters: TransferParameters, sent: bytes) -> None:
    """A peer that sends byte by byte does not make the decoder copy what it has."""

    decoder = record_decoder_for(parameters)
    began = time.process_time()
    for at in range(len(sent)):
        for _ in decoder.feed(sent[at : at + 1]):
            pass

    assert time.process_time() - began < 2.0
