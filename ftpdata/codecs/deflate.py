"""MODE Z (deflate), as an encoder and a decoder, and its level, as OPTS sets it.

Pure. Each file is one zlib stream (RFC 1950), as with lftp and ProFTPD. RFC 959 does not have
this mode.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from .._checks import check_call, check_type
from ..contracts import Buffer
from ..errors import BadArgument, InvalidData, error_for_peer
from ._decoding import MarkedDecoder
from ._pieces import MAX_PIECE, cut_pieces
from .limits import DEFAULT_LIMITS, CodecLimits

__all__ = [
    "DeflateDecoder",
    "DeflateEncoder",
    "parse_deflate_level",
]

_HIGHEST_LEVEL = 9
_DEFLATE_LEVEL = re.compile(
    r" *(?:MODE +)?Z +(?:ENGINE +ZLIB +)?LEVEL +([0-9]) *", re.ASCII | re.IGNORECASE
)


def parse_deflate_level(argument: str) -> int:
    """Parse the argument of ``OPTS MODE Z LEVEL n``, as lftp sends it, with or without ``MODE``.

    Raises:
        BadArgument: It is not such an argument, or the level is not from 0 to 9. Reply 501.
    """

    check_type("argument", argument, str, "a string")
    match = _DEFLATE_LEVEL.fullmatch(argument)
    if match is None:
        raise error_for_peer(
            BadArgument, f"expected MODE Z LEVEL and a number from 0 to 9, not {argument!r:.40}"
        )

    return int(match[1])


class DeflateEncoder:
    """MODE Z: one zlib stream for each file.

    Args:
        level: From 0 for no compression to 9 for the best.

    Raises:
        ValueError: There is no such level.
    """

    def __init__(self, *, level: int = 6) -> None:
        check_type("level", level, int, "a number from 0 to 9")
        if not 0 <= level <= _HIGHEST_LEVEL:
            raise ValueError(f"the level of deflate is from 0 to 9, not {level}")

        self._deflater = zlib.compressobj(level)

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Encode data; most of the result comes out later."""

        for piece in cut_pieces(data, MAX_PIECE):
            yield from cut_pieces(self._deflater.compress(piece), MAX_PIECE)

    def finish(self) -> Iterator[bytes]:
        """Yield what is still held, and the trailer."""

        yield from cut_pieces(self._deflater.flush(), MAX_PIECE)


class DeflateDecoder(MarkedDecoder):
    """MODE Z: one zlib stream, whose trailer is the end mark.

    Args:
        limits: What the peer may ask.
    """

    _name = "MODE Z"

    # zlib returns a copy of what it did not read each time, so feed it little at once.
    _CHUNK = 4 * 1024

    def __init__(self, *, limits: CodecLimits = DEFAULT_LIMITS) -> None:
        check_call(DeflateDecoder.__init__, locals())
        super().__init__(limits)
        self._inflater = zlib.decompressobj()

    def _parse(self, piece: bytes) -> Iterator[bytes]:
        inflater = self._inflater
        for start in range(0, len(piece), self._CHUNK):
            data = piece[start : start + self._CHUNK]
            # Once all data are read, little of their output can be left; it comes with the trailer.
            while data:
                try:
                    part = inflater.decompress(data, MAX_PIECE)
                except zlib.error as error:
                    raise InvalidData(f"{self._name}: {error}") from error

                if part:
                    yield part

                if inflater.eof:
                    self._complete = True
                    self._remainder = inflater.unused_data + piece[start + self._CHUNK :]
                    return

                data = inflater.unconsumed_tail
