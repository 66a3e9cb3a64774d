"""Representation types (RFC 959 §3.1.1) as incremental encoders and decoders.

Pure. Turns the bytes of a file into those of the data connection and back:
TYPE A (NVT-ASCII line ends), TYPE I and TYPE L 8 (nothing to convert). Knows
no transmission mode, and no file.

The rules of every encoder and decoder here:

1. `feed` is lazy. What it returns is exhausted before the next call, and
   `data` stays as it is until then. Nothing is converted ahead of the reader,
   so a large piece of memory costs no second one of its size.
2. No piece is empty, and none is larger than twice the data it was fed, nor
   than twice `PIECE_SIZE`.
3. Where the data are split makes no difference to what comes out.
4. Only line ends are touched. Bytes above 127 pass as they are, as RFC 959
   §3.1.1.1 wants ("data must be interpreted as 8-bit bytes"): UTF-8 survives,
   UTF-16 is not text in the sense of TYPE A.
5. A CR that no LF follows passes as it is, at the end of the file too, and so
   does a NUL after it. RFC 854 would write a lone CR as CR NUL; RFC 959 wants
   of the NVT only its line end, and a receiver that took the NUL away would
   damage every file that has one.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from .contracts import Buffer, Decoder, Encoder
from .errors import UnsupportedParameter
from .parameters import (
    RepresentationType,
    Structure,
    TransferParameters,
    TransmissionMode,
)

__all__ = [
    "PIECE_SIZE",
    "AsciiDecoder",
    "AsciiEncoder",
    "ExistingCRLF",
    "IdentityDecoder",
    "IdentityEncoder",
    "SizeCounter",
    "chain_decoders",
    "chain_encoders",
    "check_supported",
    "decoder_for",
    "encoder_for",
]

PIECE_SIZE = 256 * 1024
"""Bytes that are converted at once, at most."""

_CR = b"\r"
_LF = b"\n"
_CRLF = b"\r\n"


class ExistingCRLF(enum.Enum):
    """What becomes of a CRLF that stands in the file already (TYPE A, sending)."""

    KEEP = "keep"
    """It is a line end already and stays one. The peer gets a text with right
    line ends, whether the file was written on Unix or on Windows."""

    DOUBLE = "double"
    """Its LF gets a CR as every other LF does: CR CR LF. A peer that makes LF
    of CRLF then has the very bytes of the file."""


@attrs.define(kw_only=True)
class AsciiEncoder:
    r"""Turns the line ends of a file into NVT-ASCII's CRLF (RFC 959 §3.1.1.1).

    Decoded by `AsciiDecoder`, the result is the file with every ``\r\n`` made
    ``\n`` (KEEP), or the file (DOUBLE).

    Args:
        existing_crlf: What becomes of a CRLF in the file.
    """

    existing_crlf: ExistingCRLF = ExistingCRLF.KEEP
    _after_cr: bool = attrs.field(default=False, init=False)

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Encode data; yield pieces of at most twice their size."""

        for piece in _pieces(data):
            yield self._encode(piece)

    def finish(self) -> Iterator[bytes]:
        """Yield nothing: an encoder holds nothing back."""

        return iter(())

    def _encode(self, piece: bytes) -> bytes:
        # The searches for one byte are memchr's and cost next to nothing; they
        # save those for two, which are several times slower.
        encoded = piece
        if self.existing_crlf is ExistingCRLF.KEEP and _CR in encoded:
            encoded = encoded.replace(_CRLF, _LF)

        if _LF in encoded:
            encoded = encoded.replace(_LF, _CRLF)

        splits_crlf = self._after_cr and piece.startswith(_LF)
        self._after_cr = piece.endswith(_CR)
        if splits_crlf and self.existing_crlf is ExistingCRLF.KEEP:
            # The CR of this line end went out with the last piece.
            return encoded[1:]

        return encoded


def _local_line_end(_: object, attribute: attrs.Attribute[bytes], value: bytes) -> None:
    if value not in (_LF, _CRLF):
        raise ValueError(f"{attribute.name} must be b'\\n' or b'\\r\\n', not {value!r:.40}")


@attrs.define(kw_only=True)
class AsciiDecoder:
    r"""Turns NVT-ASCII's CRLF into the line ends of a local file (RFC 959 §3.1.1.1).

    Only CRLF is a line end. A lone LF, which a peer that converts nothing
    sends, and a lone CR pass as they are.

    Args:
        line_end: Line end of the file: ``b"\n"``, or ``b"\r\n"``, with which
            nothing changes.

    Raises:
        ValueError: `line_end` is neither.
    """

    line_end: bytes = attrs.field(default=_LF, validator=_local_line_end)
    _holds_cr: bool = attrs.field(default=False, init=False)

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Decode data; yield pieces. A CR at the end is held until it is known what follows."""

        for piece in _pieces(data):
            decoded = piece if self.line_end == _CRLF else self._decode(piece)
            if decoded:
                yield decoded

    def finish(self) -> Iterator[bytes]:
        """Yield the CR that the data ended with, if they did."""

        if self._holds_cr:
            self._holds_cr = False
            yield _CR

    def _decode(self, piece: bytes) -> bytes:
        if self._holds_cr:
            piece = _CR + piece

        self._holds_cr = piece.endswith(_CR)
        if self._holds_cr:
            piece = piece[:-1]

        return piece.replace(_CRLF, _LF) if _CR in piece else piece


class _Identity:
    __slots__ = ()

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Yield the data in pieces of at most `PIECE_SIZE` bytes."""

        return _pieces(data)

    def finish(self) -> Iterator[bytes]:
        """Yield nothing: nothing is held back."""

        return iter(())


class IdentityEncoder(_Identity):
    """Passes the bytes of a file as they are: TYPE I and TYPE L 8 (RFC 959 §3.1.1.3)."""

    __slots__ = ()


class IdentityDecoder(_Identity):
    """Passes the bytes of the connection as they are: TYPE I and TYPE L 8 (RFC 959 §3.1.1.3)."""

    __slots__ = ()


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
        self.size = 0

    def feed(self, data: Buffer) -> None:
        """Count data of the file."""

        for piece in self._encoder.feed(data):
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


def check_supported(parameters: TransferParameters) -> None:
    """Check that there is an encoder and a decoder for these parameters.

    A server calls it on TYPE, STRU and MODE already, so that nobody is told
    200 for what cannot be done.

    Raises:
        UnsupportedParameter: There is none; says what there is. Reply 504.
    """

    _check("TYPE", _type_argument(parameters), _ENCODERS)
    _check("STRU", parameters.structure.value, _STRUCTURES)
    _check("MODE", parameters.mode.value, _MODES)


def encoder_for(
    parameters: TransferParameters, *, existing_crlf: ExistingCRLF = ExistingCRLF.KEEP
) -> Encoder:
    """Make the encoder for one transfer that sends.

    Args:
        parameters: TYPE, STRU and MODE in effect.
        existing_crlf: For TYPE A: what becomes of a CRLF in the file.

    Raises:
        UnsupportedParameter: There is no such encoder. Reply 504.
    """

    check_supported(parameters)
    return _ENCODERS[_type_argument(parameters)](existing_crlf)


def decoder_for(parameters: TransferParameters, *, line_end: bytes = _LF) -> Decoder:
    r"""Make the decoder for one transfer that receives.

    Args:
        parameters: TYPE, STRU and MODE in effect.
        line_end: For TYPE A: line end of the file, ``b"\n"`` or ``b"\r\n"``.

    Raises:
        UnsupportedParameter: There is no such decoder. Reply 504.
        ValueError: `line_end` is neither.
    """

    check_supported(parameters)
    return _DECODERS[_type_argument(parameters)](line_end)


# Keyed by the argument of TYPE in full. TYPE A T is sent as TYPE A N: the format
# effectors are characters of the file, for a printer to interpret (RFC 959
# §3.1.1.5.2). TYPE A C gives the first character of each line another meaning
# and needs a conversion of its own.
_ENCODERS: Mapping[str, Callable[[ExistingCRLF], Encoder]] = {
    "A N": lambda existing_crlf: AsciiEncoder(existing_crlf=existing_crlf),
    "A T": lambda existing_crlf: AsciiEncoder(existing_crlf=existing_crlf),
    "I": lambda _: IdentityEncoder(),
    "L 8": lambda _: IdentityEncoder(),
}
_DECODERS: Mapping[str, Callable[[bytes], Decoder]] = {
    "A N": lambda line_end: AsciiDecoder(line_end=line_end),
    "A T": lambda line_end: AsciiDecoder(line_end=line_end),
    "I": lambda _: IdentityDecoder(),
    "L 8": lambda _: IdentityDecoder(),
}
_STRUCTURES = (Structure.FILE.value,)
_MODES = (TransmissionMode.STREAM.value,)


def _type_argument(parameters: TransferParameters) -> str:
    kind = parameters.type
    if kind is RepresentationType.IMAGE:
        return "I"

    if kind is RepresentationType.LOCAL:
        return f"L {parameters.byte_size}"

    return f"{kind.value} {parameters.format_control.value}"


def _check(command: str, argument: str, supported: Iterable[str]) -> None:
    if argument not in supported:
        raise UnsupportedParameter(
            f"{command} {argument} is not supported; supported: {', '.join(supported)}"
        )


def _pieces(data: Buffer) -> Iterator[bytes]:
    """Cut data into non-empty pieces of at most `PIECE_SIZE` bytes; copy only what must be."""

    if isinstance(data, bytes) and len(data) <= PIECE_SIZE:
        if data:
            yield data

        return

    # As bytes, whatever the items of a memoryview are.
    view = memoryview(data).cast("B")
    for start in range(0, len(view), PIECE_SIZE):
        yield bytes(view[start : start + PIECE_SIZE])


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
