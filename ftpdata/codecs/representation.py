"""Representation types (RFC 959 §3.1.1) as incremental encoders and decoders.

Pure. Turns the bytes of a file into those of the data connection and back:
TYPE A (NVT-ASCII line ends), TYPE E (EBCDIC), TYPE I and TYPE L 8 (nothing to
convert). Knows no file, no structure and no mode.

The rules of every encoder and decoder here:

1. `feed` is lazy. What it returns is exhausted before the next call, and
   `data` stays as it is until then. Nothing is converted ahead of the reader,
   so a large piece of memory costs no second one of its size.
2. No piece is empty, and none is larger than twice the data it was fed, nor
   than twice `PIECE_SIZE`; where UTF-8 is made, than three times.
3. Where the data are split makes no difference to what comes out.
4. TYPE A touches only line ends. Bytes above 127 pass as they are, as RFC 959
   §3.1.1.1 wants ("data must be interpreted as 8-bit bytes"): UTF-8 survives,
   UTF-16 is not text in the sense of TYPE A.
5. A CR that no LF follows passes as it is, at the end of the file too, and so
   does a NUL after it. RFC 854 would write a lone CR as CR NUL; RFC 959 wants
   of the NVT only its line end, and a receiver that took the NUL away would
   damage every file that has one.
6. Format effectors are carried. The file of a TYPE A T or E T transfer has
   them where its sender put them (CR, LF, VT, FF), that of A C or E C has its
   ASA control characters in the first column; what they move is a printer's
   paper (RFC 959 §3.1.1.5). So a file that was stored comes back as it was.
"""

from __future__ import annotations

import codecs
import enum
from collections.abc import Callable, Iterator

import attrs

from ..contracts import Buffer
from ..errors import InvalidData
from .ebcdic import ebcdic_code_page, translation_tables

__all__ = [
    "PIECE_SIZE",
    "AsciiDecoder",
    "AsciiEncoder",
    "EbcdicDecoder",
    "EbcdicEncoder",
    "ExistingCRLF",
    "IdentityDecoder",
    "IdentityEncoder",
]

PIECE_SIZE = 256 * 1024
"""Bytes that are converted at once, at most."""

CR = b"\r"
LF = b"\n"
CRLF = b"\r\n"


class ExistingCRLF(enum.Enum):
    """What becomes of a CRLF that stands in the file already (TYPE A and E, sending)."""

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
        if self.existing_crlf is ExistingCRLF.KEEP and CR in encoded:
            encoded = encoded.replace(CRLF, LF)

        if LF in encoded:
            encoded = encoded.replace(LF, CRLF)

        splits_crlf = self._after_cr and piece.startswith(LF)
        self._after_cr = piece.endswith(CR)
        if splits_crlf and self.existing_crlf is ExistingCRLF.KEEP:
            # The CR of this line end went out with the last piece.
            return encoded[1:]

        return encoded


def local_line_end(_: object, attribute: attrs.Attribute[bytes], value: bytes) -> None:
    """Refuse what is no line end of a file; a validator of attrs."""

    if value not in (LF, CRLF):
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

    line_end: bytes = attrs.field(default=LF, validator=local_line_end)
    _holds_cr: bool = attrs.field(default=False, init=False)

    @property
    def holds(self) -> bool:
        """Whether a CR is held until it is known what follows."""

        return self._holds_cr

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Decode data; yield pieces. A CR at the end is held until it is known what follows."""

        for piece in _pieces(data):
            decoded = piece if self.line_end == CRLF else self._decode(piece)
            if decoded:
                yield decoded

    def finish(self) -> Iterator[bytes]:
        """Yield the CR that the data ended with, if they did."""

        if self._holds_cr:
            self._holds_cr = False
            yield CR

    def _decode(self, piece: bytes) -> bytes:
        if self._holds_cr:
            piece = CR + piece

        self._holds_cr = piece.endswith(CR)
        if self._holds_cr:
            piece = piece[:-1]

        return piece.replace(CRLF, LF) if CR in piece else piece


@attrs.define(kw_only=True)
class EbcdicEncoder:
    r"""Turns a text file into EBCDIC, each line ended by NL, X'15' (RFC 959 §3.1.1.2).

    Of single bytes each has its counterpart, so no file is refused or damaged,
    whatever is in it (see `ebcdic.translation_tables`). UTF-8 has more
    characters than a code page: one that it lacks ends the transfer.

    Args:
        code_page: Name of an EBCDIC code page.
        file_encoding: Character set of the file: UTF-8, or one of single bytes.
        existing_crlf: What becomes of a CRLF in the file: NL (KEEP), or CR NL
            (DOUBLE), of which `EbcdicDecoder` makes the very bytes again.

    Raises:
        UnsupportedParameter: There is no such code page. Reply 504.
        ValueError: `file_encoding` is none of these.
    """

    code_page: str = "cp037"
    file_encoding: str = "latin-1"
    existing_crlf: ExistingCRLF = ExistingCRLF.KEEP
    _line_ends: AsciiDecoder = attrs.field(factory=AsciiDecoder, init=False)
    _convert: Callable[[bytes], bytes] = attrs.field(init=False)
    _finish: Callable[[], None] | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if is_utf_8(self.file_encoding):
            text = _Utf8ToEbcdic(self.code_page)
            self._convert, self._finish = text.convert, text.finish
        else:
            table, _ = translation_tables(self.code_page, self.file_encoding)
            self._convert = lambda data: data.translate(table)

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Encode data; a CR at the end is held until it is known what follows.

        Raises:
            InvalidData: The file is no UTF-8, or has a character that the code
                page lacks. Reply 451.
        """

        keeps = self.existing_crlf is ExistingCRLF.KEEP
        for piece in self._line_ends.feed(data) if keeps else _pieces(data):
            if encoded := self._convert(piece):
                yield encoded

    def finish(self) -> Iterator[bytes]:
        """Yield the CR that the file ended with, if it did.

        Raises:
            InvalidData: The file ends amid a character. Reply 451.
        """

        for piece in self._line_ends.finish():
            yield self._convert(piece)

        if self._finish is not None:
            self._finish()


@attrs.define(kw_only=True)
class EbcdicDecoder:
    r"""Turns EBCDIC into a text file (RFC 959 §3.1.1.2).

    NL, X'15', is a line end. LF, X'25', is none: it stays the format effector
    that it is (U+0085 in the file), or a file could not be sent back as it was.

    Args:
        code_page: Name of an EBCDIC code page.
        file_encoding: Character set of the file: UTF-8, or one of single bytes.
        line_end: Line end of the file: ``b"\n"`` or ``b"\r\n"``.

    Raises:
        UnsupportedParameter: There is no such code page. Reply 504.
        ValueError: `file_encoding` or `line_end` is none of these.
    """

    code_page: str = "cp037"
    file_encoding: str = "latin-1"
    line_end: bytes = attrs.field(default=LF, validator=local_line_end)
    _convert: Callable[[bytes], bytes] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        if is_utf_8(self.file_encoding):
            page = ebcdic_code_page(self.code_page)
            self._convert = lambda data: page.decode(data).encode()
        else:
            _, table = translation_tables(self.code_page, self.file_encoding)
            self._convert = lambda data: data.translate(table)

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Decode data.

        Raises:
            InvalidData: A code that the code page leaves undefined, which has
                no UTF-8. Reply 451.
        """

        for piece in _pieces(data):
            try:
                decoded = self._convert(piece)
            except UnicodeError as error:
                raise InvalidData(f"no {self.code_page}: {error}") from error

            yield decoded if self.line_end == LF else decoded.replace(LF, CRLF)

    def finish(self) -> Iterator[bytes]:
        """Yield nothing: a decoder of single bytes holds nothing back."""

        return iter(())


class _Utf8ToEbcdic:
    """UTF-8 in parts, which may end amid a character, as EBCDIC."""

    def __init__(self, code_page: str) -> None:
        self._page = ebcdic_code_page(code_page)
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def convert(self, data: bytes) -> bytes:
        try:
            return self._page.encode(self._decoder.decode(data))
        except UnicodeError as error:
            raise InvalidData(f"no {self._page.name} of this file: {error}") from error

    def finish(self) -> None:
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeError as error:
            raise InvalidData(f"the file ends amid a character: {error}") from error


def is_utf_8(encoding: str) -> bool:
    """Whether this is a name of UTF-8."""

    return encoding.lower().replace("_", "-") in {"utf-8", "utf8"}


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
