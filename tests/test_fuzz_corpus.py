"""Replays every interesting input that fuzzing ever found; needs no fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harnesses import HARNESSES, fuzz_block, fuzz_listing, own_error

CORPUS = Path(__file__).parent / "fuzz" / "corpus"
MOST_BYTES = 256 * 1024


def test_every_harness_has_a_corpus() -> None:
    """A harness without inputs starts from nothing; a corpus without a harness is never used."""

    assert {path.name for path in CORPUS.iterdir()} == set(HARNESSES)
    assert all(any(directory.iterdir()) for directory in CORPUS.iterdir())


def test_corpus_is_small() -> None:
    """The corpus is part of the repository; larger ones are kept elsewhere."""

    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < MOST_BYTES


@pytest.mark.parametrize("name", HARNESSES)
def test_corpus(name: str) -> None:
    """Every input, and every part of one, gives a result or an error of ftpdata's."""

    for path in sorted((CORPUS / name).iterdir()):
        data = path.read_bytes()
        for end in (len(data), len(data) // 2, len(data) - 1):
            try:
                HARNESSES[name](data[:end])
            except Exception as error:
                error.add_note(f"{path}, its first {end} bytes")
                raise


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
