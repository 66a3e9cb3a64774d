"""Block mode (RFC 959 §3.4.2), as an encoder and a decoder.

Pure. The data are sent in blocks of up to 65535 bytes. A header of three bytes gives the length
of each block and its kind: data, the end of a record or of the file, or a restart marker.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from .._checks import check_call, check_range
from ..contracts import Buffer
from ..errors import InvalidData
from ._decoding import RecordingDecoder
from ._descriptors import END_OF_FILE, END_OF_RECORD, MARKER, SUSPECT, UNASSIGNED
from ._pieces import MAX_PIECE, cut_pieces
from .limits import DEFAULT_LIMITS, CodecLimits
from .records import RECORDS_INPUT, RecordCutter, Records
from .restart import checked_marker

__all__ = [
    "BlockDecoder",
    "BlockEncoder",
]

_BLOCK_HEADER = struct.Struct(">BH")


class BlockEncoder:
    """Block mode (RFC 959 §3.4.2).

    The end-of-file code is sent in a block of its own without data, so that nothing needs to
    be held back. It ends the file, not the connection.

    Args:
        records: How records are stored in the file, for record structure; None for file structure.
        offset: Where in the file the transfer begins, in bytes.
    """

    def __init__(self, *, records: Records | None = None, offset: int = 0) -> None:
        check_call(BlockEncoder.__init__, locals())
        check_range("offset", offset, 0)
        self._cutter = None if records is None else RecordCutter(records, offset)
        self._input = MAX_PIECE // 2 if records is None else RECORDS_INPUT

    def feed(self, data: Buffer, *, suspect: bool = False) -> Iterator[bytes]:
        """Encode data.

        Args:
            data: Bytes of the file.
            suspect: Whether to mark them as suspect.
        """

        code = SUSPECT if suspect else 0
        for piece in cut_pieces(data, self._input):
            if self._cutter is None:
                yield _block(code, piece)
            else:
                yield b"".join(
                    _block(code | END_OF_RECORD if ends else code, part)
                    for part, ends in self._cutter.cut(piece)
                )

    def marker(self, text: str) -> Iterator[bytes]:
        """Yield a restart marker for this position.

        Raises:
            ValueError: It is empty, or holds a space or anything but printable ASCII.
        """

        yield _block(MARKER, checked_marker(text).encode("ascii"))

    def finish(self) -> Iterator[bytes]:
        """Yield the end-of-file block."""

        code = self._cutter.closing_code() if self._cutter else 0
        yield _block(END_OF_FILE | code, b"")


def _block(descriptor: int, data: bytes) -> bytes:
    return _BLOCK_HEADER.pack(descriptor, len(data)) + data


class BlockDecoder(RecordingDecoder):
    """Block mode (RFC 959 §3.4.2).

    With file structure, an end-of-record code means nothing and is ignored.

    Args:
        records: How records are stored in the file, for record structure; None for file structure.
        limits: What the peer may ask.
    """

    _several_files = True
    _name = "block mode"

    def __init__(
        self, *, records: Records | None = None, limits: CodecLimits = DEFAULT_LIMITS
    ) -> None:
        check_call(BlockDecoder.__init__, locals())
        super().__init__(records, limits)
        self._header = b""
        self._code = 0
        # Bytes left in the block; None when a header comes next.
        self._left: int | None = None

    def _parse(self, piece: bytes) -> Iterator[bytes]:
        at = 0
        size = len(piece)
        while at < size:
            if self._left is None:
                header = self._header + piece[at : at + 3 - len(self._header)]
                at += len(header) - len(self._header)
                if len(header) < _BLOCK_HEADER.size:
                    self._header = header
                    return

                yield from self._start_block(header)

            assert self._left is not None
            part = piece[at : at + self._left]
            at += len(part)
            self._left -= len(part)
            if self._code & MARKER:
                self._marker += part
            elif part:
                self._count(len(part))
                yield part

            if not self._left:
                self._left = None
                if self._code:
                    yield from self._end_unit(self._code)

                if self._complete:
                    self._remainder = piece[at:]
                    return

    def _start_block(self, header: bytes) -> Iterable[bytes]:
        self._header = b""
        code, size = _BLOCK_HEADER.unpack(header)
        if code & UNASSIGNED:
            raise InvalidData(f"{self._name}: not a descriptor code: {code}")

        if code & MARKER and size > self._limits.marker:
            raise InvalidData(f"{self._name}: a restart marker of {size} bytes")

        self._code = code
        self._left = size
        return self._start_suspect(size) if code & SUSPECT else ()
