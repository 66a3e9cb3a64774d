"""Representation types (RFC 959 §3.1.1) as incremental encoders and decoders.

Pure. They turn the bytes of a file into those of the data connection and back: TYPE A (NVT-ASCII
line ends), TYPE E (EBCDIC), TYPE I and TYPE L 8 (nothing to convert). They know no files, no
structures and no modes.

The rules of every encoder and decoder here:

1. `feed` is lazy. Exhaust what it returns before the next call, and leave `data` unchanged
   until then. Nothing is converted ahead of the reader, so a large piece of memory does not
   need a second one of its size.
2. No piece is empty. None is larger than twice the data that were fed, or twice `PIECE_SIZE`
   (three times if the result is UTF-8).
3. Where the data are split makes no difference to what comes out.
4. TYPE A changes line ends only. Bytes above 127 pass as they are, as RFC 959 §3.1.1.1 requires
   ("data must be interpreted as 8-bit bytes"): UTF-8 survives, UTF-16 is not text in the sense
   of TYPE A.
5. A CR without an LF after it passes as it is, also at the end of the file, and so does a NUL
   after it. RFC 854 would write a lone CR as CR NUL, but RFC 959 takes only the line end from
   the NVT, and a receiver that removed the NUL would damage every file that has one.
6. Format effectors are carried. In a TYPE A T or E T transfer they are in the file where its
   sender put them (CR, LF, VT, FF); with A C or E C, ASA control characters are in the first
   column. They move a printer's paper (RFC 959 §3.1.1.5); a file that was stored comes back as
   it was.
"""

from __future__ import annotations

import codecs
import enum
from collections.abc import Callable, Iterator

import attrs

from .._checks import checked
from ..contracts import Buffer
from ..errors import InvalidData
from ._pieces import cut_pieces
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
"""The most bytes that are converted at once."""

CR = b"\r"
LF = b"\n"
CRLF = b"\r\n"


class ExistingCRLF(enum.Enum):
    """What becomes of a CRLF that the file already has, when it is sent with TYPE A or E."""

    KEEP = "keep"
    """It is a line end and stays one. The peer gets a text with correct line ends, whether the
    file was written on Unix or on Windows."""

    DOUBLE = "double"
    """Its LF gets a CR as any other LF does: CR CR LF. A peer that turns CRLF into LF then has the
    exact bytes of the file."""


@attrs.define(kw_only=True, field_transformer=checked)
class AsciiEncoder:
    r"""Turns the line ends of a file into NVT-ASCII's CRLF (RFC 959 §3.1.1.1).

    Decoded by `AsciiDecoder`, the result is the file with every ``\r\n`` turned into ``\n``
    (KEEP), or the exact file (DOUBLE).

    Args:
        existing_crlf: What becomes of a CRLF in the file.
    """

    existing_crlf: ExistingCRLF = ExistingCRLF.KEEP
    _after_cr: bool = attrs.field(default=False, init=False)

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Encode data; yield pieces of at most twice their size."""

        for piece in cut_pieces(data, PIECE_SIZE):
            yield self._encode(piece)

    def finish(self) -> Iterator[bytes]:
        """Yield nothing: an encoder holds nothing back."""

        return iter(())

    def _encode(self, piece: bytes) -> bytes:
        # Searches for one byte are memchr's and cost next to nothing. They save searches for
        # two bytes, which are several times slower.
        encoded = piece
        if self.existing_crlf is ExistingCRLF.KEEP and CR in encoded:
            encoded = encoded.replace(CRLF, LF)

        if LF in encoded:
            encoded = encoded.replace(LF, CRLF)

        splits_crlf = self._after_cr and piece.startswith(LF)
        self._after_cr = piece.endswith(CR)
        if splits_crlf and self.existing_crlf is ExistingCRLF.KEEP:
            # The CR of this line end was sent with the last piece.
            return encoded[1:]

        return encoded


def local_line_end(_: object, attribute: attrs.Attribute[bytes], value: bytes) -> None:
    """Refuse anything but a line end of a file, as an attrs validator."""

    if value not in (LF, CRLF):
        raise ValueError(f"{attribute.name} must be b'\\n' or b'\\r\\n', not {value!r:.40}")


@attrs.define(kw_only=True, field_transformer=checked)
class AsciiDecoder:
    r"""Turns NVT-ASCII's CRLF into the line ends of a local file (RFC 959 §3.1.1.1).

    Only CRLF is a line end. A lone CR passes as it is, and so does a lone LF, which a peer sends
    if it converts nothing.

    Args:
        line_end: Line end of the file: ``b"\n"``, or ``b"\r\n"``, which changes nothing.

    Raises:
        ValueError: `line_end` is neither.
    """

    line_end: bytes = attrs.field(default=LF, validator=local_line_end)
    _holds_cr: bool = attrs.field(default=False, init=False)

    @property
    def holds(self) -> bool:
        """Whether a CR is held until the next byte is known."""

        return self._holds_cr

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Decode data; yield pieces. A CR at the end is held until the next byte is known."""

        for piece in cut_pieces(data, PIECE_SIZE):
            decoded = piece if self.line_end == CRLF else self._decode(piece)
            if decoded:
                yield decoded

    def finish(self) -> Iterator[bytes]:
        """Yield the CR that the data ended with, if any."""

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


@attrs.define(kw_only=True, field_transformer=checked)
class EbcdicEncoder:
    r"""Turns a text file into EBCDIC, with NL, X'15', as the line end (RFC 959 §3.1.1.2).

    In a character set of single bytes each byte has a counterpart, so no file is refused or
    damaged, whatever it holds (see `ebcdic.translation_tables`). UTF-8 has more characters
    than a code page: one that the code page lacks ends the transfer.

    Args:
        code_page: Name of an EBCDIC code page.
        file_encoding: Character set of the file: UTF-8, or one of single bytes.
        existing_crlf: What becomes of a CRLF in the file: NL (KEEP), or CR NL (DOUBLE), which
            `EbcdicDecoder` turns back into the exact bytes.

    Raises:
        UnsupportedParameter: There is no such code page. Reply 504.
        ValueError: `file_encoding` is not such a character set.
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
        """Encode data; a CR at the end is held until the next byte is known.

        Raises:
            InvalidData: The file is not UTF-8, or has a character that the code page lacks.
                Reply 451.
        """

        keeps = self.existing_crlf is ExistingCRLF.KEEP
        for piece in self._line_ends.feed(data) if keeps else cut_pieces(data, PIECE_SIZE):
            if encoded := self._convert(piece):
                yield encoded

    def finish(self) -> Iterator[bytes]:
        """Yield the CR that the file ended with, if any.

        Raises:
            InvalidData: The file ends within a character. Reply 451.
        """

        for piece in self._line_ends.finish():
            yield self._convert(piece)

        if self._finish is not None:
            self._finish()


@attrs.define(kw_only=True, field_transformer=checked)
class EbcdicDecoder:
    r"""Turns EBCDIC into a text file (RFC 959 §3.1.1.2).

    NL, X'15', is a line end. LF, X'25', is not: it remains a format effector (U+0085 in the
    file), because otherwise a file could not be sent back as it was.

    Args:
        code_page: Name of an EBCDIC code page.
        file_encoding: Character set of the file: UTF-8, or one of single bytes.
        line_end: Line end of the file: ``b"\n"`` or ``b"\r\n"``.

    Raises:
        UnsupportedParameter: There is no such code page. Reply 504.
        ValueError: `file_encoding` or `line_end` is not one of these.
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
            InvalidData: There is a code that the code page leaves undefined, so that it has
                no UTF-8. Reply 451.
        """

        for piece in cut_pieces(data, PIECE_SIZE):
            try:
                decoded = self._convert(piece)
            except UnicodeError as error:
                raise InvalidData(f"the data are not {self.code_page}: {error}") from error

            yield decoded if self.line_end == LF else decoded.replace(LF, CRLF)

    def finish(self) -> Iterator[bytes]:
        """Yield nothing: a decoder of single bytes holds nothing back."""

        return iter(())


class _Utf8ToEbcdic:
    """Turns UTF-8 into EBCDIC, in parts that may end within a character."""

    def __init__(self, code_page: str) -> None:
        self._page = ebcdic_code_page(code_page)
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def convert(self, data: bytes) -> bytes:
        try:
            return self._page.encode(self._decoder.decode(data))
        except UnicodeError as error:
            raise InvalidData(f"the file cannot be sent in {self._page.name}: {error}") from error

    def finish(self) -> None:
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeError as error:
            raise InvalidData(f"the file ends within a character: {error}") from error


def is_utf_8(encoding: str) -> bool:
    """Return whether this is a name of UTF-8."""

    return encoding.lower().replace("_", "-") in {"utf-8", "utf8"}


class _Identity:
    __slots__ = ()

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Yield the data in pieces of at most `PIECE_SIZE` bytes."""

        return cut_pieces(data, PIECE_SIZE)

    def finish(self) -> Iterator[bytes]:
        """Yield nothing: nothing is held back."""

        return iter(())


class IdentityEncoder(_Identity):
    """Passes the bytes of a file as they are: TYPE I and TYPE L 8 (RFC 959 §3.1.1.3)."""

    __slots__ = ()


class IdentityDecoder(_Identity):
    """Passes the bytes of the connection as they are: TYPE I and TYPE L 8 (RFC 959 §3.1.1.3)."""

    __slots__ = ()
