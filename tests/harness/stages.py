"""Encoders and decoders for tests of chains, and a function that runs one."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from ftpdata.codecs.representation import PIECE_SIZE, AsciiEncoder, ExistingCRLF
from ftpdata.contracts import Buffer, Decoder, Encoder

Stage = Encoder | Decoder


def converted(stage: Encoder | Decoder, parts: Iterable[Buffer]) -> bytes:
    """Feed each part, then finish; check that no piece is empty or too large."""

    out: list[bytes] = []
    for part in parts:
        out += stage.feed(part)

    out += stage.finish()
    assert all(type(piece) is bytes and 0 < len(piece) <= 4 * PIECE_SIZE for piece in out)
    return b"".join(out)


class Deflating:
    """A stage that holds nearly everything back until `finish`."""

    def __init__(self) -> None:
        self._deflater = zlib.compressobj()

    def feed(self, data: Buffer) -> list[bytes]:
        """Compress data."""

        return [piece] if (piece := self._deflater.compress(data)) else []

    def finish(self) -> list[bytes]:
        """Yield what is held."""

        return [self._deflater.flush()]


class Inflating:
    """A stage that reverses `Deflating`."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj()

    def feed(self, data: Buffer) -> list[bytes]:
        """Decompress data."""

        return [piece] if (piece := self._inflater.decompress(data)) else []

    def finish(self) -> list[bytes]:
        """Yield nothing."""

        return []


class Marking:
    """A stage that marks each call, to show their order."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def feed(self, data: Buffer) -> list[bytes]:
        """Wrap the data."""

        return [self._name + b"(" + bytes(data) + b")"]

    def finish(self) -> list[bytes]:
        """Yield an end mark."""

        return [self._name + b"."]


TEXTS = [b"", b"\n", b"\r\n", b"a\r", b"\r\r\n\n", b"one\ntwo\r\nthree\r", b"\n\r\0\n"]


def doubling() -> AsciiEncoder:
    """Return the encoder that puts a CR before every LF."""

    return AsciiEncoder(existing_crlf=ExistingCRLF.DOUBLE)
