"""Runs an encoder or decoder of a transmission mode, and checks its output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftpdata.codecs._pieces import MAX_PIECE
from ftpdata.codecs.block import BlockDecoder
from ftpdata.codecs.compressed import CompressedDecoder
from ftpdata.codecs.deflate import DeflateDecoder
from ftpdata.codecs.records import Records
from ftpdata.codecs.stream import StreamRecordDecoder
from ftpdata.contracts import Buffer, Decoder, Encoder
from ftpdata.errors import FTPDataError

__all__ = ["LINES", "ONE", "OPEN_LINES", "MarkedDecoder", "drain", "each_byte", "run", "splits"]

LINES = Records(end=b"\n")
OPEN_LINES = Records(end=b"\n", close_last=False)
ONE = Records()
MarkedDecoder = BlockDecoder | CompressedDecoder | DeflateDecoder | StreamRecordDecoder


def run(stage: Encoder | Decoder, parts: Iterable[Buffer]) -> bytes:
    """Feed each part, then finish; check every piece on the way."""

    limit = MAX_PIECE if hasattr(stage, "complete") else 2 * MAX_PIECE
    out: list[bytes] = []
    for part in parts:
        out += stage.feed(part)

    out += stage.finish()
    assert all(type(piece) is bytes and 0 < len(piece) <= limit for piece in out)
    return b"".join(out)


def drain(decoder: MarkedDecoder, parts: Iterable[bytes]) -> tuple[bytes, FTPDataError | None]:
    """Feed parts until one raises an error; return the output before it, and the error."""

    out = bytearray()
    for part in parts:
        try:
            for piece in decoder.feed(part):
                assert 0 < len(piece) <= MAX_PIECE
                out += piece
        except FTPDataError as error:
            return bytes(out), error

    return bytes(out), None


def each_byte(data: bytes) -> list[bytes]:
    """Split data into single bytes."""

    return [data[i : i + 1] for i in range(len(data))]


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Yield `data` whole, byte by byte, and at every single split."""

    yield [data]
    yield each_byte(data)
    for i in range(len(data) + 1):
        yield [data[:i], data[i:]]
