"""Replays every interesting input that fuzzing ever found; needs no fuzzer."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.fuzz.harnesses import (
    HARNESSES,
    LOOKS,
    POLICIES,
    SIZES,
    fuzz_block,
    fuzz_listing,
    own_error,
)
from tests.fuzz.tracing import Tracing

CORPUS = Path(__file__).parent / "fuzz" / "corpus"
MOST_BYTES = 256 * 1024

SPLIT_AT = {
    **dict.fromkeys(("stream", "block", "compressed", "deflate", "round_trip"), 4),
    **dict.fromkeys(("records", "rdw"), 1),
}
"""Where the inputs of decoders choose how they are split: after TYPE, STRU, MODE and options, or
after what kind of records they are."""


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

    What an input chooses, a split or a way to write, is tried with all values.
    """

    way = 0
    monkeypatch.setattr("tests.fuzz.harnesses.chosen", lambda _, below: way % below)
    for path in sorted((CORPUS / name).iterdir()):
        data = path.read_bytes()
        for end in (len(data), len(data) // 2, len(data) - 1):
            for way in ways_of(name, end):
                try:
                    HARNESSES[name](with_split(name, data[:end], way))
                except Exception as error:
                    error.add_note(f"{path}, its first {end} bytes, in way {way}")
                    raise


def ways_of(name: str, size: int) -> range:
    """Return the ways to try an input of a harness."""

    match name:
        case "client_hello" | "proxy_header":
            return range(size + 1)
        case "addresses":
            return range(len(POLICIES))
        case "listing":
            return range(len(LOOKS))
        case "mlsx":
            return range(2)
        case _ if name in SPLIT_AT:
            return range(min(SIZES + size, 256))
        case _:
            return range(1)


def with_split(name: str, data: bytes, way: int) -> bytes:
    """Replace the split in an input of a decoder."""

    at = SPLIT_AT.get(name)
    return data if at is None or len(data) <= at else data[:at] + bytes([way]) + data[at + 1 :]


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


SOURCE = """
def sign(number):
    if number < 0 or number is None:
        return "-"
    for _ in range(number):
        pass
    return "+" if number else "0"
"""


def test_branches_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each branch that an input reaches has counted it, in modules of the package."""

    monkeypatch.syspath_prepend(tmp_path)
    for name in ("traced", "untraced"):
        (tmp_path / name).with_suffix(".py").write_text(SOURCE)
    with Tracing("traced") as tracing:
        traced, untraced = map(importlib.import_module, ("traced", "untraced"))

    for name in ("traced", "untraced"):
        monkeypatch.delitem(sys.modules, name)

    def reached(number: int) -> dict[int, int]:
        tracing.counters[:] = bytes(len(tracing.counters))
        assert traced.sign(number) == untraced.sign(number)
        return {i: count for i, count in enumerate(tracing.counters) if count}

    counts = [reached(number) for number in (-1, 0, 3, 1000)]
    negative, zero, three, many = map(set, counts)
    assert three == many
    assert three - zero
    assert zero - three
    assert negative - three
    assert [max(count.values()) for count in counts] == [1, 1, 3, 255]
    assert set().union(*counts) == set(range(len(tracing.entries)))
    assert not hasattr(untraced, "_fuzz_counters")
