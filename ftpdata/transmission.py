"""Transmission modes (RFC 959 §3.4) as incremental encoders and decoders.

Pure. Takes the bytes of a file, as its representation type has them, to the
data connection and back: stream mode with record structure, block mode,
compressed mode and deflate (MODE Z); and restart markers (§3.5). Knows no
character set and no line: what stands for the end of a record in the file is
told by `Records`.

The rules of every encoder and decoder here:

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
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from .contracts import Buffer
from .errors import BadArgument, FTPDataError, InvalidData, QuotaExceeded, TruncatedTransfer

__all__ = [
    "MAX_PIECE",
    "BlockDecoder",
    "BlockEncoder",
    "CodecLimits",
    "CompressedDecoder",
    "CompressedEncoder",
    "DeflateDecoder",
    "DeflateEncoder",
    "Records",
    "RestartMarker",
    "StreamRecordDecoder",
    "StreamRecordEncoder",
    "SuspectData",
    "format_mark_reply",
    "parse_deflate_level",
    "parse_mark_reply",
]

MAX_PIECE = 64 * 1024
"""Bytes of the largest piece that a decoder gives."""

# Descriptor codes of block and compressed mode (RFC 959 §3.4.2).
_END_OF_RECORD = 128
_END_OF_FILE = 64
_SUSPECT = 32
_MARKER = 16
_UNASSIGNED = 15

_MIB = 1024 * 1024
_HIGHEST_LEVEL = 9


def _at_least_one(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
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

    record: int | None = attrs.field(default=16 * _MIB, validator=_at_least_one)
    marker: int = attrs.field(default=255, validator=_at_least_one)
    output: int | None = attrs.field(default=None, validator=_at_least_one)
    ratio: int | None = attrs.field(default=500, validator=_at_least_one)
    ratio_from: int = 64 * _MIB


_DEFAULT_LIMITS = CodecLimits()


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
    length: int | None = attrs.field(default=None, validator=_at_least_one)
    close_last: bool = True

    def __attrs_post_init__(self) -> None:
        if self.end is not None and (len(self.end) not in {1, 2} or self.length is not None):
            raise ValueError("records have either an end, of one byte or two, or a length")


@attrs.frozen
class RestartMarker:
    """A restart marker that was received (RFC 959 §3.5).

    Attributes:
        text: The marker; only its sender knows what it means.
        offset: Where it stands, in bytes of the file as it is stored here.
            Everything before has been given out, and taken by the reader.
    """

    text: str
    offset: int


@attrs.frozen
class SuspectData:
    """Data that their sender marked as suspect (RFC 959 §3.4.2). They are delivered as any other.

    Attributes:
        offset: Where they start, in bytes of the file as it is stored here.
        size: How many they are, in bytes on the connection.
    """

    offset: int
    size: int


MarkerCallback = Callable[[RestartMarker], None]
SuspectCallback = Callable[[SuspectData], None]


def format_mark_reply(marker: RestartMarker, *, own: str | None = None) -> str:
    """Format the reply that tells the sender where its marker stands (RFC 959 §4.2).

    Args:
        marker: The marker that was received.
        own: The receiver's equivalent of it; without, the offset in decimal.

    Returns:
        ``110 MARK yyyy = mmmm``, to the letter as RFC 959 has it.

    Raises:
        ValueError: `own` is no marker.
    """

    return f"110 MARK {marker.text} = {_checked(str(marker.offset) if own is None else own)}"


_MARK_REPLY = re.compile(r"(?:110[ -])?MARK ([!-~]+) = ([!-~]+)\s*", re.ASCII)


def parse_mark_reply(text: str) -> tuple[str, str]:
    """Parse reply 110, with or without its number: the sender's marker, the receiver's.

    Raises:
        BadArgument: It is none. Reply 501.
    """

    match = _MARK_REPLY.fullmatch(text)
    if match is None:
        raise BadArgument(f"expected 110 MARK yyyy = mmmm, not {text!r:.80}")

    return match[1], match[2]


_DEFLATE_LEVEL = re.compile(
    r" *(?:MODE +)?Z +(?:ENGINE +ZLIB +)?LEVEL +([0-9]) *", re.ASCII | re.IGNORECASE
)


def parse_deflate_level(argument: str) -> int:
    """Parse the argument of ``OPTS MODE Z LEVEL n``, as lftp sends it, or what follows OPTS MODE.

    Raises:
        BadArgument: It is none, or the level is not one of 0 to 9. Reply 501.
    """

    match = _DEFLATE_LEVEL.fullmatch(argument)
    if match is None:
        raise BadArgument(f"expected MODE Z LEVEL and 0 to 9, not {argument!r:.40}")

    return int(match[1])


# Encoders

RECORDS_INPUT = 4 * 1024
"""Bytes of a file that are cut into records at once: a step that takes milliseconds at worst."""


class _RecordCutter:
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
        self.is_open = False

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

        return _END_OF_RECORD if self.is_open and self._closes_last else 0

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


class StreamRecordEncoder:
    """Stream mode with record structure: two-byte control codes (RFC 959 §3.4.1).

    Args:
        records: How records stand in the file.
        offset: Where in the file the transfer begins, in bytes.
    """

    def __init__(self, records: Records, *, offset: int = 0) -> None:
        self._cutter = _RecordCutter(records, offset)
        self._end = records.end
        # What an escape can make of it stays within MAX_PIECE.
        self._input = MAX_PIECE // 2 if records.length is None else RECORDS_INPUT

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Encode data; each end of a record becomes an escape, each X'FF' two."""

        for piece in _cut(data, self._input):
            if self._end is None:
                parts = self._cutter.cut(piece)
                yield b"".join(
                    _escaped(part) + (b"\xff\x01" if ends else b"") for part, ends in parts
                )
            else:
                self._cutter.is_open = not piece.endswith(self._end)
                yield _escaped(piece).replace(self._end, b"\xff\x01")

    def finish(self) -> Iterator[bytes]:
        """Yield the end-of-file escape; together with end-of-record where a record is open."""

        yield b"\xff\x03" if self._cutter.closing_code() else b"\xff\x02"


def _escaped(data: bytes) -> bytes:
    return data.replace(b"\xff", b"\xff\xff") if b"\xff" in data else data


class BlockEncoder:
    """Block mode (RFC 959 §3.4.2).

    The end-of-file code comes in a block of its own, without data, so that
    nothing is held back. It ends the file, not the connection.

    Args:
        records: How records stand in the file, for record structure; None for
            file structure.
        offset: Where in the file the transfer begins, in bytes.
    """

    def __init__(self, *, records: Records | None = None, offset: int = 0) -> None:
        self._cutter = None if records is None else _RecordCutter(records, offset)
        self._input = MAX_PIECE // 2 if records is None else RECORDS_INPUT

    def feed(self, data: Buffer, *, suspect: bool = False) -> Iterator[bytes]:
        """Encode data.

        Args:
            data: Bytes of the file.
            suspect: Whether to mark them as suspect.
        """

        code = _SUSPECT if suspect else 0
        for piece in _cut(data, self._input):
            if self._cutter is None:
                yield _block(code, piece)
            else:
                yield b"".join(
                    _block(code | _END_OF_RECORD if ends else code, part)
                    for part, ends in self._cutter.cut(piece)
                )

    def marker(self, text: str) -> Iterator[bytes]:
        """Yield a restart marker for this position.

        Raises:
            ValueError: It is empty, or has characters that are not printable
                ASCII, or a space.
        """

        yield _block(_MARKER, _checked(text).encode("ascii"))

    def finish(self) -> Iterator[bytes]:
        """Yield the end-of-file block."""

        code = self._cutter.closing_code() if self._cutter else 0
        yield _block(_END_OF_FILE | code, b"")


_BLOCK_HEADER = struct.Struct(">BH")


def _block(descriptor: int, data: bytes) -> bytes:
    return _BLOCK_HEADER.pack(descriptor, len(data)) + data


class CompressedEncoder:
    """Compressed mode (RFC 959 §3.4.3).

    The descriptor codes of an escape "apply to the succeeding string of
    bytes". Here that is always an empty one, X'C0', no filler bytes, behind
    the data that end with it: nothing is held back to see whether it was the
    last; a receiver for which an escape applies to what came before
    understands the same; and a connection that is cut behind the end-of-file
    escape has lost no data.

    Args:
        filler: The filler byte: space for TYPE A (32) and TYPE E (64), zero
            for TYPE I and L.
        records: How records stand in the file, for record structure; None for
            file structure.
        offset: Where in the file the transfer begins, in bytes.
    """

    def __init__(self, filler: int, *, records: Records | None = None, offset: int = 0) -> None:
        self._filler = filler
        self._cutter = None if records is None else _RecordCutter(records, offset)
        self._input = MAX_PIECE // 4 if records is None else RECORDS_INPUT

    def feed(self, data: Buffer, *, suspect: bool = False) -> Iterator[bytes]:
        """Encode data.

        Args:
            data: Bytes of the file.
            suspect: Whether to mark them as suspect, each string of them.
        """

        for piece in _cut(data, self._input):
            strings: list[bytes] = []
            if self._cutter is None:
                self._append(strings, piece)
            else:
                for part, ends in self._cutter.cut(piece):
                    self._append(strings, part)
                    if ends:
                        strings.append(_END_OF_RECORD_STRING)

            if suspect:
                yield from _cut(b"".join([_SUSPECT_ESCAPE + it for it in strings]), MAX_PIECE)
            else:
                yield b"".join(strings)

    def marker(self, text: str) -> Iterator[bytes]:
        """Yield a restart marker for this position.

        Raises:
            ValueError: It is empty or longer than 127 characters, or has some
                that are not printable ASCII, or a space.
        """

        data = _checked(text).encode("ascii")
        if len(data) > _LONGEST_STRING:
            raise ValueError(f"a restart marker in compressed mode has 127 bytes, not {len(data)}")

        yield _escape(_MARKER) + _BYTES[len(data)] + data

    def finish(self) -> Iterator[bytes]:
        """Yield the end-of-file escape, and its string of nothing."""

        code = self._cutter.closing_code() if self._cutter else 0
        yield _escape(_END_OF_FILE | code) + _NO_FILLER

    def _append(self, strings: list[bytes], data: bytes) -> None:
        start = 0
        for begin, end in _runs(data):
            # A shorter run costs what it saves.
            if end - begin >= (3 if data[begin] == self._filler else 4):
                _append_literals(strings, data, start, begin)
                self._append_run(strings, data[begin], end - begin)
                start = end

        _append_literals(strings, data, start, len(data))

    def _append_run(self, strings: list[bytes], byte: int, count: int) -> None:
        whole, rest = divmod(count, _LONGEST_RUN)
        if byte == self._filler:
            strings += [_BYTES[_FILLERS | _LONGEST_RUN]] * whole
            if rest:
                strings.append(_BYTES[_FILLERS | rest])
        else:
            replicated = _BYTES[byte]
            strings += [_BYTES[_REPLICATED | _LONGEST_RUN] + replicated] * whole
            if rest:
                strings.append(_BYTES[_REPLICATED | rest] + replicated)


# The two leftmost bits of a string's first byte, and what they leave for its length.
_FILLERS = 0xC0
_REPLICATED = 0x80
_LONGEST_STRING = 127
_LONGEST_RUN = 63
_BYTES = [bytes((byte,)) for byte in range(256)]


def _escape(code: int) -> bytes:
    return b"\0" + _BYTES[code]


_NO_FILLER = _BYTES[_FILLERS]
_END_OF_RECORD_STRING = _escape(_END_OF_RECORD) + _NO_FILLER
_SUSPECT_ESCAPE = _escape(_SUSPECT)


def _append_literals(strings: list[bytes], data: bytes, start: int, end: int) -> None:
    for begin in range(start, end, _LONGEST_STRING):
        string = data[begin : min(end, begin + _LONGEST_STRING)]
        strings.append(_BYTES[len(string)] + string)


def _runs(data: bytes) -> Iterator[tuple[int, int]]:
    """Return where the same byte stands three times or more, from and to.

    As one number, the data differ from themselves shifted by a byte in nothing
    but zeros there: an expression with a back reference takes many times as long.
    """

    number = int.from_bytes(data, "big")
    differences = (number ^ number >> 8).to_bytes(len(data), "big")
    # The first byte has none before it to differ from.
    return ((run.start() - 1, run.end()) for run in _ZEROS.finditer(differences, 1))


_ZEROS = re.compile(rb"\0{2,}")


class DeflateEncoder:
    """MODE Z: one zlib stream for each file, as lftp and ProFTPD speak it.

    Args:
        level: 0 for none to 9 for best compression.

    Raises:
        ValueError: There is no such level.
    """

    def __init__(self, *, level: int = 6) -> None:
        if not 0 <= level <= _HIGHEST_LEVEL:
            raise ValueError(f"the level of deflate is 0 to 9, not {level}")

        self._deflater = zlib.compressobj(level)

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Encode data; most of it comes out later."""

        for piece in _cut(data, MAX_PIECE):
            yield from _cut(self._deflater.compress(piece), MAX_PIECE)

    def finish(self) -> Iterator[bytes]:
        """Yield what is held, and the trailer."""

        yield from _cut(self._deflater.flush(), MAX_PIECE)


# Decoders


class _MarkedDecoder(abc.ABC):
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
        for piece in _cut(data, self._INPUT):
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


class _RecordingDecoder(_MarkedDecoder):
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
        yield b""
        self._suspect += size
        if self.on_suspect is not None:
            self.on_suspect(SuspectData(self._output, size))

    def _end_unit(self, code: int) -> Iterator[bytes]:
        """Do what the descriptor codes of a block or string say, at its end."""

        if code & _MARKER:
            # Ahead of the call the reader has taken everything before the marker.
            yield b""
            marker = RestartMarker(_marker_text(bytes(self._marker), self._name), self._output)
            self._marker.clear()
            if self.on_marker is not None:
                self.on_marker(marker)

        if code & _END_OF_RECORD and (end := self._end_record()):
            yield end

        if code & _END_OF_FILE:
            self._complete = True


class StreamRecordDecoder(_RecordingDecoder):
    """Stream mode with record structure: two-byte control codes (RFC 959 §3.4.1).

    Args:
        records: How records stand in the file.
        limits: What the peer may ask.
    """

    _name = "stream mode"

    # An end of record may be one byte of the piece and become two.
    _INPUT = MAX_PIECE // 2

    def __init__(self, records: Records, *, limits: CodecLimits = _DEFAULT_LIMITS) -> None:
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
                _END_OF_FILE if code == b"\x02" else _END_OF_FILE | _END_OF_RECORD
            )
            self._remainder = piece[end + 2 :]
        else:
            raise InvalidData(f"{self._name}: no control code: X'FF{code.hex().upper()}'")

    def _decoded(self, piece: bytes) -> bytes:
        """Decode whole pairs: X'FFFF' and X'FF01' only."""

        if b"\xff" not in piece:
            self._count(len(piece))
            return piece

        # In whole pairs the first X'FFFF' of any run begins where a pair begins.
        parts = piece.split(b"\xff\xff")
        self._count_records(b".".join(parts).split(b"\xff\x01"))
        return b"\xff".join([part.replace(b"\xff\x01", self._record_end) for part in parts])

    def _count_records(self, records: list[bytes]) -> None:
        self._count(len(records[0]))
        if len(records) > 1:
            self._record = 0
            self._count(max(map(len, records[1:])))
            self._record = len(records[-1])


_DATA_AND_RECORDS = re.compile(rb"(?:[^\xff]++|\xff[\x01\xff])*+")


class BlockDecoder(_RecordingDecoder):
    """Block mode (RFC 959 §3.4.2).

    In file structure an end-of-record code is without meaning, and ignored.

    Args:
        records: How records stand in the file, for record structure; None for
            file structure.
        limits: What the peer may ask.
    """

    _several_files = True
    _name = "block mode"

    def __init__(
        self, *, records: Records | None = None, limits: CodecLimits = _DEFAULT_LIMITS
    ) -> None:
        super().__init__(records, limits)
        self._header = b""
        self._code = 0
        # Bytes that the block still has; None where a header is due.
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
            if self._code & _MARKER:
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
        if code & _UNASSIGNED:
            raise InvalidData(f"{self._name}: no descriptor: {code}")

        if code & _MARKER and size > self._limits.marker:
            raise InvalidData(f"{self._name}: a restart marker of {size} bytes")

        self._code = code
        self._left = size
        return self._start_suspect(size) if code & _SUSPECT else ()


class CompressedDecoder(_RecordingDecoder):
    """Compressed mode (RFC 959 §3.4.3).

    An end-of-file escape is good before the last string, as RFC 959 says, and
    alone at the end, after it, as some send it. Since only the end of the
    connection tells the two apart, `complete` stays False after a lone one
    until `finish`.

    In file structure an end-of-record code is without meaning, and ignored.

    Args:
        filler: The filler byte: space for TYPE A (32) and TYPE E (64), zero
            for TYPE I and L.
        records: How records stand in the file, for record structure; None for
            file structure.
        limits: What the peer may ask.
    """

    _several_files = True
    _name = "compressed mode"

    def __init__(
        self,
        filler: int,
        *,
        records: Records | None = None,
        limits: CodecLimits = _DEFAULT_LIMITS,
    ) -> None:
        super().__init__(records, limits)
        self._fillers = _BYTES[filler] * _LONGEST_RUN
        # The first byte of an escape or of a replicated byte, when the second is not there yet.
        self._first = b""
        # Bytes that a byte string still has.
        self._left = 0
        # Descriptor codes for the string that is due or under way.
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

            if self._code & _MARKER:
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

        An escape, and what is cut after its first byte, begin none.
        """

        byte = piece[at]
        at += 1
        if byte >= _FILLERS:
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
        # One that says nothing is what a peer sends that does not speak this mode: zeros.
        if not code or code & _UNASSIGNED:
            raise InvalidData(f"{self._name}: no descriptor: {code}")

        self._code |= code

    def _start_string(self, size: int) -> Iterable[bytes]:
        if self._code & _MARKER and size > self._limits.marker:
            raise InvalidData(f"{self._name}: a restart marker of {size} bytes")

        return self._start_suspect(size) if self._code & _SUSPECT else ()

    def _last(self) -> Iterator[bytes]:
        """Take a lone end-of-file escape for the end; and one of a record, where one is open."""

        if self._code & _END_OF_FILE and not (self._left or self._first or self._code & _MARKER):
            code, self._code = self._code, 0
            yield from self._end_unit(code if self._record else code & ~_END_OF_RECORD)


class DeflateDecoder(_MarkedDecoder):
    """MODE Z: one zlib stream, as lftp and ProFTPD speak it. Its trailer is the end mark.

    Args:
        limits: What the peer may ask.
    """

    _name = "MODE Z"

    # zlib gives back what it did not read, a copy each time: little at once.
    _CHUNK = 4 * 1024

    def __init__(self, *, limits: CodecLimits = _DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self._inflater = zlib.decompressobj()

    def _parse(self, piece: bytes) -> Iterator[bytes]:
        inflater = self._inflater
        for start in range(0, len(piece), self._CHUNK):
            data = piece[start : start + self._CHUNK]
            # With all data read little of what they give can be left; it comes with the trailer.
            while data:
                try:
                    part = inflater.decompress(data, MAX_PIECE)
                except zlib.error as error:
                    raise InvalidData(f"{self._name}: {error}") from error

                if part:
                    yield part

                if inflater.eof:
                    self._complete = True
                    self._remainder = inflater.unused_data + piece[start + self._CHUNK :]
                    return

                data = inflater.unconsumed_tail


# Both ways


def _cut(data: Buffer, size: int) -> Iterator[bytes]:
    """Cut data into non-empty pieces of at most `size` bytes; copy only what must be."""

    if isinstance(data, bytes) and len(data) <= size:
        if data:
            yield data

        return

    view = memoryview(data).cast("B")
    for start in range(0, len(view), size):
        yield bytes(view[start : start + size])


_MARKER_CHARACTERS = re.compile(r"[!-~]+", re.ASCII)


def _checked(marker: str) -> str:
    """Return a marker that may be sent: printable characters, no space (RFC 959 §3.4.2)."""

    if not _MARKER_CHARACTERS.fullmatch(marker):
        raise ValueError(f"a restart marker is of printable ASCII without spaces: {marker!r:.40}")

    return marker


def _marker_text(data: bytes, mode: str) -> str:
    text = data.decode("latin-1")
    if not _MARKER_CHARACTERS.fullmatch(text):
        raise InvalidData(f"{mode}: no restart marker: {data!r:.40}")

    return text
