r"""Representation types, structures and transmission modes as encoders and decoders (RFC 959 §3).

Bytes go in and bytes come out, in any pieces; everything here is pure. Transfer functions such
as `send_file` choose the codecs by themselves, given `TransferParameters`. Without them::

    from ftpdata.codecs import decoder_for, encoder_for
    from ftpdata.parameters import TransferParameters

    parameters = TransferParameters().with_type("A N").with_mode("B")
    encoder = encoder_for(parameters)
    sent = b"".join([*encoder.feed(b"one\ntwo\n"), *encoder.finish()])
    assert sent == b"\x00\x00\x0aone\r\ntwo\r\n\x40\x00\x00"

    decoder = decoder_for(parameters)
    assert b"".join([*decoder.feed(sent), *decoder.finish()]) == b"one\ntwo\n"
    assert decoder.complete

The modules that choose what a transfer needs, and combine it:

- `selection`: `encoder_for` and `decoder_for` choose by TYPE, STRU and MODE;
- `options`: `CodecOptions`, what a host chooses in addition;
- `transfer`: the stages of one transfer as one encoder or decoder, with restart markers and the
  position in the file;
- `chain`: several encoders or decoders as one;
- `counting`: `SizeCounter`, the number of bytes of a file on the connection (SIZE).

The representation type (TYPE):

- `representation`: TYPE A, E, I and L 8;
- `ebcdic`: code pages as tables, for TYPE E.

The structure (STRU) and the transmission mode (MODE):

- `records`: `Records`, how records are stored in the bytes of a file (STRU R);
- `framing`: records as such, with the boundaries that MODE B and STRU R keep;
- `recordfile`: `RecordFile`, how a host's files store such records;
- `rdw`: files of a mainframe's records: with a record descriptor word before each, or all of
  one length;
- `stream`: MODE S with records; without them it needs no codec;
- `block`: MODE B;
- `compressed`: MODE C, and its filler byte;
- `deflate`: MODE Z, and its level;
- `restart`: restart markers and suspect data, in MODE B and C;
- `limits`: `CodecLimits`, what a peer may ask of a decoder.

Whatever a peer sends, a decoder gives data in bounded pieces, or raises an error of ftpdata's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ._pieces import MAX_PIECE
    from .block import BlockDecoder, BlockEncoder
    from .chain import chain_decoders, chain_encoders
    from .compressed import CompressedDecoder, CompressedEncoder
    from .counting import SizeCounter
    from .deflate import DeflateDecoder, DeflateEncoder, parse_deflate_level
    from .ebcdic import EbcdicCodePage, ebcdic_code_page, translation_tables
    from .framing import (
        RecordDecoder,
        RecordEncoder,
        record_decoder_for,
        record_encoder_for,
    )
    from .limits import CodecLimits
    from .options import CodecOptions
    from .rdw import FixedDecoder, FixedEncoder, RdwDecoder, RdwEncoder
    from .recordfile import RecordFile
    from .records import Records
    from .representation import (
        PIECE_SIZE,
        AsciiDecoder,
        AsciiEncoder,
        EbcdicDecoder,
        EbcdicEncoder,
        ExistingCRLF,
        IdentityDecoder,
        IdentityEncoder,
    )
    from .restart import (
        RestartMarker,
        SuspectData,
        format_mark_reply,
        parse_mark_reply,
    )
    from .selection import (
        check_supported,
        decoder_for,
        encoder_for,
        listing_encoder_for,
    )
    from .stream import StreamRecordDecoder, StreamRecordEncoder
    from .transfer import TransferDecoder, TransferEncoder

__all__ = [
    "MAX_PIECE",
    "PIECE_SIZE",
    "AsciiDecoder",
    "AsciiEncoder",
    "BlockDecoder",
    "BlockEncoder",
    "CodecLimits",
    "CodecOptions",
    "CompressedDecoder",
    "CompressedEncoder",
    "DeflateDecoder",
    "DeflateEncoder",
    "EbcdicCodePage",
    "EbcdicDecoder",
    "EbcdicEncoder",
    "ExistingCRLF",
    "FixedDecoder",
    "FixedEncoder",
    "IdentityDecoder",
    "IdentityEncoder",
    "RdwDecoder",
    "RdwEncoder",
    "RecordDecoder",
    "RecordEncoder",
    "RecordFile",
    "Records",
    "RestartMarker",
    "SizeCounter",
    "StreamRecordDecoder",
    "StreamRecordEncoder",
    "SuspectData",
    "TransferDecoder",
    "TransferEncoder",
    "chain_decoders",
    "chain_encoders",
    "check_supported",
    "decoder_for",
    "ebcdic_code_page",
    "encoder_for",
    "format_mark_reply",
    "listing_encoder_for",
    "parse_deflate_level",
    "parse_mark_reply",
    "record_decoder_for",
    "record_encoder_for",
    "translation_tables",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "_pieces": ("MAX_PIECE",),
            "block": (
                "BlockDecoder",
                "BlockEncoder",
            ),
            "chain": (
                "chain_decoders",
                "chain_encoders",
            ),
            "compressed": (
                "CompressedDecoder",
                "CompressedEncoder",
            ),
            "counting": ("SizeCounter",),
            "deflate": (
                "DeflateDecoder",
                "DeflateEncoder",
                "parse_deflate_level",
            ),
            "ebcdic": (
                "EbcdicCodePage",
                "ebcdic_code_page",
                "translation_tables",
            ),
            "framing": (
                "RecordDecoder",
                "RecordEncoder",
                "record_decoder_for",
                "record_encoder_for",
            ),
            "limits": ("CodecLimits",),
            "options": ("CodecOptions",),
            "rdw": (
                "FixedDecoder",
                "FixedEncoder",
                "RdwDecoder",
                "RdwEncoder",
            ),
            "recordfile": ("RecordFile",),
            "records": ("Records",),
            "representation": (
                "PIECE_SIZE",
                "AsciiDecoder",
                "AsciiEncoder",
                "EbcdicDecoder",
                "EbcdicEncoder",
                "ExistingCRLF",
                "IdentityDecoder",
                "IdentityEncoder",
            ),
            "restart": (
                "RestartMarker",
                "SuspectData",
                "format_mark_reply",
                "parse_mark_reply",
            ),
            "selection": (
                "check_supported",
                "decoder_for",
                "encoder_for",
                "listing_encoder_for",
            ),
            "stream": (
                "StreamRecordDecoder",
                "StreamRecordEncoder",
            ),
            "transfer": (
                "TransferDecoder",
                "TransferEncoder",
            ),
        },
    )
