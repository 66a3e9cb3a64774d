r"""Names in listing lines: text and bytes, and control characters.

Pure. Every writer and every parser of a listing format uses these functions, so what
happens to a name depends only on the policy, never on the format.

Rules:

1. Text is UTF-8 with surrogate escapes, as `os.fsdecode` makes it: the bytes on the wire
   are the bytes of the file's name.
2. A control character is any of C0, DEL, C1 and the line separators U+2028 and U+2029,
   because a client that decodes before it splits may take any of them for a line end. The
   bytes on the wire are checked, so surrogate escapes cannot smuggle one in. Single
   bytes 0x80–0x9F that are not UTF-8 stay as they are: they are letters of older character
   sets, and the name must remain retrievable.
3. Escaping is reversible: `unescape_name` returns every name without a NUL that
   `NamePolicy.ESCAPE` has shown.
"""

from __future__ import annotations

import enum
import re
from typing import overload

from .._checks import check_type

__all__ = [
    "NamePolicy",
    "decode_name",
    "encode_name",
    "field_word",
    "has_control",
    "replace_control",
    "safe_name",
    "unescape_name",
]

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_OR_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")

_AFTER_BACKSLASH = r"0[0-3][0-7]|177|134|302\\2[0-3][0-7]|342\\200\\25[01]"
"""The octal bytes of a control character in UTF-8 (rule 2), or of a backslash: after a
backslash they form an escape."""

_ESCAPED = re.compile(rf"{_CONTROL.pattern}|\\(?={_AFTER_BACKSLASH})")
"""Written in octal: control characters, and a backslash that would read as an escape."""

_ESCAPE = re.compile(rf"\\(?!000)(?:{_AFTER_BACKSLASH})")
"""An escape as `unescape_name` reads it. A NUL is never in a file's name, and never wanted."""


class NamePolicy(enum.Enum):
    r"""What becomes of control characters in a name (rule 2 of this module).

    ESCAPE writes each of their bytes in octal, as ``ls -b`` does (``\012``). A backslash in
    the name stays as it is, so that an ordinary file is shown under its name, unless it would
    read as such an escape: then it is written as ``\134``. `unescape_name` turns the shown
    name back into the original. REPLACE writes ``?``, as ``ls -q`` does. SKIP leaves the entry
    out.
    """

    ESCAPE = "escape"
    REPLACE = "replace"
    SKIP = "skip"


def decode_name(name: bytes) -> str:
    """Decode a name from the wire; bytes that are not UTF-8 become surrogate escapes."""

    return name.decode("utf-8", "surrogateescape")


def encode_name(name: str) -> bytes:
    """Encode a name for the wire; the inverse of `decode_name`.

    Windows allows lone surrogates in names. Those that are not escapes get the three bytes
    that UTF-8 would give them, because an exception would end the whole listing.
    """

    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b"".join(
            c.encode("utf-8", "surrogateescape" if "\udc80" <= c <= "\udcff" else "surrogatepass")
            for c in name
        )


def has_control(text: str) -> bool:
    """Return whether text holds a control character (rule 2)."""

    return _CONTROL.search(text) is not None


def replace_control(text: str) -> str:
    """Replace each control character by ``_``."""

    return _CONTROL.sub("_", text)


def safe_name(name: str | bytes, policy: NamePolicy) -> str | None:
    """Apply a name policy; the result can be encoded and holds no control character.

    Returns:
        Text with surrogate escapes, or None where the policy is to skip the name.
    """

    if isinstance(name, str):
        if name.isprintable() and "\\" not in name:
            return name

        # Surrogate escapes may spell the UTF-8 of a control character, so check the bytes.
        name = encode_name(name)

    text = decode_name(name)
    if policy is NamePolicy.ESCAPE:
        return _ESCAPED.sub(_octal, text)

    if text.isprintable() or not _CONTROL.search(text):
        return text

    return None if policy is NamePolicy.SKIP else _CONTROL.sub("?", text)


def _octal(match: re.Match[str]) -> str:
    return "".join(f"\\{byte:03o}" for byte in match[0].encode())


@overload
def unescape_name(name: str) -> str: ...


@overload
def unescape_name(name: bytes) -> bytes: ...


def unescape_name(name: str | bytes) -> str | bytes:
    r"""Return the name that `NamePolicy.ESCAPE` has shown in this way.

    A client asks for a name as a listing showed it. A server that finds no file of that
    name literally may look for the one that this function returns. Only escapes of control
    characters and of backslashes are decoded: the result has no NUL, ``/`` or dot that was
    not there before, so a component of a path stays one component. It may have any other
    control character, including CR and LF.

    Args:
        name: One component of a path, as text with surrogate escapes or as bytes.

    Returns:
        The name, of the same type; the argument itself if there is nothing to decode.
    """

    check_type("name", name, str | bytes, "a string or bytes")
    if isinstance(name, bytes):
        return encode_name(unescape_name(decode_name(name)))

    return _ESCAPE.sub(_unescaped, name)


def _unescaped(match: re.Match[str]) -> str:
    return bytes(int(byte, 8) for byte in match[0][1:].split("\\")).decode()


def field_word(value: str | bytes) -> str:
    """Turn an owner or group into one field: never empty, no blank, no control character."""

    text = decode_name(value if isinstance(value, bytes) else encode_name(value))
    return _CONTROL_OR_BLANK.sub("_", text) or "-"
