"""Compressed mode (RFC 959 §3.4.3), as an encoder and a decoder.

Pure. The data are sent as strings: of bytes as they are, of one byte repeated, or of filler
bytes (`FILLERS`); and as escapes, which carry the codes of block mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .._checks import check_call, check_range
from ..contracts import Buffer
from ..errors import InvalidData
from ..parameters import RepresentationType
from ._decoding import RecordingDecoder
from ._descriptors import END_OF_FILE, END_OF_RECORD, MARKER, SUSPECT, UNASSIGNED
from ._pieces import MAX_PIECE, cut_pieces
from .limits import DEFAULT_LIMITS, CodecLimits
from .records import RECORDS_INPUT, RecordCutter, Records
from .restart import checked_marker

__all__ = [
    "CompressedDecoder",
    "CompressedEncoder",
]

FILLERS = {
    RepresentationType.ASCII: 0x20,
    RepresentationType.EBCDIC: 0x40,
    RepresentationType.IMAGE: 0,
    RepresentationType.LOCAL: 0,
}
"""The filler byte: a space in the text types, zero in the others (RFC 959 §3.4.3)."""

# The two leftmost bits of a string's first byte, and what they leave for its length.
_FILLER_STRING = 0xC0
_REPLICATED = 0x80
_LONGEST_STRING = 127
_LONGEST_RUN = 63
_BYTES = [bytes((byte,)) for byte in range(256)]
_ZEROS = re.compile(rb"\0{2,}")


def _escape(code: int) -> bytes:
    return b"\0" + _BYTES[code]


_NO_FILLER = _BYTES[_FILLER_STRING]
_END_OF_RECORD_STRING = _escape(END_OF_RECORD) + _NO_FILLER
_SUSPECT_ESCAPE = _escape(SUSPECT)


class CompressedEncoder:
    """Compressed mode (RFC 959 §3.4.3).

    The descriptor codes of an escape "apply to the succeeding string of bytes". This encoder
    always sends an empty string for them (X'C0', no filler bytes) after the data that they
    are about. So it need not hold data back to see whether they are the last, a receiver that
    applies an escape to what came before it understands the same, and a connection that is
    cut after the end-of-file escape has lost no data.

    Args:
        filler: The filler byte, see `FILLERS`.
        records: How records are stored in the file, for record structure; None for file structure.
        offset: Where in the file the transfer begins, in bytes.
    """

    def __init__(self, filler: int, *, records: Records | None = None, offset: int = 0) -> None:
        check_call(CompressedEncoder.__init__, locals())
        check_range("filler", filler, 0, 255)
        check_range("offset", offset, 0)
        self._filler = filler
        self._cutter = None if records is None else RecordCutter(records, offset)
        self._input = MAX_PIECE // 4 if records is None else RECORDS_INPUT

    def feed(self, data: Buffer, *, suspect: bool = False) -> Iterator[bytes]:
        """Encode data.

        Args:
            data: Bytes of the file.
            suspect: Whether to mark each string of them as suspect.
        """

        for piece in cut_pieces(data, self._input):
            strings: list[bytes] = []
            if self._cutter is None:
                self._append(strings, piece)
            else:
                for part, ends in self._cutter.cut(piece):
                    self._append(strings, part)
                    if ends:
                        strings.append(_END_OF_RECORD_STRING)

            if suspect:
                yield from cut_pieces(b"".join([_SUSPECT_ESCAPE + it for it in strings]), MAX_PIECE)
            else:
                yield b"".join(strings)

    def marker(self, text: str) -> Iterator[bytes]:
        """Yield a restart marker for this position.

        Raises:
            ValueError: It is empty or longer than 127 characters, or holds a space or
                anything but printable ASCII.
        """

        data = checked_marker(text).encode("ascii")
        if len(data) > _LONGEST_STRING:
            raise ValueError(f"a marker in compressed mode has at most 127 bytes, not {len(data)}")

        yield _escape(MARKER) + _BYTES[len(data)] + data

    def finish(self) -> Iterator[bytes]:
        """Yield the end-of-file escape and its empty string."""

        code = self._cutter.closing_code() if self._cutter else 0
        yield _escape(END_OF_FILE | code) + _NO_FILLER

    def _append(self, strings: list[bytes], data: bytes) -> None:
        start = 0
        for begin, end in _runs(data):
            # A shorter run would save nothing.
            if end - begin >= (3 if data[begin] == self._filler else 4):
                _append_literals(strings, data, start, begin)
                self._append_run(strings, data[begin], end - begin)
                start = end

        _append_literals(strings, data, start, len(data))

    def _append_run(self, strings: list[bytes], byte: int, count: int) -> None:
        whole, rest = divmod(count, _LONGEST_RUN)
        if byte == self._filler:
            strings += [_BYTES[_FILLER_STRING | _LONGEST_RUN]] * whole
            if rest:
                strings.append(_BYTES[_FILLER_STRING | rest])
        else:
            replicated = _BYTES[byte]
            strings += [_BYTES[_REPLICATED | _LONGEST_RUN] + replicated] * whole
            if rest:
                strings.append(_BYTES[_REPLICATED | rest] + replicated)


def _append_literals(strings: list[bytes], data: bytes, start: int, end: int) -> None:
    for begin in range(start, end, _LONGEST_STRING):
        string = data[begin : min(end, begin + _LONGEST_STRING)]
        strings.append(_BYTES[len(string)] + string)


def _runs(data: bytes) -> Iterator[tuple[int, int]]:
    """Return where the same byte occurs three times or more, as start and end.

    Seen as one number and combined with itself shifted by one byte, the data have zeros there.
    A regular expression with a back reference would take many times as long.
    """

    number = int.from_bytes(data, "big")
    differences = (number ^ number >> 8).to_bytes(len(data), "big")
    # Nothing precedes the first byte.
    return ((run.start() - 1, run.end()) for run in _ZEROS.finditer(differences, 1))


class CompressedDecoder(RecordingDecoder):
    """Compressed mode (RFC 959 §3.4.3).

    An end-of-file escape is valid before the last string, as RFC 959 says, and alone after
    it, as some peers send it. Only the end of the connection shows which it was, so `complete`
    stays False after a lone one until `finish`.

    With file structure, an end-of-record code means nothing and is ignored.

    Args:
        filler: The filler byte, see `FILLERS`.
        records: How records are stored in the file, for record structure; None for file structure.
        limits: What the peer may ask.
    """

    _several_files = True
    _name = "compressed mode"

    def __init__(
        self,
        filler: int,
        *,
        records: Records | None = None,
        limits: CodecLimits = DEFAULT_LIMITS,
    ) -> None:
        check_call(CompressedDecoder.__init__, locals())
        check_range("filler", filler, 0, 255)
        super().__init__(records, limits)
        self._fillers = _BYTES[filler] * _LONGEST_RUN
        # The first byte of an escape or of a replicated byte whose second has not come yet.
        self._first = b""
        # Bytes left in a string of bytes as they are.
        self._left = 0
        # Descriptor codes for the string that comes next or has begun.
        self._code = 0

    def _parse(self, piece: bytes) -> Iterator[bytes]:
        if self._first:
            piece = self._first + piece
            self._first = b""

        at = 0
        while at < len(piece):
            if self._left:
                string = piece[at : at + self._left]
                at += len(string)
                self._left -= len(string)
            else:
                at, size, run = self._read_header(piece, at)
                if size is not None and self._code:
                    yield from self._start_string(size)
                if run is None:
                    self._left = size or 0
                    continue

                string = run

            if self._code & MARKER:
                self._marker += string
            elif string:
                self._count(len(string))
                yield string

            if self._code and not self._left:
                code, self._code = self._code, 0
                yield from self._end_unit(code)
                if self._complete:
                    self._remainder = piece[at:]
                    return

    def _read_header(self, piece: bytes, at: int) -> tuple[int, int | None, bytes | None]:
        """Return where to read on, the size of the string that begins, and the string if a run.

        No string begins with an escape, nor with anything cut after its first byte.
        """

        byte = piece[at]
        at += 1
        if byte >= _FILLER_STRING:
            count = byte & _LONGEST_RUN
            return at, count, self._fillers[:count]

        if 0 < byte < _REPLICATED:
            return at, byte, None

        if at == len(piece):
            self._first = _BYTES[byte]
            return at, None, None

        if byte:
            count = byte & _LONGEST_RUN
            return at + 1, count, piece[at : at + 1] * count

        self._note_escape(piece[at])
        return at + 1, None, None

    def _note_escape(self, code: int) -> None:
        # An escape without a code comes from a peer that is not in this mode: zeros.
        if not code or code & UNASSIGNED:
            raise InvalidData(f"{self._name}: not a descriptor code: {code}")

        self._code |= code

    def _start_string(self, size: int) -> Iterable[bytes]:
        if self._code & MARKER and size > self._limits.marker:
            raise InvalidData(f"{self._name}: a restart marker of {size} bytes")

        return self._start_suspect(size) if self._code & SUSPECT else ()

    def _last(self) -> Iterator[bytes]:
        """Take a lone end-of-file escape as the end, and as that of a record if one is open."""

        if self._code & END_OF_FILE and not (self._left or self._first or self._code & MARKER):
            code, self._code = self._code, 0
            yield from self._end_unit(code if self._record else code & ~END_OF_RECORD)
