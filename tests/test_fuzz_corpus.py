"""Replays every interesting input that fuzzing ever found; needs no fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harnesses import (
    HARNESSES,
    LOOKS,
    SIZES,
    fuzz_block,
    fuzz_listing,
    own_error,
)

CORPUS = Path(__file__).parent / "fuzz" / "corpus"
MOST_BYTES = 256 * 1024

SIZE_AT = 4
"""Where the inputs for decoders choose the size of the parts: after TYPE, STRU, MODE, options."""

DECODERS = ["stream", "block", "compressed", "deflate", "round_trip"]


def test_every_harness_has_a_corpus() -> None:
    """A harness without inputs starts from nothing; a corpus without a harness is never used."""

    assert {path.name for path in CORPUS.iterdir()} == set(HARNESSES)
    assert all(any(directory.iterdir()) for directory in CORPUS.iterdir())


def test_corpus_is_small() -> None:
    """The corpus is part of the repository; larger ones are kept elsewhere."""

    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < MOST_BYTES


@pytest.mark.parametrize("name", HARNESSES)
def test_corpus(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every input, and every part of one, gives a result or an error of ftpdata's.

    What an input chooses, a size of parts or a way to write, is tried with all values.
    """

    way = 0
    monkeypatch.setattr("tests.fuzz.harnesses.chosen", lambda _, below: way % below)
    for path in sorted((CORPUS / name).iterdir()):
        data = path.read_bytes()
        for end in (len(data), len(data) // 2, len(data) - 1):
            for way in ways_of(name, end):
                try:
                    HARNESSES[name](with_size(name, data[:end], way))
                except Exception as error:
                    error.add_note(f"{path}, its first {end} bytes, in way {way}")
                    raise


def ways_of(name: str, size: int) -> range:
    """Return the ways to try an input of a harness."""

    match name:
        case "client_hello" | "proxy_header":
            return range(size + 1)
        case "listing":
            return range(len(LOOKS))
        case "mlsx":
            return range(2)
        case "round_trip":  # each size of what is sent with one of what is received
            return range(0, 256, 15)
        case _:
            return range(SIZES if name in DECODERS else 1)


def with_size(name: str, data: bytes, size: int) -> bytes:
    """Replace the size of the parts in an input of a decoder."""

    if name not in DECODERS or len(data) <= SIZE_AT:
        return data
    return data[:SIZE_AT] + bytes([size]) + data[SIZE_AT + 1 :]


def test_harnesses_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A foreign exception is noticed, and so is a result that depends on how the data are split."""

    with pytest.raises(ZeroDivisionError):
        own_error(lambda: 1 // 0)

    data = b"-rw-r--r-- 1 u g 5 Jan 31 10:00 name"
    fuzz_listing(data)
    monkeypatch.setattr("tests.fuzz.harnesses.format_list_line", lambda *_, **__: b"a\nb")
    with pytest.raises(AssertionError):
        fuzz_listing(data)

    blocks = b"\2\0\0\0\4" + b"\0\0\3abc" + b"\x40\0\0"
    fuzz_block(blocks)
    monkeypatch.setattr("ftpdata.codecs._decoding.RecordingDecoder._count", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fuzz_block(blocks)
