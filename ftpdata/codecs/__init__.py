r"""Representation types, structures and transmission modes as encoders and decoders (RFC 959 §3).

Bytes go in and bytes come out, in any pieces; everything here is pure. Transfer functions such
as `send_file` choose the codecs by themselves, given `TransferParameters`::

    import asyncio
    import tempfile
    from pathlib import Path

    from ftpdata import TransferParameters, connect_active, listen_passive
    from ftpdata import receive_stream, send_file

    async def retr(path, parameters):
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
        client = connect_active(server.address, control_peer="127.0.0.1")
        sending = asyncio.create_task(send_file(server, path, parameters=parameters))
        wire = b"".join([data async for data in receive_stream(client)])
        result = await sending
        assert (result.bytes, result.file_bytes) == (len(wire), path.stat().st_size)
        return wire

    async def main(path):
        parameters = TransferParameters().with_type("A N")  # TYPE A, as each session begins
        assert await retr(path, parameters) == b"one\r\ntwo\r\n"
        parameters = parameters.with_type("I")  # each command gives other parameters
        assert await retr(path, parameters) == b"one\ntwo\n"

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "text")
        path.write_bytes(b"one\ntwo\n")
        asyncio.run(main(path))

`TransferParameters.with_type`, ``with_structure`` and ``with_mode`` take the arguments of the
commands, and raise an error with the reply for those that are wrong. TYPE L with byte sizes other
than 8, and STRU P, get the reply 504, as from all servers today. `CodecOptions` has the choices
that the RFC leaves open.

In TYPE A, LF in a file is CR LF on the connection, in both directions, in whatever pieces the bytes
come; what a file has of CR LF already is sent as it is (`ExistingCRLF`). SIZE has to tell the
number of bytes that RETR would send (RFC 3659 §4): `SizeCounter` counts them.

Without a connection::

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
``tests/promises.md`` has what holds in every combination, with its tests, and
``examples/transfer_modes.py`` tries each of them on a server.

## Records of a mainframe

`ftpdata.transfers.send_records` and `ftpdata.transfers.receive_records` move records as such, with
the boundaries that MODE B keeps (under STRU F, as z/OS sends, and STRU R), or STRU R in MODE S, in
any TYPE: nothing is translated, so packed decimals stay whole::

    from ftpdata.codecs import RdwEncoder
    from ftpdata.transfers import receive_records, send_records

    PARAMETERS = TransferParameters().with_type("E").with_mode("B")

    async def fetch(endpoint) -> bytes:
        file = RdwEncoder()  # each record behind its record descriptor word
        content = []
        async with receive_records(endpoint, parameters=PARAMETERS) as records:
            async for record in records:
                content.append(file.feed([record]))

        return b"".join([*content, file.finish()])

    async def mainframe():
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
        client = connect_active(server.address, control_peer="127.0.0.1")
        content, _ = await asyncio.gather(
            fetch(client), send_records(server, [b"one", b""], parameters=PARAMETERS)
        )
        assert content == b"\0\x07\0\0one\0\x04\0\0"

    asyncio.run(mainframe())

A record may be empty, or span blocks; data that no end of record follows before the end of the file
are the last one. A transfer that is cut is an error, after the whole records were given. The bounds
are `CodecLimits.record` for a record, and ``size_limit``. `RdwEncoder` and `RdwDecoder` write and
read files of variable records, with or without block descriptor words; `FixedEncoder` and
`FixedDecoder` those of one length. `ebcdic_code_page` knows the pages of Python and 1047, and with
the extra ``ebcdic`` those of that package, such as 297, 1141 and 1147. With
`CodecOptions.record_file`, `send_file` and `receive_file` do the same with files of records
(``--records rdw``, ``bdw`` or ``fixed:80`` of the reference server): MODE B, and STRU R in MODE S,
keep the boundaries, but for TYPE A, whose records are lines. ``examples/mainframe.py`` fetches and
sends data sets. All of this was tried against a peer that plays published dumps; no mainframe was
at hand.
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
