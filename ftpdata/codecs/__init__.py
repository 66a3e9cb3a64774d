"""Representation types, structures and transmission modes as encoders and decoders (RFC 959 §3).

Pure: bytes go in, bytes come out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .block import BlockDecoder, BlockEncoder
    from .compressed import CompressedDecoder, CompressedEncoder
    from .deflate import DeflateDecoder, DeflateEncoder, parse_deflate_level
    from .ebcdic import EbcdicCodePage, ebcdic_code_page, translation_tables
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
    from .restart import RestartMarker, SuspectData, format_mark_reply, parse_mark_reply
    from .selection import (
        CodecOptions,
        SizeCounter,
        TransferDecoder,
        TransferEncoder,
        chain_decoders,
        chain_encoders,
        check_supported,
        decoder_for,
        encoder_for,
        listing_encoder_for,
    )
    from .stream import StreamRecordDecoder, StreamRecordEncoder
    from .transmission import MAX_PIECE, CodecLimits, Records

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
    "IdentityDecoder",
    "IdentityEncoder",
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
    "translation_tables",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "block": ("BlockDecoder", "BlockEncoder"),
            "compressed": ("CompressedDecoder", "CompressedEncoder"),
            "deflate": ("DeflateDecoder", "DeflateEncoder", "parse_deflate_level"),
            "ebcdic": ("EbcdicCodePage", "ebcdic_code_page", "translation_tables"),
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
            "restart": ("RestartMarker", "SuspectData", "format_mark_reply", "parse_mark_reply"),
            "selection": (
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
            ),
            "stream": ("StreamRecordDecoder", "StreamRecordEncoder"),
            "transmission": ("MAX_PIECE", "CodecLimits", "Records"),
        },
    )
