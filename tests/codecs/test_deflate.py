"""MODE Z sends a zlib stream, and is prepared to receive anything."""

from __future__ import annotations

import zlib

import pytest

from ftpdata.codecs._pieces import MAX_PIECE
from ftpdata.codecs.deflate import DeflateDecoder, DeflateEncoder, parse_deflate_level
from ftpdata.errors import BadArgument, InvalidData
from tests.harness.codecs import each_byte, run, splits

# A zlib stream of RFC 1950 by hand: header 78 9c; a stored block of RFC 1951, last; Adler-32.
HELLO = bytes.fromhex("789c  01 0500 faff 68656c6c6f  062c0215")


def test_deflate_is_zlib_by_its_bytes() -> None:
    """MODE Z is a zlib stream, not raw deflate, at every split."""

    for parts in splits(HELLO):
        assert run(DeflateDecoder(), parts) == b"hello"
    for level in range(10):
        sent = run(DeflateEncoder(level=level), [b"hello" * 100])
        assert zlib.decompress(sent) == b"hello" * 100
        assert sent[0] == 0x78
        assert run(DeflateDecoder(), each_byte(sent)) == b"hello" * 100
    assert len(run(DeflateEncoder(level=0), [b"a" * 500])) > 500
    assert run(DeflateEncoder(), []) == zlib.compress(b"")


@pytest.mark.parametrize("size", [4095, 4096, 4097, 8192, MAX_PIECE - 1, MAX_PIECE, MAX_PIECE + 1])
def test_garbage_after_deflate_is_seen_wherever_the_stream_ends(size: int) -> None:
    """One byte too many is an error, even where two reads meet."""

    # Level 0 adds the same number of bytes to all files of about this length.
    added = len(zlib.compress(bytes(size - 20), 0)) - (size - 20)
    file = bytes(size - added)
    sent = zlib.compress(file, 0)
    assert len(sent) == size
    assert run(DeflateDecoder(), [sent]) == file
    with pytest.raises(InvalidData, match="after the end"):
        list(DeflateDecoder().feed(sent + b"x"))


@pytest.mark.parametrize("level", [-2, -1, 10])
def test_levels_of_deflate_are_0_to_9(level: int) -> None:
    """Any other level is refused."""

    with pytest.raises(ValueError, match="0 to 9"):
        DeflateEncoder(level=level)


@pytest.mark.parametrize(
    ("argument", "level"),
    [
        ("MODE Z LEVEL 6", 6),
        ("mode z level 0", 0),
        ("Z LEVEL 9", 9),
        (" MODE  Z  ENGINE ZLIB  LEVEL  1 ", 1),
    ],
)
def test_deflate_level(argument: str, level: int) -> None:
    """OPTS MODE Z LEVEL n, as lftp sends it and ProFTPD documents it."""

    assert parse_deflate_level(argument) == level


@pytest.mark.parametrize(
    "argument", ["", "MODE Z", "MODE Z LEVEL", "MODE Z LEVEL 10", "Z LEVEL -1", "Z LEVEL \u0663"]
)
def test_deflate_levels_that_are_not_valid(argument: str) -> None:
    """Anything else is an invalid argument."""

    with pytest.raises(BadArgument) as caught:
        parse_deflate_level(argument)

    assert caught.value.reply_code == 501
