"""Block mode, in tables."""

from __future__ import annotations

import pytest

from ftpdata.codecs.block import BlockDecoder, BlockEncoder
from ftpdata.codecs.records import Records
from ftpdata.errors import InvalidData
from tests.harness.codecs import LINES, ONE, OPEN_LINES, run, splits

# RFC 959 §3.4.2: descriptor (128 EOR, 64 EOF, 32 suspect, 16 marker) and a count of 16 bits. The
# columns: records, the file, what is sent if the file is fed in one piece.
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
    """Block mode sends what the table says; any split of data or file gives the same file."""

    assert run(BlockEncoder(records=records), [file]) == bytes.fromhex(sent)
    closed = file + b"\n" if records == LINES and file[-1:] not in (b"", b"\n") else file
    for parts in splits(bytes.fromhex(sent)):
        assert run(BlockDecoder(records=records), parts) == closed
    for parts in splits(file):
        again = run(BlockEncoder(records=records), parts)
        assert run(BlockDecoder(records=records), [again]) == closed


# What other senders do: flags on blocks with data, several flags on one block.
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


def test_what_follows_in_a_large_read_is_kept() -> None:
    """The remainder is all bytes after the end mark, however many."""

    decoder = BlockDecoder()
    following = bytes(range(256)) * 1000
    assert b"".join(decoder.feed(b"\x40\0\1a" + following)) == b"a"
    assert decoder.remainder == following
    with pytest.raises(InvalidData, match="after the end"):
        list(decoder.finish())
    assert decoder.take_remainder() == following
    assert decoder.take_remainder() == b""
    assert list(decoder.finish()) == []
