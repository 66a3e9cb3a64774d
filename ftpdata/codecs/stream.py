"""Stream mode with record structure (RFC 959 §3.4.1), as an encoder and a decoder.

Pure. Two-byte control codes end the records and the file. With file structure, stream mode
needs no codec: its bytes are those of the representation type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .._checks import check_call, check_range
from ..contracts import Buffer
from ..errors import InvalidData
from ._decoding import RecordingDecoder
from ._descriptors import END_OF_FILE, END_OF_RECORD
from ._pieces import MAX_PIECE, cut_pieces
from .limits import DEFAULT_LIMITS, CodecLimits
from .records import RECORDS_INPUT, RecordCutter, Records

__all__ = [
    "StreamRecordDecoder",
    "StreamRecordEncoder",
]

_DATA_AND_RECORDS = re.compile(rb"(?:[^\xff]++|\xff[\x01\xff])*+")


class StreamRecordEncoder:
    """Stream mode with record structure: two-byte control codes (RFC 959 §3.4.1).

    Args:
        records: How records are stored in the file.
        offset: Where in the file the transfer begins, in bytes.
    """

    def __init__(self, records: Records, *, offset: int = 0) -> None:
        check_call(StreamRecordEncoder.__init__, locals())
        check_range("offset", offset, 0)
        self._cutter = RecordCutter(records, offset)
        self._end = records.end
        # With every byte escaped, a piece still stays within MAX_PIECE.
        self._input = MAX_PIECE // 2 if records.length is None else RECORDS_INPUT

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Encode data; each end of a record becomes an escape, and each X'FF' is doubled."""

        for piece in cut_pieces(data, self._input):
            if self._end is None:
                parts = self._cutter.cut(piece)
                yield b"".join(
                    _escaped(part) + (b"\xff\x01" if ends else b"") for part, ends in parts
                )
            else:
                self._cutter.is_open = not piece.endswith(self._end)
                yield _escaped(piece).replace(self._end, b"\xff\x01")

    def finish(self) -> Iterator[bytes]:
        """Yield the end-of-file escape, combined with end-of-record if a record is open."""

        yield b"\xff\x03" if self._cutter.closing_code() else b"\xff\x02"


def _escaped(data: bytes) -> bytes:
    return data.replace(b"\xff", b"\xff\xff") if b"\xff" in data else data


class StreamRecordDecoder(RecordingDecoder):
    """Stream mode with record structure: two-byte control codes (RFC 959 §3.4.1).

    Args:
        records: How records are stored in the file.
        limits: What the peer may ask.
    """

    _name = "stream mode"

    # An end of record that began in the last piece may become two bytes.
    _INPUT = MAX_PIECE // 2

    def __init__(self, records: Records, *, limits: CodecLimits = DEFAULT_LIMITS) -> None:
        check_call(StreamRecordDecoder.__init__, locals())
        super().__init__(records, limits)
        self._holds_escape = False

    def _parse(self, piece: bytes) -> Iterator[bytes]:
        if self._holds_escape:
            piece = b"\xff" + piece
            self._holds_escape = False

        good = _DATA_AND_RECORDS.match(piece)
        assert good is not None
        end = good.end()
        if end == len(piece):
            yield self._decoded(piece)
            return

        yield self._decoded(piece[:end])
        code = piece[end + 1 : end + 2]
        if not code:
            self._holds_escape = True
        elif code in {b"\x02", b"\x03"}:
            yield from self._end_unit(
                END_OF_FILE if code == b"\x02" else END_OF_FILE | END_OF_RECORD
            )
            self._remainder = piece[end + 2 :]
        else:
            raise InvalidData(f"{self._name}: not a control code: X'FF{code.hex().upper()}'")

    def _decoded(self, piece: bytes) -> bytes:
        """Decode data whose pairs are whole, and only X'FFFF' and X'FF01'."""

        if b"\xff" not in piece:
            self._count(len(piece))
            return piece

        # Since pairs are whole, the first X'FFFF' of any run begins where a pair begins.
        parts = piece.split(b"\xff\xff")
        self._count_records(b".".join(parts).split(b"\xff\x01"))
        return b"\xff".join([part.replace(b"\xff\x01", self._record_end) for part in parts])

    def _count_records(self, records: list[bytes]) -> None:
        self._count(len(records[0]))
        if len(records) > 1:
            self._record = 0
            self._count(max(map(len, records[1:])))
            self._record = len(records[-1])
