"""EBCDIC code pages as tables (RFC 959 §3.1.1.2).

Pure. This module has the table of a code page, whether Python has it or not, and the tables
that convert the bytes of a text file to EBCDIC and back. It knows no streams and no lines, only
that a line end is one character.

Two things differ from Python's own codecs:

1. A line end is NL, X'15' (RFC 959 §3.1.1.2). Python's tables follow Unicode's, in which X'15'
   is U+0085 and X'25' is the line feed. Here the two are exchanged, as in z/OS UNIX and in
   Java's tables, so a line feed becomes NL and nothing is lost.
2. Every byte has a counterpart. `translation_tables` are permutations of the 256 bytes: the
   characters that one set lacks are paired, in order, with those that the other one lacks.
   Any file, text or not, comes back as it was.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import re

import attrs

from .._checks import check_call, check_type, checked
from ..errors import UnsupportedParameter

__all__ = ["EbcdicCodePage", "ebcdic_code_page", "translation_tables"]

_UNDEFINED = "\ufffe"  # as in Python's own tables
_NL = 0x15
_LF = 0x25
_NEXT_LINE = "\x85"

# Code page 1047, the Latin-1 of z/OS UNIX, which Python lacks: code page 037 with three pairs of
# characters exchanged (IBM's code page identifier 01047; the C library's IBM1047).
_NAME_1047 = re.compile(r"(?:cp|ibm)?[-_ ]?0?1047", re.ASCII | re.IGNORECASE)
_SWAPPED_1047 = ((0x5F, 0xB0), (0xAD, 0xBA), (0xBB, 0xBD))

# A single-byte character set leaves at most this many codes undefined; UTF-8 leaves 128.
_MOST_UNDEFINED = 64

# What makes a code page EBCDIC, whatever the language.
_INVARIANT = ((0x40, " "), (_NL, _NEXT_LINE), (_LF, "\n"), (0x81, "a"), (0xC1, "A"), (0xF0, "0"))


@attrs.frozen(field_transformer=checked)
class EbcdicCodePage:
    """An EBCDIC code page, with NL as its line end.

    Attributes:
        name: Its name, in lower case: Python's, or ``cp1047``.
        characters: The 256 characters by their codes; U+FFFE for a code without one. Code
            X'15' is a line feed, X'25' is U+0085.
    """

    name: str
    characters: str

    def decode(self, data: bytes) -> str:
        """Return the text of EBCDIC data, with line feeds as line ends.

        Raises:
            UnicodeDecodeError: A code that the code page leaves undefined.
        """

        return codecs.charmap_decode(data, "strict", self.characters)[0]

    def encode(self, text: str) -> bytes:
        """Return text in EBCDIC.

        Raises:
            UnicodeEncodeError: A character that the code page does not have.
        """

        return codecs.charmap_encode(text, "strict", _encoding_map(self.characters))[0]


@functools.lru_cache(maxsize=16)
def ebcdic_code_page(name: str) -> EbcdicCodePage:
    """Return the code page of that name.

    Args:
        name: Python's name or alias of an EBCDIC code page (``cp037``, ``cp500``, ``cp1140``,
            ``ibm273`` …), or ``cp1047``. Where the package ``ebcdic`` is installed (the extra
            of the same name), also its own: ``cp297``, ``cp1141`` … ``cp1149`` and others.

    Raises:
        UnsupportedParameter: There is no such code page, or it is not EBCDIC. Reply 504.
    """

    check_type("name", name, str, "a string")
    if _NAME_1047.fullmatch(name):
        characters = list(_characters("cp037"))
        for one, other in _SWAPPED_1047:
            characters[one], characters[other] = characters[other], characters[one]

        canonical = "cp1047"
    else:
        try:
            characters = _python_characters(name)
            canonical = codecs.lookup(name).name
        except (LookupError, ValueError):
            raise UnsupportedParameter(f"there is no code page {name!r:.40}") from None

    if any(characters[code] != character for code, character in _INVARIANT):
        raise UnsupportedParameter(f"{name!r:.40} is not an EBCDIC code page")

    characters[_NL], characters[_LF] = characters[_LF], characters[_NL]
    return EbcdicCodePage(canonical, "".join(characters))


@functools.lru_cache(maxsize=16)
def translation_tables(code_page: str, file_encoding: str) -> tuple[bytes, bytes]:
    """Return the tables for `bytes.translate`: file to EBCDIC, and back.

    Each is a permutation and undoes the other. Characters that both sets have are mapped to
    each other; the remaining codes are paired in order. (So ¤ of Latin-1 becomes the € that
    cp1140 has in its place.)

    Args:
        code_page: Name of an EBCDIC code page, see `ebcdic_code_page`.
        file_encoding: Python's name of the file's character set. Its characters must be
            single bytes and include ASCII.

    Raises:
        UnsupportedParameter: There is no such code page. Reply 504.
        ValueError: `file_encoding` is not such a character set.
    """

    check_call(translation_tables, locals())
    ebcdic = ebcdic_code_page(code_page).characters
    try:
        local = _characters(file_encoding)
    except (LookupError, ValueError):
        raise ValueError(f"there is no character set {file_encoding!r:.40}") from None

    ascii_is_ascii = local[:128] == bytes(range(128)).decode("ascii")
    if not ascii_is_ascii or local.count(_UNDEFINED) > _MOST_UNDEFINED:
        raise ValueError(f"expected single bytes that include ASCII, not {file_encoding!r:.40}")

    codes = {character: code for code, character in enumerate(ebcdic) if character != _UNDEFINED}
    targets = [codes.pop(character, -1) for character in local]
    taken = set(targets)
    free = (code for code in range(256) if code not in taken)
    there = bytes(next(free) if target < 0 else target for target in targets)
    back = bytearray(256)
    for source, target in enumerate(there):
        back[target] = source

    return there, bytes(back)


def _python_characters(name: str) -> list[str]:
    """Return the characters of a code page of Python's, or of the package ``ebcdic``.

    The tables of the package are Java's, in which X'15' and X'25' are both a line feed. They are
    returned as Python's have them.

    Raises:
        LookupError: Neither has it.
        ValueError: It cannot be the name of one.
    """

    try:
        characters = list(_characters(name))
    except LookupError:
        with contextlib.suppress(ImportError):
            import ebcdic  # noqa: F401, PLC0415 - it makes its code pages known

        characters = list(_characters(name))

    if characters[_NL] == "\n":
        characters[_NL] = _NEXT_LINE

    return characters


def _characters(encoding: str) -> str:
    """Return the character of each of the 256 bytes, U+FFFE for a byte without one.

    Raises:
        LookupError: There is no such text encoding.
        ValueError: It cannot be the name of one.
    """

    if not encoding.isascii():
        # Python 3.15 warns of such a name, and later versions refuse it.
        raise LookupError(f"there is no encoding {encoding!r:.40}")

    return "".join(_character(code, encoding) for code in range(256))


def _character(code: int, encoding: str) -> str:
    try:
        character = bytes((code,)).decode(encoding)
    except UnicodeError:
        return _UNDEFINED

    return character if len(character) == 1 else _UNDEFINED


_encoding_map = functools.lru_cache(maxsize=16)(codecs.charmap_build)
