"""Representation type, file structure and transmission mode together (RFC 959 §3).

Pure. Joins the encoders and decoders of `representation` and of the modes to
what `TransferParameters` ask for: `encoder_for`, `decoder_for`. Knows no file.

The rules of what is joined here, besides those of its parts:

1. A record of a text is a line of the file (RFC 959 §3.1.2), and has no line
   end on the connection. Of other types the file is one record, or records of
   a length that the host chooses; what is received is joined.
2. With page structure nobody can do anything today, and it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from ..contracts import Buffer, Decoder, Encoder
from ..errors import UnsupportedParameter
from ..parameters import RepresentationType, Structure, TransferParameters, TransmissionMode
from .block import BlockDecoder, BlockEncoder
from .compressed import CompressedDecoder, CompressedEncoder
from .deflate import DeflateDecoder, DeflateEncoder
from .ebcdic import ebcdic_code_page
from .representation import (
    CR,
    LF,
    AsciiDecoder,
    AsciiEncoder,
    EbcdicDecoder,
    EbcdicEncoder,
    ExistingCRLF,
    IdentityDecoder,
    IdentityEncoder,
    is_utf_8,
    local_line_end,
)
from .restart import RestartMarker, SuspectData
from .stream import StreamRecordDecoder, StreamRecordEncoder
from .transmission import MAX_PIECE, CodecLimits, Records, at_least_one

__all__ = [
    "CodecOptions",
    "SizeCounter",
    "TransferDecoder",
    "TransferEncoder",
    "chain_decoders",
    "chain_encoders",
    "check_supported",
    "decoder_for",
    "encoder_for",
    "listing_encoder_for",
]


ENCODED_AT_ONCE: int = MAX_PIECE
"""Bytes of a file that are encoded at once where the result depends on it: in MODE B and C, of
text, some blocks end where a piece does."""


class SizeCounter:
    """Counts the bytes that an encoder makes of a file, and keeps none of them.

    For SIZE (RFC 3659 §4), which tells "the number of octets that would
    actually be transferred" in the type that is set.

    Args:
        encoder: A fresh one, that of a transfer: ``encoder_for(parameters)``.

    Attributes:
        size: Bytes on the data connection so far.
    """

    __slots__ = ("_encoder", "size")

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.size: int = 0

    def feed(self, data: Buffer) -> None:
        """Count data of the file.

        Args:
            data: For MODE B and C as many as a multiple of 64 KiB, but for the
                last ones: `send_file` cuts a file there, too.
        """

        view = memoryview(data).cast("B")
        for start in range(0, len(view), ENCODED_AT_ONCE):
            for piece in self._encoder.feed(view[start : start + ENCODED_AT_ONCE]):
                self.size += len(piece)

    def finish(self) -> int:
        """Count what the encoder still held; return the size of the whole. Called once, last."""

        for piece in self._encoder.finish():
            self.size += len(piece)

        return self.size


def chain_encoders(*encoders: Encoder) -> Encoder:
    """Join encoders into one; the data go through them in the order given.

    For sending: the representation first, then the transmission mode. No
    encoder at all is the identity.
    """

    return _Chain(encoders) if encoders else IdentityEncoder()


def chain_decoders(*decoders: Decoder) -> Decoder:
    """Join decoders into one; the data go through them in the order given.

    For receiving: the transmission mode first, then the representation. No
    decoder at all is the identity.
    """

    return _Chain(decoders) if decoders else IdentityDecoder()


@attrs.frozen(kw_only=True)
class CodecOptions:
    r"""What a host chooses about representation and transmission, besides the parameters.

    Attributes:
        existing_crlf: For TYPE A and E, sending: what becomes of a CRLF in
            the file.
        line_end: For TYPE A and E, receiving: line end of the file,
            ``b"\n"`` or ``b"\r\n"``.
        file_encoding: For TYPE E: character set of the file, UTF-8 or one of
            single bytes.
        record_length: For STRU R with TYPE I or L, sending: bytes of each
            record; None sends the file as one record.
        close_last_record: For STRU R with TYPE A or E, sending: whether a last
            line without line end is sent as a whole record, as RFC 959 §3.4
            wants.
        deflate_level: For MODE Z, sending: 0 to 9.
        marker_interval: For MODE B and C, sending: bytes of the file after
            which a restart marker is sent; None for none. The marker is the
            offset in the file, in decimal.
        limits: What a peer may ask of a decoder.
    """

    existing_crlf: ExistingCRLF = ExistingCRLF.KEEP
    line_end: bytes = attrs.field(default=LF, validator=local_line_end)
    file_encoding: str = "latin-1"
    record_length: int | None = attrs.field(default=None, validator=at_least_one)
    close_last_record: bool = True
    deflate_level: int = 6
    marker_interval: int | None = attrs.field(default=None, validator=at_least_one)
    limits: CodecLimits = attrs.field(factory=CodecLimits)


_DEFAULT_OPTIONS = CodecOptions()


class TransferEncoder:
    """All that one transfer that sends does to the bytes of a file; made by `encoder_for`.

    Where restart markers are sent, none stands between CR and LF, nor amid a
    character: a transfer that begins there gives the same as one that did not
    stop there.

    Args:
        stages: Encoders in order, the representation first.
        marker: Makes the marker of that text; None where none are wanted.
        interval: Bytes of the file from marker to marker.
        offset: Where in the file the transfer begins, in bytes.
        unmarked: Bytes of the file behind which no marker may stand.
    """

    def __init__(
        self,
        *stages: Encoder,
        marker: Callable[[str], Iterable[bytes]] | None = None,
        interval: int = 0,
        offset: int = 0,
        unmarked: frozenset[int] = frozenset(),
    ) -> None:
        self._encoder = chain_encoders(*stages)
        self._marker = marker
        self._interval = interval
        self._offset = offset
        self._unmarked = unmarked
        # Bytes of the file up to the next marker.
        self._left = interval

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Encode data; yields pieces.

        Raises:
            InvalidData: The file is no text that TYPE E can send. Reply 451.
        """

        return self._encoder.feed(data) if self._marker is None else self._feed_marking(data)

    def finish(self) -> Iterable[bytes]:
        """Yield what is held, and the end mark of the mode.

        Raises:
            InvalidData: The file ends amid a character. Reply 451.
        """

        return self._encoder.finish()

    def _feed_marking(self, data: Buffer) -> Iterator[bytes]:
        assert self._marker is not None
        view = memoryview(data).cast("B")
        start = 0
        while start < len(view):
            part = view[start : start + self._left]
            yield from self._encoder.feed(part)
            start += len(part)
            self._offset += len(part)
            self._left -= len(part)
            if self._left:
                return

            if part[-1] in self._unmarked:
                self._left = 1
            else:
                yield from self._marker(str(self._offset))
                self._left = self._interval


_ModeDecoder = BlockDecoder | CompressedDecoder | DeflateDecoder | StreamRecordDecoder


class TransferDecoder:
    """All that one transfer that receives does to the bytes of the connection; see `decoder_for`.

    Args:
        transmission: Decoders of the transmission mode, in order; of stream
            mode with file structure there is none.
        representation: Decoders of the representation type.
        offset: Where in the file the transfer begins, in bytes.
        on_marker: Called with each restart marker.
        on_suspect: Called ahead of data that their sender marked as suspect.
    """

    def __init__(
        self,
        *,
        transmission: Sequence[_ModeDecoder],
        representation: Sequence[AsciiDecoder | EbcdicDecoder | IdentityDecoder],
        offset: int = 0,
        on_marker: Callable[[RestartMarker], None] | None = None,
        on_suspect: Callable[[SuspectData], None] | None = None,
    ) -> None:
        self._transmission = transmission
        self._representation = representation
        self._decoder = chain_decoders(*transmission, *representation)
        self._offset = offset
        self._on_marker = on_marker
        self._on_suspect = on_suspect
        if transmission:
            transmission[0].on_marker = None if on_marker is None else self._note_marker
            transmission[0].on_suspect = None if on_suspect is None else self._note_suspect

    @property
    def has_end_mark(self) -> bool:
        """Whether a mark ends the file. In stream mode with file structure only the connection."""

        return bool(self._transmission)

    @property
    def complete(self) -> bool:
        """Whether the end mark was seen: no more of this file will come. Never without a mark."""

        return self.has_end_mark and all(stage.complete for stage in self._transmission)

    @property
    def several_files(self) -> bool:
        """Whether another file may follow on the connection, in block and compressed mode.

        Then the file ends when it is `complete`, and the connection need not.
        In any other mode the connection ends too, and data that still come
        are an error.
        """

        return any(stage.several_files for stage in self._transmission)

    @property
    def suspect_bytes(self) -> int:
        """Bytes so far that their sender marked as suspect (block and compressed mode)."""

        return self._transmission[0].suspect_bytes if self._transmission else 0

    @property
    def remainder(self) -> bytes:
        """What came behind the end of the file, in the same data: the beginning of the next one."""

        return self._transmission[0].remainder if self._transmission else b""

    def take_remainder(self) -> bytes:
        """Return what came behind the end of the file, to be fed to the decoder of the next."""

        return self._transmission[0].take_remainder() if self._transmission else b""

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Decode data; yields pieces. Reads no further than the end of the file.

        Raises:
            InvalidData: The data are not what the parameters say. Reply 451.
            QuotaExceeded: They expand to more than is allowed. Reply 552.
        """

        return self._counted(self._decoder.feed(data))

    def finish(self) -> Iterable[bytes]:
        """Yield what is still held. Called once: when `complete`, or at the end of the connection.

        Raises:
            TruncatedTransfer: The end mark of the mode is missing. Reply 426.
            InvalidData: There are data behind the end of the file. Reply 451.
        """

        return self._counted(self._decoder.finish())

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._offset += len(piece)
            yield piece

    def _note_marker(self, marker: RestartMarker) -> None:
        # Between CR and LF there is no place in the file that a transfer could go on from.
        holds = any(isinstance(it, AsciiDecoder) and it.holds for it in self._representation)
        assert self._on_marker is not None
        if not holds:
            self._on_marker(RestartMarker(marker.text, self._offset))

    def _note_suspect(self, suspect: SuspectData) -> None:
        assert self._on_suspect is not None
        self._on_suspect(SuspectData(self._offset, suspect.size))


def check_supported(parameters: TransferParameters) -> None:
    """Check that there is an encoder and a decoder for these parameters.

    A server calls it on TYPE, STRU and MODE already, so that nobody is told
    200 for what cannot be done.

    Raises:
        UnsupportedParameter: There is none; says what there is. Reply 504.
    """

    if parameters.type is RepresentationType.LOCAL:
        _check("TYPE", f"L {parameters.byte_size}", ("L 8",))

    _check("STRU", parameters.structure.value, ("F", "R"))
    if parameters.type is RepresentationType.EBCDIC:
        ebcdic_code_page(parameters.encoding)


def encoder_for(
    parameters: TransferParameters, *, options: CodecOptions = _DEFAULT_OPTIONS, offset: int = 0
) -> TransferEncoder:
    """Make the encoder for one transfer that sends.

    Args:
        parameters: TYPE, STRU and MODE in effect.
        options: What the host chooses.
        offset: Where in the file the transfer begins, in bytes (REST).

    Raises:
        UnsupportedParameter: There is no such encoder. Reply 504.
        ValueError: One of the options is none.
    """

    check_supported(parameters)
    records = _records_to_send(parameters, options)
    stages: list[Encoder] = _representation_encoders(parameters, options)
    marker = None
    match parameters.mode:
        case TransmissionMode.BLOCK:
            block = BlockEncoder(records=records, offset=offset)
            stages.append(block)
            marker = block.marker
        case TransmissionMode.COMPRESSED:
            filler = _FILLERS[parameters.type]
            compressed = CompressedEncoder(filler, records=records, offset=offset)
            stages.append(compressed)
            marker = compressed.marker
        case _:
            if records is not None:
                stages.append(StreamRecordEncoder(records, offset=offset))
            if parameters.mode is TransmissionMode.DEFLATE:
                stages.append(DeflateEncoder(level=options.deflate_level))

    if options.marker_interval is None or marker is None:
        return TransferEncoder(*stages)

    return TransferEncoder(
        *stages,
        marker=marker,
        interval=options.marker_interval,
        offset=offset,
        unmarked=_unmarked_bytes(parameters, options),
    )


def decoder_for(
    parameters: TransferParameters,
    *,
    options: CodecOptions = _DEFAULT_OPTIONS,
    offset: int = 0,
    on_marker: Callable[[RestartMarker], None] | None = None,
    on_suspect: Callable[[SuspectData], None] | None = None,
) -> TransferDecoder:
    """Make the decoder for one transfer that receives.

    Args:
        parameters: TYPE, STRU and MODE in effect.
        options: What the host chooses.
        offset: Where in the file the transfer begins, in bytes (REST).
        on_marker: For MODE B and C: called with each restart marker, its
            offset that in the file. Everything before it was given out, and
            the next piece asked for.
        on_suspect: For MODE B and C: called ahead of data that their sender
            marked as suspect, which are given out as any other.

    Raises:
        UnsupportedParameter: There is no such decoder. Reply 504.
        ValueError: One of the options is none.
    """

    check_supported(parameters)
    records = _records_to_receive(parameters, options)
    limits = options.limits
    transmission: list[_ModeDecoder] = []
    match parameters.mode:
        case TransmissionMode.BLOCK:
            transmission.append(BlockDecoder(records=records, limits=limits))
        case TransmissionMode.COMPRESSED:
            filler = _FILLERS[parameters.type]
            transmission.append(CompressedDecoder(filler, records=records, limits=limits))
        case _:
            if parameters.mode is TransmissionMode.DEFLATE:
                transmission.append(DeflateDecoder(limits=limits))
            if records is not None:
                transmission.append(StreamRecordDecoder(records, limits=limits))

    return TransferDecoder(
        transmission=transmission,
        representation=_representation_decoders(parameters, options),
        offset=offset,
        on_marker=on_marker,
        on_suspect=on_suspect,
    )


def listing_encoder_for(
    parameters: TransferParameters, *, options: CodecOptions = _DEFAULT_OPTIONS
) -> TransferEncoder:
    """Make the encoder for a listing, whose lines end in CRLF.

    A listing is text, whatever TYPE says of files: EBCDIC with TYPE E, else
    ASCII (RFC 959 §4.1.3, LIST). STRU and MODE hold for it as for any file.

    Raises:
        UnsupportedParameter: There is no such encoder. Reply 504.
    """

    kind = parameters.type
    if kind is not RepresentationType.EBCDIC:
        kind = RepresentationType.ASCII

    options = attrs.evolve(options, existing_crlf=ExistingCRLF.KEEP, marker_interval=None)
    return encoder_for(attrs.evolve(parameters, type=kind, byte_size=8), options=options)


_NL = b"\x15"
_UTF_8_LATER_BYTES = range(0x80, 0x100)

# Compressed mode: "the filler byte varies with the representation type" (RFC 959 §3.4.3).
_FILLERS = {
    RepresentationType.ASCII: 0x20,
    RepresentationType.EBCDIC: 0x40,
    RepresentationType.IMAGE: 0,
    RepresentationType.LOCAL: 0,
}


def _representation_encoders(
    parameters: TransferParameters, options: CodecOptions
) -> list[Encoder]:
    if parameters.type is RepresentationType.EBCDIC:
        return [
            EbcdicEncoder(
                code_page=parameters.encoding,
                file_encoding=options.file_encoding,
                existing_crlf=options.existing_crlf,
            )
        ]

    if parameters.type is not RepresentationType.ASCII:
        return []

    if parameters.structure is Structure.FILE:
        return [AsciiEncoder(existing_crlf=options.existing_crlf)]

    # Lines become records by their LF: a CR before it goes with it, or is of the line.
    return [AsciiDecoder()] if options.existing_crlf is ExistingCRLF.KEEP else []


def _representation_decoders(
    parameters: TransferParameters, options: CodecOptions
) -> list[AsciiDecoder | EbcdicDecoder | IdentityDecoder]:
    if parameters.type is RepresentationType.EBCDIC:
        return [
            EbcdicDecoder(
                code_page=parameters.encoding,
                file_encoding=options.file_encoding,
                line_end=options.line_end,
            )
        ]

    # The records of an ASCII file come with the file's line ends.
    if parameters.type is RepresentationType.ASCII and parameters.structure is Structure.FILE:
        return [AsciiDecoder(line_end=options.line_end)]

    return []


def _records_to_send(parameters: TransferParameters, options: CodecOptions) -> Records | None:
    if parameters.structure is Structure.FILE:
        return None

    if parameters.type is RepresentationType.ASCII:
        return Records(end=LF, close_last=options.close_last_record)

    if parameters.type is RepresentationType.EBCDIC:
        return Records(end=_NL, close_last=options.close_last_record)

    return Records(length=options.record_length)


def _records_to_receive(parameters: TransferParameters, options: CodecOptions) -> Records | None:
    if parameters.structure is Structure.FILE:
        return None

    if parameters.type is RepresentationType.ASCII:
        return Records(end=options.line_end)

    return Records(end=_NL) if parameters.type is RepresentationType.EBCDIC else Records()


def _unmarked_bytes(parameters: TransferParameters, options: CodecOptions) -> frozenset[int]:
    if parameters.type not in (RepresentationType.ASCII, RepresentationType.EBCDIC):
        return frozenset()

    has_long = parameters.type is RepresentationType.EBCDIC and is_utf_8(options.file_encoding)
    return frozenset((*CR, *(_UTF_8_LATER_BYTES if has_long else ())))


def _check(command: str, argument: str, supported: Iterable[str]) -> None:
    if argument not in supported:
        raise UnsupportedParameter(
            f"{command} {argument} is not supported; supported: {', '.join(supported)}"
        )


class _Chain:
    """One or more encoders, or decoders, as one."""

    __slots__ = ("_stages",)

    def __init__(self, stages: Sequence[Encoder | Decoder]) -> None:
        self._stages = stages

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Take data through all stages; yields the pieces of the last."""

        first, *others = self._stages
        pieces = first.feed(data)
        for stage in others:
            pieces = _feed_all(stage, pieces)

        return pieces

    def finish(self) -> Iterable[bytes]:
        """Finish each stage in turn, after what the one before it still held went through it."""

        first, *others = self._stages
        pieces = first.finish()
        for stage in others:
            pieces = _feed_all_and_finish(stage, pieces)

        return pieces


def _feed_all(stage: Encoder | Decoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from stage.feed(piece)


def _feed_all_and_finish(stage: Encoder | Decoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield from _feed_all(stage, pieces)
    yield from stage.finish()
