"""Records in a file."""

from __future__ import annotations

import pytest

from ftpdata.codecs.block import BlockEncoder
from ftpdata.codecs.compressed import CompressedEncoder
from ftpdata.codecs.records import Records
from ftpdata.codecs.stream import StreamRecordEncoder


def test_records_are_checked() -> None:
    """A record has an end, a length, or neither; for sending, its end is a single byte."""

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
