"""Compressed mode, in tables."""

from __future__ import annotations

import pytest

from ftpdata.codecs.compressed import CompressedDecoder, CompressedEncoder
from ftpdata.codecs.records import Records
from ftpdata.errors import TruncatedTransfer
from tests.harness.codecs import LINES, ONE, OPEN_LINES, run, splits

# RFC 959 §3.4.3: byte string 0nnnnnnn, replicated byte 10nnnnnn, filler 11nnnnnn, escape 00000000
# and a descriptor. The data are sent for a file in one piece, with space as filler.
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
    """Compressed mode sends what the table says; any split of data or file gives the same file."""

    assert run(CompressedEncoder(0x20, records=records), [file]) == bytes.fromhex(sent)
    closed = file + b"\n" if records == LINES and file[-1:] not in (b"", b"\n") else file
    for parts in splits(bytes.fromhex(sent)):
        assert run(CompressedDecoder(0x20, records=records), parts) == closed
    for parts in splits(file):
        again = run(CompressedEncoder(0x20, records=records), parts)
        assert run(CompressedDecoder(0x20, records=records), [again]) == closed


# An escape "appl[ies] to the succeeding string of bytes"; senders interpret this differently.
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
    """Until the connection ends, a last string may follow; then the lone escape is the end mark."""

    decoder = CompressedDecoder(0)
    assert b"".join(decoder.feed(b"\1a\0\x40")) == b"a"
    assert not decoder.complete
    assert list(decoder.finish()) == []
    assert decoder.complete


@pytest.mark.parametrize(("filler", "name"), [(0x20, "A"), (0x40, "E"), (0, "I")])
def test_filler_byte_is_that_of_the_type(filler: int, name: str) -> None:
    """A run of the filler takes one byte; each type has its own filler."""

    run_of_five = bytes([filler]) * 5
    sent = run(CompressedEncoder(filler), [run_of_five])
    assert sent == b"\xc5\0\x40\xc0", name
    assert run(CompressedDecoder(filler), [sent]) == run_of_five


@pytest.mark.parametrize(
    "sent",
    [b"\0\x80", b"\0\x10", b"\0\x50", b"\0", b"\x81", b"\0\x40\3ab", b"\0\x40\x81", b"\0\x40\0"],
)
def test_compressed_data_that_lack_what_was_announced_are_truncated(sent: bytes) -> None:
    """An escape other than the end of the file, or half a string, does not end the file."""

    for parts in splits(sent):
        with pytest.raises(TruncatedTransfer) as caught:
            run(CompressedDecoder(0, records=LINES), parts)

        assert caught.value.reply_code == 426


def test_markers_of_compressed_mode_fit_a_string() -> None:
    """A string in compressed mode has at most 127 bytes."""

    marker = b"".join(CompressedEncoder(0).marker("m" * 127))
    assert len(marker) == 130
    with pytest.raises(ValueError, match="127"):
        list(CompressedEncoder(0).marker("m" * 128))
