"""Files of records: descriptor words by hand, blocks, fixed lengths, and damaged ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.codecs.rdw import FixedDecoder, FixedEncoder, RdwDecoder, RdwEncoder
from ftpdata.errors import InvalidData, TruncatedTransfer

# Our own records, in the layout of IBM, z/OS DFSMS Using Data Sets, "Format-V records": the RDW's
# length counts its own four bytes, that of a BDW its own and all that is in the block.
ONE, TWO, NONE = b"\xc1", b"\xc1\xc2\x12\x3c", b""
RDWS = "0005 0000 C1  0008 0000 C1C2123C  0004 0000"
BLOCKS = "0015 0000  " + RDWS
SMALL_BLOCKS = "0009 0000  0005 0000 C1  0010 0000  0008 0000 C1C2123C  0004 0000"


@pytest.mark.parametrize(
    ("block_size", "written"), [(None, RDWS), (32760, BLOCKS), (16, SMALL_BLOCKS)]
)
def test_descriptor_words(block_size: int | None, written: str) -> None:
    """They are as IBM describes them, both ways, wherever the file is split."""

    encoder = RdwEncoder(block_size=block_size)
    made = encoder.feed([ONE]) + encoder.feed([bytearray(TWO), NONE]) + encoder.finish()
    assert made == bytes.fromhex(written)
    for step in (1, 2, 3, 7, 1000):
        decoder = RdwDecoder(blocked=block_size is not None)
        parts = [made[at : at + step] for at in range(0, len(made), step)]
        assert [record for part in parts for record in decoder.feed(part)] == [ONE, TWO, NONE]
        decoder.finish()


def test_no_records_are_no_bytes() -> None:
    """There is no empty block."""

    for encoder in (RdwEncoder(), RdwEncoder(block_size=100)):
        assert encoder.feed([]) + encoder.finish() == b""

    RdwDecoder().finish()
    RdwDecoder(blocked=True).finish()


@given(
    st.lists(st.binary(max_size=90)), st.none() | st.integers(98, 300), st.integers(1, 50)
)
def test_records_come_back(records: list[bytes], block_size: int | None, step: int) -> None:
    """No block is longer than it may be."""

    encoder = RdwEncoder(block_size=block_size)
    file = b"".join([*(encoder.feed([record]) for record in records), encoder.finish()])
    decoder = RdwDecoder(blocked=block_size is not None)
    found = [
        record
        for at in range(0, len(file), step)
        for record in decoder.feed(file[at : at + step])
    ]
    decoder.finish()
    assert found == records
    if block_size is not None:
        at = 0
        while at < len(file):
            length = int.from_bytes(file[at : at + 2], "big")
            assert 8 <= length <= block_size
            at += length


@pytest.mark.parametrize(
    ("block_size", "longest"), [(None, 32756), (32760, 32752), (8, 0), (100, 92)]
)
def test_a_record_has_a_longest_length(block_size: int | None, longest: int) -> None:
    """What does not fit is refused, and not cut."""

    encoder = RdwEncoder(block_size=block_size)
    encoder.feed([bytes(longest)])
    with pytest.raises(InvalidData, match=f"the longest is of {longest}"):
        encoder.feed([bytes(longest + 1)])


def collect(decoder: RdwDecoder, file: bytes, found: list[bytes]) -> None:
    """Append records to those found; what came before an error is there."""

    for record in decoder.feed(file):
        found.append(record)  # noqa: PERF402


@pytest.mark.parametrize(
    ("blocked", "file", "message"),
    [
        (False, "0005 0000 C1  0003 0000", "descriptor word of a record: X'00030000'"),
        (False, "0005 0000 C1  7FF9 0000", "descriptor word of a record: X'7FF90000'"),
        (False, "0005 0000 C1  0005 0001", "descriptor word of a record: X'00050001'"),
        (False, "0005 0000 C1  0005 0100 C1", "a spanned record"),
        (False, "0005 0000 C1  0005 0300 C1", "a spanned record"),
        (True, "0009 0000  0005 0000 C1  0003 0000", "descriptor word of a block: X'00030000'"),
        (True, "0009 0000  0005 0000 C1  0005 0100", "descriptor word of a block: X'00050100'"),
        (True, "000B 0000  0005 0000 C1  0005 0000", "a record of 5 bytes in a block with 2"),
    ],
)
def test_a_damaged_file_is_an_error(blocked: bool, file: str, message: str) -> None:
    """The records before have been given."""

    decoder = RdwDecoder(blocked=blocked)
    found: list[bytes] = []
    with pytest.raises(InvalidData, match=message):
        collect(decoder, bytes.fromhex(file), found)
    assert found == [ONE]


@pytest.mark.parametrize(
    ("blocked", "file"),
    [(False, "0005"), (False, "0005 0000"), (True, "0009 0000"), (True, "0009 0000 0005 0000")],
)
def test_a_cut_file_is_an_error(blocked: bool, file: str) -> None:
    """It ends within a word, a record or a block."""

    decoder = RdwDecoder(blocked=blocked)
    assert [*decoder.feed(bytes.fromhex(file))] == []
    with pytest.raises(TruncatedTransfer, match="within a record or a block"):
        decoder.finish()


@given(st.lists(st.binary(min_size=3, max_size=3)), st.integers(1, 9))
def test_fixed_records_come_back(records: list[bytes], step: int) -> None:
    """Nothing stands between them."""

    file = FixedEncoder(3).feed(records) + FixedEncoder(3).finish()
    assert file == b"".join(records)
    decoder = FixedDecoder(3)
    found = [
        record
        for at in range(0, len(file), step)
        for record in decoder.feed(file[at : at + step])
    ]
    decoder.finish()
    assert found == records


def test_short_records_are_filled_by_choice() -> None:
    """With EBCDIC's blank, for example; a longer one is never cut."""

    assert FixedEncoder(3, fill=b"\x40").feed([b"\xc1", memoryview(b"")]) == bytes.fromhex(
        "C14040 404040"
    )
    for encoder, record in ((FixedEncoder(3), b"ab"), (FixedEncoder(3, fill=b" "), b"abcd")):
        with pytest.raises(InvalidData, match=f"of {len(record)} bytes, not of 3"):
            encoder.feed([record])


def test_a_cut_file_of_fixed_records_is_an_error() -> None:
    """The last record is not whole."""

    decoder = FixedDecoder(3)
    assert [*decoder.feed(b"abcd")] == [b"abc"]
    with pytest.raises(TruncatedTransfer, match="1 bytes of 3"):
        decoder.finish()


@pytest.mark.parametrize("encoder", [RdwEncoder(), FixedEncoder(1)])
@pytest.mark.parametrize("record", ["x", 5, None])
def test_a_record_is_bytes(encoder: RdwEncoder | FixedEncoder, record: object) -> None:
    """Anything else is refused by name."""

    with pytest.raises(TypeError, match=r"^record must be bytes, not"):
        encoder.feed([record])  # type: ignore[list-item]


def test_a_fill_is_one_byte() -> None:
    """More cannot fill every gap."""

    with pytest.raises(ValueError, match="one byte"):
        FixedEncoder(3, fill=b"ab")
