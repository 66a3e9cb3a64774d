"""What the decoders of the transmission modes have in common (RFC 959 §3.4).

Pure. A mode takes the bytes of a file, as its representation type has them, to the data
connection and back. Each mode has a module: `stream` (with record structure), `block`,
`compressed` and `deflate` (MODE Z). They know no character set and no lines: `Records` says
what the end of a record is in the file.

The rules of every encoder and decoder of a mode:

1. `feed` is lazy. Exhaust what it returns before the next call, and leave `data` unchanged
   until then. No piece is empty.
2. The pieces of a decoder have at most `MAX_PIECE` bytes, however little the peer sent for
   them, and those of an encoder at most twice as many. Nothing of what is fed is kept except
   the few bytes of a header, a marker or a string.
3. Where the data are split makes no difference to the file at the other end.
4. The end of a file is a mark, never the end of the connection alone. A decoder that has not
   seen the mark is not `complete`, and its `finish` raises `TruncatedTransfer`: this is the
   only way in FTP to notice that a peer cut an upload and then closed politely.
5. Peers are not trusted. Data that the peer cannot have meant are `InvalidData`; what preceded
   them has been given out by then (with deflate, as far as zlib gave it). `CodecLimits` bound
   records, markers, and what little data can expand to.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator

from ..contracts import Buffer
from ..errors import FTPDataError, InvalidData, TruncatedTransfer
from ._descriptors import END_OF_FILE, END_OF_RECORD, MARKER
from ._pieces import MAX_PIECE, cut_pieces
from .limits import CodecLimits, check_output
from .records import Records
from .restart import MarkerCallback, RestartMarker, SuspectCallback, SuspectData, marker_text

__all__ = ["EndMark", "MarkedDecoder", "RecordingDecoder"]


class EndMark:
    """The end mark of a file, and what followed it."""

    def __init__(self) -> None:
        self._complete = False
        self._remainder = b""

    @property
    def complete(self) -> bool:
        """Whether the end mark of the file has been seen."""

        return self._complete

    @property
    def remainder(self) -> bytes:
        """The data after the end of the file: the beginning of the next one."""

        return self._remainder

    def take_remainder(self) -> bytes:
        """Return the data after the end of the file, to be fed to the decoder of the next one."""

        remainder, self._remainder = self._remainder, b""
        return remainder


class MarkedDecoder(EndMark, abc.ABC):
    """What the decoders of all modes with an end mark have in common.

    Args:
        limits: What the peer may ask.

    Attributes:
        on_marker: Called with each restart marker.
        on_suspect: Called before data that are marked as suspect.
    """

    _several_files = False
    _name = ""
    _INPUT = MAX_PIECE

    def __init__(self, limits: CodecLimits) -> None:
        super().__init__()
        self.on_marker: MarkerCallback | None = None
        self.on_suspect: SuspectCallback | None = None
        self._limits = limits
        self._input = 0
        self._output = 0
        self._suspect = 0

    @property
    def several_files(self) -> bool:
        """Whether another file may follow on the connection (RFC 959 §3.3)."""

        return self._several_files

    @property
    def suspect_bytes(self) -> int:
        """Bytes so far that their sender marked as suspect."""

        return self._suspect

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Decode data; yield pieces of at most `MAX_PIECE` bytes.

        The file ends at the end mark. What follows in the same data is the `remainder` if
        another file may follow, and an error if not.

        Raises:
            InvalidData: The data are not in this mode, hold a record or marker that is too
                long, expand beyond the ratio allowed, or go on after the end of the file.
                Reply 451.
            QuotaExceeded: They expand to more than is allowed. Reply 552.
        """

        ended = self._complete
        for piece in cut_pieces(data, self._INPUT):
            if ended:
                raise InvalidData(f"{self._name}: data after the end of the file")

            if self._complete:
                self._remainder += piece
            else:
                self._input += len(piece)
                yield from self._bounded(self._parse(piece))

            if self._remainder and not self._several_files:
                raise InvalidData(f"{self._name}: data after the end of the file")

    def finish(self) -> Iterator[bytes]:
        """Yield what is still held.

        Raises:
            TruncatedTransfer: The end mark is missing. Reply 426.
            InvalidData: There are data after it that nobody took. Reply 451.
        """

        yield from self._bounded(self._last())
        if not self._complete:
            raise TruncatedTransfer(f"{self._name}: the end of the file is missing")

        if self._remainder:
            raise InvalidData(f"{self._name}: data after the end of the file")

    @abc.abstractmethod
    def _parse(self, piece: bytes) -> Iterator[bytes]:
        """Decode one piece. An empty part asks for everything before it to be given out.

        What follows the end mark in the piece becomes the remainder.
        """

    def _last(self) -> Iterator[bytes]:
        """Decode what is still held, at the end of the connection."""

        return iter(())

    def _bounded(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """Join small parts and check limits; give out what precedes an error, then raise it."""

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
            try:
                raise error
            finally:
                # Its traceback holds this frame.
                del error

    def _check_output(self, size: int) -> None:
        limits = self._limits
        output = self._output + size
        check_output(self._name, output, limits)
        if (
            limits.ratio is not None
            and output > limits.ratio_from
            and output > limits.ratio * self._input
        ):
            raise InvalidData(
                f"{self._name}: {output} bytes from {self._input}, "
                f"more than {limits.ratio} times as much"
            )

        self._output = output


class RecordingDecoder(MarkedDecoder):
    """What the decoders of modes with records and descriptor codes have in common."""

    def __init__(self, records: Records | None, limits: CodecLimits) -> None:
        super().__init__(limits)
        self._record_end = (records.end if records else None) or b""
        # A record that is not a line may be a whole file.
        self._record_limit = limits.record if self._record_end else None
        self._record = 0
        self._marker = bytearray()

    def _count(self, size: int) -> None:
        """Count bytes of a record, and enforce its limit."""

        self._record += size
        if self._record_limit is not None and self._record > self._record_limit:
            raise InvalidData(f"{self._name}: a record of more than {self._record_limit} bytes")

    def _end_record(self) -> bytes:
        self._record = 0
        return self._record_end

    def _start_suspect(self, size: int) -> Iterator[bytes]:
        if self.on_suspect is not None:
            # Only if somebody asks; otherwise a peer could cut its data into pieces of one byte.
            yield b""
            self.on_suspect(SuspectData(self._output, size))
        self._suspect += size

    def _end_unit(self, code: int) -> Iterator[bytes]:
        """Do what the descriptor codes of a block or string say, at its end."""

        if code & MARKER:
            if self.on_marker is not None:
                # Before the call, the reader has taken everything that precedes the marker.
                yield b""
            marker = RestartMarker(marker_text(bytes(self._marker), self._name), self._output)
            self._marker.clear()
            if self.on_marker is not None:
                self.on_marker(marker)

        if code & END_OF_RECORD and (end := self._end_record()):
            yield end

        if code & END_OF_FILE:
            self._complete = True
