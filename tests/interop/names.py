"""Sixteen file names that have broken listings, clients and servers. Pure.

All are legal on a unix file system. One without a control character must be retrieved by its
own bytes, even if a listing shows a backslash in it as an escape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["NASTY", "ODD", "names_of_lines", "shown"]

FORGED = b"-rw-r--r--   1 root     root            1 Jan  1  1970 forged"

NASTY = (
    # Control characters, of ASCII and of Unicode: they must not end a line or reach a terminal.
    b"crlf\r\n" + FORGED,
    b"lf\ntype=dir;size=1; forged",
    b"cr\rforged",
    b"escape\x1b[2J\x07\x7f",
    b"tab\tstop",
    "next line\u0085forged".encode(),
    "line separator\u2028forged".encode(),
    # Printable, but hard for parsers.
    b" leading space",
    b"semicolon;type=dir; -> target",
    b'"quotes" and \\012 back\\slash',
    b"-la",
    "caf\u00e9 \u202egpj.exe".encode(),  # right-to-left override
    b"%0d%0a~*?[a]{b}",
    b"n" * 255,
    # Not UTF-8.
    "caf\u00e9 \u00fcber.txt".encode("latin-1"),
    "\u30c6\u30b9\u30c8.txt".encode("shift-jis"),
)
"""Names, each of which must be exactly one entry of a listing."""


_CONTROL = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)))


def _octal(character: str) -> bytes:
    return b"".join(b"\\%03o" % byte for byte in character.encode())


_ESCAPES = tuple(_octal(character) for character in (*_CONTROL, "\\"))


def shown(name: bytes) -> bytes:
    """Return what a listing of the reference server shows for a name.

    Control characters are shown in octal (`ftpdata.NamePolicy.ESCAPE`), and so is a backslash that
    would read as an escape; everything else is unchanged. This is independent of ftpdata, to check
    it.
    """

    text = name.decode("utf-8", "surrogateescape")
    pieces = []
    for index, character in enumerate(text):
        rest = text[index:].encode("utf-8", "surrogateescape")
        is_escaped = character in _CONTROL or rest.startswith(_ESCAPES)
        plain = character.encode("utf-8", "surrogateescape")
        pieces.append(_octal(character) if is_escaped else plain)

    return b"".join(pieces)


ODD = tuple(name for name in NASTY if _CONTROL.isdisjoint(name.decode("utf-8", "surrogateescape")))
"""Names without control characters, which can be retrieved as they are."""


_LINE = re.compile(
    rb"[-dlbcps][-rwxsStT]{9} +\d+ [^ ]+ +[^ ]+ +\d+ "
    rb"[A-Z][a-z][a-z] [ \d]\d (?:\d\d:\d\d| \d{4}) (.+)",
    re.DOTALL,
)


def names_of_lines(lines: Sequence[bytes]) -> list[bytes]:
    """Return the names in lines as ``ls -l`` prints them; any other line is an error."""

    found = [_LINE.fullmatch(line) for line in lines]
    strange = [line for line, match in zip(lines, found, strict=True) if match is None]
    assert not strange, f"no lines of ls -l: {strange}"
    return [match[1] for match in found if match is not None]
