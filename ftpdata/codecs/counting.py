"""How many bytes an encoder makes of a file (SIZE, RFC 3659 §4).

Pure.
"""

from __future__ import annotations

from .._views import byte_views
from ..contracts import Buffer, Encoder, require_methods
from ._pieces import MAX_PIECE

__all__ = ["SizeCounter"]

ENCODED_AT_ONCE: int = MAX_PIECE
"""Bytes of a file that are encoded at once if the result depends on it: in MODE B and C, some
blocks of a text end where a piece does."""


class SizeCounter:
    """Counts the bytes that an encoder makes of a file, and keeps none of them.

    For SIZE (RFC 3659 §4), which reports "the number of octets that would actually be
    transferred" in the type in effect.

    Args:
        encoder: A new one for the same transfer: ``encoder_for(parameters)``.

    Attributes:
        size: Bytes on the data connection so far.
    """

    __slots__ = ("_encoder", "size")

    def __init__(self, encoder: Encoder) -> None:
        require_methods(encoder, "an encoder", ("feed", "finish"))
        self._encoder = encoder
        self.size: int = 0

    def feed(self, data: Buffer) -> None:
        """Count data of the file.

        Args:
            data: For MODE B and C, a multiple of 64 KiB except at the end of the file,
                because `send_file` cuts a file there, too.
        """

        for view in byte_views(data, ENCODED_AT_ONCE):
            for piece in self._encoder.feed(view):
                self.size += len(piece)

    def finish(self) -> int:
        """Count what the encoder still holds; return the size of the whole. Call it once, last."""

        for piece in self._encoder.finish():
            self.size += len(piece)

        return self.size
