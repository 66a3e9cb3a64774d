"""Records in a file: with a record descriptor word before each, or all of one length.

Pure. Sources: IBM, z/OS DFSMS Using Data Sets, "Format-V records" (the record descriptor word,
RDW, and the block descriptor word, BDW: two bytes with the length, which counts the four bytes of
the word itself, and two bytes of zeros), "Format-F records"; z/OS Communications Server: IP User's
Guide and Commands, SITE RDW (a file that is sent with its RDWs).

Rules:

1. An encoder takes records and returns the bytes of the file; a decoder takes its bytes, split
   anywhere, and yields its records. `finish` says that there are no more.
2. Spanned records (a segment control code in the third byte) are refused.
3. Nothing is held but the record that has begun, and for an encoder with blocks, one block.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from .._checks import check_call, check_range
from ..contracts import Buffer
from ..errors import InvalidData, TruncatedTransfer
from .framing import check_record
from .recordfile import LONGEST, RecordFile

__all__ = ["FixedDecoder", "FixedEncoder", "RdwDecoder", "RdwEncoder"]

_WORD: Final = struct.Struct(">HH")


class RecordWriter(Protocol):
    """Writes a file of records."""

    def feed(self, records: Iterable[Buffer]) -> bytes:
        """Return the bytes of records."""

    def finish(self) -> bytes:
        """Return what is still held."""


class RecordReader(Protocol):
    """Reads a file of records."""

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Yield the records that end in the data."""

    def finish(self) -> None:
        """Say that the file has ended."""


def record_writer(file: RecordFile) -> RecordWriter:
    """Return what writes such a file."""

    if file.length is not None:
        return FixedEncoder(file.length)

    return RdwEncoder(block_size=file.block_size)


def record_reader(file: RecordFile) -> RecordReader:
    """Return what reads such a file."""

    if file.length is not None:
        return FixedDecoder(file.length)

    return RdwDecoder(blocked=file.block_size is not None)


class RdwEncoder:
    """Writes variable records, each behind its RDW.

    Args:
        block_size: Bytes of the longest block, with its BDW and the RDWs in it; as many
            records as fit make a block. None writes no BDWs, as SITE RDW does.
    """

    def __init__(self, *, block_size: int | None = None) -> None:
        check_call(RdwEncoder.__init__, locals())
        check_range("block_size", block_size, 2 * _WORD.size, LONGEST)
        self._block_size = block_size
        self._longest = LONGEST if block_size is None else block_size - _WORD.size
        self._block: list[Buffer] = []
        self._size = _WORD.size

    def feed(self, records: Iterable[Buffer]) -> bytes:
        """Return the bytes of records; with blocks, those of whole blocks.

        Raises:
            InvalidData: A record is longer than a record or a block can be. Reply 451.
            TypeError: One is not bytes.
        """

        parts: list[Buffer] = []
        for record in records:
            if record.__class__ is not bytes:
                check_record(record)

            size = len(record) + _WORD.size
            if size > self._longest:
                raise InvalidData(
                    f"a record of {len(record)} bytes; the longest is of "
                    f"{self._longest - _WORD.size}"
                )

            if self._block_size is None:
                parts += (_WORD.pack(size, 0), record)
                continue

            if self._size + size > self._block_size:
                parts += self._end_block()

            self._block += (_WORD.pack(size, 0), bytes(record))
            self._size += size

        return b"".join(parts)

    def finish(self) -> bytes:
        """Return the last block."""

        return b"".join(self._end_block()) if self._block else b""

    def _end_block(self) -> list[Buffer]:
        block = [_WORD.pack(self._size, 0), *self._block]
        self._block.clear()
        self._size = _WORD.size
        return block


class RdwDecoder:
    """Reads variable records, each behind its RDW.

    Args:
        blocked: Whether a BDW precedes each block of records.
    """

    def __init__(self, *, blocked: bool = False) -> None:
        check_call(RdwDecoder.__init__, locals())
        self._blocked = blocked
        # Bytes left in the block, with blocks.
        self._left = 0
        self._held: list[bytes] = []
        self._held_size = 0
        self._needed = _WORD.size

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Yield the records that end in the data, lazily.

        Raises:
            InvalidData: A length is not that of a record or a block, or a record is spanned;
                the records before have been yielded. Reply 451.
        """

        if self._held_size + len(data) < self._needed:
            self._hold(bytes(data))
            return

        data = b"".join((*self._held, data))
        self._held.clear()
        self._held_size = 0
        at, size = 0, len(data)
        while size - at >= _WORD.size:
            length, control = _WORD.unpack_from(data, at)
            begins_block = self._blocked and not self._left
            if control or not _WORD.size <= length <= LONGEST:
                self._refuse(length, control, begins_block=begins_block)

            if begins_block:
                self._left = length - _WORD.size
                at += _WORD.size
                continue

            if self._blocked and length > self._left:
                raise InvalidData(
                    f"a record of {length} bytes in a block with {self._left} bytes left"
                )

            if at + length > size:
                self._needed = length
                self._hold(data[at:])
                return

            yield data[at + _WORD.size : at + length]
            at += length
            if self._blocked:
                self._left -= length

        self._needed = _WORD.size
        self._hold(data[at:])

    def finish(self) -> None:
        """Say that the file has ended.

        Raises:
            TruncatedTransfer: It ended within a record, or within a block. Reply 426.
        """

        if self._held_size or self._left:
            raise TruncatedTransfer("the file ends within a record or a block")

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._held_size += len(data)

    @staticmethod
    def _refuse(length: int, control: int, *, begins_block: bool) -> None:
        kind = "block" if begins_block else "record"
        if control and not begins_block and control >> 8 in {1, 2, 3}:
            raise InvalidData("a spanned record, which is not supported")

        raise InvalidData(
            f"not the descriptor word of a {kind}: X'{_WORD.pack(length, control).hex().upper()}'"
        )


class FixedEncoder:
    """Writes records of one length.

    Args:
        length: Bytes of each record.
        fill: The byte that a shorter record is filled up with, such as X'40', the blank of
            EBCDIC; None refuses one.
    """

    def __init__(self, length: int, *, fill: bytes | None = None) -> None:
        check_call(FixedEncoder.__init__, locals())
        check_range("length", length, 1)
        if fill is not None and len(fill) != 1:
            raise ValueError(f"fill must be one byte, not {fill!r:.40}")

        self._length = length
        self._fill = fill

    def feed(self, records: Iterable[Buffer]) -> bytes:
        """Return the bytes of records.

        Raises:
            InvalidData: A record is longer, or shorter without a fill. Reply 451.
            TypeError: One is not bytes.
        """

        parts: list[Buffer] = []
        for record in records:
            if record.__class__ is not bytes:
                check_record(record)

            if len(record) == self._length:
                parts.append(record)
            elif len(record) < self._length and self._fill is not None:
                parts.append(bytes(record).ljust(self._length, self._fill))
            else:
                raise InvalidData(f"a record of {len(record)} bytes, not of {self._length}")

        return b"".join(parts)

    def finish(self) -> bytes:
        """Return nothing: no record is held."""

        return b""


class FixedDecoder:
    """Reads records of one length.

    Args:
        length: Bytes of each record.
    """

    def __init__(self, length: int) -> None:
        check_call(FixedDecoder.__init__, locals())
        check_range("length", length, 1)
        self._length = length
        self._held = bytearray()

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Yield the records that end in the data, lazily."""

        length = self._length
        self._held += data
        if len(self._held) < length:
            return

        whole = bytes(self._held)
        end = len(whole) // length * length
        del self._held[:end]
        for start in range(0, end, length):
            yield whole[start : start + length]

    def finish(self) -> None:
        """Say that the file has ended.

        Raises:
            TruncatedTransfer: It ended within a record. Reply 426.
        """

        if self._held:
            raise TruncatedTransfer(
                f"the file ends within a record: {len(self._held)} bytes of {self._length}"
            )
