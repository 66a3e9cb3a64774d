r"""Records as such on the data connection: the boundaries of MODE B, and of STRU R in MODE S.

Pure. The decoders of `ftpdata.codecs.block` and `ftpdata.codecs.stream` make a file of what
arrives, in which records are lines, or joined. Here the records stay what they are: a mainframe's
variable records have lengths that no byte within them shows.

Rules:

1. A record is any bytes, of any TYPE, as they are on the connection: EBCDIC stays EBCDIC, and
   packed decimals stay whole. `ftpdata.codecs.ebcdic` converts those that are text.
2. In MODE B (RFC 959 §3.4.2) the end-of-record code ends a record under STRU F as under STRU R:
   z/OS sends it either way. A record may span blocks.
3. Data that no end of record follows before the end of the file are the last record. An end of
   file with no data before it ends no record. (z/OS sends the last record with X'40' alone.)
4. The file ends with its mark. Without it the transfer was cut: whole records have been given
   by then, and the rest of one is not given.
5. A record has at most `CodecLimits.record` bytes, and nothing is held but the record that has
   begun and the bytes that were fed.
"""

from __future__ import annotations

import abc
import re
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from .._checks import check_call, check_type
from .._views import byte_view
from ..contracts import Buffer
from ..errors import InvalidData, TruncatedTransfer, UnsupportedParameter, error_for_peer
from ..parameters import Structure, TransferParameters, TransmissionMode
from ._decoding import EndMark
from ._descriptors import END_OF_FILE, END_OF_RECORD, MARKER, UNASSIGNED
from .limits import DEFAULT_LIMITS, CodecLimits

__all__ = ["RecordDecoder", "RecordEncoder", "record_decoder_for", "record_encoder_for"]

_HEADER: Final = struct.Struct(">BH")
_LARGEST_BLOCK: Final = 0xFFFF
_ESCAPE: Final = re.compile(rb"\xff(.)", re.DOTALL)


def check_record(record: object) -> None:
    """Check that a record is bytes."""

    check_type("record", record, bytes | bytearray | memoryview, "bytes")


# Sending


class RecordEncoder(abc.ABC):
    """Encodes records for one transfer; made by `record_encoder_for`."""

    @abc.abstractmethod
    def feed(self, records: Iterable[Buffer]) -> bytes:
        """Return records, with their ends, as they are sent.

        Raises:
            TypeError: One of them is not bytes.
        """

    @abc.abstractmethod
    def finish(self) -> bytes:
        """Return the end of the file."""


class _BlockEncoder(RecordEncoder):
    """MODE B: each record ends with its last block; the end of file is a block of its own."""

    def feed(self, records: Iterable[Buffer]) -> bytes:
        parts: list[Buffer] = []
        pack = _HEADER.pack
        for record in records:
            if record.__class__ is not bytes or len(record) > _LARGEST_BLOCK:
                parts += _spanned(record)
            else:
                parts.append(pack(END_OF_RECORD, len(record)))
                parts.append(record)

        return b"".join(parts)

    def finish(self) -> bytes:
        return _HEADER.pack(END_OF_FILE, 0)


def _spanned(record: Buffer) -> Iterator[Buffer]:
    check_record(record)
    view = byte_view(record)
    while len(view) > _LARGEST_BLOCK:
        yield _HEADER.pack(0, _LARGEST_BLOCK)
        yield view[:_LARGEST_BLOCK]
        view = view[_LARGEST_BLOCK:]

    yield _HEADER.pack(END_OF_RECORD, len(view))
    yield view


class _StreamEncoder(RecordEncoder):
    """STRU R in MODE S: X'FF01' ends each record, X'FF02' the file; X'FF' is doubled."""

    def feed(self, records: Iterable[Buffer]) -> bytes:
        parts = []
        for record in records:
            if record.__class__ is not bytes:
                check_record(record)

            data = bytes(record)
            parts.append(data.replace(b"\xff", b"\xff\xff") if b"\xff" in data else data)

        return b"\xff\x01".join([*parts, b""])

    def finish(self) -> bytes:
        return b"\xff\x02"


def record_encoder_for(parameters: TransferParameters) -> RecordEncoder:
    """Return the encoder of the records of one transfer that sends.

    Raises:
        UnsupportedParameter: The mode and the structure keep no boundaries. Reply 504.
    """

    _check_supported(parameters)
    is_block = parameters.mode is TransmissionMode.BLOCK
    return _BlockEncoder() if is_block else _StreamEncoder()


def keeps_records(parameters: TransferParameters) -> bool:
    """Return whether the mode and the structure keep the boundaries of records."""

    mode, structure = parameters.mode, parameters.structure
    return (mode is TransmissionMode.BLOCK and structure is not Structure.PAGE) or (
        mode is TransmissionMode.STREAM and structure is Structure.RECORD
    )


def _check_supported(parameters: TransferParameters) -> None:
    check_type("parameters", parameters, TransferParameters, "TransferParameters")
    if not keeps_records(parameters):
        mode, structure = parameters.mode, parameters.structure
        raise error_for_peer(
            UnsupportedParameter,
            f"records need MODE B, or MODE S and STRU R, not MODE {mode.value} and "
            f"STRU {structure.value}",
        )


# Receiving


class RecordDecoder(EndMark, abc.ABC):
    """Decodes the records of one transfer; made by `record_decoder_for`.

    Args:
        limits: What the peer may ask.
    """

    several_files: bool = False
    _name = ""

    def __init__(self, limits: CodecLimits) -> None:
        super().__init__()
        self._limits = limits
        self._most = limits.record
        self._open = bytearray()

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Decode data; yield the records that end in them, lazily.

        Raises:
            InvalidData: The data are not in this mode, hold a record or marker that is too
                long, or go on after the end of the file; the records before have been yielded.
                Reply 451.
        """

        if self._complete:
            if len(data):
                raise InvalidData(f"{self._name}: data after the end of the file")

            return

        yield from self._parse(bytes(data))
        if self._remainder and not self.several_files:
            raise InvalidData(f"{self._name}: data after the end of the file")

    def finish(self) -> None:
        """Say that the connection has ended, or that the file is complete.

        Raises:
            TruncatedTransfer: The end of the file is missing, perhaps within a record.
                Reply 426.
            InvalidData: There are data after it that nobody took. Reply 451.
        """

        if not self._complete:
            where = "within a record" if self._open or self._is_within else "between records"
            raise TruncatedTransfer(f"{self._name}: the end of the file is missing, {where}")

        if self._remainder:
            raise InvalidData(f"{self._name}: data after the end of the file")

    @property
    @abc.abstractmethod
    def _is_within(self) -> bool:
        """Whether bytes are held that are less than a code, or than a block."""

    @abc.abstractmethod
    def _parse(self, data: bytes) -> Iterator[bytes]:
        """Yield the records that end in the data; what follows the file is the remainder."""

    def _add(self, part: bytes) -> None:
        """Add to the record that has begun."""

        self._check(len(self._open) + len(part))
        self._open += part

    def _end(self) -> bytes:
        """Return the record that has begun."""

        record = bytes(self._open)
        self._open.clear()
        return record

    def _check(self, size: int) -> None:
        if self._most is not None and size > self._most:
            raise InvalidData(f"{self._name}: a record of more than {self._most} bytes")


class _BlockDecoder(RecordDecoder):
    """MODE B (RFC 959 §3.4.2)."""

    several_files: bool = True
    _name = "block mode"

    def __init__(self, limits: CodecLimits) -> None:
        super().__init__(limits)
        self._held: list[bytes] = []
        self._held_size = 0
        # Bytes without which there is nothing to do: those of a header, or of a block with it.
        self._needed = _HEADER.size

    @property
    def _is_within(self) -> bool:
        return self._held_size > 0

    def _parse(self, data: bytes) -> Iterator[bytes]:
        if self._held_size + len(data) < self._needed:
            self._hold(data)
            return

        if self._held:
            data = b"".join((*self._held, data))
            self._held.clear()
            self._held_size = 0

        at, size = 0, len(data)
        header, unpack, most = _HEADER.size, _HEADER.unpack_from, self._most
        while size - at >= header:
            code, length = unpack(data, at)
            start = at + header
            end = start + length
            if code == END_OF_RECORD and end <= size and not self._open:
                # Nearly all blocks are one record.
                if most is not None and length > most:
                    self._check(length)

                yield data[start:end]
                at = end
                continue

            self._check_block(code, length)
            if end > size:
                self._needed = header + length
                self._hold(data[at:])
                return

            at = end
            if code & MARKER:
                continue

            self._add(data[start:end])
            if code & END_OF_RECORD or (code & END_OF_FILE and self._open):
                yield self._end()

            if code & END_OF_FILE:
                self._complete = True
                self._remainder = data[at:]
                return

        self._needed = header
        self._hold(data[at:])

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._held_size += len(data)

    def _check_block(self, code: int, length: int) -> None:
        if code & UNASSIGNED:
            raise InvalidData(f"{self._name}: not a descriptor code: {code}")

        if code & MARKER and length > self._limits.marker:
            raise InvalidData(f"{self._name}: a restart marker of {length} bytes")


class _StreamDecoder(RecordDecoder):
    """STRU R in MODE S (RFC 959 §3.4.1)."""

    _name = "stream mode"

    def __init__(self, limits: CodecLimits) -> None:
        super().__init__(limits)
        self._holds_escape = False

    @property
    def _is_within(self) -> bool:
        return self._holds_escape

    def _parse(self, data: bytes) -> Iterator[bytes]:
        if self._holds_escape and data:
            data = b"\xff" + data
            self._holds_escape = False

        *records, rest = data.split(b"\xff\x01")
        if data.count(b"\xff") != len(records):
            yield from self._parse_escapes(data)
            return

        # Nothing but ends of records, as in nearly all data.
        for record in records:
            if self._open:
                self._add(record)
                yield self._end()
            else:
                self._check(len(record))
                yield record

        self._add(rest)

    def _parse_escapes(self, data: bytes) -> Iterator[bytes]:
        start = 0
        for match in _ESCAPE.finditer(data):
            code = match[1]
            # X'FFFF' is one byte of data.
            self._add(data[start : match.start() + (code == b"\xff")])
            start = match.end()
            if code == b"\x01":
                yield self._end()
            elif code in {b"\x02", b"\x03"}:
                if self._open or code == b"\x03":
                    yield self._end()

                self._complete = True
                self._remainder = data[start:]
                return
            elif code != b"\xff":
                raise InvalidData(f"{self._name}: not a control code: X'FF{code.hex().upper()}'")

        rest = data[start:]
        self._holds_escape = rest.endswith(b"\xff")
        self._add(rest.removesuffix(b"\xff"))


def record_decoder_for(
    parameters: TransferParameters, *, limits: CodecLimits = DEFAULT_LIMITS
) -> RecordDecoder:
    """Return the decoder of the records of one transfer that receives.

    Args:
        parameters: TYPE, STRU and MODE in effect.
        limits: What the peer may ask.

    Raises:
        UnsupportedParameter: The mode and the structure keep no boundaries. Reply 504.
    """

    check_call(record_decoder_for, locals())
    _check_supported(parameters)
    is_block = parameters.mode is TransmissionMode.BLOCK
    return _BlockDecoder(limits) if is_block else _StreamDecoder(limits)
