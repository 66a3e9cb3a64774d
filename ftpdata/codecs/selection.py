"""Which encoder and which decoder a transfer needs, by its TYPE, STRU and MODE (RFC 959 §3).

Pure. This module takes `TransferParameters`, and joins the encoders or decoders of the
representation type and of the transmission mode. It knows no files.

The rules of the combination, besides those of its parts:

1. A record of a text is a line of the file (RFC 959 §3.1.2), and has no line end on the
   connection. A file of another type is one record, or records of a length that the host
   chooses; records that are received are joined. A host that keeps a mainframe's records says
   so (`CodecOptions.record_file`): then they stay what they are, in any type but TYPE A.
2. Page structure is refused: nobody can use it today.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from .._checks import check_call, check_type
from ..contracts import Encoder
from ..errors import UnsupportedParameter, error_for_peer
from ..parameters import RepresentationType, Structure, TransferParameters, TransmissionMode
from ._record_stages import FileToRecords, RecordsToFile
from .block import BlockDecoder, BlockEncoder
from .compressed import FILLERS, CompressedDecoder, CompressedEncoder
from .deflate import DeflateDecoder, DeflateEncoder
from .ebcdic import ebcdic_code_page
from .framing import keeps_records, record_decoder_for, record_encoder_for
from .options import DEFAULT_OPTIONS, CodecOptions
from .rdw import record_reader, record_writer
from .recordfile import RecordFile
from .records import Records
from .representation import (
    CR,
    LF,
    AsciiDecoder,
    AsciiEncoder,
    EbcdicDecoder,
    EbcdicEncoder,
    ExistingCRLF,
    IdentityDecoder,
    is_utf_8,
)
from .restart import RestartMarker, SuspectData
from .stream import StreamRecordDecoder, StreamRecordEncoder
from .transfer import ModeDecoder, TransferDecoder, TransferEncoder

__all__ = ["check_supported", "decoder_for", "encoder_for", "listing_encoder_for"]


def check_supported(parameters: TransferParameters) -> None:
    """Check that there is an encoder and a decoder for these parameters.

    A server calls this for TYPE, STRU and MODE already, so that it never replies 200 to
    something that cannot be done.

    Raises:
        UnsupportedParameter: There is no codec; the error lists those that exist. Reply 504.
    """

    check_type("parameters", parameters, TransferParameters, "TransferParameters")
    if parameters.type is RepresentationType.LOCAL:
        _check("TYPE", f"L {parameters.byte_size}", ("L 8",))

    _check("STRU", parameters.structure.value, ("F", "R"))
    if parameters.type is RepresentationType.EBCDIC:
        ebcdic_code_page(parameters.encoding)


def encoder_for(
    parameters: TransferParameters, *, options: CodecOptions = DEFAULT_OPTIONS, offset: int = 0
) -> TransferEncoder:
    """Return the encoder for one transfer that sends.

    Args:
        parameters: TYPE, STRU and MODE in effect.
        options: What the host chooses.
        offset: Where in the file the transfer begins, in bytes (REST).

    Raises:
        UnsupportedParameter: There is no such encoder. Reply 504.
        ValueError: One of the options has a value that cannot be used.
    """

    check_supported(parameters)
    _check_options(options, offset)
    if (file := _record_file(parameters, options)) is not None:
        return TransferEncoder(FileToRecords(record_reader(file), record_encoder_for(parameters)))

    records = _records_to_send(parameters, options)
    stages: list[Encoder] = _representation_encoders(parameters, options)
    marker = None
    match parameters.mode:
        case TransmissionMode.BLOCK:
            block = BlockEncoder(records=records, offset=offset)
            stages.append(block)
            marker = block.marker
        case TransmissionMode.COMPRESSED:
            filler = FILLERS[parameters.type]
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
    options: CodecOptions = DEFAULT_OPTIONS,
    offset: int = 0,
    on_marker: Callable[[RestartMarker], None] | None = None,
    on_suspect: Callable[[SuspectData], None] | None = None,
) -> TransferDecoder:
    """Return the decoder for one transfer that receives.

    Args:
        parameters: TYPE, STRU and MODE in effect.
        options: What the host chooses.
        offset: Where in the file the transfer begins, in bytes (REST).
        on_marker: Called with each restart marker of MODE B and C, with its offset in the
            file, once everything before it was given out and the next piece asked for.
        on_suspect: Called before data of MODE B and C that their sender marked as suspect;
            they are given out like any other.

    Raises:
        UnsupportedParameter: There is no such decoder. Reply 504.
        ValueError: One of the options has a value that cannot be used.
    """

    check_call(decoder_for, locals())
    check_supported(parameters)
    _check_options(options, offset)
    records = _records_to_receive(parameters, options)
    limits = options.limits
    transmission: list[ModeDecoder] = []
    file = _record_file(parameters, options)
    match parameters.mode:
        case _ if file is not None:
            decoder = record_decoder_for(parameters, limits=limits)
            transmission.append(RecordsToFile(decoder, record_writer(file), limits))
        case TransmissionMode.BLOCK:
            transmission.append(BlockDecoder(records=records, limits=limits))
        case TransmissionMode.COMPRESSED:
            filler = FILLERS[parameters.type]
            transmission.append(CompressedDecoder(filler, records=records, limits=limits))
        case _:
            if parameters.mode is TransmissionMode.DEFLATE:
                transmission.append(DeflateDecoder(limits=limits))
            if records is not None:
                transmission.append(StreamRecordDecoder(records, limits=limits))

    return TransferDecoder(
        transmission=transmission,
        representation=[] if file else _representation_decoders(parameters, options),
        offset=offset,
        on_marker=on_marker,
        on_suspect=on_suspect,
    )


def listing_encoder_for(
    parameters: TransferParameters, *, options: CodecOptions = DEFAULT_OPTIONS
) -> TransferEncoder:
    """Return the encoder for a listing, whose lines end in CRLF.

    A listing is text, whatever TYPE says about files: EBCDIC with TYPE E, ASCII with any other
    (RFC 959 §4.1.3, LIST). STRU and MODE apply to it as to any file.

    Raises:
        UnsupportedParameter: There is no such encoder. Reply 504.
    """

    check_supported(parameters)
    _check_options(options)
    kind = parameters.type
    if kind is not RepresentationType.EBCDIC:
        kind = RepresentationType.ASCII

    options = attrs.evolve(
        options, existing_crlf=ExistingCRLF.KEEP, marker_interval=None, record_file=None
    )
    return encoder_for(attrs.evolve(parameters, type=kind, byte_size=8), options=options)


_NL = b"\x15"
_UTF_8_LATER_BYTES = range(0x80, 0x100)


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

    # Lines become records at their LF. A CR before it is removed as well, or part of the line.
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

    # The records of an ASCII file already come with the file's line ends.
    if parameters.type is RepresentationType.ASCII and parameters.structure is Structure.FILE:
        return [AsciiDecoder(line_end=options.line_end)]

    return []


def _record_file(parameters: TransferParameters, options: CodecOptions) -> RecordFile | None:
    if parameters.type is RepresentationType.ASCII or not keeps_records(parameters):
        return None

    return options.record_file


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


def _check_options(options: CodecOptions, offset: int = 0) -> None:
    check_type("options", options, CodecOptions, "CodecOptions")
    check_type("offset", offset, int, "a number of bytes")
    if offset < 0:
        raise ValueError(f"offset must not be negative, but it is {offset}")


def _check(command: str, argument: str, supported: Iterable[str]) -> None:
    if argument not in supported:
        raise error_for_peer(
            UnsupportedParameter,
            f"{command} {argument} is not supported; supported: {', '.join(supported)}"
        )
