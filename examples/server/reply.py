"""Replies: three digits and text, as lines (RFC 959 §4.2). Pure.

Whatever is in a text, it makes no line that is not meant, and no line that reads
as the last one.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

__all__ = ["Reply", "printable"]


def printable(text: str) -> str:
    """Return the text as one line of printable characters, for a log or a reply.

    Everything else, line ends and terminal escapes above all, is written as
    Python writes it in a literal.
    """

    if text.isprintable():
        return text

    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@attrs.frozen
class Reply:
    """A reply of one or more lines (RFC 959 §4.2).

    Attributes:
        code: Three digits.
        text: The line; of a reply of several lines, the last.
        before: The lines before the last one.
    """

    code: int
    text: str
    before: Sequence[str] = ()

    @classmethod
    def parse(cls, line: str) -> Reply:
        """Make a reply of one line, as ftpdata formats some of them."""

        code, _, text = line.partition(" ")
        return cls(int(code), text)

    def encode(self) -> bytes:
        """Return the bytes to send, with the line ends."""

        if not self.before:
            # Nearly always, and for every command.
            return _encode_line(f"{self.code} {self.text}")

        first, *others = self.before
        # A line that begins with a digit could be taken for the last one.
        within = (f" {line}" for line in others)
        lines = (f"{self.code}-{first}", *within, f"{self.code} {self.text}")
        return b"".join(_encode_line(line) for line in lines)


def _encode_line(line: str) -> bytes:
    """Encode one line. Names keep their bytes; control characters cannot make a second line."""

    safe = line
    if not line.isprintable():
        safe = "".join(c if c >= " " and c != "\x7f" else ascii(c)[1:-1] for c in line)

    return safe.encode("utf-8", "surrogateescape") + b"\r\n"
