"""Records of a file (STRU R, RFC 959 §3.1.2.2): how its bytes store them, and how to cut them.

Pure. This module knows no mode and no character set: `Records` says what ends a record in the
file, and each mode says how it marks that end on the connection.
"""

from __future__ import annotations

import attrs

from .._checks import checked, of_type
from ._descriptors import END_OF_RECORD
from .limits import at_least_one

__all__ = ["Records"]

@attrs.frozen(kw_only=True, field_transformer=checked)
class Records:
    """How the bytes of a file with record structure store its records (RFC 959 §3.1.2.2).

    With neither `end` nor `length`, the whole file is sent as one record. Records that are
    received are joined, with `end` after each if it is set.

    Attributes:
        end: What ends each record in the file. It is removed when a file is sent, in which
            case it must be one byte, and added when a file is received.
        length: Bytes of each record of the file except the last, which may be shorter. Only
            for sending.
        close_last: Whether a last record without its `end` is sent with an end-of-record anyway,
            as RFC 959 §3.4 requires ("all the end-of-record markers are explicit,
            including the final one"). If False, it is sent and arrives as it is.

    Raises:
        ValueError: There is both an end and a length, or the end is not one byte or two.
    """

    end: bytes | None = attrs.field(
        default=None, validator=of_type(bytes | None, "bytes or None")
    )
    length: int | None = attrs.field(default=None, validator=at_least_one)
    close_last: bool = True

    def __attrs_post_init__(self) -> None:
        if self.end is not None and (len(self.end) not in {1, 2} or self.length is not None):
            raise ValueError("records have either an end, of one byte or two, or a length")


RECORDS_INPUT = 4 * 1024
"""Bytes of a file that are cut into records at once, so that a step takes milliseconds at worst."""


class RecordCutter:
    """Cuts the bytes of a file into its records, or parts of records where the data are split.

    Args:
        records: How records are stored in the file.
        offset: Where in the file the transfer begins, in bytes.

    Attributes:
        is_open: Whether a record has begun and not ended.
    """

    __slots__ = ("_closes_last", "_end", "_left", "_length", "is_open")

    def __init__(self, records: Records, offset: int) -> None:
        if records.end is not None and len(records.end) != 1:
            raise ValueError(f"a record that is sent ends in one byte, not {records.end!r:.40}")

        self._end = records.end
        self._length = records.length
        self._left = 0 if records.length is None else records.length - offset % records.length
        self._closes_last = records.close_last or records.end is None
        self.is_open: bool = False

    def cut(self, piece: bytes) -> list[tuple[bytes, bool]]:
        """Return parts of records, each with whether the record ends with it."""

        if self._length is not None:
            return self._cut_by_length(piece, self._length)

        if self._end is None:
            self.is_open = True
            return [(piece, False)]

        *ended, rest = piece.split(self._end)
        parts = [(line, True) for line in ended]
        self.is_open = bool(rest)
        if rest:
            parts.append((rest, False))

        return parts

    def closing_code(self) -> int:
        """Return the descriptor code that the end of the file needs in addition to its own."""

        return END_OF_RECORD if self.is_open and self._closes_last else 0

    def _cut_by_length(self, piece: bytes, length: int) -> list[tuple[bytes, bool]]:
        parts = []
        start = 0
        while len(piece) - start >= self._left:
            parts.append((piece[start : start + self._left], True))
            start += self._left
            self._left = length
            self.is_open = False

        if start < len(piece):
            parts.append((piece[start:], False))
            self._left -= len(piece) - start
            self.is_open = True

        return parts
