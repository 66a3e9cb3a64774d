"""What the parsers of all listing formats share: lines, numbers, and how to refuse a line.

Pure.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from .._checks import wrong_type
from ..errors import InvalidData
from ._names import decode_name
from ._words import is_total

__all__ = ["is_blank", "is_noise", "is_total_of_any_word", "line_text", "number", "refuse"]

_MAX_DIGITS: Final = 19
"""A 64-bit size has no more digits. Python would accept any number of them, in any script."""

_NUMBER: Final = re.compile("[0-9]+")

_TOTAL: Final = re.compile(r"(?:[^ ]+ )?(?P<word>[^ \d:]+):? +[0-9.,]+[A-Za-z]{0,3}")
_DIRECTORY: Final = re.compile(r"[^ ]+:|\.{0,2}/.*:", re.DOTALL)
"""What precedes each directory in a recursive listing."""


def line_text(line: bytes) -> str:
    """Return a line without its line end, as text with surrogate escapes.

    Raises:
        InvalidData: There is a line end within. Reply 451.
        TypeError: It is not bytes.
    """

    if not isinstance(line, bytes | bytearray):
        raise wrong_type("line", "bytes, as they came", line)

    body = line.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in body:
        refuse("one line", decode_name(body))

    return decode_name(body)


def is_blank(text: str) -> bool:
    """Return whether a line holds nothing but blanks, which is never an entry."""

    return not text.strip(" ")


def is_noise(text: str) -> bool:
    """Return whether a line of LIST is known not to be an entry."""

    if is_blank(text):
        return True

    total = _TOTAL.fullmatch(text.strip(" "))
    return (total is not None and is_total(total["word"])) or bool(_DIRECTORY.fullmatch(text))


def is_total_of_any_word(text: str) -> bool:
    """Return whether a line is a word and a number, as the total of a directory is."""

    return _TOTAL.fullmatch(text.strip(" ")) is not None


def number(digits: str, text: str) -> int:
    """Return the number that digits in a line stand for.

    Args:
        digits: The digits.
        text: The whole line, for the error.

    Raises:
        InvalidData: It is not a number of at most 19 digits. Reply 451.
    """

    if not _NUMBER.fullmatch(digits) or len(digits.lstrip("0")) > _MAX_DIGITS:
        refuse("a number of at most 19 digits", text)

    return int(digits)


def refuse(expected: str, text: str) -> NoReturn:
    """Raise `InvalidData` for a line that is not what was expected."""

    raise InvalidData(f"expected {expected}, not {text!r:.80}")
