"""Digests by name: each equals what hashlib or zlib computes in one go."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.digests import Digest
from ftpdata.errors import UnsupportedParameter

CONTENT = bytes(range(256)) * 300


def _usable_names() -> list[str]:
    names = []
    for name in sorted(hashlib.algorithms_available):
        try:
            if hashlib.new(name, usedforsecurity=False).digest_size:
                names.append(name)
        except ValueError:
            continue

    return names


@pytest.mark.parametrize("name", _usable_names())
def test_every_fixed_length_digest_of_hashlib(name: str) -> None:
    """What hashlib computes in one go is the same in pieces."""

    digest = Digest(name)
    for start in range(0, len(CONTENT), 1000):
        digest.update(CONTENT[start : start + 1000])

    assert digest.name == name
    assert digest.hexdigest() == hashlib.new(name, CONTENT, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "00000000"), (b"123456789", "cbf43926"), (CONTENT, f"{zlib.crc32(CONTENT):08x}")],
)
def test_crc32(content: bytes, expected: str) -> None:
    """CRC32 has eight hexadecimal digits, including leading zeros."""

    digest = Digest("CRC32")
    digest.update(content)
    assert digest.hexdigest() == expected


def test_crc32_keeps_leading_zeros() -> None:
    """A small checksum is padded."""

    content = next(
        b"%d" % number for number in range(100_000) if zlib.crc32(b"%d" % number) < 1 << 20
    )
    digest = Digest("crc32")
    digest.update(content)
    assert digest.hexdigest() == f"{zlib.crc32(content):08x}"
    assert digest.hexdigest().startswith("000")


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("SHA-256", "sha256"),
        ("sha256", "sha256"),
        ("Sha-1", "sha1"),
        ("MD5", "md5"),
        (" md5 ", "md5"),
        ("CRC-32", "crc32"),
        ("crc32", "crc32"),
        ("SHA3-256", "sha3_256"),
        ("sha3_256", "sha3_256"),
        ("SHA-512", "sha512"),
    ],
)
def test_spellings(spelling: str, name: str) -> None:
    """The names of the HASH draft and those of hashlib mean the same algorithms."""

    assert Digest(spelling).name == name


@pytest.mark.parametrize(
    "name",
    ["", "sha", "sha-257", "crc", "crc16", "shake_128", "SHAKE-256", "md5\0", "\u00e9", "--"],
)
def test_no_such_digest(name: str) -> None:
    """Unknown names, and digests without a length, are refused with 504."""

    with pytest.raises(UnsupportedParameter) as caught:
        Digest(name)

    assert caught.value.reply_code == 504


@given(st.lists(st.binary(max_size=50)), st.sampled_from(["crc32", "sha256", "md5"]))
@settings(max_examples=50)
def test_split_anywhere(pieces: list[bytes], name: str) -> None:
    """Neither where the data are split nor the kind of buffer makes a difference."""

    one, two = Digest(name), Digest(name)
    one.update(b"".join(pieces))
    for number, piece in enumerate(pieces):
        two.update((piece, bytearray(piece), memoryview(piece))[number % 3])

    assert one.hexdigest() == two.hexdigest()


def test_hexdigest_does_not_end_it() -> None:
    """A digest can be read in between."""

    digest = Digest("sha256")
    digest.update(b"a")
    assert digest.hexdigest() == hashlib.sha256(b"a").hexdigest()
    digest.update(b"b")
    assert digest.hexdigest() == hashlib.sha256(b"ab").hexdigest()


def test_a_digest_that_the_system_forbids_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    """If OpenSSL knows an algorithm but refuses it, that is a 504, too."""

    def refuse(name: str, *, usedforsecurity: bool) -> None:
        raise ValueError(f"[digital envelope routines] unsupported: {name} {usedforsecurity}")

    monkeypatch.setattr("hashlib.new", refuse)
    with pytest.raises(UnsupportedParameter, match="disabled"):
        Digest("md5")
