"""Stream mode with record structure, in tables."""

from __future__ import annotations

import pytest

from ftpdata.codecs.records import Records
from ftpdata.codecs.stream import StreamRecordDecoder, StreamRecordEncoder
from tests.harness.codecs import LINES, ONE, OPEN_LINES, run, splits

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
    """The table holds in both directions, at every split."""

    closed = file + b"\n" if records == LINES and file[-1:] not in (b"", b"\n") else file
    for parts in splits(file):
        assert run(StreamRecordEncoder(records), parts) == sent
    for parts in splits(sent):
        assert run(StreamRecordDecoder(records), parts) == closed


def test_stream_records_of_others() -> None:
    """An end of record that comes with the end of file adds an empty record, if none is open."""

    assert run(StreamRecordDecoder(LINES), [b"a\xff\1\xff\3"]) == b"a\n\n"
    assert run(StreamRecordDecoder(Records(end=b"\r\n")), [b"a\xff\1\xff\3"]) == b"a\r\n\r\n"
