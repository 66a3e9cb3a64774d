"""Files of records as the codecs of a transfer take them: `CodecOptions.record_file`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.codecs import (
    MAX_PIECE,
    CodecLimits,
    CodecOptions,
    RecordFile,
    decoder_for,
    encoder_for,
    listing_encoder_for,
    record_decoder_for,
    record_encoder_for,
)
from ftpdata.codecs.rdw import record_reader, record_writer
from ftpdata.errors import InvalidData, QuotaExceeded, TruncatedTransfer
from ftpdata.parameters import TransferParameters

BLOCK = TransferParameters().with_mode("B").with_type("E")
STREAM = TransferParameters().with_structure("R").with_type("I")
FILES = [RecordFile(), RecordFile(block_size=100), RecordFile(length=3)]
RDW = bytes.fromhex("0006 0000 C1C2  0004 0000  0006 0000 123C")
SENT = bytes.fromhex("80 0002 C1C2  80 0000  80 0002 123C  40 0000")


def test_what_a_user_says() -> None:
    """The forms that there are."""

    assert RecordFile.parse("rdw") == RecordFile()
    assert RecordFile.parse("bdw") == RecordFile(block_size=27998)
    assert RecordFile.parse("fixed:80") == RecordFile(length=80)
    for wrong in ("", "rdw:4", "fixed", "fixed:", "fixed:-1", "fixed:\u0661", "fixed:" + "9" * 10):
        with pytest.raises(ValueError, match="expected rdw, bdw or fixed:LENGTH"):
            RecordFile.parse(wrong)
    with pytest.raises(ValueError, match="at least 1"):
        RecordFile.parse("fixed:0")
    with pytest.raises(ValueError, match="either one length"):
        RecordFile(length=80, block_size=800)


def test_bytes_by_hand() -> None:
    """RDWs are in the file, blocks on the connection."""

    options = CodecOptions(record_file=RecordFile(), marker_interval=1)
    encoder = encoder_for(BLOCK, options=options)
    assert b"".join([*encoder.feed(RDW), *encoder.finish()]) == SENT
    decoder = decoder_for(BLOCK, options=options)
    assert b"".join(decoder.feed(SENT + b"\x80")) == RDW
    assert decoder.complete
    assert decoder.several_files
    assert decoder.suspect_bytes == 0
    assert decoder.remainder == decoder.take_remainder() == b"\x80"
    assert [*decoder.finish()] == []


@given(
    st.sampled_from(FILES),
    st.sampled_from([BLOCK, STREAM]),
    st.lists(st.binary(min_size=3, max_size=3)),
    st.integers(1, 9),
)
def test_a_file_comes_back(
    file: RecordFile, parameters: TransferParameters, records: list[bytes], step: int
) -> None:
    """Its records are on the connection, and it is the same file at the other end."""

    writer = record_writer(file)
    content = writer.feed(records) + writer.finish()
    options = CodecOptions(record_file=file)
    encoder = encoder_for(parameters, options=options)
    parts = [content[at : at + step] for at in range(0, len(content), step)]
    sent = b"".join([*(piece for part in parts for piece in encoder.feed(part)),
                     *encoder.finish()])  # fmt: skip
    on_connection = record_decoder_for(parameters)
    assert [*on_connection.feed(sent)] == records
    decoder = decoder_for(parameters, options=options)
    parts = [sent[at : at + step] for at in range(0, len(sent), step)]
    received = [*(piece for part in parts for piece in decoder.feed(part)), *decoder.finish()]
    assert b"".join(received) == content
    reader = record_reader(file)
    assert [*reader.feed(content)] == records


@pytest.mark.parametrize(
    "parameters",
    [BLOCK.with_type("A"), TransferParameters().with_type("I"), STREAM.with_mode("C")],
)
def test_other_transfers_are_as_before(parameters: TransferParameters) -> None:
    """Texts, and what keeps no boundaries, do not know of the option."""

    sent = []
    for options in (CodecOptions(), CodecOptions(record_file=RecordFile())):
        encoder = encoder_for(parameters, options=options)
        sent.append(b"".join([*encoder.feed(b"a\nb\n"), *encoder.finish()]))
        decoder = decoder_for(parameters, options=options)
        assert b"".join([*decoder.feed(sent[-1]), *decoder.finish()]) == b"a\nb\n"

    assert sent[0] == sent[1]


def test_a_listing_is_a_text() -> None:
    """It is no file of records, in no mode."""

    options = CodecOptions(record_file=RecordFile())
    encoder = listing_encoder_for(BLOCK, options=options)
    assert b"".join([*encoder.feed(b"a\r\n"), *encoder.finish()]) == bytes.fromhex(
        "00 0002 8115  40 0000"
    )


def test_a_damaged_file_is_a_fault_of_the_file() -> None:
    """451, and not 426: the connection has cut nothing. The peer gets no end of the file."""

    options = CodecOptions(record_file=RecordFile())
    encoder = encoder_for(BLOCK, options=options)
    assert b"".join(encoder.feed(RDW[:-1])) == SENT[:-8]
    with pytest.raises(InvalidData, match="the file ends within a record") as caught:
        [*encoder.finish()]
    assert caught.value.reply_code == 451
    with pytest.raises(InvalidData, match="descriptor word"):
        [*encoder_for(BLOCK, options=options).feed(bytes(4))]


def test_what_was_whole_is_given_before_an_error() -> None:
    """A cut, and a record that the file cannot hold."""

    decoder = decoder_for(BLOCK, options=CodecOptions(record_file=RecordFile()))
    assert b"".join(decoder.feed(SENT[:-1])) == RDW
    with pytest.raises(TruncatedTransfer):
        [*decoder.finish()]

    decoder = decoder_for(BLOCK, options=CodecOptions(record_file=RecordFile()))
    found: list[bytes] = []
    with pytest.raises(InvalidData, match="not a descriptor code"):
        found.extend(decoder.feed(SENT[:-3] + b"\x01\x00\x00"))
    assert b"".join(found) == RDW

    sent = record_encoder_for(BLOCK).feed([bytes(32757)])
    with pytest.raises(InvalidData, match="the longest is of 32756"):
        [*decoder_for(BLOCK, options=CodecOptions(record_file=RecordFile())).feed(sent)]


@pytest.mark.parametrize("file", FILES, ids=repr)
@pytest.mark.parametrize("parameters", [BLOCK, STREAM], ids=["MODE B", "MODE S"])
def test_a_file_of_records_has_the_size_limit(
    parameters: TransferParameters, file: RecordFile
) -> None:
    """No more than `CodecLimits.output` is given out; the reply is 552, as in the other modes."""

    most = 2 * MAX_PIECE
    sent = record_encoder_for(parameters).feed([b"abc"] * MAX_PIECE)
    limits = CodecLimits(output=most)
    decoder = decoder_for(parameters, options=CodecOptions(record_file=file, limits=limits))
    found: list[bytes] = []
    with pytest.raises(QuotaExceeded, match=f"more than the {most} bytes allowed") as caught:
        found.extend(decoder.feed(sent))
    assert caught.value.reply_code == 552
    assert most - MAX_PIECE <= len(b"".join(found)) <= most
