"""MODE Z, deflate, as an encoder and a decoder; and its level, as OPTS has it.

Pure. One zlib stream (RFC 1950) for each file, as lftp and ProFTPD speak it.
RFC 959 does not know it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from ..contracts import Buffer
from ..errors import BadArgument, InvalidData
from .transmission import DEFAULT_LIMITS, MAX_PIECE, CodecLimits, MarkedDecoder, cut_pieces

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
    """Parse the argument of ``OPTS MODE Z LEVEL n``, as lftp sends it, or what follows OPTS MODE.

    Raises:
        BadArgument: It is none, or the level is not one of 0 to 9. Reply 501.
    """

    match = _DEFLATE_LEVEL.fullmatch(argument)
    if match is None:
        raise BadArgument(f"expected MODE Z LEVEL and 0 to 9, not {argument!r:.40}")

    return int(match[1])


class DeflateEncoder:
    """MODE Z: one zlib stream for each file, as lftp and ProFTPD speak it.

    Args:
        level: 0 for none to 9 for best compression.

    Raises:
        ValueError: There is no such level.
    """

    def __init__(self, *, level: int = 6) -> None:
        if not 0 <= level <= _HIGHEST_LEVEL:
            raise ValueError(f"the level of deflate is 0 to 9, not {level}")

        self._deflater = zlib.compressobj(level)

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Encode data; most of it comes out later."""

        for piece in cut_pieces(data, MAX_PIECE):
            yield from cut_pieces(self._deflater.compress(piece), MAX_PIECE)

    def finish(self) -> Iterator[bytes]:
        """Yield what is held, and the trailer."""

        yield from cut_pieces(self._deflater.flush(), MAX_PIECE)


class DeflateDecoder(MarkedDecoder):
    """MODE Z: one zlib stream, as lftp and ProFTPD speak it. Its trailer is the end mark.

    Args:
        limits: What the peer may ask.
    """

    _name = "MODE Z"

    # zlib gives back what it did not read, a copy each time: little at once.
    _CHUNK = 4 * 1024

    def __init__(self, *, limits: CodecLimits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self._inflater = zlib.decompressobj()

    def _parse(self, piece: bytes) -> Iterator[bytes]:
        inflater = self._inflater
        for start in range(0, len(piece), self._CHUNK):
            data = piece[start : start + self._CHUNK]
            # With all data read little of what they give can be left; it comes with the trailer.
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
