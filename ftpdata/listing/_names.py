r"""Names as they appear in listing lines: text and bytes, and control characters.

Pure. Every writer and every parser of a listing format uses these functions, so what
happens to a name depends on the policy alone, never on the format.

Rules:

1. Text is UTF-8 with surrogate escapes, as `os.fsdecode` makes it: the bytes on the wire
   are the bytes of the file's name.
2. A control character is any of C0, DEL, C1 and the line separators U+2028 and U+2029,
   because a client that decodes before it splits may take any of them for a line end. The
   bytes that go out are what is judged, so surrogate escapes cannot smuggle one in. Single
   bytes 0x80–0x9F that are not UTF-8 stay as they are: they are letters of older character
   sets, and the name must remain retrievable.
"""

from __future__ import annotations

import enum
import re

__all__ = [
    "NamePolicy",
    "decode_name",
    "encode_name",
    "field_word",
    "has_control",
    "replace_control",
    "safe_name",
]

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_OR_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


class NamePolicy(enum.Enum):
    r"""What becomes of control characters in a name (rule 2 of this module).

    ESCAPE writes each of their bytes in octal, as ``ls -b`` does (``\012``). A backslash of
    the name stays single, so that the name of an ordinary file is what RETR wants; the
    escape is for eyes, not for RETR. REPLACE writes ``?``, as ``ls -q`` does. SKIP leaves
    the entry out.
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
        if name.isprintable():
            return name

        # Surrogate escapes may spell the UTF-8 of a control character: look at the bytes.
        name = encode_name(name)

    text = decode_name(name)
    if text.isprintable() or not _CONTROL.search(text):
        return text

    if policy is NamePolicy.SKIP:
        return None

    return _CONTROL.sub(_octal if policy is NamePolicy.ESCAPE else "?", text)


def _octal(match: re.Match[str]) -> str:
    return "".join(f"\\{byte:03o}" for byte in match[0].encode())


def field_word(value: str | bytes) -> str:
    """Turn an owner or group into one field: never empty, no blank, no control character."""

    text = decode_name(value if isinstance(value, bytes) else encode_name(value))
    return _CONTROL_OR_BLANK.sub("_", text) or "-"
