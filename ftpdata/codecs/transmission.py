"""Transmission modes (RFC 959 §3.4) as incremental encoders and decoders.

Pure. A mode takes the bytes of a file, as its representation type has them, to
the data connection and back. Here stands what the modes have in common; each of
them has a module: `stream_mode` (with record structure), `block_mode`,
`compressed_mode`, `deflate_mode` (MODE Z). They know no character set and no
line: what stands for the end of a record in the file is told by `Records`.

The rules of every encoder and decoder of a mode:

1. `feed` is lazy. What it returns is exhausted before the next call, and
   `data` stays as it is until then. No piece is empty.
2. A decoder's pieces have at most `MAX_PIECE` bytes, whatever the peer made of
   how few, and an encoder's at most twice that. Of what is fed nothing is
   kept but the few bytes of a header, a marker or a string.
3. Where the data are split makes no difference to the file at the other end.
4. The end of a file is a mark, never the end of the connection alone. A
   decoder that has not seen it is not `complete`, and its `finish` raises
   `TruncatedTransfer`: this is the one way in FTP to know that an upload was
   cut by a peer which closed politely.
5. Peers are not trusted. Data that cannot be what the peer meant are
   `InvalidData`; what stood before them has been given out by then (of
   deflate, as far as zlib gave it). `CodecLimits` bound records, markers, and
   what little data can expand to.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any

import attrs

from ..contracts import Buffer
from ..errors import FTPDataError, InvalidData, QuotaExceeded, TruncatedTransfer
from .restart import MarkerCallback, RestartMarker, SuspectCallback, SuspectData, marker_text

__all__ = [
    "MAX_PIECE",
    "CodecLimits",
    "Records",
]

MAX_PIECE = 64 * 1024
"""Bytes of the largest piece that a decoder gives."""

# Descriptor codes of block and compressed mode (RFC 959 §3.4.2).
END_OF_RECORD = 128
END_OF_FILE = 64
SUSPECT = 32
MARKER = 16
UNASSIGNED = 15

_MIB = 1024 * 1024


def at_least_one(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    """Refuse a number below 1; a validator of attrs. None is no number, and passes."""

    if value is not None and value < 1:
        raise ValueError(f"{attribute.name} must be at least 1, not {value}")


@attrs.frozen(kw_only=True)
class CodecLimits:
    """What a peer may ask of a decoder.

    The ratio is that of deflate and of compressed mode, in which a thousand,
    or 63, bytes may come of one. Files of nothing but zeros reach it too: a
    host that expects them sets it to None, and `output` instead.

    Attributes:
        record: Bytes of the longest record of a text; None for no limit.
        marker: Bytes of the longest restart marker.
        output: Bytes of the largest file; None for no limit.
        ratio: Bytes of the file for each byte received, at most; None for no
            limit.
        ratio_from: Bytes of the file below which the ratio is not looked at.
    """

    record: int | None = attrs.field(default=16 * _MIB, validator=at_least_one)
    marker: int = attrs.field(default=255, validator=at_least_one)
    output: int | None = attrs.field(default=None, validator=at_least_one)
    ratio: int | None = attrs.field(default=500, validator=at_least_one)
    ratio_from: int = 64 * _MIB


DEFAULT_LIMITS = CodecLimits()


@attrs.frozen(kw_only=True)
class Records:
    """How the records of a file with record structure stand in its bytes (RFC 959 §3.1.2.2).

    With neither `end` nor `length` the whole file is sent as one record; what
    is received is joined in any case but that of an `end`.

    Attributes:
        end: What ends each record in the file: taken away when it is sent,
            where it is one byte, and put there when it is received.
        length: Bytes of each record of the file but the last, which may have
            fewer. Only for sending.
        close_last: Whether a last record that lacks its `end` is sent with an
            end-of-record all the same, as RFC 959 §3.4 wants ("all the
            end-of-record markers are explicit, including the final one").
            Without, it is sent as it is, and arrives as it is.
    """

    end: bytes | None = None
    length: int | None = attrs.field(default=None, validator=at_least_one)
    close_last: bool = True

    def __attrs_post_init__(self) -> None:
        if self.end is not None and (len(self.end) not in {1, 2} or self.length is not None):
            raise ValueError("records have either an end, of one byte or two, or a length")


RECORDS_INPUT = 4 * 1024
"""Bytes of a file that are cut into records at once: a step that takes milliseconds at worst."""


class RecordCutter:
    """Cuts the bytes of a file into its records, and parts of them where the data are split.

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
        """Return parts of records, and of each whether the record ends with it."""

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
        """Return the descriptor code that the end of the file needs besides its own."""

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


class MarkedDecoder(abc.ABC):
    """What the decoders of every mode with an end mark have in common.

    Attributes:
        on_marker: Called with each restart marker.
        on_suspect: Called before data that are marked as suspect.
    """

    _several_files = False
    _name = ""
    _INPUT = MAX_PIECE

    def __init__(self, limits: CodecLimits) -> None:
        self.on_marker: MarkerCallback | None = None
        self.on_suspect: SuspectCallback | None = None
        self._limits = limits
        self._complete = False
        self._remainder = b""
        self._input = 0
        self._output = 0
        self._suspect = 0

    @property
    def complete(self) -> bool:
        """Whether the end mark of the file was seen."""

        return self._complete

    @property
    def several_files(self) -> bool:
        """Whether another file may follow on the connection (RFC 959 §3.3): block, compressed."""

        return self._several_files

    @property
    def suspect_bytes(self) -> int:
        """Bytes so far that were marked as suspect."""

        return self._suspect

    @property
    def remainder(self) -> bytes:
        """What came behind the end of the file: the beginning of the next one."""

        return self._remainder

    def take_remainder(self) -> bytes:
        """Return what came behind the end of the file, to be fed to the decoder of the next."""

        remainder, self._remainder = self._remainder, b""
        return remainder

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Decode data; yield pieces of at most `MAX_PIECE` bytes.

        Reads up to the end mark; what comes behind it in the same data is the
        `remainder` where more files may follow, and an error where not.

        Raises:
            InvalidData: The data are not in this mode, or too long a record
                or marker, or expand beyond the ratio allowed; or there are
                more behind the end of the file. Reply 451.
            QuotaExceeded: They expand to more than is allowed. Reply 552.
        """

        behind = self._complete
        for piece in cut_pieces(data, self._INPUT):
            if behind:
                raise InvalidData(f"{self._name}: data behind the end of the file")

            if self._complete:
                self._remainder += piece
            else:
                self._input += len(piece)
                yield from self._bounded(self._parse(piece))

            if self._remainder and not self._several_files:
                raise InvalidData(f"{self._name}: data behind the end of the file")

    def finish(self) -> Iterator[bytes]:
        """Yield what is still held.

        Raises:
            TruncatedTransfer: The end mark is missing. Reply 426.
            InvalidData: There are data behind it that nobody took. Reply 451.
        """

        yield from self._bounded(self._last())
        if not self._complete:
            raise TruncatedTransfer(f"{self._name}: the end of the file is missing")

        if self._remainder:
            raise InvalidData(f"{self._name}: data behind the end of the file")

    @abc.abstractmethod
    def _parse(self, piece: bytes) -> Iterator[bytes]:
        """Decode one piece; an empty part wants all before it to be given out.

        What is left of the piece after the end mark becomes the remainder.
        """

    def _last(self) -> Iterator[bytes]:
        """Decode what is held, at the end of the connection."""

        return iter(())

    def _bounded(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """Join small parts; check what is given out; give out what is good before an error."""

        held: list[bytes] = []
        size = 0
        error: FTPDataError | None = None
        while True:
            try:
                part = next(parts, None)
            except FTPDataError as raised:
                error = raised
                part = None

            if held and (not part or size + len(part) > MAX_PIECE):
                self._check_output(size)
                yield b"".join(held)
                held.clear()
                size = 0

            if part:
                held.append(part)
                size += len(part)
            elif part is None:
                break

        if error is not None:
            raise error

    def _check_output(self, size: int) -> None:
        limits = self._limits
        output = self._output + size
        if limits.output is not None and output > limits.output:
            raise QuotaExceeded(f"{self._name}: more than the {limits.output} bytes allowed")

        if (
            limits.ratio is not None
            and output > limits.ratio_from
            and output > limits.ratio * self._input
        ):
            raise InvalidData(
                f"{self._name}: {output} bytes from {self._input}, "
                f"more than {limits.ratio} times as many"
            )

        self._output = output


class RecordingDecoder(MarkedDecoder):
    """What the decoders of modes with records and descriptor codes have in common."""

    def __init__(self, records: Records | None, limits: CodecLimits) -> None:
        super().__init__(limits)
        self._record_end = (records.end if records else None) or b""
        # A record that is no line may be a whole file.
        self._record_limit = limits.record if self._record_end else None
        self._record = 0
        self._marker = bytearray()

    def _count(self, size: int) -> None:
        """Note bytes of a record."""

        self._record += size
        if self._record_limit is not None and self._record > self._record_limit:
            raise InvalidData(f"{self._name}: a record of more than {self._record_limit} bytes")

    def _end_record(self) -> bytes:
        self._record = 0
        return self._record_end

    def _start_suspect(self, size: int) -> Iterator[bytes]:
        if self.on_suspect is not None:
            # Only where somebody asks: a peer could cut its data into pieces of a byte else.
            yield b""
            self.on_suspect(SuspectData(self._output, size))
        self._suspect += size

    def _end_unit(self, code: int) -> Iterator[bytes]:
        """Do what the descriptor codes of a block or string say, at its end."""

        if code & MARKER:
            if self.on_marker is not None:
                # Ahead of the call the reader has taken everything before the marker.
                yield b""
            marker = RestartMarker(marker_text(bytes(self._marker), self._name), self._output)
            self._marker.clear()
            if self.on_marker is not None:
                self.on_marker(marker)

        if code & END_OF_RECORD and (end := self._end_record()):
            yield end

        if code & END_OF_FILE:
            self._complete = True


def cut_pieces(data: Buffer, size: int) -> Iterator[bytes]:
    """Cut data into non-empty pieces of at most `size` bytes; copy only what must be."""

    if isinstance(data, bytes) and len(data) <= size:
        if data:
            yield data

        return

    view = memoryview(data).cast("B")
    for start in range(0, len(view), size):
        yield bytes(view[start : start + size])
