"""Words of other languages in the lines of ``ls -l`` are understood."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from ftpdata.listing import _words
from ftpdata.listing._words import is_total, month_number

TABLES = _words._MONTHS + _words._FULL_MONTHS
ROWS = [row.split() for row in TABLES.splitlines() if row]
SPELLINGS: list[Callable[[str], str]] = [str.lower, str.capitalize, str.upper]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]}-{row[2]}" for row in ROWS])
def test_months(row: list[str]) -> None:
    """Each month is known in any case, with or without a full stop, in every suitable charset."""

    language, *months = row
    assert len(months) == 12, language
    for number, variants in enumerate(months, 1):
        for word, spell in itertools.product(variants.split("/"), SPELLINGS):
            assert month_number(spell(word)) == month_number(f"{spell(word)}.") == number
            for name in _words._CHARACTER_SETS:
                wire = spell(word).encode(name, "ignore")
                if wire.decode(name) == spell(word):
                    assert month_number(wire.decode("utf-8", "surrogateescape")) == number


def test_no_word_is_two_months() -> None:
    """A word that means July in one language and June in another means neither."""

    known: dict[str, int] = {}
    for _, *months in ROWS:
        for number, variants in enumerate(months, 1):
            for word in variants.split("/"):
                assert known.setdefault(word, number) == number


@pytest.mark.parametrize(
    ("word", "number"),
    [("1月", 1), ("12월", 12), ("foo", 0), ("", 0), (".", 0), ("srpnja", 0), ("\udcff", 0)],
)
def test_other_words(word: str, number: int) -> None:
    """Numbered months are known, and unknown words are not months."""

    assert month_number(word) == number


def test_totals() -> None:
    """Totals are known in any case; an unknown word may be a file."""

    assert all(is_total(spell(word)) for word in _words._TOTAL_WORDS for spell in SPELLINGS)
    assert is_total("összesen".encode("iso8859-2").decode("utf-8", "surrogateescape"))
    assert not is_total("report")
